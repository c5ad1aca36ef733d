"""The pipeline: results of the bundled checkpoint, reproducibility, files, and every kind of bad input.

What any weights must do is tested on a denoiser that has learnt nothing.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from fresh import run_fresh

from pkgen_hf import Architecture, PKGenPipeline, PKGenPipelineOutput, Prior, PriorDiscreteScheduler
from pkgen_hf.benchmarks.score_table import ScoreTable
from pkgen_hf.budgets.search import neighbours
from pkgen_hf.hub import download as hub
from pkgen_hf.modeling_denoiser import ArchitectureDenoiser
from pkgen_hf.publishing import pipeline_folder as module
from pkgen_hf.spaces import Choice, SearchSpace, Slot, Task, get_space, list_spaces

SPACE = "nas-bench-201"


@pytest.fixture(scope="module")
def untrained(cell_table: ScoreTable, graph_table: ScoreTable) -> PKGenPipeline:
    """Random weights, with the priors of two tasks and of the consensus of a kind."""
    torch.manual_seed(0)
    denoiser = ArchitectureDenoiser(width=16, num_layers=1, num_heads=2, vocabulary=["identity"])
    pipe = PKGenPipeline(denoiser.eval(), PriorDiscreteScheduler())
    pipe.priors = [
        Prior.from_benchmark(SPACE, "cifar10", table=cell_table),
        Prior.from_benchmark(SPACE, "image-classification", table=cell_table),
        Prior.from_benchmark("nas-bench-graph", "cora", table=graph_table),
    ]
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A copy of the bundled checkpoint to damage."""
    return Path(shutil.copytree(hub.CHECKPOINTS / "pkgen-base", tmp_path / "checkpoint"))


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def strings(out: PKGenPipelineOutput) -> list[str]:
    return [str(architecture) for architecture in out.architectures]


# ---------------------------------------------------------------------- what it returns


@pytest.mark.parametrize("weights", ["pipe", "untrained"])
@pytest.mark.parametrize(
    "space, task",
    [(SPACE, "cifar10"), (SPACE, None), (SPACE, "image-classification"), ("nas-bench-graph", "cora")],
)
def test_output(request: pytest.FixtureRequest, weights: str, space: str, task: str | None) -> None:
    pipe = request.getfixturevalue(weights)
    out = pipe(space=space, task=task, num_architectures=16, generator=seeded(0))
    assert len(out.architectures) == len(set(out.architectures)) == len(out.scores) == 16
    assert all(isinstance(a, Architecture) and a.is_valid and a.space.name == space for a in out.architectures)
    assert (out.scores[:-1] >= out.scores[1:]).all()
    assert 0 < out.validity <= 1


@pytest.mark.parametrize("weights", ["pipe", "untrained"])
@pytest.mark.parametrize("name", list_spaces())
def test_every_space_by_task_by_kind_and_by_neither(request: pytest.FixtureRequest, weights: str, name: str) -> None:
    pipe, space = request.getfixturevalue(weights), get_space(name)
    first = next(iter(space.tasks))
    for task in (first, space.tasks[first].kind, None):
        call = {"num_architectures": 3, "num_inference_steps": 3, "distinct": task == first}
        out = pipe(space=name, task=task, generator=seeded(0), **call)
        assert len(out.architectures) == 3 and all(a.is_valid for a in out.architectures)
        assert task != first or len(set(out.architectures)) == 3
        assert out.scores.isfinite().all() and out.prior.space is space
        assert torch.equal(out.prior.distribution() > 0, space.drawn_mask)


def test_kind_of_task_takes_the_consensus(untrained: PKGenPipeline) -> None:
    agreed = untrained.priors[1]
    assert untrained(space=SPACE, task="image-classification", num_architectures=1).prior is agreed
    carried = untrained(space="transnas-bench-101-micro", task="class_scene", num_architectures=1).prior
    assert (carried.evidence, carried.detail) == ("from other spaces", f"from {SPACE}/image-classification")
    with pytest.raises(ValueError, match="'image-classificatio'"):
        untrained(space=SPACE, task="image-classificatio")


