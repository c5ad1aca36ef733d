"""Steps as CUDA graphs: when there is one, and optimizers that can be recorded. On a GPU: test_gpu_training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from pictures import pictures, write_parquet
from test_train_network import SMALL, network
from torch import nn

from cuda_graphs import capturable, set_learning_rate, why_not
from image_training import train
from images import load_images
from optimizers import make_optimizer

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.mark.parametrize(
    ("changes", "processes", "reason"),
    [
        ({}, 2, "several processes"),
        ({"gradient_accumulation_steps": 2}, 1, "accumulated"),
        ({"mixed_precision": "fp16"}, 1, "fp16"),
        ({"compile": True}, 1, "--compile"),
    ],
)
def test_it_is_said_why_there_is_no_graph(changes: dict[str, Any], processes: int, reason: str) -> None:
    settings = replace(SMALL, **changes)
    assert reason in (why_not(settings, CUDA, processes) or "")
    assert why_not(settings, CPU, processes) == why_not(replace(settings, cuda_graph=False), CUDA, processes) == ""


def test_one_process_has_a_graph_also_in_bfloat16() -> None:
    assert why_not(SMALL, CUDA, 1) is why_not(replace(SMALL, mixed_precision="bf16"), CUDA, 1) is None


def test_a_learning_rate_that_is_a_tensor_is_changed_in_place() -> None:
    """And the weights are those of one that is a number."""
    weights = []
    for prepare in (False, True):
        torch.manual_seed(0)
        layer = nn.Linear(5, 3)
        optimizer = make_optimizer(SMALL, layer)
        rates = []
        for step in range(6):
            if prepare and step in (0, 3):  # at the start, and as after a checkpoint was loaded
                optimizer.load_state_dict(optimizer.state_dict())
                capturable(optimizer, CPU)
                rates.append(optimizer.param_groups[0]["lr"])
            set_learning_rate(optimizer, 0.1 / (step + 1))
            layer(torch.full((2, 5), float(step))).square().sum().backward()
            optimizer.step()
            optimizer.zero_grad()
        assert not prepare or [float(rate) for rate in rates] == pytest.approx([0.1 / 3, 0.1 / 6])
        weights.append(layer.weight.detach().clone())
    torch.testing.assert_close(*weights)


@pytest.mark.parametrize("name", ["rmsprop", "adamw"])
def test_other_optimizers_count_steps_in_tensors(name: str) -> None:
    layer = nn.Linear(2, 2)
    optimizer = make_optimizer(replace(SMALL, optimizer=name), layer)
    layer(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    capturable(optimizer, torch.device("meta"))
    assert all(group["capturable"] for group in optimizer.param_groups)
    assert {value.device.type for state in optimizer.state.values() for value in state.values()} == {"meta"}


def test_on_a_cpu_nothing_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images = load_images(str(write_parquet(tmp_path / "train.parquet", pictures(24))))
    settings = replace(SMALL, output_dir=str(tmp_path), max_train_steps=1, quiet=False)
    assert train(settings, network(settings), images)["cuda_graph"] is False
    assert not capsys.readouterr().out
