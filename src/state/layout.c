#include "state/layout.h"

#define INTEGER(field, needed)                                                                     \
    {                                                                                              \
#field, offsetof(cohort_progress, field), false, needed                                    \
    }
#define NUMBER(field)                                                                              \
    {                                                                                              \
#field, offsetof(cohort_progress, field), true, false                                      \
    }

const cohort_progress_field cohort_progress_fields[] = {
    INTEGER(epoch, true),
    INTEGER(step, true),
    INTEGER(seed, true),
    INTEGER(step_in_epoch, false),
    INTEGER(global_batch_size, false),
    INTEGER(train_samples, false),
    INTEGER(chunk_rows, false),
    INTEGER(finished, false),
    NUMBER(epoch_loss),
    NUMBER(epoch_correct),
    NUMBER(epoch_count),
    NUMBER(epoch_seconds),
    NUMBER(best_metric),
    INTEGER(best_epoch, false),
    INTEGER(epochs_without_improvement, false),
    INTEGER(skipped, false),
    INTEGER(on_target, false),
    NUMBER(seconds),
    NUMBER(clip),
};
const size_t cohort_progress_field_count =
    sizeof cohort_progress_fields / sizeof *cohort_progress_fields;

/* A field without a line above would be lost on resuming. */
_Static_assert(sizeof(cohort_progress) ==
                   8 * (sizeof cohort_progress_fields / sizeof *cohort_progress_fields),
               "every field of cohort_progress is saved");
_Static_assert(sizeof(real) == 4, "checkpoints hold float32");

size_t cohort_section_count(const cohort_snapshot *snapshot)
{
    return 2 + (snapshot->optimizer ? cohort_optimizer_slot_count(snapshot->optimizer) : 0) +
           snapshot->attachment_count;
}

cohort_section cohort_section_at(const cohort_snapshot *snapshot, size_t index)
{
    if (index == 0)
        return (cohort_section){&snapshot->params, snapshot->params_data, "params", NULL};
    if (index == 1)
        return (cohort_section){&snapshot->state, snapshot->state_data, "state", NULL};
    const size_t first = cohort_section_count(snapshot) - snapshot->attachment_count;
    if (index >= first) {
        const cohort_attachment *at = &snapshot->attachments[index - first];
        return (cohort_section){&at->tensors, at->data, at->group, at->slot};
    }
    return (cohort_section){&snapshot->params,
                            cohort_optimizer_slot(snapshot->optimizer, index - 2), "optimizer",
                            cohort_optimizer_slot_name(snapshot->optimizer, index - 2)};
}

cohort_status cohort_section_path(cohort_text *path, const cohort_section *section,
                                  const cohort_tensor *tensor)
{
    path->length = 0;
    cohort_text_append(path, "%s/%s%s%s/%s", section->group, section->slot ? section->slot : "",
                       section->slot ? "/" : "", tensor->layer, tensor->name);
    return cohort_text_status(path);
}

hid_t cohort_hdf5_string_type(size_t width)
{
    hid_t type = H5Tcopy(H5T_C_S1);
    if (type >= 0 && H5Tset_size(type, width) >= 0 && H5Tset_cset(type, H5T_CSET_UTF8) >= 0 &&
        (width == H5T_VARIABLE || H5Tset_strpad(type, H5T_STR_NULLPAD) >= 0))
        return type;
    H5Tclose(type);
    return H5I_INVALID_HID;
}
