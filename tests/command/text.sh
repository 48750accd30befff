#!/bin/sh
# Text from the files to training on any number of ranks, predicting from plain lines,
# generating, guessing hidden words and fine-tuning from that.
. "$SOURCE/tests/command/lib.sh"

# --- Texts at the edges: empty, 100,000 words, no UTF-8, CR LF, a class with one file -------
mkdir -p corpus/good corpus/bad corpus/odd
for i in 1 2 3 4 5 6 7 8; do
    echo "A fine film, number $i, and <br />fun to see" >corpus/good/$i.txt
    printf 'A poor film,\r\nnumber %s, and dull to see\r\n' $i >corpus/bad/$i.txt
done
: >corpus/good/empty.txt
printf 'caf\303\251 \377\376 broken \303\n' >corpus/bad/broken.txt
awk 'BEGIN { for (i = 0; i < 100000; i++) printf "word%d ", i % 50 }' >corpus/good/long.txt
echo "strange and alone" >corpus/odd/only.txt
works 1 convert text corpus --length 12 --vocabulary 1000 --mask-token --test 0.25 --output t.h5
works 1 convert text corpus --length 12 --vocabulary 1000 --test 0.25 --output plain.h5

cat >classify.yaml <<'R'
name: classify
data: {file: t.h5}
model:
  - embedding: {name: words, units: 8, mask: true}
  - global_average_pool
  - dense: {name: verdict, units: 3}
loss: cross_entropy
optimizer: {lr: 0.05}
train: {epochs: 6, global_batch_size: 8, parts: 4, log_every_steps: 1, threads: 1}
R
losses() { # RUN: of its steps
    grep '"event":"step"' "$1/metrics.jsonl" >"$1.losses" || wrong "$1 has no steps"
}
same_losses() { # A B
    losses "$1"
    losses "$2"
    cmp -s "$1.losses" "$2.losses" || wrong "$1 and $2 have other losses"
}
works 1 train classify.yaml --run c1
works 2 train classify.yaml --run c2
same_losses c1 c2

# --- Predicting from lines -------------------------------------------------------------------
{
    echo "a fine film"
    echo
    printf 'a poor film\r\n'
    printf '\377\376\n'
    cat corpus/good/long.txt
    printf '\nno line end'
} >lines.txt
works 1 predict c1 lines.txt --output one.csv
says "wrote 6 predictions"
works 2 predict c1 lines.txt --output two.csv
cmp -s one.csv two.csv || wrong "predictions depend on the ranks: $(cat one.csv two.csv)"
[ "$(wc -l <one.csv)" = 7 ] || wrong "not one line a document: $(cat one.csv)"
[ "$(head -1 one.csv)" = 'label,"bad","good","odd"' ] || wrong "header $(head -1 one.csv)"
# An empty line is an empty document, which is one of unknown words only.
[ "$(sed -n 3p one.csv)" = "$(sed -n 5p one.csv)" ] || wrong "an empty line: $(cat one.csv)"
works 2 predict c1 lines.txt --output lines.h5
: >nothing.txt
fails 3 "is empty" predict c1 nothing.txt --output no.csv
fails 2 "--split is for HDF5" predict c1 lines.txt --split test --output no.csv
fails 3 "missing.txt" predict c1 missing.txt --output no.csv

# --- Hidden words -----------------------------------------------------------------------------
cat >masked.yaml <<'R'
name: masked
data: {file: t.h5, validation: 0.2}
model:
  - embedding: {name: words, units: 8, mask: true}
  - residual: {name: look, layers: [attention: {heads: 2}]}
  - dense: {name: guess, units: 1000}
objective: masked
loss: cross_entropy
train: {epochs: 2, global_batch_size: 8, parts: 4, log_every_steps: 1, threads: 1}
R
words=$("$COHORT" inspect t.h5 | sed -n 's/^vocabulary (\([0-9]*\)).*/\1/p')
sed -i "s/units: 1000/units: $words/" masked.yaml
works 1 train masked.yaml --run m1
says "validation loss"
works 2 train masked.yaml --run m2
works 3 train masked.yaml --run m3
same_losses m1 m2
same_losses m1 m3
grep -q '"validation_perplexity".*"validation_bits_per_token"' m1/metrics.jsonl ||
    wrong "no perplexity, or no bits per token"
works 1 eval m1
cp out once
works 2 eval m1
cmp -s out once || wrong "eval of hidden words differs: $(cat once out)"
# The mean is over what was hidden, however the batch is cut into passes.
works 1 train masked.yaml --run m4 --set train.microbatch_size=1 --set train.parts=1
losses m4
paste m1.losses m4.losses | sed 's/[^0-9.e-]*"loss":/ /g; s/,"lr":[^}]*}//g' | awk '
    { a = $(NF / 2); b = $NF; if (a - b > 1e-4 || b - a > 1e-4) bad = 1 }
    END { exit bad || NR == 0 }' || wrong "microbatches change the loss"
