"""The encoding of frequencies that the denoiser reads, and back."""

from __future__ import annotations

import math

import pytest
import torch

from pkgen_hf.modeling_denoiser import ArchitectureDenoiser
from pkgen_hf.priors.data import LOG_FREQUENCY
from pkgen_hf.priors.frequencies import OFFSET, decode_logits, encode_frequencies
from pkgen_hf.priors.prior import Prior
from pkgen_hf.spaces import get_space


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_frequencies_are_restored(dtype: torch.dtype) -> None:
    frequencies = torch.linspace(0, 1, 201, dtype=dtype).reshape(3, 67)
    restored = decode_logits(encode_frequencies(frequencies)).exp() - OFFSET
    assert restored.dtype == dtype
    torch.testing.assert_close(restored, frequencies, rtol=0, atol=1e-6)


def test_encoded_frequencies_are_in_order_and_in_range() -> None:
    encoded = encode_frequencies(torch.linspace(0, 1, 101))
    assert (encoded.diff() > 0).all() and encoded[0] > -1 and abs(encoded[-1]) < 0.01
    assert float(encoded[50]) == pytest.approx(math.log(0.52) / 4)


def test_logits_of_the_prior_are_those_of_its_frequencies() -> None:
    """What the denoiser adds to is the logarithm of the frequencies, up to the offset; nothing where there is none."""
    space = get_space("nas-bench-201")
    rows = space.sample(30, torch.Generator().manual_seed(0))
    prior = Prior.from_evaluations(space, rows, range(30))
    features = prior.features()
    torch.testing.assert_close(decode_logits(features[..., LOG_FREQUENCY]), (prior.frequencies + OFFSET).log())
    denoiser = ArchitectureDenoiser(width=16, num_layers=1, num_heads=2)
    encoded = denoiser.encode(denoiser.describe(space, [prior, Prior.absent(space)]))
    torch.testing.assert_close(encoded.prior[0], (prior.frequencies + OFFSET).log())
    assert not encoded.prior[1].any()
