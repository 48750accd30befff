/* Asking a network. */
#include <omp.h>
#include <string.h>

#include "base/memory.h"
#include "train/net_private.h"

cohort_status cohort_predictor_init(cohort_predictor *predictor, const cohort_recipe *recipe,
                                    cohort_model *model, const cohort_loss *loss, size_t batch)
{
    const cohort_shape *shape = &cohort_model_input(model)->shape;
    const cohort_data_recipe *data = &recipe->data;
    *predictor = (cohort_predictor){.model = model, .loss = loss, .batch = batch};
    COHORT_TRY(cohort_scaling_make(&predictor->scaling, data->scale, data->mean.items,
                                   data->mean.count, data->std.items, data->std.count,
                                   shape->dims[shape->dim_count - 1]));
    COHORT_TRY(cohort_allocate(&predictor->x, batch, cohort_shape_count(shape) * sizeof(float)));
    return COHORT_ALLOCATE(&predictor->rows, batch);
}

void cohort_predictor_clear(cohort_predictor *predictor)
{
    cohort_scaling_clear(&predictor->scaling);
    cohort_free(predictor->x);
    cohort_free(predictor->rows);
}

static cohort_status check_input(const cohort_predictor *predictor, const cohort_array *x,
                                 const float *y)
{
    const cohort_flow *input = cohort_model_input(predictor->model);
    char have[COHORT_SHAPE_TEXT], want[COHORT_SHAPE_TEXT];
    COHORT_REQUIRE(x->dim_count >= 1 && x->dim_count <= COHORT_SHAPE_MAX + 1 &&
                       (unsigned)x->type <= COHORT_TYPE_FLOAT64,
                   COHORT_USAGE, "x has %zu dimensions or no known type; see cohort_array",
                   x->dim_count);
    cohort_shape shape = {.dim_count = x->dim_count - 1};
    for (size_t i = 0; i < shape.dim_count; i++)
        shape.dims[i] = x->dims[i + 1];
    if (shape.dim_count == 0)
        shape = cohort_shape_of(1);
    COHORT_REQUIRE(cohort_shape_equal(&shape, &input->shape), COHORT_USAGE,
                   "the samples of x have the shape %s, but the network was made for %s",
                   cohort_shape_text(have, &shape), cohort_shape_text(want, &input->shape));
    COHORT_REQUIRE(!input->tokens || cohort_array_element(x->type) != COHORT_F32, COHORT_USAGE,
                   "the network reads tokens: x must be int32 or uint8");
    COHORT_REQUIRE(x->dims[0] == 0 || (x->values && y), COHORT_USAGE, "x.values or y is NULL");
    return COHORT_OK;
}

/* COUNT samples from BEGIN on as the network reads them. */
static cohort_status prepare(cohort_predictor *predictor, const cohort_array *x, size_t begin,
                             size_t count)
{
    const cohort_flow *input = cohort_model_input(predictor->model);
    const size_t width = cohort_shape_count(&input->shape), elements = count * width,
                 limit = cohort_model_vocabulary(predictor->model);
    for (size_t i = 0; i < count; i++)
        predictor->rows[i] = begin + i;
    if (!input->tokens) {
        cohort_array_take(predictor->x, COHORT_F32, x, begin * width, elements);
        cohort_scale(predictor->x, predictor->x, COHORT_F32, elements, &predictor->scaling);
        const size_t at = cohort_find_nonfinite(predictor->x, elements);
        COHORT_REQUIRE(at == elements, COHORT_DATA, "row %zu of x holds a NaN or infinity",
                       begin + at / width);
        return COHORT_OK;
    }
    int32_t least = 0, most = 0;
    cohort_array_take(predictor->x, COHORT_I32, x, begin * width, elements);
    cohort_range_i32(&least, &most, predictor->x, elements);
    COHORT_REQUIRE(least >= 0 && (!limit || (size_t)most < limit), COHORT_DATA,
                   "x holds the token %d, but the vocabulary has %zu words (0 to %zu)",
                   least < 0 ? least : most, limit, limit - 1);
    return COHORT_OK;
}

static cohort_status predict(float *y, cohort_predictor *predictor, const cohort_array *x)
{
    const size_t outputs = cohort_shape_count(cohort_model_output_shape(predictor->model));
    COHORT_TRY(check_input(predictor, x, y));
    for (size_t begin = 0; begin < x->dims[0]; begin += predictor->batch) {
        const size_t left = x->dims[0] - begin,
                     count = left < predictor->batch ? left : predictor->batch;
        const cohort_pass pass = {.batch = count, .samples = predictor->rows};
        COHORT_TRY(prepare(predictor, x, begin, count));
        float *logits = cohort_model_forward(predictor->model, predictor->x, &pass);
        cohort_loss_activate(logits, predictor->loss, count);
        memcpy(y + begin * outputs, logits, count * outputs * sizeof *y);
    }
    return COHORT_OK;
}

cohort_status cohort_net_predict(float *y, cohort_net *net, const cohort_array *x)
{
    const int before = omp_get_max_threads();
    omp_set_num_threads((int)net->threads);
    const cohort_status status = predict(y, &net->predictor, x);
    omp_set_num_threads(before);
    return status;
}
