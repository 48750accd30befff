#!/bin/sh
# Training data stay in their file where a network does much with a sample, by its weights or by the
# places they go over, and the losses are those of data in memory, on one rank and two.
# shellcheck source=tests/command/lib.sh
. "$(dirname "$0")/lib.sh"

case $(stat -f -c %T .) in
ext* | xfs | btrfs | f2fs | tmpfs | ramfs | overlayfs) ;;
*) skip "temporary files are on a file system where data are not left ($(stat -f -c %T .))" ;;
esac
# 18 MB as they lie in the file, and packed, which must be read into memory.
"$COHORT" convert digits --train 24000 --test 20 --output plain.h5 >/dev/null || wrong 'digits'
"$COHORT" convert digits --train 24000 --test 20 --compress 1 --output packed.h5 >/dev/null ||
    wrong 'packed digits'

recipe() { # LAYER…: the recipe NAME
    cat >"$name.yaml" <<Y
data: {file: plain.h5, scale: 0.004}
loss: cross_entropy
train: {epochs: 1, max_steps: 3, global_batch_size: 8, log_every_steps: 1}
model:
Y
    printf '  - %s\n' "$@" 'dense: {units: 10}' >>"$name.yaml"
}

# train NAME RANKS FILE WANTED: WANTED lines of --verbose say that data are left.
train() {
    ranks "$2" train "$1.yaml" --verbose --run "$1-$2-$3" --set "data.file=$3.h5" >out 2>err ||
        wrong "$1, $3, on $2 ranks: $(cat err)"
    [ "$(cat out err | grep -c "$3.h5: train .* is left in the file")" = "$4" ] ||
        wrong "$1, $3, on $2 ranks: not $4 lines of data left: $(cat out err)"
    sed -n '/"event":"step"/p' "$1-$2-$3/metrics.jsonl" >"$1-$2-$3.steps"
    [ "$(wc -l <"$1-$2-$3.steps")" = 3 ] || wrong "$1, $3, on $2 ranks: not 3 steps"
}

name=weights
recipe flatten 'dense: {units: 8192, activation: relu}'
train $name 1 plain 1
train $name 1 packed 0
name=places
recipe 'conv2d: {filters: 32, kernel: 3, padding: same, activation: relu}' \
    'conv2d: {filters: 64, kernel: 3, padding: same, activation: relu}' global_average_pool
train $name 1 plain 1
train $name 1 packed 0
train $name 2 plain 1
for name in weights places; do
    cmp -s $name-1-plain.steps $name-1-packed.steps ||
        wrong "$name: $(diff $name-1-plain.steps $name-1-packed.steps)"
done
cmp -s places-1-plain.steps places-2-plain.steps ||
    wrong "two ranks: $(diff places-1-plain.steps places-2-plain.steps)"

name=little
recipe flatten 'dense: {units: 32, activation: relu}'
train $name 1 plain 0
finish
