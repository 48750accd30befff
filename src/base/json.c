#include "base/json.h"

#include <inttypes.h>
#include <math.h>

static void quoted(cohort_text *text, const char *value)
{
    cohort_text_append_bytes(text, "\"", 1);
    for (const unsigned char *at = (const unsigned char *)value; *at; at++) {
        if (*at == '"' || *at == '\\')
            cohort_text_append(text, "\\%c", *at);
        else if (*at < 0x20)
            cohort_text_append(text, "\\u%04x", *at);
        else
            cohort_text_append_bytes(text, (const char *)at, 1);
    }
    cohort_text_append_bytes(text, "\"", 1);
}

static void begin_value(cohort_text *text, const char *name)
{
    char last = text->length ? text->data[text->length - 1] : '\0';
    if (last && last != '{' && last != '[' && last != '\n')
        cohort_text_append(text, ",");
    if (name) {
        quoted(text, name);
        cohort_text_append(text, ":");
    }
}

void cohort_json_begin_object(cohort_text *text, const char *name)
{
    begin_value(text, name);
    cohort_text_append(text, "{");
}

void cohort_json_end_object(cohort_text *text)
{
    cohort_text_append(text, "}");
}

void cohort_json_begin_array(cohort_text *text, const char *name)
{
    begin_value(text, name);
    cohort_text_append(text, "[");
}

void cohort_json_end_array(cohort_text *text)
{
    cohort_text_append(text, "]");
}

void cohort_json_string(cohort_text *text, const char *name, const char *value)
{
    begin_value(text, name);
    quoted(text, value);
}

void cohort_json_integer(cohort_text *text, const char *name, int64_t value)
{
    begin_value(text, name);
    cohort_text_append(text, "%" PRId64, value);
}

void cohort_json_number(cohort_text *text, const char *name, double value)
{
    char number[32];
    begin_value(text, name);
    cohort_text_append(text, "%s", isfinite(value) ? cohort_number_text(number, value) : "null");
}

void cohort_json_boolean(cohort_text *text, const char *name, bool value)
{
    begin_value(text, name);
    cohort_text_append(text, value ? "true" : "false");
}
