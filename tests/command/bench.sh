#!/bin/sh
# cohort bench: every measurement, as a table and as JSON, on one and on several ranks.
# shellcheck source=tests/command/lib.sh
. "$(dirname "$0")/lib.sh"

value() { # KEY: the first number of that name in the JSON printed
    grep -o "\"$1\":[^,}]*" out | head -n 1 | cut -d: -f2
}
positive() { # KEY…
    for key in "$@"; do
        holds "$(value "$key") > 0" || wrong "$key is '$(value "$key")' in: $(cat out)"
    done
}

# The split in digits.h5 is 1,000 x 14 x 14 bytes.
works 1 convert digits --train 1000 --test 10 --size 14 --output digits.h5
for count in 1 2; do
    works $count bench gemm --size 128 --seconds 0.02
    says 'one core, the others idle' 'together'
    works $count bench gemm --size 128 --seconds 0.02 --json
    [ "$(wc -l <out)" = 1 ] || wrong "more than one object: $(cat out)"
    [ "$(value ranks)" = $count ] || wrong "ranks: $(cat out)"
    positive one_core_gflops all_gflops slowest_rank_gflops
    holds "$(value slowest_rank_gflops) <= $(value fastest_rank_gflops)" || wrong "$(cat out)"
    holds "$(value all_gflops) >= $count * $(value slowest_rank_gflops) * 0.999" ||
        wrong "the sum of $count ranks: $(cat out)"

    works $count bench data digits.h5 --seconds 0.05
    says 'digits.h5: 1000 samples' 'batches from memory' streamed 'the file'
    works $count bench data digits.h5 --seconds 0.05 --split test --batch 4 --json
    [ "$(value samples)" = 10 ] || wrong "the test split: $(cat out)"
    [ "$(value file_bytes)" = "$(wc -c <digits.h5)" ] || wrong "the file's size: $(cat out)"
    positive memory_samples_per_s streamed_samples_per_s file_bytes_per_s
done

cat >net.yaml <<'YAML'
name: net
data: {file: digits.h5}
model: [flatten, dense: {units: 10}]
loss: cross_entropy
train: {global_batch_size: 40, threads: 1}
YAML
works 2 bench allreduce --seconds 0.002 --largest 300000
says 'shared memory' messages MPI_Iallreduce '1 MiB'
if grep -q '4 MiB' out; then wrong "more than the largest: $(cat out)"; fi
if grep -q 'ranks  ' out; then wrong "an estimate without a gradient: $(cat out)"; fi
works 2 bench allreduce --seconds 0.002 --largest 2000 --parameters 5000
says 'a gradient of 5000 floats' '90 % with steps of'
works 3 bench allreduce --seconds 0.002 --largest 2000 --recipe net.yaml --set train.global_batch_size=30
says 'a gradient of 1984 floats' 'a step of 30 samples' 'one batch in all'
works 2 bench allreduce --seconds 0.002 --largest 2000 --recipe net.yaml --json
[ "$(value parameters)" = 1984 ] || wrong "parameters: $(cat out)"
positive latency_s sum_s compute_s efficiency_one_batch
for end in one_batch batch_each; do # never more than the ideal, and less with more ranks
    grep -o "\"efficiency_$end\":[^,}]*" out | cut -d: -f2 |
        awk 'BEGIN { last = 1 } $1 > last { bad = 1 } { last = $1 } END { exit bad || NR != 6 }' ||
        wrong "efficiency_$end: $(cat out)"
done
[ ! -e runs ] || wrong 'measuring leaves a run folder'

fails_on 1 2 'one rank has nothing to sum' bench allreduce
fails_on 1 2 'did you mean gemm' bench gem
fails 2 'nothing to measure' bench everything
fails 2 "--parameters is for \`cohort bench allreduce\`, not for gemm" bench gemm --parameters 3
fails_on 1 2 '--size 3 must be from' bench gemm --size 3
fails_on 1 2 'usage: cohort bench data FILE.h5' bench data
fails_on 1 2 'usage: cohort bench gemm' bench gemm more
fails_on 2 2 'give one of them' bench allreduce --parameters 3 --recipe net.yaml
fails_on 2 2 'give --recipe, too' bench allreduce --set train.threads=1
fails_on 2 2 "unknown key 'nothing'" bench allreduce --recipe net.yaml --set nothing=1
fails 3 'nowhere.h5' bench data nowhere.h5
fails 3 'nowhere' bench data digits.h5 --split nowhere
finish
