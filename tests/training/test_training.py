"""Episodes and the training loop, on tiny real runs."""

from __future__ import annotations

import json
import re
import resource
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from processes import environments_of_launcher, on_two_processes, run_script
from safetensors.torch import load_file

from pkgen_hf import PKGenPipeline, PriorDiscreteScheduler, ScoreTable
from pkgen_hf.modeling_denoiser import ArchitectureDenoiser
from pkgen_hf.priors.data import EVIDENCE, FREQUENCY, LOG_FREQUENCY, PRIOR_FEATURES
from pkgen_hf.priors.frequencies import decode_logits
from pkgen_hf.priors.from_evaluations import mean_of_each
from pkgen_hf.priors.prior import Prior
from pkgen_hf.spaces import TASK_TRAITS
from pkgen_hf.training.arguments import RECORD, TrainingArguments
from pkgen_hf.training.batches import GROUP, EpisodeDataset
from pkgen_hf.training.episodes import TARGETS, SpaceEpisodes, make_episodes, priors_of
from pkgen_hf.training.loop import train
from pkgen_hf.training.losses import LEVEL_WEIGHT, training_loss
from pkgen_hf.training.tasks import labels_read, load_tables, training_tasks

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


@pytest.fixture(scope="module")
def episodes(cell_table: ScoreTable, graph_table: ScoreTable) -> list[SpaceEpisodes]:
    """Of two spaces, so that some priors come from the other one."""
    return make_episodes([cell_table, graph_table], 16, 1, seed=0)


def evidence_of(features: torch.Tensor, mask: torch.Tensor) -> list[str]:
    """The evidence of each prior, from its features."""
    columns = features[:, mask][:, 0, LOG_FREQUENCY + 1 :]
    return [EVIDENCE[int(row.argmax())] if row.any() else "absent" for row in columns]


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


def test_training_tasks(tables: list[ScoreTable]) -> None:
    """Each task, the consensus of those of a kind, and perturbed single tasks."""
    tasks = training_tasks(tables[0], 4, torch.Generator().manual_seed(0))
    assert [task.is_perturbed for task in tasks] == [False] * 4 + [True] * 4
    assert [task.is_consensus for task in tasks] == [False] * 3 + [True] + [False] * 4
    assert [task.name for task in tasks[:4]] == [*tables[0].tasks, "image-classification"]
    for task in tasks:
        ranked = task.ranked()
        keys = task.table.space.keys(task.table.indices[ranked])
        assert len(keys.unique()) == len(keys)
        known = ~task.scores.isnan() & task.table.space.is_valid(task.table.indices)
        rows, means = mean_of_each(task.table.space, task.table.indices[known], task.scores[known])
        assert torch.equal(task.table.space.keys(rows), keys.sort().values)
        best_first = means[torch.searchsorted(task.table.space.keys(rows), keys)]
        assert (best_first[:-1] >= best_first[1:]).all()
    real, perturbed = tasks[0], tasks[4]
    assert not torch.equal(real.ranked()[:TARGETS], perturbed.ranked()[:TARGETS])


def test_consensus_task_is_the_consensus(tables: list[ScoreTable]) -> None:
    table = tables[0]
    agreed = training_tasks(table, 0, torch.Generator().manual_seed(0))[3]
    assert torch.equal(agreed.scores, table.consensus(table.tasks))
    prior = agreed.prior(agreed.ranked()[:20])
    expected = Prior.from_benchmark(table.space, "image-classification", 20, table)
    assert prior.task == expected.task == "image-classification"
    torch.testing.assert_close(prior.features(), expected.features())


def test_priors_of_a_table_are_those_of_its_tasks_and_kinds(cell_table: ScoreTable, graph_table: ScoreTable) -> None:
    assert [prior.task for prior in priors_of(cell_table)] == [*cell_table.tasks, "image-classification"]
    kinds = [prior.task for prior in priors_of(graph_table)]
    assert kinds == [*graph_table.tasks, "node-classification"]  # a kind of one task has no consensus


