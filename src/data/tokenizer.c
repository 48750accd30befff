#include "data/tokenizer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/memory.h"
#include "data/dictionary.h"
#include "data/subwords.h"
#include "data/unicode.h"
#include "data/words.h"

const char *const cohort_token_type_names[COHORT_TOKENS_TYPE_COUNT] = {"words", "wordpiece", "bpe",
                                                                       "characters", "bytes"};

struct cohort_tokenizer {
    cohort_tokenizer_spec spec;
    cohort_dictionary *dictionary; /* string to token */
    const char **vocabulary;       /* token to string, into `dictionary` */
    size_t count;
    /* The parts of words already met: those of word i are
     * parts.items[ends[i - 1] .. ends[i]). */
    cohort_dictionary *met;
    cohort_tokens parts;
    size_t *ends, end_capacity;
    cohort_tokens row; /* scratch */
};

/* Words are forgotten beyond this many, so that memory stays bounded on any input. */
enum { MET_MOST = 1 << 20 };

static bool is_text_of_words(cohort_token_type type)
{
    return type <= COHORT_TOKENS_BPE;
}

static cohort_status check_special(const cohort_tokenizer_spec *spec, const char *const *vocabulary,
                                   size_t count)
{
    if (!is_text_of_words(spec->type)) {
        COHORT_REQUIRE(spec->type != COHORT_TOKENS_BYTES || count == 256, COHORT_DATA,
                       "a vocabulary of bytes has 256 entries, not %zu", count);
        return COHORT_OK;
    }
    COHORT_REQUIRE(
        count >= (spec->mask ? 3 : 2) && strcmp(vocabulary[0], COHORT_TOKEN_PADDING_TEXT) == 0 &&
            strcmp(vocabulary[1], COHORT_TOKEN_UNKNOWN_TEXT) == 0 &&
            (!spec->mask || strcmp(vocabulary[2], COHORT_TOKEN_MASK_TEXT) == 0),
        COHORT_DATA, "the vocabulary does not begin with [pad], [unk]%s; convert the text again",
        spec->mask ? ", [mask]" : "");
    return COHORT_OK;
}

static cohort_status fill(cohort_tokenizer *tokenizer, const char *const *vocabulary, size_t count)
{
    COHORT_TRY(check_special(&tokenizer->spec, vocabulary, count));
    COHORT_TRY(cohort_dictionary_create(&tokenizer->dictionary));
    COHORT_TRY(cohort_dictionary_create(&tokenizer->met));
    for (size_t i = 0; i < count; i++) {
        uint32_t id = 0;
        COHORT_TRY(cohort_dictionary_add(&id, tokenizer->dictionary, vocabulary[i],
                                         strlen(vocabulary[i])));
        COHORT_REQUIRE(id == i, COHORT_DATA, "the vocabulary has \"%s\" twice (%u and %zu)",
                       vocabulary[i], id, i);
    }
    tokenizer->vocabulary = calloc(count + 1, sizeof *tokenizer->vocabulary);
    COHORT_REQUIRE(tokenizer->vocabulary, COHORT_MEMORY, "out of memory");
    for (size_t i = 0; i < count; i++)
        tokenizer->vocabulary[i] = cohort_dictionary_text(tokenizer->dictionary, (uint32_t)i);
    tokenizer->count = count;
    return COHORT_OK;
}

cohort_status cohort_tokenizer_create(cohort_tokenizer **out, const cohort_tokenizer_spec *spec,
                                      const char *const *vocabulary, size_t count)
{
    *out = NULL;
    cohort_tokenizer *tokenizer = calloc(1, sizeof *tokenizer);
    COHORT_REQUIRE(tokenizer, COHORT_MEMORY, "out of memory");
    tokenizer->spec = *spec;
    cohort_status status = fill(tokenizer, vocabulary, count);
    if (status == COHORT_OK)
        *out = tokenizer;
    else
        cohort_tokenizer_destroy(tokenizer);
    return status;
}

void cohort_tokenizer_destroy(cohort_tokenizer *tokenizer)
{
    if (!tokenizer)
        return;
    cohort_dictionary_destroy(tokenizer->dictionary);
    cohort_dictionary_destroy(tokenizer->met);
    free(tokenizer->vocabulary);
    free(tokenizer->parts.items);
    free(tokenizer->ends);
    free(tokenizer->row.items);
    free(tokenizer);
}

void cohort_tokenizer_describe(cohort_text *text, const cohort_tokenizer_spec *spec)
{
    cohort_json_begin_object(text, NULL);
    cohort_json_string(text, "type", cohort_token_type_names[spec->type]);
    cohort_json_integer(text, "length", (int64_t)spec->length);
    if (is_text_of_words(spec->type)) {
        cohort_json_string(text, "keep", spec->keep_head ? "head" : "tail");
        cohort_json_boolean(text, "marks", spec->marks);
        cohort_json_boolean(text, "mask", spec->mask);
        cohort_json_integer(text, "ngrams", spec->ngrams);
    }
    cohort_json_end_object(text);
}

