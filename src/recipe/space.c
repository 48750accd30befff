#include "recipe/space.h"

#include <math.h>
#include <string.h>

#include "recipe/search.h"
#include "recipe/set.h"

enum { MAX_DIMENSIONS = 64, MAX_CHOICES = 1000 };

/* Ranges by their names in a recipe; [COHORT_DIMENSION_…], choices have none. */
static const char *const range_names[] = {NULL, "uniform", "log_uniform", "integer", "log_integer"};
enum { RANGES = sizeof range_names / sizeof *range_names };

static bool is_logarithmic(int type)
{
    return type == COHORT_DIMENSION_LOG_UNIFORM || type == COHORT_DIMENSION_LOG_INTEGER;
}

static bool is_whole(int type)
{
    return type == COHORT_DIMENSION_INTEGER || type == COHORT_DIMENSION_LOG_INTEGER;
}

/* The YAML text of scalar NODE, copied. */
static cohort_status copy_choice(const char **out, const cohort_fill *fill, const cohort_node *node)
{
    cohort_text text = {0};
    char *copy = NULL;
    double number;
    cohort_status status = COHORT_OK;
    if (!node->quoted && cohort_parse_double(&number, node->text)) {
        cohort_text_append(&text, "%s", node->text); /* "-1", "+0.5", ".5": not quoted */
    } else {
        cohort_text quoted = {0};
        cohort_write_string(&quoted, node->text);
        const bool bare = node->quoted && quoted.data && quoted.data[0] != '"';
        cohort_text_append(&text, bare ? "\"%s\"" : "%s", quoted.data ? quoted.data : "\"\"");
        cohort_text_clear(&quoted);
    }
    COHORT_TRY_DONE(status, cohort_text_status(&text));
    COHORT_TRY_DONE(status, cohort_arena_copy(&copy, fill->arena, text.data));
    *out = copy;
done:
    cohort_text_clear(&text);
    return status;
}

static cohort_status fill_choices(const cohort_fill *fill, const cohort_node *node,
                                  cohort_dimension *dimension)
{
    if (node->count == 0 || node->count > MAX_CHOICES)
        return COHORT_FAIL_AT(fill->path, node, "search.space: %s needs 1 to %d values",
                              dimension->path, MAX_CHOICES);
    COHORT_TRY(COHORT_TAKE(&dimension->choices, fill->arena, node->count));
    for (const cohort_node *item = node->first; item; item = item->next) {
        if (item->kind != COHORT_NODE_SCALAR)
            return COHORT_FAIL_AT(fill->path, item,
                                  "search.space: a value of %s must be a number, a name, true or "
                                  "false, not a %s",
                                  dimension->path,
                                  item->kind == COHORT_NODE_LIST ? "list" : "mapping");
        COHORT_TRY(copy_choice(&dimension->choices[dimension->choice_count++], fill, item));
    }
    return COHORT_OK;
}

static cohort_status refuse_range(const cohort_fill *fill, const cohort_node *node,
                                  const cohort_dimension *dimension)
{
    const char *name = node->key ? node->key : "";
    const char *near = cohort_nearest_word(name, range_names + 1, RANGES - 1);
    return COHORT_FAIL_AT(
        fill->path, node, "search.space: %s: unknown range '%s'; %s%s%s", dimension->path,
        cohort_show(name).text, near ? "did you mean '" : "choose one of ",
        near ? near : "uniform, log_uniform, integer, log_integer", near ? "'?" : "");
}

static bool read_bound(double *bound, const cohort_node *node, bool whole)
{
    return node->kind == COHORT_NODE_SCALAR && !node->quoted &&
           cohort_parse_double(bound, node->text) && isfinite(*bound) &&
           (!whole || (*bound == floor(*bound) && fabs(*bound) <= 1e15));
}

/* {log_uniform: [1e-4, 0.1]} */
static cohort_status fill_range(const cohort_fill *fill, const cohort_node *node,
                                cohort_dimension *dimension)
{
    const cohort_node *bounds = node->first;
    for (int type = 1; type < RANGES; type++)
        if (strcmp(range_names[type], bounds->key) == 0)
            dimension->type = type;
    if (dimension->type == COHORT_DIMENSION_CHOICES)
        return refuse_range(fill, bounds, dimension);
    const char *name = range_names[dimension->type];
    const bool whole = is_whole(dimension->type);
    if (bounds->kind != COHORT_NODE_LIST || bounds->count != 2 ||
        !read_bound(&dimension->low, bounds->first, whole) ||
        !read_bound(&dimension->high, bounds->last, whole) || !(dimension->low < dimension->high))
        return COHORT_FAIL_AT(fill->path, bounds,
                              "search.space: %s: %s needs two %snumbers [LOW, HIGH], the lower "
                              "first",
                              dimension->path, name, whole ? "whole " : "");
    if (is_logarithmic(dimension->type) && !(dimension->low > 0))
        return COHORT_FAIL_AT(fill->path, bounds, "search.space: %s: %s needs bounds above 0",
                              dimension->path, name);
    return COHORT_OK;
}

