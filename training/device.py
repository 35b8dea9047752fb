"""Where tensors are computed: on a GPU where there is one, else on the CPU.

The settings are the same on both, the sums are added in another order: two runs on different devices
agree within the intervals of the figures, not in their bits.
"""

import torch

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def lower_precision(enabled: bool) -> torch.autocast:
    """bfloat16 where it is safe, within the block; not on a CPU that has no instructions for it.

    Such a CPU computes it by software: 20 s instead of under 3 s for a step of the teacher, as measured
    on two cores with AVX2 alone.
    """
    fast = DEVICE.type == "cuda" or torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return torch.autocast(DEVICE.type, dtype=torch.bfloat16, enabled=enabled and fast)


def full_precision() -> torch.autocast:
    """float32 throughout, within the block."""
    return torch.autocast(DEVICE.type, enabled=False)
