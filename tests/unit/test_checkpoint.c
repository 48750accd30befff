#include "tests/cmocka_all.h"

#include <dirent.h>
#include <hdf5.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "state/checkpoint.h"
#include "tests/unit/state_sample.h"

/* HDF5 loses what it had read of an object header that turns out to be damaged. Our own leaks
 * are still found. */
const char *__lsan_default_suppressions(void) __attribute__((visibility("default")));
const char *__lsan_default_suppressions(void)
{
    return "leak:libhdf5";
}

static char folder[4096];

static const char *in_folder(const char *name)
{
    static char path[2][4352];
    static int turn;
    turn = !turn;
    snprintf(path[turn], sizeof path[turn], "%s/%s", folder, name);
    return path[turn];
}

static size_t file_count(void)
{
    size_t count = 0;
    DIR *open_folder = opendir(folder);
    for (struct dirent *entry; (entry = readdir(open_folder));)
        count += entry->d_name[0] != '.';
    closedir(open_folder);
    return count;
}

static int make_folder(void **state)
{
    (void)state;
    sample_folder(folder);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    DIR *open_folder = opendir(folder);
    for (struct dirent *entry; (entry = readdir(open_folder));)
        unlink(in_folder(entry->d_name));
    closedir(open_folder);
    return rmdir(folder);
}

/* The sample written by --write: its recipe is longer than an HDF5 attribute may be in place. */
static char *long_recipe(void)
{
    cohort_text text = {0};
    cohort_text_append(&text, "name: sample\n");
    while (text.length < (size_t)150000)
        cohort_text_append(&text, "# padding to a size beyond 64 KiB\n");
    assert_ok(cohort_text_status(&text));
    return text.data;
}

static void save_sample(const char *path, const char *recipe, double start)
{
    sample s;
    sample_make(&s, recipe, start);
    assert_ok(cohort_checkpoint_save(path, &s.snapshot));
    sample_clear(&s);
}

static void round_trip(void **state)
{
    (void)state;
    char *recipe = long_recipe();
    sample written, read;
    sample_make(&written, recipe, -2);
    sample_make(&read, "", 7);
    read.snapshot.progress = (cohort_progress){0};
    assert_ok(cohort_checkpoint_save(in_folder("a.h5"), &written.snapshot));
    cohort_checkpoint *checkpoint;
    assert_ok(cohort_checkpoint_open(&checkpoint, in_folder("a.h5")));
    assert_ok(cohort_checkpoint_load(checkpoint, &read.snapshot));
    assert_true(sample_same_vectors(&written, &read));
    assert_memory_equal(&written.snapshot.progress, &read.snapshot.progress,
                        sizeof(cohort_progress));
    const cohort_snapshot *told = cohort_checkpoint_describe(checkpoint);
    assert_string_equal(told->recipe, recipe);
    assert_int_equal(told->class_count, 2);
    assert_string_equal(told->classes[1], sample_classes[1]);
    assert_int_equal(told->vocabulary_count, 3);
    assert_string_equal(told->ledger, written.snapshot.ledger);
    assert_string_equal(told->tokenizer, "{\"type\":\"characters\",\"length\":64}");
    assert_string_equal(told->ways, "0_conv2d direct dnnl gemm\n");
    assert_string_equal(told->sum_way, "2 ranks, 1 nodes, bucket 262144, early");
    for (size_t i = 0; i < 3; i++)
        assert_string_equal(told->vocabulary[i], sample_vocabulary[i]);
    assert_true(cohort_shape_equal(&told->input_shape, &written.snapshot.input_shape));
    assert_false(told->input_tokens);
    assert_memory_equal(&told->progress, &written.snapshot.progress, sizeof(cohort_progress));
    cohort_checkpoint_close(checkpoint);
    assert_int_equal(file_count(), 1); /* no temporary file is left */
    sample_clear(&written);
    sample_clear(&read);
    free(recipe);
}

static void bare_snapshot(void **state)
{
    (void)state;
    cohort_snapshot bare = {
        .recipe = "", .input_shape = {1, {80}}, .input_tokens = true, .progress.best_metric = NAN};
    assert_ok(cohort_checkpoint_save(in_folder("a.h5"), &bare));
    cohort_checkpoint *checkpoint;
    assert_ok(cohort_checkpoint_open(&checkpoint, in_folder("a.h5")));
    const cohort_snapshot *told = cohort_checkpoint_describe(checkpoint);
    assert_string_equal(told->recipe, "");
    assert_true(told->input_tokens);
    assert_true(told->progress.best_metric != told->progress.best_metric);
    assert_null(told->classes);
    assert_ok(cohort_checkpoint_load(checkpoint, &bare));
    assert_ok(cohort_checkpoint_verify(checkpoint));
    cohort_checkpoint_close(checkpoint);
}

