"""Each variant changes what it says, and the table of ablations counts what the runs show."""

from __future__ import annotations

import sys
from argparse import Namespace
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import ablation_table
import reproduce
from ablations import CONDITIONS, SPACES, small_training, tasks_for
from pkgen_hf import PKGenPipeline, get_space
from pkgen_hf.budgets.limits import Limits
from pkgen_hf.evaluation.problem import Problem
from pkgen_hf.evaluation.protocols import PROTOCOLS, Condition
from result_files import read_records
from trainings import excluded, third_of, third_with, training_record
from variants import DEFAULT, PARTS, SMALL_EXCLUDE, VARIANTS, Variant

SPACE = get_space("nas-bench-201")
BY_ID = {variant.method.id: variant for variant in VARIANTS}


def problem_of(pipe: PKGenPipeline, run: int = 0) -> Problem:
    return Problem(SPACE, "cifar10", pipe, Limits(SPACE, "cifar10"), run=run)


@pytest.fixture(scope="module")
def dissimilar(pipe: PKGenPipeline) -> PKGenPipeline:
    """The bundled checkpoint with priors of one other space only."""
    priors = [prior for prior in pipe.priors if prior.space.name == "transnas-bench-101-micro"]
    other = PKGenPipeline(pipe.denoiser, pipe.scheduler, priors)
    other.set_progress_bar_config(disable=True)
    return other


@pytest.fixture(scope="module")
def defaults(pipe: PKGenPipeline, dissimilar: PKGenPipeline) -> dict[PKGenPipeline, torch.Tensor]:
    """What is generated with nothing changed."""
    default = BY_ID["default: default"].method
    chosen = {each: default.choose(problem_of(each), 100) for each in (pipe, dissimilar)}
    assert torch.equal(default.choose(problem_of(pipe), 100), chosen[pipe])
    return chosen


def test_every_part_has_a_variant_and_a_base() -> None:
    assert {variant.part for variant in VARIANTS} == PARTS.keys()
    assert len(BY_ID) == len(VARIANTS)
    assert all(PARTS[part.base].base == DEFAULT for part in PARTS.values())
    assert all(variant.value != PARTS[variant.part].as_it_is for variant in VARIANTS)


def test_priors_lack_what_was_taken(pipe: PKGenPipeline) -> None:
    problem = problem_of(pipe)
    features = problem.prior.features()
    columns = {"contributions": (0, 1, 2, 3), "subgraphs": (2, 3), "frequencies": (4, 5)}
    for variant in VARIANTS:
        if variant.part in columns:
            change = variant.method.choose.keywords["change"]  # type: ignore[attr-defined]
            differs = (change(problem.prior).features() != features).flatten(0, 1).any(0)
            assert set(differs.nonzero()[:, 0].tolist()) == set(columns[variant.part])
            assert variant.method.applies(problem)
            taken = replace(problem, pipe=PKGenPipeline(pipe.denoiser, pipe.scheduler, [change(problem.prior)]))
            assert not variant.method.applies(taken)


@pytest.mark.parametrize(
    "variant", [variant for variant in VARIANTS if variant.part != DEFAULT and variant.settings is None],
    ids=lambda variant: variant.method.id,
)  # fmt: skip
def test_variants_change_what_is_generated(
    variant: Variant, pipe: PKGenPipeline, dissimilar: PKGenPipeline, defaults: dict[PKGenPipeline, torch.Tensor]
) -> None:
    of_samples = ("similarity", "steps", "guidance", "temperature")  # which do not rank what was measured itself
    problem = problem_of(dissimilar if variant.part in of_samples else pipe)
    assert variant.method.applies(problem)
    chosen, default = variant.method.choose(problem, 100), defaults[problem.pipe]
    assert chosen.shape == default.shape and not torch.equal(chosen, default)


def test_similarity_applies_to_dissimilar_spaces_only(pipe: PKGenPipeline, dissimilar: PKGenPipeline) -> None:
    variant = BY_ID["similarity: 1"].method
    assert not variant.applies(problem_of(pipe)) and variant.applies(problem_of(dissimilar))
    assert dissimilar.similarity_to_training(SPACE) < 1


def test_tasks_take_part_in_all_protocols() -> None:
    assert tasks_for("nas-bench-201", list(SPACE.tasks)) == ["cifar100", "ImageNet16-120"]
    assert tasks_for("nas-bench-101", ["cifar10"]) == ["cifar10"]
    assert len(SPACES) >= 6
    assert len({*CONDITIONS}) == len(CONDITIONS)
    kinds = {(condition.setting, condition.num_labels > 0, condition.quantile is not None) for condition in CONDITIONS}
    for protocol in PROTOCOLS.values():
        assert protocol.is_search or any(
            (setting, protocol.num_labels != (0,), protocol.quantiles != (None,)) in kinds
            for setting in protocol.settings
        )


def test_small_trainings_differ_in_what_they_say(tmp_path: Path) -> None:
    """They have their own settings, and have read no label that the target forbids."""
    folders = {"data": str(tmp_path), "output_dir": str(tmp_path)}
    options = Namespace(max_train_steps=1, priors_per_task=2, shifted_tasks=1, **folders)
    for variant in (BY_ID["end-distribution: uniform"], BY_ID["training: 500"]):
        assert variant.settings is not None
        own = small_training(variant.settings, "new-space", "nas-bench-graph", "cora", 1, options)
        assert own.pipe.scheduler.config["end_distribution"] == variant.settings.get("end_distribution", "prior")
        own.check(Condition("new-space"), "nas-bench-graph", "cora")
        record = training_record(own.pipe)
        assert record["seed"] == 1 and record["max_train_steps"] == 1 and record["priors_per_task"] == 2
        assert {*SMALL_EXCLUDE} < {*record["exclude"]}
    assert own.training == "ablation-2-train-seed-1"


