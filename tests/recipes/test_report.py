"""Verdicts, tables and pages say what results files hold: laws, and comparisons with other ways of counting."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import figures
import report
from ablation_section import ablations
from pkgen_hf.evaluation.methods import METHODS
from pkgen_hf.evaluation.protocols import PROTOCOLS
from result_files import write
from variants import DEFAULT, PARTS
from verdict_tables import MAIN, Beside, all_verdicts, columns_of, difference, front_table, protocol_table, rank
from verdicts import (
    PRIOR,
    Key,
    Verdict,
    all_runs,
    best_baseline,
    compared,
    share_beating_labels,
    temperatures,
    verdicts,
)  # fmt: skip

TRAINING = {"seconds": 60.0, "device": "cpu", "parameters": 7, "exclude": ["one"], "labels_read": {"x/y": 3}}
TRAINING |= {"max_train_steps": 5, "seed": 0}
WITH_FIGURES = ("given-labels", "under-a-budget", "ask-tell")
LABELS, QUANTILES = (0, 10, 20), (None, 0.2, 0.8)  # of those in protocols
RUNS, TASKS, SPACES = 4, ("a", "b"), ("one", "two", "three", "four")
Row = dict[str, Any]


def rows_of(protocol: str, seed: int, better: dict[str, float] | None = None, scores: str = "validation") -> list[Row]:
    """Runs of every method: ranks that a task, run and condition share, noise, and what a method is better by."""
    random, rows = np.random.default_rng(seed), []
    methods = [method for method in METHODS.values() if method.is_search == PROTOCOLS[protocol].is_search]
    for condition in PROTOCOLS[protocol].conditions():
        if condition.num_labels not in LABELS or condition.quantile not in QUANTILES:
            continue
        for task, run in ((task, run) for task in TASKS for run in range(RUNS)):
            shared = 30 + 5 * random.random()
            for method in methods:
                if method.id == "pkgen-raw" and (condition.num_labels or condition.quantile):
                    continue
                found = shared + random.random() - (better or {}).get(method.id, 0.0)
                row = {"setting": condition.setting, "task": task, "quantile": condition.quantile, "run": run}
                row |= {"budget": f"at most {condition.quantile}" if condition.quantile else None, "scores": scores}
                row |= {
                    "method": method.id,
                    "training": f"t-train-seed-{run % 2}" if "pipeline" in method.reads else None,
                }
                row |= {"first_rank": found + 1, "few_rank": found, "few_score": 90 - found, "mean_score": 80.0}
                row |= {"n": 100, "distinct": 99, "seconds": 2.0, "num_labels": condition.num_labels}
                row |= {"labels_read": 3, "labels_of_target": condition.num_labels, "few_test": 89 - found}
                if method.is_search:
                    row["later_rank"] = found - 0.1
                else:
                    row |= {"median_rank": found + 10, "top_share": 50 - found, "mean_test": 79.5}
                if condition.num_labels and not method.is_search:
                    row["best_label_rank"] = shared + 0.5
                rows.append(row)
    return rows


def save(rows: list[Row], protocol: str, space: str, results: Path) -> None:
    """Write a results file as recipes/reproduce.py does."""
    details = {
        "protocol": protocol,
        "space": space,
        "command": "python x",
        "trainings": {"t-train-seed-0": TRAINING, "t-train-seed-1": TRAINING | {"seconds": 70.0}},
    }
    if rows[0]["scores"] == "surrogate":
        error = {"mean_absolute_error": 0.5, "r2": 0.9, "kendall_tau": 0.8, "n": 4000}
        details["surrogates"] = dict.fromkeys(TASKS, error)  # type: ignore[assignment]
    write(f"{protocol}-{space}", rows, details, results)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every protocol on four spaces: PKGen is ahead on the first, behind on the second; the third selects by test."""
    folder = tmp_path_factory.mktemp("results")
    for seed, space in enumerate(SPACES):
        scores = {"three": "test", "four": "surrogate"}.get(space, "validation")
        for number, protocol in enumerate(PROTOCOLS):
            own = "ask-tell" if PROTOCOLS[protocol].is_search else "pkgen"
            better = {own: {"one": 8.0, "two": -8.0}.get(space, 0.0), "prior-0.25": 1.0 + seed, "copy": 0.3}
            save(rows_of(protocol, 10 * seed + number, better, scores), protocol, space, folder)
    return folder


@pytest.fixture(scope="module")
def runs(results: Path) -> pd.DataFrame:
    return compared(all_runs(results))


