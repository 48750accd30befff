#!/bin/sh
# A loss or gradient that is not finite: layer, rank and rows are named in one line; the run
# stops with its checkpoints as they were, or leaves out that step and nothing else, the same
# on any number of ranks.
# shellcheck source=tests/command/lib.sh
. "$(dirname "$0")/lib.sh"
: "${ODD_RANK:?}"
small_recipe
"$MAKE_H5" huge huge.h5
"$MAKE_H5" steep steep.h5
cat >net.yaml <<'YAML'
name: net
data: {file: huge.h5, shuffle: false}
model:
  - dense: {units: 8, activation: relu}
  - dense: {units: 6}
  - batch_norm
  - dropout: {rate: 0.2}
  - dense: {units: 3}
loss: cross_entropy
optimizer: {type: adam, lr: 0.01, weight_decay: 0.01}
train: {epochs: 3, global_batch_size: 8, log_every_steps: 1, threads: 1}
checkpoint: {every_steps: 1}
YAML
# Without batch_norm, whose sums over ranks are in another order.
sed '/batch_norm/d' net.yaml >plain.yaml
cat >steep.yaml <<'YAML'
name: steep
data: {file: steep.h5, shuffle: false}
model:
  - dense: {units: 1, init: {normal: 0.001}}
loss: mse
optimizer: {type: sgd, lr: 1.0e-7, momentum: 0.9}
train: {epochs: 2, global_batch_size: 8, log_every_steps: 1, threads: 1}
YAML
crowded='^cohort: warning: . ranks on this host share'

# stops R TEXT… -- ARGUMENT…: exit code 4, one line with every TEXT.
stops() {
    on=$1
    shift
    for text; do
        [ "$text" = -- ] && break
        printf '%s\n' "$text"
    done >texts
    while [ "$1" != -- ]; do shift; done
    shift
    ranks "$on" train "$@" --quiet >out 2>err.all
    got=$?
    grep -v "$crowded" err.all >err
    [ $got = 4 ] || wrong "$* on $on: exit code $got, not 4: $(cat err)"
    [ "$(wc -l <err)" = 1 ] || wrong "$* on $on: not one line: $(cat err)"
    while read -r text; do
        grep -qF -- "$text" err || wrong "$* on $on: no \"$text\" in: $(cat err)"
    done <texts
}

# Stopped: the checkpoint from before stays.
for count in 1 2 3; do
    rm -rf stopped
    stops $count 'the loss is not finite at step 3 (epoch 1)' 'the output of layer 0_dense' \
        'dataset row 16 (1 of 8 samples)' 'optimizer.lr' -- plain.yaml --run stopped
    works 1 inspect stopped/checkpoints/last.h5
    says 'step 2'
    [ $count = 1 ] || grep -qF 'on rank ' err.all || wrong "no rank in: $(cat err.all)"
done
stops 1 'the gradient is not finite at step 3' "the gradient of layer 0_dense's weights" -- \
    steep.yaml --run steep1
stops 3 'the gradient is not finite at step 3' "the gradient of layer 0_dense's weights" 'on rank ' \
    -- steep.yaml --run steep3
# Where threads took parts of the batch through the network.
sed 's/units: 8,/units: 6000,/' plain.yaml >wide.yaml
ranks 1 train wide.yaml --run lanes --quiet --verbose --set train.threads=2 --set train.max_steps=2 \
    >out 2>err || wrong "wide.yaml: $(cat err)"
grep -q '4 parts of a batch by 2 threads' err || wrong "no lanes: $(cat err)"
stops 1 'the loss is not finite at step 3 (epoch 1)' 'the output of layer 1_dense' \
    'dataset row 16 (1 of 8 samples)' -- wide.yaml --run lanes --set train.threads=2
# In passes within parts.
stops 2 'dataset row 16 (1 of 8 samples)' -- plain.yaml --run passes --set train.parts=2 \
    --set train.microbatch_size=1

