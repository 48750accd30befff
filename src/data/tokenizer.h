/* Text to token numbers and back, by a vocabulary and a description that data set files
 * and checkpoints carry as the attributes `vocabulary` and `tokenizer`. */
#ifndef COHORT_DATA_TOKENIZER_H
#define COHORT_DATA_TOKENIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "base/text.h"

typedef enum cohort_token_type {
    COHORT_TOKENS_WORDS,      /* whole words, and pairs "new york" with ngrams 2 */
    COHORT_TOKENS_WORDPIECE,  /* the longest known piece first; inside a word "##ing"
                                 (Schuster and Nakajima 2012, Devlin et al. 2019) */
    COHORT_TOKENS_BPE,        /* merges in the order learnt (Sennrich et al. 2016); a word
                                 begins with U+2581 */
    COHORT_TOKENS_CHARACTERS, /* Unicode characters, as they are; CR LF becomes LF */
    COHORT_TOKENS_BYTES,      /* the number is the byte */
    COHORT_TOKENS_TYPE_COUNT
} cohort_token_type;

extern const char *const cohort_token_type_names[COHORT_TOKENS_TYPE_COUNT];

/* How text becomes tokens. The first three split it into words first (data/words.h). */
typedef struct cohort_tokenizer_spec {
    cohort_token_type type;
    size_t length;  /* of a row */
    bool keep_head; /* of a text longer than that; else its tail */
    bool marks;     /* punctuation counts as words */
    bool mask;      /* token 2 is [mask] */
    int ngrams;     /* 2: pairs of neighbouring words are tokens too, behind the second */
} cohort_tokenizer_spec;

/* Words and their parts: 0 pads, 1 stands for what is not in the vocabulary. */
enum { COHORT_TOKEN_PADDING = 0, COHORT_TOKEN_UNKNOWN = 1, COHORT_TOKEN_MASK = 2 };
#define COHORT_TOKEN_PADDING_TEXT "[pad]"
#define COHORT_TOKEN_UNKNOWN_TEXT "[unk]"
#define COHORT_TOKEN_MASK_TEXT "[mask]"

typedef struct cohort_tokenizer cohort_tokenizer;

/* A growing list of tokens. Start from {0}; free ITEMS with free(). */
typedef struct cohort_tokens {
    int32_t *items;
    size_t count, capacity;
} cohort_tokens;

/* Copies the vocabulary. COHORT_DATA: entries twice, special tokens missing. */
COHORT_NODISCARD cohort_status cohort_tokenizer_create(cohort_tokenizer **out,
                                                       const cohort_tokenizer_spec *spec,
                                                       const char *const *vocabulary, size_t count);
void cohort_tokenizer_destroy(cohort_tokenizer *tokenizer);

/* The `tokenizer` attribute, one JSON object:
 * {"type":"words","length":200,"keep":"tail","marks":false,"mask":false,"ngrams":1} */
void cohort_tokenizer_describe(cohort_text *text, const cohort_tokenizer_spec *spec);
COHORT_NODISCARD cohort_status cohort_tokenizer_parse(cohort_tokenizer_spec *spec,
                                                      const char *description);

const cohort_tokenizer_spec *cohort_tokenizer_spec_of(const cohort_tokenizer *tokenizer);
/* The strings by number; owned by the tokenizer. */
const char *const *cohort_tokenizer_vocabulary(size_t *count, const cohort_tokenizer *tokenizer);

/* Appends the tokens of the whole TEXT. One thread at a time (words are remembered).
 * COHORT_USAGE: a character that is not in a vocabulary of characters. */
COHORT_NODISCARD cohort_status cohort_tokenizer_encode(cohort_tokens *tokens,
                                                       cohort_tokenizer *tokenizer,
                                                       const char *text, size_t length);
/* ROW [spec.length] = the tokens of TEXT, cut or followed by padding as the spec says. A
 * text without any token becomes one unknown token, so that no row is all padding. */
COHORT_NODISCARD cohort_status cohort_tokenizer_row(int32_t *row, cohort_tokenizer *tokenizer,
                                                    const char *text, size_t length);
/* Appends the text of TOKENS: words with blanks between them, parts joined, padding left
 * out, numbers that are none as U+FFFD. */
void cohort_tokenizer_decode(cohort_text *text, const cohort_tokenizer *tokenizer,
                             const int32_t *tokens, size_t count);

#endif
