"""Search spaces by name: those that come with the package, and those that a user registers.

The spaces of this package register themselves when their modules are imported. The networks of such a space stand in
``pkgen_hf/networks`` and the reader of its files in ``pkgen_hf/benchmarks/readers``, in a module of the same file name
as the space's own. A user gives both to `register_space`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pkgutil import iter_modules
from types import ModuleType
from typing import Any

from ..errors import shortened, unknown
from .base import RESERVED, SearchSpace
from .benchmark import Reader

DEFAULT_SPACE = "nas-bench-201"  # where none is named: the smallest whose table comes with a package


@dataclass(frozen=True)
class Registration:
    """A registered space, the function that plans its networks, and the reader of its benchmark's files."""

    space: SearchSpace
    network: Callable[..., partial[Any]] | None = None
    reader: Reader | None = None


_REGISTERED: dict[str, Registration] = {}


def register_space(
    space: SearchSpace, *, network: Callable[..., partial[Any]] | None = None, reader: Reader | None = None
) -> SearchSpace:
    """Make a search space known by its name, in this process, to everything that takes names of spaces.

    What else there is to say of a space stands on the space itself, as attributes of the instance or its class:
    ``origin``, ``package``, ``latencies`` and ``presets``; see `SearchSpace`.

    Parameters
    ----------
    space
        e.g. of a class of your own.
    network
        Plans the network of an architecture: ``network(architecture, num_classes=None, **options)`` returns a
        ``functools.partial`` of a module class (or function) and plain arguments; calling it builds the network. Its
        keyword arguments with their defaults are the options that `Architecture.build` accepts.
    reader
        Of the files in which the benchmark is published.

    Returns
    -------
    SearchSpace
        The space that was given.

    Raises
    ------
    ValueError
        For what is not a space, a name that another space has, or a space that comes with the package. A space that
        equals the registered one takes its place, with its network and reader.
    """
    if not isinstance(space, SearchSpace):
        raise ValueError(f"register_space takes a SearchSpace, got {shortened(space)}")
    known = _REGISTERED.get(space.checked.name)
    if known is not None:
        if known.space.is_built_in:
            raise ValueError(f"the name {space.name!r} belongs to a space of this package; give yours another")
        hint = f"; unregister_space({space.name!r}) removes the registered one"
        known.space.check_same(space, "the space to register", hint)
    if type(space) is not SearchSpace and type(space).__module__.startswith(f"{__package__}."):
        RESERVED[space.name] = type(space)
        space.is_built_in = True
    _REGISTERED[space.name] = Registration(space, network, reader)
    return space


def unregister_space(name: str) -> None:
    """Forget a space that was registered; ValueError for one that was not, or that comes with the package."""
    known = _REGISTERED.get(name)
    if known is None or known.space.is_built_in:
        own = [entry.space.name for entry in _REGISTERED.values() if not entry.space.is_built_in]
        raise unknown("registered search space of your own", name, own)
    del _REGISTERED[name]


def list_spaces() -> list[str]:
    """Names that `get_space` knows: the spaces of the package, then those that were registered."""
    return list(_REGISTERED)


def get_space(space: str | SearchSpace) -> SearchSpace:
    """The search space called `space`, or `space` itself if it is one already.

    Raises
    ------
    ValueError
        For an unknown name, with the nearest known one.
    """
    if isinstance(space, SearchSpace):
        return space.checked
    if not isinstance(space, str) or space not in _REGISTERED:
        raise unknown("search space", space, list_spaces())
    return _REGISTERED[space].space


def registration(space: SearchSpace) -> Registration:
    """What was registered with a space; nothing but the space itself for one that was not."""
    known = _REGISTERED.get(space.name)
    return known if known is not None and known.space == space else Registration(space)


def module_of(space: SearchSpace, room: str) -> ModuleType | None:
    """The module for a space in a room of this package, such as ``networks``: it has the space's file name.

    None for a room that has no such module, and for spaces that do not come with the package.
    """
    if not space.is_built_in:
        return None
    package = __package__.rpartition(".")[0]
    name = f"{package}.{room}.{type(space).__module__.rpartition('.')[2]}"
    return import_module(name) if find_spec(name) else None


def register_modules(path: list[str]) -> None:
    """Import the modules in `path`, the folders of ``pkgen_hf.spaces``, in which spaces register themselves."""
    for module in iter_modules(path):
        if not module.name.startswith("_"):
            import_module(f"{__package__}.{module.name}")
