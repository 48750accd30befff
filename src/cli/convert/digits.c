/* Handwritten-like digits without a download. A digit is a few pen strokes through control
 * points; every image bends them anew (another way of writing it, shaken points, an elastic
 * field, slant, size, place), draws them with a pen of its own width and pressure, and adds
 * noise. Image I of a split depends on (seed, split, I) alone. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/rng.h"
#include "cli/convert/format.h"

typedef struct point {
    float x, y;
} point;

/* Ways of writing each digit: points in hundredths of a box, y downwards; "|" lifts the pen.
 * Strokes are smooth (Catmull-Rom) but for corners, which are points given twice. */
enum { POINTS_MAX = 24, STYLES_MAX = 3, STEPS = 8, SEGMENTS_MAX = POINTS_MAX * STEPS };

static const char *const shapes[10][STYLES_MAX] = {
    {"56,5 32,14 20,50 30,86 52,95 74,82 81,50 72,17 50,5",
     "66,12 45,5 24,25 20,62 38,94 66,90 80,58 76,24 55,7 42,12"},
    {"52,4 50,50 49,96", "30,27 45,16 55,4 55,4 54,50 53,96",
     "33,22 53,5 53,5 52,94 | 27,95 50,94 78,95"},
    {"20,28 31,10 53,5 75,16 74,38 52,65 20,93 20,93 50,92 82,93",
     "22,24 38,7 63,7 75,27 63,53 40,80 22,90 19,79 36,76 58,90 86,90"},
    {"20,15 45,5 73,15 70,36 42,47 42,47 73,57 79,78 55,95 18,86",
     "20,8 50,7 77,8 77,8 44,42 44,42 74,52 78,77 52,95 18,85",
     "24,12 50,4 72,20 58,42 46,46 52,50 74,64 66,90 40,96 20,82"},
    {"30,6 24,32 19,55 19,55 50,55 85,52 | 68,22 66,60 63,96",
     "62,96 63,50 63,5 63,5 38,34 14,62 14,62 50,63 88,62",
     "26,10 22,40 35,54 60,50 74,32 | 77,6 72,50 64,95"},
    {"76,7 50,7 30,7 30,7 25,44 25,44 50,38 77,52 78,78 52,95 20,87",
     "32,9 27,45 27,45 56,42 77,62 70,88 42,95 18,85 | 31,9 55,8 82,5",
     "80,10 52,5 34,13 28,34 42,46 66,55 72,78 50,95 20,90"},
    {"68,5 42,22 23,58 29,88 54,95 76,80 71,58 50,50 26,68",
     "50,3 30,36 20,72 40,96 71,87 73,64 50,55 25,76"},
    {"18,9 50,8 82,8 82,8 57,50 42,95", "18,10 50,9 81,8 81,8 58,48 46,95 | 34,50 54,49 76,50",
     "20,24 22,8 22,8 50,10 78,7 78,7 66,40 56,68 52,95"},
    {"72,20 50,5 27,18 38,40 66,58 76,80 50,96 24,80 36,57 64,40 73,20 60,8",
     "50,5 29,14 29,37 50,47 71,37 71,14 50,5 | 50,47 25,60 25,85 50,96 76,85 76,60 50,47"},
    {"74,24 55,6 29,14 25,37 47,50 70,37 76,20 76,20 71,60 62,96",
     "73,20 50,5 27,20 31,43 55,48 73,24 77,50 68,84 42,96 23,88"},
};

/* A piece of a stroke as drawn, in pixels; `radius` is half the pen's width there. */
typedef struct segment {
    point from, to;
    float radius;
} segment;

typedef struct drawing {
    segment segments[SEGMENTS_MAX];
    size_t count;
} drawing;

static float uniform(cohort_rng *rng, float least, float most)
{
    return least + (most - least) * cohort_rng_float(rng);
}

static float normal(cohort_rng *rng, float deviation)
{
    return deviation * (float)cohort_rng_normal(rng);
}

