cohort_unit_test(pack SOURCES test_pack.c)
