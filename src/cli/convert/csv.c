/* Tables of numbers in delimited text. */
#include <ctype.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/rng.h"
#include "cli/convert/csv_reader.h"
#include "cli/convert/format.h"
#include "data/dictionary.h"

enum { FEATURE, LABEL, IGNORED };

/* Everything read so far, row by row. */
typedef struct table {
    const cohort_options *options;
    char delimiter;
    bool regression;
    size_t column_count, feature_count, label_count;
    unsigned char *roles; /* [column_count] */
    char **names;         /* [column_count], or NULL without a header */
    float *x;             /* [rows][feature_count] */
    float *values;        /* [rows][label_count], regression */
    int32_t *labels;      /* [rows], numbers in `classes` */
    size_t x_capacity, value_capacity, label_capacity, row_count;
    cohort_dictionary *classes;
} table;

static bool is_finite_number(double *out, const char *text)
{
    return cohort_parse_double(out, text) && isfinite(*out);
}

/* A column given by name, or by number from 1. */
static cohort_status find_column(size_t *out, const table *t, const char *option, const char *name)
{
    for (size_t i = 0; t->names && i < t->column_count; i++) {
        if (strcmp(t->names[i], name) == 0) {
            *out = i;
            return COHORT_OK;
        }
    }
    int64_t number = 0;
    if (cohort_parse_int64(&number, name) && number >= 1 && (uint64_t)number <= t->column_count) {
        *out = (size_t)number - 1;
        return COHORT_OK;
    }
    const char *nearest =
        t->names ? cohort_nearest_word(name, (const char *const *)t->names, t->column_count) : NULL;
    return COHORT_FAIL(COHORT_USAGE,
                       "convert csv: --%s %s: no such column; %s%s%sthere are %zu, numbered from 1",
                       option, name, nearest ? "did you mean " : "", nearest ? nearest : "",
                       nearest ? "? " : "", t->column_count);
}

static cohort_status assign_role(table *t, const char *option, unsigned char role)
{
    size_t count = 0, column = 0;
    const char *const *names = cohort_options_list(&count, t->options, option);
    for (size_t i = 0; i < count; i++) {
        COHORT_TRY(find_column(&column, t, option, names[i]));
        COHORT_REQUIRE(t->roles[column] == FEATURE, COHORT_USAGE,
                       "convert csv: column %s is named twice", names[i]);
        t->roles[column] = role;
    }
    return COHORT_OK;
}

/* Whether COLUMN (from 0) may hold texts in every row: class names and what is ignored. */
static bool may_hold_text(const table *t, size_t column)
{
    static const char *const lists[2] = {"ignore", "label"};
    for (size_t list = 0; list < 2; list++) {
        size_t count = 0;
        const char *const *names = cohort_options_list(&count, t->options, lists[list]);
        if (list == 1 && t->regression)
            return false;
        for (size_t i = 0; i < count; i++) {
            int64_t number = 0;
            if (cohort_parse_int64(&number, names[i]) && number == (int64_t)column + 1)
                return true;
        }
    }
    return !cohort_options_given(t->options, "label") && column + 1 == t->column_count;
}

static bool names_a_column(const table *t, const char *option)
{
    size_t count = 0;
    int64_t number = 0;
    const char *const *names = cohort_options_list(&count, t->options, option);
    for (size_t i = 0; i < count; i++)
        if (!cohort_parse_int64(&number, names[i]))
            return true;
    return false;
}

/* A first line of names has texts where the other lines have numbers. */
static cohort_status find_header(bool *header, const table *t, const char *path,
                                 const char *const *fields)
{
    *header = cohort_options_given(t->options, "header") || names_a_column(t, "label") ||
              names_a_column(t, "ignore");
    if (*header || cohort_options_given(t->options, "no-header"))
        return COHORT_OK;
    size_t texts = 0, numbers = 0;
    double value;
    for (size_t i = 0; i < t->column_count; i++) {
        if (may_hold_text(t, i) || !*fields[i])
            continue;
        if (is_finite_number(&value, fields[i]))
            numbers++;
        else
            texts++;
    }
    COHORT_REQUIRE(texts == 0 || numbers == 0, COHORT_DATA,
                   "%s line 1 has both numbers and texts: say --header if these are names, "
                   "--no-header if not",
                   path);
    *header = texts > 0;
    return COHORT_OK;
}

static cohort_status keep_names(table *t, const char *const *fields)
{
    t->names = calloc(t->column_count, sizeof *t->names);
    COHORT_REQUIRE(t->names, COHORT_MEMORY, "out of memory");
    for (size_t i = 0; i < t->column_count; i++) {
        t->names[i] = strdup(fields[i]);
        COHORT_REQUIRE(t->names[i], COHORT_MEMORY, "out of memory");
    }
    return COHORT_OK;
}

