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

# told_in FOLDER RECORD RANKS WHERE OPTION…: trains, with SIGTERM to rank 0 a moment after RECORD was
# written; what follows it takes seconds. WHERE is what the message calls the place of the stop.
told_in() {
    folder=$1 record=$2 count=$3 where=$4
    shift 4
    if [ "$count" = 1 ]; then
        "$COHORT" train "$@" --quiet --run "$folder" >out 2>err &
    else
        "$SOURCE/launch/mpirun.sh" "$count" "$COHORT" train "$@" --quiet --run "$folder" >out 2>err &
    fi
    job=$!
    for _ in $(seq 2400); do
        grep -q "$record" "$folder/metrics.jsonl" 2>/dev/null && break
        kill -0 $job 2>/dev/null || break
        sleep 0.05
    done
    sleep 0.3
    kill -s TERM $job
    wait $job
    got=$?
    [ $got = 75 ] || wrong "$folder: exit code $got: $(cat err)"
    [ "$(grep -v '^cohort: warning: ' err)" = "cohort: stopped by a signal $where a checkpoint; run the same command again to continue" ] ||
        wrong "$folder: $(cat err)"
    [ "$(metric "$folder/metrics.jsonl" end status)" = '"stopped"' ] || wrong "$folder: no record of the stop"
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

told_in validating '"event":"step","step":10,' 1 'at step 10 after' net.yaml
grep -q '"event":"epoch"' validating/metrics.jsonl && wrong 'the validation was not cut short'
goes_on validating 1
told_in two '"event":"step","step":10,' 2 'at step 10 after' net.yaml
goes_on two 2
told_in testing '"event":"epoch","epoch":1,' 1 'at step 10 after' net.yaml
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
went_on() { # FOLDER STRATEGY RANKS
    works "$3" train fed.yaml --quiet --run "$1" --set "federated.strategy=$2"
    for figure in "round loss" "round test_loss" "test loss"; do
        # shellcheck disable=SC2086 # event and key
        [ "$(metric "$1/metrics.jsonl" $figure)" = "$(metric "$2/metrics.jsonl" $figure)" ] ||
            wrong "$1: $figure is another"
    done
    [ "$(grep -c '"event":"round"' "$1/metrics.jsonl")" = 2 ] || wrong "$1: a round was done again"
}
fed() { # FOLDER RECORD RANKS ROUNDS STRATEGY OPTION…
    folder=$1 record=$2 count=$3 where="after round $4 and" strategy=$5
    shift 5
    told_in "$folder" "$record" "$count" "$where" fed.yaml --set "federated.strategy=$strategy" "$@"
}
fed fed_two '"event":"start"' 2 0 scaffold
went_on fed_two scaffold 2
fed fed_server '"event":"round","round":1,' 1 1 fedadam
fed fed_server '"event":"round","round":2,' 1 2 fedadam
went_on fed_server fedadam 1
# A target that was reached stays reached: no further round.
target='--set federated.target_accuracy=0.01'
# shellcheck disable=SC2086 # several words
fed fed_target '"event":"round","round":1,' 1 1 fedadam $target
# shellcheck disable=SC2086
works 1 train fed.yaml --quiet --run fed_target --set federated.strategy=fedadam $target
[ "$(grep -c '"event":"round"' fed_target/metrics.jsonl)" = 1 ] || wrong 'it trained beyond the target'

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
