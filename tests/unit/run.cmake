cohort_unit_test(run SOURCES test_run.c)
