cohort_command_test(readme)
set_property(TEST command.readme APPEND PROPERTY ENVIRONMENT "BUILD=${CMAKE_BINARY_DIR}")
