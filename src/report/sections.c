#include "report/sections.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "report/chart.h"
#include "report/flat.h"
#include "report/html.h"

enum { MATRIX_CLASSES_MAX = 30, CONFUSIONS_MAX = 20 };

/* The epochs of a data-parallel run, or the rounds of a federated one. */
static const char *period(const cohort_history *run)
{
    return cohort_history_last(run, "round") ? "round" : "epoch";
}

/* --- Curves ------------------------------------------------------------------------ */

/* One curve: which key of which event. */
typedef struct curve {
    const char *event, *x_key, *y_key, *label;
    bool dashed;
} curve;

/* Sets *LINE to CURVE of RUN. Among several runs the label is the run's. */
static cohort_status take_line(cohort_line *line, const cohort_history *run, const curve *c,
                               size_t index, size_t run_count)
{
    COHORT_TRY(cohort_history_series(&line->series, run, c->event, c->x_key, c->y_key));
    line->label = run_count == 1 ? c->label : cohort_history_folder(run);
    line->colour = index;
    line->dashed = run_count == 1 && c->dashed;
    return COHORT_OK;
}

/* A chart of CURVES [CURVE_COUNT] of one run, or of the first of them over several runs. */
static cohort_status draw(cohort_text *html, cohort_chart *chart, const curve *curves,
                          size_t curve_count, cohort_history *const *runs, size_t run_count)
{
    cohort_line lines[COHORT_REPORT_RUNS_MAX] = {{0}};
    cohort_status status = COHORT_OK;
    size_t count = 0;
    for (size_t i = 0; i < curve_count && status == COHORT_OK && run_count == 1; i++)
        status = take_line(&lines[count++], runs[0], &curves[i], i, 1);
    for (size_t i = 0; i < run_count && status == COHORT_OK && run_count > 1; i++)
        status = take_line(&lines[count++], runs[i], &curves[0], i, run_count);
    chart->lines = lines;
    chart->line_count = count;
    if (status == COHORT_OK)
        cohort_chart_write(html, chart);
    for (size_t i = 0; i < count; i++)
        cohort_series_clear(&lines[i].series);
    return status;
}

static cohort_status draw_epochs(cohort_text *html, cohort_history *const *runs, size_t count)
{
    const curve losses[] = {{"epoch", "epoch", "loss", "training", false},
                            {"epoch", "epoch", "validation_loss", "validation", true},
                            {"test", "epoch", "loss", "test", false}};
    const curve accuracies[] = {{"epoch", "epoch", "accuracy", "training", false},
                                {"epoch", "epoch", "validation_accuracy", "validation", true},
                                {"test", "epoch", "accuracy", "test", false}};
    const curve lr[] = {{"epoch", "epoch", "lr", "learning rate", false}};
    const curve rate[] = {{"epoch", "epoch", "samples_per_s", "samples/s", false}};
    const curve epsilon[] = {{"epoch", "epoch", "epsilon", "epsilon", false}};
    const bool one = count == 1;
    cohort_chart chart = {.title = one ? "Loss" : "Training loss", .x_title = "epoch"};
    COHORT_TRY(draw(html, &chart, losses, 3, runs, count));
    chart = (cohort_chart){.title = "Validation loss", .x_title = "epoch"};
    if (!one)
        COHORT_TRY(draw(html, &chart, losses + 1, 1, runs, count));
    chart = (cohort_chart){
        .title = one ? "Accuracy" : "Training accuracy", .x_title = "epoch", .percent = true};
    COHORT_TRY(draw(html, &chart, accuracies, 3, runs, count));
    chart = (cohort_chart){.title = "Validation accuracy", .x_title = "epoch", .percent = true};
    if (!one)
        COHORT_TRY(draw(html, &chart, accuracies + 1, 1, runs, count));
    chart = (cohort_chart){.title = "Learning rate", .x_title = "epoch", .from_zero = true};
    COHORT_TRY(draw(html, &chart, lr, 1, runs, count));
    chart = (cohort_chart){.title = "Throughput", .x_title = "epoch", .from_zero = true};
    COHORT_TRY(draw(html, &chart, rate, 1, runs, count));
    chart = (cohort_chart){.title = "Privacy spent", .x_title = "epoch", .from_zero = true};
    return draw(html, &chart, epsilon, 1, runs, count);
}

