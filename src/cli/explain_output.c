#include "cli/explain_output.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "base/memory.h"
#include "cli/explain_picture.h"
#include "data/convert.h"
#include "data/tokenizer.h"
#include "report/html.h"
#include "report/style.h"

enum { SIDE_LEAST = 4, COLUMNS_SHOWN = 20 };

static const cohort_shape *input_shape(const cohort_explain_output *out)
{
    return &out->inference->about->input_shape;
}

static bool reads_tokens(const cohort_explain_output *out)
{
    return out->inference->about->input_tokens;
}

/* The name of class or output INDEX; TEXT has room for a number. */
static const char *output_name(char text[24], const cohort_explain_output *out, size_t index)
{
    const cohort_snapshot *about = out->inference->about;
    if (about->classes && index < about->class_count && out->inference->loss.class_count)
        return about->classes[index];
    snprintf(text, 24, "%zu", index);
    return text;
}

/* One word for what belongs together, for people. */
static const char *method_title(cohort_explain_method method)
{
    static const char *const titles[] = {"Saliency", "Integrated gradients", "Occlusion"};
    return titles[method];
}

static const char *method_meaning(cohort_explain_method method)
{
    static const char *const meanings[] = {
        "The stronger the colour, the more a small change there would move the output.",
        "Orange speaks for the output, blue against it; together they add up to the output minus "
        "that of the baseline.",
        "Orange: hiding it makes the output fall; blue: makes it rise."};
    return meanings[method];
}

static cohort_status open_arrays(cohort_explain_output *out, const char *path)
{
    const cohort_shape scalar = {0};
    const cohort_element element = reads_tokens(out) ? COHORT_I32 : COHORT_F32;
    cohort_writer *writer;
    COHORT_TRY(cohort_writer_create(&out->writer, path));
    writer = out->writer;
    COHORT_TRY(cohort_writer_add(&out->ids[0], writer, "", "x", element, input_shape(out), 4));
    COHORT_TRY(cohort_writer_add(&out->ids[1], writer, "", "attribution", COHORT_F32,
                                 input_shape(out), 4));
    COHORT_TRY(cohort_writer_add(&out->ids[2], writer, "", "row", COHORT_I32, &scalar, 0));
    COHORT_TRY(cohort_writer_add(&out->ids[3], writer, "", "output", COHORT_I32, &scalar, 0));
    COHORT_TRY(cohort_writer_add(&out->ids[4], writer, "", "value", COHORT_F32, &scalar, 0));
    COHORT_TRY(cohort_writer_add(&out->ids[5], writer, "", "baseline", COHORT_F32, &scalar, 0));
    return cohort_writer_attribute(writer, "method", cohort_explain_method_names[out->method]);
}

static void begin_texts(cohort_explain_output *out)
{
    cohort_json_begin_object(&out->json, NULL);
    cohort_json_string(&out->json, "model", out->inference->recipe->name);
    cohort_json_string(&out->json, "method", cohort_explain_method_names[out->method]);
    cohort_json_begin_array(&out->json, "samples");
    cohort_text_append(&out->html,
                       "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
                       "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">"
                       "<title>Explained: ");
    cohort_html_escape(&out->html, out->inference->recipe->name);
    cohort_text_append(&out->html,
                       "</title><style>%s.pictures{display:grid;gap:.9rem;"
                       "grid-template-columns:repeat(auto-fill,minmax(min(100%%,22rem),1fr))}"
                       ".words{white-space:pre-wrap;line-height:1.9}"
                       ".words span{border-radius:.2em;padding:.1em 0}"
                       "</style></head><body>\n<header><h1>",
                       cohort_report_style);
    cohort_html_escape(&out->html, out->inference->recipe->name);
    cohort_text_append(&out->html,
                       "</h1><p>%s. %s</p></header>\n<main class=\"%s\" "
                       "style=\"margin-top:1.2rem\">\n",
                       method_title(out->method), method_meaning(out->method),
                       out->is_image ? "pictures" : "texts");
}

