#include "data/table.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char *const role_names[] = {"number", "category", "label", "ignored"};

cohort_status cohort_table_add_mark(cohort_table_encoding *table, const char *mark)
{
    char *copy = NULL;
    if (!table->arena)
        COHORT_TRY(cohort_arena_create(&table->arena));
    COHORT_TRY(cohort_arena_copy(&copy, table->arena, mark));
    COHORT_TRY(cohort_grow((void **)&table->marks, &table->mark_capacity, table->mark_count + 1,
                           sizeof *table->marks));
    table->marks[table->mark_count++] = copy;
    return COHORT_OK;
}

cohort_status cohort_table_add(cohort_table_encoding *table, const cohort_table_column *column)
{
    char *name = NULL;
    const char **values = NULL;
    if (!table->arena)
        COHORT_TRY(cohort_arena_create(&table->arena));
    COHORT_TRY(cohort_arena_copy(&name, table->arena, column->name));
    COHORT_TRY(COHORT_TAKE(&values, table->arena, column->value_count));
    for (size_t i = 0; i < column->value_count; i++) {
        char *copy = NULL;
        COHORT_TRY(cohort_arena_copy(&copy, table->arena, column->values[i]));
        values[i] = copy;
    }
    COHORT_TRY(cohort_grow((void **)&table->columns, &table->column_capacity,
                           table->column_count + 1, sizeof *table->columns));
    cohort_table_column *to = &table->columns[table->column_count++];
    *to = *column;
    to->name = name;
    to->values = values;
    return COHORT_OK;
}

void cohort_table_clear(cohort_table_encoding *table)
{
    free(table->columns);
    free(table->marks);
    cohort_arena_destroy(table->arena);
    *table = (cohort_table_encoding){0};
}

/* ---- As text ---- */

static void append_entry(cohort_text *text, const char *entry)
{
    static const char special[] = "\t\n\r\\", names[] = "tnr\\";
    cohort_text_append_bytes(text, "\t", 1);
    for (const char *c = entry; *c; c++) {
        const char *found = strchr(special, *c);
        if (found)
            cohort_text_append(text, "\\%c", names[found - special]);
        else
            cohort_text_append_bytes(text, c, 1);
    }
}

static void append_number(cohort_text *text, double value)
{
    char number[32];
    cohort_text_append(text, "\t%s", cohort_number_text(number, value));
}

void cohort_table_describe(cohort_text *text, const cohort_table_encoding *table)
{
    cohort_text_append(text, "table\t1");
    append_entry(text, (char[2]){table->delimiter, '\0'});
    cohort_text_append(text, "\t%d\n", table->has_names);
    for (size_t i = 0; i < table->mark_count; i++) {
        cohort_text_append(text, "missing");
        append_entry(text, table->marks[i]);
        cohort_text_append(text, "\n");
    }
    for (size_t i = 0; i < table->column_count; i++) {
        const cohort_table_column *column = &table->columns[i];
        cohort_text_append(text, "%s", role_names[column->role]);
        append_entry(text, column->name);
        if (column->role == COHORT_TABLE_NUMBER) {
            if (column->may_miss)
                append_number(text, column->fill);
            else
                cohort_text_append(text, "\t");
            append_number(text, column->mean);
            append_number(text, column->deviation);
        } else if (column->role == COHORT_TABLE_CATEGORY) {
            cohort_text_append(text, "\t%d", column->may_miss);
            for (size_t k = 0; k < column->value_count; k++)
                append_entry(text, column->values[k]);
        }
        cohort_text_append(text, "\n");
    }
}

/* The entries of LINE, which is cut up in place. */
static cohort_status split_line(char **entries, size_t *count, size_t most, char *line)
{
    *count = 0;
    for (char *from = line; from;) {
        COHORT_REQUIRE(*count < most, COHORT_DATA, "the description of the table is damaged");
        char *to = entries[(*count)++] = from, *next = strchr(from, '\t');
        if (next)
            *next++ = '\0';
        for (; *from; from++) {
            if (*from != '\\') {
                *to++ = *from;
                continue;
            }
            static const char special[] = "\t\n\r\\", names[] = "tnr\\";
            const char *found = from[1] ? strchr(names, from[1]) : NULL;
            COHORT_REQUIRE(found, COHORT_DATA, "the description of the table is damaged");
            *to++ = special[found - names];
            from++;
        }
        *to = '\0';
        from = next;
    }
    return COHORT_OK;
}

static bool is_flag(bool *out, const char *text)
{
    *out = strcmp(text, "1") == 0;
    return *out || strcmp(text, "0") == 0;
}

static bool fill_column(cohort_table_column *column, char **entries, size_t count)
{
    if (count < 2)
        return false;
    column->name = entries[1];
    for (size_t i = 0; i < sizeof role_names / sizeof *role_names; i++)
        if (strcmp(role_names[i], entries[0]) == 0) {
            column->role = (cohort_table_role)i;
            if (column->role == COHORT_TABLE_NUMBER) {
                column->may_miss = count > 2 && *entries[2];
                return count == 5 &&
                       (!column->may_miss || cohort_parse_double(&column->fill, entries[2])) &&
                       cohort_parse_double(&column->mean, entries[3]) &&
                       cohort_parse_double(&column->deviation, entries[4]) &&
                       isfinite(column->fill) && isfinite(column->mean) &&
                       isfinite(column->deviation) && column->deviation > 0;
            }
            if (column->role == COHORT_TABLE_CATEGORY) {
                column->values = (const char *const *)entries + 3;
                column->value_count = count > 3 ? count - 3 : 0;
                return count > 3 && is_flag(&column->may_miss, entries[2]);
            }
            return count == 2;
        }
    return false;
}