/* p1 to p2 at t in [0, 1], with the tangents of the neighbours (Catmull and Rom 1974). */
static float catmull_rom(float p0, float p1, float p2, float p3, float t)
{
    return p1 + 0.5f * t *
                    (p2 - p0 + t * (2 * p0 - 5 * p1 + 4 * p2 - p3 + t * (3 * (p1 - p2) + p3 - p0)));
}

/* Flattens the stroke points[0..count) into segments of the unit box. */
static void trace_stroke(drawing *out, const point *points, size_t count)
{
    for (size_t i = 0; i + 1 < count; i++) {
        point p1 = points[i], p2 = points[i + 1];
        point p0 = points[i ? i - 1 : 0], p3 = points[i + 2 < count ? i + 2 : i + 1];
        if (p1.x == p2.x && p1.y == p2.y)
            continue;
        point last = p1;
        for (int step = 1; step <= STEPS && out->count < SEGMENTS_MAX; step++) {
            float t = (float)step / STEPS;
            point next = {catmull_rom(p0.x, p1.x, p2.x, p3.x, t),
                          catmull_rom(p0.y, p1.y, p2.y, p3.y, t)};
            out->segments[out->count++] = (segment){.from = last, .to = next};
            last = next;
        }
    }
}

/* Traces SHAPE with every point moved a little (both copies of a corner alike). */
static void trace_shape(drawing *out, const char *shape, cohort_rng *rng)
{
    point stroke[POINTS_MAX];
    size_t count = 0;
    long last_x = -1, last_y = -1;
    const float shake = uniform(rng, 0.01f, 0.032f);
    for (char *at = (char *)shape; count < POINTS_MAX;) {
        at += strspn(at, " ");
        if (*at == '|' || !*at) {
            trace_stroke(out, stroke, count);
            count = 0;
            last_x = last_y = -1;
            if (!*at++)
                return;
            continue;
        }
        const long x = strtol(at, &at, 10), y = strtol(at + 1, &at, 10);
        if (x == last_x && y == last_y) {
            stroke[count] = stroke[count - 1];
        } else {
            stroke[count].x = (float)x / 100 + normal(rng, shake);
            stroke[count].y = (float)y / 100 + normal(rng, shake);
        }
        last_x = x;
        last_y = y;
        count++;
    }
}

/* x' = matrix (x + waves(x) - centre): an elastic field of slow waves (after Simard et al.
 * 2003, but smooth by construction), then slant, turn and size. */
typedef struct distortion {
    float matrix[2][2];
    float phase[4], amplitude[4], frequency[4];
} distortion;

static distortion make_distortion(cohort_rng *rng)
{
    distortion d;
    const float turn = normal(rng, 0.13f), slant = normal(rng, 0.2f);
    const float width = uniform(rng, 0.72f, 1.2f), height = uniform(rng, 0.85f, 1.08f);
    const float c = cosf(turn), s = sinf(turn);
    d.matrix[0][0] = c * width;
    d.matrix[0][1] = -c * slant - s * height;
    d.matrix[1][0] = s * width;
    d.matrix[1][1] = -s * slant + c * height;
    for (int i = 0; i < 4; i++) {
        d.phase[i] = uniform(rng, 0, 6.2831853f);
        d.amplitude[i] = normal(rng, 0.022f);
        d.frequency[i] = uniform(rng, 2.5f, 7.0f);
    }
    return d;
}

static point distort(const distortion *d, point p)
{
    float x = p.x + d->amplitude[0] * sinf(d->frequency[0] * p.y + d->phase[0]) +
              d->amplitude[1] * sinf(d->frequency[1] * p.x + d->phase[1]) - 0.5f;
    float y = p.y + d->amplitude[2] * sinf(d->frequency[2] * p.x + d->phase[2]) +
              d->amplitude[3] * sinf(d->frequency[3] * p.y + d->phase[3]) - 0.5f;
    return (point){d->matrix[0][0] * x + d->matrix[0][1] * y,
                   d->matrix[1][0] * x + d->matrix[1][1] * y};
}

