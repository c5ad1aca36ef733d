"""One request for architectures, as the command line and the app make it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from ..budgets import BUDGETS, Budget
from ..errors import unknown
from ..evidence.evaluations import Evaluations
from ..inputs import Architectures, real_number, whole_number
from ..priors.prior import Prior
from ..spaces import SearchSpace, TaskLike

MAX_GUIDANCE = 100  # as in the pipeline


@dataclass(frozen=True)
class Ceilings:
    """The most that one request may ask for: architectures, denoising steps and guidance scale."""

    architectures: float = math.inf
    steps: float = math.inf
    guidance: float = MAX_GUIDANCE


@dataclass(frozen=True)
class GenerationRequest:
    """What to generate; the pipeline's arguments in plain values.

    Parameters
    ----------
    space, task, num_architectures, num_inference_steps, guidance_scale, temperature, distinct, prior,
    evaluations
        As in a call of `PKGenPipeline`.
    seed
        As `torch.Generator.manual_seed` takes it; None for a random one.
    limits
        Budgets by the pipeline's name of the argument, e.g. ``{"max_parameters": 5e5}``; None is no limit.
    options
        Further arguments of the budgets, e.g. ``{"device": "edgegpu", "latency_table": "latencies.parquet"}``. A
        budget whose options are given is shown in the answer, limited or not.
    ceilings
        The most that may be asked for.

    Raises
    ------
    ValueError
        For an unknown task, budget or option, a number out of range, options that do not belong together, or
        evaluations that are none of the space.
        What only a checkpoint can tell is refused when the request is answered.
    """

    space: SearchSpace
    task: TaskLike | None = None
    num_architectures: int = 8
    seed: int | None = None
    num_inference_steps: int = 1
    guidance_scale: float = 1.0
    temperature: float = 0.5
    distinct: bool = True
    prior: Prior | None = None
    evaluations: tuple[Architectures, Sequence[float] | torch.Tensor] | None = None
    limits: Mapping[str, float | None] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    ceilings: Ceilings = Ceilings()

    def __post_init__(self) -> None:
        most = self.ceilings
        object.__setattr__(self, "task", self.space.resolved(self.task))
        if self.evaluations is not None:
            Evaluations.of(self.space, self.evaluations)
        for name in self.limits:
            if name not in (known := [bound.argument for budget in BUDGETS for bound in budget.bounds]):
                raise unknown("limit", name, known)
        for name in self.options:
            if name not in (known := [option for budget in BUDGETS for option in budget.options]):
                raise unknown("option of a limit", name, known)
        checked = {
            "num_architectures": whole_number(
                "the number of architectures", self.num_architectures, 1, most.architectures
            ),
            "num_inference_steps": whole_number("the number of steps", self.num_inference_steps, 1, most.steps),
            "seed": None if self.seed is None else whole_number("the seed", self.seed, -(2**63), 2**64 - 1),
            "guidance_scale": real_number(
                "guidance_scale", self.guidance_scale, f"0 to {most.guidance}", 0, most.guidance
            ),
            "limits": {name: _plain(limit) for name, limit in self.limits.items() if limit is not None},
            "options": {name: value for name, value in self.options.items() if value is not None},
        }
        for name, value in checked.items():
            object.__setattr__(self, name, value)
        object.__setattr__(self, "options", self._prepared())

    def _prepared(self) -> dict[str, Any]:
        """Options of the budgets, checked, with their tables loaded."""
        prepared: dict[str, Any] = {}
        for budget in BUDGETS:
            if self._is_limited(budget) or any(name in self.options for name in budget.options):
                prepared |= budget.prepare(self.space, self.task, **self.options)
        return prepared

    def _is_limited(self, budget: Budget) -> bool:
        return any(bound.argument in self.limits for bound in budget.bounds)

    @property
    def num_evaluations(self) -> int:
        """How many evaluations the user brought."""
        return 0 if self.evaluations is None else len(self.evaluations[1])

    @property
    def measured_task(self) -> TaskLike | None:
        """The data set whose measured scores are shown beside what is generated, None for none.

        Without a task, the space's first one, or that of the user's own prior; evaluations without a task may be of
        any data set.
        """
        if self.task is not None or self.evaluations is not None:
            return self.task
        return next(iter(self.space.tasks), None) if self.prior is None else self.prior.task

    def arguments(self) -> dict[str, Any]:
        """Arguments for a call of the pipeline, with a generator that starts from the seed."""
        limited = [budget for budget in BUDGETS if self._is_limited(budget)]
        return {
            "space": self.space,
            "task": self.task,
            "prior": self.prior,
            "evaluations": self.evaluations,
            "num_architectures": self.num_architectures,
            "distinct": self.distinct,
            "num_inference_steps": self.num_inference_steps,
            "guidance_scale": self.guidance_scale,
            "temperature": self.temperature,
            "generator": None if self.seed is None else torch.Generator().manual_seed(self.seed),
            **self.limits,
            **{name: self.options[name] for budget in limited for name in budget.options},
        }


def _plain(limit: Any) -> Any:
    """A limit with whole numbers as such."""
    return int(limit) if isinstance(limit, float) and limit.is_integer() else limit
