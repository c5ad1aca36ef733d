"""Publishing on the Hub: checks of what is about to be public, and the upload.

A folder that can be published has a card, ``README.md``, and holds one thing: a pipeline, a network, a data set or a
Space. It is uploaded in one commit. What the Hub has already is not sent again, so an upload that was stopped is done
again as it was.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, get_token
from huggingface_hub.errors import HFValidationError

from ..errors import one_line, unknown
from ..files import read_json
from ..hub.download import PRIORS_FOLDER, checkpoint_folder, failures
from ..hub.loading import weight_files
from .card_rules import check_card
from .cards import PLACEHOLDER, pipeline_card, write_card
from .pipeline_folder import SHIMS


@dataclass(frozen=True)
class Kind:
    """A kind of folder: the type of its Hub repository, endings of its files, and files that a later upload replaces.

    Parameters
    ----------
    repo_type
        As `huggingface_hub` calls it.
    endings
        Of files that may be in it.
    owned
        Patterns of files in the repository that are removed if the folder no longer has them.
    also
        Names of further files that may be in the folder itself.
    """

    repo_type: str
    endings: tuple[str, ...]
    owned: tuple[str, ...] = ()
    also: tuple[str, ...] = ()

    def allows(self, name: str) -> bool:
        """Whether a file of that name, with the folders that it is in, has a place in such a folder."""
        return name in self.also or name.endswith(self.endings)

    def __str__(self) -> str:
        """Which files may be in such a folder."""
        return "files that end in " + ", ".join(self.endings) + "".join(f", and {name}" for name in self.also)


KINDS = {
    "pipeline": Kind("model", (".json", ".safetensors", ".parquet", ".md", ".py"), (f"{PRIORS_FOLDER}/*.parquet",)),
    # Tokenizers of transformers write vocabularies and merges as texts, and all else as JSON.
    "network": Kind("model", (".json", ".safetensors", ".md"), also=("vocab.txt", "merges.txt")),
    "dataset": Kind("dataset", (".parquet", ".md"), ("*/train-*.parquet",)),
    "space": Kind("space", (".py", ".txt", ".md", ".png", ".svg", ".css", ".json")),
}

MODEL_TYPES = ("pkgen-network", "pkgen-text-network")  # of networks as transformers models, in their config.json

_SECRETS = {
    "Hugging Face token": rb"\bhf_[A-Za-z0-9]{30,}",
    "Hugging Face organisation token": rb"\bapi_org_[A-Za-z0-9]{30,}",
    "GitHub token": rb"\b(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{40,})",
    "GitLab token": rb"\bglpat-[A-Za-z0-9_-]{20,}",
    "key of a cloud service": rb"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b",
    "package index token": rb"\bpypi-AgE[A-Za-z0-9_-]{40,}",
    "Slack token": rb"\bxox[abprs]-[A-Za-z0-9-]{20,}",
    "API key": rb"\bsk-[A-Za-z0-9_-]{32,}",
    "private key": rb"-----BEGIN [A-Z ]*PRIVATE KEY-----",
}
_CACHES = {"__pycache__", "node_modules", "venv"}
_UNFINISHED = (".tmp", ".incomplete", ".lock", ".part", ".pyc", "~")


@dataclass(frozen=True)
class Upload:
    """What is uploaded where.

    Attributes
    ----------
    folder, kind
        The folder, and which of `KINDS` it is.
    repo_id, repo_type
        Of the Hub's repository.
    files
        Paths below the folder, with sizes in bytes.
    """

    folder: Path
    kind: str
    repo_id: str
    repo_type: str
    files: dict[str, int]

    def __str__(self) -> str:
        size = sum(self.files.values())
        lines = [
            f"{self.kind} {self.folder} -> {self.repo_type} {self.repo_id}: {len(self.files)} files, {size:,} bytes"
        ]
        return "\n".join([*lines, *(f"  {name}  {size:,}" for name, size in self.files.items())])


# ---------------------------------------------------------------------- what may be published


def kind_of(folder: str | Path) -> str:
    """Which of `KINDS` a folder is.

    Raises
    ------
    FileNotFoundError
        If there is no such folder.
    ValueError
        If it is none of them, or a checkpoint in the form that `save_pretrained` writes.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"no folder {folder}")
    if (folder / "model_index.json").is_file():
        checkpoint_folder(folder)
        if not (folder / "pipeline.py").is_file():
            raise ValueError(
                f"{folder} is a checkpoint, not yet in the Hub's form: pkgen card {folder} --output OTHER"
            )
        return "pipeline"
    if (folder / "config.json").is_file():
        model_type = read_json(folder / "config.json").get("model_type")
        if model_type not in MODEL_TYPES:
            raise ValueError(
                f"{folder} is a model of type {model_type!r}, expected {' or '.join(map(repr, MODEL_TYPES))}"
            )
        weight_files(folder, "model")
        return "network"
    if (folder / "app.py").is_file():
        return "space"
    if any(folder.glob("*/*.parquet")):
        return "dataset"
    raise ValueError(
        f"{folder} is nothing that can be published: expected a pipeline (model_index.json), a network (config.json), "
        f"a data set (CONFIG/*.parquet) or a Space (app.py)"
    )


