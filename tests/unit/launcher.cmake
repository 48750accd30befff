cohort_unit_test(launcher SOURCES test_launcher.c USES MPI::MPI_C)
