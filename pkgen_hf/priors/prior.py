"""`Prior`: prior knowledge of what makes architectures of a space good, and every way to get it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from ..inputs import Architectures
from ..spaces import SearchSpace, TaskLike, get_space
from .data import PriorData, absent
from .from_function import NUM_RANDOM, Function, from_function
from .transfer import carried_over, select

if TYPE_CHECKING:
    from ..benchmarks.score_table import ScoreTable


class Prior(PriorData):
    """Prior knowledge: what each choice contributed in good architectures of one space (and task).

    It is made by `from_benchmark`, `from_evaluations`, `from_function`, `carried_over` or `absent`, and read by `load`
    or `from_hub`.

    Attributes
    ----------
    space
        The search space.
    task
        The data set (of the user's own as in `Task.label`); a kind of task, for a consensus over data sets of that
        kind; None for an average over data sets.
    evidence
        ``"measured"``: (nearly) every reduced network was measured; ``"partly measured"``: some or all of their scores
        were predicted by an additive fit to the evaluations; ``"carried over"``: from other tasks of the space;
        ``"from other spaces"``; ``"computed"``: contributions to a function of architectures, for which nothing was
        measured; ``"absent"``.
    contributions
        Mean Shapley value of each (slot, choice) as an operation, ``FloatTensor (slots, choices)`` in units of the
        score, NaN where no good architecture has it or the slot cannot be removed. Exact in spaces of up to 8
        operations whose reduced networks were all measured; `games` and `evidence` say where they are not.
    subgraph_contributions
        Mean Shapley value of the one-hop subgraphs that hold the (slot, choice); same shape and unit.
    frequencies
        Share of the good architectures with each (slot, choice); rows sum to 1.
    subgraphs
        The one-hop subgraphs themselves.
    scale
        Percent points that an average slot contributed: the unit in which contributions are compared across tasks.
    num_good
        Good architectures that the averages are over.
    labels_read
        Measured scores that were read to make this prior.
    detail
        One sentence on how it was made, also where contributions are those of restricted games.
    effects
        Effects of choices and of pairs of choices over all architectures that were measured, good or not, by which
        the pipeline orders those within a budget; None of a prior that is not from a benchmark.
    """

    @classmethod
    def of(cls, prior: PriorData) -> Prior:
        """The same data as a `Prior`; a `Prior` as it is."""
        return prior if isinstance(prior, cls) else cls(**vars(prior))

    # ------------------------------------------------------------------ making one

    @classmethod
    def from_benchmark(
        cls,
        space: str | SearchSpace,
        task: TaskLike | None,
        top_k: int = 20,
        table: ScoreTable | str | Path | None = None,
        selection: str = "best",
        generator: torch.Generator | None = None,
    ) -> Prior:
        """Contributions over the `top_k` architectures by validation score, from the benchmark's measurements.

        Isomorphic architectures count as one, with the mean of their scores. Contributions are exact Shapley values
        where the benchmark measured (nearly) the whole space and all components play one game (see `games`). Where it
        measured a sample, an additive fit (ridge regression on choices) to all that was measured predicts the scores
        of reduced networks, and the evidence is "partly measured".

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

        Raises
        ------
        ValueError
            For an unknown space, task or selection, or more architectures than were measured.
        """
        from .from_benchmark import from_benchmark

        return cls.of(from_benchmark(get_space(space), task, top_k, table, selection, generator))

    @classmethod
    def from_evaluations(
        cls,
        space: str | SearchSpace,
        architectures: Architectures,
        scores: Sequence[float] | torch.Tensor,
        task: TaskLike | None = None,
        top_k: int = 20,
    ) -> Prior:
        """A prior from your own evaluations, of 5 architectures or more.

        An architecture that was evaluated several times, or in several isomorphic forms, counts once, with the mean of
        its scores. Contributions are averaged over the best quarter (at least 3, at most `top_k`). A reduced network
        that was evaluated has its own score, a disconnected one the chance score, and an additive fit (ridge
        regression on choices) to the evaluations predicts the others. `evidence` and `detail` say how many were
        measured.

        Parameters
        ----------
        space
            The search space.
        architectures
            `Architecture` objects, the benchmark's strings, or indices ``(n, slots)``; see `pkgen_hf.inputs`.
        scores
            One for each, higher is better, in percent; NaN (or None) of a run that failed, which is left out.
        task
            A task of the space, for its chance score, or a kind of task; there and without one the lowest score is
            taken as the chance score. Of a `Task` of your own the chance score counts where it is below all scores,
            and the prior's `task` is its `Task.label`.

        Raises
        ------
        ValueError
            For fewer than 5 architectures, lengths that differ, scores that are infinite or all equal, or an
            architecture of another space.
        """
        from .from_evaluations import from_evaluations

        return cls.of(from_evaluations(get_space(space), architectures, scores, task, top_k))

    @classmethod
    def from_function(
        cls,
        space: str | SearchSpace,
        function: Function | str,
        task: TaskLike | None = None,
        top_k: int = 20,
        num_random: int = NUM_RANDOM,
        generator: torch.Generator | None = None,
    ) -> Prior:
        """Contributions to a score that needs no training, for a space of which nothing was measured.

        The good architectures are the `top_k` best by the function among `num_random` distinct random ones.
        Contributions are exact Shapley values of the function where all components play one game (see `games`): it is
        asked for every reduced network. A disconnected one has the lowest score of the random ones, without asking.

        Parameters
        ----------
        space
            The search space.
        function
            ``LongTensor (n, slots) -> FloatTensor (n,)``: scores of distinct architectures, given as the indices of
            their choices, higher is better, equal for isomorphic ones. Reduced networks are connected, but need not be
            among those that the space holds valid. Or ``"spectral-capacity"``, that of the networks' weight matrices
            (Zhu et al., NSC, 2026), in spaces that list them.
        task
            The prior's task, at whose scale spectral capacity is counted (by default the space's first data set).
        top_k
            How many good architectures.
        num_random
            How many random ones; fewer where the space has fewer.
        generator
            Of the random ones; by default always the same.

        Raises
        ------
        ValueError
            For an unknown name, a function that does not return one finite number for each architecture or returns the
            same for all, or more good architectures than random ones.
        NotImplementedError
            For spectral capacity of a space that lists no weight matrices.
        """
        return cls.of(from_function(get_space(space), function, task, top_k, num_random, generator))

    @classmethod
    def carried_over(cls, space: str | SearchSpace, priors: Sequence[Prior], task: TaskLike | None = None) -> Prior:
        """A prior for a space or task without measurements, transferred from priors of others.

        Priors of the same space are averaged, and those of other spaces are left out if there are any. From another
        space, every (slot, choice) takes what the choices with a similar description have in the slots with the most
        similar place; where nothing is similar, the trend of frequencies with costs in the other space.

        Raises
        ------
        ValueError
            If `priors` is empty.
        """
        priors = [priors] if isinstance(priors, Prior) else list(priors)
        if not priors:
            raise ValueError("carried_over needs at least one prior")
        return cls.of(carried_over(get_space(space), priors, task))

    @classmethod
    def absent(cls, space: str | SearchSpace, task: TaskLike | None = None) -> Prior:
        """No knowledge: no contribution is known and every choice is as frequent."""
        return cls.of(absent(get_space(space), task))

    # ------------------------------------------------------------------ files

    def save(self, path: str | Path) -> Path:
        """Write as Parquet, by way of a temporary file."""
        from .parquet import save_priors

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
        from .parquet import read_priors

        wanted = None if space is None else get_space(space)
        priors = read_priors(path, [] if wanted is None else [wanted])
        if len(priors) != 1:
            raise ValueError(f"{path} holds {len(priors)} priors; use load_priors")
        if wanted is not None and priors[0].space != wanted:
            raise ValueError(f"{path} holds a prior of {priors[0].space.name}, not of {wanted.name}")
        return cls.of(priors[0])

    @classmethod
    def from_hub(
        cls,
        repo_id: str,
        space: str | SearchSpace,
        task: TaskLike | None = None,
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
            A data set of the space, a kind of task, or a `Task` of your own; None for the average over data sets.
            Where it has no prior of its own, one is carried over, as in a call of the pipeline.
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
        from .parquet import read_priors

        space = get_space(space)
        space.resolved(task)
        folder = Path(repo_id)
        if not folder.is_dir():
            patterns = [f"{space.name}/*.parquet"]
            folder = hub.download(repo_id, patterns, "dataset", revision, cache_dir, local_files_only, token)
        files = sorted((folder / space.name).glob("*.parquet"))
        priors = [prior for file in files for prior in read_priors(file, [space])]
        if not priors:
            raise ValueError(f"the data set {repo_id} has no priors of {space.name}")
        return cls.of(select(priors, space, task))

    def plot(self, path: str | Path) -> Path:
        """Draw contributions and frequencies to a PNG or SVG file."""
        from ..drawing.heat_maps import draw_prior

        return draw_prior(self, path)


def select_prior(priors: Sequence[Prior], space: SearchSpace, task: TaskLike | None) -> Prior:
    """The best prior at hand for a space and task.

    The task's own (for a `Task` of the user's own that of its label, else of its kind); else one carried over from the
    space's other tasks, those of the same kind if there are any; else from other spaces, of which the priors for the
    same kind of task are read (else those for the kinds that share most traits with it), a consensus in place of
    single tasks. Without a task, the average over the space's tasks. Absent if there is none.
    """
    return Prior.of(select(priors, space, task))
