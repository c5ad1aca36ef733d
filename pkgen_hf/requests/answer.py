"""The answer to a request: architectures with their costs and, where a table has them, their measured scores."""

from __future__ import annotations

import json
import math
import tempfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from ..architecture import Architecture
from ..benchmarks.score_table import ScoreTable
from ..budgets import BUDGETS, Budget
from ..pipeline_pkgen import PKGenPipeline
from ..priors.prior import Prior
from ..spaces import Task
from .measured import Measured, look_up
from .request import GenerationRequest


@dataclass(frozen=True)
class GenerationAnswer:
    """What one call of the pipeline returned, and what is known of it.

    Attributes
    ----------
    architectures, scores, validity, prior
        As in `PKGenPipelineOutput`.
    costs : list
        Each known budget, with the cost of each architecture in the budget's unit; None where it is unknown.
    measured : Measured or None
        Scores of the benchmark's table, looked up after the ranking; None without a table for the task.
    """

    request: GenerationRequest
    architectures: list[Architecture]
    scores: list[float]
    validity: float
    prior: Prior
    costs: list[tuple[Budget, list[float | None]]]
    measured: Measured | None

    @cached_property
    def records(self) -> list[dict[str, Any]]:
        """One dictionary per architecture, best first.

        ``rank``, ``architecture`` (string), ``score``, each cost under the budget's name and, where a table has scores
        of the task, the measured one: as ``measured``, and under a name that says of what, e.g.
        ``measured_validation_accuracy``.
        """
        records = []
        for k, (architecture, score) in enumerate(zip(self.architectures, self.scores, strict=True)):
            record = {"rank": k + 1, "architecture": str(architecture), "score": score}
            record |= {budget.name: costs[k] for budget, costs in self.costs}
            if self.measured is not None:
                record |= dict.fromkeys(("measured", self.measured.field), self.measured.scores[k])
            records.append(record)
        return records

    def as_json(self) -> str:
        """The request, the prior that was used, and `records`."""
        request = self.request
        content = {
            "space": request.space.name,
            "task": request.space.task_label(request.task),
            **({"shape": _shape(request.task)} if isinstance(request.task, Task) else {}),
            "num_architectures": request.num_architectures,
            "num_inference_steps": request.num_inference_steps,
            "guidance_scale": request.guidance_scale,
            "temperature": request.temperature,
            "distinct": request.distinct,
            **request.limits,
            "device": request.options.get("device"),
            **{name: value for name, value in request.options.items() if isinstance(value, (int, str))},
            "seed": request.seed,
            "num_evaluations": request.num_evaluations,
            "prior": {name: getattr(self.prior, name) for name in ("evidence", "detail", "labels_read")},
            "validity": self.validity,
            "measured_on": None if self.measured is None else self.measured.label,
            "architectures": self.records,
        }
        return json.dumps(content, indent=2)

    def lines(self) -> list[str]:
        """A heading, and two lines per architecture: numbers, and the string."""
        task = self.request.space.task_label(self.request.task) or (
            "average over tasks" if self.request.prior is None else "no task"
        )
        own = f"; evaluations: {self.request.num_evaluations:,}" if self.request.evaluations is not None else ""
        lines = [f"{self.request.space.name}, {task} (prior: {self.prior.evidence}{own})"]
        columns = [_aligned(budget, costs) for budget, costs in self.costs]
        for k, (architecture, score) in enumerate(zip(self.architectures, self.scores, strict=True)):
            numbers = [f"{k + 1:>3}  score {score:6.3f}", *(column[k] for column in columns)]
            if self.measured is not None:
                known = self.measured.scores[k] is not None
                numbers.append(self.measured.text(k) + " measured" * known)
            lines += ["   ".join(numbers), f"     {architecture}"]
        return lines

    def explanation(self) -> str:
        """One line on what the order rests on."""
        if self.measured is None:
            return f"ranked by {self.ranked_by}"
        return f"ranked by {self.ranked_by}; measured scores ({self.measured.label}) were looked up afterwards"

    @property
    def ranked_by(self) -> str:
        """The score that orders architectures, in words."""
        if self.request.evaluations is None:
            return "the model's own score"
        num = self.request.num_evaluations
        return f"the score predicted from {num:,} evaluation{'s' * (num != 1)} and the prior"

    def titles(self) -> list[str]:
        """One line for the picture of each architecture: rank, first cost, measured score."""
        titles = []
        for k in range(len(self.architectures)):
            parts = [shown(budget, costs[k]) for budget, costs in self.costs[:1]]
            if self.measured is not None:
                parts.append(f"{self.measured.split} {self.measured.text(k)}")
            titles.append(f"{k + 1}.  {',  '.join(parts)}")
        return titles

    def pictures(self) -> list[str]:
        """SVG of each architecture."""
        from ..drawing.pictures import draw  # matplotlib takes a while to import

        with tempfile.TemporaryDirectory() as folder:
            paths = [draw([one], Path(folder) / f"{k}.svg") for k, one in enumerate(self.architectures)]
            return [path.read_text(encoding="utf-8") for path in paths]


def answer(request: GenerationRequest, pipeline: PKGenPipeline, table: ScoreTable | None = None) -> GenerationAnswer:
    """Generate what a request asks for, and look up what is known of it.

    Parameters
    ----------
    pipeline
        A checkpoint.
    table
        Measured scores of the space. They are read after the architectures are ranked.

    Raises
    ------
    ValueError
        As in a call of the pipeline.
    """
    out = pipeline(**request.arguments())
    indices = torch.tensor([architecture.indices for architecture in out.architectures])
    return GenerationAnswer(
        request,
        out.architectures,
        out.scores.tolist(),
        out.validity,
        out.prior,
        _costs(request, indices),
        None if table is None else look_up(table, indices, request.measured_task),
    )


def _costs(request: GenerationRequest, indices: torch.Tensor) -> list[tuple[Budget, list[float | None]]]:
    """Costs of all budgets that the space counts and whose options were given."""
    known = []
    for budget in BUDGETS:
        if not all(name in request.options for name in budget.options):
            continue
        try:
            costs = budget.costs(request.space, indices, request.task, **request.options).tolist()
        except NotImplementedError:
            continue
        known.append((budget, [_plain(cost) for cost in costs]))
    return known


def _shape(task: Task) -> dict[str, int]:
    """The numbers that a task of the user's own gives, for JSON."""
    sizes = ("num_classes", "in_channels", "image_size", "num_features")
    return {size: getattr(task, size) for size in sizes if getattr(task, size)}


def _plain(cost: float) -> float | None:
    """A cost for JSON: whole numbers as such, None where it is unknown."""
    if math.isnan(cost):
        return None
    return int(cost) if cost.is_integer() else cost


def _aligned(budget: Budget, costs: list[float | None]) -> list[str]:
    """Costs as people read them, of one width."""
    texts = [shown(budget, cost) for cost in costs]
    width = max(8 + len(budget.display_unit), *map(len, texts))
    return [text.rjust(width) for text in texts]


def shown(budget: Budget, cost: float | None) -> str:
    """One cost as people read it."""
    return f"{budget.label} unknown" if cost is None else budget.display(cost)
