# Ranks that are not alike, and `cohort check`. What makes one rank unlike the others, and a
# program of another version:
add_library(odd_rank MODULE odd_rank.c)
target_compile_definitions(odd_rank PRIVATE _GNU_SOURCE)
target_link_libraries(odd_rank PRIVATE PkgConfig::OPENBLAS ${CMAKE_DL_LIBS})

if(TARGET cohort)
  add_executable(other_version ${CMAKE_SOURCE_DIR}/src/cli/main.c ${CMAKE_SOURCE_DIR}/src/federated/api.c)
  target_link_libraries(other_version PRIVATE cohort_options cohort_cli cohort_static)
  set_source_files_properties(${CMAKE_SOURCE_DIR}/src/federated/api.c PROPERTIES
    COMPILE_OPTIONS "-UCOHORT_VERSION;-DCOHORT_VERSION=\"0.0.0-other\"")
endif()

cohort_command_test(disagree)
cohort_command_test(check)
cohort_command_test(nonfinite)
if(TARGET cohort)
  set_property(TEST command.disagree command.check command.nonfinite APPEND PROPERTY ENVIRONMENT
    "ODD_RANK=$<TARGET_FILE:odd_rank>;OTHER_VERSION=$<TARGET_FILE:other_version>")
endif()
