"""Holds rows out before any training.

Inputs: the data folder, the base encoder and the frozen written sets. Outputs:
- `choices.jsonl`: a tenth of goemotions_train, to select the student's epoch and to calibrate;
- `fr_choices.jsonl`: a part of xed_fr to choose settings by, empty unless the settings ask for it;
- `fr_held_out.jsonl`: a tenth of xed_fr, only reported;
- `hashes.txt`: the sorted hashes of these rows, their twins and goemotions_dev, against which every
  later training step checks its rows;
- the directions of XED's lines (`base.py`).

XED's French lines are translations of its English lines and carry the same labels, so a French row
is held out together with its twins. The file of pairs names twins for half of the rows, and not
always correctly. So every near line that shares a label is a twin as well (`_near`). Without this, a
linear model over the base encoder has 0.03 more macro-F1 on the held-out tenth.
"""

import hashlib
import random
from pathlib import Path

import numpy as np

from . import base, sources
from .stage import RELEASE, ROOT, WORK, WRITTEN_EVAL, Run, Step, read_rows, sha256, write_rows
from .text import normalise, words

FOLDER = WORK / "hold_out"
FROZEN = ROOT / "training" / "frozen.sha256"
OF_ENGLISH, OF_FRENCH = FOLDER / "xed_en.npy", FOLDER / "xed_fr.npy"
"""`base.directions` of XED's lines `[n, 384]`, in the order of their files."""


class HeldOut(Exception):
    """A training row is held out, or shares words with a frozen sentence."""


def key(text: str) -> str:
    """Returns 16 hex digits that are the same for two spellings of one sentence.

    XED's English lines are tokenised ("lousy .") and its pairs are not, so only letters and digits
    count, in lower case. A text without letters and digits keeps its other characters.
    """
    lowered = normalise(text).lower()
    letters = "".join(c for c in lowered if c.isalnum())
    return hashlib.sha256((letters or lowered).encode()).hexdigest()[:16]


class Guard:
    """Checks texts against the held-out hashes and the word sequences of the frozen sentences."""

    def __init__(self, shared_words: int):
        self.hashes = set((FOLDER / "hashes.txt").read_text().split())
        self.shared_words = shared_words
        self.sequences = {
            s for path in frozen_files() for row in read_rows(path)
            for s in self._sequences(row["text"])
        }

    def holds(self, text: str) -> bool:
        """Returns whether this text, or its twin, is held out."""
        return key(text) in self.hashes

    def resembles_frozen(self, text: str) -> bool:
        """Returns whether this text shares `shared_words` words in a row with a frozen sentence."""
        return any(s in self.sequences for s in self._sequences(text))

    def refuse(self, texts) -> None:
        """Raises `HeldOut` if any text may not be trained on; every later training step calls this."""
        for text in texts:
            if self.holds(text) or self.resembles_frozen(text):
                raise HeldOut(f"row with key {key(text)} was set apart and may not be trained on")

    def _sequences(self, text: str) -> list[tuple[str, ...]]:
        w, n = words(text), self.shared_words
        return [tuple(w[i:i + n]) for i in range(len(w) - n + 1)]


def frozen_files() -> list[Path]:
    """Returns the written sets that no training sentence may resemble.

    Raises `FileNotFoundError` if there are fewer than three files.
    """
    found = sorted(WRITTEN_EVAL.glob("eval.*.jsonl")) + sorted(RELEASE.glob("*.jsonl"))
    if len(found) < 3:
        raise FileNotFoundError("tests/data/written/eval.{en,fr}.jsonl and tests/data/release/ are needed")
    return found


def check_frozen() -> None:
    """Raises `ValueError` if a file that `training/frozen.sha256` lists has changed."""
    for line in FROZEN.read_text().splitlines():
        digest, name = line.split()
        if sha256(ROOT / name) != digest:
            raise ValueError(f"{name} differs from its frozen hash in training/frozen.sha256")


def run(run: Run) -> None:
    """Draws the held-out parts and writes them with the hashes, unless the step is finished."""
    step = Step(run, "hold_out", [*sources.files(run.data), run.base / "model.safetensors"], ["hold_out"])
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
    held = {key(french[i]["text"]) for i in apart}
    # The first pass adds the twin of a held-out text, the second that twin's other translations.
    for _ in range(2):
        held |= {key(side) for pair in pairs if {key(s) for s in pair} & held for side in pair}
    held |= _near(run, french, apart)
    held |= {key(r["text"]) for r in choices}
    held |= {key(r["text"]) for r in sources.labelled(run.data, "goemotions_dev")}

    write_rows(FOLDER / "choices.jsonl", choices)
    write_rows(FOLDER / "fr_held_out.jsonl", french_held)
    write_rows(FOLDER / "fr_choices.jsonl", french_choices)
    (FOLDER / "hashes.txt").write_text("\n".join(sorted(held)) + "\n")
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
