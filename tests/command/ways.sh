#!/bin/sh
# How convolutions are computed: measured and said with --verbose, kept with the run, taken up
# when it is continued, on any number of ranks.
# shellcheck source=tests/command/lib.sh
. "$(dirname "$0")/lib.sh"
set_ways=$(dirname "$MAKE_H5")/set_ways

"$COHORT" convert digits --train 200 --test 20 --output digits.h5 >/dev/null || wrong 'digits'
cat >net.yaml <<'Y'
data: {file: digits.h5, scale: 0.004}
model:
  - conv2d: {filters: 16, kernel: 3, activation: relu}
  - conv2d: {filters: 16, kernel: 3, padding: same}
  - conv2d: {filters: 16, kernel: 3, padding: same, name: third}
  - flatten
  - dense: {units: 10}
loss: cross_entropy
train: {epochs: 100, max_steps: 6, global_batch_size: 40, log_every_steps: 1}
checkpoint: {every_epochs: 1000}
Y

# One line a layer on stderr, with times; nothing without --verbose.
for count in 1 2; do
    ranks $count train net.yaml --run "run$count" --verbose --quiet >out 2>err ||
        wrong "on $count: $(cat err)"
    grep -Eq '^cohort: 0_conv2d: forward [a-z]+ [0-9.]+ us \(.*\), weights [a-z]+ [0-9.]+ us .*a sample$' \
        err || wrong "on $count: no times: $(cat err)"
    grep -Eq '^cohort: 1_conv2d: .*, dx [a-z]+ [0-9.]+ us ' err || wrong "no dx: $(cat err)"
    [ "$(grep -c '^cohort: third: as 1_conv2d a sample$' err)" = 1 ] || wrong "third: $(cat err)"
done
works 1 train net.yaml --run quiet
ways_of() { # RUN
    sed -n 's/.*"ways":\[\([^]]*\)\].*/\1/p' "$1/metrics.jsonl" | head -n 1
}
[ -n "$(ways_of run1)" ] || wrong "no ways in the start record"
[ "$(ways_of run1)" = "$(ways_of run2)" ] ||
    wrong "the ways of 1 and 2 ranks: $(ways_of run1) and $(ways_of run2)"
ranks 1 train net.yaml --run rule --verbose --quiet --set train.tune=off >out 2>err
grep -q '^cohort: 0_conv2d [a-z]* [a-z]* [a-z]* (forward, dx, weights; by rule, not measured)$' err ||
    wrong "by rule: $(cat err)"
fails_on 1 2 "train.tune" train net.yaml --run wrong --set train.tune=maybe

# A run computed otherwise goes on otherwise, whatever is measured now and on what ranks.
kept='0_conv2d gemm gemm direct\n1_conv2d gemm gemm gemm\nthird gemm gemm direct\n'
"$set_ways" run1/checkpoints/last.h5 "$kept" || wrong "set_ways"
cp -r run1 more1
cp -r run1 more2
cp -r run1 more4
for count in 1 2 4; do
    ranks $count train net.yaml --run more$count --set train.max_steps=12 --verbose --quiet \
        --set train.tune=fastest >out 2>err || wrong "more on $count: $(cat err)"
    grep -q '^cohort: third gemm gemm direct (forward, dx, weights; as before in this run)$' err ||
        wrong "not taken up on $count: $(cat err)"
    grep -qF '"ways":["0_conv2d gemm gemm direct","1_conv2d gemm gemm gemm","third gemm gemm direct"]' more$count/metrics.jsonl || wrong "not recorded on $count"
    sed -n '/"event":"step"/p' more$count/metrics.jsonl >more$count.steps
    [ "$(wc -l <more$count.steps)" = 12 ] || wrong "not 12 steps on $count"
    cmp -s more1.steps more$count.steps || wrong "other bits on $count"
done
# Evaluation computes in the ways of the run too, and damage is noticed.
works 1 eval more1 --data digits.h5
"$set_ways" more1/checkpoints/last.h5 '0_conv2d warp warp warp' || wrong "set_ways"
fails_on 1 3 "'0_conv2d warp warp warp' is no way" train net.yaml --run more1 --set train.max_steps=20
finish
