#!/usr/bin/python3
"""Step losses of sequence networks against PyTorch, from the same start weights.

usage: tests/parity/sequences.py [--cohort PROGRAM] [--steps N] [--ranks R]

Makes a small token data set, lets `cohort init` draw the weights, reads them with h5py,
trains N steps here and in Cohort (same batches, dropout off), and compares the loss of
every step: 1e-4 relative. Needs python3-torch and python3-h5py. Exit code 1 on a difference.
"""
import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

import h5py
import numpy as np
import torch
import torch.nn.functional as F

ROOT = pathlib.Path(__file__).resolve().parents[2]
VOCABULARY, BATCH, TIME = 200, 16, 40
TOLERANCE = 1e-4

BILSTM = """
  - embedding: {units: 32, mask: %s}
  - lstm: {units: 32, bidirectional: true}
  - dense: 1
loss: binary_cross_entropy
"""
GPT = """
  - embedding: 32
  - position_embedding: {init: {normal: 0.02}}
  - residual: {layers: [layer_norm, attention: {heads: 4, causal: true}]}
  - residual: {layers: [layer_norm, dense: {units: 128, activation: gelu}, dense: 32]}
  - residual: {layers: [layer_norm, attention: {heads: 4, causal: true}]}
  - residual: {layers: [layer_norm, dense: {units: 128, activation: gelu}, dense: 32]}
  - layer_norm
  - dense: {units: 200, bias: false}
loss: cross_entropy
"""


def recipe(model, steps):
    return f"""
name: parity
seed: 3
data: {{file: tokens.h5, shuffle: false}}
model:{model}
optimizer: {{type: adam, lr: 0.003, epsilon: 1.0e-7}}
train: {{epochs: 1, max_steps: {steps}, global_batch_size: {BATCH}, log_every_steps: 1}}
"""


