"""Fits the student's linear head, its temperature, and the class prototypes.

Inputs: the int8 graph and the head trained with it. Outputs: `head.json` and `prototypes.json`.

The head, its offset of neutral, the temperature and the prototypes' scale are chosen on two sets on which
no model was trained: a tenth of GoEmotions, and the read lines for choices. The embeddings come from the
int8 graph, so that the choice fits the shipped model. The head is the trained one or one refitted on the
embeddings. The offset is needed because the share of neutral differs between the sets and the training rows.
"""

import random

import numpy as np
from safetensors.numpy import load_file
from sklearn.linear_model import LogisticRegression

from . import corpus, hold_out, onnx_graph, readings, voted
from .f1 import alike
from .guard import Guard
from .protocols import calibration_error
from .runtime import Runtime, head_scores, prototype_scores
from .stage import WORK, Run, Step, read_rows, write_json
from .text import LABELS

FOLDER = WORK / "calibrate"
HEAD = WORK / "student" / "head.safetensors"
OFFSETS = np.arange(-10, 11) / 10
_ROWS_A_CLASS = 1_500
"""Maximum of rows per class for the refitted head and the prototypes; more rows changed neither."""


def run(run: Run) -> None:
    """Fits the head and the prototypes and writes both files, unless the step is finished."""
    step = Step(run, "calibrate", [onnx_graph.FOLDER / "model_quantized.onnx", HEAD, readings.VOTES], ["calibrate"])
    if step.finished():
        return
    runtime = Runtime(onnx_graph.FOLDER / "model_quantized.onnx", run.tokenizer)
    choices = _Choices(run, runtime)
    rows, classes = _training_rows(run)
    at_rows = runtime.embed([r["text"] for r in rows], "prototypes")

    trained = load_file(HEAD)
    heads = {"trained": head_of(trained["weight"], trained["bias"]), "refitted": _refit(at_rows, classes)}
    tried = {(name, float(offset)): choices.quality(_with_offset(head, offset))
             for name, head in heads.items() for offset in OFFSETS}
    name, offset = max(tried, key=tried.get)
    print("calibrate: quality on choices " + ", ".join(
        f"{other} head {tried[other, 0.0]:.4f}" for other in heads) + f"; {name} with neutral {offset:+.1f} {tried[name, offset]:.4f}")
    head = _with_offset(heads[name], offset)
    head["temperature"] = _digits(choices.fit(
        lambda t, embeddings: head_scores({**head, "temperature": t}, embeddings), np.arange(0.5, 3, 0.01)))

    unit = at_rows / np.linalg.norm(at_rows, axis=1, keepdims=True)
    vectors = np.stack([unit[classes == c].mean(0) for c in range(len(LABELS))])
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    prototypes = {"labels": LABELS, "dim": vectors.shape[1], "vectors": _digits(vectors)}
    prototypes["scale"] = _digits(choices.fit(
        lambda s, embeddings: prototype_scores({**prototypes, "scale": s}, embeddings), np.arange(0.5, 60, 0.25)))

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


def _with_offset(head: dict, offset: float) -> dict:
    """Returns the head with `offset` added to the bias of neutral."""
    bias = np.array(head["bias"])
    bias[voted.NEUTRAL] += offset
    return {**head, "bias": _digits(bias)}


class _Choices:
    """The embeddings and labels of the rows to choose by: `sources` by people, `read` lines by language."""

    def __init__(self, run: Run, runtime: Runtime):
        rows = [r for r in read_rows(hold_out.FOLDER / "choices.jsonl") if r["core8"]]
        self.sources = runtime.embed([r["text"] for r in rows], "choices")
        self.truth = np.array([LABELS.index(r["core8"]) for r in rows])
        self.read = []
        for lang, (texts, votes) in readings.lines_to_choose_by(run.data).items():
            self.read.append((runtime.embed(texts, f"choices {lang}"), votes))

    def quality(self, head: dict) -> float:
        """Returns `voted.quality` of a head."""
        read = [(head_scores(head, embeddings), votes) for embeddings, votes in self.read]
        return voted.quality(head_scores(head, self.sources), self.truth, read)

    def fit(self, scores_at, candidates: np.ndarray) -> float:
        """Returns the candidate with the lowest calibration error in the worst of three mixes.

        `scores_at` maps a candidate and embeddings to probabilities `[n, 8]`. The mixes are the sources' rows as they
        are, the same with equal weight for each class, and the undisputed read lines. Confidence fitted to one of them
        alone is too high where other classes are frequent.
        """
        kept = [(embeddings[lines], truth) for embeddings, votes in self.read for lines, truth in [voted.undisputed(votes)]]
        embeddings, truth = (np.concatenate(part) for part in zip(*kept))

        def worst(value: float) -> float:
            scores = scores_at(value, self.sources)
            return max(calibration_error(scores, self.truth), calibration_error(scores, self.truth, alike(self.truth)),
                       calibration_error(scores_at(value, embeddings), truth))

        return float(min(candidates, key=worst))


def _digits(value):
    """Rounds floats to seven significant digits, about the precision of an f32."""
    if isinstance(value, np.ndarray):
        return [_digits(v) for v in value.tolist()]
    if isinstance(value, list):
        return [_digits(v) for v in value]
    return float(f"{value:.7g}")
