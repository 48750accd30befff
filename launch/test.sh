#!/bin/sh
# test.sh [CTEST-OPTIONS…]: sets up, builds, runs every test. Tests on real data find it in
# the folder $COHORT_TEST_DATA (tests/README.md) and are skipped without it.
set -eu
cd "$(dirname "$0")/.."
launch/setup.sh --tests

echo
if [ -z "${COHORT_TEST_DATA:-}" ]; then
    echo "== testing; COHORT_TEST_DATA is not set: SKIP what needs real data"
else
    echo "== testing, with the real data in $COHORT_TEST_DATA"
    COHORT_TEST_DATA=$(cd "$COHORT_TEST_DATA" && pwd) # tests run in folders of their own
    export COHORT_TEST_DATA
fi
exec ctest --test-dir build --output-on-failure --parallel "$(nproc)" "$@"
