#include "tests/cmocka_all.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/exact_sum.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/memory.h"
#include "base/rng.h"
#include "base/shape.h"
#include "base/text.h"

/* Random123's known-answer vectors for philox4x32-10. */
static void philox_known_answers(void **state)
{
    (void)state;
    uint32_t out[4];
    cohort_philox(out, (uint32_t[]){0, 0, 0, 0}, (uint32_t[]){0, 0});
    assert_int_equal(out[0], 0x6627e8d5u);
    assert_int_equal(out[1], 0xe169c58du);
    assert_int_equal(out[2], 0xbc57ac4cu);
    assert_int_equal(out[3], 0x9b00dbd8u);
    cohort_philox(out, (uint32_t[]){0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
                  (uint32_t[]){0xa4093822, 0x299f31d0});
    assert_int_equal(out[0], 0xd16cfe09u);
    assert_int_equal(out[1], 0x94fdccebu);
    assert_int_equal(out[2], 0x5001e420u);
    assert_int_equal(out[3], 0x24126ea1u);
}

static void stream_seeks_and_distributes(void **state)
{
    (void)state;
    cohort_rng a = cohort_rng_make(7, COHORT_RNG_TEST, 3, 5, 9), b = a;
    uint32_t drawn[23];
    for (int i = 0; i < 23; i++)
        drawn[i] = cohort_rng_u32(&a);
    for (int i = 22; i >= 0; i--) {
        cohort_rng_seek(&b, (uint64_t)i);
        assert_int_equal(cohort_rng_u32(&b), drawn[i]);
    }
    double sum = 0, squares = 0;
    const int count = 200000;
    for (int i = 0; i < count; i++) {
        double value = cohort_rng_normal(&a);
        sum += value;
        squares += value * value;
    }
    assert_true(fabs(sum / count) < 0.01);
    assert_true(fabs(squares / count - 1) < 0.02);
    unsigned seen[7] = {0};
    for (int i = 0; i < 70000; i++)
        seen[cohort_rng_below(&a, 7)]++;
    for (int i = 0; i < 7; i++)
        assert_true(seen[i] > 9600 && seen[i] < 10400);
}

static void permutation_is_a_bijection(void **state)
{
    (void)state;
    const uint64_t counts[] = {1, 2, 3, 5, 16, 17, 1000, 65537};
    for (size_t c = 0; c < sizeof counts / sizeof *counts; c++) {
        unsigned char *seen = calloc(counts[c], 1);
        cohort_permutation p = cohort_permutation_make(counts[c], 1, COHORT_RNG_SHUFFLE, 0, 4);
        uint64_t fixed = 0;
        for (uint64_t i = 0; i < counts[c]; i++) {
            uint64_t at = cohort_permutation_at(&p, i);
            assert_true(at < counts[c] && !seen[at]);
            seen[at] = 1;
            fixed += at == i;
        }
        if (counts[c] > 100)
            assert_true(fixed < 10);
        free(seen);
    }
}

static void hash_known_answers(void **state)
{
    (void)state;
    assert_true(cohort_hash("", 0, 0) == 0xef46db3751d8e999u);
    assert_true(cohort_hash("abc", 3, 0) == 0x44bc2cf5ad770999u);
    unsigned char bytes[101];
    for (int i = 0; i < 101; i++)
        bytes[i] = (unsigned char)i;
    uint64_t whole = cohort_hash(bytes, 101, 1);
    bytes[70] ^= 1;
    assert_true(cohort_hash(bytes, 101, 1) != whole);
}

static void words_and_numbers(void **state)
{
    (void)state;
    const char *const words[] = {"epochs", "global_batch_size", "threads", "lr"};
    assert_string_equal(cohort_nearest_word("epoch", words, 4), "epochs");
    assert_string_equal(cohort_nearest_word("gloabl_batch_size", words, 4), "global_batch_size");
    assert_null(cohort_nearest_word("zebra_crossing", words, 4));
    double value;
    uint64_t bytes;
    assert_true(cohort_parse_double(&value, "1e-7") && value == 1e-7);
    assert_false(cohort_parse_double(&value, "1e-7x"));
    assert_false(cohort_parse_double(&value, ""));
    assert_true(cohort_parse_bytes(&bytes, "4GiB") && bytes == (uint64_t)4 << 30);
    assert_true(cohort_parse_bytes(&bytes, "1.5K") && bytes == 1536);
    assert_false(cohort_parse_bytes(&bytes, "4 parsecs"));
    char text[32];
    assert_string_equal(cohort_number_text(text, 0.1), "0.1");
    assert_true(strtod(cohort_number_text(text, 1.0 / 3), NULL) == 1.0 / 3);
}

static void json_nests_and_escapes(void **state)
{
    (void)state;
    cohort_text text = {0};
    cohort_json_begin_object(&text, NULL);
    cohort_json_string(&text, "a", "x\"\n");
    cohort_json_begin_array(&text, "b");
    cohort_json_integer(&text, NULL, -3);
    cohort_json_number(&text, NULL, NAN);
    cohort_json_end_array(&text);
    cohort_json_boolean(&text, "c", true);
    cohort_json_end_object(&text);
    assert_string_equal(text.data, "{\"a\":\"x\\\"\\u000a\",\"b\":[-3,null],\"c\":true}");
    cohort_text_clear(&text);
}

static void parts_cover_everything(void **state)
{
    (void)state;
    for (size_t total = 0; total < 30; total++)
        for (size_t parts = 1; parts < 9; parts++) {
            assert_int_equal(cohort_part_begin(total, 0, parts), 0);
            assert_int_equal(cohort_part_begin(total, parts, parts), total);
            for (size_t i = 0; i < parts; i++) {
                size_t size =
                    cohort_part_begin(total, i + 1, parts) - cohort_part_begin(total, i, parts);
                assert_true(size == total / parts || size == total / parts + 1);
            }
        }
}

static void files_are_replaced_whole(void **state)
{
    (void)state;
    char folder[] = "/tmp/cohort-test-XXXXXX", path[64];
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/a/b", folder);
    assert_ok(cohort_folder_make(path));
    snprintf(path, sizeof path, "%s/a/b/file", folder);
    assert_ok(cohort_file_write(path, "one", 3));
    assert_ok(cohort_file_write(path, "second", 6));
    cohort_text text = {0};
    assert_ok(cohort_file_read(&text, path, 100));
    assert_string_equal(text.data, "second");
    assert_fails(cohort_file_read(&text, path, 5), COHORT_DATA, "larger than 5");
    cohort_text_clear(&text);
    assert_fails(cohort_file_write("/proc/nowhere/file", "x", 1), COHORT_DATA, "/proc/nowhere");
    char command[128];
    snprintf(command, sizeof command, "rm -r %s", folder);
    assert_int_equal(system(command), 0);
}

static cohort_status raise_one(void)
{
    COHORT_REQUIRE(1 > 2, COHORT_USAGE, "first %d", 1);
    return COHORT_OK;
}

static cohort_status pass_on(void)
{
    COHORT_TRY(raise_one());
    return COHORT_OK;
}

static void errors_keep_message_and_trace(void **state)
{
    (void)state;
    assert_fails(pass_on(), COHORT_USAGE, "first 1");
    assert_non_null(strstr(cohort_error_trace(), " < "));
    assert_int_equal(cohort_error_prefix(COHORT_USAGE, "file %s", "x"), COHORT_USAGE);
    assert_string_equal(cohort_error_message(), "file x: first 1");
    assert_int_equal(cohort_status_exit_code(COHORT_STOPPED), 75);
    /* Whatever a file has for a name, it stays one line, and text. */
    assert_int_equal(COHORT_FAIL(COHORT_DATA, "a\nb\r%s\x7f", "\x1b[31m \xc3\xa9"), COHORT_DATA);
    assert_string_equal(cohort_error_message(), "a b  [31m \xc3\xa9 ");
}

static void arena_and_growth(void **state)
{
    (void)state;
    cohort_arena *arena = NULL;
    assert_ok(cohort_arena_create(&arena));
    for (size_t i = 1; i < 3000; i += 37) {
        unsigned char *memory = NULL;
        assert_ok(cohort_arena_take((void **)&memory, arena, i * 10));
        for (size_t k = 0; k < i * 10; k++)
            assert_int_equal(memory[k], 0);
        memset(memory, 255, i * 10);
    }
    cohort_arena_destroy(arena);
    float *vector = NULL;
    assert_ok(COHORT_ALLOCATE(&vector, 1000));
    assert_int_equal((uintptr_t)vector % 64, 0);
    cohort_free(vector);
    assert_fails(COHORT_ALLOCATE(&vector, SIZE_MAX / 2), COHORT_MEMORY, "cannot allocate");
}

/* Digits of the sum of every STEP-th of VALUES from FIRST on. */
static void exact_sum_of(double digits[COHORT_EXACT_DIGITS], const double *values, size_t count,
                         size_t first, size_t step)
{
    memset(digits, 0, COHORT_EXACT_DIGITS * sizeof *digits);
    for (size_t i = first; i < count; i += step)
        cohort_exact_add(digits, values[i]);
}

/* Losses from 1e-12 to 1e6: whatever the order and whoever adds, the same bits; as near to the sum
 * as a double can be. */
static void exact_sums_have_no_order(void **state)
{
    (void)state;
    enum { COUNT = 3000 };
    double values[COUNT], digits[COHORT_EXACT_DIGITS];
    cohort_rng rng = cohort_rng_make(7, COHORT_RNG_INIT, 0, 0, 0);
    long double reference = 0;
    double plain = 0, backwards = 0;
    for (size_t i = 0; i < COUNT; i++) {
        values[i] = pow(10, 18 * cohort_rng_double(&rng) - 12) * (i % 7 ? 1 : -1);
        reference += (long double)values[i];
        plain += values[i];
    }
    for (size_t i = COUNT; i-- > 0;)
        backwards += values[i];
    assert_true(plain != backwards); /* these terms do depend on their order */
    exact_sum_of(digits, values, COUNT, 0, 1);
    const double total = cohort_exact_total(digits);
    assert_true(fabs(total - (double)reference) <= 4e-16 * fabs((double)reference));
    for (size_t parts = 2; parts <= 7; parts++) {
        double sum[COHORT_EXACT_DIGITS] = {0};
        for (size_t part = parts; part-- > 0;) {
            exact_sum_of(digits, values, COUNT, part, parts);
            for (size_t i = 0; i < COHORT_EXACT_DIGITS; i++)
                sum[i] += digits[i];
        }
        assert_true(cohort_exact_total(sum) == total);
    }
    cohort_exact_add(digits, 1e300);
    assert_true(cohort_exact_total(digits) == 1e300);
    cohort_exact_add(digits, (double)INFINITY);
    assert_true(isinf(cohort_exact_total(digits)));
    cohort_exact_add(digits, (double)NAN);
    assert_true(isnan(cohort_exact_total(digits)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(philox_known_answers),
        cmocka_unit_test(stream_seeks_and_distributes),
        cmocka_unit_test(permutation_is_a_bijection),
        cmocka_unit_test(hash_known_answers),
        cmocka_unit_test(words_and_numbers),
        cmocka_unit_test(json_nests_and_escapes),
        cmocka_unit_test(parts_cover_everything),
        cmocka_unit_test(files_are_replaced_whole),
        cmocka_unit_test(errors_keep_message_and_trace),
        cmocka_unit_test(arena_and_growth),
        cmocka_unit_test(exact_sums_have_no_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