def test_generated_beat_random_and_the_order_means_something(pipe: PKGenPipeline, cell_table) -> None:
    out = pipe(space=SPACE, task="cifar10", num_architectures=200, distinct=False, generator=seeded(0))
    scores = cell_table.scores(torch.tensor([a.indices for a in out.architectures]), "cifar10")
    assert scores.mean() > 91.2
    assert scores[0] > 91.45
    uniform = cell_table.values(cell_table.space.sample(200, seeded(0)), "cifar10")
    assert scores.mean() > uniform.mean() + 3


def test_the_prior_matters(pipe: PKGenPipeline, cell_table) -> None:
    def mean(prior: Prior) -> float:
        out = pipe(space=SPACE, prior=prior, num_architectures=200, distinct=False, generator=seeded(0))
        return float(cell_table.values(torch.tensor([a.indices for a in out.architectures]), "cifar10").mean())

    best = mean(Prior.from_benchmark(SPACE, "cifar10", table=cell_table))
    worst = mean(Prior.from_benchmark(SPACE, "cifar10", table=cell_table, selection="worst"))
    assert best > mean(Prior.absent(SPACE, "cifar10")) + 1
    assert best > worst + 5


def test_own_evaluations_lead_to_good_architectures(pipe: PKGenPipeline, cell_table) -> None:
    own = cell_table.space.sample(50, seeded(3))
    scores = cell_table.values(own, "cifar10")
    prior = Prior.from_evaluations(SPACE, own, scores, "cifar10")
    out = pipe(space=SPACE, prior=prior, num_architectures=100, generator=seeded(0))
    generated = cell_table.values(torch.tensor([a.indices for a in out.architectures]), "cifar10")
    assert generated.mean() > scores.quantile(0.9)


def test_distinct_false_returns_samples_as_they_come(pipe: PKGenPipeline) -> None:
    out = pipe(space=SPACE, task="cifar10", num_architectures=300, distinct=False, generator=seeded(0))
    assert len(out.architectures) == 300
    assert len(set(out.architectures)) < 300


def raw_samples(pipe: PKGenPipeline, **call: Any) -> tuple[PKGenPipelineOutput, torch.Tensor]:
    """What the pipeline returns, and the samples as its last step left them."""
    seen = {}

    def watch(pipe: Any, step: int, timestep: int, kwargs: dict[str, Any]) -> dict[str, Any]:
        seen[step] = kwargs["sample"].clone()
        return kwargs

    call = {"space": SPACE, "task": "cifar10", "temperature": 2.0, "generator": seeded(0)} | call
    out = pipe(callback_on_step_end=watch, **call)
    return out, seen[max(seen)]


@pytest.mark.parametrize("weights", ["pipe", "untrained"])
@pytest.mark.parametrize("limits", [{}, {"max_parameters": 4e5, "min_parameters": 1e5}], ids=["all", "within limits"])
def test_a_call_returns_what_rank_scores_highest(
    request: pytest.FixtureRequest, weights: str, limits: dict[str, float]
) -> None:
    """Of all architectures of the space, in the order of `rank`, for any number, generators and settings."""
    pipe, space = request.getfixturevalue(weights), get_space(SPACE)
    rows = space.classes(space.valid_rows)[0]
    parameters = space.parameters(rows, "cifar100")
    if limits:
        rows = rows[(parameters <= limits["max_parameters"]) & (parameters >= limits["min_parameters"])]
    scores = pipe.rank(SPACE, rows, "cifar100")
    best = dict(zip(space.keys(rows).tolist(), scores.tolist(), strict=True))
    expected = scores.sort(descending=True).values
    calls: list[dict[str, Any]] = [
        {"num_architectures": 8, "generator": seeded(0)},
        {"num_architectures": 100, "generator": [seeded(seed) for seed in range(100)], "temperature": 2.0},
        {"num_architectures": 1000, "generator": seeded(2), "guidance_scale": 0},
        {"num_architectures": 8, "generator": None, "num_inference_steps": 3},
    ]
    found = [pipe(SPACE, "cifar100", **call, **limits) for call in calls]
    for call, out in zip(calls, found, strict=True):
        keys = space.keys(torch.tensor([architecture.indices for architecture in out.architectures])).tolist()
        missed = expected[: len(out.scores)] - out.scores  # of the last of a thousand, a few may be
        assert len(out.scores) == call["num_architectures"] and missed.abs().max() < 0.01
        assert missed[:100].abs().max() < 1e-4
        torch.testing.assert_close(out.scores, torch.tensor([best[key] for key in keys]), atol=1e-4, rtol=1e-4)
        assert strings(out)[:8] == strings(found[0])


