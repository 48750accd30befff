/* Loads a checkpoint (or a run folder) and predicts: one sample a line on standard input, its
 * numbers separated by spaces; the outputs of each go to a line of standard output. */
#include <stdio.h>
#include <stdlib.h>

#include <cohort/cohort.h>

int main(int argc, char **argv)
{
    cohort_net *net = NULL;
    cohort_net_info info;
    if (argc != 2 || cohort_net_load(&net, NULL, argv[1]) != COHORT_OK) {
        fprintf(stderr, "%s\n", argc == 2 ? cohort_error_message() : "usage: predict MODEL");
        return 2;
    }
    cohort_net_describe(&info, net);
    float *x = malloc(info.inputs * sizeof *x), *y = malloc(info.outputs * sizeof *y);
    cohort_array sample = {x, COHORT_TYPE_FLOAT32, info.input_dim_count + 1, {1}};
    for (size_t i = 0; i < info.input_dim_count; i++)
        sample.dims[i + 1] = info.input_dims[i];
    cohort_status status = x && y ? COHORT_OK : COHORT_MEMORY;
    for (size_t have = 0; status == COHORT_OK && scanf("%f", &x[have]) == 1;) {
        if (++have < info.inputs)
            continue;
        have = 0;
        status = cohort_net_predict(y, net, &sample);
        for (size_t i = 0; i < info.outputs && status == COHORT_OK; i++)
            printf(i + 1 < info.outputs ? "%.6g " : "%.6g\n", y[i]);
    }
    if (status != COHORT_OK)
        fprintf(stderr, "%s\n", cohort_error_message());
    cohort_net_destroy(net);
    free(x);
    free(y);
    return cohort_status_exit_code(status);
}
