#!/bin/sh
# cohort check: each thing that can go wrong is found before the run, said once on any number
# of ranks, with what to do; exit code 0, or 2 when the run would fail; nothing is left behind.
# shellcheck source=tests/command/lib.sh
. "$(dirname "$0")/lib.sh"
: "${ODD_RANK:?}" "${OTHER_VERSION:?}"
small_recipe
"$MAKE_H5" image image.h5
sed 's/- dense: {units: 8, activation: relu}/- flatten/; s/data.h5/image.h5/' small.yaml >image.yaml

# finds R CODE LEVEL SUBJECT TEXT ARGUMENT…: exactly one such line, and the code.
finds() {
    on=$1 code=$2 level=$3 subject=$4 text=$5
    shift 5
    ranks "$on" check "$@" >out 2>err
    got=$?
    [ $got = "$code" ] || wrong "check $* on $on: exit code $got, not $code: $(cat out err)"
    [ "$(grep -c "^$level  *$subject .*$text" out)" = 1 ] ||
        wrong "check $* on $on: not one \"$level $subject $text\" in: $(cat out err)"
    if [ "$code" = 0 ]; then
        [ ! -s err ] || wrong "check $* on $on: stderr: $(cat err)"
        if grep -q '^PROBLEM' out; then wrong "check $* on $on: a problem, and code 0: $(cat out)"; fi
    else
        [ "$(wc -l <err)" = 1 ] || wrong "check $* on $on: not one line: $(cat err)"
    fi
}

# All is well: as many findings on many ranks as on few.
finds 1 0 ok ranks '1 rank on 1 host' small.yaml
for subject in program cores data model batch inputs labels memory disk run speed; do
    grep -q "^[a-z]*  *$subject " out || wrong "nothing about $subject: $(cat out)"
done
says '67 parameters' '0 to 2, for 3 classes' 'runs/small would be begun'
finds 2 0 ok ranks '2 ranks on 1 host' small.yaml --set train.threads=1
wc -l <out >lines2
finds 4 0 ok ranks '4 ranks on 1 host' small.yaml --set train.threads=1
[ "$(grep -cv speed out)" -le "$(cat lines2)" ] || wrong "more lines on 4 ranks: $(cat out)"
rm lines2
mkdir clean && cp small.yaml data.h5 clean
(cd clean && "$COHORT" check small.yaml >../out 2>../err) || wrong "in clean: $(cat err)"
[ "$(find clean | wc -l)" = 3 ] || wrong "check left something behind: $(find clean)"

# Ranks that do not find each other, or were not started.
SLURM_NTASKS=4 finds 1 0 warning ranks 'srun' small.yaml
SLURM_NTASKS=2 finds 2 0 ok ranks '2 ranks' small.yaml --set train.threads=1
for word in SLURM_STEP_NUM_TASKS=2 PMI_SIZE=2; do
    env SLURM_PROCID=0 "$word" "$COHORT" check small.yaml >out 2>err
    [ $? = 2 ] || wrong "$word: not refused"
    grep -q 'pmix' err || wrong "$word: $(cat err)"
    env PMI_RANK=1 SLURM_PROCID=1 "$word" "$COHORT" check small.yaml >out 2>err
    [ ! -s err ] || wrong "$word: the second says it, too: $(cat err)"
done

# Cores.
finds 2 0 warning cores 'set train.threads to' small.yaml --set train.threads=64
finds 1 0 warning cores 'threads' small.yaml --set train.threads=1000
if taskset -c 0 true 2>/dev/null && [ "$(nproc)" -gt 1 ]; then
    taskset -c 0 "$COHORT" check small.yaml --set train.threads=2 >out 2>err ||
        wrong "two threads on one core: $(cat err)"
    grep -q '^warning  cores .*--cpus-per-task=2' out || wrong "two threads on one core: $(cat out)"
    taskset -c 0 "$COHORT" train small.yaml --run bound --quiet --set train.threads=2 \
        --set train.max_steps=1 >out 2>err || wrong "training on one core: $(cat err)"
    grep -q '^cohort: warning: the launcher bound each rank to 1 of .*set train.threads to 1$' err ||
        wrong "training on one core: $(cat err)"
fi

