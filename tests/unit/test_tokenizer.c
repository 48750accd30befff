#include "tests/cmocka_all.h"

#include <stdio.h>
#include <stdlib.h>

#include "data/unicode.h"
#include "data/vocabulary.h"
#include "data/words.h"

/* The characters of TEXT as hexadecimal numbers. */
static void expect_codes(const char *text, size_t length, const char *wanted)
{
    cohort_text codes = {0};
    for (const char *at = text, *end = text + length; at < end;)
        cohort_text_append(&codes, "%s%X", codes.length ? " " : "", cohort_utf8_take(&at, end));
    assert_string_equal(codes.data, wanted);
    cohort_text_clear(&codes);
}
#define EXPECT_CODES(text, wanted) expect_codes(text, sizeof(text) - 1, wanted)

static void utf8_is_decoded_and_repaired(void **state)
{
    (void)state;
    EXPECT_CODES("aé€😀", "61 E9 20AC 1F600");
    /* The example of Unicode 15, table 3-8, and others: one U+FFFD per maximal part. */
    EXPECT_CODES("a\xf1\x80\x80\xe1\x80\xc2"
                 "b\x80"
                 "c\x80\xbf"
                 "d",
                 "61 FFFD FFFD FFFD 62 FFFD 63 FFFD FFFD 64");
    EXPECT_CODES("\xc0\xaf", "FFFD FFFD");                   /* overlong */
    EXPECT_CODES("\xed\xa0\x80", "FFFD FFFD FFFD");          /* a surrogate */
    EXPECT_CODES("\xf4\x90\x80\x80", "FFFD FFFD FFFD FFFD"); /* beyond U+10FFFF */
    EXPECT_CODES("\xf0\x9f\x98", "FFFD");                    /* cut short */
    for (uint32_t code = 1; code < 0x110000; code += code < 0x3000 ? 1 : 251) {
        if (code >= 0xd800 && code < 0xe000)
            continue;
        char text[COHORT_UTF8_MAX];
        const char *at = text;
        size_t length = cohort_utf8_put(text, code);
        assert_int_equal(cohort_utf8_take(&at, text + length), code);
        assert_ptr_equal(at, text + length);
    }
}

static void letters_of_any_script(void **state)
{
    (void)state;
    const struct {
        uint32_t upper, lower;
    } pairs[] = {{'A', 'a'},      {'[', '['},       {0xc9, 0xe9},       {0xd7, 0xd7},
                 {0x130, 'i'},    {0x178, 0xff},    {0x391, 0x3b1},     {0x410, 0x430},
                 {0x401, 0x451},  {0x531, 0x561},   {0x1e9e, 0xdf},     {0x1ea4, 0x1ea5},
                 {0x2126, 0x3c9}, {0xff21, 0xff41}, {0x10400, 0x10428}, {0x4e2d, 0x4e2d},
                 {0x101, 0x101},  {0x100, 0x101},   {0x1e943, 0x1e943}};
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
        assert_int_equal(cohort_unicode_lower(pairs[i].upper), pairs[i].lower);
    const uint32_t letters[] = {'z', '7', 0xe9, 0xaa, 0x3b1, 0x44f, 0x5d0, 0x627, 0x905, 0xac00};
    for (size_t i = 0; i < sizeof letters / sizeof *letters; i++)
        assert_int_equal(cohort_unicode_classify(letters[i]), COHORT_UNICODE_LETTER);
    const uint32_t marks[] = {'.', '_', 0xab, 0xd7, 0x2026, 0x3002, 0xff01, 0x1f600, 0xfffd};
    for (size_t i = 0; i < sizeof marks / sizeof *marks; i++)
        assert_int_equal(cohort_unicode_classify(marks[i]), COHORT_UNICODE_MARK);
    const uint32_t spaces[] = {' ', '\r', 0, 0x7f, 0xa0, 0xad, 0x200b, 0x3000, 0xfeff};
    for (size_t i = 0; i < sizeof spaces / sizeof *spaces; i++)
        assert_int_equal(cohort_unicode_classify(spaces[i]), COHORT_UNICODE_SPACE);
    assert_int_equal(cohort_unicode_classify(0x4e2d), COHORT_UNICODE_IDEOGRAPH);
    assert_int_equal(cohort_unicode_classify(0x3042), COHORT_UNICODE_IDEOGRAPH);
}

