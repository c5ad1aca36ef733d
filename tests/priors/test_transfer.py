"""How priors pass between tasks and spaces: by what choices are, where slots sit, and what tasks agree on."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest
import torch
from datasets import Dataset

from pkgen_hf.benchmarks.score_table import ScoreTable
from pkgen_hf.priors.data import EVIDENCE, Subgraph
from pkgen_hf.priors.prior import Prior, select_prior
from pkgen_hf.priors.transfer import (
    average,
    choice_similarity,
    consensus_of,
    space_similarity,
    task_kind,
    transfer,
)
from pkgen_hf.spaces import TASK_KINDS, Choice, SearchSpace, Slot, Task, get_space, list_spaces
from pkgen_hf.spaces.nas_bench_201 import CONV3, SKIP

CELLS = get_space("nas-bench-201")
GRAPHS = get_space("nas-bench-graph")
MICRO = get_space("transnas-bench-101-micro")
IMAGES = "image-classification"


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def assert_equal(actual: torch.Tensor, expected: torch.Tensor, atol: float = 0.0) -> None:
    """NaN in the same places, the rest equal."""
    torch.testing.assert_close(actual, expected, rtol=0, atol=atol, equal_nan=True)


def assert_same_prior(actual: Prior, expected: Prior) -> None:
    assert actual.space is expected.space
    for name in ("contributions", "subgraph_contributions", "frequencies"):
        assert_equal(getattr(actual, name), getattr(expected, name))
    for name in ("task", "evidence", "subgraphs", "scale", "num_good", "labels_read", "detail"):
        assert getattr(actual, name) == getattr(expected, name), name


def made_up(space: SearchSpace, task: str | None, seed: int = 0, **changes: Any) -> Prior:
    """A prior of random frequencies and contributions, some of which are not known."""
    draw = torch.rand(3, space.num_slots, space.num_choices, generator=seeded(seed))
    frequencies = draw[0] ** 3 * space.choice_mask
    known = space.choice_mask & (draw[1] > 0.2)
    values = torch.where(known, draw[2] * 10, torch.nan)
    made = replace(
        Prior.absent(space, task),
        evidence="measured",
        frequencies=frequencies / frequencies.sum(1, keepdim=True),
        contributions=values,
        subgraph_contributions=values + 1,
        scale=4.0,
    )
    return replace(made, **changes)


def copy_of(space: SearchSpace, name: str = "copy", **changes: Any) -> SearchSpace:
    parts = {"slots": space.slots, "tasks": space.tasks, "null_choice": space.null_choice}
    return SearchSpace(name, **{**parts, **changes})


@pytest.fixture(params=["cells", "graphs"])
def real(request: pytest.FixtureRequest) -> Prior:
    return request.getfixturevalue(request.param)


# ---------------------------------------------------------------------- averages


def test_average_is_weighted_over_what_is_known() -> None:
    parts = [made_up(CELLS, str(i), i, scale=1.0 + i, num_good=i, labels_read=10 * i) for i in range(3)]
    weights = [0.5, 1.0, 2.5]
    mean = average(parts, weights)
    assert (mean.scale, mean.num_good, mean.labels_read) == (2.0, 3, 30)
    for s in range(6):
        for k in range(5):
            known = [
                (w, float(p.contributions[s, k]) / p.scale)
                for w, p in zip(weights, parts, strict=True)
                if not p.contributions[s, k].isnan()
            ]
            if not known:
                assert mean.contributions[s, k].isnan()
                continue
            expected = 2.0 * sum(w * value for w, value in known) / sum(w for w, _ in known)
            assert float(mean.contributions[s, k]) == pytest.approx(expected, rel=1e-5)
    expected = sum(w / 4 * p.frequencies for w, p in zip(weights, parts, strict=True))
    assert_equal(mean.frequencies, torch.as_tensor(expected), 1e-6)
    assert_equal(average(parts, [3.0, 3.0, 3.0]).frequencies, average(parts).frequencies, 1e-6)


def test_average_is_as_good_as_its_weakest_evidence() -> None:
    for weakest, evidence in enumerate(EVIDENCE):
        parts = [made_up(CELLS, str(i), i, evidence=EVIDENCE[max(0, weakest - i)]) for i in range(3)]
        assert average(parts).evidence == evidence
    graph = Subgraph((0,), (3,), 1.0, 2)
    assert average([made_up(CELLS, str(i), i, subgraphs=(graph,)) for i in range(2)]).subgraphs == (graph, graph)


def test_carried_within_a_space_is_the_average(cell_table: ScoreTable) -> None:
    parts = [Prior.from_benchmark(CELLS, task, 10, cell_table) for task in ("cifar10", "cifar100")]
    stranger = made_up(GRAPHS, "cora")
    carried, mean = Prior.carried_over(CELLS, [*parts, stranger], "ImageNet16-120"), average(parts)
    for name in ("contributions", "subgraph_contributions", "frequencies"):
        assert_equal(getattr(carried, name), getattr(mean, name))
    assert (carried.evidence, carried.task, carried.scale) == ("carried over", "ImageNet16-120", mean.scale)
    assert carried.detail == "from nas-bench-201/cifar10, nas-bench-201/cifar100"
    assert carried.subgraphs == ()


# ---------------------------------------------------------------------- what is alike


@pytest.mark.parametrize("source", [CELLS, GRAPHS, MICRO], ids=lambda space: space.name)
@pytest.mark.parametrize("target", [CELLS, GRAPHS, MICRO], ids=lambda space: space.name)
def test_likeness_is_a_kernel_on_what_and_where(source: SearchSpace, target: SearchSpace) -> None:
    """It is shared out over the source's slots of the kind, and full where choices are the same."""
    alike = choice_similarity(source, target)
    assert alike.shape == (*target.choice_mask.shape, *source.choice_mask.shape)
    assert alike.min() >= 0 and alike.max() <= 1 + 1e-6
    real = target.choice_mask[:, :, None, None] & source.choice_mask
    assert not alike[~real].any()
    same_kind = torch.tensor([[a.kind == b.kind for b in source.slots] for a in target.slots])
    assert not alike.transpose(1, 2)[~same_kind].any()
    if source is target:  # no slot is more alike than the slot itself
        assert torch.equal(alike.sum((1, 3)).argmax(1), torch.arange(source.num_slots))
        if source is not GRAPHS:  # whose slots have different choices
            assert_equal(torch.einsum("skuk->sk", alike), source.choice_mask.float(), 1e-5)


