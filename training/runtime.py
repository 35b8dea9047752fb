"""Runs the written ONNX file as the edge does: one text, quantised weights, linear head.

Enters: texts. Leaves: embeddings, probabilities. Every published figure and golden score comes
through here, not from the network in training.
"""

import json
from pathlib import Path

import numpy as np
import onnxruntime
from tqdm import tqdm

from .text import Encoder, normalise


class Runtime:
    """A graph file and the tokenizer."""

    def __init__(self, graph: Path, tokenizer: str):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        # Its fused kernels for DequantizeLinear round the activations too; the edge widens the
        # weights and computes in floats, and so do these figures.
        options.add_session_config_entry("session.disable_quant_qdq", "1")
        self.session = onnxruntime.InferenceSession(graph, options, ["CPUExecutionProvider"])
        self.encoder = Encoder(tokenizer)

    def embed_ids(self, ids: list[int]) -> np.ndarray:
        """Ids of one text to its embedding `[dim]`."""
        return self.session.run(None, {"input_ids": np.array([ids], np.int64)})[0][0]

    def embed(self, texts: list[str], what: str) -> np.ndarray:
        """Texts to embeddings `[n, dim]`; `what` names the progress bar."""
        ids = self.encoder.encode_all([normalise(t) for t in texts])
        return np.stack([self.embed_ids(i) for i in tqdm(ids, desc=what, mininterval=10)])


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities along the last axis."""
    raised = np.exp(logits - logits.max(-1, keepdims=True))
    return raised / raised.sum(-1, keepdims=True)


def head_scores(head: dict, embeddings: np.ndarray) -> np.ndarray:
    """`head.json` applied: `softmax((W e + b) / temperature)`."""
    logits = embeddings @ np.array(head["weights"]).T + np.array(head["bias"])
    return softmax(logits / head["temperature"])


def prototype_scores(prototypes: dict, embeddings: np.ndarray) -> np.ndarray:
    """`prototypes.json` applied: `softmax(scale cos(e, v))`."""
    unit = embeddings / np.linalg.norm(embeddings, axis=-1, keepdims=True)
    return softmax(prototypes["scale"] * (unit @ np.array(prototypes["vectors"]).T))


def read_json(path: Path) -> dict:
    """A JSON file as it stands."""
    return json.loads(path.read_text("utf-8"))
