#!/bin/bash
# Cohort and PyTorch alternately on the same data: samples/s, ratio, memory.
#
#   tests/bench/run.sh --peer torch_peer.py --data FOLDER [--runs 3] [--ranks "1 2"] [MODEL…]
#
# FOLDER holds the peer's raw data (MNIST IDX files, cifar-10-batches-bin/, aclImdb/,
# tinyshakespeare.txt); data sets are converted into it once. Each cell is the median of
# --runs runs, Cohort and peer taking turns, each rank on a core of its own with one
# thread. `limit` is the arithmetic of forward and backward against a single-precision
# matrix product measured in the same run.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
cohort=${COHORT:-$top/build/src/cli/cohort}
python=${PYTHON:-python3}
runs=3 peer='' data='' ranks_list='1 2'
while [ $# -gt 0 ]; do
    case $1 in
    --peer) peer=$2; shift 2 ;;
    --data) data=$2; shift 2 ;;
    --runs) runs=$2; shift 2 ;;
    --ranks) ranks_list=$2; shift 2 ;;
    --help) sed -n '2,11s/^# \{0,1\}//p' "$0"; exit 0 ;;
    -*) echo "run.sh: unknown option $1; see --help" >&2; exit 2 ;;
    *) break ;;
    esac
done
[ -n "$data" ] || { echo "run.sh: --data FOLDER is needed; see --help" >&2; exit 2; }
[ $# -gt 0 ] || set -- mnist_mlp mnist_cnn mnist_cnn_dp cifar_cnn big_mlp resnet20 imdb_bag imdb_bilstm gpt
unset OPENBLAS_CORETYPE OPENBLAS_L2_SIZE
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

make_data() { # FILE COMMAND…: once
    [ -e "$data/$1" ] || "$cohort" convert "${@:2}" --output "$data/$1" >&2
}

# MODEL -> recipe, data set, training steps, MFLOP per sample (forward + backward); `alone` when
# the peer has no such model
describe() {
    alone=''
    case $1 in
    mnist_mlp) recipe=$top/launch/recipes/mnist-mlp.yaml steps=3000 mflop=0.61
        make_data mnist.h5 idx "$data" ;;
    mnist_cnn) recipe=$top/launch/recipes/mnist-cnn.yaml steps=300 mflop=26.7
        make_data mnist.h5 idx "$data" ;;
    mnist_cnn_dp) recipe=$here/recipes/mnist-cnn-dp.yaml steps=150 mflop=26.7 alone=1
        make_data mnist.h5 idx "$data" ;;
    cifar_cnn) recipe=$top/launch/recipes/cifar10-cnn.yaml steps=400 mflop=34.4
        make_data cifar10.h5 cifar10 "$data/cifar-10-batches-bin" ;;
    big_mlp) recipe=$here/recipes/big-mlp.yaml steps=100 mflop=31.6
        make_data mnist.h5 idx "$data" ;;
    resnet20) recipe=$here/recipes/resnet20.yaml steps=40 mflop=245
        make_data cifar10.h5 cifar10 "$data/cifar-10-batches-bin" ;;
    imdb_bag) recipe=$here/recipes/imdb-bag.yaml steps=1500 mflop=0.01
        make_data imdb-10000-100.h5 text "$data/aclImdb" --vocabulary 10000 --length 100 ;;
    imdb_bilstm) recipe=$here/recipes/imdb-bilstm.yaml steps=150 mflop=39.4
        make_data imdb-20000-200.h5 text "$data/aclImdb" --vocabulary 20000 --length 200 ;;
    gpt) recipe=$here/recipes/gpt.yaml steps=40 mflop=1440
        make_data shakespeare-256.h5 chars "$data/tinyshakespeare.txt" --length 256 ;;
    *) echo "run.sh: no model $1" >&2; exit 2 ;;
    esac
}

ours() { # RANKS MODEL -> samples_per_s peak_mb communication data
    rm -rf "$work/run"
    COHORT_DATASETS=$data "$top/launch/mpirun.sh" "$1" "$cohort" train "$recipe" --quiet \
        --run "$work/run" --set data.test=test --set "train.max_steps=$steps" --set train.threads=1 \
        --set checkpoint.every_epochs=1000 --set train.epochs=100 --set data.validation=null \
        >/dev/null
    "$python" - "$work/run/metrics.jsonl" <<'P'
import json, sys
rows = [json.loads(line) for line in open(sys.argv[1])]
epochs = [r for r in rows if r["event"] == "epoch"]
rate = sorted(r["samples_per_s"] for r in epochs[1:] or epochs)
last = epochs[-1]
print(rate[len(rate) // 2], last["peak_rss_mb"], last["communication_fraction"], last["data_fraction"])
P
}

theirs() { # RANKS MODEL -> samples_per_s peak_mb
    OMP_NUM_THREADS=1 "$python" "$peer" "$2" --data "$data" --procs "$1" --threads 1 --noeval \
        --epochs 1000 --steps "$steps" |
        "$python" -c 'import json,sys; r = json.loads(sys.stdin.read().splitlines()[-1]); print(r["samples_per_s"], r["rss_mb"])'
}

median() { sort -g | awk '{v[NR] = $1} END {print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2}'; }

limit=$("$top/build/tests/bench/bench_gemm")
echo "single-precision matrix product, one core: $limit GFLOP/s; medians of $runs alternating runs; $(date +%F)"
printf '%-12s %5s %12s %12s %7s %7s %6s %6s %8s %8s\n' model ranks cohort/s peer/s ratio limit comm data MB 'peer MB'
for model in "$@"; do
    describe "$model"
    for ranks in $ranks_list; do
        : >"$work/ours"
        : >"$work/theirs"
        for ((i = 0; i < runs; i++)); do
            ours "$ranks" "$model" >>"$work/ours"
            if [ -n "$peer" ] && [ -z "$alone" ]; then theirs "$ranks" "$model" >>"$work/theirs"; fi
        done
        rate=$(cut -d' ' -f1 "$work/ours" | median)
        other=$(cut -d' ' -f1 "$work/theirs" | median)
        tail -n 1 "$work/ours" >"$work/last"
        read -r _ memory communication wait <"$work/last"
        their_memory=$(tail -n 1 "$work/theirs" | cut -d' ' -f2)
        awk -v m="$model" -v n="$ranks" -v a="$rate" -v b="${other:-0}" -v f="$mflop" -v l="$limit" \
            -v c="$communication" -v d="$wait" -v r="$memory" -v s="${their_memory:-0}" 'BEGIN {
            printf "%-12s %5d %12.0f %12.0f %7s %6.0f%% %5.1f%% %5.1f%% %8.0f %8.0f\n", m, n, a, b,
                (b > 0) ? sprintf("%.2f", a / b) : "-", 100 * a * f / 1000 / l / n, 100 * c, 100 * d, r, s }'
    done
done
