#!/bin/sh
# cohort tune: trials on groups of ranks, the same result on any number of them, and after a
# signal, a killed rank or a killed job; what is wrong is said before anything is trained.
# shellcheck source=tests/command/lib.sh
. "$(dirname "$0")/lib.sh"
works 1 convert digits --train 1000 --test 100 --size 14 --output digits.h5
cat >net.yaml <<'YAML'
name: net
data: {file: digits.h5, scale: 0.004, validation: 0.2}
model:
  - flatten
  - dense: {units: 16, activation: relu}
  - dense: {units: 10}
loss: cross_entropy
optimizer: {type: sgd, lr: 0.01}
train: {epochs: 9, global_batch_size: 20}
comm: {timeout: 20}
YAML
cp net.yaml random.yaml
cat >>random.yaml <<'YAML'
search:
  trials: 27
  space:
    optimizer.lr: {log_uniform: [1.0e-3, 1.0e+30]}
    model.1.units: {log_integer: [8, 64]}
    model.1.activation: [relu, tanh]
YAML
sed -e 's/1.0e+30/1/' -e 's/^  trials/  type: halving\n  trials/' random.yaml >halving.yaml

# What came out, but for how long it took.
results() { # FOLDER
    sed 's/,"seconds.*//' "$1/trials.jsonl"
}

same() { # FOLDER FOLDER
    results "$1" >left
    results "$2" >right
    cmp -s left right || wrong "$1 and $2 differ: $(diff left right | head -n 4)"
    cmp -s "$1/best.yaml" "$2/best.yaml" || wrong "$1 and $2 have not the same best.yaml"
}

figure() { # FOLDER TRIAL
    sed -n "s/^{\"trial\":$2,.*\"figure\":\\([^,]*\\),.*/\\1/p" "$1/trials.jsonl"
}

# --- 27 trials on 1, 2 and 4 ranks; alone and in pairs. Some diverge: the search goes on.
works 4 tune random.yaml --run four
says '27 trials and the recipe as it stands, 4 at a time, by validation_loss' 'best: trial' \
    'train it with: cohort train four/best.yaml'
[ "$(wc -l <four/trials.jsonl)" = 28 ] || wrong "not 28 trials: $(cat four/trials.jsonl)"
grep -q '"status":"diverged"' four/trials.jsonl || wrong 'no trial diverged'
best=$(sed -n 's/^best: trial \([0-9]*\),.*/\1/p' out)
holds "$(figure four "$best") < 0.5 * $(figure four 0)" || wrong "trial $best is not better"
[ ! -e four/claims ] || wrong 'four/claims is left'
works 1 tune random.yaml --run one --quiet
same four one
works 2 tune random.yaml --run two --quiet
same four two
works 4 tune random.yaml --run pairs --ranks-per-trial 2 --set search.trials=3
says '2 at a time'
for trial in 0 1 2 3; do # sums of two ranks, which differ in their last bits
    holds "($(figure four $trial) - $(figure pairs $trial))^2 < 1e-12" ||
        wrong "trial $trial: $(figure four $trial) on one rank, $(figure pairs $trial) on two"
done

# --- The best recipe trains as it is and gets that figure.
works 1 train four/best.yaml --set train.threads=1 --run best
[ "$(metric best/metrics.jsonl epoch validation_loss)" = "$(figure four "$best")" ] ||
    holds "$(figure four "$best") < $(metric best/metrics.jsonl epoch validation_loss)" ||
    wrong 'best.yaml does not give what its trial gave'
grep -q '"values":{"optimizer.lr":[0-9.e+-]*,"model.1.units":[0-9]*,"model.1.activation":"' \
    four/trials.jsonl || wrong "no values: $(head -n 2 four/trials.jsonl)"
# A recipe with search: trains its own values.
works 1 train random.yaml --run own
[ "$(grep -c '^search: null' own/recipe.yaml)" = 1 ] || wrong 'search: is in the run'
# Done is done: nothing is trained again.
cp four/trials.jsonl before
works 2 tune random.yaml --run four
says "best: trial $best"
cmp -s before four/trials.jsonl || wrong 'a finished search was changed'

# --- Halving: rungs of 1, 3 and 9 epochs for 27, 9 and 3 trials, and the recipe in all.
works 4 tune halving.yaml --run halving
for rung in '1 1 18' '2 3 6' '3 9 4'; do
    # shellcheck disable=SC2086
    set -- $rung
    [ "$(grep -c "\"epochs\":$2,.*\"rung\":$1," halving/trials.jsonl)" = "$3" ] ||
        wrong "rung $1: not $3 trials with $2 epochs: $(cat halving/trials.jsonl)"
done
works 1 tune halving.yaml --run halving-one --quiet
same halving halving-one

# --- Stopped and gone on: by a killed job, a signal, a killed rank.
sed 's/^  - flatten/  - conv2d: {filters: 8, kernel: 3}\n  - flatten/; s/model.1/model.2/; s/epochs: 9/epochs: 27/' \
    halving.yaml >slow.yaml

ranks_of() { # FOLDER
    for process in /proc/[0-9]*; do
        (tr '\0' ' ' <"$process/cmdline") 2>/dev/null |
            grep -q "^[^ ]*cohort tune .*--run $1 " && echo "${process#/proc/}"
    done
}

