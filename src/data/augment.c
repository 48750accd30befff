#include "data/augment.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/rng.h"
#include "data/convert.h"

typedef enum step_kind { STEP_CROP, STEP_FLIP, STEP_ROTATE, STEP_ZOOM } step_kind;

typedef struct augment_step {
    step_kind kind;
    uint32_t padding;
    bool flip_x, flip_y;
    double amount; /* radians, or range of the zoom factor */
} augment_step;

struct cohort_augmenter {
    augment_step *steps;
    size_t step_count;
    size_t height, width, channels;
    cohort_element element;
    bool resampled;     /* some step needs interpolation */
    float *pixels;      /* the image as floats, when resampled */
    unsigned char *out; /* the result */
};

/* Place (y, x) of the result comes from place (yy y + yx x + y0, xy y + xx x + x0). */
typedef struct affine {
    double yy, yx, y0, xy, xx, x0;
} affine;

/* m after n: first n, a map of places of the new result to places of the one before. */
static affine compose(const affine *m, const affine *n)
{
    return (affine){
        .yy = m->yy * n->yy + m->yx * n->xy,
        .yx = m->yy * n->yx + m->yx * n->xx,
        .y0 = m->yy * n->y0 + m->yx * n->x0 + m->y0,
        .xy = m->xy * n->yy + m->xx * n->xy,
        .xx = m->xy * n->yx + m->xx * n->xx,
        .x0 = m->xy * n->y0 + m->xx * n->x0 + m->x0,
    };
}

static cohort_status read_step(augment_step *step, const cohort_variant *variant)
{
    static const double RADIANS = 3.14159265358979323846 / 180;
    const char *name = variant->table->name;
    if (strcmp(name, "random_crop") == 0) {
        const cohort_random_crop *crop = variant->config;
        COHORT_REQUIRE(crop->padding <= 1 << 20, COHORT_USAGE,
                       "data.augment: random_crop pads by %zu; at most 1048576", crop->padding);
        *step = (augment_step){.kind = STEP_CROP, .padding = (uint32_t)crop->padding};
    } else if (strcmp(name, "flip") == 0) {
        const cohort_flip *flip = variant->config;
        *step = (augment_step){
            .kind = STEP_FLIP, .flip_x = flip->direction != 1, .flip_y = flip->direction != 0};
    } else if (strcmp(name, "rotate") == 0) {
        const cohort_rotate *rotate = variant->config;
        COHORT_REQUIRE(isfinite(rotate->degrees), COHORT_USAGE,
                       "data.augment: rotate by %g degrees; give a finite number", rotate->degrees);
        *step = (augment_step){.kind = STEP_ROTATE, .amount = rotate->degrees * RADIANS};
    } else if (strcmp(name, "zoom") == 0) {
        const cohort_zoom *zoom = variant->config;
        COHORT_REQUIRE(zoom->range >= 0 && zoom->range < 1, COHORT_USAGE,
                       "data.augment: zoom range %g; it must be at least 0 and below 1",
                       zoom->range);
        *step = (augment_step){.kind = STEP_ZOOM, .amount = zoom->range};
    } else {
        return COHORT_FAIL(COHORT_USAGE,
                           "data.augment: unknown %s; there are random_crop, flip, rotate, zoom",
                           name);
    }
    return COHORT_OK;
}

