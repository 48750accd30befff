/* Flatten: all of a sample's values in one row, in memory order. Costs nothing: the output
 * is the input. */
#include "nn/layer_check.h"

typedef struct flatten_config {
    cohort_layer_common common;
} flatten_config;

static cohort_status flatten_plan(cohort_layer *layer, cohort_planner *planner, cohort_flow *flow)
{
    COHORT_TRY(cohort_layer_require_reals(layer, flow));
    *flow = (cohort_flow){.shape = cohort_shape_of(cohort_shape_count(&flow->shape))};
    cohort_plan_alias(planner);
    return COHORT_OK;
}

static const cohort_key flatten_keys[] = {COHORT_KEY_NAME(flatten_config)};

const cohort_layer_type cohort_layer_flatten = {
    .keys = {.name = "flatten",
             .help = "all values of a sample in one row",
             .config_bytes = sizeof(flatten_config),
             .keys = flatten_keys,
             .key_count = sizeof flatten_keys / sizeof *flatten_keys},
    .layer_bytes = sizeof(cohort_layer),
    .plan = flatten_plan,
};
