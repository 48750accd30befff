#!/bin/sh
# Privacy for real clients: drawn from all that belong to the run, clipped by the coordinator too,
# counted over stops; a client that dies changes neither epsilon nor the divisor.
# shellcheck source=tests/command/lib.sh disable=SC2154
. "$(dirname "$0")/lib.sh"
command -v pgrep >/dev/null || skip "no pgrep (procps)"
for rank in 0 1 2 3; do
    works 1 convert digits --train $((100 + 20 * rank)) --test 100 --size 14 --seed $((rank + 1)) \
        --output site-$rank.h5
done
cat >dp.yaml <<'YAML'
name: dp
data: {file: "site-{rank}.h5", scale: 0.004}
model:
  - flatten
  - dense: {units: 24, activation: relu}
  - dense: {units: 10}
loss: cross_entropy
optimizer: {type: sgd, lr: 0.1}
train: {threads: 1}
comm: {timeout: 60}
federated: {rounds: 12, fraction: 0.5, weighting: uniform, round_timeout: 10}
privacy: {unit: client, clip: 0.5, noise_multiplier: 1.0, delta: 1.0e-3}
YAML
ranks_on() { # RANKS ARGUMENT…: several more than this machine has cores
    ranks "$@" >out 2>err
    got=$?
    [ $got = 0 ] || wrong "on ranks $*: exit code $got: $(cat err)"
    grep -v '^cohort: warning: ' err && wrong "on ranks $*: stderr: $(cat err)"
}
rounds() { # FOLDER
    sed -n '/"event":"round"/{s/,"seconds".*//p;}' "$1/metrics.jsonl"
}

# The same cost as simulated clients drawn alike: q = 0.5, sigma = 1, 12 steps.
ranks_on 4 train dp.yaml --run one
says 'each client in a round with probability 0.5' 'epsilon '
spent=$(metric one/metrics.jsonl end epsilon)
works 1 convert digits --train 300 --test 60 --size 14 --output all.h5
works 2 train dp.yaml --run simulated --quiet --set data.file=all.h5 --set federated.clients=3
[ "$spent" = "$(metric simulated/metrics.jsonl end epsilon)" ] ||
    wrong "epsilon $spent, simulated $(metric simulated/metrics.jsonl end epsilon)"
[ "$(wc -l <one/metrics.jsonl)" = "$(grep -c '"epsilon":[0-9.]*,"delta":0.001,"unit":"client"' one/metrics.jsonl)" ] ||
    wrong 'a record without epsilon'
"$COHORT" inspect one/checkpoints/last.h5 |
    grep -q 'mechanism gaussian unit client q 0.5 noise_multiplier 1 steps 12' || wrong 'no ledger'

# The same draws, clipped updates and noise as simulated clients with the same rows have, to the bit.
for kind in groups good second first; do
    "$MAKE_H5" $kind $kind.h5 || wrong "make_h5 $kind"
done
mv good.h5 half-0.h5
mv second.h5 half-1.h5 # group -1, which comes first
mv first.h5 half-2.h5
small='--quiet --set privacy.testing_seed=3 --set privacy.clip=0.01 --set data.scale=1'
# shellcheck disable=SC2086 # several arguments
{
    ranks_on 3 train dp.yaml --run real $small --set 'data.file=half-{rank}.h5'
    works 1 train dp.yaml --run pooled $small --set data.file=groups.h5 --set 'federated.partition={by: half}'
}
"$COHORT" diff real pooled >out 2>err # its exit code says that the recipes differ
grep -q '^weights: the same' out || wrong "real and simulated clients: $(cat out err)"

# Drawn each on its own: rounds of none to all, the same with the same testing seed.
ranks_on 4 train dp.yaml --run seed1 --quiet --set privacy.testing_seed=3 --set federated.rounds=40
ranks_on 4 train dp.yaml --run seed2 --quiet --set privacy.testing_seed=3 --set federated.rounds=40
rounds seed1 >a
rounds seed2 | cmp -s a - || wrong 'a testing seed gives other rounds the second time'
sed 's/.*"clients":\([0-9]*\),.*/\1/' a | sort -u | tr '\n' ' ' >sizes
[ "$(cat sizes)" = '0 1 2 3 ' ] || wrong "sizes of 40 rounds: $(cat sizes)"
[ "$(metric seed1/metrics.jsonl round epsilon_refused)" = '"privacy.testing_seed"' ] ||
    wrong 'the testing seed is not named'