# Recipe, data, network.
finds 2 2 PROBLEM recipe 'did you mean' small.yaml --set optimizer.lrr=1
finds 1 2 PROBLEM recipe 'none.yaml' none.yaml
finds 2 2 PROBLEM recipe 'none.h5' small.yaml --set data.file=none.h5
for kind in nan label negative lengths; do
    "$MAKE_H5" $kind $kind.h5
done
finds 2 2 PROBLEM data 'nan.h5' small.yaml --set data.file=nan.h5
finds 2 2 PROBLEM setup 'label 7' small.yaml --set data.file=label.h5
finds 1 2 PROBLEM setup 'label -2' small.yaml --set data.file=negative.h5
finds 2 2 PROBLEM setup '30' small.yaml --set data.file=lengths.h5
finds 1 2 PROBLEM setup 'flatten' small.yaml --set data.file=image.h5
finds 1 0 warning labels 'give its last layer 3 units' small.yaml --set model.1.units=4
finds 1 0 warning inputs 'set data.scale to' image.yaml
finds 1 0 ok inputs 'reach from' image.yaml --set data.scale=0.004
finds 1 0 warning inputs 'hardly differ' image.yaml --set data.scale=1e-30
finds 1 0 warning data 'streamed' small.yaml --set data.memory_limit=512

# Ranks that see different things; a rank that cannot read the data.
cat >rank.sh <<'SH'
#!/bin/sh
program=$COHORT
if [ "$OMPI_COMM_WORLD_RANK" = 1 ]; then
    [ -z "$ODD_FILE" ] || export LD_PRELOAD="$ODD_RANK"
    program=${ODD_PROGRAM:-$program}
else
    unset ODD_FILE
fi
exec "$program" "$@"
SH
chmod +x rank.sh
odd() { # VARIABLE=VALUE SUBJECT TEXT
    env "$1" timeout 240 "$SOURCE/launch/mpirun.sh" 2 ./rank.sh check small.yaml \
        --set train.threads=1 >out 2>err
    got=$?
    [ $got = 2 ] || wrong "$1: exit code $got: $(cat out err)"
    grep "^PROBLEM  *$2" out | grep -qF "$3" || wrong "$1: $(cat out err)"
    grep "^PROBLEM  *$2" out | grep -qF 'rank 1' || wrong "$1: rank 1 is not named: $(cat out)"
}
export ASAN_OPTIONS=verify_asan_link_order=0
odd "ODD_FILE=data.h5:nothing.h5" data 'every rank must be able to read'
odd "ODD_FILE=data.h5:image.h5" data 'the same data file'
odd "ODD_PROGRAM=$OTHER_VERSION" recipe 'the same program version'

# Batch.
finds 3 0 warning batch 'start 2' small.yaml --set train.threads=1
finds 3 0 warning batch '1 ranks idle' small.yaml --set train.threads=1 \
    --set train.global_batch_size=2
finds 3 0 warning batch 'more than train.parts' small.yaml --set train.threads=1 \
    --set train.parts=2

