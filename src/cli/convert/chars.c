/* One text for a language model: rows of tokens and the same text one token on. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/file.h"
#include "cli/convert/format.h"
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
    COHORT_TRY_DONE(status, cohort_tokenizer_encode(&tokens, tokenizer, text.data, text.length));
    COHORT_TRY_DONE(status,
                    write_splits(writer, &tokens, path, spec->length, stride, fraction, deflate));
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
};

const cohort_format cohort_format_chars = {
    .name = "chars",
    .usage = "FILE.txt",
    .summary = "a text, by characters or bytes, for language models",
    .help = "Cuts a text (UTF-8) into rows of characters. Writes /train and /test: x int32\n"
            "[n][length], y the same text one token on; the attributes `vocabulary` and\n"
            "`tokenizer`. Bytes that are not UTF-8 become U+FFFD, CR LF becomes LF.",
    .options = options,
    .option_count = sizeof options / sizeof *options,
    .least = 1,
    .most = 1,
    .run = run,
};