/* The value of KEY in a flat object into VALUE (32 bytes), without quotes; "" if missing. */
static const char *json_value(char *value, const char *json, const char *key)
{
    char quoted[32];
    snprintf(quoted, sizeof quoted, "\"%s\"", key);
    const char *at = strstr(json, quoted);
    value[0] = '\0';
    if (!at)
        return value;
    at += strlen(quoted);
    at += strspn(at, " \t\n:\"");
    snprintf(value, 32, "%.*s", (int)strcspn(at, "\", \t\n}"), at);
    return value;
}

cohort_status cohort_tokenizer_parse(cohort_tokenizer_spec *spec, const char *description)
{
    char value[32];
    int64_t length = 0;
    *spec = (cohort_tokenizer_spec){.type = COHORT_TOKENS_TYPE_COUNT, .ngrams = 1};
    json_value(value, description, "type");
    for (int type = 0; type < COHORT_TOKENS_TYPE_COUNT; type++)
        if (strcmp(value, cohort_token_type_names[type]) == 0)
            spec->type = (cohort_token_type)type;
    COHORT_REQUIRE(spec->type != COHORT_TOKENS_TYPE_COUNT, COHORT_DATA,
                   "the attribute `tokenizer` is of unknown type \"%s\"", value);
    COHORT_REQUIRE(cohort_parse_int64(&length, json_value(value, description, "length")) &&
                       length > 0 && length <= INT32_MAX,
                   COHORT_DATA, "the attribute `tokenizer` has no valid length");
    spec->length = (size_t)length;
    spec->keep_head = strcmp(json_value(value, description, "keep"), "head") == 0;
    spec->marks = strcmp(json_value(value, description, "marks"), "true") == 0;
    spec->mask = strcmp(json_value(value, description, "mask"), "true") == 0;
    spec->ngrams = strcmp(json_value(value, description, "ngrams"), "2") == 0 ? 2 : 1;
    return COHORT_OK;
}

const cohort_tokenizer_spec *cohort_tokenizer_spec_of(const cohort_tokenizer *tokenizer)
{
    return &tokenizer->spec;
}

const char *const *cohort_tokenizer_vocabulary(size_t *count, const cohort_tokenizer *tokenizer)
{
    *count = tokenizer->count;
    return tokenizer->vocabulary;
}

static cohort_status append(cohort_tokens *tokens, int32_t token)
{
    COHORT_TRY(cohort_grow((void **)&tokens->items, &tokens->capacity, tokens->count + 1,
                           sizeof *tokens->items));
    tokens->items[tokens->count++] = token;
    return COHORT_OK;
}

static int32_t find_or_unknown(const cohort_tokenizer *tokenizer, const char *text, size_t length)
{
    uint32_t id = cohort_dictionary_find(tokenizer->dictionary, text, length);
    return id == COHORT_DICTIONARY_NONE ? COHORT_TOKEN_UNKNOWN : (int32_t)id;
}

static cohort_status encode_words(cohort_tokens *tokens, const cohort_tokenizer *tokenizer,
                                  cohort_words words)
{
    /* "previous word": the pair is looked up as it stands in the vocabulary. */
    char pair[2 * COHORT_WORD_BYTES];
    size_t previous = 0, length;
    char *word = pair + COHORT_WORD_BYTES;
    while ((length = cohort_words_next(word, &words)) > 0) {
        COHORT_TRY(append(tokens, find_or_unknown(tokenizer, word, length)));
        if (tokenizer->spec.ngrams < 2)
            continue;
        if (previous > 0) {
            char *begin = word - 1 - previous;
            begin[previous] = ' ';
            int32_t token = find_or_unknown(tokenizer, begin, previous + 1 + length);
            if (token != COHORT_TOKEN_UNKNOWN)
                COHORT_TRY(append(tokens, token));
        }
        /* Right-aligned before the place of the next word. */
        memmove(word - 1 - length, word, length);
        previous = length;
    }
    return COHORT_OK;
}

/* *begin, *count = the parts of a word, worked out once. */
static cohort_status look_up_parts(size_t *begin, size_t *count, cohort_tokenizer *tokenizer,
                                   const char *word, size_t length)
{
    uint32_t id = 0;
    uint32_t known = cohort_dictionary_count(tokenizer->met);
    if (known >= MET_MOST) {
        cohort_dictionary_destroy(tokenizer->met);
        tokenizer->met = NULL;
        COHORT_TRY(cohort_dictionary_create(&tokenizer->met));
        tokenizer->parts.count = known = 0;
    }
    COHORT_TRY(cohort_dictionary_add(&id, tokenizer->met, word, length));
    if (id == known) {
        COHORT_TRY(cohort_grow((void **)&tokenizer->ends, &tokenizer->end_capacity, (size_t)id + 1,
                               sizeof *tokenizer->ends));
        COHORT_TRY(cohort_subwords_split(&tokenizer->parts, tokenizer->dictionary,
                                         tokenizer->spec.type, word, length));
        tokenizer->ends[id] = tokenizer->parts.count;
    }
    *begin = id > 0 ? tokenizer->ends[id - 1] : 0;
    *count = tokenizer->ends[id] - *begin;
    return COHORT_OK;
}

