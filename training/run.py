"""Runs the whole pipeline in order.

    training/.venv/bin/python -m training.run --data FOLDER --base FOLDER --id NAME [--extra FILE]

Finished steps are skipped; `export` and `golden` always run. An interrupted `teacher` or `student`
resumes from its checkpoint. `--until STEP` stops after a step. The output of the steps, without
progress bars, is added to `work/log.txt`, which `export` copies to the model's folder as
`training-log.txt`.
"""

import argparse
import contextlib
import os
import sys
import time
from pathlib import Path

# On a machine shared with builds, a thread that spins at a barrier uses the CPU time of the thread
# that it waits for, and training was measured to be seven times slower. torch reads these variables
# when it is first imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "0")

import torch  # noqa: E402

from . import (  # noqa: E402
    calibrate, corpus, evaluate, export, golden, hold_out, label, onnx_graph, student, teacher,
)
from .stage import LOG, Run  # noqa: E402

STEPS = [hold_out, corpus, teacher, label, student, onnx_graph, calibrate, evaluate, export, golden]


def main() -> None:
    """Parses the command line, checks the frozen files and runs the steps."""
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
            # A step below 3 s was skipped or is short, so its time is not printed.
            if minutes >= 0.05:
                print(f"{name}: {minutes:.1f} min", flush=True)
            if name == given.until:
                break


class Both:
    """Standard output that also goes to a log file."""

    def __init__(self, log):
        self.outputs = [sys.stdout, log]

    def write(self, text: str) -> int:
        """Writes the text to both; returns its length in characters."""
        for output in self.outputs:
            output.write(text)
        return len(text)

    def flush(self) -> None:
        """Flushes both."""
        for output in self.outputs:
            output.flush()


if __name__ == "__main__":
    main()
