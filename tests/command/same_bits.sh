#!/bin/sh
# The number of ranks and threads changes no bit: the losses of 50 steps and of the test split on 1,
# 2, 3 and 4 ranks are the same text, with dropout and augmentation on, with uneven shares and a
# short last batch; and so they are where threads take parts of the batch through the network, or
# share its layers.
# shellcheck source=tests/command/lib.sh
. "$(dirname "$0")/lib.sh"

"$COHORT" convert digits --train 610 --test 501 --output digits.h5 >/dev/null || wrong 'digits'
cat >net.yaml <<'Y'
data:
  file: digits.h5
  scale: 0.004
  augment: [random_crop: {padding: 2}, flip: horizontal, rotate: {degrees: 10}]
model:
  - conv2d: {filters: 16, kernel: 3, activation: relu}
  - max_pool2d
  - conv2d: {filters: 8, kernel: 3, strides: 2, padding: same, activation: relu}
  - flatten
  - dropout: {rate: 0.3}
  - dense: {units: 10}
loss: cross_entropy
train: {epochs: 100, max_steps: 50, global_batch_size: 61, log_every_steps: 1}
checkpoint: {every_epochs: 1000}
Y

# Layers that take all parts of a rank in one pass, of odd widths.
grep -v augment net.yaml | sed '/^model:/,/^loss:/d' >dense.yaml
cat >>dense.yaml <<'Y'
loss: cross_entropy
model:
  - flatten
  - dense: {units: 70, activation: gelu}
  - dropout: {rate: 0.3}
  - dense: {units: 33, activation: tanh}
  - leaky_relu
  - dense: {units: 40, activation: sigmoid}
  - dense: {units: 10}
Y

losses() { # FOLDER
    grep -E '"event":"(step|test)"' "$1/metrics.jsonl"
}

compare() { # NAME OPTION…: what 1 rank computes is what 2, 3 and 4 compute
    name=$1
    shift
    for count in 1 2 3 4; do
        ranks $count train "$recipe" --run "$name$count" "$@" --quiet >out 2>err ||
            wrong "$name on $count ranks: $(cat err)"
        losses "$name$count" >"$name$count.steps"
        [ "$(wc -l <"$name$count.steps")" = 51 ] ||
            wrong "$name on $count ranks: not 50 steps and a test"
        cmp -s "${name}1.steps" "$name$count.steps" ||
            wrong "$name on $count ranks: $(diff "${name}1.steps" "$name$count.steps" | head -n 4)"
    done
}

recipe=dense.yaml
compare dense --set optimizer.type=adam
compare eighths --set optimizer.type=adam --set train.parts=8 --set train.global_batch_size=19
compare passes --set optimizer.type=adam --set train.microbatch_size=6
recipe=net.yaml
compare sgd --set optimizer.type=sgd --set optimizer.lr=0.05 --set optimizer.momentum=0.9
compare adam --set optimizer.type=adam --set optimizer.clip_norm=0.5
compare plain --set optimizer.type=adam --set 'data.augment=[]' --set model.4.rate=0

on_threads() { # NAME RANKS THREADS HOW OPTION…: as compare NAME had it; HOW: what the start says
    name=$1 count=$2 threads=$3 how=$4
    shift 4
    ranks "$count" train "$recipe" --run "$name-t" "$@" --set "train.threads=$threads" --fresh \
        --quiet --verbose >out 2>err
    losses "$name-t" | cmp -s - "${name}1.steps" ||
        wrong "$name on $count ranks of $threads threads: other bits"
    if [ "$how" = layers ]; then
        grep -q 'parts of a batch' err && wrong "$name: $threads threads do not share the layers"
    else
        grep -qF "$how, each through all layers" err || wrong "$name: no \"$how\" in: $(cat err)"
    fi
}

momentum='--set optimizer.type=sgd --set optimizer.lr=0.05 --set optimizer.momentum=0.9'
# shellcheck disable=SC2086
{
    on_threads sgd 1 1 layers $momentum
    on_threads sgd 1 2 '4 parts of a batch by 2 threads' $momentum
    on_threads sgd 1 3 '4 parts of a batch by 3 threads' $momentum
    on_threads sgd 1 6 '4 parts of a batch by 4 threads' $momentum
    on_threads sgd 1 17 '4 parts of a batch by 4 threads' $momentum
    on_threads sgd 2 7 layers $momentum
    on_threads sgd 2 3 '2 parts of a batch by 2 threads' $momentum
    on_threads sgd 4 2 layers $momentum
}
recipe=dense.yaml
eighths='--set optimizer.type=adam --set train.parts=8 --set train.global_batch_size=19'
# shellcheck disable=SC2086
{
    on_threads eighths 1 5 '8 parts of a batch by 5 threads' $eighths
    on_threads eighths 2 2 '4 parts of a batch by 2 threads' $eighths
}
on_threads passes 1 2 '4 parts of a batch by 2 threads' --set optimizer.type=adam \
    --set train.microbatch_size=6
finish
