#!/bin/sh
# Masked updates: the model's bits are those of plain sums, also when clients drop out.
# shellcheck source=tests/command/lib.sh
. "$(dirname "$0")/lib.sh"
works 1 convert digits --train 400 --test 80 --size 14 --output digits.h5
cat >fed.yaml <<'YAML'
name: fed
data: {file: digits.h5, scale: 0.004}
model:
  - flatten
  - dense: {units: 24, activation: relu}
  - batch_norm
  - dense: {units: 10}
loss: cross_entropy
optimizer: {type: sgd, lr: 0.1}
train: {threads: 1}
federated:
  rounds: 3
  clients: 12
  partition: {dirichlet: {alpha: 0.5}}
  fraction: 0.5
YAML

# The round records without clock, bytes and what only masked rounds say.
rounds() { # FOLDER
    sed -n '/"event":"round"/{s/,"seconds".*//; s/,"bytes_up".*"update_norm"/,"update_norm"/p;}' \
        "$1/metrics.jsonl"
}

same() { # FOLDER FOLDER
    rounds "$1" >left
    rounds "$2" >right
    [ -s left ] || wrong "$1 has no rounds"
    cmp -s left right || wrong "$1 and $2 differ: $(diff left right | head -n 4)"
    for run in "$1" "$2"; do
        works 1 export "$run/checkpoints/last.h5" --format npz --output "$run.npz"
    done
    cmp -s "$1.npz" "$2.npz" || wrong "the weights of $1 and $2 differ"
}

works 1 train fed.yaml --run plain --quiet
for count in 1 2 3 7; do
    works $count train fed.yaml --run masked$count --quiet --set federated.secure_aggregation=true
    same plain masked$count
done
m=masked1/metrics.jsonl
[ "$(metric $m start secure_aggregation)" = true ] || wrong "start does not say so"
[ "$(metric $m round threshold)" = 4 ] || wrong "0.66 of 6: $(metric $m round threshold)"
holds "$(metric $m round expansion) > 1.8 && $(metric $m round expansion) < 2.2" ||
    wrong "expansion: $(metric $m round expansion)"
holds "$(metric $m round bytes_up) > 1.8 * $(metric plain/metrics.jsonl round bytes_up)" ||
    wrong "bytes_up leaves the masks out"
# Other vectors that are summed: control variates; clients that count alike.
for options in '--set federated.strategy=scaffold' '--set federated.weighting=uniform'; do
    # shellcheck disable=SC2086
    works 1 train fed.yaml --run plain --fresh --quiet $options
    # shellcheck disable=SC2086
    works 2 train fed.yaml --run masked2 --fresh --quiet $options \
        --set 'federated.secure_aggregation={threshold: 0.7}'
    same plain masked2
done

# --- Clients that drop out after their keys, down to the threshold ---------------------------
few='--set federated.partition=iid --set federated.fraction=1 --set federated.update_limit=0.22'
# shellcheck disable=SC2086
works 1 train fed.yaml --run plain --fresh --quiet $few
grep -q '"dropped":\[{"client":[0-9]*,"why":"larger than update_limit"}' plain/metrics.jsonl ||
    wrong "nobody was dropped: $(cat plain/metrics.jsonl)"
for count in 1 3; do
    # shellcheck disable=SC2086
    works $count train fed.yaml --run masked$count --fresh --quiet $few \
        --set 'federated.secure_aggregation={threshold: 0.51}'
    same plain masked$count
done
for count in 1 2; do
    # shellcheck disable=SC2086
    ranks $count train fed.yaml --run over --fresh --quiet $few \
        --set 'federated.secure_aggregation={threshold: 1}' >out 2>err
    got=$?
    [ $got = 4 ] || wrong "below the threshold on $count: exit code $got: $(cat err)"
    [ "$(grep -c 'fewer than the threshold of federated.secure_aggregation (12): client' err)" = 1 ] ||
        wrong "below the threshold: $(cat err)"
done

# --- Mistakes ---------------------------------------------------------------------------------
masked='--set federated.secure_aggregation=true'
# shellcheck disable=SC2086
{
    fails_on 1 2 "strategy median looks at single updates" train fed.yaml $masked \
        --set federated.strategy=median
    fails 2 "strategy krum looks at single updates" train fed.yaml $masked --set federated.strategy=krum
    fails 2 "cannot be summed under the masks" train fed.yaml $masked --set federated.compression=top_k
    fails_on 2 2 "rounds have one client only" train fed.yaml $masked --run one --set federated.fraction=0.01
    fails 2 "secure_aggregation.threshold must be in" train fed.yaml --set 'federated.secure_aggregation={threshold: 0.5}'
}
finish
