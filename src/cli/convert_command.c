#include "cli/command.h"
#include "cli/convert/convert.h"

const cohort_command cohort_command_convert = {
    .name = "convert",
    .usage = "FORMAT … --output FILE.h5",
    .summary = "Convert data sets of other kinds into HDF5",
    .run_raw = cohort_cli_convert,
};