def check_folder(folder: str | Path, kind: str) -> dict[str, int]:
    """Files of a folder with their sizes, if all may be public.

    Raises
    ------
    ValueError
        For a link, a hidden file, a cache, what is left of an unfinished write, a file of another kind, remote code
        that is not this package's own, what looks like a token, and a card that the Hub would refuse.
    """
    folder = Path(folder)
    if kind not in KINDS:
        raise unknown("kind of folder", kind, KINDS)
    files = {}
    for path in _walk(folder):
        name = path.relative_to(folder).as_posix()
        if not KINDS[kind].allows(name):
            raise ValueError(f"{path} has no place in a {kind}: only {KINDS[kind]} are published")
        if kind == "pipeline" and path.suffix == ".py" and SHIMS.get(name) != path.read_text(errors="replace"):
            raise ValueError(f"{path} is code that pkgen did not write; a published pipeline has none of its own")
        _check_secrets(path)
        files[name] = path.stat().st_size
    if "README.md" not in files:
        how = {
            "pipeline": f"pkgen card {folder}",
            "network": f"pkgen card {folder}",
            "dataset": "pkgen dataset build",
            "space": "python recipes/publish.py space",
        }
        raise ValueError(f"{folder} has no card, README.md: {how[kind]} writes it")
    text = (folder / "README.md").read_text()
    if PLACEHOLDER in text:
        raise ValueError(f"{folder / 'README.md'} names the repository {PLACEHOLDER}: make it again with --repo-id")
    check_card(text, KINDS[kind].repo_type, folder)
    return dict(sorted(files.items()))


def _walk(folder: Path) -> Iterator[Path]:
    """All files below a folder; ValueError for what is never published."""
    if folder.is_symlink():
        raise ValueError(f"{folder} is a link; name the folder itself")
    for here, folders, names in os.walk(folder):
        for name in sorted(folders) + sorted(names):
            path = Path(here) / name
            if path.is_symlink():
                raise ValueError(f"{path} is a link to {os.readlink(path)}; only files in the folder are published")
            if name.startswith("."):
                raise ValueError(f"{path} is hidden; hidden files are not published")
            if name in _CACHES:
                raise ValueError(f"{path} is a cache; caches are not published")
            if name.endswith(_UNFINISHED):
                raise ValueError(f"{path} is a temporary file; temporary files are not published")
        folders.sort()
        for name in names:
            path = Path(here) / name
            if not path.is_file():
                raise ValueError(f"{path} is not a plain file")
            yield path


def _check_secrets(path: Path) -> None:
    content = path.read_bytes()
    own = get_token()
    patterns = {**_SECRETS, **({"token that you are logged in with": re.escape(own.encode())} if own else {})}
    for what, pattern in patterns.items():
        found = re.search(pattern, content)
        if found:
            line = content.count(b"\n", 0, found.start()) + 1
            raise ValueError(f"{path}, line {line}, holds what looks like a {what}: take it out before publishing")


# ---------------------------------------------------------------------- upload


def plan(folder: str | Path, repo_id: str) -> Upload:
    """What `push` would upload where; nothing is sent. Errors as of `kind_of` and `check_folder`."""
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repo_id):
        raise ValueError(f"{repo_id!r} is not the name of a Hub repository: expected ORG/NAME")
    folder = Path(folder)
    kind = kind_of(folder)
    return Upload(folder, kind, repo_id, KINDS[kind].repo_type, check_folder(folder, kind))


