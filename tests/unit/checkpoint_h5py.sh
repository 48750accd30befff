#!/bin/sh
# checkpoint_h5py.sh TEST_PROGRAM: has it write its sample checkpoint, reads that with h5py
# and h5dump, and has it read what h5repack and h5py make of it.
set -eu
program=$1
here=$(cd "$(dirname "$0")" && pwd)
python=
for candidate in python3 /usr/bin/python3; do
    if "$candidate" -c 'import h5py' 2>/dev/null; then
        python=$candidate
        break
    fi
done
if [ -z "$python" ]; then
    echo "skipped: no python3 with h5py (Debian: python3-h5py)"
    exit 77
fi
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$program" --write "$folder/sample.h5"
"$program" --check "$folder/sample.h5"
"$python" "$here/checkpoint_h5py.py" "$folder/sample.h5"
if command -v h5repack >/dev/null; then
    h5repack "$folder/sample.h5" "$folder/repacked.h5"
    "$program" --check "$folder/repacked.h5"
    "$python" "$here/checkpoint_h5py.py" "$folder/repacked.h5"
fi
cp "$folder/sample.h5" "$folder/edited.h5"
"$python" "$here/checkpoint_h5py.py" "$folder/edited.h5" edit
"$program" --check "$folder/edited.h5"
if command -v h5dump >/dev/null; then
    h5dump -d /params/3_residual/shortcut/0_conv2d/kernel "$folder/sample.h5" | grep -q 'H5T_IEEE_F32LE'
    h5dump -a /recipe "$folder/sample.h5" | grep -q 'name: sample'
fi
