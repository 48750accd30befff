if(TARGET cohort_recipe) # it reads its networks as recipes
  cohort_double_test(conformance SOURCES test_conformance.c)
endif()
