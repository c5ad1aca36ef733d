"""PKGen as a sampler of Optuna: many workers on many machines share the trials of one study."""

from __future__ import annotations

import threading
import zlib
from collections.abc import Mapping
from typing import Any

from ..architecture import Architecture
from ..errors import shortened
from ..inputs import on_cpu, to_architecture
from ..pipeline_pkgen import PKGenPipeline
from ..priors.prior import Prior
from ..spaces import SearchSpace, TaskLike
from .candidates import Candidates
from .record import Record, stacked

try:
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler, RandomSampler
    from optuna.study import Study, StudyDirection
    from optuna.trial import BaseTrial, FrozenTrial, create_trial

    from .optuna_trials import ANNOUNCED, Parameters, Trials
except ModuleNotFoundError as error:
    if error.name != "optuna":
        raise
    raise ModuleNotFoundError(
        "PKGenSampler is a sampler of Optuna: pip install 'pkgen-hf[optuna]'", name="optuna"
    ) from None

ATTEMPTS = 10  # proposals for one trial while other workers propose the same at the same moment


class PKGenSampler(BaseSampler):
    """Proposes what `Proposer` does, controls included, from the finished and running trials of an Optuna study.

    The objective gets its architecture from `architecture`, which suggests a categorical parameter for each slot. All
    are proposed together, once for each trial, and a proposal is valid and new: neither evaluated, nor failed, nor
    running or enqueued. The same trials and seed give the same proposals, in any process.

    - A complete trial is an evaluation, whoever proposed it: this sampler, another one, ``enqueue_trial`` or
      ``add_trial``. If the study minimises, lower values are better. An infinite value counts as a failure.
    - A failed trial is a training that failed, which ranks below all others; it does not count if the same
      architecture has a complete trial.
    - A pruned trial ranks below all complete ones, among pruned ones by its last step, then by the value reported
      there, as in Optuna's tree-structured Parzen estimator.
    - Of a trial with fixed parameters (``enqueue_trial`` with some of the slots) the others are proposed for these.
    - Parameters that are no slots are drawn at random and not learnt from.

    Workers need no lock. Each announces its proposal in the storage, in one write, and reads the trials again. If
    another trial has the same architecture, it proposes anew, beside what the others announced by then: of the workers
    that met in one architecture, that of the k-th lowest trial number takes the k-th best, and one further down with
    each further attempt. Only a worker that met another one in all of `ATTEMPTS` proposals keeps the last.

    Parameters
    ----------
    pipe
        The pipeline that generates architectures. Its own priors, without the target's labels, are the start.
    space, task
        What the architectures are for, as in a call of the pipeline.
    prior
        The start, in place of the pipeline's own choice.
    seed
        Everything random follows from it and from the trials of the study.

    Raises
    ------
    ModuleNotFoundError
        On import, without Optuna: ``pip install 'pkgen-hf[optuna]'``.
    ValueError
        For an unknown space or task; while sampling, for a study of several objectives or of another space, or if no
        architecture is left.
    """

    def __init__(
        self,
        pipe: PKGenPipeline,
        space: str | SearchSpace,
        task: TaskLike | None = None,
        prior: Prior | None = None,
        seed: int = 0,
    ) -> None:
        self._candidates = Candidates.of(pipe, space, task, prior, seed)
        self.space, self.task = self._candidates.space, self._candidates.task
        self._parameters = Parameters(self.space)
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _lock=threading.Lock())

    # ------------------------------------------------------------------ of architectures and trials

    def architecture(self, trial: BaseTrial) -> Architecture:
        """The architecture of a trial: suggested in an objective, or read from a finished trial.

        It suggests one categorical parameter for each slot that has an effect, named as the slot, whose values are the
        names of choices. Under another sampler it suggests the same parameters, also of invalid architectures (see
        `Architecture.is_valid`).
        """
        return self._parameters.suggested(trial)

    def params(self, architecture: Architecture | str) -> dict[str, str]:
        """The parameters of an architecture, as ``study.enqueue_trial`` takes them."""
        return self._parameters.of(to_architecture(self.space, architecture))

    def evaluated(self, architecture: Architecture | str, value: float) -> FrozenTrial:
        """A complete trial of an architecture with its value, as ``study.add_trial`` takes it."""
        params = self.params(architecture)
        distributions = {name: self._parameters.distributions[name] for name in params}
        return create_trial(params=params, distributions=distributions, value=value)  # type: ignore[arg-type]

    # ------------------------------------------------------------------ what Optuna calls

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """All slots; ValueError for a study of several objectives."""
        if len(study.directions) > 1:
            raise ValueError(
                f"PKGenSampler takes studies of one objective; {shortened(study.study_name)} has "
                f"{len(study.directions)}"
            )
        return dict(self._parameters.distributions)

    @on_cpu
    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """The parameters of the next architecture, for all slots of `search_space`; ValueError as of the class.

        Empty if the trial was enqueued with a whole architecture.
        """
        given = {**trial.system_attrs.get("fixed_params", {}), **trial.params}
        _, is_missing = self._parameters.read([given])
        if not search_space or not is_missing.any():
            return {}
        with self._lock:  # of threads; see the class for processes
            proposed = self._propose(study, trial, self._parameters.choices(given))
        names = {slot.name: slot.choices[k].name for slot, k in zip(self.space.slots, proposed.indices, strict=True)}
        return {name: names[name] for name in search_space}

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """A random value of a parameter that is no slot; it follows from seed, trial and name."""
        seed = zlib.crc32(f"{self._candidates.seed} {trial.number} {param_name}".encode())
        return RandomSampler(seed).sample_independent(study, trial, param_name, param_distribution)

    # ------------------------------------------------------------------ proposing

    def _propose(self, study: Study, trial: FrozenTrial, fixed: Mapping[int, int]) -> Architecture:
        """An architecture that no other trial has, announced in the storage."""
        others, place = self._others(study, trial), 0
        for attempt in range(ATTEMPTS):
            record = others.record()
            num = min(place + 1, self._num_left(study, record))
            row = self._candidates.best(record, num, fixed)[num - 1]
            proposed = Architecture(self.space, row.tolist())
            study._storage.set_trial_system_attr(trial._trial_id, ANNOUNCED, self._parameters.of(proposed))
            others = self._others(study, trial)
            rivals = others.numbers_of(proposed)
            if not rivals:
                break
            # deeper with each attempt, where those that have just begun do not meet it
            place = attempt + sum(number < trial.number for number in rivals)
        return proposed

    def _others(self, study: Study, trial: FrozenTrial) -> Trials:
        """All other trials, as they are in the storage now."""
        trials = [other for other in study.get_trials(deepcopy=False) if other.number != trial.number]
        sign = -1 if study.direction == StudyDirection.MINIMIZE else 1
        return Trials(self._parameters, study.study_name, trials, sign)

    def _num_left(self, study: Study, record: Record) -> int:
        """How many architectures no trial has; ValueError if there are none."""
        used = int(self.space.is_valid(stacked(self.space, record.taken)).sum())
        if used >= self.space.num_architectures:
            raise ValueError(
                f"study {shortened(study.study_name)} holds all {self.space.num_architectures:,} architectures of "
                f"{self.space.name}: none is left to propose"
            )
        return self.space.num_architectures - used
