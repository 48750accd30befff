add_executable(set_ways set_ways.c)
target_link_libraries(set_ways PRIVATE cohort_options cohort_hdf5)
cohort_command_test(ways)
cohort_command_test(sum_ways)
