cohort_unit_test(preflight SOURCES test_preflight.c)