/* A full disk, played by a limit on file sizes. */
static void full_disk_keeps_the_previous(void **state)
{
    (void)state;
    char *recipe = long_recipe();
    sample written, read;
    sample_make(&written, recipe, 1);
    sample_make(&read, "", 0);
    assert_ok(cohort_checkpoint_save(in_folder("a.h5"), &written.snapshot));
    struct rlimit usual, small;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &usual), 0);
    small = usual;
    signal(SIGXFSZ, SIG_IGN);
    const rlim_t limits[] = {0, 1, 4096, 100000, 150000};
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        small.rlim_cur = limits[i];
        written.params[0] = 99;
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
        cohort_status status = cohort_checkpoint_save(in_folder("a.h5"), &written.snapshot);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &usual), 0);
        assert_int_equal(status, COHORT_DATA);
        assert_non_null(strstr(cohort_error_message(), "a.h5"));
        assert_int_equal(file_count(), 1);
    }
    cohort_checkpoint *checkpoint;
    assert_ok(cohort_checkpoint_open(&checkpoint, in_folder("a.h5")));
    assert_ok(cohort_checkpoint_load(checkpoint, &read.snapshot));
    written.params[0] = 1;
    assert_true(sample_same_vectors(&written, &read));
    cohort_checkpoint_close(checkpoint);
    sample_clear(&written);
    sample_clear(&read);
    free(recipe);
}

static void unwritable_folder(void **state)
{
    (void)state;
    sample s;
    sample_make(&s, "", 0);
    assert_fails(cohort_checkpoint_save(in_folder("none/a.h5"), &s.snapshot), COHORT_DATA,
                 "none/a.h5: No such file");
    sample_clear(&s);
}