def write_tokens(path, steps, per_position):
    rng = np.random.default_rng(1)
    count = steps * BATCH
    x = rng.integers(1, VOCABULARY, (count, TIME)).astype(np.int32)
    for row in range(count):  # padding in front, at least one token left
        x[row, : rng.integers(0, TIME)] = 0
    if per_position:
        y = np.roll(x, -1, axis=1)
    else:
        y = ((x > VOCABULARY // 2).mean(1) > 0.25).astype(np.int32)
    with h5py.File(path, "w") as file:
        file["train/x"], file["train/y"] = x, y
        file.attrs["vocabulary"] = [f"w{i}" for i in range(VOCABULARY)]
    return torch.from_numpy(x.astype(np.int64)), torch.from_numpy(y.astype(np.int64))


def load(path):
    weights = {}

    def take(name, item):
        if isinstance(item, h5py.Dataset):
            weights[name] = torch.from_numpy(item[()].astype(np.float32)).requires_grad_()

    with h5py.File(path) as file:
        file["params"].visititems(take)
    return weights


def lstm(w, name, x, mask, reverse):
    """The definition, step by step, with Keras's gate order and masking."""
    kernel, recurrent, bias = (w[f"{name}/{k}"] for k in ("kernel", "recurrent_kernel", "bias"))
    h = c = x.new_zeros(x.shape[0], recurrent.shape[0])
    z = x @ kernel + bias
    for t in reversed(range(x.shape[1])) if reverse else range(x.shape[1]):
        i, f, g, o = (z[:, t] + h @ recurrent).chunk(4, 1)
        new_c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        new_h = o.sigmoid() * new_c.tanh()
        seen = mask[:, t : t + 1]
        c, h = torch.where(seen, new_c, c), torch.where(seen, new_h, h)
    return h


def bilstm(masked):
    def forward(w, tokens):
        mask = tokens != 0 if masked else torch.ones_like(tokens, dtype=torch.bool)
        x = w["0_embedding/embeddings"][tokens]
        both = [lstm(w, f"1_lstm/{name}", x, mask, name == "backward") for name in ("forward", "backward")]
        return torch.cat(both, 1) @ w["2_dense/kernel"] + w["2_dense/bias"]

    return forward


def norm(w, name, x):
    return F.layer_norm(x, x.shape[-1:], w[f"{name}/gamma"], w[f"{name}/beta"], 1e-3)


def attention(w, name, x, heads):
    batch, time, width = x.shape
    q, k, v = (
        (x @ w[f"{name}/{p}/kernel"] + w[f"{name}/{p}/bias"]).view(batch, time, heads, -1).transpose(1, 2)
        for p in ("query", "key", "value")
    )
    hidden = torch.full((time, time), float("-inf")).triu(1)
    weights = (q @ k.transpose(-1, -2) / (width // heads) ** 0.5 + hidden).softmax(-1)
    mixed = (weights @ v).transpose(1, 2).reshape(batch, time, width)
    return mixed @ w[f"{name}/output/kernel"] + w[f"{name}/output/bias"]


def dense(w, name, x):
    return x @ w[f"{name}/kernel"] + w[f"{name}/bias"]


def gpt(w, tokens):
    x = w["0_embedding/embeddings"][tokens] + w["1_position_embedding/embeddings"]
    for block in (2, 4):
        own, next_one = f"{block}_residual", f"{block + 1}_residual"
        x = x + attention(w, f"{own}/1_attention", norm(w, f"{own}/0_layer_norm", x), 4)
        wide = F.gelu(dense(w, f"{next_one}/1_dense", norm(w, f"{next_one}/0_layer_norm", x)))
        x = x + dense(w, f"{next_one}/2_dense", wide)
    return norm(w, "6_layer_norm", x) @ w["7_dense/kernel"]


class KerasAdam:
    """Adam with epsilon outside the bias correction, which PyTorch's is not."""

    def __init__(self, weights, rate, epsilon):
        self.slots = [(w, torch.zeros_like(w), torch.zeros_like(w)) for w in weights]
        self.rate, self.epsilon, self.steps = rate, epsilon, 0

    @torch.no_grad()
    def step(self):
        self.steps += 1
        rate = self.rate * (1 - 0.999**self.steps) ** 0.5 / (1 - 0.9**self.steps)
        for w, m, v in self.slots:
            m.lerp_(w.grad, 0.1)
            v.lerp_(w.grad**2, 0.001)
            w.sub_(rate * m / (v.sqrt() + self.epsilon))
            w.grad = None


def torch_losses(forward, weights, x, y, steps):
    optimizer = KerasAdam(weights.values(), 0.003, 1e-7)
    losses = []
    for step in range(steps):
        rows = slice(step * BATCH, (step + 1) * BATCH)
        logits = forward(weights, x[rows])
        if logits.dim() == 3:
            loss = F.cross_entropy(logits.transpose(1, 2), y[rows])
        else:
            loss = F.binary_cross_entropy_with_logits(logits[:, 0], y[rows].float())
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def cohort_losses(run):
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [line["loss"] for line in lines if line["event"] == "step"]


def compare(name, model, forward, per_position, args):
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        x, y = write_tokens(folder / "tokens.h5", args.steps, per_position)
        (folder / "recipe.yaml").write_text(recipe(model, args.steps))
        subprocess.run([args.cohort, "init", folder / "recipe.yaml", "--output", folder / "start.h5"], check=True)
        train = [args.cohort, "train", folder / "recipe.yaml", "--run", folder / "run"]
        if args.ranks > 1:
            train = [ROOT / "launch/mpirun.sh", str(args.ranks), *train]
        subprocess.run(train, check=True, stdout=subprocess.DEVNULL)
        ours = cohort_losses(folder / "run")
        theirs = torch_losses(forward, load(folder / "start.h5"), x, y, args.steps)
    worst = max(abs(a - b) / abs(b) for a, b in zip(ours, theirs, strict=True))
    print(f"{name}: loss {theirs[0]:.4f} to {theirs[-1]:.4f}, worst difference {worst:.1e} in {len(ours)} steps")
    return worst <= TOLERANCE


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cohort", default=str(ROOT / "build/src/cli/cohort"))
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--ranks", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(1)
    results = [
        compare("bilstm", BILSTM % "false", bilstm(False), False, args),
        compare("bilstm, masked", BILSTM % "true", bilstm(True), False, args),
        compare("gpt", GPT, gpt, True, args),
    ]
    sys.exit(0 if all(results) else 1)


if __name__ == "__main__":
    main()
