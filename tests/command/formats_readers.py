#!/usr/bin/env python3
"""Other tools read what `cohort export` wrote: their logits against Cohort's predictions.

usage: formats_readers.py torch|keras|npz|onnx RUN DATA.h5 PREDICTED.h5 FILE [LOGITS.json]

RUN           a run folder; its recipe says what the network is
PREDICTED.h5  `cohort predict` of the test split of DATA.h5
FILE          the exported file
LOGITS.json   onnx: what ONNX Runtime computed ({"logits": [[…]], "y": [[…]]})

torch    PyTorch's own layers, built from the recipe, take the file's tensors by name with
         strict=True and compute the logits
keras    the file is loaded as Keras 2 loads by topology: layers with weights in the order of
         layer_names against the layers in the order of Keras's graph
npz      numpy.load holds the checkpoint's tensors
"""
import json
import struct
import sys

import h5py
import numpy as np

TOLERANCE = 1e-5


def read_safetensors(path):
    with open(path, "rb") as file:
        header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
        data = file.read()
    return {name: np.frombuffer(data[slice(*entry["data_offsets"])], "<f4").reshape(entry["shape"])
            for name, entry in header.items() if name != "__metadata__"}


def load_recipe(run):
    import yaml
    with open(run + "/recipe.yaml") as file:
        return yaml.safe_load(file)


def kind_of(layer):
    return next(iter(layer.items())) if isinstance(layer, dict) else (layer, {})


def tensors_of(group):
    found = {}
    group.visititems(lambda path, item: found.update({path: item[()]})
                     if isinstance(item, h5py.Dataset) else None)
    return found


def checkpoint_tensors(run):
    with h5py.File(run + "/checkpoints/best.h5") as file:
        found = tensors_of(file["params"])
        if "state" in file:
            found.update(tensors_of(file["state"]))
    return found


# ---- PyTorch ---------------------------------------------------------------------------------


