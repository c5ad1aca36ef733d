"""The denoiser: it knows a space only by its description, and a slot only by where it sits."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from pkgen_hf.benchmarks.score_table import ScoreTable
from pkgen_hf.modeling_denoiser import ArchitectureDenoiser, Condition, task_traits
from pkgen_hf.priors.prior import Prior
from pkgen_hf.spaces import TASK_KINDS, TASK_TRAITS, Choice, SearchSpace, Slot, Task, get_space, list_spaces
from pkgen_hf.spaces.parts import CHOICE_FEATURES, SLOT_FEATURES

CELLS = get_space("nas-bench-201")
GRAPHS = get_space("nas-bench-graph")
IDENTITIES = sorted({c.identity for space in (CELLS, GRAPHS) for slot in space.slots for c in slot.choices})


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def randomised(denoiser: ArchitectureDenoiser) -> ArchitectureDenoiser:
    """With all parameters drawn, those too that training starts from zero, so that every part has an effect."""
    generator = seeded(7)
    with torch.no_grad():
        for parameter in denoiser.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return denoiser.eval()


@pytest.fixture(scope="module")
def denoiser() -> ArchitectureDenoiser:
    torch.manual_seed(0)
    return randomised(ArchitectureDenoiser(vocabulary=IDENTITIES))


@pytest.fixture(params=["cells", "graphs"])
def prior(request: pytest.FixtureRequest) -> Prior:
    return request.getfixturevalue(request.param)


@pytest.fixture
def own() -> SearchSpace:
    """A space of the user's own, one of whose choices is of no identity that the denoiser learnt."""
    new = Choice("new", "convolution", kernel=7, dilation=2, separable=True)
    other = Choice("other", "convolution", kernel=9)
    skip = Choice("id", "identity")
    slots = [
        Slot("a", "operation", (skip, new, other), (0,), 1),
        Slot("b", "operation", (new, skip), (0, 1), 2),
        Slot("c", "operation", (new, other, Choice("none", "zero"), skip), (2,), 3),
    ]
    return SearchSpace("own", slots, {"things": Task("dense-regression", 0.0, 2)}, "none")


def randn(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=seeded(5))


# ---------------------------------------------------------------------- what comes out


@pytest.mark.parametrize("batch", [1, 7])
def test_logits_are_of_the_choices_that_exist(denoiser: ArchitectureDenoiser, prior: Prior, batch: int) -> None:
    space = prior.space
    logits = denoiser(space.sample(batch, seeded()), 500.0, denoiser.make_condition(space, prior))
    assert logits.shape == (batch, space.num_slots, space.num_choices)
    assert torch.equal(logits.isfinite(), space.choice_mask.expand_as(logits))
    assert (logits[:, ~space.choice_mask] == -torch.inf).all()
    torch.testing.assert_close(logits.softmax(-1).sum(-1), torch.ones(batch, space.num_slots))


def test_everything_that_is_told_has_an_effect(denoiser: ArchitectureDenoiser, prior: Prior) -> None:
    space = prior.space
    rows, condition = space.sample(8, seeded()), denoiser.make_condition(space, prior)
    other_task = replace(condition, task_traits=1 - condition.task_traits)
    changed_rows = rows.clone()
    changed_rows[:, 0] = (rows[:, 0] + 1) % len(space.slots[0].choices)
    logits = denoiser(rows, 300.0, condition)
    assert torch.equal(denoiser(rows, 300.0, condition), logits)
    for case in [
        (rows, 301.0, condition),
        (changed_rows, 300.0, condition),
        (rows, 300.0, other_task),
        (rows, 300.0, condition.unconditional()),
        (rows, 300.0, replace(condition, relations=torch.zeros_like(condition.relations))),
        (rows, 300.0, replace(condition, slot_features=condition.slot_features.flip(0))),
        (rows, 300.0, replace(condition, choice_ids=torch.zeros_like(condition.choice_ids))),
    ]:
        other_logits = denoiser(*case)
        last = space.choice_mask[-1]  # a slot whose own choice is the same in every case
        assert (other_logits[:, -1, last] - logits[:, -1, last]).abs().max() > 1e-4


