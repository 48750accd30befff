#include "nn/init.h"

#include <math.h>
#include <string.h>

#include "base/rng.h"

#define VALUE_KEY(help_text)                                                                       \
    {                                                                                              \
        .name = "value", .type = COHORT_KEY_REAL, .offset = offsetof(cohort_init_value, value),    \
        .min = 0, .max = 1e6, .required = true, .help = help_text                                  \
    }

static const cohort_key deviation_keys[] = {VALUE_KEY("standard deviation")};
static const cohort_key limit_keys[] = {VALUE_KEY("half the width of the interval")};

#define PLAIN_TABLE(table, text)                                                                   \
    static const cohort_key_table table = {                                                        \
        .name = #table, .help = text, .config_bytes = sizeof(cohort_init_value)}
#define VALUE_TABLE(table, text, key_list)                                                         \
    static const cohort_key_table table = {.name = #table,                                         \
                                           .help = text,                                           \
                                           .config_bytes = sizeof(cohort_init_value),              \
                                           .main_key = "value",                                    \
                                           .keys = key_list,                                       \
                                           .key_count = 1}

PLAIN_TABLE(glorot_uniform, "uniform in ±sqrt(6 / (fan_in + fan_out))");
PLAIN_TABLE(glorot_normal, "normal of variance 2 / (fan_in + fan_out), cut at two deviations");
PLAIN_TABLE(he_uniform, "uniform in ±sqrt(6 / fan_in)");
PLAIN_TABLE(he_normal, "normal of variance 2 / fan_in, cut at two deviations");
VALUE_TABLE(normal, "normal of mean 0 and the given standard deviation", deviation_keys);
VALUE_TABLE(uniform, "uniform in ± the given limit", limit_keys);
PLAIN_TABLE(zeros, "all zero");

const cohort_key_table *const cohort_init_variants[] = {
    &glorot_uniform, &glorot_normal, &he_uniform, &he_normal, &normal, &uniform, &zeros, NULL};

static void fill_uniform(real *values, size_t count, double limit, cohort_rng *rng)
{
    for (size_t i = 0; i < count; i++)
        values[i] = (real)((2 * (double)cohort_rng_float(rng) - 1) * limit);
}

/* CUT: numbers beyond two deviations are drawn again. */
static void fill_normal(real *values, size_t count, double deviation, bool cut, cohort_rng *rng)
{
    for (size_t i = 0; i < count; i++) {
        double value = cohort_rng_normal(rng);
        while (cut && fabs(value) > 2)
            value = cohort_rng_normal(rng);
        values[i] = (real)(value * deviation);
    }
}

/* sqrt(numerator / fans); a tensor without inputs (never a kernel) counts as one. */
static double spread(double numerator, size_t fans)
{
    return sqrt(numerator / (double)(fans ? fans : 1));
}

void cohort_init_fill(real *values, size_t count, const cohort_variant *init, size_t fan_in,
                      size_t fan_out, uint64_t seed, uint32_t tensor_index)
{
    /* What is left of a standard normal's deviation when it is cut at two. */
    const double cut_deviation = 0.87962566103423978;
    const cohort_key_table *kind = init->table ? init->table : &glorot_uniform;
    const cohort_init_value *config = init->config;
    cohort_rng rng = cohort_rng_make(seed, COHORT_RNG_INIT, tensor_index, 0, 0);
    if (kind == &glorot_uniform)
        fill_uniform(values, count, spread(6, fan_in + fan_out), &rng);
    else if (kind == &he_uniform)
        fill_uniform(values, count, spread(6, fan_in), &rng);
    else if (kind == &uniform)
        fill_uniform(values, count, config->value, &rng);
    else if (kind == &glorot_normal)
        fill_normal(values, count, spread(2, fan_in + fan_out) / cut_deviation, true, &rng);
    else if (kind == &he_normal)
        fill_normal(values, count, spread(2, fan_in) / cut_deviation, true, &rng);
    else if (kind == &normal)
        fill_normal(values, count, config->value, false, &rng);
    else
        memset(values, 0, count * sizeof *values);
}
