#!/usr/bin/env python3
"""Writes the small data sets of the parity tests: a train split and nothing else.

usage: parity_data.py rows FILE.h5 COUNT OUT.h5             the first rows of a data set
       parity_data.py images COUNT OUT.h5                   colour images, ten classes
       parity_data.py reviews COUNT LENGTH VOCABULARY OUT.h5  padded texts, two classes
       parity_data.py text COUNT LENGTH VOCABULARY OUT.h5     a text and the same one token on
"""
import sys

import h5py
import numpy as np


def write(path, x, y):
    with h5py.File(path, "w") as out:
        out["train/x"], out["train/y"] = x, y


def rows(source, count, path):
    with h5py.File(source) as data:
        write(path, data["train/x"][:int(count)], data["train/y"][:int(count)])


def images(count, path):
    """A pattern per class under noise."""
    rng = np.random.default_rng(1)
    y = rng.integers(0, 10, int(count))
    patterns = rng.integers(0, 128, (10, 32, 32, 3))
    x = patterns[y] + rng.integers(0, 128, (len(y), 32, 32, 3))
    write(path, x.astype(np.uint8), y.astype(np.uint8))


def reviews(count, length, vocabulary, path):
    """Tokens of which the lower half is likelier in class 0; padded behind or, every other
    one, in front, and here and there within, which a mask has to skip too."""
    rng = np.random.default_rng(2)
    count, length, vocabulary = int(count), int(length), int(vocabulary)
    y = rng.integers(0, 2, count)
    half = vocabulary // 2
    low = rng.random((count, length)) < np.where(y == 0, 0.65, 0.35)[:, None]
    x = np.where(low, rng.integers(1, half, (count, length)),
                 rng.integers(half, vocabulary, (count, length)))
    x[:, 1:][rng.random((count, length - 1)) < 0.05] = 0
    x[np.arange(length)[None, :] >= rng.integers(3, length + 1, count)[:, None]] = 0
    x[::2] = x[::2, ::-1]
    write(path, x.astype(np.int32), y.astype(np.int32))


def text(count, length, vocabulary, path):
    """A chain in which three tokens may follow each."""
    rng = np.random.default_rng(3)
    count, length, vocabulary = int(count), int(length), int(vocabulary)
    followers = rng.integers(0, vocabulary, (vocabulary, 3))
    chain = np.zeros(count * length + 1, np.int32)
    for i, choice in enumerate(rng.integers(0, 3, count * length)):
        chain[i + 1] = followers[chain[i], choice]
    write(path, chain[:-1].reshape(count, length), chain[1:].reshape(count, length))


kinds = {"rows": rows, "images": images, "reviews": reviews, "text": text}
try:
    kinds[sys.argv[1]](*sys.argv[2:])
except (KeyError, IndexError, TypeError):
    sys.exit(__doc__)
