"""Checkpoints of a training: written whole or not at all, and checked before a training resumes from one.

Accelerate's own naming and rotation (`ProjectConfiguration`) is not used: it counts checkpoints instead of naming them
by their step, deletes the oldest before the new one is written, and leaves a partial folder if a process is killed.
"""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path
from types import GenericAlias, MappingProxyType
from typing import Any

from accelerate import Accelerator

from ..errors import one_line, shortened, unknown
from ..files import read_json, user_path, write_json
from ..hub.loading import read_tensors

PROGRESS = "progress.json"  # the training's own state, beside Accelerate's files
_NAME = re.compile(r"checkpoint-(\d+)")


def list_checkpoints(output_dir: str | Path) -> list[Path]:
    """Complete checkpoints of a training, in the order of their steps."""
    return sorted(
        (path for path in user_path(output_dir).glob("checkpoint-*") if _NAME.fullmatch(path.name)), key=step_of
    )


def step_of(checkpoint: Path) -> int:
    """The step of a checkpoint, by the name of its folder."""
    found = _NAME.fullmatch(checkpoint.name)
    if found is None:
        raise ValueError(f"{checkpoint} is not named checkpoint-STEP")
    return int(found[1])


def save_checkpoint(accelerator: Accelerator, output_dir: str | Path, progress: dict[str, Any], limit: int) -> None:
    """Save the state of every process, then delete the oldest checkpoints.

    All processes write into one folder under a temporary name, which is renamed when it is complete.

    Parameters
    ----------
    accelerator
        With all that is prepared or registered.
    output_dir
        Where the folder ``checkpoint-STEP`` is made.
    progress
        Written beside the state as `PROGRESS`, in JSON: the ``step``, the ``seconds`` so far, the ``settings`` that
        decide the result, and the training's own state.
    limit
        Number of checkpoints to keep.

    Raises
    ------
    OSError
        If it cannot be written; nothing of it remains.
    """
    final = user_path(output_dir) / f"checkpoint-{progress['step']}"
    temporary = final.with_name(f".{final.name}")
    try:
        if accelerator.is_main_process:
            shutil.rmtree(temporary, ignore_errors=True)  # of a run that was killed here
        accelerator.wait_for_everyone()
        accelerator.save_state(str(temporary))
        if accelerator.is_main_process:
            write_json(progress, temporary / PROGRESS)
    except BaseException as error:
        shutil.rmtree(temporary, ignore_errors=True)
        if not isinstance(error, Exception):
            raise
        # safetensors and torch raise errors of their own if the disk is full
        raise OSError(f"cannot write {final}: {one_line(error)}") from error
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        shutil.rmtree(final, ignore_errors=True)
        os.replace(temporary, final)
        for old in list_checkpoints(output_dir)[:-limit]:
            shutil.rmtree(old)
    accelerator.wait_for_everyone()


def load_checkpoint(
    accelerator: Accelerator,
    output_dir: str | Path,
    wanted: str | None,
    settings: dict[str, Any],
    also: Mapping[str, Any] = MappingProxyType({}),
) -> dict[str, Any] | None:
    """Load the state to resume from and return its progress; None if none is wanted, or there is no latest yet.

    Parameters
    ----------
    accelerator, output_dir
        As of `save_checkpoint`.
    wanted
        ``"latest"``, or the name or the folder of a checkpoint.
    settings
        Those of this training that decide the result.
    also
        Names and types of this training's own state in its progress, such as ``{"skipped": list[str]}``.

    Raises
    ------
    FileNotFoundError
        If there is no such checkpoint.
    ValueError
        If it is damaged; the error names the last complete one before it. If it is of a training with other
        `settings`; the error names the first that differs.
    """
    path = find_checkpoint(output_dir, wanted)
    if path is None:
        return None
    progress = _read_progress(path, also)
    was, now = progress["settings"], json.loads(json.dumps(settings))
    for name in {**now, **was}:
        if was.get(name) != now.get(name):
            raise ValueError(
                f"{path} is of a training with {name} {was.get(name)!r}, not {now.get(name)!r}; resume with its "
                f"settings, or name another --output_dir"
            )
    load_state(accelerator, path)
    return progress


