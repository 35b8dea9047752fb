"""F1 of predicted class indices, by class and as the mean over classes.

Needs numpy only, so that `tests.py` can test what calls it.
"""

import numpy as np

from .text import LABELS


def class_f1(found: np.ndarray, truth: np.ndarray, weight: np.ndarray | float = 1.0) -> dict[int, float]:
    """Returns the F1 (0 to 1) of each class that occurs in the truth, by class index.

    `weight` says how often each row counts.
    """
    table = np.zeros((len(LABELS), len(LABELS)))
    np.add.at(table, (truth, found), weight)
    return {c: float(2 * table[c, c] / (table[c].sum() + table[:, c].sum()))
            for c in range(len(LABELS)) if table[c].sum()}


def macro_f1(found: np.ndarray, truth: np.ndarray, weight: np.ndarray | float = 1.0) -> float:
    """Returns the mean F1 over the classes in the truth; a prediction may be any of the eight."""
    return float(np.mean(list(class_f1(found, truth, weight).values())))


def alike(truth: np.ndarray) -> np.ndarray:
    """Returns row weights `[n]` that give every class in `truth` the same total weight."""
    return 1 / np.bincount(truth, minlength=len(LABELS))[truth]
