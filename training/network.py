"""Defines the student: the small encoder that ships.

Input: ids `[n, tokens]`. Output: embeddings `[n, dim]`. The encoder has a factorised embedding
table, gated depthwise convolutions over neighbouring tokens, one self-attention layer for distant
tokens, and attention and maximum pooling. `onnx_graph.py` writes the same arithmetic as a graph and
compares the float graph with this network.

Layer norms have no scale and shift of their own. The linear layers after each norm can learn both,
and the graph is smaller without them.
"""

import torch
from torch import nn
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from .batches import PAD_ID

NORM_EPSILON = 1e-5
_OUTSIDE = -1e4
"""Value at padded positions in place of minus infinity."""


class Network(nn.Module):
    """The encoder of the student, without the linear head."""

    def __init__(self, vocabulary: int, want: dict):
        super().__init__()
        dim, self.heads = want["dim"], want["heads"]
        self.table = nn.Embedding(vocabulary, want["dim_table"])
        self.into = nn.Linear(want["dim_table"], dim)
        self.blocks = nn.ModuleList(Block(want) for _ in range(want["blocks"]))
        # Attention follows the middle block: after convolutions over phrases, before the last one.
        self.attention_after = (want["blocks"] + 1) // 2
        if self.heads:
            self.query, self.key, self.value, self.mix = (nn.Linear(dim, dim) for _ in range(4))
        self.pool_score = nn.Linear(dim, 1)
        self.pool_mean = nn.Linear(dim, dim)
        self.pool_max = nn.Linear(dim, dim, bias=False)
        self.dropout = nn.Dropout(want["dropout"])
        self.table_dropout = nn.Dropout(want["table_dropout"])

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Maps padded ids `[n, tokens]` to embeddings `[n, dim]`."""
        mask = (ids != PAD_ID)[..., None]
        x = self.into(self.table_dropout(self.table(ids)))
        for number, block in enumerate(self.blocks, 1):
            x = block(x, mask)
            if self.heads and number == self.attention_after:
                x = x + self.dropout(self._attend(norm(x), mask))
        h = norm(x)
        score = self.pool_score(h).masked_fill(~mask, _OUTSIDE).softmax(1)
        highest = h.masked_fill(~mask, _OUTSIDE).amax(1)
        return self.pool_mean((score * h).sum(1)) + self.pool_max(highest)

    def _attend(self, h: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        n, tokens, dim = h.shape
        q, k, v = (part(h).view(n, tokens, self.heads, -1).transpose(1, 2)
                   for part in (self.query, self.key, self.value))
        # On the CPU, the backward pass of the fused kernel took a fifth of a training step.
        with sdpa_kernel(SDPBackend.MATH):
            mixed = functional.scaled_dot_product_attention(q, k, v, mask[:, None, None, :, 0])
        return self.mix(mixed.transpose(1, 2).reshape(n, tokens, dim))


class Block(nn.Module):
    """A gated depthwise convolution over tokens, then two linear layers on each token alone."""

    def __init__(self, want: dict):
        super().__init__()
        dim = want["dim"]
        self.up, self.gate, self.out = (nn.Linear(dim, dim) for _ in range(3))
        self.depth = nn.Conv1d(dim, dim, want["kernel"], padding=want["kernel"] // 2, groups=dim)
        self.wide, self.narrow = nn.Linear(dim, want["hidden"]), nn.Linear(want["hidden"], dim)
        self.dropout = nn.Dropout(want["dropout"])

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Maps `[n, tokens, dim]` to the same shape.

        Positions outside `mask` `[n, tokens, 1]` are zeros for the convolution, like its border.
        """
        h = norm(x)
        mixed = self.depth((self.up(h) * mask).transpose(1, 2)).transpose(1, 2)
        x = x + self.dropout(self.out(mixed * torch.sigmoid(self.gate(h))))
        return x + self.dropout(self.narrow(torch.relu(self.wide(norm(x)))))


def norm(x: torch.Tensor) -> torch.Tensor:
    """Returns the layer norm over the last axis, without scale and shift."""
    return functional.layer_norm(x, x.shape[-1:], eps=NORM_EPSILON)


def parameters_outside_table(network: Network) -> int:
    """Returns the number of parameters that the maximum of 1.5 million limits (`student.py`)."""
    return sum(p.numel() for n, p in network.named_parameters() if not n.startswith("table."))