def test_priors_come_from_other_spaces_too(episodes: list[SpaceEpisodes]) -> None:
    for part in episodes:
        space = part.table.space
        number = len(part.features)
        assert part.features.shape == (number, space.num_slots, space.num_choices, PRIOR_FEATURES)
        assert part.features.isfinite().all()
        torch.testing.assert_close(part.stationary.sum(-1), torch.ones(number, space.num_slots))
        assert part.traits.shape == (number, len(TASK_TRAITS))
        found = evidence_of(part.features, space.choice_mask)
        assert set(found) >= {"measured", "carried over", "from other spaces"}
        tasks = training_tasks(part.table, 1, torch.Generator().manual_seed(0))
        names = [task.name for task in tasks]
        informed = [task for task in tasks if task.is_consensus or space.task(task.name).kind not in names]
        best = {tuple(task.ranked()[:TARGETS].tolist()) for task in informed}
        for evidence, targets in zip(found, part.targets.tolist(), strict=True):
            if evidence == "from other spaces":  # they inform the consensus where there is one
                assert tuple(targets) in best
        assert float(part.weights.sum()) == pytest.approx(1, abs=1e-5) and (part.weights > 0).all()


def test_masked_choices_leave_no_trace(episodes: list[SpaceEpisodes]) -> None:
    """Of such a choice the prior says what it says of one it has never met; contributions of the others stay."""
    dataset = EpisodeDataset(episodes, PriorDiscreteScheduler(), 64, 0.0, seed=0, length=200)
    seen = 0
    for number in range(60):
        batch = dataset[number]
        part = episodes[int(batch["space"])]
        space, masked = part.table.space, batch["masked"]
        assert masked.shape == space.choice_mask.shape and not masked[~space.choice_mask].any()
        if not masked.any():
            continue
        seen += 1
        identities = {space.identities[s][k] for s, k in masked.nonzero().tolist()}
        assert len(identities) == 1  # the same operation wherever it stands
        kinds = {space.slots[s].kind for s in masked.any(1).nonzero()[:, 0].tolist()}
        assert "operation" in kinds
        features = batch["prior_features"][:, masked]  # (priors, masked choices, features)
        assert not features[..., :FREQUENCY].any()
        chance = (1 / space.sizes.float())[:, None].expand_as(masked)[masked].expand(len(features), -1)
        torch.testing.assert_close(features[..., FREQUENCY], chance)
        torch.testing.assert_close(features[..., LOG_FREQUENCY], (chance + 0.02).log() / 4)
        others = batch["prior_features"][:, space.choice_mask & ~masked][..., :FREQUENCY]
        known = part.features[:, space.choice_mask & ~masked][..., :FREQUENCY]
        assert all((row == known).flatten(1).all(1).any() for row in others)
    assert seen > 10


def test_a_batch_follows_from_seed_and_number_alone(dataset: EpisodeDataset) -> None:
    first, again, other = dataset[3], dataset[3], dataset[4]
    assert all(torch.equal(first[key].nan_to_num(), again[key].nan_to_num()) for key in first)
    assert not torch.equal(first["noisy"], other["noisy"])


def test_batches_hold_what_they_say(dataset: EpisodeDataset, tables: list[ScoreTable]) -> None:
    space = tables[0].space
    batch = dataset[0]
    assert batch["clean"].shape == batch["noisy"].shape == (64, space.num_slots)
    assert batch["prior_features"].shape[:3] == (64 // GROUP, space.num_slots, space.num_choices)
    assert space.check(batch["clean"]) is not None
    assert space.check(batch["noisy"]) is not None
    dropped = (batch["prior_features"] == 0).flatten(1).all(1)
    assert 0 < dropped.sum() < len(dropped)


def test_targets_are_good_under_a_prior_and_any_without(dataset: EpisodeDataset, tables: list[ScoreTable]) -> None:
    """Their mean rank, 0 to 1, by the consensus of the tasks."""
    ranks = {True: [], False: []}
    table = tables[0]
    ranked = table.consensus(table.tasks).argsort(descending=True).argsort() / len(table.indices)
    for batch in (dataset[i] for i in range(10)):
        dropped = (batch["prior_features"] == 0).flatten(1).all(1).repeat_interleave(GROUP)
        of_targets = ranked[table.rows(batch["clean"])]
        for is_dropped in ranks:
            ranks[is_dropped].append(of_targets[dropped == is_dropped])
    good, anything = torch.cat(ranks[False]), torch.cat(ranks[True])
    assert good.median() < 0.02 and good.mean() < 0.2  # those of bands of any quality among them
    assert anything.mean() == pytest.approx(0.5, abs=0.05)


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


def test_loss_is_the_cross_entropy_and_the_level_of_corrections(
    tables: list[ScoreTable], dataset: EpisodeDataset
) -> None:
    """Of the logits with the likelihood of the noise added, spelled out."""
    torch.manual_seed(0)
    space, batch = tables[0].space, dataset[1]
    denoiser = ArchitectureDenoiser(width=16, num_layers=1, num_heads=2)
    with torch.no_grad():
        for parameter in denoiser.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape))
    condition = replace(
        denoiser.make_condition(space, Prior.absent(space)),
        prior_features=batch["prior_features"],
        task_traits=batch["task_traits"],
    )
    logits = denoiser(batch["noisy"], batch["timesteps"], condition)
    loss, parts = training_loss(denoiser, condition, batch)
    assert batch["log_likelihood_ratio"].shape == batch["noisy"].shape and (batch["log_likelihood_ratio"] >= 0).all()
    clean = logits.clone()
    for row, slot in torch.cartesian_prod(*map(torch.arange, batch["noisy"].shape)).tolist():
        clean[row, slot, batch["noisy"][row, slot]] += batch["log_likelihood_ratio"][row, slot]
    expected = torch.nn.functional.cross_entropy(clean.flatten(0, 1), batch["clean"].flatten())
    torch.testing.assert_close(parts["cross_entropy"], expected)
    prior = decode_logits(batch["prior_features"][..., LOG_FREQUENCY]).repeat_interleave(GROUP, 0)
    corrections = torch.where(space.choice_mask, logits - prior, 0).sum(-1) / space.sizes
    torch.testing.assert_close(parts["level"], corrections.square().mean())
    torch.testing.assert_close(loss, parts["cross_entropy"] + LEVEL_WEIGHT * parts["level"])


