/* Texts with classes into rows of tokens. */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/memory.h"
#include "base/rng.h"
#include "cli/convert/documents.h"
#include "cli/convert/format.h"
#include "data/vocabulary.h"

/* The two splits as lists of documents, in the order of their rows. */
typedef struct split {
    size_t *items;
    size_t count;
} split;

enum { TRAIN, TEST, SPLIT_COUNT };

static const char *const groups[SPLIT_COUNT] = {"train", "test"};

/* Puts every document where it belongs: as the source says, or drawn by SEED. The draw is
 * a permutation, so it serves as the order of the rows as well. */
static cohort_status deal(split splits[SPLIT_COUNT], const cohort_documents *documents,
                          double fraction, uint64_t seed)
{
    const size_t count = documents->count;
    const size_t drawn = documents->has_test ? 0 : (size_t)llround((double)count * fraction);
    COHORT_REQUIRE(drawn < count, COHORT_USAGE,
                   "convert text: --test %g of %zu texts leaves none to train on", fraction, count);
    cohort_permutation order = cohort_permutation_make(count, seed, COHORT_RNG_CONVERT, 1, 0);
    for (int i = 0; i < SPLIT_COUNT; i++)
        COHORT_TRY(COHORT_ALLOCATE(&splits[i].items, count));
    for (size_t row = 0; row < count; row++) {
        const size_t item = (size_t)cohort_permutation_at(&order, row);
        split *to = &splits[documents->has_test ? documents->items[item].test : row < drawn];
        to->items[to->count++] = item;
    }
    return COHORT_OK;
}

static void show_progress(void *context, size_t done)
{
    cohort_progress_at(context, done);
}

/* Learns the vocabulary from the training texts. */
static cohort_status learn(cohort_tokenizer **out, const cohort_documents *documents,
                           const split *train, const cohort_tokenizer_spec *spec, size_t most)
{
    cohort_vocabulary *vocabulary = NULL;
    cohort_text buffer = {0};
    cohort_progress progress = cohort_progress_begin("counting words of texts", train->count);
    cohort_status status = COHORT_OK;
    COHORT_TRY_DONE(status, cohort_vocabulary_create(&vocabulary, spec));
    for (size_t i = 0; i < train->count; i++) {
        const char *text = NULL;
        size_t length = 0;
        COHORT_TRY_DONE(status, cohort_document_text(&text, &length, &buffer, documents,
                                                     &documents->items[train->items[i]]));
        COHORT_TRY_DONE(status, cohort_vocabulary_count(vocabulary, text, length));
        cohort_progress_at(&progress, i);
    }
    cohort_progress_end(&progress);
    progress = cohort_progress_begin("learning parts of words", most);
    COHORT_TRY_DONE(status,
                    cohort_vocabulary_finish(out, vocabulary, most, show_progress, &progress));
done:
    cohort_progress_end(&progress);
    cohort_vocabulary_destroy(vocabulary);
    cohort_text_clear(&buffer);
    return status;
}

static cohort_status write_split(cohort_writer *writer, const char *group, const split *rows,
                                 const cohort_documents *documents, cohort_tokenizer *tokenizer,
                                 int deflate)
{
    const size_t width = cohort_tokenizer_spec_of(tokenizer)->length;
    size_t x = 0, y = 0;
    int32_t *row = NULL;
    cohort_text buffer = {0};
    cohort_progress progress = cohort_progress_begin("converting texts", rows->count);
    cohort_status status = COHORT_OK;
    COHORT_TRY_DONE(status, cohort_writer_add(&x, writer, group, "x", COHORT_I32,
                                              &cohort_shape_of(width), deflate));
    COHORT_TRY_DONE(status, cohort_writer_add(&y, writer, group, "y", COHORT_I32,
                                              &(cohort_shape){.dim_count = 0}, 0));
    COHORT_TRY_DONE(status, COHORT_ALLOCATE(&row, width));
    for (size_t i = 0; i < rows->count; i++) {
        const cohort_document *document = &documents->items[rows->items[i]];
        const char *text = NULL;
        size_t length = 0;
        COHORT_TRY_DONE(status, cohort_document_text(&text, &length, &buffer, documents, document));
        COHORT_TRY_DONE(status, cohort_tokenizer_row(row, tokenizer, text, length));
        COHORT_TRY_DONE(status, cohort_writer_append(writer, x, row, 1));
        COHORT_TRY_DONE(status, cohort_writer_append(writer, y, &document->label, 1));
        cohort_progress_at(&progress, i);
    }
done:
    cohort_progress_end(&progress);
    cohort_free(row);
    cohort_text_clear(&buffer);
    return status;
}

static cohort_status name_classes(cohort_writer *writer, const cohort_dictionary *classes)
{
    const uint32_t count = cohort_dictionary_count(classes);
    const char **names = calloc(count + 1, sizeof *names);
    COHORT_REQUIRE(names, COHORT_MEMORY, "out of memory");
    for (uint32_t i = 0; i < count; i++)
        names[i] = cohort_dictionary_text(classes, i);
    cohort_status status = cohort_writer_attribute_list(writer, "classes", names, count);
    free(names);
    return status;
}

