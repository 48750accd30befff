"""checkpoint_h5py.py FILE [edit]: reads the sample checkpoint of test_checkpoint.c as a user
would, without Cohort; then rewrites an attribute."""
import sys

import h5py
import numpy as np

with h5py.File(sys.argv[1], "r") as file:
    assert file.attrs["format"] == "cohort-checkpoint", file.attrs["format"]
    assert file.attrs["version"] == 1
    recipe = file.attrs["recipe"]
    assert isinstance(recipe, str) and recipe.startswith("name: sample\n") and len(recipe) > 1 << 17, len(recipe)
    assert list(file.attrs["input_shape"]) == [28, 28, 1]
    progress = file["progress"].attrs
    assert progress["epoch"] == 3 and progress["step"] == 2814 and progress["seed"] == -5
    assert progress["best_metric"] == 0.25 and progress["epoch_loss"] == 1.5

    names = []
    file["params"].visititems(lambda name, item: names.append(name) if hasattr(item, "shape") else None)
    assert sorted(names) == [
        "0_dense/bias", "0_dense/kernel", "3_residual/shortcut/0_conv2d/kernel"], names
    kernel = file["params/0_dense/kernel"]
    assert kernel.dtype == np.dtype("<f4") and kernel.shape == (5, 7)
    assert np.array_equal(kernel[()].ravel(), np.arange(35, dtype="f4") / 8 - 2)
    conv = file["params/3_residual/shortcut/0_conv2d/kernel"]
    assert conv.shape == (3, 3, 2, 4)
    assert file["state/1_batch_norm/moving_mean"].shape == (4,)
    for slot in "mv":
        assert file[f"optimizer/{slot}/0_dense/kernel"].shape == (5, 7)
    assert file.attrs["privacy_ledger"].startswith("mechanism none unit example")
    assert file.attrs["tokenizer"] == '{"type":"characters","length":64}', file.attrs["tokenizer"]
    assert set(file) == {"params", "state", "optimizer", "progress", "classes", "vocabulary"}
    assert list(file["classes"].asstr()) == ["cat", "dög"]
    assert list(file["vocabulary"].asstr()) == ["", "\n", "zwei"]

if len(sys.argv) > 2:  # an edit that changes nothing
    with h5py.File(sys.argv[1], "r+") as file:
        file.attrs["format"] = file.attrs["format"]
print("h5py reads names, shapes and values")
