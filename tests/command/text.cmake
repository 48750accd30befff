cohort_command_test(text)
