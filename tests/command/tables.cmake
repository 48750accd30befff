cohort_command_test(tables)
