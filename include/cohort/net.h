/* Networks inside a program: trained step by step or to the end, on data in files or in the
 * program's memory, saved, loaded, asked.
 *
 * The program may have started MPI, with any thread level, and goes on using its communicators;
 * Cohort works on copies of them. Several networks may live in one process. The library prints
 * nothing (see cohort_net_hear), installs no signal handlers, never ends the process, and gives
 * the calling thread's OpenMP thread count back at the end of each call.
 *
 * Errors are statuses; the message is in cohort_error_message(), the same on every rank for
 * collective calls. After COHORT_PEER (a rank is missing) only cohort_net_destroy may be called.
 * A network must not be used by two threads at once.
 *
 * "Collective" is over the network's ranks: each of them makes the same call with the same
 * arguments (but for the rows of COHORT_ROWS_GATHERED). */
#ifndef COHORT_NET_H
#define COHORT_NET_H

#include <stddef.h>
#include <stdint.h>

#include "cohort/arrays.h"
#include "cohort/status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct cohort_net cohort_net;

/* --- A recipe built in code ------------------------------------------------- */

typedef struct cohort_design cohort_design;

/* *out = an empty recipe; free it with cohort_design_destroy. COHORT_MEMORY. */
COHORT_API COHORT_NODISCARD cohort_status cohort_design_create(cohort_design **out);
COHORT_API void cohort_design_destroy(cohort_design *design);
/* Adds a layer behind those there are: TYPE "dense", KEYS "units: 64, activation: relu" as in a
 * recipe, or NULL. Errors in them show when the network is made. COHORT_MEMORY. */
COHORT_API COHORT_NODISCARD cohort_status cohort_design_layer(cohort_design *design,
                                                              const char *type, const char *keys);
/* Sets KEY ("optimizer.lr") to VALUE ("0.01", "[0.5, 1]"); a later value replaces an earlier
 * one. COHORT_MEMORY. */
COHORT_API COHORT_NODISCARD cohort_status cohort_design_set(cohort_design *design, const char *key,
                                                            const char *value);

/* --- Training ------------------------------------------------------------------ */

/* Where a training stands. Losses and accuracies are means over samples; NaN where there are
 * none (yet), accuracies also for regressions. */
typedef struct cohort_net_view {
    uint64_t epoch, epochs;     /* of the latest step, from 1; of the whole training */
    uint64_t step, total_steps; /* finished global steps */
    double loss, accuracy;      /* of that epoch so far */
    double validation_loss, validation_accuracy; /* of the latest epoch */
    double test_loss, test_accuracy;             /* after the end */
    double lr;                                   /* of the latest step */
    double samples_per_s;                        /* of the epoch so far, training time only */
    int is_over; /* the training has come to its end: all steps, or early stopping */
} cohort_net_view;

/* What a network is made from. Begin with all zeros; everything is needed during
 * cohort_net_create only, but for borrowed rows and what the callbacks use. */
typedef struct cohort_net_config {
    /* One of the three. A recipe's text (rank 0's counts), the name of a recipe file (read on
     * rank 0), or a design. */
    const char *recipe;
    const char *recipe_file;
    const cohort_design *design;
    const char *const *sets; /* [set_count] "optimizer.lr=0.01", overriding recipe keys */
    size_t set_count;

    /* Data in memory; all NULL: data.file of the recipe. TRAIN is then without data.file;
     * VALIDATION may also be a fraction of TRAIN by the recipe's data.validation. */
    const cohort_arrays *train, *validation, *test;

    /* Where checkpoints and metrics.jsonl go; an unfinished run there is continued. NULL:
     * nothing is written, and the keys of `checkpoint` have nothing to do. */
    const char *run_folder;
    /* A file of cohort_net_save to continue from exactly: weights, optimizer, place in the data.
     * NULL: none. (To start from weights alone, set train.initial_weights.) */
    const char *resume;

    /* Called on rank 0 of the network's ranks with CONTEXT, inside the calls that train; may be
     * NULL. ON_NOTE gets lines worth telling a person ("continuing from …"). */
    void *context;
    void (*on_step)(void *context, const cohort_net_view *view);
    void (*on_epoch)(void *context, const cohort_net_view *view);
    void (*on_note)(void *context, const char *text);
    /* Asked on every rank after each step; nonzero on any rank ends the call that trains, on all
     * of them, after this step (and, in a run folder, a checkpoint). May be NULL. */
    int (*should_stop)(void *context);
} cohort_net_config;

