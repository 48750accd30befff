cohort_unit_test(threads SOURCES test_threads.c)
set_tests_properties(unit.threads PROPERTIES ENVIRONMENT OMP_WAIT_POLICY=passive)
