"""Train generated cells, random cells and cells of a bad prior with the same settings, and compare.

    python recipes/rank_by_training.py --images IMAGES

IMAGES is CIFAR-10 (a folder of Parquet files or of class folders, or a Hub id), the one data set of the space
nas-bench-201 that is at hand everywhere. Three groups of cells: those that the pipeline ranks first, uniform random
ones, and those that it ranks first with the prior of the worst 20 of the benchmark. Every cell is trained with every
seed, at a small scale and for a few epochs. Reported are the accuracy of each group, and Kendall's tau between the
accuracy measured here and the benchmark's, over all cells and over those of the first two groups alone, as the worst
cells are easily told from others. A run that is stopped goes on after the last training it finished.

The bundled checkpoint has read the benchmark's CIFAR-10 labels, which the results file says; the pipeline of
"recipes/reproduce.py new-space --space nas-bench-201", given as --checkpoint runs/held-out-0/pipeline, has read none
of this space. The results file is results/trained/rank-by-training-nas-bench-201.json.
"""

from __future__ import annotations

import argparse
import shlex
import statistics
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import datasets
import torch
import transformers
from rich.console import Console
from rich.table import Table
from scipy.stats import kendalltau

from classes import name_classes
from compare import load
from image_loaders import EvaluationImages
from image_training import train
from images import LabelledImages
from pkgen_hf import Architecture, PKGenPipeline, Prior, ScoreTable
from pkgen_hf.files import write_json
from pkgen_hf.modeling_network import PKGenNetworkForImageClassification, image_processor
from presets import Settings, get_preset, preset_of
from result_files import Row, rows_of, unfinished_file
from train_network import add_image_options, images_of, print_passed_over
from trainings import of_checkpoint, training_record

SPACE, TASK = "nas-bench-201", "cifar10"
GENERATED, CHANCE, WORST = "pkgen", "uniform", "pkgen-prior-worst"
NAMES = {GENERATED: "PKGen", CHANCE: "uniform random", WORST: "PKGen, prior of the worst"}


def choose(pipe: PKGenPipeline, table: ScoreTable, number: int, seed: int) -> dict[str, list[Architecture]]:
    """Choose `number` cells for each group, no two of a group isomorphic."""
    space = table.space

    def generated(prior: Prior | None) -> list[Architecture]:
        generator = torch.Generator().manual_seed(seed)
        return pipe(space, TASK, prior=prior, num_architectures=number, generator=generator).architectures

    rows = space.sample(50 * number, torch.Generator().manual_seed(seed))
    random = list(dict.fromkeys(Architecture.from_batch(space, rows[space.is_valid(rows)])))[:number]
    worst = Prior.from_benchmark(space, TASK, table=table, selection="worst")
    return {GENERATED: generated(None), CHANCE: random, WORST: generated(worst)}


def summary(rows: list[Row]) -> dict[str, Any]:
    """Mean and standard deviation of each group over cells, over seeds, and Kendall's tau with the benchmark."""
    cells: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        cells.setdefault((row["method"], row["architecture"]), []).append(row)
    means = {key: statistics.mean(row["accuracy"] for row in here) for key, here in cells.items()}
    measured = {key: here[0]["benchmark"] for key, here in cells.items()}
    groups = []
    for method in dict.fromkeys(method for method, _ in cells):
        keys = [key for key in cells if key[0] == method]
        over_seeds = [statistics.pstdev(row["accuracy"] for row in cells[key]) for key in keys]
        groups.append(
            {
                "method": method,
                "cells": len(keys),
                "accuracy": statistics.mean(means[key] for key in keys),
                "accuracy_std": statistics.pstdev(means[key] for key in keys),
                "std_over_seeds": statistics.mean(over_seeds),
                "benchmark": statistics.mean(measured[key] for key in keys),
            }
        )
    result: dict[str, Any] = {"groups": groups}
    for name, methods in (("all", {GENERATED, CHANCE, WORST}), ("without_the_worst", {GENERATED, CHANCE})):
        keys = [key for key in cells if key[0] in methods]
        tau = kendalltau([means[key] for key in keys], [measured[key] for key in keys])
        result[name] = {"cells": len(keys), "tau": float(tau.statistic), "p_value": float(tau.pvalue)}
    return result


def rank_by_training(options: argparse.Namespace) -> None:
    """Choose, train all, compare, write."""
    pipe = of_checkpoint(options.checkpoint).pipe
    record = training_record(pipe)
    table = load(SPACE, options)
    groups = choose(pipe, table, options.cells_per_group, options.seed)
    settings = settings_of(options)
    images = images_of(options, options.images, options.train_split).subset(options.max_train_samples)
    held_out = images_of(options, options.images, options.validation_split)
    if held_out.split is None:
        raise ValueError(f"{options.images} has no splits, so that there are no images that are not trained on")
    print_passed_over(images, held_out)
    validation = EvaluationImages(
        held_out.subset(options.max_validation_samples),
        image_processor(settings.image_size, list(settings.mean), list(settings.std)),
    )
    parts = {
        f"{method} {number} seed {seed}": (method, architecture, seed)
        for method, group in groups.items()
        for number, architecture in enumerate(group)
        for seed in range(options.seeds)
    }

    def make(part: str) -> list[Row]:
        method, architecture, seed = parts[part]
        here = replace(settings, seed=seed, output_dir=str(Path(options.output_dir) / part.replace(" ", "-")))
        benchmark = float(table.values(architecture.rows, TASK))
        return [{"task": TASK, "method": method, **train_cell(architecture, here, images, validation, benchmark)}]

    name = f"rank-by-training-{SPACE}"
    folder = options.results / "trained"
    given = {key: str(value) for key, value in vars(options).items() if key not in ("results", "command")}
    rows = rows_of(name, parts, make, folder, given)
    found = summary(rows)
    read = record.get("labels_read", {})
    details = {
        "protocol": "rank-by-training",
        "space": SPACE,
        "task": TASK,
        "checkpoint": options.checkpoint,
        "labels_read": {
            GENERATED: read,
            WORST: {**read, f"{SPACE}/{TASK} (to choose the worst 20)": len(table.indices)},
        },
        "images": {"train": len(images), "validation": len(validation), "source": options.images},
        "scale": settings.scale,
        "image_size": options.image_size,
        "epochs": options.num_train_epochs,
        "seeds": options.seeds,
        "training": record,
        "command": options.command,
        **found,
        "rows": rows,
    }
    write_json(details, folder / f"{name}.json")
    unfinished_file(name, folder).unlink(missing_ok=True)
    print(f"wrote {folder / name}.json")
    print_summary(found, f"{len(images):,} images, {options.num_train_epochs} epochs, {options.seeds} seeds")


