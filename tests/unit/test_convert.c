/* The converters, called as the program calls them, on small files made here. */
#include "tests/unit/convert_fixture.h"

#include <zlib.h>

static void formats_and_options_are_checked(void **state)
{
    (void)state;
    assert_fails(cohort_cli_convert(1, (char *[]){"convert"}), COHORT_USAGE, "which format");
    assert_fails(CONVERT("cifar"), COHORT_USAGE, "did you mean cifar10?");
    assert_fails(CONVERT("parquet"), COHORT_USAGE, "convert --help");
    assert_fails(CONVERT("idx"), COHORT_USAGE, "an argument is missing");
    assert_fails(CONVERT("digits", "extra"), COHORT_USAGE, "one argument too many");
    assert_fails(CONVERT("digits", "--trian", "5"), COHORT_USAGE, "did you mean --train?");
    assert_fails(CONVERT("digits", "--compress", "10"), COHORT_USAGE, "from 0 to 9");
    assert_fails(cohort_cli_convert(2, (char *[]){"convert", "digits"}), COHORT_USAGE,
                 "--output FILE.h5 is required");
    assert_fails(
        cohort_cli_convert(4, (char *[]){"convert", "digits", "--output", "/nowhere/x.h5"}),
        COHORT_DATA, "/nowhere/x.h5");
    assert_ok(cohort_cli_convert(2, (char *[]){"convert", "--help"}));
    assert_ok(cohort_cli_convert(3, (char *[]){"convert", "csv", "--help"}));
}

/* An IDX file of COUNT rows of HEIGHT x WIDTH (0: labels), whose values count up from FIRST. */
static size_t make_idx(unsigned char *bytes, unsigned count, unsigned height, unsigned width,
                       unsigned first)
{
    const unsigned dims[3] = {count, height, width}, dim_count = height ? 3 : 1;
    size_t at = 0, values = count;
    memcpy(bytes, (unsigned char[]){0, 0, 8, (unsigned char)dim_count}, 4);
    at += 4;
    for (unsigned i = 0; i < dim_count; i++) {
        for (int shift = 24; shift >= 0; shift -= 8)
            bytes[at++] = (unsigned char)(dims[i] >> shift);
        values *= i ? dims[i] : 1;
    }
    for (size_t i = 0; i < values; i++)
        bytes[at++] = (unsigned char)(first + i);
    return at;
}

static void put_gzip(const char *name, const void *bytes, size_t count)
{
    gzFile file = gzopen(in_folder(name), "wb");
    assert_non_null(file);
    assert_int_equal(gzwrite(file, bytes, (unsigned)count), count);
    assert_int_equal(gzclose(file), Z_OK);
}

static void idx_files_are_read(void **state)
{
    (void)state;
    unsigned char bytes[256];
    put_gzip("train-images-idx3-ubyte.gz", bytes, make_idx(bytes, 3, 2, 2, 10));
    put_gzip("train-labels-idx1-ubyte.gz", bytes, make_idx(bytes, 3, 0, 0, 0));
    put_file("t10k-images.idx3-ubyte", bytes, make_idx(bytes, 2, 2, 2, 100));
    put_file("t10k-labels.idx1-ubyte", bytes, make_idx(bytes, 2, 0, 0, 1));
    assert_ok(CONVERT("idx", folder));
    EXPECT_VALUES("/train/x", 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21);
    EXPECT_VALUES("/train/y", 0, 1, 2);
    EXPECT_VALUES("/test/x", 100, 101, 102, 103, 104, 105, 106, 107);
    EXPECT_VALUES("/test/y", 1, 2);
    expect_strings("classes", "0|1|2");
    hsize_t dims[8];
    free(read_values("/train/x", dims));
    assert_true(dims[0] == 3 && dims[1] == 2 && dims[2] == 2 && dims[3] == 1 && dims[4] == 0);

    char *images = in_folder("t10k-images.idx3-ubyte"),
         *labels = in_folder("t10k-labels.idx1-ubyte");
    assert_ok(CONVERT("idx", images, labels, "--classes", "shirt,boot,bag", "--compress=4"));
    expect_strings("classes", "shirt|boot|bag");
    assert_false(has_dataset("/test"));
    char source[400];
    snprintf(source, sizeof source,
             "cohort %s convert idx %s %s --classes shirt,boot,bag "
             "--compress=4",
             COHORT_VERSION, images, labels);
    expect_strings("source", source);
    assert_fails(CONVERT("idx", images, labels, "--classes", "shirt,boot"), COHORT_DATA,
                 "label 2 of sample 1 is out of range");
    put_file("t10k-labels.idx1-ubyte", bytes, make_idx(bytes, 2, 0, 0, 2));
    assert_fails(CONVERT("idx", folder), COHORT_DATA, "label 3 of sample 1 is out of range");
}

