"""Groups rows of similar length into batches; the same seed gives the same batches.

Inputs: lengths in tokens. Outputs: lists of row indices, and padded tensors. Rows of similar length
need little padding, which saves most of the arithmetic that padding would waste.
"""

import random

import torch

from .device import DEVICE

PAD_ID = 1
"""Id of `<pad>` in the base tokenizer."""

# Rows are sorted only within this many batches, so that each epoch groups different rows.
_BATCHES_SORTED_TOGETHER = 40


def shuffled(lengths: list[int], batch: int, seed: int) -> list[list[int]]:
    """Returns the indices of all rows in batches of similar length, in random order."""
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
    """Returns the indices of all rows in batches from short to long, for inference only."""
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    return [order[i:i + batch] for i in range(0, len(order), batch)]


def pad(ids: list[list[int]]) -> torch.Tensor:
    """Returns the ids as one tensor `[rows, longest]` on `DEVICE`, padded with `<pad>`."""
    longest = max(map(len, ids))
    return torch.tensor([row + [PAD_ID] * (longest - len(row)) for row in ids]).to(DEVICE)