static void expect_words(const char *text, bool marks, const char *wanted)
{
    char word[COHORT_WORD_BYTES];
    cohort_text all = {0};
    cohort_words words = cohort_words_of(text, strlen(text), marks);
    cohort_text_append(&all, "%s", "");
    while (cohort_words_next(word, &words) > 0)
        cohort_text_append(&all, "%s%s", all.length ? "|" : "", word);
    assert_string_equal(all.data, wanted);
    cohort_text_clear(&all);
}

static void words_without_html(void **state)
{
    (void)state;
    expect_words("", false, "");
    expect_words(" ...\r\n\t", false, "");
    expect_words("It's 10/10!\r\nDON'T miss", false, "it's|10|10|don't|miss");
    expect_words("one<br />two<BR>three</p><!-- no <b> --> four", false, "one|two|three|four");
    expect_words("I <3 it: a < b and b > a", false, "i|3|it|a|b|and|b|a");
    expect_words("<b", false, "b");
    expect_words("Tom &amp; Jerry&#39;s caf&eacute; &#x41;&OElig;&nbsp;x &unknown; &;", false,
                 "tom|jerry's|café|aœ|x|unknown");
    expect_words("ÉCOLE ΑΘΗΝΑ МОСКВА Don’t", false, "école|αθηνα|москва|don't");
    expect_words("中文 ok", false, "中|文|ok");
    expect_words("wow!? a中b", true, "wow|!|?|a|中|b");
    expect_words("bad\xff\xfe bytes", false, "bad|bytes");
    /* Longer words are cut between characters. */
    char text[1200] = "x", word[COHORT_WORD_BYTES];
    for (size_t i = 0; i < 400; i++)
        memcpy(text + 1 + 2 * i, "é", 2);
    cohort_words words = cohort_words_of(text, 801, false);
    size_t length = cohort_words_next(word, &words);
    assert_true(length > 248 && length < COHORT_WORD_BYTES && length % 2 == 1);
    assert_int_equal(cohort_words_next(word, &words), 0);
}

static cohort_tokenizer *learn(const cohort_tokenizer_spec *spec, const char *text, size_t most)
{
    cohort_vocabulary *vocabulary = NULL;
    cohort_tokenizer *tokenizer = NULL;
    assert_ok(cohort_vocabulary_create(&vocabulary, spec));
    assert_ok(cohort_vocabulary_count(vocabulary, text, strlen(text)));
    assert_ok(cohort_vocabulary_finish(&tokenizer, vocabulary, most, NULL, NULL));
    cohort_vocabulary_destroy(vocabulary);
    return tokenizer;
}

/* The tokens of TEXT as strings, joined by "|", and as text again. */
static void expect_tokens(cohort_tokenizer *tokenizer, const char *text, const char *wanted,
                          const char *decoded)
{
    size_t count;
    const char *const *vocabulary = cohort_tokenizer_vocabulary(&count, tokenizer);
    cohort_tokens tokens = {0};
    cohort_text all = {0}, back = {0};
    assert_ok(cohort_tokenizer_encode(&tokens, tokenizer, text, strlen(text)));
    for (size_t i = 0; i < tokens.count; i++) {
        assert_true(tokens.items[i] >= 0 && (size_t)tokens.items[i] < count);
        cohort_text_append(&all, "%s%s", i ? "|" : "", vocabulary[tokens.items[i]]);
    }
    cohort_tokenizer_decode(&back, tokenizer, tokens.items, tokens.count);
    assert_string_equal(all.data ? all.data : "", wanted);
    assert_string_equal(back.data ? back.data : "", decoded);
    cohort_text_clear(&all);
    cohort_text_clear(&back);
    free(tokens.items);
}

