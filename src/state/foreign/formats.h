/* What the writers of formats share, and the writers. */
#ifndef COHORT_STATE_FOREIGN_FORMATS_H
#define COHORT_STATE_FOREIGN_FORMATS_H

#include "state/foreign.h"
#include "state/foreign/map.h"
#include "state/foreign/source.h"

/* A file that is written beside its name and renamed to it when complete. */
typedef struct cohort_output cohort_output;
COHORT_NODISCARD cohort_status cohort_output_create(cohort_output **out, const char *path);
/* Failures are COHORT_DATA and name the path. */
COHORT_NODISCARD cohort_status cohort_output_bytes(cohort_output *output, const void *bytes,
                                                   size_t count);
/* Little-endian, whatever the machine is. */
COHORT_NODISCARD cohort_status cohort_output_floats(cohort_output *output, const float *values,
                                                    size_t count);
/* Bytes written so far. */
uint64_t cohort_output_size(const cohort_output *output);
COHORT_NODISCARD cohort_status cohort_output_finish(cohort_output *output);
/* Frees; removes what was not finished. NULL is fine. */
void cohort_output_destroy(cohort_output *output);

/* Each writes NETWORK; COHORT_USAGE names the layer that the format cannot express. */
typedef cohort_status cohort_foreign_writer(cohort_output *output,
                                            const cohort_foreign_network *network);
COHORT_NODISCARD cohort_foreign_writer cohort_foreign_write_safetensors, cohort_foreign_write_npz,
    cohort_foreign_write_keras, cohort_foreign_write_onnx, cohort_foreign_write_c;

/* Fills the vectors of MODEL from the Keras file PATH, by topology. */
COHORT_NODISCARD cohort_status cohort_foreign_read_keras(cohort_model *model, const char *path);

#endif
