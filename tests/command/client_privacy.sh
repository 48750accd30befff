#!/bin/sh
# Privacy for clients: sampled, clipped, noisy rounds, counted over stops, the same bits on any
# number of ranks; what the analysis does not cover is refused.
# shellcheck source=tests/command/lib.sh disable=SC2154
. "$(dirname "$0")/lib.sh"
works 1 convert digits --train 600 --test 60 --size 14 --output digits.h5
cat >dp.yaml <<'YAML'
name: dp
data: {file: digits.h5, scale: 0.004}
model:
  - flatten
  - dense: {units: 24, activation: relu}
  - layer_norm
  - dense: {units: 10}
loss: cross_entropy
optimizer: {type: sgd, lr: 0.1}
train: {threads: 1}
federated:
  rounds: 5
  clients: 30
  partition: {dirichlet: {alpha: 0.5}}
  fraction: 0.2
  weighting: uniform
privacy: {unit: client, clip: 0.5, noise_multiplier: 1.0, delta: 1.0e-3}
YAML

weights() { # FILE: the first layer's numbers, one a line
    "$H5_TEXT" "$1" params/1_dense/kernel | tr ' ' '\n'
}

# --- Ranks --------------------------------------------------------------------------------------
rounds() { # FOLDER
    sed -n '/"event":"round"/{s/,"seconds".*//p;}' "$1/metrics.jsonl"
}
for count in 1 2 3 7; do
    works $count train dp.yaml --run seed$count --quiet --set privacy.testing_seed=3
    rounds seed$count >seed$count/rounds
    "$COHORT" export seed$count/checkpoints/last.h5 --format safetensors --output seed$count.safetensors >/dev/null
    cmp -s seed1.safetensors seed$count.safetensors || wrong "other weights on $count ranks"
    cmp -s seed1/rounds seed$count/rounds || wrong "other figures on $count ranks"
    [ "$(wc -l <seed$count/rounds)" = 5 ] || wrong "not 5 rounds on $count ranks"
done
[ "$(metric seed1/metrics.jsonl round epsilon)" = null ] || wrong 'an epsilon with a testing seed'
[ "$(metric seed1/metrics.jsonl round epsilon_refused)" = '"privacy.testing_seed"' ] ||
    wrong 'the testing seed is not named'

# A clip that follows the updates' median: the same on any number of ranks, and over a stop.
adaptive='--set privacy.adaptive_clip.quantile=0.5 --set privacy.clip=20 --set federated.rounds=30'
clips() { # FOLDER
    sed -n '/"event":"round"/s/.*"clip":\([^,]*\),"within_clip":\([^,]*\),.*/\1 \2/p' "$1/metrics.jsonl"
}
# shellcheck disable=SC2086 # several arguments
{
    for count in 1 2 3; do
        works $count train dp.yaml --run clip$count --quiet $adaptive --set privacy.testing_seed=3
        rounds clip$count | cmp -s - clip1/rounds 2>/dev/null ||
            if [ $count = 1 ]; then rounds clip1 >clip1/rounds; else wrong "adaptive_clip: other figures on $count ranks"; fi
    done
    works 2 train dp.yaml --run clip_parts --quiet $adaptive --set federated.rounds=11 --set privacy.testing_seed=3
    works 1 train dp.yaml --run clip_parts --quiet $adaptive --set privacy.testing_seed=3
    rounds clip_parts | cmp -s - clip1/rounds || wrong 'adaptive_clip: a continued run has other figures'
}
clips clip1 >a
# Down from 20 by e^(-0.2 (share - 0.5)), and in the end among the norms it cuts.
awk 'NR == 1 && $1 != 20 { bad = 1 }
    NR > 1 { d = $1 / (last * exp(-0.2 * (share - 0.5))) - 1; if (d * d > 1e-12) bad = 1 }
    { last = $1; share = $2 } END { exit bad || NR != 30 || last > 10 }' a || wrong "clips: $(cat a)"

# A preflight goes through it, too.
works 2 check dp.yaml --set privacy.noise_multiplier=null --set privacy.target_epsilon=3

# --- Cost ---------------------------------------------------------------------------------------
works 1 train dp.yaml --run one
says 'each client in a round with probability 0.2' 'epsilon '
works 2 train dp.yaml --run two --quiet
rounds one >a
rounds two >b
cmp -s a b && wrong 'two runs had the same noise'
[ "$(wc -l <one/metrics.jsonl)" = "$(grep -c '"epsilon":[0-9.]*,"delta":0.001,"unit":"client"' one/metrics.jsonl)" ] ||
    wrong 'a record without epsilon'
spent=$(metric one/metrics.jsonl end epsilon)
# The sampled Gaussian mechanism with q = 0.2, sigma = 1, 5 steps, delta = 1e-3: 2.2 to 2.4.
holds "$spent > 2.2 && $spent < 2.4" || wrong "epsilon $spent after 5 rounds"
[ "$spent" = "$(metric two/metrics.jsonl end epsilon)" ] || wrong 'epsilon depends on the ranks'
"$COHORT" inspect one/checkpoints/last.h5 |
    grep -q 'mechanism gaussian unit client q 0.2 noise_multiplier 1 steps 5' || wrong 'no ledger'
# Going on counts on, whoever goes on.
works 2 train dp.yaml --run parts --quiet --set federated.rounds=2
works 1 train dp.yaml --run parts --quiet
holds "$(metric parts/metrics.jsonl end epsilon) == $spent" ||
    wrong "2 and 3 rounds cost $(metric parts/metrics.jsonl end epsilon), 5 cost $spent"