def run(folder: Path, tables: list[ScoreTable], **changes: object) -> list[dict[str, float]]:
    losses: list[dict[str, float]] = []
    arguments = TrainingArguments(output_dir=str(folder), cpu=True, quiet=True, **{**SMALL, **changes})  # type: ignore[arg-type]
    train(arguments, tables, lambda step, values: losses.append({"step": step, **values}))
    return losses


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "pipeline" / "denoiser" / "diffusion_pytorch_model.safetensors")


def test_training_lowers_the_losses_and_saves_a_pipeline(
    tmp_path: Path, tables: list[ScoreTable], dataset: EpisodeDataset
) -> None:
    run(tmp_path, tables, max_train_steps=480, learning_rate=1e-2, lr_warmup_steps=5)

    @torch.no_grad()
    def losses(denoiser: ArchitectureDenoiser) -> dict[str, float]:
        """On the same batches of other episodes."""
        static, means = denoiser.make_condition(tables[0].space, Prior.absent(tables[0].space)), {}
        for batch in (dataset[i] for i in range(10)):
            here = replace(static, prior_features=batch["prior_features"], task_traits=batch["task_traits"])
            for name, value in training_loss(denoiser, here, batch)[1].items():
                means[name] = means.get(name, 0.0) + float(value) / 10
        return means

    pipe = PKGenPipeline.from_pretrained(tmp_path / "pipeline")
    torch.manual_seed(0)
    before, after = losses(ArchitectureDenoiser(width=16, num_layers=1, num_heads=2)), losses(pipe.denoiser)
    assert after["cross_entropy"] < 0.97 * before["cross_entropy"]  # which the prior and the noise give at first
    pipe.set_progress_bar_config(disable=True)
    assert len(pipe(space="nas-bench-201", task="cifar10", num_architectures=3).architectures) == 3
    record = json.loads((tmp_path / "pipeline" / RECORD).read_text())
    assert record["labels_read"] == labels_read(tables)
    assert record["parameters"] == pipe.denoiser.num_parameters()


def test_features_that_no_space_has_change_nothing(tmp_path: Path, tables: list[ScoreTable]) -> None:
    run(tmp_path, tables, max_train_steps=3)
    seen = (tables[0].space.choice_features != 0).flatten(0, 1).any(0)
    weight = weights(tmp_path)["choice.weight"]
    assert not seen.all() and (weight[:, ~seen] == 0).all() and (weight[:, seen] != 0).any(0).all()


def test_workers_change_nothing(tmp_path: Path, tables: list[ScoreTable]) -> None:
    runs = [run(tmp_path / str(n), tables, max_train_steps=6, dataloader_num_workers=n) for n in (0, 2)]
    assert runs[0] == runs[1]
    ours, theirs = weights(tmp_path / "0"), weights(tmp_path / "2")
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


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


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory, tables: list[ScoreTable]) -> Path:
    """A training of 4 steps with a checkpoint after 2, 3 and 4."""
    folder = tmp_path_factory.mktemp("begun")
    run(folder, tables, max_train_steps=4, checkpointing_steps=1, checkpoints_total_limit=3)
    return folder


