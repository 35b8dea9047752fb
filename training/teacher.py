"""Fine-tunes the base encoder into the teachers.

Inputs: the corpus rows marked for the teachers, and the base model's folder. Outputs:
`teacher-N.safetensors` for each seed, and `first-N.safetensors` after the first epochs: the encoder, and an eight-way head over the mean of its last
layer. An interrupted training resumes from its checkpoint. The mean of several teachers errs less
than each teacher alone, and a student learns from it at the cost of one model (Hinton et al. 2015).

The embeddings and lowest layers stay frozen. They align the two languages, and a short training on
mostly English rows would pull these apart. Training them also costs a third of the time.

The labels of most sources follow their own rules: GoEmotions calls a question "curiosity", and XED knows no
neutral. So the last epochs see the read lines and the written sentences, whose labels follow the guide of
`read/`, and a part of GoEmotions, which has the only other labels that people gave to the very text.
"""

import time
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional
from tqdm import tqdm

from . import base, batches, corpus, reading_rows
from .device import DEVICE, lower_precision
from .guard import Guard
from .stage import WORK, Run, Step, read_rows
from .text import LABELS, Encoder

FOLDER = WORK / "teacher"


class Teacher(nn.Module):
    """The base encoder with mean pooling and one linear layer."""

    def __init__(self, folder: Path):
        super().__init__()
        self.encoder = base.load(folder)
        self.head = nn.Linear(self.encoder.config.hidden_size, len(LABELS))

    def forward(self, ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Maps ids `[n, tokens]` to logits `[n, 8]` and embeddings `[n, 384]`."""
        pooled = base.pooled(self.encoder, ids)
        return self.head(pooled).float(), pooled


def files(run: Run) -> list[Path]:
    """Returns the path of each teacher's weights."""
    return [FOLDER / f"teacher-{number}.safetensors" for number in range(run.settings["teacher"]["seeds"])]


def files_of_first_epochs(run: Run) -> list[Path]:
    """Returns the path of each teacher's weights after its first epochs."""
    return [file.with_name(file.name.replace("teacher", "first")) for file in files(run)]


def load(run: Run, file: Path) -> Teacher:
    """Returns a trained teacher in evaluation mode, on the CPU."""
    model = Teacher(run.base)
    model.load_state_dict(load_file(file))
    return model.eval()


def class_weights(targets: torch.Tensor, power: float = 0.5) -> torch.Tensor:
    """Returns class weights `[8]` for targets `[n, 8]`: each class's mass to the power of `-power`.

    Their mean over the rows is one. With 1, the noise of 500 rows of disgust would outweigh 12,000 rows of joy;
    with 0, all classes weigh the same, and rare ones are seldom predicted.
    """
    mass = targets.sum(0).clamp(min=1)
    weights = mass ** -power
    return weights / ((mass * weights).sum() / mass.sum())


def run(run: Run) -> None:
    """Trains all teachers, one after the other, unless the step is finished.

    Raises `HeldOut` if a row may not be used for training.
    """
    step = Step(run, "teacher", [corpus.FOLDER / "rows.jsonl", run.base / "model.safetensors"],
                ["teacher"])
    if step.finished():
        return
    if not step.resumable():
        for file in [*FOLDER.glob("*.safetensors"), FOLDER / "checkpoint.pt"]:
            file.unlink(missing_ok=True)
    step.begin()
    rows = [r for r in read_rows(corpus.FOLDER / "rows.jsonl") if r["teacher"]]
    Guard(run.settings["corpus"]["shared_words"]).refuse(r["text"] for r in rows)
    want = run.settings["teacher"]
    for number, (file, first) in enumerate(zip(files(run), files_of_first_epochs(run))):
        if file.exists():
            continue
        seed = run.seed + 1_000 * number
        if not first.exists():
            _train(run, _repeated(run, rows), None, first, seed, want | want["first"])
        last = reading_rows.last_rows(rows, want["last"]["kept_share"], seed)
        _train(run, last, first, file, seed + 1, want | want["last"])
    step.finish()


def _repeated(run: Run, rows: list[dict]) -> list[dict]:
    repeat = run.settings["corpus"]["written_repeat"]
    return [r for r in rows for _ in range(repeat if r["source"] == "written" else 1)]


def _train(run: Run, rows: list[dict], start: Path | None, file: Path, seed: int, want: dict) -> None:
    """Trains from the base encoder, or from the weights in `start`, and writes the weights to `file`."""
    torch.manual_seed(seed)
    ids = Encoder(run.tokenizer).encode_all([base.PREFIX + r["text"] for r in rows], want["tokens_max"])
    targets = torch.tensor([r["target"] for r in rows])
    weights = targets @ class_weights(targets, want["class_power"])
    weights = (torch.tensor([r["weight"] for r in rows]) * weights).to(DEVICE)
    smoothing = want["label_smoothing"]
    targets = (targets * (1 - smoothing) + smoothing / len(LABELS)).to(DEVICE)

    plan = [b for epoch in range(want["epochs"])
            for b in batches.shuffled([len(i) for i in ids], want["batch"], seed + epoch)]
    model = (load(run, start) if start else Teacher(run.base)).to(DEVICE)
    _freeze(model, want["layers_frozen"])
    optimiser = torch.optim.AdamW([
        {"params": [p for p in model.encoder.parameters() if p.requires_grad],
         "lr": want["learning_rate"]},
        {"params": model.head.parameters(), "lr": want["head_learning_rate"]},
    ], weight_decay=want["weight_decay"], fused=True)
    warmup = max(1, round(want["warmup_share"] * len(plan)))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda s: min((s + 1) / warmup, (len(plan) - s) / (len(plan) - warmup)))

    at = 0
    checkpoint = FOLDER / "checkpoint.pt"
    if checkpoint.exists():
        saved = torch.load(checkpoint, map_location=DEVICE)
        for part, key in ((model, "model"), (optimiser, "optimiser"), (schedule, "schedule")):
            part.load_state_dict(saved[key])
        at = saved["at"]

    model.train()
    began, loss_mean = time.monotonic(), None
    for number in tqdm(range(at, len(plan)), initial=at, total=len(plan), desc=file.stem, mininterval=20):
        chosen = plan[number]
        with lower_precision(want["bf16"]):
            logits, _ = model(batches.pad([ids[i] for i in chosen]))
        losses = functional.cross_entropy(logits, targets[chosen], reduction="none")
        loss = (losses * weights[chosen]).mean()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        optimiser.zero_grad()
        now = loss.detach()
        loss_mean = now if loss_mean is None else 0.98 * loss_mean + 0.02 * now
        if (number + 1) % want["checkpoint_every"] == 0:
            _save(checkpoint, model, optimiser, schedule, number + 1)
    print(f"{file.stem}: {len(rows)} rows, {(time.monotonic() - began) / 60:.1f} min, loss {loss_mean:.3f}")
    save_file({n: t.cpu().contiguous() for n, t in model.state_dict().items()}, file)
    checkpoint.unlink(missing_ok=True)


def _freeze(model: Teacher, layers: int) -> None:
    model.encoder.embeddings.requires_grad_(False)
    for layer in model.encoder.encoder.layer[:layers]:
        layer.requires_grad_(False)


def _save(path: Path, model: Teacher, optimiser, schedule, at: int) -> None:
    """Writes a new file and renames it, so that an interruption leaves the earlier checkpoint complete."""
    fresh = path.with_suffix(".new")
    torch.save({"model": model.state_dict(), "optimiser": optimiser.state_dict(),
                "schedule": schedule.state_dict(), "at": at}, fresh)
    fresh.replace(path)
