#!/bin/bash
# Training over two hosts and the link between them (network namespaces; needs root): how much
# of the communication is hidden behind backward, and how near the link's own time a step is.
#
#   tests/bench/hosts.sh --data FOLDER [--peer torch_peer.py] [--rate 1gbit] [--runs 3]
#       [MODEL…]
#
# One rank of one thread on each host. `link` is the time of the gradient's bytes at the
# shaped rate; `sum` a gradient sum with nothing else to do (cohort bench allreduce); `step` is
# the time of a training step, `waits` what of it a rank stands still for communication; and
# `hidden` = 1 - waits / sum. Each is the best of --runs runs: on a machine that others use the
# best is nearest the truth. Where others slow the processors down by a factor, a rate lower by
# the same keeps the proportion.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
cohort=${COHORT:-$top/build/src/cli/cohort}
python=${PYTHON:-python3}
runs=3 peer='' data='' rate=1gbit
while [ $# -gt 0 ]; do
    case $1 in
    --peer) peer=$2; shift 2 ;;
    --data) data=$2; shift 2 ;;
    --runs) runs=$2; shift 2 ;;
    --rate) rate=$2; shift 2 ;;
    --help) sed -n '2,14s/^# \{0,1\}//p' "$0"; exit 0 ;;
    -*) echo "hosts.sh: unknown option $1; see --help" >&2; exit 2 ;;
    *) break ;;
    esac
done
[ -n "$data" ] || { echo "hosts.sh: --data FOLDER is needed; see --help" >&2; exit 2; }
[ $# -gt 0 ] || set -- mnist_cnn big_mlp
# shellcheck source=SCRIPTDIR/../command/host_network.sh
. "$top/tests/command/host_network.sh"
obstacle=$(hosts_obstacle)
[ -z "$obstacle" ] || { echo "hosts.sh: $obstacle" >&2; exit 1; }
work=$(mktemp -d)
trap 'hosts_stop; rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
export COHORT_DATASETS=$data
unset OPENBLAS_CORETYPE OPENBLAS_L2_SIZE
[ -e "$data/mnist.h5" ] || "$cohort" convert idx "$data" --output "$data/mnist.h5" >&2

describe() { # MODEL -> recipe, batch, steps, floats
    case $1 in
    mnist_cnn) recipe=$top/launch/recipes/mnist-cnn.yaml batch=128 steps=${STEPS:-100} floats=93322 ;;
    big_mlp) recipe=$here/recipes/big-mlp.yaml batch=256 steps=${STEPS:-20} floats=5824522 ;;
    *) echo "hosts.sh: no model $1" >&2; exit 2 ;;
    esac
}

ours() { # -> seconds of a step, of waiting
    rm -rf "$work/run"
    hosts_run 1 "$cohort" train "$recipe" --quiet --run "$work/run" --set train.threads=1 \
        --set "train.global_batch_size=$batch" --set "train.max_steps=$((3 * steps))" \
        --set data.limit=$((batch * steps)) --set data.validation=null \
        --set train.epochs=3 --set checkpoint.every_epochs=1000 >/dev/null
    "$python" - "$work/run/metrics.jsonl" "$batch" <<'P'
import json, sys
rows = [json.loads(line) for line in open(sys.argv[1])]
best = min((r for r in rows if r["event"] == "epoch"), key=lambda r: r["seconds"])
step = float(sys.argv[2]) / best["samples_per_s"]
print(step, step * best["communication_fraction"])
P
}

# The peer's script starts both ranks on one host; here each is started on its own.
theirs() { # MODEL -> seconds of a step
    sed "s/127.0.0.1/10.77.0.1/; s/mp.spawn(main, nprocs=a.procs)/main(a.rank)/" "$peer" >"$work/peer.py"
    for rank in 1 0; do
        hosts_on $((rank + 1)) env GLOO_SOCKET_IFNAME=eth0 OMP_NUM_THREADS=1 "$python" \
            "$work/peer.py" "$1" --data "$data" --procs 2 --threads 1 --noeval --epochs 1000 \
            --steps $((2 * steps)) --batch "$batch" --rank $rank >"$work/peer.$rank" &
    done
    wait
    "$python" -c 'import json, sys; print(float(sys.argv[2]) / json.loads(open(sys.argv[1]).read().splitlines()[-1])["samples_per_s"])' \
        "$work/peer.0" "$batch"
}

least() { sort -g | head -n 1; }

case $rate in
*gbit) bits=${rate%gbit}e9 ;;
*mbit) bits=${rate%mbit}e6 ;;
*) echo "hosts.sh: --rate $rate must be like 1gbit or 100mbit" >&2; exit 2 ;;
esac
hosts_start "$work/net" 2 "$rate" || { echo "hosts.sh: no hosts" >&2; exit 1; }
printf 'two hosts, %s; best of %s; %s; milliseconds\n' "$rate" "$runs" "$(date +%F)"
printf '%-10s %8s %8s %8s %8s %7s %10s\n' model link sum step waits hidden 'peer step'
for model in "$@"; do
    describe "$model"
    : >"$work/ours"
    : >"$work/sums"
    : >"$work/theirs"
    for ((i = 0; i < runs; i++)); do
        hosts_run 1 "$cohort" bench allreduce --largest 16 --parameters "$floats" --seconds 0.3 --json |
            sed 's/.*"sum_s":\([^,]*\),"scaling.*/\1/' >>"$work/sums"
        ours >>"$work/ours"
        [ -z "$peer" ] || theirs "$model" >>"$work/theirs"
    done
    awk -v m="$model" -v n="$floats" -v r="$bits" -v sum="$(least <"$work/sums")" \
        -v step="$(least <"$work/ours")" -v waits="$(cut -d' ' -f2 "$work/ours" | least)" \
        -v peer="$(least <"$work/theirs")" 'BEGIN {
        printf "%-10s %8.2f %8.2f %8.2f %8.2f %6.0f%% %10.2f\n", m, 1e3 * n * 32 / r, 1e3 * sum,
            1e3 * step, 1e3 * waits, 100 * (1 - waits / sum), 1e3 * peer }'
done
