cohort_double_test(batch_norm SOURCES test_batch_norm.c)