def build_torch(recipe, x):
    """A module whose children are PyTorch's layers under the names of the recipe's."""
    import torch
    from torch import nn
    from torch.nn import functional as F

    def pair(value):
        return value if isinstance(value, list) else [value, value]

    def pads(size, window, stride):
        span = max((-(-size // stride) - 1) * stride + window - size, 0)
        return span // 2, span - span // 2

    def padded(x, keys, window, strides, value):
        if keys["padding"] == "valid":
            return x
        top, bottom = pads(x.shape[2], window[0], strides[0])
        left, right = pads(x.shape[3], window[1], strides[1])
        return F.pad(x, (left, right, top, bottom), value=value)

    functions = {"linear": lambda v: v, "relu": torch.relu, "gelu": F.gelu, "tanh": torch.tanh,
                 "sigmoid": torch.sigmoid, "leaky_relu": lambda v: F.leaky_relu(v, 0.3)}

    class Layer(nn.Module):
        """A layer without weights. Images are [batch][channels][height][width]."""

        def __init__(self, kind, keys):
            super().__init__()
            self.kind, self.keys = kind, keys

        def forward(self, x, mask):
            if self.kind == "softmax":
                return x.softmax(1 if x.dim() == 4 else -1), mask
            if self.kind == "leaky_relu":
                return F.leaky_relu(x, self.keys["slope"]), mask
            if self.kind == "dropout":
                return x, mask
            return functions[self.kind](x), mask

    class Dense(nn.Linear):
        def __init__(self, keys, shape):
            super().__init__(shape[-1], keys["units"], bias=keys["bias"])
            self.activation = functions[keys["activation"]]

        def forward(self, x, mask):
            return self.activation(super().forward(x)), mask

    class Conv(nn.Conv2d):
        def __init__(self, keys, shape):
            super().__init__(shape[1], keys["filters"], pair(keys["kernel"]),
                             stride=pair(keys["strides"]), bias=keys["bias"])
            self.keys, self.activation = keys, functions[keys["activation"]]

        def forward(self, x, mask):
            x = padded(x, self.keys, self.kernel_size, self.stride, 0.0)
            return self.activation(super().forward(x)), mask

    class Norm(nn.LayerNorm):
        def __init__(self, keys, shape):
            super().__init__(shape[1] if len(shape) == 4 else shape[-1], eps=float(keys["epsilon"]))

        def forward(self, x, mask):
            if x.dim() == 4:
                return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2), mask
            return super().forward(x), mask

    def batch_norm(keys, shape):
        parent = nn.BatchNorm2d if len(shape) == 4 else nn.BatchNorm1d

        class Batch(parent):
            def forward(self, x, mask):
                turned = x.dim() == 3
                y = super().forward(x.transpose(1, 2) if turned else x)
                return y.transpose(1, 2) if turned else y, mask

        return Batch(shape[-1] if len(shape) == 3 else shape[1], eps=float(keys["epsilon"]))

    class Tokens(nn.Embedding):
        def __init__(self, keys, vocabulary):
            super().__init__(vocabulary, keys["units"])
            self.keys = keys

        def forward(self, x, mask):
            return super().forward(x), (x != 0) if self.keys["mask"] else None

    class Positions(nn.Embedding):
        def __init__(self, keys, shape):
            super().__init__(shape[1], shape[2])

        def forward(self, x, mask):
            return x + self.weight, mask

    class Sines(nn.Module):
        def forward(self, x, mask):
            time, width = x.shape[1:]
            j = np.arange(width)
            angle = np.arange(time)[:, None] * 10000.0 ** (-(j - j % 2) / width)
            table = np.where(j % 2, np.cos(angle), np.sin(angle))
            return x + torch.tensor(table, dtype=x.dtype), mask

    class Lstm(nn.LSTM):
        def __init__(self, keys, shape):
            super().__init__(shape[-1], keys["units"], batch_first=True,
                             bidirectional=keys["bidirectional"])
            self.keys = keys

        def forward(self, x, mask):
            if mask is None:
                every, (last, _) = super().forward(x)
                last = last.transpose(0, 1).flatten(1)
                return (every, None) if self.keys["return_sequences"] else (last, None)
            rows = []
            for sample, seen in zip(x, mask):  # each alone, without its padding
                units = self.hidden_size * (2 if self.bidirectional else 1)
                out, last = x.new_zeros(len(seen), units), x.new_zeros(units)
                if seen.any():
                    every, (state, _) = super().forward(sample[seen][None])
                    last = state[:, 0].flatten()
                    before = torch.cumsum(seen, 0) - 1
                    after = before + 1 - seen.long()
                    n = self.hidden_size
                    for t in range(len(seen)):
                        if before[t] >= 0:
                            out[t, :n] = every[0, before[t], :n]
                        if self.bidirectional and after[t] < every.shape[1]:
                            out[t, n:] = every[0, after[t], n:]
                rows.append(out if self.keys["return_sequences"] else last)
            return torch.stack(rows), mask if self.keys["return_sequences"] else None

    class Attention(nn.MultiheadAttention):
        def __init__(self, keys, shape):
            super().__init__(shape[-1], keys["heads"], batch_first=True)
            self.keys = keys

        def forward(self, x, mask):
            time = x.shape[1]
            unseen = torch.ones(time, time, dtype=torch.bool).triu(1) if self.keys["causal"] else None
            if mask is not None:
                seen = mask[:, None, :] & (~unseen if unseen is not None
                                           else torch.ones(time, time, dtype=torch.bool))[None]
                nothing = ~seen.any(2)
                # A query that sees nothing gets zeros; PyTorch's would be NaN.
                allowed = seen | nothing[:, :, None]
                y, _ = super().forward(x, x, x, need_weights=False,
                                       attn_mask=(~allowed).repeat_interleave(self.num_heads, 0))
                return torch.where(nothing[:, :, None], self.out_proj.bias, y), mask
            y, _ = super().forward(x, x, x, need_weights=False, attn_mask=unseen)
            return y, mask

    class Pool(nn.Module):
        def __init__(self, kind, keys):
            super().__init__()
            self.kind, self.keys = kind, keys

        def forward(self, x, mask):
            size = pair(self.keys["size"])
            strides = pair(self.keys.get("strides") or size)
            if self.kind == "max_pool2d":
                return F.max_pool2d(padded(x, self.keys, size, strides, -np.inf), size, strides), None
            total = F.avg_pool2d(padded(x, self.keys, size, strides, 0.0), size, strides)
            share = F.avg_pool2d(padded(torch.ones_like(x), self.keys, size, strides, 0.0), size,
                                 strides)
            return total / share, None

    class Mean(nn.Module):
        def forward(self, x, mask):
            if x.dim() == 4:
                return x.mean((2, 3)), None
            if mask is None:
                return x.mean(1), None
            weight = mask.to(x.dtype)[:, :, None]
            return (x * weight).sum(1) / weight.sum(1).clamp(min=1), None

    class Flatten(nn.Module):
        def forward(self, x, mask):
            return x.flatten(1), None

    class Residual(nn.Module):
        def __init__(self, keys, x, mask):
            super().__init__()
            self.names = add_list(self, keys["layers"], "", x, mask)[0]
            self.side = keys.get("shortcut") or []
            if self.side:
                self.shortcut = nn.Module()
                self.side_names = add_list(self.shortcut, self.side, "", x, mask)[0]

        def forward(self, x, mask):
            y, inner = x, mask
            for name in self.names:
                y, inner = getattr(self, name)(y, inner)
            if self.side:
                for name in self.side_names:
                    x, mask = getattr(self.shortcut, name)(x, mask)
            return y + x, mask if inner is not None else None

    def make(kind, keys, x, mask):
        shape = x.shape
        if kind == "position_embedding":
            return Positions(keys, shape) if keys["type"] == "learned" else Sines()
        if kind == "embedding":
            return Tokens(keys, recipe["vocabulary"])
        if kind == "residual":
            return Residual(keys, x, mask)
        if kind in ("max_pool2d", "average_pool2d"):
            return Pool(kind, keys)
        if kind in ("global_average_pool", "flatten"):
            return Mean() if kind == "global_average_pool" else Flatten()
        made = {"dense": Dense, "conv2d": Conv, "batch_norm": batch_norm, "layer_norm": Norm,
                "lstm": Lstm, "attention": Attention}.get(kind)
        return made(keys, shape) if made else Layer(kind, keys)

    def add_list(parent, layers, prefix, x, mask):
        """Adds the layers as children; x flows through them to show their shapes."""
        names = []
        for index, layer in enumerate(layers):
            kind, keys = kind_of(layer)
            keys = keys or {}
            name = keys.get("name") or "%d_%s" % (index, kind)
            child = make(kind, keys, x, mask).eval()
            parent.add_module(name, child)
            names.append(name)
            with torch.no_grad():
                x, mask = child(x, mask)
        return names, x, mask

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.names = add_list(self, recipe["model"], "", x, None)[0]

        def forward(self, x):
            mask = None
            for name in self.names:
                x, mask = getattr(self, name)(x, mask)
            return x

    return Network().eval()


def torch_logits(run, data, file):
    import torch
    recipe = load_recipe(run)
    tensors = read_safetensors(file)
    with h5py.File(data) as h5:
        x = h5["test/x"][()]
        recipe["vocabulary"] = len(h5.attrs["vocabulary"]) if "vocabulary" in h5.attrs else 0
    if recipe["vocabulary"]:
        x = torch.tensor(x.astype(np.int64))
    else:
        keys = recipe["data"]
        x = (x.astype(np.float32) * np.float32(keys["scale"]) - np.float32(keys["mean"])) / np.float32(
            keys["std"])
        x = torch.tensor(x.astype(np.float32))
        x = x.permute(0, 3, 1, 2) if x.dim() == 4 else x
    module = build_torch(recipe, x[:2])
    module.load_state_dict({name: torch.tensor(value.copy()) for name, value in tensors.items()},
                           strict=True)
    with torch.no_grad():
        return module(x).numpy()


# ---- Comparing -------------------------------------------------------------------------------


def compare(recipe, logits, predicted, what):
    """Logits against probabilities: a softmax leaves a constant of each row open."""
    with h5py.File(predicted) as file:
        y = file["y"][()].astype(np.float64)
    loss = kind_of(recipe["loss"])[0] if not isinstance(recipe["loss"], dict) \
        else recipe["loss"].get("type") or kind_of(recipe["loss"])[0]
    logits = np.asarray(logits, np.float64).reshape(y.shape)
    if loss == "cross_entropy":
        logits = logits - logits.max(-1, keepdims=True)
        logits -= np.log(np.exp(logits).sum(-1, keepdims=True))
        ours = np.log(y)
    elif loss == "binary_cross_entropy":
        ours = np.log(y) - np.log1p(-y)
    else:
        ours = y
    worst = (np.abs(logits - ours) / np.maximum(1, np.abs(ours))).max()
    print("%s: %d logits, largest difference %.2g" % (what, logits.size, worst))
    if not worst <= TOLERANCE:
        sys.exit("FAILED: %s: logits differ by %g" % (what, worst))
    if logits.std() < 1e-6:
        sys.exit("FAILED: %s: all logits are the same: this proves nothing" % what)


# ---- Keras -----------------------------------------------------------------------------------


class KerasLayer:
    def __init__(self, path, parents):
        self.path, self.parents, self.depth = path, parents, 0


def keras_graph(layers, prefix, last, made):
    """Layers of a functional model, called as a user would write the network."""
    for index, layer in enumerate(layers):
        kind, keys = kind_of(layer)
        keys = keys or {}
        path = prefix + (keys.get("name") or "%d_%s" % (index, kind))
        if kind == "residual":
            inner = keras_graph(keys["layers"], path + "/", last, made)
            side = keras_graph(keys.get("shortcut") or [], path + "/shortcut/", last, made)
            last = KerasLayer(path, [inner, side])
        else:
            last = KerasLayer(path, [last])
        made.append(last)
    return last


def keras_order(recipe):
    """model.layers of keras/engine/functional.py, _map_graph_network: by depth, then by the
    order in which a depth-first walk from the output meets them."""
    start = KerasLayer("input", [])
    made = [start]
    end = keras_graph(recipe["model"], "", start, made)
    met, finished = [], []

    def walk(layer):
        if layer in finished:
            return
        if layer not in met:
            met.append(layer)
        for parent in layer.parents:
            walk(parent)
        finished.append(layer)

    walk(end)
    for layer in reversed(finished):
        for parent in layer.parents:
            parent.depth = max(parent.depth, layer.depth + 1)
    return [layer.path for layer in sorted(met, key=lambda l: (-l.depth, met.index(l)))]


def check_keras(run, file):
    recipe, ours = load_recipe(run), checkpoint_tensors(run)
    order = ["kernel", "recurrent_kernel", "embeddings", "gamma", "bias", "beta", "moving_mean",
             "moving_variance"]
    parts = ["", "forward", "backward", "query", "key", "value", "output"]

    def rank(name):
        part, _, last = name.rpartition("/")
        return parts.index(part), order.index(last)

    wanted = []  # (path, [names]) of the layers with weights, in Keras's order
    for path in keras_order(recipe):
        names = [n[len(path) + 1:] for n in ours if n.startswith(path + "/")
                 and (n[len(path) + 1:].count("/") == 0
                      or n[len(path) + 1:].split("/")[0] in parts)]
        if names:
            wanted.append((path, sorted(names, key=rank)))
    with h5py.File(file) as h5:
        groups = [name.decode() for name in h5.attrs["layer_names"]]
        loaded = [(g, [n.decode() for n in h5[g].attrs["weight_names"]]) for g in groups]
        loaded = [(g, names) for g, names in loaded if names]
        if len(loaded) != len(wanted):
            sys.exit("FAILED: keras: %d layers, not %d" % (len(loaded), len(wanted)))
        for (group, theirs), (path, names) in zip(loaded, wanted):
            if len(theirs) != len(names):
                sys.exit("FAILED: keras: %s has %s, not %s" % (group, theirs, names))
            for their, name in zip(theirs, names):
                value = h5[group][their][()]
                tensor = ours[path + "/" + name]
                if value.dtype != np.float32 or not np.array_equal(value.ravel(), tensor.ravel()):
                    sys.exit("FAILED: keras: %s/%s is not %s/%s" % (group, their, path, name))
                part = name.split("/")[0]
                is_head = part in ("query", "key", "value", "output") and "/" in name
                if not is_head and value.shape != tensor.shape:
                    sys.exit("FAILED: keras: %s has the shape %s" % (their, value.shape))
                if is_head and name != "output/bias":
                    dims = 3 if name.endswith("kernel") else 2
                    if value.ndim != dims:
                        sys.exit("FAILED: keras: %s has the shape %s" % (their, value.shape))
    print("keras: %d layers with weights" % len(loaded))


def check_npz(run, file):
    ours, theirs = checkpoint_tensors(run), np.load(file)
    if sorted(ours) != sorted(theirs.files):
        sys.exit("FAILED: npz: names %s" % theirs.files)
    for name, value in ours.items():
        if theirs[name].dtype != np.float32 or not np.array_equal(theirs[name], value):
            sys.exit("FAILED: npz: %s differs" % name)
    print("npz: %d arrays" % len(ours))


def main():
    what, run, data, predicted, file = sys.argv[1:6]
    recipe = load_recipe(run)
    if what == "torch":
        compare(recipe, torch_logits(run, data, file), predicted, "torch")
    elif what == "keras":
        check_keras(run, file)
    elif what == "npz":
        check_npz(run, file)
    elif what == "onnx":
        with open(sys.argv[6]) as results:
            got = json.load(results)
        compare(recipe, got["logits"], predicted, "onnx")
        with h5py.File(predicted) as h5:
            worst = np.abs(np.asarray(got["y"]).ravel() - h5["y"][()].ravel()).max()
        if not worst <= TOLERANCE:
            sys.exit("FAILED: onnx: y differs by %g" % worst)


main()
