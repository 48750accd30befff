/* Converting texts, called as the program calls it, with the cases that go wrong. */
#include "tests/unit/convert_fixture.h"

#include <sys/stat.h>

#include "data/tokenizer.h"

static void put_review(const char *path, const char *text)
{
    cohort_text parent = {0};
    assert_ok(cohort_path_folder(&parent, in_folder(path)));
    assert_ok(cohort_folder_make(parent.data));
    cohort_text_clear(&parent);
    put_text(path, text);
}

static void clear_folder(void)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s/*", folder);
    assert_int_equal(system(command), 0);
}

static void put_reviews(void)
{
    clear_folder();
    put_review("r/train/pos/1.txt", "Good<br />good film");
    put_review("r/train/pos/2.txt", "");
    put_review("r/train/neg/1.txt", "bad film\r\nBAD \xff film");
    put_review("r/train/unsup/1.txt", "unknown unknown unknown");
    put_review("r/train/labeledBow.feat", "1 0:1");
    put_review("r/train/.hidden/x", "hidden");
    put_review("r/test/neg/1.txt", "good unknown bad");
    put_review("r/test/pos/.DS_Store", "x");
    put_review("r/test/pos/1.txt", "Film!");
}

static void folders_are_classes(void **state)
{
    (void)state;
    hsize_t dims[8];
    put_reviews();
    assert_ok(CONVERT("text", in_folder("r"), "--length", "5"));
    expect_strings("classes", "neg|pos");
    /* film 3, bad 2, good 2. */
    expect_strings("vocabulary", "[pad]|[unk]|film|bad|good");
    expect_strings("tokenizer", "{\"type\":\"words\",\"length\":5,\"keep\":\"tail\",\"marks\":"
                                "false,\"mask\":false,\"ngrams\":1}");
    double *x = read_values("/train/x", dims), *y = read_values("/train/y", dims);
    assert_int_equal(dims[0], 3);
    for (size_t i = 0; i < 3; i++) {
        /* The empty review is one unknown word; the order is drawn. */
        const double rows[3][5] = {{3, 2, 3, 2, 0}, {4, 4, 2, 0, 0}, {1, 0, 0, 0, 0}};
        size_t which = x[i * 5] == 3 ? 0 : x[i * 5] == 4 ? 1 : 2;
        assert_memory_equal(x + i * 5, rows[which], sizeof rows[which]);
        assert_true(y[i] == (which > 0));
    }
    free(x);
    free(y);
    x = read_values("/test/x", dims);
    assert_int_equal(dims[0], 2);
    const bool first = x[0] == 4;
    assert_memory_equal(x + (first ? 0 : 5), ((double[]){4, 1, 3, 0, 0}), 5 * sizeof *x);
    assert_memory_equal(x + (first ? 5 : 0), ((double[]){2, 0, 0, 0, 0}), 5 * sizeof *x);
    free(x);
    assert_ok(CONVERT("text", in_folder("r"), "--length", "2", "--keep", "head", "--vocabulary",
                      "16", "--ngrams=2"));
    expect_strings("vocabulary", "[pad]|[unk]|film|bad|bad film|good");
    for (int type = 0; type < 2; type++)
        assert_ok(CONVERT("text", in_folder("r"), type ? "--tokens=bpe" : "--tokens=wordpiece",
                          "--mask-token", "--punctuation"));
}

static void bad_folders_are_refused(void **state)
{
    (void)state;
    put_reviews();
    char *root = in_folder("r");
    assert_fails(CONVERT("text", root, "--test=0.5"), COHORT_USAGE, "test split");
    assert_fails(CONVERT("text", root, "--tokens=byte"), COHORT_USAGE,
                 "must be words, wordpiece or bpe");
    assert_fails(CONVERT("text", root, "--tokens=bpe", "--ngrams=2"), COHORT_USAGE,
                 "--tokens words only");
    put_review("r/test/other/1.txt", "x");
    assert_fails(CONVERT("text", root), COHORT_DATA,
                 "test/other is a class that the training split does not have");
    assert_ok(cohort_folder_make(in_folder("r/train/zero")));
    assert_fails(CONVERT("text", root), COHORT_DATA, "train/zero has no files");
    assert_fails(CONVERT("text", in_folder("r/test/pos")), COHORT_DATA, "at least two");
    assert_fails(CONVERT("text", in_folder("nothing")), COHORT_DATA, "No such file");
    assert_int_equal(rmdir(in_folder("r/train/zero")), 0);
    /* What blocks when it is read, and what leads out of the tree. */
    put_reviews();
    assert_int_equal(mkfifo(in_folder("r/train/pos/9.txt"), 0600), 0);
    assert_fails(CONVERT("text", root), COHORT_DATA, "9.txt is not a regular file");
    unlink(in_folder("r/train/pos/9.txt"));
    assert_int_equal(symlink("/etc/hostname", in_folder("r/train/pos/9.txt")), 0);
    assert_fails(CONVERT("text", root), COHORT_DATA, "9.txt is a link that leads out of");
    unlink(in_folder("r/train/pos/9.txt"));
    assert_int_equal(symlink("/etc", in_folder("r/train/etc")), 0);
    assert_fails(CONVERT("text", root), COHORT_DATA, "train/etc is a link that leads out of");
    unlink(in_folder("r/train/etc"));
    assert_int_equal(symlink("1.txt", in_folder("r/train/pos/9.txt")), 0);
    assert_ok(CONVERT("text", root));
}

