"""The base encoder as it comes: what the teacher starts from, and how alike it finds two lines.

Enters: its folder, and token ids or texts. Leaves: mean embeddings, or a direction for each text.
"""

from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm
from transformers import AutoModel

from . import batches
from .device import DEVICE, lower_precision
from .stage import Run
from .text import Encoder

PREFIX = "query: "
"""What the base model was trained with before every text."""
_TOKENS_MAX = 64
_BATCH = 128


def load(folder: Path) -> torch.nn.Module:
    """The encoder without its unused pooling layer, in float32."""
    return AutoModel.from_pretrained(folder, dtype=torch.float32, add_pooling_layer=False)


def pooled(encoder: torch.nn.Module, ids: torch.Tensor) -> torch.Tensor:
    """Ids `[n, tokens]` to the mean of the last layer over the tokens `[n, 384]`."""
    mask = (ids != batches.PAD_ID).long()
    states = encoder(input_ids=ids, attention_mask=mask).last_hidden_state.float()
    return (states * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)


@torch.inference_mode()
def directions(run: Run, texts: list[str]) -> np.ndarray:
    """Unit vectors `[n, 384]` of texts in one language, their mean taken away.

    Without that every pair of lines has a cosine above 0.7; with it a free translation has about
    0.4 and a close one 0.8, and lines that have nothing to do with each other about 0.
    """
    encoder = load(run.base).to(DEVICE).eval()
    ids = Encoder(run.tokenizer).encode_all([PREFIX + t for t in texts], _TOKENS_MAX)
    out = np.zeros((len(texts), encoder.config.hidden_size), np.float32)
    for chosen in tqdm(batches.sorted_by_length([len(i) for i in ids], _BATCH), desc="likeness",
                       mininterval=20):
        with lower_precision(True):
            out[chosen] = pooled(encoder, batches.pad([ids[i] for i in chosen])).cpu().numpy()
    out -= out.mean(0)
    return out / np.linalg.norm(out, axis=1, keepdims=True)
