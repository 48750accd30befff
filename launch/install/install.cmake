# What `cmake --install` puts where: the program, both libraries, headers, recipes, and how
# other builds find them.
include(CMakePackageConfigHelpers)

install(TARGETS cohort RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(TARGETS cohort_static ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
set_target_properties(cohort_shared PROPERTIES EXPORT_NAME cohort)
install(TARGETS cohort_shared EXPORT cohort-targets LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/cohort DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(DIRECTORY ${PROJECT_SOURCE_DIR}/launch/recipes ${PROJECT_SOURCE_DIR}/launch/examples DESTINATION ${CMAKE_INSTALL_DATADIR}/cohort)

# Manual pages and completions (src/cli/CMakeLists.txt), where man and the shells look.
set(manual ${PROJECT_BINARY_DIR}/manual)
install(DIRECTORY ${manual}/man/ DESTINATION ${CMAKE_INSTALL_MANDIR})
install(DIRECTORY ${manual}/bash-completion ${manual}/zsh ${manual}/fish
  DESTINATION ${CMAKE_INSTALL_DATADIR})

set(package_folder ${CMAKE_INSTALL_LIBDIR}/cmake/cohort)
install(EXPORT cohort-targets NAMESPACE cohort:: DESTINATION ${package_folder})
configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/cohort-config.cmake.in
  ${PROJECT_BINARY_DIR}/cohort-config.cmake INSTALL_DESTINATION ${package_folder})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/cohort-config-version.cmake
  COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/cohort-config.cmake
  ${PROJECT_BINARY_DIR}/cohort-config-version.cmake DESTINATION ${package_folder})

# For static linking: what the rooms use.
set(COHORT_STATIC_REQUIRES "openblas yaml-0.1 libsodium zlib ompi-c")
list(JOIN HDF5_C_LIBRARIES " " COHORT_STATIC_LIBS)
if(dnnl_FOUND)
  string(APPEND COHORT_STATIC_LIBS " -ldnnl")
endif()
string(APPEND COHORT_STATIC_LIBS " -lgomp")
file(RELATIVE_PATH COHORT_PC_TO_PREFIX /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
configure_file(${CMAKE_CURRENT_LIST_DIR}/cohort.pc.in ${PROJECT_BINARY_DIR}/cohort.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/cohort.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

# `cmake --build build --target uninstall`: what the last installation listed.
configure_file(${CMAKE_CURRENT_LIST_DIR}/uninstall.cmake.in ${PROJECT_BINARY_DIR}/uninstall.cmake @ONLY)
add_custom_target(uninstall COMMAND ${CMAKE_COMMAND} -P ${PROJECT_BINARY_DIR}/uninstall.cmake VERBATIM)
