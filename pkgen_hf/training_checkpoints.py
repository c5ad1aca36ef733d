"""Checkpoints of the denoiser's training: written whole or not at all, and resumed exactly or not at all."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from .errors import unknown

PROGRESS = "progress.json"


def list_checkpoints(output_dir: str) -> list[Path]:
    """Checkpoints of a training, by step."""
    found = [path for path in Path(output_dir).glob("checkpoint-*") if re.fullmatch(r"checkpoint-\d+", path.name)]
    return sorted(found, key=lambda path: int(path.name.split("-")[1]))


def save_checkpoint(accelerator: Accelerator, output_dir: str, progress: dict[str, Any], limit: int) -> None:
    """Save the state of every process, and `progress`, and drop the oldest checkpoints beyond `limit`.

    Parameters
    ----------
    progress
        JSON values: the ``step``, which names the folder, the ``seconds`` so far, and the ``settings`` that decide the
        result.

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
        raise OSError(f"cannot write {final}: {_first_line(error)}") from error
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
    """Load the state to resume from and return its progress; None if none is wanted, or there is no latest yet.

    Parameters
    ----------
    wanted
        ``"latest"``, or a checkpoint's name or folder.
    settings
        Those of this training that decide the result.

    Raises
    ------
    FileNotFoundError
        If there is no such checkpoint.
    ValueError
        If it is damaged, which names the one before it, or of a training with other `settings`, which names the first
        that differs.
    """
    known = list_checkpoints(output_dir)
    if not wanted or (wanted == "latest" and not known):
        return None
    path = known[-1] if wanted == "latest" else Path(wanted)
    if not path.is_dir():
        path = Path(output_dir) / wanted
    if not path.is_dir():
        raise FileNotFoundError(str(unknown(f"checkpoint in {output_dir}", wanted, [here.name for here in known])))
    try:
        progress: dict[str, Any] = json.loads((path / PROGRESS).read_text())
        was = dict(progress["settings"])
        progress = {"step": int(progress["step"]), "seconds": float(progress["seconds"]), "settings": was}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _damaged(path, f"{PROGRESS} is missing, or not as it was written") from error
    now = json.loads(json.dumps(settings))
    for name in {**now, **was}:
        if was.get(name) != now.get(name):
            raise ValueError(
                f"{path} is of a training with {name} {was.get(name)!r}, not {now.get(name)!r}; "
                "resume with its settings, or train in another output_dir"
            )
    try:
        accelerator.load_state(str(path))
    except Exception as error:  # each of the libraries that read it has its own
        raise _damaged(path, _first_line(error)) from error
    return progress


def _first_line(error: Exception) -> str:
    return (str(error) or repr(error)).splitlines()[0]


def _damaged(path: Path, reason: str) -> ValueError:
    names = [other.name for other in list_checkpoints(str(path.parent))]
    at = names.index(path.name) if path.name in names else 0
    rest = f"the one before it is {names[at - 1]}" if at else "there is none before it"
    return ValueError(f"{path} is damaged: {reason}; {rest}")
