cohort_command_test(hosts)
set_tests_properties(command.hosts PROPERTIES PROCESSORS 2)
