"""Blocks with folded constants: faster, and the same architectures."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from pkgen_hf import PKGenPipeline, get_space, modeling_denoiser
from pkgen_hf.denoiser_block import Block, FoldedBlock, folded
from pkgen_hf.modeling_denoiser import EncodedCondition

CONDITIONAL = ["hw-gpt-bench-s", "ofa-mobilenetv3", "nas-bench-bert"]
SPACES = [*CONDITIONAL, "nas-bench-201", "nas-bench-101", "darts"]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def encoded(pipe: PKGenPipeline, name: str) -> EncodedCondition:
    space, denoiser = get_space(name), pipe.denoiser
    task = next(iter(space.tasks))
    return denoiser.encode(denoiser.make_condition(space, pipe.select_prior(space, task, None), task))


def test_samples_in_any_layout_of_memory(pipe: PKGenPipeline) -> None:
    rows = get_space("nas-bench-201").sample(40, seeded())
    with torch.no_grad():
        quick = encoded(pipe, "nas-bench-201")
        expected = pipe.denoiser(rows, 500.0, quick)
        found = pipe.denoiser(rows.T.contiguous().T, 500.0, quick)
        assert quick.is_folded
    assert torch.equal(found, expected)


@pytest.mark.parametrize("name", SPACES)
def test_folded_blocks_give_the_same_logits(pipe: PKGenPipeline, name: str) -> None:
    """Those of more samples than go through the blocks at once, too, with slots without effect among them."""
    space = get_space(name)
    rows = space.sample(300, seeded())
    assert space.is_conditional == (name in CONDITIONAL)
    with torch.no_grad():
        quick = encoded(pipe, name)
        assert quick.is_folded and len(rows) > quick.part(space.num_slots)
        logits = pipe.denoiser(rows, 500.0, quick)
        expected = pipe.denoiser(rows, 500.0, replace(quick, folded_blocks=None))
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-4)
    assert not torch.equal(logits, expected)  # they were computed in another way


@pytest.mark.parametrize("distinct", [False, True], ids=["raw", "distinct"])
@pytest.mark.parametrize("name", SPACES)
def test_same_architectures_for_a_seed(
    pipe: PKGenPipeline, name: str, distinct: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {"num_architectures": 24, "distinct": distinct}
    quick = [pipe(name, generator=seeded(seed), **options) for seed in range(2)]
    monkeypatch.setattr(modeling_denoiser, "folded", lambda blocks: None)
    for seed, found in enumerate(quick):
        expected = pipe(name, generator=seeded(seed), **options)
        assert sorted(map(str, found.architectures)) == sorted(map(str, expected.architectures))
        torch.testing.assert_close(found.scores, expected.scores, rtol=1e-4, atol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("factor", [1.0, 40.0], ids=["usual", "beyond the range of exponentials"])
@pytest.mark.parametrize("is_masked", [False, True])
def test_a_folded_block_is_the_block(factor: float, is_masked: bool) -> None:
    torch.manual_seed(0)
    block = Block(32, 4)
    for weight in block.parameters():
        weight.add_(0.2 * torch.randn(weight.shape))
    block.query_key_value.weight[:64] *= factor**0.5
    hidden, bias = torch.randn(5, 7, 32), torch.randn(4, 7, 7)
    active = torch.rand(5, 7) < 0.6
    active[:, 0] = True
    mask = active if is_masked else None
    expected = block(hidden, bias, mask)
    (quick,) = folded([block]) or ()
    found = quick(hidden.clone(), bias, mask)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    mixed = torch.nn.functional.layer_norm(hidden, (32,)) @ quick.query_key_value
    query, key = mixed[..., :32] + quick.query_bias, mixed[..., 32:64]
    products = query.view(5, 7, 4, 8).transpose(1, 2) @ key.view(5, 7, 4, 8).permute(0, 2, 3, 1)
    assert (products.abs().max() > 89) == (factor > 1)  # exp(89) is infinite in float32


def test_blocks_are_folded_where_that_serves() -> None:
    block = Block(16, 2)
    assert folded([block]) is None  # gradients
    with torch.no_grad():
        assert isinstance((folded([block]) or ())[0], FoldedBlock)
        assert folded([Block(16, 2).bfloat16()]) is None and folded([Block(16, 2).to("meta")]) is None
        block.project = torch.nn.utils.parametrizations.weight_norm(block.project)  # as adapters replace it
        assert folded([block]) is None


def test_gradients_and_autocast_are_those_of_the_blocks(pipe: PKGenPipeline) -> None:
    rows = get_space("nas-bench-201").sample(4, seeded())
    with torch.no_grad():
        condition = encoded(pipe, "nas-bench-201")
        with torch.autocast("cpu", torch.bfloat16):
            assert not condition.is_folded and pipe.denoiser(rows, 0.0, condition).isfinite().any()
    assert not condition.is_folded
    assert pipe.denoiser(rows, 0.0, condition).grad_fn is not None
