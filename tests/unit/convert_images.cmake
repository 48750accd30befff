cohort_unit_test(convert_images SOURCES test_convert_images.c
  USES cohort_cli cohort_hdf5 PNG::PNG JPEG::JPEG)
