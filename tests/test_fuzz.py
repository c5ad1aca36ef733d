"""What users bring as text or files, damaged at random: it is read, or refused in one line, in time."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from representatives import REPRESENTATIVES

from pkgen_hf import Architecture, Prior, SearchSpace, get_space, list_spaces
from pkgen_hf.priors.files import load_priors
from pkgen_hf.requests.evaluations import read_evaluations
from pkgen_hf.spaces import Choice, Slot

OWN = SearchSpace(
    "own",
    [Slot(s, "operation", (Choice("a, b", "zero"), Choice('"1;2"', "linear")), (0,), 1) for s in "xy"],
    {},
    "a, b",
)
SPACES = {name: get_space(name) for name in list_spaces()} | {"own": OWN}
READERS = [*REPRESENTATIVES, "own"]  # spaces of a class share their reader
DEEP = ["[" * 10_000, "(" * 10_000, '{"a": ' * 10_000, "-" * 10_000, "not " * 10_000, "a." * 10_000, "range(" * 500]
PIECES = [
    "", "\0", "\n", "\r", "\t", "[", "]", "(", ")", "{", "}", "'", '"', ",", ";", ":", "|", "~", "+", "=", "#", "%",
    "\\", "_", "-", "0", "1", "9" * 5_000, "1e999", "-1", "0x" + "f" * 5_000, "NaN", "null", "True", "...", "*", "**",
    "٣", "\u2028", "\u202e", "\ufeff", "\ud800", "é", "range(10**18)", "np.int64(1)", "__import__('os')", "lambda: 0",
    "Genotype(", "ModelSpec(", "Arch(", *DEEP,
]  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def tables_of_spaces() -> None:
    """What spaces make once, so that no input has to wait for it."""
    for space in SPACES.values():
        space.keys(space.sample(1))


def fuzz(num: int) -> Callable[[Any], Any]:
    """The same `num` inputs in every run, each of which may take 5 seconds."""
    return settings(
        max_examples=num,
        deadline=timedelta(seconds=5),
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


@st.composite
def damaged(draw: st.DrawFn, texts: list[str]) -> str:
    """One of some texts, in which up to four stretches are replaced by something else."""
    text = draw(st.sampled_from(texts))
    for _ in range(draw(st.integers(0, 4))):
        start = draw(st.integers(0, len(text)))
        end = start + draw(st.integers(0, 20))
        text = text[:start] + draw(st.sampled_from(PIECES) | st.text(max_size=4)) + text[end:]
    return text


def strings(space: SearchSpace, num: int = 4) -> list[str]:
    rows = space.sample(4 * num, torch.Generator().manual_seed(0))
    return space.to_strings(rows[space.is_valid(rows)][:num])


def pasted(name: str) -> list[str]:
    """Strings of a space, and the forms that its authors' code has."""
    matrix, labels = "[[0, 1, 0], [0, 0, 1], [0, 0, 0]]", "['input', 'conv3x3-bn-relu', 'output']"
    texts = strings(SPACES[name])
    return texts + {
        "darts": [f"best = {texts[0]}".replace(", (", ",\n("), texts[0].replace("range(2, 6)", "[2, 3, 4, 5]")],
        "nas-bench-101": [f"ModelSpec(matrix=np.array({matrix}), ops={labels})", f"({matrix}, {labels})"],
        "nas-bench-201": [f"INFO Structure(4 nodes with {texts[0]})"],
        "nas-bench-graph": ["Arch([0, 1, 1, 2], ['gcn', 'gin', 'fc', 'cheb'])"],
        "nas-bench-nlp": [str(json.loads(texts[0]))] if name == "nas-bench-nlp" else [],
        "mnasnet": [str(json.loads(texts[0]))] if name == "mnasnet" else [],
        "nats-bench-size": ["[8, 16, 24, 32, 40]"],
    }.get(name, [])


def assert_one_line(error: ValueError) -> None:
    assert str(error) and len(str(error)) < 1000 and "\n" not in str(error), str(error)


# ---------------------------------------------------------------------- strings


