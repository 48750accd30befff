#!/bin/sh
# File systems without working locks: a run warns, and trains; it waits for no lock server. NO_LOCKS
# is the library that takes locks away.
# shellcheck source=tests/faults/small_run.sh
. "${SOURCE:?}/tests/faults/small_run.sh"
: "${NO_LOCKS:?}"
for how in fail wait; do
    COHORT_FAULT_LOCK=$how LD_PRELOAD=$NO_LOCKS timeout 100 "$COHORT" train net.yaml --quiet \
        --run "$how" >out 2>err
    got=$?
    [ $got = 0 ] || wrong "$how: exit code $got: $(cat err)"
    [ "$(grep -c '^cohort: warning: cannot lock run folder' err)" = 1 ] || wrong "$how: $(cat err)"
    [ "$(metric "$how/metrics.jsonl" end status)" = '"finished"' ] || wrong "$how: not finished"
done
finish