@pytest.mark.parametrize("name", ["nas-bench-101", "hw-gpt-bench-s", "darts"])
def test_the_first_do_not_depend_on_how_many_nor_on_the_generator(pipe: PKGenPipeline, name: str) -> None:
    """In spaces too large to be listed, too; one slot changed does not lead to a better architecture."""
    few, again, many = (pipe(name, num_architectures=num, generator=seeded(num)) for num in (1, 4, 60))
    assert strings(few)[0] == strings(again)[0] == strings(many)[0]
    torch.testing.assert_close(pipe.rank(name, many.architectures), many.scores)
    space = get_space(name)
    best = torch.tensor([few.architectures[0].indices])
    others = neighbours(space, best).flatten(0, 1)
    assert pipe.rank(name, others[space.is_valid(others)]).max() <= few.scores[0] + 1e-4


def test_samples_as_they_come_are_in_the_order_of_rank(untrained: PKGenPipeline) -> None:
    out, raw = raw_samples(untrained, num_architectures=200, distinct=False)
    assert sorted(a.indices for a in out.architectures) == sorted(map(tuple, raw.tolist()))
    torch.testing.assert_close(out.scores, untrained.rank(SPACE, out.architectures, "cifar10"))
    assert (out.scores.diff() <= 0).all() and len(set(out.architectures)) < 200  # some were drawn more than once


def test_scores_of_isomorphic_architectures_are_equal(pipe: PKGenPipeline) -> None:
    space = get_space(SPACE)
    rows = space.valid_rows
    rows = rows[(space.canonical(rows) != rows).any(1)][:300]
    torch.testing.assert_close(pipe.rank(SPACE, rows), pipe.rank(SPACE, space.canonical(rows)))


def test_many_distinct_are_found_by_flattening(pipe: PKGenPipeline) -> None:
    out = pipe(space=SPACE, task="cifar10", num_architectures=2000, num_inference_steps=2, generator=seeded(0))
    assert len(set(out.architectures)) == 2000


def test_return_dict_false(pipe: PKGenPipeline) -> None:
    architectures, scores, validity, prior = pipe(space=SPACE, num_architectures=2, return_dict=False)
    assert len(architectures) == len(scores) == 2
    assert 0 < validity <= 1
    assert prior.space.name == SPACE


# ---------------------------------------------------------------------- seeds, callback, progress, devices


def test_same_seed_same_architectures(pipe: PKGenPipeline) -> None:
    call = {"space": SPACE, "task": "cifar100", "num_architectures": 20, "distinct": False}
    first, second, other = (strings(pipe(**call, generator=seeded(seed))) for seed in (7, 7, 8))
    assert first == second
    assert first != other


def test_one_generator_for_each_sample(pipe: PKGenPipeline) -> None:
    """Each sample depends on its own generator alone."""

    def generate(seeds: list[int]) -> list[str]:
        generators = [seeded(seed) for seed in seeds]
        call = {"space": SPACE, "prior": Prior.absent(SPACE), "distinct": False, "temperature": 1.0}
        return strings(pipe(num_architectures=len(seeds), generator=generators, **call))

    together = generate([1, 2, 3, 4])
    assert sorted(together) == sorted(generate([1]) + generate([4]) + generate([3]) + generate([2]))


