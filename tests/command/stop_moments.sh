#!/bin/sh
# Told to stop while it validates or tests: at once, with a checkpoint from which the same figures
# come out. A second signal ends a run within a step and harms no checkpoint.
# shellcheck source=tests/command/lib.sh
. "$(dirname "$0")/lib.sh"
works 1 convert digits --train 200 --test 12000 --output digits.h5
# Evaluating takes far longer than training.
cat >net.yaml <<'YAML'
name: net
data: {file: digits.h5, scale: 0.004, validation: test}
model:
  - conv2d: {filters: 32, kernel: 5, activation: tanh}
  - conv2d: {filters: 32, kernel: 5, activation: tanh}
  - global_average_pool
  - dense: {units: 10}
loss: cross_entropy
train: {epochs: 1, global_batch_size: 20, threads: 1, tune: off, log_every_steps: 1}
YAML
works 1 train net.yaml --quiet --run whole
cp out whole.out

# stop_at FOLDER RECORD RANKS: SIGTERM to rank 0 a moment after RECORD was written; what follows it
# takes seconds.
stop_at() {
    if [ "$3" = 1 ]; then
        "$COHORT" train net.yaml --quiet --run "$1" >out 2>err &
    else
        "$SOURCE/launch/mpirun.sh" "$3" "$COHORT" train net.yaml --quiet --run "$1" >out 2>err &
    fi
    job=$!
    for _ in $(seq 2400); do
        grep -q "$2" "$1/metrics.jsonl" 2>/dev/null && break
        sleep 0.05
    done
    sleep 0.3
    kill -s TERM $job
    wait $job
    got=$?
    [ $got = 75 ] || wrong "$1: exit code $got: $(cat err)"
    [ "$(cat err)" = "cohort: stopped by a signal at step 10 after a checkpoint; run the same command again to continue" ] ||
        wrong "$1: $(cat err)"
    [ "$(metric "$1/metrics.jsonl" end status)" = '"stopped"' ] || wrong "$1: no record of the stop"
}
# goes_on FOLDER RANKS: to the end, with the figures of the run that nothing stopped.
goes_on() {
    works "$2" train net.yaml --quiet --run "$1"
    sed "s/run folder: $1/run folder: whole/" out | cmp -s whole.out - || wrong "$1: $(diff whole.out out)"
    for figure in "epoch validation_loss" "epoch validation_accuracy" "test loss"; do
        # shellcheck disable=SC2086 # event and key
        holds "$(metric "$1/metrics.jsonl" $figure) / $(metric whole/metrics.jsonl $figure) - 1 < 1e-6" ||
            wrong "$1: $figure is another"
    done
    [ "$(grep -c '"event":"step","step":10,' "$1/metrics.jsonl")" = 1 ] || wrong "$1: a step was done again"
}

stop_at validating '"event":"step","step":10,' 1
grep -q '"event":"epoch"' validating/metrics.jsonl && wrong 'the validation was not cut short'
goes_on validating 1
stop_at two '"event":"step","step":10,' 2
goes_on two 2
stop_at testing '"event":"epoch","epoch":1,' 1
grep -q '"event":"test"' testing/metrics.jsonl && wrong 'the test was not cut short'
goes_on testing 1
[ "$(grep -c '"event":"epoch","epoch":1,' testing/metrics.jsonl)" = 1 ] || wrong 'it validated twice'

# Federated: a round that is cut short while it evaluates leaves no trace.
works 1 convert digits --train 200 --test 6000 --output less.h5
cat >fed.yaml <<'YAML'
name: fed
data: {file: less.h5, scale: 0.004}
model:
  - conv2d: {filters: 32, kernel: 5, activation: tanh}
  - conv2d: {filters: 32, kernel: 5, activation: tanh}
  - global_average_pool
  - dense: {units: 10}
loss: cross_entropy
optimizer: {type: sgd, lr: 0.1}
train: {threads: 1, tune: off}
federated: {rounds: 2, clients: 4, fraction: 0.5, local_batch_size: 20}
YAML
for strategy in scaffold fedadam; do
    works 1 train fed.yaml --quiet --run "$strategy" --set federated.strategy=$strategy
done
# told_in FOLDER STRATEGY RANKS RECORD ROUNDS: SIGTERM a moment after RECORD; ROUNDS are kept.
told_in() {
    if [ "$3" = 1 ]; then
        "$COHORT" train fed.yaml --quiet --run "$1" --set "federated.strategy=$2" >out 2>err &
    else
        "$SOURCE/launch/mpirun.sh" "$3" "$COHORT" train fed.yaml --quiet --run "$1" \
            --set "federated.strategy=$2" >out 2>err &
    fi
    job=$!
    for _ in $(seq 2400); do
        grep -q "$4" "$1/metrics.jsonl" 2>/dev/null && break
        kill -0 $job 2>/dev/null || break
        sleep 0.05
    done
    sleep 0.3
    kill -s TERM $job
    wait $job
    got=$?
    [ $got = 75 ] || wrong "$1: exit code $got: $(cat err)"
    [ "$(cat err)" = "cohort: stopped by a signal after round $5 and a checkpoint; run the same command again to continue" ] ||
        wrong "$1: $(cat err)"
}
went_on() { # FOLDER STRATEGY RANKS
    works "$3" train fed.yaml --quiet --run "$1" --set "federated.strategy=$2"
    for figure in "round loss" "round test_loss" "test loss"; do
        # shellcheck disable=SC2086 # event and key
        [ "$(metric "$1/metrics.jsonl" $figure)" = "$(metric "$2/metrics.jsonl" $figure)" ] ||
            wrong "$1: $figure is another"
    done
    [ "$(grep -c '"event":"round"' "$1/metrics.jsonl")" = 2 ] || wrong "$1: a round was done again"
}
told_in fed_two scaffold 2 '"event":"start"' 0
went_on fed_two scaffold 2
told_in fed_server fedadam 1 '"event":"round","round":1,' 1
told_in fed_server fedadam 1 '"event":"round","round":2,' 2
went_on fed_server fedadam 1

# A second signal, in the middle of a step that takes seconds: the end at once.
"$COHORT" train net.yaml --quiet --run second --set data.train=test --set data.validation=null \
    --set train.epochs=50 --set train.global_batch_size=12000 >out 2>err &
job=$!
for _ in $(seq 2400); do
    grep -q '"event":"checkpoint"' second/metrics.jsonl 2>/dev/null && break
    sleep 0.05
done
kill -s TERM $job
sleep 2.1
if kill -s TERM $job 2>/dev/null; then # the step was not over
    wait $job
    got=$?
    [ $got = 143 ] || wrong "a second signal: exit code $got: $(cat err)"
else
    wait $job
    echo "this machine is too fast for the second signal"
fi
works 1 eval second
# Commands that only write a file leave no half of it.
killed() { # SIGNAL NUMBER OPTION…
    signal=$1 number=$2
    shift 2
    "$COHORT" "$@" >out 2>err &
    job=$!
    for _ in $(seq 400); do
        ls part.* >/dev/null 2>&1 && break
        sleep 0.05
    done
    kill -s "$signal" $job
    wait $job
    got=$?
    [ $got = $((128 + number)) ] || wrong "$1: exit code $got: $(cat err)"
    if ls part.* >/dev/null 2>&1; then wrong "$1 left $(ls part.*)"; fi
}
killed TERM 15 convert digits --train 500000 --test 10 --output part.h5
killed HUP 1 convert digits --train 500000 --test 10 --output part.h5
killed TERM 15 predict second digits.h5 --split test --output part.csv
finish
