"""Runs an ONNX file of the student like the edge: one text at a time, then the linear head.

Inputs: texts. Outputs: embeddings and probabilities. The student's figures in `evaluate.py` and the
golden scores come from here, not from the network in training. The teacher's figures and the
macro-F1 of `frontier.py` come from PyTorch.
"""

import json
from pathlib import Path

import numpy as np
import onnxruntime
from tqdm import tqdm

from .text import Encoder, normalise


class Runtime:
    """A session of one graph file, and the tokenizer."""

    def __init__(self, graph: Path, tokenizer: str):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        # onnxruntime's fused kernels for DequantizeLinear also round the activations. Without them,
        # it computes in floats. The edge rounds the inputs of linear layers to 16 bits. That error is
        # a hundredth of the error from rounding the weights (`crates/kernels/src/linear.rs`).
        options.add_session_config_entry("session.disable_quant_qdq", "1")
        self.session = onnxruntime.InferenceSession(graph, options, ["CPUExecutionProvider"])
        self.encoder = Encoder(tokenizer)

    def embed_ids(self, ids: list[int]) -> np.ndarray:
        """Returns the embedding `[dim]` of one text's ids."""
        return self.session.run(None, {"input_ids": np.array([ids], np.int64)})[0][0]

    def embed(self, texts: list[str], what: str) -> np.ndarray:
        """Returns the embeddings `[n, dim]` of texts; `what` names the progress bar."""
        ids = self.encoder.encode_all([normalise(t) for t in texts])
        return np.stack([self.embed_ids(i) for i in tqdm(ids, desc=what, mininterval=10)])


def softmax(logits: np.ndarray) -> np.ndarray:
    """Returns the probabilities along the last axis."""
    raised = np.exp(logits - logits.max(-1, keepdims=True))
    return raised / raised.sum(-1, keepdims=True)


def head_scores(head: dict, embeddings: np.ndarray) -> np.ndarray:
    """Applies `head.json` to `[..., dim]`: `softmax((W e + b) / temperature)`, `[..., 8]`."""
    logits = embeddings @ np.array(head["weights"]).T + np.array(head["bias"])
    return softmax(logits / head["temperature"])


def prototype_scores(prototypes: dict, embeddings: np.ndarray) -> np.ndarray:
    """Applies `prototypes.json` to `[..., dim]`: `softmax(scale cos(e, v))`, `[..., 8]`."""
    unit = embeddings / np.linalg.norm(embeddings, axis=-1, keepdims=True)
    return softmax(prototypes["scale"] * (unit @ np.array(prototypes["vectors"]).T))


def read_json(path: Path) -> dict:
    """Returns the content of a JSON file."""
    return json.loads(path.read_text("utf-8"))
