"""Take a network away from this package: as plain Python code, as weights, or as an ONNX model."""

from __future__ import annotations

import inspect
import json
import logging
import textwrap
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from safetensors.torch import save_file
from torch import nn

from ..errors import unknown
from ..files import atomic_write, user_path
from ..spaces import TASK_KINDS
from ..spaces.protocols import ArchitectureLike
from ..spaces.shapes import on_meta
from . import at_image_size, build, plan
from .costs import count
from .inputs import input_shape, random_inputs, reads_text
from .source_code import WIDTH, source_of

SUFFIXES = {".py": "python", ".onnx": "onnx", ".safetensors": "safetensors"}
FORMATS = tuple(SUFFIXES.values())
ONNX_PACKAGES = ("onnx", "onnxscript")
EXAMPLE_LENGTHS = (12, 7)  # tokens of the texts with which an ONNX model is traced, and compared
TOLERANCE = 1e-4  # largest difference of the ONNX model's outputs to those of the network


class Export(NamedTuple):
    """What was written.

    Parameters
    ----------
    path
        The file.
    difference
        Of an ONNX model, the largest between what onnxruntime and torch make of random inputs; None without
        onnxruntime, and for other files.
    """

    path: Path
    difference: float | None = None


def export_network(
    architecture: ArchitectureLike,
    path: str | Path,
    format: str | None = None,
    num_classes: int | None = None,
    image_size: int | None = None,
    state: Mapping[str, torch.Tensor] | None = None,
    seed: int | None = None,
    **scale: Any,
) -> Export:
    """Write the network of an architecture to one file; see `Architecture.export`."""
    path = user_path(path)
    if format is None:
        if path.suffix not in SUFFIXES:
            raise unknown("suffix of a file to export to", path.suffix, SUFFIXES)
        format = SUFFIXES[path.suffix]
    if format not in FORMATS:
        raise unknown("format to export to", format, FORMATS)
    if format == "python":
        text = python_source(architecture, num_classes, image_size, **scale)
        with atomic_write(path) as unfinished:
            unfinished.write_text(text)
        return Export(path)
    shape: tuple[int, ...] = ()
    if format == "onnx":
        space = architecture.space
        readable = all(task.image_size for task in space.tasks.values()) or reads_text(space)
        shape = input_shape(space, image_size=image_size, **scale) if readable else ()
        if not shape:
            raise ValueError(
                f"networks that read images or texts can be written as ONNX; those of {space.name} do not"
            )
        missing = [name for name in ONNX_PACKAGES if find_spec(name) is None]
        if missing:
            raise ModuleNotFoundError(
                f"writing ONNX takes {' and '.join(missing)}: pip install 'pkgen-hf[onnx]'", name=missing[0]
            )
    scale = at_image_size(architecture.space, image_size, scale)
    network = _network(architecture, num_classes, state, seed, scale)
    facts = {"space": architecture.space.name, "architecture": str(architecture), "scale": json.dumps(scale)}
    if num_classes is not None:
        facts["num_classes"] = str(num_classes)
    if format == "safetensors":
        with atomic_write(path) as unfinished:
            save_file(network.state_dict(), unfinished, {"format": "pt", **facts})
        return Export(path)
    return Export(path, _export_onnx(network, shape, path, facts, reads_text(architecture.space)))


def _network(
    architecture: ArchitectureLike,
    num_classes: int | None,
    state: Mapping[str, torch.Tensor] | None,
    seed: int | None,
    scale: dict[str, Any],
) -> nn.Module:
    """The network with the given weights, else fresh ones; the global generator stays as it was."""
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        if seed is not None:
            torch.manual_seed(seed)
        network = build(architecture, num_classes, **scale).eval()
    if state is not None:
        try:
            network.load_state_dict(state)
        except RuntimeError as error:
            raise ValueError(f"the weights are not of this network: {error}") from error
    return network


# ---------------------------------------------------------------------- Python


