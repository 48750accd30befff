/* NumPy's npz: a ZIP archive (PKWARE's APPNOTE.TXT) of npy files (numpy.lib.format), stored or
 * deflated. */
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "state/foreign/formats.h"

enum {
    LOCAL_BYTES = 30,   /* of a file's header, without its name */
    CENTRAL_BYTES = 46, /* of its entry in the directory */
    END_BYTES = 22,     /* of the record that ends the archive */
    COMMENT_MAX = 65535,
    STORED = 0,
    DEFLATED = 8,
    SHRINKS_MOST = 1032 /* times, by DEFLATE */
};

static uint32_t number(const unsigned char *bytes, size_t width)
{
    uint32_t value = 0;
    for (size_t i = width; i-- > 0;)
        value = value << 8 | bytes[i];
    return value;
}

/* ---- npy ---- */

/* The header's Python literal: {'descr': '<f4', 'fortran_order': False, 'shape': (3, 3), }. */
typedef struct npy_cursor {
    const char *at, *end;
} npy_cursor;

static bool take(npy_cursor *npy, const char *word)
{
    const size_t length = strlen(word);
    while (npy->at < npy->end && (*npy->at == ' ' || *npy->at == '\n'))
        npy->at++;
    if ((size_t)(npy->end - npy->at) < length || memcmp(npy->at, word, length) != 0)
        return false;
    npy->at += length;
    return true;
}

static bool take_quoted(char *out, size_t size, npy_cursor *npy)
{
    size_t length = 0;
    const char *quote = take(npy, "'") ? "'" : take(npy, "\"") ? "\"" : NULL;
    while (quote && npy->at < npy->end && *npy->at != *quote && length + 1 < size)
        out[length++] = *npy->at++;
    out[length] = '\0';
    return quote && take(npy, quote);
}

static bool take_shape(cohort_shape *shape, npy_cursor *npy)
{
    if (!take(npy, "("))
        return false;
    while (!take(npy, ")")) {
        size_t value = 0, digits = 0;
        if (shape->dim_count == COHORT_SHAPE_MAX)
            return false;
        while (npy->at < npy->end && *npy->at >= '0' && *npy->at <= '9' && digits++ < 18)
            value = value * 10 + (size_t)(*npy->at++ - '0');
        if (digits == 0)
            return false;
        shape->dims[shape->dim_count++] = value;
        if (!take(npy, ",") && (npy->at >= npy->end || *npy->at != ')'))
            return false;
    }
    return true;
}

/* "<f4": byte order, kind, bytes. */
static bool read_type(cohort_source_array *array, const char *text)
{
    static const struct {
        const char *name;
        cohort_source_type type;
    } types[] = {
        {"f2", COHORT_SOURCE_F16}, {"f4", COHORT_SOURCE_F32}, {"f8", COHORT_SOURCE_F64},
        {"i1", COHORT_SOURCE_I8},  {"u1", COHORT_SOURCE_U8},  {"i2", COHORT_SOURCE_I16},
        {"u2", COHORT_SOURCE_U16}, {"i4", COHORT_SOURCE_I32}, {"u4", COHORT_SOURCE_U32},
        {"i8", COHORT_SOURCE_I64}, {"u8", COHORT_SOURCE_U64}, {"b1", COHORT_SOURCE_BOOL},
    };
    if (!*text || !strchr("<>|", *text))
        return false;
    array->big_endian = *text == '>';
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (strcmp(types[i].name, text + 1) == 0) {
            array->type = types[i].type;
            return true;
        }
    return false;
}

static cohort_status read_header(cohort_source_array *array, const cohort_source *source,
                                 const char *name, npy_cursor *npy)
{
    unsigned seen = 0;
    bool good = take(npy, "{");
    while (good && !take(npy, "}")) {
        char key[32], type[32];
        unsigned bit = 0;
        good = take_quoted(key, sizeof key, npy) && take(npy, ":");
        if (good && strcmp(key, "descr") == 0) {
            bit = 1;
            good = take_quoted(type, sizeof type, npy);
            COHORT_TRY(cohort_source_check_name(source, type, strlen(type)));
            COHORT_REQUIRE(!good || read_type(array, type), COHORT_DATA,
                           "%s: array %s is of the type %s, which cannot be read; save numbers",
                           source->path, name, type);
        } else if (good && strcmp(key, "fortran_order") == 0) {
            bit = 2;
            array->column_major = take(npy, "True");
            good = array->column_major || take(npy, "False");
        } else if (good && strcmp(key, "shape") == 0) {
            bit = 4;
            good = take_shape(&array->shape, npy);
        }
        good = good && bit && !(seen & bit);
        seen |= bit;
        good = good && (take(npy, ",") || (npy->at < npy->end && *npy->at == '}'));
    }
    COHORT_REQUIRE(good && seen == 7, COHORT_DATA,
                   "%s: the header of array %s is damaged, or it does not hold plain numbers",
                   source->path, name);
    return COHORT_OK;
}

