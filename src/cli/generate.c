/* Text from a causal language model, one token at a time. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/rng.h"
#include "cli/command.h"
#include "cli/text_input.h"
#include "nn/sampling.h"
#include "train/job.h"

static const cohort_option options[] = {
    {"prompt", "TEXT", "the text to continue", false},
    {"length", "N", "tokens to add", false},
    {"temperature", "T",
     "below 1 more likely, above 1 more varied; 0 = the most likely (default 1)", false},
    {"top-k", "K", "draw among the K most likely tokens only (default: all)", false},
    {"seed", "S", "of the draws (default: 1)", false},
};

enum { PROBES = 2 };

/* A text under way. */
typedef struct generator {
    cohort_inference inference;
    cohort_tokenizer *tokenizer;
    size_t window, width; /* tokens the model sees; logits a token */
    cohort_tokens tokens; /* prompt and continuation */
    int32_t *input;       /* [PROBES][window] */
    cohort_sampling sampling;
    uint64_t seed;
} generator;

static void generator_close(generator *g)
{
    cohort_tokenizer_destroy(g->tokenizer);
    cohort_free(g->input);
    free(g->tokens.items);
    cohort_inference_close(&g->inference);
}

/* A model that sees later tokens cannot be read before they are written: two rows that differ
 * behind their middle only must have the same logits there. */
static cohort_status require_causal(generator *g)
{
    const uint64_t samples[PROBES] = {0, 1};
    const cohort_pass pass = {.batch = PROBES, .samples = samples};
    const size_t middle = g->window / 2, vocabulary = g->inference.about->vocabulary_count;
    for (size_t i = 0; i < PROBES * g->window; i++) {
        const size_t row = i / g->window, at = i % g->window;
        g->input[i] = (int32_t)((at > middle ? at * (row + 1) + row : at + 2) % vocabulary);
    }
    const float *logits = cohort_model_forward(g->inference.model, g->input, &pass);
    const float *a = logits + middle * g->width, *b = a + g->window * g->width;
    for (size_t i = 0; i < g->width; i++)
        COHORT_REQUIRE(fabsf(a[i] - b[i]) <= 1e-3F * (1 + fabsf(a[i])), COHORT_USAGE,
                       "the model sees tokens ahead of those it predicts, so it cannot generate; "
                       "train with `causal: true` in every attention and without bidirectional "
                       "lstm");
    return COHORT_OK;
}

static cohort_status generator_open(generator *g, const char *model)
{
    const cohort_snapshot *about = g->inference.about;
    const cohort_shape *out = cohort_model_output_shape(g->inference.model);
    char shape[COHORT_SHAPE_TEXT];
    COHORT_TRY(cohort_text_tokenizer(&g->tokenizer, &g->inference, model));
    g->window = about->input_shape.dims[0];
    COHORT_REQUIRE(out->dim_count == 2 && out->dims[0] == g->window &&
                       out->dims[1] == about->vocabulary_count,
                   COHORT_USAGE,
                   "%s is no language model: it gives %s, not one of %zu tokens for each of %zu; "
                   "train one on data from `cohort convert chars`",
                   model, cohort_shape_text(shape, out), about->vocabulary_count, g->window);
    g->width = out->dims[1];
    COHORT_TRY(COHORT_ALLOCATE(&g->input, PROBES * g->window));
    return g->window > 1 ? require_causal(g) : COHORT_OK;
}

/* Appends the next token. A text shorter than the window is followed by padding, which no
 * earlier token sees. */
static cohort_status extend(generator *g)
{
    const uint64_t sample = 0;
    const cohort_pass pass = {.batch = 1, .samples = &sample};
    const size_t count = g->tokens.count, seen = count < g->window ? count : g->window;
    memcpy(g->input, g->tokens.items + (count - seen), seen * sizeof *g->input);
    memset(g->input + seen, 0, (g->window - seen) * sizeof *g->input);
    const float *logits =
        cohort_model_forward(g->inference.model, g->input, &pass) + (seen - 1) * g->width;
    cohort_rng rng = cohort_rng_make(g->seed, COHORT_RNG_GENERATE, 0, 0, count);
    size_t next = 0;
    COHORT_TRY(cohort_sample(&next, logits, g->width, &g->sampling, cohort_rng_double(&rng)));
    COHORT_TRY(cohort_grow((void **)&g->tokens.items, &g->tokens.capacity, count + 1,
                           sizeof *g->tokens.items));
    g->tokens.items[g->tokens.count++] = (int32_t)next;
    return COHORT_OK;
}

static cohort_status print_text(const generator *g)
{
    cohort_text text = {0};
    cohort_tokenizer_decode(&text, g->tokenizer, g->tokens.items, g->tokens.count);
    cohort_status status = cohort_text_status(&text);
    if (status == COHORT_OK && text.length > 0) {
        fwrite(text.data, 1, text.length, stdout);
        if (text.data[text.length - 1] != '\n')
            putchar('\n');
    }
    cohort_text_clear(&text);
    return status;
}

static cohort_status generate(cohort_comm *comm, generator *g, const cohort_options *given,
                              const char *prompt, int64_t length)
{
    COHORT_TRY(generator_open(g, given->positional[0]));
    COHORT_TRY(cohort_tokenizer_encode(&g->tokens, g->tokenizer, prompt, strlen(prompt)));
    COHORT_REQUIRE(g->tokens.count > 0, COHORT_USAGE,
                   "--prompt holds no token to begin with; give a character or a word");
    for (int64_t i = 0; i < length; i++)
        COHORT_TRY(extend(g));
    return cohort_cli_is_speaker(comm) ? print_text(g) : COHORT_OK;
}

static cohort_status run(cohort_comm *comm, const cohort_options *given)
{
    generator g = {0};
    const char *prompt = NULL, *unused = NULL;
    int64_t length = 0, top_k = 0, seed = 0;
    COHORT_TRY(cohort_options_require(&prompt, given, "prompt"));
    COHORT_TRY(cohort_options_require(&unused, given, "length"));
    COHORT_TRY(cohort_options_integer(&length, given, "length", 0, 0, 1 << 24));
    COHORT_TRY(cohort_options_number(&g.sampling.temperature, given, "temperature", 1, 0, 1e6));
    COHORT_TRY(cohort_options_integer(&top_k, given, "top-k", 0, 1, 1 << 24));
    COHORT_TRY(cohort_options_integer(&seed, given, "seed", 1, 0, INT64_MAX));
    g.sampling.top_k = (size_t)top_k;
    g.seed = (uint64_t)seed;
    cohort_job_set_threads(comm, 0);
    cohort_status status = COHORT_OK;
    COHORT_TRY_DONE(status,
                    cohort_inference_open(&g.inference, comm, given->positional[0], PROBES));
    COHORT_TRY_DONE(status, cohort_comm_agree(comm, generate(comm, &g, given, prompt, length)));
done:
    generator_close(&g);
    return status;
}

const cohort_command cohort_command_generate = {
    .name = "generate",
    .usage = "MODEL --prompt TEXT --length N [--temperature T] [--top-k K] [--seed S]",
    .summary = "Continue a text with a language model",
    .details = "Prints the prompt and what the model makes of it. The model sees as many of the\n"
               "latest tokens as its training rows had. The same seed gives the same text.",
    .options = options,
    .option_count = sizeof options / sizeof *options,
    .least = 1,
    .most = 1,
    .is_parallel = true,
    .run = run,
};
