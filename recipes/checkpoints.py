"""Checkpoints of a training on images, with the progress and the settings that it is to go on with."""

from __future__ import annotations

import json
from typing import Any

from accelerate import Accelerator

from pkgen_hf import training_checkpoints
from pkgen_hf.files import read_json
from pkgen_hf.training_checkpoints import PROGRESS, damaged, find_checkpoint, load_state


def save_checkpoint(accelerator: Accelerator, output_dir: str, progress: dict[str, Any], limit: int) -> None:
    """Save the state of every process, and `progress`, whose ``step`` names the folder; OSError if that fails."""
    training_checkpoints.save_checkpoint(accelerator, output_dir, progress["step"], limit, progress)


def load_checkpoint(
    accelerator: Accelerator, output_dir: str, wanted: str | None, settings: dict[str, Any]
) -> dict[str, Any] | None:
    """Load the state to go on from and return its progress; None if none was asked for, or there is no latest yet.

    Raises
    ------
    FileNotFoundError
        If there is no such checkpoint.
    ValueError
        If it is damaged, or of a training with other `settings`, the first of which is named.
    """
    path = find_checkpoint(output_dir, wanted)
    if path is None:
        return None
    if not (path / PROGRESS).is_file():
        raise damaged(path, f"{PROGRESS} is missing in {path}")
    try:
        progress = read_json(path / PROGRESS)
    except ValueError as error:
        raise damaged(path, str(error)) from error
    before = progress.get("settings")
    if not isinstance(before, dict):
        raise damaged(path, f"{path / PROGRESS} says nothing of the training's settings")
    for name, value in json.loads(json.dumps(settings)).items():
        if before.get(name) != value:
            was = before.get(name)
            raise ValueError(f"{path} is of a training with {name} {was!r}, not {value!r}; name another --output_dir")
    load_state(accelerator, path)
    return progress
