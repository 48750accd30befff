#!/bin/bash
# Cohort and PyTorch alternately on the same data: samples/s, ratio, memory.
#
#   tests/bench/run.sh --peer torch_peer.py --data FOLDER [--runs 3] [--ranks "1 2"]
#       [--batch N] [MODEL…]
#   tests/bench/run.sh --scaling --data FOLDER [--runs 3] [--batch N] [MODEL…]
#
# FOLDER holds the peer's raw data (MNIST IDX files, cifar-10-batches-bin/, aclImdb/,
# tinyshakespeare.txt); data sets are converted into it once. Each cell is the median of
# --runs runs, Cohort and peer taking turns, each rank on a core of its own with one
# thread. `limit` is the arithmetic of forward and backward against a single-precision
# matrix product measured in the same run. `floor` is the least ratio wanted at the model's own
# batch, `*` where it is missed; --batch sets another global batch for both programs.
#
# --scaling compares Cohort on 2 ranks with Cohort on 1 at the same global batch, in turns:
# `scaling` is the rate of 2 ranks over twice that of 1.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
cohort=${COHORT:-$top/build/src/cli/cohort}
python=${PYTHON:-python3}
runs=3 peer='' data='' ranks_list='1 2' batch='' scaling=''
while [ $# -gt 0 ]; do
    case $1 in
    --peer) peer=$2; shift 2 ;;
    --data) data=$2; shift 2 ;;
    --runs) runs=$2; shift 2 ;;
    --ranks) ranks_list=$2; shift 2 ;;
    --batch) batch=$2; shift 2 ;;
    --scaling) scaling=1; shift ;;
    --help) sed -n '2,17s/^# \{0,1\}//p' "$0"; exit 0 ;;
    -*) echo "run.sh: unknown option $1; see --help" >&2; exit 2 ;;
    *) break ;;
    esac
done
[ -n "$data" ] || { echo "run.sh: --data FOLDER is needed; see --help" >&2; exit 2; }
[ -z "$batch" ] || [ "$batch" -ge 1 ] 2>/dev/null || {
    echo "run.sh: --batch needs a positive number, not $batch" >&2
    exit 2
}
if [ -n "$scaling" ]; then
    peer=''
    [ $# -gt 0 ] || set -- mnist_cnn resnet20
fi
[ $# -gt 0 ] || set -- mnist_mlp mnist_cnn mnist_cnn_dp cifar_cnn big_mlp resnet20 imdb_bag imdb_bilstm gpt
unset OPENBLAS_CORETYPE OPENBLAS_L2_SIZE
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Least ratio to the peer that is wanted: MODEL RANKS
floor_of() {
    case $1:$2 in
    mnist_mlp:1) echo 3.5 ;; mnist_mlp:2) echo 14 ;;
    mnist_cnn:1) echo 1.5 ;; mnist_cnn:2) echo 1.7 ;;
    cifar_cnn:1) echo 1.45 ;; cifar_cnn:2) echo 2.5 ;;
    big_mlp:1) echo 1.0 ;; big_mlp:2) echo 2.2 ;;
    resnet20:1) echo 1.1 ;; resnet20:2) echo 1.15 ;;
    imdb_bag:1) echo 4 ;; imdb_bag:2) echo 20 ;;
    imdb_bilstm:1) echo 5 ;; imdb_bilstm:2) echo 8 ;;
    gpt:1) echo 1.1 ;; gpt:2) echo 2 ;;
    *) echo 0 ;;
    esac
}

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
        ${batch:+--set "train.global_batch_size=$batch"} \
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
        --epochs 1000 --steps "$steps" ${batch:+--batch "$batch"} |
        "$python" -c 'import json,sys; r = json.loads(sys.stdin.read().splitlines()[-1]); print(r["samples_per_s"], r["rss_mb"])'
}

median() { sort -g | awk '{v[NR] = $1} END {print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2}'; }

scale() { # MODEL…
    printf '%-12s %6s %12s %12s %8s\n' model batch '1 rank/s' '2 ranks/s' scaling
    for model in "$@"; do
        describe "$model"
        : >"$work/1"
        : >"$work/2"
        for ((i = 0; i < runs; i++)); do
            ours 1 "$model" >>"$work/1"
            ours 2 "$model" >>"$work/2"
        done
        awk -v m="$model" -v b="${batch:-own}" -v one="$(cut -d' ' -f1 "$work/1" | median)" \
            -v two="$(cut -d' ' -f1 "$work/2" | median)" 'BEGIN {
            printf "%-12s %6s %12.0f %12.0f %7.0f%%\n", m, b, one, two, 50 * two / one }'
    done
}

if [ -n "$scaling" ]; then
    scale "$@"
    exit
fi
limit=$("$top/build/tests/bench/bench_gemm")
echo "single-precision matrix product, one core: $limit GFLOP/s; medians of $runs alternating runs; $(date +%F)"
printf '%-12s %5s %12s %12s %7s %6s %7s %6s %6s %8s %8s\n' model ranks cohort/s peer/s ratio floor limit comm data MB 'peer MB'
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
        least=0
        [ -n "$batch" ] || least=$(floor_of "$model" "$ranks")
        awk -v w="$least" -v m="$model" -v n="$ranks" -v a="$rate" -v b="${other:-0}" -v f="$mflop" -v l="$limit" \
            -v c="$communication" -v d="$wait" -v r="$memory" -v s="${their_memory:-0}" 'BEGIN {
            printf "%-12s %5d %12.0f %12.0f %7s %6s %6.0f%% %5.1f%% %5.1f%% %8.0f %8.0f\n", m, n, a, b,
                (b > 0) ? sprintf("%.2f", a / b) : "-",
                (b > 0 && w > 0) ? w (a / b < w ? "*" : "") : "-", 100 * a * f / 1000 / l / n, 100 * c, 100 * d, r, s }'
    done
done
