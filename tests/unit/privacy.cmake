cohort_unit_test(account SOURCES test_account.c)
cohort_unit_test(privacy SOURCES test_privacy.c)
set_tests_properties(unit.account PROPERTIES TIMEOUT 300)
cohort_unit_test(secure_sum SOURCES test_secure_sum.c)
