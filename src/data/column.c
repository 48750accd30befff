#include "data/column.h"

#include <inttypes.h>
#include <string.h>

#include "base/memory.h"
#include "data/budget.h"
#include "data/convert.h"

/* Large runs are read piece by piece, so that staging stays small. */
enum { PIECE_BYTES = 4 << 20 };

static const char *type_name(H5T_class_t class)
{
    switch (class) {
    case H5T_STRING:
        return "strings";
    case H5T_COMPOUND:
        return "compound records";
    case H5T_REFERENCE:
        return "references";
    case H5T_VLEN:
        return "rows of varying length";
    case H5T_ARRAY:
        return "array elements";
    case H5T_OPAQUE:
    case H5T_BITFIELD:
        return "opaque bytes";
    default:
        return "values of an unknown type";
    }
}

/* Which native type to read and which element to keep for the file's TYPE. */
static cohort_status choose_types(cohort_column *column, hid_t type)
{
    H5T_class_t class = H5Tget_class(type);
    hid_t base = class == H5T_ENUM ? H5Tget_super(type) : H5Tcopy(type); /* h5py's bool */
    size_t bytes = H5Tget_size(base);
    bool is_signed = H5Tget_sign(base) == H5T_SGN_2;
    H5Tclose(base);
    column->integer = class == H5T_INTEGER || class == H5T_ENUM;
    COHORT_REQUIRE(column->integer || class == H5T_FLOAT, COHORT_DATA,
                   "%s: %s/%s holds %s, not numbers; store integers or floats", column->path,
                   column->group, column->name, type_name(class));
    COHORT_REQUIRE(bytes > 0 && (bytes <= 8 || !column->integer), COHORT_DATA,
                   "%s: %s/%s holds integers of %zu bytes; store at most 64 bits", column->path,
                   column->group, column->name, bytes);
    if (!column->integer) {
        column->element = COHORT_F32;
        column->read_type = H5T_NATIVE_FLOAT;
    } else if (bytes == 1 && !is_signed) {
        column->element = COHORT_U8;
        column->read_type = H5T_NATIVE_UINT8;
    } else {
        /* HDF5 would clip what does not fit; those that may not are read wide. */
        column->element = COHORT_I32;
        column->read_type = bytes < 4 || (bytes == 4 && is_signed) ? H5T_NATIVE_INT32
                            : is_signed                            ? H5T_NATIVE_INT64
                                                                   : H5T_NATIVE_UINT64;
    }
    column->read_bytes = H5Tget_size(column->read_type);
    return COHORT_OK;
}

static cohort_status read_shape(cohort_column *column, hid_t space)
{
    int dim_count = H5Sget_simple_extent_ndims(space);
    COHORT_REQUIRE(H5Sget_simple_extent_type(space) == H5S_SIMPLE && dim_count >= 1, COHORT_DATA,
                   "%s: %s/%s is a single value; its first dimension must be the samples",
                   column->path, column->group, column->name);
    COHORT_REQUIRE(dim_count <= COHORT_SHAPE_MAX + 1, COHORT_DATA,
                   "%s: %s/%s has %d dimensions; at most %d are supported", column->path,
                   column->group, column->name, dim_count, COHORT_SHAPE_MAX + 1);
    column->dim_count = (unsigned)dim_count;
    H5Sget_simple_extent_dims(space, column->dims, NULL);
    column->row_count = (size_t)column->dims[0];
    COHORT_REQUIRE(column->row_count, COHORT_DATA, "%s: %s/%s has no samples; write at least one",
                   column->path, column->group, column->name);
    column->shape.dim_count = dim_count > 1 ? column->dim_count - 1 : 1;
    column->shape.dims[0] = 1;
    for (unsigned d = 1; d < column->dim_count; d++)
        column->shape.dims[d - 1] = (size_t)column->dims[d];
    column->row_elements = cohort_shape_count(&column->shape);
    COHORT_REQUIRE(column->row_elements, COHORT_DATA,
                   "%s: %s/%s has samples without values (a dimension of 0)", column->path,
                   column->group, column->name);
    size_t bytes = 0;
    COHORT_REQUIRE(column->row_elements != SIZE_MAX &&
                       cohort_size_multiply(&bytes, column->row_elements, 8) &&
                       cohort_size_multiply(&bytes, bytes, column->row_count),
                   COHORT_DATA, "%s: %s/%s claims more values than memory can address; damaged?",
                   column->path, column->group, column->name);
    return COHORT_OK;
}

/* What the file claims must be there: HDF5 would make up zeros, terabytes of them if the file
 * says so, and take memory for a chunk of any size before it finds that it has none. Filters
 * shrink a thousandfold at most (DEFLATE), a column of one value a few times more. */
