#!/bin/bash
# Cohort and PyTorch alternately on the same data: samples/s, ratio, memory.
#
#   tests/bench/run.sh --peer torch_peer.py --data FOLDER [--runs 3] [--ranks "1 2"]
#       [--batch N] [MODEL…]
#   tests/bench/run.sh --scaling --data FOLDER [--runs 3] [--batch N] [MODEL…]
#   tests/bench/run.sh --profile --data FOLDER [--batch N] [MODEL…]
#
# FOLDER holds the peer's raw data (MNIST IDX files, cifar-10-batches-bin/, aclImdb/,
# tinyshakespeare.txt); data sets are converted into it once. Each cell is the median of
# --runs runs, Cohort and peer taking turns, each rank on a core of its own with one
# thread. `limit` is the arithmetic of forward and backward, by their definitions, against a
# single-precision matrix product measured in the same run: convolutions by Winograd's tiles, with
# 16 products instead of 36, go beyond it. `floor` is the least ratio wanted at the model's own
# batch, `*` where it is missed; --batch sets another global batch for both programs.
#
# --scaling compares Cohort on 2 ranks with Cohort on 1 at the same global batch, in turns:
# `scaling` is the rate of 2 ranks over twice that of 1. `apart` is the same of two programs of one
# rank at the same time, each on a core, which share nothing: what the machine's second core gives.
#
# --profile says where the time of one rank goes, by samples of the clock (perf, Debian's
# linux-perf) over eight seconds of training, in per cent, behind its share of the limit.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
cohort=${COHORT:-$top/build/src/cli/cohort}
python=${PYTHON:-python3}
runs=3 peer='' data='' ranks_list='1 2' batch='' scaling='' profile=''
while [ $# -gt 0 ]; do
    case $1 in
    --peer) peer=$2; shift 2 ;;
    --data) data=$2; shift 2 ;;
    --runs) runs=$2; shift 2 ;;
    --ranks) ranks_list=$2; shift 2 ;;
    --batch) batch=$2; shift 2 ;;
    --scaling) scaling=1; shift ;;
    --profile) profile=1; shift ;;
    --help) sed -n '2,22s/^# \{0,1\}//p' "$0"; exit 0 ;;
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
if [ -n "$profile" ] && ! perf --version >/dev/null 2>&1; then
    echo "run.sh: --profile needs perf: apt-get install linux-perf" >&2
    exit 2
fi
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

# MODEL -> recipe, data set, training steps, multiply-adds of forward per sample (`macs`; of causal
# attention those that are needed); `alone` when the peer has no such model. Backward does twice
# those of forward, less the first layer's gradient of the data (`first`).
describe() {
    alone=''
    cnn='3*3*64*576 + 576*64 + 64*10'
    case $1 in
    mnist_mlp) recipe=$top/launch/recipes/mnist-mlp.yaml steps=3000
        macs='784*128 + 128*10' first='784*128'
        make_data mnist.h5 idx "$data" ;;
    mnist_cnn) recipe=$top/launch/recipes/mnist-cnn.yaml steps=300
        macs="26*26*32*9 + 11*11*64*288 + $cnn" first='26*26*32*9'
        make_data mnist.h5 idx "$data" ;;
    mnist_cnn_dp) recipe=$here/recipes/mnist-cnn-dp.yaml steps=150 alone=1
        macs="26*26*32*9 + 11*11*64*288 + $cnn" first='26*26*32*9'
        make_data mnist.h5 idx "$data" ;;
    cifar_cnn) recipe=$top/launch/recipes/cifar10-cnn.yaml steps=400
        macs='30*30*32*27 + 13*13*64*288 + 4*4*64*576 + 1024*64 + 64*10' first='30*30*32*27'
        make_data cifar10.h5 cifar10 "$data/cifar-10-batches-bin" ;;
    big_mlp) recipe=$here/recipes/big-mlp.yaml steps=100
        macs='784*2048 + 2048*2048 + 2048*10' first='784*2048'
        make_data mnist.h5 idx "$data" ;;
    resnet20) recipe=$here/recipes/resnet20.yaml steps=40 first='1024*16*27'
        macs='1024*16*(27 + 6*144) + 256*32*(144 + 5*288 + 16) + 64*64*(288 + 5*576 + 32) + 640'
        make_data cifar10.h5 cifar10 "$data/cifar-10-batches-bin" ;;
    imdb_bag) recipe=$here/recipes/imdb-bag.yaml steps=1500
        macs='100*16 + 16' first=0
        make_data imdb-10000-100.h5 text "$data/aclImdb" --vocabulary 10000 --length 100 ;;
    imdb_bilstm) recipe=$here/recipes/imdb-bilstm.yaml steps=150
        macs='200*2*(32 + 32)*4*32 + 64' first=0
        make_data imdb-20000-200.h5 text "$data/aclImdb" --vocabulary 20000 --length 200 ;;
    gpt) recipe=$here/recipes/gpt.yaml steps=40 first=0
        macs='256*(4*12*128*128 + 128*65) + 4*2*(256*257/2)*128'
        make_data shakespeare-256.h5 chars "$data/tinyshakespeare.txt" --length 256 ;;
    *) echo "run.sh: no model $1" >&2; exit 2 ;;
    esac
    mflop=$(awk "BEGIN { print (6 * ($macs) - 2 * ($first)) / 1e6 }")
}

