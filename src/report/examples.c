#include "report/examples.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "data/tokenizer.h"
#include "report/html.h"
#include "train/job.h"

enum { BATCH = 64, TEXT_MAX = 400, IMAGE_SIDE_MAX = 512, IMAGE_SIDE_MIN = 4 };

/* A sample put into the wrong class. */
typedef struct mistake {
    uint64_t row;
    int32_t truth, predicted;
    float probability; /* of the predicted class */
} mistake;

typedef struct examples {
    cohort_inference inference;
    cohort_dataset *dataset;
    cohort_loader *loader;
    cohort_tokenizer *tokenizer; /* NULL: not text */
    mistake *worst;              /* [capacity], the surest first */
    size_t capacity, count;
    size_t seen, wrong;
    int32_t *truth, *predicted; /* [BATCH] */
} examples;

static void clear(examples *e)
{
    cohort_loader_destroy(e->loader);
    cohort_dataset_close(e->dataset);
    cohort_tokenizer_destroy(e->tokenizer);
    cohort_inference_close(&e->inference);
    cohort_free(e->worst);
    cohort_free(e->truth);
    cohort_free(e->predicted);
}

static cohort_status open_examples(examples *e, cohort_comm *comm, const char *folder, size_t count)
{
    COHORT_TRY(cohort_inference_open(&e->inference, comm, folder, BATCH));
    const cohort_recipe *recipe = e->inference.recipe;
    const cohort_snapshot *about = e->inference.about;
    COHORT_TRY(
        cohort_job_open_data(&e->dataset, comm, recipe,
                             &(cohort_job_data){.group = recipe->data.test, .with_targets = true}));
    const cohort_dataset_info *info = cohort_dataset_describe(e->dataset);
    const cohort_subset all = cohort_subset_all(info->count);
    const cohort_share share = cohort_job_even_share(comm);
    COHORT_TRY(cohort_job_loss(&e->inference.loss, recipe, e->inference.model, info));
    COHORT_REQUIRE(e->inference.loss.class_count > 1 && e->inference.loss.positions == 1,
                   COHORT_DATA, "this network does not put samples into classes");
    COHORT_TRY(cohort_job_check_data(e->dataset, recipe->data.file,
                                     cohort_model_input(e->inference.model), &e->inference.loss));
    COHORT_TRY(cohort_job_loader(&e->loader, recipe, e->dataset, &all, BATCH, &share,
                                 e->inference.model, COHORT_TO_EVALUATE));
    if (about->input_tokens && about->tokenizer && about->vocabulary_count) {
        cohort_tokenizer_spec spec;
        COHORT_TRY(cohort_tokenizer_parse(&spec, about->tokenizer));
        COHORT_TRY(cohort_tokenizer_create(&e->tokenizer, &spec, about->vocabulary,
                                           about->vocabulary_count));
    }
    e->capacity = count;
    COHORT_TRY(COHORT_ALLOCATE(&e->worst, count));
    COHORT_TRY(COHORT_ALLOCATE(&e->truth, BATCH));
    return COHORT_ALLOCATE(&e->predicted, BATCH);
}

/* Keeps M if it is among the surest so far; the earlier row first among equals. */
static void keep(examples *e, const mistake *m)
{
    size_t at = e->count;
    while (at > 0 && e->worst[at - 1].probability < m->probability)
        at--;
    if (at == e->capacity)
        return;
    if (e->count < e->capacity)
        e->count++;
    memmove(&e->worst[at + 1], &e->worst[at], (e->count - 1 - at) * sizeof *e->worst);
    e->worst[at] = *m;
}

/* The probability of class C from the activated outputs of one sample. */
static float probability_of(const float *y, size_t width, int32_t c)
{
    if (width > 1)
        return y[c];
    return c == 1 ? y[0] : 1 - y[0];
}

