"""Writes the student as an ONNX graph, with float or int8 weights.

Input: the network's weights. Output: a model with one input `input_ids` `[1, tokens]` and one output
`embedding` `[1, dim]`. The graph takes one text at a time, so it has no mask. Its layers are
model-local functions. `crates/classifier/src/encoder.rs` computes each function with one kernel; any
other runtime executes the basic operators of its body. The graph has no shape arithmetic and no
`value_info`.

Int8 is weight-only and symmetric, with one scale per output channel. Biases, convolution weights and
the pooling score stay float32. The embedding table is dequantised after its Gather, with one scale
per column, so the table stays int8 in memory.
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
STUDENT = WORK / "student" / "network.safetensors"

OPSET = 17
DOMAIN = "jeffrey.edge"
"""Domain of the layers, which are functions in the file itself."""
_CLIPS = np.linspace(0.3, 1.0, 36)
"""Candidate int8 ranges, as shares of the largest weight; `to_int8` takes the least squared error."""


class Graph:
    """A graph under construction; a method that adds to it returns the name or names of its output."""

    def __init__(self, weights: dict[str, np.ndarray], quantised: bool):
        self.weights, self.quantised = weights, quantised
        self.nodes, self.initialisers = [], []

    def op(self, kind: str, *inputs: str, domain: str = "", **attributes) -> str:
        """Adds one node with one output."""
        name = f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name=name, domain=domain,
                                           **attributes))
        return name

    def layer(self, kind: str, *inputs: str, **attributes) -> str:
        """Adds one node that calls a function of `_functions`."""
        return self.op(kind, *inputs, domain=DOMAIN, **attributes)

    def constant(self, name: str, value: np.ndarray) -> str:
        """Adds an initialiser; float64 becomes float32."""
        if value.dtype == np.float64:
            value = value.astype(np.float32)
        self.initialisers.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def lookup(self, ids: str) -> str:
        """Adds the lookup of ids in the embedding table."""
        return self.layer("Embed", ids, *self._stored("table", self.weights["table.weight"]))

    def linear(self, x: str, name: str, weight: np.ndarray, bias: np.ndarray) -> str:
        """Adds `x W + b`, with a weight `[in, out]` and a bias `[out]`."""
        return self.layer("Linear", x, *self._stored(f"{name}.weight", weight),
                          self.constant(f"{name}.bias", bias))

    def _stored(self, name: str, value: np.ndarray) -> list[str]:
        """Adds a weight `[rows, columns]`: floats, or int8 and one scale per column."""
        if not self.quantised:
            return [self.constant(name, value)]
        whole, scale = to_int8(value, axis=1)
        return [self.constant(name, whole), self.constant(f"{name}.scale", scale)]

    def parts(self, *names: str) -> tuple[np.ndarray, np.ndarray]:
        """Returns the concatenated weights `[in, out]` and biases `[out]` of layers over one input."""
        return (np.concatenate([self.weights[f"{n}.weight"].T for n in names], 1),
                np.concatenate([self.weights[f"{n}.bias"] for n in names]))

    def norm(self, x: str, name: str) -> str:
        """Adds a layer norm; the operator requires a scale, so the scale is 1."""
        scale = np.ones(self.weights["into.bias"].shape, np.float32)
        return self.op("LayerNormalization", x, self.constant(f"{name}.norm.scale", scale),
                       axis=-1, epsilon=NORM_EPSILON)

    def block(self, x: str, name: str) -> str:
        """Adds a `network.Block`."""
        both = self.linear(self.norm(x, f"{name}.up"), f"{name}.up_gate",
                           *self.parts(f"{name}.up", f"{name}.gate"))
        mixed = self.layer("GatedConvolution", both,
                           self.constant(f"{name}.depth.weight", self.weights[f"{name}.depth.weight"]),
                           self.constant(f"{name}.depth.bias", self.weights[f"{name}.depth.bias"]))
        x = self.op("Add", x, self.linear(mixed, f"{name}.out", *self.parts(f"{name}.out")))
        wide = self.linear(self.norm(x, f"{name}.wide"), f"{name}.wide", *self.parts(f"{name}.wide"))
        return self.op("Add", x, self.linear(self.op("Relu", wide), f"{name}.narrow",
                                             *self.parts(f"{name}.narrow")))

    def attention(self, x: str, heads: int) -> str:
        """Adds `Network._attend` on the normalised input, with its residual connection."""
        weight, bias = self.parts("query", "key", "value")
        dim = len(bias) // 3
        # The query's weights and bias include the factor 1 / sqrt(width of a head).
        share = np.concatenate([np.full(dim, (dim // heads) ** -0.5), np.ones(2 * dim)])
        x3 = self.linear(self.norm(x, "attention"), "attention", weight * share, bias * share)
        mixed = self.layer("Attention", x3, heads=heads)
        return self.op("Add", x, self.linear(mixed, "mix", *self.parts("mix")))

    def pool(self, x: str) -> str:
        """Adds the attention-weighted mean and the maximum over tokens, mapped to `[1, dim]`.

        The score has no bias, because a softmax over tokens ignores it.
        """
        both = self.layer("Pool", self.norm(x, "pool"),
                          self.constant("pool.score", self.weights["pool_score.weight"].T))
        weight = np.concatenate([self.weights["pool_mean.weight"].T, self.weights["pool_max.weight"].T])
        return self.linear(both, "pool", weight, self.weights["pool_mean.bias"])


def _functions(dim: int, heads: int, quantised: bool) -> list[onnx.FunctionProto]:
    """Returns each layer in basic operators, for runtimes that do not know the layer by name."""
    node = helper.make_node
    widened = ([node("DequantizeLinear", ["weight", "scale"], ["w"], axis=1)] if quantised
               else [node("Identity", ["weight"], ["w"])])
    stored = ["weight", "scale"] if quantised else ["weight"]
    rows = [node("Gather", ["weight", "ids"], ["rows" if quantised else "y"], axis=0)]
    if quantised:
        # Only the rows that are read become floats, so the table stays int8 in memory.
        rows.append(node("DequantizeLinear", ["rows", "scale"], ["y"], axis=2))
    heads = heads or 1
    sizes = [node("Constant", [], [name], value_ints=value) for name, value in (
        ("split", [0, 0, heads, dim // heads]), ("joined", [0, 0, dim]))]

    def function(name: str, inputs: list[str], nodes: list, attributes: tuple[str, ...] = ()):
        return helper.make_function(DOMAIN, name, inputs, ["y"], nodes,
                                    [helper.make_opsetid("", OPSET)], list(attributes))

    return [
        function("Embed", ["ids", *stored], rows),
        function("Linear", ["x", *stored, "bias"], [
            *widened, node("MatMul", ["x", "w"], ["xw"]), node("Add", ["xw", "bias"], ["y"])]),
        function("GatedConvolution", ["x", "taps", "bias"], [
            node("Split", ["x"], ["up", "gate"], axis=-1),
            node("Transpose", ["up"], ["channels"], perm=[0, 2, 1]),
            node("Conv", ["channels", "taps", "bias"], ["convolved"], group=dim, auto_pad="SAME_UPPER"),
            node("Transpose", ["convolved"], ["mixed"], perm=[0, 2, 1]),
            node("Sigmoid", ["gate"], ["open"]),
            node("Mul", ["mixed", "open"], ["y"])]),
        # A runtime with its own kernel reads the number from `heads`; the shapes below contain it too.
        function("Attention", ["x"], [
            *sizes,
            node("Split", ["x"], ["q", "k", "v"], axis=-1),
            *(node("Reshape", [n, "split"], [f"{n}4"]) for n in "qkv"),
            node("Transpose", ["q4"], ["queries"], perm=[0, 2, 1, 3]),
            node("Transpose", ["k4"], ["keys"], perm=[0, 2, 3, 1]),
            node("Transpose", ["v4"], ["values"], perm=[0, 2, 1, 3]),
            node("MatMul", ["queries", "keys"], ["scores"]),
            node("Softmax", ["scores"], ["shares"], axis=-1),
            node("MatMul", ["shares", "values"], ["parts"]),
            node("Transpose", ["parts"], ["beside"], perm=[0, 2, 1, 3]),
            node("Reshape", ["beside", "joined"], ["y"])], ("heads",)),
        function("Pool", ["x", "score"], [
            node("MatMul", ["x", "score"], ["scores"]),
            node("Softmax", ["scores"], ["shares"], axis=1),
            node("Transpose", ["shares"], ["across"], perm=[0, 2, 1]),
            node("MatMul", ["across", "x"], ["mean"]),
            node("ReduceMax", ["x"], ["highest"], axes=[1], keepdims=1),
            node("Concat", ["mean", "highest"], ["both"], axis=-1),
            node("Constant", [], ["first"], value_ints=[1]),
            node("Squeeze", ["both", "first"], ["y"])]),
    ]


def to_int8(value: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns whole numbers from -127 to 127 and one float32 scale per channel along `axis`."""
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
    """Returns the whole graph; raises `onnx.checker.ValidationError` if it is not valid."""
    graph = Graph(weights, quantised)
    blocks = 1 + max((int(n.split(".")[1]) for n in weights if n.startswith("blocks.")), default=-1)
    dim = len(weights["into.bias"])
    x = graph.linear(graph.lookup("input_ids"), "into", *graph.parts("into"))
    for number in range(blocks):
        x = graph.block(x, f"blocks.{number}")
        if heads and number + 1 == (blocks + 1) // 2:
            x = graph.attention(x, heads)
    graph.pool(x)
    graph.nodes[-1].output[0] = "embedding"
    model = helper.make_model(
        helper.make_graph(
            graph.nodes, "jeffrey-edge",
            [helper.make_tensor_value_info("input_ids", TensorProto.INT64, [1, "tokens"])],
            [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, [1, dim])],
            graph.initialisers),
        functions=_functions(dim, heads, quantised),
        producer_name="jeffrey-edge training", ir_version=8,
        opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid(DOMAIN, 1)])
    onnx.checker.check_model(model)
    return model


