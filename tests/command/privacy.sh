#!/bin/sh
# Private training: the bits do not depend on ranks and threads, gradients are those of single
# rows for every kind of layer, epsilon is counted over stops and from checkpoint to checkpoint,
# and what the accountants do not cover is refused.
# shellcheck source=tests/command/lib.sh disable=SC2154
. "$(dirname "$0")/lib.sh"

"$COHORT" convert digits --train 610 --test 20 --output digits.h5 >/dev/null || wrong 'digits'
cat >net.yaml <<'Y'
data:
  file: digits.h5
  scale: 0.004
  augment: [random_crop: {padding: 2}]
model:
  - conv2d: {filters: 8, kernel: 3, strides: 2, activation: tanh}
  - layer_norm
  - flatten
  - dropout: {rate: 0.2}
  - dense: {units: 10}
loss: cross_entropy
optimizer: {type: sgd, lr: 0.5}
train: {epochs: 100, max_steps: 12, global_batch_size: 61, log_every_steps: 1, threads: 1}
checkpoint: {every_epochs: 1000}
privacy: {noise_multiplier: 1.0}
Y

steps_of() { # RUN: its step records
    sed -n '/"event":"step"/p' "$1/metrics.jsonl"
}

# Ranks and threads.
for count in 1 2 3 4; do
    ranks $count train net.yaml --run "ranks$count" --set privacy.testing_seed=3 --quiet >out 2>err ||
        wrong "on $count ranks: $(cat err)"
    steps_of "ranks$count" | cmp -s - ranks1/steps 2>/dev/null ||
        if [ $count = 1 ]; then steps_of ranks1 >ranks1/steps; else wrong "other bits on $count ranks"; fi
done
[ "$(wc -l <ranks1/steps)" = 12 ] || wrong 'not 12 steps'
works 1 train net.yaml --run threads --set privacy.testing_seed=3 --set train.threads=3 --quiet
steps_of threads | cmp -s - ranks1/steps || wrong 'three threads train other bits than one'
# A testing seed promises nothing and says so everywhere.
[ "$(metric ranks1/metrics.jsonl epoch epsilon)" = null ] || wrong 'an epsilon with a testing seed'
[ "$(metric ranks1/metrics.jsonl test epsilon_refused)" = '"privacy.testing_seed"' ] ||
    wrong 'the testing seed is not named'
"$COHORT" inspect ranks1/checkpoints/last.h5 | grep -q 'mechanism none' || wrong 'ledger of a testing seed'

# Without it no two runs are the same, and every record tells the cost.
works 1 train net.yaml --run one
says 'privacy: noise_multiplier 1, each sample in a batch with probability 0.1' 'epsilon '
works 2 train net.yaml --run two --quiet
steps_of one >a
steps_of two >b
cmp -s a b && wrong 'two runs had the same noise'
[ "$(wc -l <one/metrics.jsonl)" = "$(grep -c '"epsilon":[0-9.]*,"delta":1e-05,"unit":"example"' one/metrics.jsonl)" ] ||
    wrong 'a record without epsilon'
spent=$(metric one/metrics.jsonl end epsilon)
[ "$spent" = "$(metric two/metrics.jsonl end epsilon)" ] || wrong 'epsilon depends on the ranks'
holds "$spent > 1 && $spent < 5" || wrong "epsilon $spent after 12 steps"

# Continuing counts on: 12 steps and 12 are 24.
works 1 train net.yaml --run one --set train.max_steps=24 --quiet
works 1 train net.yaml --run all --set train.max_steps=24 --quiet
[ "$(metric one/metrics.jsonl end epsilon)" = "$(metric all/metrics.jsonl end epsilon)" ] ||
    wrong 'a continued run has another epsilon'
"$COHORT" inspect one/checkpoints/last.h5 | grep -q 'noise_multiplier 1 steps 24 ' || wrong 'ledger of 24 steps'

# Weights of a private run bring their ledger with them.
works 1 train net.yaml --run next --set train.initial_weights="$work/two/checkpoints/last.h5" --quiet
[ "$(metric next/metrics.jsonl start epsilon)" = "$spent" ] || wrong 'the first run was forgotten'
[ "$(metric next/metrics.jsonl end epsilon)" = "$(metric all/metrics.jsonl end epsilon)" ] ||
    wrong 'two runs of 12 steps are not 24'
# Also through a run without privacy, after which nothing holds any more.
sed '/^privacy/d' net.yaml >open.yaml
works 1 train open.yaml --run open --set train.initial_weights="$work/two/checkpoints/last.h5" --quiet
"$COHORT" inspect open/checkpoints/last.h5 | grep -q 'mechanism none' || wrong 'noiseless training left no trace'
fails 2 'was trained on the same data without privacy' train net.yaml --run no1 \
    --set train.initial_weights="$work/open/checkpoints/last.h5"
cp digits.h5 copy.h5
fails 2 'have seen the same data without noise' train net.yaml --run no2 --set data.file="$work/copy.h5" \
    --set train.initial_weights="$work/open/checkpoints/last.h5"
