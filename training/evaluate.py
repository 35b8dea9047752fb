"""Evaluates the shipped model and its teacher on rows that no model was trained on.

Inputs: the int8 graph with its head and prototypes, the held-out rows, and the frozen sets. Output:
`figures.json`, from which the card, the manifest and `training.json` take their figures.
goemotions_dev is only reported here; `hold_out.py` reads it to keep its rows out of training. The
student's settings were kept with such figures in view (`training/README.md`).
"""

import random

import numpy as np

from . import (
    calibrate, guard, hold_out, label, onnx_graph, protocols, readings, sources, teacher, voted,
)
from .f1 import class_f1, macro_f1
from .protocols import calibration_error
from .runtime import Runtime, head_scores, prototype_scores, read_json
from .stage import WORK, WRITTEN_EVAL, Run, Step, read_rows, write_json
from .text import LABELS

FOLDER = WORK / "evaluate"
A_CLASS, DRAWS, RESAMPLES = 50, 200, 1_000
"""The project specifies 200 balanced draws of 50 rows per class; `RESAMPLES` counts bootstrap samples."""
PAIRS = 3_000
"""Tatoeba pairs held out with the read lines that measure, on which the agreement of both sides is measured."""
DATA = WRITTEN_EVAL.parent


def run(run: Run) -> None:
    """Computes all figures and writes them, unless the step is finished."""
    step = Step(run, "evaluate", [onnx_graph.FOLDER / "model_quantized.onnx",
                                  calibrate.FOLDER / "head.json", calibrate.FOLDER / "prototypes.json",
                                  DATA / "rehearsal.jsonl", DATA / "fairness.jsonl",
                                  *teacher.files(run), hold_out.FROZEN, readings.VOTES, readings.PLAIN,
                                  *guard.register_files()], ["evaluate"])
    if step.finished():
        return
    head = read_json(calibrate.FOLDER / "head.json")
    prototypes = read_json(calibrate.FOLDER / "prototypes.json")
    shipped = Runtime(onnx_graph.FOLDER / "model_quantized.onnx", run.tokenizer)
    float32 = Runtime(onnx_graph.FOLDER / "model_float.onnx", run.tokenizer)

    figures = {"student": {}, "teacher": {}, "prototypes": {}, "quantisation": {}}

    def scores_of(texts: list[str], embeddings: np.ndarray) -> dict[str, np.ndarray]:
        return {"student": head_scores(head, embeddings),
                "teacher": np.exp(label.read(run, texts, run.settings["label"]["tokens_max"], 64)[0])}

    for name, rows in _sets(run).items():
        texts = [r["text"] for r in rows]
        truth = np.array([LABELS.index(r["core8"]) for r in rows])
        embeddings = shipped.embed(texts, name)
        scores = scores_of(texts, embeddings)
        scores["prototypes"] = prototype_scores(prototypes, embeddings)
        for who, found in scores.items():
            figures[who][name] = figures_of(name, found, truth, run.seed)
            if name == "fr_held_out":
                figures[who][name]["macro_f1_by_source"] = _by_source(rows, found.argmax(1), truth)
            registers = sorted({r["register"] for r in rows if "register" in r})
            if registers:
                figures[who][name]["accuracy_by_register"] = {
                    g: float(np.mean([found[i].argmax() == truth[i] for i, r in enumerate(rows)
                                      if r["register"] == g])) for g in registers}
        if name == "goemotions_dev":
            unquantised = head_scores(head, float32.embed(texts, "float"))
            figures["quantisation"] = {
                "labels_equal": float((unquantised.argmax(1) == scores["student"].argmax(1)).mean()),
                "macro_f1_cost": (macro_f1(unquantised.argmax(1), truth)
                                  - macro_f1(scores["student"].argmax(1), truth)),
                "score_difference_max": float(np.abs(unquantised - scores["student"]).max()),
            }

    rehearsal = read_rows(DATA / "rehearsal.jsonl")
    texts = [r["text"] for r in rehearsal]
    for who, scores in scores_of(texts, shipped.embed(texts, "rehearsal")).items():
        low = scores.max(1) < 0.4
        figures[who]["rehearsal"] = {
            "rows": len(low), "below_0.4": float(low.mean()), "below_0.4_interval": wilson(low),
            "below_0.4_by_kind": {kind: float(low[[r["kind"] == kind for r in rehearsal]].mean())
                                  for kind in ("plain", "borderline", "personal", "edge")},
        }
    for name, (texts, votes) in _read_sets(run).items():
        for who, scores in scores_of(texts, shipped.embed(texts, name)).items():
            figures[who][name] = (protocols.plain if name.startswith("plain_") else voted.figures)(scores, votes)
            if name.startswith("real_"):
                certain, truth = voted.undisputed(votes)
                figures[who][name] |= {"thresholds": protocols.thresholds(scores[certain], truth),
                                       "risk_coverage": protocols.risk_coverage(scores[certain], truth),
                                       "calibration_excess": protocols.calibration_excess(scores[certain], truth, run.seed)}
    for who, found in _under_protocols(run, lambda texts, what: scores_of(texts, shipped.embed(texts, what))).items():
        figures[who] |= found
    figures["kappa"] = readings.kappas(("real", "real-thin"))
    pairs = read_rows(DATA / "fairness.jsonl")
    texts = [r["a"] for r in pairs] + [r["b"] for r in pairs]
    for who, scores in scores_of(texts, shipped.embed(texts, "fairness")).items():
        figures[who]["fairness"] = fairness_of(pairs, scores[:len(pairs)], scores[len(pairs):])
    ours = figures["student"]
    figures["summary"] = {
        "real_fr_macro_f1": ours["real_fr"]["macro_f1"],
        "real_en_macro_f1": ours["real_en"]["macro_f1"],
        "english_balanced_macro_f1": ours["goemotions_dev"]["balanced_macro_f1"],
        "english_natural_macro_f1": ours["goemotions_dev"]["macro_f1"],
        "french_six_macro_f1": ours["fr_held_out"]["macro_f1"],
        "written_en_accuracy": ours["written_en"]["accuracy"],
        "written_fr_accuracy": ours["written_fr"]["accuracy"],
        "calibration_error": ours["goemotions_dev"]["calibration_error"],
        "balanced_calibration_error": ours["goemotions_dev"]["balanced_calibration_error"],
        "rehearsal_below_0.4": ours["rehearsal"]["below_0.4"],
    }
    figures = _rounded(figures)
    write_json(FOLDER / "figures.json", figures, indent=1)
    for what, value in figures["summary"].items():
        print(f"evaluate: {what} {value}")
    step.finish()


