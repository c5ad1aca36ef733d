"""``pkgen bench``: speed on this machine."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Annotated

import typer
from rich.console import Console

from .options import DEFAULT_SPACE, AsJson, Checkpoint, Space, Task, friendly, grouped


@dataclass(frozen=True)
class SpeedOptions:
    """What is timed, under the names that `ThroughputSettings` has for them."""

    checkpoint: Checkpoint = "pkgen-base"
    space: Space = DEFAULT_SPACE
    task: Task = None
    batch: Annotated[int, typer.Option(help="Architectures per call.")] = 1024
    steps: Annotated[int, typer.Option(help="Denoising steps.")] = 1
    guidance: Annotated[float, typer.Option(help="Guidance scale.")] = 1.0
    evaluations: Annotated[
        int, typer.Option(help="Random evaluations that calls are given; they then return distinct architectures.")
    ] = 0
    repeats: Annotated[int, typer.Option(help="Number of timed calls; the median is shown.")] = 7
    threads: Annotated[int | None, typer.Option(help="CPU threads; without it, as torch decides.")] = None
    dtype: Annotated[str, typer.Option(help="float32 or bfloat16.")] = "float32"
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu"


@friendly
@grouped
def bench(
    *,
    speed: SpeedOptions,
    table: Annotated[str | None, typer.Option(help="Also time look-ups in this table of the space.")] = None,
    as_json: AsJson = False,
) -> None:
    """Time generation, and the denoiser next to a plain matrix product on this machine; look-ups in a table as well.

    Example: pkgen bench --space nas-bench-101 --table data/nas-bench-101
    """
    from ..evaluation.throughput import ThroughputSettings, measure_look_ups, measure_throughput

    result = measure_look_ups(speed.space, table, speed.repeats) if table is not None else {}
    result |= measure_throughput(ThroughputSettings(**asdict(speed)))
    if as_json:
        print(json.dumps(result, indent=2))
        return
    for name, value in result.items():
        text = f"{value:,.1f}" if isinstance(value, float) else str(value)
        Console().print(f"{name.replace('_', ' '):52} {text}", highlight=False)
