"""Figures under protocols besides macro-F1 over the eight labels.

Inputs: probabilities `[n, 8]` and labels. Outputs: plain dicts. Needs numpy only, so that `tests.py` can test it.
"""

import numpy as np

from .f1 import macro_f1
from .text import LABELS
from .voted import NEUTRAL, undisputed

BINS = 15
"""Bins of the calibration error, as in Guo et al. 2017."""
SIX = ("joy", "sadness", "anger", "fear", "surprise", "disgust")

_EKMAN = {
    "anger": "anger annoyance disapproval",
    "disgust": "disgust",
    "fear": "fear nervousness",
    "joy": "joy amusement approval excitement gratitude love optimism relief pride admiration desire caring",
    "sadness": "sadness disappointment embarrassment grief remorse",
    "surprise": "surprise realization confusion curiosity",
    "neutral": "neutral",
}
EKMAN = {own: ekman for ekman, names in _EKMAN.items() for own in names.split()}
"""Ekman class of each GoEmotions label (Demszky et al. 2020, appendix)."""


def ekman_seven(scores: np.ndarray, labels: list[list[str]]) -> dict:
    """Returns the macro-F1 over seven classes; frustration counts as anger.

    `labels` are the GoEmotions labels of each row; rows that span two Ekman classes, or have none, are left out.
    """
    classes = list(_EKMAN)
    of_rows = [{EKMAN[label] for label in own if label in EKMAN} for own in labels]
    kept = [i for i, own in enumerate(of_rows) if len(own) == 1]
    truth = np.array([classes.index(next(iter(of_rows[i]))) for i in kept])
    seven = np.stack([scores[kept, LABELS.index(name)] for name in classes], 1)
    seven[:, classes.index("anger")] += scores[kept, LABELS.index("frustration")]
    return {"rows": len(kept), "macro_f1": macro_f1(seven.argmax(1), truth)}


def closed_six(scores: np.ndarray, truth: np.ndarray) -> float:
    """Returns the macro-F1 when only the six classes of XED can be the answer; `truth` are class indices of these."""
    six = [LABELS.index(name) for name in SIX]
    return macro_f1(np.array(six)[scores[:, six].argmax(1)], truth)


def pair_agreement(english: np.ndarray, french: np.ndarray) -> dict:
    """Returns the share of pairs whose sides get one label, of all and of those with a side that is not neutral."""
    one, other = english.argmax(1), french.argmax(1)
    same, emotional = one == other, (one != NEUTRAL) | (other != NEUTRAL)
    return {"pairs": len(same), "same_label": float(same.mean()), "emotional_pairs": int(emotional.sum()),
            "same_label_of_emotional": float(same[emotional].mean()) if emotional.any() else None}


def by_register(scores: np.ndarray, rows: list[dict]) -> dict[str, float]:
    """Returns the accuracy of each register; a row with `either` counts as right with each label that it names."""
    right: dict[str, list[bool]] = {}
    for row, label in zip(rows, scores.argmax(1)):
        right.setdefault(row["register"], []).append(LABELS[label] in (row.get("either") or [row["core8"]]))
    return {register: float(np.mean(found)) for register, found in sorted(right.items())}


def thresholds(scores: np.ndarray, truth: np.ndarray, precision: float = 0.8) -> dict[str, dict | None]:
    """Returns, for each label, the lowest confidence from which on at least `precision` of its predictions are right.

    With it come the predictions above it, and the share of the label's rows that they find. `None` if no confidence
    with at least 20 predictions reaches the precision.
    """
    found, confidence = scores.argmax(1), scores.max(1)
    out: dict[str, dict | None] = {}
    for c, name in enumerate(LABELS):
        of = np.flatnonzero(found == c)
        of = of[np.argsort(-confidence[of], kind="stable")]
        right = np.cumsum(truth[of] == c)
        enough = [i for i in range(19, len(of)) if right[i] >= precision * (i + 1)]
        out[name] = None if not enough else {
            "threshold": float(confidence[of[enough[-1]]]), "predictions": enough[-1] + 1,
            "found": float(right[enough[-1]] / max(1, (truth == c).sum()))}
    return out


def calibration_error(scores: np.ndarray, truth: np.ndarray, weight: np.ndarray | None = None) -> float:
    """Returns the expected calibration error, 0 to 1, over `BINS` bins of equal width.

    The source is Guo et al. 2017, "On Calibration of Modern Neural Networks". `scores` are
    probabilities `[n, 8]`, and `truth` are class indices `[n]`. `weight` `[n]` says how often each
    row counts; without it, each row counts once.
    """
    weight = np.full(len(truth), 1 / len(truth)) if weight is None else weight / weight.sum()
    confidence, right = scores.max(1), scores.argmax(1) == truth
    place = np.minimum((confidence * BINS).astype(int), BINS - 1)
    gap = np.bincount(place, weight * (right - confidence), minlength=BINS)
    return float(np.abs(gap).sum())


def calibration_excess(scores: np.ndarray, truth: np.ndarray, seed: int, draws: int = 200) -> float:
    """Returns the calibration error less the mean error of a calibrated model with the same confidences.

    That model is right with the probability that its confidence names. On few rows even its error is above 0.
    """
    draw = np.random.default_rng(seed)
    confidence = scores.max(1)
    other = (scores.argmax(1) + 1) % len(LABELS)
    expected = [calibration_error(scores, np.where(draw.random(len(truth)) < confidence, scores.argmax(1), other))
                for _ in range(draws)]
    return calibration_error(scores, truth) - float(np.mean(expected))


def risk_coverage(scores: np.ndarray, truth: np.ndarray) -> list[dict]:
    """Returns the error of the most confident part of the rows, for each tenth of coverage (El-Yaniv and Wiener 2010)."""
    wrong = (scores.argmax(1) != truth)[np.argsort(-scores.max(1), kind="stable")]
    counts = [max(1, round(tenth / 10 * len(wrong))) for tenth in range(1, 11)]
    return [{"coverage": tenth / 10, "error": float(wrong[:count].mean())} for tenth, count in enumerate(counts, 1)]


def plain(scores: np.ndarray, votes: list[list[str]]) -> dict:
    """Returns how plain lines are read: neutral ones called an emotion, and emotional ones called any emotion.

    Counts the lines whose votes all name one label. The second share is `None` without emotional lines.
    """
    kept, truth = undisputed(votes)
    is_neutral = truth == NEUTRAL
    called = scores[kept].argmax(1) != NEUTRAL
    return {"neutral": int(is_neutral.sum()), "neutral_called_emotional": float(called[is_neutral].mean()),
            "emotional": int((~is_neutral).sum()),
            "emotional_found": float(called[~is_neutral].mean()) if (~is_neutral).any() else None}
