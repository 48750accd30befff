cohort_unit_test(bf16 SOURCES test_bf16.c)