static cohort_status check_claims(const cohort_column *column, hid_t plist, H5D_layout_t layout,
                                  uint64_t chunk_bytes)
{
    enum { SHRINK_MOST = 16384 };
    const uint64_t stored = H5Dget_storage_size(column->dataset),
                   claimed = (uint64_t)column->row_count * column->row_bytes;
    COHORT_REQUIRE(H5Pget_external_count(plist) == 0, COHORT_DATA,
                   "%s: %s/%s keeps its values in other files; put them into this one (h5repack)",
                   column->path, column->group, column->name);
    if (layout == H5D_VIRTUAL)
        return COHORT_OK;
    COHORT_REQUIRE(stored > 0, COHORT_DATA,
                   "%s: %s/%s was never written, only its size is there; write it again",
                   column->path, column->group, column->name);
    COHORT_REQUIRE(claimed / SHRINK_MOST <= stored, COHORT_DATA,
                   "%s: %s/%s claims %zu rows, %.1f GiB, but the file holds %llu bytes of them; "
                   "write the rows, or fewer",
                   column->path, column->group, column->name, column->row_count,
                   (double)claimed / 0x1p30, (unsigned long long)stored);
    COHORT_REQUIRE(chunk_bytes <= cohort_memory_available(), COHORT_DATA,
                   "%s: a chunk of %s/%s takes %.1f GiB, more than there is memory; rewrite the "
                   "file in smaller chunks (h5repack -l)",
                   column->path, column->group, column->name, (double)chunk_bytes / 0x1p30);
    return COHORT_OK;
}

static cohort_status read_layout(cohort_column *column)
{
    hsize_t chunk[COHORT_SHAPE_MAX + 1];
    hid_t plist = H5Dget_create_plist(column->dataset);
    H5D_layout_t layout = H5Pget_layout(plist);
    uint64_t chunk_bytes = 0;
    column->chunk_rows = 1;
    if (layout == H5D_CHUNKED && H5Pget_chunk(plist, COHORT_SHAPE_MAX + 1, chunk) > 0) {
        column->chunk_rows = chunk[0] < column->row_count ? (size_t)chunk[0] : column->row_count;
        chunk_bytes = 8; /* HDF5 keeps chunks below 4 GiB */
        for (unsigned i = 0; i < column->dim_count; i++)
            chunk_bytes *= chunk[i];
    }
    cohort_status status = check_claims(column, plist, layout, chunk_bytes);
    H5Pclose(plist);
    return status;
}

/* Small chunks are read several at a time. */
static void choose_blocks(cohort_column *column)
{
    const size_t chunk_bytes = column->chunk_rows * column->row_bytes;
    const size_t chunks =
        chunk_bytes >= column->block_target ? 1 : (column->block_target - 1) / chunk_bytes + 1;
    const size_t rows = column->chunk_rows * chunks;
    column->block_rows = rows < column->row_count ? rows : column->row_count;
}

cohort_status cohort_column_open(cohort_column *column, hid_t group_id, const char *path,
                                 const char *group, const char *name, size_t block_target)
{
    *column = (cohort_column){
        .path = path, .group = group, .name = name, .dataset = -1, .block_target = block_target};
    cohort_status status = COHORT_OK;
    hid_t type = -1, space = -1;
    COHORT_TRY(cohort_hdf5_open_dataset(&column->dataset, group_id, path, group, name, true));
    type = H5Dget_type(column->dataset);
    space = H5Dget_space(column->dataset);
    COHORT_REQUIRE_DONE(status, type >= 0 && space >= 0, COHORT_DATA,
                        "%s: the description of %s/%s is damaged; write it again", path, group,
                        name);
    COHORT_TRY_DONE(status, choose_types(column, type));
    COHORT_TRY_DONE(status, read_shape(column, space));
    column->row_bytes = column->row_elements * cohort_element_bytes(column->element);
    COHORT_TRY_DONE(status, read_layout(column));
    cohort_chunks_open(&column->chunks, column->dataset);
    column->file_bytes = cohort_hdf5_file_bytes(column->dataset);
    choose_blocks(column);
done:
    if (space >= 0)
        H5Sclose(space);
    if (type >= 0)
        H5Tclose(type);
    if (status != COHORT_OK)
        cohort_column_close(column);
    return status;
}

void cohort_column_close(cohort_column *column)
{
    if (column->dataset > 0)
        H5Dclose(column->dataset);
    cohort_chunks_close(&column->chunks);
    cohort_free(column->wide);
    column->dataset = -1;
    column->wide = NULL;
}

