"""What the denoiser is trained on: tables, and episodes made of them.

An episode is a prior made from some evidence about a goal, and an architecture that is good by it. Priors are made
beforehand from random subsamples of random size, some of them carried over from other tasks or spaces. Besides the
benchmark's own tasks there are shifted ones, in which random choices are worth more or less, so that the denoiser has
to read the prior. What batch i holds follows from the seed and i alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch.utils.data import Dataset
from tqdm.auto import tqdm

from ..benchmarks.score_table import ScoreTable
from ..benchmarks.sources import load_benchmark, with_package
from ..modeling_denoiser import task_traits
from ..priors.prior import FREQUENCY, LOG_FREQUENCY, Estimate, Prior, measure
from ..priors.transfer import average, consensus_of, task_kind
from ..scheduling_prior_discrete import PriorDiscreteScheduler
from ..spaces import SearchSpace, get_space

GROUP = 4  # samples that share a prior, so that it is encoded once for all of them
TARGETS = 48  # architectures that count as good
TARGET_DECAY = 12.0  # the one of rank r is drawn with weight exp(-r / TARGET_DECAY)
SHIFTED_SHARE = 0.3  # of the examples
CONSENSUS_WEIGHT = 3.0  # of a consensus of tasks, beside a single one
SHARES = {"measured": 0.25, "evaluated": 0.25, "other task": 0.12, "other spaces": 0.25, "band": 0.13}
HIDDEN_SHARE = 0.3  # of the batches, in which choices are known by their description alone
CONCEALED_SHARE = 0.4  # of the batches, in which nothing but its cost is known of one choice
BATCH_SLOTS = 1536  # a batch of a space of many slots holds fewer architectures
MANY_SLOTS = 32  # a space of more has fewer priors and batches, in proportion


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
        The benchmark's task it is, or was made of; of a consensus, the kind of its tasks.
    scores : FloatTensor (rows,)
        For every row of the table, NaN where unknown.
    shifted : bool
    """

    table: ScoreTable
    task: str
    scores: torch.Tensor
    shifted: bool
    _fit: Estimate | None = None

    @property
    def is_consensus(self) -> bool:
        """Whether it is about several tasks."""
        return self.task not in self.table.space.tasks

    def prior(self, rows: torch.Tensor) -> Prior:
        """Contributions measured over some rows of the table."""
        space, indices = self.table.space, self.table.indices[rows]
        if self.is_consensus:
            parts = [
                measure(space, task, indices, self.table.value_function(task))
                for task in self.table.tasks_of(self.task)
            ]
            return replace(average(parts), task=self.task, num_good=len(rows))
        if not self.shifted:
            return measure(space, self.task, indices, self.table.value_function(self.task))
        if self.table.is_complete(self.task):
            return measure(space, self.task, indices, self._value)
        if self._fit is None:
            known = ~self.scores.isnan()
            guess = space.task(self.task).chance_score
            self._fit = Estimate(space, self.table.indices[known], self.scores[known], guess, look_up=False)
        return measure(space, self.task, indices, self._fit)

    def _value(self, indices: torch.Tensor) -> torch.Tensor:
        rows = self.table.rows(indices)
        scores = torch.where(rows >= 0, self.scores[rows], torch.nan)
        guess = self.table.space.task(self.task).chance_score
        return torch.where(self.table.space.is_valid(indices) & ~scores.isnan(), scores, guess)

    def ranked(self) -> torch.Tensor:
        """A row of each distinct valid architecture, best (by the mean of its class) first, ``LongTensor``."""
        rows, scores = self.table.distinct_rows(self.scores)
        return rows[scores.argsort(descending=True, stable=True)]

    def quality(self) -> torch.Tensor:
        """Rank of every row on a logarithmic scale, 1 for the best and 0 for the worst, NaN where unknown.

        The best hundredth are as far apart as the next ninety-nine.
        """
        known = ~self.scores.isnan()
        rank = torch.full_like(self.scores, torch.nan)
        rank[known] = 1.0 + self.scores[known].argsort(descending=True).argsort()
        return 1 - rank.log() / math.log(int(known.sum()))