# One rank's weights: it is that rank that is named. (So wide a layer is computed by BLAS.)
cat >rank.sh <<'SH'
#!/bin/sh
[ "$OMPI_COMM_WORLD_RANK" != 1 ] || export LD_PRELOAD="$ODD_RANK"
exec "$COHORT" "$@"
SH
chmod +x rank.sh
export ASAN_OPTIONS=verify_asan_link_order=0 ODD_VALUE=1
timeout 240 "$SOURCE/launch/mpirun.sh" 3 ./rank.sh train small.yaml --quiet \
    --set model.0.units=1025 >out 2>err
[ $? = 4 ] || wrong "odd weights: $(cat err)"
grep -qF 'the output of layer 0_dense on rank 1 (' err || wrong "odd weights: $(cat err)"
unset ODD_VALUE

# Left out: the same losses on any number of ranks, everything else goes on.
skips() { # R ARGUMENT…
    on=$1
    shift
    ranks "$on" train "$@" --quiet --set train.on_nonfinite=skip >out 2>err ||
        wrong "$* on $on: $(cat err)"
}
for count in 1 2 3 4; do
    skips $count plain.yaml --run skip$count
    grep -e '"event":"step"' -e '"event":"skipped"' skip$count/metrics.jsonl >skip$count.steps
    [ "$(wc -l <skip$count.steps)" = 12 ] || wrong "$count ranks: $(cat skip$count.steps)"
    cmp -s skip1.steps skip$count.steps ||
        wrong "$count ranks: $(diff skip1.steps skip$count.steps | head -n 4)"
    grep -q 'step 3, first the output of layer 0_dense.*row 16 .*; left out' err ||
        wrong "$count ranks: $(cat err)"
    skips $count steep.yaml --run steepskip$count
    grep -q '"event":"skipped","step":7,"epoch":2,"nonfinite":"gradient","layer":"0_dense"' \
        steepskip$count/metrics.jsonl || wrong "steep on $count: $(cat steepskip$count/metrics.jsonl)"
done
grep -q '"event":"skipped","step":3,"epoch":1,"nonfinite":"loss","layer":"0_dense","rows":\[16\],"skipped":1' \
    skip1.steps || wrong "the record: $(cat skip1.steps)"
[ "$(metric skip1/metrics.jsonl epoch skipped)" = 3 ] || wrong "the epoch's count"
[ "$(metric skip1/metrics.jsonl end skipped)" = 3 ] || wrong "the end's count"

# Parameters, optimizer and statistics after the step left out are those before it.
if command -v h5diff >/dev/null; then
    for count in 1 3; do
        skips $count net.yaml --run two$count --set train.max_steps=2
        skips $count net.yaml --run three$count --set train.max_steps=3
        [ "$(metric three$count/metrics.jsonl skipped skipped)" = 1 ] || wrong "no step was left out"
        for group in params state optimizer; do
            h5diff -q two$count/checkpoints/last.h5 three$count/checkpoints/last.h5 /$group ||
                wrong "$group changed in the step left out on $count"
        done
    done
fi

# Continued in between: the count goes on, and so do the losses.
skips 1 plain.yaml --run part --set train.max_steps=3
skips 1 plain.yaml --run part
grep -e '"event":"step"' -e '"event":"skipped"' part/metrics.jsonl | cmp -s - skip1.steps ||
    wrong "continued: $(cat part/metrics.jsonl)"

# Too many; a run that went wrong for good.
for count in 1 2; do
    ranks $count train plain.yaml --run many$count --quiet --set train.on_nonfinite=skip \
        --set train.max_skipped=2 >out 2>err
    [ $? = 4 ] || wrong "many on $count: $(cat err)"
    tail -n 1 err | grep -q 'step 11 .*after 2 steps were left out already' ||
        wrong "many on $count: $(cat err)"
    ranks $count train small.yaml --run worse$count --quiet --set train.on_nonfinite=skip \
        --set optimizer.lr=1e30 --set train.epochs=50 >out 2>err
    [ $? = 4 ] || wrong "diverged on $count: $(cat err)"
done
finish
