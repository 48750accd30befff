cohort_unit_test(kernel SOURCES test_kernel.c)