def goals_of(table: ScoreTable, num_shifted: int, generator: torch.Generator) -> list[Goal]:
    """The table's tasks, the consensus of each kind that has several, and `num_shifted` made of the tasks.

    In a shifted one every choice and every pair of choices has a random worth, between a nudge and a new order.
    """
    goals = [Goal(table, task, table.column(task), False) for task in table.tasks]
    singles = list(goals)
    for kind in dict.fromkeys(task_kind(table.space, task) for task in table.tasks):
        tasks = table.tasks_of(kind)
        if len(tasks) > 1:
            goals.append(Goal(table, kind, table.consensus(tasks), False))
    space, rank = table.space, 8
    for i in range(num_shifted):
        real = singles[i % len(singles)]
        known = real.scores[~real.scores.isnan()]
        shape = (space.num_slots, space.num_choices)
        alone = torch.randn(*shape, generator=generator) / space.num_slots**0.5
        factors = torch.randn(*shape, rank, generator=generator) / space.num_slots**0.5
        signs = (torch.rand(rank, generator=generator) < 0.5).float() * 2 - 1
        place = torch.arange(space.num_slots)
        worth = torch.cat(
            [
                alone[place, part].sum(1) + (factors[place, part].sum(1).square() @ signs) / rank**0.5
                for part in table.indices.split(50_000)
            ]
        )
        strength = 2 ** (4 * torch.rand(1, generator=generator) - 1.5)
        spread = known.quantile(0.9) - known.median()
        goals.append(Goal(table, real.task, real.scores + strength * spread * (worth - worth.mean()), True))
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
    traits : FloatTensor (priors, TASK_TRAITS), of the kind of task
    targets : LongTensor (priors, TARGETS), rows of the table that are good for this prior, best first
    goals : LongTensor (priors,), number of the goal that ranks architectures, -1 for none
    quality : FloatTensor (goals, rows)
    order : LongTensor (goals, rows), rows of the table, best first, those of unknown score last
    known : LongTensor (goals,), how many rows have a score
    weights : FloatTensor (priors,), how often each prior is drawn
    """

    table: ScoreTable
    features: torch.Tensor
    stationary: torch.Tensor
    traits: torch.Tensor
    targets: torch.Tensor
    goals: torch.Tensor
    quality: torch.Tensor
    order: torch.Tensor
    known: torch.Tensor
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
    best = _padded(ranked)
    if kind == "measured":
        return goal.prior(_subsample(ranked, 100, len(ranked), generator)[:20]), best
    if kind == "evaluated":
        rows = _subsample(ranked, 5, 400, generator)
        task = goal.task if goal.task in space.tasks else None
        return replace(Prior.from_evaluations(space, indices[rows], goal.scores[rows], task), task=goal.task), best
    if kind == "band":  # architectures of any quality: the prior says which
        start = int(torch.randint(max(1, len(ranked) - TARGETS), (1,), generator=generator))
        rows = ranked[start : start + TARGETS]
        return goal.prior(rows[:20]), _padded(rows)
    known = sources[kind]
    picked = _subsample(torch.arange(len(known)), 1, 3 if kind == "other task" else len(known), generator)
    return Prior.carried_over(space, [known[i] for i in picked.tolist()], goal.task), best


def _padded(rows: torch.Tensor) -> torch.Tensor:
    """The first `TARGETS` rows, the last one repeated where there are fewer."""
    return rows[torch.arange(TARGETS).clamp(max=len(rows) - 1)]


def priors_of(table: ScoreTable) -> list[Prior]:
    """The priors of every task of a table, and of the consensus of each kind that has several tasks."""
    kinds = [kind for kind in dict.fromkeys(task_kind(table.space, task) for task in table.tasks)]
    agreed = [kind for kind in kinds if len(table.tasks_of(kind)) > 1]
    return [Prior.from_benchmark(table.space, task, _top_k(table, task), table) for task in [*table.tasks, *agreed]]


def _top_k(table: ScoreTable, task: str) -> int:
    known = ~table.consensus(table.tasks_of(task)).isnan() & table.space.is_valid(table.indices)
    return min(20, int(known.sum()))


def make_episodes(
    tables: Sequence[ScoreTable], priors_per_task: int, shifted_tasks: int, seed: int, quiet: bool = True
) -> list[SpaceEpisodes]:
    """Priors of every kind for every goal of every table; see `TrainingArguments` for the numbers."""
    generator = torch.Generator().manual_seed(seed)
    measured = {table.space.name: priors_of(table) for table in tables}

    def examples(table: ScoreTable, goals: list[Goal]) -> Iterator[_Example]:
        name = table.space.name
        agreed = {goal.task for goal in goals if goal.is_consensus}
        weights = [0.0 if g.shifted else CONSENSUS_WEIGHT if g.is_consensus else 1.0 for g in goals]
        for number, goal in enumerate(tqdm(goals, desc=f"priors of {name}", disable=quiet, leave=False)):
            kind_of_task = task_kind(table.space, goal.task)
            elsewhere = [prior for other, known in measured.items() if other != name for prior in known]
            sources = {
                "other task": [p for p in measured[name] if p.task != goal.task and p.task in table.space.tasks],
                "other spaces": consensus_of(elsewhere, kind_of_task),
            }
            if kind_of_task in agreed and not goal.is_consensus:
                sources["other spaces"] = []  # other spaces tell of the consensus, not of a single task
            kinds = ["measured", "evaluated", "band"]
            if not goal.shifted:
                kinds += [kind for kind, known in sources.items() if known]
            total = sum(SHARES[kind] for kind in kinds)
            share = SHIFTED_SHARE / shifted_tasks
            if not goal.shifted:
                share = (1 - SHIFTED_SHARE) * weights[number] / sum(weights)
            ranked = goal.ranked()
            for kind in kinds:
                count = priors_per_task * SHARES[kind] / total / (3 if goal.shifted else 1)
                count = max(1, round(count * min(1, MANY_SLOTS / table.space.num_slots)))
                for _ in range(count):
                    prior, rows = _prior_of(kind, goal, ranked, sources, generator)
                    weight = share * SHARES[kind] / total / count
                    yield _Example(prior, rows, -1 if kind == "band" else number, weight)

    episodes = []
    for table in tables:
        goals = goals_of(table, shifted_tasks, generator)
        drawn = list(examples(table, goals))
        kinds = [task_kind(table.space, example.prior.task) for example in drawn]
        quality = torch.stack([goal.quality() for goal in goals])
        episodes.append(
            SpaceEpisodes(
                table,
                features=torch.stack([example.prior.features() for example in drawn]),
                stationary=torch.stack([example.prior.distribution() for example in drawn]),
                traits=torch.tensor([task_traits(kind) for kind in kinds]),
                targets=torch.stack([example.rows for example in drawn]),
                goals=torch.tensor([example.goal for example in drawn]),
                quality=quality,
                order=quality.nan_to_num(-1).argsort(dim=1, descending=True),
                known=(~quality.isnan()).sum(1),
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
            ``space`` (): number of the space; ``hidden`` (): whether identities of choices are withheld;
            ``concealed`` (slots, choices): which have no description either;
            ``prior_features`` (batch / GROUP, slots, choices, PRIOR_FEATURES) and ``task_traits``
            (batch / GROUP, TASK_TRAITS), one for each GROUP consecutive samples; ``clean`` and ``noisy``
            (batch, slots); ``timesteps`` (batch,) and the scheduler's ``evidence`` (batch, slots); ``ranked``
            (batch, slots), architectures to be scored, and their ``quality`` (batch,), NaN where there is none.
        """
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + index)
        shares = torch.tensor([min(1.0, MANY_SLOTS / part.table.space.num_slots) for part in self.episodes])
        which = int(torch.multinomial(shares, 1, generator=generator))
        episodes = self.episodes[which]
        space, rows = episodes.table.space, episodes.table.indices
        hidden = torch.rand((), generator=generator) < HIDDEN_SHARE
        groups = max(1, min(self.batch_size, BATCH_SLOTS // space.num_slots) // GROUP)
        batch = groups * GROUP

        prior = torch.multinomial(episodes.weights, groups, replacement=True, generator=generator)
        dropped = torch.rand(groups, generator=generator) < self.prior_dropout
        flat = dropped & (torch.rand(groups, generator=generator) < 0.5)
        uniform = space.choice_mask / space.sizes[:, None]
        features = torch.where(dropped[:, None, None, None], 0.0, episodes.features[prior])
        stationary = torch.where(flat[:, None, None], uniform, episodes.stationary[prior])
        traits = episodes.traits[prior]
        concealed = self._concealed(episodes, generator)
        features, stationary = _conceal(features, stationary, concealed, space)
        prior, dropped = prior.repeat_interleave(GROUP), dropped.repeat_interleave(GROUP)

        weights = torch.exp(-torch.arange(TARGETS) / TARGET_DECAY)
        good = episodes.targets[prior, torch.multinomial(weights, batch, replacement=True, generator=generator)]
        anything = torch.randint(len(rows), (2, batch), generator=generator)
        # with nothing known nothing is promised: any architecture of the space is as likely
        clean = rows[torch.where(dropped, anything[0], good)]
        last = self.scheduler.num_train_timesteps
        timesteps = torch.randint(1, last + 1, (batch,), generator=generator)
        stationary = self.scheduler.stationary(stationary).repeat_interleave(GROUP, 0)
        noisy = self.scheduler.add_noise(clean, timesteps, stationary, generator)

        # half of what is ranked is anything, half of log-uniform rank: of every quality as many
        goal = episodes.goals[prior]
        rank = (episodes.known[goal] ** torch.rand(batch, generator=generator)).long() - 1
        every_quality = episodes.order[goal, rank]
        ranked = torch.where(torch.rand(batch, generator=generator) < 0.5, every_quality, anything[1])
        quality = torch.where(dropped | (goal < 0), torch.nan, episodes.quality[goal, ranked])
        return {
            "space": torch.tensor(which),
            "prior_features": features,
            "hidden": hidden,
            "concealed": concealed,
            "task_traits": traits,
            "clean": clean,
            "noisy": noisy,
            "timesteps": timesteps,
            "evidence": self.scheduler.evidence(timesteps, noisy, stationary),
            "ranked": rows[ranked],
            "quality": quality,
        }

    @staticmethod
    def _concealed(episodes: SpaceEpisodes, generator: torch.Generator) -> torch.Tensor:
        """Where the choice that is concealed stands, ``BoolTensor (slots, choices)``; in some batches nowhere."""
        space = episodes.table.space
        names = sorted({c.identity for slot in space.slots if slot.kind == "operation" for c in slot.choices})
        drawn = torch.rand((), generator=generator)
        if not names or drawn >= CONCEALED_SHARE:
            return torch.zeros_like(space.choice_mask)
        return torch.from_numpy(space.identities == names[int(drawn / CONCEALED_SHARE * len(names))])


def _conceal(
    features: torch.Tensor, stationary: torch.Tensor, concealed: torch.Tensor, space: SearchSpace
) -> tuple[torch.Tensor, torch.Tensor]:
    """Priors ``(priors, slots, choices, ...)`` that know nothing of some choices, as carried over from elsewhere."""
    if not concealed.any():
        return features, stationary
    present = (features.abs().sum((1, 2, 3)) > 0).float()
    unknown_choice = torch.zeros_like(features)
    chance = (1 / space.sizes.float())[None, :, None] * present[:, None, None]
    unknown_choice[..., FREQUENCY] = chance
    unknown_choice[..., LOG_FREQUENCY] = (chance + 0.02).log() / 4 * present[:, None, None]
    unknown_choice[..., LOG_FREQUENCY + 1 :] = features[..., LOG_FREQUENCY + 1 :]
    features = torch.where(concealed[None, ..., None], unknown_choice, features)
    stationary = torch.where(concealed, (1 / space.sizes.float())[:, None], stationary)
    return features, stationary / stationary.sum(-1, keepdim=True)
