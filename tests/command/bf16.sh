#!/bin/sh
# train.precision: bf16: refused where it cannot be, warned of where it changes nothing, else it
# learns what float32 learns, the same bits on any number of ranks and threads.
# shellcheck source=tests/command/lib.sh
. "$(dirname "$0")/lib.sh"

"$COHORT" convert digits --train 1500 --test 300 --size 14 --output digits.h5 >/dev/null ||
    wrong 'digits'
cat >net.yaml <<'Y'
data: {file: digits.h5, scale: 0.004}
model:
  - conv2d: {filters: 16, kernel: 3, activation: relu}
  - conv2d: {filters: 16, kernel: 3, strides: 2, padding: same, activation: relu}
  - flatten
  - dense: {units: 512, activation: relu}
  - dense: {units: 10}
loss: cross_entropy
optimizer: {type: adam, lr: 0.002}
train: {epochs: 5, global_batch_size: 30, log_every_steps: 1}
checkpoint: {every_epochs: 1000}
Y
half='--set train.precision=bf16'
cat >federated.yaml <<'Y'
data: {file: digits.h5, scale: 0.004}
model:
  - conv2d: {filters: 16, kernel: 3, strides: 2}
  - flatten
  - dense: 10
loss: cross_entropy
optimizer: {type: sgd, lr: 0.1}
train: {precision: bf16}
federated: {clients: 3, rounds: 1}
Y
# … and where the clients are other ranks.
sed 's/digits.h5/site-{rank}.h5/; s/{file: \([^,]*\)/{file: "\1"/; s/clients: 3, //' federated.yaml |
    sed 's/precision: bf16/precision: bf16, threads: 1/' >deployment.yaml
for rank in 0 1; do cp digits.h5 site-$rank.h5; done
# A CPU without the instructions, as far as oneDNN knows.
without="env ONEDNN_MAX_CPU_ISA=AVX2"
program=$COHORT
printf '#!/bin/sh\nexec %s "%s" "$@"\n' "$without" "$program" >without
chmod +x without
COHORT=$PWD/without
# shellcheck disable=SC2086
fails 2 "train.precision: bf16 needs a CPU with AVX512-BF16 or AMX" train net.yaml $half
fails 2 "train.precision: bf16 needs a CPU with AVX512-BF16 or AMX" train federated.yaml
fails_on 2 2 "train.precision: bf16 needs a CPU with AVX512-BF16 or AMX" train deployment.yaml
COHORT=$program

# shellcheck disable=SC2086
if ! ranks 1 train net.yaml $half --run half1 --quiet >out 2>err; then
    grep -q 'bf16 needs a CPU' err || wrong "bf16: $(cat err)"
    [ $failures = 0 ] || finish
    skip "this machine has no bf16"
fi
sed '/conv2d/d; s/512/32/; s/epochs: 5/epochs: 1/' net.yaml >mlp.yaml
sed '/conv2d/d' federated.yaml >flat.yaml
for recipe in mlp flat; do
    # shellcheck disable=SC2086
    works 2 train $recipe.yaml $half --quiet
    [ "$(grep -c 'warning: train.precision: bf16 changes nothing' err)" = 1 ] ||
        wrong "$recipe: no warning, or several: $(cat err)"
done
works 1 train net.yaml --run whole --quiet
[ -s err ] && wrong "float32 warns: $(cat err)"
holds "$(metric whole/metrics.jsonl test accuracy) > 0.9" || wrong "float32 does not learn"
holds "$(metric half1/metrics.jsonl test accuracy) > $(metric whole/metrics.jsonl test accuracy) - 0.02" ||
    wrong "bf16: $(metric half1/metrics.jsonl test accuracy)"
[ "$(metric half1/metrics.jsonl epoch loss)" != "$(metric whole/metrics.jsonl epoch loss)" ] ||
    wrong "bf16 computes in float32"

steps() { # RUN
    sed -n '/"event":"step"/p' "$1/metrics.jsonl"
}
steps half1 >one
[ "$(wc -l <one)" = 250 ] || wrong "not 250 steps"
for count in 2 4; do
    # shellcheck disable=SC2086
    ranks $count train net.yaml $half --run half$count --quiet >out 2>err || wrong "$(cat err)"
    steps half$count | cmp -s one - || wrong "other bits on $count ranks"
done
# shellcheck disable=SC2086
ranks 1 train net.yaml $half --run threads --quiet --set train.threads=3 >out 2>err
steps threads | cmp -s one - || wrong "other bits on 3 threads"

# Another precision is another run; its model is of use on any CPU.
fails_on 1 2 "train.precision" train net.yaml --run half1 --set train.epochs=6
COHORT=$PWD/without
works 1 eval half1 --data digits.h5
finish
