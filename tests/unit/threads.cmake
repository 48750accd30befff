cohort_unit_test(threads SOURCES test_threads.c)