cohort_status cohort_source_npy(cohort_source *source, const char *name, const unsigned char *bytes,
                                size_t count)
{
    static const unsigned char magic[6] = {0x93, 'N', 'U', 'M', 'P', 'Y'};
    cohort_source_array array = {0};
    COHORT_REQUIRE(count >= 12 && memcmp(bytes, magic, sizeof magic) == 0, COHORT_DATA,
                   "%s: %s is no npy array", source->path, name);
    const size_t width = bytes[6] == 1 ? 2 : 4, begin = 8 + width;
    const size_t header = number(bytes + 8, width);
    COHORT_REQUIRE(bytes[6] >= 1 && bytes[6] <= 3 && header <= count - begin, COHORT_DATA,
                   "%s: the header of array %s is damaged or of a version to come", source->path,
                   name);
    npy_cursor npy = {.at = (const char *)bytes + begin,
                      .end = (const char *)bytes + begin + header};
    COHORT_TRY(read_header(&array, source, name, &npy));
    array.bytes = bytes + begin + header;
    return cohort_source_add(source, name, strlen(name), &array, count - begin - header);
}

/* ---- ZIP ---- */

/* One file of the archive, as the directory has it. */
typedef struct zip_entry {
    char name[1024];
    unsigned method;
    uint32_t crc;
    size_t packed, size; /* bytes */
    const unsigned char *data;
} zip_entry;

static cohort_status inflate_entry(const unsigned char **out, cohort_source *source,
                                   const zip_entry *entry, size_t *left)
{
    COHORT_REQUIRE(entry->size <= *left && entry->size / SHRINKS_MOST <= entry->packed, COHORT_DATA,
                   "%s: array %s would have %zu bytes, more than these tensors can be; is it of "
                   "another network?",
                   source->path, entry->name, entry->size);
    *left -= entry->size;
    unsigned char *bytes = NULL;
    COHORT_TRY(cohort_grow((void **)&source->inflated, &source->inflated_capacity,
                           source->inflated_count + 1, sizeof *source->inflated));
    COHORT_TRY(cohort_allocate((void **)&bytes, entry->size + 1, 1));
    source->inflated[source->inflated_count++] = bytes;
    z_stream stream = {.next_in = (unsigned char *)entry->data,
                       .avail_in = (unsigned)entry->packed,
                       .next_out = bytes,
                       .avail_out = (unsigned)entry->size};
    COHORT_REQUIRE(inflateInit2(&stream, -MAX_WBITS) == Z_OK, COHORT_MEMORY, "out of memory");
    const int result = inflate(&stream, Z_FINISH);
    const bool whole = result == Z_STREAM_END && stream.total_out == entry->size;
    inflateEnd(&stream);
    COHORT_REQUIRE(whole, COHORT_DATA, "%s: array %s cannot be decompressed; the file is damaged",
                   source->path, entry->name);
    *out = bytes;
    return COHORT_OK;
}

static cohort_status read_entry(cohort_source *source, zip_entry *entry, size_t *left)
{
    const unsigned char *bytes = entry->data;
    const size_t length = strlen(entry->name);
    if (entry->method == DEFLATED)
        COHORT_TRY(inflate_entry(&bytes, source, entry, left));
    else
        COHORT_REQUIRE(entry->method == STORED && entry->size == entry->packed, COHORT_DATA,
                       "%s: array %s is compressed in a way (%u) that cannot be read; write it "
                       "with numpy.savez",
                       source->path, entry->name, entry->method);
    COHORT_REQUIRE(crc32(0, bytes, (unsigned)entry->size) == entry->crc, COHORT_DATA,
                   "%s: array %s is not what was written (CRC): the file is damaged", source->path,
                   entry->name);
    if (length > 4 && strcmp(entry->name + length - 4, ".npy") == 0)
        entry->name[length - 4] = '\0';
    return cohort_source_npy(source, entry->name, bytes, entry->size);
}

