#ifndef COHORT_TRAIN_NET_PRIVATE_H
#define COHORT_TRAIN_NET_PRIVATE_H

#include "cohort/net.h"
#include "data/arrays.h"
#include "data/convert.h"
#include "train/trainer_private.h"

/* A network computing outputs: a training's or a loaded one's. */
typedef struct cohort_predictor {
    cohort_model *model; /* borrowed, as the recipe */
    const cohort_loss *loss;
    size_t batch; /* samples a pass */
    cohort_scaling scaling;
    void *x;        /* [batch][inputs] floats or tokens */
    uint64_t *rows; /* [batch] */
} cohort_predictor;

/* Sets up PREDICTOR for passes of BATCH samples. Rank-local. COHORT_MEMORY. */
COHORT_NODISCARD cohort_status cohort_predictor_init(cohort_predictor *predictor,
                                                     const cohort_recipe *recipe,
                                                     cohort_model *model, const cohort_loss *loss,
                                                     size_t batch);
void cohort_predictor_clear(cohort_predictor *predictor);

struct cohort_net {
    cohort_comm *comm;
    cohort_recipe *recipe;
    cohort_arrays_data *train, *validation, *test; /* NULL: from the file, or none */
    cohort_trainer *trainer;                       /* NULL: loaded */
    cohort_inference inference;                    /* if loaded */
    cohort_predictor predictor;
    size_t threads;
    bool is_over, is_lost; /* finished; what it trains on is no more */
    bool fractions;        /* validation samples are drawn from the training data */
    void *context;
    void (*on_step)(void *context, const cohort_net_view *view);
    void (*on_epoch)(void *context, const cohort_net_view *view);
    void (*on_note)(void *context, const char *text);
    int (*should_stop)(void *context);
};

#endif
