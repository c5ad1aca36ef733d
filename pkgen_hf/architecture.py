"""One architecture of a search space: immutable, hashable, and everything a user does with it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from .errors import QUOTED, shortened, unknown
from .networks import at_task, build
from .networks.costs import RUNS, Cost, measure, of_language_model
from .networks.inputs import image_size_for
from .spaces import SearchSpace, TaskLike, get_space, list_spaces

if TYPE_CHECKING:
    from .networks.export import Export

__all__ = ["Architecture", "Cost"]


class Architecture:
    """An architecture; equal to every isomorphic one of the same space.

    Parameters
    ----------
    space
        A search space or its name.
    indices
        The choice of each slot.

    Attributes
    ----------
    space : SearchSpace
    indices : tuple of int, as given (not canonical), so that ``str(Architecture.from_string(space, text)) == text``

    Raises
    ------
    ValueError
        For an unknown space, a wrong number of slots, a choice out of range, or a string, which `from_string` reads.
    """

    __slots__ = ("_key", "indices", "space")

    space: SearchSpace
    indices: tuple[int, ...]
    _key: int

    def __init__(self, space: str | SearchSpace, indices: Sequence[int]) -> None:
        space = get_space(space)
        if isinstance(indices, str):
            raise ValueError(
                f"Architecture takes the choice of each slot of {space.name} as a number, got {shortened(indices)}: "
                "Architecture.from_string(space, text) reads a string"
            )
        rows = space.check(indices[None] if isinstance(indices, torch.Tensor) else [indices])
        self._set(space, tuple(rows[0].tolist()), int(space.keys(rows)))

    def _set(self, space: SearchSpace, indices: tuple[int, ...], key: int) -> None:
        object.__setattr__(self, "space", space)
        object.__setattr__(self, "indices", indices)
        object.__setattr__(self, "_key", key)

    @classmethod
    def from_batch(cls, space: str | SearchSpace, indices: torch.Tensor) -> list[Architecture]:
        """Architectures of a whole batch of indices, ``LongTensor (batch, slots)``."""
        space = get_space(space)
        rows = space.check(indices).cpu()
        batch = []
        for row, key in zip(rows.tolist(), space.keys(rows).tolist(), strict=True):
            architecture = cls.__new__(cls)
            architecture._set(space, tuple(row), key)
            batch.append(architecture)
        return batch

    @classmethod
    def from_string(cls, space: str | SearchSpace, text: str) -> Architecture:
        """Read the benchmark's own string, also as it stands in code, logs and papers; see `SearchSpace.from_strings`.

        Raises
        ------
        ValueError
            Which says what is wrong with it.
        """
        space = get_space(space)
        return cls(space, space.from_strings([text])[0].tolist())

    @classmethod
    def from_json(cls, text: str, space: str | SearchSpace | None = None) -> Architecture:
        """Read what `to_json` wrote.

        Parameters
        ----------
        text
            JSON with the name of the space and the architecture's string.
        space
            The space it is of; needed for a space of your own only.

        Raises
        ------
        ValueError
            For text of another form, or a space that is not known or not the one given.
        """
        try:
            record = json.loads(text)
            name, string = record["space"], record["architecture"]
            if not (isinstance(name, str) and isinstance(string, str)):
                raise TypeError("both are strings")
        except (TypeError, KeyError, ValueError, RecursionError) as error:
            form = '{"space": ..., "architecture": ...}'
            raise ValueError(f"expected JSON like {form}, got {shortened(text)}") from error
        if space is None:
            if name not in list_spaces():
                refusal = unknown("search space", name, list_spaces())
                raise ValueError(f"{refusal} If it is a space of your own, pass it: from_json(text, space=...).")
            return cls.from_string(name, string)
        space = get_space(space)
        if name != space.name:
            raise ValueError(f"it is an architecture of {name[:QUOTED]}, not of {space.name}: {shortened(text)}")
        return cls.from_string(space, string)

    def to_json(self) -> str:
        """``{"space": name, "architecture": string}``."""
        return json.dumps({"space": self.space.name, "architecture": str(self)})

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"an Architecture cannot be changed; make a new one to set {name!r}")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"an Architecture cannot be changed; {name!r} cannot be deleted")

    def __reduce__(self) -> tuple[Any, ...]:
        return Architecture, (self.space.name if self.space.is_built_in else self.space, self.indices)

    def __str__(self) -> str:
        return self.space.to_strings(self.rows)[0]

    def __repr__(self) -> str:
        return f"Architecture({self.space.name!r}, {str(self)!r})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Architecture):
            return NotImplemented
        return self._key == other._key and self.space == other.space

    def __hash__(self) -> int:
        return hash((self.space.name, self._key))

    @property
    def rows(self) -> torch.Tensor:
        """As a batch of one, ``LongTensor (1, slots)``."""
        return torch.tensor([self.indices], device="cpu")

    @property
    def is_valid(self) -> bool:
        """Whether its input is connected to its output."""
        return bool(self.space.is_valid(self.rows))

    def canonical(self) -> Architecture:
        """The representative of its isomorphism class."""
        return Architecture(self.space, self.space.canonical(self.rows)[0].tolist())

    def cost(
        self,
        task: TaskLike | None = None,
        *,
        image_size: int | None = None,
        num_classes: int | None = None,
        measured: bool = False,
        latency: bool = False,
        runs: int = RUNS,
        context: int | None = None,
        batch_size: int | None = None,
        memory_dtype: str = "float32",
        **scale: Any,
    ) -> Cost:
        """What the network costs: by closed formulas at the scale of a task, or measured at any scale.

        ``cost()`` and ``cost(task)`` give exact parameters and ``flops`` of the benchmark's network. With any further
        argument, if only ``measured=True``, the network is built (without memory for its weights) and one forward pass
        is followed, which gives plain multiply-adds and the memory of activations as well; `Cost` says what these are.
        So ``cost(image_size=224, stem="imagenet", channels=48, cells=14, affine=True, num_classes=1000)`` is what a
        DARTS cell costs on ImageNet.

        Parameters
        ----------
        task
            A data set of the space, or a `Task` of any shape; of a kind of task the first data set of that kind, and
            the space's first task if None.
        image_size
            Height and width of images in pixels; by default as in the task.
        num_classes
            Width of the output; by default that of the task.
        measured
            Measure at the scale of the task, too.
        latency
            Also time forward passes of one example on this machine's CPU, with as many threads as torch has.
        runs
            How many, of which the median counts.
        context, batch_size, memory_dtype
            Of language models: tokens of a sequence (by default those of the benchmark), and the number of sequences
            (by default 1) and the dtype for which memory is counted; see `SearchSpace.memory`.
        scale
            Options of the space's family as of `build`.

        Raises
        ------
        ValueError
            For an unknown task or option, or a size of images that the network cannot read.
        NotImplementedError
            For a space without networks or formulas, or measuring where networks read a whole graph.
        """
        task = self.space.data_set(task)
        is_scaled = bool(scale) or image_size is not None or num_classes is not None
        text = {} if is_scaled else of_language_model(self, task, context, batch_size, memory_dtype)
        if is_scaled or measured or latency:
            scale |= {} if context is None else {"context": context}
            return replace(measure(self, task, image_size, num_classes, latency, runs, **scale), **text)
        return Cost(int(self.space.parameters(self.rows, task)), int(self.space.flops(self.rows, task)), **text)

    def build(self, num_classes: int | None = None, task: TaskLike | None = None, **scale: Any) -> nn.Module:
        """The benchmark's network as a ``torch.nn.Module``, with fresh weights.

        Parameters
        ----------
        num_classes
            Width of the output; by default that of the task.
        task
            A data set of the space, a kind of task, or a `Task` of your own, from which classes, channels of images
            and the network that is built for it follow; by default the network is the one that the benchmark trained.
        scale
            Options of the space's networks, see `pkgen_hf.networks`, which count before those of the task.

        Raises
        ------
        ValueError
            For an unknown task or option, or a size that cannot be.
        NotImplementedError
            For a space that has no networks.
        """
        if (data := self._data_set(task)) is not None:
            num_classes, scale = at_task(self.space, data, num_classes, scale)
        return build(self, num_classes=num_classes, **scale)

    def export(
        self,
        path: str | Path,
        format: str | None = None,
        *,
        num_classes: int | None = None,
        image_size: int | None = None,
        task: TaskLike | None = None,
        state: Mapping[str, torch.Tensor] | None = None,
        seed: int | None = None,
        **scale: Any,
    ) -> Export:
        """Write the network to a file that is of use without this package.

        ``python``: source of a module that needs torch alone, with a function ``build``; it has no weights, but loads
        those of the other two by the same names. ``safetensors``: weights, with the space, the architecture's string
        and the scale in the metadata. ``onnx``: a model for batches of any size of images, or of texts of
        any length (``pip install 'pkgen-hf[onnx]'``), compared with the network where onnxruntime is installed. A file
        that is there already is replaced, once the new one is whole.

        Parameters
        ----------
        path
            File to write.
        format
            One of the three; by default what the suffix ``.py``, ``.safetensors`` or ``.onnx`` says.
        num_classes, task, scale
            As of `build`.
        image_size
            Of the images that the ONNX model takes, and of the example in the Python file; by default the task's.
        state
            Weights, such as ``network.state_dict()``; fresh ones by default.
        seed
            Of fresh weights; without it they follow from the global generator, which stays as it is.

        Returns
        -------
        Export
            ``path``, and ``difference``: of an ONNX model the largest difference between what onnxruntime and torch
            make of random inputs (None without onnxruntime, and for other files).

        Raises
        ------
        ValueError
            For an unknown format or option, weights of another network, images that it cannot read, or an ONNX model
            whose results are not the network's.
        ModuleNotFoundError
            For ONNX without its packages.
        NotImplementedError
            For a space that has no networks.
        """
        from .networks.export import export_network  # when it is used, as the next: what they import takes time

        if (data := self._data_set(task)) is not None:
            num_classes, scale = at_task(self.space, data, num_classes, scale)
            size = scale.pop("image_size", None) or image_size_for(self.space, data, scale)
            image_size = image_size or size
        return export_network(self, path, format, num_classes, image_size, state, seed, **scale)

    def _data_set(self, task: TaskLike | None) -> TaskLike | None:
        """The task at whose scale a network is built; None for the network as in the benchmark."""
        return None if task is None else self.space.data_set(task)

    def draw(self, path: str | Path) -> Path:
        """Draw the cell to a PNG or SVG file and return its path."""
        from .drawing import draw

        return draw([self], path)
