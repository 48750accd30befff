/* What a converter is: one file here defines one, convert.c lists it. */
#ifndef COHORT_CLI_CONVERT_FORMAT_H
#define COHORT_CLI_CONVERT_FORMAT_H

#include "cli/options.h"
#include "data/tokenizer.h"
#include "data/writer.h"

typedef struct cohort_format {
    const char *name;    /* "idx" */
    const char *usage;   /* its arguments: "FOLDER | IMAGES LABELS" */
    const char *summary; /* half a line for the list of formats */
    const char *help;    /* paragraphs for its own help */
    const cohort_option *options;
    size_t option_count;
    size_t least, most; /* positional arguments */
    /* Writes datasets and attributes but `source`, which convert.c adds. */
    cohort_status (*run)(cohort_writer *writer, const cohort_options *options);
} cohort_format;

extern const cohort_format cohort_format_idx, cohort_format_cifar10, cohort_format_csv,
    cohort_format_text, cohort_format_chars, cohort_format_digits, cohort_format_images,
    cohort_format_npz, cohort_format_hdf5;

/* All of them, in the order in which `cohort convert --help` lists them; NULL ends the list. */
extern const cohort_format *const cohort_formats[];

enum { COHORT_FORMAT_OPTIONS_MAX = 32 };
/* TABLE[0, *count) = FORMAT's options, then those that every format has. */
COHORT_NODISCARD cohort_status cohort_format_options(cohort_option table[COHORT_FORMAT_OPTIONS_MAX],
                                                     size_t *count, const cohort_format *format);

/* The DEFLATE level asked for by --compress, an option of every format. */
COHORT_NODISCARD cohort_status cohort_format_compression(int *level, const cohort_options *options);
/* --seed, for the formats that list it. */
COHORT_NODISCARD cohort_status cohort_format_seed(uint64_t *seed, const cohort_options *options);

/* Writes the attributes `vocabulary` and `tokenizer`. */
COHORT_NODISCARD cohort_status cohort_format_vocabulary(cohort_writer *writer,
                                                        const cohort_tokenizer *tokenizer);

/* A line on standard error that is rewritten as long work goes on; only on a terminal, and
 * only when the work takes longer than half a second. */
typedef struct cohort_progress {
    const char *what; /* "reading reviews" */
    size_t total;     /* 0 = unknown */
    double next;      /* when to write again */
    bool terminal, shown;
} cohort_progress;

cohort_progress cohort_progress_begin(const char *what, size_t total);
void cohort_progress_at(cohort_progress *progress, size_t done);
/* Removes the line. */
void cohort_progress_end(cohort_progress *progress);

#endif
