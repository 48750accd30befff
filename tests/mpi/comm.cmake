cohort_mpi_test(comm SOURCES test_comm.c USES MPI::MPI_C)
cohort_mpi_test(reducer SOURCES test_reducer.c)
cohort_mpi_test(rows SOURCES test_rows.c)


# Ranks that are lost: the others name them and the job ends.
add_executable(mpi_lose_a_rank ${CMAKE_CURRENT_LIST_DIR}/lose_a_rank.c)
target_link_libraries(mpi_lose_a_rank PRIVATE cohort_options cohort_static)
foreach(how kill stop exit)
  add_test(NAME mpi.lose_a_rank.${how}
    COMMAND ${CMAKE_SOURCE_DIR}/launch/mpirun.sh 3 $<TARGET_FILE:mpi_lose_a_rank> ${how})
  set_tests_properties(mpi.lose_a_rank.${how} PROPERTIES TIMEOUT 60 LABELS mpi PROCESSORS 2
    PASS_REGULAR_EXPRESSION "rank 1 on [^ ]+ (has died )?\\(last: step 3: forward\\)")
endforeach()
add_test(NAME mpi.lose_a_rank.exit_code
  COMMAND sh -c "\"$1\" 3 \"$2\" stop; test $? = 5" sh
    ${CMAKE_SOURCE_DIR}/launch/mpirun.sh $<TARGET_FILE:mpi_lose_a_rank>)
set_tests_properties(mpi.lose_a_rank.exit_code PROPERTIES TIMEOUT 60 LABELS mpi PROCESSORS 2)
