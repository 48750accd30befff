cohort_unit_test(search SOURCES test_search.c)
