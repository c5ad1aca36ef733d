"""A pretended GPU: real computation on the CPU that refuses to mix devices where CUDA would.

Within `PretendedCuda` a tensor that was made on, or moved to, ``"cuda"`` is an ordinary CPU tensor that is noted down
as being on ``cuda:0``. It says so of itself, its results are there too, and an operation that would fail on a real
GPU because its tensors are on different devices fails in the same way. What it does not know: memory, streams,
precision, kernels that CUDA lacks, and code outside of Python.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakTensorKeyDictionary

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)
_ON_CUDA = WeakTensorKeyDictionary()  # for all contexts, since caches outlive them
_ANYWHERE = {"copy_", "_has_compatible_shallow_copy_type"}
# Operations that take no tensor from the CPU, not even one of a single number; arithmetic does.
_STRICT = {"cat", "concat", "concatenate", "stack", "hstack", "vstack", "einsum", "matmul", "mm", "bmm", "linear"}
_STRICT |= {"gather", "take_along_dim", "scatter", "scatter_add", "scatter_reduce", "index_add", "index_select"}
_STRICT |= {"index_put", "embedding", "embedding_bag", "searchsorted", "bucketize", "isin", "cross_entropy", "cdist"}


class PretendedGenerator(torch.Generator):
    """A generator that is taken for one of the GPU; only its numbers are those of the CPU."""

    device = CUDA  # type: ignore[assignment]


class PretendedCuda(TorchFunctionMode):
    """The context in which ``"cuda"`` is pretended."""

    def __enter__(self) -> PretendedCuda:
        self._new_parameter = new = torch.nn.Parameter.__new__  # which asks no mode

        def new_parameter(cls: type, *args: Any, **kwargs: Any) -> Any:
            return _put(new(cls, *args, **kwargs), _common_device("Parameter", args, kwargs))

        torch.nn.Parameter.__new__ = staticmethod(new_parameter)  # type: ignore[assignment]
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        torch.nn.Parameter.__new__ = staticmethod(self._new_parameter)  # type: ignore[assignment]
        super().__exit__(*error)

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        name = func.__name__
        if name in ("__get__", "__set__"):
            return _attribute(func, func.__self__.__name__, *args)  # type: ignore[attr-defined]
        if name in ("to", "cpu", "cuda") and isinstance(args[0], torch.Tensor):
            return _moved(*args, **kwargs) if name == "to" else _moved(args[0], name)
        if name in ("as_tensor", "asarray") and isinstance(args[0], torch.Tensor):
            return _moved(*args, **kwargs)
        if name in ("numpy", "__array__") and place(args[0]) == CUDA:
            raise TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() to copy it first.")
        if name in ("__getitem__", "__setitem__"):
            _check_index(*args)
            where = place(args[0])
        elif name in _ANYWHERE:
            where = place(args[0])
        else:
            where = _common_device(name, args, kwargs)
        if (device := kwargs.get("device")) is not None:
            where = _device(device)
            kwargs = {**kwargs, "device": CPU if where == CUDA else where}
        for generator in _of_type(torch.Generator, (args, kwargs)):
            if generator.device.type != where.type:
                raise RuntimeError(
                    f"Expected a '{where.type}' device type for generator but found '{generator.device.type}'"
                )
        return _put(func(*args, **kwargs), where, taken=_of_type(torch.Tensor, (args, kwargs)))


def place(tensor: torch.Tensor) -> torch.device:
    """Where a tensor is, or is pretended to be."""
    return CUDA if tensor in _ON_CUDA else tensor.device


def _device(device: Any) -> torch.device:
    device = torch.device("cuda", device) if isinstance(device, int) else torch.device(device)
    return CUDA if device.type == "cuda" else device


def _of_type(kind: type, found: Any) -> Iterator[Any]:
    """All objects of a type in nested arguments."""
    if isinstance(found, kind):
        yield found
    elif isinstance(found, (tuple, list)):
        for item in found:
            yield from _of_type(kind, item)
    elif isinstance(found, dict):
        yield from _of_type(kind, list(found.values()))


def _put(result: Any, where: torch.device, taken: Iterable[torch.Tensor] = ()) -> Any:
    """Note down where the tensors in a result are, but for those that were arguments."""
    known = {id(tensor) for tensor in taken}
    for tensor in _of_type(torch.Tensor, result):
        if where == CUDA and id(tensor) not in known:
            _ON_CUDA[tensor] = True
    return result


def _common_device(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> torch.device:
    """The device of all tensors given; single numbers may come from the CPU, unless they are what is written to."""
    tensors = list(_of_type(torch.Tensor, (args, kwargs)))
    plain, is_written = name.rstrip("_"), name.endswith("_") and not name.endswith("__")
    strict = plain in _STRICT
    counted = [
        place(tensor)
        for i, tensor in enumerate(tensors)
        if strict or tensor.dim() or place(tensor) == CUDA or (is_written and i == 0)
    ]
    devices = dict.fromkeys(counted or map(place, tensors))
    if len(devices) > 1:
        raise RuntimeError(
            "Expected all tensors to be on the same device, but found at least two devices, "
            f"{' and '.join(map(str, devices))}! (in {name})"
        )
    return next(iter(devices), CPU)


def _check_index(tensor: torch.Tensor, index: Any, value: Any = None) -> None:
    """A tensor may be indexed from its own device or from the CPU, and takes what is written from its own."""
    indices = [i for i in _of_type(torch.Tensor, index) if i.dim() or i.dtype == torch.bool]
    wrong = [i for i in indices if place(i) not in (CPU, place(tensor))]
    if wrong:
        raise RuntimeError(
            f"indices should be either on cpu or on the same device as the indexed tensor ({place(tensor)})"
        )
    by_list = indices or list(_of_type(list, index))
    if isinstance(value, torch.Tensor) and value.dim() and by_list and place(value) != place(tensor):
        raise RuntimeError(
            f"Expected all tensors to be on the same device, but found at least two devices, {place(tensor)} and "
            f"{place(value)}! (in index_put_)"
        )


def _moved(tensor: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
    """As `torch.Tensor.to`: the tensor itself if it is there already, else a copy."""
    copy = kwargs.pop("copy", False)
    device, dtype, *_ = torch._C._nn._parse_to(*args, **kwargs)
    other = next(_of_type(torch.Tensor, (args, kwargs)), None)
    where = place(tensor) if device is None else _device(device)
    if other is not None:
        where = place(other)
    real = CPU if where == CUDA else where
    result = tensor.to(real, dtype or tensor.dtype, copy=copy or where != place(tensor))
    return _put(result, where)


def _attribute(func: Callable[..., Any], name: str, tensor: torch.Tensor, *args: Any) -> Any:
    """Read or write an attribute of a tensor."""
    if name == "device":
        return place(tensor)
    if name in ("is_cuda", "is_cpu"):
        return place(tensor).type == name.removeprefix("is_")
    if func.__name__ == "__set__" and isinstance(args[0], torch.Tensor):
        if name == "data":
            _ON_CUDA.pop(tensor, None)
            _put(tensor, place(args[0]))
        elif place(args[0]) != place(tensor):
            raise RuntimeError(f"assigned {name} has data located on a different device")
    return _put(func(tensor, *args), place(tensor))
