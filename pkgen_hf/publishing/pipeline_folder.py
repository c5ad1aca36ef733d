"""The files of a checkpoint that both `PKGenPipeline` and `DiffusionPipeline` load, from a folder and from the Hub."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ..files import is_empty, read_json, replace_folder, user_path, write_json
from ..hub.download import INDEX, PIPELINE, PRIORS_FOLDER, checkpoint_folder
from ..hub.loading import WEIGHTS, load_component, weight_patterns
from ..modeling_denoiser import ArchitectureDenoiser
from ..priors.files import Priors, load_folder, save_priors
from ..scheduling_prior_discrete import PriorDiscreteScheduler

# One-line modules of a pipeline: diffusers looks for the classes in them, and finds those of this package.
SHIMS = {
    "pipeline.py": "from pkgen_hf.pipeline_pkgen import ModelMixin, PKGenPipeline, SchedulerMixin  # noqa: F401\n",
    "denoiser/modeling_denoiser.py": (
        "from pkgen_hf.modeling_denoiser import ArchitectureDenoiser, ModelMixin  # noqa: F401\n"
    ),
    "scheduler/scheduling_prior_discrete.py": (
        "from pkgen_hf.scheduling_prior_discrete import PriorDiscreteScheduler, SchedulerMixin  # noqa: F401\n"
    ),
}
_CONFIGS = {"denoiser": "denoiser/config.json", "scheduler": "scheduler/scheduler_config.json"}


def owned_files(variant: str | None = None) -> list[str]:
    """Patterns of the files that saving a checkpoint replaces, or removes where it has none; others stay."""
    weights = [f"denoiser/{pattern}" for pattern in weight_patterns(WEIGHTS, variant)]
    return [INDEX, *_CONFIGS.values(), *SHIMS, *weights, f"{PRIORS_FOLDER}/*.parquet"]


def check_parts(denoiser: Any, scheduler: Any) -> None:
    """ValueError for a part of a pipeline that is neither None nor of its class."""
    for name, given, kind in (
        ("denoiser", denoiser, ArchitectureDenoiser),
        ("scheduler", scheduler, PriorDiscreteScheduler),
    ):
        if given is not None and not isinstance(given, kind):
            raise ValueError(f"{name} must be of the class {kind.__name__}, got {type(given).__name__}")


def load_parts(
    folder: Path,
    denoiser: ArchitectureDenoiser | None = None,
    scheduler: PriorDiscreteScheduler | None = None,
    dtype: torch.dtype | str | None = None,
    variant: str | None = None,
) -> tuple[ArchitectureDenoiser, PriorDiscreteScheduler]:
    """Load the parts of a checkpoint, except those that are given; options and errors as of `load_component`."""
    if denoiser is None:
        denoiser = load_component(ArchitectureDenoiser, folder, "denoiser", dtype, variant).eval()
        denoiser.register_to_config(_name_or_path=str(folder / "denoiser"))
    if scheduler is None:
        scheduler = load_component(PriorDiscreteScheduler, folder, "scheduler")
    return denoiser, scheduler


def write_priors(priors: Priors, folder: Path) -> dict[str, int]:
    """Write the priors of a pipeline, one file for each space, into a new checkpoint.

    Files of unknown spaces that the pipeline was loaded with are written again.

    Returns
    -------
    dict
        Number of priors of each space.
    """
    counts = dict(Counter(prior.space.name for prior in priors))
    for name in counts:
        save_priors([prior for prior in priors if prior.space.name == name], _prior_file(folder, name))
    for name, (number, content) in priors.unread.items():
        if name not in counts:
            counts[name] = number
            file = _prior_file(folder, name)
            file.parent.mkdir(exist_ok=True)
            file.write_bytes(content)
    return counts


def _prior_file(folder: Path, space: str) -> Path:
    return folder / PRIORS_FOLDER / f"{space}.parquet"


def finish(folder: Path, priors: Mapping[str, int]) -> None:
    """Complete what `DiffusionPipeline.save_pretrained` wrote.

    `PKGenPipeline.from_pretrained` runs no code of a folder. The general `DiffusionPipeline.from_pretrained` does, if
    its caller allows that: for it there are one-line modules, `SHIMS`, that import the classes of the installed
    package and do nothing else; ``model_index.json`` names them. Paths of this machine are taken out.

    Parameters
    ----------
    folder
        With the index and the configs.
    priors
        How many there are of each space, so that an incomplete folder, such as half a download, is recognised.
    """
    classes = {"denoiser": ArchitectureDenoiser.__name__, "scheduler": PriorDiscreteScheduler.__name__}
    index = read_json(folder / INDEX)
    shims = dict(zip(("_class_name", *classes), SHIMS.items(), strict=True))
    for part, (name, text) in shims.items():
        if part in classes and index[part][1] != classes[part]:
            continue  # a class of the user's own, which the package has not
        index[part] = [Path(name).stem, classes.get(part, PIPELINE)]
        (folder / name).write_text(text)
    index["_priors"] = dict(priors)
    for name, content in {INDEX: index, **{name: read_json(folder / name) for name in _CONFIGS.values()}}.items():
        content.pop("_name_or_path", None)
        write_json(content, folder / name)


def export_pipeline(checkpoint: str | Path, folder: str | Path) -> Path:
    """Copy a checkpoint to another folder, in the form in which both pipelines load it; its card is made by `cards`.

    Parameters
    ----------
    checkpoint
        Bundled name, folder or Hub id.
    folder
        New, empty, or a checkpoint in that form, whose files are replaced; others, such as its card, stay.

    Raises
    ------
    ValueError
        If the checkpoint is damaged.
    FileExistsError
        If the folder holds something else.
    """
    source, target = checkpoint_folder(checkpoint), user_path(folder)
    load_component(ArchitectureDenoiser, source, "denoiser")
    load_component(PriorDiscreteScheduler, source, "scheduler")
    load_folder(source)
    if target.exists() and not (target.is_dir() and (is_empty(target) or (target / "pipeline.py").is_file())):
        raise FileExistsError(f"{folder} is there and is no exported pipeline; name another folder")
    index = read_json(source / INDEX)
    with replace_folder(target, [*owned_files(), "training.json"]) as new:
        for pattern in (*owned_files(), "training.json"):
            for path in source.glob(pattern):
                if path.suffix != ".py":
                    name = path.relative_to(source)
                    (new / name).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(path, new / name)
        finish(new, index.get("_priors", {}))
    return target