/* Where the middle of EXTENT pixels goes: near the image's, and the pen stays inside. */
static float shift(cohort_rng *rng, float side, float extent, float radius)
{
    const float room = fmaxf((side - extent) / 2 - 1.3f * radius - 1, 0);
    return side / 2 + fminf(fmaxf(normal(rng, 0.035f * side), -room), room);
}

/* Bends the unit-box drawing and places it into SIDE x SIDE pixels, about 20 of 28 high. */
static void place(drawing *d, cohort_rng *rng, float side)
{
    const distortion bend = make_distortion(rng);
    float left = 9, right = -9, top = 9, bottom = -9;
    for (size_t i = 0; i < d->count; i++) {
        segment *s = &d->segments[i];
        s->from = distort(&bend, s->from);
        s->to = distort(&bend, s->to);
        left = fminf(left, fminf(s->from.x, s->to.x));
        right = fmaxf(right, fmaxf(s->from.x, s->to.x));
        top = fminf(top, fminf(s->from.y, s->to.y));
        bottom = fmaxf(bottom, fmaxf(s->from.y, s->to.y));
    }
    float scale = side * uniform(rng, 0.64f, 0.8f);
    const float extent = fmaxf(right - left, bottom - top);
    if (extent * scale > 0.82f * side)
        scale = 0.82f * side / extent;
    const float radius = side * uniform(rng, 0.026f, 0.062f), pressure = uniform(rng, 0, 0.25f);
    const float x = shift(rng, side, scale * (right - left), radius) - scale * (left + right) / 2;
    const float y = shift(rng, side, scale * (bottom - top), radius) - scale * (top + bottom) / 2;
    const float phase = uniform(rng, 0, 6.2831853f);
    for (size_t i = 0; i < d->count; i++) {
        segment *s = &d->segments[i];
        s->from = (point){x + scale * s->from.x, y + scale * s->from.y};
        s->to = (point){x + scale * s->to.x, y + scale * s->to.y};
        s->radius = radius * (1 + pressure * sinf(phase + 0.12f * (float)i));
    }
}

static float distance_to(const segment *s, float x, float y)
{
    const float dx = s->to.x - s->from.x, dy = s->to.y - s->from.y;
    const float px = x - s->from.x, py = y - s->from.y;
    const float square = dx * dx + dy * dy;
    float t = square > 0 ? (px * dx + py * dy) / square : 0;
    t = fminf(fmaxf(t, 0), 1);
    const float ex = px - t * dx, ey = py - t * dy;
    return sqrtf(ex * ex + ey * ey);
}

static size_t clamp_pixel(float at, size_t side)
{
    return at <= 0 ? 0 : at >= (float)side ? side : (size_t)at;
}

/* Covers the pixels under the segment: full inside the pen, fading over SOFT pixels. */
static void draw_segment(float *ink, const segment *s, size_t side, float soft)
{
    const float reach = s->radius + soft;
    const size_t left = clamp_pixel(fminf(s->from.x, s->to.x) - reach, side);
    const size_t right = clamp_pixel(fmaxf(s->from.x, s->to.x) + reach + 1, side);
    const size_t top = clamp_pixel(fminf(s->from.y, s->to.y) - reach, side);
    const size_t bottom = clamp_pixel(fmaxf(s->from.y, s->to.y) + reach + 1, side);
    for (size_t row = top; row < bottom; row++) {
        for (size_t col = left; col < right; col++) {
            float far = distance_to(s, (float)col + 0.5f, (float)row + 0.5f);
            float cover = fminf(fmaxf((s->radius - far) / soft + 0.5f, 0), 1);
            if (cover > ink[row * side + col])
                ink[row * side + col] = cover;
        }
    }
}

