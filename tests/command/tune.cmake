cohort_command_test(tune)
