"""Networks of the search spaces as ``torch.nn.Module``, built from an architecture.

The networks of a space of this package stand in the module of the space's file name. Its function ``plan`` reads an
architecture and says what to call with which plain arguments; a user gives such a function to
`pkgen_hf.spaces.register_space`, or a space what builds its networks (``SearchSpace(..., build=...)``).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from torch import nn

from ..errors import unknown
from ..spaces import SearchSpace, Task, TaskLike, get_space, list_spaces
from ..spaces.protocols import ArchitectureLike
from ..spaces.registry import module_of, registration

_KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}


def planner_of(space: SearchSpace) -> Callable[..., partial[Any]] | None:
    """The function that plans networks of a space; None for a space without networks."""
    module = module_of(space, "networks")
    built = None if space.build is None else _plan_built
    return registration(space).network or (built if module is None else module.plan)


def _plan_built(
    architecture: ArchitectureLike,
    num_classes: int | None = None,
    in_channels: int | None = None,
    image_size: int = 0,
    num_features: int = 0,
) -> partial[Any]:
    """The network that the `build` of a space makes, for its first data set or with other sizes than that has."""
    space = architecture.space
    task = next(iter(space.tasks.values()), Task("other", 0.0))
    given = {"num_classes": num_classes, "image_size": image_size, "num_features": num_features}
    sizes = {name: size for name, size in given.items() if size}
    if task.image_size and in_channels:
        sizes["in_channels"] = in_channels
    names = space.choice_names[range(space.num_slots), list(architecture.indices)]
    assert space.build is not None
    return partial(space.build, tuple(names.tolist()), replace(task, **sizes))


def _planner(space: SearchSpace) -> Callable[..., partial[Any]]:
    found = planner_of(space)
    if found is None:
        known = [name for name in list_spaces() if planner_of(get_space(name)) is not None]
        raise NotImplementedError(
            f"{space.name} has no networks to build: give a space of your own some by SearchSpace(..., build=) or "
            f"register_space(..., network=). Spaces that have: {', '.join(known)}"
        )
    return found


def options(space: SearchSpace) -> list[str]:
    """Names of the options of scale that the networks of a space have.

    Raises
    ------
    NotImplementedError
        For a space that has no networks.
    """
    return list(inspect.signature(_planner(space)).parameters)[2:]


def at_task(
    space: SearchSpace, task: TaskLike, num_classes: int | None, scale: Mapping[str, Any]
) -> tuple[int | None, dict[str, Any]]:
    """Number of classes and options of the networks for a task; what is given counts.

    Parameters
    ----------
    space
        Of the architectures.
    task
        A data set of the space, or a `Task`: classes, and where networks have such options channels of images, their
        size and the number of features, follow from it.
    num_classes
        None for that of the task.
    scale
        Options of the networks that are to be other than for the task.

    Raises
    ------
    ValueError
        For an unknown task, data of another sort than the networks read, or images of channels that they cannot have.
    """
    data, defaults = space.task(task), inspect.signature(_planner(space)).parameters
    chosen = space.scale(task)
    for option in ("in_channels", "image_size", "num_features"):
        value = getattr(data, option)
        if option in defaults and value and value != defaults[option].default:
            chosen.setdefault(option, value)
    if data.image_size and data.in_channels != 3 and "in_channels" not in defaults:
        raise ValueError(f"networks of {space.name} read images of 3 channels, not of in_channels={data.in_channels}")
    return (data.num_classes or None) if num_classes is None else num_classes, chosen | dict(scale)


def at_image_size(space: SearchSpace, image_size: int | None, scale: Mapping[str, Any]) -> dict[str, Any]:
    """Options `scale` with the size of images, if one is given and the networks of a space depend on it.

    Those of most spaces read images of any size; transformers learn positions for one.
    """
    depends = image_size is not None and "image_size" in options(space)
    return ({"image_size": image_size} if depends else {}) | dict(scale)


def plan(architecture: ArchitectureLike, num_classes: int | None = None, **scale: Any) -> partial[Any]:
    """What builds the benchmark's network: a class or function, and its arguments.

    For a space of this package the arguments are plain values and dataclasses of them.

    Parameters
    ----------
    architecture
        Valid or not: a disconnected network can be built and run, and learns nothing.
    num_classes
        Width of the output; by default that of the task.
    scale
        Options of the space's networks, which `options` lists and the space's own function ``plan`` describes.

    Raises
    ------
    NotImplementedError
        For a space that has no networks.
    ValueError
        For an unknown option or a size below 1.
    """
    space = architecture.space
    planner, known = _planner(space), options(space)
    defaults = inspect.signature(planner).parameters
    for option, value in {"num_classes": num_classes, **scale}.items():
        if option != "num_classes" and option not in known:
            raise unknown(f"option of {space.name} networks", option, known)
        kind = type(defaults[option].default) if option != "num_classes" or value is None else int
        if kind in (bool, int, float, str) and type(value) is not kind and (kind, type(value)) != (float, int):
            raise ValueError(f"{option} must be {_KINDS[kind]}, got {value!r}")
        if kind is not float and type(value) is int and value < 1:
            raise ValueError(f"{option} must be at least 1, got {value}")
    return planner(architecture, num_classes, **scale)


def build(architecture: ArchitectureLike, num_classes: int | None = None, **scale: Any) -> nn.Module:
    """The benchmark's network of an architecture, with fresh weights; arguments and errors are those of `plan`."""
    return plan(architecture, num_classes, **scale)()


__all__ = ["at_image_size", "at_task", "build", "options", "plan", "planner_of"]
