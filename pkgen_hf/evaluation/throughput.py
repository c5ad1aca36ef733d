"""Throughput of generation and of look-ups on this machine, beside a plain matrix product."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from ..benchmarks.score_table import ScoreTable
from ..errors import unknown
from ..pipeline_pkgen import PKGenPipeline
from ..spaces import get_space

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
LOOK_UPS = 100_000


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


def measure_throughput(
    checkpoint: str = "pkgen-base",
    space: str = "nas-bench-201",
    task: str | None = None,
    batch: int = 1024,
    candidates: int = 4,
    steps: int = 2,
    guidance: float = 1.0,
    repeats: int = 7,
    threads: int | None = None,
    dtype: str = "float32",
    device: str = "cpu",
) -> dict[str, Any]:
    """Time whole calls of the pipeline, single calls of the denoiser, and a plain matrix product, all in one run.

    Returns
    -------
    dict
        ``architectures_per_second``: whole calls with `batch` samples as they come, medians of `repeats` calls.
        ``denoiser_...``: one call of the denoiser on `batch` random rows. Rates are in GFLOP/s, where a multiply-add
        counts two.
    """
    if dtype not in DTYPES:
        raise unknown("dtype", dtype, DTYPES)
    if threads is not None:
        torch.set_num_threads(threads)
    pipe = PKGenPipeline.from_pretrained(checkpoint, torch_dtype=DTYPES[dtype]).to(device)
    pipe.set_progress_bar_config(disable=True)
    here = get_space(space)
    task = task or next(iter(here.tasks))

    def generate() -> None:
        pipe(
            space=here,
            task=task,
            num_architectures=batch,
            num_candidates=candidates,
            distinct=False,
            num_inference_steps=steps,
            guidance_scale=guidance,
        )

    seconds = _median_seconds(generate, repeats, device)

    with torch.no_grad():
        condition = pipe.denoiser.make_condition(here, pipe.select_prior(here, task, None), task)
        encoded = pipe.denoiser.encode(condition)
        sample = here.sample(batch).to(device)
        with FlopCounterMode(display=False) as counter:
            pipe.denoiser(sample, 500.0, encoded)
        denoiser = _median_seconds(lambda: pipe.denoiser(sample, 500.0, encoded), repeats, device)
        size = 2048
        left = torch.randn(size, size, dtype=DTYPES[dtype], device=device)
        product = _median_seconds(lambda: left @ left, repeats, device)
    flops = counter.get_total_flops()
    rate, peak = flops / denoiser / 1e9, 2 * size**3 / product / 1e9
    return {
        "space": space,
        "task": task,
        "device": device,
        "dtype": dtype,
        "threads": torch.get_num_threads(),
        "denoiser_parameters": pipe.denoiser.num_parameters(),
        "batch": batch,
        "candidates": candidates,
        "steps": steps,
        "guidance_scale": guidance,
        "architectures_per_second": batch / seconds,
        "denoiser_milliseconds_for_a_batch": denoiser * 1e3,
        "denoiser_gflops_per_second": rate,
        "matrix_product_gflops_per_second": peak,
        "denoiser_share_of_matrix_product_percent": 100 * rate / peak,
    }
