/* Writing protocol buffers: the wire format is small (protobuf.dev/programming-guides/encoding). */
#ifndef COHORT_STATE_FOREIGN_PROTOBUF_H
#define COHORT_STATE_FOREIGN_PROTOBUF_H

#include "base/text.h"

/* Each appends one field to MESSAGE; memory that is missing shows in cohort_text_status. */
void cohort_protobuf_integer(cohort_text *message, unsigned field, int64_t value);
void cohort_protobuf_float(cohort_text *message, unsigned field, float value);
void cohort_protobuf_bytes(cohort_text *message, unsigned field, const void *bytes, size_t count);
void cohort_protobuf_string(cohort_text *message, unsigned field, const char *text);
/* PART as an embedded message; it is cleared. */
void cohort_protobuf_message(cohort_text *message, unsigned field, cohort_text *part);

#endif
