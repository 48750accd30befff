/* The report's readers and writers of text. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "report/flat.h"
#include "report/history.h"
#include "report/html.h"
#include "tests/cmocka_all.h"

/* A run folder with METRICS. */
static void make_run(char *folder, const char *metrics)
{
    char path[64];
    strcpy(folder, "/tmp/cohort-report-XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/metrics.jsonl", folder);
    assert_int_equal(cohort_file_write(path, metrics, strlen(metrics)), COHORT_OK);
}

static void remove_run(const char *folder)
{
    char path[64];
    snprintf(path, sizeof path, "%s/metrics.jsonl", folder);
    unlink(path);
    rmdir(folder);
}

/* A run continued from an earlier checkpoint counts with its later records. */
static void test_continued(void **state)
{
    (void)state;
    char folder[64];
    cohort_history *history = NULL;
    cohort_series series;
    make_run(folder, "{\"event\":\"start\",\"name\":\"n\"}\n"
                     "{\"event\":\"step\",\"step\":1,\"loss\":4}\n"
                     "{\"event\":\"step\",\"step\":2,\"loss\":3}\n"
                     "{\"event\":\"step\",\"step\":3,\"loss\":null}\n"
                     "{\"event\":\"end\"}\n"
                     "not json\n"
                     "[\"no object\"]\n"
                     "{\"event\":\"start\",\"name\":\"n\"}\n"
                     "{\"event\":\"step\",\"step\":2,\"loss\":5}\n"
                     "{\"event\":\"step\",\"step\":4,\"loss\":2}\n");
    assert_int_equal(cohort_history_open(&history, folder), COHORT_OK);
    assert_int_equal(cohort_history_unreadable(history), 2);
    assert_string_equal(cohort_history_name(history), "n");
    assert_null(cohort_history_end(history));
    assert_non_null(cohort_history_last(history, "end"));
    assert_int_equal(cohort_history_series(&series, history, "step", "step", "loss"), COHORT_OK);
    assert_int_equal(series.count, 3);
    const double x[] = {1, 2, 4}, y[] = {4, 5, 2};
    assert_memory_equal(series.x, x, sizeof x);
    assert_memory_equal(series.y, y, sizeof y);
    assert_true(isnan(cohort_record_number(NULL, "loss")));
    cohort_series_clear(&series);
    cohort_history_close(history);
    remove_run(folder);
}

static void test_flat(void **state)
{
    (void)state;
    cohort_flat flat;
    assert_int_equal(cohort_flat_read(&flat, "name: a\n"
                                             "optimizer:\n"
                                             "  type: adam\n"
                                             "  schedule:\n"
                                             "    type: cosine\n"
                                             "model:\n"
                                             "  - flatten\n"
                                             "  - residual:\n"
                                             "      layers:\n"
                                             "        - dense: {units: 2}\n"
                                             "      shortcut:\n"
                                             "        - flatten\n"
                                             "  - dense: {units: 3}\n"
                                             "loss: mse\n"),
                     COHORT_OK);
    assert_string_equal(cohort_flat_get(&flat, "name"), "a");
    assert_string_equal(cohort_flat_get(&flat, "optimizer.schedule.type"), "cosine");
    assert_string_equal(cohort_flat_get(&flat, "model.0"), "flatten");
    assert_string_equal(cohort_flat_get(&flat, "model.1"), "residual");
    assert_string_equal(cohort_flat_get(&flat, "model.1.layers.0"), "dense: {units: 2}");
    assert_string_equal(cohort_flat_get(&flat, "model.1.shortcut.0"), "flatten");
    assert_string_equal(cohort_flat_get(&flat, "model.2"), "dense: {units: 3}");
    assert_string_equal(cohort_flat_get(&flat, "loss"), "mse");
    assert_null(cohort_flat_get(&flat, "optimizer"));
    cohort_flat_clear(&flat);
}

static void test_escape(void **state)
{
    (void)state;
    cohort_text text = {0};
    cohort_html_escape(&text, "<a href='x'>\"&\" \xc3\xa9 \xff\xc3 \x01"
                              "end");
    assert_string_equal(text.data, "&lt;a href=&#39;x&#39;&gt;&quot;&amp;&quot; \xc3\xa9 "
                                   "\xef\xbf\xbd\xef\xbf\xbd end");
    cohort_text_clear(&text);
}

/* 2 x 1 pixels, red above blue: rows from the bottom, blue first, filled up to 4 bytes. */
static void test_image(void **state)
{
    (void)state;
    const uint8_t pixels[] = {255, 0, 0, 0, 0, 255};
    cohort_text text = {0};
    cohort_html_image(&text, pixels, 2, 1, 3, "a \"b\"");
    assert_non_null(strstr(text.data, "width=\"48\" height=\"96\" alt=\"a &quot;b&quot;\""));
    assert_non_null(strstr(text.data, "base64,Qk0+AAAA"));
    assert_non_null(strstr(text.data, "/wAAAAAA/wA=\">"));
    cohort_text_clear(&text);
}

static void test_numbers(void **state)
{
    (void)state;
    char text[32];
    assert_string_equal(cohort_html_number(text, 0.01234567), "0.01235");
    assert_string_equal(cohort_html_number(text, 93322), "93322");
    assert_string_equal(cohort_html_percent(text, 0.98214), "98.21\xc2\xa0%");
    assert_string_equal(cohort_html_duration(text, 3725), "1 h 02 min");
    assert_string_equal(cohort_html_duration(text, NAN), "\xe2\x80\x93");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_continued), cmocka_unit_test(test_flat),
        cmocka_unit_test(test_escape),    cmocka_unit_test(test_image),
        cmocka_unit_test(test_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
