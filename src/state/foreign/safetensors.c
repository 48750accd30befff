/* Reading and writing safetensors: 8 bytes with the length of a JSON header, the header, the
 * arrays (https://github.com/huggingface/safetensors, "Format"). */
#include <string.h>

#include "base/json.h"
#include "state/foreign/formats.h"

enum { HEADER_MAX = 100 << 20, ALIGNMENT = 8, DEPTH_MAX = 16 };

static const struct {
    const char *name;
    cohort_source_type type;
} types[] = {
    {"F16", COHORT_SOURCE_F16},   {"BF16", COHORT_SOURCE_BF16}, {"F32", COHORT_SOURCE_F32},
    {"F64", COHORT_SOURCE_F64},   {"I8", COHORT_SOURCE_I8},     {"U8", COHORT_SOURCE_U8},
    {"I16", COHORT_SOURCE_I16},   {"U16", COHORT_SOURCE_U16},   {"I32", COHORT_SOURCE_I32},
    {"U32", COHORT_SOURCE_U32},   {"I64", COHORT_SOURCE_I64},   {"U64", COHORT_SOURCE_U64},
    {"BOOL", COHORT_SOURCE_BOOL},
};

/* The header as it is read. */
typedef struct json_cursor {
    const char *at, *end, *begin;
    const char *path;
    char text[1024]; /* the latest string */
    size_t length;
} json_cursor;

static cohort_status malformed(const json_cursor *json, const char *wanted)
{
    return COHORT_FAIL(COHORT_DATA, "%s: byte %zu of the header: %s; it is damaged", json->path,
                       (size_t)(json->at - json->begin), wanted);
}

static int peek(json_cursor *json)
{
    while (json->at < json->end && strchr(" \t\r\n", *json->at) && *json->at)
        json->at++;
    return json->at < json->end ? (unsigned char)*json->at : -1;
}

/* Whether C is next, which is then taken. */
static bool take(json_cursor *json, int c)
{
    if (peek(json) != c)
        return false;
    json->at++;
    return true;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 32;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool take_hex(unsigned *code, json_cursor *json)
{
    *code = 0;
    if (json->end - json->at < 4)
        return false;
    for (int i = 0; i < 4; i++) {
        const int digit = hex_digit(*json->at++);
        if (digit < 0)
            return false;
        *code = *code << 4 | (unsigned)digit;
    }
    return true;
}

static bool put_byte(json_cursor *json, unsigned byte)
{
    if (json->length + 1 >= sizeof json->text)
        return false;
    json->text[json->length++] = (char)byte;
    return true;
}

static bool put_utf8(json_cursor *json, unsigned code)
{
    if (code < 0x80)
        return put_byte(json, code);
    if (code < 0x800)
        return put_byte(json, 0xc0 | code >> 6) && put_byte(json, 0x80 | (code & 63));
    if (code < 0x10000)
        return put_byte(json, 0xe0 | code >> 12) && put_byte(json, 0x80 | (code >> 6 & 63)) &&
               put_byte(json, 0x80 | (code & 63));
    return put_byte(json, 0xf0 | code >> 18) && put_byte(json, 0x80 | (code >> 12 & 63)) &&
           put_byte(json, 0x80 | (code >> 6 & 63)) && put_byte(json, 0x80 | (code & 63));
}

static bool take_escape(json_cursor *json)
{
    static const char names[] = "\"\\/bfnrt", meanings[] = "\"\\/\b\f\n\r\t";
    if (json->at >= json->end)
        return false;
    const char c = *json->at++;
    const char *found = c ? strchr(names, c) : NULL;
    if (found)
        return put_byte(json, (unsigned char)meanings[found - names]);
    unsigned code, low;
    if (c != 'u' || !take_hex(&code, json) || code == 0)
        return false;
    if (code < 0xd800 || code > 0xdfff)
        return put_utf8(json, code);
    if (code > 0xdbff || json->end - json->at < 6 || *json->at++ != '\\' || *json->at++ != 'u' ||
        !take_hex(&low, json) || low < 0xdc00 || low > 0xdfff)
        return false;
    return put_utf8(json, 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00));
}

/* A string into json->text. */
static cohort_status take_string(json_cursor *json)
{
    json->length = 0;
    if (!take(json, '"'))
        return malformed(json, "a string is missing");
    while (json->at < json->end && *json->at != '"') {
        const unsigned char c = (unsigned char)*json->at++;
        if (c < 32 || !(c == '\\' ? take_escape(json) : put_byte(json, c)))
            return malformed(json, "a string is too long or malformed");
    }
    if (!take(json, '"'))
        return malformed(json, "a string does not end");
    json->text[json->length] = '\0';
    return COHORT_OK;
}