def settings_of(options: argparse.Namespace) -> Settings:
    """The benchmark's own settings at a small scale."""
    return replace(
        get_preset(preset_of(SPACE)),
        scale={"channels": options.channels, "cells": options.cells},
        image_size=options.image_size,
        crop_padding=options.image_size // 8,
        num_train_epochs=options.num_train_epochs,
        total_batch_size=options.total_batch_size,
        learning_rate=options.learning_rate,
        validation_epochs=options.num_train_epochs,
        channels_last=True,  # by a third faster on a CPU too
        cpu=options.cpu,
    )


def train_cell(
    architecture: Architecture,
    settings: Settings,
    images: LabelledImages,
    validation: EvaluationImages,
    benchmark: float,
) -> Row:
    """Train one cell; its accuracy here beside that of the benchmark."""
    torch.manual_seed(settings.seed)
    model = PKGenNetworkForImageClassification.from_architecture(
        architecture, len(images.classes), settings.image_size, **settings.scale
    )
    name_classes(model.config, images.classes)
    result = train(settings, model, images, validation)
    last = result["history"][-1]
    return {
        "architecture": str(architecture),
        "seed": settings.seed,
        "accuracy": last["validation"]["top_1"],
        "loss": last["loss"],
        "benchmark": benchmark,
        "parameters": result["parameters"],
        "multiply_adds": result["multiply_adds"],
        "seconds": result["seconds"],
    }


def print_summary(found: dict[str, Any], title: str) -> None:
    """Print the accuracy of each group, and Kendall's tau."""
    shown = Table(title=title)
    for column in ("group", "cells", "accuracy here", "std over seeds", "benchmark's mean"):
        shown.add_column(column, justify="left" if column == "group" else "right")
    for group in found["groups"]:
        accuracy = f"{group['accuracy']:.2f} ± {group['accuracy_std']:.2f}"
        shown.add_row(NAMES[group["method"]], str(group["cells"]), accuracy, f"{group['std_over_seeds']:.2f}",
                      f"{group['benchmark']:.2f}")  # fmt: skip
    Console(highlight=False).print(shown)
    for key in ("all", "without_the_worst"):
        tau = found[key]
        print(
            f"Kendall's tau, {key.replace('_', ' ')}: {tau['tau']:.2f} (p {tau['p_value']:.3f}, {tau['cells']} cells)"
        )


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", required=True, help="CIFAR-10: folder of Parquet or class folders, or Hub id")
    parser.add_argument("--train_split", default="train", help="(default: train)")
    parser.add_argument("--validation_split", default="test", help="(default: test)")
    add_image_options(parser)
    parser.add_argument("--max_train_samples", type=int, default=10000, help="images to train on (default: 10000)")
    parser.add_argument("--max_validation_samples", type=int, default=5000, help="to evaluate (default: 5000)")
    parser.add_argument("--num_train_epochs", type=int, default=3, help="(default: 3)")
    parser.add_argument("--image_size", type=int, default=32, help="images are resized to this, 16 costs a quarter "
                        "(default: 32)")  # fmt: skip
    parser.add_argument("--channels", type=int, default=8, help="of the first stage (default: 8)")
    parser.add_argument("--cells", type=int, default=1, help="in each stage (default: 1)")
    parser.add_argument("--total_batch_size", type=int, default=64, help="(default: 64)")
    parser.add_argument("--learning_rate", type=float, default=0.1, help="(default: 0.1)")
    parser.add_argument("--cells_per_group", type=int, default=5, help="architectures of each group (default: 5)")
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each (default: 3)")
    parser.add_argument("--seed", type=int, default=0, help="of generation (default: 0)")
    parser.add_argument("--checkpoint", default="pkgen-base", help="bundled name, folder or Hub id")
    parser.add_argument("--data", default="data", help="folder of tables, one a space (default: data)")
    parser.add_argument("--table", help="table of the benchmark, in place of the one in --data")
    parser.add_argument("--cpu", action="store_true", help="train on the CPU")
    parser.add_argument("--output_dir", default="runs/rank-by-training", help="folder of the trained networks")
    parser.add_argument("--results", type=Path, default=Path("results"), help="folder of results; the "
                        "file goes into its folder trained (default: results)")  # fmt: skip
    options = parser.parse_args(argv)
    options.command = shlex.join(["python", "recipes/rank_by_training.py", *(sys.argv[1:] if argv is None else argv)])
    datasets.disable_progress_bars()
    transformers.utils.logging.disable_progress_bar()
    try:
        rank_by_training(options)
    except (ValueError, OSError, ModuleNotFoundError, RuntimeError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
