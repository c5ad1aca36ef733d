"""Where checkpoints come from and how they are written: the only module that talks to the Hub."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from huggingface_hub import snapshot_download
from huggingface_hub.errors import (
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from safetensors import SafetensorError, safe_open

from .errors import unknown

CHECKPOINTS = Path(__file__).parent / "checkpoints"
_PATTERNS = ["*.json", "*.safetensors", "*.parquet", "*.md"]

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
    try:
        folder = snapshot_download(
            text,
            revision=revision,
            cache_dir=cache_dir,
            local_files_only=local_files_only,
            token=token,
            allow_patterns=_PATTERNS,
        )
    except RevisionNotFoundError as error:
        raise FileNotFoundError(f"{text} on the Hub has no revision {revision!r}") from error
    except RepositoryNotFoundError as error:
        raise FileNotFoundError(f"no folder {text}, and no Hub repository of that name that you may read") from error
    except (LocalEntryNotFoundError, HfHubHTTPError, HFValidationError, OSError) as error:
        raise FileNotFoundError(
            f"no folder {text}; the Hub could not be reached and its cache has no such checkpoint ({error})"
        ) from error
    return _checked(Path(folder))


def _checked(folder: Path) -> Path:
    index = folder / "model_index.json"
    if not index.is_file():
        raise ValueError(f"{folder} is not a PKGen checkpoint: it has no model_index.json")
    name = _read_json(index).get("_class_name")
    if (name[-1] if isinstance(name, list) else name) != "PKGenPipeline":
        raise ValueError(f"{folder} is a checkpoint of {name}, not of PKGenPipeline")
    return folder


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
