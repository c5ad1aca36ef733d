"""Networks of the search spaces as ``torch.nn.Module``, built from an architecture.

Each family has a function ``plan`` that reads an architecture and says what to call with which plain arguments.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from torch import nn

from ..errors import unknown
from . import darts, mnasnet, nas_bench_101
from . import nas_bench_201 as cells
from . import nas_bench_asr as asr
from . import nas_bench_graph as graph
from . import nas_bench_macro as mobile
from . import nas_bench_nlp as recurrent
from . import nats_bench_size as size
from . import transnas_bench_101 as transnas

if TYPE_CHECKING:
    from ..spaces import SearchSpace
    from ..spaces.protocols import ArchitectureLike

_PLANS: dict[str, Callable[..., partial[Any]]] = {
    "darts": darts.plan,
    "mnasnet": mnasnet.plan,
    "nas-bench-101": nas_bench_101.plan,
    "nas-bench-201": cells.plan,
    "nas-bench-asr": asr.plan,
    "nas-bench-graph": graph.plan,
    "nas-bench-macro": mobile.plan,
    "nas-bench-nlp": recurrent.plan,
    "nats-bench-size": size.plan,
    "transnas-bench-101-micro": transnas.plan,
    "transnas-bench-101-macro": transnas.plan,
}

_KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}


def options(space: SearchSpace) -> list[str]:
    """Names of the options of scale that the networks of a space have.

    Raises
    ------
    NotImplementedError
        For a space that has no networks.
    """
    if space.name not in _PLANS:
        raise NotImplementedError(f"{space.name} has no networks to build; spaces that have: {', '.join(_PLANS)}")
    return list(inspect.signature(_PLANS[space.name]).parameters)[2:]


def plan(architecture: ArchitectureLike, num_classes: int | None = None, **scale: Any) -> partial[Any]:
    """What builds the benchmark's network: a class or function of this package, and its arguments.

    The arguments have nothing of this package in them but dataclasses of plain values.

    Parameters
    ----------
    architecture
        Valid or not: a disconnected network can be built and run, and learns nothing.
    num_classes
        Width of the output; by default that of the task.
    scale
        Options of the space's family: `pkgen_hf.networks.nas_bench_201.plan` (``channels``, ``cells``) or
        `pkgen_hf.networks.nas_bench_101.plan` (``channels``, ``stacks``, ``modules``) or
        `pkgen_hf.networks.nas_bench_graph.plan` (``task``, ``num_features``) or
        `pkgen_hf.networks.nas_bench_asr.plan` (``filters``, ``cells``, ``groups``, ``units``, ``dropout``) or
        `pkgen_hf.networks.nas_bench_nlp.plan` (``embedding``, ``hidden``, ``layers``, probabilities of dropout) or
        `pkgen_hf.networks.darts.plan` (``channels``, ``cells``, ``stem``, ``affine``, ``auxiliary``,
        ``drop_path_prob``) or
        `pkgen_hf.networks.mnasnet.plan` (``channels``, ``dropout``, ``drop_path_prob``) or
        `pkgen_hf.networks.nas_bench_macro.plan` (``channels``) or
        `pkgen_hf.networks.transnas_bench_101.plan` (``task``, ``channels``);
        `pkgen_hf.networks.nats_bench_size.plan` has none.

    Raises
    ------
    NotImplementedError
        For a space that has no networks.
    ValueError
        For an unknown option or a size below 1.
    """
    name = architecture.space.name
    known = options(architecture.space)
    defaults = inspect.signature(_PLANS[name]).parameters
    for option, value in {"num_classes": num_classes, **scale}.items():
        if option != "num_classes" and option not in known:
            raise unknown(f"option of {name} networks", option, known)
        kind = type(defaults[option].default) if option != "num_classes" or value is None else int
        if kind in (bool, int, float, str) and type(value) is not kind and (kind, type(value)) != (float, int):
            raise ValueError(f"{option} must be {_KINDS[kind]}, got {value!r}")
        if kind is not float and type(value) is int and value < 1:
            raise ValueError(f"{option} must be at least 1, got {value}")
    return _PLANS[name](architecture, num_classes, **scale)


def build(architecture: ArchitectureLike, num_classes: int | None = None, **scale: Any) -> nn.Module:
    """The benchmark's network of an architecture, with fresh weights; arguments and errors are those of `plan`."""
    return plan(architecture, num_classes, **scale)()


__all__ = ["build", "options", "plan"]
