#!/bin/sh
# Federated training with real clients: each rank its own file, rank 0 coordinates. Clients that
# are killed or stopped are dropped, the run goes on.
# shellcheck source=tests/command/lib.sh
. "$(dirname "$0")/lib.sh"
command -v pgrep >/dev/null || skip "no pgrep (procps)"
for rank in 0 1 2 3; do
    works 1 convert digits --train $((200 + 20 * rank)) --test 100 --size 14 --seed $((rank + 1)) \
        --output site-$rank.h5
done
cat >fed.yaml <<'YAML'
name: fed
data: {file: "site-{rank}.h5", scale: 0.004}
model:
  - flatten
  - dense: {units: 24, activation: relu}
  - dense: {units: 10}
loss: cross_entropy
optimizer: {type: sgd, lr: 0.05}
train: {threads: 1}
comm: {timeout: 60}
federated: {rounds: 8, fraction: 1, local_epochs: 2, min_clients: 2}
YAML

# refuses RANKS STATUS TEXT ARGUMENT…: as fails_on, on more ranks than this machine has cores.
refuses() {
    on=$1 status=$2 text=$3
    shift 3
    ranks "$on" "$@" >out 2>err
    got=$?
    [ $got = "$status" ] || wrong "on $on: $*: exit code $got, not $status: $(cat err)"
    [ "$(grep -cv '^cohort: warning: ' err)" = 1 ] || wrong "on $on: $*: not one line: $(cat err)"
    grep -qF -- "$text" err || wrong "on $on: $*: no \"$text\" in: $(cat err)"
}

works 4 train fed.yaml --run whole --quiet
m=whole/metrics.jsonl
[ "$(metric $m round clients)" = 3 ] || wrong "not three clients: $(metric $m round clients)"
[ "$(metric $m start simulated)" = false ] || wrong "simulated"
[ "$(metric $m start train_samples)" = 720 ] || wrong "samples: $(metric $m start train_samples)"
holds "$(metric $m test accuracy) > 0.5" || wrong "learns nothing: $(cat out)"
holds "$(metric $m round bytes_up) > 0 && $(metric $m round bytes_down) > 0" || wrong "no bytes"
grep -q 'file: "site-{rank}.h5"' whole/recipe.yaml || wrong "the resolved recipe names a file"
# Sums are exact, so the order in which updates come does not matter.
works 4 train fed.yaml --run again --quiet
for run in whole again; do
    sed -n 's/,"lr".*//; /"event":"round"/p' $run/metrics.jsonl >$run.rounds
done
cmp -s whole.rounds again.rounds || wrong "two runs differ: $(diff whole.rounds again.rounds)"
works 4 train fed.yaml --run few --quiet --set federated.compression=quantize \
    --set federated.strategy=median
refuses 4 2 "is finished" train fed.yaml --run whole

# --- Mistakes: one line, from whoever makes them ----------------------------------------------
fails_on 1 2 "needs ranks" train fed.yaml
refuses 3 2 "put {rank} into data.file" train fed.yaml --set data.file=site-0.h5
refuses 5 3 "rank 4 on" train fed.yaml
refuses 3 5 "fewer than federated.min_clients" train fed.yaml --set federated.min_clients=3 --run x
mv site-2.h5 gone.h5
works 1 convert digits --train 50 --test 10 --size 16 --output site-2.h5
refuses 4 3 "same shape everywhere" train fed.yaml --run shapes
mv gone.h5 site-2.h5

# --- Clients that are lost -----------------------------------------------------------------------
OMPI_MCA_orte_enable_recovery=1
export OMPI_MCA_orte_enable_recovery

# The process that is RANK of the run in FOLDER.
find_rank() { # FOLDER RANK
    for process in $(pgrep -f "train fed.yaml --run $1 "); do
        tr '\0' '\n' 2>/dev/null <"/proc/$process/environ" | grep -qx "OMPI_COMM_WORLD_RANK=$2" &&
            echo "$process"
    done 2>/dev/null
}