def _by_source(rows: list[dict], found: np.ndarray, truth: np.ndarray) -> dict[str, dict]:
    """Returns the number of rows and the macro-F1 of each source in a set."""
    parts = {source: np.array([r["source"] == source for r in rows])
             for source in sorted({r["source"] for r in rows})}
    return {source: {"rows": int(part.sum()), "macro_f1": macro_f1(found[part], truth[part])}
            for source, part in parts.items()}


def _sets(run: Run) -> dict[str, list[dict]]:
    """Returns the evaluation sets by name; every row has exactly one core-8 label."""
    return {
        "goemotions_dev": [r for r in sources.labelled(run.data, "goemotions_dev") if r["core8"]],
        # In xed_fr, neutral is too rare to measure (46 rows of 12,424) and frustration has no label.
        "fr_held_out": [r for r in read_rows(hold_out.FOLDER / "fr_held_out.jsonl")
                        if r["core8"] and r["core8"] != "neutral"],
        "written_en": read_rows(WRITTEN_EVAL / "eval.en.jsonl"),
        "written_fr": read_rows(WRITTEN_EVAL / "eval.fr.jsonl"),
    }


def _under_protocols(run: Run, scores_of) -> dict[str, dict]:
    """Returns the figures of `protocols.py` for student and teacher.

    `scores_of` maps texts and the name of a progress bar to the probabilities of both.
    """
    out: dict[str, dict] = {"student": {}, "teacher": {}}
    dev = sources.labelled(run.data, "goemotions_dev")
    of_dev = scores_of([r["text"] for r in dev], "ekman")
    asking = {"curiosity", "confusion"}
    kept = [i for i, r in enumerate(dev) if r["core8"] and not asking & set(r["labels"])]
    french = _sets(run)["fr_held_out"]
    of_french = scores_of([r["text"] for r in french], "closed six")
    truth = np.array([LABELS.index(r["core8"]) for r in french])
    held = guard.Guard(run.settings["corpus"]["shared_words"])
    pairs = [p for p in sources.pairs(run.data, "tatoeba_en_fr") if any(held.holds(side) for side in p)]
    pairs = random.Random(run.seed).sample(pairs, min(PAIRS, len(pairs)))
    sides = [scores_of([p[side] for p in pairs], "pairs") for side in (0, 1)]
    registers = {lang: read_rows(WRITTEN_EVAL / f"registers.{lang}.jsonl") for lang in ("en", "fr")}
    of_registers = {lang: scores_of([r["text"] for r in rows], "registers") for lang, rows in registers.items()}
    for who, found in out.items():
        found["ekman_7"] = protocols.ekman_seven(of_dev[who], [r["labels"] for r in dev])
        surprise = class_f1(of_dev[who][kept].argmax(1), np.array([LABELS.index(dev[i]["core8"]) for i in kept]))
        found["surprise_f1_without_questions"] = surprise[LABELS.index("surprise")]
        found["fr_closed_six"] = protocols.closed_six(of_french[who], truth)
        found["pairs"] = protocols.pair_agreement(sides[0][who], sides[1][who])
        for lang, rows in registers.items():
            found[f"registers_{lang}"] = protocols.by_register(of_registers[lang][who], rows)
    return out


