"""Strings of every space as people paste them from code, logs and papers, and what errors say of other texts."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from pkgen_hf import Architecture, SearchSpace, get_space, list_spaces
from pkgen_hf.spaces import Choice, Slot
from pkgen_hf.spaces.literals import literal

CELL = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|skip_connect~0|none~1|nor_conv_1x1~2|"
MATRIX = "[[0, 1, 0, 1], [0, 0, 1, 0], [0, 0, 0, 1], [0, 0, 0, 0]]"
LABELS = "['input', 'conv3x3-bn-relu', 'maxpool3x3', 'output']"
GRAPH = "['gcn', 'gin', 'fc', 'cheb']"
RECIPE = (
    '{"node_0": {"op": "linear", "input": ["x", "h_prev_0"]}, '
    '"h_new_0": {"op": "activation_tanh", "input": ["node_0"]}}'
)
MOBILE = get_space("mnasnet").example
FORMS = {
    "nas-bench-201": (
        CELL,
        [
            CELL.replace("|", " | "),
            f"Structure(4 nodes with {CELL})",
            f"2020-01-01 10:00:00 genotype : Structure(4 nodes with {CELL})",
            f"arch: {CELL}",
        ],
    ),
    "nas-bench-101": (
        "101_10_1:conv3x3-bn-relu,maxpool3x3",
        [
            "101_10_1: conv3x3, maxpool3x3",
            f"ModelSpec(matrix={MATRIX}, ops={LABELS})",
            f"cell = api.ModelSpec({MATRIX}, {LABELS})  # the best one",
            f"ModelSpec(\n  # adjacency\n  matrix=np.array({MATRIX}, dtype=np.int8),\n  ops={LABELS},\n)",
            f"{{'module_adjacency': array({MATRIX}), 'module_operations': {LABELS}}}",
            json.dumps({"matrix": json.loads(MATRIX), "ops": LABELS[2:-2].split("', '")}),
            f"({MATRIX}, {LABELS})",
        ],
    ),
    "nas-bench-graph": (
        "0112:gcn,gin,fc,cheb",
        [
            "0112: gcn, gin, fc, cheb",
            f"Arch([0, 1, 1, 2], {GRAPH})",
            f"arch = nas_bench_graph.Arch(lk=[0, 1, 1, 2], op={GRAPH})",
            f"([0, 1, 1, 2], {GRAPH})",
        ],
    ),
    "nats-bench-size": ("8:16:24:32:40", ["8 : 16 : 24 : 32 : 40", "[8, 16, 24, 32, 40]", "(8, 16, 24, 32, 40,)"]),
    "nas-bench-macro": ("01201202", ["[0, 1, 2, 0, 1, 2, 0, 2]", "np.array([0, 1, 2, 0, 1, 2, 0, 2])"]),
    "nas-bench-asr": (
        "[[1, 1], [0, 0, 1], [5, 0, 1, 0]]",
        ["((1, 1), (0, 0, 1), (5, 0, 1, 0))", "[['conv5', 1], ['linear', 0, 1], ['zero', 0, 1, 0]]"],
    ),
    "nas-bench-nlp": (RECIPE, [str(json.loads(RECIPE)), f"recipe = {json.loads(RECIPE)}"]),
    "mnasnet": (MOBILE, [str(json.loads(MOBILE)), json.dumps(json.loads(MOBILE), indent=2)]),
}


@pytest.mark.parametrize(
    ("space", "plain", "pasted"),
    [(space, plain, pasted) for space, (plain, forms) in FORMS.items() for pasted in forms],
)
def test_forms_of_papers_and_official_code_are_read(space: str, plain: str, pasted: str) -> None:
    read = get_space(space).from_strings([plain, pasted, plain])
    assert read[1].tolist() == read[0].tolist() == read[2].tolist()


@pytest.mark.parametrize(
    ("before", "after"),
    [(" ", "\n"), ("\t", "\r\n"), ("'", "'"), ('"', '"'), ("`", "`"), ("“", "”"), ("best = ", ""), ("cell='", "';")]
    + [("\ufeff", "\u00a0"), ('  "', '",\n')],
)
@pytest.mark.parametrize("name", list_spaces())
def test_what_stands_around_a_string_is_passed_over(name: str, before: str, after: str) -> None:
    space = get_space(name)
    rows = space.from_strings(space.to_strings(space.sample(5)))
    pasted = [before + text + after for text in space.to_strings(rows)]
    assert space.from_strings(pasted).tolist() == rows.tolist()


def test_names_of_an_own_space_are_not_taken_for_what_stands_around() -> None:
    choices = tuple(Choice(name, "zero") for name in ("'a'", " a", "a", '"', "b = a", "a,", "’"))
    space = SearchSpace("own", [Slot(s, "operation", choices, (0,), 1) for s in "xy"], {}, "a")
    rows = space.all_indices()
    assert space.from_strings(space.to_strings(rows)).tolist() == rows.tolist()
    assert Architecture.from_string(space, "b = a |  a,  ").indices == (4, 5)


@pytest.mark.parametrize("given", [None, CELL.encode(), 5, 5.0, ["a"], {}])
@pytest.mark.parametrize("name", list_spaces())
def test_what_is_no_text_is_refused_in_one_line(name: str, given: object) -> None:
    for read in (lambda text: Architecture.from_string(name, text), lambda text: get_space(name).from_strings([text])):
        with pytest.raises(ValueError, match=f"^a {name} string is text") as caught:
            read(given)
        assert "\n" not in str(caught.value) and type(given).__name__ in str(caught.value)


@pytest.mark.parametrize("name", list_spaces())
def test_one_string_in_place_of_a_list_is_refused(name: str) -> None:
    example = get_space(name).example
    with pytest.raises(ValueError, match="strings are read from a list of them, got"):
        get_space(name).from_strings(example)
    assert len(get_space(name).from_strings(np.array([example, example]))) == 2  # as numpy's texts


@pytest.mark.parametrize("name", list_spaces())
def test_errors_say_the_reason_first_and_quote_80_characters(name: str) -> None:
    space = get_space(name)
    good = space.to_strings(space.sample(1, torch.Generator().manual_seed(1)))[0]
    damaged = ["x" * 500, good[: len(good) // 2] * 9, good[:-5] + "|" * 200, "[" * 500, "{'a': " + "1" * 500 + "}"]
    damaged += [
        good.replace(part, part + "y" * 300, 1) for part in ("x3", "gat", "skip", "8", "-", "0", "2", "linear")
    ]
    for text in damaged:
        if text == good:
            continue
        with pytest.raises(ValueError) as caught:
            space.from_strings([good, text])
        message = str(caught.value)
        assert len(message) < 600
        assert not message.startswith(repr(text)[:40]), message
        assert not any(text[k : k + 81] in message for k in range(len(text) - 80)), message


@pytest.mark.parametrize(
    ("space", "text", "reason"),
    [
        ("nas-bench-macro", "1201201", "^eight digits are needed, got 7 .a spreadsheet drops zeros"),
        ("nas-bench-macro", "[0, 1, 2, 0, 1, 2, 0, 3]", "^all digits are 0, 1 or 2"),
        ("nas-bench-macro", "[0, 1, 2, 0, 1, 2, 0, 'a']", "^it is no list of whole numbers"),
        ("nas-bench-201", f"{CELL}\n{CELL.replace('none', 'avg_pool_3x3')}", "^six operations are written"),
        ("nas-bench-201", f"{CELL}, 93", "^more follows on the same line"),
        ("nas-bench-201", f"93, {CELL}", "^another field stands before it"),
        ("nas-bench-101", f"ModelSpec({MATRIX}, {LABELS[:-10]})", "^it ends before its last bracket|neither"),
        (
            "nas-bench-101",
            f"ModelSpec({MATRIX}, {LABELS.replace('maxpool', 'pool')})",
            "^unknown operation .*'pool3x3'",
        ),
        (
            "nas-bench-101",
            f"ModelSpec({MATRIX.replace('1', '2')}, {LABELS})",
            "^the matrix of cell 0 is not of 0 and 1",
        ),
        ("nas-bench-graph", "Arch([0, 1, 1], ['gcn', 'gin', 'fc', 'cheb'])", "^four numbers and four operations"),
        ("nas-bench-graph", "1112:gcn,gin,fc,cheb", "^node 1 reads the input, which is 0, not 1"),
        ("nas-bench-asr", "[[1, 2], [0, 0, 1], [5, 0, 1, 0]]", "^slot '0->1' is a number from 0 to 1, not 2"),
        ("nas-bench-asr", "[['conv', 1], [0, 0, 1], [5, 0, 1, 0]]", "^unknown choice .*: 'conv'. Did you mean"),
        ("nas-bench-nlp", "{'a': {'op': 'linear'}}", "^node 'a' has no op with a list of inputs"),
        ("nas-bench-nlp", RECIPE[:-1] + ', "node_0": {}}', "^'node_0' is there twice"),
        ("nas-bench-nlp", RECIPE.replace('["node_0"]', '"node_0"'), "^node 'h_new_0' has no op with a list of inputs"),
        (
            "mnasnet",
            MOBILE.replace("block3_k", "block3_q"),
            "^the names are block0_e to block6_se: 'block3_k' is missing",
        ),
        ("mnasnet", MOBILE[:-1] + ', "a": 1}', "^the names are block0_e to block6_se: 'a' is not one of them"),
        ("transnas-bench-101-micro", "64-41414-1_02_334", "^six digits from 0 to 3 are written"),
        ("transnas-bench-101-macro", "64-1235-basic", "^four to six digits from 1 to 4 are written"),
    ],
)
def test_the_reason_is_named(space: str, text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Architecture.from_string(space, text)


def test_thousands_of_calls_within_each_other_are_refused_at_once() -> None:
    """Not within a minute, as when each was looked at from its beginning."""
    with pytest.raises(ValueError):
        get_space("darts").from_strings(["Genotype(" * 10_000 + ")" * 10_000])


def test_the_authors_example_of_nas_bench_101() -> None:
    """With the constants of their code, and matrices of other types."""
    matrix = [[0, 1, 1, 0], [0, 0, 0, 1], [0, 0, 0, 1], [0, 0, 0, 0]]
    names = ["input", "conv3x3-bn-relu", "maxpool3x3", "output"]
    expected = Architecture.from_string("nas-bench-101", f"ModelSpec(matrix={matrix}, ops={names})")
    for rows in (
        matrix,
        [[bool(bit) for bit in row] for row in matrix],
        [[float(bit) for bit in row] for row in matrix],
    ):
        text = f"api.ModelSpec(matrix={rows},  # of the cell\n ops=[INPUT, CONV3X3, MAXPOOL3X3, OUTPUT])"
        assert Architecture.from_string("nas-bench-101", text) == expected


def test_a_genotype_with_a_comment_and_nodes_in_another_order() -> None:
    space = get_space("darts")
    text = space.to_strings(space.sample(1, torch.Generator().manual_seed(0)))[0]
    for pasted in (f"{text}  # 97.24%", text.replace("range(2, 6)", "[3, 4, 5, 2]", 1)):
        assert Architecture.from_string("darts", pasted) == Architecture.from_string("darts", text)


def test_what_python_says_of_a_text_is_one_short_line() -> None:
    for text in ("9" * 5000, "[1 2]", "f(" * 300):
        with pytest.raises(ValueError) as caught:
            literal(text)
        assert len(str(caught.value)) < 130 and "\n" not in str(caught.value)
