"""Reads the data folder: labelled rows and sentence pairs, with normalised texts.

Input: the folder that `--data` names. Outputs: plain dicts and tuples. Only this file maps a
source's own labels to core-8 targets; the field `core8` of a row comes from the data file.
"""

import gzip
import hashlib
import json
from pathlib import Path

from .text import LABELS, normalise

_GROUPS = {
    "joy": "joy amusement excitement admiration approval gratitude love optimism pride relief "
           "caring desire",
    "sadness": "sadness remorse grief",
    "anger": "anger disapproval",
    "frustration": "annoyance disappointment frustration",
    "fear": "fear nervousness embarrassment",
    "surprise": "surprise realization confusion curiosity",
    "disgust": "disgust",
    "neutral": "neutral",
}
CORE8 = {own: LABELS.index(core) for core, names in _GROUPS.items() for own in names.split()}
"""Index of the core-8 label for each source label; XED's anticipation and trust have no entry."""

LABELLED = ["goemotions_train", "goemotions_dev", "xed_en", "xed_fr"]
PAIRS = ["tatoeba_en_fr", "xed_pairs_en_fr"]
PLAIN = ["plain_en", "plain_fr"]
"""Rows without labels; only lines labelled by reading are taken from them."""


def files(data: Path) -> list[Path]:
    """Returns the path of every data file that a run reads."""
    return [data / f"{n}.jsonl.gz" for n in [*LABELLED, *PLAIN]] + [data / f"{n}.tsv.gz" for n in PAIRS]


def labelled(data: Path, name: str) -> list[dict]:
    """Returns the rows of one labelled file; `text` is normalised, and empty texts are left out."""
    with gzip.open(data / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    for row in rows:
        row["text"] = normalise(row["text"])
    return [row for row in rows if row["text"]]


def pairs(data: Path, name: str) -> list[tuple[str, str]]:
    """Returns the sentence pairs of one file as (English, French), normalised.

    Lines without exactly two columns, and pairs with an empty side, are left out.
    """
    with gzip.open(data / f"{name}.tsv.gz", "rt", encoding="utf-8") as lines:
        split = [line.rstrip("\n").split("\t") for line in lines]
    both = [(normalise(s[0]), normalise(s[1])) for s in split if len(s) == 2]
    return [(en, fr) for en, fr in both if en and fr]


def intents(data: Path) -> dict[str, str]:
    """Returns the intent of each banking77 line, by the key that `readings` gives its text."""
    with gzip.open(data / "plain_en.jsonl.gz", "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    return {hashlib.sha256(normalise(row["text"]).encode()).hexdigest(): row["intent"]
            for row in rows if row["source"] == "banking77"}


def target(labels: list[str]) -> list[float] | None:
    """Returns the soft target, 8 numbers: the mean over the labels in `CORE8`, `None` without one."""
    indices = [CORE8[label] for label in labels if label in CORE8]
    if not indices:
        return None
    return [indices.count(i) / len(indices) for i in range(len(LABELS))]
