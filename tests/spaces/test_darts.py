"""The DARTS space: genotypes, isomorphism, costs against the table of NAS-Bench-301, and networks."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from genotypes import DARTS_V2
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional as F

from pkgen_hf import Architecture, PKGenPipeline, Prior, get_space
from pkgen_hf.networks import darts
from pkgen_hf.spaces.darts import DARTSSpace
from pkgen_hf.spaces.darts_cells import NODES, OPERATIONS, count_cells
from pkgen_hf.spaces.darts_costs import cell_shapes

SPACE = cast(DARTSSpace, get_space("darts"))
COMPACT_V2 = (
    "[[[0, 3], [1, 3], [0, 3], [1, 3], [1, 3], [0, 2], [0, 2], [2, 5]], "
    "[[0, 0], [1, 0], [2, 2], [1, 0], [0, 0], [2, 2], [2, 2], [1, 0]]]"
)


def some(num: int) -> torch.Tensor:
    return SPACE.sample(num, torch.Generator().manual_seed(0))


def from_edges(sources: torch.Tensor, operations: torch.Tensor) -> torch.Tensor:
    """Rows of edges, by their text."""
    edges = torch.stack([sources, operations], dim=-1).flatten(2, 3)
    return SPACE.from_strings([json.dumps(row) for row in edges.tolist()])


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


# ---------------------------------------------------------------------- space


def test_slots_are_pairs_and_operations() -> None:
    assert SPACE.num_slots == 24 and SPACE.num_nodes == 6
    assert SPACE.sizes.tolist() == [size for i in NODES for size in (i * (i - 1), 8, 8)] * 2
    assert SPACE.drawn_sizes.tolist() == [size for i in NODES for size in (i * (i - 1), 7, 7)] * 2
    assert SPACE.num_encodings == (2 * 6 * 12 * 20) ** 2 * 8**16 > 2**63
    assert [slot.cell for slot in SPACE.slots] == [0] * 12 + [1] * 12
    for slot in SPACE.slots:
        assert slot.reads == tuple(range(slot.writes))
        if slot.kind == "connection":
            pairs = [tuple(map(int, choice.name.split(","))) for choice in slot.choices]
            assert set(pairs) == set(itertools.permutations(range(slot.writes), 2))
            half = len(pairs) // 2
            assert all(a < b for a, b in pairs[:half]) and [(b, a) for a, b in pairs[:half]] == pairs[half:]
            for (a, b), choice in zip(pairs, slot.choices, strict=True):
                scale = slot.writes - 1
                assert (choice.level, choice.spread) == pytest.approx(((a + b) / 2 / scale, abs(a - b) / scale))
    rows = some(2000)
    assert torch.equal(SPACE.check(rows), rows) and SPACE.is_valid(rows).all()
    assert len(SPACE.codes(rows).unique()) == 2000


def test_edges_read_earlier_nodes() -> None:
    sources, operations = SPACE.edges(some(2000))
    assert sources.shape == operations.shape == (2000, 2, 4, 2)
    assert (sources >= 0).all() and (sources < torch.tensor(NODES)[:, None]).all()
    assert (sources[..., 0] != sources[..., 1]).all()
    assert torch.equal(from_edges(sources, operations), some(2000))


def test_remove_leaves_skips_and_connections() -> None:
    rows = some(100)
    removed = SPACE.remove(rows, torch.zeros_like(rows, dtype=torch.bool))
    connections = torch.tensor([slot.kind == "connection" for slot in SPACE.slots])
    assert torch.equal(removed[:, connections], rows[:, connections])
    assert {OPERATIONS[k].name for k in removed[:, ~connections].flatten().tolist()} == {"skip_connect"}


# ---------------------------------------------------------------------- isomorphism


def test_canonical_form_does_not_depend_on_numbers_of_nodes_and_order_of_inputs() -> None:
    rows = some(2000)
    canonical = SPACE.canonical(rows)
    assert torch.equal(SPACE.canonical(canonical), canonical) and torch.equal(SPACE.check(canonical), canonical)
    for cost in (SPACE.parameters, SPACE.flops):
        assert torch.equal(cost(canonical), cost(rows))
    sources, operations = SPACE.edges(canonical)
    assert (sources[..., 0] < sources[..., 1]).all()
    # inputs in a random order
    sources, operations = SPACE.edges(rows)
    order = torch.rand(sources.shape, generator=torch.Generator().manual_seed(1)).argsort(-1)
    turned = from_edges(sources.gather(-1, order), operations.gather(-1, order))
    assert not torch.equal(turned, rows)
    assert torch.equal(SPACE.canonical(turned), canonical) and torch.equal(SPACE.keys(turned), SPACE.keys(rows))
    # nodes of one cell numbered anew, wherever each still comes after what it reads
    moved = 0
    for places, cell in itertools.product(itertools.permutations(NODES), (0, 1)):
        number = torch.tensor([0, 1, *places])
        back = number[2:].argsort()  # the old node (less 2) at each place
        new_sources, new_operations = sources.clone(), operations.clone()
        new_sources[:, cell] = number[sources[:, cell]][:, back]
        new_operations[:, cell] = operations[:, cell, back]
        allowed = (new_sources < torch.tensor(NODES)[:, None]).flatten(1).all(1)
        other = from_edges(new_sources[allowed], new_operations[allowed])
        assert torch.equal(SPACE.canonical(other), canonical[allowed]), places
        moved += int(allowed.sum())
    assert moved > 5 * len(rows)


def test_cells_up_to_isomorphism_are_counted() -> None:
    """All cells of two operations by their canonical form, and the count of all of seven from the formula."""
    wirings = itertools.product(*(itertools.combinations(range(node), 2) for node in NODES))
    labels = torch.cartesian_prod(*[torch.arange(2)] * 8)  # (256, 8)
    sources = torch.tensor(list(wirings)).repeat_interleave(len(labels), dim=0)  # (180 * 256, 4, 2)
    operations = labels.repeat(180, 1).unflatten(1, (4, 2))
    rows = torch.zeros(len(sources), 24, dtype=torch.long)
    first = [slot.choices for slot in SPACE.slots[:12:3]]
    index = [{choice.name: k for k, choice in enumerate(choices)} for choices in first]
    for node in range(4):
        names = [f"{a},{b}" for a, b in sources[:, node].tolist()]
        rows[:, 3 * node] = torch.tensor([index[node][name] for name in names])
        rows[:, 3 * node + 1 : 3 * node + 3] = operations[:, node]
    assert len(rows.unique(dim=0)) == 180 * 256
    assert len(SPACE.canonical(rows).unique(dim=0)) == count_cells(2) == 17_531
    unlabelled = SPACE.canonical(rows[:: len(labels)])
    assert len(unlabelled.unique(dim=0)) == count_cells(1)
    assert SPACE.num_architectures == count_cells(7) ** 2 == 382_128_166**2


def test_cells_with_none_up_to_isomorphism_are_counted() -> None:
    """All cells of one operation and none by their canonical form, and by the formula."""
    wirings = itertools.product(*(itertools.combinations(range(node), 2) for node in NODES))
    labels = 7 * torch.cartesian_prod(*[torch.arange(2)] * 8)  # (256, 8)
    sources = torch.tensor(list(wirings)).repeat_interleave(len(labels), dim=0)  # (180 * 256, 4, 2)
    cells = torch.stack([sources, labels.repeat(180, 1).unflatten(1, (4, 2))], dim=-1).flatten(1, 2)
    rows = SPACE.from_strings([json.dumps([cell, [[0, 0], [1, 0]] * 4]) for cell in cells.tolist()])
    valid = rows[SPACE.is_valid(rows)]
    assert 0 < len(valid) < len(rows)
    assert len(SPACE.canonical(valid).unique(dim=0)) == count_cells(1, with_none=True)
    assert count_cells(7, with_none=True) == 626_742_459


# ---------------------------------------------------------------------- none


def with_none(num: int, chance: float = 0.3) -> torch.Tensor:
    """Random rows, some of whose operations are none."""
    rows = some(num)
    operations = torch.tensor([slot.kind == "operation" for slot in SPACE.slots])
    picked = torch.rand(rows.shape, generator=torch.Generator().manual_seed(1)) < chance
    return torch.where(picked & operations, 7, rows)


def test_none_is_read_and_written_and_never_sampled() -> None:
    text = DARTS_V2.replace("dil_conv_3x3", "none")
    (row,) = SPACE.from_strings([text])
    assert SPACE.to_strings(row[None]) == [text]
    assert SPACE.to_compact_strings(row[None]) == [COMPACT_V2.replace("[2, 5]", "[2, 7]")]
    assert torch.equal(SPACE.from_strings([COMPACT_V2.replace("[2, 5]", "[2, 7]")])[0], row)
    assert SPACE.is_valid(row[None]).all() and not SPACE.is_drawn(row[None]).any()
    assert SPACE.is_drawn(some(5000)).all()


def test_edges_of_none_may_come_from_anywhere() -> None:
    rows = with_none(2000)
    canonical = SPACE.canonical(rows)
    assert torch.equal(SPACE.canonical(canonical), canonical) and torch.equal(SPACE.check(canonical), canonical)
    assert torch.equal(SPACE.is_valid(canonical), SPACE.is_valid(rows))
    for cost in (SPACE.parameters, SPACE.flops):
        assert torch.equal(cost(canonical), cost(rows))
    sources, operations = SPACE.edges(rows)
    none = operations == 7
    assert (operations.flatten(1).sort(1)[0] == SPACE.edges(canonical)[1].flatten(1).sort(1)[0]).all()
    generator = torch.Generator().manual_seed(2)
    for _ in range(5):  # another source, unless it is that of the node's other edge
        other = (torch.rand(sources.shape, generator=generator) * torch.tensor(NODES)[:, None]).long()
        moved = torch.where(none & ~none.flip(-1) & (other != sources.flip(-1)), other, sources)
        assert not torch.equal(moved, sources)
        assert torch.equal(SPACE.canonical(from_edges(moved, operations)), canonical)
    kept = ~none.flatten(1).any(1)
    assert kept.any() and torch.equal(canonical[kept], SPACE.canonical(rows[kept]))


def test_renumbered_cells_with_none_have_one_canonical_form() -> None:
    rows = with_none(1000)
    canonical = SPACE.canonical(rows)
    sources, operations = SPACE.edges(rows)
    for places in itertools.permutations(NODES):
        number = torch.tensor([0, 1, *places])
        back = number[2:].argsort()
        new_sources, new_operations = number[sources][:, :, back], operations[:, :, back]
        allowed = (new_sources < torch.tensor(NODES)[:, None]).flatten(1).all(1)
        other = from_edges(new_sources[allowed], new_operations[allowed])
        assert torch.equal(SPACE.canonical(other), canonical[allowed]), places


def test_cells_that_nothing_passes_are_not_valid() -> None:
    normal = "[[0, 3], [1, 3], [0, 3], [1, 3], [1, 3], [0, 2], [0, 2], [2, 5]]"
    nothing = "[[0, 7], [1, 7], [0, 7], [1, 7], [1, 7], [0, 7], [0, 7], [1, 7]]"
    after_nothing = nothing.replace("[0, 7], [1, 7]]", "[2, 3], [3, 4]]")  # node 5 reads nodes that are zero
    one = nothing.replace("[0, 7], [0, 7]", "[0, 3], [0, 7]")
    texts = [
        f"[{a}, {b}]" for a, b in [(normal, normal), (nothing, normal), (normal, nothing), (normal, after_nothing)]
    ]
    rows = SPACE.from_strings([*texts, f"[{one}, {one}]"])
    assert SPACE.is_valid(rows).tolist() == [True, False, False, False, True]
    torch.manual_seed(0)
    shapes = cell_shapes(4, 6)
    for row, is_valid in zip(rows, SPACE.is_valid(rows).tolist(), strict=True):
        network = Architecture(SPACE, row.tolist()).build(channels=4, cells=6).eval()
        passes = []
        for cell, shape in zip(network.cells, shapes, strict=True):
            size = 16 if shape.shrinks else 8
            pairs = [(torch.randn(1, shape.before, size, size), torch.randn(1, shape.inputs, 8, 8)) for _ in range(2)]
            passes.append(not torch.equal(*(cell(*pair) for pair in pairs)))
        assert all(passes) == is_valid


def test_costs_of_cells_with_none_are_those_of_the_network() -> None:
    rows = with_none(6)
    for task, options in [
        ("cifar10", {}),
        ("imagenet1k", {"channels": 48, "cells": 14, "affine": True, "stem": "imagenet"}),
    ]:
        size, counter_type = (32, OperationCount) if task == "cifar10" else (224, MultiplyAdds)
        for row in rows:
            architecture = Architecture(SPACE, row.tolist())
            with torch.device("meta"):
                network = architecture.build(num_classes=SPACE.task(task).num_classes, **options).eval()
                counter = counter_type(network)
                network(torch.empty(1, 3, size, size))
            extra = 512 * (8 + 1) ** 2 if task == "cifar10" else 0
            assert count(network) == int(SPACE.parameters(row[None], task))
            assert counter.total + extra == int(SPACE.flops(row[None], task))


def test_priors_without_none_never_give_it() -> None:
    pipe = PKGenPipeline.from_pretrained()
    rows = some(40)
    scores = torch.arange(40.0)
    given = Prior.from_evaluations(SPACE, rows, scores)
    for prior in (
        None,
        given,
        Prior.absent(SPACE),
        Prior.carried_over(SPACE, [p for p in pipe.priors if p.space != SPACE]),
    ):
        found = pipe(
            SPACE, prior=prior, num_architectures=32, generator=torch.Generator().manual_seed(0), temperature=9.0
        )
        assert SPACE.is_drawn(torch.tensor([a.indices for a in found.architectures])).all()
    assert SPACE.is_drawn(given.sample(2000, 5.0, torch.Generator().manual_seed(0))).all()


def test_a_prior_of_good_cells_with_none_gives_it() -> None:
    pipe = PKGenPipeline.from_pretrained()
    rows = with_none(60, 0.5)
    prior = Prior.from_evaluations(SPACE, rows, (rows == 7).sum(1) + torch.arange(60) / 100)
    assert (prior.frequencies[:, 7] > 0).any()
    found = pipe(SPACE, prior=prior, num_architectures=32, generator=torch.Generator().manual_seed(0))
    assert not SPACE.is_drawn(torch.tensor([a.indices for a in found.architectures])).all()


def test_priors_that_know_nothing_of_none_are_read(tmp_path: Path) -> None:
    given = Prior.from_evaluations(SPACE, some(40), torch.arange(40.0))
    path = given.save(tmp_path / "prior.parquet")
    table = pq.read_table(path)
    keep = [choices != ["none"] for choices in table["choices"].to_pylist()]
    assert not all(keep)
    pq.write_table(table.filter(keep), path)
    read = Prior.load(path)
    assert torch.equal(read.frequencies, given.frequencies) and (read.frequencies[:, 7] == 0)[1].all()


def test_isomorphic_cells_compute_the_same() -> None:
    """Operations moved along, a cell's nodes are the same up to their order."""
    torch.manual_seed(0)
    shape = cell_shapes(4, 8)[0]
    row = some(1)
    while torch.equal(SPACE.edges(SPACE.canonical(row))[0].sort(-1)[0], SPACE.edges(row)[0].sort(-1)[0]):
        row = SPACE.sample(1)
    built = []
    for indices in (row, SPACE.canonical(row)):
        sources, operations = (part[0, 0].flatten().tolist() for part in SPACE.edges(indices))
        edges = [(source, OPERATIONS[number].name) for source, number in zip(sources, operations, strict=True)]
        cell = darts.Cell(edges, shape, affine=False, drop_path_prob=0.0)
        for parameter in cell.parameters():  # equal operations get equal weights, so they need not be matched
            values = torch.arange(parameter.numel(), dtype=torch.float)
            parameter.data = (values * 0.7).sin().reshape(parameter.shape)
        built.append(cell)
    before, inputs = torch.randn(2, shape.before, 8, 8), torch.randn(2, shape.inputs, 8, 8)
    outputs = [cell(before, inputs).unflatten(1, (4, 4)) for cell in built]
    used = set()
    for node in range(4):
        distance = (outputs[1] - outputs[0][:, node, None]).abs().amax((0, 2, 3, 4))
        used.add(int(distance.argmin()))
        assert distance.min() < 1e-4
    assert used == set(range(4))


