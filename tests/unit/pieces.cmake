cohort_unit_test(pieces SOURCES test_pieces.c)
