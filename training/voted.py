"""Figures on lines labelled by reading, as `jeffrey eval real` computes them for undisputed lines.

Inputs: probabilities, and the votes of the lines. Output: macro-F1, accuracy, and how well neutral is
told from the seven emotions. Needs numpy only, so that `tests.py` can test it.
"""

import numpy as np

from .f1 import alike, macro_f1
from .text import LABELS

NEUTRAL = LABELS.index("neutral")
LOST_MAX = 0.2
"""Largest share of the emotional lines that the sweep over p(neutral) may read as neutral."""


def figures(scores: np.ndarray, votes: list[list[str]]) -> dict[str, float | int]:
    """Returns the figures of the lines whose votes all name one label.

    `scores` are probabilities `[n, 8]`, in the order of `votes`. Raises `ValueError` unless there are
    neutral and emotional lines among them.
    """
    kept, truth = undisputed(votes)
    scores = scores[kept]
    is_neutral = truth == NEUTRAL
    if is_neutral.all() or not is_neutral.any():
        raise ValueError("the figures need neutral and emotional lines")
    found = scores.argmax(1)
    return {
        "rows": len(kept),
        "macro_f1": macro_f1(found, truth),
        "accuracy": float((found == truth).mean()),
        "emotional_or_not_f1": macro_f1((found == NEUTRAL).astype(int), is_neutral.astype(int)),
        "neutral_recall": float((found[is_neutral] == NEUTRAL).mean()),
        "emotional_called_neutral": float((found[~is_neutral] == NEUTRAL).mean()),
        "neutral_recall_at_20_lost": _recall_at_lost(scores[:, NEUTRAL], is_neutral),
    }


def quality(sources: np.ndarray, truth: np.ndarray, read: list[tuple[np.ndarray, list[list[str]]]]) -> float:
    """Returns one number to choose a model by: a mean over rows with labels of people and over read lines.

    `sources` are probabilities `[n, 8]` of the first, and `truth` their classes; `read` are probabilities and votes
    by language. Half of the rows' part is the macro-F1 with the same weight for each class. Half of the lines' part
    is the macro-F1 over neutral and emotional, since the rare labels have few lines. Each language weighs as much as
    half of the rows' part.
    """
    found = sources.argmax(1)
    parts = [macro_f1(found, truth), macro_f1(found, truth, alike(truth))]
    for scores, votes in read:
        of_lines = figures(scores, votes)
        parts.append((of_lines["macro_f1"] + of_lines["emotional_or_not_f1"]) / 2)
    return float(np.mean(parts))


def undisputed(votes: list[list[str]]) -> tuple[list[int], np.ndarray]:
    """Returns the indices of the lines whose votes all name one label, and their classes `[n]`."""
    kept = [i for i, answers in enumerate(votes) if len(set(answers)) == 1 and answers[0] != "unclear"]
    return kept, np.array([LABELS.index(votes[i][0]) for i in kept], int)


def _recall_at_lost(neutral: np.ndarray, is_neutral: np.ndarray) -> float:
    """Returns the neutral recall at the lowest threshold that at most `LOST_MAX` of the emotional lines reach.

    0 if too many of these lines have the highest score.
    """
    emotional = (neutral[~is_neutral][None, :] >= np.unique(neutral)[:, None]).mean(1)
    allowed = np.unique(neutral)[emotional <= LOST_MAX]
    return float((neutral[is_neutral] >= allowed.min()).mean()) if len(allowed) else 0.0
