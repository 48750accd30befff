#!/bin/sh
# The number of ranks and the way to sum change no bit of a network with a table of embeddings
# large enough to be kept by rows: the same losses and weights on 1, 2, 3 and 4 ranks, of one and
# several threads, in shared memory, between nodes and by MPI alone, stopped and continued.
# shellcheck source=tests/command/lib.sh
. "$(dirname "$0")/lib.sh"

awk 'BEGIN {
    srand(7)
    print "text,label"
    for (i = 0; i < 400; i++) {
        for (j = 0; j < 30; j++) printf "w%d ", int(2500 * rand() * rand() * rand()) + (i % 2) * 100
        print "," (i % 2 ? "good" : "bad")
    }
}' >words.csv
works 1 convert text words.csv --length 24 --vocabulary 2600 --test 0.2 --output words.h5
cat >net.yaml <<'Y'
data: {file: words.h5}
model:
  - embedding: {vocabulary: 5000, units: 12, mask: true}
  - global_average_pool
  - dense: {units: 200, activation: tanh} # enough work for lanes of threads
  - dense: {units: 100, activation: tanh}
  - dense: {units: 2}
loss: cross_entropy
optimizer: {lr: 0.02}
train: {epochs: 100, max_steps: 30, global_batch_size: 31, parts: 4, log_every_steps: 1, threads: 1}
checkpoint: {every_epochs: 1000}
Y

train() { # RANKS RUN OPTION…
    count=$1 run=$2
    shift 2
    ranks "$count" train net.yaml --run "$run" "$@" --quiet >out 2>err ||
        wrong "$run on $count ranks: $(cat err)"
    sed -n '/"event":"step"/p' "$run/metrics.jsonl" >"$run.steps"
    [ "$(wc -l <"$run.steps")" = 30 ] || wrong "$run: not 30 steps"
}
same() { # A B
    cmp -s "$1.steps" "$2.steps" || wrong "$2: $(diff "$1.steps" "$2.steps" | head -n 4)"
}
compare() { # NAME OPTION…
    name=$1
    shift
    for count in 1 2 3 4; do
        train $count "$name$count" "$@"
        same "${name}1" "$name$count"
    done
}

compare adam --set optimizer.clip_norm=0.05
grep -q 'embeddings by rows' adam2/metrics.jsonl || wrong 'the table is not summed by rows'
compare sgd --set optimizer.type=sgd --set optimizer.lr=0.5
compare used --set optimizer.embedding_rows=used --set optimizer.weight_decay=0.01
if cmp -s used1.steps adam1.steps; then wrong 'embedding_rows: used changes nothing'; fi

# The reference sums whole tables; 2 ranks add in no other order.
train 2 mpi --set comm.reducer=mpi --set optimizer.embedding_rows=used --set optimizer.weight_decay=0.01
same used1 mpi
COHORT_TEST_NODE_SIZE=2
export COHORT_TEST_NODE_SIZE
train 4 nodes --set optimizer.embedding_rows=used --set optimizer.weight_decay=0.01
unset COHORT_TEST_NODE_SIZE
grep -q '2 nodes, MPI messages between, 4 ranks, .*embeddings by rows' nodes/metrics.jsonl ||
    wrong 'not two nodes'
same used1 nodes

# Lanes of threads, whose marks of rows are joined: all at once, and while messages leave.
used='--set optimizer.embedding_rows=used --set optimizer.weight_decay=0.01'
for threads in 2 3 4; do
    # shellcheck disable=SC2086
    train 1 lanes$threads $used --set train.threads=$threads --verbose
    grep -q "4 parts of a batch by $threads threads" err || wrong "no lanes: $(cat err)"
    same used1 lanes$threads
done
COHORT_TEST_NODE_SIZE=1
export COHORT_TEST_NODE_SIZE
# shellcheck disable=SC2086
train 2 lanes $used --set train.threads=2
unset COHORT_TEST_NODE_SIZE
same used1 lanes
# shellcheck disable=SC2086
train 3 odd $used --set train.threads=2
same used1 odd

# Stopped after 12 steps on 2 ranks, continued on 3.
ranks 2 train net.yaml --run parts --set optimizer.embedding_rows=used \
    --set optimizer.weight_decay=0.01 --set train.max_steps=12 --quiet >out 2>err
train 3 parts --set optimizer.embedding_rows=used --set optimizer.weight_decay=0.01
same used1 parts
finish
