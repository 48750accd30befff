/* Resizing along one axis after the other, by Lanczos's windowed sinc (Duchon 1979). */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "cli/convert/image.h"

enum { LOBES = 3, COLOURS = 3 };

static double sinc(double x)
{
    return x == 0 ? 1 : sin(M_PI * x) / (M_PI * x);
}

static double lanczos(double x)
{
    return fabs(x) < LOBES ? sinc(x) * sinc(x / LOBES) : 0;
}

/* Which inputs make an output, and how much of each. */
typedef struct taps {
    size_t most;   /* taps of an output */
    size_t *first; /* [out] */
    size_t *count; /* [out] */
    float *weight; /* [out][most], their sum 1 */
} taps;

static void clear_taps(taps *t)
{
    cohort_free(t->first);
    cohort_free(t->count);
    cohort_free(t->weight);
}

/* OUT pixels from the SPAN pixels that begin at BEGIN of IN in all. */
static cohort_status plan_taps(taps *t, size_t out, size_t in, double begin, double span)
{
    const double scale = span / (double)out, widen = scale > 1 ? scale : 1;
    t->most = (size_t)(2 * LOBES * widen) + 3;
    COHORT_TRY(COHORT_ALLOCATE(&t->first, out));
    COHORT_TRY(COHORT_ALLOCATE(&t->count, out));
    COHORT_TRY(COHORT_ALLOCATE(&t->weight, out * t->most));
    for (size_t i = 0; i < out; i++) {
        const double centre = begin + ((double)i + 0.5) * scale - 0.5;
        const double low = floor(centre - LOBES * widen), high = ceil(centre + LOBES * widen);
        const size_t from = low > 0 ? (size_t)low : 0;
        const size_t to = high < (double)(in - 1) ? (size_t)high : in - 1;
        double sum = 0;
        t->first[i] = from;
        t->count[i] = to - from + 1;
        for (size_t k = 0; k < t->count[i]; k++)
            sum += lanczos(((double)(from + k) - centre) / widen);
        for (size_t k = 0; k < t->count[i]; k++)
            t->weight[i * t->most + k] =
                (float)(lanczos(((double)(from + k) - centre) / widen) / sum);
    }
    return COHORT_OK;
}

/* OUT [height][width out][3] from IN [height][width in][3]. */
static void resize_rows(float *out, const unsigned char *in, const taps *t, size_t height,
                        size_t width_out, size_t width_in)
{
    for (size_t row = 0; row < height; row++, in += width_in * COLOURS)
        for (size_t i = 0; i < width_out; i++, out += COLOURS) {
            memset(out, 0, COLOURS * sizeof *out);
            for (size_t k = 0; k < t->count[i]; k++)
                for (size_t c = 0; c < COLOURS; c++)
                    out[c] +=
                        t->weight[i * t->most + k] * (float)in[(t->first[i] + k) * COLOURS + c];
        }
}

static unsigned char to_byte(float value)
{
    return value <= 0 ? 0 : value >= 255 ? 255 : (unsigned char)(value + 0.5f);
}

/* OUT [height][width][channels] from IN [rows][width][3]. */
static void resize_columns(unsigned char *out, const float *in, const taps *t, size_t height,
                           size_t width, size_t channels)
{
    for (size_t i = 0; i < height; i++)
        for (size_t column = 0; column < width; column++, out += channels) {
            float sum[COLOURS] = {0};
            for (size_t k = 0; k < t->count[i]; k++)
                for (size_t c = 0; c < COLOURS; c++)
                    sum[c] += t->weight[i * t->most + k] *
                              in[((t->first[i] + k) * width + column) * COLOURS + c];
            if (channels == 1)
                out[0] = to_byte(0.299f * sum[0] + 0.587f * sum[1] + 0.114f * sum[2]);
            else
                for (size_t c = 0; c < COLOURS; c++)
                    out[c] = to_byte(sum[c]);
        }
}

cohort_status cohort_image_resize(unsigned char *out, size_t height, size_t width, size_t channels,
                                  const cohort_image *image, bool crop)
{
    double spans[2] = {(double)image->height, (double)image->width};
    const double scale = fmin(spans[0] / (double)height, spans[1] / (double)width);
    if (crop) {
        spans[0] = scale * (double)height;
        spans[1] = scale * (double)width;
    }
    taps down = {0}, right = {0};
    float *rows = NULL;
    cohort_status status = COHORT_OK;
    COHORT_TRY_DONE(status, plan_taps(&down, height, image->height,
                                      ((double)image->height - spans[0]) / 2, spans[0]));
    COHORT_TRY_DONE(status, plan_taps(&right, width, image->width,
                                      ((double)image->width - spans[1]) / 2, spans[1]));
    COHORT_TRY_DONE(status, COHORT_ALLOCATE(&rows, image->height * width * COLOURS));
    resize_rows(rows, image->pixels, &right, image->height, width, image->width);
    resize_columns(out, rows, &down, height, width, channels);
done:
    clear_taps(&down);
    clear_taps(&right);
    cohort_free(rows);
    return status;
}
