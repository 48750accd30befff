# shellcheck shell=sh
# What the tests of commands share; source it first. The test then runs in a folder of its
# own that is gone afterwards. CTest sets COHORT (the program), SOURCE (this tree) and
# MAKE_H5 (writes small data sets); COHORT_TEST_DATA may name the real data.
set -u
LC_ALL=C
export LC_ALL
: "${COHORT:?}" "${SOURCE:?}"
work=$(mktemp -d) || exit 1
cd "$work" || exit 1
leave() {
    rm -rf "$work"
}
trap leave EXIT
trap 'exit 1' HUP INT TERM
failures=0
unset COHORT_DATASETS
# mpirun gives ranks a second to end before it kills them, after each failure; ours are over.
export OMPI_MCA_odls_base_sigkill_timeout=0

wrong() {
    echo "FAILED: $*"
    failures=$((failures + 1))
}

# The last line of a test.
finish() {
    [ $failures = 0 ] || {
        echo "$failures failures"
        exit 1
    }
    exit 0
}

skip() {
    echo "SKIP: $*"
    exit 77
}

# cohort on R ranks: alone for one, else under mpirun. No test waits for ever.
ranks() { # R ARGUMENT…
    ranks_wanted=$1
    shift
    if [ "$ranks_wanted" = 1 ]; then
        timeout 240 "$COHORT" "$@"
    else
        timeout 240 "$SOURCE/launch/mpirun.sh" "$ranks_wanted" "$COHORT" "$@"
    fi
}

# works R ARGUMENT…: exit code 0 and nothing on stderr but warnings; output in `out`.
works() {
    ranks "$@" >out 2>err
    got=$?
    [ $got = 0 ] || wrong "on ranks $*: exit code $got: $(cat err)"
    if grep -qv '^cohort: warning: ' err; then wrong "on ranks $*: stderr: $(cat err)"; fi
}

# says TEXT…: each is in the output of the last command.
says() {
    for text in "$@"; do
        grep -qF -- "$text" out || wrong "no \"$text\" in: $(cat out)"
    done
}

# fails_on R STATUS TEXT ARGUMENT…: that exit code, no output, one line on stderr with TEXT.
fails_on() {
    on=$1 status=$2 text=$3
    shift 3
    ranks "$on" "$@" >out 2>err
    got=$?
    [ $got = "$status" ] || wrong "on $on: $*: exit code $got, not $status: $(cat err)"
    [ "$(wc -l <err)" = 1 ] || wrong "on $on: $*: not one line: $(cat err)"
    grep -q '^cohort: ' err || wrong "on $on: $*: not our line: $(cat err)"
    grep -qF -- "$text" err || wrong "on $on: $*: no \"$text\" in: $(cat err)"
}

# fails STATUS TEXT ARGUMENT…: the same on 1 and on 2 ranks.
fails() {
    fails_on 1 "$@"
    fails_on 2 "$@"
}

# The value of KEY in the last record of EVENT in a metrics.jsonl.
metric() { # FILE EVENT KEY
    grep "\"event\":\"$2\"" "$1" | tail -n 1 | sed -n "s/.*\"$3\":\\(\"[^\"]*\"\\|[^,}]*\\).*/\\1/p"
}

# A comparison of numbers: holds '0.98 <= 0.99'.
holds() { # EXPRESSION
    awk "BEGIN { exit !($1) }"
}

# A three-class problem of 32 rows in data.h5 and small.yaml for it.
small_recipe() {
    "$MAKE_H5" good data.h5 || wrong "make_h5"
    cat >small.yaml <<'YAML'
name: small
data:
  file: data.h5
model:
  - dense: {units: 8, activation: relu}
  - dense: {units: 3}
loss: cross_entropy
optimizer: {type: sgd, lr: 0.01}
train:
  epochs: 2
  global_batch_size: 8
YAML
}
