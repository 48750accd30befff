/* Tables in delimited text: numbers, categories, labels. */
#include <ctype.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "cli/convert/csv_reader.h"
#include "cli/convert/split.h"
#include "data/dictionary.h"
#include "data/table.h"

enum { FEATURE, CATEGORY, LABEL, IGNORED };
enum { CATEGORIES_MAX = 4096 }; /* of a column: more are hardly categories */

/* What is done about missing values. */
typedef enum missing_rule {
    MISSING_ERROR,
    MISSING_DROP,
    MISSING_MEAN,
    MISSING_CONSTANT
} missing_rule;

/* Everything read so far, row by row. */
typedef struct table {
    const cohort_options *options;
    char delimiter;
    bool regression;
    missing_rule missing;
    double constant;                /* MISSING_CONSTANT */
    cohort_table_encoding encoding; /* its marks from the start, its columns when all is read */
    size_t column_count, feature_count, label_count, dropped;
    unsigned char *roles;           /* [column_count] */
    char **names;                   /* [column_count], or NULL without a header */
    cohort_dictionary *name_ids;    /* of the names */
    size_t *named;                  /* [column_count]: the first column of a name's number */
    size_t *places;                 /* [column_count]: where the file being read has a column */
    const char **fields;            /* [column_count]: a record of it in the columns' order */
    cohort_dictionary **categories; /* [column_count], NULL but for categories */
    float *x;      /* [rows][feature_count] as read: numbers, numbers of categories; NaN: missing */
    float *values; /* [rows][label_count], regression */
    int32_t *labels; /* [rows], numbers in `classes` */
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
    static const char *const lists[3] = {"ignore", "categorical", "label"};
    for (size_t list = 0; list < 3; list++) {
        size_t count = 0;
        const char *const *names = cohort_options_list(&count, t->options, lists[list]);
        if (list == 2 && t->regression)
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
              names_a_column(t, "ignore") || names_a_column(t, "categorical");
    if (*header || cohort_options_given(t->options, "no-header"))
        return COHORT_OK;
    size_t texts = 0, numbers = 0, numbers_anywhere = 0;
    for (size_t i = 0; i < t->column_count; i++) {
        double value;
        if (cohort_table_is_missing(&t->encoding, fields[i]))
            continue;
        const bool number = is_finite_number(&value, fields[i]);
        numbers_anywhere += number;
        if (may_hold_text(t, i))
            continue;
        numbers += number;
        texts += !number;
    }
    COHORT_REQUIRE(texts == 0 || numbers == 0, COHORT_DATA,
                   "%s line 1 has both numbers and texts: say --header if these are names, "
                   "--no-header if not",
                   path);
    /* A table of one column is refused later, with the likely reason. */
    COHORT_REQUIRE(texts > 0 || numbers_anywhere > 0 || t->column_count == 1, COHORT_DATA,
                   "%s line 1 has only texts, as the columns may: say --header if these are "
                   "names, --no-header if not",
                   path);
    *header = texts > 0;
    return COHORT_OK;
}

/* The column named TEXT; SIZE_MAX: none. */
static size_t find_name(const table *t, const char *text)
{
    const uint32_t id = cohort_dictionary_find(t->name_ids, text, strlen(text));
    return id == COHORT_DICTIONARY_NONE ? SIZE_MAX : t->named[id];
}

/* The first line of a test file: names in any order; or else a row in the training file's order,
 * which holds what its columns may and, where nothing but texts tells, none of the names. */
static cohort_status place_columns(bool *header, table *t, const char *path,
                                   const char *const *fields)
{
    size_t named = 0, numbers = 0;
    *header = false;
    if (!t->names)
        return find_header(header, t, path, fields);
    for (size_t i = 0; i < t->column_count; i++)
        named += find_name(t, fields[i]) != SIZE_MAX;
    bool values = !cohort_options_given(t->options, "header");
    for (size_t i = 0; i < t->column_count && values; i++) {
        double value;
        const bool number = is_finite_number(&value, fields[i]);
        if (t->roles[i] != FEATURE && !(t->roles[i] == LABEL && t->regression))
            continue;
        numbers += number;
        values = number || cohort_table_is_missing(&t->encoding, fields[i]);
    }
    if (values && (named == 0 || (numbers > 0 && named < t->column_count)))
        return COHORT_OK;
    for (size_t i = 0; i < t->column_count; i++)
        t->places[i] = SIZE_MAX;
    for (size_t i = 0; i < t->column_count; i++) {
        const size_t match = find_name(t, fields[i]);
        COHORT_REQUIRE(match != SIZE_MAX, COHORT_DATA,
                       "%s line 1, column %zu: \"%.40s\" is neither the name of a column of the "
                       "training file nor a row's value",
                       path, i + 1, fields[i]);
        if (t->roles[match] == IGNORED && t->places[match] != SIZE_MAX)
            continue; /* names of columns that are left out may be the same */
        COHORT_REQUIRE(t->places[match] == SIZE_MAX, COHORT_DATA,
                       "%s line 1 names the column \"%.40s\" twice", path, fields[i]);
        t->places[match] = i;
    }
    for (size_t i = 0; i < t->column_count; i++)
        if (t->places[i] == SIZE_MAX) /* left out: what is there is never looked at */
            t->places[i] = 0;
    *header = true;
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

/* Names are what test files' columns, and those to predict on, are found by: one that is used
 * must be the only one. */
static cohort_status number_names(table *t, const char *path)
{
    COHORT_TRY(cohort_dictionary_create(&t->name_ids));
    t->named = calloc(t->column_count, sizeof *t->named);
    COHORT_REQUIRE(t->named, COHORT_MEMORY, "out of memory");
    for (size_t i = 0; i < t->column_count; i++) {
        const uint32_t known = cohort_dictionary_count(t->name_ids);
        uint32_t id = 0;
        COHORT_TRY(cohort_dictionary_add(&id, t->name_ids, t->names[i], strlen(t->names[i])));
        if (id == known)
            t->named[id] = i;
        const size_t first = t->named[id];
        COHORT_REQUIRE(first == i || (t->roles[i] == IGNORED && t->roles[first] == IGNORED),
                       COHORT_DATA,
                       "%s line 1: columns %zu and %zu are both named \"%.40s\"; rename one", path,
                       first + 1, i + 1, t->names[i]);
    }
    return COHORT_OK;
}

/* Settles the columns by the first record. */
static cohort_status plan_columns(table *t, const char *path, const char *const *fields,
                                  size_t count, bool header)
{
    t->column_count = count;
    t->roles = calloc(count, 1);
    t->categories = calloc(count, sizeof *t->categories);
    t->places = calloc(count, sizeof *t->places);
    t->fields = calloc(count, sizeof *t->fields);
    COHORT_REQUIRE(t->roles && t->categories && t->places && t->fields, COHORT_MEMORY,
                   "out of memory");
    if (header)
        COHORT_TRY(keep_names(t, fields));
    COHORT_TRY(assign_role(t, "ignore", IGNORED));
    COHORT_TRY(assign_role(t, "label", LABEL));
    COHORT_TRY(assign_role(t, "categorical", CATEGORY));
    if (!cohort_options_given(t->options, "label"))
        for (size_t i = count; i-- > 0;)
            if (t->roles[i] == FEATURE) {
                t->roles[i] = LABEL;
                break;
            }
    for (size_t i = 0; i < count; i++) {
        t->feature_count += t->roles[i] == FEATURE || t->roles[i] == CATEGORY;
        if (t->roles[i] == CATEGORY)
            COHORT_TRY(cohort_dictionary_create(&t->categories[i]));
        t->label_count += t->roles[i] == LABEL;
    }
    COHORT_REQUIRE(t->feature_count > 0 && t->label_count > 0, COHORT_DATA,
                   "a table needs a column of labels and another one; this one has %zu columns "
                   "(another --delimiter?)",
                   count);
    COHORT_REQUIRE(t->regression || t->label_count == 1, COHORT_USAGE,
                   "convert csv: several --label columns need --regression");
    return header ? number_names(t, path) : COHORT_OK;
}

static cohort_status not_a_number(const table *t, const cohort_csv_reader *reader, size_t column,
                                  const char *path, const char *field)
{
    return COHORT_FAIL(
        COHORT_DATA, "%s line %zu, column %zu%s%s%s: %s%.40s%s; mend the value, or use %s", path,
        cohort_csv_line(reader), t->places[column] + 1, t->names ? " (" : "",
        t->names ? t->names[column] : "", t->names ? ")" : "",
        *field ? "\"" : "the value is missing", field, *field ? "\" is not a number" : "",
        *field ? "--categorical, --missing-mark or --ignore" : "--missing or --ignore");
}

static cohort_status add_label(table *t, const char *path, const cohort_csv_reader *reader,
                               size_t column, const char *field)
{
    COHORT_REQUIRE(!cohort_table_is_missing(&t->encoding, field), COHORT_DATA,
                   "%s line %zu, column %zu: the label is missing", path, cohort_csv_line(reader),
                   t->places[column] + 1);
    uint32_t id = 0;
    COHORT_TRY(
        cohort_grow((void **)&t->labels, &t->label_capacity, t->row_count + 1, sizeof *t->labels));
    COHORT_TRY(cohort_dictionary_add(&id, t->classes, field, strlen(field)));
    t->labels[t->row_count] = (int32_t)id;
    return COHORT_OK;
}

/* Whether a value is missing for which the row is to be left out. */
static bool is_dropped(const table *t, const char *const *fields)
{
    for (size_t i = 0; t->missing == MISSING_DROP && i < t->column_count; i++)
        if (t->roles[i] != IGNORED && cohort_table_is_missing(&t->encoding, fields[i]))
            return true;
    return false;
}

/* Feature or label value of a number column; NaN where a rule fills it in. */
static cohort_status read_number(float *out, const table *t, const char *path,
                                 const cohort_csv_reader *reader, size_t column, const char *field)
{
    double value = 0;
    const bool missing = cohort_table_is_missing(&t->encoding, field);
    if (missing && t->roles[column] == FEATURE && t->missing != MISSING_ERROR) {
        *out = NAN;
        return COHORT_OK;
    }
    /* The bound of float, so that nothing becomes infinite on the way. */
    if (missing || !is_finite_number(&value, field) || !isfinite((float)value))
        return not_a_number(t, reader, column, path, missing ? "" : field);
    *out = (float)value;
    return COHORT_OK;
}

static cohort_status read_category(float *out, table *t, const char *path,
                                   const cohort_csv_reader *reader, size_t column,
                                   const char *field)
{
    uint32_t id = 0;
    *out = NAN;
    if (cohort_table_is_missing(&t->encoding, field))
        return t->missing == MISSING_ERROR ? not_a_number(t, reader, column, path, "") : COHORT_OK;
    COHORT_TRY(cohort_dictionary_add(&id, t->categories[column], field, strlen(field)));
    COHORT_REQUIRE(id < CATEGORIES_MAX, COHORT_DATA,
                   "%s line %zu: column %zu has more than %d different values; is it really "
                   "--categorical?",
                   path, cohort_csv_line(reader), t->places[column] + 1, CATEGORIES_MAX);
    *out = (float)id;
    return COHORT_OK;
}

static cohort_status add_row(table *t, const char *path, const cohort_csv_reader *reader,
                             const char *const *record, size_t count)
{
    COHORT_REQUIRE(count == t->column_count, COHORT_DATA,
                   "%s line %zu: %zu columns where the first line has %zu", path,
                   cohort_csv_line(reader), count, t->column_count);
    const char **fields = t->fields;
    for (size_t i = 0; i < count; i++)
        fields[i] = record[t->places[i]];
    if (is_dropped(t, fields)) {
        t->dropped++;
        return COHORT_OK;
    }
    COHORT_TRY(cohort_grow((void **)&t->x, &t->x_capacity, (t->row_count + 1) * t->feature_count,
                           sizeof *t->x));
    COHORT_TRY(cohort_grow((void **)&t->values, &t->value_capacity,
                           (t->row_count + 1) * t->label_count, sizeof *t->values));
    float *x = t->x + t->row_count * t->feature_count;
    float *values = t->values + t->row_count * t->label_count;
    for (size_t i = 0; i < count; i++) {
        if (t->roles[i] == CATEGORY)
            COHORT_TRY(read_category(x++, t, path, reader, i, fields[i]));
        else if (t->roles[i] == FEATURE)
            COHORT_TRY(read_number(x++, t, path, reader, i, fields[i]));
        else if (t->roles[i] == LABEL && t->regression)
            COHORT_TRY(read_number(values++, t, path, reader, i, fields[i]));
        else if (t->roles[i] == LABEL)
            COHORT_TRY(add_label(t, path, reader, i, fields[i]));
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
    if (first_file) {
        COHORT_TRY(find_header(&header, t, path, fields));
        COHORT_TRY(plan_columns(t, path, fields, count, header));
    }
    for (size_t i = 0; i < count; i++)
        t->places[i] = i;
    if (!first_file)
        COHORT_TRY(place_columns(&header, t, path, fields));
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

/* ---- Encoding ---- */

/* Mean, deviation and what stands for missing values of raw feature AT, from training rows. */
static void measure_number(cohort_table_column *column, const table *t, const cohort_split *split,
                           size_t test_begin, size_t at)
{
    double sum = 0, squares = 0;
    size_t count = 0;
    for (int pass = 0; pass < 2; pass++) {
        for (size_t row = 0; row < test_begin; row++) {
            const double value = (double)t->x[row * t->feature_count + at];
            if (isnan(value) || cohort_split_is_test(split, row))
                continue;
            if (pass == 0) {
                sum += value;
                count++;
            } else {
                squares += (value - column->mean) * (value - column->mean);
            }
        }
        column->mean = count ? sum / (double)count : 0;
    }
    column->may_miss = t->missing == MISSING_MEAN || t->missing == MISSING_CONSTANT;
    column->fill = t->missing == MISSING_MEAN ? column->mean : t->constant;
    column->deviation = count ? sqrt(squares / (double)count) : 0;
    if (!cohort_options_given(t->options, "standardise")) {
        column->mean = 0;
        column->deviation = 1;
    } else if (!(column->deviation > 0)) { /* the same value everywhere */
        column->deviation = 1;
    }
}

typedef struct category {
    const char *text;
    uint32_t id;
} category;

static int compare_categories(const void *a, const void *b)
{
    return strcmp(((const category *)a)->text, ((const category *)b)->text);
}

/* The values in order; the numbers in x become places in that order. */
static cohort_status sort_categories(cohort_table_column *column, table *t, size_t index, size_t at)
{
    const uint32_t count = cohort_dictionary_count(t->categories[index]);
    category *sorted = calloc(count + 1, sizeof *sorted);
    const char **texts = calloc(count + 1, sizeof *texts);
    uint32_t *place = calloc(count + 1, sizeof *place);
    cohort_status status = COHORT_OK;
    COHORT_REQUIRE_DONE(status, sorted && texts && place, COHORT_MEMORY, "out of memory");
    COHORT_REQUIRE_DONE(status, count > 0, COHORT_DATA, "column %zu has no values at all",
                        index + 1);
    for (uint32_t i = 0; i < count; i++)
        sorted[i] = (category){cohort_dictionary_text(t->categories[index], i), i};
    qsort(sorted, count, sizeof *sorted, compare_categories);
    for (uint32_t i = 0; i < count; i++) {
        texts[i] = sorted[i].text;
        place[sorted[i].id] = i;
    }
    for (size_t row = 0; row < t->row_count; row++) {
        float *value = &t->x[row * t->feature_count + at];
        if (!isnan(*value))
            *value = (float)place[(uint32_t)*value];
    }
    column->values = texts;
    column->value_count = count;
    column->may_miss = t->missing == MISSING_MEAN || t->missing == MISSING_CONSTANT;
    status = cohort_table_add(&t->encoding, column);
done:
    free(sorted);
    free(texts);
    free(place);
    return status;
}

static cohort_status build_encoding(table *t, const cohort_split *split, size_t test_begin)
{
    static const cohort_table_role roles[] = {COHORT_TABLE_NUMBER, COHORT_TABLE_CATEGORY,
                                              COHORT_TABLE_LABEL, COHORT_TABLE_IGNORED};
    t->encoding.delimiter = t->delimiter;
    t->encoding.has_names = t->names != NULL;
    for (size_t i = 0, at = 0; i < t->column_count; i++) {
        cohort_table_column column = {
            .name = t->names ? t->names[i] : "", .role = roles[t->roles[i]], .deviation = 1};
        if (t->roles[i] == CATEGORY) {
            COHORT_TRY(sort_categories(&column, t, i, at++));
            continue;
        }
        if (t->roles[i] == FEATURE)
            measure_number(&column, t, split, test_begin, at++);
        COHORT_TRY(cohort_table_add(&t->encoding, &column));
    }
    return COHORT_OK;
}

static cohort_status write_encoding(cohort_writer *writer, const table *t)
{
    cohort_text text = {0};
    cohort_table_describe(&text, &t->encoding);
    cohort_status status = cohort_text_status(&text);
    if (status == COHORT_OK)
        status = cohort_writer_attribute(writer, "table", text.data);
    cohort_text_clear(&text);
    return status;
}

/* The attribute `features`: a column's name, or "column=value" for each value. */
static cohort_status name_features(cohort_writer *writer, const table *t)
{
    if (!t->names)
        return COHORT_OK;
    cohort_arena *arena = NULL;
    const char **names = NULL;
    cohort_text text = {0};
    size_t at = 0;
    cohort_status status = COHORT_OK;
    COHORT_TRY_DONE(status, cohort_arena_create(&arena));
    COHORT_TRY_DONE(status, COHORT_TAKE(&names, arena, cohort_table_width(&t->encoding)));
    for (size_t i = 0; i < t->column_count; i++) {
        const cohort_table_column *column = &t->encoding.columns[i];
        const size_t count = column->role == COHORT_TABLE_NUMBER     ? 1
                             : column->role == COHORT_TABLE_CATEGORY ? column->value_count
                                                                     : 0;
        for (size_t k = 0; k < count; k++) {
            char *copy = NULL;
            text.length = 0;
            cohort_text_append(&text, "%s%s%s", column->name,
                               column->role == COHORT_TABLE_CATEGORY ? "=" : "",
                               column->role == COHORT_TABLE_CATEGORY ? column->values[k] : "");
            COHORT_TRY_DONE(status, cohort_text_status(&text));
            COHORT_TRY_DONE(status, cohort_arena_copy(&copy, arena, text.data));
            names[at++] = copy;
        }
    }
    COHORT_TRY_DONE(status, cohort_writer_attribute_list(writer, "features", names, at));
done:
    cohort_text_clear(&text);
    cohort_arena_destroy(arena);
    return status;
}

/* OUT [width] = row ROW, encoded. */
static void encode_row(float *out, const table *t, size_t row)
{
    const float *x = t->x + row * t->feature_count;
    for (size_t i = 0; i < t->column_count; i++) {
        const cohort_table_column *column = &t->encoding.columns[i];
        if (column->role == COHORT_TABLE_NUMBER)
            out = cohort_table_put_number(out, column, *x++);
        else if (column->role == COHORT_TABLE_CATEGORY) {
            out = cohort_table_put_category(out, column, isnan(*x) ? SIZE_MAX : (size_t)*x);
            x++;
        }
    }
}

/* Rows from TEST_BEGIN on are the test file's. */
static cohort_status write_rows(cohort_writer *writer, const table *t, cohort_split *split,
                                size_t test_begin)
{
    const size_t width = cohort_table_width(&t->encoding);
    const cohort_split_shape shape = {.x = COHORT_F32,
                                      .y = t->regression ? COHORT_F32 : COHORT_I32,
                                      .x_shape = cohort_shape_of(width),
                                      .y_shape = {t->regression, {t->label_count}}};
    float *x = NULL;
    COHORT_TRY(cohort_split_open(split, writer, t->options, &shape, test_begin < t->row_count));
    COHORT_TRY(COHORT_ALLOCATE(&x, width));
    cohort_status status = COHORT_OK;
    for (size_t row = 0; row < t->row_count && status == COHORT_OK; row++) {
        const void *y = t->regression ? (const void *)(t->values + row * t->label_count)
                                      : (const void *)(t->labels + row);
        encode_row(x, t, row);
        status = cohort_split_append(split, row >= test_begin || cohort_split_is_test(split, row),
                                     x, y, 1);
    }
    cohort_free(x);
    return status;
}

static void clear_table(table *t)
{
    for (size_t i = 0; t->names && i < t->column_count; i++)
        free(t->names[i]);
    free(t->names);
    cohort_dictionary_destroy(t->name_ids);
    free(t->named);
    free(t->roles);
    free(t->places);
    free(t->fields);
    free(t->x);
    free(t->values);
    free(t->labels);
    cohort_dictionary_destroy(t->classes);
    for (size_t i = 0; t->categories && i < t->column_count; i++)
        cohort_dictionary_destroy(t->categories[i]);
    free(t->categories);
    cohort_table_clear(&t->encoding);
}

static cohort_status convert(cohort_writer *writer, table *t)
{
    const cohort_options *options = t->options;
    const bool has_test = options->positional_count == 2;
    cohort_split split = {0};
    COHORT_TRY(cohort_dictionary_create(&t->classes));
    COHORT_TRY(read_table(t, options->positional[0]));
    const size_t test_begin = t->row_count;
    if (has_test)
        COHORT_TRY(read_table(t, options->positional[1]));
    COHORT_TRY(cohort_split_draw(&split, options, test_begin, 0.2, has_test));
    if (!t->regression)
        COHORT_TRY(sort_classes(writer, t));
    COHORT_TRY(build_encoding(t, &split, test_begin));
    COHORT_TRY(name_features(writer, t));
    COHORT_TRY(write_encoding(writer, t));
    COHORT_TRY(write_rows(writer, t, &split, test_begin));
    if (t->dropped)
        printf("left out %zu rows with missing values\n", t->dropped);
    return COHORT_OK;
}

/* --missing and --missing-mark. */
static cohort_status read_rules(table *t)
{
    const char *rule = cohort_options_get(t->options, "missing");
    size_t count = 0;
    const char *const *marks = cohort_options_list(&count, t->options, "missing-mark");
    for (size_t i = 0; i < count; i++)
        COHORT_TRY(cohort_table_add_mark(&t->encoding, marks[i]));
    if (!rule || strcmp(rule, "error") == 0)
        return COHORT_OK;
    t->missing = strcmp(rule, "drop") == 0   ? MISSING_DROP
                 : strcmp(rule, "mean") == 0 ? MISSING_MEAN
                                             : MISSING_CONSTANT;
    COHORT_REQUIRE(t->missing != MISSING_CONSTANT ||
                       (is_finite_number(&t->constant, rule) && isfinite((float)t->constant)),
                   COHORT_USAGE, "convert csv: --missing %s: must be error, drop, mean or a number",
                   rule);
    return COHORT_OK;
}

static cohort_status run(cohort_writer *writer, const cohort_options *options)
{
    const char *delimiter = cohort_options_get(options, "delimiter");
    table t = {.options = options, .regression = cohort_options_given(options, "regression")};
    COHORT_TRY(cohort_csv_delimiter(&t.delimiter, delimiter ? delimiter : ","));
    COHORT_REQUIRE(!cohort_options_given(options, "header") ||
                       !cohort_options_given(options, "no-header"),
                   COHORT_USAGE, "convert csv: --header and --no-header contradict each other");
    cohort_status status = read_rules(&t);
    if (status == COHORT_OK)
        status = convert(writer, &t);
    clear_table(&t);
    return status;
}

static const cohort_option options[] = {
    {"label", "COLUMN", "what to predict, by name or number from 1 (default: the last column)",
     true},
    {"regression", NULL, "labels are numbers, y is float32 [n][labels]; --label may be repeated",
     false},
    {"ignore", "COLUMN", "leaves a column out; may be repeated", true},
    {"header", NULL,
     "the first line holds names (default: if it looks so); a test file's in any order", false},
    {"no-header", NULL, "the first line holds values", false},
    {"delimiter", "CHARACTER", "between columns, or the word tab (default: ,)", false},
    {"categorical", "COLUMN",
     "a column of categories: a feature of 0 or 1 for each of its values; may be repeated", true},
    {"missing", "RULE",
     "for missing values: error (default), drop the row, mean of the training rows, or a number",
     false},
    {"missing-mark", "TEXT",
     "what stands for a missing value besides nothing, e.g. NA; may be repeated", true},
    {"standardise", NULL, "features to mean 0 and deviation 1 over the training rows", false},
    COHORT_SPLIT_OPTIONS,
};

const cohort_format cohort_format_csv = {
    .name = "csv",
    .usage = "FILE.csv [TEST.csv]",
    .summary = "tables with a label column",
    .help =
        "Reads delimited text (RFC 4180: fields may be quoted). Every column but the labels and\n"
        "the categorical ones must hold numbers. Labels may be texts or numbers; they are\n"
        "sorted (whole numbers by value) and numbered from 0. With --missing mean or a number\n"
        "a missing category is none of them: all its features are 0.\n\n"
        "Writes /train and /test: x float32 [n][features], y class numbers [n] with the\n"
        "attribute `classes`; features' names as the attribute `features`; and how columns\n"
        "became features as the attribute `table`, which goes into checkpoints: `cohort\n"
        "predict MODEL TABLE.csv` treats a table of the same kind in the same way.",
    .options = options,
    .option_count = sizeof options / sizeof *options,
    .least = 1,
    .most = 2,
    .run = run,
};
