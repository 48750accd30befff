#!/bin/sh
# setup.sh [--tests]: everything between a clone and a built program. Installs the Debian
# packages that are missing (as root or by sudo without a password; otherwise says what to
# install and stops), configures build/ and builds it. With --tests also the tests, which skip what
# needs a package that could not be installed.
set -eu
cd "$(dirname "$0")/.."

tests=OFF
case ${1:-} in
--tests) tests=ON ;;
'') ;;
*)
    echo "setup.sh: unknown option $1; the only one is --tests" >&2
    exit 2
    ;;
esac

# A library counts as there whatever package it came from.
missing=''
need() { # PACKAGE COMMAND…
    package=$1
    shift
    "$@" >/dev/null 2>&1 || missing="$missing $package"
}

has_cmake() {
    version=$(cmake --version | sed -n 's/^cmake version \([0-9]*\)\.\([0-9]*\).*/\1 \2/p')
    [ "${version% *}" -gt 3 ] || { [ "${version% *}" = 3 ] && [ "${version#* }" -ge 25 ]; }
}

has_compiler() {
    cc --version && make --version && echo '#include <stdio.h>' | cc -E -x c -
}

has_mpi() {
    command -v mpicc && mpicc --showme:version
}

has_hdf5() {
    command -v h5cc || command -v h5pcc
}

has_onednn() {
    echo '#include <oneapi/dnnl/dnnl.h>' | cc -E -x c -
}

has_h5py() {
    for python in python3 /usr/bin/python3; do
        if $python -c 'import h5py'; then return; fi
    done
    return 1
}

find_missing() {
    missing=''
    need build-essential has_compiler
    need cmake has_cmake
    need pkg-config command -v pkg-config
    need libopenmpi-dev has_mpi
    need openmpi-bin command -v mpirun
    need libopenblas-openmp-dev pkg-config --exists openblas
    need libhdf5-dev has_hdf5
    need libyaml-dev pkg-config --exists yaml-0.1
    need libjansson-dev pkg-config --exists jansson
    need libsodium-dev pkg-config --exists libsodium
    need zlib1g-dev pkg-config --exists zlib
    need libpng-dev pkg-config --exists libpng
    need libjpeg62-turbo-dev pkg-config --exists libjpeg
    if [ $tests = ON ]; then
        need libcmocka-dev pkg-config --exists cmocka
    fi
}

# Faster convolutions, and what tests look at the program with; the build does without where a
# distribution has no such package.
find_optional() {
    missing=''
    need libdnnl-dev has_onednn
    if [ $tests = ON ]; then
        need gfortran command -v gfortran
        need file command -v file
        need iproute2 command -v ip
        need python3-h5py has_h5py
    fi
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    else
        sudo -n "$@"
    fi
}

can_install() {
    command -v apt-get >/dev/null && as_root true 2>/dev/null
}

install_packages() {
    # shellcheck disable=SC2086 # a list of packages
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $missing
}

find_missing
required=$missing
if [ -n "$required" ] && ! can_install; then
    find_optional
    echo "setup.sh: packages are missing, and installing them needs root. Please run:" >&2
    echo "    sudo apt-get update && sudo apt-get install -y$required$missing" >&2
    exit 1
fi
if [ -n "$required" ]; then
    echo "== installing$required"
    as_root apt-get update
    install_packages
    find_missing
    if [ -n "$missing" ]; then
        echo "setup.sh: still missing after the installation:$missing" >&2
        exit 1
    fi
fi
find_optional
if [ -n "$missing" ] && can_install; then
    echo "== installing$missing (optional)"
    [ -n "$required" ] || as_root apt-get update || :
    install_packages || echo "setup.sh: going on without$missing"
fi

echo "== building"
mkdir -p build
if ! cmake -S . -B build -DCMAKE_BUILD_TYPE=RelWithDebInfo -DCOHORT_TESTS=$tests \
    -DCOHORT_SANITIZE='' >build/configure.log 2>&1; then
    cat build/configure.log >&2
    exit 1
fi
cmake --build build --parallel "$(nproc)"