def test_a_skip_connection_is_most_like_a_skip_connection() -> None:
    across = choice_similarity(CELLS, GRAPHS)
    nodes = [s for s, slot in enumerate(GRAPHS.slots) if slot.kind == "operation"]
    skip = GRAPHS.choice_index[nodes[0]]["skip"]
    assert across[nodes, skip].sum((0, 1)).argmax() == SKIP
    assert (across[nodes].sum((0, 2))[:, SKIP].argmax()) == skip


@pytest.mark.parametrize("similarity", [choice_similarity, space_similarity])
def test_similarities_are_kept_no_longer_than_their_spaces(similarity: Callable[..., Any]) -> None:
    assert similarity(CELLS, MICRO) is similarity(CELLS, MICRO)
    own = copy_of(CELLS)
    similarity(own, CELLS), similarity(CELLS, own), similarity(own, own)
    freed = weakref.ref(own)
    del own
    gc.collect()
    assert freed() is None


def test_nearer_spaces_weigh_more() -> None:
    """A copy most, then cells with other operations, then graph networks; none nothing."""
    same, cells, graphs = (space_similarity(space, CELLS) for space in (copy_of(CELLS), MICRO, GRAPHS))
    assert same == pytest.approx(1.02, abs=1e-3)
    assert same > cells > graphs > 0
    for name in list_spaces():
        assert 0 < space_similarity(CELLS, get_space(name)) <= 1.02 + 1e-6


def test_a_copy_of_a_space_gets_nearly_the_same(real: Prior) -> None:
    """Under another name: in each slot what was frequent stays frequent, and contributions stay in order."""
    space, known = real.space, ~real.contributions.isnan()
    carried = transfer(copy_of(space), real)
    top = real.frequencies.argmax(1)
    for s in range(space.num_slots):
        mask = space.choice_mask[s]
        both = torch.stack([real.frequencies[s][mask], carried.frequencies[s][mask]])
        assert torch.corrcoef(both)[0, 1] > 0.75, space.slots[s].name
        assert carried.frequencies[s].max() - carried.frequencies[s, top[s]] < 0.05
    distance = (carried.frequencies - real.frequencies).abs().sum(1) / 2
    uniform = (space.choice_mask / space.sizes[:, None] - real.frequencies).abs().sum(1) / 2
    assert distance.mean() < 0.5 * uniform.mean()
    assert not carried.contributions[known].isnan().any()
    pair = torch.stack([carried.contributions[known], real.contributions[known]])
    assert torch.corrcoef(pair)[0, 1] > 0.99
    assert (carried.evidence, carried.scale, carried.subgraphs) == ("from other spaces", real.scale, ())


