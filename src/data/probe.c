#include "data/probe.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "data/hdf5.h"

enum { SECONDS_MOST = 10, WAIT_MOST = 120, NUMBERS_MOST = 1 << 20, KNOWN = 16 };
static const rlim_t MEMORY_MOST = (rlim_t)4 << 30;

/* ---- The look, in the child ---- */

/* As the readers do it: strings by their reader, numbers as the widest of their kind. */
static herr_t look_at_attribute(hid_t object, const char *name, const H5A_info_t *info, void *path)
{
    (void)info;
    hid_t attribute = H5Aopen(object, name, H5P_DEFAULT);
    if (attribute < 0)
        return 0;
    hid_t type = H5Aget_type(attribute), space = H5Aget_space(attribute);
    const H5T_class_t class = H5Tget_class(type);
    const hssize_t count = H5Sget_simple_extent_npoints(space);
    if (class == H5T_STRING) {
        char **items = NULL;
        size_t item_count = 0;
        if (cohort_hdf5_strings(&items, &item_count, object, path, name) != COHORT_OK)
            cohort_error_clear();
        free(items);
    } else if ((class == H5T_INTEGER || class == H5T_FLOAT) && count > 0 && count <= NUMBERS_MOST) {
        void *numbers = calloc((size_t)count, sizeof(double));
        if (numbers)
            H5Aread(attribute, class == H5T_FLOAT ? H5T_NATIVE_DOUBLE : H5T_NATIVE_INT64, numbers);
        free(numbers);
    }
    H5Sclose(space);
    H5Tclose(type);
    H5Aclose(attribute);
    return 0;
}

/* One value of it: its index is walked, its filters and the conversion of its type are run. */
static void read_one(hid_t dataset, hid_t type, hid_t space)
{
    const H5T_class_t class = H5Tget_class(type);
    const int dim_count = H5Sget_simple_extent_ndims(space);
    hsize_t dims[H5S_MAX_RANK], first[H5S_MAX_RANK] = {0}, one[H5S_MAX_RANK];
    double value = 0;
    if (dim_count < 0 || H5Sget_simple_extent_dims(space, dims, NULL) < 0 ||
        H5Sget_simple_extent_npoints(space) <= 0)
        return;
    for (int i = 0; i < dim_count; i++)
        one[i] = 1;
    hid_t memory = H5Screate(H5S_SCALAR);
    if (dim_count > 0)
        H5Sselect_hyperslab(space, H5S_SELECT_SET, first, NULL, one, NULL);
    if (class == H5T_INTEGER || class == H5T_ENUM)
        H5Dread(dataset, H5T_NATIVE_INT64, memory, space, H5P_DEFAULT, &value);
    else if (class == H5T_FLOAT)
        H5Dread(dataset, H5T_NATIVE_FLOAT, memory, space, H5P_DEFAULT, &value);
    H5Sclose(memory);
}

static void look_at_dataset(hid_t dataset)
{
    hsize_t chunk[H5S_MAX_RANK];
    hid_t type = H5Dget_type(dataset), space = H5Dget_space(dataset),
          plist = H5Dget_create_plist(dataset), native = H5Tget_native_type(type, H5T_DIR_ASCEND);
    if (H5Pget_layout(plist) == H5D_CHUNKED)
        H5Pget_chunk(plist, H5S_MAX_RANK, chunk);
    H5Pget_external_count(plist);
    H5Dget_storage_size(dataset);
    read_one(dataset, type, space);
    H5Tclose(native);
    H5Pclose(plist);
    H5Sclose(space);
    H5Tclose(type);
}

static void look_at(hid_t object, const char *path)
{
    hsize_t position = 0;
    H5Aiterate2(object, H5_INDEX_NAME, H5_ITER_NATIVE, &position, look_at_attribute, (void *)path);
    if (H5Iget_type(object) == H5I_DATASET)
        look_at_dataset(object);
}

static herr_t look_at_link(hid_t group, const char *name, const H5L_info_t *link, void *path)
{
    hid_t object = H5Oopen(group, name, H5P_DEFAULT);
    if (object < 0)
        return 0;
    look_at(object, path);
    /* What a link to elsewhere leads to is not visited by itself. */
    if (link->type != H5L_TYPE_HARD && H5Iget_type(object) == H5I_GROUP) {
        hsize_t position = 0;
        H5Literate(object, H5_INDEX_NAME, H5_ITER_NATIVE, &position, look_at_link, path);
    }
    H5Oclose(object);
    return 0;
}

static herr_t look_at_nothing(hid_t object, const char *name, const H5O_info_t *info, void *context)
{
    (void)object, (void)name, (void)info, (void)context;
    return 0;
}

