#!/bin/sh
# datasets/fetch.sh: mirrors, downloads (by a curl of our own), refusals.
# shellcheck disable=SC2154 # COHORT and SOURCE come from CTest
set -u
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fetch=$work/datasets/fetch.sh
failures=0

wrong() {
    echo "FAILED: $1"
    failures=$((failures + 1))
}

# expect STATUS TEXT COMMAND…: the exit code, one line of error that contains TEXT.
expect() {
    status=$1 text=$2
    shift 2
    "$@" >"$work/out" 2>"$work/err"
    got=$?
    [ $got = "$status" ] || wrong "$*: exit code $got, not $status: $(cat "$work/err")"
    grep -qF -- "$text" "$work/out" "$work/err" || wrong "$*: no \"$text\" in: $(cat "$work/err")"
    [ "$status" = 0 ] || [ "$(wc -l <"$work/err")" -ge 1 ] || wrong "$*: no message"
}

# A copy, so that downloads/ is ours.
mkdir -p "$work/datasets" "$work/mirror" "$work/bin"
cp "$SOURCE/datasets/fetch.sh" "$fetch"

expect 0 "mnist, cifar10, imdb or shakespeare" "$fetch" --help
expect 2 "which data set" "$fetch"
expect 2 "unknown data set \"minst\"" "$fetch" minst
expect 2 "unknown option --miror" "$fetch" mnist --miror "$work"
expect 2 "--mirror needs a value" "$fetch" mnist --mirror
expect 3 "not a folder" "$fetch" mnist --mirror "$work/none"
expect 3 "has none of: train-images" "$fetch" mnist --mirror "$work/mirror"
expect 3 "has none of: aclImdb" "$fetch" imdb --mirror "$work/mirror"
expect 1 "no cohort program" env COHORT=/nowhere PATH=/usr/bin:/bin "$fetch" mnist

# Without a network: every address is tried, nothing is left.
printf '#!/bin/sh\nexit 6\n' >"$work/bin/curl"
chmod +x "$work/bin/curl"
PATH=$work/bin:$PATH
expect 3 "cannot fetch train-images-idx3-ubyte.gz" "$fetch" mnist
[ "$(grep -c fetching "$work/out")" = 2 ] || wrong "the second address is not tried"
# A page of a captive portal instead of the file.
cat >"$work/bin/curl" <<'CURL'
#!/bin/sh
while [ "$1" != -o ]; do shift; done
echo "<html>log in</html>" >"$2"
CURL
expect 3 "gave something else" "$fetch" shakespeare
expect 3 "damaged or not the official file" sh -c "
    echo hello >$work/mirror/input.txt; $fetch shakespeare --mirror $work/mirror"
[ -z "$(ls "$work/datasets/downloads")" ] || wrong "left: $(ls -A "$work/datasets/downloads")"
[ ! -e "$work/datasets/mnist.h5" ] || wrong "a dataset without data"

if [ -z "${COHORT_TEST_DATA:-}" ]; then
    echo "COHORT_TEST_DATA is not set: the parts on real data are skipped"
else
    expect 0 "wrote $work/m.h5" "$fetch" mnist --mirror "$COHORT_TEST_DATA" --output "$work/m.h5"
    expect 0 "wrote $work/out.d/shakespeare.h5" "$fetch" shakespeare \
        --mirror "$COHORT_TEST_DATA" --output "$work/out.d" -- --length 64
    # Now a curl that hands out the real files.
    cat >"$work/bin/curl" <<CURL
#!/bin/sh
while [ "\$1" != -o ]; do shift; done
cp "$COHORT_TEST_DATA/\$(basename "\$3")" "\$2"
CURL
    expect 0 "wrote $work/datasets/mnist.h5" "$fetch" mnist
    cmp -s "$work/m.h5" "$work/datasets/mnist.h5" || wrong "mirror and download differ"
    # The second time from downloads/; a damaged one is noticed.
    rm "$work/bin/curl"
    expect 0 "wrote" "$fetch" mnist
    rm -f "$work/datasets/downloads/t10k-labels-idx1-ubyte.gz"
    echo x | gzip >"$work/datasets/downloads/t10k-labels-idx1-ubyte.gz"
    expect 3 "t10k-labels-idx1-ubyte.gz is damaged" "$fetch" mnist
fi
[ $failures = 0 ]