static cohort_status encode_subwords(cohort_tokens *tokens, cohort_tokenizer *tokenizer,
                                     cohort_words words)
{
    char word[COHORT_WORD_BYTES];
    size_t length, begin = 0, count = 0;
    while ((length = cohort_words_next(word, &words)) > 0) {
        COHORT_TRY(look_up_parts(&begin, &count, tokenizer, word, length));
        COHORT_TRY(cohort_grow((void **)&tokens->items, &tokens->capacity, tokens->count + count,
                               sizeof *tokens->items));
        memcpy(tokens->items + tokens->count, tokenizer->parts.items + begin,
               count * sizeof *tokens->items);
        tokens->count += count;
    }
    return COHORT_OK;
}

static cohort_status encode_characters(cohort_tokens *tokens, const cohort_tokenizer *tokenizer,
                                       const char *text, size_t length)
{
    for (const char *at = text, *end = text + length; at < end;) {
        char bytes[COHORT_UTF8_MAX];
        if (*at == '\r' && at + 1 < end && at[1] == '\n')
            at++;
        uint32_t code = cohort_utf8_take(&at, end);
        size_t count = cohort_utf8_put(bytes, code ? code : COHORT_UNICODE_REPLACEMENT);
        uint32_t id = cohort_dictionary_find(tokenizer->dictionary, bytes, count);
        COHORT_REQUIRE(id != COHORT_DICTIONARY_NONE, COHORT_USAGE,
                       "the character \"%.*s\" (U+%04X) is not in the model's vocabulary of %zu",
                       (int)count, bytes, code, tokenizer->count);
        COHORT_TRY(append(tokens, (int32_t)id));
    }
    return COHORT_OK;
}

cohort_status cohort_tokenizer_encode(cohort_tokens *tokens, cohort_tokenizer *tokenizer,
                                      const char *text, size_t length)
{
    const cohort_tokenizer_spec *spec = &tokenizer->spec;
    switch (spec->type) {
    case COHORT_TOKENS_WORDS:
        return encode_words(tokens, tokenizer, cohort_words_of(text, length, spec->marks));
    case COHORT_TOKENS_WORDPIECE:
    case COHORT_TOKENS_BPE:
        return encode_subwords(tokens, tokenizer, cohort_words_of(text, length, spec->marks));
    case COHORT_TOKENS_CHARACTERS:
        return encode_characters(tokens, tokenizer, text, length);
    default:
        for (size_t i = 0; i < length; i++)
            COHORT_TRY(append(tokens, (unsigned char)text[i]));
        return COHORT_OK;
    }
}

cohort_status cohort_tokenizer_row(int32_t *row, cohort_tokenizer *tokenizer, const char *text,
                                   size_t length)
{
    const size_t width = tokenizer->spec.length;
    cohort_tokens *tokens = &tokenizer->row;
    tokens->count = 0;
    COHORT_TRY(cohort_tokenizer_encode(tokens, tokenizer, text, length));
    if (tokens->count == 0)
        COHORT_TRY(
            append(tokens, is_text_of_words(tokenizer->spec.type) ? COHORT_TOKEN_UNKNOWN : 0));
    const size_t kept = tokens->count < width ? tokens->count : width;
    const size_t from = tokenizer->spec.keep_head ? 0 : tokens->count - kept;
    memcpy(row, tokens->items + from, kept * sizeof *row);
    memset(row + kept, 0, (width - kept) * sizeof *row);
    return COHORT_OK;
}

/* One token of a text of words: where a blank goes depends on the type. */
static void decode_part(cohort_text *text, cohort_token_type type, const char *part, bool first)
{
    const char *start = type == COHORT_TOKENS_BPE ? COHORT_BPE_START : "";
    const char *inside = type == COHORT_TOKENS_WORDPIECE ? COHORT_WORDPIECE_INSIDE : "";
    bool begins =
        type != COHORT_TOKENS_BPE || strncmp(part, start, strlen(start)) == 0 || part[0] == '[';
    if (*inside && strncmp(part, inside, strlen(inside)) == 0 && part[strlen(inside)]) {
        part += strlen(inside);
        begins = false;
    }
    if (*start && strncmp(part, start, strlen(start)) == 0)
        part += strlen(start);
    cohort_text_append(text, "%s%s", begins && !first ? " " : "", part);
}

void cohort_tokenizer_decode(cohort_text *text, const cohort_tokenizer *tokenizer,
                             const int32_t *tokens, size_t count)
{
    const cohort_token_type type = tokenizer->spec.type;
    const size_t begin = text->length;
    for (size_t i = 0; i < count; i++) {
        const int32_t token = tokens[i];
        if (token < 0 || (size_t)token >= tokenizer->count)
            cohort_text_append(text, "\xef\xbf\xbd");
        else if (type == COHORT_TOKENS_BYTES)
            cohort_text_append_bytes(text, &(char){(char)token}, 1);
        else if (type == COHORT_TOKENS_CHARACTERS)
            cohort_text_append(text, "%s", tokenizer->vocabulary[token]);
        else if (token != COHORT_TOKEN_PADDING)
            decode_part(text, type, tokenizer->vocabulary[token], text->length == begin);
    }
}
