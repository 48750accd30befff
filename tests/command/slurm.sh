#!/bin/sh
# launch/slurm/train.sbatch under a real Slurm: stopped by its time limit, requeued and
# finished with the losses of an undisturbed run; a killed rank; an array; a cancelled job.
# shellcheck source=tests/command/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/command/slurm_cluster.sh
. "$SOURCE/tests/command/slurm_cluster.sh"
for name in $(env | sed -n 's/^\(SLURM_[A-Z_]*\|SBATCH_[A-Z_]*\|SRUN_[A-Z_]*\)=.*/\1/p'); do
    unset "$name" # of a job this test itself may run in
done
obstacle=$(slurm_obstacle)
[ -z "$obstacle" ] || skip "$obstacle"

leave() {
    slurm_stop
    rm -rf "$work"
}
slurm_start "$work/slurm" || {
    tail -n 5 slurm/*.log slurm/munge/log
    wrong 'Slurm does not start'
    finish
}
export COHORT
srun --mpi=list 2>&1 | grep -q pmix || skip 'this Slurm has no PMIx plugin'

works 1 convert digits --train 1000 --test 100 --output digits.h5
cat >net.yaml <<'YAML'
name: net
data: {file: digits.h5, scale: 0.004}
model:
  - conv2d: {filters: 32, kernel: 3, activation: relu}
  - flatten
  - dense: {units: 10}
loss: cross_entropy
optimizer: {type: sgd, lr: 0.01}
train: {epochs: 1000, global_batch_size: 40, threads: 1, log_every_steps: 10}
checkpoint: {every_epochs: 10}
YAML

# Submits train.sbatch on two tasks; its job number in `job`, its output in log.NUMBER.
submit() { # OPTION of sbatch… -- OPTION of train…
    options=''
    while [ "$1" != -- ]; do
        options="$options $1"
        shift
    done
    shift
    # shellcheck disable=SC2086 # several words
    job=$(sbatch --parsable --ntasks=2 --output="$work/log.%A" $options \
        "$SOURCE/launch/slurm/train.sbatch" net.yaml "$@") || wrong "sbatch $*"
}

state() { # JOB
    scontrol show job "$1" | sed -n 's/.*JobState=\([A-Z]*\).*/\1/p' | sort -u
}
is_in() { # JOB STATE
    [ "$(state "$1")" = "$2" ]
}
is_restarted() { # JOB TIMES
    scontrol show job "$1" | grep -q "Restarts=$2 "
}
# The job goes back into the queue, once; Slurm would let it wait there for two minutes.
requeued() { # JOB
    slurm_await 60 is_restarted "$1" 1 || wrong "job $1 is not requeued"
    slurm_await 20 is_in "$1" PENDING || wrong "job $1 is $(state "$1"), not PENDING"
    sleep 3 # the node must have put the first start away
    scontrol update JobId="$1" StartTime=now TimeLimit=30 || wrong "job $1 cannot start again"
}
is_over() { # JOB
    [ -z "$(squeue --noheader --jobs="$1")" ]
}
has_step() { # FOLDER STEP
    grep -q "\"step\":$2," "$1/metrics.jsonl"
}
ends() { # JOB STATE SECONDS
    slurm_await "$3" is_in "$1" "$2" || wrong "job $1 is $(state "$1"), not $2: $(tail -n 5 "$work/log.$1")"
}
losses() { # FOLDER -> the last loss of each step
    sed -n 's/.*"event":"step","step":\([0-9]*\),.*"loss":\([^,]*\),.*/\1 \2/p' "$1/metrics.jsonl" |
        awk '{ loss[$1] = $2 } END { for (step in loss) print step, loss[step] }' | sort -n
}
same() { # FOLDER FOLDER
    losses "$1" >left
    losses "$2" >right
    [ -s left ] || wrong "$1 has no losses"
    cmp -s left right || wrong "$1 and $2: $(diff left right | head -n 3)"
    [ "$(metric "$1/metrics.jsonl" test loss)" = "$(metric "$2/metrics.jsonl" test loss)" ] ||
        wrong "$1 and $2 end with other losses"
}

# slurmctld looks at time limits every 30 seconds; a job that only waits for its warning tells
# when.
cat >canary <<'SH'
#!/bin/sh
trap 'touch warned; exit 0' USR1
while :; do sleep 0.1; done
SH
sbatch --quiet --time=1 --signal=B:USR1@50 --output=/dev/null canary

# How many steps take some 7 seconds here, and the losses of a run that nothing disturbs.
submit -- --run short --set train.max_steps=300
ends "$job" COMPLETED 60
steps=$(sed -n 's/.*"event":"epoch".*"seconds":\([^,]*\).*/\1/p' short/metrics.jsonl |
    awk '{ sum += $1 } END { print int(300 * 7 / sum) }')
