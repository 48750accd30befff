#!/bin/sh
# run.sh CASE [OPTION…]: trains CASE here on 1 and on 2 ranks and in PyTorch, from the same
# weights on the same batches, and compares (torch_parity.py, which takes the options).
#
# Finds the program in $COHORT (default: build/) and real images in $COHORT_TEST_DATA: the
# files of MNIST, and cifar-10-batches-bin. Without them drawn digits and random colour
# images take their place. Exit code 77 when Python lacks torch, h5py, numpy or yaml.
set -eu
case=${1:?usage: run.sh mnist-cnn|mnist-mlp|cifar10-cnn|bilstm|gpt|resnet20 [--float32]}
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

# compare TITLE RECIPE STEPS [--set …]: the options to this script follow in $options.
compare() {
    title=$1 recipe=$2 steps=$3
    shift 3
    echo "== $case: $title, $steps steps"
    set -- "$@" --set data.file="$work/data.h5" --set data.shuffle=false \
        --set train.log_every_steps=1 --set train.threads=1
    rm -rf one ranks-1 ranks-2
    quietly "$cohort" init "$recipe" "$@" --output start.h5
    quietly "$cohort" train "$recipe" "$@" --run one --set train.max_steps=1
    quietly "$cohort" train "$recipe" "$@" --run ranks-1 --set train.max_steps="$steps"
    quietly "$root/launch/mpirun.sh" 2 "$cohort" train "$recipe" "$@" --run ranks-2 \
        --set train.max_steps="$steps"
    # shellcheck disable=SC2086 # options are several words
    "$python" "$here/torch_parity.py" start.h5 data.h5 one/checkpoints/last.h5 \
        ranks-1 ranks-2 $options || failed=1
}

options=$*
failed=0
case $case in
mnist-cnn)
    digits 3200
    recipe=$root/launch/recipes/mnist-cnn.yaml
    compare "Adam" "$recipe" 50
    compare "SGD" "$recipe" 50 --set optimizer.type=sgd --set optimizer.lr=0.01 \
        --set optimizer.momentum=0.9
    ;;
mnist-mlp)
    digits 1600
    compare "as the recipe has it" "$root/launch/recipes/mnist-mlp.yaml" 50
    ;;
cifar10-cnn)
    colour_images 1600
    compare "as the recipe has it" "$root/launch/recipes/cifar10-cnn.yaml" 50 \
        --set data.validation=0
    ;;
bilstm)
    quietly "$python" "$here/parity_data.py" reviews 960 40 500 data.h5
    compare "padding masked" "$here/bilstm.yaml" 30
    sed 's/mask: true/mask: false/' "$here/bilstm.yaml" >plain.yaml
    compare "padding read" "$work/plain.yaml" 30
    ;;
gpt)
    quietly "$python" "$here/parity_data.py" text 360 64 65 data.h5
    compare "four blocks" "$here/gpt.yaml" 30
    ;;
resnet20)
    colour_images 480
    compare "SGD with momentum" "$here/resnet20.yaml" 30
    ;;
*)
    echo "run.sh: unknown case \"$case\""
    exit 2
    ;;
esac
exit $failed
