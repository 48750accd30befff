#include <string.h>

#include "recipe/tables.h"

/* What may change between the parts of one run: a key, or a section with all in it. */
static const char *const free_keys[] = {
    "name",
    "train.epochs",
    "train.max_steps",
    "train.threads",
    "checkpoint",
    "train.log_every_steps",
    "train.verify_every",
    "train.microbatch_size",
    "train.elastic",
    "train.min_ranks",
    "comm",
    "data.memory_limit",
    "train.tune",
    "search.ranks_per_trial",
    "train.on_nonfinite",
    "train.max_skipped",
    "federated.rounds",
    "federated.round_timeout",
    "federated.evaluate_every",
    "federated.target_accuracy",
    "privacy.accountant",
};

static bool is_free(const char *path)
{
    for (size_t i = 0; i < sizeof free_keys / sizeof *free_keys; i++)
        if (strcmp(free_keys[i], path) == 0)
            return true;
    return false;
}

/* *same and, on a difference, KEY = "PATH (A and B)". */
typedef struct comparison {
    bool *same;
    cohort_text *key;
    cohort_text path; /* of what is being compared */
} comparison;

static cohort_status compare_tables(comparison *c, const cohort_key_table *table, const void *a,
                                    const void *b);

static cohort_status differ(comparison *c, const char *a, const char *b)
{
    *c->same = false;
    c->key->length = 0;
    cohort_text_append(c->key, "%s (%s and %s)", c->path.data, a, b);
    return cohort_text_status(c->key);
}

static cohort_status compare_values(comparison *c, const cohort_key *key, const void *a,
                                    const void *b)
{
    cohort_text ours = {0}, theirs = {0};
    cohort_status status = COHORT_OK;
    cohort_key_write(&ours, key, a);
    cohort_key_write(&theirs, key, b);
    COHORT_TRY_DONE(status, cohort_text_status(&ours));
    COHORT_TRY_DONE(status, cohort_text_status(&theirs));
    if (strcmp(ours.data, theirs.data) != 0)
        status = differ(c, ours.data, theirs.data);
done:
    cohort_text_clear(&ours);
    cohort_text_clear(&theirs);
    return status;
}

static cohort_status compare_variant(comparison *c, const cohort_variant *a,
                                     const cohort_variant *b)
{
    if (!a->table || !b->table || strcmp(a->table->name, b->table->name) != 0)
        return a->table == b->table ? COHORT_OK
                                    : differ(c, a->table ? a->table->name : "null",
                                             b->table ? b->table->name : "null");
    return compare_tables(c, a->table, a->config, b->config);
}

static cohort_status compare_variants(comparison *c, const cohort_variants *a,
                                      const cohort_variants *b)
{
    size_t length = c->path.length;
    for (size_t i = 0; i < a->count && i < b->count && *c->same; i++) {
        cohort_text_append(&c->path, ".%zu", i);
        COHORT_TRY(cohort_text_status(&c->path));
        COHORT_TRY(compare_variant(c, &a->items[i], &b->items[i]));
        c->path.length = length;
        c->path.data[length] = '\0';
    }
    if (!*c->same || a->count == b->count)
        return COHORT_OK;
    cohort_text ours = {0}, theirs = {0};
    cohort_text_append(&ours, "%zu entries", a->count);
    cohort_text_append(&theirs, "%zu", b->count);
    cohort_status status = cohort_text_status(&ours);
    if (status == COHORT_OK)
        status = cohort_text_status(&theirs);
    if (status == COHORT_OK)
        status = differ(c, ours.data, theirs.data);
    cohort_text_clear(&ours);
    cohort_text_clear(&theirs);
    return status;
}

static cohort_status compare_key(comparison *c, const cohort_key *key, const void *a, const void *b)
{
    bool absent = cohort_key_is_absent(key, a) || cohort_key_is_absent(key, b);
    if (is_free(c->path.data))
        return COHORT_OK;
    if (key->type == COHORT_KEY_SECTION && !absent)
        return compare_tables(c, key->table, a, b);
    if (key->type == COHORT_KEY_VARIANT)
        return compare_variant(c, a, b);
    if (key->type == COHORT_KEY_VARIANTS)
        return compare_variants(c, a, b);
    return compare_values(c, key, a, b);
}

static cohort_status compare_tables(comparison *c, const cohort_key_table *table, const void *a,
                                    const void *b)
{
    size_t length = c->path.length;
    for (size_t i = 0; i < table->key_count && *c->same; i++) {
        const cohort_key *key = &table->keys[i];
        cohort_text_append(&c->path, "%s%s", length ? "." : "", key->name);
        COHORT_TRY(cohort_text_status(&c->path));
        COHORT_TRY(compare_key(c, key, (const unsigned char *)a + key->offset,
                               (const unsigned char *)b + key->offset));
        c->path.length = length;
        c->path.data[length] = '\0';
    }
    return COHORT_OK;
}

cohort_status cohort_recipe_is_same_run(bool *same, cohort_text *key, const cohort_recipe *a,
                                        const cohort_recipe *b)
{
    comparison c = {.same = same, .key = key};
    *same = true;
    cohort_status status = compare_tables(&c, &cohort_recipe_table, a, b);
    cohort_text_clear(&c.path);
    return status;
}
