/* --set KEY=VALUE. Private to this room. */
#ifndef COHORT_RECIPE_SET_H
#define COHORT_RECIPE_SET_H

#include "recipe/fill.h"

/* Puts the value of "train.epochs=3" or "model.0.units=64" into the tree of a recipe.
 * The value is YAML ("[0.1, 0.2]", "null"). COHORT_USAGE names "--set KEY". */
COHORT_NODISCARD cohort_status cohort_set_apply(const cohort_fill *fill, cohort_node *root,
                                                const char *set);

/* The same for VALUE (YAML) at PATH, blamed on LINE of the recipe. */
COHORT_NODISCARD cohort_status cohort_set_value(const cohort_fill *fill, cohort_node *root,
                                                const char *path, const char *value, int line);

#endif
