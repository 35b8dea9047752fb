"""The teachers read everything the student will learn from.

Enters: the corpus and the trained teachers. Leaves, row for row: `rows.jsonl` (text, language,
source, hard target if it has one), `logits.npy` (logarithms of their mean probabilities) and
`embeddings.npy` (pooled, 384 of each teacher side by side).

The two sides of a sentence pair are translations made by people, so they carry one emotion: both
get the mean of the teacher's probabilities. That is where French frustration and neutral come from.
A changed writing of a sentence (no accents, capitals, …) keeps what the teacher said of the
sentence as it was, for the teacher itself is easily led astray by them.
"""

import random
import re
import unicodedata

import numpy as np
import torch
from tqdm import tqdm

from . import base, batches, corpus, hold_out, teacher
from .device import DEVICE, lower_precision
from .stage import WORK, Run, Step, read_rows, write_rows
from .text import LABELS, Encoder

FOLDER = WORK / "label"
_PUNCTUATION = re.compile(r"[^\w\s'’\[\]]+")


def run(run: Run) -> None:
    """Label all rows and pairs."""
    step = Step(run, "label", [corpus.FOLDER / "rows.jsonl", corpus.FOLDER / "pairs.jsonl",
                               *teacher.files(run)], ["label"])
    if step.finished():
        return
    want = run.settings["label"]
    rows = read_rows(corpus.FOLDER / "rows.jsonl")
    pairs = read_rows(corpus.FOLDER / "pairs.jsonl")
    texts = [r["text"] for r in rows] + [p["en"] for p in pairs] + [p["fr"] for p in pairs]
    guard = hold_out.Guard(run.settings["corpus"]["shared_words"])
    guard.refuse(texts)
    logits, embeddings = read(run, texts, want["tokens_max"], want["batch"])

    english = slice(len(rows), len(rows) + len(pairs))
    french = slice(len(rows) + len(pairs), None)
    mean = np.log((np.exp(logits[english]) + np.exp(logits[french])) / 2)
    logits[english] = logits[french] = mean

    out = [{k: r[k] for k in ("text", "target", "lang", "source")} for r in rows]
    out += [{"text": p[side], "target": None, "lang": side, "source": p["source"]}
            for side in ("en", "fr") for p in pairs]
    origin = list(range(len(out)))
    draw = random.Random(run.seed + 2)
    for number in range(len(texts)):
        for text in variants(out[number], want["variant_share"], draw):
            # Without its accents a sentence can come to share its words with a frozen one.
            if guard.holds(text) or guard.resembles_frozen(text):
                continue
            out.append({**out[number], "text": text})
            origin.append(number)
    write_rows(FOLDER / "rows.jsonl", out)
    np.save(FOLDER / "logits.npy", logits[origin].astype(np.float16))
    np.save(FOLDER / "embeddings.npy", embeddings[origin].astype(np.float16))
    print(f"label: {len(texts)} texts read, {len(out) - len(texts)} variants")
    step.finish()


def read(run: Run, texts: list[str], tokens_max: int, batch: int) -> tuple[np.ndarray, np.ndarray]:
    """Logarithms of the teachers' mean probabilities `[n, 8]`, their embeddings `[n, 384 teachers]`."""
    ids = Encoder(run.tokenizer).encode_all([base.PREFIX + t for t in texts], tokens_max)
    plan = batches.sorted_by_length([len(i) for i in ids], batch)
    probabilities, embeddings = np.zeros((len(texts), len(LABELS)), np.float32), []
    for file in teacher.files(run):
        model = teacher.load(run, file).to(DEVICE)
        pooled = np.zeros((len(texts), model.head.in_features), np.float32)
        with torch.inference_mode():
            for chosen in tqdm(plan, desc=f"{file.stem} reads", mininterval=20):
                with lower_precision(run.settings["teacher"]["bf16"]):
                    logits, found = model(batches.pad([ids[i] for i in chosen]))
                probabilities[chosen] += logits.float().softmax(1).cpu().numpy()
                pooled[chosen] = found.float().cpu().numpy()
        embeddings.append(pooled)
    return np.log(probabilities / len(embeddings)), np.concatenate(embeddings, 1)


def variants(row: dict, share: float, draw: random.Random) -> list[str]:
    """Other writings of a sentence: all of them for a written one, else now and then one."""
    text = row["text"]
    bare = "".join(c for c in unicodedata.normalize("NFD", text) if not unicodedata.combining(c))
    bare = unicodedata.normalize("NFC", bare)
    plain = " ".join(_PUNCTUATION.sub(" ", text).split())
    turned = text.replace("’", "'") if "’" in text else text.replace("'", "’")
    found = [text.lower(), bare.lower(), plain.lower(), text.upper(), turned, bare, plain]
    if row["source"] != "written":
        found = [draw.choice(found)] if draw.random() < share else []
    return sorted({t for t in found if t.strip() and t != text})