@pytest.mark.parametrize("name", READERS)
def test_strings_are_read_or_refused(name: str) -> None:
    space = SPACES[name]

    @fuzz(270)
    @given(damaged(pasted(name)))
    def check(text: str) -> None:
        try:
            rows = space.from_strings([text])
        except ValueError as error:
            assert_one_line(error)
            return
        assert torch.equal(space.check(rows), rows) and len(rows) == 1
        assert torch.equal(space.keys(space.from_strings(space.to_strings(rows))), space.keys(rows))

    check()


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("deep", DEEP, ids=lambda deep: deep[:6])
def test_deep_nesting_is_refused(name: str, deep: str) -> None:
    space = SPACES[name]
    closed = deep.replace("[", "[0, ") + "1" + "])"[deep[0] == "("] * 10_000
    for text in (deep, closed, f"Genotype({closed})", f"ModelSpec({deep}[", f"Arch({closed})", f'{{"a": {closed}}}'):
        with pytest.raises(ValueError) as caught:
            space.from_strings([text])
        assert_one_line(caught.value)


@fuzz(150)
@given(
    st.sampled_from(list(SPACES)),
    st.none() | st.booleans() | st.integers() | st.floats() | st.binary() | st.lists(st.none()),
)
def test_what_is_no_string_is_refused(name: str, value: object) -> None:
    with pytest.raises(ValueError) as caught:
        SPACES[name].from_strings([value])
    assert_one_line(caught.value)


# ---------------------------------------------------------------------- JSON

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["architecture", "score", "a"]), inner)
    ),
    max_leaves=9,
)
RECORDS = [json.dumps({"space": name, "architecture": get_space(name).example}) for name in list_spaces()]


@fuzz(300)
@given(damaged([*RECORDS, "[]", "{}", '{"space": "darts", "architecture": [', *DEEP]))
def test_json_of_an_architecture_is_read_or_refused(text: str) -> None:
    try:
        architecture = Architecture.from_json(text)
    except ValueError as error:
        assert_one_line(error)
        return
    assert Architecture.from_json(architecture.to_json()) == architecture


@fuzz(150)
@given(st.dictionaries(st.sampled_from(["space", "architecture", "x"]), VALUES | st.sampled_from(["darts", *RECORDS])))
def test_json_of_any_values_is_read_or_refused(record: dict[str, Any]) -> None:
    try:
        Architecture.from_json(json.dumps(record))
    except ValueError as error:
        assert_one_line(error)


# ---------------------------------------------------------------------- evaluations


def evaluations(name: str) -> list[str]:
    cells = strings(SPACES[name])
    quoted = ['"' + cell.replace('"', '""') + '"' for cell in cells]
    return [
        "\n".join(f"{cell}, {k}.5" for k, cell in enumerate(cells)),
        "\r\n".join(["sep=;", "architecture;score", *(f"{cell};9{k},5 %" for k, cell in enumerate(cells))]),
        "\n".join(["score\tarchitecture\tnote", *(f"{k}\t{cell}\t" for k, cell in enumerate(quoted))]),
        "\n".join(
            ["# mine", "", "epoch,Architecture,Score", *(f"{k},{cell},failed" for k, cell in enumerate(quoted))]
        ),
        json.dumps([{"architecture": cell, "score": k} for k, cell in enumerate(cells)]),
    ]


def check_evaluations(name: str, text: str | bytes) -> None:
    try:
        found, scores = read_evaluations(SPACES[name], text)
    except ValueError as error:
        assert_one_line(error)
        return
    assert len(found) == len(scores) > 0
    assert all(one.space is SPACES[name] for one in found)
    assert all(isinstance(score, float) and not math.isinf(score) for score in scores)


@pytest.mark.parametrize("name", ["nas-bench-201", "nas-bench-graph", "nas-bench-nlp", "darts", "own"])
def test_evaluations_are_read_or_refused(name: str) -> None:
    @fuzz(150)
    @given(damaged(evaluations(name)))
    def check(text: str) -> None:
        check_evaluations(name, text)

    check()


@fuzz(150)
@given(st.lists(VALUES | st.fixed_dictionaries({"architecture": VALUES, "score": VALUES}), max_size=3))
def test_evaluations_of_any_json_are_read_or_refused(records: list[Any]) -> None:
    check_evaluations("nas-bench-asr", json.dumps(records))


@fuzz(150)
@given(
    damaged(evaluations("nas-bench-macro")),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "latin-1"]),
    st.binary(max_size=3),
)
def test_evaluations_of_any_bytes_are_read_or_refused(text: str, encoding: str, more: bytes) -> None:
    check_evaluations("nas-bench-macro", text.encode(encoding, errors="replace") + more)


