cohort_command_test(elastic)
if(TARGET cohort AND NOT COHORT_SANITIZE) # their run-time library wants to be loaded first
  set_property(TEST command.elastic APPEND PROPERTY
    ENVIRONMENT "STOP_INSIDE=$<TARGET_FILE:stop_inside>")
endif()
