#ifndef COHORT_FEDERATED_FEDERATED_PRIVATE_H
#define COHORT_FEDERATED_FEDERATED_PRIVATE_H

#include "federated/client.h"
#include "federated/federated.h"
#include "federated/partition.h"
#include "state/run.h"
#include "train/record.h"

/* Bytes before the vector of each message between server and client. */
enum { COHORT_FEDERATED_HEADER_BYTES = 128 };

/* A split the global model is evaluated on. */
typedef struct cohort_federated_split {
    cohort_dataset *dataset; /* NULL: there is none */
    bool is_borrowed;        /* the training data set serves */
    cohort_loader *loader;
    uint64_t block_count;
    double loss, accuracy; /* of the latest evaluation; NaN before */
} cohort_federated_split;

/* Why a chosen client does not count in a round. */
typedef enum cohort_dropped {
    COHORT_DROPPED_NOT,
    COHORT_DROPPED_NOT_FINITE, /* as cohort_update_fault from here … */
    COHORT_DROPPED_TOO_LARGE,  /* … to here */
    COHORT_DROPPED_SILENT,     /* did not answer in time */
    COHORT_DROPPED_LATE,       /* more were asked than are needed, and others were first */
    COHORT_DROPPED_DAMAGED     /* its update does not decode */
} cohort_dropped;

/* The round under way. */
typedef struct cohort_round {
    size_t count;                  /* clients asked */
    size_t *clients;               /* [count] their numbers, ascending */
    int *ranks;                    /* [count] who trains them */
    cohort_client_result *results; /* [count] */
    int *dropped;                  /* [count] cohort_dropped */
    size_t *load;                  /* [ranks] rows dealt to each */
    size_t kept;
    bool is_abandoned; /* asked to stop inside it */
    double bytes_up, bytes_down, seconds;
    double expansion; /* bytes_up / what it would be without secure aggregation */
} cohort_round;

/* What a thread trains simulated clients with. The first lane has the run's own. */
typedef struct cohort_client_lane {
    cohort_client *client;
    unsigned char *payload;
} cohort_client_lane;

struct cohort_federated {
    cohort_comm *comm; /* in a deployment: the coordinator alone */
    cohort_recipe *recipe;
    const cohort_federated_recipe *how; /* the recipe's section */
    cohort_trainer_options options;
    const cohort_strategy *strategy;
    const cohort_strategy_recipe *numbers;
    size_t threads;
    int rank_count; /* of the whole job */

    cohort_dataset *train; /* NULL: rows are elsewhere */
    cohort_federated_split validation, test;
    cohort_partition partition;
    size_t client_count;
    size_t *eligible; /* [eligible_count] clients with rows to train on, ascending */
    size_t eligible_count, chosen_most;

    cohort_client *client;     /* trains; NULL on a coordinator */
    size_t most_rows;          /* of a client */
    cohort_client_lane *lanes; /* [lane_count] of a simulation: so many clients train at a time */
    size_t lane_count;
    cohort_client_store store;
    cohort_model *model; /* evaluates the global weights */
    cohort_loss loss;
    cohort_exchange exchange;
    cohort_compression compression;
    cohort_fixed fixed;
    real *global;   /* [exchange.count] weights, state, control variate */
    real *mean;     /* [exchange.count] of a round's updates */
    real *update;   /* [exchange.count] the one at hand */
    real *before;   /* global and server.slots as the round found them; NULL: not needed yet */
    real **all;     /* [chosen_most] every update of a round, for robust means; else NULL */
    uint64_t *sums; /* [exchange.count] */
    unsigned char *payload;
    cohort_server server;
    cohort_round round;
    /* Trains the round's clients: fills in results, dropped, sums (or `all`). Collective. */
    cohort_status (*gather)(cohort_federated *federated);
    struct cohort_secure_round *secure;   /* the masks of the round under way; see secure.h */
    struct cohort_protection *protection; /* NULL: not private; see protect.h */
    struct cohort_deployment *deployment; /* NULL: a simulation */
    bool serves;                          /* this rank is a real client */

