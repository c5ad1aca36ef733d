"""Training networks on a real GPU: images that stay there, steps as CUDA graphs. Run by ``pytest -m gpu``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState
from pictures import write_splits
from test_device_images import AUGMENTATIONS, _of_arrays
from test_train_network import argv_of, assert_same, options_of, record_of

from device_images import DeviceImages
from presets import get_preset
from train_network import main

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.usefixtures("accelerate_anew"),
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine"),
]
CPU, CUDA = torch.device("cpu"), torch.device("cuda")
NETWORKS: dict[str, dict[str, Any]] = {
    "SGD, growing drop path, auxiliary head, clipping, moving average": {},
    "RMSprop": {"optimizer": "rmsprop", "learning_rate": 0.01},
    "AdamW": {"optimizer": "adamw", "learning_rate": 1e-3},
    "bfloat16, channels last": {"mixed_precision": "bf16"},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """train.parquet of 240 images, test.parquet of 31: ten steps an epoch."""
    return write_splits(tmp_path_factory.mktemp("pictures"), 240)


def on_the_gpu(options: dict[str, Any], *flags: str) -> dict[str, Any]:
    """Train by the command line; the record."""
    main([*argv_of(options)[1:], "--quiet", *flags])  # without --cpu
    return record_of(Path(options["output_dir"]))


@pytest.mark.parametrize("size", [8, 32])
@pytest.mark.parametrize("changes", AUGMENTATIONS, ids=str)
def test_pixels_are_those_of_the_cpu(changes: dict[str, Any], size: int) -> None:
    settings = replace(get_preset("nas-bench-201"), image_size=size, **changes)
    images = _of_arrays(np.random.default_rng(size).integers(0, 256, (500, size, size, 3), np.uint8))
    there, here = (DeviceImages(images, settings, device).batch(1, np.arange(500)) for device in (CUDA, CPU))
    assert there["pixel_values"].device.type == there["labels"].device.type == "cuda"
    assert torch.equal(there["pixel_values"].cpu(), here["pixel_values"])
    assert torch.equal(there["labels"].cpu(), here["labels"])


@pytest.mark.parametrize("name", NETWORKS)
def test_a_graph_trains_as_single_kernels_do(folder: Path, tmp_path: Path, name: str) -> None:
    """Two epochs: the graph is recorded again for the second drop path. Sums are not in the same order every time."""
    flags = ["--channels_last"] if "bfloat16" in name else []
    shared = options_of(folder, tmp_path / "graph") | {"num_train_epochs": 2} | NETWORKS[name]
    graph = on_the_gpu(shared, *flags)
    single = on_the_gpu(shared | {"output_dir": tmp_path / "single"}, "--no-cuda_graph", *flags)
    assert graph["cuda_graph"] and not single["cuda_graph"] and graph["peak_memory_bytes"] > 0
    tolerance = 0.1 if "bfloat16" in name else 1e-2
    for one, other in zip(graph["history"], single["history"], strict=True):
        assert one["loss"] == pytest.approx(other["loss"], rel=tolerance)
    if "bfloat16" not in name:
        assert_same(tmp_path / "graph", tmp_path / "single", rtol=0.05, atol=0.05)


def test_a_graph_goes_on_from_a_checkpoint_of_the_cpu(folder: Path, tmp_path: Path) -> None:
    options = options_of(folder, tmp_path / "both") | {"num_train_epochs": 1, "checkpointing_steps": 4}
    whole = on_the_gpu(options | {"output_dir": tmp_path / "whole"})
    main([*argv_of(options), "--quiet"])  # on the CPU
    AcceleratorState._reset_state(reset_partial_state=True)
    rest = on_the_gpu(options, "--resume_from_checkpoint", "checkpoint-4")
    assert rest["cuda_graph"] and rest["history"][-1]["steps"] == whole["history"][-1]["steps"]
    assert rest["history"][-1]["loss"] == pytest.approx(whole["history"][-1]["loss"], rel=1e-2)


def test_workers_and_the_device_make_the_same_images(folder: Path, tmp_path: Path) -> None:
    options = options_of(folder, tmp_path / "with") | {"max_train_steps": 4}
    found = on_the_gpu(options)
    other = options | {"output_dir": tmp_path / "without", "images_on_device": 0, "dataloader_num_workers": 2}
    assert found["history"][-1]["loss"] == pytest.approx(on_the_gpu(other)["history"][-1]["loss"], rel=1e-3)
