"""Evaluate a trained network on the validation images of ImageNet, or on any other labelled images.

    python recipes/evaluate_imagenet.py NETWORK --images IMAGES --output accuracy.json
    accelerate launch --multi_gpu --num_processes 8 recipes/evaluate_imagenet.py NETWORK --images IMAGES
    accelerate launch --multi_gpu --num_processes 2 recipes/evaluate_imagenet.py NETWORK --images IMAGES --cpu

NETWORK is a folder as recipes/train_network.py leaves it, or a Hub id. Images are preprocessed as its
preprocessor_config.json says, which the result repeats. Their classes are matched with the network's (id2label) by
name where both have names, else by number; images of a part of the classes are enough. Each image is counted exactly
once, in batches that do not depend on the number of processes.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import platform
import sys
import time
from pathlib import Path
from typing import Any

import datasets
import torch
import transformers
from PIL import Image
from tqdm.auto import tqdm
from transformers import AutoImageProcessor

from accuracy import accuracy, cost
from classes import classes_of
from image_loaders import EvaluationImages
from parallel import make_accelerator
from pixels import check_channels
from pkgen_hf.errors import one_line
from pkgen_hf.files import write_json
from pkgen_hf.modeling_network import PKGenNetworkForImageClassification
from pkgen_hf.training.processes import is_main_process
from presets import Settings
from saved_networks import load_weights
from train_network import (
    HELP,
    add_image_options,
    add_streaming,
    images_of,
    print_passed_over,
    stream_of,
)


def load_network(name: str) -> tuple[PKGenNetworkForImageClassification, Any]:
    """A saved network and its image processor.

    Raises
    ------
    ValueError
        If one of them is missing, the weights are not whole, or the network does not read RGB.
    """
    model = load_weights(name)
    check_channels(model.config.scale)
    try:
        processor = AutoImageProcessor.from_pretrained(name)
    except OSError as error:
        raise ValueError(f"{name} is not a whole network: {one_line(error)}") from error
    return model.eval(), processor


def preprocessing(processor: Any) -> dict[str, Any]:
    """The steps of a processor, in order."""
    return {
        "resize": dict(processor.size),
        "interpolation": Image.Resampling(processor.resample).name.lower(),
        "crop": dict(processor.crop_size) if processor.do_center_crop else None,
        "mean": list(processor.image_mean),
        "std": list(processor.image_std),
    }


def evaluate(options: argparse.Namespace) -> dict[str, Any]:
    """Load, evaluate, and return the record."""
    settings = Settings(cpu=options.cpu, mixed_precision=options.mixed_precision)
    accelerator = make_accelerator(settings, script="recipes/evaluate_imagenet.py")
    model, processor = load_network(options.network)
    read: Any = stream_of if options.streaming else images_of
    images = read(options, options.images, options.split)
    classes = classes_of(model.config)
    images.check_classes(len(classes), classes, options.labels_by_number)
    images = images.subset(options.max_samples)
    if options.show:
        print_passed_over(images)
    model.to(accelerator.device)
    data = EvaluationImages(images, processor, options.skip_corrupt)
    started = time.time()
    number = images.number if options.streaming else len(images)
    with tqdm(total=number, desc="evaluating", unit="image", disable=not options.show) as bar:

        def on_batch(number: int) -> None:
            done = number * accelerator.num_processes
            bar.update(done if bar.total is None else min(done, bar.total - bar.n))

        found = accuracy(model, data, accelerator, options.batch_size, options.dataloader_num_workers, on_batch)
    seconds = time.time() - started
    names = ("pkgen-hf", "torch", "transformers", "pillow")
    return {
        "network": options.network,
        "space": model.config.space,
        "architecture": model.config.architecture,
        "scale": model.config.scale,
        **cost(model, model.config.image_size),
        "data": images.name,
        "split": images.split,
        "classes_matched_by": images.matched,
        "files_passed_over": len(images.passed_over),
        "images": found["images"],
        "skipped_images": found["skipped"],
        "top_1": found["top_1"],
        "top_5": found["top_5"],
        "preprocessing": preprocessing(processor),
        "batch_size": options.batch_size,
        "mixed_precision": options.mixed_precision,
        "processes": accelerator.num_processes,
        "device": str(accelerator.device),
        "seconds": round(seconds, 3),
        "images_per_second": round(found["images"] / seconds, 1),
        "versions": {
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in names},
        },
    }


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", help="folder or Hub id of a trained network")
    parser.add_argument("--images", required=True, help="folder, Parquet file, or Hub id of a data set")
    parser.add_argument("--split", default="validation", help="of a folder or data set that has splits; val, valid "
                        "and dev are the same (default: validation)")  # fmt: skip
    parser.add_argument("--labels_by_number", action="store_true", help=HELP["labels_by_number"])
    add_image_options(parser)
    add_streaming(parser)
    parser.add_argument("--max_samples", type=int, help="evaluate so many images, drawn at random; with --streaming "
                        "the first")  # fmt: skip
    parser.add_argument("--skip_corrupt", action="store_true", help="pass over images that cannot be decoded")
    parser.add_argument("--batch_size", type=int, default=256, help="images of a batch (default: 256)")
    parser.add_argument("--dataloader_num_workers", type=int, default=0,
                        help="processes that decode images, for each process that evaluates (default: 0)")  # fmt: skip
    parser.add_argument("--mixed_precision", choices=["no", "fp16", "bf16"], default="no", help="(default: no)")
    parser.add_argument("--cpu", action="store_true", help="evaluate on the CPU")
    parser.add_argument("--output", type=Path, help="JSON file to write the result to")
    parser.add_argument("--quiet", action="store_true", help="print nothing but errors")
    options = parser.parse_args(argv)
    options.show = is_main_process() and not options.quiet
    if not options.show:
        datasets.disable_progress_bars()
        transformers.utils.logging.disable_progress_bar()
    try:
        if options.batch_size < 1:
            raise ValueError(f"--batch_size must be at least 1, got {options.batch_size}")
        result = evaluate(options)
        if options.output and is_main_process():
            write_json(result, options.output)
    except (ValueError, OSError, RuntimeError) as error:
        sys.exit(f"error: {error}")
    finally:
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()
    if options.show:
        print(f"{result['images']:,} images, {len(result['skipped_images'])} skipped: top-1 {result['top_1']:.3f} %, "
              f"top-5 {result['top_5']:.3f} %")  # fmt: skip
        print(f"{result['parameters']:,} parameters, {result['multiply_adds']:,} multiply-adds, "
              f"{result['images_per_second']:,} images/s")  # fmt: skip


if __name__ == "__main__":
    main()
