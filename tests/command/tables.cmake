cohort_command_test(tables)
set_property(TEST command.tables APPEND PROPERTY ENVIRONMENT "H5_TEXT=$<TARGET_FILE:h5_text>")
