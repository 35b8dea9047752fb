"""Defines a run of the pipeline, and the stamp by which a finished step is skipped.

Inputs: the command line and `settings.toml`. Output: a `Run` that every step takes. A step's stamp
is a hash of the seed, its input files and the settings that it reads. If one of these changes, the
step runs again, and so does each later step whose inputs change. The stamp does not cover the code.
"""

import hashlib
import json
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WORK = ROOT / "training" / "work"
LOG = WORK / "log.txt"
"""Output of the steps, over all runs."""
WRITTEN_EVAL = ROOT / "tests" / "data" / "written"
WRITTEN_TRAIN = ROOT / "training" / "written"
RELEASE = ROOT / "tests" / "data" / "release"


@dataclass
class Run:
    """One run of the pipeline: the paths of its inputs, and all its settings."""

    data: Path
    base: Path
    id: str
    extra: Path | None = None
    settings: dict = field(default_factory=lambda: tomllib.loads(
        (ROOT / "training" / "settings.toml").read_text("utf-8")))

    @property
    def seed(self) -> int:
        """The only seed; a step that needs several adds its own constants."""
        return self.settings["seed"]

    @property
    def tokenizer(self) -> str:
        """The path of the base tokenizer's file."""
        return str(self.base / "tokenizer.json")


class Step:
    """A step's folder and stamp.

    This is no context manager on purpose: a step calls `finished` first and `finish` last.
    """

    def __init__(self, run: Run, name: str, inputs: list[Path], tables: list[str]):
        self.folder = WORK / name
        self.folder.mkdir(parents=True, exist_ok=True)
        self.name = name
        facts = {
            "seed": run.seed,
            "settings": {t: run.settings.get(t) for t in tables},
            "inputs": {p.name: sha256(p) for p in inputs},
        }
        self.stamp = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()

    def finished(self) -> bool:
        """Returns whether the folder holds the outputs of exactly these inputs and settings."""
        return self._says("stamp")

    def resumable(self) -> bool:
        """Returns whether the last `begin` in the folder had exactly these inputs and settings."""
        return self._says("begun")

    def begin(self) -> None:
        """Marks new checkpoints as belonging to this stamp, and the outputs as not complete."""
        (self.folder / "begun").write_text(self.stamp)
        (self.folder / "stamp").unlink(missing_ok=True)

    def finish(self) -> None:
        """Marks the outputs as complete."""
        (self.folder / "stamp").write_text(self.stamp)
        print(f"{self.name}: done")

    def _says(self, file: str) -> bool:
        path = self.folder / file
        return path.exists() and path.read_text() == self.stamp


def sha256(path: Path) -> str:
    """Returns the SHA-256 of a file in hex."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write_rows(path: Path, rows) -> None:
    """Writes one JSON object per line."""
    with path.open("w", encoding="utf-8") as out:
        for row in rows:
            out.write(json.dumps(row, ensure_ascii=False) + "\n")


def write_json(path: Path, value, indent: int | None = None) -> None:
    """Writes JSON in UTF-8, with one final newline."""
    path.write_text(json.dumps(value, ensure_ascii=False, indent=indent) + "\n", "utf-8")


def read_rows(path: Path) -> list[dict]:
    """Returns the objects of a JSONL file; skips blank lines."""
    with path.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines if line.strip()]
