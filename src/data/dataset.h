/* A split of an HDF5 dataset: x and y of one group, in memory once per node, left in the file or
 * streamed. */
#ifndef COHORT_DATA_DATASET_H
#define COHORT_DATA_DATASET_H

#include <stdbool.h>
#include <stdint.h>

#include "base/shape.h"
#include "base/status.h"
#include "comm/comm.h"

/* How values are kept in memory, whatever their type in the file: 8-bit unsigned stays,
 * other integers become int32 (refused when they do not fit), floats become float. */
typedef enum cohort_element { COHORT_U8, COHORT_I32, COHORT_F32 } cohort_element;

typedef struct cohort_dataset_info cohort_dataset_info;

typedef struct cohort_dataset_spec {
    const char *path;      /* the file */
    const char *group;     /* "train" */
    const char *x, *y;     /* dataset names in it; y NULL: without targets (predict) */
    uint64_t memory_limit; /* bytes this node may hold for it; 0 = half of what is free */
    bool is_read_once;     /* in the order of rows, later: looked through for what must be refused,
                              and streamed where that saves memory (4 MiB and more) */
    /* Multiply-adds of a forward pass over a sample of INFO, which has all but the labels' range;
     * the same on every rank. Where they are so many that a read does not show (half a per cent), x
     * of 16 MiB and more is left in the file if that can be done (data/row_file.h). NULL: never. */
    double (*work)(const void *context, const cohort_dataset_info *info);
    const void *work_context;
} cohort_dataset_spec;

typedef struct cohort_dataset cohort_dataset;

/* What it holds; constant after opening. */
struct cohort_dataset_info {
    size_t count;         /* samples */
    cohort_shape x_shape; /* of one sample; {1} when x is [n] */
    cohort_element x_element;
    bool targets;                 /* there is a y */
    bool labels;                  /* y is class numbers: integers [n], [n][1], or [n][time]
                                     beside integer x [n][time] … */
    cohort_shape y_shape;         /* … of one sample: {} or {time}; else {k} floats */
    int32_t label_min, label_max; /* over the split, when labels; a negative label is
                                     "ignored" */
    size_t class_count;           /* from the file's `classes`, else 0 */
    const char *const *classes;   /* [class_count] or NULL */
    size_t vocabulary_count;      /* from the file's `vocabulary`, else 0 */
    const char *const *vocabulary;
    const char *source;    /* file attribute, or "" */
    const char *tokenizer; /* file attribute: how its texts became tokens, or NULL */
    const char *table;     /* file attribute: see data/table.h, or NULL */
    bool streamed;         /* too large to be held, or read once */
    size_t chunk_rows;     /* when streamed: rows of x read at once, one or several whole
                              HDF5 chunks (256 KiB or more; less if the limit is below
                              16 MiB); else 0 */
    uint64_t bytes;        /* of x and y as kept */
};

/* Opens and checks the split, reads it into one shared copy per node when it fits (each
 * rank of the node reads a slice; NaN in x and such is found here and the row named). Left in the
 * file, it is looked through in the same way.
 * If it does not fit on one node, all nodes stream, so that the order is the same
 * everywhere; what is then wrong with x is found when its rows are asked for, unless the split
 * is read once. COMM is borrowed until close. Collective over COMM; all ranks get the same
 * status. COHORT_DATA names file, dataset and reason: missing, truncated, x and y of
 * different length, NaN in x …; COHORT_PEER: a rank sees another file than rank 0. */
COHORT_NODISCARD cohort_status cohort_dataset_open(cohort_dataset **out, cohort_comm *comm,
                                                   const cohort_dataset_spec *spec);
/* *out = a data set whose samples are in memory already, as INFO says; its lists, X
 * [count][x_shape] and Y (int32 labels, else floats; NULL without targets) are borrowed until
 * close. NAME stands in messages. Rank-local. COHORT_MEMORY. */
COHORT_NODISCARD cohort_status cohort_dataset_wrap(cohort_dataset **out, const char *name,
                                                   const cohort_dataset_info *info, const void *x,
                                                   const void *y);
/* Other X and Y of the same shapes for such a data set, with labels from LABEL_MIN to LABEL_MAX.
 * Nobody may be reading it. Rank-local. */
void cohort_dataset_rewrap(cohort_dataset *dataset, const void *x, const void *y, int32_t label_min,
                           int32_t label_max);
/* Whether PATH has the group GROUP. Rank-local. */
COHORT_NODISCARD cohort_status cohort_dataset_has_group(bool *has, const char *path,
                                                        const char *group);
/* Collective. NULL is fine. */
void cohort_dataset_close(cohort_dataset *dataset);
const cohort_dataset_info *cohort_dataset_describe(const cohort_dataset *dataset);

/* Copies rows ROWS[0..count) to X in their stored element type and to Y, labels as int32,
 * others as float; NULL skips either. Streams through a chunk cache when not in memory:
 * rows near each other are cheap. Rank-local; threads may call it at the same time.
 * COHORT_DATA as at opening, when not in memory. */
COHORT_NODISCARD cohort_status cohort_dataset_gather(void *x, void *y, cohort_dataset *dataset,
                                                     const uint64_t *rows, size_t count);
/* The copy of x in memory, [count][x_shape] in the stored element type, 64-byte aligned;
 * NULL when it is not there. Valid until close; not to be written. */
const void *cohort_dataset_memory(const cohort_dataset *dataset);

#endif
