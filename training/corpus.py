"""Selects the training data: labelled rows with soft targets, and sentence pairs.

Inputs: the data folder, the lines labelled by reading (`read/`), the sentences written for the project,
and a team's own labelled file (`--extra`). Outputs: `rows.jsonl` (labelled rows) and `pairs.jsonl` (unlabelled English and French).
With the setting `unlabelled`, `rows.jsonl` also holds texts without one of the eight labels or with
a label that is too doubtful. Only the teacher labels these texts.

This step drops and counts rows that are held out, or that share four words in a row with a frozen
sentence. Every later training step refuses such rows. It also drops written and own sentences that
share five words in a row with a sentence of the registers; a source's row may share common words with
these. Where a line was labelled by reading, that label replaces the source's, or a part of it (`read_source_shares`), and a Tatoeba translation of it has it, too.
"""

import csv
import json
import random
from collections import Counter
from pathlib import Path

import numpy as np

from . import guard, hold_out, reading_rows, readings, sources
from .stage import WORK, WRITTEN_TRAIN, Run, Step, write_rows
from .text import LABELS, normalise

FOLDER = WORK / "corpus"


def run(run: Run) -> None:
    """Writes the rows and the pairs, unless the step is finished."""
    written = sorted(WRITTEN_TRAIN.glob("*.jsonl"))
    inputs = [*sources.files(run.data), *written, *guard.frozen_files(), *guard.register_files(),
              readings.RANDOM, readings.THIN, readings.CHOSEN, readings.EMOTIONAL, readings.QUESTIONS, readings.VOTES,
              readings.SINGLE_VOTES,
              guard.HASHES, hold_out.OF_ENGLISH, hold_out.OF_FRENCH,
              *([run.extra] if run.extra else [])]
    step = Step(run, "corpus", inputs, ["corpus"])
    if step.finished():
        return
    want = run.settings["corpus"]
    draw = random.Random(run.seed + 1)
    held_out = guard.Guard(want["shared_words"])
    registers = guard.Sequences(want["shared_words_registers"], guard.register_files())
    drops: Counter = Counter()

    def allowed(source: str, *texts: str) -> bool:
        if any(held_out.holds(t) for t in texts):
            drops[f"{source} held out"] += 1
            return False
        if any(held_out.resembles_frozen(t) for t in texts):
            drops[f"{source} like a frozen sentence"] += 1
            return False
        return True

    drawn = readings.drawn_lines()
    of_source = {name: sources.labelled(run.data, name) for name in ("goemotions_train", "xed_en", "xed_fr")}
    given = {row["text"]: sources.target(row["labels"]) for name in want["read_source_shares"] for row in of_source[name]}
    read = reading_rows.training_rows(drawn, readings.votes(), readings.texts(run.data, drawn), want["read_weight"],
                                      {text: target for text, target in given.items() if target}, want["read_source_shares"])
    read = [row for row in read if allowed("read", row["text"])]
    is_read = {guard.key(row["text"]) for row in read}
    rows = []
    for name, weight in (("goemotions_train", 1.0), ("xed_en", want["xed_en_weight"]),
                         ("xed_fr", want["xed_fr_weight"])):
        for row in of_source[name]:
            target = sources.target(row["labels"])
            if guard.key(row["text"]) in is_read:
                drops[f"{name} labelled by reading"] += 1
            elif (target or want["unlabelled"]) and allowed(name, row["text"]):
                rows.append({"text": row["text"], "target": target, "lang": row["lang"],
                             "source": name, "weight": weight})
    rows = _marked(rows, want, draw) + read
    for path in written + ([run.extra] if run.extra else []):
        for row in _own_rows(path):
            if registers.shares(row["text"]):
                drops[f"{path.name} like a sentence of the registers"] += 1
            elif allowed(path.name, row["text"]):
                rows.append({**row, "weight": want["contrast_weight"]} if ".contrast" in path.name else row)

    found = [p for p in sources.pairs(run.data, "tatoeba_en_fr") if allowed("tatoeba_en_fr", *p)]
    carried = reading_rows.carried_rows(found, read)
    rows += carried
    labelled = is_read | {guard.key(row["text"]) for row in carried}
    found = _one_a_sentence([p for p in found if not {*map(guard.key, p)} & labelled], draw)
    found = draw.sample(found, min(want["tatoeba_pairs"], len(found)))
    pairs = [{"en": en, "fr": fr, "source": "tatoeba"} for en, fr in found]
    found = [p for p in _xed_pairs(run) if allowed("xed pairs", *p)]
    pairs += [{"en": en, "fr": fr, "source": "xed"} for en, fr in found]

    write_rows(FOLDER / "rows.jsonl", rows)
    write_rows(FOLDER / "pairs.jsonl", pairs)
    for what, count in sorted(drops.items()):
        print(f"corpus: dropped {count} of {what}")
    counts = Counter((r["source"], r["teacher"]) for r in rows)
    print(f"corpus: {len(carried)} rows have the label that was read on their translation")
    print(f"corpus: {len(rows)} rows, {len(pairs)} pairs, {dict(counts)}")
    step.finish()


