# `cpack -G DEB` in the build folder: Debian packages cohort, libcohort0 and libcohort-dev. Configure
# with -DCMAKE_INSTALL_PREFIX=/usr, so that the library goes where Debian has it. Needs `file` and
# dpkg-dev, which find out what the packages depend on.
set(CPACK_PACKAGE_NAME cohort)
set(CPACK_PACKAGE_VERSION ${PROJECT_VERSION})
set(CPACK_PACKAGE_VENDOR "Cohort")
set(CPACK_PACKAGE_CONTACT "The Cohort authors <cohort@localhost>" CACHE STRING
  "Maintainer of the packages")
set(CPACK_RESOURCE_FILE_LICENSE ${PROJECT_SOURCE_DIR}/LICENSE)
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_GENERATOR DEB)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_COMPONENTS_ALL cohort libcohort libcohort-dev)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_RELEASE 1)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_GENERATE_SHLIBS ON)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
# Folders are 0755, whatever umask the packages are made under.
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ
  GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)

set(about
"Cohort trains neural networks data-parallel on the CPU cluster or laptop at
hand, with Open MPI, OpenBLAS and HDF5: the same result on any number of ranks,
runs that continue after they were stopped, federated and private training.")
set(CPACK_DEBIAN_COHORT_PACKAGE_NAME cohort)
set(CPACK_DEBIAN_COHORT_PACKAGE_SECTION science)
set(CPACK_DEBIAN_COHORT_PACKAGE_DEPENDS "openmpi-bin, libopenblas0-openmp") # mpirun; ranks count on the threads of OpenMP
set(CPACK_DEBIAN_COHORT_DESCRIPTION "distributed neural-network training on CPU clusters
${about}")

set(CPACK_DEBIAN_LIBCOHORT_PACKAGE_NAME libcohort${PROJECT_VERSION_MAJOR})
set(CPACK_DEBIAN_LIBCOHORT_PACKAGE_SECTION libs)
set(CPACK_DEBIAN_LIBCOHORT_DESCRIPTION "distributed neural-network training: shared library
${about}
.
This is the library for programs that train inside their own process.")

set(CPACK_DEBIAN_LIBCOHORT-DEV_PACKAGE_NAME libcohort-dev)
set(CPACK_DEBIAN_LIBCOHORT-DEV_PACKAGE_SECTION libdevel)
set(CPACK_DEBIAN_LIBCOHORT-DEV_PACKAGE_SHLIBDEPS OFF)
# What pkg-config must find; those of the static library besides.
set(needed libhdf5-dev libjansson-dev libopenblas-dev libopenmpi-dev libsodium-dev libyaml-dev
  zlib1g-dev)
if(dnnl_FOUND)
  list(PREPEND needed libdnnl-dev)
endif()
list(JOIN needed ", " needed)
set(CPACK_DEBIAN_LIBCOHORT-DEV_PACKAGE_DEPENDS
  "libcohort${PROJECT_VERSION_MAJOR} (= ${PROJECT_VERSION}-${CPACK_DEBIAN_PACKAGE_RELEASE}), ${needed}")
set(CPACK_DEBIAN_LIBCOHORT-DEV_DESCRIPTION "distributed neural-network training: development files
${about}
.
Headers, the static library, a Fortran module and examples.")

# Debian has each package's licence and changes in a folder of its own.
file(READ ${PROJECT_SOURCE_DIR}/LICENSE licence)
string(REGEX REPLACE "\n\n" "\n.\n" licence "${licence}")
string(REGEX REPLACE "\n([^\n])" "\n \\1" licence "${licence}")
file(WRITE ${PROJECT_BINARY_DIR}/package/copyright
  "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n"
  "Upstream-Name: cohort\n\nFiles: *\nCopyright: 2026, the Cohort authors\nLicense: BSD-3-clause\n ${licence}")
string(TIMESTAMP date "%a, %d %b %Y %H:%M:%S +0000" UTC)
set(changes ${PROJECT_BINARY_DIR}/package/changelog.Debian)
file(WRITE ${changes} "cohort (${PROJECT_VERSION}-${CPACK_DEBIAN_PACKAGE_RELEASE}) unstable; urgency=medium\n
  * Packages of ${PROJECT_VERSION}, made by cpack.\n\n -- ${CPACK_PACKAGE_CONTACT}  ${date}\n")
execute_process(COMMAND gzip -9nf ${changes} RESULT_VARIABLE gzip_failed ERROR_QUIET)
set(documents ${PROJECT_BINARY_DIR}/package/copyright)
if(NOT gzip_failed)
  list(APPEND documents ${changes}.gz)
endif()
foreach(component cohort libcohort libcohort-dev)
  string(TOUPPER ${component} name)
  install(FILES ${documents} COMPONENT ${component}
    DESTINATION ${CMAKE_INSTALL_DATADIR}/doc/${CPACK_DEBIAN_${name}_PACKAGE_NAME})
endforeach()
include(CPack)
