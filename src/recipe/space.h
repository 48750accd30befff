/* `search.space`: keys of the recipe and what they may be. Private to this room. */
#ifndef COHORT_RECIPE_SPACE_H
#define COHORT_RECIPE_SPACE_H

#include "recipe/fill.h"

/* Fills SPACE from the mapping NODE. COHORT_USAGE names file, line and key. */
COHORT_NODISCARD cohort_status cohort_space_fill(const cohort_fill *fill, const cohort_node *node,
                                                 cohort_space *space);

/* Appends SPACE as YAML flow text that reads back as the same. */
void cohort_space_write(cohort_text *text, const cohort_space *space);

/* Whether the recipe TEXT with SETS takes each value that SEARCH may draw, one key at a time (the
 * ends of ranges; combinations are seen when they are tried). COHORT_USAGE names file, line and
 * the nearest key, as for a key that stands in the recipe itself. */
COHORT_NODISCARD cohort_status cohort_space_check(const cohort_fill *fill,
                                                  const cohort_search_recipe *search,
                                                  const char *text, const char *const *sets,
                                                  size_t set_count);

#endif