/* *out = an untrained network, ready to train. MPI_COMM points to an MPI_Comm of the program,
 * which is duplicated, or is NULL for this process alone. Its ranks train it together: each
 * holds the whole network and works on its share of every batch, and results do not depend on
 * how many there are. Free it with cohort_net_destroy. Collective over MPI_COMM.
 *
 * Errors: COHORT_USAGE (recipe, arguments, shapes that do not fit), COHORT_DATA (files, values:
 * NaN, labels out of range), COHORT_MEMORY, COHORT_PEER (ranks that disagree or are missing). */
COHORT_API COHORT_NODISCARD cohort_status cohort_net_create(cohort_net **out, const void *mpi_comm,
                                                            const cohort_net_config *config);

/* *out = the trained network of a checkpoint, or of a run folder (its best.h5, else last.h5), for
 * cohort_net_predict; it cannot be trained. Every rank reads PATH. Collective over MPI_COMM (as
 * in cohort_net_create); NULL makes it rank-local. COHORT_DATA. */
COHORT_API COHORT_NODISCARD cohort_status cohort_net_load(cohort_net **out, const void *mpi_comm,
                                                          const char *path);

/* Frees NET and, in a run folder, gives up its lock. NULL is fine. Collective. */
COHORT_API void cohort_net_destroy(cohort_net *net);

/* Trains for at most COUNT global steps, fewer at the end of the training or when asked to stop.
 * The last step of the training is followed by what a run ends with: the best weights back after
 * early stopping, the test, the last checkpoint. VIEW (may be NULL) is where it stands after
 * that, on every rank. Nothing happens, and it is no error, when the training is over.
 * Collective. COHORT_DIVERGED: not finite; the network is as before the step. COHORT_DATA,
 * COHORT_PEER. */
COHORT_API COHORT_NODISCARD cohort_status cohort_net_step(cohort_net_view *view, cohort_net *net,
                                                          uint64_t count);
/* The same to the end of the training. Collective. */
COHORT_API COHORT_NODISCARD cohort_status cohort_net_train(cohort_net_view *view, cohort_net *net);

/* Trains on other samples from the next step on: TRAIN has as many as before, of the same shapes
 * and types, held in the same way. For data that are made while the training goes on. When the
 * call has returned the former arrays are no longer looked at. Not for networks that train from
 * a file, nor with validation as a fraction of the training data. Collective.
 * COHORT_USAGE, COHORT_DATA as for cohort_net_create; the network then must be destroyed. */
COHORT_API COHORT_NODISCARD cohort_status cohort_net_replace(cohort_net *net,
                                                             const cohort_arrays *train);

/* --- What a network is good for ------------------------------------------------ */

/* Y [X->dims[0]][outputs] = the network's outputs for X, scaled as the recipe scales data:
 * probabilities for classifiers, values for regressions. X has the shape of the training
 * samples, any type (integers for networks that read tokens). Not collective: each rank asks
 * for what it wants. X and Y are the caller's. COHORT_USAGE: another shape; COHORT_DATA: tokens
 * out of range, values not finite. */
COHORT_API COHORT_NODISCARD cohort_status cohort_net_predict(float *y, cohort_net *net,
                                                             const cohort_array *x);

/* Writes NET to PATH as a checkpoint, atomically (rank 0 writes): `cohort eval`, `predict` and
 * `inspect` read it, cohort_net_load and, of a training network, cohort_net_config.resume.
 * Collective. COHORT_DATA: cannot be written; an earlier file is then untouched. */
COHORT_API COHORT_NODISCARD cohort_status cohort_net_save(cohort_net *net, const char *path);

/* What NET looks like. Lists are owned by NET. */
typedef struct cohort_net_info {
    size_t parameters;
    size_t input_dim_count, output_dim_count; /* of one sample */
    size_t input_dims[COHORT_ARRAY_DIMS_MAX], output_dims[COHORT_ARRAY_DIMS_MAX];
    size_t inputs, outputs; /* elements of one sample: the products of the above */
    int reads_tokens;
    const char *const *classes; /* [class_count] names of the outputs, or NULL */
    size_t class_count;
} cohort_net_info;

/* Fills INFO. Not collective. */
COHORT_API void cohort_net_describe(cohort_net_info *info, const cohort_net *net);

/* Warnings of the whole library go to SAY with CONTEXT from now on: one line each, without a
 * line end, on any rank and thread; NULL for nobody (the start). For the whole process, not one
 * network. */
COHORT_API void cohort_net_hear(void (*say)(void *context, const char *text), void *context);

#ifdef __cplusplus
}
#endif

#endif
