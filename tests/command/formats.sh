#!/bin/sh
# Export, and import of what was exported: the same parameters to the bit. Models as C, compiled
# and compared. Files that are damaged or of another network.
# shellcheck source=tests/command/lib.sh
. "$SOURCE/tests/command/lib.sh"
# shellcheck source=tests/command/formats_lib.sh
. "$SOURCE/tests/command/formats_lib.sh"

make_models small

# --- There and back -------------------------------------------------------------------------
# safetensors holds every parameter and all state: two equal files, two equal networks.
for name in $models; do
    works 1 export "$name" --format safetensors --output "$name.safetensors"
    works 1 export "$name" --format npz --output "$name.npz"
    works 1 export "$name" --format keras --output "$name.keras.h5"
    for file in "$name.safetensors" "$name.npz" "$name.keras.h5"; do
        works 1 import "$file" --recipe "$name.yaml" --output back.h5
        says "wrote back.h5"
        works 1 export back.h5 --format safetensors --output back.safetensors
        cmp "$name.safetensors" back.safetensors || wrong "$file came back different"
    done
done
works 2 import words.npz --recipe words.yaml --output back.h5
works 2 export back.h5 --format npz --output back.npz
cmp words.npz back.npz || wrong "on two ranks: words.npz came back different"
predictions words
works 1 predict back.h5 words.h5 --output back.predicted.h5
"$H5_TEXT" back.predicted.h5 y >back.y
cmp words.y back.y || wrong "an imported model predicts something else"

# --- C ----------------------------------------------------------------------------------------
for name in $models; do
    predictions "$name"
    check_c "$name"
done

# --- Wrong files ------------------------------------------------------------------------------
cp words.npz kept.npz
fails 2 "--format" export words --output x.npz
fails 2 "--format" export words --format pickle --output x.npz
fails 3 "missing" export missing --format npz --output x.npz
fails 3 "cannot write" export words --format onnx --output nowhere/x.onnx
fails 3 "belongs to no layer" import images.npz --recipe words.yaml --output x.h5
fails 3 "belongs to no layer" import images.safetensors --recipe words.yaml --output x.h5
fails 3 "weights" import images.keras.h5 --recipe words.yaml --output x.h5
fails 3 "No such file" import none.npz --recipe words.yaml --output x.h5
fails 3 "no file of Keras weights" import words.h5 --recipe words.yaml --output x.h5
fails 3 "header" import words.yaml --recipe words.yaml --output x.h5
head -c 1000 words.safetensors >cut.safetensors
fails 3 "cut" import cut.safetensors --recipe words.yaml --output x.h5
head -c 3000 words.npz >cut.npz
fails 3 "cut short" import cut.npz --recipe words.yaml --output x.h5
head -c 3000 words.keras.h5 >cut.h5
fails 3 "cut.h5" import cut.h5 --recipe words.yaml --output x.h5
{
    head -c 5000 words.npz
    printf x
    tail -c +5002 words.npz
} >bits.npz
fails 3 "CRC" import bits.npz --recipe words.yaml --output x.h5
[ -e x.h5 ] && wrong "a failed import left a file"
cmp -s words.npz kept.npz || wrong "words.npz changed"

# Two layers that would be one in PyTorch.
sed 's/units: 6, activation: gelu/name: "2_residual.0_layer_norm", units: 6/' words.yaml >twice.yaml
works 1 init twice.yaml --output twice.h5
fails 2 "two tensors" export twice.h5 --format safetensors --output x.safetensors
finish
