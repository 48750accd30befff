#include "recipe/check.h"

#include <stdio.h>
#include <string.h>

#include "recipe/search.h"

/* The node of PATH ("optimizer.schedule.final"), or the nearest one above it. */
static const cohort_node *locate(const cohort_node *root, const char *path)
{
    const cohort_node *node = root;
    while (*path) {
        char word[64] = "";
        size_t length = strcspn(path, ".");
        memcpy(word, path, length < sizeof word ? length : sizeof word - 1);
        const cohort_node *child = cohort_node_find(node, word);
        if (!child)
            return node;
        node = child;
        path += length + (path[length] == '.');
    }
    return node;
}

#define REFUSE(fill, root, where, ...)                                                             \
    COHORT_FAIL_AT((fill)->path, locate((root), (where)), __VA_ARGS__)

/* A key that only some types of its section use, as a bit mask of them. */
typedef struct usage {
    const char *key;
    unsigned types;
} usage;

static const usage optimizer_usage[] = {
    {"momentum", 1u << COHORT_SGD | 1u << COHORT_RMSPROP},
    {"nesterov", 1u << COHORT_SGD},
    {"beta1", 1u << COHORT_ADAM | 1u << COHORT_ADAMW},
    {"beta2", 1u << COHORT_ADAM | 1u << COHORT_ADAMW},
    {"rho", 1u << COHORT_RMSPROP},
    {"epsilon", ~(1u << COHORT_SGD)},
    {NULL, 0},
};
static const usage schedule_usage[] = {
    {"milestones", 1u << COHORT_SCHEDULE_STEP},
    {"factor", 1u << COHORT_SCHEDULE_STEP},
    {"final",
     1u << COHORT_SCHEDULE_COSINE | 1u << COHORT_SCHEDULE_LINEAR | 1u << COHORT_SCHEDULE_ONE_CYCLE},
    {"peak_epoch", 1u << COHORT_SCHEDULE_ONE_CYCLE},
    {NULL, 0},
};
static const usage objective_usage[] = {
    {"rate", 1u << COHORT_OBJECTIVE_MASKED},
    {NULL, 0},
};

static void append_types(cohort_text *text, const cohort_key *type, unsigned types)
{
    const char *between = "";
    for (size_t i = 0; type->choices[i]; i++) {
        if (types & 1u << i) {
            cohort_text_append(text, "%s%s", between, type->choices[i]);
            between = " or ";
        }
    }
}

/* Whether KEY has another value in CONFIG than by default. */
static cohort_status differs_from_default(bool *differs, const cohort_key *key, const void *config,
                                          const void *defaults)
{
    cohort_text ours = {0}, theirs = {0};
    cohort_key_write(&ours, key, (const unsigned char *)config + key->offset);
    cohort_key_write(&theirs, key, (const unsigned char *)defaults + key->offset);
    cohort_status status = cohort_text_status(&ours);
    COHORT_TRY_DONE(status, status);
    COHORT_TRY_DONE(status, cohort_text_status(&theirs));
    *differs = strcmp(ours.data, theirs.data) != 0;
done:
    cohort_text_clear(&ours);
    cohort_text_clear(&theirs);
    return status;
}

/* "momentum is not used by adam; remove it or choose sgd or rmsprop". */
static cohort_status refuse_unused(const cohort_fill *fill, const cohort_node *root,
                                   const char *section, const cohort_key_table *table,
                                   const usage *rule, int type)
{
    const cohort_key *types = cohort_table_find(table, "type");
    cohort_text path = {0}, others = {0};
    cohort_text_append(&path, "%s.%s", section, rule->key);
    append_types(&others, types, rule->types);
    cohort_status status = cohort_text_status(&path);
    COHORT_TRY_DONE(status, status);
    COHORT_TRY_DONE(status, cohort_text_status(&others));
    status = REFUSE(fill, root, path.data, "%s is not used by %s; remove it or choose %s",
                    path.data, types->choices[type], others.data);
done:
    cohort_text_clear(&path);
    cohort_text_clear(&others);
    return status;
}

static cohort_status check_usage(const cohort_fill *fill, const cohort_node *root,
                                 const char *section, const cohort_key_table *table,
                                 const usage *rules, const void *config, int type)
{
    void *defaults = NULL;
    COHORT_TRY(cohort_arena_take(&defaults, fill->scratch, table->config_bytes));
    COHORT_TRY(cohort_fill_keys(fill, NULL, table, NULL, NULL, false, defaults));
    for (; rules->key; rules++) {
        bool differs = false;
        if (rules->types & 1u << type)
            continue;
        COHORT_TRY(
            differs_from_default(&differs, cohort_table_find(table, rules->key), config, defaults));
        if (differs)
            return refuse_unused(fill, root, section, table, rules, type);
    }
    return COHORT_OK;
}

