"""What choices do to costs: shipped for the known spaces as it is measured, and measured for all others."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from pkgen_hf.priors.transfer import choice_similarity, space_similarity
from pkgen_hf.spaces import Choice, SearchSpace, Slot, Task, get_space, list_spaces
from pkgen_hf.spaces.__main__ import write
from pkgen_hf.spaces.base import RESERVED
from pkgen_hf.spaces.cost_effects import FILE, fingerprint, measured_effects, shipped_effects
from pkgen_hf.spaces.nas_bench_201 import CONV3, NASBench201Space

CELLS = get_space("nas-bench-201")


@pytest.fixture(autouse=True)
def another_version(monkeypatch: pytest.MonkeyPatch) -> None:
    """Classes here stand for what `NASBench201Space` may become, so they may have its name."""
    monkeypatch.delitem(RESERVED, CELLS.name)


class Uncounted(NASBench201Space):
    """Cells whose costs nobody may ask for."""

    def flops(self, indices: torch.Tensor, task: str | None = None) -> torch.Tensor:
        raise AssertionError("costs were counted")

    def sample(self, num: int, generator: torch.Generator | None = None) -> torch.Tensor:
        raise AssertionError("networks were drawn")


class Undrawn(NASBench201Space):
    sample = Uncounted.sample


class Dearer(NASBench201Space):
    """Cells in which a 3x3 convolution costs ten times as much."""

    def flops(self, indices: torch.Tensor, task: str | None = None) -> torch.Tensor:
        return super().flops(indices, task) + 9 * 35_389_440 * (indices == CONV3).sum(1)


class Renamed(NASBench201Space):
    def __init__(self) -> None:
        super().__init__()
        first, *others = self.slots
        self.slots = (Slot("first", first.kind, first.choices, first.reads, first.writes), *others)


def in_units_of_spread(costs: torch.Tensor) -> torch.Tensor:
    logs = costs.double().log()
    return (logs - logs.mean()) / logs.std()


@pytest.mark.parametrize("name", list_spaces())
def test_shipped_effects_are_those_that_are_measured(name: str) -> None:
    """The file is written anew by `python -m pkgen_hf.spaces.cost_effects` when a known space changes."""
    space = get_space(name)
    shipped = shipped_effects(space)
    assert shipped is not None, "the file is of an earlier form of this space"
    torch.testing.assert_close(shipped, measured_effects(space), rtol=0, atol=1e-6)
    assert torch.equal(space.cost_effects, shipped) and torch.equal(space.choice_features[..., -3:], shipped)


def test_the_file_holds_the_known_spaces_and_nothing_else() -> None:
    with safe_open(FILE, "pt") as file:
        assert set(file.keys()) == set(file.metadata()) == set(list_spaces())


def test_nothing_is_drawn_for_the_effects_of_a_known_space() -> None:
    assert torch.equal(Undrawn().cost_effects, CELLS.cost_effects)


@pytest.mark.parametrize("changed", [Dearer, Renamed], ids=["costs", "slots"])
def test_a_space_that_has_changed_is_measured_anew(changed: type[NASBench201Space]) -> None:
    space = changed()
    assert space.name == CELLS.name and fingerprint(space) != fingerprint(CELLS)
    assert shipped_effects(space) is None
    assert torch.equal(space.cost_effects, measured_effects(space))
    assert torch.equal(space.cost_effects, CELLS.cost_effects) == (changed is Renamed)


def test_what_was_written_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "effects.safetensors")
    monkeypatch.setattr("pkgen_hf.spaces.cost_effects.FILE", tmp_path / "effects.safetensors")
    for name in ("nas-bench-201", "transnas-bench-101-macro"):
        assert torch.equal(shipped_effects(get_space(name)), measured_effects(get_space(name)))  # type: ignore[arg-type]


def test_effects_are_means_of_standardised_log_costs() -> None:
    """By brute force, of the networks that are drawn for them."""
    rows = CELLS.sample(8192, torch.Generator().manual_seed(0))
    rows = rows[CELLS.is_valid(rows)]
    for i, count in enumerate((CELLS.flops, CELLS.parameters)):
        scores = in_units_of_spread(count(rows))
        for s, k in [(0, CONV3), (5, 0), (3, 1)]:
            assert float(measured_effects(CELLS)[s, k, i]) == pytest.approx(
                float(scores[rows[:, s] == k].mean()), abs=1e-4
            )


def test_a_space_of_a_known_name_without_costs_has_no_effects() -> None:
    slots = [Slot("a", "operation", (Choice("none", "zero"), Choice("skip", "identity")), (0,), 1)]
    own = SearchSpace(
        "nas-bench-201", slots, {"x": Task("other", chance_score=0.0, num_classes=2)}, null_choice="none"
    )
    assert shipped_effects(own) is None and not own.cost_effects.any()


def test_how_alike_spaces_are_needs_no_costs() -> None:
    uncounted = Uncounted()
    for other in (CELLS, get_space("darts")):
        assert space_similarity(other, uncounted) == space_similarity(other, CELLS)
        assert torch.equal(choice_similarity(uncounted, other), choice_similarity(CELLS, other))