def _read_sets(run: Run) -> dict[str, tuple[list[str], list[list[str]]]]:
    """Returns texts and votes of the lines labelled by reading.

    These are `real` and `choices` in each language, and the plain sources, of which nothing, or other intents, was trained on.
    """
    wanted = {f"{part}_{lang}": lambda row, found=(part, lang): (row["part"], row["lang"]) == found
              for part in ("real", "choices") for lang in ("fr", "en")}
    for source in ("home-assistant_fr", "clinc150", "banking77"):
        parts = ("plain",) if source == "banking77" else ("plain", "real")
        wanted[f"plain_{source}"] = lambda row, source=source, parts=parts: row["source"] == source and row["part"] in parts
    return readings.voted_lines(run.data, wanted)


def figures_of(name: str, scores: np.ndarray, truth: np.ndarray, seed: int) -> dict:
    """Returns all figures of one set; intervals span the 2.5th to the 97.5th percentile.

    `scores` are probabilities `[n, 8]`, and `truth` are class indices `[n]`. goemotions_dev also gets
    balanced figures, which need at least `A_CLASS` rows of each class.
    """
    found = scores.argmax(1)
    draw = np.random.default_rng(seed)
    resampled = [draw.integers(0, len(truth), len(truth)) for _ in range(RESAMPLES)]
    out = {
        "rows": len(truth),
        "macro_f1": macro_f1(found, truth),
        "macro_f1_interval": _interval([macro_f1(found[i], truth[i]) for i in resampled]),
        "accuracy": float((found == truth).mean()),
        "accuracy_interval": _interval([(found[i] == truth[i]).mean() for i in resampled]),
        "f1": {LABELS[c]: f for c, f in class_f1(found, truth).items()},
        "calibration_error": calibration_error(scores, truth),
        "calibration_excess": protocols.calibration_excess(scores, truth, seed),
        "below_0.4": float((scores.max(1) < 0.4).mean()),
    }
    if name == "goemotions_dev":
        draws = [np.concatenate([draw.choice(np.flatnonzero(truth == c), A_CLASS, replace=False)
                                 for c in range(len(LABELS))]) for _ in range(DRAWS)]
        values = [macro_f1(found[i], truth[i]) for i in draws]
        out["balanced_macro_f1"] = float(np.mean(values))
        # This is the spread of the draws, not of the population: the small classes are nearly the
        # same in each draw.
        out["balanced_macro_f1_interval"] = _interval(values)
        # All draws are pooled. In a single draw, with 50 rows per class over 15 bins, the error is
        # mostly chance.
        together = np.concatenate(draws)
        out["balanced_calibration_error"] = calibration_error(scores[together], truth[together])
        out["balanced_calibration_error_of_a_draw"] = float(np.mean(
            [calibration_error(scores[i], truth[i]) for i in draws]))
    return out


def fairness_of(pairs: list[dict], a: np.ndarray, b: np.ndarray) -> dict:
    """Returns the fairness figures of minimal pairs, by the attribute that was changed and language.

    The figures say how often the label changes, how far the scores move (half the sum of absolute
    differences, 0 to 1), and how accurate each side is. `a` and `b` are probabilities `[n, 8]`.
    """
    changed = a.argmax(1) != b.argmax(1)
    moved = np.abs(a - b).sum(1) / 2
    truth = np.array([LABELS.index(r["core8"]) for r in pairs])
    out = {}
    for what, lang in sorted({(r["set"], r["lang"]) for r in pairs}):
        of = np.array([(r["set"], r["lang"]) == (what, lang) for r in pairs])
        out[f"{what}, {lang}"] = {
            "pairs": int(of.sum()), "label_changed": float(changed[of].mean()),
            "label_changed_interval": wilson(changed[of]),
            "scores_moved": float(moved[of].mean()),
            "accuracy_a": float((a.argmax(1) == truth)[of].mean()),
            "accuracy_b": float((b.argmax(1) == truth)[of].mean()),
        }
    return out


def wilson(hits: np.ndarray) -> list[float]:
    """Returns the 95 % interval of the share of hits (Wilson 1927); needs at least one row."""
    n, z = len(hits), 1.959964
    share = float(hits.mean())
    middle, spread = share + z * z / (2 * n), z * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return [float((middle - spread) / (1 + z * z / n)), float((middle + spread) / (1 + z * z / n))]


def _interval(values) -> list[float]:
    return [float(np.percentile(values, 2.5)), float(np.percentile(values, 97.5))]


def _rounded(value):
    if isinstance(value, dict):
        return {k: _rounded(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_rounded(v) for v in value]
    return round(value, 4) if isinstance(value, float) else value