/* A schedule at WHERE ("optimizer.schedule") of a run of EPOCHS, in messages SPAN. */
static cohort_status check_schedule(const cohort_fill *fill, const cohort_node *root,
                                    const char *where, const cohort_schedule_recipe *schedule,
                                    size_t epochs, const char *span)
{
    const cohort_reals *milestones = &schedule->milestones;
    char key[64];
    COHORT_TRY(check_usage(fill, root, where, &cohort_schedule_table, schedule_usage, schedule,
                           schedule->type));
    if (schedule->type == COHORT_SCHEDULE_STEP && milestones->count == 0)
        return REFUSE(fill, root, where,
                      "a step schedule needs milestones, e.g. milestones: [30, 60]");
    snprintf(key, sizeof key, "%s.milestones", where);
    for (size_t i = 1; i < milestones->count; i++)
        if (milestones->items[i] <= milestones->items[i - 1])
            return REFUSE(fill, root, key, "%s must be in ascending order", key);
    if (schedule->type != COHORT_SCHEDULE_ONE_CYCLE)
        return COHORT_OK;
    if (!(schedule->peak_epoch > 0))
        return REFUSE(fill, root, where,
                      "a one_cycle schedule needs peak_epoch, the epoch at which lr is highest");
    snprintf(key, sizeof key, "%s.peak_epoch", where);
    if (schedule->peak_epoch >= (double)epochs)
        return REFUSE(fill, root, key, "%s must be below %s (%zu)", key, span, epochs);
    return COHORT_OK;
}

static cohort_status check_optimizer(const cohort_fill *fill, const cohort_recipe *recipe,
                                     const cohort_node *root)
{
    const cohort_optimizer_recipe *optimizer = &recipe->optimizer;
    const cohort_key_table *table = cohort_table_find(&cohort_recipe_table, "optimizer")->table;
    COHORT_TRY(
        check_usage(fill, root, "optimizer", table, optimizer_usage, optimizer, optimizer->type));
    if (optimizer->nesterov && !(optimizer->momentum > 0))
        return REFUSE(fill, root, "optimizer.nesterov",
                      "optimizer.nesterov needs momentum above 0; set momentum or remove it");
    const bool by_rounds = recipe->federated.rounds > 0;
    return check_schedule(fill, root, "optimizer.schedule", &optimizer->schedule,
                          by_rounds ? recipe->federated.rounds : recipe->train.epochs,
                          by_rounds ? "federated.rounds" : "train.epochs");
}

static cohort_status check_objective(const cohort_fill *fill, const cohort_recipe *recipe,
                                     const cohort_node *root)
{
    const cohort_objective_recipe *objective = &recipe->objective;
    const cohort_key_table *table = cohort_table_find(&cohort_recipe_table, "objective")->table;
    COHORT_TRY(
        check_usage(fill, root, "objective", table, objective_usage, objective, objective->type));
    if (objective->type == COHORT_OBJECTIVE_MASKED &&
        strcmp(recipe->loss.table->name, "cross_entropy") != 0)
        return REFUSE(fill, root, "objective",
                      "objective masked guesses tokens, which needs loss: cross_entropy, not %s",
                      recipe->loss.table->name);
    return COHORT_OK;
}

static cohort_status check_validation(const cohort_fill *fill, const cohort_recipe *recipe,
                                      const cohort_node *root)
{
    double fraction = 0;
    const char *validation = recipe->data.validation;
    if (validation && cohort_parse_double(&fraction, validation) && !(fraction > 0 && fraction < 1))
        return REFUSE(fill, root, "data.validation",
                      "data.validation must be in (0, 1) or the name of a group, not '%s'",
                      cohort_show(validation).text);
    return COHORT_OK;
}

