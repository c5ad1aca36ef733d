"""Whether priors of other spaces apply to a space and task: by the sort of data, costs, and what choices are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..spaces import SearchSpace, TaskLike
from ..spaces.tasks import data_of
from .data import PriorData
from .transfer import space_similarity, task_kind

# Other data whose priors apply where there are none of a sort. Calibrated on held-out spaces, whose priors of the same
# sort were taken away: from texts to images (NAS-Bench-101, DARTS, OFA; six more with graphs beside) and from images
# to texts (HW-GPT-Bench-S and NAS-Bench-BERT) a set was better than a uniform one by its median in every space; from
# both to graphs it was worse on six of nine data sets. Of sound there was no table: that cells for images carry over
# to it is what Xie et al. (2025) report. A task of the kind "other" may be of any data.
RELATED = {"images": ("texts",), "texts": ("images",), "sound": ("images", "texts"), "": ("images", "texts")}
# Of slots and choices, below which nothing carries over but the trend with costs. Held-out spaces from 0.07 on were
# better than uniform with it.
LEAST_SIMILARITY = 0.05
NOUNS = {"images": "an image", "graphs": "a graph", "sound": "a speech", "texts": "a text"}


@dataclass(frozen=True)
class Relevance:
    """What priors of other spaces have in common with a space and task.

    Attributes
    ----------
    space
        Of which nothing was measured.
    data
        What its networks read for the task, see `data_of`.
    known
        The sorts of data that the priors are of.
    has_costs
        Whether anything is known of what choices cost.
    similarity
        Of slots and choices, to those of the most similar space, see `space_similarity`.
    """

    space: SearchSpace
    data: str
    known: tuple[str, ...]
    has_costs: bool
    similarity: float

    @property
    def has_data(self) -> bool:
        """Whether a prior is of the same sort of data."""
        return bool(self.data) and self.data in self.known

    @property
    def weight(self) -> float:
        """Share of what is carried over that counts, the rest being uniform: 1 or, where it does not apply, 0."""
        is_related = self.has_data or bool({*RELATED.get(self.data, ())} & {*self.known})
        return float(is_related and (self.has_costs or self.similarity >= LEAST_SIMILARITY))

    def missing(self) -> dict[str, str]:
        """What is missing, and what would help, in a sentence each, by a word for the reason."""
        found = {}
        effect = "what is carried over says less" if self.weight else "architectures are uniform random ones"
        if not self.data:
            found["kind"] = (
                f'no prior of a task of the kind "other": {effect}; give {self.space.name} a Task of a kind that says '
                "what its networks read, evaluations= or prior="
            )
        elif not self.has_data:
            others = f"they are of {_listed(self.known)}, so that " if self.known else ""
            found["kind"] = f"no prior of {NOUNS[self.data]} task: {others}{effect}; give evaluations= or prior="
        if not self.has_costs:
            found["costs"] = (
                f"{self.space.name} has no parameters(), and nothing follows from the descriptions of its choices: "
                "costs are what carries over best, give it build= or describe its choices (docs/own-space.md)"
            )
            if self.similarity < LEAST_SIMILARITY:
                found["descriptions"] = (
                    f"no space of the priors has slots and choices like those of {self.space.name}: {effect}; "
                    "give evaluations= or prior="
                )
        return found


def _listed(names: Sequence[str]) -> str:
    """Names as in a sentence: ``a, b and c``."""
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def relevance_of(priors: Sequence[PriorData], space: SearchSpace, task: TaskLike | None) -> Relevance:
    """What the priors, which are of other spaces, have in common with a space and task."""
    spaces = {prior.space for prior in priors}
    known = dict.fromkeys(data_of(task_kind(prior.space, prior.task)) for prior in priors)
    return Relevance(
        space,
        data_of(task_kind(space, task)),
        tuple(sorted(data for data in known if data)),
        bool(space.cost_effects[..., 2].any()),
        min(1.0, max((space_similarity(other, space) for other in spaces), default=0.0)),
    )