/* Reads the directory's entry at *AT, which moves behind it. */
static cohort_status read_directory(zip_entry *entry, size_t *at, const cohort_source *source,
                                    const unsigned char *bytes, size_t end)
{
    const unsigned char *record = bytes + *at;
    COHORT_REQUIRE(end - *at >= CENTRAL_BYTES && memcmp(record, "PK\1\2", 4) == 0, COHORT_DATA,
                   "%s: the directory of the archive is damaged", source->path);
    const size_t name = number(record + 28, 2), offset = number(record + 42, 4);
    const size_t whole = CENTRAL_BYTES + name + number(record + 30, 2) + number(record + 32, 2);
    *entry = (zip_entry){.method = number(record + 10, 2),
                         .crc = number(record + 16, 4),
                         .packed = number(record + 20, 4),
                         .size = number(record + 24, 4)};
    COHORT_REQUIRE(whole <= end - *at && name < sizeof entry->name, COHORT_DATA,
                   "%s: the directory of the archive is damaged", source->path);
    COHORT_TRY(cohort_source_check_name(source, (const char *)record + CENTRAL_BYTES, name));
    memcpy(entry->name, record + CENTRAL_BYTES, name);
    *at += whole;
    COHORT_REQUIRE(number(record + 8, 2) % 2 == 0, COHORT_DATA, "%s is encrypted", source->path);
    COHORT_REQUIRE(entry->packed != UINT32_MAX && entry->size != UINT32_MAX && offset != UINT32_MAX,
                   COHORT_DATA, "%s: array %s is larger than 4 GiB; use safetensors", source->path,
                   entry->name);
    COHORT_REQUIRE(offset <= end && end - offset >= LOCAL_BYTES &&
                       memcmp(bytes + offset, "PK\3\4", 4) == 0,
                   COHORT_DATA, "%s: array %s is not where the directory says; the file is damaged",
                   source->path, entry->name);
    const size_t skip =
        LOCAL_BYTES + number(bytes + offset + 26, 2) + number(bytes + offset + 28, 2);
    COHORT_REQUIRE(skip <= end - offset && entry->packed <= end - offset - skip, COHORT_DATA,
                   "%s: array %s lies outside the file, which is cut short or damaged",
                   source->path, entry->name);
    entry->data = bytes + offset + skip;
    return COHORT_OK;
}

/* Where the record that ends the archive begins; COUNT if there is none. */
static size_t find_end(const unsigned char *bytes, size_t count)
{
    for (size_t back = END_BYTES; back <= count && back <= END_BYTES + COMMENT_MAX; back++)
        if (memcmp(bytes + count - back, "PK\5\6", 4) == 0)
            return count - back;
    return count;
}

cohort_status cohort_source_npz(cohort_source *source, const unsigned char *bytes, size_t count,
                                size_t limit)
{
    const size_t end = find_end(bytes, count);
    COHORT_REQUIRE(end < count, COHORT_DATA, "%s is no ZIP archive, or cut short", source->path);
    const size_t entries = number(bytes + end + 10, 2);
    size_t at = number(bytes + end + 16, 4);
    COHORT_REQUIRE(at <= end && entries != UINT16_MAX, COHORT_DATA,
                   "%s: the directory of the archive is damaged, or it is larger than 4 GiB",
                   source->path);
    for (size_t i = 0; i < entries; i++) {
        zip_entry entry;
        COHORT_TRY(read_directory(&entry, &at, source, bytes, end));
        COHORT_TRY(read_entry(source, &entry, &limit));
    }
    return COHORT_OK;
}

/* ---- Writing ---- */

enum { NPY_ALIGNMENT = 64, DATE = 33 /* 1980-01-01: the same network gives the same bytes */ };

static void put_number(unsigned char *bytes, uint32_t value, size_t width)
{
    for (size_t i = 0; i < width; i++)
        bytes[i] = (unsigned char)(value >> 8 * i);
}

/* The npy header of a float32 array, padded so that data begins at a multiple of 64. */
static void write_npy_header(cohort_text *text, const cohort_shape *shape)
{
    cohort_text dictionary = {0};
    cohort_text_append(&dictionary, "{'descr': '<f4', 'fortran_order': False, 'shape': (");
    for (size_t i = 0; i < shape->dim_count; i++)
        cohort_text_append(&dictionary, i ? " %zu%s" : "%zu%s", shape->dims[i],
                           i + 1 < shape->dim_count || shape->dim_count == 1 ? "," : "");
    cohort_text_append(&dictionary, "), }");
    while ((10 + dictionary.length + 1) % NPY_ALIGNMENT)
        cohort_text_append_bytes(&dictionary, " ", 1);
    cohort_text_append_bytes(&dictionary, "\n", 1);
    const unsigned char head[10] = {0x93,
                                    'N',
                                    'U',
                                    'M',
                                    'P',
                                    'Y',
                                    1,
                                    0,
                                    (unsigned char)dictionary.length,
                                    (unsigned char)(dictionary.length >> 8)};
    cohort_text_append_bytes(text, (const char *)head, sizeof head);
    if (dictionary.data)
        cohort_text_append_bytes(text, dictionary.data, dictionary.length);
    text->failed |= dictionary.failed;
    cohort_text_clear(&dictionary);
}

