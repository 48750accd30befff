/* Any bytes as texts and vocabularies: the first bytes choose kind and size; parts end with
 * zero bytes: a text to learn from, one to encode, a description, and strings taken for a
 * vocabulary. Tokens must lie within it, and what was decoded must be encodable. */
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "data/vocabulary.h"

enum { STRINGS_MOST = 512, ROW_MOST = 64 };

static void encode(cohort_tokenizer *tokenizer, fuzz_part text)
{
    cohort_tokens tokens = {0};
    cohort_text decoded = {0};
    int32_t row[ROW_MOST];
    size_t count = 0;
    const size_t width = cohort_tokenizer_spec_of(tokenizer)->length;
    cohort_tokenizer_vocabulary(&count, tokenizer);
    cohort_status status =
        cohort_tokenizer_encode(&tokens, tokenizer, (const char *)text.bytes, text.count);
    fuzz_require_refusal(status);
    for (size_t i = 0; i < tokens.count; i++)
        fuzz_require(tokens.items[i] >= 0 && (size_t)tokens.items[i] < count, "a token beyond");
    cohort_tokenizer_decode(&decoded, tokenizer, tokens.items, tokens.count);
    tokens.count = 0;
    if (status == COHORT_OK && decoded.length)
        fuzz_require_refusal(
            cohort_tokenizer_encode(&tokens, tokenizer, decoded.data, decoded.length));
    if (width <= ROW_MOST)
        fuzz_require_refusal(
            cohort_tokenizer_row(row, tokenizer, (const char *)text.bytes, text.count));
    cohort_text_clear(&decoded);
    free(tokens.items);
}

/* What was learnt from a text, and says of itself what it is. */
static void learn(const cohort_tokenizer_spec *spec, fuzz_part text, size_t most, fuzz_part other)
{
    cohort_tokenizer *tokenizer = NULL;
    cohort_vocabulary *vocabulary = NULL;
    cohort_text description = {0};
    cohort_tokenizer_spec again = {0};
    const char *bytes = (const char *)text.bytes;
    cohort_status status = COHORT_OK;
    if (spec->type >= COHORT_TOKENS_CHARACTERS) {
        status = cohort_vocabulary_of_characters(&tokenizer, spec, bytes, text.count);
    } else {
        COHORT_TRY_DONE(status, cohort_vocabulary_create(&vocabulary, spec));
        COHORT_TRY_DONE(status, cohort_vocabulary_count(vocabulary, bytes, text.count));
        status = cohort_vocabulary_finish(&tokenizer, vocabulary, most, NULL, NULL);
    }
    COHORT_TRY_DONE(status, status);
    encode(tokenizer, text);
    encode(tokenizer, other);
    cohort_tokenizer_describe(&description, spec);
    status = cohort_tokenizer_parse(&again, description.data);
    fuzz_require(status == COHORT_OK && again.type == spec->type && again.length == spec->length,
                 "described wrong");
    if (spec->type < COHORT_TOKENS_CHARACTERS)
        fuzz_require(again.keep_head == spec->keep_head && again.marks == spec->marks &&
                         again.mask == spec->mask && again.ngrams == spec->ngrams,
                     "described wrong");
done:
    fuzz_require_refusal(status);
    cohort_text_clear(&description);
    cohort_tokenizer_destroy(tokenizer);
    cohort_vocabulary_destroy(vocabulary);
}

/* A description and a vocabulary as a file may hold them. */
static void take_over(fuzz_part description, fuzz_part strings, fuzz_part text)
{
    static char texts[STRINGS_MOST][64];
    const char *vocabulary[STRINGS_MOST];
    char about[1024] = "";
    size_t count = 0;
    cohort_tokenizer_spec spec = {0};
    cohort_tokenizer *tokenizer = NULL;
    if (description.count < sizeof about)
        memcpy(about, description.bytes, description.count);
    while (strings.count && count < STRINGS_MOST) {
        const uint8_t *end = memchr(strings.bytes, '\n', strings.count);
        const size_t length = end ? (size_t)(end - strings.bytes) : strings.count;
        const size_t kept = length < sizeof texts[0] ? length : sizeof texts[0] - 1;
        memset(texts[count], 0, sizeof texts[0]);
        memcpy(texts[count], strings.bytes, kept);
        vocabulary[count] = texts[count];
        count++;
        strings.bytes += length + (end != NULL);
        strings.count -= length + (end != NULL);
    }
    cohort_status status = cohort_tokenizer_parse(&spec, about);
    if (status == COHORT_OK)
        status = cohort_tokenizer_create(&tokenizer, &spec, vocabulary, count);
    fuzz_require_refusal(status);
    if (tokenizer)
        encode(tokenizer, text);
    cohort_tokenizer_destroy(tokenizer);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    fuzz_part rest = {bytes, count};
    const unsigned kind = fuzz_take_byte(&rest), size = fuzz_take_byte(&rest);
    const cohort_tokenizer_spec spec = {.type = kind % COHORT_TOKENS_TYPE_COUNT,
                                        .length = 1 + size % ROW_MOST,
                                        .keep_head = kind & 8,
                                        .marks = kind & 16,
                                        .mask = kind & 32,
                                        .ngrams = kind & 64 ? 2 : 1};
    const fuzz_part text = fuzz_take_part(&rest), other = fuzz_take_part(&rest),
                    description = fuzz_take_part(&rest);
    learn(&spec, text, 16 + 4 * (size_t)size, other);
    take_over(description, rest, other);
    return 0;
}