# ---------------------------------------------------------------------- strings


def test_every_string_comes_back() -> None:
    rows = some(1000)
    strings, compact = SPACE.to_strings(rows), SPACE.to_compact_strings(rows)
    assert torch.equal(SPACE.from_strings(strings), rows)
    assert torch.equal(SPACE.from_strings(compact), rows)
    assert torch.equal(SPACE.from_strings([text.replace(" ", "") for text in strings]), rows)
    assert torch.equal(SPACE.from_strings([text.replace("range(2, 6)", "[2, 3, 4, 5]") for text in strings]), rows)
    assert torch.equal(SPACE.from_strings([text.replace("'", '"') for text in strings]), rows)
    assert torch.equal(SPACE.from_strings([text.replace("[", "[\n  ") for text in compact]), rows)
    assert [json.dumps(json.loads(text)) for text in compact] == compact


def test_published_genotype_is_read_as_it_is_written() -> None:
    rows = SPACE.from_strings([DARTS_V2, COMPACT_V2])
    assert torch.equal(rows[0], rows[1])
    assert SPACE.to_strings(rows) == [DARTS_V2] * 2 and SPACE.to_compact_strings(rows) == [COMPACT_V2] * 2


PARTS = {part.partition("=")[0]: part.partition("=")[2] for part in re.split(r", (?=\w+=)", DARTS_V2[9:-1])}