/* METRIC, given by KEY, is a figure that the run has. */
static cohort_status check_metric(const cohort_fill *fill, const cohort_recipe *recipe,
                                  const cohort_node *root, const char *key, const char *metric)
{
    static const char *const metrics[] = {"loss", "accuracy", "validation_loss",
                                          "validation_accuracy"};
    bool known = false;
    for (size_t i = 0; i < sizeof metrics / sizeof *metrics; i++)
        known = known || strcmp(metrics[i], metric) == 0;
    if (!known)
        return REFUSE(fill, root, key,
                      "%s: unknown metric '%s'; choose one of loss, accuracy, validation_loss, "
                      "validation_accuracy",
                      key, cohort_show(metric).text);
    if (strncmp(metric, "validation_", strlen("validation_")) == 0 && !recipe->data.validation &&
        !recipe->train.folds)
        return REFUSE(fill, root, key,
                      "%.*s watches %s, but there is no validation data; set data.validation, "
                      "e.g. to 0.1",
                      (int)(strrchr(key, '.') - key), key, metric);
    return COHORT_OK;
}

static cohort_status check_early_stopping(const cohort_fill *fill, const cohort_recipe *recipe,
                                          const cohort_node *root)
{
    const char *metric = recipe->train.early_stopping.metric;
    return metric ? check_metric(fill, recipe, root, "train.early_stopping.metric", metric)
                  : COHORT_OK;
}

/* Every fold is trained and validated by itself, out of the same samples. */
static cohort_status check_folds(const cohort_fill *fill, const cohort_recipe *recipe,
                                 const cohort_node *root)
{
    if (recipe->train.folds == 1)
        return REFUSE(fill, root, "train.folds",
                      "train.folds: 1 leaves nothing to train on; give 2 or more, or 0 for none");
    if (recipe->train.folds && recipe->data.validation)
        return REFUSE(fill, root, "data.validation",
                      "data.validation contradicts train.folds, which validates on each part of "
                      "the training samples in turn; remove one of the two");
    if (recipe->train.folds && recipe->privacy.delta > 0)
        return REFUSE(fill, root, "train.folds",
                      "train.folds shows figures of single samples that no noise covers, so no "
                      "epsilon would hold; remove it");
    if (recipe->train.folds && recipe->train.max_steps)
        return REFUSE(fill, root, "train.max_steps",
                      "train.max_steps may end a fold before its first validation; remove it and "
                      "set train.epochs");
    return COHORT_OK;
}

static bool is_named(const cohort_variant *variant, const char *name)
{
    return variant->table && strcmp(variant->table->name, name) == 0;
}

/* Keys of steps and of summing gradients that mean nothing where a run goes by rounds: set to
 * anything but their default they would be ignored. */
static cohort_status check_round_keys(const cohort_fill *fill, const cohort_recipe *recipe,
                                      const cohort_node *root)
{
    const struct {
        const char *key;
        bool given;
    } keys[] = {
        {"train.max_steps", recipe->train.max_steps > 0},
        {"train.folds", recipe->train.folds > 0},
        {"train.parts", recipe->train.parts > 0},
        {"train.elastic", recipe->train.elastic},
        {"train.log_every_steps", recipe->train.log_every_steps > 0},
        {"train.verify_every", recipe->train.verify_every != COHORT_VERIFY_EVERY},
        {"train.on_nonfinite", recipe->train.on_nonfinite != COHORT_NONFINITE_STOP},
        {"train.max_skipped", recipe->train.max_skipped != COHORT_MAX_SKIPPED},
        {"train.tune", recipe->train.tune == COHORT_TUNE_FASTEST},
        {"optimizer.embedding_rows", recipe->optimizer.embedding_rows != COHORT_ROWS_ALL},
        {"checkpoint.every_steps", recipe->checkpoint.every_steps > 0},
        {"comm.reducer", recipe->comm.reducer != 0},
        {"comm.bucket", recipe->comm.bucket > 0},
    };
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (keys[i].given)
            return REFUSE(fill, root, keys[i].key,
                          "%s does not apply to a federated run, which goes by rounds; remove it",
                          keys[i].key);
    return COHORT_OK;
}

/* What a client's optimizer must be for the strategy's formulas to hold. */
static cohort_status check_strategy(const cohort_fill *fill, const cohort_recipe *recipe,
                                    const cohort_node *root)
{
    const cohort_federated_recipe *federated = &recipe->federated;
    const bool scaffold = is_named(&federated->strategy, "scaffold"),
               fedsgd = is_named(&federated->strategy, "fedsgd");
    const bool plain = recipe->optimizer.type == COHORT_SGD && !(recipe->optimizer.momentum > 0);
    if ((scaffold || fedsgd) && !plain)
        return REFUSE(fill, root, "federated.strategy",
                      "strategy %s is defined for clients with plain SGD; set optimizer: {type: "
                      "sgd} without momentum",
                      federated->strategy.table->name);
    if (scaffold && !(recipe->optimizer.lr > 0))
        return REFUSE(fill, root, "optimizer.lr", "strategy scaffold divides by optimizer.lr");
    if (fedsgd && (federated->local_batch_size != 0 || federated->local_epochs != 1))
        return REFUSE(fill, root, "federated.strategy",
                      "strategy fedsgd takes one step on all of a client's rows; set "
                      "local_batch_size: 0 and local_epochs: 1");
    if (scaffold && !is_named(&federated->compression, "none"))
        return REFUSE(fill, root, "federated.compression",
                      "federated.compression is not for scaffold, whose control variates must "
                      "agree with the updates; remove it");
    return COHORT_OK;
}