def test_what_is_alike_is_carried() -> None:
    """A space with the edges of a cell, its choices renamed and in another order, gets the cell's own frequencies."""
    choices = tuple(replace(choice, name=choice.name + "!") for choice in reversed(CELLS.slots[0].choices))
    slots = [replace(slot, choices=choices) for slot in CELLS.slots]
    space = SearchSpace("renamed", slots, {"pictures": Task(IMAGES, 10.0, 10)}, "none!")
    frequencies = torch.full((6, 5), 0.05)
    frequencies[:, CONV3] = 0.8
    prior = made_up(CELLS, "cifar10", frequencies=frequencies)
    carried = Prior.carried_over(space, [prior], "pictures")
    assert (carried.frequencies.argmax(1) == 4 - CONV3).all()
    assert space.slots[0].choices[4 - CONV3].name == "nor_conv_3x3!"


@pytest.mark.parametrize(
    "strange", [Choice("gate", "activation", activation="sigmoid"), Choice("gcn", "graph-convolution", kernel=1)]
)
def test_an_operation_that_nobody_knows_stays_near_chance(cells: Prior, strange: Choice) -> None:
    """In a space with the cells' operations and one more; the best of the others keep their order."""
    slots = [replace(slot, choices=(strange, *slot.choices)) for slot in CELLS.slots]
    carried = Prior.carried_over(copy_of(CELLS, slots=slots), [cells])
    assert (carried.frequencies[:, 0] - 1 / 6).abs().max() < 0.08
    assert carried.contributions[:, 0].isnan().all()
    plain = transfer(copy_of(CELLS), cells)
    assert torch.equal(carried.frequencies[:, 1:].argsort(1)[:, -2:], plain.frequencies.argsort(1)[:, -2:])
    assert_equal(carried.contributions[:, 1:], plain.contributions, 1e-5)


def test_only_what_is_alike_is_carried() -> None:
    """A cell's convolutions say nothing about graph convolutions, nor its edges about connections."""
    known = made_up(CELLS, "cifar10", contributions=torch.arange(30.0).reshape(6, 5))
    carried = Prior.carried_over(GRAPHS, [known]).contributions
    for s, slot in enumerate(GRAPHS.slots):
        found = [slot.choices[k].name for k in (~carried[s].isnan()).nonzero()[:, 0].tolist()]
        assert found == (["skip"] if slot.kind == "operation" else []), slot.name
    same = Prior.carried_over(GRAPHS, [replace(known, contributions=torch.full((6, 5), 3.0))]).contributions
    assert_equal(same[~same.isnan()], torch.full((int((~same.isnan()).sum()),), 3.0), 1e-5)


def test_a_taste_for_costly_choices_is_carried() -> None:
    """Where nothing else is alike: what was frequent because it costs makes the costly choices frequent."""
    sizes = get_space("nats-bench-size")
    cost = sizes.cost_effects[..., :2].mean(-1)
    for sign in (1, -1):
        taste = (sign * 2 * CELLS.cost_effects[..., :2].mean(-1)).exp()
        prior = made_up(CELLS, "cifar10", frequencies=taste / taste.sum(1, keepdim=True))
        carried = Prior.carried_over(sizes, [prior])
        assert torch.equal(carried.frequencies.argsort(1), (sign * cost).argsort(1))
        assert carried.contributions.isnan().all()


def test_nothing_is_carried_from_nothing() -> None:
    for source, target in [(CELLS, GRAPHS), (GRAPHS, CELLS), (CELLS, MICRO)]:
        carried = Prior.carried_over(target, [Prior.absent(source)])
        assert carried.evidence == "absent" and not carried.features().any()
        assert_equal(carried.frequencies, Prior.absent(target).frequencies, 1e-6)
        assert carried.contributions.isnan().all()
        assert_equal(carried.distribution(), Prior.absent(target).distribution(), 1e-6)


@pytest.mark.parametrize("name", list_spaces())
def test_a_carried_prior_fits_its_space(name: str) -> None:
    """From cells and graph networks to every space: a distribution of what exists, means of what was there."""
    target = get_space(name)
    sources = [made_up(space, task) for space, task in ((CELLS, "cifar10"), (GRAPHS, "cora")) if space is not target]
    carried = Prior.carried_over(target, sources)
    mask = target.drawn_mask
    assert carried.space is target and carried.evidence == "from other spaces"
    assert_equal(carried.frequencies.sum(1), torch.ones(target.num_slots), 1e-5)
    assert torch.equal(carried.frequencies > 0, mask)
    assert carried.features().isfinite().all() and carried.distribution().isfinite().all()
    for part in ("contributions", "subgraph_contributions"):
        values = getattr(carried, part)
        there = torch.cat([getattr(source, part).flatten() for source in sources])
        assert values[~mask].isnan().all() and not values.isinf().any()
        values, there = values[~values.isnan()], there[~there.isnan()]
        assert ((there.min() - 1e-3 <= values) & (values <= there.max() + 1e-3)).all()


