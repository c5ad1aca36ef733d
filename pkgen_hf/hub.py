"""Where checkpoints and tables come from, and how folders are written; `pkgen_hf.publishing` uploads them."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from huggingface_hub import get_token, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from safetensors import SafetensorError, safe_open

from .errors import unknown

CHECKPOINTS = Path(__file__).parent / "checkpoints"
PRIORS_FOLDER = "priors"  # of a checkpoint
_INDEX = "model_index.json"
_PATTERNS = [
    _INDEX,
    "training.json",
    "denoiser/*.json",
    "denoiser/*.safetensors",
    "scheduler/*.json",
    "priors/*.parquet",
]

T = TypeVar("T")


def list_bundled() -> list[str]:
    """Names of the checkpoints that come with the package."""
    return sorted(path.name for path in CHECKPOINTS.iterdir() if (path / "model_index.json").is_file())


def checkpoint_folder(
    name: str | Path,
    revision: str | None = None,
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
    token: str | bool | None = None,
) -> Path:
    """The local folder of a checkpoint: given, bundled, or downloaded.

    Raises
    ------
    FileNotFoundError
        If there is neither a folder, a bundled checkpoint nor a reachable Hub repository of that name.
    ValueError
        If the folder is not a checkpoint.
    """
    text = str(name)
    if Path(text).is_dir():
        return _checked(Path(text))
    if text in list_bundled():
        return CHECKPOINTS / text
    if text.count("/") != 1 or text.startswith((".", "/", "~")):
        raise FileNotFoundError(
            str(unknown("checkpoint", text, list_bundled())) + " A folder or a Hub id such as org/name is taken too."
        )
    options: dict[str, Any] = {"cache_dir": cache_dir, "local_files_only": local_files_only, "token": token}
    index = download(text, [_INDEX], revision=revision, **options)
    _check_index(index, text)  # before what may be the large files of something else
    return _checked(download(text, _PATTERNS, revision=index.name, **options), text)


def download(
    name: str,
    patterns: list[str],
    repo_type: str = "model",
    revision: str | None = None,
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
    token: str | bool | None = None,
) -> Path:
    """The folder, in the cache, of those files of a Hub repository that fit patterns.

    Files that are in the cache are not downloaded again, so an interrupted download goes on where it was; without the
    Hub, the cache alone serves.

    Raises
    ------
    FileNotFoundError
        If there is no such repository or revision, or none that may be read, or the Hub cannot be reached and the
        cache does not hold all of it.
    """
    kind = "data set" if repo_type == "dataset" else "repository"
    try:
        folder = snapshot_download(
            name,
            repo_type=repo_type,
            revision=revision,
            cache_dir=cache_dir,
            local_files_only=local_files_only,
            token=token,
            allow_patterns=patterns,
        )
    except RevisionNotFoundError as error:
        raise FileNotFoundError(f"the Hub's {kind} {name} has no revision {revision!r}") from error
    except GatedRepoError as error:
        raise FileNotFoundError(
            f"the Hub's {kind} {name} asks for an agreement: accept it on its page, and log in with `hf auth login`"
        ) from error
    except RepositoryNotFoundError as error:
        login = "" if token or get_token() else "; for a private one, log in with `hf auth login` or pass a token"
        raise FileNotFoundError(
            f"no folder {name}, and no Hub {kind} of that name that you may read{login}"
        ) from error
    except LocalEntryNotFoundError as error:
        raise FileNotFoundError(
            f"no folder {name}; the Hub could not be reached, or must not be, and the cache does not hold the whole "
            f"{kind} in revision {revision or 'main'!r}: try again with a connection ({_first_line(error)})"
        ) from error
    except HFValidationError as error:
        raise FileNotFoundError(f"no folder {name}, and it cannot be the name of a Hub {kind}: {error}") from error
    except failures() as error:
        raise FileNotFoundError(
            f"the download of the Hub's {kind} {name} failed; what has arrived is kept, so try again "
            f"({_first_line(error)})"
        ) from error
    return Path(folder)


def failures() -> tuple[type[Exception], ...]:
    """What the client raises when a transfer fails.

    Its HTTP library is httpx or httpx2, by its version; before, it was requests, whose errors are OSErrors.
    """
    libraries = (sys.modules[name] for name in ("httpx", "httpx2") if name in sys.modules)
    return (HfHubHTTPError, OSError, *(library.HTTPError for library in libraries))


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0]


def whole_folder(name: str | None, part: str | None) -> Path | None:
    """Folder of a checkpoint that diffusers loaded, with the files that diffusers does not download.

    Parameters
    ----------
    name
        What `DiffusionPipeline.from_pretrained` was given; None for a pipeline made of parts.
    part
        Where it found the denoiser: of a Hub id, a folder in the snapshot of one commit.
    """
    if not name:
        return None
    if Path(name).is_dir():
        return Path(name)
    snapshot = Path(part or "").parent
    if snapshot.parent.name != "snapshots":
        return None
    return checkpoint_folder(name, revision=snapshot.name, cache_dir=snapshot.parents[2])


def folder_of_part(part: str | None) -> Path | None:
    """Folder of the checkpoint that a denoiser was loaded from by itself, as diffusers notes it; None if of none."""
    if not part:
        return None
    for folder in (Path(part), Path(part).parent):
        if (folder / _INDEX).is_file() and (folder / PRIORS_FOLDER).is_dir():
            return folder
    return None


def _checked(folder: Path, name: str | None = None) -> Path:
    """The folder, if it is a checkpoint and no prior is missing; `name` is what errors call it."""
    for space in _check_index(folder, name or str(folder)).get("_priors", {}):
        if not (folder / PRIORS_FOLDER / f"{space}.parquet").is_file():
            raise ValueError(f"{name or folder} is not a whole checkpoint: {PRIORS_FOLDER}/{space}.parquet is missing")
    return folder


def _check_index(folder: Path, name: str) -> dict[str, Any]:
    """What the index of a checkpoint says; ValueError if it is of another pipeline."""
    index = folder / _INDEX
    if not index.is_file():
        raise ValueError(f"{name} is not a PKGen checkpoint: it has no {_INDEX}")
    content = _read_json(index)
    kind = content.get("_class_name")
    if (kind[-1] if isinstance(kind, list) else kind) != "PKGenPipeline":
        raise ValueError(f"{name} is a checkpoint of {kind}, not of PKGenPipeline")
    return content


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} is not readable JSON: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} should hold a JSON object, it holds a {type(content).__name__}")
    return content


def load_component(kind: type[T], folder: Path, name: str) -> T:
    """Load one part of a checkpoint, checking first that it is whole and that it is of that kind.

    Raises
    ------
    ValueError
        For a missing file, a config of another class or without a key, and truncated or foreign weights.
    """
    part = folder / name
    is_model = hasattr(kind, "forward")
    config_path = part / ("config.json" if is_model else "scheduler_config.json")
    if not config_path.is_file():
        raise ValueError(f"{folder} is not a whole checkpoint: {config_path.relative_to(folder)} is missing")
    config = _read_json(config_path)
    if config.get("_class_name") != kind.__name__:
        raise ValueError(f"{config_path} is the config of {config.get('_class_name')}, expected {kind.__name__}")
    expected = [key for key in kind._get_init_keys(kind) if key not in ("self", "kwargs")]  # type: ignore[attr-defined]
    missing = sorted(key for key in expected if key not in config)
    if missing:
        raise ValueError(f"{config_path} lacks {', '.join(missing)}")
    if not is_model:
        return kind.from_config(config)  # type: ignore[attr-defined]
    weights = part / "diffusion_pytorch_model.safetensors"
    if not weights.is_file():
        raise ValueError(f"{folder} is not a whole checkpoint: {weights.relative_to(folder)} is missing")
    model = kind.from_config(config)  # type: ignore[attr-defined]
    own = model.state_dict()
    try:
        with safe_open(weights, framework="pt") as file:
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{weights} is truncated or not a safetensors file: {error}") from error
    wrong = sorted(own.keys() ^ state.keys())
    wrong += sorted(key for key in own.keys() & state.keys() if own[key].shape != state[key].shape)
    if wrong:
        raise ValueError(f"{weights} does not fit its config; first of {len(wrong)} differing tensors: {wrong[0]}")
    broken = sorted(key for key, tensor in state.items() if not tensor.isfinite().all())
    if broken:
        raise ValueError(f"{weights} holds values that are not finite, in {broken[0]}")
    model.load_state_dict(state)
    return model


@contextmanager
def replace_folder(target: Path) -> Iterator[Path]:
    """Fill a new folder beside `target`, then put it in its place; on any exception `target` stays as it was."""
    target.parent.mkdir(parents=True, exist_ok=True)
    new = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}."))
    try:
        yield new
        os.chmod(new, 0o755)
        if target.is_dir():
            old = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}.old."))
            os.replace(target, old / "was")
            os.replace(new, target)
            shutil.rmtree(old)
        else:
            os.replace(new, target)
    finally:
        shutil.rmtree(new, ignore_errors=True)
