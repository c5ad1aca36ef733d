"""What the denoiser is trained on: tables, and episodes made of them.

An episode is a prior made from some evidence about a goal, and an architecture that is good by it. Priors are made
beforehand from random subsamples of random size, some of them carried over from other tasks or spaces. Besides the
benchmark's own tasks there are shifted ones, in which random choices are worth more or less, so that the denoiser has
to read the prior. What batch i holds follows from the seed and i alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch.nn import functional as F
from torch.utils.data import Dataset
from tqdm.auto import tqdm

from .benchmarks import ScoreTable, load_benchmark, with_package
from .priors import Prior, measure, task_kind
from .scheduling_prior_discrete import PriorDiscreteScheduler
from .spaces import TASK_KINDS, get_space

GROUP = 4  # samples that share a prior, so that it is encoded once for all of them
TARGETS = 48  # architectures that count as good
TARGET_DECAY = 12.0  # the one of rank r is drawn with weight exp(-r / TARGET_DECAY)
SHIFTED_SHARE = 0.35  # of the examples
SHARES = {"measured": 0.3, "evaluated": 0.3, "other task": 0.15, "other space": 0.1, "band": 0.15}


# ---------------------------------------------------------------------- tables


def load_tables(sources: dict[str, str], exclude: Sequence[str] = ()) -> list[ScoreTable]:
    """Tables of the spaces to train on, without the excluded spaces and tasks.

    Parameters
    ----------
    sources
        Source of a space's table, by space; a space whose table comes with a PyPI package needs none.
    exclude
        ``"SPACE"`` or ``"SPACE/TASK"``.

    Raises
    ------
    ValueError
        For an unknown space or task in `exclude`, or if nothing is left.
    """
    excluded: dict[str, set[str]] = {}
    for item in exclude:
        name, slash, task = item.partition("/")
        space = get_space(name)
        if slash:
            space.task(task)
        excluded.setdefault(name, set()).update([task] if slash else space.tasks)
    tables = []
    for name in dict.fromkeys([*with_package(), *sources]):
        drop = excluded.get(name, set())
        if set(get_space(name).tasks) <= drop:
            continue
        dataset = load_benchmark(name, sources.get(name))
        columns = [c for c in dataset.column_names if any(c.startswith(f"{task}_") for task in drop)]
        tables.append(ScoreTable(name, dataset.remove_columns(columns)))
    if not tables:
        raise ValueError(f"nothing is left to train on: {', '.join(exclude)} takes away everything")
    return tables


def labels_read(tables: Sequence[ScoreTable]) -> dict[str, int]:
    """Validation scores that training reads, by ``space/task``."""
    return {f"{t.space.name}/{task}": int((~t.column(task).isnan()).sum()) for t in tables for task in t.tasks}


# ---------------------------------------------------------------------- goals


@dataclass
class Goal:
    """Something to be good at.

    Attributes
    ----------
    table : ScoreTable
    task : str
        The benchmark's task it is, or was made of.
    scores : FloatTensor (rows,)
        For every row of the table, NaN where unknown.
    shifted : bool
    """

    table: ScoreTable
    task: str
    scores: torch.Tensor
    shifted: bool

    def value(self, indices: torch.Tensor) -> torch.Tensor:
        """Scores of a batch of architectures, a guess where they are invalid or unknown."""
        rows = self.table.rows(indices)
        scores = torch.where(rows >= 0, self.scores[rows], torch.nan)
        known = self.table.space.is_valid(indices) & ~scores.isnan()
        return torch.where(known, scores, torch.tensor(self.table.space.task(self.task).guess))

    def ranked(self) -> torch.Tensor:
        """Rows of the valid architectures, best first, ``LongTensor``."""
        rows = (~self.scores.isnan() & self.table.space.is_valid(self.table.indices)).nonzero()[:, 0]
        return rows[self.scores[rows].argsort(descending=True)]

    def quality(self) -> torch.Tensor:
        """Rank of every row on a logarithmic scale, 1 for the best and 0 for the worst, NaN where unknown.

        The best hundredth are as far apart as the next ninety-nine.
        """
        known = ~self.scores.isnan()
        rank = torch.full_like(self.scores, torch.nan)
        rank[known] = 1.0 + self.scores[known].argsort(descending=True).argsort()
        return 1 - rank.log() / math.log(int(known.sum()))


def goals_of(table: ScoreTable, num_shifted: int, generator: torch.Generator) -> list[Goal]:
    """The table's tasks, and `num_shifted` made of them.

    In a shifted one every choice and every pair of choices has a random worth, between a nudge and a new order.
    """
    goals = [Goal(table, task, table.column(task), False) for task in table.tasks]
    one_hot = F.one_hot(table.indices, table.space.num_choices).flatten(1).float()
    width, slots = one_hot.shape[1], table.space.num_slots
    for i in range(num_shifted):
        real = goals[i % len(table.tasks)]
        known = real.scores[~real.scores.isnan()]
        alone = torch.randn(width, generator=generator)
        pairs = torch.randn(width, width, generator=generator)
        worth = one_hot @ alone / slots**0.5 + ((one_hot @ pairs) * one_hot).sum(1) / slots
        strength = 2 ** (4 * torch.rand(1, generator=generator) - 1.5)
        spread = known.quantile(0.9) - known.median()
        goals.append(Goal(table, real.task, real.scores + strength * spread * worth, True))
    return goals


# ---------------------------------------------------------------------- priors of goals


@dataclass
class _Example:
    """A prior, the rows that are good for it (best first), its goal's number (-1: no ranking), and its weight."""

    prior: Prior
    rows: torch.Tensor
    goal: int
    weight: float