# Starts a run on 4 ranks, sends SIGNAL to RANK at its tenth round, waits for its end.
lose() { # FOLDER SIGNAL RANK OPTION…
    folder=$1 signal=$2 victim=$3
    shift 3
    timeout 240 "$SOURCE/launch/mpirun.sh" 4 "$COHORT" train fed.yaml --run "$folder" --quiet \
        --set federated.round_timeout=3 --set federated.evaluate_every=100 \
        --set checkpoint.every_epochs=100 "$@" >out 2>err &
    job=$!
    for _ in $(seq 600); do
        grep -q '"round":10,"clients' "$folder/metrics.jsonl" 2>/dev/null && break
        sleep 0.05
    done
    found=$(find_rank "$folder" "$victim")
    [ -n "$found" ] || wrong "no rank $victim of $folder"
    for process in $found; do
        kill -s "$signal" "$process"
    done
    wait $job
    got=$?
}

lose killed KILL 2 --set federated.rounds=4000
[ "$(metric killed/metrics.jsonl end status)" = '"finished"' ] || wrong "a killed client ends the run: $(cat err)"
[ "$(metric killed/metrics.jsonl round round)" = 4000 ] || wrong "killed: not all rounds"
[ "$(metric killed/metrics.jsonl round clients)" = 2 ] || wrong "killed: the dead one counts"
grep -q '^cohort: warning: client 1 (rank 2 on .*) has died' err || wrong "killed: $(cat err)"

lose stopped STOP 3 --set federated.rounds=3000
[ "$(metric stopped/metrics.jsonl end status)" = '"finished"' ] || wrong "a stopped client ends the run: $(cat err)"
grep -q '^cohort: warning: round [0-9]* goes on without client 2: its update did not come in time' err ||
    wrong "stopped: $(cat err)"
grep -q '"dropped":\[{"client":2,"why":"did not answer"}\]' stopped/metrics.jsonl || wrong "stopped: no record"

# Masked updates of real clients give the plain sum to the bit, and a dead client is recovered from.
works 4 train fed.yaml --run plain --set federated.fraction=1 --set federated.rounds=3
works 4 train fed.yaml --run masked --set federated.fraction=1 --set federated.rounds=3 \
    --set federated.secure_aggregation=true
"$COHORT" diff plain masked >out 2>err # its exit code says that the recipes differ
grep -q '^weights: the same' out || wrong "masked and plain sums: $(cat out err)"
lose masked_killed KILL 2 --set federated.rounds=1000 --set federated.fraction=1 \
    --set federated.secure_aggregation=true
[ "$(metric masked_killed/metrics.jsonl end status)" = '"finished"' ] || wrong "masked, killed: $(cat err)"
[ "$(metric masked_killed/metrics.jsonl round round)" = 1000 ] || wrong "masked, killed: not all rounds"
grep -q '^cohort: warning: client 1 (rank 2 on .*) has died' err || wrong "masked, killed: $(cat err)"

# Too few are left: the coordinator says so and ends, its checkpoint stays.
lose few_left KILL 1 --set federated.rounds=100000 --set federated.min_clients=3
grep -q '^cohort: round [0-9]*: .*fewer than federated.min_clients (3)' err || wrong "too few: $(cat err)"

# Without a coordinator clients do not stay behind.
lose headless KILL 0 --set federated.rounds=100000
[ -z "$(find_rank headless 1)$(find_rank headless 2)$(find_rank headless 3)" ] || wrong "clients stay behind"

# A signal to all stops after a checkpoint; the same command goes on.
unset OMPI_MCA_orte_enable_recovery
"$SOURCE/launch/mpirun.sh" 4 "$COHORT" train fed.yaml --run stop --quiet \
    --set federated.rounds=3000 >out 2>err &
job=$!
for _ in $(seq 600); do
    grep -q '"round":10,"clients' stop/metrics.jsonl 2>/dev/null && break
    sleep 0.05
done
kill -s TERM $job
wait $job
got=$?
[ $got = 75 ] || wrong "TERM: exit code $got, not 75: $(cat err)"
[ "$(grep -cv '^cohort: warning: ' err)" = 1 ] || wrong "TERM: $(cat err)"
works 4 train fed.yaml --run stop --set federated.rounds="$(($(metric stop/metrics.jsonl end round) + 5))"
says "continuing from"
finish
