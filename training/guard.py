"""Keeps texts that measure a model out of its training.

Inputs: the hashes that `hold_out.py` writes, the frozen sentences, and texts. Outputs: whether a text
may be trained on. Needs no package but the tokenizer's, so that `tests.py` can test it.
"""

import hashlib
from pathlib import Path

from .stage import RELEASE, WORK, WRITTEN_EVAL, read_rows
from .text import normalise, words

HASHES = WORK / "hold_out" / "hashes.txt"
"""The sorted keys of all texts that no training may see."""


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
        self.hashes = set(HASHES.read_text().split())
        self.frozen = Sequences(shared_words, frozen_files())

    def holds(self, text: str) -> bool:
        """Returns whether this text, or its twin, is held out."""
        return key(text) in self.hashes

    def resembles_frozen(self, text: str) -> bool:
        """Returns whether this text shares `shared_words` words in a row with a frozen sentence."""
        return self.frozen.shares(text)

    def refuse(self, texts) -> None:
        """Raises `HeldOut` if any text may not be trained on; every later training step calls this."""
        for text in texts:
            if self.holds(text) or self.resembles_frozen(text):
                raise HeldOut(f"row with key {key(text)} was set apart and may not be trained on")


class Sequences:
    """All runs of `length` words in a row of the sentences in some files."""

    def __init__(self, length: int, files: list[Path]):
        self.length = length
        self.found = {s for path in files for row in read_rows(path) for s in self._of(row["text"])}

    def shares(self, text: str) -> bool:
        """Returns whether the text has one of the runs."""
        return any(s in self.found for s in self._of(text))

    def _of(self, text: str) -> list[tuple[str, ...]]:
        w, n = words(text), self.length
        return [tuple(w[i:i + n]) for i in range(len(w) - n + 1)]


def frozen_files() -> list[Path]:
    """Returns the written sets that no training sentence may resemble.

    Raises `FileNotFoundError` if there are fewer than three files.
    """
    found = sorted(WRITTEN_EVAL.glob("eval.*.jsonl")) + sorted(RELEASE.glob("*.jsonl"))
    if len(found) < 3:
        raise FileNotFoundError("tests/data/written/eval.{en,fr}.jsonl and tests/data/release/ are needed")
    return found


def register_files() -> list[Path]:
    """Returns the sets of registers, which no written training sentence may resemble.

    Raises `FileNotFoundError` if a language is missing.
    """
    found = sorted(WRITTEN_EVAL.glob("registers.*.jsonl"))
    if len(found) < 2:
        raise FileNotFoundError("tests/data/written/registers.{en,fr}.jsonl are needed")
    return found


def with_translations(held: set[str], pairs: list[tuple[str, str]]) -> set[str]:
    """Returns the keys with those of their translations, and of the other translations of these.

    The first pass adds the twin of a held-out text, the second that twin's other translations.
    """
    sides = [(key(en), key(fr)) for en, fr in pairs]
    for _ in range(2):
        held = held | {side for pair in sides if set(pair) & held for side in pair}
    return held
