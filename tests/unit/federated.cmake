cohort_unit_test(federated SOURCES test_federated.c)
cohort_unit_test(partition SOURCES test_partition.c USES cohort_hdf5)
