/* Writing JSON into a cohort_text, one object at a time. */
#ifndef COHORT_BASE_JSON_H
#define COHORT_BASE_JSON_H

#include <stdbool.h>
#include <stdint.h>

#include "base/text.h"

/* Commas are set by looking at the text so far, so calls need no order beyond
 * the nesting. NAME is NULL inside arrays. Non-finite numbers become null. */
void cohort_json_begin_object(cohort_text *text, const char *name);
void cohort_json_end_object(cohort_text *text);
void cohort_json_begin_array(cohort_text *text, const char *name);
void cohort_json_end_array(cohort_text *text);
void cohort_json_string(cohort_text *text, const char *name, const char *value);
void cohort_json_integer(cohort_text *text, const char *name, int64_t value);
void cohort_json_number(cohort_text *text, const char *name, double value);
void cohort_json_boolean(cohort_text *text, const char *name, bool value);

#endif
