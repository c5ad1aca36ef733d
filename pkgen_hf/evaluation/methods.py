"""The methods that results compare: one definition each, under an id that results files hold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch

from . import generators, pools, sampling, searches, specification
from .problem import Problem

Choose = Callable[[Problem, int], torch.Tensor]
"""From a problem and a number to distinct architectures ``(up to num, slots)``: a set, best first by the method's own
order, or what a search has read, in that order."""
TEMPERATURES = (1.0, 0.5, 0.25, 0.125)  # of the prior alone


def _always(problem: Problem) -> bool:
    return True


@dataclass(frozen=True)
class Method:
    """A way to get architectures.

    Attributes
    ----------
    id
        What results files hold under ``method``; it never changes.
    name
        What tables and figures print.
    choose
        See `Choose`.
    applies
        Whether the method can solve a problem.
    is_baseline
        Whether it is one that PKGen is compared with.
    is_search
        Whether it reads labels in turns.
    reads
        Whose labels it uses: of the ``"pipeline"``, the ``"given"`` ones, those of the ``"others"``, see `Problem`, or
        those of the ``"prior"``: the given ones, without any those of the pipeline.
    """

    id: str
    name: str
    choose: Choose
    applies: Callable[[Problem], bool] = _always
    is_baseline: bool = True
    is_search: bool = False
    reads: tuple[str, ...] = ()

    def uses_pipeline(self, has_labels: bool) -> bool:
        """Whether labels that the pipeline has read count, where labels of the target are given or not."""
        return "pipeline" in self.reads or ("prior" in self.reads and not has_labels)


PKGEN = ("pipeline", "given")


def _prior(temperature: float) -> Method:
    choose = partial(sampling.prior_alone, temperature=temperature)
    return Method(f"prior-{temperature:g}", f"prior alone, temperature {temperature:g}", choose, reads=("prior",))


METHODS = {
    method.id: method
    for method in (
        Method("pkgen", "PKGen", generators.generate, is_baseline=False, reads=PKGEN),
        Method("pkgen-raw", "PKGen, samples as they come", generators.raw_samples,
               applies=lambda problem: not problem.limits and problem.given is None, is_baseline=False,
               reads=PKGEN),
        Method("uniform", "uniform random", sampling.uniform),
        Method("copy", "copy of the best elsewhere", sampling.copy, lambda problem: problem.others is not None,
               reads=("others",)),
        Method("largest", "largest network", specification.largest, specification.has_costs),
        Method("spectral-capacity", "spectral capacity", specification.highest_spectral_capacity,
               specification.has_weight_matrices),
        *map(_prior, TEMPERATURES),
        Method("pool-ranking", "pool by PKGen's ranking", pools.by_ranking, reads=PKGEN),
        Method("pool-gaussian-process", "pool by a Gaussian process", pools.by_gaussian_process,
               lambda problem: problem.given is not None, reads=("given",)),
        Method("pool-random-forest", "pool by a random forest", pools.by_random_forest,
               lambda problem: problem.given is not None, reads=("given",)),
        Method("ask-tell", "PKGen, ask and tell", searches.ask_tell, is_baseline=False, is_search=True,
               reads=PKGEN),
        Method("first-ranked", "PKGen, its own ranking", searches.first_ranked, is_baseline=False,
               is_search=True, reads=PKGEN),
        Method("random-search", "random search", searches.random_search, is_search=True),
        Method("gaussian-process", "Gaussian process", searches.gaussian_process_search, is_search=True),
        Method("evolution", "regularized evolution", searches.regularized_evolution, is_search=True),
        Method("local-search", "local search", searches.local_search, is_search=True),
        Method("tpe", "TPE (Optuna)", searches.tree_parzen, is_search=True),
    )
}  # fmt: skip
"""Every method of ``results/``, by its id, in the order of tables."""