# Noise of 1000 x 0.5 / (0.5 x 3) a weight, whoever was asked.
is_near() { # FOLDER DEVIATION: of the noise in its weights
    deviation=$("$H5_TEXT" "$1/checkpoints/last.h5" params/1_dense/kernel | tr ' ' '\n' |
        awk '{ s += $1 * $1 } END { print sqrt(s / NR) }')
    holds "$deviation > 0.95 * $2 && $deviation < 1.05 * $2" ||
        wrong "$1: deviation of the noise: $deviation, not $2"
}
ranks_on 4 train dp.yaml --run loud --quiet --set federated.rounds=1 --set privacy.noise_multiplier=1000
is_near loud 333.3

# A client that dies: named, and neither q nor what is divided by changes: sqrt(400) x 30 x 0.5 / 1.5.
noisy='--set privacy.noise_multiplier=30 --set optimizer.lr=1e-6 --set federated.rounds=400'
# shellcheck disable=SC2086 # several arguments
timeout 240 "$SOURCE/launch/mpirun.sh" 4 "$COHORT" train dp.yaml --run lost --quiet $noisy \
    --set checkpoint.every_epochs=400 >out 2>err &
job=$!
for _ in $(seq 600); do
    grep -q '"round":20,' lost/metrics.jsonl 2>/dev/null && break
    sleep 0.05
done
for process in $(pgrep -f "train dp.yaml --run lost "); do
    tr '\0' '\n' 2>/dev/null <"/proc/$process/environ" | grep -qx "OMPI_COMM_WORLD_RANK=2" && kill -s KILL "$process"
done 2>/dev/null
wait $job
got=$?
[ $got = 0 ] || wrong "a client was killed: exit code $got: $(cat err)"
grep -q 'client 1 (rank 2 on .*) has died' err || wrong "the dead client is not named: $(cat err)"
is_near lost 200
# shellcheck disable=SC2086
works 2 train dp.yaml --run simulated --quiet --fresh $noisy --set data.file=all.h5 --set federated.clients=3
[ "$(metric lost/metrics.jsonl end epsilon)" = "$(metric simulated/metrics.jsonl end epsilon)" ] ||
    wrong "epsilon with a dead client: $(metric lost/metrics.jsonl end epsilon)"

# Going on counts on.
ranks_on 4 train dp.yaml --run parts --quiet --set federated.rounds=5
ranks_on 4 train dp.yaml --run parts --quiet
holds "$(metric parts/metrics.jsonl end epsilon) == $spent" || wrong "5 and 7 rounds cost $(metric parts/metrics.jsonl end epsilon)"
# A clip that follows the updates: sent along with the weights, at no further cost.
ranks_on 4 train dp.yaml --run adaptive --set privacy.adaptive_clip.quantile=0.5
[ "$(metric adaptive/metrics.jsonl end epsilon)" = "$spent" ] || wrong 'adaptive_clip changes epsilon'
[ "$(grep -o '"clip":[0-9.]*' adaptive/metrics.jsonl | sort -u | wc -l)" -gt 3 ] || wrong 'the clip stays'

refuses() { # TEXT SETTING
    ranks 4 train dp.yaml --run no --set "$2" >out 2>err
    got=$?
    [ $got = 2 ] || wrong "$2: exit code $got: $(cat err)"
    grep -qF -- "$1" err || wrong "$2: $(cat err)"
}
refuses 'cannot be joined with' federated.secure_aggregation=true
refuses 'must not depend on who' federated.over_selection=0.5
refuses 'federated.min_clients contradicts' federated.min_clients=2
refuses 'set federated.weighting: uniform' federated.weighting=samples
finish