/* Of BATCH only the first COUNT samples. */
static void predict_batch(examples *e, const cohort_batch *batch, size_t count)
{
    const cohort_loss *loss = &e->inference.loss;
    const cohort_pass pass = {.batch = count, .samples = batch->rows};
    const cohort_targets targets = {.labels = batch->labels, .values = batch->values};
    float *y = cohort_model_forward(e->inference.model, batch->x, &pass);
    cohort_loss_classes(e->predicted, loss, y, count);
    cohort_loss_target_classes(e->truth, loss, &targets, count);
    cohort_loss_activate(y, loss, count);
    for (size_t i = 0; i < count; i++) {
        if (e->truth[i] < 0)
            continue;
        e->seen++;
        if (e->truth[i] == e->predicted[i])
            continue;
        e->wrong++;
        keep(e, &(mistake){batch->rows[i], e->truth[i], e->predicted[i],
                           probability_of(y + i * loss->width, loss->width, e->predicted[i])});
    }
}

static cohort_status predict_all(examples *e, size_t limit)
{
    size_t count = cohort_dataset_describe(e->dataset)->count;
    count = limit && limit < count ? limit : count;
    cohort_loader_seek(e->loader, 0, 0);
    for (size_t done = 0; done < count; done += BATCH) {
        const cohort_batch *batch = NULL;
        COHORT_TRY(cohort_loader_next(e->loader, &batch));
        predict_batch(e, batch, count - done < batch->count ? count - done : batch->count);
    }
    return COHORT_OK;
}

static void write_class(cohort_text *html, const examples *e, int32_t index)
{
    const cohort_snapshot *about = e->inference.about;
    if (about->classes && (size_t)index < about->class_count)
        cohort_html_escape(html, about->classes[index]);
    else
        cohort_text_append(html, "class %d", index);
}

/* PIXELS from VALUES: bytes as they are, floats stretched over what this sample holds. */
static void to_pixels(uint8_t *pixels, const void *values, cohort_element element, size_t count)
{
    if (element == COHORT_U8) {
        memcpy(pixels, values, count);
        return;
    }
    const float *f = values;
    float low = f[0], high = f[0];
    for (size_t i = 1; i < count; i++) {
        low = f[i] < low ? f[i] : low;
        high = f[i] > high ? f[i] : high;
    }
    for (size_t i = 0; i < count; i++)
        pixels[i] = (uint8_t)(high > low ? 255 * (f[i] - low) / (high - low) : 0);
}

/* Whether samples of SHAPE can be shown as images: [h][w], [h][w][1] or [h][w][3]. */
static bool is_image(const cohort_dataset_info *info)
{
    const cohort_shape *shape = &info->x_shape;
    if (info->x_element == COHORT_I32 || shape->dim_count < 2 || shape->dim_count > 3)
        return false;
    const size_t height = shape->dims[0], width = shape->dims[1];
    return height >= IMAGE_SIDE_MIN && width >= IMAGE_SIDE_MIN && height <= IMAGE_SIDE_MAX &&
           width <= IMAGE_SIDE_MAX &&
           (shape->dim_count == 2 || shape->dims[2] == 1 || shape->dims[2] == 3);
}

static cohort_status write_image(cohort_text *html, examples *e, const mistake *m)
{
    const cohort_dataset_info *info = cohort_dataset_describe(e->dataset);
    const size_t count = cohort_shape_count(&info->x_shape);
    const size_t channels = info->x_shape.dim_count == 3 ? info->x_shape.dims[2] : 1;
    char description[64];
    float *values = NULL;
    uint8_t *pixels = NULL;
    cohort_status status = COHORT_OK;
    COHORT_TRY_DONE(status, COHORT_ALLOCATE(&values, count));
    COHORT_TRY_DONE(status, COHORT_ALLOCATE(&pixels, count));
    COHORT_TRY_DONE(status, cohort_dataset_gather(values, NULL, e->dataset, &m->row, 1));
    to_pixels(pixels, values, info->x_element, count);
    snprintf(description, sizeof description, "test sample %llu", (unsigned long long)m->row);
    cohort_html_image(html, pixels, info->x_shape.dims[0], info->x_shape.dims[1], channels,
                      description);
done:
    cohort_free(values);
    cohort_free(pixels);
    return status;
}