def test_several_spaces_are_weighted_by_space_similarity() -> None:
    near, far = made_up(MICRO, "class_scene", 1), made_up(GRAPHS, "cora", 2)
    carried = Prior.carried_over(CELLS, [near, far])
    weights = torch.tensor([space_similarity(MICRO, CELLS), space_similarity(GRAPHS, CELLS)])
    parts = torch.stack([transfer(CELLS, near).frequencies, transfer(CELLS, far).frequencies])
    assert_equal(carried.frequencies, torch.einsum("i,isk->sk", weights / weights.sum(), parts), 1e-6)
    assert carried.detail == "from transnas-bench-101-micro/class_scene, nas-bench-graph/cora"


def test_carried_over_needs_something() -> None:
    with pytest.raises(ValueError, match="at least one"):
        Prior.carried_over(CELLS, [])


# ---------------------------------------------------------------------- what tasks agree on


def test_consensus_is_the_mean_rank_by_brute_force() -> None:
    """Of a table with ties and gaps: 100 less the mean share, in percent, of measured rows that score higher."""
    rows = CELLS.all_indices()[torch.randperm(15_625, generator=seeded())[:60]]
    scores = torch.rand(3, 60, generator=seeded(1)).mul(20).round() * 4 + 10
    scores[1, ::7] = torch.nan
    scores[2, 3] = torch.nan
    columns = {f"{task}_validation_accuracy": scores[i].numpy() for i, task in enumerate(CELLS.tasks)}
    table = ScoreTable(CELLS, Dataset(pa.table({"architecture": CELLS.to_strings(rows), **columns})))
    assert table.tasks_of(IMAGES) == list(CELLS.tasks)
    agreed = table.consensus(table.tasks_of(IMAGES)).tolist()
    for row in range(60):
        shares = []
        for column in scores.tolist():
            measured = [value for value in column if value == value]
            shares.append(sum(value > column[row] for value in measured) / len(measured))
        if scores[:, row].isnan().any():
            assert agreed[row] != agreed[row]
        else:
            assert agreed[row] == pytest.approx(100 - 100 * sum(shares) / 3, abs=1e-3)
    assert_equal(table.consensus(["cifar100"]), scores[1])


def test_best_of_all_tasks_is_the_best_of_the_consensus(cell_table: ScoreTable) -> None:
    """A row that beats another on every task beats it in the consensus."""
    agreed = cell_table.consensus(cell_table.tasks)
    columns = torch.stack([cell_table.column(task) for task in cell_table.tasks])
    one, other = torch.randint(15_625, (2, 5_000), generator=seeded())
    better = (columns[:, one] > columns[:, other]).all(0)
    assert better.sum() > 1000 and (agreed[one] > agreed[other])[better].all()


def test_kind_of_a_task() -> None:
    assert task_kind(CELLS, "cifar10") == task_kind(CELLS, None) == task_kind(CELLS, IMAGES) == IMAGES
    assert task_kind(CELLS, "other") == "other"
    bare = copy_of(CELLS, tasks={})
    assert task_kind(bare, None) == "other"
    mine = copy_of(CELLS, tasks={"other": Task("dense-regression", 0.0, 2)})
    assert task_kind(mine, "other") == "dense-regression"  # a task of that name comes first
    with pytest.raises(ValueError, match="'cifar'.*Did you mean 'cifar10'"):
        task_kind(CELLS, "cifar")


def test_consensus_stands_for_the_tasks_of_its_space() -> None:
    single = [made_up(CELLS, "cifar10", 1), made_up(CELLS, "cifar100", 2), made_up(CELLS, None, 3)]
    agreed = made_up(CELLS, IMAGES, 4)
    scene, objects = made_up(MICRO, "class_scene", 5), made_up(MICRO, "class_object", 6)
    graphs = made_up(GRAPHS, "cora", 7)
    everything = [*single, scene, objects, graphs]
    assert consensus_of(everything, IMAGES) == [*single[:2], scene, objects]
    assert consensus_of([*everything, agreed], IMAGES) == [scene, objects, agreed]  # only where there is one
    assert consensus_of(everything, "node-classification") == [graphs]
    assert consensus_of([], IMAGES) == []


