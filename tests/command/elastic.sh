#!/bin/sh
# train.elastic: ranks that are killed or stopped, rank 0 too, and the others go on and finish
# with the losses of an undisturbed run.
# shellcheck source=tests/command/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/command/faults.sh
. "$SOURCE/tests/command/faults.sh"
works 1 convert digits --train 1000 --test 100 --size 14 --output digits.h5
cat >net.yaml <<'YAML'
name: net
data: {file: digits.h5, scale: 0.004, validation: 0.1}
model:
  - conv2d: {filters: 24, kernel: 3, activation: tanh}
  - average_pool2d
  - flatten
  - dropout: {rate: 0.1}
  - dense: {units: 10}
loss: cross_entropy
optimizer: {type: adam, lr: 0.001}
train: {epochs: 12, global_batch_size: 20, log_every_steps: 1, threads: 1, elastic: true}
checkpoint: {every_epochs: 2}
comm: {timeout: 10}
YAML
run=$SOURCE/launch/mpirun.sh
works 1 train net.yaml --run whole --quiet
losses whole >whole.losses

# goes_on FOLDER SIGNAL "RANKS" LEFT OPTION…: four ranks, those lost at step 137.
goes_on() {
    folder=$1 left=$4
    # shellcheck disable=SC2086 # several ranks
    disturb "$1" 137 "$2" $3 &
    shift 4
    timeout 120 "$run" 4 "$COHORT" train net.yaml --run "$folder" --quiet "$@" >out 2>err
    got=$?
    wait
    [ $got = 0 ] || wrong "$folder: exit code $got: $(cat err)"
    grep -qv '^cohort: warning: ' err && wrong "$folder: stderr: $(cat err)"
    grep -q "^cohort: warning: lost rank .* $left of 4 ranks go on from step" err ||
        wrong "$folder: $(cat err)"
    [ "$(metric "$folder/metrics.jsonl" ranks_lost ranks)" = "$left" ] || wrong "$folder: no record"
    [ "$(metric "$folder/metrics.jsonl" end status)" = '"finished"' ] || wrong "$folder: not finished"
    says "run folder: $folder"
    works 1 inspect "$folder/checkpoints/last.h5"
}

same() { # FOLDER
    losses "$1" | cmp -s whole.losses - || wrong "$1: other losses: $(losses "$1" | diff whole.losses - | head -n 3)"
}

goes_on one KILL 2 3
same one
goes_on first KILL 0 3
same first
goes_on two KILL "0 3" 2
same two
# A rank lost while the others regroup, as a job tells of it: it starts again by itself.
real=$(command -v mpirun)
mkdir -p false
cat >false/mpirun <<MPIRUN
#!/bin/sh
echo x >>"$PWD/false/starts"
if [ "\$(wc -l <"$PWD/false/starts")" -le "\$LOST" ]; then
    echo "cohort: rank 3 on here has died (last: regrouping): killed, out of memory or crashed" >&2
    echo "cohort-outcome: 5" >&2
    exit 0
fi
exec "$real" "\$@"
MPIRUN
chmod +x false/mpirun
again() { # LOST CODE FOLDER OPTION…: exit code CODE after LOST regroupings that lost a rank
    rm -f false/starts
    expected=$2 folder=$3
    LOST=$1 && export LOST
    shift 3
    PATH=$PWD/false:$PATH timeout 120 "$run" 2 "$COHORT" train net.yaml --run "$folder" --quiet "$@" >out 2>err
    got=$?
    [ $got = "$expected" ] || wrong "$folder: exit code $got: $(cat err)"
}
again 2 0 regrouped
same regrouped
[ "$(grep -c "lost a rank while the others regrouped: starting again" err)" = 2 ] || wrong "$(cat err)"
again 9 5 never
[ "$(wc -l <false/starts)" = 4 ] || wrong "started $(wc -l <false/starts) times"
again 1 5 inelastic --set train.elastic=false
[ "$(wc -l <false/starts)" = 1 ] || wrong "not elastic, and started again"
# The same for real, in the call that makes a communicator without the rank that was lost.
# inside FOLDER RANK CALL INSIDE: RANK is killed at step 137, then INSIDE meets its fault in CALL.
inside() {
    disturb "$1" 137 KILL "$2" &
    LD_PRELOAD=$STOP_INSIDE COHORT_FAULT_CALL=$3 COHORT_FAULT_RANK=$4 timeout 120 "$run" 4 \
        "$COHORT" train net.yaml --run "$1" --quiet >out 2>err
    got=$?
    wait
}
if [ -n "${STOP_INSIDE:-}" ]; then
    inside both 2 "comm_create_group, killed" 1
    [ $got = 0 ] || wrong "both: exit code $got: $(cat err)"
    grep -q "lost a rank while the others regrouped: starting again" err || wrong "both: $(cat err)"
    same both
    # Stopped there: the lowest rank that is left says so.
    inside stuck 0 comm_create_group 2
    [ $got = 5 ] || wrong "stuck: exit code $got: $(cat err)"
    [ "$(grep -c "regrouping did not complete on rank 1 .* rank 2 on .*: stopped by a signal" err)" = 1 ] ||
        wrong "stuck: $(cat err)"
    works 2 train net.yaml --run stuck --quiet
    same stuck
fi

# Stopped: left out after the deadline, and killed, so that it cannot come back.
goes_on stopped STOP 1 3 --set comm.timeout=2
same stopped
[ -z "$(process_of stopped 1)" ] || wrong "the stopped rank is still there"
# Two hosts, of which one is lost; messages between them.
COHORT_TEST_NODE_SIZE=2
export COHORT_TEST_NODE_SIZE
goes_on hosts KILL "2 3" 2
same hosts
unset COHORT_TEST_NODE_SIZE

# Fewer than wanted: exit code 5; started again it finishes.
disturb few 137 KILL 1 2 &
ranks 4 train net.yaml --run few --quiet --set train.min_ranks=3 >out 2>err
got=$?
wait
[ $got = 5 ] || wrong "few: exit code $got: $(cat err)"
grep -q "2 of 4 ranks are left, train.min_ranks is 3" err || wrong "few: $(cat err)"
works 2 train net.yaml --run few --quiet
same few
disturb again 137 KILL 1 2 &
timeout 120 "$run" 4 "$COHORT" train net.yaml --run again --quiet --restarts 1 \
    --set train.min_ranks=3 >out 2>err
got=$?
wait
[ $got = 0 ] || wrong "again: exit code $got: $(cat err)"
same again

# The exit codes that mpirun --enable-recovery would hide.
fails_on 2 2 "optimiser" train net.yaml --set optimiser.lr=1 --run none
fails_on 2 4 "not finite" train net.yaml --set data.scale=1e300 --run none --quiet
"$run" 2 "$COHORT" train net.yaml --run asked --quiet >out 2>err &
job=$!
for _ in $(seq 600); do
    grep -q '"step":50,' asked/metrics.jsonl 2>/dev/null && break
    sleep 0.05
done
kill -TERM $job
wait $job
got=$?
[ $got = 75 ] || wrong "SIGTERM: exit code $got: $(cat err)"

# Where mpirun would kill the others too, elastic is a promise that cannot be kept.
if [ "$(id -u)" = 0 ]; then
    export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
fi
timeout 60 mpirun -q --oversubscribe --bind-to none -n 2 "$COHORT" train net.yaml --run none >out 2>err
got=$?
[ $got = 2 ] || wrong "plain mpirun: exit code $got: $(cat err)"
grep -q "enable-recovery" err || wrong "plain mpirun: $(cat err)"
finish