/* The beginning of a text, cut between characters. */
static cohort_status write_text(cohort_text *html, examples *e, const mistake *m)
{
    const cohort_dataset_info *info = cohort_dataset_describe(e->dataset);
    const size_t count = cohort_shape_count(&info->x_shape);
    int32_t *tokens = NULL;
    cohort_text text = {0};
    cohort_status status = COHORT_OK;
    COHORT_REQUIRE(info->x_element == COHORT_I32, COHORT_DATA, "tokens are not int32");
    COHORT_TRY_DONE(status, COHORT_ALLOCATE(&tokens, count));
    COHORT_TRY_DONE(status, cohort_dataset_gather(tokens, NULL, e->dataset, &m->row, 1));
    cohort_tokenizer_decode(&text, e->tokenizer, tokens, count);
    COHORT_TRY_DONE(status, cohort_text_status(&text));
    size_t length = text.length < TEXT_MAX ? text.length : TEXT_MAX;
    while (length < text.length && length > 0 && ((unsigned char)text.data[length] & 0xc0) == 0x80)
        length--;
    cohort_text_append(html, "<p class=\"excerpt\">");
    if (text.data)
        cohort_html_escape_bytes(html, text.data, length);
    cohort_text_append(html, "%s</p>", length < text.length ? " …" : "");
done:
    cohort_text_clear(&text);
    cohort_free(tokens);
    return status;
}

static cohort_status write_all(cohort_text *html, examples *e)
{
    const bool image = is_image(cohort_dataset_describe(e->dataset));
    cohort_text_append(html, "<p>%zu of %zu test samples are put into the wrong class", e->wrong,
                       e->seen);
    cohort_text_append(html,
                       e->count == 0 ? ".</p>"
                       : e->count < e->wrong
                           ? "; the %zu of them that the network is surest of:</p>"
                           : ":</p>",
                       e->count);
    cohort_text_append(html, "<div class=\"%s\">", e->tokenizer ? "texts" : "images");
    for (size_t i = 0; i < e->count; i++) {
        const mistake *m = &e->worst[i];
        cohort_text_append(html, "<div class=\"example\">");
        if (e->tokenizer)
            COHORT_TRY(write_text(html, e, m));
        else if (image)
            COHORT_TRY(write_image(html, e, m));
        cohort_text_append(html, "<p><b>");
        write_class(html, e, m->truth);
        cohort_text_append(html, "</b>, taken for <b>");
        write_class(html, e, m->predicted);
        cohort_text_append(html,
                           "</b> (%.0f&nbsp;%%) <span class=\"quiet\">row %llu</span></p></div>",
                           100 * (double)m->probability, (unsigned long long)m->row);
    }
    cohort_text_append(html, "</div>\n");
    return COHORT_OK;
}

cohort_status cohort_examples_write(cohort_text *html, const char *folder, size_t count,
                                    size_t limit)
{
    examples e = {0};
    cohort_comm *comm = NULL;
    cohort_status status = COHORT_OK;
    COHORT_TRY(cohort_comm_open(&comm, NULL));
    status = open_examples(&e, comm, folder, count);
    if (status == COHORT_OK)
        status = predict_all(&e, limit);
    if (status == COHORT_OK)
        status = write_all(html, &e);
    if (status != COHORT_OK && status != COHORT_MEMORY) {
        cohort_text_append(html, "<p class=\"quiet\">None can be shown: ");
        cohort_html_escape(html, cohort_error_message());
        cohort_text_append(html, ".</p>\n");
        cohort_error_clear();
        status = COHORT_OK;
    }
    clear(&e);
    cohort_comm_close(comm);
    return status;
}
