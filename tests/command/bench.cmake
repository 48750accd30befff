cohort_command_test(bench)
