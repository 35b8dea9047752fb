"""Selects the device of all tensors: a GPU if PyTorch finds one, otherwise the CPU.

The settings are the same on both devices, but the order of additions differs. So two runs on
different devices agree within the intervals of the figures, not bit for bit.
"""

import torch

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def lower_precision(enabled: bool) -> torch.autocast:
    """Returns a context in which PyTorch uses bfloat16 for the operations where that is safe.

    The context has no effect if `enabled` is false, or if oneDNN does not support bfloat16 on the
    CPU. Such a CPU emulates bfloat16 in software: a step of the teacher took 20 s instead of under
    3 s, measured on two cores with AVX2 alone.
    """
    fast = DEVICE.type == "cuda" or torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return torch.autocast(DEVICE.type, dtype=torch.bfloat16, enabled=enabled and fast)


def full_precision() -> torch.autocast:
    """Returns a context without autocast, in which float32 tensors stay float32."""
    return torch.autocast(DEVICE.type, enabled=False)
