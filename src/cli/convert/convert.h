/* cohort convert FORMAT … --output FILE.h5: datasets of other kinds into HDF5. */
#ifndef COHORT_CLI_CONVERT_CONVERT_H
#define COHORT_CLI_CONVERT_CONVERT_H

#include "base/status.h"

/* argv[0] = "convert", argv[1] = the format. Prints help or what was written to standard
 * output. COHORT_USAGE for wrong options, COHORT_DATA for wrong input, which is named with
 * the file and the line, row or offset; the output is then left as it was. */
COHORT_NODISCARD cohort_status cohort_cli_convert(int argc, char **argv);

#endif
