cohort_unit_test(convert_text SOURCES test_convert_text.c USES cohort_cli cohort_hdf5)