static void look_through(const char *path)
{
    hid_t file = H5I_INVALID_HID;
    if (cohort_hdf5_open_unseen(&file, path) != COHORT_OK)
        return;
    look_at(file, path);
    H5Lvisit(file, H5_INDEX_NAME, H5_ITER_NATIVE, look_at_link, (void *)path);
    H5Ovisit2(file, H5_INDEX_NAME, H5_ITER_NATIVE, look_at_nothing, NULL, H5O_INFO_BASIC);
    H5Fclose(file);
}

/* ---- The child ---- */

/* Silent, and an end by default to whatever goes wrong. */
static void become_probe(void)
{
    static const int fatal[] = {SIGALRM, SIGXCPU, SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
    sigset_t none;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (size_t i = 0; i < sizeof fatal / sizeof *fatal; i++)
        signal(fatal[i], SIG_DFL);
    sigemptyset(&none);
    pthread_sigmask(SIG_SETMASK, &none, NULL);
    const int nowhere = open("/dev/null", O_RDWR);
    for (int i = 0; i < 3 && nowhere >= 0; i++)
        dup2(nowhere, i);
}

/* Memory beyond what the parent has already. */
static void limit_memory(void)
{
    long pages = 0;
    FILE *sizes = fopen("/proc/self/statm", "r");
    if (sizes && fscanf(sizes, "%ld", &pages) == 1) {
        const rlim_t most = (rlim_t)pages * (rlim_t)sysconf(_SC_PAGESIZE) + MEMORY_MOST;
        setrlimit(RLIMIT_AS, &(struct rlimit){most, most});
    }
    if (sizes)
        fclose(sizes);
}

static void run_probe(const char *path, int verdict)
{
    become_probe();
    limit_memory();
    setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
    setrlimit(RLIMIT_CPU, &(struct rlimit){SECONDS_MOST, SECONDS_MOST + 1});
    alarm(WAIT_MOST);
    look_through(path);
    _exit(write(verdict, "", 1) != 1);
}

/* ---- The parent ---- */

/* Under HDF5's lock: files that were found good. */
typedef struct identity {
    dev_t device;
    ino_t number;
    off_t bytes;
    struct timespec changed;
} identity;
static identity known[KNOWN];
static size_t known_next;

static bool identify(identity *file, const char *path)
{
    struct stat info;
    memset(file, 0, sizeof *file);
    if (stat(path, &info) != 0)
        return false;
    file->device = info.st_dev;
    file->number = info.st_ino;
    file->bytes = info.st_size;
    file->changed = info.st_mtim;
    return true;
}

static bool is_known(const identity *file)
{
    for (size_t i = 0; i < KNOWN; i++)
        if (memcmp(&known[i], file, sizeof *file) == 0)
            return true;
    return false;
}

/* Whether the child said at its end that all went well; *how it ended. */
static bool await(pid_t child, int verdict, int *how)
{
    char byte = 0;
    ssize_t got = 0;
    do
        got = read(verdict, &byte, 1);
    while (got < 0 && errno == EINTR);
    while (waitpid(child, how, 0) < 0) /* a host program may collect all children itself */
        if (errno != EINTR)
            return got == 1;
    return got == 1;
}

cohort_status cohort_hdf5_probe(const char *path)
{
    identity file;
    int ends[2], how = 0;
    if (!identify(&file, path) || is_known(&file))
        return COHORT_OK;
    COHORT_REQUIRE(pipe2(ends, O_CLOEXEC) == 0, COHORT_MEMORY,
                   "cannot open a pipe to look at %s: %s", path, strerror(errno));
    const pid_t child = fork();
    if (child == 0)
        run_probe(path, ends[1]);
    const int reason = errno;
    close(ends[1]);
    const bool good = child > 0 && await(child, ends[0], &how);
    close(ends[0]);
    COHORT_REQUIRE(child > 0, COHORT_MEMORY, "cannot start a process to look at %s: %s", path,
                   strerror(reason));
    const bool slow = WIFSIGNALED(how) && (WTERMSIG(how) == SIGXCPU || WTERMSIG(how) == SIGALRM);
    COHORT_REQUIRE(good, COHORT_DATA,
                   "%s is damaged (or made to do harm): HDF5 %s; copy or write it again", path,
                   slow ? "does not come to its end" : "crashes when it reads it");
    known[known_next++ % KNOWN] = file;
    return COHORT_OK;
}

void cohort_hdf5_trust(const char *path)
{
    identity file;
    if (identify(&file, path))
        known[known_next++ % KNOWN] = file;
}
