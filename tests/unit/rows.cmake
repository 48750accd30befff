cohort_unit_test(rows SOURCES test_rows.c)
