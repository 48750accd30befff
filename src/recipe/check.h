/* What one key means for another. Private to this room. */
#ifndef COHORT_RECIPE_CHECK_H
#define COHORT_RECIPE_CHECK_H

#include "recipe/fill.h"

/* Refuses combinations that make no sense and keys that would be ignored: those that
 * differ from their default where the chosen type does not use them. ROOT is the tree
 * RECIPE was filled from, for lines. COHORT_USAGE. */
COHORT_NODISCARD cohort_status cohort_recipe_check(const cohort_fill *fill,
                                                   const cohort_recipe *recipe,
                                                   const cohort_node *root);

#endif
