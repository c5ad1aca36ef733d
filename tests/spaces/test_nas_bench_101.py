"""NAS-Bench-101: cells against plain definitions and the benchmark's own numbers, networks against both."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import cast

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional as F

from pkgen_hf import Architecture, get_space
from pkgen_hf.spaces.nas_bench_101 import COUNT_SCALE, NASBench101Space
from pkgen_hf.spaces.nas_bench_101_cells import EDGES, all_keys, symmetries, topologies
from pkgen_hf.spaces.nas_bench_101_records import NONE, OPERATIONS

SPACE = cast(NASBench101Space, get_space("nas-bench-101"))
NAMES = [choice.name for choice in OPERATIONS[1:]]
COUNTS = {2: 1, 3: 6, 4: 84, 5: 2441, 6: 62010, 7: 359082}  # cells of each number of vertices
CELL = "1100_001_10_1:conv3x3-bn-relu,maxpool3x3,conv1x1-bn-relu"
Cell = tuple[np.ndarray, list[str]]


@pytest.fixture(scope="module")
def every_key() -> torch.Tensor:
    return all_keys()


@pytest.fixture(scope="module")
def rows(every_key: torch.Tensor) -> torch.Tensor:
    return SPACE.rows(every_key)


def drawn(num: int, seed: int = 0) -> torch.Tensor:
    """Rows of which every slot is drawn uniformly."""
    return (torch.rand(num, SPACE.num_slots, generator=torch.Generator().manual_seed(seed)) * SPACE.sizes).long()


def reference_prune(matrix: np.ndarray, names: list[str]) -> Cell:
    """Rows and columns of vertices that have a path from the first and to the last."""
    reach = np.linalg.matrix_power(np.eye(len(matrix), dtype=int) + matrix, len(matrix)) > 0
    keep = np.flatnonzero(reach[0] & reach[:, -1])
    if len(keep) == 0:
        return np.zeros((2, 2), dtype=int), ["input", "output"]
    return matrix[np.ix_(keep, keep)], [names[v] for v in keep]


def reference_form(matrix: np.ndarray, names: list[str]) -> tuple[int, ...]:
    """The smallest numbering, by trying all."""
    found = []
    for inner in itertools.permutations(range(1, len(matrix) - 1)):
        order = [0, *inner, len(matrix) - 1]
        moved = matrix[np.ix_(order, order)]
        if not np.tril(moved).any():
            number = sum(int(moved[u, v]) << u + v * (v - 1) // 2 for v in range(len(matrix)) for u in range(v))
            found.append((number, *[NAMES.index(names[v]) for v in inner]))
    return len(matrix), *min(found)


def reference_cell(row: list[int]) -> Cell:
    """What a row means, slot by slot."""
    chosen = {slot.name: slot.choices[k].name for slot, k in zip(SPACE.slots, row, strict=True)}
    names = ["input", *[chosen[f"vertex {v}"] for v in range(1, 6)], "output"]
    there = [v for v in range(1, 6) if names[v] != "none"]
    reads = {v: 0 if v == 1 else int(chosen[f"input of {v}"]) for v in there}
    edges = {(u if names[u] != "none" else 0, v) for v, u in reads.items()}
    if edges == {(0, v) for v in range(1, 6)}:
        edges = {*edges - {(0, 5)}, (4, 5)}

    def with_output(edges: set[tuple[int, int]]) -> set[tuple[int, int]]:
        return edges | {(v, 6) for v in there if not any(u == v for u, _ in edges)}

    for u, v in [EDGES[k - 1] for k in row[-5:] if k]:
        if "none" not in (names[u], names[v]) and len(with_output({*edges, (u, v)})) <= 9:
            edges.add((u, v))
    matrix = np.zeros((7, 7), dtype=int)
    for edge in with_output(edges):
        matrix[edge] = 1
    cell = matrix[np.ix_([0, *there, 6], [0, *there, 6])], [names[v] for v in (0, *there, 6)]
    if matrix.any():  # nothing is left loose
        assert len(reference_prune(*cell)[1]) == len(cell[1])
    return cell


def all_cells(n: int) -> list[Cell]:
    """All labelled cells of n vertices, each on a path from input to output."""
    cells = []
    above = np.triu_indices(n, 1)
    for bits in itertools.product((0, 1), repeat=len(above[0])):
        matrix = np.zeros((n, n), dtype=int)
        matrix[above] = bits
        if sum(bits) <= 9 and matrix[:, 1:].any(0).all() and matrix[:-1].any(1).all():
            cells += [(matrix, ["input", *names, "output"]) for names in itertools.product(NAMES, repeat=n - 2)]
    return cells


def shuffled(cell: Cell, generator: np.random.Generator) -> Cell:
    """The same cell with its vertices numbered in another order in which edges lead upwards."""
    matrix, names = cell
    order, left = [0], set(range(1, len(matrix) - 1))
    while left:
        ready = [v for v in left if not matrix[list(left), v].any()]
        order.append(int(generator.choice(ready)))
        left.remove(order[-1])
    order.append(len(matrix) - 1)
    return matrix[np.ix_(order, order)], [names[v] for v in order]


# ---------------------------------------------------------------------- the space


def test_slots_are_a_predecessor_and_an_operation_of_each_vertex_and_five_edges() -> None:
    assert SPACE.num_slots == 14 and SPACE.sizes.tolist() == [4, 2, 4, 3, 4, 4, 4, 5, 4, 22, 22, 22, 22, 22]
    for slot in SPACE.slots:
        assert all(node < slot.writes for node in slot.reads)
    assert [SPACE.slots[s].name for s in SPACE.operation_slots] == [f"vertex {v}" for v in range(1, 6)]


def test_enumeration_finds_every_architecture(every_key: torch.Tensor, rows: torch.Tensor) -> None:
    assert len(every_key) == SPACE.num_architectures == sum(COUNTS.values()) == 423_624
    vertices = 2 + (rows[:, SPACE.operation_slots] != NONE).sum(1)
    assert torch.bincount(vertices).tolist()[2:] == list(COUNTS.values())
    # Burnside's lemma counts them without listing any.
    assert float(symmetries()[2].sum()) == pytest.approx(423_624, abs=1e-3)
    assert len(topologies()) == 2494


def test_every_architecture_is_its_own_canonical_form(every_key: torch.Tensor, rows: torch.Tensor) -> None:
    assert torch.equal(SPACE.check(rows), rows)
    assert torch.equal(SPACE.keys(rows), every_key)
    assert SPACE.is_valid(rows).all() and len(SPACE.codes(rows).unique()) == len(rows)


@pytest.mark.parametrize("n", [2, 3, 4, 5])
def test_keys_are_equal_just_for_isomorphic_cells(n: int) -> None:
    cells = all_cells(n)
    keys = SPACE.keys(SPACE.from_matrices([cell[0] for cell in cells], [cell[1] for cell in cells])).tolist()
    forms = [reference_form(*cell) for cell in cells]
    assert len(set(forms)) == len(set(keys)) == len(set(zip(forms, keys, strict=True))) == COUNTS[n]


def test_numbering_is_that_of_the_smallest_matrix() -> None:
    generator = np.random.default_rng(0)
    cells = SPACE.to_matrices(SPACE.sample(200, torch.Generator().manual_seed(1)))
    moved = [shuffled(cell, generator) for cell in cells]
    assert sum((a[0] != b[0]).any() for a, b in zip(cells, moved, strict=True)) > 40
    again = SPACE.to_matrices(SPACE.from_matrices([cell[0] for cell in moved], [cell[1] for cell in moved]))
    for cell, other, back in zip(cells, moved, again, strict=True):
        assert (cell[0] == back[0]).all() and cell[1] == back[1]
        (size, number, *operations), matrix = reference_form(*other), cell[0]
        assert [NAMES.index(name) for name in cell[1][1:-1]] == operations and size == len(matrix)
        assert sum(1 << u + v * (v - 1) // 2 for u, v in np.argwhere(matrix).tolist()) == number


def test_random_rows_mean_what_their_slots_say() -> None:
    indices = drawn(3000)
    indices[:40, SPACE.operation_slots] = NONE  # with no vertex at all
    indices[40:200, SPACE.predecessor_slots] = 0  # at most stars
    keys, valid = SPACE.keys(indices).tolist(), SPACE.is_valid(indices).tolist()
    assert not all(valid[:40]) and all(valid[40:200]) and np.mean(valid) > 0.98
    cells = [reference_cell(row) for row in indices.tolist()]
    assert [bool(matrix.any()) for matrix, _ in cells] == valid
    read = SPACE.from_matrices([cell[0] for cell in cells], [cell[1] for cell in cells])
    assert SPACE.keys(read).tolist() == keys
    assert torch.equal(read, SPACE.canonical(indices))


def test_canonical_rows_of_random_rows(every_key: torch.Tensor) -> None:
    indices = drawn(50_000, seed=1)
    assert SPACE.is_valid(indices).float().mean() > 0.998
    canonical = SPACE.canonical(indices)
    assert torch.equal(SPACE.canonical(canonical), canonical)
    assert torch.equal(SPACE.keys(canonical), SPACE.keys(indices))
    assert torch.equal(SPACE.is_valid(canonical), SPACE.is_valid(indices))
    assert torch.isin(SPACE.keys(indices[SPACE.is_valid(indices)]), every_key).all()
    assert len(canonical[~SPACE.is_valid(indices)].unique(dim=0)) == 1
    assert len(SPACE.keys(indices[:0])) == 0


def test_the_tenth_edge_does_not_count() -> None:
    row = SPACE.from_strings(["100000_10000_1000_100_10_1:" + ",".join(NAMES[:1] * 5)])
    assert row[0, -5:].tolist() == [0] * 5
    row[0, -5:] = torch.tensor([1 + EDGES.index(edge) for edge in [(0, 4), (0, 4), (0, 5), (0, 6), (0, 2)]])
    ((matrix, _),) = SPACE.to_matrices(row)
    assert matrix.sum() == 9 and matrix[0].tolist() == [0, 1, 0, 0, 1, 1, 1]
    # an edge from the vertex that the output reads for want of others takes that one's place
    row[0, SPACE.predecessor_slots[-1]] = 3
    row[0, -5:] = torch.tensor([1 + EDGES.index(edge) for edge in [(0, 4), (0, 5), (4, 5), (0, 6), (0, 2)]])
    ((matrix, _),) = SPACE.to_matrices(row)
    assert matrix.sum() == 9 and not matrix[0, 2] and not matrix[4, 6]


def test_stars_keep_to_nine_edges() -> None:
    row = torch.zeros(1, SPACE.num_slots, dtype=torch.long)
    row[0, SPACE.operation_slots] = 1
    ((matrix, _),) = SPACE.to_matrices(row)
    assert matrix.sum() == 9 and SPACE.is_valid(row)


def test_samples_are_uniform(every_key: torch.Tensor, rows: torch.Tensor) -> None:
    num = 100_000
    indices = SPACE.sample(num, torch.Generator().manual_seed(0))
    assert torch.equal(indices[:9], SPACE.sample(num, torch.Generator().manual_seed(0))[:9])
    keys = SPACE.keys(indices)
    place = torch.searchsorted(every_key, keys)
    assert torch.equal(every_key[place], keys) and torch.equal(SPACE.canonical(indices), indices)
    expected = num / 500  # cells sorted by keys in 500 parts
    counts = torch.bincount(place * 500 // len(every_key), minlength=500)
    assert ((counts - expected) ** 2 / expected).sum() < 499 + 5 * (2 * 499) ** 0.5
    # Cells of one operation alone are those with the most symmetries.
    operations = rows[:, SPACE.operation_slots]
    alike = ((operations == operations[:, :1]) | (operations == NONE)).all(1)
    expected = num * float(alike.float().mean())
    assert abs(float(alike[place].sum()) - expected) < 4 * expected**0.5


def test_removing_vertices_deletes_them() -> None:
    indices = SPACE.sample(500, torch.Generator().manual_seed(2))
    keep = torch.ones(3, SPACE.num_slots, dtype=torch.bool)
    keep[1, SPACE.operation_slots[1]] = False
    keep[2, SPACE.operation_slots[:3]] = False
    removed = SPACE.remove(indices[:, None], keep)
    assert torch.equal(removed[:, 0], indices)
    for which, gone in ((1, {2}), (2, {1, 2, 3})):
        for (matrix, names), row in zip(SPACE.to_matrices(removed[:, which]), indices.tolist(), strict=True):
            whole, before = reference_cell(row)  # vertices of a canonical row are numbered from 1 without a gap
            rest = [v for v in range(len(before)) if v not in gone or v == len(before) - 1]
            expected = reference_prune(whole[np.ix_(rest, rest)], [before[v] for v in rest])
            assert reference_form(*expected) == reference_form(matrix, names)
    nothing = SPACE.remove(indices, torch.zeros_like(indices, dtype=torch.bool))
    assert set(SPACE.to_strings(nothing)) == {"0:", "1:"}


# ---------------------------------------------------------------------- strings and matrices


def test_every_string_comes_back(rows: torch.Tensor) -> None:
    strings = SPACE.to_strings(rows)
    assert len(set(strings)) == len(rows)
    assert torch.equal(SPACE.from_strings(strings), rows)


def test_example() -> None:
    ((matrix, names),) = SPACE.to_matrices(SPACE.from_strings([CELL]))
    assert names == ["input", "conv3x3-bn-relu", "maxpool3x3", "conv1x1-bn-relu", "output"]
    assert matrix.tolist() == [[0, 1, 1, 0, 0], [0, 0, 0, 0, 1], [0, 0, 0, 1, 0], [0, 0, 0, 0, 1], [0, 0, 0, 0, 0]]
    cell = Architecture.from_string(SPACE, CELL)
    assert str(cell) == CELL and cell.is_valid and cell.canonical().indices == cell.indices
    short = Architecture.from_string(SPACE, "1010_100_01_1:maxpool3x3,conv1x1,conv3x3")  # numbered otherwise
    assert short == cell and str(short) == CELL
    assert SPACE.from_strings([SPACE.example]).shape == (1, 14)
    assert not Architecture.from_string(SPACE, "010_01_0:conv3x3,conv3x3").is_valid


def test_vertices_without_a_path_are_dropped() -> None:
    loose = "1101_111_00_1:conv3x3,conv1x1,maxpool3x3"  # vertex 2 leads nowhere
    assert SPACE.to_strings(SPACE.from_strings([loose])) == ["101_11_1:conv3x3-bn-relu,maxpool3x3"]


@pytest.mark.parametrize(
    "text",
    ["", ":", "1", "01:", "1:maxpool3x3", "10_1:", "1_1:maxpool3x3", "12_1:maxpool3x3", "10_1:maxpool3x3,maxpool3x3"]
    + ["1000000_100000_10000_1000_100_10_1:" + ",".join(["conv3x3"] * 6)],
)
def test_malformed_strings_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a nas-bench-101 string; one looks like '100000_"):
        SPACE.from_strings([CELL, text])


def test_other_strings_are_refused() -> None:
    with pytest.raises(ValueError, match="unknown operation .*'conv3x3-bn'.*Did you mean 'conv3x3-bn-relu'"):
        SPACE.from_strings(["10_1:conv3x3-bn"])
    with pytest.raises(ValueError, match=r"at most 9 edges, '1111_111_11_1:.*' has 10"):
        SPACE.from_strings([CELL, "1111_111_11_1:conv3x3,conv3x3,conv3x3"])


def test_matrices_come_back() -> None:
    indices = SPACE.canonical(drawn(500, seed=3))
    cells = SPACE.to_matrices(indices)
    matrices, operations = [cell[0] for cell in cells], [cell[1] for cell in cells]
    assert torch.equal(SPACE.from_matrices(matrices, operations), indices)
    assert torch.equal(SPACE.from_matrices([matrix.ravel().tolist() for matrix in matrices], operations), indices)
    of_five = [i for i, names in enumerate(operations) if len(names) == 5]
    stacked = np.stack([matrices[i] for i in of_five]).astype(np.uint8)
    assert torch.equal(SPACE.from_matrices(stacked, [operations[i] for i in of_five]), indices[of_five])


@pytest.mark.parametrize(
    ("matrix", "names", "message"),
    [
        ([[0, 1], [1, 0]], ["input", "output"], "matrix of cell 1 is not of 0 and 1 above"),
        ([[0, 2], [0, 0]], ["input", "output"], "matrix of cell 1 is not of 0 and 1 above"),
        ([[0, 1], [0]], ["input", "output"], "is 2 x 2"),
        ([[0, 1, 0], [0, 0, 1], [0, 0, 0]], ["input", "output"], "is 2 x 2"),
        ([[0]], ["input"], "have 2 to 7 vertices, cell 1 has 1"),
        ([[0, 1, 0], [0, 0, 1], [0, 0, 0]], ["input", "conv7x7", "output"], "unknown operation .* cell 1: 'conv7x7'"),
        ([[0, 1, 0], [0, 0, 1], [0, 0, 0]], ["maxpool3x3"] * 3, "from 'input' to 'output', those of cell 1"),
        (np.triu(np.ones((5, 5), int), 1), ["input", *NAMES, "output"], "at most 9 edges, cell 1 has 10"),
    ],
)
def test_wrong_matrices_are_refused(matrix: list[list[int]], names: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SPACE.from_matrices([[[0, 1], [0, 0]], matrix], [["input", "output"], names])
    with pytest.raises(ValueError, match="1 matrices but the operations of 0 cells"):
        SPACE.from_matrices([matrix], [])


# ---------------------------------------------------------------------- the benchmark's table


def test_table_is_the_whole_space(shared_benchmarks: Path, every_key: torch.Tensor) -> None:
    table = pq.read_table(shared_benchmarks / "nas-bench-101.parquet")
    cells, lists = (table[name].combine_chunks() for name in ("module_adjacency", "module_operations"))
    matrices = np.split(cells.values.to_numpy(), cells.offsets.to_numpy()[1:-1])
    names = np.array(lists.values.dictionary.to_pylist(), dtype=object)[lists.values.indices.to_numpy()].tolist()
    operations = [names[a:b] for a, b in itertools.pairwise(lists.offsets.tolist())]
    indices = SPACE.from_matrices(matrices, operations)
    keys, place = SPACE.keys(indices).sort()
    assert torch.equal(keys, every_key)
    parameters = torch.from_numpy(table["trainable_parameters"].to_numpy().astype(np.int64))
    assert torch.equal(SPACE.parameters(indices), parameters)
    # Its own matrices are the canonical ones.
    for i, (matrix, labels) in enumerate(SPACE.to_matrices(indices[::30])):
        assert (matrix.ravel() == matrices[30 * i]).all() and labels == operations[30 * i]
    # Samples score what the space scores.
    accuracy = torch.from_numpy(table["test_accuracy"].to_numpy())[place]
    sampled = SPACE.keys(SPACE.sample(20_000, torch.Generator().manual_seed(0)))
    mean = float(accuracy[torch.searchsorted(every_key, sampled)].mean())
    assert abs(mean - float(accuracy.mean())) < 4 * float(accuracy.std()) / 20_000**0.5


# ---------------------------------------------------------------------- networks


def architectures(num: int) -> list[Architecture]:
    indices = torch.cat([SPACE.sample(num, torch.Generator().manual_seed(4)), drawn(num, seed=5)])
    return [Architecture.from_string(SPACE, "1:"), *Architecture.from_batch(SPACE, indices)]


def test_networks_have_the_costs_that_the_space_says() -> None:
    for architecture in architectures(4):
        with torch.device("meta"):
            network, images = architecture.build(), torch.empty(1, 3, 32, 32)
        assert sum(p.numel() for p in network.parameters()) == architecture.cost().parameters, str(architecture)
        total = 0

        def add(layer: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
            nonlocal total
            total += layer.weight[0].numel() * output.numel()

        for layer in network.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                layer.register_forward_hook(add)
        assert network(images).shape == (1, 10)
        assert total == architecture.cost().flops, str(architecture)


def test_parameters_of_the_smallest_network() -> None:
    alone = Architecture.from_string(SPACE, "1:")
    # The stem, a projection with batch normalisation in every module, and the classifier.
    pairs = [(128, 128)] * 3 + [(128, 256)] + [(256, 256)] * 2 + [(256, 512)] + [(512, 512)] * 2
    expected = 27 * 128 + 256 + sum(a * b + 2 * b for a, b in pairs) + 5130
    assert alone.cost().parameters == expected


def test_network_trains_and_comes_back_from_a_file(tmp_path: Path) -> None:
    torch.manual_seed(0)
    images = torch.randn(2, 3, 8, 8)
    for architecture in [*architectures(4), Architecture.from_string(SPACE, "0:")]:
        network = architecture.build(3, channels=8, modules=1)
        logits = network(images)
        F.cross_entropy(logits, torch.tensor([0, 2])).backward()
        gradients = [p.grad for p in network.parameters() if p.grad is not None]
        assert logits.shape == (2, 3) and all(gradient.isfinite().all() for gradient in gradients)
        if architecture.is_valid:
            assert len(gradients) == len(list(network.parameters()))
        save_file(network.state_dict(), tmp_path / "network.safetensors")
        other = architecture.build(3, channels=8, modules=1)
        other.load_state_dict(load_file(tmp_path / "network.safetensors"))
        torch.testing.assert_close(other.eval()(images), network.eval()(images))


def test_module_is_what_the_paper_describes() -> None:
    """Projected inputs, truncated sums, concatenation, and the input added to the output, written out for one cell."""
    torch.manual_seed(0)
    text = "11001_1110_010_01_1:conv3x3-bn-relu,maxpool3x3,conv1x1-bn-relu,maxpool3x3"
    architecture = Architecture.from_string(SPACE, text)
    matrix, names = SPACE.to_matrices(architecture.rows)[0]
    network = architecture.build(channels=9, stacks=1, modules=1).eval()
    images = torch.randn(2, 3, 8, 8)
    stem, module = network.body
    features = stem(images)
    feeding = [v for v in range(1, len(names) - 1) if matrix[v, -1]]
    widths: dict[int, int] = {v: 9 // len(feeding) + (i < 9 % len(feeding)) for i, v in enumerate(feeding)}
    for v in range(len(names) - 2, 0, -1):
        widths.setdefault(v, max((widths[w] for w in range(v + 1, len(names) - 1) if matrix[v, w]), default=0))
    tensors: dict[int, torch.Tensor] = {}
    for v in range(1, len(names) - 1):
        total = torch.zeros(2, widths[v], 8, 8)
        for u in range(1, v):
            if matrix[u, v]:
                total = total + tensors[u][:, : widths[v]]
        if matrix[0, v]:
            projection = module.projections[str(v - 1)]
            total = total + F.relu(F.conv2d(features, projection[0].weight) / (1 + 1e-5) ** 0.5)
        if names[v] == "maxpool3x3":
            tensors[v] = F.max_pool2d(total, 3, stride=1, padding=1)
        else:
            weight = module.operations[v - 1][0].weight
            assert weight.shape == (widths[v], widths[v], int(names[v][4]), int(names[v][4]))
            tensors[v] = F.relu(F.conv2d(total, weight, padding=weight.shape[-1] // 2) / (1 + 1e-5) ** 0.5)
    expected = torch.cat([tensors[v] for v in feeding], dim=1)
    last = module.projections[str(len(names) - 2)]
    expected = expected + F.relu(F.conv2d(features, last[0].weight) / (1 + 1e-5) ** 0.5)
    torch.testing.assert_close(network(images), network.classifier(expected.mean((2, 3))))


def test_too_few_channels_are_refused() -> None:
    wide = Architecture.from_string(SPACE, "110_01_1:conv3x3,conv3x3")
    assert wide.build(channels=2, stacks=1, modules=1)(torch.randn(2, 3, 4, 4)).shape == (2, 10)
    with pytest.raises(ValueError, match="1 channels are too few for the 2 vertices"):
        wide.build(channels=1)


# ---------------------------------------------------------------------- features


def test_features_do_not_depend_on_the_numbering() -> None:
    rows = SPACE.sample(300, torch.Generator().manual_seed(1))
    raw = (torch.rand(3000, SPACE.num_slots, generator=torch.Generator().manual_seed(2)) * SPACE.sizes).long()
    raw = raw[SPACE.is_valid(raw)]
    torch.testing.assert_close(SPACE.features(raw), SPACE.features(SPACE.canonical(raw)))
    assert len(SPACE.features(rows).unique(dim=0)) > 250


def test_features_count_what_they_say() -> None:
    """Input to a 3x3 and a 1x1 convolution, the second through the first as well, both to the output."""
    row = SPACE.from_strings(["110_11_1:conv3x3-bn-relu,conv1x1-bn-relu"])
    counts = SPACE.features(row)[0] / COUNT_SCALE
    vertices, edges, paths = counts[:6], counts[6:42].view(6, 6), counts[42:78].view(6, 6)
    source, sink = 4, 5
    assert vertices.tolist() == [3, 1, 1, 0, 1, 1]  # three of the seven vertices are not there
    found = {(to, of): int(edges[to, of]) for to, of in edges.nonzero().tolist()}
    assert found == {(1, source): 1, (2, source): 1, (2, 1): 1, (sink, 1): 1, (sink, 2): 1}
    assert paths.sum() == 4  # input-3x3-1x1, input-3x3-output, input-1x1-output, 3x3-1x1-output
    assert counts[78:].tolist() == [5, 3, 2]
