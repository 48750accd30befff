cohort_unit_test(optim SOURCES test_optim.c)
