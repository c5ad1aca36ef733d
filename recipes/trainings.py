"""Trainings that protocols need: three, each of which reads no label of a third of the spaces and data sets."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from filelock import FileLock
from tqdm.auto import tqdm

from pkgen_hf import PKGenPipeline, get_space
from pkgen_hf.benchmarks.sources import licensed_tables_in
from pkgen_hf.evaluation.runs import Knowledge
from pkgen_hf.training.arguments import RECORD, TrainingArguments
from pkgen_hf.training.loop import train
from pkgen_hf.training.tasks import labels_read, load_tables

THIRDS: tuple[tuple[str, ...], ...] = (
    ("nas-bench-201", "nats-bench-size", "nas-bench-macro", "nas-bench-nlp", "hw-gpt-bench-s", "hw-gpt-bench-m",
     "hw-gpt-bench-l"),
    ("transnas-bench-101-micro", "transnas-bench-101-macro", "nas-bench-bert", "mnasnet"),
    ("nas-bench-101", "darts", "ofa-mobilenetv3", "nas-bench-graph"),
)  # fmt: skip
"""Spaces that a training reads no label of. Those that were measured together are in one third; a space that is in
none belongs to the first."""
SEPARATE = (
    "nas-bench-201", "nas-bench-nlp", "transnas-bench-101-micro", "transnas-bench-101-macro", "nas-bench-graph",
)  # fmt: skip
"""Spaces of several data sets: of each, a training also reads no label of the tasks ``third, third + 3, ...``. GLUE
tasks of NAS-Bench-BERT are no new data sets for each other, as their average is a task, too."""


def third_of(space: str) -> int:
    """The training that reads no label of a space."""
    return next((third for third, spaces in enumerate(THIRDS) if space in spaces), 0)


def excluded(third: int, sources: dict[str, str]) -> list[str]:
    """What a training reads no label of, as ``"SPACE"`` and ``"SPACE/TASK"``."""
    known = [space for spaces in THIRDS for space in spaces]
    spaces = [*THIRDS[third], *(space for space in sources if third == 0 and space not in known)]
    tasks = [
        f"{space}/{task}"
        for space in SEPARATE
        if space not in spaces
        for number, task in enumerate(get_space(space).tasks)
        if number % len(THIRDS) == third
    ]
    return [*spaces, *tasks]


def tasks_of(setting: str, space: str, tasks: list[str]) -> list[str]:
    """The tasks of a table that a setting has trainings for: as new data sets, those that one of them left out."""
    if setting != "new-data-set":
        return tasks
    if space not in SEPARATE:
        return []
    names = list(get_space(space).tasks)
    return [task for task in tasks if names.index(task) % len(THIRDS) != third_of(space)]


def knowledge(setting: str, space: str, task: str, run: int, options: argparse.Namespace) -> Knowledge:
    """The pipeline of a run: the bundled one, or of the trainings that read no label of the target, in turns."""
    if setting == "same-benchmark":
        return of_checkpoint(options.checkpoint)
    return of_third(third_without(setting, space, task), run % options.trainings, options)


def third_without(setting: str, space: str, task: str) -> int:
    """The training that reads no label of the target, as a new data set or a new space."""
    return list(get_space(space).tasks).index(task) % len(THIRDS) if setting == "new-data-set" else third_of(space)


def third_with(space: str, task: str, sources: dict[str, str]) -> int:
    """The first training that reads the labels of the target."""
    target = {space, f"{space}/{task}"}
    return next(third for third in range(len(THIRDS)) if target.isdisjoint(excluded(third, sources)))


_LOADED: dict[str, Knowledge] = {}  # by name of the checkpoint, or settings of the training


def of_checkpoint(checkpoint: str) -> Knowledge:
    """A checkpoint, and the labels that its record says it has read."""
    if checkpoint not in _LOADED:
        pipe = PKGenPipeline.from_pretrained(checkpoint)
        pipe.set_progress_bar_config(disable=True)
        _LOADED[checkpoint] = Knowledge(pipe, training_record(pipe).get("labels_read", {}), checkpoint)
    return _LOADED[checkpoint]


def of_third(third: int, seed: int, options: argparse.Namespace, **settings: Any) -> Knowledge:
    """The training without a third, trained or loaded; `settings` in place of the defaults have `name` for them."""
    sources = licensed_tables_in(options.data)
    name = f"{settings.pop('name', 'held-out')}-{third}" + (f"-train-seed-{seed}" if seed else "")
    values: dict[str, Any] = {
        "output_dir": f"{options.output_dir}/{name}",
        "sources": sources,
        "exclude": tuple(excluded(third, sources)),
        "max_train_steps": options.max_train_steps,
        "priors_per_task": options.priors_per_task,
        "shifted_tasks": options.shifted_tasks,
        "seed": seed,
        "checkpointing_steps": 1000,
        "resume_from_checkpoint": "latest",
    }
    arguments = TrainingArguments(**(values | settings))
    if str(arguments) not in _LOADED:
        pipe = trained(arguments)
        _LOADED[str(arguments)] = Knowledge(pipe, training_record(pipe)["labels_read"], name)
    return _LOADED[str(arguments)]


def training_record(pipe: PKGenPipeline) -> dict[str, Any]:
    """The record of a pipeline's training, from its checkpoint; empty if it has none."""
    path = Path(str(pipe.config["_name_or_path"])) / RECORD
    return json.loads(path.read_text()) if path.is_file() else {}


def trained(arguments: TrainingArguments) -> PKGenPipeline:
    """Train a pipeline, or load it if it was trained with the same arguments before; a begun training is resumed."""
    folder = Path(arguments.output_dir) / "pipeline"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.parent / ".lock"):  # another command may be at the same training: wait for it
        if (folder / RECORD).is_file():
            record = json.loads((folder / RECORD).read_text())
            wanted = {name: getattr(arguments, name) for name in record if hasattr(arguments, name)}
            if any(json.dumps(record[name]) != json.dumps(value) for name, value in wanted.items()):
                raise ValueError(f"{folder} was trained with other settings; name another --output_dir or delete it")
            print(f"using {folder}, trained before in {record['seconds']} s with the same settings")
        else:
            tables = load_tables(arguments.sources, arguments.exclude)
            print("training; labels read:", labels_read(tables))
            with tqdm(total=arguments.max_train_steps, desc="training") as bar:
                train(arguments, tables, lambda step, losses: bar.update(step - bar.n) and None)
    pipe = PKGenPipeline.from_pretrained(folder)
    pipe.set_progress_bar_config(disable=True)
    return pipe
