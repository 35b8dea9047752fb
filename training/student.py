"""Trains the student on the teacher's predictions.

Inputs: the labelled rows, the teacher's word embeddings, and the rows for choices to select the best epoch.
Outputs: `network.safetensors` (the encoder) and `head.safetensors` (its linear head). An interrupted
training resumes from its checkpoint.

The loss has three parts: the divergence from the teacher's distribution (Hinton et al. 2015,
"Distilling the Knowledge in a Neural Network"), the cross-entropy with the given labels if a row has
them, and the cosine distance from the teacher's embedding. The student ships with an exponential
moving average of the weights over the steps.
"""

import random
import time
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional
from tqdm import tqdm

from . import batches, hold_out, label, readings, teacher, voted
from .device import DEVICE, full_precision, lower_precision
from .guard import Guard
from .network import Network, parameters_outside_table
from .stage import WORK, Run, Step, read_rows
from .text import LABELS, Encoder

FOLDER = WORK / "student"
PARAMETERS_MAX = 1_500_000
"""Maximum of parameters outside the embedding table; issue 2 sets it."""


class Student(nn.Module):
    """The network, its linear head, and a projection to the teacher's embedding for training only."""

    def __init__(self, vocabulary: int, want: dict, teacher_dim: int):
        super().__init__()
        self.network = Network(vocabulary, want)
        self.head = nn.Linear(want["dim"], len(LABELS))
        self.towards_teacher = nn.Linear(want["dim"], teacher_dim)

    def forward(self, ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Maps ids `[n, tokens]` to logits `[n, 8]` and a predicted embedding `[n, teacher_dim]`."""
        embedding = self.network(ids).float()
        # In bfloat16, the eight logits would tie too often.
        with full_precision():
            return self.head(embedding), self.towards_teacher(embedding)


class Lessons:
    """The training data of the student: token ids as lists, targets as tensors on `DEVICE`.

    `share` (0 to 1) is the random part of the rows that is used. Raises `HeldOut` if a row may not be
    used for training.
    """

    def __init__(self, run: Run, want: dict, share: float = 1.0):
        rows = read_rows(label.FOLDER / "rows.jsonl")
        taken = sorted(random.Random(run.seed).sample(range(len(rows)), round(share * len(rows))))
        rows = [rows[i] for i in taken]
        Guard(run.settings["corpus"]["shared_words"]).refuse(r["text"] for r in rows)
        self.ids = Encoder(run.tokenizer).encode_all([r["text"] for r in rows], want["tokens_max"])
        self.lengths = [len(i) for i in self.ids]
        self.soft = _read(label.FOLDER / "logits.npy", taken)
        embeddings = _read(label.FOLDER / "embeddings.npy", taken)
        # The teacher's embeddings share one large direction, which carries no information about a text.
        self.embeddings = functional.normalize(embeddings - embeddings.mean(0), dim=1)
        none = [0.0] * len(LABELS)
        self.hard = torch.tensor([r["target"] or none for r in rows], device=DEVICE)
        factor = torch.tensor([_label_factor(r, want["label_factors"]) for r in rows], device=DEVICE)
        self.weight = factor * (self.hard @ teacher.class_weights(self.hard))


def run(run: Run, steps_max: int | None = None) -> None:
    """Trains the student, unless the step is finished; `steps_max` is for a trial (see `train`)."""
    step = Step(run, "student", [label.FOLDER / "rows.jsonl", label.FOLDER / "logits.npy"],
                ["student", "corpus"])
    if step.finished():
        return
    want = run.settings["student"]
    train(run, step, want, Lessons(run, want), steps_max)


def train(run: Run, step: Step, want: dict, lessons: "Lessons", steps_max: int | None = None) -> float:
    """Trains a student with the settings `want` and writes it to the step's folder.

    Returns its best `voted.quality` on the rows for choices. With `steps_max`, prints the time per step after so many
    steps and returns 0, without writing the student. Raises `ValueError` above `PARAMETERS_MAX`.
    """
    folder = step.folder
    torch.manual_seed(run.seed)
    quality_of = _quality(run)

    table = _table(run, want["dim_table"])
    model = Student(len(table), want, lessons.embeddings.shape[1])
    model.network.table.weight.data.copy_(table)
    model.to(DEVICE)
    if parameters_outside_table(model.network) > PARAMETERS_MAX:
        raise ValueError(f"more than {PARAMETERS_MAX} parameters outside the table")
    optimiser = torch.optim.AdamW([
        {"params": [model.network.table.weight], "lr": want["table_learning_rate"], "weight_decay": 0.0},
        {"params": [p for n, p in model.named_parameters() if n != "network.table.weight"],
         "lr": want["learning_rate"]},
    ], weight_decay=want["weight_decay"], betas=(0.9, 0.98), fused=True)
    plan = [(epoch, b) for epoch in range(want["epochs"])
            for b in batches.shuffled(lessons.lengths, want["batch"], run.seed + epoch)]
    warmup = max(1, round(want["warmup_share"] * len(plan)))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda s: min((s + 1) / warmup, max(0.0, (len(plan) - s) / (len(plan) - warmup))))
    mean = {n: p.detach().clone() for n, p in model.state_dict().items()}
    best, best_quality, at = None, -1.0, 0

    checkpoint = folder / "checkpoint.pt"
    if checkpoint.exists() and step.resumable() and not steps_max:
        saved = torch.load(checkpoint, map_location=DEVICE)
        for part, key in ((model, "model"), (optimiser, "optimiser"), (schedule, "schedule")):
            part.load_state_dict(saved[key])
        mean, best, best_quality, at = (saved[k] for k in ("mean", "best", "best_quality", "at"))
    step.begin()

    began, loss_mean = time.monotonic(), None
    bar = tqdm(range(at, len(plan)), initial=at, total=len(plan), desc="student", mininterval=20)
    for number in bar:
        epoch, chosen = plan[number]
        model.train()
        step_loss = loss(model, lessons, chosen, want)
        step_loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        optimiser.zero_grad()
        # In early steps, the full decay would keep too much of the random start.
        decay = min(want["ema"], (number + 1) / (number + 10))
        state = model.state_dict()
        torch._foreach_lerp_(list(mean.values()), [state[n] for n in mean], 1 - decay)
        now = step_loss.detach()
        loss_mean = now if loss_mean is None else 0.98 * loss_mean + 0.02 * now
        if steps_max and number + 1 == steps_max:
            print(f"student: {(time.monotonic() - began) / steps_max * 1e3:.0f} ms a step of {len(plan)}")
            return 0.0
        if number + 1 == len(plan) or plan[number + 1][0] != epoch:
            quality = quality_of(model, mean)
            print(f"student: epoch {epoch + 1}, loss {loss_mean:.3f}, quality on choices {quality:.4f}, "
                  f"{(time.monotonic() - began) / 60:.1f} min", flush=True)
            if quality > best_quality:
                best, best_quality = {n: t.clone() for n, t in mean.items()}, quality
        if (number + 1) % want["checkpoint_every"] == 0:
            fresh = checkpoint.with_suffix(".new")
            torch.save({"model": model.state_dict(), "optimiser": optimiser.state_dict(),
                        "schedule": schedule.state_dict(), "mean": mean, "best": best,
                        "best_quality": best_quality, "at": number + 1}, fresh)
            fresh.replace(checkpoint)

    for name in ("network", "head"):
        save_file({n.removeprefix(f"{name}."): t.cpu().contiguous() for n, t in best.items()
                   if n.startswith(f"{name}.")}, folder / f"{name}.safetensors")
    checkpoint.unlink(missing_ok=True)
    step.finish()
    return best_quality


def loss(model: Student, lessons: Lessons, chosen: list[int], want: dict) -> torch.Tensor:
    """Returns the weighted sum of the three losses of one batch."""
    with lower_precision(want["bf16"]):
        logits, guess = model(batches.pad([lessons.ids[i] for i in chosen]))
    warm = want["temperature"]
    soft = (lessons.soft[chosen] / warm).softmax(1)
    distribution = functional.kl_div((logits / warm).log_softmax(1), soft, reduction="batchmean") * warm ** 2
    given = -(lessons.hard[chosen] * logits.log_softmax(1)).sum(1)
    given = (given * lessons.weight[chosen]).mean()
    direction = (1 - functional.cosine_similarity(guess, lessons.embeddings[chosen])).mean()
    return want["distribution_factor"] * distribution + given + want["direction_factor"] * direction


def _label_factor(row: dict, factors: dict) -> float:
    """Returns the weight of the row's given label relative to the teacher, 0 without a label.

    It is the weight of the row times the factor of its source, or of its language for a written row.
    """
    if not row["target"]:
        return 0.0
    return row["weight"] * factors[f"written_{row['lang']}" if row["source"] == "written" else row["source"]]


def _read(path: Path, taken: list[int]) -> torch.Tensor:
    return torch.from_numpy(np.load(path)[taken].astype(np.float32)).to(DEVICE)


def _table(run: Run, dim: int) -> torch.Tensor:
    """Returns the first teacher's word embeddings on their principal axes, `[vocabulary, dim]`.

    The table is scaled to a standard deviation of 1.
    """
    words = load_file(teacher.files(run)[0])["encoder.embeddings.word_embeddings.weight"]
    words = words.float() - words.float().mean(0)
    _, axes = torch.linalg.eigh(words.T @ words)
    table = words @ axes[:, -dim:].flip(1)
    return table / table.std()


def _quality(run: Run):
    """Returns a function of a model and weights: `voted.quality` on the rows for choices, which no model was trained on."""
    rows = [r for r in read_rows(hold_out.FOLDER / "choices.jsonl") if r["core8"]]
    truth = np.array([LABELS.index(r["core8"]) for r in rows])
    read = list(readings.lines_to_choose_by(run.data).values())
    encoder = Encoder(run.tokenizer)
    ids = [encoder.encode_all(texts) for texts in ([r["text"] for r in rows], *(texts for texts, _ in read))]

    def quality(model: Student, weights: dict) -> float:
        sources, *of_read = (_scores(model, weights, part) for part in ids)
        return voted.quality(sources, truth, [(scores, votes) for scores, (_, votes) in zip(of_read, read)])

    return quality


@torch.inference_mode()
def _scores(model: Student, weights: dict, ids: list[list[int]]) -> np.ndarray:
    """Returns the probabilities `[n, 8]` by `weights`.

    Restores the model's own weights, but leaves the model in evaluation mode.
    """
    own = {n: t.clone() for n, t in model.state_dict().items()}
    model.load_state_dict(weights)
    model.eval()
    scores = np.zeros((len(ids), len(LABELS)), np.float32)
    for chosen in batches.sorted_by_length([len(i) for i in ids], 256):
        scores[chosen] = model(batches.pad([ids[i] for i in chosen]))[0].softmax(1).cpu().numpy()
    model.load_state_dict(own)
    return scores