cohort_status cohort_explain_output_open(cohort_explain_output *out, const char *folder,
                                         const cohort_inference *inference,
                                         cohort_explain_method method, bool stored_bytes,
                                         const cohort_table_encoding *table)
{
    const cohort_shape *shape = &inference->about->input_shape;
    cohort_text path = {0};
    *out = (cohort_explain_output){.folder = folder,
                                   .inference = inference,
                                   .method = method,
                                   .stored_bytes = stored_bytes,
                                   .table = table};
    out->is_image = !reads_tokens(out) && shape->dim_count >= 2 && shape->dim_count <= 3 &&
                    shape->dims[0] >= SIDE_LEAST && shape->dims[1] >= SIDE_LEAST;
    COHORT_TRY(cohort_folder_make(folder));
    cohort_status status = cohort_path_join(&path, folder, "attributions.h5");
    if (status == COHORT_OK)
        status = open_arrays(out, path.data);
    cohort_text_clear(&path);
    begin_texts(out);
    return status;
}

/* The weight of several features in one: changes add up, gradients do not. */
static double combine(const cohort_explain_output *out, const float *weights, size_t count)
{
    double sum = 0, largest = 0;
    for (size_t i = 0; i < count; i++) {
        sum += (double)weights[i];
        if (fabs((double)weights[i]) > fabs(largest))
            largest = (double)weights[i];
    }
    return out->method == COHORT_EXPLAIN_INTEGRATED ? sum : largest;
}

/* The sample as it was before scale, mean and std, 0 to 255 each. */
static cohort_status to_pixels(unsigned char *pixels, const cohort_explain_output *out,
                               const float *x, size_t channels)
{
    const cohort_data_recipe *data = &out->inference->recipe->data;
    const size_t count = cohort_shape_count(input_shape(out));
    cohort_scaling scaling = {0};
    double low = INFINITY, high = -INFINITY;
    COHORT_TRY(cohort_scaling_make(&scaling, data->scale, data->mean.items, data->mean.count,
                                   data->std.items, data->std.count,
                                   input_shape(out)->dims[input_shape(out)->dim_count - 1]));
    for (size_t pass = 0; pass < 2; pass++) {
        for (size_t i = 0; i < count; i++) {
            const double factor = (double)scaling.factor[i % scaling.period];
            const double offset = (double)scaling.offset[i % scaling.period];
            const double value = factor != 0 ? ((double)x[i] - offset) / factor : 0;
            low = pass == 0 ? fmin(low, value) : low;
            high = pass == 0 ? fmax(high, value) : high;
            if (pass == 0)
                continue;
            const double span = high > low ? high - low : 1;
            const double shade = out->stored_bytes ? value : 255 * (value - low) / span;
            const unsigned char byte = (unsigned char)(fmin(fmax(shade, 0), 255) + 0.5);
            for (size_t k = 0; k < 3; k++) /* grey, or the first three channels */
                if (channels < 3 ? i % channels == 0 : i % channels == k)
                    pixels[3 * (i / channels) + k] = byte;
        }
    }
    cohort_scaling_clear(&scaling);
    return COHORT_OK;
}

static cohort_status draw(cohort_explain_output *out, const char *name, const float *x,
                          const float *weights)
{
    const cohort_shape *shape = input_shape(out);
    const size_t area = shape->dims[0] * shape->dims[1];
    const size_t channels = shape->dim_count == 3 ? shape->dims[2] : 1;
    unsigned char *pixels = NULL;
    float *heat = NULL;
    cohort_text path = {0};
    cohort_status status = COHORT_OK;
    COHORT_TRY_DONE(status, COHORT_ALLOCATE(&heat, area));
    COHORT_TRY_DONE(status, cohort_allocate((void **)&pixels, area, 3));
    COHORT_TRY_DONE(status, to_pixels(pixels, out, x, channels));
    for (size_t i = 0; i < area; i++)
        heat[i] = (float)combine(out, weights + i * channels, channels);
    const cohort_picture picture = {shape->dims[0], shape->dims[1], pixels, heat};
    COHORT_TRY_DONE(status, cohort_path_join(&path, out->folder, name));
    status = cohort_picture_write(path.data, &picture);
done:
    cohort_free(pixels);
    cohort_free(heat);
    cohort_text_clear(&path);
    return status;
}