/* Masks leave nothing but the sum to work with. */
static cohort_status check_secure(const cohort_fill *fill, const cohort_recipe *recipe,
                                  const cohort_node *root)
{
    static const char *const one_by_one[] = {"median", "trimmed_mean", "krum"};
    const cohort_federated_recipe *federated = &recipe->federated;
    if (is_named(&federated->secure_aggregation, "false"))
        return COHORT_OK;
    for (size_t i = 0; i < sizeof one_by_one / sizeof *one_by_one; i++)
        if (is_named(&federated->strategy, one_by_one[i]))
            return REFUSE(fill, root, "federated.secure_aggregation",
                          "strategy %s looks at single updates, which "
                          "federated.secure_aggregation hides; use norm_bound, which clients "
                          "apply themselves, or remove one of the two",
                          one_by_one[i]);
    if (!is_named(&federated->compression, "none"))
        return REFUSE(fill, root, "federated.secure_aggregation",
                      "federated.compression: %s cannot be summed under the masks of "
                      "federated.secure_aggregation; remove one of the two",
                      federated->compression.table->name);
    return COHORT_OK;
}

static cohort_status check_federated(const cohort_fill *fill, const cohort_recipe *recipe,
                                     const cohort_node *root)
{
    const cohort_federated_recipe *federated = &recipe->federated;
    if (federated->rounds == 0)
        return COHORT_OK;
    COHORT_TRY(check_round_keys(fill, recipe, root));
    COHORT_TRY(check_strategy(fill, recipe, root));
    COHORT_TRY(check_secure(fill, recipe, root));
    if (federated->clients && federated->min_clients > federated->clients)
        return REFUSE(fill, root, "federated.min_clients",
                      "federated.min_clients (%zu) is more than there are clients (%zu)",
                      federated->min_clients, federated->clients);
    if (!federated->clients &&
        (is_named(&federated->partition, "shards") || is_named(&federated->partition, "dirichlet")))
        return REFUSE(fill, root, "federated.partition",
                      "partition %s deals rows to simulated clients; set federated.clients",
                      federated->partition.table->name);
    if (federated->personalize_epochs && !(federated->client_test > 0))
        return REFUSE(fill, root, "federated.personalize_epochs",
                      "personalize_epochs is judged on rows a client keeps apart; set "
                      "federated.client_test, e.g. to 0.2");
    return check_schedule(fill, root, "federated.server_schedule", &federated->server_schedule,
                          federated->rounds, "federated.rounds");
}

/* Client level: what a round does must be Poisson sampling of clients, one clipped update of each,
 * all alike, and nothing else that leaves them. */
