cohort_mpi_test(comm SOURCES test_comm.c USES MPI::MPI_C)
cohort_mpi_test(reducer SOURCES test_reducer.c)
