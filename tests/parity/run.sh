#!/bin/sh
# run.sh CASE [OPTION…]: trains CASE here on 1 and on 2 ranks and in PyTorch, from the same
# weights on the same batches, and compares (torch_parity.py, which takes the options).
# The convolutional networks have a twin, CASE-smooth, without kinks.
#
# Finds the program in $COHORT (default: build/) and real images in $COHORT_TEST_DATA: the
# files of MNIST, and cifar-10-batches-bin. Without them drawn digits and random colour
# images take their place. Exit code 77 when Python lacks torch, h5py, numpy or yaml.
set -eu
case=${1:?usage: run.sh mnist-cnn|mnist-mlp|cifar10-cnn|resnet20|bilstm|gpt [--float32]}
shift
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
cohort=${COHORT:-$root/build/src/cli/cohort}
images=${COHORT_TEST_DATA:-/nonexistent}
unset COHORT_DATASETS || true
python=
for candidate in python3 /usr/bin/python3; do
    if "$candidate" -c 'import torch, h5py, numpy, yaml' 2>/dev/null; then
        python=$candidate
        break
    fi
done
if [ -z "$python" ]; then
    echo "skipped: no python3 with torch, h5py, numpy and yaml (Debian: python3-torch python3-h5py python3-yaml)"
    exit 77
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

quietly() {
    "$@" >log 2>&1 || {
        cat log
        echo "FAILED: $*"
        exit 1
    }
}

digits() {
    if [ -e "$images/train-images-idx3-ubyte.gz" ]; then
        echo "data: MNIST"
        quietly "$cohort" convert idx "$images" --output all.h5
    else
        echo "data: drawn digits (MNIST is not in \$COHORT_TEST_DATA)"
        quietly "$cohort" convert digits --output all.h5
        drawn=--kinks
    fi
    quietly "$python" "$here/parity_data.py" rows all.h5 "$1" data.h5
}

colour_images() {
    if [ -d "$images/cifar-10-batches-bin" ]; then
        echo "data: CIFAR-10"
        quietly "$cohort" convert cifar10 "$images/cifar-10-batches-bin" --output all.h5
        quietly "$python" "$here/parity_data.py" rows all.h5 "$1" data.h5
    else
        echo "data: random images (cifar-10-batches-bin is not in \$COHORT_TEST_DATA)"
        quietly "$python" "$here/parity_data.py" images "$1" data.h5
    fi
}

# compare TITLE RECIPE STEPS KINKS [--set …]: KINKS is --kinks or empty (torch_parity.py).
compare() {
    title=$1 recipe=$2 steps=$3 kinks=$4
    shift 4
    echo "== $case: $title, $steps steps"
    set -- "$@" --set data.file="$work/data.h5" --set data.shuffle=false \
        --set train.log_every_steps=1 --set train.threads=1
    rm -rf ranks-* piece-*
    quietly "$cohort" init "$recipe" "$@" --output start.h5
    for ranks in 1 2; do
        quietly "$root/launch/mpirun.sh" $ranks "$cohort" train "$recipe" "$@" \
            --run ranks-$ranks --set train.max_steps="$steps"
    done
    quietly "$cohort" train "$recipe" "$@" --run piece-1 --set train.max_steps=1
    pieces=piece-1 last=piece-1 end=1
    while [ $end -lt "$steps" ]; do
        end=$((end - end % piece + piece))
        quietly "$cohort" train "$recipe" "$@" --run piece-$end --set train.max_steps=$end \
            --resume $last/checkpoints/last.h5
        last=piece-$end pieces="$pieces piece-$end"
    done
    # shellcheck disable=SC2086 # several words, or none
    "$python" "$here/torch_parity.py" start.h5 data.h5 --pieces $pieces \
        --whole ranks-1 ranks-2 $kinks $options || failed=1
}

# without_kinks RECIPE: the same network, smooth.
without_kinks() {
    sed 's/: relu/: tanh/; s/- relu/- tanh/; s/max_pool2d/average_pool2d/' "$1" >smooth.yaml
}

options=$* # of this script
failed=0
drawn='' # --kinks: the images are not those of which it is known that they meet none
piece=5  # steps
recipes=$root/launch/recipes
case $case in
mnist-cnn | mnist-cnn-smooth) digits 3200 ;;
mnist-mlp) digits 1600 ;;
cifar10-cnn | cifar10-cnn-smooth) colour_images 1600 ;;
resnet20 | resnet20-smooth) colour_images 480 ;;
bilstm) quietly "$python" "$here/parity_data.py" reviews 960 40 500 data.h5 ;;
gpt) quietly "$python" "$here/parity_data.py" text 360 64 65 data.h5 ;;
esac

case $case in
mnist-cnn)
    # From the recipe's weights no kink is met by MNIST: the runs are compared whole. From others,
    # or by other images, one may be (PyTorch in single precision then strays from itself in double
    # as far): piece by piece.
    compare "as the recipe has it" "$recipes/mnist-cnn.yaml" 50 "$drawn"
    compare "seed 1" "$recipes/mnist-cnn.yaml" 50 --kinks --set seed=1
    ;;
mnist-cnn-smooth)
    without_kinks "$recipes/mnist-cnn.yaml"
    compare "tanh, average pooling" smooth.yaml 50 ""
    ;;
mnist-mlp)
    compare "as the recipe has it" "$recipes/mnist-mlp.yaml" 50 ""
    ;;
cifar10-cnn)
    grep -v 'validation:' "$recipes/cifar10-cnn.yaml" >whole.yaml
    compare "as the recipe has it" whole.yaml 50 --kinks
    ;;
cifar10-cnn-smooth)
    grep -v 'validation:' "$recipes/cifar10-cnn.yaml" >whole.yaml
    without_kinks whole.yaml
    compare "tanh, average pooling" smooth.yaml 50 ""
    ;;
resnet20)
    # A dozen of its five million relus change sides in a step; PyTorch's float32 and
    # float64 part by 0.07 in thirty steps.
    piece=2
    compare "SGD with momentum" "$here/resnet20.yaml" 30 --kinks
    ;;
resnet20-smooth)
    piece=10
    without_kinks "$here/resnet20.yaml"
    compare "tanh" smooth.yaml 30 ""
    ;;
bilstm)
    compare "padding masked" "$here/bilstm.yaml" 30 ""
    sed 's/mask: true/mask: false/' "$here/bilstm.yaml" >plain.yaml
    compare "padding read" plain.yaml 30 ""
    ;;
gpt)
    compare "four blocks" "$here/gpt.yaml" 30 ""
    ;;
*)
    echo "run.sh: unknown case \"$case\""
    exit 2
    ;;
esac
exit $failed
