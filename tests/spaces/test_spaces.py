"""Search spaces: strings, isomorphism, validity and costs, on every architecture there is."""

from __future__ import annotations

import itertools
import math
import random
from pathlib import Path
from typing import cast

import pyarrow.parquet as pq
import pytest
import torch

from pkgen_hf.benchmarks.score_table import ScoreTable
from pkgen_hf.errors import shortened
from pkgen_hf.spaces import CHOICE_KINDS, RELATIONS, Choice, SearchSpace, Slot, Task, get_space, list_spaces
from pkgen_hf.spaces.nas_bench_201 import EDGES, NONE
from pkgen_hf.spaces.nas_bench_graph import SKIP, NASBenchGraphSpace

CELLS = get_space("nas-bench-201")
GRAPHS = cast(NASBenchGraphSpace, get_space("nas-bench-graph"))
BOTH: list[SearchSpace] = [CELLS, GRAPHS]
CELL = "|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|nor_conv_1x1~0|skip_connect~1|skip_connect~2|"
GRAPH = "0112:gcn,gin,fc,cheb"


def named(space: SearchSpace) -> str:
    return space.name


@pytest.fixture(scope="module")
def cells() -> torch.Tensor:
    return CELLS.all_indices()


@pytest.fixture(scope="module")
def graphs() -> torch.Tensor:
    return GRAPHS.all_indices()


@pytest.fixture
def toy() -> SearchSpace:
    """A space of the user's own: slots of different sizes, one of them without the null choice."""
    none, conv = Choice("none", "zero"), Choice("conv", "convolution", kernel=3)
    pool, back = Choice("pool", "pooling", kernel=2, aggregation="max"), Choice("0", "predecessor", level=0.0)
    slots = [
        Slot("first", "operation", (none, conv, pool), (0,), 1),
        Slot("from", "connection", (back, Choice("1", "predecessor", level=1.0)), (0, 1), 2),
        Slot("second", "operation", (conv, none), (0, 1), 2),
        Slot("last", "operation", (pool, conv, none, Choice("wide", "convolution", kernel=5)), (2,), 3),
    ]
    return SearchSpace("toy", slots, {"things": Task("other", chance_score=50.0, num_classes=2)}, null_choice="none")


# ---------------------------------------------------------------------- every space


@pytest.mark.parametrize(("space", "size"), [(CELLS, 15_625), (GRAPHS, 157_464)], ids=["cells", "graphs"])
def test_every_string_comes_back(space: SearchSpace, size: int) -> None:
    rows = space.all_indices()
    strings = space.to_strings(rows)
    assert len(rows) == space.num_encodings == len(set(strings)) == size
    assert torch.equal(space.from_strings(strings), rows)


@pytest.mark.parametrize("space", BOTH, ids=named)
def test_codes_number_the_encodings(space: SearchSpace) -> None:
    assert torch.equal(space.codes(space.all_indices()), torch.arange(space.num_encodings))


@pytest.mark.parametrize("space", BOTH, ids=named)
def test_canonical_form_is_of_the_class_it_stands_for(space: SearchSpace) -> None:
    rows = space.all_indices()
    canonical = space.canonical(rows)
    assert torch.equal(space.canonical(canonical), canonical)
    assert torch.equal(space.check(canonical), canonical)
    assert torch.equal(space.is_valid(canonical), space.is_valid(rows))
    assert torch.equal(space.keys(rows), space.codes(canonical))
    assert not torch.equal(canonical, rows)
    canonical, rows = canonical[::7], rows[::7]
    for task in space.tasks:
        assert torch.equal(space.parameters(canonical, task), space.parameters(rows, task)), task
        assert torch.equal(space.flops(canonical, task), space.flops(rows, task)), task


