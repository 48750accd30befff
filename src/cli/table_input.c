#include "cli/table_input.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "cli/convert/csv_reader.h"

/* Where the table's columns are in a file; SIZE_MAX: nowhere. */
typedef struct places {
    size_t *of; /* [column_count] */
    const char **fields;
    float *row;   /* [width] */
    size_t count; /* columns of the file */
} places;

static void clear_places(places *at)
{
    cohort_free(at->of);
    cohort_free(at->fields);
    cohort_free(at->row);
}

static bool is_feature(const cohort_table_column *column)
{
    return column->role == COHORT_TABLE_NUMBER || column->role == COHORT_TABLE_CATEGORY;
}

static cohort_status find_by_name(places *at, const cohort_table_encoding *table, const char *path,
                                  const char *const *names)
{
    for (size_t i = 0; i < table->column_count; i++) {
        const char *wanted = table->columns[i].name;
        at->of[i] = SIZE_MAX;
        for (size_t k = 0; k < at->count; k++) {
            if (strcmp(names[k], wanted) != 0)
                continue;
            COHORT_REQUIRE(at->of[i] == SIZE_MAX || !is_feature(&table->columns[i]), COHORT_DATA,
                           "%s: the first line names the column %s twice", path, wanted);
            at->of[i] = k;
        }
        if (at->of[i] != SIZE_MAX || !is_feature(&table->columns[i]))
            continue;
        const char *near = cohort_nearest_word(wanted, names, at->count);
        return COHORT_FAIL(
            COHORT_DATA,
            "%s: the first line does not name the column %s, which the model needs%s%s%s", path,
            wanted, near ? "; is it " : "", near ? near : "", near ? "?" : "");
    }
    return COHORT_OK;
}

/* All columns, or all but the labels. */
static cohort_status find_by_place(places *at, const cohort_table_encoding *table, const char *path)
{
    size_t labels = 0, next = 0;
    for (size_t i = 0; i < table->column_count; i++)
        labels += table->columns[i].role == COHORT_TABLE_LABEL;
    COHORT_REQUIRE(at->count == table->column_count || at->count == table->column_count - labels,
                   COHORT_DATA,
                   "%s has %zu columns; the table of training had %zu, %zu of them "
                   "labels, which may be left out",
                   path, at->count, table->column_count, labels);
    for (size_t i = 0; i < table->column_count; i++)
        at->of[i] = at->count < table->column_count && table->columns[i].role == COHORT_TABLE_LABEL
                        ? SIZE_MAX
                        : next++;
    return COHORT_OK;
}

static cohort_status add_row(cohort_table_input *input, places *at,
                             const cohort_table_encoding *table, const char *path,
                             const cohort_csv_reader *reader, const char *const *fields,
                             size_t count)
{
    COHORT_REQUIRE(count == at->count, COHORT_DATA,
                   "%s line %zu: %zu columns where the first line has %zu", path,
                   cohort_csv_line(reader), count, at->count);
    for (size_t i = 0; i < table->column_count; i++)
        at->fields[i] = at->of[i] == SIZE_MAX ? "" : fields[at->of[i]];
    cohort_status status = cohort_table_encode(at->row, table, at->fields);
    if (status != COHORT_OK)
        return cohort_error_prefix(status, "%s line %zu", path, cohort_csv_line(reader));
    cohort_text_append_bytes(&input->bytes, (const char *)at->row, input->width * sizeof *at->row);
    input->count++;
    return cohort_text_status(&input->bytes);
}

