"""How fast generation is on this machine, beside its own matrix products."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from .errors import unknown
from .pipeline_pkgen import PKGenPipeline
from .spaces import get_space

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


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


def measure_speed(
    checkpoint: str = "pkgen-base",
    space: str = "nas-bench-201",
    task: str | None = None,
    batch: int = 1024,
    steps: int = 4,
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
            distinct=False,
            num_inference_steps=steps,
            guidance_scale=guidance,
        )

    seconds = _median_seconds(generate, repeats, device)

    with torch.no_grad():
        condition = pipe.denoiser.describe(here, pipe.select_prior(here, task, None), task)
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
        "steps": steps,
        "guidance_scale": guidance,
        "architectures_per_second": batch / seconds,
        "denoiser_milliseconds_for_a_batch": denoiser * 1e3,
        "denoiser_gflops_per_second": rate,
        "matrix_product_gflops_per_second": peak,
        "denoiser_share_of_matrix_product_percent": 100 * rate / peak,
    }
