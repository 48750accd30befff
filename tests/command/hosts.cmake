cohort_command_test(hosts)
set_tests_properties(command.hosts PROPERTIES PROCESSORS 2)
cohort_command_test(hosts_elastic)
set_tests_properties(command.hosts_elastic PROPERTIES PROCESSORS 2)