@pytest.mark.parametrize("space", BOTH, ids=named)
def test_samples_are_uniform(space: SearchSpace) -> None:
    """Chi-square of every slot, and of every pair of neighbouring slots, far above what chance gives."""
    num = 20_000
    rows = space.sample(num, torch.Generator().manual_seed(0))
    assert torch.equal(space.check(rows), rows) and rows.shape == (num, space.num_slots)
    sizes = space.sizes.tolist()
    for s, size in enumerate(sizes):
        wide = size * sizes[s - 1]
        for cells, drawn in [(size, rows[:, s]), (wide, rows[:, s] * sizes[s - 1] + rows[:, s - 1])]:
            counts = torch.bincount(drawn, minlength=cells).double()
            chi_square = float(((counts - num / cells) ** 2).sum() / (num / cells))
            freedom = cells - 1
            assert chi_square < freedom + 6 * (2 * freedom) ** 0.5, (space.slots[s].name, counts)
    assert torch.equal(space.sample(50, torch.Generator().manual_seed(0)), rows[:50])
    assert not torch.equal(space.sample(50, torch.Generator().manual_seed(1)), rows[:50])


def assert_relations_are_consistent(space: SearchSpace) -> None:
    relations = space.relations
    none, self_, feeds, fed_by = (RELATIONS.index(name) for name in ("none", "self", "feeds", "fed-by"))
    assert torch.equal(relations == self_, torch.eye(space.num_slots, dtype=torch.bool))
    assert torch.equal(relations == feeds, (relations == fed_by).T)
    one_way = (relations == feeds) | (relations == fed_by)
    assert torch.equal(relations.masked_fill(one_way, none), relations.masked_fill(one_way, none).T)


@pytest.mark.parametrize("space", BOTH, ids=named)
def test_relations_turn_round(space: SearchSpace) -> None:
    """What i is to j, j is to i: "feeds" becomes "fed-by", and everything else is mutual."""
    assert_relations_are_consistent(space)


def test_relations_turn_round_in_any_space() -> None:
    source = random.Random(0)
    choices = (Choice("none", "zero"),)
    for _ in range(100):
        slots = []
        for i in range(source.randint(1, 7)):
            writes = source.randint(1, 4)
            reads = tuple(sorted(source.sample(range(writes), source.randint(1, writes))))
            slots.append(Slot(str(i), "operation", choices, reads, writes))
        assert_relations_are_consistent(SearchSpace("random", slots, {}, "none"))


def test_relations_of_a_cell_are_those_of_its_edges() -> None:
    for (i, a), (j, b) in itertools.permutations(enumerate(EDGES), 2):
        relation = RELATIONS[CELLS.relations[i, j]]
        assert (relation == "feeds") == (a[1] == b[0])
        assert (relation == "same-target") == (a[1] == b[1])
        assert (relation == "same-source") == (a[0] == b[0])


@pytest.mark.parametrize("space", BOTH, ids=named)
def test_descriptions_tell_choices_and_slots_apart(space: SearchSpace) -> None:
    features = space.choice_features
    assert features.isfinite().all() and space.slot_features.isfinite().all()
    assert not features[~space.choice_mask].any()
    assert torch.equal(space.choice_mask.sum(1), space.sizes)
    for s, slot in enumerate(space.slots):
        assert len(features[s, : len(slot.choices)].unique(dim=0)) == len(slot.choices)
        assert len({choice.identity for choice in slot.choices}) == len(slot.choices)
    assert len(space.slot_features.unique(dim=0)) == space.num_slots


def test_equal_choices_of_two_spaces_have_one_identity() -> None:
    """The name is the benchmark's own; what the choice is, is not."""
    skips = {CELLS.slots[0].choices[1], GRAPHS.slots[0].choices[SKIP]}
    assert {choice.name for choice in skips} == {"skip_connect", "skip"}
    assert {choice.identity for choice in skips} == {"identity"}
    assert len({tuple(choice.features) for choice in skips}) == 1


@pytest.mark.parametrize("space", BOTH, ids=named)
def test_remove_leaves_what_is_kept(space: SearchSpace) -> None:
    generator = torch.Generator().manual_seed(0)
    rows = space.sample(500, generator)
    keep = torch.rand(rows.shape, generator=generator) < 0.5
    removed = space.remove(rows, keep)
    assert torch.equal(removed[keep], rows[keep])
    gone = [
        space.slots[s].choices[removed[i, s]].name
        for i, s in (~keep).nonzero().tolist()
        if space.slots[s].kind == "operation"
    ]
    assert set(gone) == set(space.null_choice)
    connections = torch.tensor([slot.kind == "connection" for slot in space.slots])
    assert torch.equal(removed[:, connections], rows[:, connections])
    assert torch.equal(space.remove(rows, torch.ones_like(keep)), rows)


