cohort_command_test(install)
set_property(TEST command.install APPEND PROPERTY ENVIRONMENT "BUILD=${CMAKE_BINARY_DIR}" "CC=${CMAKE_C_COMPILER}")