@pytest.mark.parametrize("deep", DEEP, ids=lambda deep: deep[:6])
def test_evaluations_that_are_nested_deep_are_refused(deep: str) -> None:
    for text in (
        deep,
        f'[{{"architecture": {deep}',
        f'[{{"architecture": {deep}1{"]" * 10_000}, "score": 1}}]',
        f"{deep}, 1",
    ):
        with pytest.raises(ValueError) as caught:
            read_evaluations("darts", text)
        assert_one_line(caught.value)


@pytest.mark.parametrize("name", ["nas-bench-201", "nas-bench-101", "darts", "own"])
@pytest.mark.parametrize("piece", [",", ";", "\t", '"', '"\n', " ", "\n", "|", "~0|", "Genotype()", "Genotype(1)\n"])
def test_long_texts_are_refused_in_time(name: str, piece: str) -> None:
    """As many times the same: no reader tries all pairs of places."""
    most = 100_000 // len(piece)
    for text in (piece * most, strings(SPACES[name])[0] + piece * most + "~x", "a" + piece * most + ", 1 x"):
        for read in (
            lambda text: SPACES[name].from_strings([text]),
            lambda text: read_evaluations(SPACES[name], text),
        ):
            with pytest.raises(ValueError) as caught:
                read(text)
            assert_one_line(caught.value)


# ---------------------------------------------------------------------- files of priors

WORDS = st.text(max_size=5) | st.sampled_from(["measured", "absent", "operation", "subgraph", "nas-bench-201"])
FLOATS = st.floats() | st.sampled_from([math.nan, math.inf, -math.inf, -1.0])
NAMES = st.lists(st.sampled_from(["0->1", "0->2", "none", "skip_connect", "x", None]), max_size=3)
WHOLE = st.integers(-(2**63), 2**63 - 1)
OF_TYPE = [
    (pa.types.is_floating, pa.float64(), FLOATS),
    (pa.types.is_integer, pa.int64(), WHOLE),
    (pa.types.is_string, pa.string(), WORDS),
    (pa.types.is_list, pa.list_(pa.string()), NAMES),
    (pa.types.is_null, pa.list_(pa.int64()), st.lists(st.integers(-3, 3), max_size=2)),
    (pa.types.is_null, pa.bool_(), st.booleans()),
    (pa.types.is_null, pa.binary(), st.binary(max_size=3)),
]


@st.composite
def damaged_table(draw: st.DrawFn, table: pa.Table) -> pa.Table:
    """A table without a column or some rows, or with a value in the place of others, perhaps of another type."""
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, table.num_columns - 1))
        kind = draw(st.sampled_from(["drop", "rows", "type", *["values"] * 5]))
        name, column, type_ = table.column_names[at], table[at].to_pylist(), table.schema.field(at).type
        if kind == "drop":
            table = table.drop_columns([name])
        elif kind == "rows":
            table = table.slice(draw(st.integers(0, 50)), draw(st.integers(0, 50)))
        elif kind == "type":
            _, type_, values = draw(st.sampled_from(OF_TYPE))
            return table.set_column(at, name, pa.array([draw(values | st.none())] * len(column), type_))
        else:
            values = next(values for is_this, _, values in OF_TYPE if is_this(type_))
            start, number = draw(st.integers(0, 40)), draw(st.sampled_from([1, 3, len(column)]))
            value = draw(values | st.none())
            column = [value if start <= k < start + number else old for k, old in enumerate(column)]
            table = table.set_column(at, name, pa.array(column, type_))
    return table


@pytest.fixture(scope="module")
def prior_table(tmp_path_factory: pytest.TempPathFactory) -> pa.Table:
    space = get_space("nas-bench-201")
    rows = space.sample(20, torch.Generator().manual_seed(0))
    prior = Prior.from_evaluations(space, rows, torch.arange(20.0), "cifar10", 3)
    return pq.read_table(prior.save(tmp_path_factory.mktemp("fuzz") / "prior.parquet"))


def test_files_of_priors_are_read_or_refused(prior_table: pa.Table, tmp_path: Path) -> None:
    path = tmp_path / "prior.parquet"

    @fuzz(200)
    @given(damaged_table(prior_table))
    def check(table: pa.Table) -> None:
        pq.write_table(table, path)
        try:
            priors = load_priors(path)
        except ValueError as error:
            assert str(path) in str(error)
            assert_one_line(error)
            return
        for prior in priors:
            assert prior.distribution().isfinite().all() and (prior.distribution() >= 0).all()
            torch.testing.assert_close(prior.distribution().sum(1), torch.ones(prior.space.num_slots))
            assert prior.features().isfinite().all()

    check()