@pytest.fixture(scope="module")
def beside(runs: pd.DataFrame) -> Beside:
    return all_verdicts(runs)


def best_of(beside: Beside, measure: str = MAIN) -> dict[Key, Verdict]:
    return {key: best_baseline(found) for key, found in beside[measure].items()}


# ---------------------------------------------------------------------- laws


def test_a_baseline_that_is_better_in_all_runs_puts_pkgen_behind(beside: Beside) -> None:
    for measure in ("few_rank", "first_rank", "median_rank", "top_share"):
        for key, verdict in best_of(beside, measure).items():
            expected = {"one": "ahead", "two": "behind"}.get(key[2], verdict.comparison.verdict)
            assert verdict.comparison.verdict == expected, (measure, key)
            assert (verdict.runs, verdict.trainings, verdict.by_test) == (RUNS, 2, key[2] == "three")
    searches = {key for key in beside["few_rank"] if key[0] == "ask-tell"}
    assert len(searches) == len(SPACES) and not searches & beside["median_rank"].keys()


def test_shifts_of_a_run_cancel(runs: pd.DataFrame, beside: Beside) -> None:
    before = beside["few_rank"]
    after = verdicts(runs.assign(few_rank=runs["few_rank"] + 20 * runs["run"]), "few_rank")
    for key, found in before.items():
        for one, other in zip(found, after[key], strict=True):
            assert one.comparison.difference == pytest.approx(other.comparison.difference)
            assert one.comparison.error == pytest.approx(other.comparison.error)
            assert other.means[0] == pytest.approx(one.means[0] + 30)  # 20 a run, of the runs 0 to 3


def test_the_best_baseline_is_that_of_the_lowest_mean(beside: Beside) -> None:
    for key, found in beside["few_rank"].items():
        if key[0] != "given-labels":  # where searches have no rows of 10 labels
            assert best_baseline(found).means[1] == min(verdict.means[1] for verdict in found)
            assert sum(verdict.baseline.startswith(PRIOR) for verdict in found) == (key[0] != "ask-tell")


def test_temperatures_are_chosen_on_the_other_spaces(runs: pd.DataFrame) -> None:
    chosen = temperatures(runs, "few_rank")
    for key, method in chosen.items():
        others = runs[(runs["protocol"] == key[0]) & (runs["setting"] == key[1]) & (runs["space"] != key[2])]
        means = {
            prior: np.mean([of["few_rank"].mean() for _, of in others[others["method"] == prior].groupby("space")])
            for prior in METHODS
            if prior.startswith(PRIOR)
        }
        assert method == min(means, key=lambda prior: means[prior])
    own = (runs["space"] == "one") & runs["method"].isin(["prior-1", "prior-0.125"])
    changed = temperatures(runs.assign(few_rank=runs["few_rank"].mask(own, 0.0)), "few_rank")
    assert {key: prior for key, prior in changed.items() if key[2] == "one"} == {
        key: prior for key, prior in chosen.items() if key[2] == "one"
    }
    assert any(changed[key] != chosen[key] for key in chosen if key[2] == "two")
    alone = temperatures(runs[runs["space"] == "one"], "few_rank")
    assert set(alone.values()) == {"prior-0.5"}


def test_searches_stand_beside_given_labels(tmp_path: Path) -> None:
    save(rows_of("given-labels", 0), "given-labels", "one", tmp_path)
    save(rows_of("ask-tell", 1, {"tpe": 25.0, "ask-tell": 28.0}), "ask-tell", "one", tmp_path)
    runs = compared(all_runs(tmp_path))
    beside = {measure: verdicts(runs, measure) for measure in ("few_rank", "median_rank")}
    for setting in PROTOCOLS["given-labels"].settings:
        key = ("given-labels", setting, "one")
        best = best_baseline(beside["few_rank"][key])
        own = runs[(runs["protocol"] == key[0]) & (runs["setting"] == setting)]
        assert best.baseline == "tpe" and best.comparison.verdict == "behind"
        assert best.means[0] == pytest.approx(own.loc[own["method"] == "pkgen", "few_rank"].mean())
        assert "tpe" not in {verdict.baseline for verdict in beside["median_rank"][key]}
        assert "ask-tell" not in {verdict.baseline for verdict in beside["few_rank"][key]}


