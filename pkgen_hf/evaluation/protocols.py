"""The protocols that results follow: what each asks, and which labels its checkpoint and its priors have read."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Protocol:
    """A protocol of evaluation.

    Attributes
    ----------
    id
        What results files hold under ``protocol``, and the command of ``recipes/reproduce.py``; it never changes.
    title
        What tables print.
    reads
        The labels of the target that are read before anything is generated.
    """

    id: str
    title: str
    reads: str

    @property
    def heading(self) -> str:
        """Title and labels read in one line."""
        return f"{self.title}: {self.reads}"


PROTOCOLS = {
    protocol.id: protocol
    for protocol in (
        Protocol("same-benchmark", "Same benchmark", "the bundled checkpoint, which was trained on these labels"),
        Protocol("new-data-set", "New data set", "no label of the target data set"),
        Protocol("new-space", "New space", "no label of the target space, nor of one that was measured with it"),
        Protocol("few-labels", "Few labels", "as in a new space, and the best of a few labels that are then read"),
        Protocol("prior-matters", "Other priors", "the bundled checkpoint with the prior of good and of bad ones"),
        Protocol("limits", "Under limits", "no label of the target data set, or none of its space"),
        Protocol("under-a-budget", "Under a budget", "labels of its own space or of other spaces only"),
        Protocol("rank-by-training", "Trained here", "networks that are trained from scratch and compared"),
        Protocol("quality", "Quality of samples", "validity, uniqueness, novelty, coverage of the best hundredth"),
        Protocol("ablations", "Ablations", "one part changed at a time, same benchmark and new space"),
    )
}
"""Every protocol of ``results/``, by its id, in the order of pages."""
