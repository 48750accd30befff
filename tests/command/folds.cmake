cohort_command_test(folds)
