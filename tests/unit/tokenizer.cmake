cohort_unit_test(tokenizer SOURCES test_tokenizer.c)
