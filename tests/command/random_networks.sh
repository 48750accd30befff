#!/bin/sh
# random_networks.sh [FIRST [COUNT]]: networks drawn at random, those of the numbers from FIRST on.
# Each has the same losses of steps, validation and test on 1 to 4 ranks, by lanes of threads, and
# when it is stopped and continued on another number of ranks.
# shellcheck source=tests/command/lib.sh
. "$(dirname "$0")/lib.sh"
first=${1:-1} count=${2:-16}

works 1 convert digits --train 200 --test 101 --output digits.h5
awk 'BEGIN {
    srand(3)
    print "text,label"
    for (i = 0; i < 150; i++) {
        for (j = 0; j < 5 + i % 20; j++) printf "w%d ", int(200 * rand()) + (i % 2) * 20
        print "," (i % 2 ? "good" : "bad")
    }
}' >words.csv
works 1 convert text words.csv --length 20 --vocabulary 240 --test 0.3 --output words.h5
works 1 convert chars "$SOURCE/README.md" --length 24 --stride 300 --output chars.h5

# What must be the same text: every step, the validation of the last epoch and the test.
losses() { # FOLDER
    grep '"event":"step"' "$1/metrics.jsonl"
    grep -o '"validation_loss":[^,]*' "$1/metrics.jsonl" | tail -n 1
    grep '"event":"test"' "$1/metrics.jsonl" | tail -n 1
}

train() { # RUN RANKS OPTION…
    run=$1 wanted=$2
    shift 2
    ranks "$wanted" train net.yaml --run "$run" --quiet "$@" >out 2>err ||
        wrong "network $seed, $run: $(cat err)"
}

compare() { # RUN RANKS OPTION…
    train "$@"
    losses "$1" >"$1.losses"
    cmp -s one.losses "$1.losses" ||
        wrong "network $seed, $1: $(diff one.losses "$1.losses" | head -n 4; cat net.yaml)"
}

seed=$first
while [ "$seed" -lt $((first + count)) ]; do
    awk -v seed="$seed" -f "$SOURCE/tests/command/random_networks.awk" >net.yaml
    train one 1 --set train.threads=1
    losses one >one.losses
    [ "$(grep -Ec '"event":"(step|test)"' one.losses)" = 10 ] ||
        wrong "network $seed: not 9 steps and a test"
    for wanted in 2 3 4; do
        compare "ranks$wanted" $wanted --set train.threads=1
    done
    compare lanes 1 --set train.threads=4
    train continued 1 --set train.threads=1 --set train.max_steps=$((1 + seed % 8))
    compare continued $((1 + seed % 4)) --set train.threads=1
    rm -rf one ranks? lanes continued
    seed=$((seed + 1))
done
finish