static cohort_status add_image(cohort_explain_output *out, size_t row, const float *x,
                               const cohort_explanation *found)
{
    char name[48];
    snprintf(name, sizeof name, "sample-%zu.png", row);
    COHORT_TRY(draw(out, name, x, found->weights));
    cohort_json_string(&out->json, "picture", name);
    cohort_text_append(&out->html,
                       "<img style=\"width:100%%\" src=\"%s\" alt=\"sample %zu, and what counts in "
                       "it\">",
                       name, row);
    return COHORT_OK;
}

/* A background for WEIGHT, where LARGEST gets the full colour. */
static void append_colour(cohort_text *html, double weight, double largest)
{
    const double share = largest > 0 ? 0.85 * fabs(weight) / largest : 0;
    cohort_text_append(html, "background:rgba(%s,%.2f)", weight < 0 ? "0,105,200" : "230,85,0",
                       share);
}

static double largest_of(const float *weights, size_t count)
{
    double largest = 0;
    for (size_t i = 0; i < count; i++)
        largest = fmax(largest, fabs((double)weights[i]));
    return largest;
}

/* The text of a token as it stands in a line: words with a blank before them, the parts of a word
 * joined. *joins: no blank. */
static const char *token_text(bool *joins, const char *word, cohort_token_type type, size_t place)
{
    static const char begins_word[] = "\xe2\x96\x81"; /* U+2581 */
    *joins = place == 0 || type == COHORT_TOKENS_CHARACTERS || type == COHORT_TOKENS_BYTES;
    if (type == COHORT_TOKENS_WORDPIECE && strncmp(word, "##", 2) == 0) {
        *joins = true;
        return word + 2;
    }
    if (type == COHORT_TOKENS_BPE) {
        const bool begins = strncmp(word, begins_word, 3) == 0;
        *joins |= !begins;
        return begins ? word + 3 : word;
    }
    return word;
}

/* Padding is left out: it is no word. */
static void add_words(cohort_explain_output *out, const int32_t *tokens,
                      const cohort_explanation *found)
{
    const cohort_snapshot *about = out->inference->about;
    const size_t count = cohort_shape_count(input_shape(out));
    const double largest = largest_of(found->weights, count);
    cohort_tokenizer_spec spec = {.type = COHORT_TOKENS_WORDS};
    char number[24];
    bool joins;
    if (about->tokenizer && cohort_tokenizer_parse(&spec, about->tokenizer) != COHORT_OK)
        cohort_error_clear(); /* another program's: its tokens are words */
    const bool pads = spec.type != COHORT_TOKENS_CHARACTERS && spec.type != COHORT_TOKENS_BYTES;
    cohort_json_begin_array(&out->json, "words");
    cohort_text_append(&out->html, "<p class=\"words\">");
    for (size_t i = 0; i < count; i++) {
        const size_t token = (size_t)tokens[i];
        if (pads && token == COHORT_TOKEN_PADDING)
            continue;
        snprintf(number, sizeof number, "%zu", token);
        const char *word = token < about->vocabulary_count ? about->vocabulary[token] : number;
        cohort_json_begin_object(&out->json, NULL);
        cohort_json_string(&out->json, "word", word);
        cohort_json_number(&out->json, "weight", (double)found->weights[i]);
        cohort_json_end_object(&out->json);
        const char *text = token_text(&joins, word, spec.type, i);
        cohort_text_append(&out->html, "%s<span style=\"", joins ? "" : " ");
        append_colour(&out->html, (double)found->weights[i], largest);
        cohort_text_append(&out->html, "\">");
        cohort_html_escape(&out->html, text);
        cohort_text_append(&out->html, "</span>");
    }
    cohort_json_end_array(&out->json);
    cohort_text_append(&out->html, "</p>");
}

/* A column of a table with its weight, to be sorted. */
typedef struct weighted {
    char name[64];
    double weight;
} weighted;

static int by_size(const void *a, const void *b)
{
    const double left = fabs(((const weighted *)a)->weight),
                 right = fabs(((const weighted *)b)->weight);
    return left < right ? 1 : left > right ? -1 : 0;
}

