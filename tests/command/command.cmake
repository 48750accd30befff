add_executable(make_h5 make_h5.c)
target_link_libraries(make_h5 PRIVATE cohort_options cohort_hdf5)

cohort_command_test(bad_input)