def lists(text: str) -> str:
    """With lists for tuples."""
    for operation in (choice.name for choice in OPERATIONS):
        for node in range(5):
            text = text.replace(f"('{operation}', {node})", f"['{operation}', {node}]")
    return text


def node_by_node(text: str) -> str:
    """With a list of two edges for each node."""
    edge = r"\('\w+', \d\)"
    return re.sub(rf"({edge}), ({edge})", r"[\1, \2]", text)


def as_json(form: dict[str, bool]) -> str:
    """An object of both cells, with their output nodes, and node by node, if wanted."""
    made: dict[str, Any] = {}
    for name in ("normal", "reduce"):
        edges = [[op, int(node)] for op, node in re.findall(r"\('(\w+)', (\d)\)", PARTS[name])]
        made[name] = [edges[k : k + 2] for k in range(0, 8, 2)] if form.get("nodes") else edges
        if form.get("concat"):
            made[f"{name}_concat"] = [2, 3, 4, 5]
    return json.dumps(made)


@pytest.mark.parametrize(
    "text",
    [
        f"PCDARTS = {DARTS_V2}",
        f"2020-01-01 12:00:00,123 INFO genotype = {DARTS_V2}",
        f"epoch 49 lr 1.0e-03\n2020-01-01 genotype = {DARTS_V2}\n2020-01-02 valid_acc 97.2 (of 50)\n",
        f"darts.{DARTS_V2}",
        f"best=gt.{DARTS_V2};",
        f"1) print({DARTS_V2})",
        f"{DARTS_V2}\n{DARTS_V2}",
        f"'{DARTS_V2}'",
        lists(DARTS_V2),
        lists(DARTS_V2).replace("[[", "([").replace("]]", "])"),
        DARTS_V2.replace("(", "(\n  ", 1).replace("), (", "),\n    (").replace(", reduce", ",  # reduces\n reduce"),
        DARTS_V2.replace("normal_concat", "# the next node's inputs (0 and 1)\n normal_concat"),
        DARTS_V2.replace("range(2, 6)", "[2,3,4,5]"),
        DARTS_V2.replace("range(2, 6)", "(2, 3, 4, 5)"),
        DARTS_V2.replace("range(2, 6)", "list(range(2, 6, 1))"),
        DARTS_V2.replace("range(2, 6)", "array([2, 3, 4, 5])"),
        DARTS_V2.replace(")]", "),]")[:-1] + ",)",
        DARTS_V2.replace(", 0)", ", np.int64(0))").replace(", 2)", ", int64(2))"),
        DARTS_V2.replace("'sep_conv_3x3'", "np.str_('sep_conv_3x3')"),
        DARTS_V2.replace("'", "’"),  # as papers are typeset
        f"Genotype({', '.join(PARTS.values())})",
        f"Genotype({', '.join(f'{name}={PARTS[name]}' for name in reversed(PARTS))})",
        f"{{{', '.join(f'{name!r}: {part}' for name, part in PARTS.items())}}}",
        COMPACT_V2.replace("[", "(").replace("]", ")"),
        node_by_node(DARTS_V2),
        lists(node_by_node(DARTS_V2)),
        DARTS_V2.replace("range(2, 6)", "list(range(2, 4)) + [4, 5]"),
        as_json({}),
        as_json({"concat": True}),
        as_json({"nodes": True, "concat": True}),
        f'{{"genotype": {as_json({"concat": True})}}}',
        f"GENOTYPE = {DARTS_V2},",
        f"GENOTYPE={DARTS_V2.replace(', ', ' ,  ').replace('=', ' = ')}",
    ],
)  # fmt: skip
def test_genotype_is_read_as_people_paste_it(text: str) -> None:
    assert text != DARTS_V2
    assert Architecture.from_string(SPACE, text).indices == Architecture.from_string(SPACE, DARTS_V2).indices


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no Genotype"),
        ("genotype", "no Genotype"),
        (DARTS_V2[:400], "it ends before its last bracket is closed"),
        (DARTS_V2.replace("'skip_connect'", "skip_connect"), "'skip_connect' is not a literal"),
        (DARTS_V2.replace("'skip_connect'", "open('x')"), '"open.*" is not a literal'),
        (DARTS_V2.replace("normal=", "normal=__import__('os').name or "), "\"__import__.* is not a literal"),
        (DARTS_V2.replace("range(2, 6)", "range(2, 7)"), r"normal_concat must be .*, got \[2, 3, 4, 5, 6\]"),
        (DARTS_V2.replace("range(2, 6)", "range(10**9)"), "'10..9' is not a literal"),
        (DARTS_V2.replace("range(2, 6)", "range(1000000000)"), "normal_concat must be the nodes 2 to 5"),
        (DARTS_V2.replace("reduce=", "reduced="), r"Genotype\(...\) takes normal, normal_concat, reduce, "),
        (DARTS_V2.replace("reduce=", "normal="), "neither JSON nor Python .*repeated|'normal' is there twice"),
        (DARTS_V2.replace(", ('dil_conv_3x3', 2)", ""), "the normal cell has 7 edges, not 8"),
        (DARTS_V2.replace("('dil_conv_3x3', 2)", "('dil_conv_3x3',)"), "an edge of the normal cell must be"),
        (DARTS_V2 + ", 93", "more follows on the same line"),
        ("93; darts." + DARTS_V2, "another field stands before it on the same line"),
        (DARTS_V2 + "\n" + DARTS_V2.replace("sep", "dil"), "two different calls of Genotype"),
        ("Genotype(normal=[], reduce=5)", "the reduce cell must be a list of edges, got 5"),
        ("Genotype(normal=[])", "there is no reduce cell"),
        (node_by_node(DARTS_V2).replace(", ('dil_conv_3x3', 2)", ""), "a node of the normal cell must"),
        (DARTS_V2.replace("range(2, 6)", "[" + "2, " * 500 + "]"), "normal_concat must be the nodes 2 to 5"),
        (DARTS_V2.replace("range(2, 6)", "[]" + " + []" * 5000), "its (parts|brackets) are nested too deep|.*neither"),
        ("x" * 5000, "no Genotype"),
    ],
)  # fmt: skip
def test_error_of_a_genotype_says_the_reason_first(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=f"^{reason}") as caught:
        Architecture.from_string(SPACE, text)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Genotype()",
        "[]",
        "[1, 2]",
        "[[], []]",
        "[" * 100_000,
        "[[[0, 3]]",
        '[[["a"]], []]',
        COMPACT_V2.replace(", [2, 5]", ""),
        COMPACT_V2[:-1] + ", []]",
        DARTS_V2[:-1],
        DARTS_V2 + ")",
        DARTS_V2.replace("normal=", "normal=__import__('os').name or "),
        DARTS_V2.replace("('dil_conv_3x3', 2)", ""),
        DARTS_V2.replace("normal_concat=range(2, 6)", "normal_concat=[3, 4, 5]"),
        DARTS_V2.replace("'dil_conv_3x3'", "dil_conv_3x3"),
        DARTS_V2.replace("('dil_conv_3x3', 2)", "('dil_conv_3x3', -1)"),
        "|".join(["0,1", "skip_connect", "skip_connect"] * 8),
    ],
)
def test_malformed_string_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="^[^:].*: .* is not a darts string; one looks like"):
        SPACE.from_strings([DARTS_V2, text])


