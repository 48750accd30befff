cohort_unit_test(choices SOURCES test_choices.c)
