#!/bin/sh
# eval and predict: every sample once and the same figures on any number of ranks; shares
# that are uneven, ranks without samples.
# shellcheck source=tests/command/lib.sh
. "$(dirname "$0")/lib.sh"
works 1 convert digits --train 400 --test 131 --size 12 --output digits.h5
cat >net.yaml <<'YAML'
name: net
data: {file: digits.h5, scale: 0.004}
model:
  - flatten
  - dense: {units: 32, activation: relu}
  - dense: {units: 10}
loss: cross_entropy
optimizer: {type: adam, lr: 0.01}
train: {epochs: 4, global_batch_size: 48}
YAML
works 2 train net.yaml
tested=$(metric runs/net/metrics.jsonl test loss)

figure() { # KEY
    sed -n "s/.*\"$1\":\\([^,}]*\\).*/\\1/p" out
}

# The test record of training, eval on 1, 2, 3 and 5 ranks: one loss, one matrix.
for count in 1 2 3 5; do
    works $count eval runs/net/checkpoints/last.h5 --json
    grep -q '"samples":131,' out || wrong "eval on $count ranks: not 131 samples"
    holds "($(figure loss) - $tested)^2 <= (1e-6 * $tested)^2" ||
        wrong "eval on $count ranks: loss $(figure loss), in training $tested"
    sed 's/.*"confusion_matrix"://' out >matrix.$count
    grep -o '"accuracy":[^,]*' out >>matrix.$count
    sum=$(head -n 1 matrix.$count | tr -cs '0-9' '\n' | awk '{ sum += $1 } END { print sum }')
    [ "$sum" = 131 ] || wrong "the confusion matrix counts $sum: $(cat out)"
    cmp -s matrix.1 matrix.$count || wrong "eval on $count ranks: another confusion matrix"
done
works 1 eval runs/net
says "samples 131" "macro average" "confusion matrix" "precision"
works 2 eval runs/net --split train
says "samples 400"
works 1 convert digits --train 10 --test 3 --size 12 --output few.h5
works 4 eval runs/net --data few.h5
says "samples 3"

# eval --by: groups of a column, the same on any number of ranks; their samples are all, each once,
# and their losses weighted by samples are the loss of all.
small_recipe
"$MAKE_H5" groups grouped.h5 || wrong "make_h5"
works 1 train small.yaml
for count in 1 2 3; do
    works $count eval runs/small --data grouped.h5 --by site
    says "north                       24" "south                        8" "largest gaps" "F1"
    sed -n '/^site/,$p' out >by.$count
    cmp -s by.1 by.$count || wrong "eval --by on $count ranks: $(cat by.1 by.$count)"
done
works 2 eval runs/small --data grouped.h5 --by half --json
says '"by":"half"' '{"group":"-1","samples":16' '{"group":"7","samples":16' '"gaps":[{"figure":"loss"'
losses=$(grep -o '"loss":[0-9.]*' out | cut -d : -f 2 | tr '\n' ' ')
echo "$losses" | awk '{ exit !(($1 - ($2 + $3) / 2) ^ 2 < 1e-12 && $2 != $3) }' ||
    wrong "losses of all and of two halves: $losses"
gap=$(grep -o '"figure":"loss","gap":[0-9.]*' out | sed 's/.*://')
echo "$losses $gap" | awk '{ d = $2 - $3; d = d < 0 ? -d : d; exit !((d - $4) ^ 2 < 1e-18) }' ||
    wrong "the gap of $losses is not $gap"
fails 3 "test/none" eval runs/small --data grouped.h5 --by none
fails 3 "33 values for 32 rows" eval runs/small --data grouped.h5 --by longer
fails 3 "integers or texts" eval runs/small --data grouped.h5 --by x
awk 'BEGIN { print "v,kind"; for (i = 0; i < 300; i++) print i "," i }' >many.csv
works 1 convert csv many.csv --label kind --test 0 --output many.h5
sed -e 's/units: 3}/units: 300}/' -e 's/data.h5/many.h5/' -e 's/name: small/name: many/' small.yaml >many.yaml
works 1 init many.yaml --output start.h5
fails 3 "300 different values; --by takes at most 256" eval start.h5 --split train --by y

# predict: the same rows in the same order; probabilities; HDF5 and CSV agree.
for count in 1 2 3; do
    works $count predict runs/net digits.h5 --output p$count.csv
    says "131 predictions"
    cmp -s p1.csv p$count.csv || {
        paste -d , p1.csv p$count.csv | awk -F , 'NR > 1 && ($1 != $12 || ($2 - $13)^2 > 1e-10) { bad = 1 }
            END { exit bad }' || wrong "predict on $count ranks differs"
    }
done
[ "$(wc -l <p1.csv)" = 132 ] || wrong "predict wrote $(wc -l <p1.csv) lines"
awk -F , 'NR > 1 { s = 0; best = 2; for (i = 2; i <= NF; i++) { s += $i; if ($i > $best) best = i }
    if ((s - 1)^2 > 1e-8 || best != $1 + 2) bad = 1 } END { exit bad }' p1.csv ||
    wrong "not probabilities with their label"
works 2 predict runs/net digits.h5 --split train --output p.h5
says "400 predictions"
works 1 inspect p.h5
says "/y" "400x10" "/label"

# init: the same weights each time and on any number of ranks; others for another seed.
weights() { # NAME INIT-ARGUMENT…
    name=$1
    shift
    works "$@" --output "$name.h5"
    works 1 eval "$name.h5" --json
    mv out "$name.json"
}
weights start 1 init net.yaml
weights again 1 init net.yaml
cmp -s start.json again.json || wrong "init is not reproducible"
weights again 2 init net.yaml
cmp -s start.json again.json || wrong "init depends on the number of ranks"
weights other 1 init net.yaml --set seed=2
cmp -s start.json other.json && wrong "init does not depend on the seed"
finish
