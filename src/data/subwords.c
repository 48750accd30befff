#include "data/subwords.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "data/unicode.h"
#include "data/words.h"

/* A part in a word of up to COHORT_WORD_BYTES, with the mark of the one kind or the other. */
enum { PART_BYTES = COHORT_WORD_BYTES + 4, NO_PART = -1 };

/* In a word being learnt from: a character that no part contains. */
#define BARRIER UINT32_MAX
/* No part is new yet. */
#define NONE_FRESH UINT32_MAX

/* The spelling of a part in the vocabulary; returns its length. */
static size_t spell(char part[PART_BYTES], cohort_token_type type, const char *text, size_t length,
                    bool begins)
{
    const char *mark = type == COHORT_TOKENS_BPE ? begins ? COHORT_BPE_START : ""
                       : begins                  ? ""
                                                 : COHORT_WORDPIECE_INSIDE;
    const size_t marked = strlen(mark);
    memcpy(part, mark, marked);
    memcpy(part + marked, text, length);
    return marked + length;
}

static int32_t find_part(const cohort_dictionary *vocabulary, cohort_token_type type,
                         const char *text, size_t length, bool begins)
{
    char part[PART_BYTES];
    size_t bytes = spell(part, type, text, length, begins);
    uint32_t id = cohort_dictionary_find(vocabulary, part, bytes);
    return id == COHORT_DICTIONARY_NONE ? NO_PART : (int32_t)id;
}

static cohort_status append(cohort_tokens *tokens, int32_t token)
{
    COHORT_TRY(cohort_grow((void **)&tokens->items, &tokens->capacity, tokens->count + 1,
                           sizeof *tokens->items));
    tokens->items[tokens->count++] = token;
    return COHORT_OK;
}

static bool continues_character(char byte)
{
    return ((unsigned char)byte & 0xc0) == 0x80;
}

static cohort_status split_wordpiece(cohort_tokens *tokens, const cohort_dictionary *vocabulary,
                                     const char *word, size_t length)
{
    const size_t before = tokens->count;
    for (size_t at = 0; at < length;) {
        size_t end = length;
        int32_t token = NO_PART;
        for (; end > at; end--) {
            if (end < length && continues_character(word[end]))
                continue;
            token = find_part(vocabulary, COHORT_TOKENS_WORDPIECE, word + at, end - at, at == 0);
            if (token != NO_PART)
                break;
        }
        if (token == NO_PART) {
            tokens->count = before;
            return append(tokens, COHORT_TOKEN_UNKNOWN);
        }
        COHORT_TRY(append(tokens, token));
        at = end;
    }
    return COHORT_OK;
}

/* Where each character of WORD begins, and the end; returns their number. */
static size_t find_characters(size_t starts[COHORT_WORD_BYTES + 1], const char *word, size_t length)
{
    size_t count = 0;
    for (size_t i = 0; i < length; i++)
        if (!continues_character(word[i]))
            starts[count++] = i;
    starts[count] = length;
    return count;
}

static cohort_status split_bpe(cohort_tokens *tokens, const cohort_dictionary *vocabulary,
                               const char *word, size_t length)
{
    size_t starts[COHORT_WORD_BYTES + 1];
    size_t count = find_characters(starts, word, length);
    for (;;) {
        size_t best = count;
        int32_t lowest = INT32_MAX;
        for (size_t i = 0; i + 1 < count; i++) {
            int32_t token = find_part(vocabulary, COHORT_TOKENS_BPE, word + starts[i],
                                      starts[i + 2] - starts[i], i == 0);
            if (token != NO_PART && token < lowest) {
                lowest = token;
                best = i;
            }
        }
        if (best == count)
            break;
        memmove(starts + best + 1, starts + best + 2, (count - best - 1) * sizeof *starts);
        count--;
    }
    for (size_t i = 0; i < count; i++) {
        int32_t token = find_part(vocabulary, COHORT_TOKENS_BPE, word + starts[i],
                                  starts[i + 1] - starts[i], i == 0);
        COHORT_TRY(append(tokens, token == NO_PART ? COHORT_TOKEN_UNKNOWN : token));
    }
    return COHORT_OK;
}

cohort_status cohort_subwords_split(cohort_tokens *tokens, const cohort_dictionary *vocabulary,
                                    cohort_token_type type, const char *word, size_t length)
{
    return type == COHORT_TOKENS_BPE ? split_bpe(tokens, vocabulary, word, length)
                                     : split_wordpiece(tokens, vocabulary, word, length);
}

