# The examples, built as a user's programs are: C99, nothing but the installed headers.
foreach(example heat predict)
  add_executable(example_${example} ${CMAKE_SOURCE_DIR}/launch/examples/${example}.c)
  target_link_libraries(example_${example} PRIVATE cohort_static MPI::MPI_C m)
  target_compile_options(example_${example} PRIVATE -std=c99 -Wall -Wextra -pedantic
    $<$<BOOL:${COHORT_WERROR}>:-Werror>)
  if(COHORT_SANITIZE)
    target_link_options(example_${example} PRIVATE -fsanitize=${COHORT_SANITIZE})
  endif()
endforeach()
cohort_command_test(examples)
set_property(TEST command.examples APPEND PROPERTY ENVIRONMENT
  "CC=${CMAKE_C_COMPILER}" "HEAT=$<TARGET_FILE:example_heat>" "PREDICT=$<TARGET_FILE:example_predict>")
cohort_command_test(fortran)
set_property(TEST command.fortran APPEND PROPERTY ENVIRONMENT "LIBRARY=$<TARGET_FILE:cohort_shared>")
