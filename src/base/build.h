/* Which build of the program this is. */
#ifndef COHORT_BASE_BUILD_H
#define COHORT_BASE_BUILD_H

#include <stdint.h>

/* A hash of the linker's build id of the object (program or shared library) that this
 * function is in: another for other sources, options or compilers. 0 if it has none. */
uint64_t cohort_build_number(void);

#endif