/* Settles the columns by the first record. */
static cohort_status plan_columns(table *t, const char *const *fields, size_t count, bool header)
{
    t->column_count = count;
    t->roles = calloc(count, 1);
    COHORT_REQUIRE(t->roles, COHORT_MEMORY, "out of memory");
    if (header)
        COHORT_TRY(keep_names(t, fields));
    COHORT_TRY(assign_role(t, "ignore", IGNORED));
    COHORT_TRY(assign_role(t, "label", LABEL));
    if (!cohort_options_given(t->options, "label"))
        for (size_t i = count; i-- > 0;)
            if (t->roles[i] == FEATURE) {
                t->roles[i] = LABEL;
                break;
            }
    for (size_t i = 0; i < count; i++) {
        t->feature_count += t->roles[i] == FEATURE;
        t->label_count += t->roles[i] == LABEL;
    }
    COHORT_REQUIRE(t->feature_count > 0 && t->label_count > 0, COHORT_DATA,
                   "a table needs a column of labels and another one; this one has %zu columns "
                   "(another --delimiter?)",
                   count);
    COHORT_REQUIRE(t->regression || t->label_count == 1, COHORT_USAGE,
                   "convert csv: several --label columns need --regression");
    return COHORT_OK;
}

static cohort_status not_a_number(const table *t, const cohort_csv_reader *reader, size_t column,
                                  const char *path, const char *field)
{
    return COHORT_FAIL(COHORT_DATA,
                       "%s line %zu, column %zu%s%s%s: %s%.40s%s; mend the value, drop the row, or "
                       "leave the column out with --ignore",
                       path, cohort_csv_line(reader), column + 1, t->names ? " (" : "",
                       t->names ? t->names[column] : "", t->names ? ")" : "",
                       *field ? "\"" : "the value is missing", field,
                       *field ? "\" is not a number" : "");
}

static cohort_status add_label(table *t, const char *path, const cohort_csv_reader *reader,
                               size_t column, const char *field)
{
    COHORT_REQUIRE(*field, COHORT_DATA, "%s line %zu, column %zu: the label is missing", path,
                   cohort_csv_line(reader), column + 1);
    uint32_t id = 0;
    COHORT_TRY(
        cohort_grow((void **)&t->labels, &t->label_capacity, t->row_count + 1, sizeof *t->labels));
    COHORT_TRY(cohort_dictionary_add(&id, t->classes, field, strlen(field)));
    t->labels[t->row_count] = (int32_t)id;
    return COHORT_OK;
}

static cohort_status add_row(table *t, const char *path, const cohort_csv_reader *reader,
                             const char *const *fields, size_t count)
{
    COHORT_REQUIRE(count == t->column_count, COHORT_DATA,
                   "%s line %zu: %zu columns where the first line has %zu", path,
                   cohort_csv_line(reader), count, t->column_count);
    COHORT_TRY(cohort_grow((void **)&t->x, &t->x_capacity, (t->row_count + 1) * t->feature_count,
                           sizeof *t->x));
    COHORT_TRY(cohort_grow((void **)&t->values, &t->value_capacity,
                           (t->row_count + 1) * t->label_count, sizeof *t->values));
    float *x = t->x + t->row_count * t->feature_count;
    float *values = t->values + t->row_count * t->label_count;
    for (size_t i = 0; i < count; i++) {
        double value = 0;
        if (t->roles[i] == IGNORED)
            continue;
        if (t->roles[i] == LABEL && !t->regression) {
            COHORT_TRY(add_label(t, path, reader, i, fields[i]));
            continue;
        }
        /* The bound of float, so that nothing becomes infinite on the way. */
        if (!is_finite_number(&value, fields[i]) || fabs(value) > 3.4e38)
            return not_a_number(t, reader, i, path, fields[i]);
        if (t->roles[i] == LABEL)
            *values++ = (float)value;
        else
            *x++ = (float)value;
    }
    t->row_count++;
    return COHORT_OK;
}

