#include "report/difference.h"

#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "report/flat.h"
#include "report/history.h"
#include "train/job.h"

typedef struct pair {
    const char *folder[2];
    cohort_history *run[2];
    cohort_text *text;
    bool same;
} pair;

static void recipe_line(pair *p, const char *path, const char *a, const char *b)
{
    if (p->same)
        cohort_text_append(p->text, "recipes:\n");
    p->same = false;
    cohort_text_append(p->text, "  %s: %s | %s\n", path, a ? a : "(absent)", b ? b : "(absent)");
}

static cohort_status compare_recipes(pair *p)
{
    cohort_flat a = {0}, b = {0};
    cohort_status status = COHORT_OK;
    COHORT_TRY_DONE(status, cohort_flat_read(&a, cohort_history_recipe(p->run[0])));
    COHORT_TRY_DONE(status, cohort_flat_read(&b, cohort_history_recipe(p->run[1])));
    for (size_t i = 0; i < a.count; i++) {
        const char *other = cohort_flat_get(&b, a.keys[i].path);
        if (!other || strcmp(other, a.keys[i].value) != 0)
            recipe_line(p, a.keys[i].path, a.keys[i].value, other);
    }
    for (size_t i = 0; i < b.count; i++)
        if (!cohort_flat_get(&a, b.keys[i].path))
            recipe_line(p, b.keys[i].path, NULL, b.keys[i].value);
    if (p->same)
        cohort_text_append(p->text, "recipes: the same\n");
done:
    cohort_flat_clear(&a);
    cohort_flat_clear(&b);
    return status;
}

/* Says where only one of the runs goes on behind what they have in common. */
static void compare_ends(pair *p, const char *event, const cohort_series *s)
{
    const double last[2] = {s[0].x[s[0].count - 1], s[1].x[s[1].count - 1]};
    if (last[0] == last[1])
        return;
    const size_t longer = last[1] > last[0];
    p->same = false;
    cohort_text_append(p->text, "losses: %s ends at %s %.0f, %s goes on to %.0f\n",
                       p->folder[!longer], event, last[!longer], p->folder[longer], last[longer]);
}

/* Equal, or both not finite. */
static bool same_loss(double a, double b)
{
    return a == b || (isnan(a) && isnan(b));
}

/* Compares the losses of EVENT. *FOUND: both runs have some in common. *ANY: one has some. */
static cohort_status compare_series(pair *p, bool *found, bool *any, const char *event)
{
    cohort_series s[2] = {{0}};
    cohort_status status = cohort_history_values(&s[0], p->run[0], event, event, "loss");
    if (status == COHORT_OK)
        status = cohort_history_values(&s[1], p->run[1], event, event, "loss");
    size_t i = 0, k = 0, common = 0;
    bool differ = false;
    while (status == COHORT_OK && i < s[0].count && k < s[1].count && !differ) {
        if (s[0].x[i] < s[1].x[k]) {
            i++;
        } else if (s[0].x[i] > s[1].x[k]) {
            k++;
        } else {
            common++;
            differ = !same_loss(s[0].y[i], s[1].y[k]);
            i += !differ;
            k += !differ;
        }
    }
    *found = common > 0;
    *any = *any || (status == COHORT_OK && s[0].count + s[1].count > 0);
    if (differ) {
        p->same = false;
        cohort_text_append(p->text, "losses: part at %s %.0f: %.9g | %.9g\n", event, s[0].x[i],
                           s[0].y[i], s[1].y[k]);
    } else if (common) {
        cohort_text_append(p->text, "losses: the same in %zu %s%s\n", common, event,
                           common > 1 ? "s" : "");
        compare_ends(p, event, s);
    }
    cohort_series_clear(&s[0]);
    cohort_series_clear(&s[1]);
    return status;
}

static cohort_status compare_losses(pair *p)
{
    static const char *const events[] = {"step", "epoch", "round"};
    bool found = false, any = false;
    for (size_t i = 0; i < 3 && !found; i++)
        COHORT_TRY(compare_series(p, &found, &any, events[i]));
    if (!found)
        cohort_text_append(p->text, "losses: the runs have no step or epoch in common\n");
    p->same = p->same && (found || !any);
    return COHORT_OK;
}

