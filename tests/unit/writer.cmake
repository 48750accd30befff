cohort_unit_test(writer SOURCES test_writer.c USES cohort_hdf5)
