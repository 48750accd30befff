#!/bin/sh
# File systems without working locks: a run warns, and trains; it waits for no lock server. NO_LOCKS
# is the library that takes locks away.
# shellcheck source=tests/command/lib.sh
. "${SOURCE:?}/tests/command/lib.sh"
: "${NO_LOCKS:?}"
works 1 convert digits --train 40 --test 10 --output digits.h5
cat >net.yaml <<'YAML'
name: net
data: {file: digits.h5, scale: 0.004}
model:
  - flatten
  - dense: {units: 10}
loss: cross_entropy
optimizer: {type: sgd, lr: 0.01}
train: {epochs: 1, global_batch_size: 20, threads: 1}
YAML
for how in fail wait; do
    COHORT_FAULT_LOCK=$how LD_PRELOAD=$NO_LOCKS timeout 100 "$COHORT" train net.yaml --quiet \
        --run "$how" >out 2>err
    got=$?
    [ $got = 0 ] || wrong "$how: exit code $got: $(cat err)"
    [ "$(grep -c '^cohort: warning: cannot lock run folder' err)" = 1 ] || wrong "$how: $(cat err)"
    [ "$(metric "$how/metrics.jsonl" end status)" = '"finished"' ] || wrong "$how: not finished"
done
finish
