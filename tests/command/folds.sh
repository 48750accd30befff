#!/bin/sh
# train.folds: cross-validation. The same figures on any number of ranks, after a kill and after a
# signal; what cannot be joined with it.
# shellcheck source=tests/command/lib.sh
. "$(dirname "$0")/lib.sh"
works 1 convert digits --train 203 --test 50 --size 14 --output digits.h5
cat >cv.yaml <<'YAML'
name: cv
data: {file: digits.h5, scale: 0.004}
model: [flatten, dense: {units: 16, activation: relu}, dense: {units: 10}]
loss: cross_entropy
optimizer: {type: adam, lr: 0.003}
train: {epochs: 5, global_batch_size: 20, threads: 1, folds: 4}
YAML
works 1 train cv.yaml
[ "$(grep -c '"event":"fold",' runs/cv/metrics.jsonl)" = 4 ] || wrong 'not four folds'
says 'validation accuracy' 'mean' 'fold-1 to fold-4'
works 1 train cv.yaml --quiet --run whole
cp out whole.out
# 203 samples, each held out once: 51, 51, 51 and 50.
for fold in 1 2 3 4; do metric whole/fold-$fold/metrics.jsonl start train_samples; done >sizes
[ "$(tr '\n' ' ' <sizes)" = '152 152 152 153 ' ] || wrong "samples to train on: $(cat sizes)"
# The summary is the mean of the runs' own figures.
for fold in 1 2 3 4; do metric whole/fold-$fold/metrics.jsonl epoch validation_loss; done |
    awk '{ sum += $1; squares += $1 * $1 } END { mean = sum / 4
        printf "%.9f %.6f", mean, sqrt((squares - 4 * mean * mean) / 3) }' >wanted
awk -v wanted="$(cat wanted)" -v mean="$(metric whole/metrics.jsonl folds validation_loss)" \
    -v deviation="$(metric whole/metrics.jsonl folds validation_loss_sd)" 'BEGIN {
        split(wanted, w, " "); exit !((mean - w[1])^2 < 1e-14 && (deviation - w[2])^2 < 1e-10) }' ||
    wrong "$(cat wanted) is not $(tail -n 1 whole/metrics.jsonl)"

same_table() { # FOLDER
    sed "s/$1/whole/" out | cmp -s whole.out - || wrong "$1: $(diff whole.out out)"
}
same() { # FOLDER
    same_table "$1"
    cmp -s whole/metrics.jsonl "$1/metrics.jsonl" || wrong "$1: other records"
}
works 2 train cv.yaml --quiet --run two
same_table two
# Again: nothing is trained, the same is said.
works 1 train cv.yaml --quiet --run whole
same whole
[ "$(grep -c '"event":"start"' whole/fold-2/metrics.jsonl)" = 1 ] || wrong 'a finished fold was trained again'
works 1 train cv.yaml --quiet --run whole --fresh
[ -d whole/fold-2.1 ] || wrong '--fresh did not move a fold aside'

# Stopped in the third fold: signals, then a kill.
interrupt() { # FOLDER SIGNAL CODE
    "$COHORT" train cv.yaml --quiet --run "$1" --set train.log_every_steps=1 \
        --set checkpoint.every_steps=1 >out 2>err &
    for _ in $(seq 6000); do
        grep -q '"step":3,' "$1/fold-3/metrics.jsonl" 2>/dev/null && break
        sleep 0.01
    done
    kill -s "$2" $!
    wait $!
    got=$?
    [ $got = "$3" ] || wrong "$2: exit code $got, not $3: $(cat err)"
    [ ! -e "$1/metrics.jsonl" ] || wrong "$2: a summary of folds that are not there"
    works 1 train cv.yaml --quiet --run "$1" --set train.log_every_steps=1 --set checkpoint.every_steps=1
    same "$1"
    [ "$(grep -c '"event":"start"' "$1/fold-1/metrics.jsonl")" = 1 ] || wrong "$2: fold 1 was trained again"
}
# Many short steps, so that the third fold is still under way when it is told.
sed -i 's/epochs: 5/epochs: 60/' cv.yaml
works 1 train cv.yaml --quiet --run whole --fresh
cp out whole.out
interrupt told TERM 75
interrupt killed KILL 137

# What it is for is said, and what it cannot be joined with.
fails_on 1 2 'leaves nothing to train on' train cv.yaml --set train.folds=1
fails_on 1 2 'data.validation contradicts train.folds' train cv.yaml --set data.validation=0.2
fails_on 1 2 'train.max_steps may end a fold' train cv.yaml --set train.max_steps=3
fails_on 1 2 'no epsilon would hold' train cv.yaml \
    --set 'privacy={clip: 1, noise_multiplier: 1, delta: 1e-5}'
fails_on 1 2 'does not apply to a federated run' train cv.yaml --set 'federated={rounds: 2, clients: 4}'
fails_on 1 2 'names a checkpoint of one run' train cv.yaml --resume whole/fold-1/checkpoints/last.h5
fails_on 1 2 'remove train.folds' tune cv.yaml --set 'search={space: {optimizer.lr: [0.1, 0.2]}}'
fails_on 1 2 'holds a run of another recipe' train cv.yaml --run whole --set optimizer.lr=0.1
fails_on 1 2 'holds a run without folds' train cv.yaml --run whole/fold-1
fails_on 1 3 'lower train.folds' train cv.yaml --set data.limit=3 --run few
fails_on 1 3 'a model for each fold' eval whole
works 1 report whole --output folds.html
grep -q 'fold-4' folds.html || wrong 'the report does not show the folds'

# Regression: no classes to deal by, no accuracy.
awk 'BEGIN { print "a,b,y"; for (i = 0; i < 40; i++) print i / 40 "," (i * 7 % 40) / 40 "," i / 20 }' >line.csv
works 1 convert csv line.csv --label y --regression --output line.h5
cat >line.yaml <<'YAML'
name: line
data: {file: line.h5}
model: [dense: {units: 1}]
loss: mse
optimizer: {type: sgd, lr: 0.1}
train: {epochs: 3, global_batch_size: 8, threads: 1, folds: 3}
YAML
works 1 train line.yaml --quiet
grep -q accuracy out && wrong "a regression has no accuracy: $(cat out)"
says 'mean'
finish