/* The first tensor in which two networks of equal layers differ. */
static void compare_tensors(pair *p, const char *name, const cohort_inference *a,
                            const cohort_inference *b)
{
    const cohort_tensors ours = cohort_model_param_tensors(a->model);
    const uint64_t step = a->about->progress.step;
    for (size_t t = 0; t < ours.count; t++) {
        const cohort_tensor *tensor = &ours.items[t];
        double largest = 0;
        for (size_t i = tensor->offset; i < tensor->offset + tensor->count; i++)
            largest = fmax(largest, fabs((double)a->params[i] - (double)b->params[i]));
        if (memcmp(a->params + tensor->offset, b->params + tensor->offset,
                   tensor->count * sizeof *a->params) == 0)
            continue;
        p->same = false;
        cohort_text_append(
            p->text,
            "weights: part by checkpoints/%s (step %llu), first in %s/%s: by at most "
            "%.3g\n",
            name, (unsigned long long)step, tensor->layer, tensor->name, largest);
        return;
    }
}

static bool same_layers(const cohort_inference *a, const cohort_inference *b)
{
    const cohort_tensors x = cohort_model_param_tensors(a->model),
                         y = cohort_model_param_tensors(b->model);
    bool same = x.count == y.count;
    for (size_t t = 0; same && t < x.count; t++)
        same = strcmp(x.items[t].layer, y.items[t].layer) == 0 &&
               strcmp(x.items[t].name, y.items[t].name) == 0 &&
               cohort_shape_equal(&x.items[t].shape, &y.items[t].shape);
    return same;
}

/* Compares checkpoint NAME of both runs, which both have. */
static cohort_status compare_checkpoint(pair *p, cohort_comm *comm, const char *name, bool *done)
{
    cohort_inference in[2] = {{0}};
    cohort_text path = {0};
    cohort_status status = COHORT_OK;
    for (size_t i = 0; i < 2; i++) {
        path.length = 0;
        cohort_text_append(&path, "%s/checkpoints/%s", p->folder[i], name);
        COHORT_TRY_DONE(status, cohort_text_status(&path));
        COHORT_TRY_DONE(status, cohort_inference_open(&in[i], comm, path.data, 1));
    }
    if (!same_layers(&in[0], &in[1])) {
        p->same = false;
        *done = true;
        cohort_text_append(p->text, "weights: the networks have different layers\n");
    } else if (in[0].about->progress.step == in[1].about->progress.step) {
        const size_t before = p->text->length;
        compare_tensors(p, name, &in[0], &in[1]);
        *done = p->text->length != before;
    }
done:
    cohort_inference_close(&in[0]);
    cohort_inference_close(&in[1]);
    cohort_text_clear(&path);
    return status;
}

static int is_checkpoint(const struct dirent *entry)
{
    const size_t length = strlen(entry->d_name);
    return length > 3 && strcmp(entry->d_name + length - 3, ".h5") == 0 &&
           strcmp(entry->d_name, "best.h5") != 0; /* of one epoch here, of another there */
}

static cohort_status compare_weights(pair *p)
{
    struct dirent **names = NULL;
    cohort_text path = {0};
    cohort_comm *comm = NULL;
    cohort_status status = COHORT_OK;
    size_t common = 0;
    bool done = false;
    int count = 0;
    COHORT_TRY(cohort_comm_open(&comm, NULL));
    COHORT_TRY_DONE(status, cohort_path_join(&path, p->folder[0], "checkpoints"));
    count = scandir(path.data, &names, is_checkpoint, alphasort); /* epochs first, then last.h5 */
    for (int i = 0; i < count && !done; i++) {
        path.length = 0;
        cohort_text_append(&path, "%s/checkpoints/%s", p->folder[1], names[i]->d_name);
        COHORT_TRY_DONE(status, cohort_text_status(&path));
        if (!cohort_file_exists(path.data))
            continue;
        common++;
        COHORT_TRY_DONE(status, compare_checkpoint(p, comm, names[i]->d_name, &done));
    }
    if (common == 0)
        cohort_text_append(p->text, "weights: the runs have no checkpoint in common\n");
    else if (!done)
        cohort_text_append(p->text, "weights: the same in %zu checkpoint%s\n", common,
                           common > 1 ? "s" : "");
done:
    for (int i = 0; i < count; i++)
        free(names[i]);
    free(names);
    cohort_text_clear(&path);
    cohort_comm_close(comm);
    return status;
}

cohort_status cohort_difference_write(cohort_text *text, bool *same, const char *a, const char *b)
{
    pair p = {.folder = {a, b}, .text = text, .same = true};
    cohort_status status = COHORT_OK;
    COHORT_TRY_DONE(status, cohort_history_open(&p.run[0], a));
    COHORT_TRY_DONE(status, cohort_history_open(&p.run[1], b));
    COHORT_TRY_DONE(status, compare_recipes(&p));
    COHORT_TRY_DONE(status, compare_losses(&p));
    COHORT_TRY_DONE(status, compare_weights(&p));
    status = cohort_text_status(text);
done:
    *same = p.same;
    cohort_history_close(p.run[0]);
    cohort_history_close(p.run[1]);
    return status;
}
