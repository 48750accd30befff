#!/bin/sh
# How gradients are summed is tried over the first steps, said, recorded and kept; it changes no
# bit, and is not tried where the recipe says how.
# shellcheck source=tests/command/lib.sh
. "$(dirname "$0")/lib.sh"

"$COHORT" convert digits --train 2000 --test 20 --output digits.h5 >/dev/null || wrong 'digits'
# 812,000 gradients, 4 buckets of 1 MiB: a step is short, the tuning takes 20 rounds of 4 ways.
cat >net.yaml <<'Y'
data: {file: digits.h5, scale: 0.004}
model: [flatten, dense: {units: 1024, activation: relu}, dense: {units: 10}]
loss: cross_entropy
train: {epochs: 100, max_steps: 300, global_batch_size: 16, log_every_steps: 10}
checkpoint: {every_epochs: 1000}
Y
losses() { # RUN
    sed -n '/"event":"step"/p' "$1/metrics.jsonl"
}
records() { # RUN: of what was tried
    grep -c '"event":"reducer"' "$1/metrics.jsonl"
}

works 1 train net.yaml --run run1 --quiet
[ "$(records run1)" = 0 ] || wrong 'one rank tries ways to sum'
losses run1 >run1.steps
[ "$(wc -l <run1.steps)" = 30 ] || wrong 'not 30 losses'
for count in 2 3; do
    ranks $count train net.yaml --run "run$count" --verbose --quiet >out 2>err ||
        wrong "on $count: $(cat err)"
    [ "$(grep -c "^cohort: gradients are summed by shared memory, $count ranks, .* ways that were tried " err)" = 1 ] ||
        wrong "on $count, not said: $(cat err)"
    [ "$(records "run$count")" = 1 ] || wrong "on $count: $(records "run$count") records"
    tried=$(sed -n 's/.*"event":"reducer".*"tried":\[\(.*\)\].*/\1/p' "run$count/metrics.jsonl")
    [ "$(printf '%s' "$tried" | grep -o '"bucket":[1-9]' | wc -l)" = 4 ] ||
        wrong "on $count, not 4 ways: $tried"
    printf '%s' "$tried" | grep -q '"after_backward":true,"step_seconds":[0-9]' ||
        wrong "on $count: $tried"
done
losses run2 | cmp -s - run1.steps || wrong "other bits: $(losses run2 | diff run1.steps - | head -n 4)"

# Between hosts, here made up of a rank each, messages may also be packed.
COHORT_TEST_NODE_SIZE=1 ranks 2 train net.yaml --run far --set train.max_steps=600 --verbose --quiet \
    >out 2>err || wrong "far: $(cat err)"
tried=$(sed -n 's/.*"event":"reducer".*"tried":\[\(.*\)\].*/\1/p' far/metrics.jsonl)
printf '%s' "$tried" | grep -q '"after_backward":false,"step_seconds":[0-9.e-]*,"packed":true' ||
    wrong "far, nothing packed: $tried"
losses far | head -n 30 | cmp -s - run1.steps || wrong 'far: other bits'

# Continued on as many ranks it is known, on others it is tried again.
cp -r run2 more
for count in 2 3; do
    ranks $count train net.yaml --run more --set train.max_steps=$((300 * count)) --verbose \
        --quiet >out 2>err || wrong "more on $count: $(cat err)"
    [ "$(records more)" = $((count - 1)) ] || wrong "$count: $(records more) records after more"
done
ranks 2 train net.yaml --run run2 --set train.max_steps=310 --verbose --quiet >out 2>err
grep -q '^cohort: gradients are summed as before in this run: shared memory, 2 ranks, ' err ||
    wrong "not kept: $(cat err)"

# Said by the recipe, it is not tried.
while read -r name setting; do
    works 2 train net.yaml --run "$name" --quiet --set "$setting"
    [ "$(records "$name")" = 0 ] || wrong "$setting, and yet ways are tried"
    losses "$name" | cmp -s - run1.steps || wrong "$setting: other bits"
done <<'S'
bucket comm.bucket=300K
off train.tune=off
mpi comm.reducer=mpi
S
works 2 train net.yaml --run messages --quiet --set comm.reducer=messages
[ "$(records messages)" = 1 ] || wrong 'messages are not tuned'
losses messages | cmp -s - run1.steps || wrong 'messages: other bits'
finish
