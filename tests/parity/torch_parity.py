#!/usr/bin/env python3
"""Trains a recipe's network in PyTorch from Cohort's start weights and compares.

usage: torch_parity.py START.h5 DATA.h5 --pieces RUN… --whole RUN… [--kinks] [--float32]

START.h5    `cohort init RECIPE`: the recipe (attribute) and the start weights
DATA.h5     the data set; its rows must have been taken in file order
--pieces    run folders of one training in pieces: the first of one step, each other one
            resumed from the one before it
--whole     run folders of the same training in one go, on any number of ranks
All runs with train.log_every_steps 1.

PyTorch computes in float64: the differences are Cohort's own rounding. Its layers are
PyTorch's (conv2d, batch_norm, LSTM, multi_head_attention_forward, …), so that they are an
independent statement of what a layer is; optimizers are written out here, since PyTorch's
Adam puts epsilon elsewhere than Keras's. Compared are

  - the tensors of the checkpoint: names, shapes, what the start values say of the layout
  - after one step: each tensor's gradient, from the optimizer's slots; the update, from
    those slots; batch_norm's moving statistics
  - the loss of every step, PyTorch training on its own from the start
  - the loss of every step, PyTorch taking up weights, slots and state at the end of each
    piece and training on through the next

Relu and max pooling have kinks: an input that is 1e-8 in float64 may be -1e-8 in float32,
then a unit learns in one and not in the other, and the trainings part at a rate that has
nothing to do with either's correctness (PyTorch's own float32 and float64 do). --kinks says
that the network has them: the losses of a whole training are then shown but not judged,
those of the pieces are, and gradients are held to a wider bound.

--float32 runs PyTorch in float32 too and shows how far it strays from itself.
"""
import argparse
import json
import math
import pathlib
import sys

import h5py
import numpy as np
import torch
import torch.nn.functional as F
import yaml

# Of the largest element of a tensor's gradient, or what PyTorch's float32 is off, if more.
GRADIENT_TOLERANCE = 1e-5
KINK_TOLERANCE = 5e-2  # instead, of a tensor's gradient in the 2-norm, with --kinks
GRADIENT_FLOOR = 1e-2  # share of the largest gradient below which there is only rounding
UPDATE_TOLERANCE = 1e-6  # of a weight or an update, given gradient and slots
STATE_TOLERANCE = 1e-5
LOSS_TOLERANCE = 1e-4


class Failures:
    def __init__(self):
        self.count = 0

    def check(self, right, text):
        if not right:
            self.count += 1
            print("FAILED: " + text)


def tensors_of(group):
    """{path: array} of all datasets below an HDF5 group."""
    found = {}
    group.visititems(
        lambda path, item: found.update({path: item[()]}) if isinstance(item, h5py.Dataset) else None)
    return found


def pair(value):
    return value if isinstance(value, list) else [value, value]


