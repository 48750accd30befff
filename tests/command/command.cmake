add_executable(make_h5 make_h5.c)
target_link_libraries(make_h5 PRIVATE cohort_options cohort_hdf5)

cohort_command_test(bad_input)
cohort_command_test(help)
cohort_command_test(runs)
cohort_command_test(stop)
cohort_command_test(evaluate)
cohort_command_test(learn)
cohort_command_test(same_bits)
cohort_command_test(random_networks)
# `cmake --build build --target equivalence`: 300 others, some six minutes.
add_custom_target(equivalence
  COMMAND ${CMAKE_COMMAND} -E env COHORT=$<TARGET_FILE:cohort> SOURCE=${CMAKE_SOURCE_DIR}
    sh ${CMAKE_CURRENT_SOURCE_DIR}/random_networks.sh 100 300
  DEPENDS cohort USES_TERMINAL)
cohort_command_test(left_data)
cohort_command_test(full_disk)

# real_data.sh LEAST RECIPE: the accuracy a recipe must reach on MNIST.
foreach(pair mnist-mlp:0.975 mnist-cnn:0.989)
  string(REPLACE ":" ";" pair ${pair})
  list(GET pair 0 recipe)
  list(GET pair 1 least)
  add_test(NAME command.${recipe}
    COMMAND sh ${CMAKE_CURRENT_SOURCE_DIR}/real_data.sh ${least} ${recipe})
  set_tests_properties(command.${recipe} PROPERTIES
    TIMEOUT 900 LABELS "command;slow" PROCESSORS 2 SKIP_RETURN_CODE 77
    ENVIRONMENT "COHORT=$<TARGET_FILE:cohort>;SOURCE=${CMAKE_SOURCE_DIR}")
endforeach()