# An adaptive clip costs no more: what its count tells, the updates' noise makes up for.
works 2 train dp.yaml --run adaptive --set privacy.adaptive_clip.quantile=0.5
says 'clip from 0.5 on (updates 1.1547, count 1)'
[ "$(metric adaptive/metrics.jsonl end epsilon)" = "$spent" ] || wrong 'adaptive_clip changes epsilon'
"$COHORT" inspect adaptive/checkpoints/last.h5 |
    grep -q 'mechanism gaussian unit client q 0.2 noise_multiplier 1 steps 5' || wrong 'no ledger of an adaptive clip'
# A target is kept, to the end and no further.
target='--set privacy.noise_multiplier=null --set privacy.target_epsilon=3'
# shellcheck disable=SC2086
{
    works 1 train dp.yaml --run target --quiet $target
    holds "$(metric target/metrics.jsonl end epsilon) <= 3 && $(metric target/metrics.jsonl end epsilon) > 2.95" ||
        wrong "target 3: $(metric target/metrics.jsonl end epsilon)"
    works 2 train dp.yaml --run target --quiet $target --set federated.rounds=7
    holds "$(metric target/metrics.jsonl end epsilon) <= 3" ||
        wrong "more rounds than were planned: $(metric target/metrics.jsonl end epsilon)"
}

# --- Size of the noise, and of what a client adds -------------------------------------------------
works 1 train dp.yaml --run loud --quiet --set federated.rounds=1 --set privacy.noise_multiplier=1000
# 1000 x 0.5 / (0.2 x 30)
deviation=$(weights loud/checkpoints/last.h5 | awk '{ s += $1 * $1 } END { print sqrt(s / NR), NR }')
holds "${deviation% *} > 0.95 * 83.33 && ${deviation% *} < 1.05 * 83.33 && ${deviation#* } == 4704" ||
    wrong "deviation (and count) of the noise: $deviation"
works 1 train dp.yaml --run louder --quiet --set federated.rounds=1 --set privacy.noise_multiplier=1000 \
    --set privacy.adaptive_clip.quantile=0.5 --set privacy.adaptive_clip.count_noise=625
# 1000 / sqrt(1 - (1000 / 1250)^2), as above
deviation=$(weights louder/checkpoints/last.h5 | awk '{ s += $1 * $1 } END { print sqrt(s / NR) }')
holds "$deviation > 0.95 * 138.9 && $deviation < 1.05 * 138.9" || wrong "noise beside a count: $deviation"
works 1 init dp.yaml --output start.h5
works 1 train dp.yaml --run quiet --quiet --set federated.rounds=1 --set federated.fraction=1 \
    --set privacy.noise_multiplier=1e-6 --set privacy.testing_seed=1
weights start.h5 >a
weights quiet/checkpoints/last.h5 >b
norm=$(paste a b | awk '{ s += ($1 - $2) ^ 2 } END { print sqrt(s) }')
holds "$norm < 0.5 && $norm > 0.05" || wrong "norm of a mean of updates clipped to 0.5: $norm"
holds "$(metric quiet/metrics.jsonl round update_norm) > 0.5" || wrong "nothing was clipped"
# Rounds that nobody is drawn for are noise, and count.
works 2 train dp.yaml --run empty --quiet --set federated.fraction=0.001 --set privacy.testing_seed=1
[ "$(metric empty/metrics.jsonl round clients)" = 0 ] || wrong 'somebody was drawn'
[ "$(grep -c '"event":"round"' empty/metrics.jsonl)" = 5 ] || wrong 'empty rounds are missing'
# A client without a usable update adds nothing; the round counts all the same.
works 2 train dp.yaml --run none --quiet --set federated.update_limit=0.01
holds "$(metric none/metrics.jsonl end epsilon) == $spent" || wrong 'dropped clients change epsilon'

# --- What the analysis does not cover ----------------------------------------------------------
refused() { # TEXT OPTION…
    text=$1
    shift
    fails_on 1 2 "$text" train dp.yaml --run refused "$@"
}
fails 2 'set privacy.unit: client' train dp.yaml --set privacy.unit=example
refused 'set federated.weighting: uniform' --set federated.weighting=samples
refused 'each client is drawn on its own' --set federated.min_clients=3
refused 'remove it' --set federated.over_selection=0.5
refused 'use fedavg or fedprox' --set federated.strategy=scaffold
refused 'no sum of clipped updates' --set federated.strategy=median
refused 'federated.compression contradicts' --set federated.compression=quantize
refused 'federated.secure_aggregation cannot be joined' --set federated.secure_aggregation=true
refused 'reports on single clients' --set federated.client_test=0.2
refused 'fix federated.rounds' --set federated.target_accuracy=0.9
refused 'train.early_stopping' --set 'train.early_stopping={metric: loss, patience: 3}'
refused 'set it well above half' --set privacy.adaptive_clip.count_noise=0.5
refused 'privacy.adaptive_clip.quantile' --set privacy.adaptive_clip.quantile=1
refused 'train.initial_weights' --set train.initial_weights=one/checkpoints/last.h5
refused 'lower federated.update_limit' --set privacy.clip=1e-9
fails 2 'use layer_norm instead' train dp.yaml --run refused \
    --set 'model=[flatten, dense: {units: 8}, batch_norm, dense: {units: 10}]'
finish
