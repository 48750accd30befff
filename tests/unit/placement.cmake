cohort_unit_test(placement SOURCES test_placement.c)
