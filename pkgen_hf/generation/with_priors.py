"""The priors of a pipeline: which of them applies, and how similar a space is to theirs."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ..errors import warn
from ..hub import download as hub
from ..priors.files import Priors, load_folder
from ..priors.prior import Prior, select_prior
from ..priors.relevance import relevance_of
from ..spaces import SearchSpace, TaskLike, get_space


class WithPriors:
    """Part of the pipeline that holds its priors."""

    denoiser: Any
    config: Any
    _priors: Priors | None
    _priors_lock = threading.RLock()  # while they are read

    @property
    def priors(self) -> Priors:
        """Priors of the checkpoint, read from its folder at the first access."""
        with self._priors_lock:
            if self._priors is None:
                part = self.denoiser.config.get("_name_or_path")
                folder = hub.whole_folder(self.config.get("_name_or_path"), part) or hub.folder_of_part(part)
                self._priors = Priors() if folder is None else Priors(*load_folder(folder))
            return self._priors

    @priors.setter
    def priors(self, priors: Sequence[Prior]) -> None:
        self._priors = Priors(priors)

    def select_prior(self, space: SearchSpace, task: TaskLike | None, prior: Prior | None) -> Prior:
        """The given prior, if it is of the space; without one, the best of the checkpoint for the task.

        Warns if no prior of the checkpoint applies: samples are then close to uniform.
        """
        space.resolved(task)
        if prior is None:
            chosen = select_prior(self.priors, space, task)
            if chosen.evidence == "absent":
                warn(
                    f"no prior for {space.name}: none of the {len(self.priors)} priors of this pipeline applies, so "
                    "that samples are hardly better than uniform ones. Load the pipeline with "
                    "PKGenPipeline.from_pretrained, give it priors=, or pass prior=",
                )
            return chosen
        if not isinstance(prior, Prior):
            raise ValueError(f"prior must be a Prior, got {prior!r}; Prior.load reads one from a file")
        space.check_same(prior.space, "this prior", f"; Prior.carried_over({space.name!r}, [prior]) makes one of it")
        return prior

    def carried_prior(self, space: SearchSpace, task: TaskLike | None) -> Prior:
        """As `select_prior` without a prior, for a call without evaluations, which has nothing else to go by.

        Warns, once for each space and reason, of what is missing where priors are of other spaces; where these do not
        apply, the prior is absent, see `Relevance`.
        """
        chosen = self.select_prior(space, task, None)
        if chosen.evidence != "from other spaces":
            return chosen
        relevance = relevance_of(self.priors, space, task)
        # by its hash, so that the space can be freed
        warned: set[tuple[int, str]] = self.__dict__.setdefault("_warned", set())
        for reason, text in relevance.missing().items():
            if (hash(space), reason) not in warned:
                warned.add((hash(space), reason))
                warn(text)
        if relevance.weight:
            return chosen
        return replace(Prior.absent(space, task), detail=f"left out: {chosen.detail}")

    def similarity_to_training(self, space: str | SearchSpace, task: TaskLike | None = None) -> float:
        """Similarity of a space, or of that of a name, to the most similar space of the priors, 0 to 1.

        Its square weights the denoiser's correction, see `Condition`. It compares what slots and choices are, see
        `space_similarity`, and is 0 where priors of other spaces do not apply to the data of the task, by default the
        space's first, see `Relevance`. ValueError for an unknown name.
        """
        space, known = get_space(space), {prior.space for prior in self.priors}
        if not known or space in known:
            return 1.0
        relevance = relevance_of(self.priors, space, task)
        return relevance.similarity * relevance.weight

    def has_prior_of_data(self, space: SearchSpace, task: TaskLike | None, prior: Prior) -> bool:
        """Whether a prior was measured or computed in its space, or is of data that say something of the task's."""
        if prior.is_of_its_space or prior.evidence in ("computed", "absent"):
            return prior.evidence != "absent"
        return relevance_of(self.priors, space, task).weight > 0

    familiarity = similarity_to_training  # its former name
