"""Finds lines that nearly repeat other lines, by unit vectors of the base encoder.

Inputs: vectors of `base.directions`. Output: indices. Needs numpy only, so that `tests.py` can test it.
"""

import numpy as np

_BLOCK = 4096
"""Lines compared at a time; bounds the memory of the table of cosines."""


def near(lines: np.ndarray, apart: np.ndarray, least: float) -> np.ndarray:
    """Returns the sorted indices of `lines` `[n, d]` with a cosine of at least `least` to any of `apart` `[m, d]`.

    Both hold unit vectors. Without lines in `apart`, no line is near.
    """
    if not len(apart):
        return np.zeros(0, int)
    close = [(lines[at:at + _BLOCK] @ apart.T).max(1) >= least for at in range(0, len(lines), _BLOCK)]
    return np.flatnonzero(np.concatenate(close)) if close else np.zeros(0, int)
