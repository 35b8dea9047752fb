"""F1 of predicted class indices, by class and as the mean over classes.

Needs numpy only, so that `tests.py` can test what calls it.
"""

import numpy as np

from .text import LABELS


def class_f1(found: np.ndarray, truth: np.ndarray) -> dict[int, float]:
    """Returns the F1 (0 to 1) of each class that occurs in the truth, by class index."""
    table = np.zeros((len(LABELS), len(LABELS)))
    np.add.at(table, (truth, found), 1)
    return {c: float(2 * table[c, c] / (table[c].sum() + table[:, c].sum()))
            for c in range(len(LABELS)) if table[c].sum()}


def macro_f1(found: np.ndarray, truth: np.ndarray) -> float:
    """Returns the mean F1 over the classes in the truth; a prediction may be any of the eight."""
    return float(np.mean(list(class_f1(found, truth).values())))
