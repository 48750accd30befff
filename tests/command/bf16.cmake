cohort_command_test(bf16)
