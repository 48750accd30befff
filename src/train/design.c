#include "train/design.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

struct cohort_design {
    cohort_text layers;
    char **sets; /* [set_count] "key=value" */
    size_t set_count, set_capacity;
};

cohort_status cohort_design_create(cohort_design **out)
{
    *out = calloc(1, sizeof **out);
    COHORT_REQUIRE(*out, COHORT_MEMORY, "out of memory");
    return COHORT_OK;
}

void cohort_design_destroy(cohort_design *design)
{
    if (!design)
        return;
    for (size_t i = 0; i < design->set_count; i++)
        free(design->sets[i]);
    free(design->sets);
    cohort_text_clear(&design->layers);
    free(design);
}

cohort_status cohort_design_layer(cohort_design *design, const char *type, const char *keys)
{
    COHORT_REQUIRE(type && *type, COHORT_USAGE, "a layer needs a type, such as \"dense\"");
    if (keys && *keys)
        cohort_text_append(&design->layers, "  - %s: {%s}\n", type, keys);
    else
        cohort_text_append(&design->layers, "  - %s\n", type);
    return cohort_text_status(&design->layers);
}

/* The place of what was set for KEY before; set_count if nothing was. */
static size_t find(const cohort_design *design, const char *key)
{
    const size_t length = strlen(key);
    size_t i = 0;
    while (i < design->set_count &&
           !(strncmp(design->sets[i], key, length) == 0 && design->sets[i][length] == '='))
        i++;
    return i;
}

cohort_status cohort_design_set(cohort_design *design, const char *key, const char *value)
{
    COHORT_REQUIRE(key && *key && value, COHORT_USAGE,
                   "a key and its value are needed, such as \"optimizer.lr\" and \"0.01\"");
    cohort_text set = {0};
    cohort_text_append(&set, "%s=%s", key, value);
    cohort_status status = cohort_text_status(&set);
    COHORT_TRY_DONE(status, status);
    COHORT_TRY_DONE(status, cohort_grow((void **)&design->sets, &design->set_capacity,
                                        design->set_count + 1, sizeof *design->sets));
    const size_t at = find(design, key);
    if (at < design->set_count)
        free(design->sets[at]);
    else
        design->set_count++;
    design->sets[at] = set.data;
    return COHORT_OK;
done:
    cohort_text_clear(&set);
    return status;
}

cohort_status cohort_design_write(cohort_text *text, const cohort_design *design)
{
    COHORT_REQUIRE(design->layers.length > 0, COHORT_USAGE,
                   "the design has no layers; add some by cohort_design_layer");
    cohort_text_append(text, "model:\n%s", design->layers.data);
    return cohort_text_status(text);
}

const char *const *cohort_design_sets(size_t *count, const cohort_design *design)
{
    *count = design->set_count;
    return (const char *const *)design->sets;
}