# Shared memory, the run folder, disk.
COHORT_TEST_SHM_LIMIT=1K finds 2 0 warning /dev/shm 'enlarge' small.yaml --set train.threads=1
: >file
finds 2 2 PROBLEM run 'file is not a folder' small.yaml --run file/run
finds 1 2 PROBLEM run 'proc' small.yaml --run /proc/none
works 1 train small.yaml --quiet
finds 2 2 PROBLEM run '--fresh' small.yaml
finds 1 0 ok run 'would be begun' small.yaml --fresh
finds 2 0 ok run 'would be continued' small.yaml --set train.epochs=9
finds 1 2 PROBLEM run 'another recipe' small.yaml --set train.epochs=9 --set optimizer.lr=0.5
cp -r runs/small damaged
for file in damaged/checkpoints/*.h5; do
    truncate -s 2000 "$file"
done
finds 1 2 PROBLEM run 'none of its' small.yaml --run damaged
"$COHORT" train small.yaml --run held --set train.epochs=1000000 --quiet >out.held 2>&1 &
held=$!
for _ in $(seq 600); do
    [ -s held/metrics.jsonl ] && break
    sleep 0.02
done
finds 2 2 PROBLEM run 'in use by process' small.yaml --run held --set train.threads=1
kill $held
wait $held
[ $? = 75 ] || wrong "the held run was disturbed: $(cat out.held)"
small_disk=$(mktemp -d)
if mount -t tmpfs -o size=64k tmpfs "$small_disk" 2>/dev/null; then
    finds 2 2 PROBLEM disk 'make room' small.yaml --run "$small_disk/run" --set train.threads=1
    umount "$small_disk"
fi
rmdir "$small_disk"

# Training by rounds: clients, their steps, the run folder of such a run.
{
    sed 's/name: small/name: fed/; /^optimizer/d; /^train:/,$d' small.yaml
    echo 'optimizer: {type: sgd, lr: 0.01}'
    echo 'train: {threads: 1}'
    echo 'federated: {rounds: 3, clients: 8, fraction: 0.5, local_batch_size: 2}'
} >fed.yaml
finds 1 0 ok clients '8 clients of 4 to 4 rows, up to 4 of them a round' fed.yaml
for subject in ranks data model inputs labels memory disk run speed; do
    grep -q "^ok  *$subject " out || wrong "by rounds: nothing about $subject: $(cat out)"
done
says '2 steps a client' 'all 3 rounds' 'runs/fed would be begun'
finds 3 0 warning clients '1 ranks idle' fed.yaml --run runs/fed --set federated.fraction=0.25
finds 1 0 warning batch 'no client has more than 4' fed.yaml --set federated.local_batch_size=64
finds 2 2 PROBLEM setup 'too few for 99 clients' fed.yaml --set federated.clients=99
finds 1 2 PROBLEM training 'lower optimizer.lr' fed.yaml --set optimizer.lr=1e30 \
    --set federated.local_epochs=9
[ ! -e runs/fed ] || wrong 'check by rounds left a run folder'
works 1 train fed.yaml --run runs/fed --quiet
finds 1 2 PROBLEM run 'is finished (3 rounds)' fed.yaml --run runs/fed
finds 2 0 ok run 'would be continued' fed.yaml --run runs/fed --set federated.rounds=5
finds 1 2 PROBLEM run 'another recipe' fed.yaml --run runs/fed --set optimizer.lr=0.5
# Real clients, each with its file.
sed 's/ clients: 8,//; s/data.h5/"site-{rank}.h5"/' fed.yaml >sites.yaml
cp data.h5 site-0.h5
cp data.h5 site-1.h5
finds 2 0 ok clients '1 real client of 32 to 32 rows' sites.yaml --run runs/sites
says '67 parameters' 'trains longest, 16 steps' 'would be begun'
grep -q '^ok  *disk ' out || wrong "real clients: nothing about the disk: $(cat out)"
finds 1 2 PROBLEM clients 'rank 0 coordinates' sites.yaml --run runs/sites
finds 3 2 PROBLEM data 'rank 2 on .*site-2.h5' sites.yaml --run runs/sites
# … and what only rank 0 or one of them sees when it opens its own.
finds 2 2 PROBLEM setup 'client_test is for simulated' sites.yaml --set federated.client_test=0.2
finds 2 2 PROBLEM setup 'client 0 is not finite' sites.yaml --set optimizer.lr=1e30 \
    --set federated.local_epochs=9
for size in 12 13; do
    "$COHORT" convert digits --train 40 --test 8 --size $size --output "$size.h5" >out 2>err ||
        wrong "digits of $size: $(cat err)"
done
cp 12.h5 digits-0.h5
cp 12.h5 digits-1.h5
cp 13.h5 digits-2.h5
cat >private.yaml <<'Y'
data: {file: "digits-{rank}.h5", scale: 0.004}
model: [flatten, {dense: 9}, batch_norm, {dense: 10}]
loss: cross_entropy
optimizer: {type: sgd, lr: 0.1}
train: {threads: 1}
federated: {rounds: 2, weighting: uniform}
privacy: {unit: client, clip: 1, noise_multiplier: 1, delta: 1.0e-5}
Y
finds 3 2 PROBLEM model 'rank 2 on .*its data make a network of other size' private.yaml \
    --set privacy=null
cp 12.h5 digits-2.h5
finds 3 2 PROBLEM setup 'batch_norm' private.yaml
finds 3 0 ok model '1423 parameters, 12x12x1 to 10' private.yaml --set privacy=null
[ ! -e runs/private ] || wrong 'check of real clients left a run folder'

# Steps that diverge.
finds 2 2 PROBLEM training 'not finite' small.yaml --set optimizer.lr=1e30
finish
