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
PLAIN_TABLE(orthogonal, "orthonormal rows or columns");
PLAIN_TABLE(forget_bias, "1 for forget gates, else 0");

const cohort_variant cohort_init_orthogonal = {.table = &orthogonal};
const cohort_variant cohort_init_forget_bias = {.table = &forget_bias};

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

/* Normal numbers, made orthonormal vector by vector (Gram-Schmidt, each projected twice for
 * accuracy): the Q of Keras's QR with positive diagonal of R. Vectors are the rows when there
 * are fewer rows than columns, else the columns. */
static void fill_orthogonal(real *values, size_t rows, size_t columns, cohort_rng *rng)
{
    const bool by_rows = rows < columns;
    const size_t vectors = by_rows ? rows : columns, length = by_rows ? columns : rows;
    const size_t next = by_rows ? columns : 1, along = by_rows ? 1 : columns;
    fill_normal(values, rows * columns, 1, false, rng);
    for (size_t v = 0; v < vectors; v++) {
        real *own = values + v * next;
        for (size_t k = 0; k < 2 * v; k++) {
            const real *other = values + k % v * next;
            double product = 0;
            for (size_t i = 0; i < length; i++)
                product += (double)own[i * along] * (double)other[i * along];
            for (size_t i = 0; i < length; i++)
                own[i * along] -= (real)(product * (double)other[i * along]);
        }
        double square = 0;
        for (size_t i = 0; i < length; i++)
            square += (double)own[i * along] * (double)own[i * along];
        for (size_t i = 0; i < length; i++)
            own[i * along] /= (real)sqrt(square);
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
    else if (kind == &orthogonal)
        fill_orthogonal(values, fan_in, fan_out, &rng);
    else if (kind == &forget_bias)
        for (size_t i = 0; i < count; i++)
            values[i] = i / (count / 4) == 1 ? REAL(1) : REAL(0);
    else
        memset(values, 0, count * sizeof *values);
}
