#include "data/reader.h"

#include <stdlib.h>

#include "data/column.h"

enum { BLOCK_BYTES = 1 << 20 };

struct cohort_reader {
    hid_t file;
    cohort_column column;
};

cohort_status cohort_reader_open(cohort_reader **out, const char *path, const char *name)
{
    *out = NULL;
    cohort_reader *reader = calloc(1, sizeof *reader);
    COHORT_REQUIRE(reader, COHORT_MEMORY, "out of memory");
    reader->file = H5I_INVALID_HID;
    reader->column.dataset = -1;
    cohort_hdf5_begin();
    cohort_status status = cohort_hdf5_open(&reader->file, path);
    if (status == COHORT_OK)
        status = cohort_column_open(&reader->column, reader->file, path, "", name, BLOCK_BYTES);
    cohort_hdf5_end();
    if (status == COHORT_OK)
        *out = reader;
    else
        cohort_reader_close(reader);
    return status;
}

void cohort_reader_close(cohort_reader *reader)
{
    if (!reader)
        return;
    cohort_hdf5_begin();
    cohort_column_close(&reader->column);
    if (reader->file >= 0)
        H5Fclose(reader->file);
    cohort_hdf5_end();
    free(reader);
}

size_t cohort_reader_count(const cohort_reader *reader)
{
    return reader->column.row_count;
}

cohort_shape cohort_reader_shape(const cohort_reader *reader)
{
    return reader->column.shape;
}

cohort_element cohort_reader_element(const cohort_reader *reader)
{
    return reader->column.element;
}

void cohort_reader_read_as(cohort_reader *reader, cohort_element element)
{
    cohort_hdf5_begin();
    cohort_column_keep_as(&reader->column, element);
    cohort_hdf5_end();
}

size_t cohort_reader_block(const cohort_reader *reader)
{
    return reader->column.block_rows;
}

cohort_status cohort_reader_read(void *out, cohort_reader *reader, size_t begin, size_t count)
{
    cohort_hdf5_begin();
    cohort_status status = cohort_column_read(out, &reader->column, begin, count);
    cohort_hdf5_end();
    return status;
}