/* One folder of classes is split by seed; a class may have a single file. */
static void one_folder_is_split(void **state)
{
    (void)state;
    hsize_t dims[8];
    clear_folder();
    for (int i = 0; i < 19; i++) {
        char path[64], text[32];
        snprintf(path, sizeof path, "r/a/%d", i);
        snprintf(text, sizeof text, "w%d", i);
        put_review(path, text);
    }
    put_review("r/b/only", "single");
    assert_ok(CONVERT("text", in_folder("r"), "--length=1", "--vocabulary=50"));
    free(read_values("/train/x", dims));
    assert_int_equal(dims[0], 16);
    double *test = read_values("/test/x", dims);
    assert_int_equal(dims[0], 4);
    for (size_t i = 0; i < 4; i++)
        assert_true(test[i] == 1); /* its words are met in no training text */
    free(test);
    double *first = NULL;
    for (int seed = 1; seed <= 3; seed++) {
        char option[16];
        snprintf(option, sizeof option, "--seed=%d", seed % 2 + 1);
        assert_ok(CONVERT("text", in_folder("r"), "--test=0", "--length=1", option));
        assert_false(has_dataset("/test"));
        double *x = read_values("/train/x", dims);
        assert_int_equal(dims[0], 20);
        if (seed == 2)
            assert_memory_not_equal(x, first, 20 * sizeof *x);
        if (seed == 3)
            assert_memory_equal(x, first, 20 * sizeof *x);
        if (seed == 1)
            first = x;
        else
            free(x);
    }
    free(first);
    assert_fails(CONVERT("text", in_folder("r"), "--test=1"), COHORT_USAGE, "leaves none");
}

static void long_and_odd_texts(void **state)
{
    (void)state;
    hsize_t dims[8];
    clear_folder();
    cohort_text text = {0};
    for (int i = 0; i < 100000; i++)
        cohort_text_append(&text, "word%d ", i % 1000);
    put_review("r/a/long", text.data);
    text.length = 0;
    for (int i = 0; i < 100000; i++)
        cohort_text_append(&text, "%s", i % 3 ? "é" : "<");
    put_review("r/b/glued", text.data);
    cohort_text_clear(&text);
    put_review("r/b/0", "");
    put_file("r/b/zeros", "a\0b\0\0c", 6);
    for (int type = 0; type < 3; type++) {
        char option[32];
        snprintf(option, sizeof option, "--tokens=%s", cohort_token_type_names[type]);
        assert_ok(CONVERT("text", in_folder("r"), "--test=0", "--length=300", option));
        double *x = read_values("/train/x", dims);
        assert_true(dims[0] == 4 && dims[1] == 300);
        for (size_t i = 0; i < 4; i++)
            assert_true(x[i * 300] > 0);
        free(x);
    }
}

