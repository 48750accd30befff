/* Networks in other tools' files.
 *
 * safetensors  PyTorch's names and layouts, float32: see foreign/map.h
 * npz          NumPy arrays under the names and in the layout of a checkpoint, without
 *              "params/" and "state/": "0_conv2d/kernel", "1_batch_norm/moving_mean"
 * keras        what Keras 2 writes with save_weights("….h5") and loads by topology
 * onnx         the network for inference, opset 17
 * c            the same as one file of C99 with a function `predict`
 *
 * Called on one rank. Files are replaced when the new one is complete. */
#ifndef COHORT_STATE_FOREIGN_H
#define COHORT_STATE_FOREIGN_H

#include "nn/loss.h"
#include "nn/model.h"

typedef enum cohort_foreign_format {
    COHORT_FOREIGN_SAFETENSORS,
    COHORT_FOREIGN_NPZ,
    COHORT_FOREIGN_KERAS,
    COHORT_FOREIGN_ONNX,
    COHORT_FOREIGN_C
} cohort_foreign_format;

/* Their names, NULL-terminated. */
extern const char *const cohort_foreign_names[];

/* What is exported. MODEL is bound to its vectors. */
typedef struct cohort_foreign_network {
    cohort_model *model;
    const cohort_recipe *recipe;
    const cohort_loss *loss;    /* onnx and c: what turns logits into predictions */
    const char *const *classes; /* [class_count] or NULL; onnx and c name them */
    size_t class_count;
} cohort_foreign_network;

/* Writes NETWORK to PATH. COHORT_USAGE names the layer that the format cannot express;
 * COHORT_DATA when PATH cannot be written. */
COHORT_NODISCARD cohort_status cohort_foreign_export(const char *path, cohort_foreign_format format,
                                                     const cohort_foreign_network *network);

/* Fills the vectors of MODEL from PATH: a safetensors, npz or Keras file, told by its content.
 * Every tensor must be there, of its shape, and nothing else (PyTorch's num_batches_tracked
 * apart); float16, bfloat16 and float64 are converted. COHORT_DATA names the first that is not,
 * or what is damaged; the vectors are then undefined. */
COHORT_NODISCARD cohort_status cohort_foreign_import(cohort_model *model, const char *path);

#endif