static cohort_status check_client_privacy(const cohort_fill *fill, const cohort_recipe *recipe,
                                          const cohort_node *root)
{
    static const char *const single[] = {"median", "trimmed_mean", "krum", "norm_bound"};
    const cohort_federated_recipe *how = &recipe->federated;
    bool looks_at_single = false;
    for (size_t i = 0; i < sizeof single / sizeof *single; i++)
        looks_at_single = looks_at_single || is_named(&how->strategy, single[i]);
    const struct {
        bool is_wrong;
        const char *key, *why;
    } rules[] = {
        {recipe->privacy.unit != 1, "privacy.unit",
         "privacy with `federated:` protects clients; set privacy.unit: client"},
        {how->weighting != COHORT_WEIGHT_UNIFORM, "federated.weighting",
         "federated.weighting: samples lets a client count by its rows, which privacy.clip does "
         "not bound; set federated.weighting: uniform"},
        {how->min_clients > 1, "federated.min_clients",
         "federated.min_clients contradicts `privacy`: each client is drawn on its own, be they "
         "few or none; remove it"},
        {how->over_selection > 0, "federated.over_selection",
         "federated.over_selection contradicts `privacy`, whose sampling must not depend on who "
         "answers; remove it"},
        {is_named(&how->strategy, "scaffold"), "federated.strategy",
         "strategy scaffold sends control variates, which privacy.clip does not bound; use "
         "fedavg or fedprox"},
        {looks_at_single, "federated.strategy",
         "this strategy is no sum of clipped updates, for which alone epsilon holds; use fedavg "
         "(privacy.clip bounds updates already)"},
        {!is_named(&how->compression, "none"), "federated.compression",
         "federated.compression contradicts `privacy`: what a client rounds or keeps back is not "
         "clipped; remove it"},
        {!is_named(&how->secure_aggregation, "false"), "federated.secure_aggregation",
         "federated.secure_aggregation cannot be joined with `privacy` yet: rounds drawn at random "
         "may have a single client; remove one of the two"},
        {how->client_test > 0, "federated.client_test",
         "federated.client_test reports on single clients, which no noise covers; remove it"},
        {how->target_accuracy > 0, "federated.target_accuracy",
         "federated.target_accuracy ends a run by its figures, so no epsilon would hold; remove it "
         "and fix federated.rounds"},
        {recipe->train.early_stopping.metric != NULL, "train.early_stopping",
         "train.early_stopping chooses by figures that no noise covers, so no epsilon would hold; "
         "remove it and fix federated.rounds"},
        {recipe->train.initial_weights != NULL, "train.initial_weights",
         "train.initial_weights: what they cost cannot be carried on in a federated run yet; "
         "remove it, or `privacy`"},
    };
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++)
        if (rules[i].is_wrong)
            return REFUSE(fill, root, rules[i].key, "%s", rules[i].why);
    return COHORT_OK;
}

/* What the accountants do not cover is refused, not figured with. */
static cohort_status check_privacy(const cohort_fill *fill, const cohort_recipe *recipe,
                                   const cohort_node *root)
{
    const cohort_privacy_recipe *privacy = &recipe->privacy;
    if (!(privacy->delta > 0))
        return COHORT_OK;
    if ((privacy->noise_multiplier > 0) == (privacy->target_epsilon > 0))
        return REFUSE(fill, root, "privacy",
                      "privacy needs either noise_multiplier or target_epsilon, %s",
                      privacy->noise_multiplier > 0 ? "not both" : "e.g. target_epsilon: 3");
    if (recipe->federated.rounds)
        return check_client_privacy(fill, recipe, root);
    if (privacy->unit != 0)
        return REFUSE(fill, root, "privacy.unit",
                      "privacy.unit: client needs a `federated:` section; without one the unit is "
                      "an example");
    if (privacy->adaptive_clip.quantile > 0)
        return REFUSE(fill, root, "privacy.adaptive_clip",
                      "privacy.adaptive_clip is for unit: client; steps on examples go as far as "
                      "optimizer.lr times clip says: set a small clip and tune lr");
    if (!recipe->data.shuffle)
        return REFUSE(fill, root, "data.shuffle",
                      "data.shuffle: false contradicts `privacy`: its epsilon holds for batches "
                      "drawn at random only; remove it");
    if (recipe->optimizer.embedding_rows == COHORT_ROWS_USED)
        return REFUSE(fill, root, "optimizer.embedding_rows",
                      "optimizer.embedding_rows: used tells which words the data hold, so no "
                      "epsilon would hold; remove it");
    if (recipe->train.on_nonfinite == COHORT_NONFINITE_SKIP)
        return REFUSE(fill, root, "train.on_nonfinite",
                      "train.on_nonfinite: skip leaves out steps by what the data hold, so no "
                      "epsilon would hold; remove it");
    if (recipe->train.early_stopping.metric)
        return REFUSE(fill, root, "train.early_stopping",
                      "train.early_stopping chooses by figures that no noise covers, so no epsilon "
                      "would hold; remove it and fix train.epochs");
    return COHORT_OK;
}

static const usage search_usage[] = {
    {"trials", 1u << COHORT_SEARCH_RANDOM | 1u << COHORT_SEARCH_HALVING},
    {"seed", 1u << COHORT_SEARCH_RANDOM | 1u << COHORT_SEARCH_HALVING},
    {"min_epochs", 1u << COHORT_SEARCH_HALVING},
    {"eta", 1u << COHORT_SEARCH_HALVING},
    {NULL, 0},
};

