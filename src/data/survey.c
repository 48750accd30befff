#include "data/survey.h"

#include "base/clock.h"
#include "base/memory.h"
#include "data/column.h"

enum { BLOCK_TARGET = 256 << 10, READS_MOST = 64 };

/* How x lies in the file. */
static void look_at_layout(cohort_survey *survey, const cohort_column *x)
{
    hid_t plist = H5Dget_create_plist(x->dataset);
    survey->count = x->row_count;
    survey->row_bytes = x->row_bytes;
    survey->bytes += (uint64_t)x->row_count * x->row_bytes;
    survey->block_bytes = (uint64_t)x->block_rows * x->row_bytes;
    if (plist < 0)
        return;
    if (H5Pget_layout(plist) == H5D_CHUNKED)
        survey->chunk_bytes = (uint64_t)x->chunk_rows * x->row_bytes;
    survey->filtered = H5Pget_nfilters(plist) > 0;
    H5Pclose(plist);
}

/* Reads blocks at even distances until time is up. */
static cohort_status time_reading(cohort_survey *survey, cohort_column *x, double seconds)
{
    const size_t blocks = (x->row_count - 1) / x->block_rows + 1;
    const size_t reads = blocks < READS_MOST ? blocks : READS_MOST;
    void *block = NULL;
    double read = 0, spent = 0;
    COHORT_TRY(cohort_allocate(&block, x->block_rows, x->row_bytes));
    cohort_status status = COHORT_OK;
    const double start = cohort_clock_seconds();
    for (size_t i = 0; i < reads && status == COHORT_OK && spent < seconds; i++) {
        const size_t begin = cohort_part_begin(blocks, i, reads) * x->block_rows,
                     left = x->row_count - begin,
                     count = left < x->block_rows ? left : x->block_rows;
        status = cohort_column_read(block, x, begin, count);
        read += (double)count * (double)x->row_bytes;
        spent = cohort_clock_seconds() - start;
    }
    survey->bytes_per_s = spent > 0 ? read / spent : 0;
    cohort_free(block);
    return status;
}

static cohort_status survey_group(cohort_survey *survey, hid_t group,
                                  const cohort_dataset_spec *spec, double seconds)
{
    cohort_column x, y;
    COHORT_TRY(cohort_column_open(&x, group, spec->path, spec->group, spec->x, BLOCK_TARGET));
    look_at_layout(survey, &x);
    cohort_status status = time_reading(survey, &x, seconds);
    cohort_column_close(&x);
    COHORT_TRY(status);
    if (!spec->y)
        return COHORT_OK;
    COHORT_TRY(cohort_column_open(&y, group, spec->path, spec->group, spec->y, BLOCK_TARGET));
    survey->bytes += (uint64_t)y.row_count * y.row_elements * 4; /* int32 or float */
    cohort_column_close(&y);
    return COHORT_OK;
}

cohort_status cohort_data_survey(cohort_survey *survey, const cohort_dataset_spec *spec,
                                 double seconds)
{
    hid_t file = H5I_INVALID_HID, group = H5I_INVALID_HID;
    *survey = (cohort_survey){0};
    cohort_hdf5_begin();
    cohort_status status = cohort_hdf5_open(&file, spec->path);
    if (status == COHORT_OK)
        status = cohort_hdf5_open_group(&group, file, spec->path, spec->group);
    if (status == COHORT_OK)
        status = survey_group(survey, group, spec, seconds);
    if (group >= 0)
        H5Gclose(group);
    if (file >= 0)
        H5Fclose(file);
    cohort_hdf5_end();
    return status;
}