static cohort_status draw_rounds(cohort_text *html, cohort_history *const *runs, size_t count)
{
    const curve losses[] = {{"round", "round", "loss", "clients' training", false},
                            {"round", "round", "test_loss", "test", true}};
    const curve accuracy[] = {{"round", "round", "test_accuracy", "test", false}};
    const curve clients[] = {{"round", "round", "clients", "clients", false}};
    const curve bytes[] = {{"round", "round", "bytes_up", "to the server", false},
                           {"round", "round", "bytes_down", "to clients", true}};
    const curve epsilon[] = {{"round", "round", "epsilon", "epsilon", false}};
    cohort_chart chart = {.title = count == 1 ? "Loss" : "Clients' loss", .x_title = "round"};
    COHORT_TRY(draw(html, &chart, losses, 2, runs, count));
    chart = (cohort_chart){.title = "Test accuracy", .x_title = "round", .percent = true};
    COHORT_TRY(draw(html, &chart, accuracy, 1, runs, count));
    chart = (cohort_chart){.title = "Clients", .x_title = "round", .from_zero = true};
    COHORT_TRY(draw(html, &chart, clients, 1, runs, count));
    chart = (cohort_chart){.title = count == 1 ? "Bytes a round" : "Bytes a round, to the server",
                           .x_title = "round",
                           .from_zero = true};
    COHORT_TRY(draw(html, &chart, bytes, 2, runs, count));
    chart = (cohort_chart){.title = "Privacy spent", .x_title = "round", .from_zero = true};
    return draw(html, &chart, epsilon, 1, runs, count);
}

cohort_status cohort_section_curves(cohort_text *html, cohort_history *const *runs, size_t count)
{
    const curve steps[] = {{"step", "step", "loss", "training", false}};
    cohort_chart chart = {.title = "Loss by step", .x_title = "step"};
    cohort_text_append(html, "<section><h2>Curves</h2><div class=\"charts\">\n");
    COHORT_TRY(draw_epochs(html, runs, count));
    COHORT_TRY(draw_rounds(html, runs, count));
    COHORT_TRY(draw(html, &chart, steps, 1, runs, count));
    cohort_text_append(html, "</div></section>\n");
    return COHORT_OK;
}

/* --- Summary ----------------------------------------------------------------------- */

static void card(cohort_text *html, const char *name, const char *value)
{
    cohort_text_append(html, "<div><dt>%s</dt><dd>%s</dd></div>", name, value);
}

static void number_card(cohort_text *html, const char *name, double value)
{
    char text[32];
    if (!isnan(value))
        card(html, name, cohort_html_number(text, value));
}

static void percent_card(cohort_text *html, const char *name, double value)
{
    char text[32];
    if (!isnan(value))
        card(html, name, cohort_html_percent(text, value));
}

/* "finished", "stopped at …", or what it seems to be doing. */
static void write_state(cohort_text *html, const cohort_history *run)
{
    const json_t *start = cohort_history_last(run, "start"), *end = cohort_history_end(run);
    const char *status = cohort_record_string(end, "status");
    const char *time = cohort_record_string(cohort_history_first(run, "start"), "time");
    cohort_text_append(html, "<p class=\"quiet\">");
    if (status)
        cohort_html_escape(html, status);
    else
        cohort_text_append(html, "not finished: under way, or ended by force");
    if (time) {
        cohort_text_append(html, " · begun ");
        cohort_html_escape(html, time);
    }
    cohort_text_append(html, " · ");
    cohort_html_escape(html, cohort_history_folder(run));
    if (cohort_record_string(start, "version")) {
        cohort_text_append(html, " · cohort ");
        cohort_html_escape(html, cohort_record_string(start, "version"));
    }
    if (cohort_history_unreadable(run))
        cohort_text_append(html, " · %zu lines of metrics.jsonl could not be read",
                           cohort_history_unreadable(run));
    cohort_text_append(html, "</p></header>\n<main>");
}