def test_samples_of_a_batch_do_not_meet(denoiser: ArchitectureDenoiser, prior: Prior) -> None:
    """Neither do their times: a vector of them is a number for each."""
    rows, condition = prior.space.sample(6, seeded()), denoiser.make_condition(prior.space, prior)
    times = torch.tensor([0.0, 1.0, 250.0, 500.0, 999.0, 1000.0])
    logits = denoiser(rows, times, condition)
    for i, t in enumerate(times.tolist()):
        torch.testing.assert_close(denoiser(rows[i : i + 1], t, condition)[0], logits[i])


def test_encoded_condition_is_the_condition(denoiser: ArchitectureDenoiser, prior: Prior) -> None:
    rows, condition = prior.space.sample(6, seeded()), denoiser.make_condition(prior.space, prior)
    encoded = denoiser.encode(condition)
    for t in (0.0, 400.0):
        assert torch.equal(denoiser(rows, t, condition), denoiser(rows, t, encoded))


def test_priors_of_a_batch_are_those_one_by_one(
    denoiser: ArchitectureDenoiser, cells: Prior, cell_table: ScoreTable
) -> None:
    """Consecutive samples share a prior; here 3 priors for 12 samples."""
    priors = [cells, Prior.from_benchmark(CELLS, "cifar100", 5, cell_table), Prior.absent(CELLS, "cifar10")]
    rows = CELLS.sample(12, seeded())
    times = torch.linspace(0, 1000, 12)
    logits = denoiser(rows, times, denoiser.make_condition(CELLS, priors))
    for i, prior in enumerate(priors):
        part = slice(4 * i, 4 * i + 4)
        alone = denoiser(rows[part], times[part], denoiser.make_condition(CELLS, prior))
        torch.testing.assert_close(logits[part], alone)
    swapped = denoiser(rows, times, denoiser.make_condition(CELLS, priors[::-1]))
    assert (swapped[:4] - logits[:4]).abs().max() > 1e-2


def test_order_of_slots_does_not_matter(denoiser: ArchitectureDenoiser, prior: Prior) -> None:
    """The same descriptions in another order give the same logits in that order: a slot is what it is said to be."""
    space, condition = prior.space, denoiser.make_condition(prior.space, prior)
    order = torch.randperm(space.num_slots, generator=seeded(3))
    assert not torch.equal(order, order.sort().values)
    moved = Condition(
        choice_features=condition.choice_features[order],
        choice_ids=condition.choice_ids[order],
        choice_mask=condition.choice_mask[order],
        slot_features=condition.slot_features[order],
        relations=condition.relations[order][:, order],
        controlling_slots=condition.controlling_slots[order],  # all -1 here
        activating_choices=condition.activating_choices[order],
        prior_features=condition.prior_features[:, order],
        task_traits=condition.task_traits,
        similarity=condition.similarity,
    )
    rows = space.sample(20, seeded())
    logits = denoiser(rows, 300.0, condition)
    torch.testing.assert_close(denoiser(rows[:, order], 300.0, moved), logits[:, order], rtol=1e-4, atol=1e-4)
    # which is no accident: without all of the description following, they differ
    for name in ("slot_features", "relations", "prior_features"):
        other = denoiser(rows[:, order], 300.0, replace(moved, **{name: getattr(condition, name)}))
        difference = (other - logits[:, order])[condition.choice_mask[order].expand_as(other)]
        assert difference.abs().max() > 1e-3, name