/* Two neighbouring parts, how often they are met, and the words where they may be. */
typedef struct pair {
    uint32_t left, right;
    uint64_t count;
    uint32_t *words;
    size_t word_count, word_capacity;
    bool raised; /* in the list of the learner */
} pair;

/* A claim that pair INDEX is met COUNT times; out of date when the pair says otherwise. */
typedef struct claim {
    uint64_t count;
    uint32_t index;
} claim;

typedef struct learner {
    cohort_dictionary *vocabulary;
    cohort_token_type type;
    const cohort_dictionary *words;
    const uint64_t *counts;
    uint32_t *parts;   /* of all words, one word after the other */
    size_t *begins;    /* [words]: where a word's parts begin … */
    uint16_t *lengths; /* [words]: … and how many they are by now */
    pair *pairs;
    size_t pair_count, pair_capacity;
    uint32_t *slots; /* open addressing over pairs; index + 1, 0 = empty */
    size_t slot_mask;
    claim *heap; /* the greatest claim first */
    size_t heap_count, heap_capacity;
    uint32_t *raised; /* pairs met more often since the last merge: claims to be made */
    size_t raised_count, raised_capacity;
} learner;

typedef struct character {
    uint32_t code;
    uint64_t count;
} character;

static int compare_characters(const void *a, const void *b)
{
    const character *left = a, *right = b;
    if (left->count != right->count)
        return left->count > right->count ? -1 : 1;
    return left->code < right->code ? -1 : left->code > right->code;
}

/* Adds the most frequent characters, each as the beginning and as the inside of a word. */
static cohort_status add_alphabet(const learner *l, size_t most)
{
    enum { CODES = 0x110000 };
    character *characters = NULL;
    COHORT_TRY(COHORT_ALLOCATE(&characters, CODES));
    for (uint32_t code = 0; code < CODES; code++)
        characters[code].code = code;
    for (uint32_t word = 0; word < cohort_dictionary_count(l->words); word++) {
        const char *at = cohort_dictionary_text(l->words, word);
        const char *end = at + cohort_dictionary_length(l->words, word);
        while (at < end)
            characters[cohort_utf8_take(&at, end)].count += l->counts[word];
    }
    size_t met = 0;
    for (uint32_t code = 0; code < CODES; code++)
        if (characters[code].count > 0)
            characters[met++] = characters[code];
    qsort(characters, met, sizeof *characters, compare_characters);
    const size_t room = most - cohort_dictionary_count(l->vocabulary);
    cohort_status status = COHORT_OK;
    for (size_t i = 0; i < room / 4 && i < met; i++) {
        char text[COHORT_UTF8_MAX], part[PART_BYTES];
        uint32_t id = 0;
        size_t length = cohort_utf8_put(text, characters[i].code);
        for (int begins = 1; begins >= 0; begins--) {
            size_t bytes = spell(part, l->type, text, length, begins);
            COHORT_TRY_DONE(status, cohort_dictionary_add(&id, l->vocabulary, part, bytes));
        }
    }
done:
    cohort_free(characters);
    return status;
}

/* Cuts every word into characters; those outside the alphabet become BARRIER. */
static cohort_status cut_words(learner *l)
{
    const uint32_t word_count = cohort_dictionary_count(l->words);
    size_t part_count = 0, capacity = 0;
    COHORT_TRY(COHORT_ALLOCATE(&l->begins, word_count));
    COHORT_TRY(COHORT_ALLOCATE(&l->lengths, word_count));
    for (uint32_t word = 0; word < word_count; word++) {
        size_t starts[COHORT_WORD_BYTES + 1];
        const char *text = cohort_dictionary_text(l->words, word);
        size_t count = find_characters(starts, text, cohort_dictionary_length(l->words, word));
        COHORT_TRY(
            cohort_grow((void **)&l->parts, &capacity, part_count + count, sizeof *l->parts));
        l->begins[word] = part_count;
        l->lengths[word] = (uint16_t)count;
        for (size_t i = 0; i < count; i++) {
            int32_t token = find_part(l->vocabulary, l->type, text + starts[i],
                                      starts[i + 1] - starts[i], i == 0);
            l->parts[part_count + i] = token == NO_PART ? BARRIER : (uint32_t)token;
        }
        part_count += count;
    }
    return COHORT_OK;
}