/* What a search cannot draw because all trials share it. */
static cohort_status check_path(const cohort_fill *fill, const cohort_node *node)
{
    static const char *const shared[] = {"name", "search", "checkpoint", "comm", "data.file"};
    for (size_t i = 0; i < sizeof shared / sizeof *shared; i++) {
        const size_t length = strlen(shared[i]);
        if (strncmp(node->key, shared[i], length) == 0 &&
            (node->key[length] == '.' || node->key[length] == '\0'))
            return COHORT_FAIL_AT(fill->path, node,
                                  "search.space: %s is the same for all trials; remove it",
                                  cohort_show(node->key).text);
    }
    return COHORT_OK;
}

static cohort_status fill_dimension(const cohort_fill *fill, const cohort_node *node,
                                    cohort_dimension *dimension)
{
    char *path = NULL;
    COHORT_TRY(check_path(fill, node));
    COHORT_TRY(cohort_arena_copy(&path, fill->arena, node->key));
    *dimension = (cohort_dimension){.path = path, .line = node->line};
    if (node->kind == COHORT_NODE_LIST)
        return fill_choices(fill, node, dimension);
    if (node->kind == COHORT_NODE_MAP && node->count == 1)
        return fill_range(fill, node, dimension);
    return COHORT_FAIL_AT(fill->path, node,
                          "search.space: %s must be a list of values or a range such as "
                          "{log_uniform: [0.001, 0.1]}",
                          cohort_show(path).text);
}

cohort_status cohort_space_fill(const cohort_fill *fill, const cohort_node *node,
                                cohort_space *space)
{
    if (node->kind != COHORT_NODE_MAP || node->count == 0 || node->count > MAX_DIMENSIONS)
        return COHORT_FAIL_AT(fill->path, node,
                              "search.space must have 1 to %d lines such as "
                              "optimizer.lr: {log_uniform: [0.001, 0.1]}",
                              MAX_DIMENSIONS);
    COHORT_TRY(COHORT_TAKE(&space->items, fill->arena, node->count));
    for (const cohort_node *child = node->first; child; child = child->next)
        COHORT_TRY(fill_dimension(fill, child, &space->items[space->count++]));
    return COHORT_OK;
}

static void write_dimension(cohort_text *text, const cohort_dimension *dimension)
{
    cohort_write_string(text, dimension->path);
    cohort_text_append(text, ": ");
    if (dimension->type != COHORT_DIMENSION_CHOICES) {
        cohort_text_append(text, "{%s: [", range_names[dimension->type]);
        cohort_write_real(text, dimension->low);
        cohort_text_append(text, ", ");
        cohort_write_real(text, dimension->high);
        cohort_text_append(text, "]}");
        return;
    }
    for (size_t i = 0; i < dimension->choice_count; i++)
        cohort_text_append(text, "%s%s", i ? ", " : "[", dimension->choices[i]);
    cohort_text_append(text, "]");
}

void cohort_space_write(cohort_text *text, const cohort_space *space)
{
    cohort_text_append(text, "{");
    for (size_t i = 0; i < space->count; i++) {
        cohort_text_append(text, i ? ", " : "");
        write_dimension(text, &space->items[i]);
    }
    cohort_text_append(text, "}");
}

/* Fills a recipe that is thrown away, with VALUE at the path of DIMENSION. */
static cohort_status try_value(const cohort_fill *fill, const cohort_dimension *dimension,
                               const char *value, const char *text, const char *const *sets,
                               size_t set_count)
{
    cohort_fill trial = *fill;
    cohort_node *root = NULL;
    cohort_recipe *recipe = NULL;
    const cohort_node_origin origin = {.path = fill->path};
    cohort_status status = COHORT_OK;
    trial.scratch = trial.arena = NULL;
    COHORT_TRY(cohort_arena_create(&trial.scratch));
    trial.arena = trial.scratch;
    COHORT_TRY_DONE(status, COHORT_TAKE(&recipe, trial.scratch, 1));
    COHORT_TRY_DONE(status, cohort_node_parse(&root, trial.scratch, text, &origin));
    for (size_t i = 0; i < set_count; i++)
        COHORT_TRY_DONE(status, cohort_set_apply(&trial, root, sets[i]));
    COHORT_TRY_DONE(status,
                    cohort_set_value(&trial, root, dimension->path, value, dimension->line));
    COHORT_TRY_DONE(
        status, cohort_fill_keys(&trial, NULL, &cohort_recipe_table, root, root, false, recipe));
done:
    cohort_arena_destroy(trial.scratch);
    return status;
}

cohort_status cohort_space_check(const cohort_fill *fill, const cohort_search_recipe *search,
                                 const char *text, const char *const *sets, size_t set_count)
{
    for (size_t i = 0; i < search->space.count; i++) {
        const cohort_dimension *dimension = &search->space.items[i];
        const double ends[] = {dimension->low, dimension->high};
        for (size_t k = 0; k < dimension->choice_count; k++)
            COHORT_TRY(try_value(fill, dimension, dimension->choices[k], text, sets, set_count));
        for (size_t k = 0; dimension->type != COHORT_DIMENSION_CHOICES && k < 2; k++) {
            cohort_search_value value;
            cohort_search_write(&value, dimension, ends[k]);
            COHORT_TRY(try_value(fill, dimension, value.text, text, sets, set_count));
        }
    }
    return COHORT_OK;
}
