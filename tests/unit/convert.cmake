cohort_unit_test(convert SOURCES test_convert.c USES cohort_cli cohort_hdf5 ZLIB::ZLIB)