def test_small_trainings_of_the_same_benchmark_have_read_it() -> None:
    for space in {*SPACES} - {*SMALL_EXCLUDE}:
        for task in get_space(space).tasks:
            third = third_with(space, task, {})
            assert third != third_of(space) and f"{space}/{task}" not in excluded(third, {})


# ---------------------------------------------------------------------- the table


def runs_of(
    part: str, value: str, ranks: list[float], space: str = "x", task: str = "a", **columns: Any
) -> list[dict]:
    row = {"part": part, "value": value, "setting": "new-space", "num_labels": 0, "quantile": None, "method": "pkgen"}
    row |= {"space": space, "task": task} | columns
    return [row | {"run": run, "few_rank": rank, "median_rank": 2 * rank} for run, rank in enumerate(ranks)]


def test_verdicts_are_paired_by_run_and_averaged_over_tasks() -> None:
    default = [1.0, 5.0, 3.0]
    rows = runs_of("default", "default", default) + runs_of("default", "default", default, task="b")
    rows += runs_of("temperature", "1", [2.1, 6.0, 3.9]) + runs_of("temperature", "1", [2.0, 6.1, 4.0], task="b")
    found = ablation_table.verdicts(pd.DataFrame(rows)).set_index("measure")
    changes = np.array([1.05, 1.05, 0.95])
    assert found.loc["few_rank", "difference"] == pytest.approx(changes.mean())
    assert found.loc["few_rank", "error"] == pytest.approx(changes.std(ddof=1) / 3**0.5)
    assert found.loc["median_rank", "difference"] == pytest.approx(2 * changes.mean())
    assert (found["verdict"] == "helps").all() and (found["runs"] == 3).all()


def test_summary_counts_cells_and_finds_what_pays_nowhere() -> None:
    rows = []
    for space, protocol, temperature, guidance in (
        ("x", {}, [2.0, 3.1, 4.0], [1.0, 2.0, 3.0]),  # default 1, 2, 3
        ("x", {"num_labels": 20}, [0.5, 1.6, 2.5], [1.5, 1.5, 3.0]),
        ("x", {"quantile": 0.5}, [1.9, 3.0, 4.0], [0.5, 1.4, 2.5]),
        ("y", {"setting": "same-benchmark"}, [3.0, 0.1, 3.0], [1.0, 2.0, 3.0]),
    ):
        for part, value, ranks in (("default", "default", [1.0, 2.0, 3.0]), ("guidance", "4", guidance),
                                   ("temperature", "1", temperature)):  # fmt: skip
            rows += runs_of(part, value, ranks, space, **protocol)
    found = ablation_table.verdicts(pd.DataFrame(rows))
    assert set(found["protocol"]) == {"new-space", "given-labels", "under-a-budget", "same-benchmark"}
    summary = ablation_table.summary(found)
    by_few = summary[summary["measure"] == "few_rank"].set_index("part")
    assert by_few.loc["temperature", ["helps", "hurts", "equal"]].tolist() == [2, 1, 1]
    assert by_few.loc["guidance", ["helps", "hurts", "equal"]].tolist() == [0, 1, 3]
    assert ablation_table.that_pay_nowhere(summary) == [("guidance", "4")]
    lines = ablation_table.as_markdown(summary)
    assert len(lines) == 4 and "0 / 1 / 3" in lines[2] and "2 / 1 / 1" in lines[3]


def test_parts_of_training_are_compared_with_the_small_training() -> None:
    rows = runs_of("default", "default", [1.0, 1.0]) + runs_of("training", "500", [5.0, 5.1])
    rows += runs_of("end-distribution", "uniform", [4.0, 4.1])
    found = ablation_table.verdicts(pd.DataFrame(rows))
    verdicts = found[found["measure"] == "few_rank"].set_index("part")["verdict"]
    assert verdicts.to_dict() == {"training": "helps", "end-distribution": "hurts"}


def test_a_run_without_a_pair_is_an_error() -> None:
    rows = runs_of("default", "default", [1.0, 2.0]) + runs_of("temperature", "1", [1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="temperature 1, x, new-space: 3 runs, but 2 of the default"):
        ablation_table.verdicts(pd.DataFrame(rows))


# ---------------------------------------------------------------------- the command


def test_ablations_in_small(tmp_path: Path, capsys: pytest.CaptureFixture[str], pipe: PKGenPipeline) -> None:
    """The rows of a part, in the protocol that needs no training, and the table that is made of them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ablations.CONDITIONS", CONDITIONS[:1])
        arguments = ["ablations", "--space=nas-bench-201", "--part=subgraphs", "--part=prior", "--runs=2"]
        patch.setattr(sys, "argv", ["recipes/reproduce.py", *arguments, "--results", str(tmp_path)])
        reproduce.main()
    assert "contributions of subgraphs" in capsys.readouterr().out
    record = read_records(tmp_path)["ablations-nas-bench-201"]
    assert [(row["part"], row["value"]) for row in record["rows"]] == 2 * [("default", "default"), ("prior", "absent"),
                                                                           ("subgraphs", "unknown")]  # fmt: skip
    assert {row["runs"] for row in record["rows"]} == {2}
    found = ablation_table.verdicts(ablation_table.read_ablations(tmp_path))
    without_prior = found[(found["part"] == "prior") & (found["measure"] == "median_rank")]
    assert without_prior["verdict"].tolist() == ["helps"] and (without_prior["space"] == "nas-bench-201").all()