def test_share_of_sets_that_beat_the_best_label() -> None:
    rows = [{"setting": "new-space", "space": "s", "num_labels": 10, "method": "pkgen", "few_rank": few,
             "best_label_rank": 2.0, "protocol": "given-labels"} for few in (1.0, 1.5, 2.0, 3.0)]  # fmt: skip
    assert share_beating_labels(pd.DataFrame(rows)).to_dict() == {("new-space", "s", 10, "pkgen"): 50.0}


# ---------------------------------------------------------------------- errors


def test_wrong_results_are_refused(tmp_path: Path) -> None:
    rows = rows_of("new-space", 0)
    save(rows, "new-space", "one", tmp_path)
    path = tmp_path / "new-space-one.json"
    record = json.loads(path.read_text())

    def refused(match: str) -> None:
        with pytest.raises(ValueError, match=match) as caught:
            verdicts(compared(all_runs(tmp_path)), "few_rank")
        assert "\n" not in str(caught.value)

    for change, match in [
        ({"schema": 1}, "new-space-one.json is no results file of version 2: 2 was expected"),
        ({"rows": []}, "no results file of version 2"),
        ({"protocol": "new-spaces"}, "new-spaces.*new-space"),
        ({"rows": [record["rows"][0] | {"setting": "few-labels"}]}, "'few-labels' is not one of"),
    ]:
        path.write_text(json.dumps(record | change))
        refused(match)
    path.write_text(json.dumps(record))
    (tmp_path / "runs" / "new-space-one.parquet").unlink()
    refused("new-space-one.parquet is missing, the runs of new-space-one.json")
    save([row | {"method": "pkgn"} if row["method"] == "pkgen" else row for row in rows], "new-space", "one", tmp_path)
    refused("pkgn.*pkgen")
    save([*rows, rows[0]], "new-space", "one", tmp_path)
    refused("new-space-one has two rows of pkgen in run 0, a")
    save([row for row in rows if row["run"] == 0], "new-space", "one", tmp_path)
    refused("a comparison needs the same runs of both, two at least")


# ---------------------------------------------------------------------- tables


def block_of(readme: str) -> list[list[str]]:
    """Cells of the table in README.md."""
    block = readme.split(report.START)[1].split(report.END)[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in block.splitlines() if line[:1] == "|"]


def test_every_number_of_readme_is_of_the_runs(results: Path, beside: Beside) -> None:
    """Differences are computed another way, from the Parquet files; nothing is bold within two standard errors."""
    header, _, *lines = block_of(report.front((report.ROOT / "README.md").read_text(), beside))
    columns = list(columns_of((p.id, s, "") for p in PROTOCOLS.values() for s in p.settings))
    assert len(header) == 1 + len(columns) == 1 + 9
    best = best_of(beside)
    tallies = {False: [[0, 0, 0] for _ in columns], True: [[0, 0, 0] for _ in columns]}
    for name, *cells in lines[: len(SPACES)]:
        space = name.removesuffix(" †")
        assert name.endswith("†") == (space == "three")
        for number, (cell, (protocol, setting)) in enumerate(zip(cells, columns, strict=True)):
            verdict = best[protocol, setting, space]
            of = pd.read_parquet(results / "runs" / f"{protocol}-{space}.parquet")
            of = of[of["setting"] == setting]
            other = of
            if verdict.baseline not in set(of["method"]):
                other = pd.read_parquet(results / "runs" / f"ask-tell-{space}.parquet")
                of = of[of["num_labels"] > 10]
            own, beside = (
                rows[rows["method"] == method].groupby("run")["few_rank"].mean()
                for rows, method in ((of, verdict.own), (other, verdict.baseline))
            )
            mean, error = (beside - own).mean(), (beside - own).std() / 2  # of 4 runs
            place = 1 if abs(mean) <= 2 * error else 0 if mean > 0 else 2
            tallies[space == "three"][number][place] += 1
            text = f"{'▲=▼'[place]} {'+' if mean > 0 else '-'}{rank(abs(mean))}"
            assert cell == (f"**{text}**" if place == 0 else text)
    for (_, *cells), by_test in zip(lines[len(SPACES) :], (False, True), strict=True):
        assert cells == [" / ".join(map(str, tally)) for tally in tallies[by_test]]
    assert [name for name, *_ in lines[len(SPACES) :]] == ["ahead / equal / behind", "the same of †"]


