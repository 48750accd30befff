/* Pieces of an HTML page, appended to a text. */
#ifndef COHORT_REPORT_HTML_H
#define COHORT_REPORT_HTML_H

#include <stdint.h>

#include "base/text.h"

/* TEXT with &, <, > and quotes as entities; bytes that are not UTF-8 become U+FFFD, control
 * characters but newlines and tabs are left out. */
void cohort_html_escape(cohort_text *html, const char *text);
void cohort_html_escape_bytes(cohort_text *html, const char *text, size_t count);

/* An <img> whose data lie in the page, enlarged without smoothing to about 96 pixels. PIXELS
 * [height][width][channels] bytes, channels 1 (grey) or 3 (red, green, blue). */
void cohort_html_image(cohort_text *html, const uint8_t *pixels, size_t height, size_t width,
                       size_t channels, const char *description);

/* VALUE as a person reads it: "0.0123", "97.8", "1.2e-5", "-" for NaN; TEXT has 32 bytes. */
const char *cohort_html_number(char *text, double value);
/* "98.21 %", or "-". */
const char *cohort_html_percent(char *text, double fraction);
/* "1 h 02 min", "12.3 s". */
const char *cohort_html_duration(char *text, double seconds);

#endif