static void bad_idx_files_are_refused(void **state)
{
    (void)state;
    unsigned char bytes[256] = {0};
    char *images = in_folder("i"), *labels = in_folder("l");
    put_file("l", bytes, make_idx(bytes, 3, 0, 0, 0));
    size_t size = make_idx(bytes, 3, 2, 2, 10);
    put_file("i", bytes, size - 1);
    assert_fails(CONVERT("idx", images, labels), COHORT_DATA, "too short");
    put_file("i", bytes, size + 1);
    assert_fails(CONVERT("idx", images, labels), COHORT_DATA, "1 bytes behind");
    put_gzip("i", bytes, size - 1);
    assert_fails(CONVERT("idx", images, labels), COHORT_DATA, "ends too early");
    put_gzip("i", bytes, size + 1);
    assert_fails(CONVERT("idx", images, labels), COHORT_DATA, "has bytes behind");
    put_file("i", bytes, 3);
    assert_fails(CONVERT("idx", images, labels), COHORT_DATA, "ends too early");
    put_text("i", "hello, world");
    assert_fails(CONVERT("idx", images, labels), COHORT_DATA, "not an IDX file");
    size = make_idx(bytes, 2, 2, 2, 10);
    put_file("i", bytes, size);
    assert_fails(CONVERT("idx", images, labels), COHORT_DATA, "2 images but");
    assert_fails(CONVERT("idx", labels, images), COHORT_DATA, "1 dimensions, images have 3");
    bytes[2] = 0x0d;
    put_file("i", bytes, size);
    assert_fails(CONVERT("idx", images, labels), COHORT_DATA, "type 0x0d");
    /* Promises 2^96 bytes. */
    memcpy(bytes, "\0\0\x08\x03\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 16);
    put_gzip("i", bytes, 40);
    assert_fails(CONVERT("idx", images, labels), COHORT_DATA, "promises");
    assert_fails(CONVERT("idx", in_folder("none"), labels), COHORT_DATA, "No such file");
    assert_fails(CONVERT("idx", "/"), COHORT_DATA, "/ has no train-images-idx3-ubyte");
    /* A gzip file cut short, large enough for the cut to lie in the data. */
    static unsigned char noise[40016];
    uint32_t random = 1;
    make_idx(noise, 10, 40, 100, 0);
    for (size_t i = 16; i < sizeof noise; i++)
        noise[i] = (unsigned char)((random = random * 1664525u + 1013904223u) >> 24);
    put_gzip("i", noise, sizeof noise);
    put_file("l", bytes, make_idx(bytes, 10, 0, 0, 0));
    assert_ok(CONVERT("idx", images, labels));
    assert_int_equal(truncate(images, 30000), 0);
    assert_fails(CONVERT("idx", images, labels), COHORT_DATA, "ends too early");
}

static void put_cifar(const char *name, unsigned char label, size_t bytes)
{
    static unsigned char record[3073 * 2];
    for (size_t i = 0; i < 2; i++) {
        record[i * 3073] = (unsigned char)(label + i);
        for (size_t k = 0; k < 3072; k++)
            record[i * 3073 + 1 + k] = (unsigned char)(k / 1024 * 100 + k % 32 + i);
    }
    put_file(name, record, bytes);
}

static void cifar10_planes_become_channels(void **state)
{
    (void)state;
    char name[64];
    assert_ok(cohort_folder_make(in_folder("cifar-10-batches-bin")));
    for (int i = 1; i <= 5; i++) {
        snprintf(name, sizeof name, "cifar-10-batches-bin/data_batch_%d.bin", i);
        put_cifar(name, (unsigned char)i, 3073 * 2);
    }
    put_cifar("cifar-10-batches-bin/test_batch.bin", 8, 3073 * 2);
    put_text("cifar-10-batches-bin/batches.meta.txt", "a\nb\nc\r\nd\ne\nf\ng\nh\ni\nj\n\n");
    assert_ok(CONVERT("cifar10", folder));
    expect_strings("classes", "a|b|c|d|e|f|g|h|i|j");
    EXPECT_VALUES("/train/y", 1, 2, 2, 3, 3, 4, 4, 5, 5, 6);
    EXPECT_VALUES("/test/y", 8, 9);
    hsize_t dims[8];
    double *x = read_values("/test/x", dims);
    assert_true(dims[0] == 2 && dims[1] == 32 && dims[2] == 32 && dims[3] == 3 && !dims[4]);
    for (size_t i = 0; i < 2; i++)
        for (size_t pixel = 0; pixel < 1024; pixel++)
            for (size_t c = 0; c < 3; c++)
                assert_true(x[(i * 1024 + pixel) * 3 + c] == (double)(c * 100 + pixel % 32 + i));
    free(x);

    char *direct = in_folder("cifar-10-batches-bin");
    put_cifar("cifar-10-batches-bin/test_batch.bin", 8, 3073 + 5);
    assert_fails(CONVERT("cifar10", direct), COHORT_DATA, "test_batch.bin is cut short");
    put_cifar("cifar-10-batches-bin/test_batch.bin", 9, 3073 * 2);
    assert_fails(CONVERT("cifar10", direct), COHORT_DATA, "label 10 of record 1 (offset 3073)");
    unlink(in_folder("cifar-10-batches-bin/test_batch.bin"));
    assert_fails(CONVERT("cifar10", direct), COHORT_DATA, "test_batch.bin: No such file");
    put_text("cifar-10-batches-bin/batches.meta.txt", "a\n");
    assert_fails(CONVERT("cifar10", direct), COHORT_DATA, "names 1 classes");
}

static void tables_are_read(void **state)
{
    (void)state;
    char *path = in_folder("t.csv");
    put_text("t.csv", "\xef\xbb\xbf"
                      "size, \"the \"\"age\"\"\" ,kind\r\n1,-2.5,cat\r\n\r\n3e2 , 4,"
                      "\"dog, big\"\r\n\"5\",6,cat");
    assert_ok(CONVERT("csv", path, "--test", "0"));
    EXPECT_VALUES("/train/x", 1, -2.5, 300, 4, 5, 6);
    EXPECT_VALUES("/train/y", 0, 1, 0);
    expect_strings("classes", "cat|dog, big");
    expect_strings("features", "size|the \"age\"");
    assert_false(has_dataset("/test"));

    /* Whole numbers are ordered by value; the label may be anywhere. */
    put_text("t.csv", "10;1;x\n9;2;y\n-1;3;z\n9;4;w\n");
    assert_ok(CONVERT("csv", path, "--test=0", "--label=1", "--ignore=3", "--delimiter=;"));
    EXPECT_VALUES("/train/x", 1, 2, 3, 4);
    EXPECT_VALUES("/train/y", 2, 1, 0, 1);
    expect_strings("classes", "-1|9|10");

    put_text("t.csv", "a\tb\tc\n1\t2\t3\n4\t5\t6\n");
    assert_ok(CONVERT("csv", path, "--test=0", "--label=c", "--label=a", "--regression",
                      "--delimiter=tab"));
    EXPECT_VALUES("/train/x", 2, 5);
    EXPECT_VALUES("/train/y", 1, 3, 4, 6);

    put_text("t.csv", "1,0\n2,1\n");
    put_text("u.csv", "3,1\n");
    assert_ok(CONVERT("csv", path, in_folder("u.csv")));
    EXPECT_VALUES("/train/x", 1, 2);
    EXPECT_VALUES("/test/x", 3);
    EXPECT_VALUES("/test/y", 1);
}

static void bad_tables_are_refused(void **state)
{
    (void)state;
    const struct {
        const char *text, *option, *message;
        cohort_status status;
    } cases[] = {
        {"", "--test=0", "is empty", COHORT_DATA},
        {"a,b\n", "--test=0", "no rows", COHORT_DATA},
        {"a,b,c\n1,2,x\n3,,y\n", "--test=0", "line 3, column 2 (b): the value is missing",
         COHORT_DATA},
        {"1,2,x\n3,?,y\n", "--test=0", "line 2, column 2: \"?\" is not a number", COHORT_DATA},
        {"1,2,x\n3,nan,y\n", "--test=0", "line 2, column 2: \"nan\"", COHORT_DATA},
        {"1,2,x\n3,1e300,y\n", "--test=0", "line 2, column 2: \"1e300\"", COHORT_DATA},
        {"1,2,x\n3,4,\n", "--test=0", "line 2, column 3: the label is missing", COHORT_DATA},
        {"1,2,x\n3,4\n", "--test=0", "line 2: 2 columns where the first line has 3", COHORT_DATA},
        {"1,2,x\n3,\"4,y\n5,6,z\n", "--test=0", "line 2: a quote is never closed", COHORT_DATA},
        {"1,\"2\n\"3,x\n", "--test=0", "line 2: text behind the closing quote", COHORT_DATA},
        {"1,b,x\n", "--test=0", "--no-header", COHORT_DATA},
        {"1;2;x\n", "--test=0", "another --delimiter?", COHORT_DATA},
        {"1,2\n3,4\n", "--test=1", "leaves none to train on", COHORT_USAGE},
        {"a,b\n3,4\n", "--label=c", "no such column", COHORT_USAGE},
        {"a,bear\n3,4\n", "--label=beer", "did you mean bear?", COHORT_USAGE},
        {"1,2\n3,4\n", "--label=3", "no such column", COHORT_USAGE},
        {"1,2\n3,4\n", "--delimiter=ab", "one character", COHORT_USAGE},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        put_text("t.csv", cases[i].text);
        assert_fails(CONVERT("csv", in_folder("t.csv"), (char *)cases[i].option), cases[i].status,
                     cases[i].message);
    }
    put_file("t.csv", "1,2\n3,\0\n", 8);
    assert_fails(CONVERT("csv", in_folder("t.csv")), COHORT_DATA, "zero byte");
    put_text("t.csv", "1,2\n");
    put_text("u.csv", "1,2,3\n");
    assert_fails(CONVERT("csv", in_folder("t.csv"), in_folder("u.csv")), COHORT_DATA,
                 "u.csv has 3 columns");
    cohort_text text = {0};
    for (int i = 0; i < 2000; i++)
        cohort_text_append(&text, "%d,%g\n", i, i / 3.0);
    put_text("t.csv", text.data);
    cohort_text_clear(&text);
    assert_fails(CONVERT("csv", in_folder("t.csv")), COHORT_USAGE, "use --regression");
    assert_ok(CONVERT("csv", in_folder("t.csv"), "--regression"));
}

/* Every row is in exactly one split, in file order; another seed draws others. */
static void table_splits_are_a_partition(void **state)
{
    (void)state;
    cohort_text text = {0};
    for (int i = 0; i < 1000; i++)
        cohort_text_append(&text, "%d,%d\n", i, i % 3);
    put_text("t.csv", text.data);
    cohort_text_clear(&text);
    double *first = NULL;
    for (int seed = 1; seed <= 2; seed++) {
        bool seen[1000] = {false};
        hsize_t dims[8];
        assert_ok(
            CONVERT("csv", in_folder("t.csv"), "--test=0.25", seed == 1 ? "--seed=1" : "--seed=2"));
        for (int split = 0; split < 2; split++) {
            double *x = read_values(split ? "/test/x" : "/train/x", dims);
            assert_int_equal(dims[0], split ? 250 : 750);
            for (size_t i = 0; i < dims[0]; i++) {
                assert_false(seen[(int)x[i]]);
                assert_true(i == 0 || x[i] > x[i - 1]);
                seen[(int)x[i]] = true;
            }
            if (split && first)
                assert_memory_not_equal(x, first, 250 * sizeof *x);
            if (split && !first)
                first = x;
            else
                free(x);
        }
    }
    free(first);
}

static void digits_are_reproducible(void **state)
{
    (void)state;
    hsize_t dims[8];
    assert_ok(CONVERT("digits", "--train", "40", "--test", "10"));
    double *x = read_values("/train/x", dims), *y = read_values("/train/y", dims);
    double *test = read_values("/test/x", dims);
    assert_true(dims[0] == 10 && dims[1] == 28 && dims[2] == 28 && dims[3] == 1);
    for (int i = 0; i < 40; i++) {
        double ink = 0, edge = 0;
        for (int k = 0; k < 784; k++) {
            ink += x[i * 784 + k] > 128;
            edge += (k < 28 || k >= 756) && x[i * 784 + k] > 128;
        }
        assert_true(y[i] >= 0 && y[i] <= 9);
        assert_true(ink > 15 && ink < 300 && edge == 0);
    }
    assert_memory_not_equal(x, test, 784 * sizeof *x);
    /* An image does not depend on how many others are drawn. */
    assert_ok(CONVERT("digits", "--train", "20", "--test", "0"));
    double *fewer = read_values("/train/x", dims);
    assert_int_equal(dims[0], 20);
    assert_memory_equal(x, fewer, 20 * 784 * sizeof *x);
    assert_false(has_dataset("/test"));
    assert_ok(CONVERT("digits", "--train", "20", "--seed", "2", "--size", "40"));
    double *other = read_values("/train/x", dims);
    assert_true(dims[1] == 40 && dims[2] == 40);
    free(x);
    free(y);
    free(test);
    free(fewer);
    free(other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(formats_and_options_are_checked),
        cmocka_unit_test(idx_files_are_read),
        cmocka_unit_test(bad_idx_files_are_refused),
        cmocka_unit_test(cifar10_planes_become_channels),
        cmocka_unit_test(tables_are_read),
        cmocka_unit_test(bad_tables_are_refused),
        cmocka_unit_test(table_splits_are_a_partition),
        cmocka_unit_test(digits_are_reproducible),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