static cohort_status take_size(size_t *out, json_cursor *json)
{
    int c = peek(json);
    *out = 0;
    if (c < '0' || c > '9')
        return malformed(json, "a whole number is missing");
    while (json->at < json->end && *json->at >= '0' && *json->at <= '9') {
        const size_t digit = (size_t)(*json->at++ - '0');
        if (*out > (SIZE_MAX / 4 - digit) / 10)
            return malformed(json, "a number is too large");
        *out = *out * 10 + digit;
    }
    return COHORT_OK;
}

/* [1, 2, …] of at most MOST numbers. */
static cohort_status take_sizes(size_t *out, size_t *count, size_t most, json_cursor *json)
{
    *count = 0;
    if (!take(json, '['))
        return malformed(json, "a list is missing");
    if (take(json, ']'))
        return COHORT_OK;
    do {
        if (*count == most)
            return malformed(json, "a list is too long");
        COHORT_TRY(take_size(&out[(*count)++], json));
    } while (take(json, ','));
    return take(json, ']') ? COHORT_OK : malformed(json, "a list does not end");
}

/* {"key": "value", …}, which says nothing about the arrays. */
static cohort_status skip_metadata(json_cursor *json)
{
    if (!take(json, '{'))
        return malformed(json, "an object is missing");
    if (take(json, '}'))
        return COHORT_OK;
    do {
        /* Values may be long: they are passed over, not kept. */
        COHORT_TRY(take_string(json));
        if (!take(json, ':') || !take(json, '"'))
            return malformed(json, "__metadata__ maps strings to strings");
        while (json->at < json->end && *json->at != '"')
            json->at += *json->at == '\\' && json->end - json->at > 1 ? 2 : 1;
        if (!take(json, '"'))
            return malformed(json, "a string does not end");
    } while (take(json, ','));
    return take(json, '}') ? COHORT_OK : malformed(json, "an object does not end");
}

static bool find_type(cohort_source_type *type, const char *name)
{
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (strcmp(types[i].name, name) == 0) {
            *type = types[i].type;
            return true;
        }
    return false;
}

/* {"dtype": …, "shape": …, "data_offsets": [begin, end]}, in any order. */
static cohort_status take_array(cohort_source_array *array, size_t offsets[2],
                                const cohort_source *source, json_cursor *json)
{
    unsigned seen = 0;
    size_t count = 0;
    if (!take(json, '{'))
        return malformed(json, "an object is missing");
    do {
        COHORT_TRY(take_string(json));
        if (!take(json, ':'))
            return malformed(json, "a ':' is missing");
        unsigned key = 0;
        if (strcmp(json->text, "dtype") == 0) {
            key = 1;
            COHORT_TRY(take_string(json));
            COHORT_TRY(cohort_source_check_name(source, json->text, json->length));
            COHORT_REQUIRE(find_type(&array->type, json->text), COHORT_DATA,
                           "%s: arrays of type %s cannot be read", json->path, json->text);
        } else if (strcmp(json->text, "shape") == 0) {
            key = 2;
            COHORT_TRY(
                take_sizes(array->shape.dims, &array->shape.dim_count, COHORT_SHAPE_MAX, json));
        } else if (strcmp(json->text, "data_offsets") == 0) {
            key = 4;
            COHORT_TRY(take_sizes(offsets, &count, 2, json));
        }
        if (key == 0 || seen & key)
            return malformed(json, "a key is unknown or there twice");
        seen |= key;
    } while (take(json, ','));
    if (seen != 7 || count != 2 || !take(json, '}'))
        return malformed(json, "an array needs dtype, shape and data_offsets");
    return COHORT_OK;
}

static cohort_status take_entry(cohort_source *source, size_t *used, json_cursor *json,
                                const unsigned char *data, size_t data_bytes)
{
    char name[sizeof json->text];
    cohort_source_array array = {0};
    size_t offsets[2] = {0};
    COHORT_TRY(take_string(json));
    const size_t length = json->length;
    COHORT_TRY(cohort_source_check_name(source, json->text, length));
    memcpy(name, json->text, length + 1);
    if (!take(json, ':'))
        return malformed(json, "a ':' is missing");
    if (strcmp(name, "__metadata__") == 0)
        return skip_metadata(json);
    COHORT_TRY(take_array(&array, offsets, source, json));
    COHORT_REQUIRE(offsets[0] <= offsets[1] && offsets[1] <= data_bytes, COHORT_DATA,
                   "%s: array %s lies outside the file, which is cut short or damaged",
                   source->path, name);
    array.bytes = data + offsets[0];
    *used += offsets[1] - offsets[0];
    return cohort_source_add(source, name, length, &array, offsets[1] - offsets[0]);
}

