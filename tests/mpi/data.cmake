cohort_mpi_test(dataset SOURCES test_dataset.c ../unit/h5_files.c USES cohort_hdf5)
