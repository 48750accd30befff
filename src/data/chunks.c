#include "data/chunks.h"

#include <stdlib.h>
#include <zlib.h>

enum { CHECKSUM_BYTES = 4, PIECE_BYTES = 1 << 16, SEEN_MOST = 1 << 26 };

/* The filters of PLIST; false if there is one that is not understood. */
static bool list_filters(cohort_chunks *chunks, hid_t plist)
{
    const int count = H5Pget_nfilters(plist);
    if (count <= 0 || count > 32)
        return false;
    for (int i = 0; i < count; i++) {
        size_t none = 0;
        unsigned flags = 0, config = 0;
        const H5Z_filter_t filter =
            H5Pget_filter2(plist, (unsigned)i, &flags, &none, NULL, 0, NULL, &config);
        if (filter == H5Z_FILTER_DEFLATE && chunks->deflate < 0)
            chunks->deflate = i;
        else if (filter == H5Z_FILTER_FLETCHER32)
            chunks->checksums |= 1u << i;
        else if (filter != H5Z_FILTER_SHUFFLE)
            return false;
    }
    return true;
}

static hsize_t columns(const cohort_chunks *chunks, unsigned dim)
{
    return (chunks->dims[dim] + chunks->chunk[dim] - 1) / chunks->chunk[dim];
}

static void look_at_chunks(cohort_chunks *chunks, hid_t plist, size_t type_bytes)
{
    uint64_t count = 1;
    if (H5Pget_chunk(plist, H5S_MAX_RANK, chunks->chunk) != (int)chunks->dim_count)
        return;
    chunks->bytes = type_bytes; /* HDF5 keeps chunks below 4 GiB */
    for (unsigned d = 0; d < chunks->dim_count; d++) {
        chunks->bytes *= chunks->chunk[d];
        if (__builtin_mul_overflow(count, columns(chunks, d), &count))
            count = UINT64_MAX;
    }
    chunks->is_whole = true;
    chunks->is_filtered = list_filters(chunks, plist);
    if (chunks->is_filtered && count <= SEEN_MOST)
        chunks->seen = calloc(count / 8 + 1, 1); /* NULL: then they are looked at again */
}

void cohort_chunks_open(cohort_chunks *chunks, hid_t dataset)
{
    *chunks = (cohort_chunks){.dataset = dataset, .deflate = -1};
    hid_t type = H5Dget_type(dataset), space = H5Dget_space(dataset),
          plist = H5Dget_create_plist(dataset);
    const size_t type_bytes = type >= 0 ? H5Tget_size(type) : 0;
    const int dim_count = space >= 0 ? H5Sget_simple_extent_dims(space, chunks->dims, NULL) : -1;
    const H5D_layout_t layout = plist >= 0 ? H5Pget_layout(plist) : H5D_LAYOUT_ERROR;
    if (dim_count >= 0 && type_bytes > 0) {
        chunks->dim_count = (unsigned)dim_count;
        if (layout == H5D_CHUNKED)
            look_at_chunks(chunks, plist, type_bytes);
        else if (layout == H5D_VIRTUAL)
            chunks->is_whole = true;
        else if (H5Pget_external_count(plist) == 0)
            chunks->is_whole = H5Dget_storage_size(dataset) / type_bytes >=
                               (hsize_t)H5Sget_simple_extent_npoints(space);
    }
    H5Pclose(plist);
    H5Sclose(space);
    H5Tclose(type);
}

void cohort_chunks_close(cohort_chunks *chunks)
{
    free(chunks->seen);
    chunks->seen = NULL;
}

/* Whether DEFLATE makes NEED bytes or a few more out of BYTES [count]. */
static bool inflates_to(const unsigned char *bytes, size_t count, uint64_t need)
{
    unsigned char *piece = malloc(PIECE_BYTES);
    z_stream stream = {.next_in = (unsigned char *)bytes, .avail_in = (unsigned)count};
    if (!piece || count > UINT32_MAX || inflateInit(&stream) != Z_OK) {
        free(piece);
        return false;
    }
    int status = Z_OK;
    while (status == Z_OK && stream.total_out <= need) {
        stream.next_out = piece;
        stream.avail_out = PIECE_BYTES;
        status = inflate(&stream, Z_NO_FLUSH);
    }
    const bool good = status == Z_STREAM_END && stream.total_out >= need;
    inflateEnd(&stream);
    free(piece);
    return good;
}

/* RAW [count]: a chunk as the file holds it; MISSING: bits of the filters it has not. */
static bool has_its_length(const cohort_chunks *chunks, const unsigned char *raw, uint64_t count,
                           unsigned missing)
{
    const unsigned checksums = chunks->checksums & ~missing;
    const bool deflated = chunks->deflate >= 0 && !(missing >> chunks->deflate & 1u);
    const unsigned behind = deflated ? checksums >> chunks->deflate : checksums;
    const uint64_t tail = CHECKSUM_BYTES * (uint64_t)__builtin_popcount(behind),
                   need = chunks->bytes + CHECKSUM_BYTES * (uint64_t)__builtin_popcount(checksums) -
                          tail;
    if (count < tail)
        return false;
    return deflated ? inflates_to(raw, count - tail, need) : count - tail >= need;
}

/* The chunk whose first value is AT. A chunk that was never written is HDF5's to fill. */
static bool is_sound(const cohort_chunks *chunks, const hsize_t *at)
{
    hsize_t bytes = 0;
    uint32_t missing = 0;
    if (H5Dget_chunk_storage_size(chunks->dataset, at, &bytes) < 0)
        return false;
    if (bytes == 0)
        return true;
    unsigned char *raw = bytes / 2 <= chunks->bytes + PIECE_BYTES ? malloc(bytes) : NULL;
    const bool good = raw && H5Dread_chunk(chunks->dataset, H5P_DEFAULT, at, &missing, raw) >= 0 &&
                      has_its_length(chunks, raw, bytes, missing);
    free(raw);
    return good;
}

bool cohort_chunks_are_there(cohort_chunks *chunks, hsize_t begin, hsize_t count)
{
    hsize_t at[H5S_MAX_RANK] = {0};
    if (!chunks->is_filtered || count == 0)
        return chunks->is_whole;
    uint64_t a_row = 1; /* chunks that hold the same rows */
    for (unsigned d = 1; d < chunks->dim_count; d++)
        a_row *= columns(chunks, d);
    const uint64_t first = begin / chunks->chunk[0] * a_row,
                   end = ((begin + count - 1) / chunks->chunk[0] + 1) * a_row;
    for (uint64_t i = first; i < end; i++) {
        if (chunks->seen && chunks->seen[i / 8] >> i % 8 & 1)
            continue;
        uint64_t rest = i;
        for (unsigned d = chunks->dim_count; d-- > 0; rest /= columns(chunks, d))
            at[d] = rest % columns(chunks, d) * chunks->chunk[d];
        if (!is_sound(chunks, at))
            return false;
        if (chunks->seen)
            chunks->seen[i / 8] |= (unsigned char)(1u << i % 8);
    }
    return true;
}

bool cohort_hdf5_is_whole(hid_t dataset)
{
    cohort_chunks chunks;
    cohort_chunks_open(&chunks, dataset);
    const bool whole = cohort_chunks_are_there(&chunks, 0, chunks.dims[0]);
    cohort_chunks_close(&chunks);
    return whole;
}