static cohort_status read_rows(cohort_table_input *input, places *at,
                               const cohort_table_encoding *table, const char *path,
                               cohort_csv_reader *reader)
{
    const char *const *fields = NULL;
    size_t count = 0;
    COHORT_TRY(cohort_csv_read(&fields, &count, reader));
    COHORT_REQUIRE(count > 0, COHORT_DATA, "%s is empty", path);
    at->count = count;
    COHORT_TRY(table->has_names ? find_by_name(at, table, path, fields)
                                : find_by_place(at, table, path));
    if (table->has_names)
        COHORT_TRY(cohort_csv_read(&fields, &count, reader));
    while (count > 0) {
        COHORT_TRY(add_row(input, at, table, path, reader, fields, count));
        COHORT_TRY(cohort_csv_read(&fields, &count, reader));
    }
    COHORT_REQUIRE(input->count > 0, COHORT_DATA, "%s has no rows", path);
    return COHORT_OK;
}

/* Rank 0. */
static cohort_status read_table(cohort_table_input *input, const cohort_inference *inference,
                                const char *path)
{
    cohort_table_encoding table = {0};
    cohort_csv_reader *reader = NULL;
    places at = {0};
    cohort_status status = COHORT_OK;
    COHORT_TRY_DONE(status, cohort_table_parse(&table, inference->about->table));
    input->width = cohort_table_width(&table);
    COHORT_REQUIRE_DONE(status, input->width == cohort_shape_count(&inference->about->input_shape),
                        COHORT_DATA,
                        "the model reads %zu values, the table that it describes has %zu",
                        cohort_shape_count(&inference->about->input_shape), input->width);
    COHORT_TRY_DONE(status, COHORT_ALLOCATE(&at.of, table.column_count));
    COHORT_TRY_DONE(status, COHORT_ALLOCATE(&at.fields, table.column_count));
    COHORT_TRY_DONE(status, COHORT_ALLOCATE(&at.row, input->width));
    COHORT_TRY_DONE(status, cohort_csv_open(&reader, path, table.delimiter));
    COHORT_TRY_DONE(status, read_rows(input, &at, &table, path, reader));
done:
    cohort_csv_close(reader);
    clear_places(&at);
    cohort_table_clear(&table);
    return status;
}

static cohort_status prepare(cohort_table_input *input, const cohort_inference *inference,
                             size_t batch)
{
    const cohort_data_recipe *data = &inference->recipe->data;
    input->width = cohort_shape_count(&inference->about->input_shape);
    input->count = input->bytes.length / (input->width * sizeof(float));
    COHORT_TRY(cohort_scaling_make(&input->scaling, data->scale, data->mean.items, data->mean.count,
                                   data->std.items, data->std.count, input->width));
    COHORT_TRY(COHORT_ALLOCATE(&input->rows, batch * input->width));
    return COHORT_ALLOCATE(&input->numbers, batch);
}

cohort_status cohort_table_input_open(cohort_table_input *input, cohort_comm *comm,
                                      const cohort_inference *inference, const char *path,
                                      size_t batch)
{
    *input = (cohort_table_input){0};
    cohort_status status = COHORT_OK;
    if (cohort_comm_rank(comm) == 0)
        status = read_table(input, inference, path);
    COHORT_TRY(cohort_comm_follow(comm, status));
    COHORT_TRY(cohort_job_share_text(comm, &input->bytes));
    return cohort_comm_agree(comm, prepare(input, inference, batch));
}

void cohort_table_input_clear(cohort_table_input *input)
{
    cohort_text_clear(&input->bytes);
    cohort_scaling_clear(&input->scaling);
    cohort_free(input->rows);
    cohort_free(input->numbers);
    *input = (cohort_table_input){0};
}

void cohort_table_input_take(cohort_batch *batch, cohort_table_input *input, size_t begin,
                             size_t count)
{
    const size_t values = count * input->width;
    if (count)
        memcpy(input->rows, input->bytes.data + begin * input->width * sizeof(float),
               values * sizeof(float));
    cohort_scale(input->rows, input->rows, COHORT_F32, values, &input->scaling);
    for (size_t i = 0; i < count; i++)
        input->numbers[i] = begin + i;
    *batch = (cohort_batch){
        .global_count = count, .count = count, .x = input->rows, .rows = input->numbers};
}
