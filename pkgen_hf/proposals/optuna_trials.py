"""What the trials of an Optuna study say of architectures: scores, failures, and what is being trained."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

import torch
from optuna.distributions import CategoricalDistribution
from optuna.trial import BaseTrial, FrozenTrial, TrialState

from ..architecture import Architecture
from ..errors import shortened
from ..spaces import SearchSpace
from .record import Evaluation, Record

ANNOUNCED = "pkgen:architecture"  # attribute of a trial: what is proposed for it, the choice of each slot by name
LARGEST = 1e24  # absolute value of a score; what is larger is no score
PRUNED_STEP = 1e-3  # by how much a pruned trial is worse than the next better one, in units of the worst score
MEASURED = (TrialState.COMPLETE, TrialState.PRUNED)
TRAINED = (TrialState.COMPLETE, TrialState.FAIL)


class Parameters:
    """The parameters of trials that stand for the slots of a space: one categorical each, slot and choices by name.

    A slot without effect has no parameter (see `Slot.active_if`); where a trial has one, it makes no difference.
    """

    def __init__(self, space: SearchSpace) -> None:
        self.space = space
        self.distributions = {
            slot.name: CategoricalDistribution([choice.name for choice in slot.choices]) for slot in space.slots
        }

    @cached_property
    def _places(self) -> dict[str, dict[str, int]]:
        """The place of each choice, by slot and name."""
        return {
            name: {choice: k for k, choice in enumerate(one.choices)}  # type: ignore[misc]
            for name, one in self.distributions.items()
        }

    def suggested(self, trial: BaseTrial) -> Architecture:
        """The architecture of a trial, one parameter after the other; of a finished one it is read."""
        chosen: dict[str, str] = {}
        for slot in self.space.slots:
            if slot.active_if is None or chosen.get(slot.active_if[0]) in slot.active_if[1]:
                names = [choice.name for choice in slot.choices]
                chosen[slot.name] = trial.suggest_categorical(slot.name, names)
        row = [self._places[name].get(chosen.get(name, ""), 0) for name in self.distributions]
        return Architecture(self.space, row)

    def of(self, architecture: Architecture) -> dict[str, str]:
        """The parameters of an architecture, without those of slots that have no effect."""
        active = self.space.active_slots(architecture.rows)[0].tolist()
        return {
            slot.name: slot.choices[k].name
            for slot, k, is_active in zip(self.space.slots, architecture.indices, active, strict=True)
            if is_active
        }

    def choices(self, named: Mapping[str, Any]) -> dict[int, int]:
        """The choices of those slots that parameters name, by the place of the slot; what is no choice is left out."""
        found = {
            slot: places.get(named[name]) if isinstance(named[name], str) else None
            for slot, (name, places) in enumerate(self._places.items())
            if name in named
        }
        return {slot: choice for slot, choice in found.items() if choice is not None}

    def read(self, named: Sequence[Mapping[str, Any]]) -> tuple[torch.Tensor, torch.Tensor]:
        """Architectures of many trials.

        Returns
        -------
        rows : LongTensor (trials, slots), 0 where there is no parameter
        is_missing : BoolTensor (trials, slots), slots that have an effect but no parameter
        """
        choices = [self.choices(one) for one in named]
        given = [[found.get(slot, -1) for slot in range(self.space.num_slots)] for found in choices]
        rows = torch.tensor(given, dtype=torch.long, device="cpu").reshape(-1, self.space.num_slots)
        is_missing = (rows < 0) & self.space.active_slots(rows.clamp(min=0))
        return rows.clamp(min=0), is_missing


class Trials:
    """The trials of a study, but one, as evaluations and pending architectures.

    Parameters
    ----------
    parameters
        Of the space.
    study
        Its name, for errors.
    trials
        All, in order.
    sign
        1 if a higher value is better, -1 if a lower one is.

    Raises
    ------
    ValueError
        If the study is of another space.
    """

    def __init__(self, parameters: Parameters, study: str, trials: Iterable[FrozenTrial], sign: int) -> None:
        self.parameters, self.study, self.sign = parameters, study, sign
        found = [(trial, named) for trial in trials if (named := _named(trial))]
        for trial, _ in found:
            self._check_choices(trial)
        rows, is_missing = parameters.read([named for _, named in found])
        is_whole = ~is_missing.any(1)
        for number in (~is_whole).nonzero()[:, 0].tolist():
            if found[number][0].state in MEASURED:
                self._refuse(found[number][0], int(is_missing[number].int().argmax()))
        architectures = iter(Architecture.from_batch(parameters.space, rows[is_whole]))
        self.trials: list[tuple[FrozenTrial, Architecture]] = [
            (trial, next(architectures)) for (trial, _), whole in zip(found, is_whole.tolist(), strict=True) if whole
        ]

    def numbers_of(self, architecture: Architecture) -> list[int]:
        """Numbers of the trials of an architecture."""
        return [trial.number for trial, other in self.trials if other == architecture]

    def record(self) -> Record:
        """Evaluations in the order of trials, pruned ones last, and what is pending.

        The values of pruned trials do not compare with those of complete ones. As in Optuna's tree-structured Parzen
        estimator they are worse than all of them, among each other the better the later they were pruned, at the same
        step by the last reported value; where an architecture has a complete trial, they do not count.
        """
        finished = [
            (trial, one) for trial, one in self.trials if trial.state in (TrialState.COMPLETE, TrialState.FAIL)
        ]
        evaluations = [(one, self._score(trial)) for trial, one in finished]
        scored = {one for one, score in evaluations if not math.isnan(score)}
        pruned = [(one, self._survival(trial)) for trial, one in self.trials if trial.state == TrialState.PRUNED]
        evaluations += _below(evaluations, [(one, key) for one, key in pruned if one not in scored])
        pending = dict.fromkeys(one for trial, one in self.trials if not trial.state.is_finished())
        return Record().asked(list(pending)).told(evaluations)

    def _score(self, trial: FrozenTrial) -> float:
        """Higher is better; NaN for a training that failed, or a value that is no score, such as infinity."""
        value = math.nan if trial.state == TrialState.FAIL else self.sign * float(trial.values[0])
        return value if abs(value) <= LARGEST else math.nan

    def _survival(self, trial: FrozenTrial) -> tuple[float, float]:
        """Last step and the value reported at it, by which pruned trials are ordered, higher is better."""
        if trial.last_step is None:
            return -math.inf, -math.inf
        value = self.sign * float(trial.intermediate_values[trial.last_step])
        return trial.last_step, -math.inf if math.isnan(value) else value

    def _check_choices(self, trial: FrozenTrial) -> None:
        for name, expected in self.parameters.distributions.items():
            there = trial.distributions.get(name)
            if there is None:
                continue
            choices = getattr(there, "choices", None)
            if choices != expected.choices:
                given = shortened(there) if choices is None else ", ".join(map(str, choices))
                raise self._of_another(
                    f"its parameter {name!r} has {given}, not {', '.join(map(str, expected.choices))}"
                )

    def _refuse(self, trial: FrozenTrial, slot: int) -> None:
        missing = self.parameters.space.slots[slot].name
        there = shortened(list(trial.params))
        raise self._of_another(f"its trial {trial.number} has no parameter {missing!r}, but {there}")

    def _of_another(self, difference: str) -> ValueError:
        return ValueError(f"study {shortened(self.study)} is not of {self.parameters.space.name}: {difference}")


def _named(trial: FrozenTrial) -> dict[str, Any]:
    """The choices of a trial by name; while it runs or waits with those that it will have."""
    if trial.state.is_finished():
        return trial.params
    attributes = trial.system_attrs
    return {**attributes.get(ANNOUNCED, {}), **attributes.get("fixed_params", {}), **trial.params}


def _below(
    evaluations: Sequence[Evaluation], pruned: Sequence[tuple[Architecture, tuple[float, float]]]
) -> list[Evaluation]:
    """Scores of pruned trials, below all others, in their order; equal ones are equal."""
    scores = [score for _, score in evaluations if not math.isnan(score)]
    worst = min(scores, default=0.0)
    ranks = {key: rank for rank, key in enumerate(sorted({key for _, key in pruned}, reverse=True), start=1)}
    step = PRUNED_STEP * max(1.0, abs(worst))
    return [(one, worst - ranks[key] * step) for one, key in pruned]