void cohort_column_keep_as(cohort_column *column, cohort_element element)
{
    column->element = element;
    if (element == COHORT_F32)
        column->read_type = H5T_NATIVE_FLOAT;
    else if (column->read_bytes < 8)
        column->read_type = H5T_NATIVE_INT32;
    column->read_bytes = H5Tget_size(column->read_type);
    column->row_bytes = column->row_elements * cohort_element_bytes(element);
    choose_blocks(column);
}

static cohort_status read_raw(void *out, cohort_column *column, size_t begin, size_t count)
{
    char reason[COHORT_HDF5_REASON] = "not all of it is there";
    hsize_t start[COHORT_SHAPE_MAX + 1] = {begin}, extent[COHORT_SHAPE_MAX + 1];
    memcpy(extent, column->dims, sizeof extent);
    extent[0] = count;
    /* Memory of the same shape as the selection: HDF5 maps others element by element. */
    hid_t from = H5Dget_space(column->dataset),
          to = H5Screate_simple((int)column->dim_count, extent, NULL);
    const bool there = cohort_chunks_are_there(&column->chunks, begin, count);
    herr_t result = -1;
    if (there && from >= 0 && to >= 0 &&
        H5Sselect_hyperslab(from, H5S_SELECT_SET, start, NULL, extent, NULL) >= 0)
        result = H5Dread(column->dataset, column->read_type, to, from, H5P_DEFAULT, out);
    if (there && result < 0)
        cohort_hdf5_reason(reason);
    H5Sclose(to);
    H5Sclose(from);
    COHORT_REQUIRE(result >= 0, COHORT_DATA,
                   "%s: cannot read rows %zu to %zu of %s/%s (%s); damaged or truncated, copy or "
                   "convert it again",
                   column->path, begin, begin + count - 1, column->group, column->name, reason);
    /* HDF5 reads zeros behind the end of a file. */
    COHORT_REQUIRE(cohort_hdf5_file_bytes(column->dataset) >= column->file_bytes, COHORT_DATA,
                   "%s became shorter while it was in use; leave it as it is until the run ends, "
                   "and write other data to another file",
                   column->path);
    return COHORT_OK;
}

static cohort_status read_wide(int32_t *out, cohort_column *column, size_t begin, size_t count)
{
    const size_t values = count * column->row_elements;
    if (column->wide_bytes < values * column->read_bytes) {
        cohort_free(column->wide);
        column->wide_bytes = 0;
        COHORT_TRY(cohort_allocate(&column->wide, values, column->read_bytes));
        column->wide_bytes = values * column->read_bytes;
    }
    COHORT_TRY(read_raw(column->wide, column, begin, count));
    const bool is_signed = column->read_type == H5T_NATIVE_INT64;
    const size_t good = is_signed ? cohort_narrow_i64(out, column->wide, values)
                                  : cohort_narrow_u64(out, column->wide, values);
    if (good == values)
        return COHORT_OK;
    char value[32];
    if (is_signed)
        snprintf(value, sizeof value, "%" PRId64, ((const int64_t *)column->wide)[good]);
    else
        snprintf(value, sizeof value, "%" PRIu64, ((const uint64_t *)column->wide)[good]);
    return COHORT_FAIL(COHORT_DATA,
                       "%s: %s/%s row %zu holds %s, which does not fit 32 bits; renumber it or "
                       "store floats",
                       column->path, column->group, column->name,
                       begin + good / column->row_elements, value);
}

static cohort_status read_piece(void *out, cohort_column *column, size_t begin, size_t count)
{
    if (column->element == COHORT_I32 && column->read_bytes == 8)
        return read_wide(out, column, begin, count);
    COHORT_TRY(read_raw(out, column, begin, count));
    if (column->element != COHORT_F32)
        return COHORT_OK;
    const size_t values = count * column->row_elements, bad = cohort_find_nonfinite(out, values);
    COHORT_REQUIRE(bad == values, COHORT_DATA,
                   "%s: %s/%s row %zu holds a NaN or infinity (or a value too large for a float); "
                   "remove or repair the row",
                   column->path, column->group, column->name, begin + bad / column->row_elements);
    return COHORT_OK;
}

cohort_status cohort_column_read(void *out, cohort_column *column, size_t begin, size_t count)
{
    const size_t block_bytes = column->block_rows * column->row_bytes;
    const size_t step =
        column->block_rows * (block_bytes >= PIECE_BYTES ? 1 : PIECE_BYTES / block_bytes);
    unsigned char *to = out;
    for (size_t at = begin; at < begin + count;) {
        /* Pieces end where blocks end, so that no chunk is decompressed twice. */
        size_t end = (at / step + 1) * step;
        if (end > begin + count)
            end = begin + count;
        COHORT_TRY(read_piece(to, column, at, end - at));
        to += (end - at) * column->row_bytes;
        at = end;
    }
    return COHORT_OK;
}