/* Draws one image of LABEL; INK is scratch of the same size. */
static void draw_digit(unsigned char *image, float *ink, unsigned label, size_t side,
                       cohort_rng *rng)
{
    drawing d = {.count = 0};
    unsigned styles = 1;
    while (styles < STYLES_MAX && shapes[label][styles])
        styles++;
    trace_shape(&d, shapes[label][cohort_rng_below(rng, styles)], rng);
    place(&d, rng, (float)side);
    const float soft = uniform(rng, 0.9f, 1.6f) * (float)side / 28;
    const float bright = uniform(rng, 190, 255), noise = uniform(rng, 0, 14);
    memset(ink, 0, side * side * sizeof *ink);
    for (size_t i = 0; i < d.count; i++)
        draw_segment(ink, &d.segments[i], side, soft);
    for (size_t i = 0; i < side * side; i++) {
        float value = bright * ink[i] + normal(rng, noise);
        image[i] = (unsigned char)lrintf(fminf(fmaxf(value, 0), 255));
    }
}

static cohort_status draw_split(cohort_writer *writer, const char *group, uint32_t split,
                                size_t count, size_t side, uint64_t seed, int deflate)
{
    size_t x = 0, y = 0;
    unsigned char *image = NULL;
    float *ink = NULL;
    cohort_status status = COHORT_OK;
    cohort_progress progress = cohort_progress_begin("drawing digits", count);
    COHORT_TRY_DONE(status, cohort_writer_add(&x, writer, group, "x", COHORT_U8,
                                              &cohort_shape_of(side, side, 1), deflate));
    COHORT_TRY_DONE(status, cohort_writer_add(&y, writer, group, "y", COHORT_I32,
                                              &(cohort_shape){.dim_count = 0}, 0));
    COHORT_TRY_DONE(status, COHORT_ALLOCATE(&image, side * side));
    COHORT_TRY_DONE(status, COHORT_ALLOCATE(&ink, side * side));
    for (size_t i = 0; i < count; i++) {
        cohort_rng rng = cohort_rng_make(seed, COHORT_RNG_DIGITS, split, 0, i);
        int32_t label = (int32_t)cohort_rng_below(&rng, 10);
        draw_digit(image, ink, (unsigned)label, side, &rng);
        COHORT_TRY_DONE(status, cohort_writer_append(writer, x, image, 1));
        COHORT_TRY_DONE(status, cohort_writer_append(writer, y, &label, 1));
        cohort_progress_at(&progress, i);
    }
done:
    cohort_progress_end(&progress);
    cohort_free(image);
    cohort_free(ink);
    return status;
}

static cohort_status run(cohort_writer *writer, const cohort_options *options)
{
    static const char *const names[10] = {"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"};
    int64_t train = 0, test = 0, side = 0;
    uint64_t seed = 0;
    int deflate = 0;
    COHORT_TRY(cohort_options_integer(&train, options, "train", 6000, 1, 100000000));
    COHORT_TRY(cohort_options_integer(&test, options, "test", 1000, 0, 100000000));
    COHORT_TRY(cohort_options_integer(&side, options, "size", 28, 12, 1024));
    COHORT_TRY(cohort_format_seed(&seed, options));
    COHORT_TRY(cohort_format_compression(&deflate, options));
    COHORT_TRY(draw_split(writer, "train", 0, (size_t)train, (size_t)side, seed, deflate));
    if (test > 0)
        COHORT_TRY(draw_split(writer, "test", 1, (size_t)test, (size_t)side, seed, deflate));
    return cohort_writer_attribute_list(writer, "classes", names, 10);
}

static const cohort_option options[] = {
    {"train", "N", "training images (default: 6000)", false},
    {"test", "N", "test images (default: 1000)", false},
    {"size", "PIXELS", "width and height (default: 28)", false},
    {"seed", "N", "the same seed draws the same images (default: 1)", false},
};

const cohort_format cohort_format_digits = {
    .name = "digits",
    .usage = "",
    .summary = "generated handwritten-like digits, no download",
    .help = "Draws the digits 0 to 9 from pen strokes with random shape, slant, size, place,\n"
            "pen and noise. Writes /train and /test: x uint8 [n][28][28][1], y class numbers [n].",
    .options = options,
    .option_count = sizeof options / sizeof *options,
    .least = 0,
    .most = 0,
    .run = run,
};
