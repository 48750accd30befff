cohort_double_test(losses SOURCES test_losses.c)