void cohort_section_summary(cohort_text *html, const cohort_history *run)
{
    const json_t *start = cohort_history_last(run, "start");
    const json_t *last = cohort_history_last(run, period(run));
    const json_t *test = cohort_history_last(run, "test"), *end = cohort_history_end(run);
    char text[32];
    cohort_text_append(html, "<h1>");
    cohort_html_escape(html, cohort_history_name(run));
    cohort_text_append(html, "</h1>");
    write_state(html, run);
    cohort_text_append(html, "<dl class=\"cards\">");
    percent_card(html, "test accuracy", cohort_record_number(test, "accuracy"));
    percent_card(html, "test F1 (macro)", cohort_record_number(test, "f1"));
    number_card(html, "test loss", cohort_record_number(test, "loss"));
    number_card(html, "test perplexity", cohort_record_number(test, "perplexity"));
    if (!test)
        percent_card(html, "test accuracy", cohort_record_number(last, "test_accuracy"));
    percent_card(html, "validation accuracy", cohort_record_number(last, "validation_accuracy"));
    number_card(html, "validation loss", cohort_record_number(last, "validation_loss"));
    number_card(html, "training loss", cohort_record_number(last, "loss"));
    number_card(html, "epsilon", cohort_record_number(last, "epsilon"));
    number_card(html, "epochs", cohort_record_number(last, "epoch"));
    number_card(html, "rounds", cohort_record_number(last, "round"));
    number_card(html, "parameters", cohort_record_number(start, "parameters"));
    number_card(html, "ranks", cohort_record_number(start, "ranks"));
    number_card(html, "samples/s", cohort_record_number(last, "samples_per_s"));
    if (!isnan(cohort_record_number(end, "seconds")))
        card(html, "time", cohort_html_duration(text, cohort_record_number(end, "seconds")));
    cohort_text_append(html, "</dl>\n");
}

/* --- Comparison -------------------------------------------------------------------- */

void cohort_section_comparison(cohort_text *html, cohort_history *const *runs, size_t count)
{
    static const struct {
        const char *title, *event, *key;
        bool percent;
    } columns[] = {
        {"ranks", "start", "ranks", false},
        {"parameters", "start", "parameters", false},
        {"epochs", "epoch", "epoch", false},
        {"rounds", "round", "round", false},
        {"training loss", "epoch", "loss", false},
        {"validation loss", "epoch", "validation_loss", false},
        {"validation accuracy", "epoch", "validation_accuracy", true},
        {"test loss", "test", "loss", false},
        {"test accuracy", "test", "accuracy", true},
        {"test accuracy, last round", "round", "test_accuracy", true},
        {"epsilon", "round", "epsilon", false},
        {"samples/s", "epoch", "samples_per_s", false},
        {"peak memory, MB", "epoch", "peak_rss_mb", false},
        {"seconds", "end", "seconds", false},
    };
    enum { COLUMN_COUNT = sizeof columns / sizeof *columns };
    bool used[COLUMN_COUNT] = {false};
    char text[32];
    cohort_text_append(html, "<section><h2>Figures</h2><div class=\"scroll\"><table><tr><th>run");
    for (size_t c = 0; c < COLUMN_COUNT; c++) {
        for (size_t i = 0; i < count; i++)
            used[c] |= !isnan(cohort_record_number(cohort_history_last(runs[i], columns[c].event),
                                                   columns[c].key));
        if (used[c])
            cohort_text_append(html, "<th>%s", columns[c].title);
    }
    for (size_t i = 0; i < count; i++) {
        cohort_text_append(html, "<tr><td>");
        cohort_html_escape(html, cohort_history_folder(runs[i]));
        for (size_t c = 0; c < COLUMN_COUNT; c++) {
            const double value = cohort_record_number(
                cohort_history_last(runs[i], columns[c].event), columns[c].key);
            if (used[c])
                cohort_text_append(html, "<td>%s",
                                   columns[c].percent ? cohort_html_percent(text, value)
                                                      : cohort_html_number(text, value));
        }
    }
    cohort_text_append(html, "</table></div></section>\n");
}

/* Whether the recipes differ in PATH, and whether an earlier one of them has it already
 * (then it has its row). */
