/* What `cohort --version` prints: the version, the libraries in use, how it was built. */
#ifndef COHORT_CLI_VERSION_H
#define COHORT_CLI_VERSION_H

#include <stdio.h>

/* The first line is "cohort X.Y.Z" alone. */
void cohort_cli_print_version(FILE *out);

#endif