def test_callback_sees_every_step_and_may_change_the_sample(pipe: PKGenPipeline) -> None:
    seen = []

    def watch(pipeline: PKGenPipeline, step: int, timestep: int, kwargs: dict) -> dict:
        seen.append((step, timestep, tuple(kwargs["sample"].shape)))
        return {"sample": torch.full_like(kwargs["sample"], 3)}

    out = pipe(space=SPACE, num_architectures=1, distinct=False, num_inference_steps=4, callback_on_step_end=watch)
    assert [step for step, _, _ in seen] == [0, 1, 2, 3]
    assert seen[0][1] == pipe.scheduler.num_train_timesteps
    assert out.architectures[0].indices == (3,) * 6


def test_progress_bar_and_quiet(pipe: PKGenPipeline, capfd: pytest.CaptureFixture[str]) -> None:
    pipe(space=SPACE, num_architectures=2)
    assert capfd.readouterr().err == ""
    pipe.set_progress_bar_config(disable=False)
    pipe(space=SPACE, num_architectures=2)
    assert "2/2" in capfd.readouterr().err
    pipe.set_progress_bar_config(disable=True)


def test_bfloat16(checkpoint: Path) -> None:
    pipe = PKGenPipeline.from_pretrained(checkpoint, torch_dtype=torch.bfloat16)
    assert pipe.denoiser.dtype == torch.bfloat16
    pipe.set_progress_bar_config(disable=True)
    out = pipe(space=SPACE, task="cifar10", num_architectures=4, generator=seeded(0))
    assert out.scores.dtype == torch.float32
    assert all(a.is_valid for a in out.architectures)


# ---------------------------------------------------------------------- priors of the checkpoint


def test_priors_come_with_the_checkpoint(pipe: PKGenPipeline) -> None:
    names = {(prior.space.name, prior.task) for prior in pipe.priors}
    assert {(SPACE, task) for task in get_space(SPACE).tasks} <= names
    own = pipe.select_prior(get_space(SPACE), "cifar10", None)
    assert own.evidence == "measured"
    assert own.task == "cifar10"


def test_a_task_without_prior_gets_one_carried_over(untrained: PKGenPipeline) -> None:
    pipe = PKGenPipeline(untrained.denoiser, untrained.scheduler)
    cells, agreed, graphs = untrained.priors
    for priors, evidence in [
        ([cells, agreed, graphs], "carried over"),
        ([cells], "carried over"),
        ([graphs], "from other spaces"),
        ([], "absent"),
    ]:
        pipe.priors = priors
        assert pipe.select_prior(get_space(SPACE), "cifar100", None).evidence == evidence


# ---------------------------------------------------------------------- files


@pytest.mark.parametrize("weights", ["pipe", "untrained"])
def test_save_and_load_give_identical_samples(request: pytest.FixtureRequest, weights: str, tmp_path: Path) -> None:
    pipe = request.getfixturevalue(weights)
    pipe.save_pretrained(tmp_path / "saved")
    again = PKGenPipeline.from_pretrained(tmp_path / "saved")
    again.set_progress_bar_config(disable=True)
    call = {"space": SPACE, "task": "cifar10", "num_architectures": 10}
    assert strings(again(**call, generator=seeded(0))) == strings(pipe(**call, generator=seeded(0)))
    suffixes = {p.suffix for p in (tmp_path / "saved").rglob("*") if p.is_file()}
    assert suffixes == {".json", ".safetensors", ".parquet", ".py"}


