"""What users pass, converted and checked in one place: numbers, scores, architectures and random generators.

Every function raises a ValueError of one line that names the argument, what was given and what is allowed.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Sequence, Set
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import numpy as np
import torch

from .architecture import Architecture
from .errors import shortened
from .spaces import SearchSpace
from .spaces.protocols import GeneratorArg

P = ParamSpec("P")
T = TypeVar("T")
Architectures = Sequence[Architecture] | Sequence[str] | Sequence[Sequence[int]] | torch.Tensor | np.ndarray


def on_cpu(function: Callable[P, T]) -> Callable[P, T]:
    """The function with all that it makes without naming a device on the CPU, whatever torch's default device is."""

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        if torch.get_default_device().type == "cpu":  # the context costs a call of Python for each operation
            return function(*args, **kwargs)
        with torch.device("cpu"):
            return function(*args, **kwargs)

    return run


def whole_number(name: str, value: Any, least: int = 1, most: float = math.inf) -> int:
    """A count: an int, or an integer of numpy or torch; not a bool."""
    upto = "" if most == math.inf else f" to {most}"
    problem = ValueError(f"{name} must be a whole number from {least}{upto}, got {shortened(value)}")
    if _is_bool(value):
        raise problem
    try:
        number = operator.index(value)
    except TypeError:
        raise problem from None
    if not least <= number <= most:
        raise problem
    return number


def real_number(name: str, value: Any, allowed: str, least: float = -math.inf, most: float = math.inf) -> float:
    """A number from `least` to `most`, which `allowed` says in words; ints and scalars of numpy and torch as well."""
    problem = ValueError(f"{name} must be {allowed}, got {shortened(value)}")
    if _is_bool(value) or isinstance(value, (str, bytes)):
        raise problem
    try:
        number = float(value)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        raise problem from None
    if not least <= number <= most:
        raise problem
    return number


def _is_bool(value: Any) -> bool:
    return isinstance(value, (bool, np.bool_)) or (isinstance(value, torch.Tensor) and value.dtype == torch.bool)


def generators(value: Any, num_architectures: int) -> GeneratorArg:
    """None, a generator, or a list of as many as there are architectures."""
    if value is None or isinstance(value, torch.Generator):
        return value
    if not isinstance(value, (list, tuple)) or not all(isinstance(one, torch.Generator) for one in value):
        raise ValueError(
            f"generator must be a torch.Generator or a list of them, got {shortened(value)}; of a seed make "
            f"torch.Generator().manual_seed(seed)"
        )
    if len(value) != num_architectures:
        raise ValueError(f"{len(value)} generators for {num_architectures} architectures: pass one or as many")
    return list(value)


def to_scores(values: Any) -> torch.Tensor:
    """Scores as ``DoubleTensor (n,)``: of a list, an array, a tensor on any device, a pandas Series (in its order).

    None is NaN.
    """
    values = _from_table(values)
    if isinstance(values, (Set, dict)):
        raise ValueError(f"scores must be in the order of the architectures, got a {type(values).__name__}")
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu().numpy() if values.dtype != torch.bfloat16 else values.detach().cpu().float()
    try:
        numbers = np.asarray(list(values) if isinstance(values, Iterable) else values, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"scores must be numbers: {error}") from None
    if numbers.ndim == 2 and 1 in numbers.shape:  # a column of a table
        numbers = numbers.reshape(-1)
    if numbers.ndim != 1:
        raise ValueError(f"scores must be one number for each architecture, got an array of shape {numbers.shape}")
    return torch.from_numpy(numbers)


def to_indices(space: SearchSpace, architectures: Architectures) -> torch.Tensor:
    """Indices ``LongTensor (n, slots)``, on the CPU, of architectures in any of the forms users have.

    Parameters
    ----------
    space
        The search space that each of them is checked to be of.
    architectures
        `Architecture` objects, the benchmark's strings, or indices: rows of whole numbers as a tensor, an array, or a
        sequence of sequences; also as a pandas Series, in its order.

    Raises
    ------
    ValueError
        For one of another form or another space, with its place.
    """
    architectures = _from_table(architectures)
    if isinstance(architectures, torch.Tensor):
        return space.check(architectures.detach()).cpu()
    if isinstance(architectures, np.ndarray) and architectures.dtype.kind in "iuf":
        return space.check(torch.as_tensor(architectures, device="cpu"))
    if isinstance(architectures, (str, bytes, Architecture, Set, dict)) or not isinstance(architectures, Iterable):
        raise ValueError(f"architectures must be a list of them, in an order, got {shortened(architectures)}")
    rows = [_row(space, number, given) for number, given in enumerate(architectures)]
    return torch.tensor(rows, dtype=torch.long, device="cpu").reshape(len(rows), space.num_slots)


def to_architecture(space: SearchSpace, given: Any, number: int = 0) -> Architecture:
    """One architecture of the space, of any form that `to_indices` takes; `number` is its place in a list."""
    if isinstance(given, Architecture):
        if given.space.name != space.name:
            raise ValueError(f"{shortened(given)} is not of the space {space.name}")
        space.check_same(given.space, shortened(given))
        return given
    if isinstance(given, str):
        return Architecture.from_string(space, given)
    try:
        return Architecture(space, [operator.index(k) for k in given])
    except TypeError:
        raise ValueError(
            f"architecture {number} is neither an Architecture, nor a string of {space.name}, nor {space.num_slots} "
            f"whole numbers: {shortened(given)}"
        ) from None


def _from_table(values: Any) -> Any:
    """A column, or table, of pandas or pyarrow as an array or list; others as they are."""
    if hasattr(values, "to_pylist"):
        return values.to_pylist()
    if not hasattr(values, "to_numpy"):
        return values
    array = values.to_numpy()
    if array.dtype == object:
        array = np.array([None if value != value or str(value) == "<NA>" else value for value in array.flat], object)
        array = array.reshape(values.shape)
    return array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array


def _row(space: SearchSpace, number: int, given: Any) -> Sequence[int]:
    return to_architecture(space, given, number).indices