    cohort_progress progress; /* epoch and step count finished rounds */
    cohort_text recipe_text;  /* resolved */
    cohort_run *run;          /* rank 0 only */
    cohort_record record;
    cohort_text folder;
    cohort_attachment *attachments; /* of the latest snapshot */
    char (*attachment_groups)[32];
    size_t attachment_count, attachment_capacity, group_capacity;
    cohort_evaluation test_result;
    bool tested, resumed, stop_seen;
    double launched;
};

/* --- Set-up (setup.c) --- */

/* *out = a run of which nothing is open yet. Collective. */
COHORT_NODISCARD cohort_status cohort_federated_make(cohort_federated **out, cohort_comm *comm,
                                                     cohort_recipe *recipe,
                                                     const cohort_trainer_options *options);
/* Opens data and network of a simulation. Collective. */
COHORT_NODISCARD cohort_status cohort_federated_open(cohort_federated *federated);
/* What both shapes need once the network's input is known: model, vectors, server. INFO is of
 * any of its data sets. Rank-local. */
COHORT_NODISCARD cohort_status cohort_federated_open_model(cohort_federated *federated,
                                                           const cohort_dataset_info *info);
COHORT_NODISCARD cohort_status cohort_federated_open_vectors(cohort_federated *federated);
/* Test and validation data of FILE (NULL: data.file). Collective. */
COHORT_NODISCARD cohort_status cohort_federated_open_splits(cohort_federated *federated,
                                                            const char *file);
/* Room for rounds of up to chosen_most clients. */
COHORT_NODISCARD cohort_status cohort_federated_open_round(cohort_federated *federated);

/* What a data set at hand says of all: the training data's, else the test data's. */
const cohort_dataset_info *cohort_federated_about(const cohort_federated *federated);

/* The same once more, for a chosen_most that has been raised. */
COHORT_NODISCARD cohort_status cohort_federated_grow_round(cohort_federated *federated);

/* --- Run folder (resume.c) --- */

/* Finds and locks the run folder, continues what is there. Collective. */
COHORT_NODISCARD cohort_status cohort_federated_open_run(cohort_federated *federated);
/* Whether FEDERATED, open or of real clients, could go on from CHECKPOINT in FOLDER. Rank 0. */
COHORT_NODISCARD cohort_status cohort_federated_try(cohort_federated *federated,
                                                    const char *checkpoint, const char *folder);
/* Writes a checkpoint on rank 0. Collective. */
COHORT_NODISCARD cohort_status cohort_federated_save(cohort_federated *federated, bool round_end,
                                                     bool is_best);

/* --- A round --- */

/* Which clients are asked in round ROUND: into round.clients (choose.c). */
COHORT_NODISCARD cohort_status cohort_federated_choose(cohort_federated *federated);
/* Who trains them: round.ranks, by rows, or where clients are at home. */
void cohort_federated_assign(cohort_federated *federated);
/* The simulation's gather (simulate.c). */
COHORT_NODISCARD cohort_status cohort_federated_simulate(cohort_federated *federated);
/* Lanes for as many clients as this rank may have in a round, or fewer threads; client and vectors
 * are there. Rank-local; errors as cohort_client_create. */
COHORT_NODISCARD cohort_status cohort_federated_open_lanes(cohort_federated *federated);
void cohort_federated_close_lanes(cohort_federated *federated);
/* The weight client RESULT counts with: rows, or 1. */
uint64_t cohort_federated_weight(const cohort_federated *federated,
                                 const cohort_client_result *result);
/* Adds the update in federated->update to the sums with WEIGHT. */
void cohort_federated_add(cohort_federated *federated, uint64_t weight);
/* federated->mean from the sums, or from all updates (combine.c). Collective. */
COHORT_NODISCARD cohort_status cohort_federated_combine(cohort_federated *federated);

/* After the last round: every client tests the model on rows it kept apart, tunes it for
 * itself, tests again (personal.c). Collective. */
COHORT_NODISCARD cohort_status cohort_federated_personalize(cohort_federated *federated);

#endif
