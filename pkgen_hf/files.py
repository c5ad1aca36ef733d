"""Atomic writes: a file or folder is written under a temporary name, then renamed."""

from __future__ import annotations

import errno
import json
import os
import shutil
import stat
import tempfile
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from .errors import one_line

# A folder does not load without its index: the index of the former files is moved away first, the new one placed last.
INDEXES = ("README.md", "config.json", "model_index.json")
_PREFIX = ".unfinished-"
_MOUNTED = (errno.EBUSY, errno.EXDEV)  # errors of renaming a mounted file, or to another file system


def user_path(path: str | Path) -> Path:
    """Expand ``~`` in a path that a user gave; FileNotFoundError if it is empty."""
    if not os.fspath(path):
        raise FileNotFoundError("the path is empty; the current folder is '.'")
    return Path(os.path.expanduser(path))


def real_path(path: str | Path) -> Path:
    """The absolute path, with ``~`` expanded and links followed."""
    return Path(os.path.realpath(user_path(path)))


def is_empty(folder: Path) -> bool:
    """Whether a folder holds no file; empty folders, such as those of a new file system, are allowed."""
    return all(path.is_dir() for path in folder.rglob("*"))


@contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """Write a file under a temporary name in the same folder, then rename it.

    On any exception, Ctrl-C included, `path` is left as it was and no temporary file remains. Missing folders are
    made, links are followed, and a file that is replaced keeps its permissions.

    Parameters
    ----------
    path
        The file to write; ``~`` is the home folder.

    Yields
    ------
    Path
        An empty file to write to, with the suffix of `path`.

    Raises
    ------
    OSError
        If `path` is a folder or a device, or cannot be written.
    """
    target = real_path(path)
    if target.is_dir():
        raise IsADirectoryError(f"{path} is a folder; name a file")
    given = user_path(path)
    if given.exists() and not given.is_file():
        raise OSError(f"{path} is not a plain file, so it cannot be replaced by one; name another")
    with _parents(target):
        with _named(path):
            unfinished, mode = _new_file(target.parent, target.suffix)
        try:
            with _without_space(path):
                yield unfinished
            with _named(path):
                os.chmod(unfinished, stat.S_IMODE(target.stat().st_mode) if target.exists() else mode)
                _put(unfinished, target)
        finally:
            unfinished.unlink(missing_ok=True)


def write_json(content: Any, path: str | Path, indent: int = 2) -> None:
    """Write JSON to a file, see `atomic_write`."""
    text = json.dumps(content, indent=indent) + "\n"
    with atomic_write(path) as unfinished:
        unfinished.write_text(text)


def read_json(path: str | Path) -> dict[str, Any]:
    """Read the JSON object that a file holds; ValueError, naming the file, for anything else."""
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not readable JSON: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} should hold a JSON object, it holds a {type(content).__name__}")
    return content


@contextmanager
def replace_folder(target: str | Path, owned: Sequence[str] = ("**/*",)) -> Iterator[Path]:
    """Fill a temporary folder, then replace the files of `target` by its files.

    On any exception, Ctrl-C included, `target` is left as it was and no temporary file remains. An existing folder is
    kept, since it may be a mount point, the current directory or a link; its files are replaced one by one. Those of
    `INDEXES` are removed first and placed last, so that a process killed in between leaves no mixture that loads.

    Parameters
    ----------
    target
        The folder, which need not exist; ``~`` is the home folder.
    owned
        Patterns of files that are removed if the new folder lacks them; by default all.

    Yields
    ------
    Path
        An empty folder to fill.

    Raises
    ------
    OSError
        If `target` is a file or cannot be written.
    """
    place = real_path(target)
    if place.exists() and not place.is_dir():
        raise NotADirectoryError(f"{target} is a file; name a folder")
    with _parents(place):
        with _named(target):
            work = Path(tempfile.mkdtemp(dir=place if place.is_dir() else place.parent, prefix=_PREFIX))
        new, former = work / (place.name or "new"), work / ".former"
        try:
            new.mkdir()
            with _without_space(target):
                yield new
            _make_readable(new)
            with _named(target):
                if place.is_dir():
                    _exchange(new, place, former, owned)
                else:
                    os.replace(new, place)
            shutil.rmtree(former, ignore_errors=True)
        finally:
            shutil.rmtree(new, ignore_errors=True)
            if not former.exists():  # else they could not be put back, and are the only copy
                shutil.rmtree(work, ignore_errors=True)


