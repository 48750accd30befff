cohort_command_test(install)
set_property(TEST command.install APPEND PROPERTY ENVIRONMENT "BUILD=${CMAKE_BINARY_DIR}" "CC=${CMAKE_C_COMPILER}")
# Both install from this build, which keeps one list of what was installed.
set_property(TEST command.install PROPERTY RESOURCE_LOCK install_manifest)