static bool differs(const cohort_flat *recipes, size_t count, size_t which, const char *path)
{
    const char *value = cohort_flat_get(&recipes[which], path);
    bool different = false;
    for (size_t i = 0; i < count; i++) {
        const char *other = cohort_flat_get(&recipes[i], path);
        if (i < which && other)
            return false;
        different |= !other || strcmp(other, value) != 0;
    }
    return different;
}

cohort_status cohort_section_differences(cohort_text *html, cohort_history *const *runs,
                                         size_t count)
{
    cohort_flat recipes[COHORT_REPORT_RUNS_MAX] = {{0}};
    cohort_status status = COHORT_OK;
    size_t rows = 0;
    for (size_t i = 0; i < count; i++)
        COHORT_TRY_DONE(status, cohort_flat_read(&recipes[i], cohort_history_recipe(runs[i])));
    cohort_text_append(html, "<section><h2>Recipes</h2>");
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < recipes[i].count; k++) {
            const char *path = recipes[i].keys[k].path;
            if (!differs(recipes, count, i, path))
                continue;
            if (rows++ == 0) {
                cohort_text_append(html, "<div class=\"scroll\"><table class=\"left\"><tr><th>key");
                for (size_t r = 0; r < count; r++) {
                    cohort_text_append(html, "<th>");
                    cohort_html_escape(html, cohort_history_folder(runs[r]));
                }
            }
            cohort_text_append(html, "<tr><td>");
            cohort_html_escape(html, path);
            for (size_t r = 0; r < count; r++) {
                const char *value = cohort_flat_get(&recipes[r], path);
                cohort_text_append(html, "<td>");
                cohort_html_escape(html, value ? value : "–");
            }
        }
    cohort_text_append(html, rows ? "</table></div></section>\n"
                                  : "<p>The recipes are the same.</p></section>\n");
done:
    for (size_t i = 0; i < count; i++)
        cohort_flat_clear(&recipes[i]);
    return status;
}

/* --- Time --------------------------------------------------------------------------- */

static void time_part(cohort_text *bar, cohort_text *list, size_t colour, const char *name,
                      double seconds, double total)
{
    char duration[32], share[32];
    cohort_text_append(bar, "<i class=\"b%zu\" style=\"width:%.3f%%\"></i>", colour,
                       100 * seconds / total);
    cohort_text_append(list, "<tr><td><span class=\"swatch b%zu\"></span>%s<td>%s<td>%s", colour,
                       name, cohort_html_duration(duration, seconds),
                       cohort_html_percent(share, seconds / total));
}

/* Sum over the records of EVENT of seconds, and of the seconds that the share KEY is of them. */
static cohort_status sum_seconds(double *sum, const cohort_history *run, const char *event,
                                 const char *key)
{
    cohort_series seconds = {0}, share = {0};
    *sum = 0;
    COHORT_TRY(cohort_history_series(&seconds, run, event, event, "seconds"));
    cohort_status status = COHORT_OK;
    if (key)
        status = cohort_history_series(&share, run, event, event, key);
    for (size_t i = 0; i < seconds.count; i++)
        *sum += seconds.y[i] * (!key ? 1 : i < share.count ? share.y[i] : 0);
    cohort_series_clear(&seconds);
    cohort_series_clear(&share);
    return status;
}

/* Seconds of the whole run beside BUSY ones; 0 where that is not known: `end` counts from the
 * latest start, the epochs are of all parts of the run. */
static double other_seconds(const cohort_history *run, double busy)
{
    const double whole = cohort_history_first(run, "start") == cohort_history_last(run, "start")
                             ? cohort_record_number(cohort_history_end(run), "seconds")
                             : (double)NAN;
    return whole > busy ? whole - busy : 0;
}

static void write_time(cohort_text *html, cohort_text *bar, cohort_text *list)
{
    if (bar->failed || list->failed)
        html->failed = true;
    else
        cohort_text_append(html,
                           "<section><h2>Where the time goes</h2><div class=\"bar\" "
                           "aria-hidden=\"true\">%s</div><table>%s</table></section>\n",
                           bar->data, list->data);
    cohort_text_clear(bar);
    cohort_text_clear(list);
}

