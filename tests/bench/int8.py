"""Writes the dynamically quantised forms of the shipped encoder that may be onnxruntime's best.

Inputs: the shipped ONNX file (weight-only int8), its head, and the golden rows with their token ids.
Outputs, in a folder: one graph per candidate, and `candidates.json` with the agreement of each with
the golden labels through the linear head. `int8.js` measures which is the fastest in wasm. These
forms are not shipped: they exist so that the benchmark times onnxruntime at its best. Convolutions
stay float, because onnxruntime-web's integer convolution made the depthwise layers four times slower
at 64 tokens.

Usage: python int8.py MODEL_FOLDER GOLDEN_FILE OUT_FOLDER
"""

import itertools
import json
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper
from onnx.inliner import inline_local_functions
from onnxruntime.quantization import QuantType, quantize_dynamic

WEIGHTS = {"int8": QuantType.QInt8, "uint8": QuantType.QUInt8}


def main(model: Path, golden: Path, out: Path) -> None:
    """Deletes the old candidates and writes new ones; skips those that onnxruntime cannot run."""
    out.mkdir(parents=True, exist_ok=True)
    for stale in out.glob("*.onnx"):
        stale.unlink()
    head = json.loads((model / "head.json").read_text("utf-8"))
    lines = golden.read_text("utf-8").split("\n")
    rows = [row for row in map(json.loads, filter(None, lines)) if row["ids"]]

    candidates = []
    for table_kept in (True, False):
        source = out / "float.onnx"
        # The quantiser reads the nodes of the graph, not those of its functions.
        basic = inline_local_functions(onnx.load(model / "onnx" / "model_quantized.onnx"))
        onnx.save(widened(basic, table_kept), source)
        operators = ["MatMul"] if table_kept else ["MatMul", "Gather"]
        for (name, weight), channels in itertools.product(WEIGHTS.items(), (False, True)):
            parts = [name, "channel" if channels else "tensor", "" if table_kept else "table"]
            file = "-".join(filter(None, parts)) + ".onnx"
            quantize_dynamic(source, out / file, weight_type=weight, per_channel=channels,
                             op_types_to_quantize=operators)
            try:
                candidates.append({"file": file, "agreement": agreement(out / file, head, rows)})
            except Exception as error:  # onnxruntime has no kernel, or refuses the graph
                (out / file).unlink()
                print(f"int8: {file} does not run: {str(error).splitlines()[0][:160]}", file=sys.stderr)
        source.unlink()
    text = json.dumps({"onnxruntime": onnxruntime.__version__, "candidates": candidates}, indent=2)
    (out / "candidates.json").write_text(text + "\n", "utf-8")


def widened(model: onnx.ModelProto, table_kept: bool) -> onnx.ModelProto:
    """Returns `model`, changed to float32 weights; the embedding table stays int8 if `table_kept`."""
    known = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    axes = {node.output[0]: node for node in model.graph.node}
    renamed, dropped, added = {}, [], []
    for node in model.graph.node:
        if node.op_type != "DequantizeLinear":
            continue
        origin = axes.get(node.input[0])
        if node.input[0] in known:
            value = dequantised(node, known, rank=known[node.input[0]].ndim)
            added.append(numpy_helper.from_array(value, node.output[0]))
            dropped.append(node)
        elif origin is not None and origin.op_type == "Gather" and not table_kept:
            # The scale is per column, so the table can be scaled before the Gather as well.
            table = known[origin.input[0]].astype(np.float32) * known[node.input[1]]
            name = f"{origin.input[0]}.float"
            added.append(numpy_helper.from_array(table.astype(np.float32), name))
            origin.input[0] = name
            renamed[node.output[0]] = origin.output[0]
            dropped.append(node)
    for node in dropped:
        model.graph.node.remove(node)
    for node in model.graph.node:
        for index, name in enumerate(node.input):
            node.input[index] = renamed.get(name, name)
    model.graph.initializer.extend(added)
    used = {name for node in model.graph.node for name in node.input}
    for tensor in list(model.graph.initializer):
        if tensor.name not in used:
            model.graph.initializer.remove(tensor)
    del model.graph.value_info[:]
    onnx.checker.check_model(model)
    return model


def dequantised(node: onnx.NodeProto, known: dict[str, np.ndarray], rank: int) -> np.ndarray:
    """Returns (x - zero point) * scale, along the node's axis if there is one scale per channel."""
    value, scale = known[node.input[0]].astype(np.float32), known[node.input[1]]
    zero = known[node.input[2]].astype(np.float32) if len(node.input) > 2 else np.zeros_like(scale)
    if scale.ndim == 1:
        axis = next((helper.get_attribute_value(a) for a in node.attribute if a.name == "axis"), 1)
        shape = [1] * rank
        shape[axis] = -1
        scale, zero = scale.reshape(shape), zero.reshape(shape)
    return ((value - zero) * scale).astype(np.float32)


def agreement(graph: Path, head: dict, rows: list[dict]) -> float:
    """Returns the share of golden rows, 0 to 1, whose label the graph's embedding keeps."""
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    weights, bias = np.array(head["weights"]), np.array(head["bias"])
    right = 0
    for row in rows:
        embedding = session.run(None, {session.get_inputs()[0].name: np.array([row["ids"]], np.int64)})[0][0]
        right += head["labels"][int((weights @ embedding + bias).argmax())] == row["label"]
    return right / len(rows)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