static uint32_t *find_slot(const learner *l, uint32_t left, uint32_t right)
{
    uint64_t key = ((uint64_t)left << 32 | right) * 0x9e3779b97f4a7c15u;
    for (size_t at = (size_t)(key >> 29) & l->slot_mask;; at = (at + 1) & l->slot_mask) {
        uint32_t *slot = &l->slots[at];
        if (!*slot || (l->pairs[*slot - 1].left == left && l->pairs[*slot - 1].right == right))
            return slot;
    }
}

static cohort_status double_slots(learner *l)
{
    const size_t count = l->slots ? 2 * (l->slot_mask + 1) : 1 << 12;
    uint32_t *slots = calloc(count, sizeof *slots);
    COHORT_REQUIRE(slots, COHORT_MEMORY, "out of memory: %zu pairs of word parts", count / 2);
    free(l->slots);
    l->slots = slots;
    l->slot_mask = count - 1;
    for (size_t i = 0; i < l->pair_count; i++)
        *find_slot(l, l->pairs[i].left, l->pairs[i].right) = (uint32_t)i + 1;
    return COHORT_OK;
}

/* *index = the pair, a new one if it is new. */
static cohort_status find_pair(uint32_t *index, learner *l, uint32_t left, uint32_t right)
{
    if (!l->slots || l->pair_count > l->slot_mask / 2)
        COHORT_TRY(double_slots(l));
    uint32_t *slot = find_slot(l, left, right);
    if (!*slot) {
        COHORT_TRY(cohort_grow((void **)&l->pairs, &l->pair_capacity, l->pair_count + 1,
                               sizeof *l->pairs));
        l->pairs[l->pair_count++] = (pair){.left = left, .right = right};
        *slot = (uint32_t)l->pair_count;
    }
    *index = *slot - 1;
    return COHORT_OK;
}

static bool is_less(const learner *l, const claim *a, const claim *b)
{
    const pair *left = &l->pairs[a->index], *right = &l->pairs[b->index];
    if (a->count != b->count)
        return a->count < b->count;
    return left->left != right->left ? left->left > right->left : left->right > right->right;
}

static cohort_status push_claim(learner *l, uint32_t index)
{
    COHORT_TRY(
        cohort_grow((void **)&l->heap, &l->heap_capacity, l->heap_count + 1, sizeof *l->heap));
    const claim new = {l->pairs[index].count, index};
    size_t at = l->heap_count++;
    for (; at > 0 && is_less(l, &l->heap[(at - 1) / 2], &new); at = (at - 1) / 2)
        l->heap[at] = l->heap[(at - 1) / 2];
    l->heap[at] = new;
    return COHORT_OK;
}

static claim pop_claim(learner *l)
{
    const claim top = l->heap[0], last = l->heap[--l->heap_count];
    size_t at = 0;
    for (size_t child; (child = 2 * at + 1) < l->heap_count; at = child) {
        if (child + 1 < l->heap_count && is_less(l, &l->heap[child], &l->heap[child + 1]))
            child++;
        if (!is_less(l, &last, &l->heap[child]))
            break;
        l->heap[at] = l->heap[child];
    }
    if (l->heap_count > 0)
        l->heap[at] = last;
    return top;
}

static cohort_status note_raised(learner *l, uint32_t index)
{
    if (l->pairs[index].raised)
        return COHORT_OK;
    COHORT_TRY(cohort_grow((void **)&l->raised, &l->raised_capacity, l->raised_count + 1,
                           sizeof *l->raised));
    l->raised[l->raised_count++] = index;
    l->pairs[index].raised = true;
    return COHORT_OK;
}

static cohort_status push_raised(learner *l)
{
    for (size_t i = 0; i < l->raised_count; i++) {
        COHORT_TRY(push_claim(l, l->raised[i]));
        l->pairs[l->raised[i]].raised = false;
    }
    l->raised_count = 0;
    return COHORT_OK;
}

/* Counts the pairs of WORD (by its number of occurrences, or takes that back). Words are
 * noted with the pairs that contain FRESH, which they were not noted with before. */
static cohort_status count_pairs(learner *l, uint32_t word, bool add, uint32_t fresh)
{
    const uint32_t *parts = l->parts + l->begins[word];
    for (size_t i = 0; i + 1 < l->lengths[word]; i++) {
        uint32_t index = 0;
        if (parts[i] == BARRIER || parts[i + 1] == BARRIER)
            continue;
        COHORT_TRY(find_pair(&index, l, parts[i], parts[i + 1]));
        pair *p = &l->pairs[index];
        if (!add) {
            p->count -= l->counts[word];
            continue;
        }
        p->count += l->counts[word];
        if (fresh != NONE_FRESH && parts[i] != fresh && parts[i + 1] != fresh)
            continue;
        if (p->word_count == 0 || p->words[p->word_count - 1] != word) {
            COHORT_TRY(cohort_grow((void **)&p->words, &p->word_capacity, p->word_count + 1,
                                   sizeof *p->words));
            p->words[p->word_count++] = word;
        }
        COHORT_TRY(note_raised(l, index));
    }
    return COHORT_OK;
}