def _exchange(new: Path, place: Path, former: Path, owned: Sequence[str]) -> None:
    """Move replaced and owned files from `place` to `former`, then the files of `new` to `place`."""
    fresh = sorted((path.relative_to(new) for path in new.rglob("*") if not path.is_dir()), key=_order)
    there = [place / name for name in fresh if os.path.lexists(place / name)]
    there += [path for pattern in owned for path in place.glob(pattern)]
    files = {path.relative_to(place) for path in there if path.is_symlink() or not path.is_dir()}
    stale = [name for name in files if not name.parts[0].startswith(_PREFIX)]
    moved: list[Path] = []
    placed: list[Path] = []
    made: list[Path] = []
    try:
        for name in sorted(stale, key=_order, reverse=True):
            (former / name).parent.mkdir(parents=True, exist_ok=True)
            moved.append(name)
            _put(place / name, former / name)
        for name in fresh:
            for folder in reversed(name.parents[:-1]):
                if not (place / folder).is_dir():
                    made.append(folder)
                    (place / folder).mkdir()
            placed.append(name)
            _put(new / name, place / name)
    except BaseException as error:
        for name in reversed(placed):
            with suppress(OSError):  # a mounted file cannot be removed; its content is put back below
                (place / name).unlink()
        _remove_empty(place, made)
        for name in (name for name in reversed(moved) if os.path.lexists(former / name)):
            with suppress(OSError):
                _put(former / name, place / name)
        if not is_empty(former):
            raise OSError(f"{error}; what could not be put back is in {former}") from error
        shutil.rmtree(former, ignore_errors=True)
        raise
    _remove_empty(place, [folder for name in stale for folder in name.parents[:-1]])


def _remove_empty(place: Path, folders: Iterable[Path]) -> None:
    for folder in sorted(set(folders), key=lambda folder: -len(folder.parts)):
        with suppress(OSError):  # not empty, or a mount point
            (place / folder).rmdir()


def _order(name: Path) -> tuple[int, str]:
    text = name.as_posix()
    return (INDEXES.index(text) + 1 if text in INDEXES else 0, text)


def _put(source: Path, target: Path) -> None:
    """Rename a file; if a mount makes that impossible, copy its content and remove it."""
    try:
        os.replace(source, target)
    except OSError as error:
        if error.errno not in _MOUNTED:
            raise
        content = target.read_bytes() if target.is_file() else None
        try:
            shutil.copy(source, target)
            try:
                source.unlink()
            except OSError as problem:
                if problem.errno != errno.EBUSY:  # a mounted file cannot be removed
                    raise
        except BaseException:
            if content is None:
                target.unlink(missing_ok=True)
            else:
                target.write_bytes(content)
            raise


@contextmanager
def _parents(path: Path) -> Iterator[None]:
    """Make the folders above a path; on an exception remove those that were made."""
    missing = [folder for folder in path.parents if not folder.exists()]
    try:
        with _named(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException:
        for folder in missing:
            with suppress(OSError):
                folder.rmdir()
        raise


@contextmanager
def _named(path: str | Path) -> Iterator[None]:
    """Raise errors of the system with the path that the user gave in place of a temporary one."""
    try:
        yield
    except OSError as error:
        raise type(error)(f"cannot write {path}: {error.strerror or error}") from error


@contextmanager
def _without_space(path: str | Path) -> Iterator[None]:
    """Raise OSError, with the path that the user gave, if the disk is full or safetensors cannot write."""
    try:
        yield
    except SafetensorError as error:
        raise OSError(f"cannot write {path}: {one_line(error)}") from error
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise OSError(errno.ENOSPC, f"cannot write {path}: no space is left on the device") from error


def _new_file(folder: Path, suffix: str = "") -> tuple[Path, int]:
    """Make an empty file with a unique name; returns it and the permissions that new files have here."""
    path = folder / f"{_PREFIX}{uuid.uuid4().hex[:16]}{suffix}"
    handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
    try:
        return path, stat.S_IMODE(os.fstat(handle).st_mode)
    finally:
        os.close(handle)


def _make_readable(folder: Path) -> None:
    """Give files the permissions of new files: safetensors makes files that nobody else may read."""
    probe, mode = _new_file(folder)
    probe.unlink()
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            os.chmod(path, mode)
