/* Any bytes as a recipe: it is refused with one line, or what is written of it reads
 * back as the same recipe. Bytes after a first zero byte are a --set. */
#include "tests/fuzz/fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nn/model.h"
#include "recipe/recipe.h"

static void require(int condition, const char *what, const char *text)
{
    if (condition)
        return;
    fprintf(stderr, "%s: %s\n%s\n", what, cohort_error_message(), text ? text : "");
    abort();
}

static void check_round_trip(const cohort_recipe *recipe)
{
    cohort_text once = {0}, twice = {0}, key = {0};
    cohort_recipe *again = NULL;
    bool same = false;
    cohort_status status = cohort_recipe_write(&once, recipe);
    if (status == COHORT_USAGE && once.length > (size_t)1 << 20)
        goto done; /* too long to be read again: refused, not written */
    require(status == COHORT_OK, "write", NULL);
    status =
        cohort_recipe_parse(&again, once.data, "again.yaml", ".", NULL, 0, cohort_model_catalog());
    require(status == COHORT_OK, "what was written is refused", once.data);
    require(cohort_recipe_write(&twice, again) == COHORT_OK, "write", NULL);
    require(strcmp(once.data, twice.data) == 0, "written differently", twice.data);
    status = cohort_recipe_is_same_run(&same, &key, recipe, again);
    require(status == COHORT_OK && same, "not the same run", key.data);
done:
    cohort_recipe_destroy(again);
    cohort_text_clear(&once);
    cohort_text_clear(&twice);
    cohort_text_clear(&key);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    char *text = malloc(count + 1);
    require(text != NULL, "memory", NULL);
    memcpy(text, bytes, count);
    text[count] = '\0';
    size_t length = strlen(text);
    const char *set = text + length + 1;
    cohort_recipe *recipe = NULL;
    cohort_status status = cohort_recipe_parse(&recipe, text, "fuzz.yaml", ".", &set,
                                               length < count ? 1 : 0, cohort_model_catalog());
    if (status == COHORT_OK)
        check_round_trip(recipe);
    else
        require(status == COHORT_USAGE && *cohort_error_message() &&
                    !strchr(cohort_error_message(), '\n'),
                "not refused with one line", text);
    cohort_recipe_destroy(recipe);
    free(text);
    return 0;
}
