"""Holds rows out before any training.

Inputs: the data folder, the base encoder and the frozen written sets. Outputs:
- `choices.jsonl`: a tenth of goemotions_train, to select the student's epoch and to calibrate;
- `fr_choices.jsonl`: a part of xed_fr to choose settings by, empty unless the settings ask for it;
- `fr_held_out.jsonl`: a tenth of xed_fr, only reported;
- `hashes.txt`: the sorted hashes of these rows, the lines of `read/` that measure, the twins of both,
  and goemotions_dev, against which every later training step checks its rows;
- the directions of XED's lines (`base.py`).

XED's French lines are translations of its English lines and carry the same labels, so a French row
is held out together with its twins. The file of pairs names twins for half of the rows, and not
always correctly. So every near line that shares a label is a twin as well (`_near`). Without this, a
linear model over the base encoder has 0.03 more macro-F1 on the held-out tenth.

A line of `read/` that measures can come from any source. Its twins are its translations, their other
translations, and every line of either language that nearly repeats it (`_near_read`).
"""

import random
from pathlib import Path

import numpy as np

from . import base, guard, likeness, reading_rows, readings, sources
from .guard import key
from .stage import ROOT, WORK, WRITTEN_TRAIN, Run, Step, read_rows, sha256, write_rows
from .text import normalise

FOLDER = WORK / "hold_out"
FROZEN = ROOT / "training" / "frozen.sha256"
OF_ENGLISH, OF_FRENCH = FOLDER / "xed_en.npy", FOLDER / "xed_fr.npy"
"""`base.directions` of XED's lines `[n, 384]`, in the order of their files."""


def check_frozen() -> None:
    """Raises `ValueError` if a file that `training/frozen.sha256` lists has changed."""
    for line in FROZEN.read_text().splitlines():
        digest, name = line.split()
        if sha256(ROOT / name) != digest:
            raise ValueError(f"{name} differs from its frozen hash in training/frozen.sha256")


def run(run: Run) -> None:
    """Draws the held-out parts and writes them with the hashes, unless the step is finished."""
    step = Step(run, "hold_out", [*sources.files(run.data), run.base / "model.safetensors",
                                  readings.RANDOM, readings.THIN, *_written()], ["hold_out"])
    if step.finished():
        return
    want = run.settings["hold_out"]
    share = want["share"]
    draw = random.Random(run.seed)

    english = sources.labelled(run.data, "goemotions_train")
    choices = draw.sample(english, round(share * len(english)))

    french = sources.labelled(run.data, "xed_fr")
    order = list(range(len(french)))
    draw.shuffle(order)
    parts = (round(share * len(french)), round(want["share_fr_choices"] * len(french)))
    apart = order[:sum(parts)]
    french_held, french_choices = ([french[i] for i in part] for part in (apart[:parts[0]], apart[parts[0]:]))

    pairs = sources.pairs(run.data, "xed_pairs_en_fr")
    held = guard.with_translations({key(french[i]["text"]) for i in apart}, pairs)
    held |= _near(run, french, apart)
    held |= _read_to_measure(run, pairs + sources.pairs(run.data, "tatoeba_en_fr"))
    held |= {key(r["text"]) for r in choices}
    held |= {key(r["text"]) for r in sources.labelled(run.data, "goemotions_dev")}

    write_rows(FOLDER / "choices.jsonl", choices)
    write_rows(FOLDER / "fr_held_out.jsonl", french_held)
    write_rows(FOLDER / "fr_choices.jsonl", french_choices)
    guard.HASHES.write_text("\n".join(sorted(held)) + "\n")
    print(f"hold_out: {len(choices)} choices, {len(french_held)} French, {len(held)} hashes")
    step.finish()


def _near(run: Run, french: list[dict], apart: list[int]) -> set[str]:
    """Returns the keys of XED lines, of both languages, that may be twins of some French lines.

    `apart` holds the indices of these lines in `french`. A twin is among the `nearest` lines by the
    base encoder, has a cosine of at least `likeness_across` (English) or `likeness_within` (French),
    and shares a label. A line with a cosine of at least `likeness_close` counts whatever its label.
    The search misses a free translation that the encoder does not recognise, but a model made of
    that encoder could not learn one line from the other either. Writes `OF_FRENCH` and `OF_ENGLISH`.
    """
    want = run.settings["hold_out"]
    english = sources.labelled(run.data, "xed_en")
    of_french = base.directions(run, [r["text"] for r in french])
    of_english = base.directions(run, [r["text"] for r in english])
    np.save(OF_FRENCH, of_french)
    np.save(OF_ENGLISH, of_english)

    def twins(line: dict, rows: list[dict], likeness: np.ndarray, least: float) -> set[str]:
        nearest = np.argpartition(likeness, -want["nearest"])[-want["nearest"]:]
        found = [rows[i] for i in nearest
                 if likeness[i] >= least and set(line["labels"]) & set(rows[i]["labels"])]
        found += [rows[i] for i in np.flatnonzero(likeness >= want["likeness_close"])]
        return {key(row["text"]) for row in found}

    return {twin for i in apart
            for twin in twins(french[i], english, of_english @ of_french[i], want["likeness_across"])
            | twins(french[i], french, of_french @ of_french[i], want["likeness_within"])}


def _read_to_measure(run: Run, pairs: list[tuple[str, str]]) -> set[str]:
    """Returns the keys of the lines of `read/` that measure, and of their twins."""
    drawn = readings.drawn_lines()
    apart = reading_rows.apart_texts(drawn, readings.texts(run.data, drawn))
    own = {key(text) for texts in apart.values() for text in texts}
    translated = guard.with_translations(own, pairs)
    near = {key(text) for text in _near_read(run, apart, pairs)}
    print(f"hold_out: {len(own)} read lines to measure, {len(translated - own)} translations, "
          f"{len(near - translated)} more near lines")
    return translated | near


def _near_read(run: Run, apart: dict[str, list[str]], pairs: list[tuple[str, str]]) -> list[str]:
    """Returns the lines that training might use and that repeat or translate one of `apart`, by the encoder.

    A repetition has a cosine of at least `likeness_read`, a translation of at least
    `likeness_read_across`: the file of pairs lacks half of XED's translations.
    """
    want = run.settings["hold_out"]
    lines, of = {}, {}
    for lang, texts in apart.items():
        names = ("goemotions_train", "xed_en") if lang == "en" else ("xed_fr",)
        found = [r["text"] for name in names for r in sources.labelled(run.data, name)]
        found += [en if lang == "en" else fr for en, fr in pairs]
        found += [normalise(r["text"]) for path in _written() for r in read_rows(path) if r["lang"] == lang]
        # All are centred on one mean, so the lines to compare with go through the encoder with the others.
        lines[lang] = sorted(set(found) | set(texts))
        of[lang] = base.directions(run, lines[lang])
    near = []
    for lang, texts in apart.items():
        place = {text: number for number, text in enumerate(lines[lang])}
        measured = of[lang][[place[text] for text in texts]]
        for other in lines:
            least = want["likeness_read" if other == lang else "likeness_read_across"]
            near += [lines[other][i] for i in likeness.near(of[other], measured, least)]
    return near


def _written() -> list[Path]:
    return sorted(WRITTEN_TRAIN.glob("*.jsonl"))
