cohort_unit_test(sequence SOURCES test_sequence.c)
