#include "base/shape.h"

#include <stdint.h>
#include <stdio.h>

bool cohort_size_multiply(size_t *product, size_t a, size_t b)
{
    return !__builtin_mul_overflow(a, b, product);
}

size_t cohort_size_align(size_t value, size_t unit)
{
    return (value + unit - 1) & ~(unit - 1);
}

size_t cohort_part_begin(size_t total, size_t index, size_t parts)
{
    return (size_t)((unsigned __int128)total * index / parts);
}

size_t cohort_shape_count(const cohort_shape *shape)
{
    size_t count = 1;
    for (size_t i = 0; i < shape->dim_count; i++)
        if (!cohort_size_multiply(&count, count, shape->dims[i]))
            return SIZE_MAX;
    return count;
}

bool cohort_shape_equal(const cohort_shape *a, const cohort_shape *b)
{
    if (a->dim_count != b->dim_count)
        return false;
    for (size_t i = 0; i < a->dim_count; i++)
        if (a->dims[i] != b->dims[i])
            return false;
    return true;
}

const char *cohort_shape_text(char *text, const cohort_shape *shape)
{
    size_t used = 0;
    text[0] = '\0';
    for (size_t i = 0; i < shape->dim_count && used < COHORT_SHAPE_TEXT; i++)
        used += (size_t)snprintf(text + used, COHORT_SHAPE_TEXT - used, i ? "x%zu" : "%zu",
                                 shape->dims[i]);
    if (shape->dim_count == 0)
        snprintf(text, COHORT_SHAPE_TEXT, "scalar");
    return text;
}
