cohort_unit_test(conv SOURCES test_conv.c)
# The tiles of CPUs without AVX-512, compiled once more: these come before the library's.
cohort_unit_test(conv_narrow
  SOURCES
    test_conv.c
    ${PROJECT_SOURCE_DIR}/src/kernel/conv.c
    ${PROJECT_SOURCE_DIR}/src/kernel/conv_direct.c
    ${PROJECT_SOURCE_DIR}/src/kernel/conv_winograd.c
    ${PROJECT_SOURCE_DIR}/src/kernel/panel.c
)
target_compile_definitions(test_conv_narrow PRIVATE COHORT_NO_WIDE)
