#!/bin/sh
# report and diff: the page of a run, of several, of damaged and unfinished ones.
# shellcheck source=tests/command/lib.sh
. "$(dirname "$0")/lib.sh"
works 1 convert digits --train 300 --test 100 --size 12 --output digits.h5
cat >net.yaml <<'YAML'
name: "<net> & co"
data: {file: digits.h5, scale: 0.004, validation: 0.2}
model:
  - flatten
  - dense: {units: 10}
loss: cross_entropy
optimizer: {type: adam, lr: 0.01}
train: {epochs: 3, global_batch_size: 20, log_every_steps: 1, threads: 1}
checkpoint: {keep: 9}
YAML
works 1 train net.yaml --run a
works 2 train net.yaml --run b
works 1 train net.yaml --run c --set optimizer.lr=0.02 --set train.epochs=2

page() { # TEXT…: each is in the page
    for text in "$@"; do
        grep -qF -- "$text" page.html || wrong "no \"$text\" in the page"
    done
}

# --- One run -----------------------------------------------------------------------------------
works 1 report a --output page.html
says "wrote page.html"
page "&lt;net&gt; &amp; co" "Where the time goes" "<h2>Classes</h2>" 'class="matrix"' "<h2>Mistakes</h2>" \
    "are put into the wrong class" "data:image/bmp;base64," "<h2>Recipe</h2>" "<h2>Machine</h2>" \
    "test accuracy" "finished" "Loss by step" "<desc>training: from"
accuracy=$(metric a/metrics.jsonl test accuracy)
page "$(awk "BEGIN { printf \"%.2f\", 100 * $accuracy }")"
if grep -q '<net>\|https\{0,1\}://\|<script\|src="[^d]\|href=' page.html; then
    wrong "the page is not self-contained, or a name is not escaped"
fi
# As many mistakes as the accuracy says: none of 100 samples is forgotten.
awk "BEGIN { printf \"%.0f of 100 test samples\", 100 * (1 - $accuracy) }" >want
page "$(cat want)"
works 1 report a --output page.html --examples 0
if grep -q "Mistakes" page.html; then wrong "--examples 0 shows examples"; fi
works 1 report a/ --output page.html --limit 10
page "of 10 test samples"

# --- Several -----------------------------------------------------------------------------------
works 1 report a b c --output page.html
page "<h1>3 runs</h1>" "optimizer.lr" "train.epochs" "0.02" "Validation accuracy"
works 1 report a b --output page.html
page "The recipes are the same."

# --- Runs as they are found --------------------------------------------------------------------
cp -r a cut
printf '{"event":"epo' >>cut/metrics.jsonl
works 1 report cut --output page.html
page "1 lines of metrics.jsonl could not be read"
cp -r a going
grep -v '"end"\|"test"' a/metrics.jsonl >going/metrics.jsonl
works 1 report going --output page.html
page "not finished"
mv digits.h5 away.h5
works 1 report a --output page.html
page "None can be shown" "digits.h5"
mv away.h5 digits.h5
fails_on 1 3 "not a run folder" report nowhere --output page.html
mkdir empty
fails_on 1 3 "no metrics.jsonl" report empty --output page.html
: >empty/metrics.jsonl
fails_on 1 3 "no records" report empty --output page.html
fails_on 1 3 "nowhere/page.html" report a --output nowhere/page.html
fails_on 1 2 "--output" report a
fails_on 1 2 "--examples" report a --output page.html --examples -1

# --- diff --------------------------------------------------------------------------------------
works 1 diff a b
says "recipes: the same" "losses: the same in 36 steps" "weights: the same in 4 checkpoints" \
    "no difference"
works 1 diff a c
says "  optimizer.lr: 0.01 | 0.02" "losses: part at step 2:" "weights: part by" \
    "first in 1_dense/kernel" "the runs differ"
fails_on 1 3 "not a run folder" diff a nowhere
# A run that was cut off, one that has nothing yet, one whose loss was not finite.
for copy in cut young nan; do
    mkdir "$copy"
    cp a/recipe.yaml "$copy"
done
sed '/"step": *20[,}]/,$d' a/metrics.jsonl >cut/metrics.jsonl
works 1 diff a cut
says "losses: the same in 19 steps" "losses: cut ends at step 19, a goes on to 36" "the runs differ"
head -1 a/metrics.jsonl >young/metrics.jsonl
works 1 diff young a
says "no step or epoch in common" "the runs differ"
sed '/"event": *"step", *"step": *7,/s/"loss": *[^,]*/"loss":null/' a/metrics.jsonl >nan/metrics.jsonl
works 1 diff a nan
says "losses: part at step 7:" "| nan" "the runs differ"
works 1 diff nan nan
says "losses: the same in 36 steps"
finish
