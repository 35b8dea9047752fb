"""Assembles `models/<id>/`; only `frontier.py` also writes there.

Inputs: the int8 graph, head, prototypes and figures of the earlier steps. Outputs: the folder that
the crate reads, with `manifest.json` over its files, and `models/shipped`. `card.py` holds the text
of the card.
"""

import shutil
import subprocess
from pathlib import Path

from . import card, calibrate, onnx_graph, sources
from .runtime import read_json
from .stage import LOG, ROOT, WORK, Run, sha256, write_json
from .text import LABELS, TOKENS_MAX

FILES = ["config.json", "tokenizer.json", "onnx/model_quantized.onnx", "head.json", "prototypes.json"]
"""Files that the crate reads, in the manifest's order."""


def run(run: Run) -> None:
    """Writes the folder again from the outputs of the steps, and its name to `models/shipped`."""
    folder = ROOT / "models" / run.id
    figures_file = WORK / "evaluate" / "figures.json"
    figures = read_json(figures_file) if figures_file.exists() else {}
    write_model(run, folder, onnx_graph.FOLDER / "model_quantized.onnx", calibrate.FOLDER,
                run.settings["student"], {
                    "commit": _commit(), "seed": run.seed,
                    "data": {p.name: sha256(p) for p in sources.files(run.data)},
                    "figures": figures.get("summary", {})})
    write_json(folder / "training.json", {
        "seed": run.seed, "settings": run.settings, "figures": figures,
    }, indent=2)
    if LOG.exists():
        shutil.copyfile(LOG, folder / "training-log.txt")
    frontier = folder / "frontier.json"
    (folder / "README.md").write_text(
        card.text(run.id, figures, read_json(frontier) if frontier.exists() else None), "utf-8")
    (ROOT / "models" / "shipped").write_text(run.id + "\n")
    print(f"export: models/{run.id}, graph {(folder / FILES[2]).stat().st_size / 1e6:.2f} MB")


def write_model(run: Run, folder: Path, graph: Path, heads: Path, student: dict, training: dict) -> None:
    """Writes the files that the crate reads, and their manifest.

    `heads` is the folder with head and prototypes. `student` holds the student's settings for
    `config.json`, and `training` is copied into the manifest.
    """
    (folder / "onnx").mkdir(parents=True, exist_ok=True)
    tokenizer = read_json(run.base / "tokenizer.json")
    head = read_json(heads / "head.json")
    vocabulary = len(tokenizer["model"]["vocab"])

    write_json(folder / "config.json", {
        "architectures": ["JeffreyEdgeEncoder"], "model_type": "jeffrey-edge",
        "id2label": dict(enumerate(LABELS)), "label2id": {n: i for i, n in enumerate(LABELS)},
        "max_tokens": TOKENS_MAX, "vocab_size": vocabulary, "hidden_size": head["dim"],
        "bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2, "unk_token_id": 3,
        "student": student,
    }, indent=2)
    shutil.copyfile(run.base / "tokenizer.json", folder / "tokenizer.json")
    shutil.copyfile(graph, folder / "onnx" / "model_quantized.onnx")
    for name in ("head.json", "prototypes.json"):
        shutil.copyfile(heads / name, folder / name)
    write_json(folder / "manifest.json", {
        "format": 1, "id": folder.name, "labels": LABELS, "dim": head["dim"], "max_tokens": TOKENS_MAX,
        "vocabulary": vocabulary,
        "files": {n: {"sha256": sha256(folder / n), "bytes": (folder / n).stat().st_size} for n in FILES},
        "training": training,
    }, indent=2)


def _commit() -> str:
    """Returns the current commit, or "none" if git reports no commit."""
    asked = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    return asked.stdout.strip() if asked.returncode == 0 else "none"
