/* embedding: y [batch][time][units] = rows of `embeddings` [vocabulary][units] by token.
 *
 * Defaults: `vocabulary` the data set's, `mask` false, `init` uniform in ±0.05 (Keras's
 * for this layer). With `mask: true` token 0 is padding: lstm, attention and
 * global_average_pool above skip its steps. */
#include <string.h>

#include "base/rows.h"
#include "kernel/embedding.h"
#include "nn/layer.h"

typedef struct embedding_config {
    cohort_layer_common common;
    size_t vocabulary, units;
    bool mask;
} embedding_config;

typedef struct embedding {
    cohort_layer layer;
    cohort_param embeddings;
    size_t time, units;
} embedding;

static const cohort_key embedding_keys[] = {
    COHORT_KEY_NAME(embedding_config),
    {.name = "init",
     .type = COHORT_KEY_VARIANT,
     .offset = offsetof(embedding_config, common.init),
     .variants = cohort_init_variants,
     .fallback = "{uniform: 0.05}",
     .help = "how the table starts"},
    {.name = "vocabulary",
     .type = COHORT_KEY_COUNT,
     .offset = offsetof(embedding_config, vocabulary),
     .max = INT32_MAX,
     .fallback = "0",
     .help = "rows of the table, above every token; 0 = the data set's"},
    {.name = "units",
     .type = COHORT_KEY_COUNT,
     .offset = offsetof(embedding_config, units),
     .min = 1,
     .max = INT32_MAX,
     .required = true,
     .help = "width of a row"},
    {.name = "mask",
     .type = COHORT_KEY_BOOL,
     .offset = offsetof(embedding_config, mask),
     .fallback = "false",
     .help = "token 0 is padding, which the layers above skip"},
};

static cohort_status embedding_plan(cohort_layer *layer, cohort_planner *planner, cohort_flow *flow)
{
    embedding *self = (embedding *)layer;
    const embedding_config *config = layer->config;
    char shape[COHORT_SHAPE_TEXT];
    COHORT_REQUIRE(flow->tokens && flow->shape.dim_count == 1, COHORT_USAGE,
                   "line %d: %s: embedding needs token ids [time], got %s %s; make it the first "
                   "layer, over integer data",
                   layer->line, layer->path, flow->tokens ? "tokens" : "numbers",
                   cohort_shape_text(shape, &flow->shape));
    const size_t vocabulary = config->vocabulary ? config->vocabulary : flow->vocabulary;
    COHORT_REQUIRE(
        vocabulary > 0, COHORT_USAGE,
        "line %d: %s: the data set does not tell its vocabulary; set `vocabulary` to one "
        "more than the largest token",
        layer->line, layer->path);
    COHORT_REQUIRE(vocabulary >= flow->vocabulary, COHORT_USAGE,
                   "line %d: %s: vocabulary %zu is smaller than the data set's, %zu; leave it out "
                   "or raise it",
                   layer->line, layer->path, vocabulary, flow->vocabulary);
    self->time = flow->shape.dims[0];
    self->units = config->units;
    COHORT_TRY(cohort_plan_param(planner, &self->embeddings, "embeddings",
                                 &cohort_shape_of(vocabulary, self->units), &config->common.init, 0,
                                 vocabulary, self->units,
                                 COHORT_PARAM_DECAYS | COHORT_PARAM_EMBEDDING));
    *flow = (cohort_flow){.shape = cohort_shape_of(self->time, self->units),
                          .masked = config->mask,
                          .vocabulary = vocabulary};
    return COHORT_OK;
}

static void embedding_forward(cohort_layer *layer, const cohort_pass *pass)
{
    const embedding *self = (const embedding *)layer;
    cohort_embedding_forward(layer->y, self->embeddings.value, layer->tokens,
                             pass->batch * self->time, self->units);
}

/* Zeros the gradient: the rows that are not marked hold zeros already. After a reduction those
 * of all ranks are marked. */
static void clear(cohort_param *embeddings, size_t units)
{
    const size_t row_count = embeddings->count / units;
    if (!embeddings->rows) {
        memset(embeddings->grad, 0, embeddings->count * sizeof(real));
        return;
    }
    cohort_embedding_zero_rows(embeddings->grad, embeddings->rows, row_count, units);
    memset(embeddings->rows, 0, cohort_rows_words(row_count) * sizeof *embeddings->rows);
}

static void embedding_backward(cohort_layer *layer, const cohort_pass *pass)
{
    embedding *self = (embedding *)layer;
    const size_t count = pass->batch * self->time;
    if (!self->embeddings.grad)
        return;
    if (!pass->accumulate)
        clear(&self->embeddings, self->units);
    if (self->embeddings.rows)
        cohort_rows_mark(self->embeddings.rows, layer->tokens, count);
    cohort_embedding_backward(self->embeddings.grad, layer->dy, layer->tokens, count, self->units);
}

const cohort_layer_type cohort_layer_embedding = {
    .keys = {.name = "embedding",
             .help = "vectors for tokens, learned",
             .config_bytes = sizeof(embedding_config),
             .main_key = "units",
             .keys = embedding_keys,
             .key_count = sizeof embedding_keys / sizeof *embedding_keys},
    .layer_bytes = sizeof(embedding),
    .plan = embedding_plan,
    .forward = embedding_forward,
    .backward = embedding_backward,
    .reads_tokens = true,
};
