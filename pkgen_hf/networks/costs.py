"""What a network costs, measured on the network itself and so at any scale.

Counts and memory are found by running it once without numbers (on torch's meta device), which takes neither memory nor
much time; latency by running it.
"""

from __future__ import annotations

import math
import time
import weakref
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from ..spaces import SearchSpace, TaskLike
from ..spaces.protocols import ArchitectureLike
from ..spaces.registry import module_of
from ..spaces.shapes import on_meta
from . import at_image_size, at_task, build
from .counting import Extra
from .inputs import input_shape, random_inputs, reads_text

WARM_UP = 3  # runs before those that are timed
RUNS = 20


@dataclass(frozen=True)
class Cost:
    """What a network costs.

    Of language models ``flops`` and ``multiply_adds`` are per token, and all else is of one text as long as their
    context.

    Attributes
    ----------
    parameters
        Trainable ones.
    flops
        Of one forward pass, counted as the space's benchmark does (see the space's ``flops``): multiply-adds, and in
        some benchmarks more than these.
    multiply_adds
        Products in convolutions and linear maps of one forward pass and nothing else, which is what papers compare at
        the scale of ImageNet. None if the costs were not measured.
    activation_bytes
        Memory of all results of operations in one forward pass in float32, together, for one example. A result that is
        a view of another, or was written over it, does not count again; nor do weights, the input, and what an
        operation needs within. This is what a training step would hold for one example if it kept everything. None if
        the costs were not measured.
    peak_bytes
        The largest part of them, with the input, that is held at one time in a forward pass without gradients: a
        result counts until the last tensor that refers to it is gone. None if the costs were not measured.
    latency_ms
        Milliseconds of a forward pass for one example on this machine's CPU, the median of several; None if not asked
        for.
    non_embedding_parameters
        Trainable parameters of a language model without the embeddings of tokens; None of other networks, as the next.
    flops_at_context
        Multiply-adds of a language model for a token that attends to as many tokens as the context has, itself
        included.
    memory_bytes
        Of its weights and KV cache, see `SearchSpace.memory`.
    """

    parameters: int
    flops: int
    multiply_adds: int | None = None
    activation_bytes: int | None = None
    peak_bytes: int | None = None
    latency_ms: float | None = None
    non_embedding_parameters: int | None = None
    flops_at_context: int | None = None
    memory_bytes: int | None = None


# ---------------------------------------------------------------------- measuring


class _Watch(TorchDispatchMode):
    """Adds up extras and memory of everything that runs in its context.

    Parameters
    ----------
    extras
        What an operation counts beside its products.
    weights, inputs
        Tensors whose memory is none of the results'; that of the inputs is held while they live.
    """

    def __init__(self, extras: Mapping[Any, Extra], weights: Iterable[torch.Tensor], inputs: torch.Tensor) -> None:
        super().__init__()
        self.extras = extras
        self.extra = self.activation_bytes = self.held = self.peak_bytes = 0
        self.weights = {self._storage(tensor) for tensor in weights}
        self.references: Counter[int] = Counter()  # tensors that live, by what they are stored in
        self._refer(inputs)
        self.activation_bytes = 0

    @staticmethod
    def _storage(tensor: torch.Tensor) -> int:
        return tensor.untyped_storage()._cdata

    def _refer(self, tensor: torch.Tensor) -> None:
        storage, size = self._storage(tensor), tensor.untyped_storage().nbytes()
        if storage in self.weights or not size:
            return
        if not self.references[storage]:
            self.activation_bytes += size
            self.held += size
            self.peak_bytes = max(self.peak_bytes, self.held)
        self.references[storage] += 1
        weakref.finalize(tensor, self._release, storage, size).atexit = False

    def _release(self, storage: int, size: int) -> None:
        self.references[storage] -= 1
        if not self.references[storage]:
            self.held -= size

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        results = func(*args, **(kwargs or {}))
        tensors = [result for result in tree_leaves(results) if isinstance(result, torch.Tensor)]
        if func.overloadpacket in self.extras:
            self.extra += self.extras[func.overloadpacket](args, tensors[0])
        for tensor in tensors:
            self._refer(tensor)
        return results


