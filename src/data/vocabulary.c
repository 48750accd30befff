#include "data/vocabulary.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "data/dictionary.h"
#include "data/subwords.h"
#include "data/unicode.h"
#include "data/words.h"

struct cohort_vocabulary {
    cohort_tokenizer_spec spec;
    cohort_dictionary *words; /* words, and pairs with a blank between */
    uint64_t *counts;         /* [words] */
    size_t capacity;
};

cohort_status cohort_vocabulary_create(cohort_vocabulary **out, const cohort_tokenizer_spec *spec)
{
    *out = calloc(1, sizeof **out);
    COHORT_REQUIRE(*out, COHORT_MEMORY, "out of memory");
    (*out)->spec = *spec;
    cohort_status status = cohort_dictionary_create(&(*out)->words);
    if (status != COHORT_OK) {
        free(*out);
        *out = NULL;
    }
    return status;
}

void cohort_vocabulary_destroy(cohort_vocabulary *vocabulary)
{
    if (!vocabulary)
        return;
    cohort_dictionary_destroy(vocabulary->words);
    free(vocabulary->counts);
    free(vocabulary);
}

static cohort_status count_one(cohort_vocabulary *vocabulary, const char *text, size_t length)
{
    uint32_t id = 0;
    const uint32_t known = cohort_dictionary_count(vocabulary->words);
    COHORT_TRY(cohort_dictionary_add(&id, vocabulary->words, text, length));
    COHORT_TRY(cohort_grow((void **)&vocabulary->counts, &vocabulary->capacity, (size_t)id + 1,
                           sizeof *vocabulary->counts));
    if (id == known)
        vocabulary->counts[id] = 0;
    vocabulary->counts[id]++;
    return COHORT_OK;
}

cohort_status cohort_vocabulary_count(cohort_vocabulary *vocabulary, const char *text,
                                      size_t length)
{
    cohort_words words = cohort_words_of(text, length, vocabulary->spec.marks);
    /* The previous word stands right before the word, with a blank between. */
    char pair[2 * COHORT_WORD_BYTES], *word = pair + COHORT_WORD_BYTES;
    size_t previous = 0, bytes;
    while ((bytes = cohort_words_next(word, &words)) > 0) {
        COHORT_TRY(count_one(vocabulary, word, bytes));
        if (vocabulary->spec.ngrams < 2)
            continue;
        word[-1] = ' ';
        if (previous > 0)
            COHORT_TRY(count_one(vocabulary, word - 1 - previous, previous + 1 + bytes));
        memmove(word - 1 - bytes, word, bytes);
        previous = bytes;
    }
    return COHORT_OK;
}

typedef struct ranked {
    const char *text;
    uint64_t count;
} ranked;

static int compare_ranked(const void *a, const void *b)
{
    const ranked *left = a, *right = b;
    if (left->count != right->count)
        return left->count > right->count ? -1 : 1;
    return strcmp(left->text, right->text);
}

static cohort_status add_frequent(cohort_dictionary *chosen, const cohort_vocabulary *vocabulary,
                                  size_t most)
{
    const uint32_t count = cohort_dictionary_count(vocabulary->words);
    ranked *words = NULL;
    COHORT_TRY(COHORT_ALLOCATE(&words, count));
    size_t candidates = 0;
    for (uint32_t id = 0; id < count; id++) {
        const char *text = cohort_dictionary_text(vocabulary->words, id);
        if (vocabulary->counts[id] > 1 || !strchr(text, ' '))
            words[candidates++] = (ranked){text, vocabulary->counts[id]};
    }
    qsort(words, candidates, sizeof *words, compare_ranked);
    cohort_status status = COHORT_OK;
    for (size_t i = 0; i < candidates && cohort_dictionary_count(chosen) < most; i++) {
        uint32_t id = 0;
        COHORT_TRY_DONE(status,
                        cohort_dictionary_add(&id, chosen, words[i].text, strlen(words[i].text)));
    }
done:
    cohort_free(words);
    return status;
}

