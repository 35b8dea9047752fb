"""Fits the student's linear head, its temperature, and the class prototypes.

Inputs: the int8 graph and the head trained with it. Outputs: `head.json` and `prototypes.json`.

The temperature and the prototypes' scale are fitted on "choices", on which no model was trained.
The embeddings come from the int8 graph, so that the calibration fits the shipped model. A head
refitted on the embeddings replaces the trained one only if its macro-F1 on "choices" is higher.
"""

import random

import numpy as np
from safetensors.numpy import load_file
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score

from . import corpus, hold_out, onnx_graph
from .guard import Guard
from .runtime import Runtime, head_scores, prototype_scores
from .stage import WORK, Run, Step, read_rows, write_json
from .text import LABELS

FOLDER = WORK / "calibrate"
BINS = 15
HEAD = WORK / "student" / "head.safetensors"
_ROWS_A_CLASS = 1_500
"""Maximum of rows per class for the refitted head and the prototypes; more rows changed neither."""


def run(run: Run) -> None:
    """Fits the head and the prototypes and writes both files, unless the step is finished."""
    step = Step(run, "calibrate", [onnx_graph.FOLDER / "model_quantized.onnx", HEAD], ["calibrate"])
    if step.finished():
        return
    runtime = Runtime(onnx_graph.FOLDER / "model_quantized.onnx", run.tokenizer)
    choices = [r for r in read_rows(hold_out.FOLDER / "choices.jsonl") if r["core8"]]
    at_choices = runtime.embed([r["text"] for r in choices], "choices")
    truth = np.array([LABELS.index(r["core8"]) for r in choices])
    rows, classes = _training_rows(run)
    at_rows = runtime.embed([r["text"] for r in rows], "prototypes")

    trained = load_file(HEAD)
    head = head_of(trained["weight"], trained["bias"])
    refitted = _refit(at_rows, classes)
    before, after = (_macro_f1(h, at_choices, truth) for h in (head, refitted))
    print(f"calibrate: macro-F1 on choices, trained head {before:.4f}, refitted {after:.4f}")
    if after > before:
        head = refitted
    head["temperature"] = _digits(_fit(
        lambda t: head_scores({**head, "temperature": t}, at_choices),
        truth, np.arange(0.5, 3, 0.01)))

    unit = at_rows / np.linalg.norm(at_rows, axis=1, keepdims=True)
    vectors = np.stack([unit[classes == c].mean(0) for c in range(len(LABELS))])
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    prototypes = {"labels": LABELS, "dim": vectors.shape[1], "vectors": _digits(vectors)}
    prototypes["scale"] = _digits(_fit(
        lambda s: prototype_scores({**prototypes, "scale": s}, at_choices),
        truth, np.arange(0.5, 60, 0.25)))

    write_json(FOLDER / "head.json", head)
    write_json(FOLDER / "prototypes.json", prototypes)
    print(f"calibrate: temperature {head['temperature']}, prototype scale {prototypes['scale']}")
    step.finish()


def head_of(weight: np.ndarray, bias: np.ndarray) -> dict:
    """Returns `head.json` for weights `[8, dim]` and bias `[8]`, uncalibrated: the temperature is 1."""
    return {"labels": LABELS, "dim": weight.shape[1], "weights": _digits(weight),
            "bias": _digits(bias), "temperature": 1.0}


def _training_rows(run: Run) -> tuple[list[dict], np.ndarray]:
    """Returns single-label rows of every class, and their classes `[n]`.

    Rows written for the project come first, because their labels are clean; GoEmotions comes second.
    Raises `HeldOut` if a row may not be used for training.
    """
    rows = [r for r in read_rows(corpus.FOLDER / "rows.jsonl") if 1.0 in (r["target"] or [])]
    random.Random(run.seed + 3).shuffle(rows)
    rank = {"written": 0, "goemotions_train": 1}
    rows.sort(key=lambda r: rank.get(r["source"], 2))
    chosen = [r for c in range(len(LABELS))
              for r in [r for r in rows if r["target"][c] == 1.0][:_ROWS_A_CLASS]]
    Guard(run.settings["corpus"]["shared_words"]).refuse(r["text"] for r in chosen)
    return chosen, np.array([r["target"].index(1.0) for r in chosen])


def _refit(embeddings: np.ndarray, classes: np.ndarray) -> dict:
    spread = embeddings.std(0) + 1e-6
    model = LogisticRegression(C=0.3, max_iter=300).fit(embeddings / spread, classes)
    return head_of(model.coef_ / spread, model.intercept_)


def _macro_f1(head: dict, embeddings: np.ndarray, truth: np.ndarray) -> float:
    return f1_score(truth, head_scores(head, embeddings).argmax(1), average="macro")


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


def alike(truth: np.ndarray) -> np.ndarray:
    """Returns row weights `[n]` that give every class in `truth` the same total weight."""
    return 1 / np.bincount(truth, minlength=len(LABELS))[truth]


def _fit(scores_at, truth: np.ndarray, candidates: np.ndarray) -> float:
    """Returns the candidate with the lowest calibration error, in the worse of two class mixes.

    `scores_at` maps a candidate to probabilities `[n, 8]`. The first mix counts the rows as they are.
    The second gives every class the same weight. Confidence fitted to the first mix alone is too high
    where anger and disgust are not rare.
    """
    def worse(value: float) -> float:
        scores = scores_at(value)
        return max(calibration_error(scores, truth), calibration_error(scores, truth, alike(truth)))

    return float(min(candidates, key=worse))


def _digits(value):
    """Rounds floats to seven significant digits, about the precision of an f32."""
    if isinstance(value, np.ndarray):
        return [_digits(v) for v in value.tolist()]
    if isinstance(value, list):
        return [_digits(v) for v in value]
    return float(f"{value:.7g}")
