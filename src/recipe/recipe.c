#include "recipe/recipe.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "recipe/check.h"
#include "recipe/fill.h"
#include "recipe/set.h"
#include "recipe/space.h"

/* A recipe lives in the arena that holds all it points to. */
typedef struct box {
    cohort_recipe recipe;
    cohort_arena *arena;
} box;

/* "digits-cnn" of "recipes/digits-cnn.yaml". */
static cohort_status name_after_file(const char **out, cohort_arena *arena, const char *path)
{
    const char *slash = strrchr(path, '/');
    char *name = NULL;
    COHORT_TRY(cohort_arena_copy(&name, arena, slash ? slash + 1 : path));
    char *dot = strrchr(name, '.');
    if (dot && dot != name && (strcmp(dot, ".yaml") == 0 || strcmp(dot, ".yml") == 0))
        *dot = '\0';
    *out = *name ? name : "run";
    return COHORT_OK;
}

static cohort_status fill_recipe(const cohort_fill *fill, cohort_recipe *recipe, const char *text,
                                 const char *const *sets, size_t set_count)
{
    cohort_node *root = NULL;
    cohort_node_origin origin = {.path = fill->path};
    COHORT_TRY(cohort_node_parse(&root, fill->scratch, text, &origin));
    if (cohort_node_is_null(root))
        return COHORT_FAIL(COHORT_USAGE, "%s:1: the recipe is empty; see cohort help recipe",
                           fill->path);
    if (root->kind != COHORT_NODE_MAP)
        return COHORT_FAIL_AT(
            fill->path, root,
            "not a recipe: it must be 'key: value' lines; see cohort help recipe");
    for (size_t i = 0; i < set_count; i++)
        COHORT_TRY(cohort_set_apply(fill, root, sets[i]));
    COHORT_TRY(cohort_fill_keys(fill, NULL, &cohort_recipe_table, root, root, false, recipe));
    if (!recipe->name)
        COHORT_TRY(name_after_file(&recipe->name, fill->arena, fill->path));
    COHORT_TRY(cohort_recipe_check(fill, recipe, root));
    return cohort_space_check(fill, &recipe->search, text, sets, set_count);
}

cohort_status cohort_recipe_parse(cohort_recipe **out, const char *text, const char *path,
                                  const char *folder, const char *const *sets, size_t set_count,
                                  cohort_layer_catalog layers)
{
    *out = NULL;
    cohort_fill fill = {.path = path, .layers = layers};
    box *made = NULL;
    char *copy = NULL;
    cohort_status status = COHORT_OK;
    COHORT_TRY_DONE(status, cohort_arena_create(&fill.scratch));
    COHORT_TRY_DONE(status, cohort_arena_create(&fill.arena));
    COHORT_TRY_DONE(status, COHORT_TAKE(&made, fill.arena, 1));
    made->arena = fill.arena;
    COHORT_TRY_DONE(status, cohort_arena_copy(&copy, fill.arena, path));
    made->recipe.path = copy;
    COHORT_TRY_DONE(status, cohort_arena_copy(&copy, fill.arena, folder));
    made->recipe.folder = copy;
    COHORT_TRY_DONE(status, fill_recipe(&fill, &made->recipe, text, sets, set_count));
    *out = &made->recipe;
    fill.arena = NULL; /* the recipe's now */
done:
    cohort_arena_destroy(fill.arena);
    cohort_arena_destroy(fill.scratch);
    return status;
}

void cohort_recipe_destroy(cohort_recipe *recipe)
{
    if (recipe)
        cohort_arena_destroy(((box *)recipe)->arena);
}

cohort_status cohort_recipe_set_data_file(cohort_recipe *recipe, const char *path)
{
    char *copy = NULL;
    COHORT_TRY(cohort_arena_copy(&copy, ((box *)recipe)->arena, path));
    recipe->data.file = copy;
    return COHORT_OK;
}

/* Whether NAME is in FOLDER; PATH becomes the joined name. */
static cohort_status look_in(bool *found, cohort_text *path, const char *folder, const char *name)
{
    COHORT_TRY(cohort_path_join(path, folder, name));
    *found = cohort_file_exists(path->data);
    return COHORT_OK;
}

/* Looks in each folder of the colon-separated LIST; appends to TRIED. */
static cohort_status look_in_list(bool *found, cohort_text *path, cohort_text *tried,
                                  const char *list, const char *name)
{
    cohort_text folder = {0};
    cohort_status status = COHORT_OK;
    while (*list && !*found) {
        size_t length = strcspn(list, ":");
        if (length > 0) {
            folder.length = 0;
            cohort_text_append_bytes(&folder, list, length);
            COHORT_TRY_DONE(status, cohort_text_status(&folder));
            COHORT_TRY_DONE(status, look_in(found, path, folder.data, name));
            cohort_text_append(tried, ", %s", folder.data);
        }
        list += length + (list[length] == ':');
    }
done:
    cohort_text_clear(&folder);
    return status;
}

const void *cohort_variant_value(const cohort_variant *variant, const char *name)
{
    for (size_t i = 0; i < variant->table->key_count; i++)
        if (strcmp(variant->table->keys[i].name, name) == 0)
            return (const char *)variant->config + variant->table->keys[i].offset;
    return NULL;
}

cohort_status cohort_recipe_find_file(cohort_text *path, const cohort_recipe *recipe,
                                      const char *name)
{
    bool found = false;
    cohort_text tried = {0};
    cohort_status status = COHORT_OK;
    const char *list = getenv("COHORT_DATASETS");
    COHORT_TRY_DONE(status, look_in(&found, path, recipe->folder, name));
    if (found)
        goto done;
    COHORT_REQUIRE_DONE(status, name[0] != '/', COHORT_DATA,
                        "cannot find %s; correct the path in %s", name, recipe->path);
    cohort_text_append(&tried, "%s", *recipe->folder ? recipe->folder : ".");
    if (list)
        COHORT_TRY_DONE(status, look_in_list(&found, path, &tried, list, name));
    COHORT_TRY_DONE(status, cohort_text_status(&tried));
    COHORT_REQUIRE_DONE(status, found, COHORT_DATA,
                        "cannot find %s; looked in %s; put it there or add its folder to "
                        "COHORT_DATASETS",
                        name, tried.data);
done:
    cohort_text_clear(&tried);
    return status;
}
