cohort_command_test(readme)
set_property(TEST command.readme APPEND PROPERTY ENVIRONMENT "BUILD=${CMAKE_BINARY_DIR}")
# Both install from this build, which keeps one list of what was installed.
set_property(TEST command.readme PROPERTY RESOURCE_LOCK install_manifest)
