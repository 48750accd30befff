cohort_mpi_test(net SOURCES test_net.c ../unit/h5_files.c USES cohort_hdf5 MPI::MPI_C)