@pytest.mark.parametrize("space", BOTH, ids=named)
def test_check_refuses_what_is_no_architecture(space: SearchSpace) -> None:
    good = space.sample(3, torch.Generator().manual_seed(0))
    assert torch.equal(space.check(good.to(torch.int32)), good)
    for wrong in (good[0], good[:, :-1], good[None], torch.zeros(2, space.num_slots + 1), torch.tensor(1)):
        with pytest.raises(ValueError, match=rf"shape \(batch, {space.num_slots}\), got") as caught:
            space.check(wrong)
        assert str(tuple(wrong.shape)) in str(caught.value)
    for s, slot in enumerate(space.slots):
        for value in (-1, len(slot.choices), 10**6):
            bad = good.clone()
            bad[1, s] = value
            with pytest.raises(
                ValueError, match=f"choices 0..{len(slot.choices) - 1}, got {value} in row 1"
            ) as caught:
                space.check(bad)
            assert repr(slot.name) in str(caught.value)
    assert torch.equal(space.check(good.double()), good)
    for fraction in (0.5, float("nan")):
        with pytest.raises(ValueError, match=f"{space.name} takes whole numbers as indices, got {fraction}"):
            space.check(torch.full(good.shape, fraction))


# ---------------------------------------------------------------------- laws of every registered space