def _read_progress(path: Path, also: Mapping[str, Any]) -> dict[str, Any]:
    """The progress in a checkpoint, its values checked; see `load_checkpoint`."""
    if not (path / PROGRESS).is_file():
        raise damaged(path, f"{PROGRESS} is missing in {path}")
    try:
        progress = read_json(path / PROGRESS)
    except ValueError as error:
        raise damaged(path, str(error)) from error
    for name, kind in {"step": int, "seconds": int | float, "settings": dict, **also}.items():
        if name not in progress:
            raise damaged(path, f"{path / PROGRESS} has no {name}")
        if not _is_a(progress[name], kind):
            raise damaged(path, f"{path / PROGRESS} has an invalid {name}: {shortened(progress[name])}")
    if not (math.isfinite(progress["seconds"]) and progress["seconds"] >= 0):
        raise damaged(path, f"{path / PROGRESS} has an invalid number of seconds: {progress['seconds']}")
    if progress["step"] != (step_of(path) if _NAME.fullmatch(path.name) else abs(progress["step"])):
        raise damaged(path, f"{path / PROGRESS} is of step {progress['step']}, unlike its folder")
    return progress


def _is_a(value: Any, kind: Any) -> bool:
    """Whether a JSON value is of a type, or a list of values of a type; booleans do not count as numbers."""
    if isinstance(kind, GenericAlias):
        return isinstance(value, list) and all(_is_a(item, kind.__args__[0]) for item in value)
    return isinstance(value, kind) and not isinstance(value, bool)


def find_checkpoint(output_dir: str | Path, wanted: str | None) -> Path | None:
    """The checkpoint to resume from; None if none is wanted, or the latest and there is none yet.

    Parameters
    ----------
    output_dir
        Of the training.
    wanted
        ``"latest"``, or the name or the folder of a checkpoint.

    Raises
    ------
    FileNotFoundError
        If there is no such checkpoint.
    """
    known = list_checkpoints(output_dir)
    if not wanted or (wanted == "latest" and not known):
        return None
    if wanted == "latest":
        return known[-1]
    for path in (user_path(wanted), user_path(output_dir) / wanted):
        if path.is_dir() and (_NAME.fullmatch(path.name) or (path / PROGRESS).is_file()):
            return path
    raise FileNotFoundError(str(unknown(f"checkpoint in {output_dir}", wanted, [path.name for path in known])))


def load_state(accelerator: Accelerator, checkpoint: Path) -> None:
    """Load the state of this process from a checkpoint, after checking that its files are complete.

    Raises
    ------
    ValueError
        For a damaged or missing file; the error names it and the last complete checkpoint before it, if there is one.
        For a checkpoint that does not fit what is trained.
    """
    damage = damage_of(checkpoint)
    for number in range(len(getattr(accelerator, "_custom_objects", []))):
        if not (checkpoint / f"custom_checkpoint_{number}.pkl").is_file():
            damage = damage or f"custom_checkpoint_{number}.pkl is missing in {checkpoint}"
    if damage is None:
        try:
            accelerator.load_state(str(checkpoint))
            return
        except FileNotFoundError as error:
            damage = f"{Path(str(error.filename or checkpoint)).name} is missing in {checkpoint}"
        except Exception as error:  # safetensors, torch and Accelerate raise errors of many classes
            raise ValueError(f"{checkpoint} does not fit this training: {one_line(error)}") from error
    raise damaged(checkpoint, damage)


def damaged(checkpoint: Path, damage: str) -> ValueError:
    """The error for a damaged checkpoint, which names the last complete one before it."""
    known = list_checkpoints(checkpoint.parent)
    earlier = known[: known.index(checkpoint)] if checkpoint in known else known
    whole = next((path.name for path in reversed(earlier) if damage_of(path) is None), None)
    if whole is None:
        return ValueError(f"{damage}; there is no whole checkpoint before it, so start again without it")
    return ValueError(f"{damage}; the checkpoint before it is whole: --resume_from_checkpoint {whole}")


def damage_of(checkpoint: Path) -> str | None:
    """The first damaged or missing file of a checkpoint, as a message; None if all are complete."""
    for path in sorted(path for path in checkpoint.rglob("*") if path.is_file()):
        try:
            if path.suffix == ".safetensors":
                read_tensors(path)
            elif path.suffix == ".json":
                read_json(path)
            elif path.suffix in (".bin", ".pkl") and not _is_whole_zip(path):
                return f"{path} is truncated or damaged"
        except ValueError as error:
            return str(error)
    if not [*checkpoint.glob("model*.safetensors"), *checkpoint.glob("pytorch_model*")]:
        return f"model.safetensors is missing in {checkpoint}"
    if not any(checkpoint.glob("random_states_*.pkl")):  # Accelerate would resume without it
        return f"random_states_0.pkl is missing in {checkpoint}"
    return None


def _is_whole_zip(path: Path) -> bool:
    """Whether a file that torch wrote, a zip archive, fits its own checksums; nothing of it is unpickled."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, ValueError):
        return False