@dataclass
class SpaceEpisodes:
    """Everything that the episodes of one space are drawn from.

    Attributes
    ----------
    table : ScoreTable
    features : FloatTensor (priors, slots, choices, PRIOR_FEATURES)
    stationary : FloatTensor (priors, slots, choices)
    kinds : LongTensor (priors,), index of the kind of task
    targets : LongTensor (priors, TARGETS), rows of the table that are good for this prior, best first
    goals : LongTensor (priors,), number of the goal that ranks architectures, -1 for none
    quality : FloatTensor (goals, rows)
    weights : FloatTensor (priors,), how often each prior is drawn
    """

    table: ScoreTable
    features: torch.Tensor
    stationary: torch.Tensor
    kinds: torch.Tensor
    targets: torch.Tensor
    goals: torch.Tensor
    quality: torch.Tensor
    weights: torch.Tensor


def _subsample(rows: torch.Tensor, low: int, high: int, generator: torch.Generator) -> torch.Tensor:
    """Random rows, in order, their number log-uniform from `low` to `high`."""
    high = min(high, len(rows))
    share = float(torch.rand(1, generator=generator))
    number = round(math.exp(math.log(min(low, high)) * (1 - share) + math.log(high) * share))
    return rows[torch.randperm(len(rows), generator=generator)[:number].sort().values]


def _prior_of(
    kind: str, goal: Goal, ranked: torch.Tensor, sources: dict[str, list[Prior]], generator: torch.Generator
) -> tuple[Prior, torch.Tensor]:
    """A prior of the given kind for a goal, and the rows that are good for it."""
    space, indices = goal.table.space, goal.table.indices
    if kind == "measured":
        best = _subsample(ranked, 100, len(ranked), generator)[:20]
        return measure(space, goal.task, indices[best], goal.value), ranked[:TARGETS]
    if kind == "evaluated":
        rows = _subsample(ranked, 5, 400, generator)
        return Prior.from_evaluations(space, indices[rows], goal.scores[rows], goal.task), ranked[:TARGETS]
    if kind == "band":  # architectures of any quality: the prior says which
        start = int(torch.randint(max(1, len(ranked) - TARGETS), (1,), generator=generator))
        rows = ranked[start : start + TARGETS]
        return measure(space, goal.task, indices[rows[:20]], goal.value), rows
    known = sources[kind]
    picked = _subsample(torch.arange(len(known)), 1, 3 if kind == "other task" else len(known), generator)
    return Prior.carried_over(space, [known[i] for i in picked.tolist()], goal.task), ranked[:TARGETS]


def make_episodes(
    tables: Sequence[ScoreTable], priors_per_task: int, shifted_tasks: int, seed: int, quiet: bool = True
) -> list[SpaceEpisodes]:
    """Priors of every kind for every goal of every table; see `TrainingArguments` for the numbers."""
    generator = torch.Generator().manual_seed(seed)
    measured = {t.space.name: [Prior.from_benchmark(t.space, task, table=t) for task in t.tasks] for t in tables}

    def examples(table: ScoreTable, goals: list[Goal]) -> Iterator[_Example]:
        for number, goal in enumerate(tqdm(goals, desc=f"priors of {table.space.name}", disable=quiet, leave=False)):
            sources = {
                "other task": [prior for prior in measured[table.space.name] if prior.task != goal.task],
                "other space": [p for name, known in measured.items() if name != table.space.name for p in known],
            }
            kinds = ["measured", "evaluated", "band"]
            if not goal.shifted:
                kinds += [kind for kind, known in sources.items() if known]
            total = sum(SHARES[kind] for kind in kinds)
            share = SHIFTED_SHARE / shifted_tasks if goal.shifted else (1 - SHIFTED_SHARE) / len(table.tasks)
            ranked = goal.ranked()
            for kind in kinds:
                count = max(1, round(priors_per_task * SHARES[kind] / total / (3 if goal.shifted else 1)))
                for _ in range(count):
                    prior, rows = _prior_of(kind, goal, ranked, sources, generator)
                    weight = share * SHARES[kind] / total / count
                    yield _Example(prior, rows, -1 if kind == "band" else number, weight)

    episodes = []
    for table in tables:
        goals = goals_of(table, shifted_tasks, generator)
        drawn = list(examples(table, goals))
        kinds = [TASK_KINDS.index(task_kind(table.space, example.prior.task)) for example in drawn]
        episodes.append(
            SpaceEpisodes(
                table,
                features=torch.stack([example.prior.features() for example in drawn]),
                stationary=torch.stack([example.prior.distribution() for example in drawn]),
                kinds=torch.tensor(kinds),
                targets=torch.stack([example.rows for example in drawn]),
                goals=torch.tensor([example.goal for example in drawn]),
                quality=torch.stack([goal.quality() for goal in goals]),
                weights=torch.tensor([example.weight for example in drawn]),
            )
        )
    return episodes


