"""Records the teachers' predictions for everything that the student learns from.

Inputs: the corpus and the trained teachers. Outputs, row for row: `rows.jsonl` (text, language,
source, weight, and the target of the given labels if the row has one), `logits.npy` (logarithms of the
teachers' mean probabilities) and `embeddings.npy` (pooled, 384 numbers per teacher, concatenated).

The two sides of a sentence pair are translations, so they express one emotion: both get one target
(`pair_targets`). People translated Tatoeba's pairs; `corpus.py` matches XED's pairs by cosine. French
frustration and neutral come from these targets, from lines labelled by reading and from the sentences
written for the project. A variant of a sentence (no accents, capitals, …) keeps the teachers'
prediction for the original, because such changes easily mislead the teachers. A variant with other
first names does so because a name has no emotion.
"""

import random
import re
import unicodedata
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from . import base, batches, corpus, teacher
from .device import DEVICE, lower_precision
from .guard import Guard
from .stage import ROOT, WORK, Run, Step, read_rows, write_rows
from .text import LABELS, Encoder

FOLDER = WORK / "label"
_PUNCTUATION = re.compile(r"[^\w\s'’\[\]]+")
FIRST_NAMES = tuple((ROOT / "training" / "names.txt").read_text("utf-8").split())
"""First names of many origins."""
_NAMES = re.compile(r"\[NAME\]|(?<=[\w,] )(?:" + "|".join(FIRST_NAMES) + r")\b")
"""What GoEmotions writes for a name that was taken out, and a first name inside a sentence."""


def run(run: Run) -> None:
    """Labels all rows and pairs, unless the step is finished.

    Raises `HeldOut` if a text may not be used for training.
    """
    step = Step(run, "label", [corpus.FOLDER / "rows.jsonl", corpus.FOLDER / "pairs.jsonl",
                               *teacher.files(run)], ["label"])
    if step.finished():
        return
    want = run.settings["label"]
    rows = read_rows(corpus.FOLDER / "rows.jsonl")
    pairs = read_rows(corpus.FOLDER / "pairs.jsonl")
    texts = [r["text"] for r in rows] + [p["en"] for p in pairs] + [p["fr"] for p in pairs]
    guard = Guard(run.settings["corpus"]["shared_words"])
    guard.refuse(texts)
    logits, embeddings = read(run, texts, want["tokens_max"], want["batch"])

    english = slice(len(rows), len(rows) + len(pairs))
    french = slice(len(rows) + len(pairs), None)
    logits[english] = logits[french] = pair_targets(logits[english], logits[french], want["pair_targets"])

    out = [{k: r[k] for k in ("text", "target", "lang", "source", "weight")} for r in rows]
    out += [{"text": p[side], "target": None, "lang": side, "source": p["source"], "weight": 0.0}
            for side in ("en", "fr") for p in pairs]
    origin = list(range(len(out)))
    draw = random.Random(run.seed + 2)
    for number in range(len(texts)):
        for text in variants(out[number], want["variant_share"], want["written_variants"], draw):
            # Without accents, a sentence can share more words with a frozen sentence.
            if guard.holds(text) or guard.resembles_frozen(text):
                continue
            out.append({**out[number], "text": text})
            origin.append(number)
    write_rows(FOLDER / "rows.jsonl", out)
    np.save(FOLDER / "logits.npy", logits[origin].astype(np.float16))
    np.save(FOLDER / "embeddings.npy", embeddings[origin].astype(np.float16))
    print(f"label: {len(texts)} texts read, {len(out) - len(texts)} variants")
    step.finish()


def pair_targets(english: np.ndarray, french: np.ndarray, how: str) -> np.ndarray:
    """Returns the target of each sentence pair; all arrays are logarithms of probabilities `[n, 8]`.

    `mean` is the mean of both sides' probabilities. `surer` is the side with the lower entropy, the
    English one in a tie: a side that the teachers misread is the less sure one more often. Raises
    `ValueError` for another setting.
    """
    if how == "mean":
        return np.log((np.exp(english) + np.exp(french)) / 2)
    if how == "surer":
        entropy = [-(np.exp(side) * side).sum(1) for side in (english, french)]
        return np.where((entropy[0] <= entropy[1])[:, None], english, french)
    raise ValueError(f"label.pair_targets is `{how}`, not mean or surer")


def read(run: Run, texts: list[str], tokens_max: int, batch: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns logarithms of the teachers' mean probabilities `[n, 8]`, and their embeddings.

    The embeddings are `[n, 384 * teachers]`. Each text is cut to `tokens_max` tokens.
    """
    files = teacher.files(run)
    ids = Encoder(run.tokenizer).encode_all([base.PREFIX + t for t in texts], tokens_max)
    plan = batches.sorted_by_length([len(i) for i in ids], batch)
    probabilities, embeddings = np.zeros((len(texts), len(LABELS)), np.float32), []
    for file in files:
        model = teacher.load(run, file).to(DEVICE)
        pooled = np.zeros((len(texts), model.head.in_features), np.float32)
        with torch.inference_mode():
            for chosen in tqdm(plan, desc=f"{file.stem} reads", mininterval=20):
                with lower_precision(run.settings["teacher"]["bf16"]):
                    logits, found = model(batches.pad([ids[i] for i in chosen]))
                probabilities[chosen] += logits.float().softmax(1).cpu().numpy()
                pooled[chosen] = found.float().cpu().numpy()
        embeddings.append(pooled)
    return np.log(probabilities / len(files)), np.concatenate(embeddings, 1)


def variants(row: dict, share: float, of_written: int, draw: random.Random) -> list[str]:
    """Returns variants of a sentence that differ from it.

    A sentence written for the project gets `of_written` random ones of seven. Another sentence gets one, with the
    probability `share`. A sentence with a first name gets one with other names. A variant like the sentence is left out.
    """
    text = row["text"]
    named = [_NAMES.sub(lambda _: draw.choice(FIRST_NAMES), text)]
    bare = "".join(c for c in unicodedata.normalize("NFD", text) if not unicodedata.combining(c))
    bare = unicodedata.normalize("NFC", bare)
    plain = " ".join(_PUNCTUATION.sub(" ", text).split())
    turned = text.replace("’", "'") if "’" in text else text.replace("'", "’")
    found = [text.lower(), bare.lower(), plain.lower(), text.upper(), turned, bare, plain]
    if row["source"] == "written":
        found = draw.sample(found, min(of_written, len(found)))
    else:
        found = [draw.choice(found)] if draw.random() < share else []
    return sorted({t for t in found + named if t.strip() and t != text})