def test_differences_within_two_standard_errors_are_not_bold(beside: Beside) -> None:
    seen = set()
    for of_measure in beside.values():
        for verdict in (verdict for found in of_measure.values() for verdict in found):
            bold = difference(verdict.comparison, with_error=True).startswith("**")
            assert bold == (verdict.comparison.difference > 2 * verdict.comparison.error > 0)
            seen.add(verdict.comparison.verdict)
    assert seen == {"ahead", "equal", "behind"}


def test_readme_stays_short_with_results_of_every_space(beside: Beside) -> None:
    names = [f"transnas-bench-101-{letter}" for letter in "abcdefghijklmn"]
    verdict = max((found[0] for found in beside[MAIN].values()), key=lambda found: len(difference(found.comparison)))
    every = [(p.id, s, space) for p in PROTOCOLS.values() for s in p.settings for space in names]
    full = {MAIN: {key: [replace(verdict, key=key)] for key in every}}
    text = report.front((report.ROOT / "README.md").read_text(), full)
    assert len(block_of(text)) == 2 + len(names) + 1 and len(text.encode()) < 12_000


def test_without_results_there_is_no_table(tmp_path: Path) -> None:
    assert front_table(all_verdicts(compared(all_runs(tmp_path)))) == ["No results yet.", ""]
    assert report.front(f"a{report.START}b{report.END}c", {}).endswith(f"No results yet.\n\n{report.END}c")


def test_given_labels_stand_beside_the_best_label(runs: pd.DataFrame, beside: Beside) -> None:
    header, _, *lines, _ = protocol_table("given-labels", beside, runs)
    assert header.endswith("| best label given | the best of 8 is better, % of runs |")
    own = runs[(runs["protocol"] == "given-labels") & (runs["method"] == "pkgen")]
    for line in lines:
        setting, space, counted, *_, label, share = (cell.strip() for cell in line.strip("|").split("|"))
        here = own[(own["setting"] == setting.replace(" ", "-")) & (own["space"] == space.removesuffix(" †"))]
        assert label == f"{here['best_label_rank'].mean():.2f}" and counted == "4 (2)"
        assert share == f"{100 * (here['few_rank'] < here['best_label_rank']).mean():.0f}"


def test_pages_have_every_condition_and_method(results: Path) -> None:
    texts = report.files((report.ROOT / "README.md").read_text(), results)
    page = texts[report.PAGES / "four.md"]
    for protocol in PROTOCOLS.values():
        part = page.split(f"## {protocol.title}\n")[1].split("\n## ")[0]
        assert f"results/runs/{protocol.id}-four.parquet" in part and "Kendall's tau 0.800" in part
        for method in (m for m in METHODS.values() if m.is_search == protocol.is_search):
            if method.id != "pkgen-raw" or protocol.id in PROTOCOLS["under-a-budget"].settings:
                assert part.count(f"| a (surrogate) | {method.name} | ") == len(protocol.settings)
        for number in set(protocol.num_labels) & {*LABELS} - {0}:
            assert f"| {number} labels |" in part or protocol.is_search
        for quantile in set(protocol.quantiles) & {*QUANTILES} - {None}:
            assert f"| quantile {quantile:g} |" in part
    record = json.loads((results / "same-benchmark-four.json").read_text())
    row = next(row for row in record["rows"] if (row["task"], row["method"]) == ("a", "pkgen"))
    assert f"| {row['first_rank']:.2f} ± {row['first_rank_std']:.2f} | {row['few_rank']:.2f} ± " in page
    index = texts[report.PAGES / "README.md"]
    assert all(f"### {protocol.title}\n" in index for protocol in PROTOCOLS.values())
    assert "| t | one | 3 | 5 | 2 | 60 to 70 | cpu |" in index and "[four](four.md)" in index


def test_peers_stand_beside_results(tmp_path: Path) -> None:
    for protocol in ("new-space", "ask-tell"):
        rows = [row | {"task": {"a": "cifar10", "b": "cifar100"}[row["task"]]} for row in rows_of(protocol, 0)]
        save(rows, protocol, "nas-bench-201", tmp_path)
    index = report.files((report.ROOT / "README.md").read_text(), tmp_path)[report.PAGES / "README.md"]
    assert "| PKGen, mean of samples as they come | 0 | 79.50 ± 0.00 | 79.50 ± 0.00 |  | these results |" in index
    searches = [row for row in rows_of("ask-tell", 0) if row["method"] == "ask-tell" and row["num_labels"] == 20]
    means = [np.mean([row["few_test"] for row in searches if row["task"] == task]) for task in TASKS]
    assert re.search(rf"\| PKGen, ask and tell \| 20 \| {means[0]:.2f} ± .* \| {means[1]:.2f} ± ", index)
    assert "| DiNAS | 192 |" in index and "select by test" not in index.split("## Beside")[1].split("## Cost")[0]