def same_padding(size, window, stride):
    """Keras's `same`: (before, after), the odd one after."""
    out = -(-size // stride)
    span = max((out - 1) * stride + window - size, 0)
    return span // 2, span - span // 2


class Network:
    """The recipe's layers over weights in Keras's layout. Images stay channels-last
    between layers, as in Cohort."""

    def __init__(self, recipe, start, dtype):
        self.layers = recipe["model"]
        self.params = {
            path: torch.tensor(value, dtype=dtype, requires_grad=True)
            for path, value in tensors_of(start["params"]).items()
        }
        self.state = {}
        if "state" in start:
            self.state = {
                path: torch.tensor(value, dtype=dtype)
                for path, value in tensors_of(start["state"]).items()
            }
        self.read = set()

    def forward(self, x):
        y, _ = self.sequence(self.layers, "", x, None)
        return y

    def param(self, path, name):
        self.read.add(path + "/" + name)
        return self.params[path + "/" + name]

    def sequence(self, layers, prefix, x, mask):
        for index, layer in enumerate(layers):
            kind, keys = next(iter(layer.items())) if isinstance(layer, dict) else (layer, {})
            path = prefix + (keys.get("name") or "%d_%s" % (index, kind))
            x, mask = getattr(self, kind)(keys, path, x, mask)
        return x, mask

    @staticmethod
    def activate(x, name):
        functions = {
            "linear": lambda v: v,
            "relu": torch.relu,
            "gelu": F.gelu,
            "tanh": torch.tanh,
            "sigmoid": torch.sigmoid,
        }
        return functions[name](x)

    def relu(self, keys, path, x, mask):
        return torch.relu(x), mask

    def gelu(self, keys, path, x, mask):
        return F.gelu(x), mask

    def dropout(self, keys, path, x, mask):
        if keys["rate"] != 0:
            sys.exit("torch_parity.py: %s: the rate of dropout must be 0" % path)
        return x, mask

    def flatten(self, keys, path, x, mask):
        return x.flatten(1), None

    def dense(self, keys, path, x, mask):
        y = F.linear(x, self.param(path, "kernel").t(),
                     self.param(path, "bias") if keys["bias"] else None)
        return self.activate(y, keys["activation"]), mask

    def conv2d(self, keys, path, x, mask):
        kernel = self.param(path, "kernel")  # [kh][kw][in][out]
        strides = pair(keys["strides"])
        x = x.permute(0, 3, 1, 2)
        if keys["padding"] == "same":
            top, bottom = same_padding(x.shape[2], kernel.shape[0], strides[0])
            left, right = same_padding(x.shape[3], kernel.shape[1], strides[1])
            x = F.pad(x, (left, right, top, bottom))
        y = F.conv2d(x, kernel.permute(3, 2, 0, 1),
                     self.param(path, "bias") if keys["bias"] else None, stride=strides)
        return self.activate(y.permute(0, 2, 3, 1), keys["activation"]), None

    def max_pool2d(self, keys, path, x, mask):
        if keys["padding"] != "valid":
            sys.exit("torch_parity.py: %s: only `valid` padding is known here" % path)
        size = pair(keys["size"])
        y = F.max_pool2d(x.permute(0, 3, 1, 2), size, pair(keys.get("strides") or size))
        return y.permute(0, 2, 3, 1), None

    def average_pool2d(self, keys, path, x, mask):
        if keys["padding"] != "valid":
            sys.exit("torch_parity.py: %s: only `valid` padding is known here" % path)
        size = pair(keys["size"])
        y = F.avg_pool2d(x.permute(0, 3, 1, 2), size, pair(keys.get("strides") or size))
        return y.permute(0, 2, 3, 1), None

    def tanh(self, keys, path, x, mask):
        return torch.tanh(x), mask

    def global_average_pool(self, keys, path, x, mask):
        if mask is None:
            return x.mean(dim=tuple(range(1, x.dim() - 1))), None
        weight = mask.to(x.dtype)[:, :, None]
        return (x * weight).sum(1) / weight.sum(1).clamp(min=1), None

    def batch_norm(self, keys, path, x, mask):
        momentum = keys["momentum"]
        y = F.batch_norm(x.reshape(-1, x.shape[-1]), None, None, self.param(path, "gamma"),
                         self.param(path, "beta"), training=True, eps=float(keys["epsilon"]))
        rows = x.detach().reshape(-1, x.shape[-1])
        for name, batch in (("moving_mean", rows.mean(0)),
                            ("moving_variance", rows.var(0, unbiased=False))):
            moving = self.state[path + "/" + name]
            moving.mul_(momentum).add_(batch * (1 - momentum))
        return y.reshape(x.shape), mask

    def layer_norm(self, keys, path, x, mask):
        y = F.layer_norm(x, x.shape[-1:], self.param(path, "gamma"), self.param(path, "beta"),
                         float(keys["epsilon"]))
        return y, mask

    def embedding(self, keys, path, x, mask):
        y = F.embedding(x, self.param(path, "embeddings"))
        return y, (x != 0) if keys["mask"] else None

    def position_embedding(self, keys, path, x, mask):
        if keys["type"] != "learned":
            sys.exit("torch_parity.py: %s: only learned positions are known here" % path)
        return x + self.param(path, "embeddings"), mask

    def residual(self, keys, path, x, mask):
        y, inner = self.sequence(keys["layers"], path + "/", x, mask)
        side, outer = x, mask
        if keys.get("shortcut"):
            side, outer = self.sequence(keys["shortcut"], path + "/shortcut/", x, mask)
        return y + side, None if inner is None or outer is None else outer

    def lstm(self, keys, path, x, mask):
        """PyTorch's gates are i, f, g, o, which is Keras's i, f, c, o. Steps left out by
        the mask are packed away."""
        if keys["return_sequences"] or keys["dropout"] or keys["recurrent_dropout"]:
            sys.exit("torch_parity.py: %s: only the last state, without dropout" % path)
        weights = []
        for side in ["forward/", "backward/"] if keys["bidirectional"] else [""]:
            bias = self.param(path, side + "bias")
            weights += [self.param(path, side + "kernel").t().contiguous(),
                        self.param(path, side + "recurrent_kernel").t().contiguous(),
                        bias, torch.zeros_like(bias)]
        batch, time, _ = x.shape
        lengths = torch.full((batch,), time)
        if mask is not None:
            lengths = mask.sum(1)
            order = torch.argsort((~mask).to(torch.int8), dim=1, stable=True)
            x = torch.gather(x, 1, order[:, :, None].expand_as(x))
        packed = torch.nn.utils.rnn.pack_padded_sequence(
            x, lengths, batch_first=True, enforce_sorted=False)
        directions = 2 if keys["bidirectional"] else 1
        zeros = x.new_zeros(directions, batch, keys["units"])
        _, last, _ = torch._VF.lstm(packed.data, packed.batch_sizes, (zeros, zeros), weights,
                                    True, 1, 0.0, True, directions == 2)
        last = last[:, packed.unsorted_indices]
        return last.permute(1, 0, 2).reshape(batch, -1), None

    def attention(self, keys, path, x, mask):
        if keys["dropout"]:
            sys.exit("torch_parity.py: %s: the rate of dropout must be 0" % path)
        names = ("query", "key", "value")
        kernel = torch.cat([self.param(path, n + "/kernel").t() for n in names])
        bias = torch.cat([self.param(path, n + "/bias") for n in names])
        time, steps = x.shape[1], x.transpose(0, 1)
        unseen = torch.ones(time, time, dtype=torch.bool).triu(1) if keys["causal"] else None
        y, _ = F.multi_head_attention_forward(
            steps, steps, steps, x.shape[2], keys["heads"], kernel, bias, None, None, False, 0.0,
            self.param(path, "output/kernel").t(), self.param(path, "output/bias"),
            key_padding_mask=None if mask is None else ~mask, need_weights=False,
            attn_mask=unseen)
        return y.transpose(0, 1), mask


class Optimizer:
    """Keras's updates (src/optim/optimizer.h)."""

    def __init__(self, recipe, params):
        words = ("type", "embedding_rows")
        if recipe["embedding_rows"] != "all":
            sys.exit("torch_parity.py: optimizer.embedding_rows is not known here")
        self.recipe = {k: float(v) if isinstance(v, str) and k not in words else v
                       for k, v in recipe.items()}
        for key in ("l1", "clip_norm", "clip_value", "rho"):
            if recipe[key] and key != "rho":
                sys.exit("torch_parity.py: optimizer.%s is not known here" % key)
        schedule = recipe["schedule"]
        # Steps that fall after the first epoch: what is compared lies within it.
        late = schedule["type"] == "step" and min(schedule["milestones"]) >= 1
        if (schedule["type"] != "constant" and not late) or schedule["warmup_steps"]:
            sys.exit("torch_parity.py: only a constant learning rate is known here")
        names = {"adam": ("m", "v"), "sgd": ("momentum",) if recipe["momentum"] else ()}
        names = names[recipe["type"]]
        self.slots = {n: {p: torch.zeros_like(v) for p, v in params.items()} for n in names}
        self.step_number = 0

    def decayed(self, path, param, grad):
        decays = path.rsplit("/", 1)[-1] in ("kernel", "recurrent_kernel", "embeddings")
        return grad + self.recipe["weight_decay"] * param if decays else grad

    def update(self, slots, path, grad, step):
        """Advances the slots of one parameter."""
        r = self.recipe
        if r["type"] == "sgd" and not r["momentum"]:
            return
        if r["type"] == "sgd":
            v = slots["momentum"][path]
            v.mul_(r["momentum"]).sub_(grad, alpha=r["lr"])
        else:
            m, v = slots["m"][path], slots["v"][path]
            m.add_(grad - m, alpha=1 - r["beta1"])
            v.add_(grad * grad - v, alpha=1 - r["beta2"])

    def change(self, slots, path, grad, step):
        """What is added to the parameter, from its advanced slots."""
        r = self.recipe
        if r["type"] == "sgd" and not r["momentum"]:
            return -r["lr"] * grad
        if r["type"] == "sgd":
            v = slots["momentum"][path]
            return r["momentum"] * v - r["lr"] * grad if r["nesterov"] else v
        m, v = slots["m"][path], slots["v"][path]
        rate = r["lr"] * math.sqrt(1 - r["beta2"] ** step) / (1 - r["beta1"] ** step)
        return -rate * m / (torch.sqrt(v) + float(r["epsilon"]))

    def gradient_of(self, slot):
        """The first step's gradient, from the slot after it."""
        r = self.recipe
        return slot / -r["lr"] if r["type"] == "sgd" else slot / (1 - r["beta1"])

    def step(self, params):
        self.step_number += 1
        with torch.no_grad():
            for path, param in params.items():
                grad = self.decayed(path, param, param.grad)
                self.update(self.slots, path, grad, self.step_number)
                param += self.change(self.slots, path, grad, self.step_number)
                param.grad = None


def loss_of(recipe, logits, labels):
    kind = recipe["loss"] if isinstance(recipe["loss"], str) else next(iter(recipe["loss"]))
    if kind == "cross_entropy":
        return F.cross_entropy(logits.reshape(-1, logits.shape[-1]), labels.reshape(-1))
    return F.binary_cross_entropy_with_logits(logits[:, 0], labels.to(logits.dtype))


class Batches:
    """The global batches of an unshuffled first epoch."""

    def __init__(self, recipe, data):
        self.size = recipe["train"]["global_batch_size"]
        group = data[recipe["data"]["train"]]
        self.x, self.y = group[recipe["data"]["x"]], group[recipe["data"]["y"]]
        self.scale = np.float32(recipe["data"]["scale"])
        self.tokens = "embedding" in recipe["model"][0]

    def get(self, step, dtype):
        rows = slice(step * self.size, (step + 1) * self.size)
        if rows.stop > len(self.x):
            sys.exit("torch_parity.py: the data set has too few rows for %d steps" % (step + 1))
        x, y = self.x[rows], torch.from_numpy(self.y[rows].astype(np.int64))
        if self.tokens:
            return torch.from_numpy(x.astype(np.int64)), y
        return torch.from_numpy(x.astype(np.float32) * self.scale).to(dtype), y


class Training:
    def __init__(self, recipe, start, data, dtype):
        self.recipe, self.dtype = recipe, dtype
        self.network = Network(recipe, start, dtype)
        self.optimizer = Optimizer(recipe["optimizer"], self.network.params)
        self.batches = Batches(recipe, data)

    def backward(self, step):
        x, y = self.batches.get(step, self.dtype)
        loss = loss_of(self.recipe, self.network.forward(x), y)
        loss.backward()
        return loss.item()

    def take_up(self, checkpoint):
        """Goes on from a checkpoint; returns its step."""
        def fill(tensors, group):
            for path, value in tensors_of(group).items():
                with torch.no_grad():
                    tensors[path].copy_(torch.from_numpy(value))

        fill(self.network.params, checkpoint["params"])
        if self.network.state:
            fill(self.network.state, checkpoint["state"])
        for name, tensors in self.optimizer.slots.items():
            fill(tensors, checkpoint["optimizer"][name])
        self.optimizer.step_number = int(checkpoint["progress"].attrs["step"])
        return self.optimizer.step_number

    def losses(self, count, begin=0):
        found = []
        for step in range(begin, begin + count):
            found.append(self.backward(step))
            self.optimizer.step(self.network.params)
        return found


def check_start(failures, recipe, training, start):
    """Every tensor is one that the recipe's layers use; forget biases start at 1."""
    unused = set(training.network.params) - training.network.read
    failures.check(not unused, "tensors that no layer reads: %s" % sorted(unused))
    for path, value in training.network.params.items():
        folder = path.rsplit("/", 1)[0]
        if path.endswith("/bias") and folder + "/recurrent_kernel" in training.network.params:
            gates = value.detach().numpy().reshape(4, -1)
            failures.check((gates == [[0], [1], [0], [0]]).all(),
                           "%s: the second of four gates is not the forget gate" % path)
            whole = training.network.params[folder + "/recurrent_kernel"].detach().numpy()
            product = whole @ whole.T
            failures.check(np.abs(product - np.eye(len(product))).max() < 1e-5,
                           "%s/recurrent_kernel is not orthogonal" % folder)


def gradient_error(gradient, expected, floor, kinks):
    """Relative to the tensor's gradient: of the largest element, or in the 2-norm."""
    error = gradient - expected
    if kinks:
        return (error.norm() / max(expected.norm().item(), floor)).item()
    return error.abs().max().item() / max(expected.abs().max().item(), floor)


def own_gradient_error(recipe, start, data, kinks):
    """PyTorch's float32 gradient of the first step against its float64 one."""
    grads = []
    for dtype in (torch.float64, torch.float32):
        training = Training(recipe, start, data, dtype)
        training.backward(0)
        grads.append({p: v.grad.double() for p, v in training.network.params.items()})
    floor = GRADIENT_FLOOR * max(g.abs().max().item() for g in grads[0].values())
    return max(gradient_error(grads[1][p], g, floor, kinks) for p, g in grads[0].items())


def check_step_one(failures, recipe, start, data, after, kinks):
    """Gradients, updates and state of the first step, tensor by tensor."""
    training = Training(recipe, start, data, torch.float64)
    network, optimizer = training.network, training.optimizer
    training.backward(0)
    check_start(failures, recipe, training, start)
    weights = {p: torch.tensor(v).double() for p, v in tensors_of(after["params"]).items()}
    slots = {name: {p: torch.tensor(v).double() for p, v in tensors_of(group).items()}
             for name, group in after["optimizer"].items()}
    own = own_gradient_error(recipe, start, data, kinks)
    tolerance = max(own, KINK_TOLERANCE if kinks else GRADIENT_TOLERANCE)
    failures.check(set(weights) == set(network.params), "step one has other tensors")
    failures.check(set(slots) == set(optimizer.slots),
                   "optimizer slots are %s" % sorted(slots))
    first = next(iter(slots.values()))
    worst_gradient = worst_update = 0
    # A bias that has no effect (of attention's keys, before batch_norm) has no gradient.
    floor = GRADIENT_FLOOR * max(p.grad.abs().max().item() for p in network.params.values())
    for path, param in network.params.items():
        expected = optimizer.decayed(path, param.detach(), param.grad)
        gradient = optimizer.gradient_of(first[path])
        error = gradient_error(gradient, expected, floor, kinks)
        worst_gradient = max(worst_gradient, error)
        failures.check(error <= tolerance, "gradient of %s: off by %.1e of its size %.1e"
                       % (path, error, expected.abs().max()))
        if "v" in slots:
            second = (1 - float(recipe["optimizer"]["beta2"])) * gradient ** 2
            error = ((slots["v"][path] - second).abs().max() / second.max().clamp(min=1e-20)).item()
            failures.check(error <= 1e-5, "slot v of %s is off by %.1e" % (path, error))
        with torch.no_grad():
            change = optimizer.change(slots, path, gradient, 1)
            error = (weights[path] - (param + change)).abs().max().item()
        worst_update = max(worst_update, error)
        failures.check(error <= UPDATE_TOLERANCE, "update of %s: off by %.1e" % (path, error))
    worst_state = 0
    state = tensors_of(after["state"]) if "state" in after else {}
    failures.check(set(state) == set(network.state), "state is %s" % sorted(state))
    for path, value in network.state.items():
        error = np.abs(state[path] - value.numpy()).max()
        worst_state = max(worst_state, error)
        failures.check(error <= STATE_TOLERANCE, "%s: off by %.1e" % (path, error))
    print("step 1, %d tensors: gradients within %.1e of their %s (PyTorch's float32: %.1e), updates "
          "within %.1e%s" % (len(weights), worst_gradient,
                             "2-norm" if kinks else "largest element", own, worst_update,
                      ", moving statistics within %.1e" % worst_state if state else ""))


def losses_of_run(folder):
    lines = (pathlib.Path(folder) / "metrics.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    return [r["loss"] for r in records if r["event"] == "step"]


def spread(a, b):
    """Largest difference, the step (from 1) where it is, and the one at the first step."""
    differences = [abs(x - y) for x, y in zip(a, b)]
    worst = max(range(len(differences)), key=differences.__getitem__)
    return differences[worst], worst + 1, differences[0]


def check_whole(failures, recipe, start, data, runs, options):
    """PyTorch on its own, from the start to the end."""
    losses = {run: losses_of_run(run) for run in runs}
    steps = len(losses[runs[0]])
    failures.check(steps > 1 and all(len(l) == steps for l in losses.values()),
                   "runs of %s steps" % [len(l) for l in losses.values()])
    exact = Training(recipe, start, data, torch.float64).losses(steps)
    print("PyTorch float64: loss %.6f at step 1, %.6f at step %d" % (exact[0], exact[-1], steps))
    if options.float32:
        rough = Training(recipe, start, data, torch.float32).losses(steps)
        print("PyTorch float32: off by %.1e at most (step %d), %.1e at step 1"
              % spread(rough, exact))
    for run in runs:
        error, where, at_first = spread(losses[run], exact)
        print("%s: off by %.1e at most (step %d of %d), %.1e at step 1%s"
              % (pathlib.Path(run).name, error, where, steps, at_first,
                 " (not judged)" if options.kinks else ""))
        failures.check(at_first <= LOSS_TOLERANCE / 10, "%s: loss of step 1" % run)
        failures.check(options.kinks or error <= LOSS_TOLERANCE,
                       "%s: loss of step %d is %.8f, PyTorch's %.8f"
                       % (run, where, losses[run][where - 1], exact[where - 1]))


def last_checkpoint(run):
    return h5py.File(pathlib.Path(run) / "checkpoints" / "last.h5")


def check_pieces(failures, recipe, start, data, runs):
    """PyTorch through each piece, from the weights, slots and state before it."""
    training = Training(recipe, start, data, torch.float64)
    worst, worst_step = 0, 0
    for before, run in zip(runs, runs[1:]):
        with last_checkpoint(before) as checkpoint:
            begin = training.take_up(checkpoint)
        losses = losses_of_run(run)
        failures.check(losses, "%s has no steps" % run)
        error, where, _ = spread(losses, training.losses(len(losses), begin))
        if error >= worst:
            worst, worst_step = error, begin + where
    print("%d pieces: off by %.1e at most (step %d)" % (len(runs), worst, worst_step))
    failures.check(worst <= LOSS_TOLERANCE, "pieces: loss of step %d" % worst_step)


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("start")
    parser.add_argument("data")
    parser.add_argument("--pieces", nargs="+", required=True)
    parser.add_argument("--whole", nargs="+", required=True)
    parser.add_argument("--kinks", action="store_true")
    parser.add_argument("--float32", action="store_true")
    options = parser.parse_args()
    failures = Failures()
    with h5py.File(options.start) as start, h5py.File(options.data) as data:
        text = start.attrs["recipe"]
        recipe = yaml.safe_load(text.decode() if isinstance(text, bytes) else text)
        with last_checkpoint(options.pieces[0]) as after:
            check_step_one(failures, recipe, start, data, after, options.kinks)
        check_pieces(failures, recipe, start, data, options.pieces)
        check_whole(failures, recipe, start, data, options.whole, options)
    sys.exit(1 if failures.count else 0)


main()
