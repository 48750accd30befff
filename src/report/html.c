#include "report/html.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* The length of the UTF-8 character at TEXT, 0 if it is none. Overlong forms and surrogates
 * are refused by the bounds of the second byte (Unicode, table 3-7). */
static size_t character_length(const unsigned char *text, size_t count)
{
    const unsigned char first = text[0];
    size_t length = first < 0x80 ? 1 : first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    if (first > 0xf4 || length > count)
        return 0;
    if (length > 1) {
        const unsigned char low = first == 0xe0   ? 0xa0
                                  : first == 0xf0 ? 0x90
                                                  : 0x80,
                            high = first == 0xed   ? 0x9f
                                   : first == 0xf4 ? 0x8f
                                                   : 0xbf;
        if (text[1] < low || text[1] > high)
            return 0;
    }
    for (size_t i = 2; i < length; i++)
        if ((text[i] & 0xc0) != 0x80)
            return 0;
    return length;
}

static const char *entity(char c)
{
    switch (c) {
    case '&':
        return "&amp;";
    case '<':
        return "&lt;";
    case '>':
        return "&gt;";
    case '"':
        return "&quot;";
    case '\'':
        return "&#39;";
    default:
        return NULL;
    }
}

void cohort_html_escape_bytes(cohort_text *html, const char *text, size_t count)
{
    for (size_t i = 0; i < count;) {
        const size_t length = character_length((const unsigned char *)text + i, count - i);
        const unsigned char c = (unsigned char)text[i];
        if (length == 0)
            cohort_text_append(html, "\xef\xbf\xbd");
        else if (entity(text[i]))
            cohort_text_append(html, "%s", entity(text[i]));
        else if (c >= 0x20 ? c != 0x7f : c == '\n' || c == '\t')
            cohort_text_append_bytes(html, text + i, length);
        i += length ? length : 1;
    }
}

void cohort_html_escape(cohort_text *html, const char *text)
{
    cohort_html_escape_bytes(html, text, strlen(text));
}

static void base64(cohort_text *html, const uint8_t *bytes, size_t count)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < count; i += 3) {
        const size_t here = count - i < 3 ? count - i : 3;
        const uint32_t word = (uint32_t)bytes[i] << 16 |
                              (uint32_t)(here > 1 ? bytes[i + 1] : 0) << 8 |
                              (uint32_t)(here > 2 ? bytes[i + 2] : 0);
        char four[4] = {digits[word >> 18], digits[word >> 12 & 63],
                        here > 1 ? digits[word >> 6 & 63] : '=',
                        here > 2 ? digits[word & 63] : '='};
        cohort_text_append_bytes(html, four, 4);
    }
}

static void put(cohort_text *bytes, uint32_t value, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const char byte = (char)(value >> 8 * i);
        cohort_text_append_bytes(bytes, &byte, 1);
    }
}

/* A Windows bitmap: every browser reads it, and it needs no compression library. Rows go from
 * bottom to top, each filled up to four bytes; pixels are blue, green, red. */
static void bitmap(cohort_text *file, const uint8_t *pixels, size_t height, size_t width,
                   size_t channels)
{
    enum { HEADERS = 54 };
    const size_t row = (width * 3 + 3) / 4 * 4;
    cohort_text_append(file, "BM");
    put(file, (uint32_t)(HEADERS + row * height), 4);
    put(file, 0, 4);
    put(file, HEADERS, 4);
    put(file, 40, 4);
    put(file, (uint32_t)width, 4);
    put(file, (uint32_t)height, 4);
    put(file, 1, 2);
    put(file, 24, 2);
    put(file, 0, 4);
    put(file, (uint32_t)(row * height), 4);
    put(file, 2835, 4); /* 72 dots an inch */
    put(file, 2835, 4);
    put(file, 0, 4);
    put(file, 0, 4);
    for (size_t y = height; y-- > 0;) {
        for (size_t x = 0; x < width; x++)
            for (size_t c = 3; c-- > 0;)
                put(file, pixels[(y * width + x) * channels + (channels == 3 ? c : 0)], 1);
        put(file, 0, row - width * 3);
    }
}

void cohort_html_image(cohort_text *html, const uint8_t *pixels, size_t height, size_t width,
                       size_t channels, const char *description)
{
    cohort_text file = {0};
    const size_t larger = height > width ? height : width;
    const size_t times = larger < 96 ? (96 + larger / 2) / larger : 1;
    bitmap(&file, pixels, height, width, channels);
    if (file.failed) {
        html->failed = true;
    } else {
        cohort_text_append(html, "<img width=\"%zu\" height=\"%zu\" alt=\"", width * times,
                           height * times);
        cohort_html_escape(html, description);
        cohort_text_append(html, "\" src=\"data:image/bmp;base64,");
        base64(html, (const uint8_t *)file.data, file.length);
        cohort_text_append(html, "\">");
    }
    cohort_text_clear(&file);
}

const char *cohort_html_number(char *text, double value)
{
    const double size = fabs(value);
    if (isnan(value))
        return strcpy(text, "–");
    if (value == floor(value) && size < 1e15)
        snprintf(text, 32, "%.0f", value);
    else if (size >= 1000)
        snprintf(text, 32, size < 1e7 ? "%.0f" : "%.4g", value);
    else
        snprintf(text, 32, "%.4g", value);
    return text;
}

const char *cohort_html_percent(char *text, double fraction)
{
    if (isnan(fraction))
        return strcpy(text, "–");
    snprintf(text, 32, "%.2f\u00a0%%", 100 * fraction);
    return text;
}

const char *cohort_html_duration(char *text, double seconds)
{
    if (isnan(seconds))
        return strcpy(text, "–");
    if (seconds < 60)
        snprintf(text, 32, "%.1f s", seconds);
    else if (seconds < 3600)
        snprintf(text, 32, "%.0f min %02.0f s", floor(seconds / 60), floor(fmod(seconds, 60)));
    else
        snprintf(text, 32, "%.0f h %02.0f min", floor(seconds / 3600),
                 floor(fmod(seconds, 3600) / 60));
    return text;
}
