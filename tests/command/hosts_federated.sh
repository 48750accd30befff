#!/bin/sh
# launch/federated/train.sh over several hosts (network namespaces): masked updates over TCP give
# one host's bits; a party that is cut off is left out and the run goes on.
# shellcheck source=tests/command/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/command/host_network.sh
. "$SOURCE/tests/command/host_network.sh"
obstacle=$(hosts_obstacle)
[ -z "$obstacle" ] || skip "$obstacle"
# shellcheck disable=SC2317 # called by a trap
leave() {
    hosts_stop
    rm -rf "$work"
}

for rank in 0 1 2 3; do
    works 1 convert digits --train $((60 + 20 * rank)) --test 60 --size 14 --seed $((rank + 1)) \
        --output site-$rank.h5
done
cat >fed.yaml <<'YAML'
name: fed
data: {file: "site-{rank}.h5", scale: 0.004}
model:
  - flatten
  - dense: {units: 24, activation: relu}
  - dense: {units: 10}
loss: cross_entropy
optimizer: {type: sgd, lr: 0.05}
train: {threads: 1}
comm: {timeout: 60}
federated: {rounds: 4, fraction: 1, min_clients: 2, secure_aggregation: {threshold: 0.51}}
YAML
works 4 train fed.yaml --run one --quiet
hosts_start "$work/net" 4 200mbit || wrong 'no four hosts'
{
    echo '# the coordinator, three parties'
    for index in 1 2 3 4; do
        echo "$hosts_name-$index slots=1"
    done
} >sites

deploy() { # FOLDER OPTION…
    folder=$1
    shift
    hosts_on 1 env OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 COHORT="$COHORT" \
        COHORT_NETWORK=eth0 MPIRUN_OPTIONS="-q --mca plm_rsh_agent $work/net/enter" timeout 240 \
        "$SOURCE/launch/federated/train.sh" sites fed.yaml --quiet --run "$folder" "$@"
}
rounds() { # FOLDER
    sed -n '/"event":"round"/{s/"loss".*"test_loss"/"test_loss"/; s/,"bytes_up".*//p;}' "$1/metrics.jsonl"
}

deploy all >out 2>err || wrong "deploy: $(cat out err)"
rounds one >left
rounds all >right
[ "$(wc -l <right)" = 4 ] || wrong "not 4 rounds: $(cat err)"
cmp -s left right || wrong "other bits over TCP: $(diff left right)"

deploy cut --set federated.rounds=2000 --set federated.round_timeout=4 --set federated.evaluate_every=500 \
    --set checkpoint.every_epochs=1000 >out 2>err &
job=$!
for _ in $(seq 600); do
    grep -q '"round":10,"clients' cut/metrics.jsonl 2>/dev/null && break
    sleep 0.05
done
hosts_cut 3
for _ in $(seq 1200); do
    grep -q '"event":"end"' cut/metrics.jsonl 2>/dev/null && break
    sleep 0.1
done
[ "$(metric cut/metrics.jsonl end status)" = '"finished"' ] || wrong "a cut link ends the run: $(cat err)"
[ "$(metric cut/metrics.jsonl round clients)" = 2 ] || wrong 'the one that is cut off counts'
grep -Eq '^cohort: warning: (round [0-9]* goes|the next rounds go) on without client 1' err ||
    wrong "cut: $(cat err)"
wait $job
got=$?
[ $got = 0 ] || wrong "a cut link: exit code $got: $(cat err)"
grep -v '^cohort: warning: ' err && wrong "a cut link: noise: $(cat err)"
"$SOURCE/launch/federated/train.sh" no-sites fed.yaml >out 2>err && wrong 'it runs without a list of hosts'
grep -q 'no-sites cannot be read' err || wrong "no list: $(cat err)"
finish
