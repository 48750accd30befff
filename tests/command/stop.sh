#!/bin/sh
# Stopping and going on: SIGTERM, exit code 75, the same losses as an unstopped run.
# shellcheck source=tests/command/lib.sh
. "$(dirname "$0")/lib.sh"
works 1 convert digits --train 1000 --test 100 --size 14 --output digits.h5
cat >net.yaml <<'YAML'
name: net
data: {file: digits.h5, scale: 0.004}
model:
  - conv2d: {filters: 8, kernel: 3, activation: tanh}
  - average_pool2d
  - flatten
  - dropout: {rate: 0.1}
  - dense: {units: 10}
loss: cross_entropy
optimizer: {type: sgd, lr: 0.01}
train: {epochs: 20, global_batch_size: 20, log_every_steps: 1}
checkpoint: {every_epochs: 10}
YAML

# Starts a run on R ranks, stops it after its first ten steps by SIGNAL.
stop_run() { # FOLDER R SIGNAL
    if [ "$2" = 1 ]; then
        "$COHORT" train net.yaml --run "$1" >out 2>err &
    else
        "$SOURCE/launch/mpirun.sh" "$2" "$COHORT" train net.yaml --run "$1" >out 2>err &
    fi
    stopped=$!
    for _ in $(seq 600); do
        grep -q '"step":10,' "$1/metrics.jsonl" 2>/dev/null && break
        sleep 0.05
    done
    kill -s "$3" $stopped
    wait $stopped
    got=$?
    [ $got = 75 ] || wrong "$3 on $2 ranks: exit code $got, not 75: $(cat err)"
    [ "$(grep -c '^cohort: stopped by a signal at step' err)" = 1 ] || wrong "$3: $(cat err)"
    [ "$(wc -l <err)" = 1 ] || wrong "$3: more than one line: $(cat err)"
    [ -s "$1/checkpoints/last.h5" ] || wrong "no checkpoint after $3"
    [ "$(metric "$1/metrics.jsonl" end status)" = '"stopped"' ] || wrong "no end record"
}

# The last loss of every step number, in order: what a reader of the log sees.
losses() { # FOLDER
    sed -n 's/.*"event":"step","step":\([0-9]*\),.*"loss":\([^,]*\),.*/\1 \2/p' "$1/metrics.jsonl" |
        awk '{ loss[$1] = $2; if ($1 > last) last = $1 }
             END { for (i = 1; i <= last; i++) print i, loss[i] }'
}

same() { # FOLDER FOLDER
    losses "$1" >left
    losses "$2" >right
    [ "$(wc -l <left)" = 1000 ] || wrong "$1 has $(wc -l <left) steps"
    cmp -s left right || wrong "$1 and $2 differ: $(diff left right | head -n 3)"
}

# Sums in another order differ in their last bits. (A smooth network: where two values of a
# maximum are equal but for these bits, training may take another way.)
close_to() { # FOLDER FOLDER TOLERANCE
    losses "$1" | head -n 400 >left
    losses "$2" | head -n 400 >right
    paste -d ' ' left right | awk -v t="$3" '
        { d = $2 - $4; if (d < 0) d = -d; if (d > t * $4) { print "step", $1, $2, $4; bad = 1; exit } }
        END { exit bad || NR != 400 }' >difference || wrong "$1 and $2 differ: $(cat difference)"
}

works 1 train net.yaml --run whole1
works 2 train net.yaml --run whole2
close_to whole2 whole1 1e-5

stop_run one 1 TERM
fails 2 "another recipe" train net.yaml --run one --set optimizer.lr=0.02
works 1 train net.yaml --run one
says "continuing from"
same one whole1

stop_run two 2 TERM
works 2 train net.yaml --run two
same two whole2

# On other numbers of ranks, and by the other signals.
stop_run other 2 USR1
works 1 train net.yaml --run other
close_to other whole1 1e-5
stop_run other3 1 INT
works 3 train net.yaml --run other3
close_to other3 whole1 1e-5

# Killed without a word: the newest checkpoint goes on, no step is lost or doubled.
"$COHORT" train net.yaml --run killed --set checkpoint.every_epochs=1 >out 2>err &
victim=$!
for _ in $(seq 600); do
    [ -e killed/checkpoints/epoch-0002.h5 ] && break
    sleep 0.02
done
kill -9 $victim
wait $victim 2>/dev/null
works 1 train net.yaml --run killed --set checkpoint.every_epochs=1
same killed whole1

# Two runs cannot share a folder.
"$COHORT" train net.yaml --run shared --set train.epochs=400 >out.first 2>&1 &
first=$!
for _ in $(seq 600); do
    [ -s shared/metrics.jsonl ] && break
    sleep 0.02
done
ranks 1 train net.yaml --run shared --set train.epochs=400 >out 2>err
got=$?
[ $got != 0 ] || wrong "two runs in one folder"
[ "$(wc -l <err)" = 1 ] || wrong "two runs in one folder: $(cat err)"
kill $first
wait $first
[ $? = 75 ] || wrong "the first of two runs: $(cat out.first)"

# Memory does not grow with the epochs. (Sanitizers keep what was freed for a while.)
[ -z "${COHORT_SANITIZED-}" ] || finish
sed -n 's/.*"event":"epoch","epoch":\([0-9]*\),.*"peak_rss_mb":\([^,}]*\).*/\1 \2/p' \
    whole2/metrics.jsonl | awk '$1 == 5 { early = $2 } { last = $2 }
        END { print early, last; exit !(early > 0 && last <= early * 1.05 + 1) }' >rss ||
    wrong "memory at epoch 5 and at the end: $(cat rss)"
finish
