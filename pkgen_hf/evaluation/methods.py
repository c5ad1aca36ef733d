"""The methods that results compare: one definition each, under an id that results files hold."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Method:
    """A way to get architectures.

    Attributes
    ----------
    id
        What results files hold under ``method``; it never changes.
    name
        What tables and figures print.
    is_baseline
        Whether the denoiser has no part in it.
    """

    id: str
    name: str
    is_baseline: bool = False


METHODS = {
    method.id: method
    for method in (
        # generation by the pipeline
        Method("pkgen", "PKGen"),
        Method("pkgen-distinct", "PKGen, distinct"),
        Method("pkgen-ranking", "PKGen, its own ranking"),
        Method("pkgen-filtered", "PKGen without limit, then filtered"),
        Method("pkgen-prior-best", "PKGen, prior of the best 20"),
        Method("pkgen-prior-random", "PKGen, prior of a random 20"),
        Method("pkgen-prior-worst", "PKGen, prior of the worst 20"),
        Method("pkgen-prior-dropped", "PKGen, prior dropped"),
        # sampling without the denoiser
        Method("prior", "prior alone", is_baseline=True),
        Method("prior-0.5", "prior alone, temperature 0.5", is_baseline=True),
        Method("prior-0.125", "prior alone, temperature 0.125", is_baseline=True),
        Method("prior-0.5-filtered", "prior alone, temperature 0.5, filtered", is_baseline=True),
        Method("uniform", "uniform random", is_baseline=True),
        Method("uniform-within", "uniform random within the limit", is_baseline=True),
        Method("largest-within", "largest within the budget", is_baseline=True),
        Method("spectral-capacity", "spectral capacity within the budget", is_baseline=True),
        # searches that read labels
        Method("evolution", "regularized evolution", is_baseline=True),
        Method("local-search", "local search", is_baseline=True),
        Method("tpe", "TPE (Optuna)", is_baseline=True),
    )
}
"""Every method of ``results/``, by its id, in the order of tables."""
