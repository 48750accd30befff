cohort_unit_test(options SOURCES test_options.c USES cohort_cli)
