#!/bin/sh
# Exported models in the tools they are for: PyTorch, NumPy, h5py (Keras's layout), the ONNX
# checker and ONNX Runtime. Each that is missing is skipped with a line. ONNX Runtime is
# looked for in NODE_PATH: `npm install onnxruntime-node --ignore-scripts` somewhere, and
# NODE_PATH=somewhere/node_modules.
# shellcheck source=tests/command/lib.sh
. "$SOURCE/tests/command/lib.sh"
# shellcheck source=tests/command/formats_lib.sh
. "$SOURCE/tests/command/formats_lib.sh"

python=${PYTHON:-python3}
has() { # MODULE…
    for module in "$@"; do
        "$python" -c "import $module" 2>/dev/null || return 1
    done
}
has numpy h5py yaml || {
    python=/usr/bin/python3
    has numpy h5py yaml || skip "no python3 with numpy, h5py and yaml"
}
has torch || echo "SKIP: no PyTorch; its part is left out"
has onnx || echo "SKIP: no python3-onnx; its checker is left out"
node -e "require('onnxruntime-node')" 2>/dev/null && runtime=yes ||
    echo "SKIP: no onnxruntime-node in NODE_PATH; ONNX Runtime is left out"

reads() { # WHAT NAME FILE [LOGITS]
    "$python" "$SOURCE/tests/command/formats_readers.py" "$1" "$2" "$2.h5" "$2.predicted.h5" \
        "$3" ${4:+"$4"} >readers.out 2>&1 || wrong "$1 of $2: $(cat readers.out)"
    echo "$2: $(cat readers.out)"
}

check_onnx() { # NAME: its ONNX file by the checker and in ONNX Runtime
    works 1 export "$1" --format onnx --output "$1.onnx"
    if has onnx; then
        "$python" -c "import onnx, sys
model = onnx.load(sys.argv[1])
onnx.checker.check_model(model, full_check=True)
assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == 'batch'
assert 13 <= model.opset_import[0].version" "$1.onnx" || wrong "the ONNX checker refuses $1"
    fi
    [ "${runtime:-}" = yes ] || return 0
    "$H5_TEXT" "$1.h5" test/x >x.txt
    node "$SOURCE/tests/command/formats_onnx.js" "$1.onnx" x.txt "$2" "$3" >logits.json ||
        wrong "ONNX Runtime does not run $1"
    reads onnx "$1" "$1.onnx" logits.json
}

make_models all
# Rows that are all padding, and padding in front.
"$python" -c "import h5py
with h5py.File('words.h5', 'r+') as file:
    x = file['test/x'][()]
    x[0], x[1, :5], x[2, 3] = 0, 0, 0
    file['test/x'][...] = x" || wrong "words.h5 cannot be changed"
for name in $models; do
    predictions "$name"
    works 1 export "$name" --format safetensors --output "$name.safetensors"
    works 1 export "$name" --format npz --output "$name.npz"
    works 1 export "$name" --format keras --output "$name.keras.h5"
    check_c "$name"
    has torch && reads torch "$name" "$name.safetensors"
    reads npz "$name" "$name.npz"
    reads keras "$name" "$name.keras.h5"
    case $name in
    images | resnet) check_onnx "$name" 32x32x3 float32 ;;
    mnist) check_onnx "$name" 28x28x1 float32 ;;
    words | letters) check_onnx "$name" 12 int32 ;;
    bilstm) check_onnx "$name" 24 int32 ;;
    gpt) check_onnx "$name" 64 int32 ;;
    esac
done

# A whole saved Keras model: weights in a group, layers without weights among them, lists of names
# in pieces. And PyTorch's own half precision and counters.
"$python" - <<'PY' || wrong "the files of other writers cannot be made"
import json, struct, h5py, numpy as np
with h5py.File("words.keras.h5") as old, h5py.File("saved.h5", "w") as new:
    group = new.create_group("model_weights")
    names = []
    for i, name in enumerate(old.attrs["layer_names"]):
        empty = group.create_group("dropout_%d" % i)
        empty.attrs["weight_names"] = np.array([])
        old.copy(name.decode(), group)
        names += [name, b"dropout_%d" % i]
    for piece in range(2):
        group.attrs["layer_names%d" % piece] = np.array(names[piece * 5:piece * 5 + 5] if piece == 0
                                                        else names[5:])
with open("words.safetensors", "rb") as file:
    header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
    data = file.read()
tensors, parts = {"__metadata__": {"format": "pt"}}, b""
def put(name, kind, shape, bytes_):
    global parts
    tensors[name] = {"shape": shape, "data_offsets": [len(parts), len(parts) + len(bytes_)],
                     "dtype": kind}
    parts += bytes_
put("a.num_batches_tracked", "I64", [], b"\3" + b"\0" * 7)
for name, entry in header.items():
    if name != "__metadata__":
        value = np.frombuffer(data[slice(*entry["data_offsets"])], "<f4")
        put(name, "F64", entry["shape"], value.astype("<f8").tobytes())
text = json.dumps(tensors).encode()
with open("doubles.safetensors", "wb") as file:
    file.write(struct.pack("<Q", len(text)) + text + parts)
PY
for file in saved.h5 doubles.safetensors; do
    works 1 import "$file" --recipe words.yaml --output back.h5
    works 1 export back.h5 --format safetensors --output back.safetensors
    cmp words.safetensors back.safetensors || wrong "$file came back different"
done
finish