static cohort_status read_records(table *t, const char *path, cohort_csv_reader *reader)
{
    const char *const *fields = NULL;
    size_t count = 0;
    const size_t before = t->row_count;
    COHORT_TRY(cohort_csv_read(&fields, &count, reader));
    COHORT_REQUIRE(count > 0, COHORT_DATA, "%s is empty", path);
    const bool first_file = t->column_count == 0;
    if (first_file)
        t->column_count = count;
    COHORT_REQUIRE(count == t->column_count, COHORT_DATA,
                   "%s has %zu columns, the training file has %zu", path, count, t->column_count);
    bool header = false;
    COHORT_TRY(find_header(&header, t, path, fields));
    if (first_file)
        COHORT_TRY(plan_columns(t, fields, count, header));
    cohort_progress progress = cohort_progress_begin("reading bytes", 0);
    cohort_status status = COHORT_OK;
    if (!header)
        COHORT_TRY_DONE(status, add_row(t, path, reader, fields, count));
    for (;;) {
        COHORT_TRY_DONE(status, cohort_csv_read(&fields, &count, reader));
        if (count == 0)
            break;
        COHORT_TRY_DONE(status, add_row(t, path, reader, fields, count));
        cohort_progress_at(&progress, cohort_csv_offset(reader));
    }
    COHORT_REQUIRE_DONE(status, t->row_count > before, COHORT_DATA, "%s has no rows", path);
done:
    cohort_progress_end(&progress);
    return status;
}

static cohort_status read_table(table *t, const char *path)
{
    cohort_csv_reader *reader = NULL;
    COHORT_TRY(cohort_csv_open(&reader, path, t->delimiter));
    cohort_status status = read_records(t, path, reader);
    cohort_csv_close(reader);
    return status;
}

/* Class names in order: as numbers if all are whole numbers, else as bytes. */
typedef struct class_name {
    const char *text;
    int64_t number;
    uint32_t id;
    bool numeric;
} class_name;

static int compare_names(const void *a, const void *b)
{
    const class_name *left = a, *right = b;
    if (left->numeric && right->numeric && left->number != right->number)
        return left->number < right->number ? -1 : 1;
    return strcmp(left->text, right->text);
}

static cohort_status write_sorted(cohort_writer *writer, table *t, class_name *names, size_t count)
{
    const char **texts = calloc(count, sizeof *texts);
    int32_t *rank = calloc(count, sizeof *rank);
    cohort_status status = COHORT_OK;
    COHORT_REQUIRE_DONE(status, texts && rank, COHORT_MEMORY, "out of memory");
    qsort(names, count, sizeof *names, compare_names);
    for (size_t i = 0; i < count; i++) {
        texts[i] = names[i].text;
        rank[names[i].id] = (int32_t)i;
    }
    for (size_t row = 0; row < t->row_count; row++)
        t->labels[row] = rank[t->labels[row]];
    COHORT_TRY_DONE(status, cohort_writer_attribute_list(writer, "classes", texts, count));
done:
    free(texts);
    free(rank);
    return status;
}

/* Renumbers the labels by the sorted class names and writes these. */
static cohort_status sort_classes(cohort_writer *writer, table *t)
{
    const uint32_t count = cohort_dictionary_count(t->classes);
    /* Measured values taken for classes would give about as many classes as rows. */
    COHORT_REQUIRE(count <= 1000 || count <= t->row_count / 10, COHORT_USAGE,
                   "convert csv: the label column has %u different values; use --regression for "
                   "numbers to predict, or another --label",
                   count);
    class_name *names = calloc(count, sizeof *names);
    COHORT_REQUIRE(names, COHORT_MEMORY, "out of memory");
    bool numeric = true;
    for (uint32_t i = 0; i < count; i++) {
        names[i] = (class_name){.text = cohort_dictionary_text(t->classes, i), .id = i};
        numeric = numeric && cohort_parse_int64(&names[i].number, names[i].text);
    }
    for (uint32_t i = 0; i < count; i++)
        names[i].numeric = numeric;
    cohort_status status = write_sorted(writer, t, names, count);
    free(names);
    return status;
}

static cohort_status name_features(cohort_writer *writer, const table *t)
{
    if (!t->names)
        return COHORT_OK;
    const char **names = calloc(t->feature_count, sizeof *names);
    COHORT_REQUIRE(names, COHORT_MEMORY, "out of memory");
    for (size_t i = 0, at = 0; i < t->column_count; i++)
        if (t->roles[i] == FEATURE)
            names[at++] = t->names[i];
    cohort_status status =
        cohort_writer_attribute_list(writer, "features", names, t->feature_count);
    free(names);
    return status;
}

typedef struct group {
    size_t x, y;
} group;

static cohort_status add_group(group *out, cohort_writer *writer, const table *t, const char *name,
                               int deflate)
{
    cohort_shape values = {.dim_count = t->regression, .dims = {t->label_count}};
    COHORT_TRY(cohort_writer_add(&out->x, writer, name, "x", COHORT_F32,
                                 &cohort_shape_of(t->feature_count), deflate));
    return cohort_writer_add(&out->y, writer, name, "y", t->regression ? COHORT_F32 : COHORT_I32,
                             &values, 0);
}

