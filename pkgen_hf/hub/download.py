"""Find and download checkpoints and tables; `pkgen_hf.publishing.push` uploads them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from huggingface_hub import get_token, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from ..errors import one_line, shortened, unknown, warn
from ..files import read_json, user_path

CHECKPOINTS = Path(__file__).parents[1] / "checkpoints"
PRIORS_FOLDER = "priors"  # of a checkpoint
PIPELINE = "PKGenPipeline"
INDEX = "model_index.json"
_PATTERNS = [
    INDEX,
    "training.json",
    "denoiser/*.json",
    "denoiser/*.safetensors",
    "scheduler/*.json",
    "priors/*.parquet",
]


def list_bundled() -> list[str]:
    """Names of the checkpoints that come with the package."""
    return sorted(path.name for path in CHECKPOINTS.iterdir() if (path / "model_index.json").is_file())


def checkpoint_folder(
    name: str | Path,
    revision: str | None = None,
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
    token: str | bool | None = None,
    force_download: bool = False,
) -> Path:
    """The local folder of a checkpoint: given, bundled, or downloaded.

    Raises
    ------
    FileNotFoundError
        If there is neither a folder, a bundled checkpoint nor a reachable Hub repository of that name.
    ValueError
        If the folder is not a checkpoint.
    """
    text, folder = str(name), user_path(str(name))
    if folder.is_dir():
        return _checked(folder)
    if folder.is_file():
        raise FileNotFoundError(f"{text} is a file; name the folder of a checkpoint")
    if text in list_bundled():
        return CHECKPOINTS / text
    if text.count("/") != 1 or text.startswith((".", "/", "~")):
        raise FileNotFoundError(
            str(unknown("checkpoint", text, list_bundled())) + " A folder or a Hub id such as org/name is taken too."
        )
    options: dict[str, Any] = {"cache_dir": cache_dir, "local_files_only": local_files_only, "token": token}
    options["force_download"] = force_download
    index = download(text, [INDEX], revision=revision, **options)
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
    force_download: bool = False,
) -> Path:
    """Download those files of a Hub repository that match patterns; returns their folder in the cache.

    Cached files are not downloaded again, unless `force_download` is set, so an interrupted download is resumed.
    Without a connection the cache is used alone.

    Raises
    ------
    FileNotFoundError
        If the repository or revision does not exist or may not be read, or if the Hub cannot be reached and the cache
        is not complete.
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
            force_download=force_download,
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
            f"{kind} in revision {revision or 'main'!r}: try again with a connection ({one_line(error)})"
        ) from error
    except HFValidationError as error:
        raise FileNotFoundError(f"no folder {name}, and it cannot be the name of a Hub {kind}: {error}") from error
    except failures() as error:
        raise FileNotFoundError(
            f"the download of the Hub's {kind} {name} failed; what has arrived is kept, so try again "
            f"({one_line(error)})"
        ) from error
    return Path(folder)


def failures() -> tuple[type[Exception], ...]:
    """Classes of errors that the Hub's client raises when a transfer fails.

    By its version, its HTTP library is httpx, httpx2, or requests, whose errors are OSErrors.
    """
    libraries = (sys.modules[name] for name in ("httpx", "httpx2") if name in sys.modules)
    return (HfHubHTTPError, OSError, *(library.HTTPError for library in libraries))


def whole_folder(name: str | None, part: str | None) -> Path | None:
    """The complete folder of a checkpoint that diffusers loaded; diffusers itself does not download the priors.

    Parameters
    ----------
    name
        The argument of `DiffusionPipeline.from_pretrained`; None for a pipeline made of parts.
    part
        The folder that the denoiser was loaded from: for a Hub id, in the snapshot of one commit.
    """
    if not name:
        return None
    if Path(name).is_dir():
        return Path(name)
    snapshot = Path(part or "").parent
    if snapshot.parent.name != "snapshots":
        warn(
            f"the priors of {name}, from which this pipeline was loaded, are not found from {Path.cwd()}: set them, "
            f"pipe.priors = PKGenPipeline.from_pretrained({name!r}).priors",
        )
        return None
    return checkpoint_folder(name, revision=snapshot.name, cache_dir=snapshot.parents[2])


def folder_of_part(part: str | None) -> Path | None:
    """The folder of the checkpoint that a denoiser was loaded from, as diffusers noted it; None if there is none."""
    if not part:
        return None
    for folder in (Path(part), Path(part).parent):
        if (folder / INDEX).is_file() and (folder / PRIORS_FOLDER).is_dir():
            return folder
    return None


def _checked(folder: Path, name: str | None = None) -> Path:
    """The folder, if it is a complete checkpoint; ValueError, which calls it `name`, if not."""
    priors = _check_index(folder, name or str(folder)).get("_priors", {})
    if not isinstance(priors, dict):
        raise ValueError(f"{folder / INDEX} is damaged: _priors should be numbers by space, not {shortened(priors)}")
    for space in priors:
        if not (folder / PRIORS_FOLDER / f"{space}.parquet").is_file():
            raise ValueError(f"{name or folder} is not a whole checkpoint: {PRIORS_FOLDER}/{space}.parquet is missing")
    return folder


def _check_index(folder: Path, name: str) -> dict[str, Any]:
    """The index of a checkpoint; ValueError if it is missing or of another pipeline."""
    index = folder / INDEX
    if not index.is_file():
        hint = f"; did you mean {name}/pipeline?" if (folder / "pipeline" / INDEX).is_file() else ""
        raise ValueError(f"{name} is not a PKGen checkpoint: it has no {INDEX}{hint}")
    content = read_json(index)
    kind = content.get("_class_name")
    if (kind[-1] if isinstance(kind, list) and kind else kind) != PIPELINE:
        raise ValueError(f"{name} is a checkpoint of {kind}, not of {PIPELINE}")
    return content
