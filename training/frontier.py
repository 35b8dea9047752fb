"""Trains students of other sizes on the same data, to compare quality with time and file size.

    training/.venv/bin/python -m training.frontier train|plot --data FOLDER --base FOLDER --id NAME

`train` reads the labelled rows and writes a model folder for each student of `settings.toml` to
`work/frontier/`. `tests/bench/frontier.js` measures the time of each. `plot` reads both and writes
`frontier.json` and `frontier.svg` to `models/NAME/`. All students get the same short training on a
share of the rows, so they compare with each other and not with the shipped model.
"""

import argparse
import os
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np  # noqa: E402
import onnx  # noqa: E402
import torch  # noqa: E402
from safetensors.numpy import load_file  # noqa: E402

from . import calibrate, export, label, onnx_graph, student  # noqa: E402
from .network import Network, parameters_outside_table  # noqa: E402
from .runtime import read_json  # noqa: E402
from .stage import ROOT, WORK, Run, Step, write_json  # noqa: E402
from .text import LABELS  # noqa: E402

FOLDER = WORK / "frontier"
TIMES = FOLDER / "times.json"
"""Output of `tests/bench/frontier.js`: folder name to median milliseconds by number of tokens."""
MEASURE = "mean of macro-F1 over the rows for choices"
"""Short name of `voted.quality`."""


def main() -> None:
    """Parses the command line and runs `train` or `plot`."""
    parser = argparse.ArgumentParser(prog="training.frontier", description=__doc__)
    parser.add_argument("what", choices=["train", "plot"])
    parser.add_argument("--data", type=Path, required=True, help="folder of the data files")
    parser.add_argument("--base", type=Path, required=True, help="folder of the base encoder")
    parser.add_argument("--id", required=True, help="the model folder to write the plot to")
    given = parser.parse_args()
    run = Run(given.data, given.base, given.id)
    torch.set_num_threads(run.settings["threads"])
    train(run) if given.what == "train" else plot(run)


def train(run: Run) -> None:
    """Trains every student that is not finished, and writes a model folder for each."""
    want = run.settings["frontier"]
    lessons = None
    for name, changes in want["students"].items():
        settings = {**run.settings["student"], **changes, "epochs": want["epochs"]}
        folder = f"frontier/{name.replace(', ', '-').replace(' ', '-')}"
        run.settings["frontier_student"] = settings
        step = Step(run, folder, [label.FOLDER / "rows.jsonl", label.FOLDER / "logits.npy"],
                    ["frontier_student", "corpus"])
        if step.finished():
            continue
        lessons = lessons or student.Lessons(run, settings, want["share"])
        print(f"frontier: {name}", flush=True)
        quality = student.train(run, step, settings, lessons)
        _write(run, step.folder, name, settings, quality)


def _write(run: Run, folder: Path, name: str, settings: dict, quality: float) -> None:
    weights, head = load_file(folder / "network.safetensors"), load_file(folder / "head.safetensors")
    onnx.save(onnx_graph.build(weights, settings["heads"], quantised=True), folder / "graph.onnx")
    write_json(folder / "head.json", calibrate.head_of(head["weight"], head["bias"]))
    # The benchmark only times whole classifications, so the head's rows can serve as prototypes.
    unit = head["weight"] / np.linalg.norm(head["weight"], axis=1, keepdims=True)
    write_json(folder / "prototypes.json", {
        "labels": LABELS, "dim": unit.shape[1], "vectors": unit.tolist(), "scale": 10.0})
    export.write_model(run, folder / "model", folder / "graph.onnx", folder, settings, {})
    vocabulary = len(weights["table.weight"])
    write_json(folder / "about.json", {
        "name": name, "quality": round(quality, 4),
        "megabytes": round((folder / "graph.onnx").stat().st_size / 1e6, 2),
        "parameters_outside_table": parameters_outside_table(Network(vocabulary, settings)),
    })


def plot(run: Run) -> None:
    """Writes the table and the plot of the trained students; each needs an entry in `TIMES`."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    times = read_json(TIMES)
    students = [{**read_json(path), "milliseconds": times[path.parent.name]}
                for path in sorted(FOLDER.glob("*/about.json"))]
    students.sort(key=lambda s: s["milliseconds"]["16"])
    folder = ROOT / "models" / run.id
    write_json(folder / "frontier.json", {**run.settings["frontier"], "measure": MEASURE, "students": students}, 1)

    pyplot.rcParams.update({"svg.hashsalt": run.id, "font.size": 8, "svg.fonttype": "none"})
    figure, axes = pyplot.subplots(1, 2, figsize=(9, 3.6), sharey=True, layout="constrained")
    for axis, title, value in ((axes[0], "ms at 16 tokens, in Node", lambda s: s["milliseconds"]["16"]),
                               (axes[1], "MB of the graph", lambda s: s["megabytes"])):
        # The students differ in marker as well as colour, for colour-blind readers.
        for s, sign in zip(students, "osD^v<>pP*XhH8"):
            axis.plot(value(s), s["quality"], sign, markersize=7, label=s["name"])
        axis.set_xlabel(title)
        axis.margins(0.1)
        axis.grid(alpha=0.3)
    axes[0].set_ylabel(MEASURE)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right upper", frameon=False)
    figure.savefig(folder / "frontier.svg", metadata={"Date": None})
    print(f"frontier: {len(students)} students in {folder}")


if __name__ == "__main__":
    main()
