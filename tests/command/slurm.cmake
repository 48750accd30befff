# Some 70 seconds, most of them waiting for Slurm to look at time limits.
cohort_command_test(slurm)
set_tests_properties(command.slurm PROPERTIES LABELS "command;slow" PROCESSORS 2)