@pytest.mark.parametrize(
    ("text", "hints"),
    [
        (DARTS_V2.replace("dil_conv_3x3", "dil_conv_3"), ["Did you mean 'dil_conv_3x3'", "'normal node 5, second'"]),
        (DARTS_V2.replace("dil_conv_3x3", "nothing"), ["Allowed: max_pool_3x3, avg_pool_3x3, skip_connect"]),
        (DARTS_V2.replace("('dil_conv_3x3', 2)", "('dil_conv_3x3', 5)"), ["'normal inputs of 5'", "'0,5'"]),
        (DARTS_V2.replace("('dil_conv_3x3', 2)", "('dil_conv_3x3', 0)"), ["'normal inputs of 5'", "'0,0'"]),
        (COMPACT_V2.replace("[2, 5]", "[2, 8]"), ["'8'", "'normal node 5, second'"]),
        (COMPACT_V2.replace("[2, 5]", "[2, true]"), ["'True'", "'normal node 5, second'"]),
        (COMPACT_V2.replace("[2, 5]", "[5, 5]"), ["'0,5'", "'normal inputs of 5'"]),
    ],
)
def test_wrong_part_is_named(text: str, hints: list[str]) -> None:
    with pytest.raises(ValueError, match="unknown choice in slot") as caught:
        SPACE.from_strings([text])
    for hint in hints:
        assert hint in str(caught.value)