cohort_status cohort_augmenter_create(cohort_augmenter **out, const cohort_variants *variants,
                                      const cohort_shape *shape, cohort_element element)
{
    char text[COHORT_SHAPE_TEXT];
    cohort_status status = COHORT_OK;
    cohort_augmenter *augmenter = NULL;
    *out = NULL;
    if (!variants || !variants->count)
        return COHORT_OK;
    COHORT_REQUIRE(shape->dim_count == 3, COHORT_USAGE,
                   "data.augment needs images [height][width][channels], but a sample of x is %s; "
                   "remove it",
                   cohort_shape_text(text, shape));
    const size_t elements = cohort_shape_count(shape);
    COHORT_TRY(COHORT_ALLOCATE(&augmenter, 1));
    augmenter->height = shape->dims[0];
    augmenter->width = shape->dims[1];
    augmenter->channels = shape->dims[2];
    augmenter->element = element;
    augmenter->step_count = variants->count;
    COHORT_TRY_DONE(status, COHORT_ALLOCATE(&augmenter->steps, variants->count));
    for (size_t i = 0; i < variants->count; i++) {
        COHORT_TRY_DONE(status, read_step(&augmenter->steps[i], &variants->items[i]));
        augmenter->resampled |= augmenter->steps[i].kind >= STEP_ROTATE;
    }
    COHORT_TRY_DONE(status, cohort_allocate((void **)&augmenter->out, elements, sizeof(float)));
    if (augmenter->resampled)
        COHORT_TRY_DONE(status, COHORT_ALLOCATE(&augmenter->pixels, elements));
    *out = augmenter;
    augmenter = NULL;
done:
    cohort_augmenter_destroy(augmenter);
    return status;
}

void cohort_augmenter_destroy(cohort_augmenter *augmenter)
{
    if (!augmenter)
        return;
    cohort_free(augmenter->steps);
    cohort_free(augmenter->pixels);
    cohort_free(augmenter->out);
    cohort_free(augmenter);
}

/* Places of the result of STEP to places before it. */
static affine draw_step(const augment_step *step, const cohort_augmenter *augmenter,
                        cohort_rng *rng)
{
    const double bottom = (double)augmenter->height - 1, right = (double)augmenter->width - 1;
    affine map = {.yy = 1, .xx = 1};
    if (step->kind == STEP_CROP) {
        const uint32_t places = 2 * step->padding + 1;
        map.y0 = (double)cohort_rng_below(rng, places) - step->padding;
        map.x0 = (double)cohort_rng_below(rng, places) - step->padding;
        return map;
    }
    if (step->kind == STEP_FLIP) {
        const uint32_t bits = cohort_rng_u32(rng);
        if (step->flip_x && (bits & 1))
            map.xx = -1, map.x0 = right;
        if (step->flip_y && (bits & 2))
            map.yy = -1, map.y0 = bottom;
        return map;
    }
    const double amount = step->amount * (2 * cohort_rng_double(rng) - 1);
    if (step->kind == STEP_ROTATE) {
        map = (affine){.yy = cos(amount), .yx = sin(amount), .xy = -sin(amount), .xx = cos(amount)};
    } else {
        map.yy = map.xx = 1 / (1 + amount);
    }
    /* About the centre c: p -> A (p - c) + c. */
    map.y0 = (bottom - map.yy * bottom - map.yx * right) / 2;
    map.x0 = (right - map.xy * bottom - map.xx * right) / 2;
    return map;
}

static affine draw_map(const cohort_augmenter *augmenter, uint64_t seed, uint64_t epoch,
                       uint64_t row)
{
    affine map = {.yy = 1, .xx = 1};
    for (size_t i = 0; i < augmenter->step_count; i++) {
        cohort_rng rng = cohort_rng_make(seed, COHORT_RNG_AUGMENT, (uint32_t)i, epoch, row);
        const affine step = draw_step(&augmenter->steps[i], augmenter, &rng);
        map = compose(&map, &step);
    }
    return map;
}

/* One line of a shifted, perhaps mirrored image. FIRST is where column 0 comes from,
 * BYTES those of a pixel. */