static cohort_status parse_line(cohort_table_encoding *table, char **entries, size_t count,
                                bool first)
{
    cohort_table_column column = {.deviation = 1};
    if (first) {
        COHORT_REQUIRE(
            count == 4 && strcmp(entries[0], "table") == 0 && strcmp(entries[1], "1") == 0 &&
                strlen(entries[2]) == 1 && is_flag(&table->has_names, entries[3]),
            COHORT_DATA, "the description of the table is damaged, or of a newer program");
        table->delimiter = *entries[2];
        return COHORT_OK;
    }
    if (count == 2 && strcmp(entries[0], "missing") == 0)
        return cohort_table_add_mark(table, entries[1]);
    COHORT_REQUIRE(fill_column(&column, entries, count), COHORT_DATA,
                   "the description of the table is damaged");
    return cohort_table_add(table, &column);
}

cohort_status cohort_table_parse(cohort_table_encoding *table, const char *text)
{
    const size_t length = strlen(text), most = length + 2; /* entries of a line */
    char *copy = NULL, **entries = NULL;
    cohort_status status = COHORT_OK;
    COHORT_TRY_DONE(status, COHORT_ALLOCATE(&copy, length + 1));
    COHORT_TRY_DONE(status, COHORT_ALLOCATE(&entries, most));
    memcpy(copy, text, length);
    char *rest = copy;
    bool first = true;
    for (char *line; (line = strsep(&rest, "\n")) && *line; first = false) {
        size_t count = 0;
        COHORT_TRY_DONE(status, split_line(entries, &count, most, line));
        COHORT_TRY_DONE(status, parse_line(table, entries, count, first));
    }
    COHORT_REQUIRE_DONE(status, cohort_table_width(table) > 0, COHORT_DATA,
                        "the description of the table is damaged");
done:
    cohort_free(entries);
    cohort_free(copy);
    return status;
}

/* ---- Rows ---- */

size_t cohort_table_width(const cohort_table_encoding *table)
{
    size_t width = 0;
    for (size_t i = 0; i < table->column_count; i++)
        width += table->columns[i].role == COHORT_TABLE_NUMBER     ? 1
                 : table->columns[i].role == COHORT_TABLE_CATEGORY ? table->columns[i].value_count
                                                                   : 0;
    return width;
}

bool cohort_table_is_missing(const cohort_table_encoding *table, const char *field)
{
    for (size_t i = 0; i < table->mark_count; i++)
        if (strcmp(table->marks[i], field) == 0)
            return true;
    return !*field;
}

float *cohort_table_put_number(float *out, const cohort_table_column *column, float value)
{
    const double known = isnan(value) ? column->fill : (double)value;
    *out++ = (float)((known - column->mean) / column->deviation);
    return out;
}

float *cohort_table_put_category(float *out, const cohort_table_column *column, size_t index)
{
    for (size_t i = 0; i < column->value_count; i++)
        *out++ = i == index ? 1.0f : 0.0f;
    return out;
}

static cohort_status encode_number(float **out, const cohort_table_column *column, bool missing,
                                   const char *field)
{
    double value = NAN;
    COHORT_REQUIRE(missing || (cohort_parse_double(&value, field) && isfinite((float)value)),
                   COHORT_DATA, "\"%.40s\" is not a number", field);
    *out = cohort_table_put_number(*out, column, (float)value);
    return COHORT_OK;
}

static cohort_status encode_category(float **out, const cohort_table_column *column, bool missing,
                                     const char *field)
{
    size_t index = 0;
    while (index < column->value_count && (missing || strcmp(column->values[index], field) != 0))
        index++;
    if (!missing && index == column->value_count) {
        const char *near = cohort_nearest_word(field, column->values, column->value_count);
        return COHORT_FAIL(COHORT_DATA, "the model was not trained on the value \"%.40s\"%s%.40s%s",
                           field, near ? "; did you mean \"" : "", near ? near : "",
                           near ? "\"?" : "");
    }
    *out = cohort_table_put_category(*out, column, index);
    return COHORT_OK;
}

cohort_status cohort_table_encode(float *out, const cohort_table_encoding *table,
                                  const char *const *fields)
{
    for (size_t i = 0; i < table->column_count; i++) {
        const cohort_table_column *column = &table->columns[i];
        if (column->role != COHORT_TABLE_NUMBER && column->role != COHORT_TABLE_CATEGORY)
            continue;
        const bool missing = cohort_table_is_missing(table, fields[i]);
        cohort_status status =
            missing && !column->may_miss
                ? COHORT_FAIL(COHORT_DATA, "the value is missing, and the model was trained "
                                           "without a rule for that (convert csv --missing)")
            : column->role == COHORT_TABLE_NUMBER
                ? encode_number(&out, column, missing, fields[i])
                : encode_category(&out, column, missing, fields[i]);
        if (status != COHORT_OK)
            return cohort_error_prefix(status, "column %zu%s%s%s", i + 1, *column->name ? " (" : "",
                                       column->name, *column->name ? ")" : "");
    }
    return COHORT_OK;
}
