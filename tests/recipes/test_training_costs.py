"""What trainings of networks cost: the documentation's rows, and what a step keeps in memory."""

from __future__ import annotations

from itertools import takewhile
from pathlib import Path

import torch

import presets
import training_costs

ROOT = Path(__file__).parent.parent.parent


def test_costs_of_trainings_are_those_in_the_documentation() -> None:
    """Every preset has a row; that of a published cell, which no checkpoint chooses, is counted again."""
    lines = (ROOT / "docs" / "training.md").read_text().splitlines()
    start = lines.index(next(line for line in lines if line.startswith("| preset and network |")))
    rows = list(takewhile(lambda line: line.startswith("|"), lines[start + 2 :]))
    assert [row.split("`")[1] for row in rows] == list(presets.presets())
    assert str(training_costs.image_row("darts-cifar", presets.get_preset("darts-cifar"))) in rows
    for space in ("hw-gpt-bench-s", "hw-gpt-bench-m"):
        assert any(line.startswith(f"| `{space}`, first-ranked |") for line in lines)


def test_memory_of_a_training_step_is_what_its_backward_pass_reads() -> None:
    """Of two layers the input of each, and which values were above 0."""
    network = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 4))
    assert training_costs.kept_bytes(network, torch.randn(3, 8)) == 4 * 3 * (8 + 16)
