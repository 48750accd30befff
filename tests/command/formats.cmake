add_executable(h5_text h5_text.c)
target_link_libraries(h5_text PRIVATE cohort_options cohort_hdf5)

cohort_command_test(formats)
cohort_command_test(formats_readers)
foreach(name formats formats_readers)
  set_property(TEST command.${name} APPEND PROPERTY ENVIRONMENT
    "H5_TEXT=$<TARGET_FILE:h5_text>" "CC=${CMAKE_C_COMPILER}")
endforeach()
set_tests_properties(command.formats_readers PROPERTIES TIMEOUT 1200 PROCESSORS 2)
