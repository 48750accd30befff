cohort_command_test(fetch)
