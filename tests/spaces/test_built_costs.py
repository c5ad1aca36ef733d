"""Costs without formulas: counted on built networks, or a trend by the descriptions of choices."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import nn

from pkgen_hf import Architecture, PKGenPipeline, Prior, Task
from pkgen_hf.budgets.limits import Limits
from pkgen_hf.spaces import Choice, SearchSpace, Slot, get_space
from pkgen_hf.spaces.built_costs import CHECKS, MOST_AT_ONCE
from pkgen_hf.spaces.cost_effects import measured_effects
from pkgen_hf.spaces.described_costs import described_log_costs, products_of

OPERATIONS = (
    Choice("none", "zero"),
    Choice("skip", "identity"),
    Choice("conv1", "convolution", kernel=1),
    Choice("conv3", "convolution", kernel=3),
    Choice("pool", "pooling", kernel=3, aggregation="max"),
)
EDGES = [(a, b) for b in range(1, 5) for a in range(b)]
SLOTS = [Slot(f"{a}->{b}", "operation", OPERATIONS, reads=(a,), writes=b) for a, b in EDGES]
PICTURES = Task("image-classification", num_classes=10, image_size=8)
WIDTHS = (2, 4, 8, 16, 32, 64)


class Cell(nn.Module):
    """Operations that follow each other, which costs the same as a cell."""

    def __init__(self, choices: Sequence[str], task: Task) -> None:
        super().__init__()
        self.stem = nn.Conv2d(task.in_channels, 4, 1, bias=False)
        kernels = [int(name[-1]) for name in choices if name.startswith("conv")]
        self.operations = nn.Sequential(*(nn.Conv2d(4, 4, k, padding=k // 2, bias=False) for k in kernels))
        self.classifier = nn.Linear(4, task.num_classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.operations(self.stem(images)).mean((2, 3)))


class Formulas(SearchSpace):
    """The same with formulas."""

    def parameters(self, indices: torch.Tensor, task: Any = None) -> torch.Tensor:
        data = self.task(task or "pictures")
        return torch.tensor([0, 0, 16, 144, 0])[indices].sum(1) + 4 * data.in_channels + 5 * data.num_classes

    def flops(self, indices: torch.Tensor, task: Any = None) -> torch.Tensor:
        data = self.task(task or "pictures")
        weights = torch.tensor([0, 0, 16, 144, 0])[indices].sum(1) + 4 * data.in_channels
        return data.image_size**2 * weights + 4 * data.num_classes


def cells(build: Any = Cell, kind: type[SearchSpace] = SearchSpace) -> SearchSpace:
    return kind("built-cells", SLOTS, {"pictures": PICTURES}, "none", build=build)


def perceptrons(build: Any = None) -> SearchSpace:
    """Widths of five layers, whose products are the costs."""
    sizes = tuple(Choice(str(width), "size", level=i / 5) for i, width in enumerate(WIDTHS))
    slots = [Slot(f"layer {i}", "width", sizes, reads=(i,), writes=i + 1) for i in range(5)]

    def of_widths(choices: Sequence[str], task: Task) -> nn.Module:
        widths = [task.num_features, *map(int, choices), task.num_classes]
        return nn.Sequential(*(nn.Linear(a, b, bias=False) for a, b in zip(widths, widths[1:], strict=False)))

    tasks = {"numbers": Task("other", 0.0, num_classes=3, num_features=5)}
    return SearchSpace("perceptrons", slots, tasks, "2", build=build or of_widths)


def random_rows(space: SearchSpace, num: int, seed: int = 1) -> torch.Tensor:
    return space.sample(num, torch.Generator().manual_seed(seed))


# ---------------------------------------------------------------------- built networks


def test_costs_that_are_sums_are_those_of_formulas_for_any_number() -> None:
    built: list[Sequence[str]] = []

    def build(choices: Sequence[str], task: Task) -> nn.Module:
        built.append(choices)
        return Cell(choices, task)

    space, formulas = cells(build), cells(kind=Formulas)
    rows = random_rows(space, 3000)
    other = Task("image-classification", num_classes=7, image_size=4, in_channels=1)
    for task in (None, "pictures", other):
        assert torch.equal(space.parameters(rows, task), formulas.parameters(rows, task))
        assert torch.equal(space.flops(rows, task), formulas.flops(rows, task))
    assert len(built) == 2 * (5 * 41 // 4 + CHECKS)  # of two shapes, each once
    assert all(isinstance(choices, tuple) and len(choices) == 10 for choices in built)
    torch.testing.assert_close(space.cost_effects, formulas.cost_effects, rtol=0, atol=1e-5)


def test_few_architectures_are_built_and_no_others() -> None:
    built: list[Sequence[str]] = []

    def build(choices: Sequence[str], task: Task) -> nn.Module:
        built.append(choices)
        return Cell(choices, task)

    space = cells(build)
    rows = random_rows(space, 3)
    counted = [space.parameters(rows), space.flops(rows), space.parameters(rows.flip(0)).flip(0)]
    assert len(built) == 3 and torch.equal(counted[0], counted[2])
    assert {"|".join(choices) for choices in built} == set(space.to_strings(rows))


def test_architectures_build_and_cost_what_the_space_does() -> None:
    space = cells()
    one = Architecture(space, random_rows(space, 1)[0].tolist())
    cost, measured = one.cost(), one.cost(measured=True)
    network = one.build(num_classes=6)
    assert (cost.parameters, cost.flops) == (measured.parameters, measured.flops)
    assert network(torch.zeros(2, 3, 8, 8)).shape == (2, 6)
    grey = Task("image-classification", num_classes=3, image_size=4, in_channels=1)
    of_grey = SearchSpace("built-grey-cells", SLOTS, {"grey": grey}, "none", build=Cell)
    other = Architecture(of_grey, one.indices)
    assert other.build()(torch.zeros(1, 1, 4, 4)).shape == (1, 3)  # of the data set of its space
    assert other.cost().parameters == sum(weight.numel() for weight in other.build().parameters())
    assert other.build(in_channels=3)(torch.zeros(1, 3, 4, 4)).shape == (1, 3)
    assert one.build(task=grey)(torch.zeros(1, 1, 4, 4)).shape == (1, 3)
    assert one.cost(grey).parameters == sum(weight.numel() for weight in one.build(task=grey).parameters())


def test_costs_that_are_no_sums_are_exact_for_few_and_estimated_for_many() -> None:
    space = perceptrons()
    rows = random_rows(space, 400)
    widths = torch.tensor(WIDTHS)[rows]
    exact = 5 * widths[:, 0] + (widths[:, :-1] * widths[:, 1:]).sum(1) + 3 * widths[:, -1]
    assert torch.equal(space.parameters(rows[:MOST_AT_ONCE]), exact[:MOST_AT_ONCE])
    with pytest.raises(NotImplementedError, match="no sums over choices: override parameters"):
        space.parameters(rows)
    with pytest.raises(ValueError, match="max_parameters cannot be held to: perceptrons has no count of costs for mo"):
        Limits(space, "numbers", max_parameters=500)
    both = torch.stack([space.log_costs(rows)[:, 1], exact.log().double()])
    assert torch.corrcoef(both)[0, 1] > 0.9
    effects = space.cost_effects
    assert (effects[:, -1, :2] > 0.3).all() and (effects[:, 0, :2] < 0).all() and (effects[..., 2] == 1).all()


def test_limits_hold_for_the_networks_that_are_built(pipe: PKGenPipeline) -> None:
    space = cells()
    out = pipe(space, "pictures", max_parameters=500, num_architectures=4, prior=Prior.absent(space, "pictures"))
    built = [Cell(str(architecture).split("|"), PICTURES) for architecture in out.architectures]
    assert all(sum(weight.numel() for weight in network.parameters()) <= 500 for network in built)


def test_a_network_that_costs_more_than_its_choices_is_not_returned() -> None:
    strange = ("conv3",) * 2 + ("skip",) * 8

    def build(choices: Sequence[str], task: Task) -> nn.Module:
        network = Cell(choices, task)
        if choices == strange:
            network.add_module("more", nn.Linear(100, 100))
        return network

    space = cells(build)
    row = space.from_strings(["|".join(strange)])
    limits = Limits(space, "pictures", max_parameters=1000)
    assert bool(limits.within(torch.cat([random_rows(space, 100), row]))[-1])  # by the sum
    with pytest.raises(ValueError, match="costs of built-cells are no sums over choices: the built network of 'conv3"):
        limits.confirm(row)
    limits.confirm(space.from_strings(["|".join(["skip"] * 10)]))


def test_networks_without_shapes_alone_are_run() -> None:
    class Looking(Cell):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            assert float(images.sum()) == 0  # which no tensor of the meta device says
            return super().forward(images)

    rows = random_rows(cells(), 5)
    state = torch.get_rng_state()
    assert torch.equal(cells(Looking).flops(rows), cells().flops(rows))
    assert torch.equal(torch.get_rng_state(), state)


def test_networks_on_graphs_count_parameters() -> None:
    tasks = {"molecules": Task("node-classification", num_classes=4, num_features=3)}
    space = SearchSpace("graph-cells", SLOTS, tasks, "none", build=lambda choices, task: Cell(choices, task))
    rows = random_rows(space, 200)
    assert space.parameters(rows).unique().numel() > 5 and space.cost_effects[..., 0].std() > 0.1
    with pytest.raises(NotImplementedError, match="graph-cells has no count of multiply-adds"):
        space.flops(rows)


def fails(choices: Sequence[str], task: Task) -> nn.Module:
    raise KeyError("no such layer")


@pytest.mark.parametrize(
    "build, message",
    [
        (lambda choices, task: 3, "build of built-cells does not return a torch.nn.Module; for '"),
        (fails, "build of built-cells fails: 'no such layer'; for '"),
        (lambda choices, task: nn.Linear(3, 2), "build of built-cells fails: mat1 and mat2"),
    ],
)
def test_builders_that_make_no_network_of_the_task(build: Any, message: str) -> None:
    space = cells(build)
    with pytest.raises(ValueError) as error:
        space.parameters(random_rows(space, 1))
    assert str(error.value).startswith(message) and "\n" not in str(error.value)


def test_build_is_a_function() -> None:
    with pytest.raises(ValueError, match="build of 'built-cells' must be a function, got 'Cell'"):
        cells("Cell")
    assert cells() == cells(None) and hash(cells()) == hash(cells(None))  # a space is what it chooses from

    class WithMethod(SearchSpace):
        def build(self, choices: Sequence[str], task: Task) -> nn.Module:  # type: ignore[override]
            return Cell(choices, task)

    rows = random_rows(cells(), 4)
    assert torch.equal(cells(None, WithMethod).parameters(rows), cells().parameters(rows))
    with pytest.raises(NotImplementedError, match="built-cells has no count of parameters: give it build="):
        cells(None).parameters(rows)


# ---------------------------------------------------------------------- descriptions


def test_products_of_operations() -> None:
    costs = [products_of(choice) for choice in OPERATIONS]
    assert costs == [0, 0, 1, 9, 0]
    separable = products_of(Choice("", "convolution", kernel=5, separable=True))
    assert 1 < separable < products_of(Choice("", "convolution", kernel=5))
    blocks = [
        products_of(Choice("", "inverted-bottleneck", kernel=k, expansion=e)) for k, e in ((3, 3), (5, 3), (3, 6))
    ]
    assert blocks == sorted(blocks) and len(set(blocks)) == 3


@pytest.mark.parametrize("name", ["nas-bench-201", "transnas-bench-101-micro", "nas-bench-macro", "darts"])
def test_descriptions_know_which_choices_cost(name: str) -> None:
    """Effects by descriptions alone are near those that the space counts."""
    space = get_space(name)
    plain = SearchSpace("plain", space.slots, space.tasks, space.null_choice)
    counted, described = space.cost_effects, measured_effects(plain)
    mask = space.drawn_mask
    for i in range(2):
        columns = torch.stack([counted[..., i][mask], described[..., i][mask]])
        assert torch.corrcoef(columns)[0, 1] > 0.7
    assert (described[..., 2][space.choice_mask] == 1).all()


def test_without_a_difference_nothing_is_known_of_costs() -> None:
    slots = [Slot("a", "operation", OPERATIONS[:2], (0,), 1)]
    assert not SearchSpace("plain", slots, {}, "none").cost_effects.any()


def test_sizes_and_slots_without_effect() -> None:
    depth = (Choice("1", "size", level=0.0), Choice("2", "size", level=1.0))
    slots = [
        Slot("depth", "depth", depth, (0,), 1),
        Slot("first", "operation", OPERATIONS, (0,), 1),
        Slot("second", "operation", OPERATIONS, (1,), 2, active_if=("depth", ("2",))),
    ]
    space = SearchSpace("deep", slots, {}, "none")
    rows = torch.tensor([[0, 3, 0], [0, 3, 3], [1, 3, 0], [1, 3, 3]])
    expected = [math.log(10), math.log(10), math.log(10) + 1, math.log(19) + 1]
    assert described_log_costs(space, rows).tolist() == pytest.approx(expected)
