"""Throughput of generation and of look-ups on this machine, beside a plain matrix product."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from ..benchmarks.score_table import ScoreTable
from ..errors import one_line, unknown
from ..evidence.kernel import reference
from ..inputs import whole_number
from ..pipeline_pkgen import PKGenPipeline
from ..spaces import DEFAULT_SPACE, SearchSpace, get_space

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
LOOK_UPS = 100_000
MATRIX = 2048  # rows and columns of the matrix product
MOST_THREADS = 4096


def _random_evaluations(space: SearchSpace, num: int) -> tuple[torch.Tensor, torch.Tensor]:
    """About `num` valid architectures, and a score of each."""
    generator = torch.Generator().manual_seed(0)
    rows = reference(space)[:num]
    return rows, torch.randn(len(rows), generator=generator)


def _median_seconds(call: Callable[[], Any], repeats: int, device: str) -> float:
    seconds = []
    for repeat in range(repeats + 2):
        started = time.perf_counter()
        call()
        if device.startswith("cuda"):
            torch.cuda.synchronize()
        if repeat >= 2:  # the first two warm up
            seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


def _peak_megabytes() -> float:
    """Peak resident memory of this process."""
    import resource  # which Windows lacks

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def measure_look_ups(space: str, table: str | Path | None = None, repeats: int = 7) -> dict[str, Any]:
    """Load a benchmark's table, and time look-ups of `LOOK_UPS` random architectures in it.

    Returns
    -------
    dict
        ``table_megabytes``: by how much loading raised the most memory that the process has held, so to be called
        first; ``look_up_seconds``: median of `repeats`, after a first call that sorts the table.
    """
    whole_number("repeats", repeats)
    before, started = _peak_megabytes(), time.perf_counter()
    scores = ScoreTable.load(space, table)
    loading, task = time.perf_counter() - started, scores.tasks[0]
    indices = scores.space.sample(LOOK_UPS, torch.Generator().manual_seed(0))
    scores.scores(indices[:1], task)
    megabytes = _peak_megabytes() - before
    return {
        "table_rows": len(scores.indices),
        "table_loading_seconds": loading,
        "table_megabytes": megabytes,
        "look_up_architectures": LOOK_UPS,
        "look_up_seconds": _median_seconds(lambda: scores.scores(indices, task), repeats, "cpu"),
    }


@dataclass(frozen=True)
class ThroughputSettings:
    """What is timed, and how often.

    Attributes
    ----------
    checkpoint, space, task
        As the pipeline takes them; without a task, the space's first one.
    batch
        Samples of a call.
    steps, guidance
        Of generation: denoising steps, guidance scale.
    evaluations
        Random architectures with random scores that are given; a call then returns distinct architectures.
    repeats
        Timed calls, of which the median counts.
    threads
        Of the CPU; None leaves it to torch.
    dtype
        One of `DTYPES`.
    device
        Of torch, such as ``cpu`` or ``cuda``.
    """

    checkpoint: str = "pkgen-base"
    space: str = DEFAULT_SPACE
    task: str | None = None
    batch: int = 1024
    steps: int = 1
    guidance: float = 1.0
    evaluations: int = 0
    repeats: int = 7
    threads: int | None = None
    dtype: str = "float32"
    device: str = "cpu"


def measure_throughput(settings: ThroughputSettings) -> dict[str, Any]:
    """Time whole calls of the pipeline, single calls of the denoiser, and a plain matrix product, all in one run.

    Returns
    -------
    dict
        ``architectures_per_second``: whole calls with a batch of samples as they come, or of distinct architectures
        with evaluations; median of the timed calls.
        ``denoiser_...``: one call of the denoiser on a batch of random rows. Rates are in GFLOP/s, where a
        multiply-add counts two.

    Raises
    ------
    ValueError
        For an unknown dtype, space, task or device, or a number of evaluations, repeats or threads out of range.
    """
    whole_number("evaluations", settings.evaluations, 0)
    whole_number("repeats", settings.repeats)
    if settings.threads is not None:
        torch.set_num_threads(whole_number("threads", settings.threads, 1, MOST_THREADS))
    if settings.dtype not in DTYPES:
        raise unknown("dtype", settings.dtype, DTYPES)
    try:
        torch.empty(0, device=settings.device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:  # by what is wrong with it
        raise ValueError(f"no device {settings.device!r} on this machine: {one_line(error)}") from error
    pipe = PKGenPipeline.from_pretrained(settings.checkpoint, torch_dtype=DTYPES[settings.dtype]).to(settings.device)
    pipe.set_progress_bar_config(disable=True)
    space = get_space(settings.space)
    task = settings.task or next(iter(space.tasks))

    given = _random_evaluations(space, settings.evaluations) if settings.evaluations else None

    def generate() -> None:
        pipe(
            space=space,
            task=task,
            num_architectures=settings.batch,
            distinct=given is not None,
            evaluations=given,
            num_inference_steps=settings.steps,
            guidance_scale=settings.guidance,
        )

    seconds = _median_seconds(generate, settings.repeats, settings.device)
    denoiser, flops = _time_denoiser(pipe, space, task, settings)
    rate, peak = flops / denoiser / 1e9, _matrix_product_rate(settings)
    return {
        "space": settings.space,
        "task": task,
        "device": settings.device,
        "dtype": settings.dtype,
        "threads": torch.get_num_threads(),
        "denoiser_parameters": pipe.denoiser.num_parameters(),
        "batch": settings.batch,
        "steps": settings.steps,
        "guidance_scale": settings.guidance,
        "evaluations": settings.evaluations,
        "architectures_per_second": settings.batch / seconds,
        "denoiser_milliseconds_for_a_batch": denoiser * 1e3,
        "denoiser_gflops_per_second": rate,
        "matrix_product_gflops_per_second": peak,
        "denoiser_share_of_matrix_product_percent": 100 * rate / peak,
    }


@torch.no_grad()
def _time_denoiser(
    pipe: PKGenPipeline, space: SearchSpace, task: str, settings: ThroughputSettings
) -> tuple[float, int]:
    """Median seconds and floating point operations of one call of the denoiser on a batch of random rows."""
    condition = pipe.denoiser.make_condition(space, pipe.select_prior(space, task, None), task)
    encoded = pipe.denoiser.encode(condition)
    sample = space.sample(settings.batch).to(settings.device)
    with FlopCounterMode(display=False) as counter:
        pipe.denoiser(sample, 500.0, encoded)
    seconds = _median_seconds(lambda: pipe.denoiser(sample, 500.0, encoded), settings.repeats, settings.device)
    return seconds, counter.get_total_flops()


def _matrix_product_rate(settings: ThroughputSettings) -> float:
    """GFLOP/s of a square matrix product."""
    matrix = torch.randn(MATRIX, MATRIX, dtype=DTYPES[settings.dtype], device=settings.device)
    seconds = _median_seconds(lambda: matrix @ matrix, settings.repeats, settings.device)
    return 2 * MATRIX**3 / seconds / 1e9