submit -- --run whole --set train.max_steps="$steps"
ends "$job" COMPLETED 120

# A rank is killed: the run starts again by itself, from the last checkpoint.
submit -- --run killed --set train.max_steps="$steps"
slurm_await 60 test -s killed/checkpoints/last.h5 || wrong 'the run does not start'
victim=$(scontrol listpids "$job.0" | awk '$4 == 1 { print $1 }')
kill -9 "$victim" || wrong "rank 1 of job $job is not process '$victim'"
ends "$job" COMPLETED 120
grep -q 'starting again from the last checkpoint; 2 times left' "$work/log.$job" ||
    wrong "after a killed rank: $(tail -n 5 "$work/log.$job")"
grep -q '^continuing from killed/checkpoints/' "$work/log.$job" || wrong 'it does not continue'
same killed whole

# An array: a folder and a seed each; one task is warned by its ranks, the other by its script
# (--signal=B:…), as any variant of --signal does.
submit --array=1-2 --output="$work/log.%A_%a" -- --fresh --run seed-%a --set seed=%a --set train.max_steps="$steps"
for task in 1 2; do
    slurm_await 60 has_step seed-$task 20 || wrong "array task $task does not start"
done
scancel --signal=USR1 "${job}_1"
scancel --batch --signal=USR1 "${job}_2"
requeued "${job}_1"
requeued "${job}_2"
array=$job

# The time limit, of a run that begins shortly before the limits are looked at.
slurm_await 60 test -e warned || wrong 'no job is warned of its limit'
looked=$(stat -c %Y warned)
while [ $((($(date +%s) - looked) % 30)) -lt 26 ]; do sleep 0.5; done
submit --time=1 --signal=USR1@50 -- --run preempted --set train.max_steps="$steps"
requeued "$job"
grep -q 'cohort: stopped by a signal at step' "$work/log.$job" || wrong 'it was not warned'
ends "$job" COMPLETED 120
same preempted whole

for task in 1 2; do
    ends "${array}_$task" COMPLETED 60
    is_restarted "${array}_$task" 1 || wrong "array task $task was requeued with the other"
    grep -q "^seed: $task\$" seed-$task/recipe.yaml || wrong "array task $task has another seed"
    [ "$(metric seed-$task/metrics.jsonl end status)" = '"finished"' ] || wrong "task $task"
done
submit --array=1 -- --run seed
slurm_await 30 is_in "$job" FAILED || wrong 'an array may write into one folder'
grep -q 'add --run' "$work/log.$job" || wrong "an array in one folder: $(tail -n 5 "$work/log.$job")"

# Cancelled: a checkpoint, and no way back into the queue.
submit -- --run cancelled --set train.max_steps="$steps"
slurm_await 60 has_step cancelled 20 || wrong 'the run to be cancelled does not start'
scancel "$job"
slurm_await 30 is_over "$job" || wrong "a cancelled job is $(state "$job")"
is_in "$job" CANCELLED || wrong "a cancelled job is $(state "$job")"
[ "$(metric cancelled/metrics.jsonl end status)" = '"stopped"' ] || wrong 'cancelled without a checkpoint'

# --- Real clients as a job -----------------------------------------------------------------------
for rank in 0 1 2; do
    works 1 convert digits --train 80 --test 40 --seed $((rank + 1)) --output site-$rank.h5
done
cat >fed.yaml <<'YAML'
name: fed
data: {file: "site-{rank}.h5", scale: 0.004}
model: [flatten, dense: {units: 10}]
loss: cross_entropy
optimizer: {type: sgd, lr: 0.01}
train: {threads: 1}
federated: {rounds: 3, fraction: 1, secure_aggregation: true}
YAML
job=$(OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 \
    sbatch --parsable --ntasks=3 --oversubscribe --overcommit --output="$work/log.%A" \
    "$SOURCE/launch/federated/train.sbatch" fed.yaml --run fed --quiet) || wrong 'sbatch of real clients'
slurm_await 60 is_over "$job" || wrong "real clients: $(state "$job")"
[ "$(metric fed/metrics.jsonl end status)" = '"finished"' ] || wrong "real clients: $(cat log."$job")"
[ "$(metric fed/metrics.jsonl round clients)" = 2 ] || wrong 'real clients: not two'

# Outside of Slurm it says what it is.
"$SOURCE/launch/slurm/train.sbatch" net.yaml >out 2>&1 && wrong 'it runs without Slurm'
says 'sbatch'
finish
