cohort_unit_test(sampling SOURCES test_sampling.c)
