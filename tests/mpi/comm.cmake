cohort_mpi_test(comm SOURCES test_comm.c USES MPI::MPI_C)
cohort_mpi_test(reducer SOURCES test_reducer.c)

# Not a test: times the reducer's modes (see its head).
add_executable(bench_reducer ${CMAKE_SOURCE_DIR}/tests/bench/bench_reducer.c)
target_link_libraries(bench_reducer PRIVATE cohort_options cohort_static MPI::MPI_C)
