"""``pkgen draw``, ``pkgen cost`` and ``pkgen export``: what is done with the network of one architecture."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from .options import DEFAULT_SPACE, AsJson, NetworkOptions, Quiet, Space, friendly, grouped


@friendly
def draw(
    architecture: Annotated[list[str], typer.Argument(help="String of the benchmark; several may be given.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="PNG or SVG file.")] = Path("cells.png"),
    space: Space = DEFAULT_SPACE,
    quiet: Quiet = False,
) -> None:
    """Draw architectures.

    Example: pkgen draw --space nas-bench-graph 0112:gcn,gin,fc,cheb -o cell.svg
    """
    from ..architecture import Architecture
    from ..drawing.pictures import draw as draw_cells

    cells = [Architecture.from_string(space, text) for text in architecture]
    draw_cells(cells, output, [str(cell) for cell in cells])
    if not quiet:
        print(f"drawn in {output}")


@dataclass(frozen=True)
class MeasureOptions:
    """What is measured beyond the formulas."""

    measure: Annotated[
        bool, typer.Option("--measure", help="Also measure multiply-adds and the memory of activations.")
    ] = False
    latency: Annotated[bool, typer.Option("--latency", help="Also time the network on the CPU of this machine.")] = (
        False
    )
    runs: Annotated[int, typer.Option(help="Number of timed runs; the median is shown.")] = 20


@dataclass(frozen=True)
class MemoryOptions:
    """For what the memory of a language model is counted."""

    context: Annotated[
        int | None, typer.Option(help="Tokens of a sequence, of a language model; without it, the benchmark's.")
    ] = None
    batch_size: Annotated[int | None, typer.Option(help="Sequences in its KV cache; without it, 1.")] = None
    memory_dtype: Annotated[str, typer.Option(help="float32, bfloat16 or float16, of its weights and KV cache.")] = (
        "float32"
    )


@friendly
@grouped
def cost(
    *,
    architecture: Annotated[str, typer.Argument(help="String of the benchmark.")],
    space: Space = DEFAULT_SPACE,
    task: Annotated[
        str | None, typer.Option(help="Data set of the space, or a kind of task; without it, the first.")
    ] = None,
    network: NetworkOptions,
    measurements: MeasureOptions,
    memory: MemoryOptions,
    as_json: AsJson = False,
) -> None:
    """Show what a network costs: by formulas at the scale of a task, or measured at any other scale.

    Example: pkgen cost --space darts --scale stem=imagenet --scale channels=48 --scale cells=14 --scale affine=true
    --num-classes 1000 --image-size 224 "Genotype(...)"
    """
    from ..architecture import Architecture

    found = Architecture.from_string(space, architecture).cost(
        task,
        image_size=network.image_size,
        num_classes=network.num_classes,
        measured=measurements.measure,
        latency=measurements.latency,
        runs=measurements.runs,
        **vars(memory),
        **network.keywords(Architecture.cost),
    )
    values = {name: value for name, value in vars(found).items() if value is not None}
    if as_json:
        print(json.dumps(values, indent=2))
        return
    width = max(18, *map(len, values))
    for name, value in values.items():
        text = f"{value:,.2f}" if isinstance(value, float) else f"{value:,}"
        print(f"{name.replace('_', ' '):{width}} {text:>16}")


@dataclass(frozen=True)
class ExportOptions:
    """The form of the file, and the weights in it."""

    format: Annotated[
        str | None, typer.Option(help="python, onnx or safetensors; without it, as the suffix of the file says.")
    ] = None
    weights: Annotated[
        Path | None,
        typer.Option(help="Folder of a trained network (save_pretrained): architecture, classes, scale and weights."),
    ] = None
    seed: Annotated[int | None, typer.Option(help="Seed of fresh weights.")] = None


@friendly
@grouped
def export(
    *,
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write; an existing one is replaced.")],
    architecture: Annotated[
        str | None, typer.Argument(help="String of the benchmark; not needed with --weights.")
    ] = None,
    space: Space = DEFAULT_SPACE,
    task: Annotated[
        str | None, typer.Option(help="Data set of the space for which the network is built; without it, the first.")
    ] = None,
    network: NetworkOptions,
    file: ExportOptions,
    quiet: Quiet = False,
) -> None:
    """Write a network to one file that needs no PKGen: Python code for torch alone, its weights, or an ONNX model.

    Python code builds the network, and loads the weights that the same command writes with the format safetensors.
    ONNX needs the packages of the extra named onnx; the model is compared with the network before it is written.

    Example: pkgen export "8:16:24:32:40" --space nats-bench-size -o network.py && python network.py
    """
    from ..architecture import Architecture
    from ..modeling_network import saved_network
    from ..modeling_text_network import MODEL_TYPE, saved_text_network
    from ..network_folder import model_type_of
    from ..networks.export import export_network

    size = network.image_size
    if file.weights is not None:
        read = saved_text_network if model_type_of(file.weights) == MODEL_TYPE else saved_network
        saved = read(file.weights)
        if architecture is not None and Architecture.from_string(space, architecture) != saved.architecture:
            raise ValueError(f"{file.weights} holds {saved.architecture!r}, not {architecture!r} of {space}")
        if network.num_classes is not None or network.scale or network.in_channels is not None or task is not None:
            raise ValueError(f"{file.weights} says what the number of classes and the scale are: leave them out")
        state, classes = saved.state, saved.num_classes
        size = size or saved.image_size
        done = export_network(saved.architecture, output, file.format, classes, size, state, **saved.scale)
    elif architecture is not None:
        options = network.keywords(export_network)
        done = Architecture.from_string(space, architecture).export(
            output,
            file.format,
            num_classes=network.num_classes,
            image_size=size,
            task=options.pop("task", task),
            seed=file.seed,
            **options,
        )
    else:
        raise ValueError("an architecture, or --weights with a trained network, is needed")
    if quiet:
        return
    print(f"written to {done.path}")
    if done.difference is not None:
        print(f"largest difference between onnxruntime and torch: {done.difference:.1e}")