def test_order_of_choices_does_not_matter(denoiser: ArchitectureDenoiser, cells: Prior) -> None:
    """A space whose choices are listed in another order is the same space, costs included."""

    class Moved(SearchSpace):
        def flops(self, indices: torch.Tensor, task: str | None = None) -> torch.Tensor:
            return CELLS.flops(order[indices], task)

        def parameters(self, indices: torch.Tensor, task: str | None = None) -> torch.Tensor:
            return CELLS.parameters(order[indices], task)

        def is_valid(self, indices: torch.Tensor) -> torch.Tensor:
            return CELLS.is_valid(order[indices])

        def sample(self, num: int, generator: torch.Generator | None = None) -> torch.Tensor:
            return order.argsort()[CELLS.sample(num, generator)]

    order = torch.tensor([3, 1, 4, 0, 2])
    slots = [replace(slot, choices=tuple(slot.choices[k] for k in order)) for slot in CELLS.slots]
    moved = Moved("moved", slots, CELLS.tasks, "none")
    moved_prior = replace(
        cells,
        space=moved,
        contributions=cells.contributions[:, order],
        subgraph_contributions=cells.subgraph_contributions[:, order],
        frequencies=cells.frequencies[:, order],
    )
    rows = CELLS.sample(20, seeded())
    logits = denoiser(rows, 300.0, denoiser.make_condition(CELLS, cells))
    moved_logits = denoiser(order.argsort()[rows], 300.0, denoiser.make_condition(moved, moved_prior))
    torch.testing.assert_close(moved_logits, logits[..., order], rtol=1e-4, atol=1e-4)


# ---------------------------------------------------------------------- what goes in


def test_identities_are_found_in_the_vocabulary(denoiser: ArchitectureDenoiser, own: SearchSpace) -> None:
    for space in (CELLS, GRAPHS):
        ids = denoiser.make_condition(space, Prior.absent(space)).choice_ids
        assert torch.equal(ids > 0, space.choice_mask)
        for s, slot in enumerate(space.slots):
            found = [IDENTITIES[i - 1] for i in ids[s, : len(slot.choices)].tolist()]
            assert found == [choice.identity for choice in slot.choices]
    ids = denoiser.make_condition(own, Prior.absent(own)).choice_ids
    skip, zero = IDENTITIES.index("identity") + 1, IDENTITIES.index("zero") + 1
    assert ids.tolist() == [[skip, 0, 0, 0], [0, skip, 0, 0], [0, 0, zero, skip]]


def test_own_space_with_unknown_choices_works(denoiser: ArchitectureDenoiser, own: SearchSpace, cells: Prior) -> None:
    rows = own.all_indices()
    for prior in (Prior.absent(own, "things"), Prior.carried_over(own, [cells], "things")):
        logits = denoiser(rows, 100.0, denoiser.make_condition(own, prior, "things"))
        assert torch.equal(logits.isfinite(), own.choice_mask.expand_as(logits))
        assert len(logits[:, 0, 0].unique()) > len(rows) // 2  # they depend on the sample
        # choices of the same (unknown) identity are told apart by their description
        assert (logits[:, 0, 1] - logits[:, 0, 2]).abs().min() > 1e-4


def test_traits_are_those_of_the_task_or_the_prior(denoiser: ArchitectureDenoiser, own: SearchSpace) -> None:
    def traits(space: SearchSpace, priors: Prior | list[Prior], task: str | None = None) -> list[set[str]]:
        rows = denoiser.make_condition(space, priors, task).task_traits.tolist()
        return [{trait for trait, has in zip(TASK_TRAITS, row, strict=True) if has} for row in rows]

    dense = {"image", "regression", "dense"}
    two = SearchSpace("two", own.slots, {"a": Task("other", 0, 2), "b": Task("dense-regression", 0, 2)}, "none")
    a, b, neither, kind = (Prior.absent(two, task) for task in ("a", "b", None, "image-classification"))
    assert traits(two, [a, b, neither]) == [set(), dense, set()]  # the first task's, without one
    assert traits(two, [kind]) == [{"image", "classification"}]  # a kind of task stands for itself
    assert traits(two, [a, b, neither], "b") == [dense] * 3
    assert traits(two, a, "language-modelling") == [{"sequence", "text"}]
    assert traits(GRAPHS, Prior.absent(GRAPHS)) == [{"graph", "classification"}]
    assert traits(SearchSpace("bare", own.slots, {}, "none"), Prior.absent(own)) == [set()]


