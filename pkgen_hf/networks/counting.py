"""Extra operations that some benchmarks count besides convolutions and linear layers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch

Extra = Callable[[tuple[Any, ...], torch.Tensor], int]  # of an operation's arguments and its (first) result
aten = torch.ops.aten


def outputs(args: tuple[Any, ...], result: torch.Tensor) -> int:
    """One for each value of the result."""
    return result.numel()


def window(args: tuple[Any, ...], result: torch.Tensor) -> int:
    """A pooling's window for each value of the result."""
    return math.prod(args[1]) * result.numel()


LINEAR_BIASES: dict[Any, Extra] = {aten.addmm: outputs}