def test_loading_in_a_fresh_process_gives_the_same(pipe: PKGenPipeline) -> None:
    code = (
        "import torch; from pkgen_hf import PKGenPipeline as P; p = P.from_pretrained('pkgen-base');"
        "p.set_progress_bar_config(disable=True);"
        f"print(*p(space={SPACE!r}, task='cifar10', generator=torch.Generator().manual_seed(0)).architectures)"
    )
    printed = run_fresh(code).stdout
    assert printed.split() == strings(pipe(space=SPACE, task="cifar10", generator=seeded(0)))


def test_checkpoint_is_small_and_the_denoiser_too(pipe: PKGenPipeline) -> None:
    files = [p for p in (hub.CHECKPOINTS / "pkgen-base").rglob("*") if p.is_file()]
    assert sum(p.stat().st_size for p in files) < 8 * 2**20
    assert pipe.denoiser.num_parameters() <= 2_000_000


def test_interrupted_save_leaves_the_old_checkpoint(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = PKGenPipeline.from_pretrained(checkpoint)
    before = {p: p.read_bytes() for p in checkpoint.rglob("*") if p.is_file()}

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "save_priors", killed)
    with pytest.raises(KeyboardInterrupt):
        pipe.save_pretrained(checkpoint)
    with pytest.raises(KeyboardInterrupt):
        pipe.save_pretrained(checkpoint.with_name("new"))
    assert {p: p.read_bytes() for p in checkpoint.rglob("*") if p.is_file()} == before
    assert [p.name for p in checkpoint.parent.iterdir()] == [checkpoint.name]


def test_saving_over_a_checkpoint_keeps_its_other_files(checkpoint: Path) -> None:
    (checkpoint / "README.md").write_text("mine")
    PKGenPipeline.from_pretrained("pkgen-base").save_pretrained(checkpoint)
    assert (checkpoint / "README.md").read_text() == "mine"
    with pytest.raises(ValueError, match="is a file"):
        PKGenPipeline.from_pretrained("pkgen-base").save_pretrained(checkpoint / "README.md")


# ---------------------------------------------------------------------- bad input, one clear error each


@pytest.mark.parametrize(
    "call, message",
    [
        ({"space": "nas-bench-202"}, "unknown search space: 'nas-bench-202'. Did you mean 'nas-bench-201'"),
        ({"task": "cifar1"}, "unknown task of nas-bench-201: 'cifar1'. Did you mean 'cifar10'"),
        ({"num_architectures": 0}, "whole number from 1, got 0"),
        ({"num_architectures": -3}, "whole number from 1, got -3"),
        ({"num_architectures": 2.5}, "whole number from 1, got 2.5"),
        ({"num_architectures": 20_000}, "holds 13,820"),
        ({"num_inference_steps": 0}, "num_inference_steps must be 1 to 1000, got 0"),
        ({"temperature": 0.0}, "temperature"),
        ({"temperature": float("nan")}, "temperature"),
        ({"guidance_scale": -1.0}, "guidance_scale"),
        ({"generator": [torch.Generator()]}, "1 generators for 8 architectures"),
        ({"callback_on_step_end_tensor_inputs": ["samples"]}, "Did you mean 'sample'"),
        ({"prior": Prior.absent("nas-bench-graph")}, "prior is of nas-bench-graph, not of nas-bench-201"),
    ],
)
def test_bad_arguments(pipe: PKGenPipeline, call: dict, message: str) -> None:
    with pytest.raises(ValueError) as error:
        pipe(**{"space": SPACE, **call})
    assert message in str(error.value)


def test_unknown_checkpoint() -> None:
    with pytest.raises(FileNotFoundError, match="Did you mean 'pkgen-base'"):
        PKGenPipeline.from_pretrained("pkgen-bas")
    with pytest.raises(FileNotFoundError, match="no/such/folder"):
        PKGenPipeline.from_pretrained("no/such/folder")


