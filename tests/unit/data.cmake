cohort_unit_test(dataset SOURCES test_dataset.c h5_files.c USES cohort_hdf5)
cohort_unit_test(sampler SOURCES test_sampler.c)
cohort_unit_test(loader SOURCES test_loader.c h5_files.c USES cohort_hdf5)
cohort_unit_test(augment SOURCES test_augment.c)