# ---------------------------------------------------------------------- batches


class EpisodeDataset(Dataset[dict[str, torch.Tensor]]):
    """Batches of episodes, each of one space; batch i follows from the seed and i alone.

    Parameters
    ----------
    episodes
        As from `make_episodes`.
    scheduler
        Adds the noise.
    batch_size
        Architectures in a batch, a multiple of `GROUP`.
    prior_dropout
        Share of examples in which the prior is dropped.
    seed
        Of the whole data set.
    length
        Number of batches.
    """

    def __init__(
        self,
        episodes: Sequence[SpaceEpisodes],
        scheduler: PriorDiscreteScheduler,
        batch_size: int,
        prior_dropout: float,
        seed: int,
        length: int,
    ) -> None:
        if batch_size < GROUP or batch_size % GROUP:
            raise ValueError(f"train_batch_size must be a multiple of {GROUP}, got {batch_size}")
        self.episodes, self.scheduler = episodes, scheduler
        self.batch_size, self.prior_dropout = batch_size, prior_dropout
        self.seed, self.length = seed, length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        """One batch.

        Returns
        -------
        dict
            ``space`` (): number of the space; ``prior_features`` (batch / GROUP, slots, choices, PRIOR_FEATURES) and
            ``task_kinds`` (batch / GROUP,), one for each GROUP consecutive samples; ``clean`` and ``noisy``
            (batch, slots); ``timesteps`` (batch,); ``ranked`` (batch, slots), architectures to be scored, and their
            ``quality`` (batch,), NaN where there is none.
        """
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + index)
        which = int(torch.randint(len(self.episodes), (1,), generator=generator))
        episodes = self.episodes[which]
        space, rows = episodes.table.space, episodes.table.indices
        groups, batch = self.batch_size // GROUP, self.batch_size

        prior = torch.multinomial(episodes.weights, groups, replacement=True, generator=generator)
        dropped = torch.rand(groups, generator=generator) < self.prior_dropout
        flat = dropped & (torch.rand(groups, generator=generator) < 0.5)
        uniform = space.choice_mask / space.sizes[:, None]
        features = torch.where(dropped[:, None, None, None], 0.0, episodes.features[prior])
        stationary = torch.where(flat[:, None, None], uniform, episodes.stationary[prior])
        kinds = episodes.kinds[prior]
        prior, dropped = prior.repeat_interleave(GROUP), dropped.repeat_interleave(GROUP)

        weights = torch.exp(-torch.arange(TARGETS) / TARGET_DECAY)
        good = episodes.targets[prior, torch.multinomial(weights, batch, replacement=True, generator=generator)]
        anything = torch.randint(len(rows), (2, batch), generator=generator)
        # with nothing known nothing is promised: any architecture of the space is as likely
        clean = rows[torch.where(dropped, anything[0], good)]
        last = self.scheduler.num_train_timesteps
        timesteps = torch.randint(1, last + 1, (batch,), generator=generator)
        noisy = self.scheduler.add_noise(clean, timesteps, stationary.repeat_interleave(GROUP, 0), generator)

        # half of what is ranked is good, half is anything
        also_good = episodes.targets[prior, torch.randint(TARGETS, (batch,), generator=generator)]
        ranked = torch.where(torch.rand(batch, generator=generator) < 0.5, also_good, anything[1])
        goal = episodes.goals[prior]
        quality = torch.where(dropped | (goal < 0), torch.nan, episodes.quality[goal, ranked])
        return {
            "space": torch.tensor(which),
            "prior_features": features,
            "task_kinds": kinds,
            "clean": clean,
            "noisy": noisy,
            "timesteps": timesteps,
            "ranked": rows[ranked],
            "quality": quality,
        }
