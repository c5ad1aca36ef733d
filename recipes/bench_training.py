"""Measure a step of training on this machine: images a second of every preset of a space, step by step and as a graph.

    python recipes/bench_training.py --space nas-bench-201
    python recipes/bench_training.py --preset darts-cifar --how eager graph compiled --total_batch_size 256

Each row is a training of the network that the pipeline ranks first, on random images: launched kernel by kernel, as
one CUDA graph, or compiled; with the images on the device or from a loader with workers; in float32 and bfloat16, with
channels first and last. The first steps (of compiling and recording, too) are not timed; their seconds are a column.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import tempfile
import time
from collections.abc import Hashable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate.state import AcceleratorState
from PIL import Image
from rich.console import Console
from rich.table import Table

from command_line import errors_in_one_line
from image_training import ImageTrainer
from images import LabelledImages
from pkgen_hf import PKGenPipeline
from pkgen_hf.errors import unknown
from pkgen_hf.modeling_network import PKGenNetworkForImageClassification, image_spaces
from pkgen_hf.spaces import DEFAULT_SPACE
from presets import Settings, get_preset, presets

HOW = {"eager": "kernel by kernel", "graph": "one CUDA graph", "compiled": "torch.compile"}
BATCHES = 4  # of images, which are random
COLUMNS = ("preset", "step", "images", "precision", "channels", "images/s", "waiting", "peak GB", "first steps, s")


class RandomImages(LabelledImages):
    """Random images of one size, which are never decoded."""

    def __init__(self, number: int, size: int, classes: int) -> None:
        rng = np.random.default_rng(0)
        self.levels = rng.integers(0, 256, (number, size, size, 3), np.uint8)
        names = [str(label) for label in range(classes)]
        super().__init__("random images", self, rng.integers(0, classes, number), names, False)

    def encoded(self, row: int) -> bytes | None:
        """They are in no file."""
        return None

    def where(self, index: int) -> str:
        """For messages."""
        return f"random image {index}"

    def image(self, index: int) -> Image.Image:
        """As if it had been decoded."""
        return Image.fromarray(self.levels[index])


class TimedTrainer(ImageTrainer):
    """A training that notes when its first steps are over."""

    untimed: int

    def _before(self, step: int) -> Hashable:
        if step == self.untimed:
            synchronize(self.accelerator.device)
            self.first_seconds, self.waiting, self.timed = self.seconds, 0.0, time.perf_counter()
        return super()._before(step)


def synchronize(device: torch.device) -> None:
    """Wait until a device has computed all that it was told to."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def measure(settings: Settings, model: PKGenNetworkForImageClassification, untimed: int) -> dict[str, Any]:
    """Train on random images for ``settings.max_train_steps``, of which the first ones are not timed."""
    AcceleratorState._reset_state(reset_partial_state=True)
    number, classes = BATCHES * settings.total_batch_size, int(model.config.num_labels or 0)
    images = RandomImages(number, settings.image_size, classes)
    trainer = TimedTrainer(settings, model, images, None)
    trainer.untimed = untimed
    device = trainer.accelerator.device
    trainer.resume()
    trainer.run(None)
    synchronize(device)
    seconds = time.perf_counter() - trainer.timed
    steps = trainer.plan.steps - untimed
    return {
        "images_per_second": steps * trainer.plan.total_batch_size / seconds,
        "waiting_share": trainer.waiting / seconds,
        "peak_memory_bytes": trainer.peak_memory,
        "first_seconds": trainer.first_seconds,
        "is_graph": trainer.graph is not None and trainer.graph.is_used,
    }


def variants(options: argparse.Namespace, preset: Settings) -> Iterator[tuple[str, Settings]]:
    """How steps are done and the settings for it, of those that were asked for and can be here."""
    on_gpu = torch.cuda.is_available() and not options.cpu
    places = (2.0, 0.0) if preset.image_size <= 64 else (0.0,)
    layouts = itertools.product(options.how, places, options.mixed_precision, (False, True))
    for how, place, precision, channels_last in layouts:
        if how == "graph" and not on_gpu:
            continue
        yield (
            how,
            replace(
                preset,
                compile=how == "compiled",
                cuda_graph=how == "graph",
                images_on_device=place,
                mixed_precision=precision,
                channels_last=channels_last,
                cpu=options.cpu,
                quiet=True,
                max_train_steps=options.untimed_steps + options.steps,
                logging_steps=options.untimed_steps + options.steps,
                total_batch_size=options.total_batch_size or preset.total_batch_size,
                dataloader_num_workers=0 if place else options.dataloader_num_workers,
            ),
        )


