"""The whole pipeline in its order; finished steps are skipped, a cut one resumes.

    training/.venv/bin/python -m training.run --data FOLDER --base FOLDER --id NAME [--extra FILE]

`--until STEP` stops after a step. What the steps print is kept in `work/log.txt` and goes into the
model's folder as `training-log.txt`; progress bars are not.
"""

import argparse
import contextlib
import os
import sys
import time
from pathlib import Path

# On a machine shared with builds, a thread that spins at a barrier burns the very slice that the
# thread it waits for needs: seven times slower as measured. Read when torch is first imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "0")

import torch  # noqa: E402

from . import (  # noqa: E402
    calibrate, corpus, evaluate, export, golden, hold_out, label, onnx_graph, student, teacher,
)
from .stage import LOG, Run  # noqa: E402

STEPS = [hold_out, corpus, teacher, label, student, onnx_graph, calibrate, evaluate, export, golden]


def main() -> None:
    """Parse the command line and run the steps."""
    names = [step.__name__.rsplit(".", 1)[-1] for step in STEPS]
    parser = argparse.ArgumentParser(prog="training.run", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the data files")
    parser.add_argument("--base", type=Path, required=True, help="folder of the base encoder")
    parser.add_argument("--id", required=True, help="name of the model folder to write, kebab-case")
    parser.add_argument("--extra", type=Path, help="own rows: JSONL, CSV or TSV with text, label, lang")
    parser.add_argument("--until", choices=names, help="stop after this step")
    given = parser.parse_args()
    run = Run(given.data, given.base, given.id, given.extra)
    torch.set_num_threads(run.settings["threads"])

    hold_out.check_frozen()
    LOG.parent.mkdir(parents=True, exist_ok=True)
    with LOG.open("a", encoding="utf-8") as log, contextlib.redirect_stdout(Both(log)):
        for name, step in zip(names, STEPS):
            began = time.monotonic()
            step.run(run)
            minutes = (time.monotonic() - began) / 60
            # A finished step is skipped in no time: nothing to keep.
            if minutes >= 0.05:
                print(f"{name}: {minutes:.1f} min", flush=True)
            if name == given.until:
                break


class Both:
    """Standard output that is kept in a file as well."""

    def __init__(self, log):
        self.outputs = [sys.stdout, log]

    def write(self, text: str) -> int:
        """To both."""
        for output in self.outputs:
            output.write(text)
        return len(text)

    def flush(self) -> None:
        """Both."""
        for output in self.outputs:
            output.flush()


if __name__ == "__main__":
    main()
