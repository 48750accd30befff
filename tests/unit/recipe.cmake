cohort_unit_test(recipe SOURCES test_recipe.c)