def bench(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Measure all that was asked for, print a row of each, and return the rows."""
    names = [options.preset] if options.preset else [n for n, p in presets().items() if p.space == options.space]
    if not names:
        raise unknown("space with presets", options.space, sorted({preset.space for preset in presets().values()}))
    pipe = PKGenPipeline.from_pretrained(options.checkpoint)
    pipe.set_progress_bar_config(disable=True)
    rows = []
    for name in names:
        preset = get_preset(name)
        chosen = pipe(preset.space, num_architectures=1, generator=torch.Generator().manual_seed(0)).architectures[0]
        for how, settings in variants(options, preset):
            torch.manual_seed(0)
            model = PKGenNetworkForImageClassification.from_architecture(
                chosen, options.num_labels, settings.image_size, **settings.scale
            )
            with tempfile.TemporaryDirectory() as folder:
                found = measure(replace(settings, output_dir=folder), model, options.untimed_steps)
            row = {"preset": name, "how": how, "batch": settings.total_batch_size}
            row |= {name: getattr(settings, name) for name in ("images_on_device", "mixed_precision", "channels_last")}
            rows.append(row | found)
            print(f"{name}, {how}: {found['images_per_second']:,.0f} images/s", flush=True)
    return rows


def show(rows: list[dict[str, Any]]) -> None:
    """Print a table."""
    table = Table(title="A step of training on this machine")
    for column in COLUMNS:
        table.add_column(column, justify="left" if column in COLUMNS[:5] else "right")
    for row in rows:
        how = HOW[row["how"]] + ("" if row["how"] != "graph" or row["is_graph"] else " (not recorded)")
        memory = row["peak_memory_bytes"]
        table.add_row(
            f"{row['preset']}, {row['batch']}", how, "on the device" if row["images_on_device"] else "from a loader",
            row["mixed_precision"], "last" if row["channels_last"] else "first", f"{row['images_per_second']:,.0f}",
            f"{row['waiting_share']:.0%}", f"{memory / 1e9:.1f}" if memory else "", f"{row['first_seconds']:.1f}",
        )  # fmt: skip
    Console(width=max(140, Console().width), highlight=False).print(table)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--space", choices=image_spaces(), metavar="SPACE", default=DEFAULT_SPACE,
                        help=f"all of its presets (default: {DEFAULT_SPACE})")  # fmt: skip
    parser.add_argument("--preset", choices=list(presets()), help="one preset, of any space")
    parser.add_argument("--how", nargs="+", choices=list(HOW), default=["eager", "graph"],
                        help="how steps are done (default: eager graph; a graph needs a GPU)")  # fmt: skip
    parser.add_argument("--mixed_precision", nargs="+", choices=["no", "bf16"], default=["no", "bf16"],
                        help="(default: no bf16)")  # fmt: skip
    parser.add_argument("--steps", type=int, default=20, help="timed steps (default: 20)")
    parser.add_argument("--untimed_steps", type=int, default=6, help="steps before, which record and compile "
                        "(default: 6)")  # fmt: skip
    parser.add_argument("--total_batch_size", type=int, help="(default: the preset's)")
    parser.add_argument("--num_labels", type=int, default=10, help="classes (default: 10)")
    parser.add_argument("--dataloader_num_workers", type=int, default=max(0, (os.cpu_count() or 1) - 2),
                        help="of the loader (default: all cores but two)")  # fmt: skip
    parser.add_argument("--checkpoint", default="pkgen-base", help="of the pipeline that chooses networks")
    parser.add_argument("--cpu", action="store_true", help="measure on the CPU")
    parser.add_argument("--output", type=Path, help="write the rows as JSON")
    options = parser.parse_args(argv)
    for name in ("steps", "untimed_steps"):
        if getattr(options, name) < 1:
            parser.error(f"--{name} must be at least 1, got {getattr(options, name)}")
    with errors_in_one_line():
        rows = bench(options)
        show(rows)
        if options.output:
            device = torch.cuda.get_device_name() if torch.cuda.is_available() and not options.cpu else "cpu"
            text = {"device": device, "torch": torch.__version__, "steps": options.steps, "rows": rows}
            options.output.write_text(json.dumps(text, indent=2))


if __name__ == "__main__":
    main()