def sampled(space: SearchSpace, num: int = 600) -> torch.Tensor:
    """Rows as `sample` draws them, and neighbours of these, of which more are isomorphic or not valid."""
    generator = torch.Generator().manual_seed(0)
    rows = space.sample(num // 2, generator)
    others = (torch.rand(rows.shape, generator=generator) * space.sizes).long()
    changed = torch.rand(rows.shape, generator=generator) < 1.5 / space.num_slots
    return torch.cat([rows, torch.where(changed, others, rows)])


@pytest.fixture(params=list_spaces())
def space(request: pytest.FixtureRequest) -> SearchSpace:
    return get_space(request.param)


def test_samples_are_rows_of_the_space(space: SearchSpace) -> None:
    rows = space.sample(500, torch.Generator().manual_seed(3))
    assert torch.equal(space.check(rows), rows) and rows.shape == (500, space.num_slots)
    assert space.is_valid(rows).float().mean() > 0.3
    assert torch.equal(space.sample(500, torch.Generator().manual_seed(3)), rows)
    assert not torch.equal(space.sample(500, torch.Generator().manual_seed(4)), rows)
    for s, slot in enumerate(space.slots):
        if slot.kind == "operation":
            assert len(rows[:, s].unique()) == int(space.drawn_sizes[s]) or space.name == "nas-bench-101", slot.name
    assert space.sample(0).shape == (0, space.num_slots)


def test_every_valid_sample_comes_back_from_its_string(space: SearchSpace) -> None:
    rows = sampled(space)
    rows = rows[space.is_valid(rows)]
    strings = space.to_strings(rows)
    back = space.from_strings(strings)
    assert torch.equal(space.check(back), back) and space.is_valid(back).all()
    assert torch.equal(space.keys(back), space.keys(rows))
    assert space.to_strings(back) == strings
    assert space.to_strings(space.from_strings([space.example])) == [space.example]


def test_no_architectures_are_no_strings(space: SearchSpace) -> None:
    nothing = space.sample(0)
    assert space.from_strings([]).shape == nothing.shape == (0, space.num_slots)
    assert torch.equal(space.canonical(nothing), nothing) and space.is_valid(nothing).shape == (0,)
    assert space.to_strings(nothing) == []


def test_a_string_of_another_space_is_refused(space: SearchSpace) -> None:
    strings = {name: get_space(name).example for name in list_spaces() if name != space.name}
    for name, text in strings.items():
        with pytest.raises(ValueError, match=space.name):
            space.from_strings([text]), name


def test_canonical_form_keeps_what_an_architecture_is(space: SearchSpace) -> None:
    rows = sampled(space)
    canonical = space.canonical(rows)
    assert torch.equal(space.check(canonical), canonical)
    assert torch.equal(space.canonical(canonical), canonical)
    assert torch.equal(space.keys(canonical), space.keys(rows))
    assert torch.equal(space.is_valid(canonical), space.is_valid(rows))
    assert not (space.is_valid(rows) & ~space.is_connected(rows)).any()
    valid = space.is_valid(rows)
    for count in (space.parameters, space.flops):
        assert torch.equal(count(canonical[valid]), count(rows[valid]))


def test_keys_are_equal_just_where_canonical_rows_are(space: SearchSpace) -> None:
    rows = torch.cat([sampled(space), space.canonical(sampled(space, 200))])
    canonical, of_row = space.canonical(rows).unique(dim=0, return_inverse=True)
    keys, of_key = space.keys(rows).unique(return_inverse=True)
    assert len(canonical) == len(keys) < len(rows)
    pairs = torch.stack([of_row, of_key], dim=1).unique(dim=0)
    assert len(pairs) == len(keys)
    assert torch.equal(space.keys(rows.flip(0)).flip(0), space.keys(rows))  # of each row by itself


def test_costs_are_positive_and_effects_finite(space: SearchSpace) -> None:
    rows = sampled(space, 100)
    rows = rows[space.is_valid(rows)]
    for task in space.tasks:
        for count in (space.parameters, space.flops):
            costs = count(rows, task)
            assert costs.dtype == torch.long and costs.shape == (len(rows),) and (costs > 0).all(), task
    effects = space.cost_effects
    assert effects.isfinite().all() and effects.shape == (*space.choice_mask.shape, 3)
    assert not effects[~space.choice_mask].any() and torch.equal(effects[..., 2], space.choice_mask.float())
    assert effects[..., :2].abs().max() > 0.05
    features = space.choice_features
    assert features.isfinite().all() and torch.equal(features[..., -3:], effects)


# Areas under the ROC curve, Matthews correlation, and a mean over the tasks of GLUE: two correlations, one accuracy of
# three classes, five of two.
CHANCE = {"proteins": 50.0, "cola": 0.0, "glue": (100 / 3 + 5 * 50) / 8}


def test_guesses_follow_from_what_the_tasks_are(space: SearchSpace) -> None:
    """And not from what networks of the benchmark scored."""
    for name, task in space.tasks.items():
        expected = {
            "image-regression": -1.0,  # less the squared error of standardised numbers
            "dense-regression": 0.0,  # structural similarity
            "language-modelling": -math.log(max(1, task.num_classes)),
            "speech-recognition": 0.0,  # 100 less the error rate of no phonemes
            "text-regression": 0.0,  # correlation
        }.get(task.kind, CHANCE.get(name))
        if expected is None:
            expected = 100 / task.num_classes
        assert task.chance_score == pytest.approx(expected), name


def test_descriptions_fit_the_slots(space: SearchSpace) -> None:
    assert space.slot_features.isfinite().all() and len(space.slot_features.unique(dim=0)) == space.num_slots
    for s, slot in enumerate(space.slots):
        assert all(0 <= choice.level <= 1 and 0 <= choice.spread <= 1 for choice in slot.choices)
        assert slot.reads and max(slot.reads) < slot.writes
        assert space.identities[s, : len(slot.choices)].tolist() == [choice.identity for choice in slot.choices]
        assert not any(space.identities[s, len(slot.choices) :])
        different = {",".join(sorted(choice.name.split(","))) for choice in slot.choices}  # pairs in either order
        assert len({tuple(choice.features) for choice in slot.choices}) == len(different), slot.name
        assert len({choice.identity for choice in slot.choices}) == len(different), slot.name
    assert_relations_are_consistent(space)
    members = [s for slots in space.node_slots for s in slots]
    assert sorted(members) == list(range(space.num_slots))


def test_removal_leaves_null_choices(space: SearchSpace) -> None:
    rows = sampled(space, 100)
    keep = torch.rand(rows.shape, generator=torch.Generator().manual_seed(0)) < 0.5
    removed = space.remove(rows, keep)
    assert torch.equal(space.check(removed), removed)
    null = space.null_indices
    for s, slot in enumerate(space.slots):
        if null[s] >= 0:
            assert slot.choices[null[s]].name in space.null_choice
    if space.name != "nas-bench-101":  # which deletes vertices, see its own tests
        assert torch.equal(removed, torch.where(keep | (null < 0), rows, null))
    assert torch.equal(space.keys(space.remove(rows, torch.ones_like(keep))), space.keys(rows))
    assert (null >= 0).any()


def test_graphs_join_known_nodes_forwards(space: SearchSpace) -> None:
    """What spaces say of their pictures: kinds are known, edges join nodes that are there, without circles."""
    for row in sampled(space, 20).tolist():
        for graph in space.graphs(row):
            assert {kind for _, kind in graph.nodes} | {edge[3] for edge in graph.edges} <= {"", *CHOICE_KINDS}
            assert all(0 <= a < b < len(graph.nodes) for a, b, *_ in graph.edges)
            assert len(set(edge[:2] for edge in graph.edges)) == len(graph.edges)


def test_equal_identities_of_all_spaces_are_equally_described() -> None:
    described: dict[str, set[tuple[float, ...]]] = {}
    for name in list_spaces():
        for slot in get_space(name).slots:
            for choice in slot.choices:
                if choice.kind not in ("predecessor", "edge", "size"):  # whose identity rounds the level
                    described.setdefault(choice.identity, set()).add(tuple(choice.features))
    assert all(len(features) == 1 for features in described.values())
    assert len(described) > 25


def test_slots_of_different_cells_are_at_the_same_place_or_unrelated() -> None:
    choices = CELLS.slots[0].choices
    places = [(0, 1), (0, 2), (1, 2)]
    slots = [Slot(f"{cell}: {a}->{b}", "operation", choices, (a,), b, cell) for cell in range(2) for a, b in places]
    space = SearchSpace("two cells", slots, {}, "none")
    names = [[RELATIONS[k] for k in row] for row in space.relations.tolist()]
    for i, j in itertools.product(range(3), repeat=2):
        assert names[i][j + 3] == names[j + 3][i] == ("same-place" if i == j else "none")
        assert names[i][j] == names[i + 3][j + 3]
    assert space.node_slots == [[0], [1, 2], [3], [4, 5]]


# ---------------------------------------------------------------------- NAS-Bench-201


def test_cells_that_differ_by_exchanging_inner_nodes_are_equal(cells: torch.Tensor) -> None:
    exchange = {0: 0, 1: 2, 2: 1, 3: 3}
    free = cells[cells[:, EDGES.index((1, 2))] == NONE]
    exchanged = free.clone()
    for slot, (a, b) in enumerate(EDGES):
        if (a, b) != (1, 2):
            exchanged[:, EDGES.index((exchange[a], exchange[b]))] = free[:, slot]
    assert len(free) == 5**5 and not torch.equal(free, exchanged)
    assert torch.equal(CELLS.keys(free), CELLS.keys(exchanged))
    # as many classes as orbits of the exchange, so no other cells are equal
    assert len(CELLS.keys(cells).unique()) == 14_125
    assert len(CELLS.keys(cells[CELLS.is_valid(cells)]).unique()) == CELLS.num_architectures == 13_820


def test_cell_is_valid_when_a_path_leads_through(cells: torch.Tensor) -> None:
    """By powers of the adjacency matrix, which count walks."""
    adjacency = torch.zeros(len(cells), 4, 4)
    for slot, (a, b) in enumerate(EDGES):
        adjacency[:, a, b] = (cells[:, slot] != NONE).float()
    walks = adjacency + adjacency @ adjacency + adjacency @ adjacency @ adjacency
    assert torch.equal(CELLS.is_valid(cells), walks[:, 0, 3] > 0)


def test_cell_costs_are_those_of_the_shared_table(shared_benchmarks: Path) -> None:
    table = pq.read_table(shared_benchmarks / "nas-bench-201.parquet")
    rows = CELLS.from_strings(table["architecture"].to_pylist())
    assert len(CELLS.codes(rows).unique()) == 15_625
    for task in CELLS.tasks:
        parameters = torch.tensor(table[f"{task}_parameters"].to_pylist())
        flops_m = torch.tensor(table[f"{task}_flops_m"].to_pylist(), dtype=torch.float64)
        assert torch.equal(CELLS.parameters(rows, task), parameters), task
        torch.testing.assert_close(CELLS.flops(rows, task).double() / 1e6, flops_m, rtol=1e-7, atol=0)


# ---------------------------------------------------------------------- NAS-Bench-Graph


def random_of_every_link_list(each: int) -> torch.Tensor:
    """Rows of NAS-Bench-Graph with the same number from each of the 24 lists of predecessors."""
    rows = GRAPHS.sample(24 * each, torch.Generator().manual_seed(0))
    links = torch.tensor(list(itertools.product(range(2), range(3), range(4))))
    rows[:, GRAPHS.connection_slots] = links.repeat_interleave(each, dim=0)
    return rows


def links_and_operations(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    links = torch.cat([torch.zeros(len(rows), 1, dtype=torch.long), rows[:, GRAPHS.connection_slots]], dim=1)
    return links, rows[:, GRAPHS.operation_slots]


def test_graph_classes_are_those_of_the_benchmark(graphs: torch.Tensor) -> None:
    valid = graphs[GRAPHS.is_valid(graphs)]
    assert len(GRAPHS.keys(valid).unique()) == GRAPHS.num_architectures == 26_206
    invalid = graphs[~GRAPHS.is_valid(graphs)]
    assert (invalid[:, GRAPHS.operation_slots] == SKIP).all() and len(invalid) == 24
    assert len(GRAPHS.keys(graphs).unique()) == 26_207


def test_graph_keys_are_those_of_the_package() -> None:
    from nas_bench_graph.architecture import Arch, gnn_list

    rows = random_of_every_link_list(125)
    rows = rows[GRAPHS.is_valid(rows)]
    links, operations = links_and_operations(rows)
    hashes = [
        Arch(link, [gnn_list[k] for k in operation]).valid_hash()
        for link, operation in zip(links.tolist(), operations.tolist(), strict=True)
    ]
    assert len(rows) > 2_900 and len(set(hashes)) > 1_500
    assert torch.equal(GRAPHS.canonical(rows), GRAPHS.from_benchmark_keys(torch.tensor(hashes)))


def test_every_benchmark_key_comes_back() -> None:
    from nas_bench_graph import light_read
    from nas_bench_graph.architecture import Arch, gnn_list

    keys = list(light_read("cora"))
    rows = GRAPHS.from_benchmark_keys(torch.tensor(keys))
    assert torch.equal(GRAPHS.canonical(rows), rows)
    links, operations = links_and_operations(rows)
    written = [
        Arch(link, [gnn_list[k] for k in operation]).hash_arch()
        for link, operation in zip(links.tolist(), operations.tolist(), strict=True)
    ]
    assert written == keys and len(set(keys)) == 26_206


def test_graph_keys_do_not_depend_on_the_numbers_of_nodes() -> None:
    """Every renumbering in which nodes still come after what they read is the same network."""
    rows = random_of_every_link_list(40)
    links, operations = links_and_operations(rows)
    keys = GRAPHS.keys(rows)
    renumbered = 0
    for places in itertools.permutations(range(1, 5)):
        place = torch.tensor([0, *places])  # place[v]: the new number of node v
        order = place[1:].argsort()  # old node (less 1) at each new place
        moved = place[links][:, order]
        allowed = (moved < torch.arange(1, 5)).all(1)
        other = torch.empty_like(rows[allowed])
        other[:, GRAPHS.connection_slots] = moved[allowed][:, 1:]
        other[:, GRAPHS.operation_slots] = operations[allowed][:, order]
        assert torch.equal(GRAPHS.keys(other), keys[allowed]), places
        renumbered += len(other)
    assert renumbered > 3 * len(rows)


def test_graph_table_has_every_valid_network_once(graph_table: ScoreTable) -> None:
    assert len(GRAPHS.keys(graph_table.indices).unique()) == len(graph_table.indices) == 26_206
    assert GRAPHS.is_valid(graph_table.indices).all()


# ---------------------------------------------------------------------- strings and names that are wrong

CELL_WRONG_OPERATION = CELL.replace("avg_pool_3x3", "avg_pool_3")
GRAPH_WRONG_OPERATION = GRAPH.replace("cheb", "chebb")


@pytest.mark.parametrize(
    ("space", "text", "hints"),
    [
        (CELLS, CELL_WRONG_OPERATION, ["Did you mean 'avg_pool_3x3'", "nor_conv_1x1, nor_conv_3x3", "'0->1'"]),
        (CELLS, CELL.replace("skip_connect", "x"), ["Allowed: none, skip_connect"]),
        (CELLS, CELL[:-1], [CELLS.example]),
        (CELLS, CELL + "+", [CELLS.example]),
        (CELLS, CELL.replace("~2", "~1"), [CELLS.example]),
        (CELLS, CELL.replace("+", ""), [CELLS.example]),
        (CELLS, CELL.replace("avg_pool_3x3", ""), [CELLS.example]),
        (CELLS, GRAPH, [CELLS.example]),
        (CELLS, "", [CELLS.example]),
        (GRAPHS, GRAPH_WRONG_OPERATION, ["Did you mean 'cheb'", "gat, gcn, gin", "'node 4'"]),
        (GRAPHS, GRAPH.replace("0112", "0312"), ["'input of 2'", "Allowed: 0, 1."]),
        (GRAPHS, GRAPH.replace("0112", "1112"), [GRAPHS.example]),
        (GRAPHS, GRAPH.replace("0112", "112"), [GRAPHS.example]),
        (GRAPHS, GRAPH.replace("0112", "0١١2"), ["'input of 2'", "Allowed: 0, 1."]),
        (GRAPHS, GRAPH + ",fc", [GRAPHS.example]),
        (GRAPHS, GRAPH.replace(",fc", ""), [GRAPHS.example]),
        (GRAPHS, CELL, [GRAPHS.example]),
        (GRAPHS, "", [GRAPHS.example]),
    ],
)
def test_malformed_string_says_what_is_wrong(space: SearchSpace, text: str, hints: list[str]) -> None:
    """Also among good ones, and the message quotes the string, so that it can be found."""
    good = CELL if space is CELLS else GRAPH
    with pytest.raises(ValueError) as caught:
        space.from_strings([good, text, good])
    message = str(caught.value)
    for part in [shortened(text), space.name, *hints]:
        assert part in message


def test_example_is_a_string_of_the_space(toy: SearchSpace) -> None:
    for space in (*BOTH, toy):
        assert space.to_strings(space.from_strings([space.example])) == [space.example]


def test_unknown_space_is_refused() -> None:
    with pytest.raises(ValueError, match="'nas-bench-210'.*Did you mean 'nas-bench-201'.*nas-bench-graph"):
        get_space("nas-bench-210")
    with pytest.raises(ValueError, match=f"'zzz'. Allowed: {', '.join(list_spaces())}"):
        get_space("zzz")


def test_spaces_are_found_by_name(toy: SearchSpace) -> None:
    for name in list_spaces():
        assert get_space(name).name == name
        assert get_space(get_space(name)) is get_space(name)
    assert get_space(toy) is toy


@pytest.mark.parametrize(("space", "given", "near"), [(CELLS, "cifar-10", "cifar10"), (GRAPHS, "arxive", "arxiv")])
def test_unknown_task_is_refused(space: SearchSpace, given: str, near: str) -> None:
    rows = space.sample(2)
    for ask in (space.task, lambda task: space.parameters(rows, task), lambda task: space.flops(rows, task)):
        with pytest.raises(ValueError, match=f"{space.name}.*'{given}'.*Did you mean '{near}'.*Allowed: "):
            ask(given)


def test_wrong_choices_and_slots_are_refused() -> None:
    none = Choice("none", "zero")
    with pytest.raises(ValueError, match="'convolutions'.*Did you mean 'convolution'.*predecessor"):
        Choice("conv", "convolutions")
    with pytest.raises(ValueError, match="'maxx'.*Did you mean 'max'"):
        Choice("pool", "pooling", aggregation="maxx")
    with pytest.raises(ValueError, match="'operations'.*Did you mean 'operation'.*connection"):
        Slot("a", "operations", (none,), (0,), 1)
    with pytest.raises(ValueError, match=r"'a' needs distinct choices, got \['none', 'none'\]"):
        Slot("a", "operation", (none, Choice("none", "identity")), (0,), 1)
    with pytest.raises(ValueError, match="'a' needs distinct choices"):
        Slot("a", "operation", (), (0,), 1)


# ---------------------------------------------------------------------- spaces of the user's own


def test_own_space_works(toy: SearchSpace) -> None:
    rows = toy.all_indices()
    assert len(rows) == toy.num_encodings == toy.num_architectures == 3 * 2 * 2 * 4
    assert torch.equal(toy.codes(rows), torch.arange(48)) and len(toy.keys(rows).unique()) == 48
    strings = toy.to_strings(rows)
    assert len(set(strings)) == 48 and "pool|1|none|wide" in strings
    assert torch.equal(toy.from_strings(strings), rows)
    assert toy.is_valid(rows).all() and torch.equal(toy.canonical(rows), rows)
    samples = toy.sample(2_000, torch.Generator().manual_seed(0))
    assert torch.equal(toy.check(samples), samples) and len(toy.codes(samples).unique()) == 48
    nothing = toy.to_strings(toy.remove(rows, torch.zeros(48, 4, dtype=torch.bool)))
    assert set(nothing) == {"none|0|none|none", "none|1|none|none"}
    assert_relations_are_consistent(toy)


def test_own_space_explains_errors(toy: SearchSpace) -> None:
    with pytest.raises(ValueError, match="'second'.*'pool'.*Allowed: conv, none"):
        toy.from_strings(["none|0|pool|none"])
    for text in ("none|0|none", "", CELL, GRAPH):
        with pytest.raises(ValueError, match="one looks like 'pool|1|none|wide'"):
            toy.from_strings([text])
    with pytest.raises(ValueError, match="toy: slot 'from' has choices 0..1, got 2"):
        toy.check(torch.tensor([[0, 2, 0, 0]]))
    with pytest.raises(ValueError, match="'thing'.*Did you mean 'things'"):
        toy.task("thing")
    for ask in (toy.parameters, toy.flops):
        with pytest.raises(NotImplementedError, match="toy"):
            ask(toy.sample(1))


def test_own_space_of_one_slot() -> None:
    space = SearchSpace("one", [Slot("only", "operation", CELLS.slots[0].choices, (0,), 1)], {}, "none")
    rows = space.all_indices()
    assert rows.tolist() == [[0], [1], [2], [3], [4]]
    assert torch.equal(space.from_strings(space.to_strings(rows)), rows)
    assert space.sample(7).shape == (7, 1)


def chain(length: int) -> SearchSpace:
    choices = CELLS.slots[0].choices[:4]
    slots = [Slot(str(i), "operation", choices, (i,), i + 1) for i in range(length)]
    return SearchSpace("large", slots, {}, "none")


@pytest.mark.parametrize("length", [31, 32, 200])
def test_keys_tell_architectures_of_a_large_space_apart(length: int) -> None:
    """Codes are numbers of rows as far as these fit into 63 bits, hashes of rows beyond."""
    space = chain(length)
    assert space.num_architectures == space.num_encodings == 4**length
    eye = torch.eye(length, dtype=torch.long)
    near = torch.cat([torch.zeros(1, length, dtype=torch.long), eye, 2 * eye, 3 * eye, 3 - eye])
    rows = torch.cat([near, space.sample(5_000, torch.Generator().manual_seed(0))])
    assert len(space.keys(rows).unique()) == len(rows)
    assert torch.equal(space.codes(rows), space.codes(rows.clone()))
    radix = 4 ** torch.arange(length - 1, -1, -1)
    assert torch.equal(space.codes(rows), (rows * radix).sum(1)) == (length == 31)
    assert torch.equal(space.from_strings(space.to_strings(rows[:50])), rows[:50])


@pytest.mark.parametrize("name", list_spaces())
def test_example_is_valid(name: str) -> None:
    space = get_space(name)
    assert bool(space.is_valid(space.from_strings([space.example])))
