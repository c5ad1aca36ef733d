"""What makes the problems that the tests of methods solve."""

from __future__ import annotations

from typing import Any, Protocol

from pkgen_hf.evaluation.problem import Problem
from pkgen_hf.spaces import SearchSpace


class MakeProblem(Protocol):
    """From a space, a task and limits by argument of the pipeline to a problem; its other fields by name."""

    def __call__(
        self, space: SearchSpace, task: str, budgets: dict[str, Any] | None = None, **fields: Any
    ) -> Problem: ...
