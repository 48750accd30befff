#include "state/foreign/protobuf.h"

#include <string.h>

enum { VARINT = 0, LENGTH_DELIMITED = 2, FIXED32 = 5 };

static void varint(cohort_text *message, uint64_t value)
{
    do {
        const char byte = (char)((value & 127) | (value > 127 ? 128 : 0));
        cohort_text_append_bytes(message, &byte, 1);
        value >>= 7;
    } while (value);
}

static void tag(cohort_text *message, unsigned field, unsigned wire)
{
    varint(message, field << 3 | wire);
}

void cohort_protobuf_integer(cohort_text *message, unsigned field, int64_t value)
{
    tag(message, field, VARINT);
    varint(message, (uint64_t)value);
}

void cohort_protobuf_float(cohort_text *message, unsigned field, float value)
{
    uint32_t bits;
    char bytes[4];
    memcpy(&bits, &value, sizeof bits);
    for (int i = 0; i < 4; i++)
        bytes[i] = (char)(bits >> 8 * i);
    tag(message, field, FIXED32);
    cohort_text_append_bytes(message, bytes, sizeof bytes);
}

void cohort_protobuf_bytes(cohort_text *message, unsigned field, const void *bytes, size_t count)
{
    tag(message, field, LENGTH_DELIMITED);
    varint(message, count);
    if (count)
        cohort_text_append_bytes(message, bytes, count);
}

void cohort_protobuf_string(cohort_text *message, unsigned field, const char *text)
{
    cohort_protobuf_bytes(message, field, text, strlen(text));
}

void cohort_protobuf_message(cohort_text *message, unsigned field, cohort_text *part)
{
    cohort_protobuf_bytes(message, field, part->data, part->length);
    message->failed |= part->failed;
    cohort_text_clear(part);
}
