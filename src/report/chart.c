#include "report/chart.h"

#include <math.h>
#include <stdio.h>

#include "report/html.h"

/* Of the drawing, in its own units; it scales with the page. */
enum { WIDTH = 640, HEIGHT = 300, LEFT = 66, RIGHT = 12, TOP = 12, BOTTOM = 44, TABLE_MAX = 200 };

typedef struct axis {
    double low, high, step;
} axis;

typedef struct frame {
    const cohort_chart *chart;
    axis x, y;
} frame;

/* About COUNT steps of 1, 2 or 5 times a power of ten that cover [low, high]. */
static axis round_axis(double low, double high, double count, bool whole)
{
    if (!(high > low)) {
        const double room = low == 0 ? 1 : fabs(low) * 0.1;
        low -= room;
        high += room;
    }
    const double rough = (high - low) / count, power = pow(10, floor(log10(rough)));
    const double share = rough / power;
    double step = power * (share <= 1 ? 1 : share <= 2 ? 2 : share <= 5 ? 5 : 10);
    if (whole && step < 1)
        step = 1;
    return (axis){floor(low / step + 1e-9) * step, ceil(high / step - 1e-9) * step, step};
}

static size_t point_count(const cohort_chart *chart)
{
    size_t count = 0;
    for (size_t i = 0; i < chart->line_count; i++)
        count += chart->lines[i].series.count;
    return count;
}

static frame frame_of(const cohort_chart *chart)
{
    double low[2] = {INFINITY, INFINITY}, high[2] = {-INFINITY, -INFINITY};
    for (size_t i = 0; i < chart->line_count; i++) {
        const cohort_series *s = &chart->lines[i].series;
        for (size_t k = 0; k < s->count; k++) {
            low[0] = fmin(low[0], s->x[k]);
            high[0] = fmax(high[0], s->x[k]);
            low[1] = fmin(low[1], s->y[k]);
            high[1] = fmax(high[1], s->y[k]);
        }
    }
    if (chart->from_zero)
        low[1] = fmin(low[1], 0);
    frame f = {.chart = chart,
               .x = round_axis(low[0], high[0], 8, true),
               .y = round_axis(low[1], high[1], 5, false)};
    if (high[0] > low[0]) { /* the curve fills the width */
        f.x.low = low[0];
        f.x.high = high[0];
    }
    if (chart->percent) {
        f.y.high = fmin(f.y.high, 1);
        f.y.low = fmax(f.y.low, 0);
    }
    return f;
}

static double x_of(const frame *f, double x)
{
    return LEFT + (x - f->x.low) / (f->x.high - f->x.low) * (WIDTH - LEFT - RIGHT);
}

static double y_of(const frame *f, double y)
{
    return HEIGHT - BOTTOM - (y - f->y.low) / (f->y.high - f->y.low) * (HEIGHT - TOP - BOTTOM);
}

/* VALUE as the y axis and the table show it; TEXT has 32 bytes. */
static const char *shown(char *text, const frame *f, double value)
{
    if (f->chart->percent) {
        snprintf(text, 32, "%.4g %%", 100 * value);
        return text;
    }
    return cohort_html_number(text, fabs(value) < f->y.step * 1e-6 ? 0 : value);
}