def run(run: Run) -> None:
    """Writes the float and the int8 graph of the trained student, unless the step is finished.

    Only the float graph is compared with the network.
    """
    step = Step(run, "graph", [STUDENT], ["student"])
    if step.finished():
        return
    weights = load_file(STUDENT)
    for name, quantised in (("model_float.onnx", False), ("model_quantized.onnx", True)):
        onnx.save(build(weights, run.settings["student"]["heads"], quantised), FOLDER / name)
    _compare(run, weights)
    step.finish()


def _compare(run: Run, weights: dict[str, np.ndarray]) -> None:
    """Raises `AssertionError` if the float graph and the network differ.

    The tolerances are 2e-4 absolute and 2e-3 relative, for random ids of 2 to 128 tokens.
    """
    network = Network(len(weights["table.weight"]), run.settings["student"]).eval()
    network.load_state_dict({n: torch.from_numpy(w) for n, w in weights.items()})
    written = Runtime(FOLDER / "model_float.onnx", run.tokenizer)
    draw = np.random.default_rng(run.seed)
    for tokens in (2, 3, 5, 16, 64, 128):
        ids = draw.integers(4, len(weights["table.weight"]), tokens).tolist()
        with torch.no_grad():
            expected = network(torch.tensor([ids]))[0].numpy()
        np.testing.assert_allclose(written.embed_ids(ids), expected, atol=2e-4, rtol=2e-3)
