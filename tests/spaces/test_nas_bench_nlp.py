"""NAS-Bench-NLP: recipes and how rows are read as recipes, against networkx; networks against formulas by hand."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any, cast

import networkx
import pyarrow.parquet as pq
import pytest
import torch
from networkx.algorithms.isomorphism import categorical_multiedge_match, categorical_node_match
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from pkgen_hf import Architecture, get_space
from pkgen_hf.benchmarks.score_table import ScoreTable
from pkgen_hf.networks import build, plan
from pkgen_hf.spaces.nas_bench_nlp import OPERATIONS, NASBenchNLPSpace
from pkgen_hf.spaces.shapes import on_meta

SPACE = cast(NASBenchNLPSpace, get_space("nas-bench-nlp"))
RNN = {
    "f": {"op": "linear", "input": ["x", "h_prev_0"]},
    "h_new_0": {"op": "activation_tanh", "input": ["f"]},
}
LSTM = {
    **{gate: {"op": "linear", "input": ["x", "h_prev_0"]} for gate in "ijfo"},
    "i_act": {"op": "activation_tanh", "input": ["i"]},
    **{f"{gate}_act": {"op": "activation_sigm", "input": [gate]} for gate in "jfo"},
    "kept": {"op": "elementwise_prod", "input": ["f_act", "h_prev_1"]},
    "added": {"op": "elementwise_prod", "input": ["i_act", "j_act"]},
    "h_new_1": {"op": "elementwise_sum", "input": ["kept", "added"]},
    "shown": {"op": "activation_tanh", "input": ["h_new_1"]},
    "h_new_0": {"op": "elementwise_prod", "input": ["shown", "o_act"]},
}
GRU = {
    **{gate: {"op": "linear", "input": ["x", "h_prev_0"]} for gate in "rz"},
    "r_act": {"op": "activation_sigm", "input": ["r"]},
    "z_act": {"op": "activation_sigm", "input": ["z"]},
    "rh": {"op": "elementwise_prod", "input": ["r_act", "h_prev_0"]},
    "h": {"op": "linear", "input": ["x", "rh"]},
    "h_act": {"op": "activation_tanh", "input": ["h"]},
    "h_new_0": {"op": "blend", "input": ["z_act", "h_prev_0", "h_act"]},
}
KNOWN = [json.dumps(recipe) for recipe in (RNN, LSTM, GRU)]
SMALL: dict[str, Any] = {"embedding": 6, "hidden": 8, "layers": 3}
STILL: dict[str, Any] = {"dropout": 0.0, "hidden_dropout": 0.0, "word_dropout": 0.0, "weight_dropout": 0.0}


def graph(text: str) -> networkx.MultiDiGraph:
    """The recipe, where only a blend tells its inputs apart."""
    recipe = json.loads(text)
    result = networkx.MultiDiGraph()
    for name, node in recipe.items():
        is_state = name.startswith("h_new_") and name[6:].isdigit()
        result.add_node(name, label=(node["op"], name if is_state else ""))
    for name, node in recipe.items():
        for place, source in enumerate(node["input"]):
            if source not in result:
                result.add_node(source, label=("", source))
            result.add_edge(source, name, place=place if node["op"] == "blend" else 0)
    return result


def is_same(a: networkx.MultiDiGraph, b: networkx.MultiDiGraph) -> bool:
    return networkx.is_isomorphic(
        a, b, categorical_node_match("label", None), categorical_multiedge_match("place", None)
    )


def renumbered(text: str, source: random.Random) -> str:
    """The same recipe with other names, in another order, with inputs exchanged where that means nothing."""
    recipe = json.loads(text)
    names = source.sample(list(recipe), len(recipe))
    new = {name: name if name.startswith("h_new_") else f"n{i}" for i, name in enumerate(names)}
    written = {}
    for name in names:
        inputs = [new.get(k, k) for k in recipe[name]["input"]]
        if recipe[name]["op"] != "blend":
            source.shuffle(inputs)
        written[new[name]] = {"op": recipe[name]["op"], "input": inputs}
    return json.dumps(written)


def row(nodes: list[tuple[str, ...]], states: list[str]) -> torch.Tensor:
    """A row with the given choices by name in the first places and the first choices elsewhere."""
    names = [slot.choices[0].name for slot in SPACE.slots]
    for i, node in enumerate(nodes):
        names[4 * i : 4 * i + len(node)] = node
    names[96 : 96 + len(states)] = states
    return torch.tensor([[index[name] for index, name in zip(SPACE.choice_index, names, strict=True)]])


def written(nodes: list[tuple[str, ...]], states: list[str]) -> dict[str, list[str]]:
    """How that row is read: for each node its operation and inputs."""
    recipe = json.loads(SPACE.to_strings(row(nodes, states))[0])
    return {name: [node["op"], *node["input"]] for name, node in recipe.items()}


@pytest.fixture(scope="module")
def rows() -> torch.Tensor:
    """Uniform rows, and some with few nodes, many of them absent in between."""
    generator = torch.Generator().manual_seed(0)
    sample = SPACE.sample(600, generator)
    few = sample[:200].clone()
    few[:, :96:4] *= torch.rand(200, 24, generator=generator) < 0.3
    return torch.cat([sample, few])


# ---------------------------------------------------------------------- rows and recipes


def test_every_row_with_a_node_is_a_recipe(rows: torch.Tensor) -> None:
    """Valid where x reaches the output, even if later in time."""
    has_nodes = (rows[:, :96:4] > 0).any(1)
    assert not SPACE.is_valid(rows[~has_nodes]).any() and 0.95 < SPACE.is_valid(rows[:600]).float().mean() < 1
    rows = rows[has_nodes]
    for text, is_valid in zip(SPACE.to_strings(rows), SPACE.is_valid(rows).tolist(), strict=True):
        recipe = json.loads(text)
        states = [name for name in recipe if name.startswith("h_new_")]
        assert states == [f"h_new_{k}" for k in range(len(states))] and 1 <= len(states) <= 3
        assert len(recipe) <= 24
        for node in recipe.values():
            assert "x" not in node["input"] or node["op"] == "linear"
        drawn = graph(text)
        assert networkx.is_directed_acyclic_graph(drawn)
        useful = {name for state in states for name in networkx.ancestors(drawn, state) | {state}}
        assert useful >= set(recipe)
        assert useful >= {state.replace("new", "prev") for state in states[1:]}
        drawn.add_edges_from((f"h_new_{k}", f"h_prev_{k}") for k in range(3))
        assert ("x" in networkx.ancestors(drawn, "h_new_0")) == is_valid
        assert any("x" in node["input"] for node in recipe.values())


def test_strings_come_back(rows: torch.Tensor) -> None:
    """Rows are written as they are read; of what is written, every part comes back."""
    strings = SPACE.to_strings(rows)
    back = SPACE.from_strings(strings)
    assert SPACE.to_strings(back) == strings
    assert torch.equal(SPACE.check(back), back)
    assert torch.equal(SPACE.keys(back), SPACE.keys(rows))
    assert SPACE.from_strings([]).shape == (0, SPACE.num_slots)
    assert SPACE.to_strings(SPACE.from_strings([SPACE.example])) == [SPACE.example]


@pytest.mark.parametrize("text", KNOWN)
def test_known_cells_come_back(text: str) -> None:
    indices = SPACE.from_strings([text])
    for written_again in SPACE.to_strings(torch.cat([indices, SPACE.canonical(indices)])):
        assert is_same(graph(text), graph(written_again))


def test_canonical_form_is_of_the_class_it_stands_for(rows: torch.Tensor) -> None:
    canonical = SPACE.canonical(rows)
    assert torch.equal(SPACE.canonical(canonical), canonical)
    assert torch.equal(SPACE.check(canonical), canonical)
    assert torch.equal(SPACE.is_valid(canonical), SPACE.is_valid(rows))
    assert torch.equal(SPACE.keys(rows), SPACE.codes(canonical))
    for a, b in zip(SPACE.to_strings(rows[:200]), SPACE.to_strings(canonical[:200]), strict=True):
        assert is_same(graph(a), graph(b))
    for task in SPACE.tasks:
        assert torch.equal(SPACE.parameters(canonical, task), SPACE.parameters(rows, task))
        assert torch.equal(SPACE.flops(canonical, task), SPACE.flops(rows, task))


def test_keys_do_not_depend_on_the_order_of_nodes(rows: torch.Tensor) -> None:
    source = random.Random(0)
    strings = [*KNOWN, *SPACE.to_strings(rows[SPACE.is_valid(rows)][::2])]
    keys = SPACE.keys(SPACE.from_strings(strings))
    for _ in range(3):
        others = SPACE.from_strings([renumbered(text, source) for text in strings])
        assert torch.equal(SPACE.keys(others), keys)


def test_one_row_is_read_as_in_a_batch(rows: torch.Tensor) -> None:
    assert torch.equal(torch.cat([SPACE.canonical(rows[i : i + 1]) for i in range(50)]), SPACE.canonical(rows[:50]))


def test_what_a_row_means() -> None:
    linear, tanh = ("linear", "x", "h_prev_0", "-"), ("activation_tanh", "node_0")
    plain = {"node_0": ["linear", "x", "h_prev_0"], "h_new_0": ["activation_tanh", "node_0"]}
    assert written([linear, tanh], ["node_1"]) == plain
    # an absent node passes on its first input, also to what points at it
    assert written([linear, ("none", "node_0"), ("activation_tanh", "node_1")], ["node_2"]) == plain
    assert written([linear, tanh, ("none", "node_1")], ["node_2"]) == plain
    # whose first input is no node: the last one before, or the first
    assert written([linear, tanh, ("none", "x")], ["node_2"]) == plain
    assert written([("none", "x"), ("linear", "x", "h_prev_0"), ("activation_tanh", "node_1")], ["node_0"]) == {
        "h_new_0": ["linear", "x", "h_prev_0"]
    }
    # only linear maps read x
    assert written([linear, ("activation_tanh", "x")], ["node_1"]) == plain
    assert written([linear, ("blend", "h_prev_0", "node_0", "-")], ["node_1"]) == {
        "node_0": ["linear", "x", "h_prev_0"],
        "h_new_0": ["blend", "h_prev_0", "node_0", "node_0"],
    }
    # x comes in where nothing reads it
    assert written([("activation_tanh", "h_prev_0")], ["node_0"]) == {"h_new_0": ["linear", "x", "h_prev_0"]}
    # but not where a state reads it that never reaches the output
    aside = [("linear", "h_prev_0", "h_prev_1"), ("linear", "x", "h_prev_1"), ("linear", "h_prev_0", "h_prev_0")]
    assert not SPACE.is_valid(row(aside, ["node_2", "node_1"])).any()
    assert written([*aside, ("elementwise_sum", "node_1", "node_0")], ["node_2", "node_3"]) == {
        "node_0": ["linear", "h_prev_0", "h_prev_1"],
        "node_1": ["linear", "x", "h_prev_1"],
        "h_new_0": ["linear", "h_prev_0", "h_prev_0"],
        "h_new_1": ["elementwise_sum", "node_1", "node_0"],
    }
    # states: not there, the same node, nobody's, in the first places
    assert written([("linear", "x", "h_prev_2"), tanh], ["node_1"]) == plain
    assert written([("linear", "x", "h_prev_1"), tanh], ["node_1", "node_1"]) == plain
    assert written([linear, tanh], ["node_1", "node_0", "node_0"]) == plain
    assert written([("linear", "x", "h_prev_0", "h_prev_2"), tanh], ["node_1", "node_0", "node_0"]) == {
        "h_new_1": ["linear", "x", "h_prev_0", "h_prev_1"],
        "h_new_0": ["activation_tanh", "h_new_1"],
    }
    nothing = written([], [])
    assert nothing == {} and not SPACE.is_valid(row([], [])).any()


def test_removing_a_node_lets_its_input_through() -> None:
    indices = row(
        [("linear", "x", "h_prev_0"), ("activation_sigm", "node_0"), ("activation_tanh", "node_1")], ["node_2"]
    )
    keep = torch.ones_like(indices, dtype=torch.bool)
    keep[:, 4] = False
    expected = SPACE.from_strings([KNOWN[0]])
    assert torch.equal(SPACE.keys(SPACE.remove(indices, keep)), SPACE.keys(expected))
    assert [slot.kind for slot, null in zip(SPACE.slots, SPACE.null_indices, strict=True) if null >= 0] == [
        "operation"
    ] * 24


def test_slots_and_choices_are_told_apart() -> None:
    features = SPACE.choice_features
    for s, slot in enumerate(SPACE.slots):
        assert len(features[s, : len(slot.choices)].unique(dim=0)) == len(slot.choices)
        assert len({choice.identity for choice in slot.choices}) == len(slot.choices)
    assert len(SPACE.slot_features.unique(dim=0)) == SPACE.num_slots == 99
    assert SPACE.num_choices == 28 and len(OPERATIONS) == 8


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ("", "is not a nas-bench-nlp string"),
        ("[1]", "is not a nas-bench-nlp string"),
        ({"node_0": {"op": "linear", "input": ["x", "h_prev_0"]}}, "got 0 among 1"),
        (RNN | {"h_new_2": RNN["f"]}, "is not a nas-bench-nlp string"),
        (RNN | {"x": RNN["f"]}, "is not a nas-bench-nlp string"),
        (RNN | {f"n{i}": RNN["f"] for i in range(23)}, "at most 24 nodes, got 1 among 25"),
        (RNN | {f"h_new_{i}": RNN["f"] for i in range(4)}, "1 to 3 new hidden states"),
        (RNN | {"f": {"op": "linea", "input": ["x", "h_prev_0"]}}, "Did you mean 'linear'"),
        (RNN | {"f": {"op": "none", "input": ["x", "h_prev_0"]}}, "unknown operation of node 'f'"),
        (RNN | {"f": {"op": "linear", "input": ["x"]}}, "linear takes 2 or 3 inputs, got 1 of node 'f'"),
        (RNN | {"f": {"op": "blend", "input": ["h_prev_0"] * 2}}, "blend takes 3 inputs, got 2"),
        (RNN | {"f": {"op": "linear", "input": ["x", "h_prev_1"]}}, "Did you mean 'h_prev_0'"),
        (RNN | {"f": {"op": "linear", "input": ["x", "h_new_0"]}}, "computed before.* 'h_new_0'"),
        (RNN | {"f": {"op": "elementwise_sum", "input": ["x", "h_prev_0"]}}, "'x'. .*Allowed: h_prev_0"),
        (RNN | {"f": {"op": "linear", "input": ["h_prev_0", "h_prev_0"]}}, "x does not reach h_new_0"),
    ],
)
def test_wrong_recipes_are_refused(recipe: str | dict, message: str) -> None:
    text = recipe if isinstance(recipe, str) else json.dumps(recipe)
    with pytest.raises(ValueError, match=message):
        SPACE.from_strings([KNOWN[0], text])


# ---------------------------------------------------------------------- the benchmark's table


@pytest.fixture(scope="module")
def table(shared_benchmarks: Path) -> dict[str, list]:
    return pq.read_table(
        shared_benchmarks / "nas-bench-nlp-wikitext2.parquet", columns=["architecture", "parameters"]
    ).to_pydict()


def test_every_recipe_of_the_table_comes_back(table: dict[str, list]) -> None:
    strings = list(dict.fromkeys(table["architecture"]))
    rows = SPACE.from_strings(strings)
    assert len(strings) == 291 and SPACE.is_valid(rows).all()
    back = SPACE.to_strings(rows)
    assert sum(a == b for a, b in zip(strings, back, strict=True)) == 39  # the rest numbers nodes with gaps
    assert SPACE.to_strings(SPACE.from_strings(back)) == back
    graphs = [graph(text) for text in strings]
    for drawn, a, b in zip(graphs, back, SPACE.to_strings(SPACE.canonical(rows)), strict=True):
        assert is_same(drawn, graph(a)) and is_same(drawn, graph(b))


def test_keys_of_the_table_are_equal_just_for_isomorphic_recipes(table: dict[str, list]) -> None:
    strings = list(dict.fromkeys(table["architecture"]))
    keys = SPACE.keys(SPACE.from_strings(strings)).tolist()
    classes: dict[str, list[tuple[networkx.MultiDiGraph, int]]] = {}
    for text, key in zip(strings, keys, strict=True):
        drawn = graph(text)
        alike = classes.setdefault(str(sorted(label for _, label in drawn.nodes("label"))), [])
        for other, its_key in alike:
            if is_same(drawn, other):
                assert key == its_key
                break
        else:
            alike.append((drawn, key))
    assert sum(map(len, classes.values())) == len(set(keys)) == 265


def test_parameters_are_those_of_the_table(table: dict[str, list]) -> None:
    counted = SPACE.parameters(SPACE.from_strings(table["architecture"]), "wikitext2")
    assert counted.tolist() == table["parameters"] and len(counted) == 345


# ---------------------------------------------------------------------- the table of Penn Treebank


@pytest.fixture(scope="module")
def treebank(shared_benchmarks: Path) -> dict[str, list]:
    path = shared_benchmarks / "nas-bench-nlp-ptb.parquet"
    return pq.read_table(path, columns=["architecture", "parameters", "same_graph_as", "status"]).to_pydict()


@pytest.fixture(scope="module")
def treebank_rows(treebank: dict[str, list]) -> torch.Tensor:
    return SPACE.from_strings(treebank["architecture"])


def expression(text: str, known: dict[tuple, int]) -> tuple:
    """What each new hidden state computes, with what several nodes read written out for each of them.

    Terms are numbered in `known`; the inputs of a blend alone have an order.
    """
    recipe = json.loads(text)
    terms: dict[str, int] = {}

    def term(name: str) -> int:
        if name not in terms:
            node = recipe.get(name, {"op": name, "input": []})
            inputs = [term(source) for source in node["input"]]
            parts = inputs if node["op"] == "blend" else sorted(inputs)
            terms[name] = known.setdefault((node["op"], *parts), len(known))
        return terms[name]

    return tuple((name, term(name)) for name in sorted(recipe) if name.startswith("h_new_") and name[6:].isdigit())


def test_every_recipe_of_penn_treebank_is_read(treebank: dict[str, list], treebank_rows: torch.Tensor) -> None:
    """All but 20 valid: of these x reaches other hidden states, and the loss is that of words without context."""
    assert len(treebank_rows) == 14_322 and int(SPACE.is_valid(treebank_rows).sum()) == 14_302
    back = SPACE.from_strings(SPACE.to_strings(treebank_rows))
    assert torch.equal(SPACE.keys(back), SPACE.keys(treebank_rows))
    canonical = SPACE.canonical(treebank_rows)
    assert torch.equal(SPACE.is_valid(canonical), SPACE.is_valid(treebank_rows))
    some = [*random.Random(0).sample(range(14_322), 300), *(~SPACE.is_valid(treebank_rows)).nonzero()[:, 0].tolist()]
    for i, text in zip(some, SPACE.to_strings(canonical[some]), strict=True):
        assert is_same(graph(treebank["architecture"][i]), graph(text))


def test_parameters_are_those_of_penn_treebank(treebank: dict[str, list], treebank_rows: torch.Tensor) -> None:
    assert SPACE.parameters(treebank_rows).tolist() == treebank["parameters"]
    assert SPACE.parameters(SPACE.canonical(treebank_rows), "ptb").tolist() == treebank["parameters"]


def test_networks_of_penn_treebank_have_the_parameters_of_the_table(
    treebank: dict[str, list], treebank_rows: torch.Tensor
) -> None:
    """One of every kind and number of linear maps, of which there are 248, and every fortieth of all."""
    kinds: dict[tuple, int] = {}
    for i, text in enumerate(treebank["architecture"]):
        maps = [node["input"] for node in json.loads(text).values() if node["op"] == "linear"]
        kinds.setdefault(tuple(sorted((len(read), read.count("x")) for read in maps)), i)
    some = sorted({*kinds.values(), *range(0, len(treebank_rows), 40)})
    assert len(kinds) == 248
    how = plan(Architecture(SPACE, treebank_rows[0].tolist()))
    with on_meta():
        counts = [
            count(how.func(**how.keywords | {"recipe": recipe})) for recipe in SPACE.recipes(treebank_rows[some])
        ]
    assert counts == [treebank["parameters"][i] for i in some]


def test_distinct_graphs_of_penn_treebank(treebank: dict[str, list], treebank_rows: torch.Tensor) -> None:
    """12,124 graphs up to isomorphism, and 12,037 expressions, which the table calls graphs.

    Two linear maps of the same inputs are one term of an expression, but have weights of their own: 82 of the table's
    graphs are networks of unlike numbers of parameters, which must stay distinct.
    """
    keys, same = SPACE.keys(treebank_rows).tolist(), treebank["same_graph_as"]
    known: dict[tuple, int] = {}
    expressions = [expression(text, known) for text in treebank["architecture"]]
    assert len(set(same)) == len(set(expressions)) == len(set(zip(same, expressions, strict=True))) == 12_037
    assert len(set(keys)) == len(set(zip(same, keys, strict=True))) == 12_124
    sizes: dict[int, set[int]] = {}
    members: dict[int, dict[int, list[str]]] = {}
    for text, key, group, parameters in zip(treebank["architecture"], keys, same, treebank["parameters"], strict=True):
        sizes.setdefault(group, set()).add(parameters)
        members.setdefault(group, {}).setdefault(key, []).append(text)
    assert sum(len(found) > 1 for found in sizes.values()) == 82
    # within a group keys are equal just for isomorphic graphs; graphs of two groups cannot be isomorphic
    for group in members.values():
        firsts = [graph(texts[0]) for texts in group.values()]
        assert not any(is_same(a, b) for i, a in enumerate(firsts) for b in firsts[:i])
        for first, texts in zip(firsts, group.values(), strict=True):
            assert all(is_same(first, graph(text)) for text in texts[1:])


def test_tables_of_both_data_sets_load_together(
    treebank: dict[str, list], treebank_rows: torch.Tensor, shared_benchmarks: Path, tmp_path
) -> None:
    for name in ("ptb", "wikitext2"):
        (tmp_path / f"{name}.parquet").symlink_to(shared_benchmarks / f"nas-bench-nlp-{name}.parquet")
    table = ScoreTable.load(SPACE, tmp_path)
    assert table.tasks == list(SPACE.tasks) == ["ptb", "wikitext2"] and len(table.indices) == 12_124
    measured = {task: int(table.column(task).isfinite().sum()) for task in table.tasks}
    assert measured == {"ptb": 9_462, "wikitext2": 263}
    keys = SPACE.keys(treebank_rows).tolist()
    ended = {key for key, status in zip(keys, treebank["status"], strict=True) if status == "OK"}
    has_score = table.column("ptb").isfinite()
    assert set(SPACE.keys(table.indices[has_score]).tolist()) == ended
    assert float(table.column("ptb")[has_score].max()) == pytest.approx(-4.4088, abs=1e-4)


# ---------------------------------------------------------------------- networks


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_network_has_the_parameters_that_the_space_says(rows: torch.Tensor) -> None:
    architectures = [Architecture.from_string(SPACE, text) for text in KNOWN] + Architecture.from_batch(
        SPACE, rows[::40]
    )
    for architecture in architectures:
        with torch.device("meta"):
            counts = count(build(architecture)), count(build(architecture, 33_278))
        assert counts == (architecture.cost("ptb").parameters, architecture.cost("wikitext2").parameters)


class MultiplyAdds(TorchDispatchMode):
    """Counts matrix products while networks run."""

    total = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func == torch.ops.aten.addmm.default:
            self.total += args[1].numel() * args[2].shape[-1]
        return func(*args, **(kwargs or {}))


def test_flops_are_those_of_one_word(rows: torch.Tensor) -> None:
    for architecture in Architecture.from_batch(SPACE, torch.cat([SPACE.from_strings(KNOWN), rows[:10]])):
        with torch.device("meta"), torch.no_grad(), MultiplyAdds() as counter:
            build(architecture).eval()(torch.zeros(1, 1, dtype=torch.long))
        assert counter.total == architecture.cost().flops == architecture.cost("ptb").flops


def test_networks_train_and_go_through_safetensors(rows: torch.Tensor, tmp_path) -> None:
    torch.manual_seed(0)
    tokens = torch.randint(11, (5, 2))
    texts = [*KNOWN, *SPACE.to_strings(rows[::100]), "{}"]
    for architecture in [Architecture.from_string(SPACE, text) for text in texts]:
        network = build(architecture, 11, **SMALL)
        logits, hidden = network(tokens)
        assert logits.shape == (5, 2, 11)
        assert [tuple(state.shape[1:]) for state in hidden] == [(2, 8), (2, 8), (2, 6)]
        states = max(1, sum(name.startswith("h_new_") for name in json.loads(str(architecture))))
        assert [len(state) for state in hidden] == [states] * 3
        F.cross_entropy(logits.flatten(0, 1), tokens.flatten()).backward()
        gradients = [parameter.grad for parameter in network.parameters() if parameter.grad is not None]
        assert all(gradient.isfinite().all() for gradient in gradients) and any(grad.any() for grad in gradients)
        save_file(network.state_dict(), tmp_path / "network.safetensors")
        other = build(architecture, 11, **SMALL)
        other.load_state_dict(load_file(tmp_path / "network.safetensors"))
        assert torch.equal(other.eval()(tokens)[0], network.eval()(tokens)[0])


def test_simple_cell_is_the_recurrent_layer_of_torch() -> None:
    torch.manual_seed(0)
    network: Any = Architecture.from_string(SPACE, KNOWN[0]).build(11, **SMALL, **STILL)
    tokens = torch.randint(11, (7, 2))
    sequence = network.embedding(tokens)
    for layer in network.layers:
        (linear,) = layer.maps.values()
        inputs = sequence.shape[-1]
        reference = nn.RNN(inputs, layer.hidden)
        with torch.no_grad():
            reference.weight_ih_l0.copy_(linear.weight[:, :inputs])
            reference.weight_hh_l0.copy_(linear.weight[:, inputs:])
            reference.bias_ih_l0.copy_(linear.bias)
            reference.bias_hh_l0.zero_()
        sequence = reference(sequence)[0]
    torch.testing.assert_close(network(tokens)[0], sequence @ network.embedding.weight.T + network.decoder_bias)


def test_known_cells_compute_what_they_are_named_for() -> None:
    """One layer: LSTM and GRU written out by hand from the networks' own weights."""
    torch.manual_seed(0)
    tokens = torch.randint(11, (6, 3))
    for text in KNOWN[1:]:
        architecture = Architecture.from_string(SPACE, text)
        network: Any = architecture.build(11, embedding=6, layers=1, **STILL)
        layer = network.layers[0]
        # maps in the order of the recipe: i, j, f, o of the LSTM; r, z, h of the GRU
        maps = [lambda *inputs, m=m: F.linear(torch.cat(inputs, -1), m.weight, m.bias) for m in layer.maps.values()]
        h = c = torch.zeros(3, 6)
        outputs = []
        for x in network.embedding(tokens):
            if len(maps) == 4:
                i, j, f, o = (linear(x, h) for linear in maps)
                c = f.sigmoid() * c + i.tanh() * j.sigmoid()
                h = c.tanh() * o.sigmoid()
            else:
                r, z = maps[0](x, h).sigmoid(), maps[1](x, h).sigmoid()
                h = z * h + (1 - z) * maps[2](x, r * h).tanh()
            outputs.append(h)
        sequence, states = layer(network.embedding(tokens), None)
        torch.testing.assert_close(sequence, torch.stack(outputs))
        torch.testing.assert_close(states, torch.stack([h, c] if len(maps) == 4 else [h]))