def _marked(rows: list[dict], want: dict, draw: random.Random) -> list[dict]:
    """Marks the rows that the teacher trains on, up to a maximum per source and class.

    The teacher only labels the other rows. English XED rows beyond a maximum lose their target.
    Rows without a target are returned only with the setting `unlabelled`. Shuffles `rows` in place.
    """
    limits = {
        ("goemotions_train", LABELS.index("neutral")): want["goemotions_neutral_max"],
        ("goemotions_train", LABELS.index("joy")): want["goemotions_joy_max"],
        ("xed_en", LABELS.index("neutral")): want["xed_neutral_max"],
        ("xed_en", None): want["xed_max"],
    }
    draw.shuffle(rows)
    taken: Counter = Counter()
    for row in rows:
        if row["target"] is None:
            row["teacher"] = False
            continue
        single = row["target"].index(1.0) if 1.0 in row["target"] else None
        place = (row["source"], single)
        if row["source"] == "xed_en" and place not in limits:
            place = ("xed_en", None)
        taken[place] += 1
        row["teacher"] = taken[place] <= limits.get(place, len(rows))
        # These labels are too doubtful even for the student, above all neutral, which stands for
        # "no label" in XED.
        if not row["teacher"] and row["source"] == "xed_en":
            row["target"] = None
    return [r for r in rows if r["target"] or want["unlabelled"]]


def _own_rows(path: Path) -> list[dict]:
    """Returns the labelled rows of a JSONL, CSV or TSV file.

    The columns are `text`, `core8` (or `label`) and `lang`; a row without `lang` counts as English.
    Rows without a label or a text are skipped. Raises `ValueError` for a label outside the core-8,
    or for a language other than `en` and `fr`.
    """
    with path.open(encoding="utf-8", newline="") as lines:
        if path.suffix == ".jsonl":
            found = [json.loads(line) for line in lines if line.strip()]
        else:
            found = list(csv.DictReader(lines, delimiter="\t" if path.suffix == ".tsv" else ","))
    rows = []
    for number, row in enumerate(found, 1):
        label = row.get("core8") or row.get("label")
        if not label:
            # `jeffrey export` writes rows without a label.
            continue
        if label not in LABELS:
            raise ValueError(f"{path.name} row {number}: label is not one of the core-8")
        lang = row.get("lang") or "en"
        if lang not in ("en", "fr"):
            raise ValueError(f"{path.name} row {number}: lang is neither en nor fr")
        target = [float(name == label) for name in LABELS]
        rows.append({"text": normalise(row["text"]), "target": target, "lang": lang,
                     "source": "written", "weight": 1.0, "teacher": True})
    if len(rows) < len(found):
        print(f"corpus: passed over {len(found) - len(rows)} rows of {path.name} without a label")
    return [row for row in rows if row["text"]]


def _xed_pairs(run: Run) -> list[tuple[str, str]]:
    """Returns each French line of XED with its nearest English line, as (English, French).

    A pair needs a cosine of at least `xed_pair_likeness`. The pairs that come with XED are not
    usable: half of their "English" sides are Danish, and a fifth of the others say something else.
    """
    english = [r["text"] for r in sources.labelled(run.data, "xed_en")]
    french = [r["text"] for r in sources.labelled(run.data, "xed_fr")]
    of_english, of_french = np.load(hold_out.OF_ENGLISH), np.load(hold_out.OF_FRENCH)
    pairs = []
    for line, of in zip(french, of_french):
        likeness = of_english @ of
        if likeness.max() >= run.settings["corpus"]["xed_pair_likeness"]:
            pairs.append((english[likeness.argmax()], line))
    return pairs


def _one_a_sentence(pairs: list[tuple[str, str]], draw: random.Random) -> list[tuple[str, str]]:
    """Returns one random pair per English sentence, sorted; shuffles `pairs` in place.

    Tatoeba has many translations of "Go.".
    """
    draw.shuffle(pairs)
    return sorted({en: (en, fr) for en, fr in pairs}.values())