/* Of a federated run. */
static cohort_status write_time_of_rounds(cohort_text *html, const cohort_history *run)
{
    double rounds;
    cohort_text bar = {0}, list = {0};
    COHORT_TRY(sum_seconds(&rounds, run, "round", NULL));
    if (!(rounds > 0))
        return COHORT_OK;
    const double rest = other_seconds(run, rounds);
    time_part(&bar, &list, 0, "clients' training, and their messages", rounds, rounds + rest);
    if (rest > 0)
        time_part(&bar, &list, 3, "start, averaging, evaluation, checkpoints", rest, rounds + rest);
    write_time(html, &bar, &list);
    return COHORT_OK;
}

cohort_status cohort_section_time(cohort_text *html, const cohort_history *run)
{
    double training, communication, data;
    cohort_text bar = {0}, list = {0};
    COHORT_TRY(sum_seconds(&training, run, "epoch", NULL));
    COHORT_TRY(sum_seconds(&communication, run, "epoch", "communication_fraction"));
    COHORT_TRY(sum_seconds(&data, run, "epoch", "data_fraction"));
    if (!(training > 0))
        return write_time_of_rounds(html, run);
    const double rest = other_seconds(run, training), total = training + rest;
    time_part(&bar, &list, 0, "computing", training - communication - data, total);
    time_part(&bar, &list, 1, "waiting for other ranks", communication, total);
    time_part(&bar, &list, 2, "waiting for data", data, total);
    if (rest > 0)
        time_part(&bar, &list, 3, "start, evaluation, checkpoints", rest, total);
    write_time(html, &bar, &list);
    return COHORT_OK;
}

/* --- Classes ------------------------------------------------------------------------ */

static const char *class_name(const json_t *classes, size_t index)
{
    const char *name = json_string_value(json_object_get(json_array_get(classes, index), "name"));
    return name ? name : "?";
}

static double cell(const json_t *matrix, size_t row, size_t column)
{
    return json_number_value(json_array_get(json_array_get(matrix, row), column));
}

static double row_sum(const json_t *matrix, size_t row)
{
    double sum = 0;
    for (size_t k = 0; k < json_array_size(json_array_get(matrix, row)); k++)
        sum += cell(matrix, row, k);
    return sum;
}

static void write_matrix(cohort_text *html, const json_t *classes, const json_t *matrix)
{
    const size_t count = json_array_size(classes);
    cohort_text_append(html, "<p>Rows are the true classes, columns the predicted ones; the "
                             "darker, the larger the share of the row.</p><div class=\"scroll\">"
                             "<table class=\"matrix\"><tr><th>");
    for (size_t k = 0; k < count; k++) {
        cohort_text_append(html, "<th scope=\"col\">");
        cohort_html_escape(html, class_name(classes, k));
    }
    for (size_t i = 0; i < count; i++) {
        const double sum = row_sum(matrix, i);
        cohort_text_append(html, "<tr><th scope=\"row\">");
        cohort_html_escape(html, class_name(classes, i));
        for (size_t k = 0; k < count; k++) {
            const double share = sum > 0 ? cell(matrix, i, k) / sum : 0;
            const char *colour = i == k ? "0,114,178" : "213,94,0";
            cohort_text_append(html, "<td style=\"background:rgba(%s,%.3f)%s\">%.0f", colour,
                               i == k ? share : sqrt(share), share > 0.5 ? ";color:#fff" : "",
                               cell(matrix, i, k));
        }
    }
    cohort_text_append(html, "</table></div>\n");
}

/* With many classes: the pairs taken for each other most often. */
static void write_confusions(cohort_text *html, const json_t *classes, const json_t *matrix)
{
    const size_t count = json_array_size(classes);
    double below = INFINITY;
    size_t shown = 0;
    cohort_text_append(html, "<p>The classes taken for each other most often:</p><table><tr><th>"
                             "class<th>taken for<th>times");
    while (shown < CONFUSIONS_MAX) {
        double most = 0;
        for (size_t i = 0; i < count; i++)
            for (size_t k = 0; k < count; k++)
                if (i != k && cell(matrix, i, k) < below)
                    most = fmax(most, cell(matrix, i, k));
        if (most <= 0)
            break;
        for (size_t i = 0; i < count && shown < CONFUSIONS_MAX; i++)
            for (size_t k = 0; k < count && shown < CONFUSIONS_MAX; k++)
                if (i != k && cell(matrix, i, k) == most) {
                    cohort_text_append(html, "<tr><td>");
                    cohort_html_escape(html, class_name(classes, i));
                    cohort_text_append(html, "<td>");
                    cohort_html_escape(html, class_name(classes, k));
                    cohort_text_append(html, "<td>%.0f", most);
                    shown++;
                }
        below = most;
    }
    cohort_text_append(html, "</table>\n");
}