static void whole_words(void **state)
{
    (void)state;
    cohort_tokenizer_spec spec = {.type = COHORT_TOKENS_WORDS, .length = 4, .ngrams = 1};
    /* b 3, a 2, c 2, d 1: a before c, d falls out. */
    cohort_tokenizer *t = learn(&spec, "b c a b. B? a c d", 5);
    expect_tokens(t, "d a B x c", "[unk]|a|b|[unk]|c", "[unk] a b [unk] c");
    size_t count;
    assert_string_equal(cohort_tokenizer_vocabulary(&count, t)[2], "b");
    assert_int_equal(count, 5);
    int32_t row[4];
    assert_ok(cohort_tokenizer_row(row, t, "a a b b c", 9));
    assert_memory_equal(row, ((int32_t[]){3, 2, 2, 4}), sizeof row);
    assert_ok(cohort_tokenizer_row(row, t, "c b", 3));
    assert_memory_equal(row, ((int32_t[]){4, 2, 0, 0}), sizeof row);
    assert_ok(cohort_tokenizer_row(row, t, " ! ", 3));
    assert_memory_equal(row, ((int32_t[]){1, 0, 0, 0}), sizeof row);
    cohort_tokenizer_destroy(t);

    spec.keep_head = true;
    spec.mask = true;
    t = learn(&spec, "b c a b. B? a c d", 1000);
    assert_string_equal(cohort_tokenizer_vocabulary(&count, t)[2], "[mask]");
    assert_int_equal(count, 7);
    assert_ok(cohort_tokenizer_row(row, t, "a a b b c", 9));
    assert_memory_equal(row, ((int32_t[]){4, 4, 3, 3}), sizeof row);
    cohort_tokenizer_destroy(t);
}

static void pairs_of_words(void **state)
{
    (void)state;
    cohort_tokenizer_spec spec = {.type = COHORT_TOKENS_WORDS, .length = 4, .ngrams = 2};
    cohort_tokenizer *t = learn(&spec, "not good, not good at all", 100);
    size_t count;
    cohort_tokenizer_vocabulary(&count, t);
    assert_int_equal(count, 2 + 4 + 1); /* "not good" alone is met twice */
    expect_tokens(t, "all not good", "all|not|good|not good", "all not good not good");
    cohort_tokenizer_destroy(t);
}

static void parts_of_words(void **state)
{
    (void)state;
    const char *text = "low low low low low lower lower newest newest newest newest newest newest "
                       "widest widest widest";
    cohort_tokenizer_spec spec = {.type = COHORT_TOKENS_BPE, .length = 8, .ngrams = 1};
    cohort_tokenizer *t = learn(&spec, text, 100);
    expect_tokens(t, "lowest newer low", "▁low|est|▁new|er|▁low", "lowest newer low");
    expect_tokens(t, "low zoo", "▁low|[unk]|o|o", "low [unk]oo");
    cohort_tokenizer_destroy(t);
    spec.type = COHORT_TOKENS_WORDPIECE;
    t = learn(&spec, text, 100);
    expect_tokens(t, "lowest low lower", "low|##est|low|lower", "lowest low lower");
    expect_tokens(t, "zoo low", "[unk]|low", "[unk] low");
    /* The second time from memory. */
    expect_tokens(t, "lowest lowest", "low|##est|low|##est", "lowest lowest");
    cohort_tokenizer_destroy(t);
    /* The alphabet takes at most half of the room, the limit holds. */
    size_t count;
    t = learn(&spec, text, 20);
    cohort_tokenizer_vocabulary(&count, t);
    assert_true(count > 10 && count <= 20);
    cohort_tokenizer_destroy(t);
    t = learn(&spec, "", 100);
    cohort_tokenizer_vocabulary(&count, t);
    assert_int_equal(count, 2);
    expect_tokens(t, "any word", "[unk]|[unk]", "[unk] [unk]");
    cohort_tokenizer_destroy(t);
}

