#!/bin/sh
# quickstart.sh: from a fresh clone to a trained network in one command. Sets up and builds,
# draws a data set of digits, trains a CNN on two ranks, evaluates it and lets it predict.
set -eu
cd "$(dirname "$0")/.."
launch/setup.sh

cohort=build/src/cli/cohort
run=runs/digits-cnn
COHORT_DATASETS=$PWD/datasets
export COHORT_DATASETS

# Says what it does in words that can be typed again.
step() {
    echo
    echo "\$ $*"
    "$@"
}

echo
echo "== from data to predictions (COHORT_DATASETS=$COHORT_DATASETS)"
step $cohort convert digits --output datasets/digits.h5
# --fresh: an older quickstart's run is moved aside, not continued.
step launch/mpirun.sh 2 $cohort train launch/recipes/digits-cnn.yaml --run $run --fresh
step launch/mpirun.sh 2 $cohort eval $run
step $cohort predict $run datasets/digits.h5 --output $run/predictions.csv

cat <<END

== done. Where everything is:
  $cohort                  the program (\`$cohort help\`)
  launch/recipes/digits-cnn.yaml        the recipe: data, network, optimizer, epochs
  datasets/digits.h5                    6000 training and 1000 test images
  $run/recipe.yaml           the recipe with every default written out
  $run/metrics.jsonl         loss, accuracy, speed of every epoch
  $run/checkpoints/best.h5   the trained network (HDF5)
  $run/predictions.csv       label and probabilities of every test image

Next:
  $cohort inspect $run/checkpoints/best.h5
  $cohort help recipe                   every key a recipe knows
  datasets/fetch.sh mnist && COHORT_DATASETS=datasets launch/mpirun.sh 2 \\
      $cohort train launch/recipes/mnist-cnn.yaml
  launch/test.sh                        build and run the tests
END
