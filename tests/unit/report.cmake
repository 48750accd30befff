cohort_unit_test(report SOURCES test_report.c)