static size_t find_entry(const char *const *vocabulary, size_t count, const char *text)
{
    size_t at = 0;
    while (at < count && strcmp(vocabulary[at], text) != 0)
        at++;
    return at;
}

enum { WORDS = 300, LETTERS = 6, MOST = 85 };

/* Words as lists of parts, merged the slow way: every pair counted anew each time. */
typedef struct slow_words {
    size_t parts[WORDS][LETTERS], counts[WORDS];
} slow_words;

/* The most frequent pair, of equals the one of the lowest numbers. */
static void find_most_frequent(size_t *left, size_t *right, const slow_words *w)
{
    static size_t met[MOST][MOST];
    memset(met, 0, sizeof met);
    *left = *right = 0;
    for (size_t i = 0; i < WORDS; i++)
        for (size_t k = 0; k + 1 < w->counts[i]; k++)
            met[w->parts[i][k]][w->parts[i][k + 1]]++;
    for (size_t a = 0; a < MOST; a++)
        for (size_t b = 0; b < MOST; b++)
            if (met[a][b] > met[*left][*right]) {
                *left = a;
                *right = b;
            }
}

static void merge_everywhere(slow_words *w, size_t left, size_t right, size_t merged)
{
    for (size_t i = 0; i < WORDS; i++)
        for (size_t k = 0; k + 1 < w->counts[i]; k++)
            if (w->parts[i][k] == left && w->parts[i][k + 1] == right) {
                w->parts[i][k] = merged;
                for (size_t m = k + 1; m + 1 < w->counts[i]; m++)
                    w->parts[i][m] = w->parts[i][m + 1];
                w->counts[i]--;
            }
}

/* The learner's short cuts (lists of words, old claims) change nothing. */
static void merges_are_the_most_frequent_pairs(void **state)
{
    (void)state;
    static char words[WORDS][LETTERS + 1];
    static slow_words slow;
    cohort_text text = {0};
    uint32_t random = 7;
    for (size_t i = 0; i < WORDS; i++) {
        slow.counts[i] = 2 + (random >> 20) % (LETTERS - 1);
        for (size_t k = 0; k < slow.counts[i]; k++) {
            random = random * 1664525u + 1013904223u;
            words[i][k] = "aaabbcd"[(random >> 20) % 7];
        }
        cohort_text_append(&text, "%s ", words[i]);
    }
    cohort_tokenizer_spec spec = {.type = COHORT_TOKENS_BPE, .length = 8, .ngrams = 1};
    cohort_tokenizer *t = learn(&spec, text.data, MOST);
    size_t count, made = 2 + 2 * 4, left, right;
    const char *const *vocabulary = cohort_tokenizer_vocabulary(&count, t);
    assert_int_equal(count, MOST);
    for (size_t i = 0; i < WORDS; i++)
        for (size_t k = 0; k < slow.counts[i]; k++) {
            char part[8];
            snprintf(part, sizeof part, "%s%c", k ? "" : "▁", words[i][k]);
            slow.parts[i][k] = find_entry(vocabulary, count, part);
            assert_true(slow.parts[i][k] < made);
        }
    while (made < MOST) {
        char joined[64];
        find_most_frequent(&left, &right, &slow);
        snprintf(joined, sizeof joined, "%s%s", vocabulary[left], vocabulary[right]);
        /* New, or the same part in another way. */
        size_t merged = find_entry(vocabulary, count, joined);
        assert_true(merged <= made);
        made += merged == made;
        merge_everywhere(&slow, left, right, merged);
    }
    cohort_tokenizer_destroy(t);
    cohort_text_clear(&text);
}

