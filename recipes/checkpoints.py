"""Checkpoints of a training that is to go on exactly where it was: written whole or not at all, the oldest dropped."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from pkgen_hf.errors import unknown

PROGRESS = "progress.json"


def list_checkpoints(output_dir: str) -> list[Path]:
    """Finished checkpoints of a training, by step."""
    found = [path for path in Path(output_dir).glob("checkpoint-*") if path.name.split("-")[1].isdigit()]
    return sorted(found, key=lambda path: int(path.name.split("-")[1]))


def save_checkpoint(accelerator: Accelerator, output_dir: str, progress: dict[str, Any], limit: int) -> None:
    """Save the state of every process, and `progress`, whose ``step`` names the folder.

    Raises
    ------
    OSError
        If it cannot be written; nothing of it is left then.
    """
    final = Path(output_dir) / f"checkpoint-{progress['step']}"
    temporary = final.with_name(f".{final.name}")
    try:
        if accelerator.is_main_process:
            shutil.rmtree(temporary, ignore_errors=True)  # of a run that was killed here
        accelerator.wait_for_everyone()
        accelerator.save_state(str(temporary))
        if accelerator.is_main_process:
            (temporary / PROGRESS).write_text(json.dumps(progress))
    except Exception as error:  # safetensors and torch have their own for a full disk
        shutil.rmtree(temporary, ignore_errors=True)
        raise OSError(f"cannot write {final}: {(str(error) or repr(error)).splitlines()[0]}") from error
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        shutil.rmtree(final, ignore_errors=True)
        os.replace(temporary, final)
        for old in list_checkpoints(output_dir)[:-limit]:
            shutil.rmtree(old)
    accelerator.wait_for_everyone()


def load_checkpoint(
    accelerator: Accelerator, output_dir: str, wanted: str | None, settings: dict[str, Any]
) -> dict[str, Any] | None:
    """Load the state to go on from and return its progress; None if none was asked for, or there is no latest yet.

    Raises
    ------
    FileNotFoundError
        If there is no such checkpoint.
    ValueError
        If it is of a training with other `settings`, the first of which is named.
    """
    known = list_checkpoints(output_dir)
    if not wanted or (wanted == "latest" and not known):
        return None
    path = known[-1] if wanted == "latest" else Path(wanted)
    if not (path / PROGRESS).is_file():
        path = Path(output_dir) / wanted
    if not (path / PROGRESS).is_file():
        raise FileNotFoundError(unknown(f"checkpoint in {output_dir}", wanted, [here.name for here in known]))
    progress = json.loads((path / PROGRESS).read_text())
    for name, value in json.loads(json.dumps(settings)).items():
        if progress["settings"].get(name) != value:
            was = progress["settings"].get(name)
            raise ValueError(f"{path} is of a training with {name} {was!r}, not {value!r}; name another --output_dir")
    accelerator.load_state(str(path))
    return progress