@pytest.fixture
def stopped(begun: Path, tmp_path: Path) -> Path:
    """A copy of it that may be changed."""
    return Path(shutil.copytree(begun, tmp_path / "stopped"))


def resumed(folder: Path, tables: list[ScoreTable], wanted: object = "latest", **changes: object) -> list[int]:
    """The steps that a resumed training does."""
    options = {"max_train_steps": 4, "resume_from_checkpoint": wanted, **changes}
    return [int(values["step"]) for values in run(folder, tables, **options)]


def test_unknown_checkpoint_to_resume(stopped: Path, tables: list[ScoreTable]) -> None:
    with pytest.raises(FileNotFoundError, match="'checkpoint-9'.* Allowed: checkpoint-2, checkpoint-3, checkpoint-4"):
        resumed(stopped, tables, "checkpoint-9")
    assert resumed(stopped / "new", tables) == [1, 2, 3, 4]  # there is no latest yet
    assert resumed(stopped, tables, "checkpoint-3") == [4]
    assert resumed(stopped / "other", tables, str(stopped / "checkpoint-2")) == [3, 4]


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"seed": 1}, "with seed 0, not 1;"),
        ({"width": 32}, "with width 16, not 32;"),
        ({"num_layers": 2}, "with num_layers 1, not 2;"),
        ({"train_batch_size": 32}, "with train_batch_size 16, not 32;"),
        ({"gradient_accumulation_steps": 2}, "with batches in a step 1, not 2;"),
        ({"learning_rate": 0.01}, "with learning_rate 0.002, not 0.01;"),
        ({"use_ema": False}, "with use_ema True, not False;"),
        ({"shifted_tasks": 3}, "with shifted_tasks 2, not 3;"),
    ],
)
def test_a_checkpoint_of_other_settings_is_not_resumed(
    stopped: Path, tables: list[ScoreTable], changes: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(f"{stopped}/checkpoint-4 is of a training {message}")):
        resumed(stopped, tables, **changes)


def test_a_checkpoint_of_other_labels_is_not_resumed(stopped: Path) -> None:
    fewer = load_tables({}, ["nas-bench-graph", "nas-bench-201/cifar100"])
    with pytest.raises(ValueError, match="with labels of nas-bench-201/cifar100 15625, not None;"):
        resumed(stopped, fewer)


def test_a_training_may_go_on_for_longer_and_elsewhere(stopped: Path, tables: list[ScoreTable]) -> None:
    changes = {"logging_steps": 1, "checkpoints_total_limit": 1, "sources": {"nas-bench-201": "elsewhere"}}
    assert resumed(stopped, tables, max_train_steps=6, **changes) == [5, 6]
    with pytest.raises(ValueError, match="max_train_steps is 3, but the checkpoint is of step 4"):
        resumed(stopped, tables, max_train_steps=3)


def test_recorded_seconds_are_those_of_all_parts(stopped: Path, tables: list[ScoreTable]) -> None:
    path = stopped / "checkpoint-3" / "progress.json"
    progress = json.loads(path.read_text())
    recorded = json.loads((stopped / "pipeline" / RECORD).read_text())["seconds"]
    assert 0 < progress["seconds"] <= recorded + 0.1
    path.write_text(json.dumps({**progress, "seconds": 5000.0}))
    resumed(stopped, tables, "checkpoint-3", checkpointing_steps=1)
    assert json.loads((stopped / "checkpoint-4" / "progress.json").read_text())["seconds"] > 5000
    assert json.loads((stopped / "pipeline" / RECORD).read_text())["seconds"] > 5000


