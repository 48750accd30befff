#!/bin/sh
# Ranks that are not alike: found before the first step or at the next comparison, named in
# one line, exit code 5, no checkpoint written over.
# shellcheck source=tests/command/lib.sh
. "$(dirname "$0")/lib.sh"
: "${ODD_RANK:?}" "${OTHER_VERSION:?}"
small_recipe

# Rank $ODD runs as the words of $ODD_DOES say: VARIABLE=VALUE…, a program instead of ours
# (after `as`), options more (after `more`).
cat >rank.sh <<'SH'
#!/bin/sh
program=$COHORT more=
if [ "$OMPI_COMM_WORLD_RANK" = "$ODD" ]; then
    set -f
    for word in $ODD_DOES; do
        case $word in
        as:*) program=${word#as:} ;;
        more:*) more="$more ${word#more:}" ;;
        *) export "${word?}" ;;
        esac
    done
fi
# shellcheck disable=SC2086 # several words, or none
exec "$program" "$@" $more
SH
chmod +x rank.sh
export ODD=1 ASAN_OPTIONS=verify_asan_link_order=0

# disagrees RANKS DOES TEXT ARGUMENT…: exit code 5 and one line with TEXT.
disagrees() {
    on=$1
    export ODD_DOES="$2"
    text=$3
    shift 3
    timeout 240 "$SOURCE/launch/mpirun.sh" "$on" ./rank.sh "$@" >out 2>err
    got=$?
    [ $got = 5 ] || wrong "$ODD_DOES on $on: exit code $got, not 5: $(cat err)"
    [ "$(grep -vc '^cohort: warning: ' err)" = 1 ] || wrong "$ODD_DOES on $on: not one line: $(cat err)"
    grep -qF -- "$text" err || wrong "$ODD_DOES on $on: no \"$text\" in: $(cat err)"
    grep -qF "rank $ODD" err || wrong "$ODD_DOES on $on: rank $ODD is not named: $(cat err)"
    grep -qF "$(hostname)" err || wrong "$ODD_DOES on $on: no host in: $(cat err)"
}

agrees() { # RANKS DOES ARGUMENT…
    on=$1
    export ODD_DOES="$2"
    shift 2
    timeout 240 "$SOURCE/launch/mpirun.sh" "$on" ./rank.sh "$@" >out 2>err ||
        wrong "$ODD_DOES on $on: $(cat err)"
}

# Another version of the program, other options.
disagrees 2 "as:$OTHER_VERSION" "the same program version" train small.yaml
disagrees 3 "as:$OTHER_VERSION" "0.0.0-other on rank 1" train small.yaml
disagrees 3 "more:--set more:optimizer.lr=0.02" "\`lr: 0.02\` here, \`lr: 0.01\` on rank 0" \
    train small.yaml
disagrees 2 "more:--set more:model.0.units=9" "units: 9" train small.yaml

# Another file under the same name; a copy of the same is as good.
preload="LD_PRELOAD=$ODD_RANK"
cp data.h5 copy.h5
touch -d '2001-02-03 04:05:06' copy.h5
agrees 2 "$preload ODD_FILE=data.h5:copy.h5" train small.yaml --run copied --quiet
"$MAKE_H5" image copy.h5
disagrees 3 "$preload ODD_FILE=data.h5:copy.h5" "the same data file" train small.yaml
cp data.h5 copy.h5
size=$(wc -c <copy.h5)
printf '\001' | dd of=copy.h5 bs=1 seek=$((size - 3)) conv=notrunc 2>dd.err
touch -d '2001-02-03 04:05:06' copy.h5
disagrees 2 "$preload ODD_FILE=data.h5:copy.h5" "written 2001-02-03" train small.yaml
works 1 init small.yaml --output model.h5
disagrees 2 "$preload ODD_FILE=data.h5:copy.h5" "the same data file" eval model.h5
[ ! -e runs ] || wrong "a refused run left $(find runs)"

# Another CPU, as OpenBLAS sees it.
disagrees 2 "OPENBLAS_CORETYPE=Prescott" "the same kernels" train small.yaml
agrees 2 "OPENBLAS_CORETYPE=Prescott" train small.yaml --run mixed --quiet \
    --set train.verify_every=0

# A bit that flips in one rank's memory: step, rank and layer are named, and the checkpoint
# from before it stays, whether the comparison or the next checkpoint comes first.
sed 's/units: 8/units: 1025/' small.yaml >wide.yaml # so wide a layer is computed by BLAS
agrees 3 "" train wide.yaml --run bits --set train.epochs=30 --set train.max_steps=6 \
    --set checkpoint.every_steps=1 --quiet
cksum bits/checkpoints/last.h5 >before
for how in "train.verify_every=1" "train.verify_every=500"; do
    for ODD in 0 2; do
        rm -rf again && cp -r bits again
        disagrees 3 "$preload ODD_PRODUCT=1" "parameters differ at step" train wide.yaml \
            --run again --set train.epochs=30 --set "$how"
        grep -qF 'first in layer 0_dense' err || grep -qF 'first in layer 1_dense' err ||
            wrong "no layer: $(cat err)"
        cksum <again/checkpoints/last.h5 | cut -d ' ' -f 1 | grep -qxF "$(cut -d ' ' -f 1 before)" ||
            wrong "$how: the checkpoint was written over"
    done
done
agrees 3 "" train wide.yaml --run again --set train.epochs=30 --quiet
finish
