"""What a run is, and the stamp by which a finished step is skipped.

Enters: the command line and `settings.toml`. Leaves: a `Run` that every step takes. A step's stamp
is a hash of its input files and of the settings it reads, so a change redoes it and what follows.
"""

import hashlib
import json
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WORK = ROOT / "training" / "work"
LOG = WORK / "log.txt"
"""What the steps printed, over all runs."""
WRITTEN_EVAL = ROOT / "tests" / "data" / "written"
WRITTEN_TRAIN = ROOT / "training" / "written"
RELEASE = ROOT / "tests" / "data" / "release"


@dataclass
class Run:
    """One run of the pipeline: where its inputs are, and all its settings."""

    data: Path
    base: Path
    id: str
    extra: Path | None = None
    settings: dict = field(default_factory=lambda: tomllib.loads(
        (ROOT / "training" / "settings.toml").read_text("utf-8")))

    @property
    def seed(self) -> int:
        """The one seed; steps add a constant of their own where they need several."""
        return self.settings["seed"]

    @property
    def tokenizer(self) -> str:
        """The base tokenizer's file."""
        return str(self.base / "tokenizer.json")


class Step:
    """A step's folder and stamp: `with`-free on purpose, a step asks and then says it is done."""

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
        """Whether the folder holds the outcome of exactly these inputs and settings."""
        return self._says("stamp")

    def resumable(self) -> bool:
        """Whether a checkpoint in the folder was begun with exactly these inputs and settings."""
        return self._says("begun")

    def begin(self) -> None:
        """Mark checkpoints written from now on as belonging to this stamp."""
        (self.folder / "begun").write_text(self.stamp)
        (self.folder / "stamp").unlink(missing_ok=True)

    def finish(self) -> None:
        """Mark the outcome as complete."""
        (self.folder / "stamp").write_text(self.stamp)
        print(f"{self.name}: done")

    def _says(self, file: str) -> bool:
        path = self.folder / file
        return path.exists() and path.read_text() == self.stamp


def sha256(path: Path) -> str:
    """Hex digest of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write_rows(path: Path, rows) -> None:
    """One JSON object a line."""
    with path.open("w", encoding="utf-8") as out:
        for row in rows:
            out.write(json.dumps(row, ensure_ascii=False) + "\n")


def write_json(path: Path, value, indent: int | None = None) -> None:
    """UTF-8, one final newline."""
    path.write_text(json.dumps(value, ensure_ascii=False, indent=indent) + "\n", "utf-8")


def read_rows(path: Path) -> list[dict]:
    """The rows `write_rows` wrote."""
    with path.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines if line.strip()]
