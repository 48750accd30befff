#!/bin/sh
# A rank that is stopped inside a collective call of MPI without a deadline, at the start or at the
# end: exit code 5 and one line that names it. STOP_INSIDE is the library that stops it.
# shellcheck source=tests/faults/small_run.sh
. "${SOURCE:?}/tests/faults/small_run.sh"
: "${STOP_INSIDE:?}"
# stopped CALL REDUCER
stopped() {
    COHORT_FAULT_CALL=$1 timeout 100 "$SOURCE/launch/mpirun.sh" 3 \
        env LD_PRELOAD="$STOP_INSIDE" "$COHORT" train net.yaml --quiet --run "$1" \
        --set comm.reducer="$2" --set comm.timeout=3 >out 2>err
    got=$?
    [ $got = 5 ] || wrong "$1: exit code $got: $(cat err)"
    grep -v '^cohort: warning: ' err >said
    grep -q '^cohort: .*rank 1 on .*: stopped by a signal' said || wrong "$1: $(cat err)"
    [ "$(grep -c '^cohort: ' said)" = 1 ] || wrong "$1: not one line: $(cat err)"
}
stopped win_allocate_shared shared
stopped comm_dup mpi
stopped win_free shared
finish