def test_hub_id_that_cannot_be_had(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nobody/nothing"):
        PKGenPipeline.from_pretrained("nobody/nothing", cache_dir=tmp_path, local_files_only=True)


def test_folder_that_is_no_checkpoint(tmp_path: Path, checkpoint: Path) -> None:
    with pytest.raises(ValueError, match="no model_index.json"):
        PKGenPipeline.from_pretrained(tmp_path)
    (checkpoint / "model_index.json").write_text(json.dumps({"_class_name": "StableDiffusionPipeline"}))
    with pytest.raises(ValueError, match="StableDiffusionPipeline"):
        PKGenPipeline.from_pretrained(checkpoint)
    (checkpoint / "model_index.json").write_text("{")
    with pytest.raises(ValueError, match="not readable JSON"):
        PKGenPipeline.from_pretrained(checkpoint)


def test_truncated_weights(checkpoint: Path) -> None:
    weights = checkpoint / "denoiser" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ValueError, match="truncated or not a safetensors file"):
        PKGenPipeline.from_pretrained(checkpoint)
    weights.unlink()
    with pytest.raises(ValueError, match="is missing"):
        PKGenPipeline.from_pretrained(checkpoint)


def test_config_without_a_key_or_of_another_class(checkpoint: Path) -> None:
    path = checkpoint / "denoiser" / "config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps({key: value for key, value in config.items() if key != "width"}))
    with pytest.raises(ValueError, match="lacks width"):
        PKGenPipeline.from_pretrained(checkpoint)
    path.write_text(json.dumps({**config, "_class_name": "UNet2DModel"}))
    with pytest.raises(ValueError, match="UNet2DModel"):
        PKGenPipeline.from_pretrained(checkpoint)
    path.write_text(json.dumps({**config, "width": 32}))
    with pytest.raises(ValueError, match="does not fit its config"):
        PKGenPipeline.from_pretrained(checkpoint)


def test_weights_that_are_not_numbers(checkpoint: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = checkpoint / "denoiser" / "diffusion_pytorch_model.safetensors"
    state = load_file(weights)
    state["norm.weight"][0] = torch.nan
    save_file(state, weights, metadata={"format": "pt"})
    with pytest.raises(ValueError, match="not finite, in norm.weight"):
        PKGenPipeline.from_pretrained(checkpoint)


def test_damaged_priors(checkpoint: Path) -> None:
    file = next((checkpoint / "priors").glob("*.parquet"))
    file.write_bytes(file.read_bytes()[:50])
    with pytest.raises(ValueError, match="not a readable Parquet file"):
        PKGenPipeline.from_pretrained(checkpoint)


def test_logit_corrections_out_of_distribution_are_withheld(pipe: PKGenPipeline) -> None:
    """The similarity to training spaces is 1 for one of them; where it is 0, the logits are those of the prior."""
    assert pipe.similarity_to_training(get_space(SPACE)) == pipe.familiarity(SPACE) == 1
    slots = [Slot(f"bias {i}", "gate", tuple(Choice(f"{w}", "size", level=w) for w in (0.0, 1.0)), (i,), i + 1)
             for i in range(3)]  # fmt: skip
    strange = SearchSpace("strange", slots, {"x": Task("other", chance_score=0.0, num_classes=2)}, null_choice="0.0")
    assert pipe.similarity_to_training(strange) < 0.2
    # It compares descriptions of slots and choices: these of vision transformers are those of language models.
    without = PKGenPipeline(
        pipe.denoiser, pipe.scheduler, [p for p in pipe.priors if not p.space.name.startswith("hw-gpt-bench")]
    )
    for name in ("autoformer-tiny", "autoformer-small", "autoformer-base"):
        assert get_space(name) not in {prior.space for prior in pipe.priors}
        assert pipe.similarity_to_training(name) > 0.99 and without.similarity_to_training(name) < 0.7
    prior = Prior.absent(strange)
    condition = pipe.denoiser.make_condition(strange, prior, similarity=0.0)
    logits = pipe.denoiser(strange.sample(4, torch.Generator().manual_seed(0)), 500.0, condition)
    assert torch.equal(logits, torch.zeros_like(logits))
