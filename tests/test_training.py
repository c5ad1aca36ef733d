"""Episodes and the training loop, on tiny real runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from pkgen_hf import PKGenPipeline, PriorDiscreteScheduler, ScoreTable
from pkgen_hf.episodes import GROUP, TARGETS, EpisodeDataset, goals_of, labels_read, load_tables, make_episodes
from pkgen_hf.training import RECORD, TrainingArguments, train

ROOT = Path(__file__).parent.parent
SMALL = {
    "priors_per_task": 4,
    "shifted_tasks": 2,
    "width": 16,
    "num_layers": 1,
    "num_heads": 2,
    "train_batch_size": 16,
}


@pytest.fixture(scope="module")
def tables() -> list[ScoreTable]:
    return load_tables({}, ["nas-bench-graph"])


@pytest.fixture(scope="module")
def dataset(tables: list[ScoreTable]) -> EpisodeDataset:
    return EpisodeDataset(make_episodes(tables, 8, 2, seed=0), PriorDiscreteScheduler(), 64, 0.5, seed=0, length=10)


# ---------------------------------------------------------------------- what is read


def test_excluded_labels_reach_nothing() -> None:
    exclude = ["nas-bench-graph", "nas-bench-201/cifar100", "nas-bench-201/ImageNet16-120"]
    (table,) = load_tables({}, exclude)
    assert labels_read([table]) == {"nas-bench-201/cifar10": 15625}
    assert not [name for name in table.column_names if "cifar100" in name or "ImageNet" in name]
    with pytest.raises(ValueError, match="has no validation scores of cifar100"):
        table.column("cifar100")


@pytest.mark.parametrize(
    "exclude, message",
    [
        (["nas-bench-21"], "Did you mean 'nas-bench-201'"),
        (["nas-bench-201/cifar"], "Did you mean 'cifar10'"),
        (["nas-bench-201", "nas-bench-graph"], "nothing is left"),
    ],
)
def test_bad_exclude(exclude: list[str], message: str) -> None:
    with pytest.raises(ValueError) as error:
        load_tables({}, exclude)
    assert message in str(error.value)


# ---------------------------------------------------------------------- episodes


def test_goals(tables: list[ScoreTable]) -> None:
    goals = goals_of(tables[0], 4, torch.Generator().manual_seed(0))
    assert [goal.shifted for goal in goals] == [False] * 3 + [True] * 4
    for goal in goals:
        ranked = goal.ranked()
        assert (goal.scores[ranked][:-1] >= goal.scores[ranked][1:]).all()
        quality = goal.quality()
        assert quality[~quality.isnan()].max() == 1
        assert quality[~quality.isnan()].min() >= 0
        better = goal.scores[ranked][:-1] > goal.scores[ranked][1:]
        assert (quality[ranked][:-1] > quality[ranked][1:])[better].all()
    real, shifted = goals[0], goals[3]
    assert not torch.equal(real.ranked()[:TARGETS], shifted.ranked()[:TARGETS])


def test_a_batch_follows_from_seed_and_number_alone(dataset: EpisodeDataset) -> None:
    first, again, other = dataset[3], dataset[3], dataset[4]
    assert all(torch.equal(first[key].nan_to_num(), again[key].nan_to_num()) for key in first)
    assert not torch.equal(first["noisy"], other["noisy"])


def test_batches_hold_what_they_say(dataset: EpisodeDataset, tables: list[ScoreTable]) -> None:
    space = tables[0].space
    batch = dataset[0]
    assert batch["clean"].shape == batch["noisy"].shape == batch["ranked"].shape == (64, space.num_slots)
    assert batch["prior_features"].shape[:3] == (64 // GROUP, space.num_slots, space.num_choices)
    assert space.check(batch["clean"]) is not None
    assert space.check(batch["noisy"]) is not None
    dropped = (batch["prior_features"] == 0).flatten(1).all(1)
    assert 0 < dropped.sum() < len(dropped)
    # nothing is promised where the prior is dropped, so nothing is ranked there
    assert batch["quality"][dropped.repeat_interleave(GROUP)].isnan().all()
    assert (~batch["quality"][~dropped.repeat_interleave(GROUP)].isnan()).any()


def test_little_noise_keeps_and_much_noise_changes(dataset: EpisodeDataset) -> None:
    batches = [dataset[i] for i in range(10)]
    same = torch.cat([(b["clean"] == b["noisy"]).float().mean(1) for b in batches])
    times = torch.cat([b["timesteps"] for b in batches])
    assert same[times < 100].mean() > 0.95
    assert same[times > 900].mean() < same[times < 500].mean()


def test_batch_size_must_be_a_multiple(dataset: EpisodeDataset) -> None:
    with pytest.raises(ValueError, match=f"multiple of {GROUP}, got 10"):
        EpisodeDataset(dataset.episodes, dataset.scheduler, 10, 0.1, 0, 1)


# ---------------------------------------------------------------------- the loop


def run(folder: Path, tables: list[ScoreTable], **changes: object) -> list[dict[str, float]]:
    losses: list[dict[str, float]] = []
    arguments = TrainingArguments(output_dir=str(folder), cpu=True, quiet=True, **{**SMALL, **changes})  # type: ignore[arg-type]
    train(arguments, tables, lambda step, values: losses.append({"step": step, **values}))
    return losses


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "pipeline" / "denoiser" / "diffusion_pytorch_model.safetensors")


def test_training_lowers_the_losses_and_saves_a_pipeline(tmp_path: Path, tables: list[ScoreTable]) -> None:
    losses = run(tmp_path, tables, max_train_steps=120, learning_rate=1e-2, lr_warmup_steps=5)

    def mean(part: list[dict[str, float]], name: str) -> float:
        return sum(values[name] for values in part) / len(part)

    for name in ("cross_entropy", "ranking"):
        assert mean(losses[-20:], name) < 0.9 * mean(losses[:10], name)
    pipe = PKGenPipeline.from_pretrained(tmp_path / "pipeline")
    pipe.set_progress_bar_config(disable=True)
    assert len(pipe(space="nas-bench-201", task="cifar10", num_architectures=3).architectures) == 3
    record = json.loads((tmp_path / "pipeline" / RECORD).read_text())
    assert record["labels_read"] == labels_read(tables)
    assert record["parameters"] == pipe.denoiser.num_parameters()


def test_resumes_exactly(tmp_path: Path, tables: list[ScoreTable]) -> None:
    """Stopped after 7 of 12 steps and resumed from step 6: the same losses and weights as without a stop."""
    whole = run(tmp_path / "whole", tables, max_train_steps=12, gradient_accumulation_steps=2)

    class Stop(Exception):
        pass

    def stop(step: int, values: dict[str, float]) -> None:
        if step == 7:
            raise Stop

    arguments = TrainingArguments(
        output_dir=str(tmp_path / "stopped"),
        cpu=True,
        quiet=True,
        max_train_steps=12,
        gradient_accumulation_steps=2,
        checkpointing_steps=2,
        **SMALL,  # type: ignore[arg-type]
    )
    with pytest.raises(Stop):
        train(arguments, tables, stop)
    kept = sorted(path.name for path in (tmp_path / "stopped").glob("checkpoint-*"))
    assert kept == ["checkpoint-4", "checkpoint-6"]  # they rotate
    rest = run(
        tmp_path / "stopped",
        tables,
        max_train_steps=12,
        gradient_accumulation_steps=2,
        resume_from_checkpoint="latest",
    )
    assert rest == whole[6:]
    ours, theirs = weights(tmp_path / "stopped"), weights(tmp_path / "whole")
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


def test_unknown_checkpoint_to_resume(tmp_path: Path, tables: list[ScoreTable]) -> None:
    with pytest.raises(FileNotFoundError, match="checkpoint-9"):
        run(tmp_path, tables, max_train_steps=1, resume_from_checkpoint="checkpoint-9")


# ---------------------------------------------------------------------- the recipe, as users start it


def launch(folder: Path, *extra: str, processes: int = 1) -> Path:
    several = ["--multi_gpu", "--num_processes", str(processes)] if processes > 1 else ["--num_processes", "1"]
    options = {**SMALL, "max_train_steps": 4, "output_dir": folder, "exclude": "nas-bench-graph", "logging_steps": 1}
    command = [sys.executable, "-m", "accelerate.commands.launch", *several, "recipes/train.py", "--cpu"]
    command += [part for name, value in options.items() for part in (f"--{name}", str(value))]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([*command, *extra], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "nas-bench-201/cifar10" in done.stdout
    assert "excluded: nas-bench-graph" in done.stdout
    return folder


def test_two_processes_equal_one_with_twice_the_accumulation(tmp_path: Path) -> None:
    two = weights(launch(tmp_path / "two", processes=2))
    one = weights(launch(tmp_path / "one", "--gradient_accumulation_steps", "2", "--report_to", "tensorboard"))
    assert all(torch.allclose(one[key], two[key], atol=1e-4) for key in one)
    record = json.loads((tmp_path / "two" / "pipeline" / RECORD).read_text())
    assert record["processes"] == 2
    assert list((tmp_path / "one").rglob("events.out.tfevents.*"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="with a GPU the launcher does join the processes")
def test_processes_that_do_not_know_of_each_other_are_refused(tmp_path: Path) -> None:
    """Two processes without --cpu on a machine without GPUs would both be the first and overwrite each other."""
    command = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]
    command += ["recipes/train.py", "--exclude", "nas-bench-graph", "--output_dir", str(tmp_path)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode != 0
    assert "error: the launcher started 2 processes but Accelerate sees 1" in done.stderr
    assert not (tmp_path / "pipeline").exists()


def test_the_recipe_reports_mistakes_in_one_line(tmp_path: Path) -> None:
    command = [sys.executable, "recipes/train.py", "--exclude", "nas-bench-21", "--output_dir", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert "Did you mean 'nas-bench-201'" in done.stderr
    assert "Traceback" not in done.stderr