def python_source(
    architecture: ArchitectureLike, num_classes: int | None = None, image_size: int | None = None, **scale: Any
) -> str:
    """Source of a Python file that builds the network with torch alone; arguments are those of `Architecture.export`.

    Its weights have the names that those of `Architecture.build` have.
    """
    space = architecture.space
    how = plan(architecture, num_classes, **at_image_size(space, image_size, scale))
    with on_meta():
        network = how().eval()
    with torch.device("meta"):
        parameters = sum(weight.numel() for weight in network.parameters())
        costs = f"{parameters:,} parameters"
        task = next(iter(space.tasks.values()))
        if "graph" in TASK_KINDS[task.kind]:
            features = how.keywords.get("num_features", task.num_features)
            arguments = f"torch.randn(10, {features}), torch.randint(10, (2, 30))"
        else:
            shape = input_shape(space, image_size=image_size, **scale)
            tokens = reads_text(space)
            length = ", ".join(map(str, shape or (1,)))
            arguments = f"torch.zeros(1, {length}, dtype=torch.long)" if tokens else f"torch.randn(1, {length})"
            size = (" x ".join(map(str, shape)) + " tokens" * tokens) if shape else "one word"
            multiply_adds = count(network, random_inputs(shape, text=tokens)).multiply_adds
            costs += f"; {multiply_adds:,} multiply-adds for an input of {size}"
    texts = {
        "Architecture": str(architecture),
        "Scale": ", ".join(f"{option}={value!r}" for option, value in scale.items()) or "that of the benchmark",
        "Costs": costs,
        "Weights": "load_state_dict of what the same export writes as safetensors",
        "Written by": f"pkgen-hf {version('pkgen-hf')}, whose code this is; licence Apache-2.0",
    }
    lines = [f"Network of the search space {space.name} in plain torch.", ""]
    for title, text in texts.items():
        text = f"{title}: {text}".replace("\\", "\\\\").replace('"""', "'''")
        lines += textwrap.wrap(text, WIDTH, break_long_words=False, break_on_hyphens=False)
    return source_of(how, "\n".join(lines) + "\n", arguments)


# ---------------------------------------------------------------------- ONNX


def _export_onnx(
    network: nn.Module, shape: tuple[int, ...], path: Path, facts: dict[str, str], text: bool
) -> float | None:
    """Write an ONNX model for batches of any size, of texts of any length; returns its difference to torch's results.

    The largest, that is, on random inputs.
    """
    shapes = [tuple(min(length, most) for length in shape) for most in EXAMPLE_LENGTHS] if text else [shape, shape]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        examples, others = (random_inputs(one, batch, text) for one, batch in zip(shapes, (2, 3), strict=True))
    dynamic = {0: torch.export.Dim("batch", min=1)}
    if text and shape[0] > 1:
        dynamic[1] = torch.export.Dim("length", min=1, max=shape[0])
    count(network, examples)  # says what is wrong, if it cannot read them, in one line
    name = next(iter(inspect.signature(network.forward).parameters))
    with warnings.catch_warnings(), _silent("torch.onnx"):
        warnings.simplefilter("ignore")  # torch's, about itself
        program = torch.onnx.export(
            network,
            (examples,),
            input_names=[name],
            output_names=["outputs"],
            dynamic_shapes={name: dynamic},
            dynamo=True,
            verbose=False,
        )
    program = cast(torch.onnx.ONNXProgram, program)  # None only without dynamo=True
    program.model.metadata_props.update(facts)
    with atomic_write(path) as unfinished:
        program.save(unfinished, external_data=False)
        return output_difference(network, unfinished, others)


def output_difference(network: nn.Module, path: Path, inputs: torch.Tensor) -> float | None:
    """The largest between results of onnxruntime and torch; ValueError above `TOLERANCE` times the largest result."""
    if find_spec("onnxruntime") is None:
        return None
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {session.get_inputs()[0].name: inputs.numpy()})
    with torch.inference_mode():
        expected = network(inputs)
    difference = float((torch.from_numpy(found) - expected).abs().max())
    largest = float(expected.abs().max())
    if difference > TOLERANCE * largest:
        raise ValueError(
            f"the ONNX model was not written: its results differ from the network's by {difference:.1e}, where the "
            f"largest is {largest:.1e}"
        )
    return difference


@contextmanager
def _silent(logger: str) -> Iterator[None]:
    """Only errors of a logger."""
    chosen = logging.getLogger(logger)
    level = chosen.level
    chosen.setLevel(logging.ERROR)
    try:
        yield
    finally:
        chosen.setLevel(level)
