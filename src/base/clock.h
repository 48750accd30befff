/* Time. */
#ifndef COHORT_BASE_CLOCK_H
#define COHORT_BASE_CLOCK_H

/* Seconds on a clock that never jumps. */
double cohort_clock_seconds(void);
/* Seconds of CPU that the calling thread has used: what others on the machine take is not
 * in it. */
double cohort_clock_cpu_seconds(void);
/* Seconds since the process was started (from the kernel's record of it). */
double cohort_clock_since_launch(void);
/* "1h 02m", "3m 05s", "12s" into TEXT (16 bytes), returned. */
const char *cohort_duration_text(char *text, double seconds);

#endif
