#!/bin/sh
# MNIST from the official files, on two ranks.
# shellcheck source=tests/command/lib.sh
. "$(dirname "$0")/lib.sh"
[ -n "${COHORT_TEST_DATA:-}" ] || skip "COHORT_TEST_DATA is not set"
recipes=$SOURCE/launch/recipes
COHORT_DATASETS=$work
export COHORT_DATASETS
"$SOURCE/datasets/fetch.sh" mnist --mirror "$COHORT_TEST_DATA" --output "$work" >out 2>&1 ||
    wrong "fetch: $(cat out)"

accuracy_is() { # LEAST RECIPE
    timeout -k 10 900 "$SOURCE/launch/mpirun.sh" 2 "$COHORT" train "$recipes/$2.yaml" --run "$2" \
        --quiet >out 2>&1 || wrong "$2: $(cat out)"
    got=$(metric "$2/metrics.jsonl" test accuracy)
    echo "$2: $got in $(metric "$2/metrics.jsonl" end seconds) s"
    holds "$got >= $1" || wrong "$2: accuracy $got, not $1"
}

accuracy_is "$1" "$2"
[ "$(metric "$2/metrics.jsonl" test samples)" = 10000 ] || wrong "not 10000 test samples"
finish
