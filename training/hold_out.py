"""Sets rows apart before anything is trained.

Enters: the data folder and the frozen written sets. Leaves: `choices.jsonl` (a tenth of
goemotions_train: early stopping, calibration), `fr_choices.jsonl` (what is set apart of xed_fr to
choose settings by; none unless asked for), `fr_held_out.jsonl` (a tenth of xed_fr, only reported) and a sorted list of hashes that every
later step checks its rows against.

XED's French lines are translations of its English lines, so a French row is held out together with
every English line and pair that holds it or its twin. The tenth is drawn among French rows whose
twin is known: for the others nobody could say that the twin is gone.
"""

import hashlib
import random
import re
from pathlib import Path

from . import sources
from .stage import RELEASE, ROOT, WORK, WRITTEN_EVAL, Run, Step, read_rows, sha256, write_rows
from .text import normalise, words

FOLDER = WORK / "hold_out"
FROZEN = ROOT / "training" / "frozen.sha256"
_PLACEHOLDER = re.compile(r"\[[A-Z_]+\]")


class HeldOut(Exception):
    """A training row is one of the rows set apart."""


def key(text: str) -> str:
    """Hash under which two writings of one sentence meet.

    XED's English lines are tokenised ("lousy .") and its pairs are not, so only letters and digits
    count; a text without any keeps its signs.
    """
    lowered = normalise(text).lower()
    letters = "".join(c for c in lowered if c.isalnum())
    return hashlib.sha256((letters or lowered).encode()).hexdigest()[:16]


class Guard:
    """The held-out hashes and the word sequences of the frozen written sentences."""

    def __init__(self, shared_words: int):
        self.hashes = set((FOLDER / "hashes.txt").read_text().split())
        self.shared_words = shared_words
        self.sequences = {
            s for path in frozen_files() for row in read_rows(path)
            for s in self._sequences(row["text"])
        }

    def holds(self, text: str) -> bool:
        """Whether this text, or its twin, was set apart."""
        return key(text) in self.hashes

    def resembles_frozen(self, text: str) -> bool:
        """Whether this text shares its words, so many in a row, with a frozen sentence."""
        return any(s in self.sequences for s in self._sequences(text))

    def refuse(self, texts) -> None:
        """Raise if any text may not be trained on: the check of every step after the corpus."""
        for text in texts:
            if self.holds(text) or self.resembles_frozen(text):
                raise HeldOut(f"row with key {key(text)} was set apart and may not be trained on")

    def _sequences(self, text: str) -> list[tuple[str, ...]]:
        w, n = words(text), self.shared_words
        return [tuple(w[i:i + n]) for i in range(len(w) - n + 1)]


def frozen_files() -> list[Path]:
    """The written sets that no training sentence may resemble."""
    found = sorted(WRITTEN_EVAL.glob("eval.*.jsonl")) + sorted(RELEASE.glob("*.jsonl"))
    if len(found) < 3:
        raise FileNotFoundError("tests/data/written/eval.{en,fr}.jsonl and tests/data/release/ are needed")
    return found


def check_frozen() -> None:
    """Refuse to go on when a written evaluation file is not the one that was frozen."""
    for line in FROZEN.read_text().splitlines():
        digest, name = line.split()
        if sha256(ROOT / name) != digest:
            raise ValueError(f"{name} differs from its frozen hash in training/frozen.sha256")


def run(run: Run) -> None:
    """Draw the held-out parts and write them with the hashes."""
    step = Step(run, "hold_out", sources.files(run.data), ["hold_out"])
    if step.finished():
        return
    share = run.settings["hold_out"]["share"]
    draw = random.Random(run.seed)

    english = sources.labelled(run.data, "goemotions_train")
    choices = draw.sample(english, round(share * len(english)))

    french = sources.labelled(run.data, "xed_fr")
    pairs = sources.pairs(run.data, "xed_pairs_en_fr")
    paired = {key(fr) for _, fr in pairs}
    french_held = draw.sample([r for r in french if key(r["text"]) in paired],
                              round(share * len(french)))

    known = {key(r["text"]) for r in french_held}
    rest = [r for r in french if key(r["text"]) in paired - known]
    french_choices = draw.sample(rest, round(run.settings["hold_out"]["share_fr_choices"] * len(french)))

    held = known | {key(r["text"]) for r in french_choices}
    # Twice: the English twin of a held text, then that twin's other translations.
    for _ in range(2):
        held |= {key(side) for pair in pairs if {key(s) for s in pair} & held for side in pair}
    held |= _lines_with_names_hidden(
        [en for en, _ in pairs if key(en) in held], sources.labelled(run.data, "xed_en"))
    held |= {key(r["text"]) for r in choices}
    held |= {key(r["text"]) for r in sources.labelled(run.data, "goemotions_dev")}

    write_rows(FOLDER / "choices.jsonl", choices)
    write_rows(FOLDER / "fr_held_out.jsonl", french_held)
    write_rows(FOLDER / "fr_choices.jsonl", french_choices)
    (FOLDER / "hashes.txt").write_text("\n".join(sorted(held)) + "\n")
    print(f"hold_out: {len(choices)} choices, {len(french_held)} French, {len(held)} hashes")
    step.finish()


def _lines_with_names_hidden(twins: list[str], lines: list[dict]) -> set[str]:
    """Keys of XED lines that equal a twin but for a name replaced by `[PERSON]` or the like."""
    def letters(text: str) -> str:
        return "".join(c for c in text.lower() if c.isalnum())

    plain = [letters(t) for t in twins]
    found = set()
    for row in lines:
        parts = [letters(p) for p in _PLACEHOLDER.split(row["text"])]
        # A line of hardly more than a name would match anything.
        if len(parts) < 2 or sum(map(len, parts)) < 6:
            continue
        pattern = re.compile(".+".join(map(re.escape, parts)))
        if any(pattern.fullmatch(p) for p in plain):
            found.add(key(row["text"]))
    return found
