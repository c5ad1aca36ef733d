"""Problems that the tests of methods solve."""

from __future__ import annotations

from typing import Any

import pytest
from problems import MakeProblem

from pkgen_hf import PKGenPipeline, ScoreTable
from pkgen_hf.budgets.limits import Limits
from pkgen_hf.evaluation.judge import Judge
from pkgen_hf.evaluation.problem import Problem
from pkgen_hf.spaces import Choice, SearchSpace, Slot, Task


@pytest.fixture(scope="session")
def tiny() -> SearchSpace:
    """A chain of two operations: nine architectures, without costs."""
    choices = (Choice("none", "zero"), Choice("skip", "identity"), Choice("conv", "convolution", kernel=3))
    slots = [Slot(f"{i}->{i + 1}", "operation", choices, reads=(i,), writes=i + 1) for i in range(2)]
    task = Task("image-classification", chance_score=0.0, num_classes=2)
    return SearchSpace("tiny", slots, {"x": task}, null_choice="none")


@pytest.fixture(scope="session")
def cells_judge(cell_table: ScoreTable) -> Judge:
    """Of NAS-Bench-201 and CIFAR-100."""
    return Judge(cell_table, "cifar100")


@pytest.fixture
def make_problem(pipe: PKGenPipeline) -> MakeProblem:
    """Of the bundled checkpoint."""

    def make(space: SearchSpace, task: str, budgets: dict[str, Any] | None = None, **fields: Any) -> Problem:
        return Problem(space, task, pipe, Limits(space, task, **(budgets or {})), budgets or {}, **fields)

    return make
