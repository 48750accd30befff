foreach(name manual completion package)
  cohort_command_test(${name})
  set_property(TEST command.${name} APPEND PROPERTY ENVIRONMENT "BUILD=${CMAKE_BINARY_DIR}"
    "VERSION=${PROJECT_VERSION}")
endforeach()
# It installs from this build, too.
set_property(TEST command.package PROPERTY RESOURCE_LOCK install_manifest)