# After a few results of a job on R ranks sends SIGNAL to its last rank, its launcher or all.
interrupt() { # FOLDER R SIGNAL WHOM CODE
    before=$(find "$1/results" -type f 2>/dev/null | wc -l)
    "$SOURCE/launch/mpirun.sh" "$2" "$COHORT" tune slow.yaml --run "$1" --quiet >out 2>err &
    job=$!
    for _ in $(seq 6000); do
        [ "$(find "$1/results" -type f 2>/dev/null | wc -l)" -gt "$before" ] && break
        sleep 0.02
    done
    case $4 in
    job) whom=$job ;;
    rank) whom=$(ranks_of "$1" | tail -n 1) ;;
    all) whom="$job $(ranks_of "$1")" ;;
    esac
    # shellcheck disable=SC2086
    kill -s "$3" $whom
    wait $job
    got=$?
    [ "$got" = "$5" ] || wrong "$3 to $4: exit code $got, not $5: $(cat err)"
}

works 2 tune slow.yaml --run whole --quiet
interrupt broken 2 KILL all 137
interrupt broken 4 TERM job 75
[ "$(grep -c '^cohort: stopped by a signal, the trials under way saved' err)" = 1 ] ||
    wrong "SIGTERM: $(cat err)"
[ "$(wc -l <err)" = 1 ] || wrong "SIGTERM: more than one line: $(cat err)"
interrupt broken 4 KILL rank 5
grep -q '^cohort: rank [0-3] on .* has died' err || wrong "SIGKILL: $(cat err)"
find broken/results -type f -exec touch -d '2001-01-01' {} +
finished=$(find broken/results -type f | wc -l)
works 3 tune slow.yaml --run broken --quiet
same whole broken
[ "$(find broken/results -type f ! -newermt '2001-01-02' | wc -l)" = "$finished" ] ||
    wrong 'a finished trial was repeated'

# --- What is wrong is said before anything is trained, with the line.
refuses() { # TEXT KEY: VALUE…
    text=$1
    cp net.yaml bad.yaml
    shift
    printf 'search:\n' >>bad.yaml
    printf '  %s\n' "$@" >>bad.yaml
    fails_on 1 2 "$text" tune bad.yaml --run bad
    [ ! -e bad ] || wrong "$text: a folder was made"
}
refuses "bad.yaml:12: unknown key 'trails' in search; did you mean 'trials'?" \
    'trails: 3' 'space: {optimizer.lr: [0.1]}'
refuses "bad.yaml:13: unknown key 'lrr' in optimizer; did you mean 'lr'?" \
    'space:' '  optimizer.lrr: [0.1]'
refuses "bad.yaml:13: unknown key 'unit' in model.1 (dense); did you mean 'units'?" \
    'space:' '  model.1.unit: [3]'
refuses "bad.yaml:13: model has no entry '7'; it has 0 to 2" 'space:' '  model.7.units: [3]'
refuses "bad.yaml:13: optimizer.lr must be a number, not 'fast'" \
    'space:' '  optimizer.lr: [0.1, fast]'
refuses "bad.yaml:13: model.1.units must be in [1, 1000000000], not '0'" \
    'space:' '  model.1.units: {integer: [0, 4]}'
refuses "bad.yaml:13: search.space: optimizer.lr: unknown range 'log_unifrom'; did you mean" \
    'space:' '  optimizer.lr: {log_unifrom: [0.1, 1]}'
refuses 'log_uniform needs bounds above 0' 'space: {optimizer.lr: {log_uniform: [0, 1]}}'
refuses 'uniform needs two numbers [LOW, HIGH], the lower first' \
    'space: {optimizer.lr: {uniform: [2, 1]}}'
refuses 'a grid needs a list of values for optimizer.lr' 'type: grid' \
    'space: {optimizer.lr: {uniform: [0.1, 1]}}'
refuses 'trials is not used by grid' 'type: grid' 'trials: 3' 'space: {optimizer.lr: [0.1]}'
refuses "search.metric: unknown metric 'f1'" 'metric: f1' 'space: {optimizer.lr: [0.1]}'
refuses "missing key 'space' in search" 'trials: 3'
refuses 'name is the same for all trials' 'space: {name: [a, b]}'
refuses 'halving gives out the epochs itself' 'type: halving' 'space: {train.epochs: [1, 2]}'
fails 2 'net.yaml has no search' tune net.yaml --run bad
fails_on 1 2 'there is no validation data' tune random.yaml --set data.validation=null --run bad
fails_on 1 2 'the search in four differs in search.trials (27 and 9)' \
    tune random.yaml --set search.trials=9 --run four
works 1 tune random.yaml --set search.trials=2 --run four --fresh --quiet
[ -s four.1/best.yaml ] || wrong '--fresh did not move the old search aside'

# --- A grid; a trial that cannot be; none that can.
works 2 tune net.yaml --run grid --set 'search={type: grid, space: {optimizer.lr: [0.1, 0.3], model.2.units: [5, 10]}}'
says 'failed' 'the network has only 5 classes'
[ "$(grep -c '"status":"failed"' grid/trials.jsonl)" = 2 ] || wrong "$(cat grid/trials.jsonl)"
ranks 2 tune net.yaml --run none --set optimizer.lr=1e30 --quiet \
    --set 'search={type: grid, space: {model.1.units: [4, 8]}}' >out 2>err
[ $? = 4 ] || wrong "none: not exit code 4: $(cat err)"
grep -q '^cohort: none of the 3 trials could be trained' err || wrong "none: $(cat err)"
finish