static cohort_status add_special(cohort_dictionary *chosen, bool mask)
{
    static const char *const texts[] = {COHORT_TOKEN_PADDING_TEXT, COHORT_TOKEN_UNKNOWN_TEXT,
                                        COHORT_TOKEN_MASK_TEXT};
    for (size_t i = 0; i < (mask ? 3 : 2); i++) {
        uint32_t id = 0;
        COHORT_TRY(cohort_dictionary_add(&id, chosen, texts[i], strlen(texts[i])));
    }
    return COHORT_OK;
}

static cohort_status make_tokenizer(cohort_tokenizer **out, const cohort_tokenizer_spec *spec,
                                    const cohort_dictionary *chosen)
{
    const uint32_t count = cohort_dictionary_count(chosen);
    const char **texts = calloc(count, sizeof *texts);
    COHORT_REQUIRE(texts, COHORT_MEMORY, "out of memory");
    for (uint32_t id = 0; id < count; id++)
        texts[id] = cohort_dictionary_text(chosen, id);
    cohort_status status = cohort_tokenizer_create(out, spec, texts, count);
    free(texts);
    return status;
}

cohort_status cohort_vocabulary_finish(cohort_tokenizer **out, cohort_vocabulary *vocabulary,
                                       size_t most, void (*progress)(void *context, size_t done),
                                       void *context)
{
    const cohort_tokenizer_spec *spec = &vocabulary->spec;
    cohort_dictionary *chosen = NULL;
    cohort_status status = COHORT_OK;
    *out = NULL;
    COHORT_TRY_DONE(status, cohort_dictionary_create(&chosen));
    COHORT_TRY_DONE(status, add_special(chosen, spec->mask));
    if (spec->type == COHORT_TOKENS_WORDS)
        COHORT_TRY_DONE(status, add_frequent(chosen, vocabulary, most));
    else
        COHORT_TRY_DONE(status, cohort_subwords_learn(chosen, spec->type, vocabulary->words,
                                                      vocabulary->counts, most, progress, context));
    COHORT_TRY_DONE(status, make_tokenizer(out, spec, chosen));
done:
    cohort_dictionary_destroy(chosen);
    return status;
}

/* Bytes by number: themselves where they print, else "<0x0A>" (as others write them). */
static cohort_status add_bytes(cohort_dictionary *chosen)
{
    for (unsigned byte = 0; byte < 256; byte++) {
        char text[8];
        uint32_t id = 0;
        snprintf(text, sizeof text, byte > ' ' && byte < 127 ? "%c" : "<0x%02X>", byte);
        COHORT_TRY(cohort_dictionary_add(&id, chosen, text, strlen(text)));
    }
    return COHORT_OK;
}

static cohort_status add_characters(cohort_dictionary *chosen, const char *text, size_t length)
{
    enum { CODES = 0x110000 };
    unsigned char *met = NULL;
    COHORT_TRY(COHORT_ALLOCATE(&met, CODES));
    for (const char *at = text, *end = text + length; at < end;) {
        if (*at == '\r' && at + 1 < end && at[1] == '\n')
            at++;
        met[cohort_utf8_take(&at, end)] = 1;
    }
    /* A zero cannot be written as a string. */
    if (met[0])
        met[COHORT_UNICODE_REPLACEMENT] = 1;
    cohort_status status = COHORT_OK;
    for (uint32_t code = 1; code < CODES; code++) {
        char bytes[COHORT_UTF8_MAX];
        uint32_t id = 0;
        if (met[code])
            COHORT_TRY_DONE(
                status, cohort_dictionary_add(&id, chosen, bytes, cohort_utf8_put(bytes, code)));
    }
done:
    cohort_free(met);
    return status;
}

cohort_status cohort_vocabulary_of_characters(cohort_tokenizer **out,
                                              const cohort_tokenizer_spec *spec, const char *text,
                                              size_t length)
{
    cohort_dictionary *chosen = NULL;
    cohort_status status = COHORT_OK;
    *out = NULL;
    COHORT_TRY_DONE(status, cohort_dictionary_create(&chosen));
    if (spec->type == COHORT_TOKENS_BYTES)
        COHORT_TRY_DONE(status, add_bytes(chosen));
    else
        COHORT_TRY_DONE(status, add_characters(chosen, text, length));
    COHORT_TRY_DONE(status, make_tokenizer(out, spec, chosen));
done:
    cohort_dictionary_destroy(chosen);
    return status;
}