cohort_status cohort_source_safetensors(cohort_source *source, const unsigned char *bytes,
                                        size_t count)
{
    uint64_t header = 0;
    COHORT_REQUIRE(count >= 8, COHORT_DATA, "%s is cut short: it has no header", source->path);
    for (size_t i = 8; i-- > 0;)
        header = header << 8 | bytes[i];
    COHORT_REQUIRE(header <= HEADER_MAX && header <= count - 8, COHORT_DATA,
                   "%s is no safetensors file, or cut short: its header would have %llu bytes",
                   source->path, (unsigned long long)header);
    const char *text = (const char *)bytes + 8;
    json_cursor json = {.at = text, .begin = text, .end = text + header, .path = source->path};
    const size_t data_bytes = count - 8 - (size_t)header;
    size_t used = 0;
    if (!take(&json, '{'))
        return malformed(&json, "an object is missing");
    if (!take(&json, '}')) {
        do
            COHORT_TRY(take_entry(source, &used, &json, bytes + 8 + header, data_bytes));
        while (take(&json, ','));
        if (!take(&json, '}'))
            return malformed(&json, "the object does not end");
    }
    if (peek(&json) != -1)
        return malformed(&json, "there is something behind the object");
    /* The format leaves no holes, so any other sum means overlaps or missing bytes. */
    COHORT_REQUIRE(used == data_bytes, COHORT_DATA,
                   "%s: the arrays have %zu bytes, the file %zu; it is damaged", source->path, used,
                   data_bytes);
    return COHORT_OK;
}

/* ---- Writing ---- */

/* Padded with blanks, so that the arrays are aligned. */
static void write_header(cohort_text *text, const cohort_foreign_map *map)
{
    size_t offset = 0;
    cohort_json_begin_object(text, NULL);
    cohort_json_begin_object(text, "__metadata__");
    cohort_json_string(text, "format", "pt");
    cohort_json_end_object(text);
    for (size_t i = 0; i < map->count; i++) {
        const cohort_shape *shape = &map->items[i].shape;
        cohort_json_begin_object(text, map->items[i].name);
        cohort_json_string(text, "dtype", "F32");
        cohort_json_begin_array(text, "shape");
        for (size_t k = 0; k < shape->dim_count; k++)
            cohort_json_integer(text, NULL, (int64_t)shape->dims[k]);
        cohort_json_end_array(text);
        cohort_json_begin_array(text, "data_offsets");
        cohort_json_integer(text, NULL, (int64_t)offset);
        offset += cohort_shape_count(shape) * sizeof(float);
        cohort_json_integer(text, NULL, (int64_t)offset);
        cohort_json_end_array(text);
        cohort_json_end_object(text);
    }
    cohort_json_end_object(text);
    while (text->length % ALIGNMENT)
        cohort_text_append_bytes(text, " ", 1);
}

static cohort_status write_arrays(cohort_output *output, const cohort_foreign_map *map,
                                  cohort_model *model)
{
    for (size_t i = 0; i < map->count; i++) {
        const size_t count = cohort_shape_count(&map->items[i].shape);
        float *values = NULL;
        COHORT_TRY(COHORT_ALLOCATE(&values, count));
        cohort_foreign_take(values, map, i, model);
        cohort_status status = cohort_output_floats(output, values, count);
        cohort_free(values);
        COHORT_TRY(status);
    }
    return COHORT_OK;
}

cohort_status cohort_foreign_write_safetensors(cohort_output *output,
                                               const cohort_foreign_network *network)
{
    cohort_foreign_map map = {0};
    cohort_text header = {0};
    unsigned char length[8];
    cohort_status status = COHORT_OK;
    COHORT_TRY_DONE(status, cohort_foreign_map_torch(&map, network->model));
    write_header(&header, &map);
    COHORT_TRY_DONE(status, cohort_text_status(&header));
    for (size_t i = 0; i < 8; i++)
        length[i] = (unsigned char)((uint64_t)header.length >> 8 * i);
    COHORT_TRY_DONE(status, cohort_output_bytes(output, length, sizeof length));
    COHORT_TRY_DONE(status, cohort_output_bytes(output, header.data, header.length));
    COHORT_TRY_DONE(status, write_arrays(output, &map, network->model));
done:
    cohort_text_clear(&header);
    cohort_foreign_map_clear(&map);
    return status;
}
