cohort_unit_test(steady SOURCES test_steady.c USES cohort_cli)