static uint32_t checksum(const cohort_text *header, const float *values, size_t count)
{
    uLong crc = crc32(0, (const unsigned char *)header->data, (unsigned)header->length);
    for (size_t i = 0; i < count; i++) {
        uint32_t bits;
        unsigned char bytes[4];
        memcpy(&bits, values + i, sizeof bits);
        put_number(bytes, bits, 4);
        crc = crc32(crc, bytes, sizeof bytes);
    }
    return (uint32_t)crc;
}

/* Writes one array and appends its entry to the directory. */
static cohort_status write_array(cohort_output *output, cohort_text *directory, const char *name,
                                 const cohort_shape *shape, const float *values)
{
    unsigned char local[LOCAL_BYTES] = "PK\3\4", central[CENTRAL_BYTES] = "PK\1\2";
    const size_t count = cohort_shape_count(shape), length = strlen(name) + 4;
    const uint64_t offset = cohort_output_size(output);
    cohort_text header = {0};
    write_npy_header(&header, shape);
    cohort_status status = cohort_text_status(&header);
    COHORT_TRY_DONE(status, status);
    const uint64_t size = header.length + (uint64_t)count * sizeof(float);
    COHORT_REQUIRE_DONE(status, offset + size < UINT32_MAX, COHORT_USAGE,
                        "npz holds at most 4 GiB, this network has more; export it as safetensors");
    put_number(local + 4, 20, 2); /* version that reads it */
    put_number(local + 12, DATE, 2);
    put_number(local + 14, checksum(&header, values, count), 4);
    put_number(local + 18, (uint32_t)size, 4);
    put_number(local + 22, (uint32_t)size, 4);
    put_number(local + 26, (uint32_t)length, 2);
    put_number(central + 4, 20, 2);
    memcpy(central + 6, local + 4, 26);
    put_number(central + 42, (uint32_t)offset, 4);
    cohort_text_append_bytes(directory, (char *)central, sizeof central);
    cohort_text_append(directory, "%s.npy", name);
    COHORT_TRY_DONE(status, cohort_output_bytes(output, local, sizeof local));
    COHORT_TRY_DONE(status, cohort_output_bytes(output, name, length - 4));
    COHORT_TRY_DONE(status, cohort_output_bytes(output, ".npy", 4));
    COHORT_TRY_DONE(status, cohort_output_bytes(output, header.data, header.length));
    COHORT_TRY_DONE(status, cohort_output_floats(output, values, count));
done:
    cohort_text_clear(&header);
    return status;
}

static cohort_status write_arrays(cohort_output *output, cohort_text *directory,
                                  const cohort_foreign_map *map, cohort_model *model)
{
    for (size_t i = 0; i < map->count; i++) {
        const cohort_foreign_tensor *tensor = &map->items[i];
        float *values = NULL;
        COHORT_TRY(COHORT_ALLOCATE(&values, cohort_shape_count(&tensor->shape)));
        cohort_foreign_take(values, map, i, model);
        cohort_status status = write_array(output, directory, tensor->name, &tensor->shape, values);
        cohort_free(values);
        COHORT_TRY(status);
    }
    return cohort_text_status(directory);
}

cohort_status cohort_foreign_write_npz(cohort_output *output, const cohort_foreign_network *network)
{
    cohort_foreign_map map = {0};
    cohort_text directory = {0};
    unsigned char end[END_BYTES] = "PK\5\6";
    cohort_status status = COHORT_OK;
    COHORT_TRY_DONE(status, cohort_foreign_map_plain(&map, network->model));
    COHORT_REQUIRE_DONE(status, map.count < UINT16_MAX, COHORT_USAGE,
                        "npz holds at most 65534 arrays; export as safetensors");
    COHORT_TRY_DONE(status, write_arrays(output, &directory, &map, network->model));
    put_number(end + 8, (uint32_t)map.count, 2);
    put_number(end + 10, (uint32_t)map.count, 2);
    put_number(end + 12, (uint32_t)directory.length, 4);
    put_number(end + 16, (uint32_t)cohort_output_size(output), 4);
    COHORT_TRY_DONE(status, cohort_output_bytes(output, directory.data, directory.length));
    COHORT_TRY_DONE(status, cohort_output_bytes(output, end, sizeof end));
done:
    cohort_text_clear(&directory);
    cohort_foreign_map_clear(&map);
    return status;
}