/* Replaces LEFT RIGHT by MERGED in WORD. */
static void replace(learner *l, uint32_t word, uint32_t left, uint32_t right, uint32_t merged)
{
    uint32_t *parts = l->parts + l->begins[word];
    size_t kept = 0;
    const size_t count = l->lengths[word];
    for (size_t i = 0; i < count; kept++) {
        const bool both = i + 1 < count && parts[i] == left && parts[i + 1] == right;
        parts[kept] = both ? merged : parts[i];
        i += both ? 2 : 1;
    }
    l->lengths[word] = (uint16_t)kept;
}

static bool contains(const learner *l, uint32_t word, uint32_t left, uint32_t right)
{
    const uint32_t *parts = l->parts + l->begins[word];
    for (size_t i = 0; i + 1 < l->lengths[word]; i++)
        if (parts[i] == left && parts[i + 1] == right)
            return true;
    return false;
}

static cohort_status merge(learner *l, uint32_t index)
{
    const uint32_t left = l->pairs[index].left, right = l->pairs[index].right;
    const char *left_text = cohort_dictionary_text(l->vocabulary, left);
    const char *right_text = cohort_dictionary_text(l->vocabulary, right);
    if (l->type == COHORT_TOKENS_WORDPIECE)
        right_text += strlen(COHORT_WORDPIECE_INSIDE);
    char text[2 * PART_BYTES];
    const size_t left_length = strlen(left_text), right_length = strlen(right_text);
    uint32_t merged = 0;
    memcpy(text, left_text, left_length);
    memcpy(text + left_length, right_text, right_length);
    COHORT_TRY(cohort_dictionary_add(&merged, l->vocabulary, text, left_length + right_length));
    /* The pair's list may move while other pairs are added, and is not needed after. */
    uint32_t *words = l->pairs[index].words;
    const size_t word_count = l->pairs[index].word_count;
    l->pairs[index].words = NULL;
    l->pairs[index].word_count = l->pairs[index].word_capacity = 0;
    cohort_status status = COHORT_OK;
    for (size_t i = 0; i < word_count; i++) {
        if (!contains(l, words[i], left, right))
            continue;
        COHORT_TRY_DONE(status, count_pairs(l, words[i], false, merged));
        replace(l, words[i], left, right, merged);
        COHORT_TRY_DONE(status, count_pairs(l, words[i], true, merged));
    }
done:
    free(words);
    return status;
}

static cohort_status learn(learner *l, size_t most, void (*progress)(void *context, size_t done),
                           void *context)
{
    COHORT_TRY(add_alphabet(l, most));
    COHORT_TRY(cut_words(l));
    for (uint32_t word = 0; word < cohort_dictionary_count(l->words); word++)
        COHORT_TRY(count_pairs(l, word, true, NONE_FRESH));
    COHORT_TRY(push_raised(l));
    while (l->heap_count > 0 && cohort_dictionary_count(l->vocabulary) < most) {
        const claim top = pop_claim(l);
        const uint64_t count = l->pairs[top.index].count;
        if (count < 2)
            continue;
        if (top.count != count) {
            if (count < top.count) /* else a truer claim waits in the heap */
                COHORT_TRY(push_claim(l, top.index));
            continue;
        }
        COHORT_TRY(merge(l, top.index));
        COHORT_TRY(push_raised(l));
        if (progress)
            progress(context, cohort_dictionary_count(l->vocabulary));
    }
    return COHORT_OK;
}

cohort_status cohort_subwords_learn(cohort_dictionary *vocabulary, cohort_token_type type,
                                    const cohort_dictionary *words, const uint64_t *counts,
                                    size_t most, void (*progress)(void *context, size_t done),
                                    void *context)
{
    learner l = {.vocabulary = vocabulary, .type = type, .words = words, .counts = counts};
    cohort_status status = learn(&l, most, progress, context);
    for (size_t i = 0; i < l.pair_count; i++)
        free(l.pairs[i].words);
    free(l.pairs);
    free(l.slots);
    free(l.heap);
    free(l.raised);
    free(l.parts);
    cohort_free(l.begins);
    cohort_free(l.lengths);
    return status;
}
