#!/bin/sh
# Federated training, simulated: the same bits on any number of ranks, stopping and going on,
# strategies, mistakes.
# shellcheck source=tests/command/lib.sh
. "$(dirname "$0")/lib.sh"
works 1 convert digits --train 600 --test 100 --size 14 --output digits.h5
cat >fed.yaml <<'YAML'
name: fed
data: {file: digits.h5, scale: 0.004}
model:
  - flatten
  - dense: {units: 24, activation: relu}
  - batch_norm
  - dropout: {rate: 0.1}
  - dense: {units: 10}
loss: cross_entropy
optimizer: {type: sgd, lr: 0.1, schedule: {type: cosine}}
train: {threads: 1}
federated:
  rounds: 5
  clients: 15
  partition: {dirichlet: {alpha: 0.5}}
  fraction: 0.4
  min_clients: 5
  local_epochs: 2
YAML

# The round records of a run without what depends on the clock, each round's last.
rounds() { # FOLDER
    sed -n 's/,"seconds".*//; /"event":"round"/p' "$1/metrics.jsonl" |
        awk -F'"round":' '{ split($2, a, ","); last[a[1]] = $0; if (a[1] > n) n = a[1] }
             END { for (i = 1; i <= n; i++) print last[i] }'
}

# The tensors of a checkpoint, byte by byte, into a file.
tensors() { # CHECKPOINT FILE
    "$COHORT" export "$1" --format safetensors --output "$2" >/dev/null || wrong "no tensors in $1"
}

same() { # FOLDER FOLDER
    rounds "$1" >left
    rounds "$2" >right
    [ -s left ] || wrong "$1 has no rounds"
    cmp -s left right || wrong "$1 and $2 differ: $(diff left right | head -n 4)"
    tensors "$1/checkpoints/last.h5" left.safetensors
    tensors "$2/checkpoints/last.h5" right.safetensors
    cmp -s left.safetensors right.safetensors || wrong "the weights of $1 and $2 differ"
}

# --- The same bits on 1, 2, 3 and 7 ranks, and where threads train a client each -----------
bits() { # NAME RANKS[xTHREADS]… OPTION…
    name=$1 on=$2
    shift 2
    for count in $on; do
        case $count in *x*) threads=${count#*x} ;; *) threads=1 ;; esac
        works "${count%x*}" train fed.yaml --run "$name$count" --quiet "$@" \
            --set "train.threads=$threads"
        [ "$(rounds "$name$count" | wc -l)" = 5 ] || wrong "$name on $count ranks: not 5 rounds"
        same "${name}1" "$name$count"
    done
}
bits plain '1 2 3 7 1x3 1x9 2x2'
bits kept '1 3 1x2' --set federated.strategy=scaffold --set federated.batch_norm=local
bits quantized '1 7' --set federated.compression=quantize
bits largest '1 2 1x4' --set federated.compression=top_k
bits robust '1 3 1x3' --set federated.strategy=trimmed_mean --set federated.partition=iid
ranks 1 train fed.yaml --run lanes --quiet --verbose --set train.threads=3 >out 2>err ||
    wrong "three threads: $(cat err)"
grep -q '3 simulated clients train at a time' err || wrong "one client at a time: $(cat err)"
works 1 train fed.yaml --run threads --set train.threads=2
says "round 5/5" "test accuracy"
if grep -q "epsilon\|null" out; then wrong "not a private run: $(cat out)"; fi
same plain1 threads

# --- Records -----------------------------------------------------------------------------
m=plain1/metrics.jsonl
for key in clients loss test_loss test_accuracy bytes_up bytes_down; do
    [ -n "$(metric $m round $key)" ] || wrong "no $key in round"
done
[ "$(metric $m round clients)" = 6 ] || wrong "0.4 of 15 clients: $(metric $m round clients)"
[ "$(metric $m start clients)" = 15 ] || wrong "start says $(metric $m start clients) clients"
[ "$(metric $m end status)" = '"finished"' ] || wrong "no end record"
[ -s plain1/checkpoints/epoch-0005.h5 ] || wrong "no checkpoint of round 5"
works 1 eval plain1
says "accuracy"

# It learns, also with few bits and with few numbers; these send less.
works 2 train fed.yaml --run long --quiet --set federated.rounds=30
holds "$(metric long/metrics.jsonl test accuracy) > 0.8" || wrong "learns too little: $(cat out)"
for how in quantize top_k; do
    works 2 train fed.yaml --run $how --quiet --set federated.rounds=30 \
        --set federated.compression=$how
    holds "$(metric $how/metrics.jsonl test accuracy) > 0.5" || wrong "$how: $(cat out)"
    holds "$(metric $how/metrics.jsonl round bytes_up) < 0.6 * $(metric long/metrics.jsonl round bytes_up)" ||
        wrong "$how sends as much"
