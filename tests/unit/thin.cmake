cohort_unit_test(thin SOURCES test_thin.c)
cohort_unit_test(thin_narrow SOURCES test_thin.c)
target_compile_definitions(test_thin_narrow PRIVATE COHORT_NO_WIDE)

cohort_unit_test(large SOURCES test_large.c)
cohort_unit_test(large_narrow SOURCES test_large.c)
target_compile_definitions(test_large_narrow PRIVATE COHORT_NO_WIDE)

cohort_unit_test(sparse SOURCES test_sparse.c)
cohort_unit_test(sparse_narrow SOURCES test_sparse.c)
target_compile_definitions(test_sparse_narrow PRIVATE COHORT_NO_WIDE)