DAMAGES = {
    "half written": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "empty": lambda path: path.write_bytes(b""),
    "missing": lambda path: path.unlink(),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize(
    "file",
    ["model.safetensors", "optimizer.bin", "custom_checkpoint_0.pkl", "custom_checkpoint_1.pkl", "progress.json"],
)
def test_a_damaged_checkpoint_is_named_with_the_one_before_it(
    stopped: Path, tables: list[ScoreTable], file: str, damage: str
) -> None:
    DAMAGES[damage](stopped / "checkpoint-4" / file)
    with pytest.raises(ValueError) as refused:
        resumed(stopped, tables)
    message = str(refused.value)
    assert file in message and f"{stopped}/checkpoint-4" in message and "\n" not in message
    assert message.endswith("; the checkpoint before it is whole: --resume_from_checkpoint checkpoint-3")


def test_damage_of_another_form(stopped: Path, tables: list[ScoreTable]) -> None:
    (stopped / "checkpoint-2" / "progress.json").write_text('{"step": 2, "seconds": null, "settings": {}}')
    with pytest.raises(ValueError, match="checkpoint-2/progress.json has an invalid seconds: None; there is no whole"):
        resumed(stopped, tables, "checkpoint-2")
    shutil.copytree(stopped / "checkpoint-3", stopped / "checkpoint-3-copy")  # no checkpoint of the training
    (stopped / "checkpoint-9").mkdir()
    with pytest.raises(ValueError, match="is missing in .*checkpoint-9; .*resume_from_checkpoint checkpoint-4"):
        resumed(stopped, tables)


def test_what_a_killed_write_left_is_no_part_of_a_checkpoint(stopped: Path, tables: list[ScoreTable]) -> None:
    shutil.rmtree(stopped / "checkpoint-4")
    left = stopped / ".checkpoint-4"
    left.mkdir()
    (left / "optimizer_1.bin").write_bytes(b"half")
    assert resumed(stopped, tables, checkpointing_steps=1) == [4]
    whole = {path.name for path in (stopped / "checkpoint-3").iterdir()}
    assert {path.name for path in (stopped / "checkpoint-4").iterdir()} == whole and not left.exists()


def test_a_full_disk_leaves_no_half_checkpoint(tmp_path: Path, tables: list[ScoreTable]) -> None:
    """Files may not grow beyond 20 kB, less than the weights."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        with pytest.raises(OSError, match=r"cannot write .*/checkpoint-1: "):
            run(tmp_path, tables, max_train_steps=2, checkpointing_steps=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not list(tmp_path.iterdir())


# ---------------------------------------------------------------------- the recipe, as users start it


def options_of(folder: Path) -> list[str]:
    options = {**SMALL, "max_train_steps": 4, "output_dir": folder, "exclude": "nas-bench-graph", "logging_steps": 1}
    return [part for name, value in options.items() for part in (f"--{name}", str(value))]


def recipe(*options: str) -> None:
    """The recipe as one process, which is this one."""
    run_script("train.py", list(options))


def test_two_processes_equal_one_with_twice_the_accumulation(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The two have what `accelerate launch` sets."""
    environments = environments_of_launcher(tmp_path)
    assert [each["RANK"] for each in environments] == ["0", "1"]
    train = partial(run_script, "train.py")
    by_two = on_two_processes(train, ["--cpu", *options_of(tmp_path / "two")], environments)
    more = ["--gradient_accumulation_steps", "2", "--report_to", "tensorboard"]
    recipe("--cpu", *options_of(tmp_path / "one"), *more)
    for printed in (by_two, capsys.readouterr().out):
        assert "nas-bench-201/cifar10" in printed and "nas-bench-graph/cora" not in printed
        assert printed.count("labels read") == printed.count("excluded: nas-bench-graph") == 1
    two, one = weights(tmp_path / "two"), weights(tmp_path / "one")
    assert all(torch.allclose(one[key], two[key], atol=1e-4) for key in one)
    record = json.loads((tmp_path / "two" / "pipeline" / RECORD).read_text())
    assert record["processes"] == 2
    assert list((tmp_path / "one").rglob("events.out.tfevents.*"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="with a GPU the launcher does join the processes")
def test_processes_that_do_not_know_of_each_other_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two processes without --cpu on a machine without GPUs would both be the first and overwrite each other."""
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(SystemExit, match="error: the launcher started 2 processes but Accelerate sees 1"):
        recipe("--exclude", "nas-bench-graph", "--output_dir", str(tmp_path))
    assert not (tmp_path / "pipeline").exists()


def test_the_recipe_reports_a_damaged_checkpoint_in_one_line(
    stopped: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (stopped / "checkpoint-4" / "model.safetensors").write_bytes(b"")
    options = [*options_of(stopped), "--cpu", "--resume_from_checkpoint", "latest"]
    with pytest.raises(SystemExit, match="^error: .*checkpoint-4/model.*resume_from_checkpoint checkpoint-3$"):
        recipe(*options)
    recipe(*options[:-1], "checkpoint-3")
    assert "saved in" in capsys.readouterr().out


def test_the_recipe_reports_mistakes_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="error: .*Did you mean 'nas-bench-201'") as stopped:
        recipe("--exclude", "nas-bench-21", "--output_dir", str(tmp_path))
    assert "\n" not in str(stopped.value)