def test_a_text_may_be_read_in_pieces() -> None:
    torch.manual_seed(0)
    network = Architecture.from_string(SPACE, KNOWN[1]).build(11, **SMALL).eval()
    tokens = torch.randint(11, (9, 2))
    whole, last = network(tokens)
    first, hidden = network(tokens[:4])
    second, hidden = network(tokens[4:], hidden)
    torch.testing.assert_close(torch.cat([first, second]), whole)
    for a, b in zip(hidden, last, strict=True):
        torch.testing.assert_close(a, b)


def test_dropout_is_of_training() -> None:
    torch.manual_seed(0)
    tokens = torch.randint(11, (4, 2))
    for name in STILL:
        network = Architecture.from_string(SPACE, KNOWN[2]).build(11, **SMALL, **(STILL | {name: 0.5}))
        assert not torch.equal(network(tokens)[0], network(tokens)[0]), name
        network.eval()
        assert torch.equal(network(tokens)[0], network(tokens)[0])


def test_wrong_scale_is_refused() -> None:
    architecture = Architecture.from_string(SPACE, KNOWN[0])
    with pytest.raises(ValueError, match="layers must be at least 1"):
        architecture.build(layers=0)
    with pytest.raises(ValueError, match="Did you mean 'embedding'"):
        architecture.build(embeding=4)
