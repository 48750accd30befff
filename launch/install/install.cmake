# What `cmake --install` puts where: the program, both libraries, headers, recipes, and how
# other builds find them.
include(CMakePackageConfigHelpers)

# Three packages: the program, the library that programs run with, what they are built with.
set(program COMPONENT cohort)
set(development COMPONENT libcohort-dev)
install(TARGETS cohort RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} ${program})
install(TARGETS cohort_static ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} ${development})
set_target_properties(cohort_shared PROPERTIES EXPORT_NAME cohort)
install(TARGETS cohort_shared EXPORT cohort-targets LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}
  COMPONENT libcohort NAMELINK_COMPONENT libcohort-dev)
install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/cohort DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} ${development})
install(DIRECTORY ${PROJECT_SOURCE_DIR}/launch/recipes DESTINATION ${CMAKE_INSTALL_DATADIR}/cohort ${program})
install(DIRECTORY ${PROJECT_SOURCE_DIR}/launch/examples DESTINATION ${CMAKE_INSTALL_DATADIR}/cohort ${development})

# Manual pages and completions, where the shells look for them. Debian keeps site-functions for
# what is in /usr/local.
set(zsh_folder zsh/site-functions)
if(CMAKE_INSTALL_PREFIX STREQUAL "/usr" AND EXISTS /etc/debian_version)
  set(zsh_folder zsh/vendor-completions)
endif()
foreach(folder man bash-completion fish)
  install(DIRECTORY ${PROJECT_BINARY_DIR}/manual/${folder} DESTINATION ${CMAKE_INSTALL_DATADIR} ${program})
endforeach()
install(FILES ${PROJECT_BINARY_DIR}/manual/zsh/site-functions/_cohort
  DESTINATION ${CMAKE_INSTALL_DATADIR}/${zsh_folder} ${program})

# The modulefile names the prefix, which is known when it is installed: `--prefix` may change it.
# What is in /usr needs none.
if(NOT CMAKE_INSTALL_PREFIX STREQUAL "/usr")
  set(PREFIX_THEN "@CMAKE_INSTALL_PREFIX@")
  configure_file(${CMAKE_CURRENT_LIST_DIR}/modulefile.in ${PROJECT_BINARY_DIR}/modulefile.in @ONLY)
  install(CODE "configure_file(\"${PROJECT_BINARY_DIR}/modulefile.in\"
    \"${PROJECT_BINARY_DIR}/modulefile\" @ONLY)" ${program})
  install(FILES ${PROJECT_BINARY_DIR}/modulefile RENAME ${PROJECT_VERSION}
    DESTINATION ${CMAKE_INSTALL_DATADIR}/modulefiles/cohort ${program})
endif()

set(package_folder ${CMAKE_INSTALL_LIBDIR}/cmake/cohort)
install(EXPORT cohort-targets NAMESPACE cohort:: DESTINATION ${package_folder}
  ${development})
configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/cohort-config.cmake.in
  ${PROJECT_BINARY_DIR}/cohort-config.cmake INSTALL_DESTINATION ${package_folder})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/cohort-config-version.cmake
  COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/cohort-config.cmake
  ${PROJECT_BINARY_DIR}/cohort-config-version.cmake DESTINATION ${package_folder} ${development})

# For static linking: what the rooms use.
set(COHORT_STATIC_REQUIRES "openblas yaml-0.1 libsodium jansson zlib ompi-c")
list(JOIN HDF5_C_LIBRARIES " " COHORT_STATIC_LIBS)
if(dnnl_FOUND)
  string(APPEND COHORT_STATIC_LIBS " -ldnnl")
endif()
string(APPEND COHORT_STATIC_LIBS " -lgomp")
file(RELATIVE_PATH COHORT_PC_TO_PREFIX /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
configure_file(${CMAKE_CURRENT_LIST_DIR}/cohort.pc.in ${PROJECT_BINARY_DIR}/cohort.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/cohort.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig
  ${development})

# `cmake --build build --target uninstall`: what the last installation listed.
configure_file(${CMAKE_CURRENT_LIST_DIR}/uninstall.cmake.in ${PROJECT_BINARY_DIR}/uninstall.cmake @ONLY)
add_custom_target(uninstall COMMAND ${CMAKE_COMMAND} -P ${PROJECT_BINARY_DIR}/uninstall.cmake VERBATIM)

include(${CMAKE_CURRENT_LIST_DIR}/package.cmake)