static void copy_line(unsigned char *to, const unsigned char *from, size_t width, size_t bytes,
                      ptrdiff_t first, bool mirrored)
{
    const ptrdiff_t w = (ptrdiff_t)width;
    /* Columns [begin, end) of the result have a source inside the line. */
    ptrdiff_t begin = mirrored ? first - (w - 1) : -first, end = mirrored ? first + 1 : w - first;
    begin = begin < 0 ? 0 : begin > w ? w : begin;
    end = end > w ? w : end < begin ? begin : end;
    memset(to, 0, (size_t)begin * bytes);
    memset(to + (size_t)end * bytes, 0, (size_t)(w - end) * bytes);
    if (!mirrored) {
        if (end > begin)
            memcpy(to + (size_t)begin * bytes, from + (size_t)(begin + first) * bytes,
                   (size_t)(end - begin) * bytes);
        return;
    }
    for (ptrdiff_t x = begin; x < end; x++)
        memcpy(to + (size_t)x * bytes, from + (size_t)(first - x) * bytes, bytes);
}

/* Crops and flips alone: whole pixels, in the stored type. */
static void apply_moves(const cohort_augmenter *augmenter, const affine *map,
                        const unsigned char *image)
{
    const size_t pixel_bytes = augmenter->channels * cohort_element_bytes(augmenter->element),
                 line_bytes = augmenter->width * pixel_bytes;
    const ptrdiff_t height = (ptrdiff_t)augmenter->height;
    for (size_t y = 0; y < augmenter->height; y++) {
        const ptrdiff_t from = (ptrdiff_t)(map->yy * (double)y + map->y0);
        unsigned char *to = augmenter->out + y * line_bytes;
        if (from < 0 || from >= height)
            memset(to, 0, line_bytes);
        else
            copy_line(to, image + (size_t)from * line_bytes, augmenter->width, pixel_bytes,
                      (ptrdiff_t)map->x0, map->xx < 0);
    }
}

/* Bilinear value of all channels at (y, x); zero outside the image. */
static void sample_pixel(float *to, const cohort_augmenter *augmenter, float y, float x)
{
    const ptrdiff_t height = (ptrdiff_t)augmenter->height, width = (ptrdiff_t)augmenter->width;
    const size_t channels = augmenter->channels;
    const float top = floorf(y), left = floorf(x), down = y - top, along = x - left;
    const float weights[4] = {(1 - down) * (1 - along), (1 - down) * along, down * (1 - along),
                              down * along};
    memset(to, 0, channels * sizeof *to);
    if (!(y > -1 && x > -1 && y < (float)height && x < (float)width))
        return;
    for (int corner = 0; corner < 4; corner++) {
        const ptrdiff_t cy = (ptrdiff_t)top + corner / 2, cx = (ptrdiff_t)left + corner % 2;
        if (cy < 0 || cy >= height || cx < 0 || cx >= width)
            continue;
        const float *from = augmenter->pixels + (size_t)(cy * width + cx) * channels;
        for (size_t c = 0; c < channels; c++)
            to[c] += weights[corner] * from[c];
    }
}

static void apply_resampled(const cohort_augmenter *augmenter, const affine *map)
{
    float *to = (float *)(void *)augmenter->out;
    for (size_t y = 0; y < augmenter->height; y++)
        for (size_t x = 0; x < augmenter->width; x++, to += augmenter->channels)
            sample_pixel(to, augmenter,
                         (float)(map->yy * (double)y + map->yx * (double)x + map->y0),
                         (float)(map->xy * (double)y + map->xx * (double)x + map->x0));
}

void cohort_augmenter_apply(const void **out, cohort_element *element, cohort_augmenter *augmenter,
                            const void *image, uint64_t seed, uint64_t epoch, uint64_t row)
{
    const affine map = draw_map(augmenter, seed, epoch, row);
    *out = augmenter->out;
    if (augmenter->resampled) {
        *element = COHORT_F32;
        cohort_to_float(augmenter->pixels, image, augmenter->element,
                        augmenter->height * augmenter->width * augmenter->channels);
        apply_resampled(augmenter, &map);
    } else {
        *element = augmenter->element;
        apply_moves(augmenter, &map, image);
    }
}
