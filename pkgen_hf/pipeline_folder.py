"""Checkpoints in the form in which both `PKGenPipeline` and `DiffusionPipeline` load them from the Hub."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from .hub import PRIORS_FOLDER, checkpoint_folder, replace_folder
from .pipeline_pkgen import PKGenPipeline

# One-line modules of a published pipeline: diffusers looks for the classes in them, and finds those of this package.
SHIMS = {
    "pipeline.py": "from pkgen_hf.pipeline_pkgen import ModelMixin, PKGenPipeline, SchedulerMixin  # noqa: F401\n",
    "denoiser/modeling_denoiser.py": (
        "from pkgen_hf.modeling_denoiser import ArchitectureDenoiser, ModelMixin  # noqa: F401\n"
    ),
    "scheduler/scheduling_prior_discrete.py": (
        "from pkgen_hf.scheduling_prior_discrete import PriorDiscreteScheduler, SchedulerMixin  # noqa: F401\n"
    ),
}


def export_pipeline(checkpoint: str | Path, folder: str | Path) -> Path:
    """Write a checkpoint in the form in which both pipelines load it from the Hub; its card is made by `cards`.

    `PKGenPipeline.from_pretrained` reads the same files as ever and runs no code of the folder. The general
    `DiffusionPipeline.from_pretrained` does, if its caller allows that: for it there are one-line modules, `SHIMS`,
    that import the classes of the installed package and do nothing else; ``model_index.json`` names them.

    Parameters
    ----------
    checkpoint
        Bundled name, folder or Hub id.
    folder
        New, empty, or an earlier export, which is replaced (but for its card).

    Raises
    ------
    ValueError
        If the checkpoint is damaged.
    FileExistsError
        If the folder holds something else.
    """
    source, folder = checkpoint_folder(checkpoint), Path(folder)
    PKGenPipeline.from_pretrained(source)
    if folder.exists() and not (folder.is_dir() and (not any(folder.iterdir()) or (folder / "pipeline.py").is_file())):
        raise FileExistsError(f"{folder} is there and is no exported pipeline; name another folder")
    card = folder / "README.md"
    with replace_folder(folder) as new:
        names = ["denoiser/diffusion_pytorch_model.safetensors", "training.json"]
        names += [path.relative_to(source).as_posix() for path in sorted(source.glob(f"{PRIORS_FOLDER}/*.parquet"))]
        for name in names:
            if (source / name).is_file():  # what was not trained here has no training.json
                (new / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source / name, new / name)
        for name in ("model_index.json", "denoiser/config.json", "scheduler/scheduler_config.json"):
            content = json.loads((source / name).read_text())
            content.pop("_name_or_path", None)  # a path on the machine that saved it
            if name == "model_index.json":
                content |= _by_shims()
            (new / name).parent.mkdir(parents=True, exist_ok=True)
            (new / name).write_text(json.dumps(content, indent=2) + "\n")
        for name, text in SHIMS.items():
            (new / name).write_text(text)
        if card.is_file():
            shutil.copyfile(card, new / card.name)
    return folder


def _by_shims() -> dict[str, list[str]]:
    """What ``model_index.json`` says of the pipeline and its parts."""
    names = {"pipeline.py": "_class_name"} | {name: name.split("/")[0] for name in list(SHIMS)[1:]}
    classes = {
        "_class_name": "PKGenPipeline",
        "denoiser": "ArchitectureDenoiser",
        "scheduler": "PriorDiscreteScheduler",
    }
    return {part: [Path(name).stem, classes[part]] for name, part in names.items()}
