"""Trainings of generated vision transformers and mobile networks, by their presets, for a few steps."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from pictures import pictures, write_parquet
from torch import nn
from transformers import AutoModelForImageClassification

from optimizers import make_adamw
from pkgen_hf import get_space
from train_network import main


@pytest.mark.parametrize(
    ("space", "smaller"), [("autoformer-tiny", ["drop_path_prob=0.2"]), ("ofa-mobilenetv3", ["width=0.25"])]
)
def test_presets_train(space: str, smaller: list[str], tmp_path: Path) -> None:
    write_parquet(tmp_path / "images.parquet", pictures(12))
    words = ["--space", space, "--architecture", get_space(space).example, "--train_images", str(tmp_path)]
    words += ["--image_size", "32", "--total_batch_size", "4", "--max_train_steps", "2", "--logging_steps", "1"]
    words += ["--output_dir", str(tmp_path / "run"), "--scale", *smaller, "--no_validation", "--cpu", "--quiet"]
    main(words)
    model = AutoModelForImageClassification.from_pretrained(tmp_path / "run" / "network")
    assert (model.config.space, model.config.image_size, model.config.num_labels) == (space, 32, 3)
    assert model(torch.zeros(1, 3, 32, 32)).logits.isfinite().all()
    settings = json.loads((tmp_path / "run" / "network" / "training.json").read_text())["settings"]
    assert settings["optimizer"] == {"autoformer-tiny": "adamw", "ofa-mobilenetv3": "rmsprop"}[space]


def test_adamw_decays_matrices_alone() -> None:
    """Without a gradient all that moves a parameter is the decay."""
    network = PositionsAndLayers()
    before = {name: parameter.detach().clone() for name, parameter in network.named_parameters()}
    for parameter in network.parameters():
        parameter.grad = torch.zeros_like(parameter)
    make_adamw(network, 0.1, 0.5, (0.9, 0.999)).step()
    moved = {name for name, parameter in network.named_parameters() if not torch.equal(parameter, before[name])}
    assert moved == {"linear.weight", "convolution.weight"}


class PositionsAndLayers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.positions = nn.Parameter(torch.ones(1, 4, 3))
        self.words = nn.Embedding(5, 3)
        self.norm = nn.LayerNorm(3)
        self.linear = nn.Linear(3, 3)
        self.convolution = nn.Conv2d(3, 3, 1)
        nn.init.ones_(self.linear.bias)
