/* One text for a language model: rows of tokens and the same text one token on. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/memory.h"
#include "cli/convert/format.h"
#include "cli/convert/speeches.h"
#include "data/vocabulary.h"

/* Writes the rows of TOKENS[0..count) that begin every STRIDE tokens. */
static cohort_status write_split(cohort_writer *writer, const char *group, const int32_t *tokens,
                                 size_t count, size_t length, size_t stride, int deflate)
{
    size_t x = 0, y = 0;
    const cohort_shape shape = cohort_shape_of(length);
    COHORT_TRY(cohort_writer_add(&x, writer, group, "x", COHORT_I32, &shape, deflate));
    COHORT_TRY(cohort_writer_add(&y, writer, group, "y", COHORT_I32, &shape, deflate));
    for (size_t at = 0; at + length + 1 <= count; at += stride) {
        COHORT_TRY(cohort_writer_append(writer, x, tokens + at, 1));
        COHORT_TRY(cohort_writer_append(writer, y, tokens + at + 1, 1));
    }
    return COHORT_OK;
}

static cohort_status write_splits(cohort_writer *writer, const cohort_tokens *tokens,
                                  const char *path, size_t length, size_t stride, double fraction,
                                  int deflate)
{
    /* The training part is the whole tokens of the first 1 - fraction. */
    const size_t cut = (size_t)((double)tokens->count * (1 - fraction));
    const size_t rest = tokens->count - cut;
    COHORT_REQUIRE(cut > length && (fraction == 0 || rest > length), COHORT_DATA,
                   "%s is too short: %zu tokens to train on and %zu to test with, rows take "
                   "%zu; choose a smaller --length or --test",
                   path, cut, rest, length + 1);
    COHORT_TRY(write_split(writer, "train", tokens->items, cut, length, stride, deflate));
    if (fraction > 0)
        COHORT_TRY(write_split(writer, "test", tokens->items + cut, rest, length, length, deflate));
    return COHORT_OK;
}

/* --- By speaker --- */

/* The data sets of a split whose rows are told apart. */
typedef struct spoken_split {
    size_t x, y, speaker; /* the writer's numbers */
    size_t rows;
} spoken_split;

typedef struct spoken {
    cohort_writer *writer;
    size_t length, stride;
    double fraction;
    spoken_split train, test;
    cohort_tokens tokens; /* of one speaker */
    cohort_text names;    /* each with its zero byte */
    size_t count;         /* speakers that have rows */
} spoken;

static cohort_status add_split(spoken_split *split, cohort_writer *writer, const char *group,
                               size_t length, int deflate)
{
    const cohort_shape row = cohort_shape_of(length), one = {.dim_count = 0};
    COHORT_TRY(cohort_writer_add(&split->x, writer, group, "x", COHORT_I32, &row, deflate));
    COHORT_TRY(cohort_writer_add(&split->y, writer, group, "y", COHORT_I32, &row, deflate));
    return cohort_writer_add(&split->speaker, writer, group, "speaker", COHORT_I32, &one, deflate);
}

static cohort_status append_rows(spoken_split *split, cohort_writer *writer, const int32_t *tokens,
                                 size_t count, size_t length, size_t stride, int32_t speaker)
{
    for (size_t at = 0; at + length + 1 <= count; at += stride) {
        COHORT_TRY(cohort_writer_append(writer, split->x, tokens + at, 1));
        COHORT_TRY(cohort_writer_append(writer, split->y, tokens + at + 1, 1));
        COHORT_TRY(cohort_writer_append(writer, split->speaker, &speaker, 1));
        split->rows++;
    }
    return COHORT_OK;
}

/* The rows of one speaker, if there is enough for one to train on: the end of what they say is for
 * /test. */
static cohort_status append_speaker(spoken *all, const cohort_speech *speech)
{
    const size_t length = all->length, count = all->tokens.count,
                 cut = (size_t)((double)count * (1 - all->fraction));
    const int32_t number = (int32_t)all->count;
    if (cut < length + 1)
        return COHORT_OK;
    COHORT_TRY(
        append_rows(&all->train, all->writer, all->tokens.items, cut, length, all->stride, number));
    if (all->fraction > 0)
        COHORT_TRY(append_rows(&all->test, all->writer, all->tokens.items + cut, count - cut,
                               length, length, number));
    cohort_text_append_bytes(&all->names, speech->name, speech->name_length);
    cohort_text_append_bytes(&all->names, "", 1);
    all->count++;
    return cohort_text_status(&all->names);
}

static cohort_status write_names(const spoken *all)
{
    const char **names = NULL;
    COHORT_TRY(COHORT_ALLOCATE(&names, all->count));
    const char *at = all->names.data;
    for (size_t i = 0; i < all->count; i++, at += strlen(at) + 1)
        names[i] = at;
    cohort_status status = cohort_writer_attribute_list(all->writer, "speakers", names, all->count);
    cohort_free(names);
    return status;
}

static cohort_status write_speakers(spoken *all, cohort_tokenizer *tokenizer,
                                    const cohort_speeches *speeches, const char *path)
{
    size_t left_out = 0;
    for (size_t begin = 0, end; begin < speeches->count; begin = end) {
        const size_t before = all->count;
        end = cohort_speeches_end(speeches, begin);
        all->tokens.count = 0;
        for (size_t i = begin; i < end; i++)
            COHORT_TRY(cohort_tokenizer_encode(&all->tokens, tokenizer, speeches->items[i].words,
                                               speeches->items[i].words_length));
        COHORT_TRY(append_speaker(all, &speeches->items[begin]));
        left_out += all->count == before;
    }
    COHORT_REQUIRE(all->count > 0 && (all->fraction == 0 || all->test.rows > 0), COHORT_DATA,
                   "%s: no speaker says enough for rows of %zu tokens in %s; choose a smaller "
                   "--length",
                   path, all->length + 1, all->count > 0 ? "/test" : "/train");
    printf("%zu speakers; left out %zu who say too little for a row\n", all->count, left_out);
    return write_names(all);
}