static cohort_status convert_documents(cohort_writer *writer, const cohort_options *options,
                                       const cohort_documents *documents, split splits[SPLIT_COUNT],
                                       const cohort_tokenizer_spec *spec)
{
    int64_t most = 0;
    double fraction = 0;
    uint64_t seed = 0;
    int deflate = 0;
    COHORT_TRY(cohort_options_integer(&most, options, "vocabulary", 20000, 16, 1 << 24));
    COHORT_TRY(cohort_options_number(&fraction, options, "test", 0.2, 0, 1));
    COHORT_TRY(cohort_format_seed(&seed, options));
    COHORT_TRY(cohort_format_compression(&deflate, options));
    COHORT_REQUIRE(!documents->has_test || !cohort_options_given(options, "test"), COHORT_USAGE,
                   "convert text: --test does not go with a test split");
    COHORT_TRY(deal(splits, documents, fraction, seed));
    cohort_tokenizer *tokenizer = NULL;
    cohort_status status = COHORT_OK;
    COHORT_TRY_DONE(status, learn(&tokenizer, documents, &splits[TRAIN], spec, (size_t)most));
    for (int i = 0; i < SPLIT_COUNT; i++)
        if (splits[i].count > 0)
            COHORT_TRY_DONE(
                status, write_split(writer, groups[i], &splits[i], documents, tokenizer, deflate));
    COHORT_TRY_DONE(status, name_classes(writer, documents->classes));
    COHORT_TRY_DONE(status, cohort_format_vocabulary(writer, tokenizer));
done:
    cohort_tokenizer_destroy(tokenizer);
    return status;
}

static cohort_status read_spec(cohort_tokenizer_spec *spec, const cohort_options *options)
{
    static const char *const ends[2] = {"tail", "head"};
    size_t type = 0, end = 0;
    int64_t length = 0, ngrams = 0;
    COHORT_TRY(cohort_options_choice(&type, options, "tokens", COHORT_TOKENS_WORDS,
                                     cohort_token_type_names, COHORT_TOKENS_BPE + 1));
    COHORT_TRY(cohort_options_choice(&end, options, "keep", 0, ends, 2));
    COHORT_TRY(cohort_options_integer(&length, options, "length", 200, 1, 1 << 24));
    COHORT_TRY(cohort_options_integer(&ngrams, options, "ngrams", 1, 1, 2));
    COHORT_REQUIRE(ngrams == 1 || type == COHORT_TOKENS_WORDS, COHORT_USAGE,
                   "convert text: --ngrams 2 goes with --tokens words only");
    *spec = (cohort_tokenizer_spec){.type = (cohort_token_type)type,
                                    .length = (size_t)length,
                                    .keep_head = end == 1,
                                    .marks = cohort_options_given(options, "punctuation"),
                                    .mask = cohort_options_given(options, "mask-token"),
                                    .ngrams = (int)ngrams};
    return COHORT_OK;
}

static cohort_status run(cohort_writer *writer, const cohort_options *options)
{
    const char *path = options->positional[0];
    const char *test_path = options->positional_count > 1 ? options->positional[1] : NULL;
    cohort_tokenizer_spec spec;
    cohort_documents documents = {0};
    split splits[SPLIT_COUNT] = {{0}};
    struct stat info;
    COHORT_TRY(read_spec(&spec, options));
    const bool folder = stat(path, &info) == 0 && S_ISDIR(info.st_mode);
    COHORT_REQUIRE(!folder || !test_path, COHORT_USAGE,
                   "convert text: a folder is given alone; put train and test into it");
    cohort_status status = COHORT_OK;
    if (folder)
        COHORT_TRY_DONE(status, cohort_documents_list(&documents, path));
    else
        COHORT_TRY_DONE(status, cohort_documents_read_csv(&documents, options, path, test_path));
    COHORT_TRY_DONE(status, convert_documents(writer, options, &documents, splits, &spec));
done:
    for (int i = 0; i < SPLIT_COUNT; i++)
        cohort_free(splits[i].items);
    cohort_documents_clear(&documents);
    return status;
}

static const cohort_option options[] = {
    {"tokens", "words|wordpiece|bpe", "words (default), or parts of words: wordpiece or bpe",
     false},
    {"vocabulary", "N", "tokens at most, the special ones included (default: 20000)", false},
    {"length", "N", "tokens of a row (default: 200)", false},
    {"keep", "tail|head", "of a longer text: tail (default) or head", false},
    {"ngrams", "N", "2: frequent pairs of words are tokens too (default: 1)", false},
    {"punctuation", NULL, "marks count as words of one character", false},
    {"mask-token", NULL, "token 2 is [mask], for masked pre-training", false},
    {"test", "FRACTION", "drawn by seed for /test where the source has none (default: 0.2)", false},
    {"seed", "N", "of the order of the rows and of that draw (default: 1)", false},
    {"text", "COLUMN", "of a CSV file, by name or number from 1 (default: the first)", false},
    {"label", "COLUMN", "of a CSV file (default: the last)", false},
    {"delimiter", "CHARACTER", "of a CSV file, or the word tab (default: ,)", false},
    {"no-header", NULL, "the first line of a CSV file is data, not names", false},
};

const cohort_format cohort_format_text = {
    .name = "text",
    .usage = "FOLDER | FILE.csv [TEST.csv]",
    .summary = "texts with classes: a folder per class, aclImdb, a CSV column",
    .help = "Reads FOLDER/train/CLASS/… and FOLDER/test/CLASS/… (as in aclImdb; its unsup is\n"
            "left out), or FOLDER/CLASS/…, one text a file, or a column of a CSV file. HTML is\n"
            "removed, letters become lower-case, and the vocabulary is learnt from the training\n"
            "split. Writes /train and /test: x int32 [n][length], 0 after the end of a text, 1\n"
            "for what the vocabulary lacks; y class numbers [n]; rows in an order drawn by seed;\n"
            "the attributes `classes`, `vocabulary` and `tokenizer`.",
    .options = options,
    .option_count = sizeof options / sizeof *options,
    .least = 1,
    .most = 2,
    .run = run,
};
