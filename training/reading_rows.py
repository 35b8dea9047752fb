"""Divides the lines labelled by reading into lines to measure and rows to train on.

Inputs: the drawn lines and the votes of `read/`, and the texts that `readings.texts` finds. Outputs:
the texts that must stay out of training, and labelled rows with soft targets.

`real` and `real-thin` measure, and settings are chosen by `choices`, so these lines and their twins
leave training (`hold_out.py`). `train`, the lines of `chosen.tsv`, `emotional.tsv` and `questions.tsv`, and `pilot` become rows: the pilot
tested the guide, left it unchanged, and measures no model.
"""

import random

from .guard import key
from .text import LABELS

APART = ("real", "real-thin", "choices")
TRAINED = ("train", "pilot", "different", "low-margin", "emotional", "questions")


def apart_texts(drawn: list[dict], texts: dict[str, str]) -> dict[str, list[str]]:
    """Returns the found texts of the lines that must stay out of training, by language."""
    found: dict[str, list[str]] = {"en": [], "fr": []}
    for row in drawn:
        if row["part"] in APART and row["key"] in texts:
            found[row["lang"]].append(texts[row["key"]])
    return found


def training_rows(drawn: list[dict], votes: dict[str, list[str]], texts: dict[str, str], weight: float,
                  source_targets: dict[str, list[float]], source_shares: dict[str, float]) -> list[dict]:
    """Returns the rows to train on, in the order of the drawn lines; a line without votes or text is left out.

    Unclear and disputed lines are rows too: their targets say how unsure the readers were. `source_targets` has the
    targets of the sources' own labels by text, and `source_shares` says by source how much of a target they are.
    """
    rows = []
    for line in drawn:
        if line["part"] not in TRAINED or line["key"] not in votes or line["key"] not in texts:
            continue
        text, own = texts[line["key"]], target(votes[line["key"]])
        share = source_shares.get(line["source"], 0.0) if text in source_targets else 0.0
        mixed = [(1 - share) * read + share * given for read, given in zip(own, source_targets.get(text, own))]
        rows.append({"text": text, "target": mixed, "lang": line["lang"], "source": "read", "weight": weight, "teacher": True})
    return rows


def carried_rows(pairs: list[tuple[str, str]], read: list[dict]) -> list[dict]:
    """Returns a row for each side of a pair, (English, French), whose translation was read and which was not read itself.

    The row has the target and the weight of the read side: a translation says the same. Of several translations the
    first one in `pairs` counts.
    """
    rows = {key(row["text"]): row for row in read}
    carried: dict[str, dict] = {}
    for pair in pairs:
        for text, lang, other in ((pair[0], "en", pair[1]), (pair[1], "fr", pair[0])):
            if key(other) in rows and key(text) not in rows:
                carried.setdefault(key(text), {**rows[key(other)], "text": text, "lang": lang})
    return list(carried.values())


def last_rows(rows: list[dict], kept_share: float, seed: int) -> list[dict]:
    """Returns the rows of the teacher's last epochs: all read and written ones, and a random part of GoEmotions."""
    draw = random.Random(seed)
    return [r for r in rows if r["source"] in ("read", "written")
            or r["source"] == "goemotions_train" and draw.random() < kept_share]


def target(answers: list[str]) -> list[float]:
    """Returns the soft target, 8 numbers: the share of each label in the votes.

    A vote for "unclear" is spread evenly over the eight labels. Raises `ValueError` for another
    answer, or without a vote.
    """
    if not answers:
        raise ValueError("a line without votes has no target")
    shares = [0.0] * len(LABELS)
    for answer in answers:
        if answer == "unclear":
            shares = [share + 1 / len(LABELS) for share in shares]
        else:
            shares[LABELS.index(answer)] += 1
    return [share / len(answers) for share in shares]