/* COLUMNS [input width] = the columns of the table, or the features; returns how many. */
static size_t list_columns(weighted *columns, const cohort_explain_output *out,
                           const float *weights)
{
    const size_t width = cohort_shape_count(input_shape(out));
    size_t count = 0, at = 0;
    for (size_t i = 0; !out->table && i < width; i++, count++) {
        snprintf(columns[i].name, sizeof columns[i].name, "x_%zu", i);
        columns[i].weight = (double)weights[i];
    }
    for (size_t i = 0; out->table && i < out->table->column_count; i++) {
        const cohort_table_column *column = &out->table->columns[i];
        size_t features = column->role == COHORT_TABLE_NUMBER ? 1 : 0;
        if (column->role == COHORT_TABLE_CATEGORY)
            features = column->value_count;
        if (!features || at + features > width)
            continue;
        if (*column->name)
            snprintf(columns[count].name, sizeof columns[count].name, "%s", column->name);
        else
            snprintf(columns[count].name, sizeof columns[count].name, "x_%zu", count);
        columns[count++].weight = combine(out, weights + at, features);
        at += features;
    }
    return count;
}

/* The first line of attributions.csv. */
static void begin_table(cohort_text *csv, const weighted *columns, size_t count)
{
    cohort_text_append(csv, "row,output,value,baseline");
    for (size_t i = 0; i < count; i++) {
        cohort_text_append(csv, ",\"");
        for (const char *c = columns[i].name; *c; c++)
            cohort_text_append(csv, *c == '"' ? "\"\"" : "%c", *c);
        cohort_text_append(csv, "\"");
    }
    cohort_text_append(csv, "\n");
}

static cohort_status add_columns(cohort_explain_output *out, size_t row,
                                 const cohort_explanation *found)
{
    weighted *columns = NULL;
    COHORT_TRY(COHORT_ALLOCATE(&columns, cohort_shape_count(input_shape(out))));
    const size_t count = list_columns(columns, out, found->weights);
    if (!out->csv.length)
        begin_table(&out->csv, columns, count);
    cohort_text_append(&out->csv, "%zu,%zu,%.9g,%.9g", row, found->output, found->value,
                       found->baseline);
    cohort_json_begin_array(&out->json, "columns");
    for (size_t i = 0; i < count; i++) {
        cohort_text_append(&out->csv, ",%.9g", columns[i].weight);
        cohort_json_begin_object(&out->json, NULL);
        cohort_json_string(&out->json, "name", columns[i].name);
        cohort_json_number(&out->json, "weight", columns[i].weight);
        cohort_json_end_object(&out->json);
    }
    cohort_json_end_array(&out->json);
    cohort_text_append(&out->csv, "\n");
    qsort(columns, count, sizeof *columns, by_size);
    cohort_text_append(&out->html, "<table>");
    for (size_t i = 0; i < count && i < COLUMNS_SHOWN; i++) {
        cohort_text_append(&out->html, "<tr><th scope=\"row\">");
        cohort_html_escape(&out->html, columns[i].name);
        cohort_text_append(&out->html, "</th><td style=\"");
        append_colour(&out->html, columns[i].weight, fabs(columns[0].weight));
        cohort_text_append(&out->html, "\">%.4g</td></tr>", columns[i].weight);
    }
    cohort_text_append(&out->html, "</table>");
    cohort_free(columns);
    return COHORT_OK;
}

static cohort_status append_arrays(cohort_explain_output *out, size_t row, const void *x,
                                   const cohort_explanation *found)
{
    const int32_t at = (int32_t)row, output = (int32_t)found->output;
    const float value = (float)found->value, baseline = (float)found->baseline;
    COHORT_REQUIRE(row <= INT32_MAX, COHORT_DATA, "row %zu is beyond what row numbers hold", row);
    COHORT_TRY(cohort_writer_append(out->writer, out->ids[0], x, 1));
    COHORT_TRY(cohort_writer_append(out->writer, out->ids[1], found->weights, 1));
    COHORT_TRY(cohort_writer_append(out->writer, out->ids[2], &at, 1));
    COHORT_TRY(cohort_writer_append(out->writer, out->ids[3], &output, 1));
    COHORT_TRY(cohort_writer_append(out->writer, out->ids[4], &value, 1));
    return cohort_writer_append(out->writer, out->ids[5], &baseline, 1);
}

