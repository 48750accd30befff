cohort_command_test(report)
