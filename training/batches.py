"""Batches of rows of like length, the same for a seed.

Enters: lengths in tokens. Leaves: lists of row indices, and padded tensors. Short rows beside short
rows save most of the arithmetic that padding would waste.
"""

import random

import torch

from .device import DEVICE

PAD_ID = 1
"""`<pad>` of the base tokenizer."""

# Rows are sorted within so many batches only, so that what stands together changes every epoch.
_BATCHES_SORTED_TOGETHER = 40


def shuffled(lengths: list[int], batch: int, seed: int) -> list[list[int]]:
    """Indices of all rows, in batches of like length, in random order."""
    draw = random.Random(seed)
    order = list(range(len(lengths)))
    draw.shuffle(order)
    out = []
    window = batch * _BATCHES_SORTED_TOGETHER
    for start in range(0, len(order), window):
        part = sorted(order[start:start + window], key=lengths.__getitem__)
        out += [part[i:i + batch] for i in range(0, len(part), batch)]
    draw.shuffle(out)
    return out


def sorted_by_length(lengths: list[int], batch: int) -> list[list[int]]:
    """Indices of all rows from short to long: for reading, not for learning."""
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    return [order[i:i + batch] for i in range(0, len(order), batch)]


def pad(ids: list[list[int]]) -> torch.Tensor:
    """Ids as one tensor `[rows, longest]` on the device, filled up with `<pad>`."""
    longest = max(map(len, ids))
    return torch.tensor([row + [PAD_ID] * (longest - len(row)) for row in ids]).to(DEVICE)
