"""How the denoiser reads a frequency: a bounded logarithm of it, and back to logits."""

from __future__ import annotations

import torch

# Added before the logarithm, which is finite then. It is less than 1/20, the frequency of a choice that one of 20 good
# architectures has.
OFFSET = 0.02
SCALE = 4.0  # ln(0.02) is -3.9: values lie between -1 and 0, in the range of the other features


def encode_frequencies(frequencies: torch.Tensor) -> torch.Tensor:
    """``ln(f + 0.02) / 4`` of frequencies from 0 to 1, of the same shape."""
    return (frequencies + OFFSET).log() / SCALE


def decode_logits(encoded: torch.Tensor) -> torch.Tensor:
    """Logits ``ln(f + 0.02)`` of encoded frequencies, of the same shape; 0 where the prior was dropped."""
    return SCALE * encoded