def push(
    uploads: Upload | Sequence[Upload],
    message: str | None = None,
    private: bool = False,
    revision: str | None = None,
    token: str | None = None,
    quiet: bool = False,
) -> list[str]:
    """Upload folders, one commit each.

    Parameters
    ----------
    uploads
        From `plan`, which has checked them.
    message
        Of the commits.
    private
        For repositories that are new.
    revision
        Branch to commit to, made if it is not there; by default the main one.
    token
        With write access; by default that of ``hf auth login`` or the variable ``HF_TOKEN``.
    quiet
        No line for each upload.

    Returns
    -------
    list of str
        Address of each commit, or of the repository where it held all of this already.

    Raises
    ------
    PermissionError
        Without a token, or with one that may not write there.
    ConnectionError
        If the Hub cannot be reached, or fails.
    """
    uploads = [uploads] if isinstance(uploads, Upload) else list(uploads)
    token = token or get_token()
    if token is None:
        raise PermissionError(
            "not logged in to the Hub: run `hf auth login`, or set HF_TOKEN to a token with write access"
        )
    api = HfApi(token=token)
    addresses = []
    for upload in uploads:
        try:
            commit = _commit(api, upload, message or f"Upload {upload.kind} with pkgen", private, revision)
        except HFValidationError as error:
            raise ValueError(f"{upload.repo_id!r} is not the name of a Hub repository: {error}") from error
        except failures() as error:
            raise _refusal(error, upload.repo_id) from error
        if not quiet:
            print(f"{upload.kind} {upload.folder} -> {commit}")
        addresses.append(commit)
    return addresses


def _commit(api: HfApi, upload: Upload, message: str, private: bool, revision: str | None) -> str:
    """Upload one folder, into a new repository if there is none; the address of the commit."""
    api.create_repo(
        upload.repo_id,
        repo_type=upload.repo_type,
        private=private,
        exist_ok=True,
        space_sdk="gradio" if upload.kind == "space" else None,
    )
    if revision is not None:
        api.create_branch(upload.repo_id, repo_type=upload.repo_type, branch=revision, exist_ok=True)
    with warnings.catch_warnings():
        # a pipeline has its priors with it; the client asks whether Parquet was not meant for a data set
        warnings.filterwarnings("ignore", message="It seems that you are about to commit a data file")
        commit = api.upload_folder(
            repo_id=upload.repo_id,
            repo_type=upload.repo_type,
            folder_path=upload.folder,
            allow_patterns=list(upload.files),
            delete_patterns=list(KINDS[upload.kind].owned) or None,
            revision=revision,
            commit_message=message,
        )
    return str(commit)


def _refusal(error: Exception, repo_id: str) -> OSError:
    """The error for a failure of the Hub's, by its status."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status == 401:
        return PermissionError("your Hub token is not valid: run `hf auth login` with a new one")
    if status in (403, 404):
        return PermissionError(f"your Hub token may not write to {repo_id}")
    why = f"answered {status}" if status else "could not be reached"
    return ConnectionError(f"the Hub {why} for {repo_id}; run the same again to go on: {one_line(error)}")


# Of save_pretrained and push_to_hub, and what `push` calls them.
UPLOAD_OPTIONS = {
    "repo_id": "repo_id", "commit_message": "message", "private": "private", "revision": "revision", "token": "token",
}  # fmt: skip


def upload_options(push_to_hub: bool, options: Mapping[str, Any]) -> dict[str, Any] | None:
    """What `save_pretrained` is to hand on to `push_checkpoint`; None where nothing is to be uploaded.

    Raises
    ------
    ValueError
        For an argument that there is not, one without `push_to_hub`, or no `repo_id` with it.
    """
    given = {name: value for name, value in options.items() if value is not None and value is not False}
    for name in given:
        if name not in UPLOAD_OPTIONS:
            taken = ("safe_serialization", "variant", "max_shard_size", "push_to_hub", *UPLOAD_OPTIONS)
            raise unknown("argument of save_pretrained", name, taken)
        if not push_to_hub:
            raise ValueError(f"{name} is for an upload: pass push_to_hub=True too, or leave it out")
    if push_to_hub and "repo_id" not in given:
        raise ValueError("push_to_hub=True needs the name of the Hub repository: repo_id='ORG/NAME'")
    return {UPLOAD_OPTIONS[name]: value for name, value in given.items()} if push_to_hub else None


def push_checkpoint(folder: Path, variant: str | None, repo_id: str, **options: Any) -> None:
    """Upload a checkpoint that was saved, with a card if it has none; options and errors as of `push`."""
    if not (folder / "README.md").is_file():
        write_card(folder, pipeline_card(folder, repo_id, variant=variant))
    push(plan(folder, repo_id), quiet=True, **options)
