#include "data/row_file.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>
#include <zlib.h>

#include "base/memory.h"

/* HDF5 1.10 walks through the chunks before one to find it: so many take some 60 ms. */
enum { CHUNKS_MOST = 2048 };

/* Whether the kernel of this host alone decides what of FILE stays in memory: elsewhere (NFS,
 * Lustre, …) a row may take a message to another host at any time. */
static bool is_local(int file)
{
    static const unsigned long known[] = {EXT4_SUPER_MAGIC,     XFS_SUPER_MAGIC, BTRFS_SUPER_MAGIC,
                                          F2FS_SUPER_MAGIC,     TMPFS_MAGIC,     RAMFS_MAGIC,
                                          OVERLAYFS_SUPER_MAGIC};
    struct statfs system;
    if (fstatfs(file, &system) != 0)
        return false;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if ((unsigned long)system.f_type == known[i])
            return true;
    return false;
}

/* Whether the file holds the values as they are kept, from its first byte on as HDF5 counts. */
static bool is_as_kept(const cohort_column *column)
{
    const hid_t type = H5Dget_type(column->dataset), file = H5Iget_file_id(column->dataset),
                plist = H5Fget_create_plist(file);
    hsize_t user_block = 1;
    const bool is_same =
        H5Tequal(type, column->read_type) > 0 &&
        column->read_bytes * column->row_elements == column->row_bytes &&
        (column->element == COHORT_F32) == (H5Tequal(type, H5T_NATIVE_FLOAT) > 0) &&
        H5Pget_userblock(plist, &user_block) >= 0 && user_block == 0;
    H5Pclose(plist);
    H5Fclose(file);
    H5Tclose(type);
    return is_same;
}

static size_t chunk_count(const cohort_column *column, size_t chunk_rows)
{
    return (column->row_count - 1) / chunk_rows + 1;
}

/* Rows of a chunk of COLUMN, all rows where it has none; 0 where LAYOUT cuts or packs them. */
static size_t whole_rows(const cohort_column *column, hid_t layout)
{
    hsize_t chunk[COHORT_SHAPE_MAX + 1];
    const H5D_layout_t kind = H5Pget_layout(layout);
    if (kind == H5D_CONTIGUOUS)
        return column->row_count;
    if (kind != H5D_CHUNKED || H5Pget_nfilters(layout) != 0 ||
        H5Pget_chunk(layout, COHORT_SHAPE_MAX + 1, chunk) != (int)column->dim_count)
        return 0;
    for (unsigned d = 1; d < column->dim_count; d++)
        if (chunk[d] != column->dims[d])
            return 0;
    return chunk_count(column, column->chunk_rows) <= CHUNKS_MOST ? column->chunk_rows : 0;
}

/* Where the chunk of row BEGIN begins; HADDR_UNDEF: nowhere. */
static haddr_t chunk_offset(const cohort_column *column, hsize_t begin)
{
    haddr_t offset = HADDR_UNDEF;
#if H5_VERSION_GE(1, 10, 5)
    const hsize_t at[COHORT_SHAPE_MAX + 1] = {begin};
    hsize_t bytes = 0;
    unsigned mask = 0;
    if (H5Dget_chunk_info_by_coord(column->dataset, at, &mask, &offset, &bytes) < 0 ||
        bytes < (hsize_t)column->chunk_rows * column->row_bytes)
        return HADDR_UNDEF;
#else
    (void)column, (void)begin;
#endif
    return offset;
}

/* False where a chunk is missing. */
static bool find_offsets(cohort_row_file *file, bool is_chunked)
{
    for (size_t c = 0; c < chunk_count(file->column, file->chunk_rows); c++) {
        const haddr_t offset = is_chunked ? chunk_offset(file->column, c * file->chunk_rows)
                                          : H5Dget_offset(file->column->dataset);
        if (offset == HADDR_UNDEF)
            return false;
        file->offsets[c] = offset;
    }
    return true;
}

cohort_status cohort_row_file_open(cohort_row_file **out, const cohort_column *column)
{
    const int descriptor = cohort_hdf5_descriptor(column->dataset);
    const hid_t layout = H5Dget_create_plist(column->dataset);
    const bool is_chunked = H5Pget_layout(layout) == H5D_CHUNKED;
    const size_t chunk_rows = whole_rows(column, layout);
    H5Pclose(layout);
    *out = NULL;
    if (descriptor < 0 || !chunk_rows || !is_local(descriptor) || !is_as_kept(column))
        return COHORT_OK;
    cohort_row_file *file = NULL;
    cohort_status status = COHORT_OK;
    COHORT_TRY(COHORT_ALLOCATE(&file, 1));
    file->column = column;
    file->chunk_rows = chunk_rows;
    file->descriptor = fcntl(descriptor, F_DUPFD_CLOEXEC, 0);
    COHORT_TRY_DONE(status, COHORT_ALLOCATE(&file->offsets, chunk_count(column, chunk_rows)));
    COHORT_TRY_DONE(status, COHORT_ALLOCATE(&file->checksums, column->row_count));
    if (file->descriptor >= 0 && find_offsets(file, is_chunked)) {
        *out = file;
        file = NULL;
    }
done:
    cohort_row_file_close(file);
    return status;
}

void cohort_row_file_close(cohort_row_file *file)
{
    if (!file)
        return;
    if (file->descriptor >= 0)
        close(file->descriptor);
    cohort_free(file->offsets);
    cohort_free(file->checksums);
    cohort_free(file);
}

static uint32_t checksum(const cohort_row_file *file, const void *row)
{
    return (uint32_t)adler32_z(1, row, file->column->row_bytes);
}

void cohort_row_file_note(cohort_row_file *file, const void *rows, size_t begin, size_t count)
{
    const unsigned char *row = rows;
    for (size_t i = 0; i < count; i++, row += file->column->row_bytes)
        file->checksums[begin + i] = checksum(file, row);
}

cohort_status cohort_row_file_read(void *out, const cohort_row_file *file, uint64_t row)
{
    const cohort_column *column = file->column;
    const uint64_t offset =
        file->offsets[row / file->chunk_rows] + row % file->chunk_rows * column->row_bytes;
    size_t done = 0;
    while (done < column->row_bytes) {
        const ssize_t got = pread(file->descriptor, (char *)out + done, column->row_bytes - done,
                                  (off_t)(offset + done));
        if (got < 0 && errno == EINTR)
            continue;
        COHORT_REQUIRE(got >= 0, COHORT_DATA,
                       "%s: cannot read row %llu of %s/%s: %s; check the disk", column->path,
                       (unsigned long long)row, column->group, column->name, strerror(errno));
        if (got == 0)
            break;
        done += (size_t)got;
    }
    COHORT_REQUIRE(done == column->row_bytes &&
                       (!file->checksums[row] || file->checksums[row] == checksum(file, out)),
                   COHORT_DATA,
                   "%s changed while it was in use (row %llu of %s/%s is another than when it was "
                   "first read); leave it as it is until the run ends, and write other data to "
                   "another file",
                   column->path, (unsigned long long)row, column->group, column->name);
    return COHORT_OK;
}
