"""``pkgen generate``: architectures for a task, best first."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from .options import (
    DEFAULT_SPACE,
    LIMITS,
    AsJson,
    Checkpoint,
    Quiet,
    Space,
    TablePath,
    TaskOptions,
    evaluations_in,
    friendly,
    grouped,
)

if TYPE_CHECKING:
    from ..requests.answer import GenerationAnswer

SAMPLING, OUTPUT = "Sampling", "Output"  # headings in the help


@dataclass(frozen=True)
class SamplingOptions:
    """How architectures are sampled."""

    number: Annotated[int, typer.Option("--number", "-n", help="Number of architectures.")] = 8
    seed: Annotated[int | None, typer.Option(help="The same seed gives the same architectures.")] = None
    steps: Annotated[int, typer.Option(help="Denoising steps.", rich_help_panel=SAMPLING)] = 1
    guidance: Annotated[
        float, typer.Option(help="Guidance scale; 0 switches guidance off.", rich_help_panel=SAMPLING)
    ] = 1.0
    temperature: Annotated[
        float, typer.Option(help="Values below 1 sharpen the distribution.", rich_help_panel=SAMPLING)
    ] = 0.5
    distinct: Annotated[
        bool, typer.Option(help="Return no two isomorphic architectures.", rich_help_panel=SAMPLING)
    ] = True


@dataclass(frozen=True)
class KnowledgeOptions:
    """What is known of architectures: by the user's own results, a prior, and a checkpoint."""

    evaluations: Annotated[
        Path | None,
        typer.Option(
            help="Your own results, any number: a CSV file with the columns architecture and score, or JSON. "
            "They add to the prior."
        ),
    ] = None
    prior: Annotated[
        Path | None, typer.Option(help="Prior for this call: a Parquet file that `pkgen prior` wrote.")
    ] = None
    checkpoint: Checkpoint = "pkgen-base"


@dataclass(frozen=True)
class LatencyOptions:
    """Where latencies were measured."""

    device: Annotated[
        str | None, typer.Option(help="Device in the table of latencies, e.g. edgegpu.", rich_help_panel=LIMITS)
    ] = None
    latency_table: Annotated[
        str | None, typer.Option(help="Measured latencies: Parquet file or Hub id.", rich_help_panel=LIMITS)
    ] = None


@dataclass(frozen=True)
class MemoryOptions:
    """What is held in memory."""

    context: Annotated[
        int | None,
        typer.Option(help="Tokens in the KV cache; without it, those of the benchmark.", rich_help_panel=LIMITS),
    ] = None
    batch_size: Annotated[
        int | None, typer.Option(help="Sequences in the KV cache; without it, 1.", rich_help_panel=LIMITS)
    ] = None
    memory_dtype: Annotated[
        str | None,
        typer.Option(help="float32 (without it), bfloat16 or float16, of weights and cache.", rich_help_panel=LIMITS),
    ] = None


@dataclass(frozen=True)
class OutputOptions:
    """What is shown of the answer."""

    draw: Annotated[
        Path | None, typer.Option(help="Draw the cells to this PNG or SVG file.", rich_help_panel=OUTPUT)
    ] = None
    table: TablePath = None
    as_json: AsJson = False
    quiet: Quiet = False


@friendly
@grouped
def generate(
    *,
    space: Space = DEFAULT_SPACE,
    task: TaskOptions,
    sampling: SamplingOptions,
    knowledge: KnowledgeOptions,
    latency: LatencyOptions,
    memory: MemoryOptions,
    output: OutputOptions,
    **limits: float | None,
) -> None:
    """Generate architectures, best first, with their costs and, where they were measured, their scores.

    With --num-classes, --in-channels or --image-size, --task is the kind of a data set of your own.

    Example: pkgen generate --space nas-bench-201 --task cifar10 -n 8 --seed 0 --draw cells.png

    With results of your own: pkgen generate --evaluations results.csv
    """
    from ..pipeline_pkgen import PKGenPipeline
    from ..priors.prior import Prior
    from ..requests.answer import answer
    from ..requests.request import GenerationRequest
    from ..requests.tables import Tables
    from ..spaces import get_space

    chosen = get_space(space)
    if output.draw is not None:
        from ..drawing.page import picture_path

        picture_path(output.draw)  # a wrong suffix is an error before anything is generated
    results = knowledge.evaluations
    evaluations = None if results is None else evaluations_in(results, chosen, task.task)
    request = GenerationRequest(
        chosen,
        task.chosen(chosen),
        evaluations=evaluations,
        num_architectures=sampling.number,
        seed=sampling.seed,
        num_inference_steps=sampling.steps,
        guidance_scale=sampling.guidance,
        temperature=sampling.temperature,
        distinct=sampling.distinct,
        prior=None if knowledge.prior is None else Prior.load(knowledge.prior),
        limits=limits,
        options=vars(latency) | vars(memory),
    )
    pipeline = PKGenPipeline.from_pretrained(knowledge.checkpoint)
    pipeline.set_progress_bar_config(disable=output.quiet or output.as_json, desc="generating")
    tables = Tables({} if output.table is None else {space: output.table})
    found = answer(request, pipeline, tables.table(request.space))
    if output.draw is not None:
        from ..drawing.pictures import draw

        draw(found.architectures, output.draw, found.titles())
    if output.as_json:
        print(found.as_json())
    else:
        _show(found, output, tables.missing.get(space))


def _show(found: GenerationAnswer, output: OutputOptions, missing: str | None) -> None:
    """Print an answer; `missing` says why measured scores are not there."""
    console = Console(soft_wrap=True, highlight=False, markup=False)
    console.print("\n".join(found.lines()))
    if output.quiet:
        return
    console.print(found.explanation())
    if missing is not None:
        hints = Console(stderr=True, soft_wrap=True, highlight=False, markup=False)
        hints.print(f"measured scores are not shown: {missing}")
    if output.draw is not None:
        console.print(f"drawn in {output.draw}")