def count(network: nn.Module, inputs: torch.Tensor, extras: Mapping[Any, Extra] | None = None) -> Cost:
    """Count what one forward pass does, without gradients and as in evaluation.

    Parameters
    ----------
    network, inputs
        Both on one device; on the meta device nothing is computed.
    extras
        What ``flops`` count beside multiply-adds, by operation; by default nothing.

    Raises
    ------
    ValueError
        If the network cannot read inputs of that shape.
    """
    weights = [*network.parameters(), *network.buffers()]
    was_training = network.training
    watch = _Watch(extras or {}, weights, inputs)
    try:
        with torch.no_grad(), FlopCounterMode(display=False) as products, watch:
            network.eval()(inputs)
    except RuntimeError as error:
        shape = " x ".join(map(str, inputs.shape[1:]))
        raise ValueError(f"this network cannot read an input of {shape}: {error}") from error
    finally:
        network.train(was_training)
    multiply_adds = products.get_total_flops() // 2  # which torch counts as two each
    parameters = sum(weight.numel() for weight in network.parameters() if weight.requires_grad)
    return Cost(parameters, multiply_adds + watch.extra, multiply_adds, watch.activation_bytes, watch.peak_bytes)


def of_language_model(
    architecture: ArchitectureLike,
    task: TaskLike | None,
    context: int | None = None,
    batch_size: int | None = None,
    dtype: str = "float32",
) -> dict[str, int]:
    """Those fields of `Cost` that only language models have, by formulas; none for other networks.

    Raises
    ------
    ValueError
        As `SearchSpace.memory`.
    """
    space, rows = architecture.space, torch.tensor([architecture.indices])
    space.check_memory(context, batch_size, dtype)
    if space.context is None:
        return {}
    return {
        "non_embedding_parameters": int(space.non_embedding_parameters(rows)),
        "flops_at_context": int(space.flops_at_context(rows, context or space.context, task)),
        "memory_bytes": int(space.memory(rows, task, context=context, batch_size=batch_size, dtype=dtype)),
    }


def time_forward(network: nn.Module, inputs: torch.Tensor, runs: int = RUNS) -> float:
    """Milliseconds of a forward pass as in evaluation: the median of `runs` after `WARM_UP`, with torch's threads."""
    network.eval()
    seconds = []
    with torch.inference_mode():
        for _ in range(WARM_UP + runs):
            start = time.perf_counter()
            network(inputs)
            seconds.append(time.perf_counter() - start)
    return 1000 * median(seconds[WARM_UP:])


def _extras(space: SearchSpace, task: TaskLike) -> Mapping[Any, Extra]:
    """What the benchmark of a space counts beside products, as the module of its networks says."""
    extra_operations = getattr(module_of(space, "networks"), "extra_operations", None)
    return {} if extra_operations is None else extra_operations(space.like(task))


def per_token(cost: Cost, tokens: int) -> Cost:
    """The cost of a text with multiply-adds as those of one token on average."""
    assert cost.multiply_adds is not None
    return replace(cost, flops=cost.flops // tokens, multiply_adds=cost.multiply_adds // tokens)


def measure(
    architecture: ArchitectureLike,
    task: TaskLike | None = None,
    image_size: int | None = None,
    num_classes: int | None = None,
    latency: bool = False,
    runs: int = RUNS,
    **scale: Any,
) -> Cost:
    """Costs of the network that an architecture builds at a scale; see `Architecture.cost`."""
    if type(runs) is not int or runs < 1:
        raise ValueError(f"runs must be a whole number from 1, got {runs!r}")
    space = architecture.space
    task = task or next(iter(space.tasks))
    num_classes, scale = at_task(space, task, num_classes, scale)
    own_options = {name: scale[name] for name in scale if name not in ("task", "image_size")}
    shape = input_shape(space, task, image_size, **own_options)
    scale |= at_image_size(space, shape[-1] if space.task(task).image_size else None, {})
    text = reads_text(space, task)
    with on_meta():
        network, inputs = build(architecture, num_classes, **scale).float(), random_inputs(shape, text=text)
        inputs = inputs.float() if inputs.is_floating_point() else inputs
    cost = count(network, inputs, _extras(space, task))
    if shape and space.task(task).kind == "language-modelling":
        cost = per_token(cost, math.prod(shape))
    if not latency:
        return cost
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):  # random weights, and the caller's are not disturbed
        network, inputs = build(architecture, num_classes, **scale), random_inputs(shape, text=text)
    return Cost(**{**vars(cost), "latency_ms": time_forward(network, inputs, runs)})
