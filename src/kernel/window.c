#include "kernel/window.h"

static bool plan_axis(size_t *out, size_t *pad, size_t in, size_t size, size_t stride, bool same)
{
    *pad = 0;
    if (!same) {
        if (in < size)
            return false;
        *out = (in - size) / stride + 1;
        return true;
    }
    *out = in / stride + (in % stride != 0);
    const size_t span = *out ? (*out - 1) * stride + size : 0;
    if (span > in)
        *pad = (span - in) / 2;
    return *out > 0;
}

bool cohort_window_plan(cohort_window *window, size_t height, size_t width, const size_t size[2],
                        const size_t strides[2], bool same)
{
    *window = (cohort_window){.in_height = height,
                              .in_width = width,
                              .height = size[0],
                              .width = size[1],
                              .stride_y = strides[0],
                              .stride_x = strides[1]};
    return plan_axis(&window->out_height, &window->pad_top, height, size[0], strides[0], same) &&
           plan_axis(&window->out_width, &window->pad_left, width, size[1], strides[1], same);
}
