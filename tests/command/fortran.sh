#!/bin/sh
# The Fortran module and its example, with the library as it is installed.
# shellcheck source=tests/command/lib.sh
. "$(dirname "$0")/lib.sh"
: "${LIBRARY:?}"
mpifort --version >/dev/null 2>&1 ||
    skip 'there is no mpifort with a compiler (Debian: gfortran): the Fortran module is not tried'
if ldd "$LIBRARY" | grep -q san; then skip 'the library is built with a sanitizer'; fi
folder=$(dirname "$LIBRARY")

mpifort -std=f2018 -Wall -Werror "$SOURCE/include/cohort/cohort.f90" \
    "$SOURCE/launch/examples/surface.f90" -L"$folder" -lcohort -Wl,-rpath,"$folder" -o surface \
    >fc.log 2>&1 || wrong "the example does not build: $(cat fc.log)"
for on in 1 3; do
    timeout 120 "$SOURCE/launch/mpirun.sh" "$on" ./surface >out 2>err ||
        wrong "surface on $on: $(cat err)"
    error=$(sed -n 's/^after .* rms error \([0-9.]*\)$/\1/p' out)
    holds "${error:-1} < 0.1" || wrong "surface on $on: $(cat out)"
done

# Types of both languages have one size each.
cat >sizes.c <<'C'
#include <cohort/cohort.h>
#include <stdio.h>
int main(void)
{
    printf("%zu %zu %zu %zu\n", sizeof(cohort_array), sizeof(cohort_arrays),
           sizeof(cohort_net_config), sizeof(cohort_net_view));
    return 0;
}
C
cat >sizes.f90 <<'F'
program sizes
  use, intrinsic :: iso_c_binding
  use cohort
  type(cohort_array) :: a
  type(cohort_arrays) :: b
  type(cohort_net_config) :: c
  type(cohort_net_view) :: d
  print '(i0,3(1x,i0))', c_sizeof(a), c_sizeof(b), c_sizeof(c), c_sizeof(d)
end program sizes
F
mpicc -I"$SOURCE/include" sizes.c -o sizes_c >cc.log 2>&1 || wrong "sizes.c: $(cat cc.log)"
mpifort "$SOURCE/include/cohort/cohort.f90" sizes.f90 -L"$folder" -lcohort -Wl,-rpath,"$folder" \
    -o sizes_f >fc.log 2>&1 || wrong "sizes.f90: $(cat fc.log)"
[ "$(./sizes_c)" = "$(./sizes_f)" ] || wrong "sizes: C $(./sizes_c), Fortran $(./sizes_f)"
finish