# ---------------------------------------------------------------------- costs


def test_strings_and_costs_are_those_of_the_shared_table(shared_benchmarks: Path) -> None:
    table = pq.read_table(shared_benchmarks / "nas-bench-301.parquet")
    texts = table["architecture"].to_pylist()
    rows = SPACE.from_strings(texts)
    assert len(rows) == 11_946 and SPACE.to_compact_strings(rows) == texts
    strings = SPACE.to_strings(rows)
    assert torch.equal(SPACE.from_strings(strings), rows)
    for cost, column in [(SPACE.parameters(rows), "parameters_m"), (SPACE.flops(rows, "cifar10"), "flops_m")]:
        published = table[column].to_numpy().astype(np.float32)
        known = ~np.isnan(published)
        assert known.sum() == 725
        assert np.array_equal((cost.numpy() / 1e6).astype(np.float32)[known], published[known]), column


class OperationCount:
    """Operations as the published numbers count them, by what the modules of a network read and put out."""

    def __init__(self, network: nn.Module) -> None:
        self.total = 0
        for module in network.modules():
            module.register_forward_hook(self)

    def __call__(self, module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        if isinstance(module, nn.Conv2d | nn.Linear):
            self.total += output.numel() * module.weight[0].numel()
        elif isinstance(module, nn.BatchNorm2d):
            self.total += output.numel() * (2 if module.affine else 1)
        elif isinstance(module, nn.MaxPool2d | nn.AvgPool2d):
            self.total += 9 * output.numel()
        elif isinstance(module, nn.ReLU | darts.FactorizedReduce):  # the latter has a ReLU within
            self.total += inputs[0].numel()


def test_costs_are_those_of_the_network() -> None:
    rows = torch.cat([SPACE.drawn_sizes[None] - 1, torch.zeros(1, 24, dtype=torch.long), some(8)])
    parameters, flops = SPACE.parameters(rows).tolist(), SPACE.flops(rows).tolist()
    for i, architecture in enumerate(Architecture.from_batch(SPACE, rows)):
        with torch.device("meta"):
            network = architecture.build().eval()
            counter = OperationCount(network)
            network(torch.empty(1, 3, 32, 32))
        assert count(network) == parameters[i], str(architecture)
        assert counter.total + 512 * (8 + 1) ** 2 == flops[i], str(architecture)  # and the mean


class MultiplyAdds(OperationCount):
    """Of convolutions and linear layers alone."""

    def __call__(self, module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        if isinstance(module, nn.Conv2d | nn.Linear):
            super().__call__(module, inputs, output)


def test_costs_for_imagenet_are_those_of_the_network() -> None:
    rows = torch.cat([SPACE.drawn_sizes[None] - 1, torch.zeros(1, 24, dtype=torch.long), some(4)])
    parameters, flops = SPACE.parameters(rows, "imagenet1k").tolist(), SPACE.flops(rows, "imagenet1k").tolist()
    for i, architecture in enumerate(Architecture.from_batch(SPACE, rows)):
        with torch.device("meta"):
            network = architecture.build(num_classes=1000, channels=48, cells=14, affine=True, stem="imagenet").eval()
            counter = MultiplyAdds(network)
            network(torch.empty(1, 3, 224, 224))
        assert (count(network), counter.total) == (parameters[i], flops[i]), str(architecture)


def test_published_networks_have_their_published_sizes() -> None:
    """What the authors' code reports of DARTS_V2: 3.349342 and 4.718752 million, auxiliary classifiers not counted."""
    architecture = Architecture.from_string(SPACE, DARTS_V2)
    with torch.device("meta"):
        small = architecture.build(channels=36, cells=20, affine=True)
        large = architecture.build(num_classes=1000, channels=48, cells=14, affine=True, stem="imagenet")
        both = architecture.build(
            num_classes=1000, channels=48, cells=14, affine=True, stem="imagenet", auxiliary=True
        )
        first, second = both(torch.empty(2, 3, 224, 224))
    assert count(small) == 3_349_342 and count(large) == 4_718_752
    assert first.shape == second.shape == (2, 1000)


@pytest.mark.parametrize(
    "normal, reduce, millions",
    [
        (  # P-DARTS, ICCV 2019
            "skip_connect 0, dil_conv_3x3 1, skip_connect 0, sep_conv_3x3 1, sep_conv_3x3 1, sep_conv_3x3 3, "
            "sep_conv_3x3 0, dil_conv_5x5 4",
            "avg_pool_3x3 0, sep_conv_5x5 1, sep_conv_3x3 0, dil_conv_5x5 2, max_pool_3x3 0, dil_conv_3x3 1, "
            "dil_conv_3x3 1, dil_conv_5x5 3",
            3.4,
        ),
        (  # PC-DARTS, ICLR 2020
            "sep_conv_3x3 1, skip_connect 0, sep_conv_3x3 0, dil_conv_3x3 1, sep_conv_5x5 0, sep_conv_3x3 1, "
            "avg_pool_3x3 0, dil_conv_3x3 1",
            "sep_conv_5x5 1, max_pool_3x3 0, sep_conv_5x5 1, sep_conv_5x5 2, sep_conv_3x3 0, sep_conv_3x3 3, "
            "sep_conv_3x3 1, sep_conv_3x3 2",
            3.6,
        ),
    ],
)
def test_cells_that_others_found_have_their_published_sizes(normal: str, reduce: str, millions: float) -> None:
    """Parameters on CIFAR-10 as in the tables of their papers, which give one decimal."""
    edges = [[(name, int(node)) for name, node in map(str.split, cell.split(", "))] for cell in (normal, reduce)]
    concat = "range(2, 6)"
    text = f"Genotype(normal={edges[0]}, normal_concat={concat}, reduce={edges[1]}, reduce_concat={concat})"
    architecture = Architecture.from_string(SPACE, text)
    with torch.device("meta"):
        network = architecture.build(channels=36, cells=20, affine=True)
    assert count(network) / 1e6 == pytest.approx(millions, rel=0.02)


# ---------------------------------------------------------------------- networks


def test_reductions_stand_after_thirds() -> None:
    shapes = cell_shapes(16, 8)
    assert [k for k, shape in enumerate(shapes) if shape.reduces] == [2, 5]
    assert [shape.width for shape in shapes] == [16, 16, 32, 32, 32, 64, 64, 64]
    assert [k for k, shape in enumerate(shapes) if shape.shrinks] == [3, 6]
    assert [shape[:2] for shape in shapes[:4]] == [(48, 48), (48, 64), (64, 64), (64, 128)]
    assert [k for k, shape in enumerate(cell_shapes(16, 14, is_large=True)) if shape.shrinks] == [0, 5, 10]


@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize("choice", OPERATIONS, ids=lambda choice: choice.name)
def test_operations_keep_channels(choice: Any, affine: bool) -> None:
    features = torch.randn(2, 6, 8, 8)
    for stride in (1, 2):
        layer = darts.operation(choice.name, 6, stride, affine)
        assert layer(features).shape == (2, 6, 8 // stride, 8 // stride)
        norms = [module for module in layer.modules() if isinstance(module, nn.BatchNorm2d)]
        assert all(norm.affine == affine for norm in norms)
        assert len(norms) == (2 if "sep" in choice.name else 1) - (
            choice.kind == "zero"
            or (choice.kind == "identity" and stride == 1)
            or (choice.kind == "pooling" and affine)
        )


@pytest.mark.parametrize(
    "options", [{}, {"affine": True, "auxiliary": True}, {"stem": "imagenet", "cells": 4}], ids=lambda o: str(len(o))
)
def test_network_trains_and_is_saved(options: dict[str, Any], tmp_path: Path) -> None:
    torch.manual_seed(0)
    architecture = Architecture.from_batch(SPACE, some(1))[0]
    network = architecture.build(num_classes=5, channels=4, **options)
    images = torch.randn(4, 3, 32, 32) if options.get("stem") is None else torch.randn(4, 3, 64, 64)
    logits = network(images)
    losses = [F.cross_entropy(part, torch.arange(4)) for part in (logits if isinstance(logits, tuple) else [logits])]
    assert len(losses) == 1 + ("auxiliary" in options)
    torch.stack(losses).sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all() and parameter.grad.any(), name
    network.eval()
    assert network(images).shape == (4, 5)
    save_file(network.state_dict(), tmp_path / "network.safetensors")
    other = architecture.build(num_classes=5, channels=4, **options).eval()
    assert not torch.equal(other(images), network(images))
    other.load_state_dict(load_file(tmp_path / "network.safetensors"))
    assert torch.equal(other(images), network(images))


def test_paths_are_dropped_in_training_alone() -> None:
    torch.manual_seed(0)
    cell = darts.Cell(
        [(0, "skip_connect"), (1, "avg_pool_3x3")] * 4, cell_shapes(4, 8)[0], affine=True, drop_path_prob=0.5
    )
    before, inputs = torch.randn(64, 12, 4, 4), torch.randn(64, 12, 4, 4)
    kept = cell.before(before)
    parts = (cell(before, inputs)[:, :4] - kept).flatten(1)
    dropped = (parts == 0).all(1)
    assert 16 < int(dropped.sum()) < 48  # the pooling is dropped, the identity never
    whole = cell.operations[1](cell.inputs(inputs)).flatten(1)
    torch.testing.assert_close(parts[~dropped], 2 * whole[~dropped], rtol=1e-4, atol=1e-5)
    cell.eval()
    expected = cell.before(before) + cell.operations[1](cell.inputs(inputs))
    torch.testing.assert_close(cell(before, inputs)[:, :4], expected)


def test_wrong_options_are_refused() -> None:
    architecture = Architecture.from_string(SPACE, DARTS_V2)
    with pytest.raises(ValueError, match="unknown stem: 'imagnet'. Did you mean 'imagenet'"):
        architecture.build(stem="imagnet")
    with pytest.raises(ValueError, match="channels must be at least 1, got 0"):
        architecture.build(channels=0)
    with torch.device("meta"):
        assert count(architecture.build(auxiliary=False)) == 909_866
