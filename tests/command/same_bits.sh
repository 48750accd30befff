#!/bin/sh
# The number of ranks changes no bit: the losses of 50 steps on 1, 2, 3 and 4 ranks are the
# same text, with dropout and augmentation on, with uneven shares and a short last batch.
# shellcheck source=tests/command/lib.sh
. "$(dirname "$0")/lib.sh"

"$COHORT" convert digits --train 610 --test 20 --output digits.h5 >/dev/null || wrong 'digits'
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

compare() { # NAME OPTION…: what 1 rank computes is what 2, 3 and 4 compute
    name=$1
    shift
    for count in 1 2 3 4; do
        ranks $count train "$recipe" --run "$name$count" "$@" --quiet >out 2>err ||
            wrong "$name on $count ranks: $(cat err)"
        sed -n '/"event":"step"/p' "$name$count/metrics.jsonl" >"$name$count.steps"
        [ "$(wc -l <"$name$count.steps")" = 50 ] || wrong "$name on $count ranks: not 50 steps"
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
# Other threads, smaller passes: threads change nothing either; passes only the rounding.
ranks 1 train net.yaml --run threads --set optimizer.type=sgd --set optimizer.lr=0.05 \
    --set optimizer.momentum=0.9 --set train.threads=3 --quiet >out 2>err
sed -n '/"event":"step"/p' threads/metrics.jsonl | cmp -s - sgd1.steps ||
    wrong 'three threads train other bits than one'
finish