# Weights that have seen other data are taken, with a word.
"$COHORT" convert digits --train 100 --seed 9 --output other.h5 >/dev/null || wrong 'other digits'
works 1 train open.yaml --run elsewhere --set data.file="$work/other.h5" --quiet
works 1 train net.yaml --run from_elsewhere --set train.initial_weights="$work/elsewhere/checkpoints/last.h5"
says 'epsilon says nothing of rows that are in it too'

# A target: the noise is found, the end stays within, also when stopped on the way.
target='--set privacy.noise_multiplier=null --set privacy.target_epsilon=3'
# shellcheck disable=SC2086 # several arguments
works 1 train net.yaml --run target $target --quiet
reached=$(metric target/metrics.jsonl end epsilon)
holds "$reached <= 3 && $reached > 2.99" || wrong "target 3, reached $reached"
# shellcheck disable=SC2086
works 1 train net.yaml --run target $target --set train.max_steps=20 --quiet
holds "$(metric target/metrics.jsonl end epsilon) > 3" && wrong 'more steps went beyond the target'
fails 2 'is spent already' train net.yaml --run no3 --set privacy.noise_multiplier=null \
    --set privacy.target_epsilon=1 --set train.initial_weights="$work/two/checkpoints/last.h5"

# Every kind of layer: with all rows in each batch, a clip that nothing reaches and next to no
# noise, the losses are those of plain training.
seq 1 2000 | tr '\n' ' ' >text.txt
"$COHORT" convert chars text.txt --length 16 --output text.h5 >/dev/null || wrong 'chars'
cat >sequence.yaml <<'Y'
data: {file: text.h5, limit: 90}
model:
  - embedding: {units: 8}
  - position_embedding
  - residual: {layers: [layer_norm, attention: {heads: 2, causal: true}]}
  - lstm: {units: 8, return_sequences: true}
  - dense: {units: 16}
loss: cross_entropy
optimizer: {type: sgd, lr: 0.3}
train: {epochs: 8, global_batch_size: 90, log_every_steps: 1, threads: 1}
checkpoint: {every_epochs: 1000}
Y
sed -e '/augment/d' -e 's/global_batch_size: 61/global_batch_size: 610/' -e 's/lr: 0.5/lr: 0.01/' open.yaml >image.yaml
for kind in image sequence; do
    works 1 train $kind.yaml --run $kind-plain --quiet
    works 1 train $kind.yaml --run $kind-private --set privacy.clip=1000 \
        --set privacy.noise_multiplier=1e-7 --quiet
    for run in plain private; do
        steps_of $kind-$run | sed 's/.*"loss":\([^,]*\),.*/\1/' >$kind-$run/losses
    done
    paste $kind-plain/losses $kind-private/losses |
        awk '{ d = $1 - $2; if (d * d > 1e-8 * $1 * $1) bad = 1 } END { exit bad || NR < 8 }' ||
        wrong "$kind: $(paste $kind-plain/losses $kind-private/losses)"
    # A clip so small that nothing moves.
    works 1 train $kind.yaml --run $kind-still --set privacy.clip=1e-9 \
        --set privacy.noise_multiplier=0.2 --quiet
    steps_of $kind-still | sed 's/.*"loss":\([^,]*\),.*/\1/' >still
    awk 'NR == 1 { first = $1 } { d = $1 - first; if (d * d > 1e-10) bad = 1 } END { exit bad }' still ||
        [ $kind = image ] || wrong "$kind: the clip does not hold: $(cat still)" # image has dropout
done

# What is not covered is refused.
fails 2 'either noise_multiplier or target_epsilon, not both' train net.yaml --set privacy.target_epsilon=1
fails 2 'either noise_multiplier or target_epsilon, e.g.' train net.yaml --set privacy.noise_multiplier=null
fails 2 'privacy.unit: client needs a' train net.yaml --set privacy.unit=client
fails 2 'data.shuffle: false contradicts' train net.yaml --set data.shuffle=false
fails 2 'chooses by figures that no noise covers' train net.yaml --set 'train.early_stopping={metric: loss}'
fails 2 'leaves out steps by what the data hold' train net.yaml --set train.on_nonfinite=skip
fails 2 'tells which words the data hold' train net.yaml --set optimizer.embedding_rows=used
fails 2 'privacy.delta' train net.yaml --set privacy.delta=0
fails 2 'privacy.clip' train net.yaml --set privacy.clip=0
fails 2 'privacy.adaptive_clip is for unit: client' train net.yaml --set privacy.adaptive_clip.quantile=0.5
{
    sed -e '/max_steps/d' -e '/^privacy/d' net.yaml
    echo 'train: {threads: 1}'
    echo 'federated: {rounds: 1, clients: 4, fraction: 1}'
} >rounds.yaml
fails 2 'set privacy.unit: client' train rounds.yaml --set privacy.noise_multiplier=1
fails 2 'which a federated run cannot carry on yet' train rounds.yaml \
    --set train.initial_weights="$work/two/checkpoints/last.h5"
sed 's/layer_norm/batch_norm/' net.yaml >batch.yaml
fails 2 'use layer_norm instead' train batch.yaml
fails 2 'holds a run of another recipe' train net.yaml --run all --set privacy.clip=2 --set train.max_steps=30
works 1 train batch.yaml --run frozen --set 'freeze=[1_batch_norm]' --quiet
finish