/* What the file says about its tokenizer is enough to make the same rows again. */
static void the_file_tokenises_again(void **state)
{
    (void)state;
    const char *text = "Good films aren't filmed<br />badly, &amp; goodness!";
    for (int type = 0; type < 3; type++) {
        char option[32];
        clear_folder();
        put_review("r/train/a/1", text);
        put_review("r/train/b/1", text);
        snprintf(option, sizeof option, "--tokens=%s", cohort_token_type_names[type]);
        assert_ok(
            CONVERT("text", in_folder("r"), "--test=0", "--length=20", "--punctuation", option));
        hid_t file = H5Fopen(output, H5F_ACC_RDONLY, H5P_DEFAULT);
        hid_t attribute = H5Aopen(file, "vocabulary", H5P_DEFAULT);
        hid_t kind = H5Aget_type(attribute), space = H5Aget_space(attribute);
        size_t count = (size_t)H5Sget_simple_extent_npoints(space);
        char **vocabulary = calloc(count, sizeof *vocabulary), *description = NULL;
        assert_true(H5Aread(attribute, kind, vocabulary) >= 0);
        hid_t other = H5Aopen(file, "tokenizer", H5P_DEFAULT);
        assert_true(H5Aread(other, kind, &description) >= 0);
        cohort_tokenizer_spec spec;
        cohort_tokenizer *tokenizer = NULL;
        assert_ok(cohort_tokenizer_parse(&spec, description));
        assert_ok(
            cohort_tokenizer_create(&tokenizer, &spec, (const char *const *)vocabulary, count));
        int32_t row[20];
        double wanted[40];
        assert_ok(cohort_tokenizer_row(row, tokenizer, text, strlen(text)));
        for (size_t i = 0; i < 40; i++)
            wanted[i] = row[i % 20];
        cohort_tokenizer_destroy(tokenizer);
        H5free_memory(description);
        H5Dvlen_reclaim(kind, space, H5P_DEFAULT, vocabulary);
        free(vocabulary);
        H5Aclose(other);
        H5Sclose(space);
        H5Tclose(kind);
        H5Aclose(attribute);
        H5Fclose(file);
        expect_values("/train/x", wanted, 40);
    }
}

static void csv_columns_are_texts(void **state)
{
    (void)state;
    clear_folder();
    put_text("t.csv", "id,review,mood\n1,\"so, so\nbad\",neg\n2,,neg\n3,fine,pos\n");
    char *path = in_folder("t.csv");
    assert_ok(CONVERT("text", path, "--text=review", "--label=mood", "--test=0", "--length=3"));
    expect_strings("classes", "neg|pos");
    expect_strings("vocabulary", "[pad]|[unk]|so|bad|fine");
    hsize_t dims[8];
    free(read_values("/train/x", dims));
    assert_int_equal(dims[0], 3);
    put_text("u.tsv", "pos\tgood\nneg\tbad\n");
    assert_ok(CONVERT("text", in_folder("u.tsv"), in_folder("u.tsv"), "--delimiter=tab",
                      "--no-header", "--label=1", "--length=1", "--seed=1"));
    expect_strings("vocabulary", "[pad]|[unk]|bad|good");
    assert_true(has_dataset("/test"));
    assert_fails(CONVERT("text", path, "--text=reviews"), COHORT_USAGE, "no such column");
    assert_fails(CONVERT("text", path, "--text=mood"), COHORT_USAGE, "same column");
    put_text("t.csv", "a,b\nx,1\ny\n");
    assert_fails(CONVERT("text", path), COHORT_DATA, "line 3: 1 columns");
    put_text("t.csv", "a,b\nx,1\ny,\n");
    assert_fails(CONVERT("text", path), COHORT_DATA, "line 3, column 2: the label is missing");
    put_text("t.csv", "a,b\nx,1\ny,1\n");
    assert_fails(CONVERT("text", path), COHORT_DATA, "only one class");
}

static void characters_in_rows(void **state)
{
    (void)state;
    clear_folder();
    put_text("t.txt", "abcabcabcabcabcabcab"); /* 18 train, 2 test */
    char *path = in_folder("t.txt");
    assert_fails(CONVERT("chars", path, "--length=4"), COHORT_DATA, "is too short");
    assert_ok(CONVERT("chars", path, "--length=8", "--test=0"));
    assert_false(has_dataset("/test"));
    EXPECT_VALUES("/train/x", 0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2, 0);
    EXPECT_VALUES("/train/y", 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1);
    expect_strings("vocabulary", "a|b|c");
    assert_ok(CONVERT("chars", path, "--length=4", "--test=0.25"));
    EXPECT_VALUES("/train/x", 0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2);
    EXPECT_VALUES("/test/x", 0, 1, 2, 0);
    EXPECT_VALUES("/test/y", 1, 2, 0, 1);
    assert_ok(CONVERT("chars", path, "--length=1", "--stride=9", "--bytes", "--test=0"));
    EXPECT_VALUES("/train/x", 'a', 'a', 'a');
    expect_strings("tokenizer", "{\"type\":\"bytes\",\"length\":1}");
    put_text("t.txt", "");
    assert_fails(CONVERT("chars", path), COHORT_DATA, "is empty");
    assert_fails(CONVERT("chars", in_folder("none")), COHORT_DATA, "none");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(folders_are_classes),      cmocka_unit_test(bad_folders_are_refused),
        cmocka_unit_test(one_folder_is_split),      cmocka_unit_test(long_and_odd_texts),
        cmocka_unit_test(the_file_tokenises_again), cmocka_unit_test(csv_columns_are_texts),
        cmocka_unit_test(characters_in_rows),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