static void write_axes(cohort_text *html, const frame *f)
{
    char text[32];
    for (double y = f->y.low; y <= f->y.high + f->y.step * 1e-6; y += f->y.step) {
        cohort_text_append(html, "<path class=\"grid\" d=\"M%d %.1fH%d\"/>", LEFT, y_of(f, y),
                           WIDTH - RIGHT);
        cohort_text_append(html, "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%s</text>",
                           LEFT - 6, y_of(f, y) + 4, shown(text, f, y));
    }
    for (double x = ceil(f->x.low / f->x.step) * f->x.step; x <= f->x.high + f->x.step * 1e-6;
         x += f->x.step) {
        cohort_text_append(html, "<path class=\"tick\" d=\"M%.1f %dv5\"/>", x_of(f, x),
                           HEIGHT - BOTTOM);
        cohort_text_append(html, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%s</text>",
                           x_of(f, x), HEIGHT - BOTTOM + 18, cohort_html_number(text, x));
    }
    cohort_text_append(html, "<path class=\"axis\" d=\"M%d %dH%d\"/>", LEFT, HEIGHT - BOTTOM,
                       WIDTH - RIGHT);
    cohort_text_append(html, "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">",
                       (LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8);
    cohort_html_escape(html, f->chart->x_title);
    cohort_text_append(html, "</text>");
}

/* The points [begin, end) of one pixel column, as their lowest and highest. */
static void write_column(cohort_text *html, const frame *f, const cohort_series *s, size_t begin,
                         size_t end)
{
    size_t low = begin, high = begin;
    for (size_t i = begin; i < end; i++) {
        low = s->y[i] < s->y[low] ? i : low;
        high = s->y[i] > s->y[high] ? i : high;
    }
    const size_t first = low < high ? low : high, second = low < high ? high : low;
    cohort_text_append(html, " %.1f,%.1f", x_of(f, s->x[first]), y_of(f, s->y[first]));
    if (second != first)
        cohort_text_append(html, " %.1f,%.1f", x_of(f, s->x[second]), y_of(f, s->y[second]));
}

static void write_line(cohort_text *html, const frame *f, const cohort_line *line)
{
    const cohort_series *s = &line->series;
    const size_t colour = line->colour % COHORT_CHART_COLOURS;
    if (s->count == 0)
        return;
    cohort_text_append(html, "<polyline class=\"line c%zu%s\" points=\"", colour,
                       line->dashed ? " dashed" : "");
    for (size_t i = 0; i < s->count;) {
        size_t end = i + 1;
        while (end < s->count && x_of(f, s->x[end]) < x_of(f, s->x[i]) + 1)
            end++;
        write_column(html, f, s, i, end);
        i = end;
    }
    cohort_text_append(html, "\"/>");
    for (size_t i = 0; i < s->count && s->count <= 40; i++)
        cohort_text_append(html, "<circle class=\"dot d%zu\" cx=\"%.1f\" cy=\"%.1f\" r=\"%s\"/>",
                           colour, x_of(f, s->x[i]), y_of(f, s->y[i]), s->count == 1 ? "5" : "2.5");
}

static void write_legend(cohort_text *html, const cohort_chart *chart)
{
    cohort_text_append(html, "<figcaption><b>");
    cohort_html_escape(html, chart->title);
    cohort_text_append(html, "</b>");
    for (size_t i = 0; i < chart->line_count; i++) {
        const cohort_line *line = &chart->lines[i];
        if (line->series.count == 0)
            continue;
        const size_t colour = line->colour % COHORT_CHART_COLOURS;
        cohort_text_append(html, " <span class=\"key\"><svg viewBox=\"0 0 26 8\" width=\"26\" "
                                 "height=\"8\" aria-hidden=\"true\">");
        if (line->series.count == 1)
            cohort_text_append(html, "<circle class=\"d%zu\" cx=\"13\" cy=\"4\" r=\"4\"/>", colour);
        else
            cohort_text_append(html, "<path class=\"line c%zu%s\" d=\"M1 4H25\"/>", colour,
                               line->dashed ? " dashed" : "");
        cohort_text_append(html, "</svg> ");
        cohort_html_escape(html, line->label);
        cohort_text_append(html, "</span>");
    }
    cohort_text_append(html, "</figcaption>");
}

/* What the lines do, for a screen reader. */
static void write_description(cohort_text *html, const frame *f)
{
    char first[32], last[32], low[32], high[32];
    cohort_text_append(html, "<desc>");
    for (size_t i = 0; i < f->chart->line_count; i++) {
        const cohort_series *s = &f->chart->lines[i].series;
        if (s->count == 0)
            continue;
        double least = s->y[0], most = s->y[0];
        for (size_t k = 1; k < s->count; k++) {
            least = fmin(least, s->y[k]);
            most = fmax(most, s->y[k]);
        }
        cohort_html_escape(html, f->chart->lines[i].label);
        cohort_text_append(html, ": from %s to %s, lowest %s, highest %s. ",
                           shown(first, f, s->y[0]), shown(last, f, s->y[s->count - 1]),
                           shown(low, f, least), shown(high, f, most));
    }
    cohort_text_append(html, "</desc>");
}

/* The value of SERIES at X exactly, or NaN; *FROM is where to look on. */
static double value_at(const cohort_series *series, double x, size_t *from)
{
    while (*from < series->count && series->x[*from] < x)
        ++*from;
    return *from < series->count && series->x[*from] == x ? series->y[*from] : (double)NAN;
}

static void write_table(cohort_text *html, const frame *f)
{
    const cohort_chart *chart = f->chart;
    const cohort_series *longest = &chart->lines[0].series;
    size_t from[64] = {0};
    char text[32];
    for (size_t i = 1; i < chart->line_count; i++)
        if (chart->lines[i].series.count > longest->count)
            longest = &chart->lines[i].series;
    if (longest->count > TABLE_MAX || chart->line_count > sizeof from / sizeof *from)
        return;
    cohort_text_append(html, "<details><summary>numbers</summary><table><tr><th>");
    cohort_html_escape(html, chart->x_title);
    for (size_t i = 0; i < chart->line_count; i++) {
        cohort_text_append(html, "<th>");
        cohort_html_escape(html, chart->lines[i].label);
    }
    for (size_t k = 0; k < longest->count; k++) {
        cohort_text_append(html, "<tr><td>%s", cohort_html_number(text, longest->x[k]));
        for (size_t i = 0; i < chart->line_count; i++) {
            const double value = value_at(&chart->lines[i].series, longest->x[k], &from[i]);
            cohort_text_append(html, "<td>%s", isnan(value) ? "" : shown(text, f, value));
        }
    }
    cohort_text_append(html, "</table></details>");
}

void cohort_chart_write(cohort_text *html, const cohort_chart *chart)
{
    if (point_count(chart) == 0)
        return;
    const frame f = frame_of(chart);
    cohort_text_append(html, "<figure>");
    write_legend(html, chart);
    cohort_text_append(html, "<svg class=\"chart\" viewBox=\"0 0 %d %d\" role=\"img\"><title>",
                       WIDTH, HEIGHT);
    cohort_html_escape(html, chart->title);
    cohort_text_append(html, "</title>");
    write_description(html, &f);
    write_axes(html, &f);
    for (size_t i = 0; i < chart->line_count; i++)
        write_line(html, &f, &chart->lines[i]);
    cohort_text_append(html, "</svg>");
    write_table(html, &f);
    cohort_text_append(html, "</figure>\n");
}