static void refuses_what_is_no_checkpoint(void **state)
{
    (void)state;
    cohort_checkpoint *checkpoint;
    bool is = true;
    assert_fails(cohort_checkpoint_open(&checkpoint, in_folder("none.h5")), COHORT_DATA,
                 "No such file");
    assert_fails(cohort_checkpoint_is(&is, in_folder("none.h5")), COHORT_DATA, "No such file");
    assert_fails(cohort_checkpoint_open(&checkpoint, folder), COHORT_DATA, "not a file");
    assert_ok(cohort_file_write(in_folder("text.h5"), "name: x\n", 8));
    assert_fails(cohort_checkpoint_open(&checkpoint, in_folder("text.h5")), COHORT_DATA,
                 "not an HDF5 file");
    assert_ok(cohort_checkpoint_is(&is, in_folder("text.h5")));
    assert_false(is);
    hid_t file = H5Fcreate(in_folder("other.h5"), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    H5Fclose(file);
    assert_fails(cohort_checkpoint_open(&checkpoint, in_folder("other.h5")), COHORT_DATA,
                 "not a checkpoint");
    assert_null(checkpoint);
    assert_ok(cohort_checkpoint_is(&is, in_folder("other.h5")));
    assert_false(is);
    save_sample(in_folder("a.h5"), "name: x\n", 0);
    assert_ok(cohort_checkpoint_is(&is, in_folder("a.h5")));
    assert_true(is);
    file = H5Fopen(in_folder("a.h5"), H5F_ACC_RDWR, H5P_DEFAULT);
    hid_t version = H5Aopen(file, "version", H5P_DEFAULT);
    H5Awrite(version, H5T_NATIVE_INT, &(int){9});
    H5Aclose(version);
    H5Fclose(file);
    assert_fails(cohort_checkpoint_open(&checkpoint, in_folder("a.h5")), COHORT_DATA, "version 9");
}

static void load_into(const char *name, cohort_snapshot *snapshot, cohort_status wanted,
                      const char *part)
{
    cohort_checkpoint *checkpoint;
    assert_ok(cohort_checkpoint_open(&checkpoint, in_folder(name)));
    cohort_status status = cohort_checkpoint_load(checkpoint, snapshot);
    cohort_checkpoint_close(checkpoint);
    if (status != wanted || (status != COHORT_OK && !strstr(cohort_error_message(), part)))
        fail_msg("status %d, message \"%s\"", (int)status, cohort_error_message());
}

static void names_the_tensor_that_does_not_fit(void **state)
{
    (void)state;
    save_sample(in_folder("a.h5"), "", 0);
    sample s, before;
    sample_make(&s, "", 5);
    sample_make(&before, "", 5);
    cohort_tensor other[3];
    memcpy(other, sample_params, sizeof other);
    s.snapshot.params.items = other;
    other[2].shape = cohort_shape_of(3, 3, 4, 2);
    load_into("a.h5", &s.snapshot, COHORT_DATA,
              "a.h5: tensor params/3_residual/shortcut/0_conv2d/kernel has shape 3x3x2x4, this "
              "model needs 3x3x4x2");
    other[2].shape = sample_params[2].shape;
    other[1].name = "gamma";
    load_into("a.h5", &s.snapshot, COHORT_DATA, "tensor params/0_dense/gamma is missing");
    assert_true(sample_same_vectors(&s, &before));
    other[1].name = "bias";
    load_into("a.h5", &s.snapshot, COHORT_OK, "");
    sample_clear(&s);
    sample_clear(&before);
}

static void takes_what_matches(void **state)
{
    (void)state;
    save_sample(in_folder("a.h5"), "", 1);
    sample s;
    sample_make(&s, "", 5);
    cohort_tensor other[3];
    memcpy(other, sample_params, sizeof other);
    s.snapshot.params.items = other;
    other[1].layer = "1_dense";
    other[2].shape = cohort_shape_of(72);
    cohort_checkpoint *checkpoint;
    cohort_text report = {0};
    assert_ok(cohort_checkpoint_open(&checkpoint, in_folder("a.h5")));
    assert_ok(cohort_checkpoint_load_matching(checkpoint, &s.snapshot, &report));
    cohort_checkpoint_close(checkpoint);
    assert_non_null(strstr(report.data, "took 3 of 5 tensors from "));
    assert_non_null(strstr(report.data, "\n  params/1_dense/bias: not in the file\n"));
    assert_non_null(strstr(report.data, "0_conv2d/kernel: 3x3x2x4 in the file, 72 here\n"));
    assert_non_null(strstr(report.data, "\n  params/0_dense/bias: only in the file\n"));
    assert_true(s.params[1] == REAL(1.125) && s.params[48] == REAL(11) && s.params[64] == REAL(13));
    assert_true(s.state[0] == 1);
    cohort_text_clear(&report);
    sample_clear(&s);
}

static void note_name(void *context, const char *name, const cohort_shape *shape)
{
    char text[COHORT_SHAPE_TEXT];
    cohort_text_append(context, "%s %s\n", name, cohort_shape_text(text, shape));
}

static void lists_in_order_of_layers(void **state)
{
    (void)state;
    sample s;
    sample_make(&s, "", 0);
    cohort_tensor other[3];
    memcpy(other, sample_params, sizeof other);
    other[0].layer = "10_dense";
    s.snapshot.params.items = other;
    cohort_optimizer_destroy(s.snapshot.optimizer);
    s.snapshot.optimizer = NULL;
    assert_ok(cohort_checkpoint_save(in_folder("a.h5"), &s.snapshot));
    cohort_checkpoint *checkpoint;
    cohort_text text = {0};
    assert_ok(cohort_checkpoint_open(&checkpoint, in_folder("a.h5")));
    assert_ok(cohort_checkpoint_visit(checkpoint, note_name, &text));
    cohort_checkpoint_close(checkpoint);
    assert_string_equal(text.data, "params/0_dense/bias 7\n"
                                   "params/3_residual/shortcut/0_conv2d/kernel 3x3x2x4\n"
                                   "params/10_dense/kernel 5x7\n"
                                   "state/1_batch_norm/moving_mean 4\n"
                                   "state/1_batch_norm/moving_variance 4\n");
    cohort_text_clear(&text);
}

/* Opens, verifies and loads; fails unless that is refused with COHORT_DATA (or for want of
 * memory) or gives exactly what ORIGINAL holds. Returns whether it was refused. */
static bool refused_or_same(const char *path, const sample *original)
{
    sample read;
    sample_make(&read, "", 50);
    alarm(20); /* damage must not make the reader loop */
    cohort_checkpoint *checkpoint;
    cohort_status status = cohort_checkpoint_open(&checkpoint, path);
    if (status == COHORT_OK) {
        status = cohort_checkpoint_verify(checkpoint);
        if (status == COHORT_OK)
            status = cohort_checkpoint_load(checkpoint, &read.snapshot);
        const cohort_snapshot *told = cohort_checkpoint_describe(checkpoint);
        if (status == COHORT_OK &&
            (!sample_same_vectors(original, &read) ||
             strcmp(told->recipe, original->snapshot.recipe) != 0 ||
             memcmp(&told->progress, &original->snapshot.progress, sizeof told->progress) != 0))
            fail_msg("%s: damage was not noticed", path);
        cohort_checkpoint_close(checkpoint);
    }
    alarm(0);
    sample_clear(&read);
    if (status != COHORT_OK && status != COHORT_DATA && status != COHORT_MEMORY)
        fail_msg("%s: status %d", path, (int)status);
    assert_null(strchr(cohort_error_message(), '\n'));
    return status != COHORT_OK;
}

enum { SEAL_BYTES = 16, SEAL_MAGIC_BYTES = 8 };

/* A checkpoint of ORIGINAL (cleared by the caller) as BYTES. */
static void make_bytes(cohort_text *bytes, sample *original)
{
    sample_make(original, "name: x\n", 3);
    assert_ok(cohort_checkpoint_save(in_folder("a.h5"), &original->snapshot));
    assert_ok(cohort_file_read(bytes, in_folder("a.h5"), 1 << 20));
}

static void put_bytes(const char *path, const char *bytes, size_t count)
{
    unlink(path); /* truncating it instead makes some file systems flush it */
    FILE *file = fopen(path, "wb");
    assert_int_equal(fwrite(bytes, 1, count, file), count);
    assert_int_equal(fclose(file), 0);
}

static bool refused_when_flipped(const char *path, const sample *original, cohort_text *bytes,
                                 size_t i)
{
    bytes->data[i] = (char)(bytes->data[i] ^ (1 << i % 8));
    put_bytes(path, bytes->data, bytes->length);
    bytes->data[i] = (char)(bytes->data[i] ^ (1 << i % 8));
    return refused_or_same(path, original);
}

/* Where HDF5's heap of variable-length strings begins and ends. */
static void find_heap(size_t *first, size_t *end, const cohort_text *bytes)
{
    const char *heap = memmem(bytes->data, bytes->length, "GCOL", 4);
    assert_non_null(heap);
    uint64_t size;
    memcpy(&size, heap + 8, sizeof size);
    *first = (size_t)(heap - bytes->data);
    *end = *first + size;
    assert_in_range(*end, *first + 16, bytes->length);
    assert_null(memmem(heap + 4, bytes->length - *first - 4, "GCOL", 4));
}

/* Any byte, and every byte of the heap, where HDF5 would loop. */
static void damage_is_noticed(void **state)
{
    (void)state;
    sample original;
    cohort_text bytes = {0};
    size_t heap, heap_end;
    make_bytes(&bytes, &original);
    find_heap(&heap, &heap_end, &bytes);
    const char *path = in_folder("b.h5");
    const size_t seal = bytes.length - SEAL_BYTES;
    for (size_t i = 0; i < bytes.length; i += i >= seal || (i >= heap && i < heap_end) ? 1 : 7) {
        bool in_magic = i >= seal && i < seal + SEAL_MAGIC_BYTES; /* then it is no seal */
        if (refused_when_flipped(path, &original, &bytes, i) == in_magic)
            fail_msg("byte %zu of %zu: %s", i, bytes.length, cohort_error_message());
        if (!in_magic)
            assert_non_null(strstr(cohort_error_message(), "b.h5: damaged, or changed since"));
    }
    assert_non_null(strstr(cohort_error_message(), "`h5repack "));
    bool is = false;
    assert_ok(cohort_checkpoint_is(&is, path)); /* a damaged one is still a checkpoint */
    assert_true(is);
    cohort_text_clear(&bytes);
    sample_clear(&original);
}

static void truncation_is_noticed(void **state)
{
    (void)state;
    sample original;
    cohort_text bytes = {0};
    make_bytes(&bytes, &original);
    const char *path = in_folder("b.h5");
    const size_t seal = bytes.length - SEAL_BYTES;
    for (size_t length = 0; length < bytes.length; length += length < seal - 1 ? 101 : 1) {
        put_bytes(path, bytes.data, length);
        assert_true(refused_or_same(path, &original) == (length < seal));
    }
    put_bytes(path, bytes.data, seal - 1);
    assert_true(refused_or_same(path, &original));
    put_bytes(path, bytes.data, seal); /* all that HDF5 needs */
    assert_false(refused_or_same(path, &original));
    cohort_text_clear(&bytes);
    sample_clear(&original);
}

/* As after an edit with h5py. The heap is left out: there HDF5 itself fails. */
static void damage_without_a_seal_is_noticed(void **state)
{
    (void)state;
    sample original;
    cohort_text bytes = {0};
    size_t heap, heap_end, refused = 0, tried = 0;
    make_bytes(&bytes, &original);
    find_heap(&heap, &heap_end, &bytes);
    bytes.length -= SEAL_BYTES;
    for (size_t i = 0; i < bytes.length; i += 13) {
        if (i >= heap && i < heap_end)
            continue;
        refused += refused_when_flipped(in_folder("b.h5"), &original, &bytes, i);
        tried++;
    }
    assert_true(refused * 4 > tried); /* the rest is unused space of HDF5 */
    cohort_text_clear(&bytes);
    sample_clear(&original);
}

/* A recipe as other tools may write it, and as earlier checkpoints have it. */
static void fixed_length_text_is_read(void **state)
{
    (void)state;
    save_sample(in_folder("a.h5"), "name: x\n", 0);
    hid_t file = H5Fopen(in_folder("a.h5"), H5F_ACC_RDWR, H5P_DEFAULT);
    hid_t type = H5Tcopy(H5T_C_S1), space = H5Screate(H5S_SCALAR);
    H5Tset_size(type, 12);
    H5Tset_strpad(type, H5T_STR_NULLPAD);
    H5Adelete(file, "recipe");
    H5Adelete(file, "recipe_xxh64");
    hid_t attribute = H5Acreate2(file, "recipe", type, space, H5P_DEFAULT, H5P_DEFAULT);
    H5Awrite(attribute, type, "name: other\n");
    H5Aclose(attribute);
    H5Sclose(space);
    H5Tclose(type);
    H5Fclose(file);
    cohort_checkpoint *checkpoint;
    assert_ok(cohort_checkpoint_open(&checkpoint, in_folder("a.h5")));
    assert_string_equal(cohort_checkpoint_describe(checkpoint)->recipe, "name: other\n");
    cohort_checkpoint_close(checkpoint);
}

/* Opens tensor params/0_dense/bias of a.h5 for writing. */
static hid_t open_bias(hid_t *file)
{
    *file = H5Fopen(in_folder("a.h5"), H5F_ACC_RDWR, H5P_DEFAULT);
    return H5Dopen2(*file, "params/0_dense/bias", H5P_DEFAULT);
}

static void damaged_tensor_is_named(void **state)
{
    (void)state;
    sample s;
    sample_make(&s, "", 3);
    assert_ok(cohort_checkpoint_save(in_folder("a.h5"), &s.snapshot));
    hid_t file, set = open_bias(&file);
    const float changed[7] = {0};
    H5Dwrite(set, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, changed);
    H5Dclose(set);
    H5Fclose(file);
    load_into("a.h5", &s.snapshot, COHORT_DATA, "a.h5: tensor params/0_dense/bias is not what was");
    /* Changed on purpose, as the message says how. */
    set = open_bias(&file);
    H5Adelete(set, "xxh64");
    H5Dclose(set);
    H5Fclose(file);
    load_into("a.h5", &s.snapshot, COHORT_OK, "");
    assert_true(s.params[48] == 0);
    sample_clear(&s);
}

/* Replaces tensor "params/0_dense/bias" of a.h5 by what MAKE puts there. */
static void replace_bias(void (*make)(hid_t file))
{
    save_sample(in_folder("a.h5"), "", 3);
    hid_t file = H5Fopen(in_folder("a.h5"), H5F_ACC_RDWR, H5P_DEFAULT);
    H5Ldelete(file, "params/0_dense/bias", H5P_DEFAULT);
    make(file);
    H5Fclose(file);
}

static void make_dataset(hid_t file, hid_t type, hid_t list, hsize_t extent)
{
    hid_t space = H5Screate_simple(1, &extent, NULL);
    hid_t set =
        H5Dcreate2(file, "params/0_dense/bias", type, space, H5P_DEFAULT, list, H5P_DEFAULT);
    assert_true(set >= 0);
    H5Dclose(set);
    H5Sclose(space);
}

static void make_integers(hid_t file)
{
    make_dataset(file, H5T_STD_I32LE, H5P_DEFAULT, 7);
}

static void make_group(hid_t file)
{
    H5Gclose(H5Gcreate2(file, "params/0_dense/bias", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
}

static void make_cycle(hid_t file)
{
    H5Lcreate_hard(file, "/params", file, "params/0_dense/bias", H5P_DEFAULT, H5P_DEFAULT);
}

static void make_outside(hid_t file)
{
    hid_t list = H5Pcreate(H5P_DATASET_CREATE);
    H5Pset_external(list, "/etc/passwd", 0, 28);
    make_dataset(file, H5T_IEEE_F32LE, list, 7);
    H5Pclose(list);
}

/* Claims 4 TB and stores nothing. */
static void make_giant(hid_t file)
{
    hid_t list = H5Pcreate(H5P_DATASET_CREATE);
    H5Pset_chunk(list, 1, &(hsize_t){1024});
    make_dataset(file, H5T_IEEE_F32LE, list, (hsize_t)1 << 40);
    H5Pclose(list);
}

static void hostile_files_are_refused(void **state)
{
    (void)state;
    void (*const makers[])(hid_t) = {make_integers, make_group, make_cycle, make_outside,
                                     make_giant};
    for (size_t i = 0; i < sizeof makers / sizeof *makers; i++) {
        sample s;
        sample_make(&s, "", 5);
        replace_bias(makers[i]);
        load_into("a.h5", &s.snapshot, COHORT_DATA, "a.h5: tensor params/0_dense/bias is missing");
        cohort_checkpoint *checkpoint;
        cohort_text text = {0};
        assert_ok(cohort_checkpoint_open(&checkpoint, in_folder("a.h5")));
        cohort_status status = cohort_checkpoint_visit(checkpoint, note_name, &text);
        assert_true(status == COHORT_DATA || makers[i] == make_group || makers[i] == make_cycle);
        cohort_checkpoint_close(checkpoint);
        cohort_text_clear(&text);
        sample_clear(&s);
    }
}

/* Programs that embed the library keep their own error handler. */
static herr_t their_handler(hid_t stack, void *context)
{
    (void)stack;
    ++*(int *)context;
    return 0;
}

static void the_error_handler_is_restored(void **state)
{
    (void)state;
    int called = 0;
    H5E_auto2_t function;
    void *context;
    cohort_checkpoint *checkpoint;
    H5Eset_auto2(H5E_DEFAULT, their_handler, &called);
    assert_fails(cohort_checkpoint_open(&checkpoint, in_folder("none.h5")), COHORT_DATA, "none");
    save_sample(in_folder("a.h5"), "", 0);
    assert_int_equal(called, 0);
    H5Eget_auto2(H5E_DEFAULT, &function, &context);
    assert_true(function == their_handler);
    assert_ptr_equal(context, &called);
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
}

static int write_sample(const char *path)
{
    char *recipe = long_recipe();
    save_sample(path, recipe, -2);
    free(recipe);
    return 0;
}

/* 0 if PATH holds what write_sample wrote. */
static int check_sample(const char *path)
{
    char *recipe = long_recipe();
    sample original;
    sample_make(&original, recipe, -2);
    int differs = refused_or_same(path, &original);
    if (differs)
        print_error("%s\n", cohort_error_message());
    sample_clear(&original);
    free(recipe);
    return differs;
}

#define in_new_folder(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "--write") == 0)
        return write_sample(argv[2]);
    if (argc == 3 && strcmp(argv[1], "--check") == 0)
        return check_sample(argv[2]);
    const struct CMUnitTest tests[] = {
        in_new_folder(round_trip),
        in_new_folder(bare_snapshot),
        in_new_folder(full_disk_keeps_the_previous),
        in_new_folder(unwritable_folder),
        in_new_folder(refuses_what_is_no_checkpoint),
        in_new_folder(names_the_tensor_that_does_not_fit),
        in_new_folder(takes_what_matches),
        in_new_folder(lists_in_order_of_layers),
        in_new_folder(damage_is_noticed),
        in_new_folder(truncation_is_noticed),
        in_new_folder(damage_without_a_seal_is_noticed),
        in_new_folder(fixed_length_text_is_read),
        in_new_folder(damaged_tensor_is_named),
        in_new_folder(hostile_files_are_refused),
        in_new_folder(the_error_handler_is_restored),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