/* Rows from TEST_BEGIN on are the test file's; without one, TEST_COUNT rows drawn by SEED. */
static cohort_status write_rows(cohort_writer *writer, const table *t, size_t test_begin,
                                size_t test_count, uint64_t seed, int deflate)
{
    group groups[2];
    COHORT_TRY(add_group(&groups[0], writer, t, "train", deflate));
    if (test_count > 0 || test_begin < t->row_count)
        COHORT_TRY(add_group(&groups[1], writer, t, "test", deflate));
    cohort_permutation order =
        cohort_permutation_make(t->row_count, seed, COHORT_RNG_CONVERT, 0, 0);
    for (size_t row = 0; row < t->row_count; row++) {
        bool test = row >= test_begin ||
                    (test_count > 0 && cohort_permutation_at(&order, row) < test_count);
        const group *to = &groups[test];
        const void *y = t->regression ? (const void *)(t->values + row * t->label_count)
                                      : (const void *)(t->labels + row);
        COHORT_TRY(cohort_writer_append(writer, to->x, t->x + row * t->feature_count, 1));
        COHORT_TRY(cohort_writer_append(writer, to->y, y, 1));
    }
    return COHORT_OK;
}

static void clear_table(table *t)
{
    for (size_t i = 0; t->names && i < t->column_count; i++)
        free(t->names[i]);
    free(t->names);
    free(t->roles);
    free(t->x);
    free(t->values);
    free(t->labels);
    cohort_dictionary_destroy(t->classes);
}

static cohort_status convert(cohort_writer *writer, table *t, double test_fraction, uint64_t seed)
{
    const cohort_options *options = t->options;
    int deflate = 0;
    COHORT_TRY(cohort_format_compression(&deflate, options));
    COHORT_TRY(cohort_dictionary_create(&t->classes));
    COHORT_TRY(read_table(t, options->positional[0]));
    size_t test_begin = t->row_count, test_count = 0;
    if (options->positional_count == 2) {
        COHORT_TRY(read_table(t, options->positional[1]));
    } else {
        test_count = (size_t)llround((double)t->row_count * test_fraction);
        COHORT_REQUIRE(test_count < t->row_count, COHORT_USAGE,
                       "convert csv: --test %g of %zu rows leaves none to train on", test_fraction,
                       t->row_count);
    }
    if (!t->regression)
        COHORT_TRY(sort_classes(writer, t));
    COHORT_TRY(name_features(writer, t));
    return write_rows(writer, t, test_begin, test_count, seed, deflate);
}

static cohort_status run(cohort_writer *writer, const cohort_options *options)
{
    double test_fraction = 0;
    uint64_t seed = 0;
    const char *delimiter = cohort_options_get(options, "delimiter");
    table t = {.options = options, .regression = cohort_options_given(options, "regression")};
    COHORT_TRY(cohort_options_number(&test_fraction, options, "test", 0.2, 0, 1));
    COHORT_TRY(cohort_format_seed(&seed, options));
    COHORT_TRY(cohort_csv_delimiter(&t.delimiter, delimiter ? delimiter : ","));
    COHORT_REQUIRE(!cohort_options_given(options, "header") ||
                       !cohort_options_given(options, "no-header"),
                   COHORT_USAGE, "convert csv: --header and --no-header contradict each other");
    COHORT_REQUIRE(options->positional_count == 1 || !cohort_options_given(options, "test"),
                   COHORT_USAGE, "convert csv: --test does not go with a test file");
    cohort_status status = convert(writer, &t, test_fraction, seed);
    clear_table(&t);
    return status;
}

static const cohort_option options[] = {
    {"label", "COLUMN", "what to predict, by name or number from 1 (default: the last column)",
     true},
    {"regression", NULL, "labels are numbers, y is float32 [n][labels]; --label may be repeated",
     false},
    {"ignore", "COLUMN", "leaves a column out; may be repeated", true},
    {"header", NULL, "the first line holds names (default: if it looks so)", false},
    {"no-header", NULL, "the first line holds values", false},
    {"delimiter", "CHARACTER", "between columns, or the word tab (default: ,)", false},
    {"test", "FRACTION", "of the rows, drawn by seed, that become /test (default: 0.2)", false},
    {"seed", "N", "of that draw (default: 1)", false},
};

const cohort_format cohort_format_csv = {
    .name = "csv",
    .usage = "FILE.csv [TEST.csv]",
    .summary = "tables of numbers with a label column",
    .help = "Reads delimited text (RFC 4180). Every column but the labels must hold numbers in\n"
            "every row. Labels may be texts or numbers; they are sorted (whole numbers by value)\n"
            "and numbered from 0. Writes /train and /test: x float32 [n][columns], y class\n"
            "numbers [n] with the attribute `classes`; column names as the attribute `features`.",
    .options = options,
    .option_count = sizeof options / sizeof *options,
    .least = 1,
    .most = 2,
    .run = run,
};
