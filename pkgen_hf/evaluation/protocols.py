"""The protocols that results follow: which labels are read before, what is given, and which budgets hold."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

SETTINGS = {
    "same-benchmark": "the labels of the target were read in training",
    "new-data-set": "no label of the target data set",
    "new-space": "no label of the target space, nor of one measured with it",
}
"""Which labels the checkpoint and its priors have read."""


@dataclass(frozen=True)
class Condition:
    """What a set of architectures is generated under, beside space and task.

    Attributes
    ----------
    setting
        One of `SETTINGS`.
    num_labels
        Random labels of the target that are given; in a search, labels that it may read.
    quantile
        Of the parameters of random architectures, the upper limit; None without one.
    budgets
        Limits by argument of the pipeline and number, in place of the quantile.
    """

    setting: str
    num_labels: int = 0
    quantile: float | None = None
    budgets: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class Protocol:
    """A protocol of evaluation.

    Attributes
    ----------
    id
        What results files hold under ``protocol``, and the command of ``recipes/reproduce.py``; it never changes.
    title
        What tables print.
    asks
        What it asks, in a sentence.
    settings
        Of `SETTINGS`.
    num_labels
        See `Condition`.
    quantiles
        See `Condition`.
    is_search
        Whether methods choose which labels they read, in turns. Else the given ones are random, and a set of
        architectures is generated at once.
    """

    id: str
    title: str
    asks: str
    settings: tuple[str, ...]
    num_labels: tuple[int, ...] = (0,)
    quantiles: tuple[float | None, ...] = (None,)
    is_search: bool = False

    def conditions(self) -> Iterator[Condition]:
        """Every condition, setting by setting."""
        for setting in self.settings:
            for num_labels in self.num_labels:
                for quantile in self.quantiles:
                    yield Condition(setting, num_labels, quantile)


PROTOCOLS = {
    protocol.id: protocol
    for protocol in (
        Protocol("same-benchmark", "Same benchmark", "a set for a data set that was trained on", ("same-benchmark",)),
        Protocol("new-data-set", "New data set", "a set for a new data set of a known space", ("new-data-set",)),
        Protocol("new-space", "New space", "a set for a space of which nothing was measured", ("new-space",)),
        Protocol("given-labels", "Given labels", "a set, given the scores of n random architectures",
                 ("new-data-set", "new-space"), num_labels=(10, 20, 50, 100)),
        Protocol("under-a-budget", "Under a budget", "a set within a number of parameters",
                 ("same-benchmark", "new-data-set", "new-space"), quantiles=(0.2, 0.35, 0.5, 0.65, 0.8)),
        Protocol("ask-tell", "Ask and tell", "the best of n architectures that a method chooses and reads in turns",
                 ("new-space",), num_labels=(10, 20, 50, 100), is_search=True),
    )
}  # fmt: skip
"""Every protocol of ``results/`` that compares methods, by its id, in the order of pages."""
