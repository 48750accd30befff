cohort_unit_test(options SOURCES test_options.c USES cohort_cli)
cohort_unit_test(job_output SOURCES test_job_output.c USES cohort_cli)
