cohort_unit_test(checkpoint SOURCES test_checkpoint.c USES cohort_hdf5)
cohort_unit_test(image SOURCES test_image.c USES cohort_hdf5)
# Other tools read what we write: skips (77) without python3 and h5py.
add_test(NAME unit.checkpoint_h5py
  COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/checkpoint_h5py.sh $<TARGET_FILE:test_checkpoint>)
set_tests_properties(unit.checkpoint_h5py PROPERTIES
  TIMEOUT 120 LABELS unit SKIP_RETURN_CODE 77)
