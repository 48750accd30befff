cohort_unit_test(pool SOURCES test_pool.c)