/* A grid has no end where a key may be any number. */
static cohort_status check_dimensions(const cohort_fill *fill, const cohort_search_recipe *search)
{
    const cohort_space *space = &search->space;
    const cohort_node all = {.line = space->items->line};
    size_t combinations = 1;
    for (size_t i = 0; i < space->count; i++) {
        const cohort_dimension *dimension = &space->items[i];
        const cohort_node at = {.line = dimension->line};
        if (search->type == COHORT_SEARCH_HALVING && strcmp(dimension->path, "train.epochs") == 0)
            return COHORT_FAIL_AT(fill->path, &at,
                                  "search.space: halving gives out the epochs itself; remove "
                                  "train.epochs, or set search.type to random");
        if (search->type != COHORT_SEARCH_GRID)
            continue;
        if (dimension->type != COHORT_DIMENSION_CHOICES)
            return COHORT_FAIL_AT(fill->path, &at,
                                  "search.space: a grid needs a list of values for %s; give one, "
                                  "or set search.type to random",
                                  dimension->path);
        combinations *= dimension->choice_count;
        if (combinations > COHORT_SEARCH_TRIALS_MAX)
            return COHORT_FAIL_AT(fill->path, &all,
                                  "search.space: a grid of more than %d trials; give fewer "
                                  "values, or set search.type to random",
                                  COHORT_SEARCH_TRIALS_MAX);
    }
    return COHORT_OK;
}

static cohort_status check_search(const cohort_fill *fill, const cohort_recipe *recipe,
                                  const cohort_node *root)
{
    const cohort_search_recipe *search = &recipe->search;
    const char *early = recipe->train.early_stopping.metric;
    if (search->eta == 0) /* there is no such section */
        return COHORT_OK;
    if (search->space.count == 0)
        return REFUSE(fill, root, "search",
                      "missing key 'space' in search; e.g. space: {optimizer.lr: [0.01, 0.1]}");
    if (recipe->federated.rounds)
        return REFUSE(fill, root, "search",
                      "search goes by epochs of one training run, not by rounds; remove "
                      "federated, or try its keys one by one with --set");
    if (recipe->privacy.delta > 0)
        return REFUSE(fill, root, "search",
                      "search chooses by figures that no noise covers, and every trial would cost "
                      "an epsilon of its own; remove privacy, or choose on data that is public");
    COHORT_TRY(check_usage(fill, root, "search", &cohort_search_table, search_usage, search,
                           search->type));
    if (search->metric && early && strcmp(search->metric, early) != 0)
        return REFUSE(fill, root, "search.metric",
                      "search.metric (%s) and train.early_stopping.metric (%s) would take "
                      "different epochs for a trial's best; make them the same",
                      search->metric, early);
    COHORT_TRY(check_metric(fill, recipe, root, "search.metric", cohort_search_metric(recipe)));
    if (search->type == COHORT_SEARCH_HALVING && recipe->train.max_steps)
        return REFUSE(fill, root, "train.max_steps",
                      "train.max_steps cuts the epochs that halving goes by; remove it");
    if (search->type == COHORT_SEARCH_HALVING && search->min_epochs > recipe->train.epochs)
        return REFUSE(fill, root, "search.min_epochs",
                      "search.min_epochs (%zu) must not be above train.epochs (%zu)",
                      search->min_epochs, recipe->train.epochs);
    return check_dimensions(fill, search);
}

/* The name becomes a folder's. */
static cohort_status check_name(const cohort_fill *fill, const cohort_recipe *recipe,
                                const cohort_node *root)
{
    const char *name = recipe->name;
    if (strchr(name, '/') || strcmp(name, ".") == 0 || strcmp(name, "..") == 0 ||
        strlen(name) > 200)
        return REFUSE(fill, root, "name",
                      "name '%s' cannot be a folder's name; use letters, digits, - and _",
                      cohort_show(name).text);
    return COHORT_OK;
}

cohort_status cohort_recipe_check(const cohort_fill *fill, const cohort_recipe *recipe,
                                  const cohort_node *root)
{
    COHORT_TRY(check_name(fill, recipe, root));
    COHORT_TRY(check_validation(fill, recipe, root));
    COHORT_TRY(check_optimizer(fill, recipe, root));
    COHORT_TRY(check_objective(fill, recipe, root));
    COHORT_TRY(check_federated(fill, recipe, root));
    COHORT_TRY(check_privacy(fill, recipe, root));
    COHORT_TRY(check_early_stopping(fill, recipe, root));
    COHORT_TRY(check_folds(fill, recipe, root));
    return check_search(fill, recipe, root);
}
