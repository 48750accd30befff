#include "privacy/noise.h"

#include <math.h>

enum { RUN = 4096 }; /* elements whose numbers are drawn together */

/* Two normal numbers from two words (Box and Muller 1958). */
static void make_normal(double normal[2], const uint64_t words[2])
{
    const double u = ldexp((double)words[0], -64) + 0x1p-65;
    const double angle = ldexp((double)words[1], -64) * 2 * M_PI;
    const double radius = sqrt(-2 * log(u < 1 ? u : 1));
    normal[0] = radius * cos(angle);
    normal[1] = radius * sin(angle);
}

/* VALUE in steps of the grid; what no integer holds is cut, which moves no two values apart. */
static int64_t to_grid(double value, double steps)
{
    const double limit = 0x1p61, scaled = value * steps;
    if (isnan(scaled))
        return 0;
    return llrint(scaled > limit ? limit : scaled < -limit ? -limit : scaled);
}

static void add_run(float *sum, const cohort_secret *secret, uint64_t step, uint64_t index,
                    size_t count, double deviation, double grid)
{
    uint64_t words[RUN];
    const size_t even = count + count % 2;
    cohort_secret_words(words, secret, step, index, even);
    for (size_t i = 0; i < count; i += 2) {
        double normal[2];
        make_normal(normal, words + i);
        for (size_t k = 0; k < 2 && i + k < count; k++)
            sum[i + k] = (float)((double)(to_grid((double)sum[i + k], 1 / grid) +
                                          to_grid(normal[k] * deviation, 1 / grid)) *
                                 grid);
    }
    cohort_secret_wipe(words, sizeof words);
}

void cohort_noise_add(float *sum, const cohort_tensors *tensors, const cohort_secret *secret,
                      uint64_t step, double clip, double noise_multiplier)
{
    double count = 0;
    for (size_t t = 0; t < tensors->count; t++)
        count += tensors->items[t].frozen ? 0 : (double)tensors->items[t].count;
    const double grid = ldexp(1, ilogb(clip * noise_multiplier) - 34);
    const double deviation = (clip + grid * sqrt(count)) * noise_multiplier;
    for (size_t t = 0; t < tensors->count; t++) {
        const cohort_tensor *tensor = &tensors->items[t];
        if (tensor->frozen)
            continue;
        const size_t runs = (tensor->count + RUN - 1) / RUN;
#pragma omp parallel for schedule(static)
        for (size_t run = 0; run < runs; run++) {
            const size_t begin = run * RUN,
                         here = tensor->count - begin < RUN ? tensor->count - begin : RUN;
            add_run(sum + tensor->offset + begin, secret, step, tensor->offset + begin, here,
                    deviation, grid);
        }
    }
}

double cohort_noise_add_one(double value, const cohort_secret *secret, uint64_t step,
                            uint64_t index, double deviation)
{
    uint64_t words[2];
    double normal[2];
    const double grid = ldexp(1, ilogb(deviation) - 34);
    cohort_secret_words(words, secret, step, index, 2);
    make_normal(normal, words);
    cohort_secret_wipe(words, sizeof words);
    return (double)(to_grid(value, 1 / grid) + to_grid(normal[0] * deviation, 1 / grid)) * grid;
}
