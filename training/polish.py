"""A short last lesson: anger said outright inside a frustrating story, against plain frustration.

Enters: the trained student, what it learned from, the sentences in `written/contrast`. Leaves:
`network.safetensors` and `head.safetensors`. Each batch holds contrast sentences by their labels
and earlier lessons with all their losses, so that what was learned stays. The outcome lies on
the line between the weights before and after (Wortsman et al. 2022, "Robust fine-tuning of
zero-shot models"), as far along as macro-F1 on "choices" falls by no more than `loss_max`.
"""

import random

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional
from tqdm import tqdm

from . import batches, hold_out, student
from .stage import WORK, WRITTEN_TRAIN, Run, Step, read_rows
from .text import LABELS, Encoder, normalise

FOLDER = WORK / "polish"
PARTS = ("network", "head")


def run(run: Run) -> None:
    """Train on and write the weights."""
    files = sorted((WRITTEN_TRAIN / "contrast").glob("*.jsonl"))
    inputs = [*files, *(student.FOLDER / f"{p}.safetensors" for p in PARTS)]
    step = Step(run, "polish", inputs, ["polish", "student", "corpus"])
    if step.finished():
        return
    want = run.settings["polish"]
    torch.manual_seed(run.seed)
    draw = random.Random(run.seed + 4)
    encoder = Encoder(run.tokenizer)
    rows = _contrast(run, files)
    ids = encoder.encode_all([r["text"] for r in rows])
    targets = torch.tensor([LABELS.index(r["core8"]) for r in rows])
    lessons = student.Lessons(run, run.settings["student"])
    choices = [r for r in read_rows(hold_out.FOLDER / "choices.jsonl") if r["core8"]]
    choice_ids = encoder.encode_all([r["text"] for r in choices])
    truth = [LABELS.index(r["core8"]) for r in choices]

    vocabulary = len(load_file(student.FOLDER / "network.safetensors")["table.weight"])
    model = student.Student(vocabulary, run.settings["student"], lessons.embeddings.shape[1])
    for part in PARTS:
        getattr(model, part).load_state_dict(load_file(student.FOLDER / f"{part}.safetensors"))
    first = {n: t.detach().clone() for n, t in model.state_dict().items()}
    before = student.macro_f1(model, first, choice_ids, truth)
    optimiser = torch.optim.AdamW(model.parameters(), lr=want["learning_rate"], weight_decay=0.0)
    for number in tqdm(range(want["steps"]), desc="polish", mininterval=10):
        model.train()
        part = draw.sample(range(len(rows)), want["batch"])
        logits, _ = model(batches.pad([ids[i] for i in part]))
        contrast = functional.cross_entropy(logits, targets[part], label_smoothing=0.05)
        earlier = student.loss(model, lessons, draw.sample(range(len(lessons.ids)), want["earlier"]),
                               run.settings["student"])
        (want["contrast_factor"] * contrast + earlier).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for group in optimiser.param_groups:
            warm = min(1.0, (number + 1) / want["warmup"])
            group["lr"] = want["learning_rate"] * warm * (1 - number / want["steps"])
        optimiser.step()
        optimiser.zero_grad()
    last = {n: t.detach().clone() for n, t in model.state_dict().items()}
    for share in want["shares"]:
        weights = {n: torch.lerp(first[n], last[n], share) for n in first}
        after = student.macro_f1(model, weights, choice_ids, truth)
        print(f"polish: {share:.2f} of the way, macro-F1 on choices {before:.4f} before, {after:.4f} after")
        if after >= before - want["loss_max"]:
            break
    for part in PARTS:
        chosen = {n.removeprefix(f"{part}."): t.contiguous() for n, t in weights.items()
                  if n.startswith(f"{part}.")}
        save_file(chosen, FOLDER / f"{part}.safetensors")
    step.finish()


def _contrast(run: Run, files: list) -> list[dict]:
    """The sentences that resemble no frozen one."""
    guard = hold_out.Guard(run.settings["corpus"]["shared_words"])
    rows = [{**r, "text": normalise(r["text"])} for path in files for r in read_rows(path)]
    kept = [r for r in rows if not guard.holds(r["text"]) and not guard.resembles_frozen(r["text"])]
    print(f"polish: dropped {len(rows) - len(kept)} sentences like a frozen one")
    return kept
