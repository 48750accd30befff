#!/bin/sh
# The recipes that come with the program learn what they promise.
# shellcheck source=tests/command/lib.sh
. "$(dirname "$0")/lib.sh"
recipes=$SOURCE/launch/recipes
COHORT_DATASETS=$work
export COHORT_DATASETS

accuracy_is() { # LEAST FOLDER
    got=$(metric "$2/metrics.jsonl" test accuracy)
    echo "$2: $got"
    holds "$got >= $1" || wrong "$2: accuracy $got, not $1"
}

printf '0,0,0\n0,1,1\n1,0,1\n1,1,0\n' >xor.csv
works 1 convert csv xor.csv xor.csv --output xor.h5
for count in 1 2; do
    works $count train "$recipes/xor.yaml" --run xor$count --quiet
    accuracy_is 1 xor$count
done
# More ranks than samples: the ones without a sample change nothing.
for count in 1 5; do
    works $count train "$recipes/xor.yaml" --run few$count --quiet --set train.max_steps=40
done
alone=$(metric few1/metrics.jsonl test loss)
holds "($(metric few5/metrics.jsonl test loss) - $alone)^2 <= (1e-4 * $alone)^2" ||
    wrong "5 ranks, 4 samples: loss $(metric few5/metrics.jsonl test loss), alone $alone"

works 1 convert digits --output digits.h5
for count in 1 2; do
    works $count train "$recipes/digits-cnn.yaml" --run digits$count --quiet
    accuracy_is 0.98 digits$count
done

# A table with a header, text labels, and two classes that a circle separates.
awk 'BEGIN { srand(1); print "a,b,kind"
    for (i = 0; i < 1000; i++) { a = 2 * rand() - 1; b = 2 * rand() - 1
        printf "%.4f,%.4f,%s\n", a, b, a * a + b * b < 0.64 ? "inside" : "outside" } }' >table.csv
works 1 convert csv table.csv --label kind --output table.h5
works 2 train "$recipes/tabular-mlp.yaml" --run table --quiet
accuracy_is 0.95 table
finish