static cohort_status write_by_speaker(cohort_writer *writer, cohort_tokenizer *tokenizer,
                                      const cohort_text *text, const char *path, size_t stride,
                                      double fraction, int deflate)
{
    cohort_speeches speeches = {0};
    spoken all = {.writer = writer,
                  .length = cohort_tokenizer_spec_of(tokenizer)->length,
                  .stride = stride,
                  .fraction = fraction};
    cohort_status status = COHORT_OK;
    COHORT_TRY_DONE(status, cohort_speeches_find(&speeches, text->data, text->length));
    COHORT_REQUIRE_DONE(status, speeches.count > 0, COHORT_DATA,
                        "%s: no paragraph begins with a line like \"NAME:\", so nobody is known to "
                        "speak; leave --by-speaker out",
                        path);
    COHORT_TRY_DONE(status, add_split(&all.train, writer, "train", all.length, deflate));
    if (fraction > 0)
        COHORT_TRY_DONE(status, add_split(&all.test, writer, "test", all.length, deflate));
    status = write_speakers(&all, tokenizer, &speeches, path);
done:
    free(all.tokens.items);
    cohort_text_clear(&all.names);
    cohort_speeches_clear(&speeches);
    return status;
}

/* --- The command --- */

static cohort_status convert(cohort_writer *writer, const cohort_options *options,
                             const cohort_tokenizer_spec *spec, size_t stride, double fraction)
{
    const char *path = options->positional[0];
    int deflate = 0;
    cohort_text text = {0};
    cohort_tokenizer *tokenizer = NULL;
    cohort_tokens tokens = {0};
    cohort_status status = COHORT_OK;
    COHORT_TRY_DONE(status, cohort_format_compression(&deflate, options));
    COHORT_TRY_DONE(status, cohort_file_read(&text, path, (size_t)1 << 40));
    COHORT_REQUIRE_DONE(status, text.length > 0, COHORT_DATA, "%s is empty", path);
    COHORT_TRY_DONE(status,
                    cohort_vocabulary_of_characters(&tokenizer, spec, text.data, text.length));
    if (cohort_options_given(options, "by-speaker")) {
        COHORT_TRY_DONE(
            status, write_by_speaker(writer, tokenizer, &text, path, stride, fraction, deflate));
    } else {
        COHORT_TRY_DONE(status,
                        cohort_tokenizer_encode(&tokens, tokenizer, text.data, text.length));
        COHORT_TRY_DONE(
            status, write_splits(writer, &tokens, path, spec->length, stride, fraction, deflate));
    }
    COHORT_TRY_DONE(status, cohort_format_vocabulary(writer, tokenizer));
done:
    free(tokens.items);
    cohort_tokenizer_destroy(tokenizer);
    cohort_text_clear(&text);
    return status;
}

static cohort_status run(cohort_writer *writer, const cohort_options *options)
{
    int64_t length = 0, stride = 0;
    double fraction = 0;
    COHORT_TRY(cohort_options_integer(&length, options, "length", 256, 1, 1 << 24));
    COHORT_TRY(cohort_options_integer(&stride, options, "stride", length, 1, INT64_MAX));
    COHORT_TRY(cohort_options_number(&fraction, options, "test", 0.1, 0, 0.9));
    const cohort_tokenizer_spec spec = {
        .type =
            cohort_options_given(options, "bytes") ? COHORT_TOKENS_BYTES : COHORT_TOKENS_CHARACTERS,
        .length = (size_t)length,
        .ngrams = 1,
    };
    return convert(writer, options, &spec, (size_t)stride, fraction);
}

static const cohort_option options[] = {
    {"length", "N", "tokens of a row (default: 256)", false},
    {"bytes", NULL, "tokens are the 256 bytes (default: the characters that occur)", false},
    {"stride", "N", "tokens from one training row to the next (default: the length)", false},
    {"test", "FRACTION", "of the text, its end, that becomes /test (default: 0.1)", false},
    {"by-speaker", NULL, "rows of what one person says, as lines like \"NAME:\" tell", false},
};

const cohort_format cohort_format_chars = {
    .name = "chars",
    .usage = "FILE.txt",
    .summary = "a text, by characters or bytes, for language models",
    .help = "Cuts a text (UTF-8) into rows of characters. Writes /train and /test: x int32\n"
            "[n][length], y the same text one token on; the attributes `vocabulary` and\n"
            "`tokenizer`. Bytes that are not UTF-8 become U+FFFD, CR LF becomes LF.\n"
            "\n"
            "--by-speaker is for plays and transcripts, whose paragraphs begin with a line of a\n"
            "name and a colon. What each speaker says, names left out, is put together and cut\n"
            "into rows, its end for /test; those who say too little are left out. A data set\n"
            "`speaker` in both groups numbers the attribute `speakers`, so that a federated\n"
            "recipe can have `partition: {by: speaker}`.",
    .options = options,
    .option_count = sizeof options / sizeof *options,
    .least = 1,
    .most = 1,
    .run = run,
};