train() { # FOLDER LAUNCHER…
    rm -rf "$1"
    COHORT_DATASETS=$data "${@:2}" "$cohort" train "$recipe" --quiet --run "$1" \
        --set data.test=test --set "train.max_steps=$steps" --set train.threads=1 \
        --set checkpoint.every_epochs=1000 --set train.epochs=100 --set data.validation=null \
        ${batch:+--set "train.global_batch_size=$batch"} \
        >/dev/null
}

result() { # FOLDER -> samples_per_s peak_mb communication data
    "$python" - "$1/metrics.jsonl" <<'P'
import json, sys
rows = [json.loads(line) for line in open(sys.argv[1])]
epochs = [r for r in rows if r["event"] == "epoch"]
rate = sorted(r["samples_per_s"] for r in epochs[1:] or epochs)
last = epochs[-1]
print(rate[len(rate) // 2], last["peak_rss_mb"], last["communication_fraction"], last["data_fraction"])
P
}

ours() { # RANKS -> what result gives
    train "$work/run" "$top/launch/mpirun.sh" "$1"
    result "$work/run"
}

# samples/s of two programs of one rank, each on a core of its own.
apart() {
    local cores job
    read -r -a cores < <("$python" -c 'import os; print(*sorted(os.sched_getaffinity(0))[:2])')
    train "$work/run" taskset -c "${cores[0]}" &
    job=$!
    train "$work/other" taskset -c "${cores[1]}"
    wait $job
    { result "$work/run"; result "$work/other"; } | awk '{ sum += $1 } END { print sum }'
}

theirs() { # RANKS MODEL -> samples_per_s peak_mb
    OMP_NUM_THREADS=1 "$python" "$peer" "$2" --data "$data" --procs "$1" --threads 1 --noeval \
        --epochs 1000 --steps "$steps" ${batch:+--batch "$batch"} |
        "$python" -c 'import json,sys; r = json.loads(sys.stdin.read().splitlines()[-1]); print(r["samples_per_s"], r["rss_mb"])'
}

median() { sort -g | awk '{v[NR] = $1} END {print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2}'; }

scale() { # MODEL…
    printf '%-12s %6s %12s %12s %8s %7s\n' model batch '1 rank/s' '2 ranks/s' scaling apart
    for model in "$@"; do
        describe "$model"
        : >"$work/1"
        : >"$work/2"
        : >"$work/apart"
        for ((i = 0; i < runs; i++)); do
            ours 1 >>"$work/1"
            ours 2 >>"$work/2"
            apart >>"$work/apart"
        done
        awk -v m="$model" -v b="${batch:-own}" -v one="$(cut -d' ' -f1 "$work/1" | median)" \
            -v two="$(cut -d' ' -f1 "$work/2" | median)" -v both="$(median <"$work/apart")" 'BEGIN {
            printf "%-12s %6s %12.0f %12.0f %7.0f%% %6.0f%%\n", m, b, one, two, 50 * two / one,
                50 * both / one }'
    done
}

# A run of MODEL that is left running: what perf saw of eight seconds of it, a line for each
# function: per cent, where it is from, name; then samples/s meanwhile.
sample_clock() { # MODEL
    describe "$1"
    local every=$((steps < 60 ? 1 : steps / 30))
    rm -rf "$work/run"
    COHORT_DATASETS=$data "$cohort" train "$recipe" --quiet --run "$work/run" \
        --set data.validation=null --set train.threads=1 --set train.epochs=1000000 \
        --set checkpoint.every_epochs=1000000 --set train.log_every_steps=$every \
        ${batch:+--set "train.global_batch_size=$batch"} >/dev/null 2>&1 &
    local job=$!
    for ((i = 0; i < 300; i++)); do
        ! grep -q '"step":' "$work/run/metrics.jsonl" 2>/dev/null || break
        sleep 0.1
    done
    local before after size begin end # perf takes its time to start and to end
    before=$(grep -c '"step":' "$work/run/metrics.jsonl") begin=$EPOCHREALTIME
    perf record -q -e cpu-clock -F 997 -o "$work/perf" -p $job -- sleep 8 >/dev/null 2>&1
    after=$(grep -c '"step":' "$work/run/metrics.jsonl") end=$EPOCHREALTIME
    kill -9 $job
    wait $job 2>/dev/null || true
    size=$(grep -o '"global_batch_size":[0-9]*' "$work/run/metrics.jsonl" | head -n 1 | cut -d: -f2)
    perf report -i "$work/perf" --stdio --sort dso,symbol 2>/dev/null |
        awk -v count=$(((after - before) * every * size)) -v begin="$begin" -v end="$end" '
            $1 ~ /%$/ { share = $1; sub(/%/, "", share); dso = $2; if (/JIT/) dso = "JIT"
                        sub(/.*\[[.k]\] /, ""); print share, dso, $0 }
            END { print count / (end - begin) }'
}

show_profile() { # MODEL…
    printf '%-12s %8s %6s %9s %10s %7s %9s %5s %7s\n' model samples/s limit products 'laying out' \
        layers optimizer data system
    for model in "$@"; do
        sample_clock "$model" >"$work/seen"
        awk -v m="$model" -v f="$mflop" -v l="$limit" '
            NF == 1 { rate = $1; next }
            $2 ~ /kernel|gomp|ld-linux|libmpi|libopen-/ { rest += $1; next }
            $2 == "JIT" || $2 ~ /dnnl/ { products += $1; next }
            $3 ~ /gemm_.*copy|panel_pack|block_panel|copy_row|_turn|add_weights|frame|pack|conv_(direct|winograd)|(narrow|wide)_(input|output|gradient|scatter|mask)|sparse_panel|transform_|mem(move|cpy|set)/ { laid += $1; next }
            $3 ~ /(narrow|wide|half)_(panel|tile|forward|weights|parts|multiply|sum_parts)|gemm|gemv|^tile|multiply_|weights_block/ { products += $1; next }
            $3 ~ /update|square_sum|rows_next|optimizer/ { optimizer += $1; next }
            $2 ~ /hdf5|libz/ || $3 ~ /scale_u8|permutation|gather|loader|sampler|rng|philox/ { data += $1; next }
            $2 == "cohort" || $2 ~ /libmvec/ { layers += $1; next }
            { rest += $1 }
            END { printf "%-12s %8.0f %5.0f%% %9.0f %10.0f %7.0f %9.0f %5.0f %7.0f\n", m, rate,
                      100 * rate * f / 1000 / l, products, laid, layers, optimizer, data, rest }' "$work/seen"
    done
}

if [ -n "$scaling" ]; then
    scale "$@"
    exit
fi
limit=$("$top/build/tests/bench/bench_gemm")
if [ -n "$profile" ]; then
    echo "single-precision matrix product, one core: $limit GFLOP/s; $(date +%F)"
    show_profile "$@"
    exit
fi
echo "single-precision matrix product, one core: $limit GFLOP/s; medians of $runs alternating runs; $(date +%F)"
printf '%-12s %5s %12s %12s %7s %6s %7s %6s %6s %8s %8s\n' model ranks cohort/s peer/s ratio floor limit comm data MB 'peer MB'
for model in "$@"; do
    describe "$model"
    for ranks in $ranks_list; do
        : >"$work/ours"
        : >"$work/theirs"
        for ((i = 0; i < runs; i++)); do
            ours "$ranks" >>"$work/ours"
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
