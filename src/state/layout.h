/* How checkpoints are laid out: names and tables that reading and writing share. */
#ifndef COHORT_STATE_LAYOUT_H
#define COHORT_STATE_LAYOUT_H

#include <hdf5.h>

#include "base/text.h"
#include "data/hdf5.h"
#include "state/checkpoint.h"

#define COHORT_CHECKPOINT_FORMAT "cohort-checkpoint"
#define COHORT_CHECKPOINT_CHECKSUM "xxh64" /* of a dataset's bytes */
#define COHORT_CHECKPOINT_RECIPE_CHECKSUM "recipe_xxh64"
#define COHORT_CHECKPOINT_LEDGER "privacy_ledger"
#define COHORT_CHECKPOINT_LEDGER_CHECKSUM "privacy_ledger_xxh64"

enum {
    COHORT_CHECKPOINT_VERSION = 1,
    COHORT_CHECKPOINT_TEXT_MAX = 16 << 20,      /* bytes of the recipe */
    COHORT_CHECKPOINT_LIST_MAX = 256 << 20,     /* bytes of classes, of vocabulary */
    COHORT_CHECKPOINT_TOKENIZER_MAX = 32 << 10, /* bytes */
    COHORT_CHECKPOINT_WAYS_MAX = 1 << 20        /* bytes */
};

/* A field of cohort_progress: uint64_t, or double when `is_real`. */
typedef struct cohort_progress_field {
    const char *name;
    size_t offset;
    bool is_real;
    bool required; /* a file without it is refused */
} cohort_progress_field;

extern const cohort_progress_field cohort_progress_fields[];
extern const size_t cohort_progress_field_count;

/* A flat vector of a snapshot and the group its tensors live in. */
typedef struct cohort_section {
    const cohort_tensors *tensors;
    real *data;
    const char *group; /* "params", "state", "optimizer"; an attachment's */
    const char *slot;  /* NULL, or the optimizer's slot; an attachment's */
} cohort_section;

/* Section INDEX of section_count: params, state, optimizer slots, attachments. */
size_t cohort_section_count(const cohort_snapshot *snapshot);
cohort_section cohort_section_at(const cohort_snapshot *snapshot, size_t index);
/* "optimizer/m/0_dense/kernel" into PATH (replaced). */
COHORT_NODISCARD cohort_status cohort_section_path(cohort_text *path, const cohort_section *section,
                                                   const cohort_tensor *tensor);

/* A UTF-8 string type: of WIDTH bytes padded with zeros, or H5T_VARIABLE; close with H5Tclose. */
hid_t cohort_hdf5_string_type(size_t width);

#endif