def test_without_the_kind_those_that_share_most_traits_are_read() -> None:
    cells, graphs = made_up(CELLS, "cifar10", 1), made_up(GRAPHS, "cora", 2)
    assert consensus_of([cells, graphs], "image-segmentation") == [cells]  # images are classified
    assert consensus_of([cells, graphs], "edge-classification") == [graphs]
    assert consensus_of([cells, graphs], "speech-recognition") == [cells, graphs]  # neither shares any
    for kind in TASK_KINDS:
        assert consensus_of([cells, graphs], kind)


# ---------------------------------------------------------------------- choosing one


def test_own_prior_is_preferred() -> None:
    own, average_of, agreed = (made_up(CELLS, task, i) for i, task in enumerate(("cifar10", None, IMAGES)))
    everything = [made_up(GRAPHS, "cora", 5), average_of, agreed, own]
    for task, expected in [("cifar10", own), (None, average_of), (IMAGES, agreed)]:
        assert select_prior(everything, CELLS, task) is expected


def test_without_its_own_a_task_takes_those_of_its_space() -> None:
    """Of the same kind if there are any, and never those of other spaces."""
    one, other = made_up(CELLS, "cifar10", 1), made_up(CELLS, "cifar100", 2)
    stranger = made_up(MICRO, "class_scene", 3)
    chosen = select_prior([stranger, one, other], CELLS, "ImageNet16-120")
    assert_same_prior(chosen, Prior.carried_over(CELLS, [one, other], "ImageNet16-120"))
    assert chosen.evidence == "carried over"
    mean = select_prior([stranger, one, other], CELLS, None)
    assert_same_prior(mean, replace(average([one, other]), task=None))

    dense = made_up(MICRO, "normal", 4)
    assert MICRO.task("normal").kind != MICRO.task("class_object").kind == MICRO.task("class_scene").kind
    chosen = select_prior([dense, stranger, one], MICRO, "class_object")
    assert_same_prior(chosen, Prior.carried_over(MICRO, [stranger], "class_object"))
    chosen = select_prior([dense, one], MICRO, "class_object")  # another kind, but the same space
    assert_same_prior(chosen, Prior.carried_over(MICRO, [dense], "class_object"))


def test_without_any_of_its_space_others_are_carried_over() -> None:
    """From what tasks of the same kind agree on."""
    own = copy_of(CELLS, "own", tasks={"pictures": Task(IMAGES, 10.0, 10), "waves": Task("other", 0.0, 2)})
    graphs, single, agreed = made_up(GRAPHS, "cora", 1), made_up(CELLS, "cifar10", 2), made_up(CELLS, IMAGES, 3)
    for task in ("pictures", IMAGES, None):
        chosen = select_prior([graphs, single, agreed], own, task)
        assert_same_prior(chosen, Prior.carried_over(own, [agreed], task))
        assert chosen.evidence == "from other spaces" and chosen.space is own
    waves = select_prior([graphs, single], own, "waves")
    assert_same_prior(waves, Prior.carried_over(own, [graphs, single], "waves"))


def test_order_of_preference() -> None:
    """Its own, its space's of the kind, its space's others, other spaces' of the kind, other kinds, nothing."""
    ladder = [
        (made_up(MICRO, "class_object", 0), "measured"),
        (made_up(MICRO, "class_scene", 1), "carried over"),
        (made_up(MICRO, "normal", 2), "carried over"),
        (made_up(CELLS, "cifar10", 3), "from other spaces"),
        (made_up(GRAPHS, "cora", 4), "from other spaces"),
    ]
    while ladder:
        best, evidence = ladder[0]
        chosen = select_prior([prior for prior, _ in reversed(ladder)], MICRO, "class_object")
        assert chosen.evidence == evidence
        if evidence == "measured":
            assert chosen is best
        else:
            assert_same_prior(chosen, Prior.carried_over(MICRO, [best], "class_object"))
        ladder.pop(0)
    assert_same_prior(select_prior([], MICRO, "class_object"), Prior.absent(MICRO, "class_object"))


def test_without_anything_the_prior_is_absent() -> None:
    for task in ("cora", None):
        assert_same_prior(select_prior([], GRAPHS, task), Prior.absent(GRAPHS, task))
    bare = SearchSpace("bare", [Slot("a", "operation", (Choice("x", "linear"),), (0,), 1)], {}, "x")
    assert select_prior([], bare, None).distribution().tolist() == [[1.0]]
    with pytest.raises(ValueError, match="'kora'.*Did you mean 'cora'"):
        select_prior([], GRAPHS, "kora")