def test_kinds_of_tasks_differ_in_their_traits() -> None:
    rows = [tuple(task_traits(kind)) for kind in TASK_KINDS]
    assert len(set(rows)) == len(TASK_KINDS) and torch.tensor(rows).any(0).all()


def test_what_a_task_is_worth_is_the_sum_of_its_traits(denoiser: ArchitectureDenoiser, cells: Prior) -> None:
    """A kind that training never saw is told by the traits it shares with those it did."""
    tasks = {}
    for kind in ("image-classification", "image-regression", "dense-regression", "image-segmentation", "other"):
        tasks[kind] = denoiser.encode(denoiser.make_condition(CELLS, cells, kind)).task[0]
    assert not tasks["other"].any()
    dense = tasks["dense-regression"] - tasks["image-regression"]
    torch.testing.assert_close(tasks["image-segmentation"] - tasks["image-classification"], dense)


def test_a_new_denoiser_is_blind_to_tasks(cells: Prior) -> None:
    denoiser = ArchitectureDenoiser(width=16, num_layers=1, num_heads=2)
    rows = CELLS.sample(4, seeded())
    one, other = (denoiser(rows, 100.0, denoiser.make_condition(CELLS, cells, kind)) for kind in ("cifar10", "other"))
    assert torch.equal(one, other)


@pytest.mark.parametrize("name", list_spaces())
def test_every_space_can_be_described(name: str, cells: Prior) -> None:
    """All that the denoiser is told is finite, and so is what it says of 8 architectures."""
    torch.manual_seed(0)
    denoiser = randomised(ArchitectureDenoiser(width=16, num_layers=1, num_heads=2, vocabulary=IDENTITIES))
    space = get_space(name)
    rows = space.sample(8, seeded())
    priors = [Prior.carried_over(space, [cells], next(iter(space.tasks))), Prior.absent(space)]
    condition = denoiser.make_condition(space, priors)
    assert condition.choice_features.shape == (space.num_slots, space.num_choices, CHOICE_FEATURES)
    assert condition.slot_features.shape == (space.num_slots, SLOT_FEATURES)
    for field in fields(condition):
        assert getattr(condition, field.name).isfinite().all(), field.name
    assert condition.slot_features.abs().max() <= 10 and condition.choice_features.abs().max() <= 10
    assert not condition.choice_features[~space.choice_mask].any()
    logits = denoiser(rows, 500.0, condition)
    assert torch.equal(logits.isfinite(), space.choice_mask.expand_as(logits))


def test_dropping_the_prior_is_having_none(denoiser: ArchitectureDenoiser, prior: Prior) -> None:
    space = prior.space
    dropped = denoiser.make_condition(space, [prior, prior]).unconditional()
    absent = Prior.absent(space, prior.task)
    expected = denoiser.make_condition(space, [absent, absent])
    for field in fields(dropped):
        assert torch.equal(getattr(dropped, field.name), getattr(expected, field.name)), field.name
    rows = space.sample(6, seeded())
    assert torch.equal(denoiser(rows, 400.0, dropped), denoiser(rows, 400.0, expected))


# ---------------------------------------------------------------------- parameters


def test_model_is_small(denoiser: ArchitectureDenoiser) -> None:
    assert sum(parameter.numel() for parameter in denoiser.parameters()) <= 2_000_000