static void describe(cohort_explain_output *out, size_t row, const cohort_explanation *found)
{
    const bool classifies = out->inference->loss.class_count > 0;
    const size_t count = cohort_shape_count(input_shape(out));
    char name[24];
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += (double)found->weights[i];
    out->gap = fmax(out->gap, fabs(sum - (found->value - found->baseline)));
    cohort_json_integer(&out->json, "row", (int64_t)row);
    cohort_json_string(&out->json, classifies ? "class" : "output",
                       output_name(name, out, found->output));
    if (classifies)
        cohort_json_string(&out->json, "predicted", output_name(name, out, found->predicted));
    if (out->inference->loss.positions > 1)
        cohort_json_integer(&out->json, "position", (int64_t)found->position);
    if (!isnan(found->probability))
        cohort_json_number(&out->json, "probability", found->probability);
    cohort_json_number(&out->json, "value", found->value);
    cohort_json_number(&out->json, "baseline", found->baseline);
    if (out->method == COHORT_EXPLAIN_INTEGRATED)
        cohort_json_number(&out->json, "sum", sum);
}

static void write_caption(cohort_explain_output *out, size_t row, const cohort_explanation *found)
{
    char name[24];
    cohort_text_append(&out->html, "<p><b>");
    cohort_html_escape(&out->html, output_name(name, out, found->output));
    if (isnan(found->probability))
        cohort_text_append(&out->html, "</b> (%.4g)", found->value);
    else
        cohort_text_append(&out->html, "</b> (%.1f %%)", 100 * found->probability);
    if (found->predicted != SIZE_MAX && found->predicted != found->output) {
        cohort_text_append(&out->html, ", taken for <b>");
        cohort_html_escape(&out->html, output_name(name, out, found->predicted));
        cohort_text_append(&out->html, "</b>");
    }
    cohort_text_append(&out->html, " <span class=\"quiet\">row %zu</span></p></div>\n", row);
}

cohort_status cohort_explain_output_add(cohort_explain_output *out, size_t row, const void *x,
                                        const cohort_explanation *found)
{
    COHORT_TRY(append_arrays(out, row, x, found));
    cohort_json_begin_object(&out->json, NULL);
    describe(out, row, found);
    cohort_text_append(&out->html, "<div class=\"example\">");
    if (out->is_image)
        COHORT_TRY(add_image(out, row, x, found));
    else if (reads_tokens(out))
        add_words(out, x, found);
    else
        COHORT_TRY(add_columns(out, row, found));
    cohort_json_end_object(&out->json);
    write_caption(out, row, found);
    out->sample_count++;
    return COHORT_OK;
}

static cohort_status write_file(const cohort_explain_output *out, const char *name,
                                const cohort_text *text)
{
    cohort_text path = {0};
    cohort_status status = cohort_text_status(text);
    if (status == COHORT_OK)
        status = cohort_path_join(&path, out->folder, name);
    if (status == COHORT_OK)
        status = cohort_file_write(path.data, text->data, text->length);
    cohort_text_clear(&path);
    return status;
}

cohort_status cohort_explain_output_finish(cohort_explain_output *out)
{
    cohort_json_end_array(&out->json);
    cohort_json_end_object(&out->json);
    cohort_text_append(&out->json, "\n");
    cohort_text_append(&out->html, "</main></body></html>\n");
    COHORT_TRY(cohort_writer_finish(out->writer));
    COHORT_TRY(write_file(out, "explain.json", &out->json));
    if (out->csv.length)
        COHORT_TRY(write_file(out, "attributions.csv", &out->csv));
    return write_file(out, "explain.html", &out->html);
}

void cohort_explain_output_close(cohort_explain_output *out)
{
    cohort_writer_destroy(out->writer);
    cohort_text_clear(&out->json);
    cohort_text_clear(&out->html);
    cohort_text_clear(&out->csv);
    *out = (cohort_explain_output){0};
}