done
for how in fedprox:0.1 fedavgm fedsgd median norm_bound:1; do
    name=${how%%:*} value=${how#*:}
    [ "$value" != "$how" ] || value='{}'
    works 1 train fed.yaml --run "$name" --quiet --set "federated.strategy={$name: $value}" \
        --set federated.partition=iid --set federated.server_lr=0.5 \
        --set federated.local_epochs=1 --set federated.local_batch_size=0
done
for name in fedadam fedyogi fedadagrad; do
    works 1 train fed.yaml --run $name --quiet --set federated.strategy=$name \
        --set federated.server_lr=0.03 --set federated.rounds=30
    holds "$(metric $name/metrics.jsonl test accuracy) > 0.5" || wrong "$name: $(cat out)"
done

# A target ends the run; then it is finished.
works 1 train fed.yaml --run target --quiet --set federated.rounds=50 --set federated.target_accuracy=0.5
holds "$(metric target/metrics.jsonl end round) < 50" || wrong "the target did not end the run"
fails 2 "is finished" train fed.yaml --run target --set federated.rounds=60

# --- Clients of their own --------------------------------------------------------------
works 3 train fed.yaml --run own --quiet --set federated.client_test=0.25 \
    --set federated.personalize_epochs=3 --set federated.partition='{shards: 2}'
[ "$(grep -c '"event":"client",' own/metrics.jsonl)" = 15 ] || wrong "not a record a client"
holds "$(metric own/metrics.jsonl clients personal_accuracy) > $(metric own/metrics.jsonl clients accuracy) + 0.1" ||
    wrong "clients of two classes gain nothing: $(tail -n 3 own/metrics.jsonl)"

# --- Clients that fail --------------------------------------------------------------------
# The longest steps leave the limit, the others go on; warnings name them.
works 2 train fed.yaml --run drop --quiet --set federated.update_limit=0.2 --set federated.min_clients=1
grep -q '"dropped":\[{"client":[0-9]*,"why":"larger than update_limit"}' drop/metrics.jsonl ||
    wrong "nobody was dropped: $(cat drop/metrics.jsonl)"
grep -q '^cohort: warning: round [0-9]* goes on without client [0-9]*: its update is larger' err ||
    wrong "nobody was named: $(cat err)"
for count in 1 2; do
    ranks $count train fed.yaml --run bad --fresh --set optimizer.lr=1e30 >out 2>err
    got=$?
    [ $got = 4 ] || wrong "diverged on $count: exit code $got: $(cat err)"
    grep -q 'fewer than federated.min_clients (5): client [0-9]*.s is not finite' err ||
        wrong "diverged: $(cat err)"
done

# --- Stopping and going on -------------------------------------------------------------------
long='--set federated.rounds=400 --set federated.strategy=scaffold --set federated.evaluate_every=50'
stop_run() { # FOLDER R
    if [ "$2" = 1 ]; then
        # shellcheck disable=SC2086 # several words
        "$COHORT" train fed.yaml --run "$1" $long >out 2>err &
    else
        # shellcheck disable=SC2086
        "$SOURCE/launch/mpirun.sh" "$2" "$COHORT" train fed.yaml --run "$1" $long >out 2>err &
    fi
    stopped=$!
    for _ in $(seq 600); do
        grep -q '"round":20,"clients' "$1/metrics.jsonl" 2>/dev/null && break
        sleep 0.05
    done
    kill -s TERM $stopped
    wait $stopped
    got=$?
    [ $got = 75 ] || wrong "TERM on $2 ranks: exit code $got, not 75: $(cat err)"
    [ "$(grep -c '^cohort: stopped by a signal after round' err)" = 1 ] || wrong "TERM: $(cat err)"
}
# shellcheck disable=SC2086
works 2 train fed.yaml --run whole --quiet $long
stop_run one 1
fails 2 "another recipe" train fed.yaml --run one --set federated.fraction=0.2
# shellcheck disable=SC2086
works 3 train fed.yaml --run one $long
says "continuing from" "(round"
same whole one
stop_run two 2
# shellcheck disable=SC2086
works 1 train fed.yaml --run two $long
same whole two
# From an older checkpoint, with what server and clients kept then.
keep='--set federated.strategy=fedadam --set federated.compression=top_k
    --set federated.batch_norm=local --set checkpoint.keep=9'
# shellcheck disable=SC2086
works 2 train fed.yaml --run from --quiet $keep
# shellcheck disable=SC2086
works 3 train fed.yaml --run again --quiet $keep --resume from/checkpoints/epoch-0002.h5
rounds from | tail -n 3 >left
rounds again | tail -n 3 >right
cmp -s left right || wrong "a run goes on otherwise: $(diff left right | head -n 4)"

# --- Mistakes ---------------------------------------------------------------------------------
fails_on 1 2 "did you mean 'rounds'" train fed.yaml --set federated.round=3
fails_on 1 2 "fedsgd takes one step" train fed.yaml --set federated.strategy=fedsgd
fails_on 1 2 "plain SGD" train fed.yaml --set federated.strategy=scaffold --set optimizer.type=adam
fails_on 1 2 "more than there are clients" train fed.yaml --set federated.min_clients=16
fails 2 "too few for 700 clients" train fed.yaml --set federated.clients=700 --set federated.partition=iid
fails_on 1 2 "does not apply to a federated run" train fed.yaml --set train.max_steps=7
fails 2 "krum with byzantine: 2" train fed.yaml --set 'federated.strategy={krum: 2}'
fails_on 1 2 "set federated.client_test" train fed.yaml --set federated.personalize_epochs=1
fails 3 "has no dataset train/writer" train fed.yaml --set 'federated.partition={by: writer}'
fails 2 "remove it" train fed.yaml --set federated.batch_norm=local --set 'model=[flatten, dense: {units: 10}]'
finish
