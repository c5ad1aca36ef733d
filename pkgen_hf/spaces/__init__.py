"""Search spaces by name."""

from functools import cache

from ..errors import unknown
from .base import RESERVED, SearchSpace
from .darts import DARTSSpace
from .mnasnet import MnasNetSpace
from .nas_bench_101 import NASBench101Space
from .nas_bench_201 import NASBench201Space
from .nas_bench_asr import NASBenchASRSpace
from .nas_bench_graph import NASBenchGraphSpace
from .nas_bench_macro import NASBenchMacroSpace
from .nas_bench_nlp import NASBenchNLPSpace
from .nats_bench_size import NATSSizeSpace
from .parts import (
    ACTIVATIONS,
    AGGREGATIONS,
    CHOICE_KINDS,
    RELATIONS,
    SLOT_KINDS,
    TASK_KINDS,
    TASK_TRAITS,
    Choice,
    Slot,
    Task,
)
from .transnas_bench_101 import TransNASMacroSpace, TransNASMicroSpace

_SPACES: dict[str, type[SearchSpace]] = {
    "darts": DARTSSpace,
    "mnasnet": MnasNetSpace,
    "nas-bench-101": NASBench101Space,
    "nas-bench-201": NASBench201Space,
    "nas-bench-asr": NASBenchASRSpace,
    "nas-bench-graph": NASBenchGraphSpace,
    "nas-bench-macro": NASBenchMacroSpace,
    "nas-bench-nlp": NASBenchNLPSpace,
    "nats-bench-size": NATSSizeSpace,
    "transnas-bench-101-micro": TransNASMicroSpace,
    "transnas-bench-101-macro": TransNASMacroSpace,
}
RESERVED.update(_SPACES)


def list_spaces() -> list[str]:
    """Names that `get_space` knows."""
    return list(_SPACES)


@cache
def _build(name: str) -> SearchSpace:
    return _SPACES[name]()  # type: ignore[call-arg]


def get_space(space: str | SearchSpace) -> SearchSpace:
    """The search space called `space`, or `space` itself if it is one already.

    Raises
    ------
    ValueError
        For an unknown name, with the nearest known one.
    """
    if isinstance(space, SearchSpace):
        return space.checked
    if not isinstance(space, str) or space not in _SPACES:
        raise unknown("search space", space, list_spaces())
    return _build(space)


__all__ = [
    "ACTIVATIONS",
    "AGGREGATIONS",
    "CHOICE_KINDS",
    "RELATIONS",
    "SLOT_KINDS",
    "TASK_KINDS",
    "TASK_TRAITS",
    "Choice",
    "SearchSpace",
    "Slot",
    "Task",
    "get_space",
    "list_spaces",
]
