"""Networks of the search spaces as ``torch.nn.Module``, built from an architecture."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from torch import nn

from ..errors import unknown
from . import asr, cells, darts, graph, mnasnet, mobile, nas_bench_101, recurrent, size, transnas

if TYPE_CHECKING:
    from ..architecture import Architecture
    from ..spaces import SearchSpace

_BUILDERS: dict[str, Callable[..., nn.Module]] = {
    "darts": darts.network,
    "mnasnet": mnasnet.network,
    "nas-bench-101": nas_bench_101.network,
    "nas-bench-201": cells.network,
    "nas-bench-asr": asr.network,
    "nas-bench-graph": graph.network,
    "nas-bench-macro": mobile.network,
    "nas-bench-nlp": recurrent.network,
    "nats-bench-size": size.network,
    "transnas-bench-101-micro": transnas.network,
    "transnas-bench-101-macro": transnas.network,
}


def options(space: SearchSpace) -> list[str]:
    """Names of the options of scale that the networks of a space have.

    Raises
    ------
    NotImplementedError
        For a space that has no networks.
    """
    if space.name not in _BUILDERS:
        raise NotImplementedError(f"{space.name} has no networks to build; spaces that have: {', '.join(_BUILDERS)}")
    return list(inspect.signature(_BUILDERS[space.name]).parameters)[2:]


def build(architecture: Architecture, num_classes: int | None = None, **scale: Any) -> nn.Module:
    """The benchmark's network of an architecture, with fresh weights.

    Parameters
    ----------
    architecture
        Valid or not: a disconnected network can be built and run, and learns nothing.
    num_classes
        Width of the output; by default that of the task.
    scale
        Options of the space's family: `pkgen_hf.networks.cells.network` (``channels``, ``cells``) or
        `pkgen_hf.networks.nas_bench_101.network` (``channels``, ``stacks``, ``modules``) or
        `pkgen_hf.networks.graph.network` (``task``, ``num_features``) or
        `pkgen_hf.networks.asr.network` (``filters``, ``cells``, ``groups``, ``units``, ``dropout``) or
        `pkgen_hf.networks.recurrent.network` (``embedding``, ``hidden``, ``layers``, probabilities of dropout) or
        `pkgen_hf.networks.darts.network` (``channels``, ``cells``, ``stem``, ``affine``, ``auxiliary``,
        ``drop_path_prob``) or
        `pkgen_hf.networks.mnasnet.network` (``channels``, ``dropout``, ``drop_path_prob``) or
        `pkgen_hf.networks.mobile.network` (``channels``) or
        `pkgen_hf.networks.transnas.network` (``task``, ``channels``); `pkgen_hf.networks.size.network` has none.

    Raises
    ------
    NotImplementedError
        For a space that has no networks.
    ValueError
        For an unknown option or a size below 1.
    """
    name = architecture.space.name
    known = options(architecture.space)
    for option, value in {"num_classes": num_classes, **scale}.items():
        if option != "num_classes" and option not in known:
            raise unknown(f"option of {name} networks", option, known)
        if type(value) is int and value < 1:
            raise ValueError(f"{option} must be at least 1, got {value}")
    return _BUILDERS[name](architecture, num_classes, **scale)


__all__ = ["build", "options"]
