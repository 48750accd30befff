#!/bin/sh
# A disk that fills up: exit code 3, one line, and what was there before stays good.
# shellcheck source=tests/command/lib.sh
. "$(dirname "$0")/lib.sh"
mkdir disk
mount -t tmpfs -o size=4m cohort-test disk 2>/dev/null || skip "mounting a small tmpfs is not permitted"
# shellcheck disable=SC2317 # called by a trap
leave() {
    umount "$work/disk"
    rm -rf "$work"
}

fails 3 "No space left" convert digits --output disk/digits.h5
[ -z "$(ls disk)" ] || wrong "a failed conversion left $(ls disk)"
works 1 convert digits --train 200 --test 20 --output digits.h5
cat >net.yaml <<'YAML'
name: net
data: {file: digits.h5, scale: 0.004}
model:
  - flatten
  - dense: {units: 64, activation: relu}
  - dense: {units: 10}
loss: cross_entropy
optimizer: {type: adam, lr: 0.001}
checkpoint: {keep: 50}
train: {epochs: 30, global_batch_size: 20}
YAML
# Weights and two slots of 51 000 numbers: 0.6 MB a checkpoint.
for count in 1 2; do
    fails_on $count 3 "No space left" train net.yaml --run disk/run$count --quiet
    [ -s disk/run$count/checkpoints/epoch-0001.h5 ] || wrong "no checkpoint before the disk was full"
    works 1 inspect disk/run$count/checkpoints/last.h5
    works 1 eval disk/run$count/checkpoints/last.h5
    [ -z "$(find disk -name '*.tmp*')" ] || wrong "left: $(find disk)"
    rm -r disk/run$count
done
finish
