"""Writes the student as an ONNX graph, float or with int8 weights.

Enters: the network's weights. Leaves: a model with one input `input_ids` `[1, tokens]` and one
output `embedding` `[1, dim]`; one text at a time, so there is no mask. Written by hand rather than
by an exporter: only basic operators that tract knows, no shape arithmetic, no `value_info`.

Int8 is weight-only: `DequantizeLinear`, symmetric, a scale for each output channel. The table is
dequantised after its Gather, with a scale for each column, so that it stays int8 in memory.
"""

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import load_file

from .network import NORM_EPSILON, Network
from .runtime import Runtime
from .stage import WORK, Run, Step

FOLDER = WORK / "graph"
STUDENT = WORK / "polish" / "network.safetensors"

OPSET = 17
_CLIPS = np.linspace(0.3, 1.0, 36)
"""Shares of the largest weight tried as the int8 range; the one with the least squared error wins."""


class Graph:
    """Nodes and initialisers in the making; each method returns the name of its outcome."""

    def __init__(self, weights: dict[str, np.ndarray], quantised: bool):
        self.weights, self.quantised = weights, quantised
        self.nodes, self.initialisers, self.known = [], [], set()

    def op(self, kind: str, *inputs: str, **attributes) -> str:
        """One node with one output."""
        name = f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name=name, **attributes))
        return name

    def constant(self, name: str, value) -> str:
        """An initialiser, once under each name."""
        if name not in self.known:
            self.known.add(name)
            value = np.ascontiguousarray(value)
            if value.dtype == np.float64:
                value = value.astype(np.float32)
            self.initialisers.append(numpy_helper.from_array(value, name))
        return name

    def matrix(self, name: str, value: np.ndarray) -> str:
        """A weight `[in, out]`, int8 with a scale for each output channel if quantised.

        A single column (the pooling's score) stays float: 192 weights.
        """
        if not self.quantised or value.shape[1] == 1:
            return self.constant(name, value)
        whole, scale = to_int8(value, axis=1)
        return self.op("DequantizeLinear", self.constant(f"{name}.int8", whole),
                       self.constant(f"{name}.scale", scale), axis=1)

    def linear(self, x: str, name: str, scale: float = 1.0) -> str:
        """`x W + b`; `scale` is folded into both."""
        x = self.op("MatMul", x, self.matrix(f"{name}.weight", self.weights[f"{name}.weight"].T * scale))
        if f"{name}.bias" not in self.weights:
            return x
        return self.op("Add", x, self.constant(f"{name}.bias", self.weights[f"{name}.bias"] * scale))

    def lookup(self, ids: str) -> str:
        """Rows of the table."""
        table = self.weights["table.weight"]
        if not self.quantised:
            return self.op("Gather", self.constant("table", table), ids, axis=0)
        whole, scale = to_int8(table, axis=1)
        rows = self.op("Gather", self.constant("table.int8", whole), ids, axis=0)
        return self.op("DequantizeLinear", rows, self.constant("table.scale", scale), axis=2)

    def norm(self, x: str) -> str:
        """Layer norm without scale and shift, in basic operators."""
        centred = self.op("Sub", x, self.op("ReduceMean", x, axes=[-1], keepdims=1))
        spread = self.op("ReduceMean", self.op("Mul", centred, centred), axes=[-1], keepdims=1)
        spread = self.op("Sqrt", self.op("Add", spread, self.constant(
            "norm.epsilon", np.array([NORM_EPSILON], np.float32))))
        return self.op("Div", centred, spread)

    def block(self, x: str, name: str) -> str:
        """`network.Block`."""
        h = self.norm(x)
        depth = self.weights[f"{name}.depth.weight"]
        mixed = self.taps(self.linear(h, f"{name}.up"), f"{name}.depth", depth)
        mixed = self.op("Mul", mixed, self.op("Sigmoid", self.linear(h, f"{name}.gate")))
        x = self.op("Add", x, self.linear(mixed, f"{name}.out"))
        wide = self.op("Relu", self.linear(self.norm(x), f"{name}.wide"))
        return self.op("Add", x, self.linear(wide, f"{name}.narrow"))

    def taps(self, x: str, name: str, depth: np.ndarray) -> str:
        """The depthwise convolution as a sum of shifted, scaled copies of `x`.

        With a length known only at run time tract computes a depthwise `Conv` as one small matrix
        product a channel: a quarter of the whole time of a short text.
        """
        channels, _, kernel = depth.shape
        reach = kernel // 2
        padded = self.op("Pad", x, self.constant("taps.pads", np.array([0, reach, 0, 0, reach, 0])))
        axis = self.constant("taps.axis", np.array([1]))
        total = self.constant(f"{name}.bias", self.weights[f"{name}.bias"].reshape(1, 1, channels))
        for tap in range(kernel):
            # Counted from the end, so that it fits every length; the last one is open.
            end = tap - kernel + 1 if tap < kernel - 1 else np.iinfo(np.int64).max
            part = self.op("Slice", padded, self.constant(f"taps.{tap}", np.array([tap])),
                           self.constant(f"taps.{tap}.end", np.array([end])), axis)
            scale = self.constant(f"{name}.weight.{tap}", depth[:, 0, tap].reshape(1, 1, channels))
            total = self.op("Add", self.op("Mul", part, scale), total)
        return total

    def attention(self, x: str, heads: int) -> str:
        """`Network._attend` on the normed input, added to the input."""
        h = self.norm(x)
        dim = self.weights["query.weight"].shape[0]
        split = self.constant("heads.split", np.array([0, -1, heads, dim // heads], np.int64))
        joined = self.constant("heads.joined", np.array([0, -1, dim], np.int64))
        # The square root of a head's width goes into the query's weights.
        q = self.op("Reshape", self.linear(h, "query", (dim // heads) ** -0.5), split)
        k = self.op("Reshape", self.linear(h, "key"), split)
        v = self.op("Reshape", self.linear(h, "value"), split)
        q, v = (self.op("Transpose", part, perm=[0, 2, 1, 3]) for part in (q, v))
        k = self.op("Transpose", k, perm=[0, 2, 3, 1])
        mixed = self.op("MatMul", self.op("Softmax", self.op("MatMul", q, k), axis=-1), v)
        mixed = self.op("Reshape", self.op("Transpose", mixed, perm=[0, 2, 1, 3]), joined)
        return self.op("Add", x, self.linear(mixed, "mix"))

    def pool(self, x: str) -> str:
        """Attention-weighted mean and maximum over tokens, to one vector."""
        h = self.norm(x)
        score = self.op("Softmax", self.linear(h, "pool_score"), axis=1)
        mean = self.op("MatMul", self.op("Transpose", score, perm=[0, 2, 1]), h)
        highest = self.op("ReduceMax", h, axes=[1], keepdims=1)
        return self.op("Add", self.linear(mean, "pool_mean"), self.linear(highest, "pool_max"))


def to_int8(value: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """Whole numbers in -127 to 127 and the scale of each channel along `axis`."""
    other = tuple(i for i in range(value.ndim) if i != axis)
    top = np.maximum(np.abs(value).max(axis=other, keepdims=True), 1e-8)
    best_scale, best_error = top / 127, np.full_like(top, np.inf)
    for clip in _CLIPS:
        scale = top * clip / 127
        near = np.clip(np.round(value / scale), -127, 127) * scale
        error = np.square(near - value).sum(axis=other, keepdims=True)
        better = error < best_error
        best_scale, best_error = np.where(better, scale, best_scale), np.where(better, error, best_error)
    scale = best_scale.astype(np.float32)
    whole = np.clip(np.round(value / scale), -127, 127).astype(np.int8)
    return whole, scale.reshape(-1)


def build(weights: dict[str, np.ndarray], heads: int, quantised: bool) -> onnx.ModelProto:
    """The whole graph, checked."""
    graph = Graph(weights, quantised)
    blocks = 1 + max(int(n.split(".")[1]) for n in weights if n.startswith("blocks."))
    dim = weights["into.weight"].shape[0]
    x = graph.linear(graph.lookup("input_ids"), "into")
    for number in range(blocks):
        x = graph.block(x, f"blocks.{number}")
        if number + 1 == (blocks + 1) // 2:
            x = graph.attention(x, heads)
    flat = graph.constant("flat", np.array([1, dim], np.int64))
    graph.nodes.append(helper.make_node("Reshape", [graph.pool(x), flat], ["embedding"], name="embedding"))
    model = helper.make_model(
        helper.make_graph(
            graph.nodes, "jeffrey-edge",
            [helper.make_tensor_value_info("input_ids", TensorProto.INT64, [1, "tokens"])],
            [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, [1, dim])],
            graph.initialisers),
        producer_name="jeffrey-edge training", ir_version=8,
        opset_imports=[helper.make_opsetid("", OPSET)])
    onnx.checker.check_model(model)
    return model


def run(run: Run) -> None:
    """Write the float and the int8 graph of the trained student and compare them with it."""
    step = Step(run, "graph", [STUDENT], ["student"])
    if step.finished():
        return
    weights = load_file(STUDENT)
    for name, quantised in (("model_float.onnx", False), ("model_quantized.onnx", True)):
        onnx.save(build(weights, run.settings["student"]["heads"], quantised), FOLDER / name)
    _compare(run, weights)
    step.finish()


def _compare(run: Run, weights: dict[str, np.ndarray]) -> None:
    """Refuse a float graph that computes anything else than the network."""
    network = Network(len(weights["table.weight"]), run.settings["student"]).eval()
    network.load_state_dict({n: torch.from_numpy(w) for n, w in weights.items()})
    written = Runtime(FOLDER / "model_float.onnx", run.tokenizer)
    draw = np.random.default_rng(run.seed)
    for tokens in (2, 3, 5, 16, 64, 128):
        ids = draw.integers(4, len(weights["table.weight"]), tokens).tolist()
        with torch.no_grad():
            expected = network(torch.tensor([ids]))[0].numpy()
        np.testing.assert_allclose(written.embed_ids(ids), expected, atol=2e-4, rtol=2e-3)
