#include "cli/model_input.h"

static cohort_status open_dataset(cohort_model_input_source *in, cohort_comm *comm,
                                  const cohort_inference *inference, const char *path,
                                  const char *group)
{
    const cohort_recipe *recipe = inference->recipe;
    group = group ? group : recipe->data.test;
    COHORT_TRY(cohort_job_open_data(&in->dataset, comm, recipe,
                                    &(cohort_job_data){.file = path, .group = group}));
    in->count = cohort_dataset_describe(in->dataset)->count;
    const cohort_share share = cohort_job_even_share(comm);
    const cohort_subset all = cohort_subset_all(in->count);
    cohort_status status =
        cohort_job_check_data(in->dataset, path, cohort_model_input(inference->model), NULL);
    if (status == COHORT_OK)
        status = cohort_job_loader(&in->loader, recipe, in->dataset, &all,
                                   inference->batch * (size_t)cohort_comm_size(comm), &share,
                                   inference->model, COHORT_TO_PREDICT);
    COHORT_TRY(cohort_comm_agree(comm, status));
    cohort_loader_seek(in->loader, 0, 0);
    return COHORT_OK;
}

cohort_status cohort_model_input_open(cohort_model_input_source *in, cohort_comm *comm,
                                      const cohort_inference *inference, const char *model,
                                      const char *path, const char *group)
{
    bool is_text = false;
    COHORT_TRY(cohort_text_input_is(&is_text, comm, path));
    in->is_text = is_text && inference->about->input_tokens;
    in->is_table = is_text && !in->is_text && inference->about->table;
    if (!in->is_text && !in->is_table)
        return open_dataset(in, comm, inference, path, group);
    COHORT_REQUIRE(!group, COHORT_USAGE, "--split is for HDF5 input, but %s is text; remove it",
                   path);
    if (in->is_table) {
        COHORT_TRY(cohort_table_input_open(&in->table, comm, inference, path, inference->batch));
        in->count = in->table.count;
        return COHORT_OK;
    }
    COHORT_TRY(cohort_text_input_open(&in->text, comm, inference, model, path, inference->batch));
    in->count = in->text.count;
    return COHORT_OK;
}

void cohort_model_input_close(cohort_model_input_source *in)
{
    cohort_loader_destroy(in->loader);
    cohort_dataset_close(in->dataset);
    cohort_text_input_clear(&in->text);
    cohort_table_input_clear(&in->table);
}

cohort_status cohort_model_input_next(const cohort_batch **batch, cohort_model_input_source *in,
                                      const cohort_comm *comm, size_t begin, size_t count)
{
    const size_t rank = (size_t)cohort_comm_rank(comm), ranks = (size_t)cohort_comm_size(comm);
    if (!in->is_text && !in->is_table)
        return cohort_loader_next(in->loader, batch);
    const size_t from = cohort_part_begin(count, rank, ranks);
    const size_t own = cohort_part_begin(count, rank + 1, ranks) - from;
    if (in->is_table)
        cohort_table_input_take(&in->lines, &in->table, begin + from, own);
    else
        COHORT_TRY(cohort_text_input_take(&in->lines, &in->text, begin + from, own));
    *batch = &in->lines;
    return COHORT_OK;
}

cohort_status cohort_model_input_take(const cohort_batch **batch, cohort_model_input_source *in,
                                      const cohort_comm *comm, size_t index)
{
    if (in->loader)
        cohort_loader_seek(in->loader, 0, index);
    return cohort_model_input_next(batch, in, comm, index, 1);
}
