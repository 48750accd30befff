cohort_unit_test(conv SOURCES test_conv.c)