def test_ablations_have_a_section(tmp_path: Path) -> None:
    """A part that helps by 5 in "same benchmark", and not in "new space"."""
    rows = []
    settings = ("same-benchmark", "new-space")
    for setting, task, run in ((s, t, r) for s in settings for t in TASKS for r in range(RUNS)):
        for part, value in ((DEFAULT, DEFAULT), ("guidance", "0")):
            helps = (part, setting) == ("guidance", "same-benchmark")
            found = 20.0 + 3 * run + 5.0 * helps
            rows.append({"part": part, "value": value, "setting": setting, "task": task, "run": run, "num_labels": 0,
                         "quantile": None, "budget": None, "method": "pkgen", "training": "t-train-seed-0",
                         "scores": "test", "first_rank": 1.0, "few_rank": found, "median_rank": found, "n": 100,
                         "distinct": 100, "seconds": 1.0, "labels_read": 3, "labels_of_target": 0})  # fmt: skip
    save(rows, "ablations", "one", tmp_path)
    assert all_runs(tmp_path).empty
    text = ablations(tmp_path)
    title = PARTS["guidance"].title
    assert f"| space | protocol | {title}: 0 |" in text
    assert "| one | Same benchmark | **▲ +5.00** |" in text and "| one | New space | = 0 |" in text
    index = report.files((report.ROOT / "README.md").read_text(), tmp_path)[report.PAGES / "README.md"]
    assert "\n".join(text) in index and "Parts that help in no cell: none." in index
    assert ablations(tmp_path / "none") == []


# ---------------------------------------------------------------------- commands


@pytest.fixture
def house(results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with a README and results of two spaces, of which reports are written."""
    (tmp_path / "README.md").write_text(f"a\n{report.START}\n{report.END}\nb\n")
    for name in (f"{protocol}-{space}" for protocol in WITH_FIGURES for space in SPACES[:2]):
        for path in (results / f"{name}.json", results / "runs" / f"{name}.parquet"):
            copy = tmp_path / "results" / path.relative_to(results)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
    monkeypatch.setattr(report, "ROOT", tmp_path)
    monkeypatch.setattr(report, "PAGES", tmp_path / "docs" / "results")
    monkeypatch.setattr(figures, "RESULTS", tmp_path / "results")
    yield tmp_path


def test_what_is_out_of_date_is_found(house: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["report.py"])
    report.main()
    monkeypatch.setattr(sys, "argv", ["report.py", "--check"])
    report.main()
    page = house / "docs" / "results" / "one.md"
    page.write_text(page.read_text() + "more")
    with pytest.raises(SystemExit, match=r"one.md is out of date: run python recipes/report.py"):
        report.main()
    (page.parent / "none.md").write_text("")
    with pytest.raises(SystemExit, match=r"none.md is of no results file: delete it"):
        report.main()
    (page.parent / "none.md").unlink()
    monkeypatch.setattr(report, "HOW_TO_READ", "other words\n")
    with pytest.raises(SystemExit, match="docs/results/README.md is out of date: run python recipes/report.py"):
        report.main()


def test_figures_are_drawn_and_shown(house: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["figures.py"])
    figures.main()
    drawn = sorted(path.name for path in (house / "results" / "figures").glob("*.png"))
    names = [*SPACES[:2], "all-spaces"]
    assert drawn == sorted(f"{kind}-of-{name}.png" for kind in ("budgets", "labels") for name in names)
    monkeypatch.setattr(sys, "argv", ["report.py"])
    report.main()
    page = (house / "docs" / "results" / "two.md").read_text()
    assert all(f"results/figures/{name}" in page for name in drawn if "of-two" in name)
    assert "of-one" not in page
    assert "labels-of-all-spaces.png" in (house / "docs" / "results" / "README.md").read_text()


def test_figures_of_all_spaces_have_what_all_spaces_have(runs: pd.DataFrame) -> None:
    """The third space selects by test, and one method is missing in the fourth."""
    found = figures.of_all_spaces(runs[(runs["space"] != "four") | (runs["method"] != "largest")])
    assert set(found["space"]) == {"one", "two", "four"} and "largest" not in set(found["method"])
    assert "copy" in set(found["method"]) and figures.of_all_spaces(runs[runs["space"] == "one"]).empty