static void characters_and_bytes(void **state)
{
    (void)state;
    cohort_tokenizer *t = NULL;
    cohort_tokenizer_spec spec = {.type = COHORT_TOKENS_CHARACTERS, .length = 3};
    const char text[] = "bé\r\na\xff";
    assert_ok(cohort_vocabulary_of_characters(&t, &spec, text, sizeof text - 1));
    expect_tokens(t, text, "b|é|\n|a|\xef\xbf\xbd", "bé\na\xef\xbf\xbd");
    cohort_tokens tokens = {0};
    assert_fails(cohort_tokenizer_encode(&tokens, t, "abx", 3), COHORT_USAGE,
                 "\"x\" (U+0078) is not in the model's vocabulary of 5");
    free(tokens.items);
    cohort_text all = {0};
    cohort_tokenizer_decode(&all, t, (int32_t[]){1, 99, -1}, 3);
    assert_string_equal(all.data, "a\xef\xbf\xbd\xef\xbf\xbd");
    cohort_text_clear(&all);
    cohort_tokenizer_destroy(t);
    spec.type = COHORT_TOKENS_BYTES;
    assert_ok(cohort_vocabulary_of_characters(&t, &spec, "", 0));
    expect_tokens(t, "A\xff\n", "A|<0xFF>|<0x0A>", "A\xff\n");
    cohort_tokenizer_destroy(t);
}

static void descriptions_come_back(void **state)
{
    (void)state;
    const cohort_tokenizer_spec specs[] = {
        {.type = COHORT_TOKENS_WORDS, .length = 200, .ngrams = 2},
        {.type = COHORT_TOKENS_BPE, .length = 7, .ngrams = 1, .mask = true, .keep_head = true},
        {.type = COHORT_TOKENS_WORDPIECE, .length = 1, .ngrams = 1, .marks = true},
        {.type = COHORT_TOKENS_BYTES, .length = 64, .ngrams = 1},
    };
    for (size_t i = 0; i < sizeof specs / sizeof *specs; i++) {
        cohort_text text = {0};
        cohort_tokenizer_spec back;
        cohort_tokenizer_describe(&text, &specs[i]);
        assert_ok(cohort_tokenizer_parse(&back, text.data));
        assert_true(back.type == specs[i].type && back.length == specs[i].length &&
                    back.ngrams == specs[i].ngrams && back.mask == specs[i].mask &&
                    back.keep_head == specs[i].keep_head && back.marks == specs[i].marks);
        cohort_text_clear(&text);
    }
    cohort_tokenizer_spec spec;
    assert_fails(cohort_tokenizer_parse(&spec, "{}"), COHORT_DATA, "unknown type");
    assert_fails(cohort_tokenizer_parse(&spec, "{\"type\":\"words\",\"length\":0}"), COHORT_DATA,
                 "no valid length");
    cohort_tokenizer *t = NULL;
    spec = specs[1];
    assert_fails(cohort_tokenizer_create(&t, &spec, (const char *[]){"[pad]", "[unk]", "a"}, 3),
                 COHORT_DATA, "does not begin with [pad], [unk], [mask]");
    spec = specs[0];
    assert_fails(
        cohort_tokenizer_create(&t, &spec, (const char *[]){"[pad]", "[unk]", "a", "a"}, 4),
        COHORT_DATA, "\"a\" twice");
    assert_null(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(utf8_is_decoded_and_repaired),
        cmocka_unit_test(letters_of_any_script),
        cmocka_unit_test(words_without_html),
        cmocka_unit_test(whole_words),
        cmocka_unit_test(pairs_of_words),
        cmocka_unit_test(parts_of_words),
        cmocka_unit_test(merges_are_the_most_frequent_pairs),
        cmocka_unit_test(characters_and_bytes),
        cmocka_unit_test(descriptions_come_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
