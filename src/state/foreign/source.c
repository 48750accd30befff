#include "state/foreign/source.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { NAME_MAX_BYTES = 1024 };

static const unsigned char type_bytes[] = {2, 2, 4, 8, 1, 1, 2, 2, 4, 4, 8, 8, 1};

size_t cohort_source_type_bytes(cohort_source_type type)
{
    return type_bytes[type];
}

bool cohort_source_is_float(cohort_source_type type)
{
    return type <= COHORT_SOURCE_F64;
}

void cohort_source_clear(cohort_source *source)
{
    for (size_t i = 0; i < source->inflated_count; i++)
        cohort_free(source->inflated[i]);
    free(source->inflated);
    free(source->items);
    cohort_dictionary_destroy(source->names);
    cohort_arena_destroy(source->arena);
    *source = (cohort_source){0};
}

const cohort_source_array *cohort_source_find(const cohort_source *source, const char *name)
{
    const uint32_t id = source->names ? cohort_dictionary_find(source->names, name, strlen(name))
                                      : COHORT_DICTIONARY_NONE;
    return id == COHORT_DICTIONARY_NONE ? NULL : &source->items[id];
}

cohort_status cohort_source_check_name(const cohort_source *source, const char *name, size_t length)
{
    bool good = length < NAME_MAX_BYTES;
    for (size_t i = 0; i < length && good; i++)
        good = (unsigned char)name[i] >= ' ' && name[i] != 127;
    COHORT_REQUIRE(good, COHORT_DATA,
                   "%s: a name is too long or holds a control character; the file is damaged",
                   source->path);
    return COHORT_OK;
}

cohort_status cohort_source_add(cohort_source *source, const char *name, size_t length,
                                const cohort_source_array *array, size_t byte_count)
{
    char *copy = NULL, shape[COHORT_SHAPE_TEXT];
    size_t needed = 0;
    uint32_t id = 0;
    if (!source->arena)
        COHORT_TRY(cohort_arena_create(&source->arena));
    if (!source->names)
        COHORT_TRY(cohort_dictionary_create(&source->names));
    COHORT_TRY(cohort_source_check_name(source, name, length));
    COHORT_TRY(COHORT_TAKE(&copy, source->arena, length + 1));
    memcpy(copy, name, length);
    COHORT_REQUIRE(cohort_size_multiply(&needed, cohort_shape_count(&array->shape),
                                        cohort_source_type_bytes(array->type)) &&
                       needed == byte_count,
                   COHORT_DATA, "%s: array %s of shape %s has %zu bytes; the file is damaged",
                   source->path, copy, cohort_shape_text(shape, &array->shape), byte_count);
    COHORT_TRY(cohort_dictionary_add(&id, source->names, copy, length));
    COHORT_REQUIRE(id == source->count, COHORT_DATA,
                   "%s: there are two arrays %s; the file is damaged", source->path, copy);
    COHORT_TRY(cohort_grow((void **)&source->items, &source->capacity, source->count + 1,
                           sizeof *source->items));
    source->items[source->count] = *array;
    source->items[source->count++].name = copy;
    return COHORT_OK;
}

/* ---- Elements ---- */

static float from_half(uint16_t bits)
{
    const unsigned exponent = bits >> 10 & 31, fraction = bits & 1023;
    const float sign = bits >> 15 ? -1.0f : 1.0f;
    if (exponent == 31)
        return fraction ? NAN : sign * INFINITY;
    return sign * (exponent ? ldexpf((float)(fraction + 1024), (int)exponent - 25)
                            : ldexpf((float)fraction, -24));
}

static float as_float(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static double as_double(uint64_t bits)
{
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static uint64_t bits_at(const cohort_source_array *array, size_t index)
{
    const size_t width = type_bytes[array->type];
    const unsigned char *bytes = array->bytes + index * width;
    uint64_t bits = 0;
    for (size_t i = 0; i < width; i++)
        bits = bits << 8 | bytes[array->big_endian ? i : width - 1 - i];
    return bits;
}

static double value_at(const cohort_source_array *array, size_t index)
{
    const uint64_t bits = bits_at(array, index);
    switch (array->type) {
    case COHORT_SOURCE_F16:
        return (double)from_half((uint16_t)bits);
    case COHORT_SOURCE_BF16:
        return (double)as_float((uint32_t)bits << 16);
    case COHORT_SOURCE_F32:
        return (double)as_float((uint32_t)bits);
    case COHORT_SOURCE_F64:
        return as_double(bits);
    case COHORT_SOURCE_I8:
        return (int8_t)bits;
    case COHORT_SOURCE_I16:
        return (int16_t)bits;
    case COHORT_SOURCE_I32:
        return (int32_t)bits;
    case COHORT_SOURCE_I64:
        return (double)(int64_t)bits;
    default:
        return (double)bits;
    }
}

/* Where element INDEX in row-major order stands in a column-major array. */
static size_t column_major_index(const cohort_shape *shape, size_t index)
{
    size_t strides[COHORT_SHAPE_MAX], at = 0, stride = 1;
    for (size_t i = 0; i < shape->dim_count; i++) {
        strides[i] = stride;
        stride *= shape->dims[i];
    }
    for (size_t i = shape->dim_count; i-- > 0;) {
        at += index % shape->dims[i] * strides[i];
        index /= shape->dims[i];
    }
    return at;
}

static size_t place_of(const cohort_source_array *array, size_t index)
{
    return array->column_major ? column_major_index(&array->shape, index) : index;
}

void cohort_source_read(double *out, const cohort_source_array *array, size_t begin, size_t count)
{
    for (size_t i = 0; i < count; i++)
        out[i] = value_at(array, place_of(array, begin + i));
}

void cohort_source_read_floats(float *out, const cohort_source_array *array)
{
    const size_t count = cohort_shape_count(&array->shape);
    for (size_t i = 0; i < count; i++) {
        const size_t place = place_of(array, i);
        out[i] = array->type == COHORT_SOURCE_F32 ? as_float((uint32_t)bits_at(array, place))
                                                  : (float)value_at(array, place);
    }
}

/* ---- Files ---- */

cohort_status cohort_source_load(unsigned char **bytes, size_t *count, const char *path,
                                 size_t limit)
{
    struct stat info;
    *bytes = NULL;
    FILE *file = fopen(path, "rb");
    COHORT_REQUIRE(file, COHORT_DATA, "cannot read %s: %s", path, strerror(errno));
    cohort_status status = COHORT_OK;
    COHORT_REQUIRE_DONE(status, fstat(fileno(file), &info) == 0 && S_ISREG(info.st_mode),
                        COHORT_DATA, "%s is not a file", path);
    COHORT_REQUIRE_DONE(status, (size_t)info.st_size <= limit, COHORT_DATA,
                        "%s has %zu bytes, which is more than these tensors can be (%zu); is it "
                        "of another network?",
                        path, (size_t)info.st_size, limit);
    *count = (size_t)info.st_size;
    COHORT_TRY_DONE(status, cohort_allocate((void **)bytes, *count + 1, 1));
    COHORT_REQUIRE_DONE(status, fread(*bytes, 1, *count, file) == *count, COHORT_DATA,
                        "cannot read %s: %s", path, ferror(file) ? strerror(errno) : "cut short");
done:
    fclose(file);
    if (status != COHORT_OK) {
        cohort_free(*bytes);
        *bytes = NULL;
    }
    return status;
}