static void write_class_table(cohort_text *html, const json_t *classes)
{
    char precision[32], recall[32], f1[32], support[32];
    cohort_text_append(html, "<div class=\"scroll\"><table><tr><th>class<th>precision<th>recall"
                             "<th>F1<th>test samples");
    for (size_t i = 0; i < json_array_size(classes); i++) {
        const json_t *one = json_array_get(classes, i);
        cohort_text_append(html, "<tr><td>");
        cohort_html_escape(html, class_name(classes, i));
        cohort_text_append(html, "<td>%s<td>%s<td>%s<td>%s",
                           cohort_html_percent(precision, cohort_record_number(one, "precision")),
                           cohort_html_percent(recall, cohort_record_number(one, "recall")),
                           cohort_html_percent(f1, cohort_record_number(one, "f1")),
                           cohort_html_number(support, cohort_record_number(one, "support")));
    }
    cohort_text_append(html, "</table></div>\n");
}

void cohort_section_classes(cohort_text *html, const cohort_history *run)
{
    const json_t *test = cohort_history_last(run, "test");
    const json_t *classes = json_object_get(test, "classes");
    const json_t *matrix = json_object_get(test, "confusion_matrix");
    const size_t count = json_array_size(classes);
    if (count == 0)
        return;
    cohort_text_append(html, "<section><h2>Classes</h2>\n");
    write_class_table(html, classes);
    if (json_array_size(matrix) == count && count <= MATRIX_CLASSES_MAX)
        write_matrix(html, classes, matrix);
    else if (json_array_size(matrix) == count)
        write_confusions(html, classes, matrix);
    cohort_text_append(html, "</section>\n");
}

/* --- Recipe and machine -------------------------------------------------------------- */

void cohort_section_recipe(cohort_text *html, const cohort_history *run)
{
    if (!cohort_history_recipe(run)[0])
        return;
    cohort_text_append(html, "<section><h2>Recipe</h2><pre tabindex=\"0\">");
    cohort_html_escape(html, cohort_history_recipe(run));
    cohort_text_append(html, "</pre></section>\n");
}

static void machine_row(cohort_text *html, const json_t *start, const char *key, const char *title)
{
    char text[32];
    const json_t *value = json_object_get(start, key);
    if (!value)
        return;
    cohort_text_append(html, "<tr><td>%s<td>", title);
    if (json_is_string(value))
        cohort_html_escape(html, json_string_value(value));
    else if (json_is_boolean(value))
        cohort_text_append(html, json_is_true(value) ? "yes" : "no");
    else
        cohort_text_append(html, "%s", cohort_html_number(text, json_number_value(value)));
}

void cohort_section_machine(cohort_text *html, const cohort_history *run)
{
    const json_t *start = cohort_history_last(run, "start");
    const double peak = cohort_record_number(cohort_history_end(run), "peak_rss_mb");
    char text[32];
    if (!start)
        return;
    cohort_text_append(html, "<section><h2>Machine</h2><table class=\"left\">");
    machine_row(html, start, "host", "host of rank 0");
    machine_row(html, start, "processor", "processor");
    machine_row(html, start, "cores", "its cores");
    machine_row(html, start, "nodes", "hosts");
    machine_row(html, start, "ranks", "ranks");
    machine_row(html, start, "threads", "threads of a rank");
    machine_row(html, start, "reducer", "gradients summed by");
    machine_row(html, start, "streamed", "data streamed");
    if (!isnan(peak))
        cohort_text_append(html, "<tr><td>largest memory of a rank<td>%s MB",
                           cohort_html_number(text, round(peak)));
    cohort_text_append(html, "</table></section>\n");
}