fails 3 "--mask-token" train masked.yaml --run no --set data.file=plain.h5
fails 2 "cross_entropy" train masked.yaml --run no --set loss=mse
fails 2 "rate is not used by labels" train classify.yaml --run no --set objective.rate=0.5
fails 2 "one output for each word" train classify.yaml --run no --set objective=masked

# --- Fine-tuning ------------------------------------------------------------------------------
works 1 train classify.yaml --run f1 --set train.initial_weights=m1/checkpoints/last.h5 \
    --set freeze=words
says "took 1 of 3 tensors" "params/verdict/kernel: not in the file" "params/guess/kernel: only"
works 1 train classify.yaml --run l1 --set data.limit=5
grep -q '"train_samples":5,' l1/metrics.jsonl || wrong "data.limit: $(head -1 l1/metrics.jsonl)"

# --- By speaker -------------------------------------------------------------------------------
# Ann says 40 letters in two parts, Bob 30; Cy too little; a blank line does not end Ann's part.
{
    printf 'A prologue nobody speaks.\n\nAnn:\naaaaaaaaa\nbbbbbbbbb\n\nBob:\ncccccccccc\ncccccccc:\nccccccccc\n\n'
    printf 'Cy:\nno\n\n\nMute:\n\nAnn:\r\nddddddddd\r\n\r\neeeeeeeee'
} >play.txt
works 1 convert chars play.txt --by-speaker --length 4 --stride 4 --test 0.25 --output play.h5
says '2 speakers; left out 1 who say too little'
cat >play.yaml <<'R'
data: {file: play.h5}
model: [embedding: {units: 4}, dense: {units: 64}]
loss: cross_entropy
optimizer: {type: sgd, lr: 0.1}
train: {threads: 1}
federated: {rounds: 2, partition: {by: speaker}, fraction: 1}
R
for count in 1 2; do
    works $count train play.yaml --run play$count --quiet
    # 39 letters of Ann: 29 to train on, 7 rows; 30 of Bob: 22, 5 rows; of the ends 2 and 1.
    [ "$(metric play$count/metrics.jsonl start clients)" = 2 ] || wrong 'not a client a speaker'
    [ "$(metric play$count/metrics.jsonl start train_samples)" = 12 ] || wrong 'other rows by speaker'
    [ "$(metric play$count/metrics.jsonl test samples)" = 3 ] || wrong 'other test rows by speaker'
done
works 1 inspect play.h5
says speaker
printf "no name here\n" >plain.txt
fails 3 'no paragraph begins with a line like' convert chars plain.txt --by-speaker --output no.h5
fails 3 'no speaker says enough' convert chars play.txt --by-speaker --length 200 --output no.h5
[ ! -e no.h5 ] || wrong 'a refused conversion left a file'

# --- Generating -------------------------------------------------------------------------------
awk 'BEGIN { for (i = 0; i < 400; i++) printf "abcd\n" }' >chars.txt
works 1 convert chars chars.txt --length 8 --stride 3 --output chars.h5
cat >gpt.yaml <<'R'
name: gpt
data: {file: chars.h5, validation: test}
model:
  - embedding: {units: 16}
  - position_embedding
  - residual: {layers: [layer_norm, attention: {heads: 2, causal: true}]}
  - dense: {units: 5}
loss: cross_entropy
optimizer: {lr: 0.02}
train: {epochs: 4, global_batch_size: 32, threads: 1}
R
works 2 train gpt.yaml --run g
grep -q '"validation_bits_per_character"' g/metrics.jsonl || wrong "no bits per character"
works 1 eval g
says "perplexity" "bits per character"
works 1 eval g --json
says '"bits_per_character":'
works 1 generate g --prompt ab --length 18 --temperature 0
printf 'abcd\nabcd\nabcd\nabcd\n' >want
cmp -s out want || wrong "generated: $(cat out)"
works 1 generate g --prompt a --length 40 --temperature 3 --seed 7
cp out once
works 1 generate g --prompt a --length 40 --temperature 3 --seed 7
cmp -s out once || wrong "the same seed gives another text"
works 2 generate g --prompt a --length 40 --temperature 3 --seed 7
cmp -s out once || wrong "two ranks give another text: $(cat once out)"
works 1 generate g --prompt a --length 40 --temperature 3 --seed 8
if cmp -s out once; then wrong "another seed gives the same text"; fi
works 1 generate g --prompt ab --length 18 --temperature 9 --top-k 1
cmp -s out want || wrong "top-k 1 is not the most likely: $(cat out)"
fails 2 '"z" (U+007A) is not in the model' generate g --prompt abz --length 4
fails 2 "holds no token" generate g --prompt "" --length 4
fails 2 "--prompt TEXT is required" generate g --length 4
fails 2 "--temperature" generate g --prompt a --length 4 --temperature -1
fails 2 "is no language model" generate c1 --prompt a --length 4
fails 2 "sees tokens ahead" generate m1 --prompt fine --length 4
printf "abc\nxyz\n" >want2.txt
fails 3 "line 2: the character" predict g want2.txt --output no.csv
finish
