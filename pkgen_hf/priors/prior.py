"""Prior knowledge: what contributed how much in known good architectures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from ..errors import unknown
from ..inputs import Architectures, on_cpu, real_number, to_indices, to_scores, whole_number
from ..spaces import SearchSpace, get_space
from ..spaces.parts import device_of, group_means
from .shapley import describe_games, operation_players, shapley_contributions, subgraph_players

if TYPE_CHECKING:
    from ..benchmarks.score_table import ScoreTable

EVIDENCE = ("measured", "partly measured", "carried over", "from other spaces", "absent")
SELECTIONS = ("best", "worst", "random")
PRIOR_FEATURES = 6 + len(EVIDENCE) - 1
FREQUENCY, LOG_FREQUENCY = 4, 5  # numbers of the features frequency and log(frequency + 0.02) / 4
UNIFORM_SHARE = 0.1  # of the stationary distribution, so that every choice stays reachable
MIN_EVALUATIONS = 5


@dataclass(frozen=True)
class Subgraph:
    """A one-hop subgraph of good architectures: the choices of a node's slots, its mean contribution and its count."""

    slots: tuple[int, ...]
    choices: tuple[int, ...]
    contribution: float
    count: int


@dataclass(frozen=True, eq=False)
class Prior:
    """What contributed how much in good architectures of one space (and task).

    Attributes
    ----------
    space
        The search space.
    task
        The data set; a kind of task, for a consensus over data sets of that kind; None for an average over data sets.
    evidence
        ``"measured"``: (nearly) every reduced network was measured; ``"partly measured"``: their scores come, in part
        or all of them, from an additive fit to the evaluations; ``"carried over"``: from other tasks of the space;
        ``"from other spaces"``; ``"absent"``.
    contributions
        Mean Shapley value of each (slot, choice) as an operation, ``FloatTensor (slots, choices)`` in percent points,
        NaN where no good architecture has it or the slot cannot be removed. Exact in spaces of up to 8 operations
        whose reduced networks were all measured; `games` and `evidence` say where they are not.
    subgraph_contributions
        Mean Shapley value of the one-hop subgraphs that hold the (slot, choice); same shape and unit.
    frequencies
        Share of the good architectures with each (slot, choice); rows sum to 1.
    subgraphs
        The one-hop subgraphs themselves.
    scale
        Percent points that an average slot contributed: the unit in which contributions are compared across tasks.
    num_good
        Good architectures the averages are over.
    labels_read
        Measured scores that were read to make this prior.
    detail
        One sentence on how it was made; it also says so if contributions are those of restricted games.
    """

    space: SearchSpace
    task: str | None
    evidence: str
    contributions: torch.Tensor
    subgraph_contributions: torch.Tensor
    frequencies: torch.Tensor
    subgraphs: tuple[Subgraph, ...] = ()
    scale: float = 1.0
    num_good: int = 0
    labels_read: int = 0
    detail: str = ""

    def __repr__(self) -> str:
        return f"Prior({self.space.name!r}, task={self.task!r}, evidence={self.evidence!r}, {self.detail})"

    @property
    def games(self) -> str:
        """The games whose Shapley values the contributions are, e.g. ``"one game of 6 operations, ..."``.

        A space of more than 8 operations (or subgraphs) plays several restricted games, in each of which all else
        stays in place (see `pkgen_hf.priors.shapley.games`): ``"2 restricted games of 8 and 8 operations, ..."``.
        """
        if self.evidence == "absent":
            return "none"
        if self.evidence == "from other spaces":
            return "those of the other spaces"
        return describe_games(self.space)

    # ------------------------------------------------------------------ making one

    @classmethod
    @on_cpu
    def from_benchmark(
        cls,
        space: str | SearchSpace,
        task: str | None,
        top_k: int = 20,
        table: ScoreTable | str | Path | None = None,
        selection: str = "best",
        generator: torch.Generator | None = None,
    ) -> Prior:
        """Contributions over the `top_k` architectures by validation score, from the benchmark's measurements.

        Isomorphic architectures count as one, with the mean of their scores. Contributions are exact Shapley values
        where the benchmark measured (nearly) the whole space and all components play one game (see `games`). Where it
        measured a sample, reduced networks have what an additive fit (ridge regression on choices) to all that
        was measured predicts, and the evidence is "partly measured".

        Parameters
        ----------
        space, task
            A search space with a table, and one of its tasks. A kind of task, e.g. ``"image-classification"``, takes
            the architectures that are best by their average rank over the table's tasks of that kind, and averages
            contributions over these tasks. None averages over all tasks of the table.
        top_k
            How many architectures.
        table
            A `ScoreTable`, or a source for `load_benchmark`; None reads the space's PyPI package.
        selection
            ``"best"``, or for comparison ``"worst"`` or ``"random"``.
        generator
            For ``"random"``.
        """
        from ..benchmarks.score_table import ScoreTable
        from .transfer import average

        space = get_space(space)
        if not isinstance(table, ScoreTable):
            table = ScoreTable.load(space, table)
        space.check_same(table.space, "this table of scores")
        top_k = top_k if isinstance(top_k, int) else whole_number("top_k", top_k)  # how many there are is known below
        if task is None:
            parts = [cls.from_benchmark(space, name, top_k, table, selection, generator) for name in table.tasks]
            return replace(average(parts), task=None)
        tasks = table.tasks_of(task)
        column = table.consensus(tasks)
        rows, scores = table.distinct_rows(column)
        if not 1 <= top_k <= len(rows):
            raise ValueError(f"top_k must be 1 to {len(rows)} for {task} of {space.name}, got {top_k}")
        if selection not in SELECTIONS:
            raise unknown("selection", selection, SELECTIONS)
        if selection == "random":
            order = torch.randperm(len(rows), generator=generator, device=device_of(generator)).cpu()
            rows = rows[order[:top_k]]
        else:
            rows = rows[scores.argsort(descending=selection == "best", stable=True)[:top_k]]
        parts = []
        for name in tasks:
            part = measure(space, name, table.indices[rows], table.value_function(name))
            whole = table.is_complete(name)
            parts.append(replace(part, evidence="measured" if whole else "partly measured"))
        labels = sum(int((~table.column(name).isnan()).sum()) for name in tasks)
        by = f"{table.split(tasks[0])} score" if len(tasks) == 1 else f"average rank over {', '.join(tasks)}"
        prior = parts[0] if len(parts) == 1 else average(parts)
        detail = f"{selection} {top_k} of {int((~column.isnan()).sum()):,} by {by}"
        if prior.evidence == "partly measured":
            detail += "; reduced networks predicted by an additive fit"
        return replace(prior, task=task, labels_read=labels, num_good=top_k, detail=detail + _restricted(space))

    @classmethod
    @on_cpu
    def from_evaluations(
        cls,
        space: str | SearchSpace,
        architectures: Architectures,
        scores: Sequence[float] | torch.Tensor,
        task: str | None = None,
        top_k: int = 20,
    ) -> Prior:
        """A prior from your own evaluations, of 5 architectures or more.

        An architecture that was evaluated several times, or in several isomorphic forms, counts once, with the mean of
        its scores. Contributions are averaged over the best quarter (at least 3, at most `top_k`). A reduced network
        that was evaluated has its own score, a disconnected one that of guessing, and the others what an additive fit
        (ridge regression on choices) to the evaluations predicts. `evidence` and `detail` say how many were measured.

        Parameters
        ----------
        space
            The search space.
        architectures
            `Architecture` objects, the benchmark's strings, or indices ``(n, slots)``; see `pkgen_hf.inputs`.
        scores
            One for each, higher is better, in percent; NaN (or None) of a run that failed, which is left out.
        task
            A task of the space, for its score of guessing, or a kind of task; there and without one the lowest score
            stands for guessing.

        Raises
        ------
        ValueError
            For fewer than 5 architectures, lengths that differ, scores that are infinite or all equal, or an
            architecture of another space.
        """
        space = get_space(space)
        indices, values = to_indices(space, architectures), to_scores(scores).float()
        if len(values) != len(indices):
            raise ValueError(f"{len(indices)} architectures but {len(values)} scores")
        finished = ~values.isnan()
        num_failed = int((~finished).sum())
        indices, values = indices[finished], values[finished]
        if len(values) < MIN_EVALUATIONS:
            failed = f", and {num_failed} failed" if num_failed else ""
            raise ValueError(f"a prior needs at least {MIN_EVALUATIONS} evaluations, got {len(values)}{failed}")
        top_k = whole_number("top_k", top_k)
        space.data_set(task)
        if not values.isfinite().all():
            at = int((~values.isfinite()).nonzero()[0])
            place = int(finished.nonzero()[at])
            raise ValueError(f"scores must be finite numbers; score {place} is {float(values[at])}")
        if values.max() == values.min():
            raise ValueError(
                f"all {len(values)} scores are {float(values[0])}: they say nothing about what contributes"
            )
        num_evaluations = len(values)
        indices, values = mean_of_each(space, indices, values)
        if len(values) < MIN_EVALUATIONS and len(values) < space.num_architectures:
            raise ValueError(
                f"a prior needs at least {MIN_EVALUATIONS} different architectures, got {len(values)} in "
                f"{num_evaluations} evaluations"
            )
        guess = space.tasks[task].chance_score if task in space.tasks else float(values.min())
        estimate = Estimate(space, indices, values, guess)
        good = indices[values.argsort(descending=True, stable=True)[: min(top_k, max(3, len(values) // 4))]]
        prior = measure(space, task, good, estimate)
        evidence = "measured" if estimate.num_measured == estimate.num_asked else "partly measured"
        of = f"{len(values)} architectures in " if len(values) < num_evaluations else ""
        detail = (
            f"{len(good)} best of {of}{num_evaluations} evaluations; {estimate.num_measured:,} of "
            f"{estimate.num_asked:,} reduced networks evaluated"
            f"{'' if evidence == 'measured' else ', the others from an additive fit'}"
        )
        detail += (f"; {num_failed} failed left out" if num_failed else "") + _restricted(space)
        return replace(prior, evidence=evidence, labels_read=num_evaluations, detail=detail)

    @classmethod
    def carried_over(cls, space: str | SearchSpace, priors: Sequence[Prior], task: str | None = None) -> Prior:
        """A prior for a space or task without measurements, from priors of others.

        Priors of the same space are averaged, and those of other spaces are left out if there are any. From another
        space, every (slot, choice) takes what the choices that are alike (by what they are) have in the slots that
        sit most alike; where nothing is alike, what the other space's good architectures show of costly choices.

        Raises
        ------
        ValueError
            If `priors` is empty.
        """
        from .transfer import average, carry, closeness

        space = get_space(space)
        priors = [priors] if isinstance(priors, Prior) else list(priors)
        if not priors:
            raise ValueError("carried_over needs at least one prior")
        here = [prior for prior in priors if prior.space == space]
        if here:
            used, carried, evidence = here, average(here), "carried over"
        else:
            used, evidence = list(priors), "from other spaces"
            carried = average(
                [carry(space, prior) for prior in used], [closeness(prior.space, space) for prior in used]
            )
        names = ", ".join(f"{prior.space.name}/{prior.task or 'all'}" for prior in used[:4])
        more = f" and {len(used) - 4} more" if len(used) > 4 else ""
        if all(prior.evidence == "absent" for prior in used):
            evidence = "absent"
        return replace(carried, task=task, evidence=evidence, detail=f"from {names}{more}", subgraphs=())

    @classmethod
    def absent(cls, space: str | SearchSpace, task: str | None = None) -> Prior:
        """No knowledge: nothing contributes and every choice is as frequent."""
        space = get_space(space)
        nothing = torch.full((space.num_slots, space.num_choices), torch.nan, dtype=torch.float32, device="cpu")
        uniform = space.choice_mask.float() / space.sizes[:, None]
        return cls(space, task, "absent", nothing, nothing, uniform, detail="nothing known")

    # ------------------------------------------------------------------ using one

    def distribution(self) -> torch.Tensor:
        """The stationary distribution of the diffusion, ``FloatTensor (slots, choices)``; rows sum to 1.

        A tenth is uniform; the rest is half the frequencies in good architectures and half the softmax of the
        contributions in units of `scale`, which shares out the frequencies of the choices whose contribution is known.
        """
        uniform = self.space.choice_mask.float() / self.space.sizes[:, None]
        if self.evidence == "absent":
            return uniform
        known = ~self.contributions.isnan()
        logits = torch.where(known, self.contributions / self.scale, -torch.inf)
        share = (self.frequencies * known).sum(1, keepdim=True)
        softmax = torch.where(known, logits.softmax(1).nan_to_num() * share, self.frequencies)
        return UNIFORM_SHARE * uniform + (1 - UNIFORM_SHARE) * (softmax + self.frequencies) / 2

    def sample(self, num: int, temperature: float = 1.0, generator: torch.Generator | None = None) -> torch.Tensor:
        """Independent draws of every slot, ``LongTensor (num, slots)``: the prior alone, without the denoiser."""
        num = whole_number("num", num)
        temperature = real_number("temperature", temperature, "above 0", 5e-324)
        weights = self.distribution() ** (1 / temperature)
        if not weights.sum(1).all():  # too small to be held apart: the likeliest choices are left
            weights = (self.distribution() == self.distribution().amax(1, keepdim=True)).float()
        weights = weights.to(device_of(generator))
        return torch.multinomial(weights, num, replacement=True, generator=generator).T

    def features(self) -> torch.Tensor:
        """What the denoiser is told of every (slot, choice), ``FloatTensor (slots, choices, PRIOR_FEATURES)``."""
        mask = self.space.choice_mask.float()
        present = 0.0 if self.evidence == "absent" else 1.0
        columns = []
        for values in (self.contributions, self.subgraph_contributions):
            columns += [(values / self.scale).clamp(-4, 4).nan_to_num(0.0), (~values.isnan()).float()]
        columns += [self.frequencies * present, (self.frequencies + 0.02).log() * present / 4]
        columns += [mask * float(self.evidence == kind) for kind in EVIDENCE[:-1]]
        return torch.stack(columns, dim=-1) * mask[..., None]

    # ------------------------------------------------------------------ files

    def save(self, path: str | Path) -> Path:
        """Write as Parquet, by way of a temporary file."""
        from .files import save_priors

        return save_priors([self], path)

    @classmethod
    def load(cls, path: str | Path, space: str | SearchSpace | None = None) -> Prior:
        """Read the single prior of a Parquet file.

        Parameters
        ----------
        path
            As from `save`.
        space
            The space it is of; needed for a space of your own only.
        """
        from .files import load_priors

        wanted = None if space is None else get_space(space)
        priors = load_priors(path, [] if wanted is None else [wanted])
        if len(priors) != 1:
            raise ValueError(f"{path} holds {len(priors)} priors; use load_priors")
        if wanted is not None and priors[0].space != wanted:
            raise ValueError(f"{path} holds a prior of {priors[0].space.name}, not of {wanted.name}")
        return priors[0]

    @classmethod
    def from_hub(
        cls,
        repo_id: str,
        space: str | SearchSpace,
        task: str | None = None,
        revision: str | None = None,
        cache_dir: str | Path | None = None,
        local_files_only: bool = False,
        token: str | bool | None = None,
    ) -> Prior:
        """The best prior for a task in a data set of priors, as `pkgen dataset build priors` writes them.

        Parameters
        ----------
        repo_id
            A Hub id such as ``org/pkgen-priors``, or a folder.
        space
            Its space, which is the data set's config; of a space of your own, the `SearchSpace` itself.
        task
            A data set of the space, or a kind of task; None for the average over data sets. Where it has no prior of
            its own, one is carried over, as in a call of the pipeline.
        revision, cache_dir, local_files_only, token
            As in `huggingface_hub.snapshot_download`.

        Raises
        ------
        FileNotFoundError
            If there is no such data set.
        ValueError
            If it has no priors of the space, the space no such task, or for a damaged file.
        """
        from ..hub import download as hub
        from ..spaces import TASK_KINDS
        from .files import load_priors
        from .transfer import select_prior

        space = get_space(space)
        if task is not None and task not in TASK_KINDS:
            space.task(task)
        folder = Path(repo_id)
        if not folder.is_dir():
            patterns = [f"{space.name}/*.parquet"]
            folder = hub.download(repo_id, patterns, "dataset", revision, cache_dir, local_files_only, token)
        files = sorted((folder / space.name).glob("*.parquet"))
        priors = [prior for file in files for prior in load_priors(file, [space])]
        if not priors:
            raise ValueError(f"the data set {repo_id} has no priors of {space.name}")
        return select_prior(priors, space, task)

    def plot(self, path: str | Path) -> Path:
        """Draw contributions and frequencies to a PNG or SVG file."""
        from ..drawing.pictures import draw_prior

        return draw_prior(self, path)


class Estimate:
    """Scores of networks as far as evaluations tell: measured, or by an additive fit (ridge regression on choices).

    Parameters
    ----------
    space
        The search space.
    indices, scores
        The evaluations, ``LongTensor (n, slots)`` and ``FloatTensor (n,)``.
    guess
        Score of a disconnected network.
    look_up
        Whether a network that was evaluated keeps its own score; without, all scores are those of the fit,
        which is quicker and hardly differs where few of the networks asked for were evaluated.

    Attributes
    ----------
    num_asked, num_measured : int
        Connected networks whose value was asked for, and those of them that were evaluated.
    """

    def __init__(
        self, space: SearchSpace, indices: torch.Tensor, scores: torch.Tensor, guess: float, look_up: bool = True
    ) -> None:
        self.space, self.scores, self.look_up = space, scores, look_up
        self.guess, self.best = min(guess, float(scores.min())), float(scores.max())
        order = space.keys(indices).argsort(stable=True)
        self.keys, self.known = space.keys(indices)[order], scores[order]
        design = self._one_hot(indices)
        self.mean = scores.mean()
        if len(design) > design.shape[1]:
            gram = design.T @ design + torch.eye(design.shape[1], dtype=torch.float32)
            self.weights = torch.linalg.solve(gram, design.T @ (scores - self.mean))
        else:  # the same by the smaller system
            gram = design @ design.T + torch.eye(len(design), dtype=torch.float32)
            self.weights = design.T @ torch.linalg.solve(gram, scores - self.mean)
        self.num_asked = self.num_measured = 0

    def _one_hot(self, indices: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.one_hot(indices, self.space.num_choices).flatten(1).float()

    def __call__(self, indices: torch.Tensor) -> torch.Tensor:
        """Scores of ``LongTensor (batch, slots)``, ``FloatTensor (batch,)``, on the CPU."""
        indices = indices.cpu()
        weights = self.weights.reshape(self.space.num_slots, self.space.num_choices)
        fit = weights[torch.arange(self.space.num_slots), indices].sum(1) + self.mean
        fit = fit.clamp(self.guess, self.best)
        connected = self.space.is_connected(indices)
        self.num_asked += int(connected.sum())
        if self.look_up:
            keys = self.space.keys(indices)
            at = torch.searchsorted(self.keys, keys).clamp(max=len(self.keys) - 1)
            measured = self.keys[at] == keys
            self.num_measured += int((connected & measured).sum())
            fit = torch.where(measured, self.known[at], fit)
        return torch.where(connected, fit, self.guess)


def _restricted(space: SearchSpace) -> str:
    """What `Prior.detail` adds where contributions are not the Shapley values of one game."""
    played = describe_games(space)
    return f"; {played}" if "restricted" in played else ""


def mean_of_each(space: SearchSpace, indices: torch.Tensor, scores: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """One row and the mean score of each distinct architecture; neither order nor repetition make a difference.

    Returns
    -------
    LongTensor (classes, slots), FloatTensor (classes,)
    """
    rows, which = space.classes(indices)
    return rows, group_means(scores, which, len(rows)).float()


def measure(
    space: SearchSpace, task: str | None, good: torch.Tensor, value: Callable[[torch.Tensor], torch.Tensor]
) -> Prior:
    """Average contributions over good architectures ``(n, slots)``, with `value` giving scores in percent."""
    one_hot = torch.nn.functional.one_hot(good, space.num_choices).float()  # (n, slots, choices)
    count = one_hot.sum(0)
    operations = torch.full((len(good), space.num_slots), torch.nan, dtype=torch.float32, device="cpu")
    players = operation_players(space)
    operations[:, [slots[0] for slots in players]] = shapley_contributions(space, good, value, players)
    gain = operations.nan_to_num().sum(1).mean()
    per_slot = torch.full((len(good), space.num_slots), torch.nan, dtype=torch.float32, device="cpu")
    subgraphs = []
    nodes = subgraph_players(space)
    by_node = shapley_contributions(space, good, value, nodes)
    for player, slots in enumerate(nodes):
        per_slot[:, slots] = by_node[:, player, None]
        patterns, inverse = good[:, slots].unique(dim=0, return_inverse=True)
        counts = torch.bincount(inverse)
        total = torch.zeros(len(patterns), dtype=torch.float32).index_add_(0, inverse, by_node[:, player])
        means = total / counts
        subgraphs += [
            Subgraph(tuple(slots), tuple(pattern), mean, number)
            for pattern, mean, number in zip(patterns.tolist(), means.tolist(), counts.tolist(), strict=True)
        ]

    def mean_by_choice(values: torch.Tensor) -> torch.Tensor:  # 0 / 0 is NaN: not seen
        return (one_hot * values.nan_to_num()[..., None]).sum(0) / torch.where(
            values.isnan().any(0)[:, None], 0, count
        )

    return Prior(
        space,
        task,
        "measured",
        mean_by_choice(operations),
        mean_by_choice(per_slot),
        one_hot.mean(0),
        tuple(subgraphs),
        scale=max(float(gain) / len(players), 1e-3),
        num_good=len(good),
    )