@pytest.mark.parametrize("space", [CELLS, GRAPHS], ids=lambda space: space.name)
def test_gradient_reaches_every_parameter(space: SearchSpace, request: pytest.FixtureRequest) -> None:
    """From the start of training; known choices' identities each get one."""
    prior = request.getfixturevalue("cells" if space is CELLS else "graphs")
    torch.manual_seed(0)
    denoiser = ArchitectureDenoiser(vocabulary=IDENTITIES)
    condition = denoiser.make_condition(space, prior)
    logits = denoiser(space.sample(32, seeded()), torch.linspace(0, 1000, 32), condition)
    existing = logits[:, space.choice_mask]
    (existing * randn(*existing.shape)).sum().backward()
    for name, parameter in denoiser.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all() and parameter.grad.any(), name
    mix: Any = denoiser.mix[1]
    assert mix.weight.grad.any(1).all()  # both of what a choice is as an input and as an answer
    used = denoiser.identity.weight.grad
    known = condition.choice_ids[space.choice_mask].unique()
    assert used is not None and torch.equal(used.any(1).nonzero()[:, 0], known)


def test_a_few_steps_learn_what_to_predict(cells: Prior) -> None:
    """One architecture out of noise."""
    torch.manual_seed(0)
    denoiser = ArchitectureDenoiser(width=32, num_layers=1, num_heads=2, vocabulary=IDENTITIES)
    condition = denoiser.make_condition(CELLS, cells)
    target = torch.tensor([3, 1, 4, 2, 0, 3])
    optimizer = torch.optim.Adam(denoiser.parameters(), lr=1e-2)
    generator = seeded()
    for _ in range(60):
        noisy = CELLS.sample(32, generator)
        logits = denoiser(noisy, 1000 * torch.rand(32, generator=generator), condition)
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), target.repeat(32))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    logits = denoiser(CELLS.sample(100, seeded(1)), 500.0, condition)
    assert torch.equal(logits.argmax(-1), target.expand(100, -1))


def test_saved_model_is_the_same(denoiser: ArchitectureDenoiser, prior: Prior, tmp_path: Path) -> None:
    denoiser.save_pretrained(tmp_path)
    assert {path.suffix for path in tmp_path.iterdir()} == {".json", ".safetensors"}
    loaded, info = ArchitectureDenoiser.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(info.values()), info
    assert loaded.config.vocabulary == denoiser.vocabulary == loaded.vocabulary
    weights = denoiser.state_dict()
    assert loaded.state_dict().keys() == weights.keys()
    assert all(torch.equal(value, weights[name]) for name, value in loaded.state_dict().items())
    rows = prior.space.sample(9, seeded())
    condition = loaded.make_condition(prior.space, prior)
    # weights are laid out differently in memory, so that sums may round differently
    torch.testing.assert_close(loaded(rows, 123.0, condition), denoiser(rows, 123.0, condition))


@pytest.mark.parametrize("scale", [{}, {"width": 48, "num_layers": 2, "num_heads": 2, "vocabulary": []}])
def test_model_without_a_vocabulary_knows_choices_by_description(
    scale: dict[str, Any], cells: Prior, tmp_path: Path
) -> None:
    denoiser = randomised(ArchitectureDenoiser(**scale))
    condition = denoiser.make_condition(CELLS, cells)
    assert not condition.choice_ids.any()
    logits = denoiser(CELLS.sample(3, seeded()), 10.0, condition)
    assert len(logits[0, 0].unique()) == 5
    denoiser.save_pretrained(tmp_path)
    assert ArchitectureDenoiser.from_pretrained(tmp_path).width == scale.get("width", 96)


def test_half_precision_follows(denoiser: ArchitectureDenoiser, prior: Prior) -> None:
    half = ArchitectureDenoiser.from_config(denoiser.config)
    half.load_state_dict(denoiser.state_dict())
    half = half.to(torch.bfloat16).eval()
    space, rows = prior.space, prior.space.sample(16, seeded())
    with torch.no_grad():
        logits = half(rows, 500.0, half.make_condition(space, prior))
        exact = denoiser(rows, 500.0, denoiser.make_condition(space, prior))
    assert logits.dtype == torch.bfloat16
    torch.testing.assert_close(logits.float(), exact, rtol=0.1, atol=0.25)
