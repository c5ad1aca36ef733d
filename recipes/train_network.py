"""Train the network of an architecture on images.

    python recipes/train_network.py --generate --task cifar10 --train_images IMAGES --output_dir runs/first
    python recipes/train_network.py --space darts --architecture 'Genotype(...)' --train_images IMAGES
    accelerate launch --multi_gpu --num_processes 8 --mixed_precision bf16 recipes/train_network.py ...   # 8 GPUs
    accelerate launch --multi_gpu --num_processes 2 recipes/train_network.py --cpu ...         # two CPU processes

IMAGES is a folder of Parquet files (columns "image" and "label"), a folder with a sub-folder of images for each class,
or the id of a data set on the Hub; with --streaming one that does not fit on the disk. Classes are those of the images
to train on, or of --network; images to evaluate are matched with them by name. A preset has the settings of a
benchmark; every option overrides its own. The batch of a preset is that of all processes together, so that more
processes make the same updates in less time. The trained network is left in OUTPUT_DIR/network with its preprocessing
and training.json, as a transformers model.
"""

from __future__ import annotations

import argparse
import dataclasses
from typing import Any

import datasets
import torch
import transformers

from classes import name_classes
from command_line import add_generation_options, add_settings, errors_in_one_line, generate, training_bar
from image_folders import UnknownSplit, shown
from image_streams import ImageStream, open_stream
from image_training import train
from images import LabelledImages, load_images
from pkgen_hf import Architecture
from pkgen_hf.modeling_network import PKGenNetworkForImageClassification, image_spaces
from pkgen_hf.spaces import DEFAULT_SPACE, Task, get_space
from pkgen_hf.training.processes import is_main_process
from presets import Settings, get_preset, preset_of, presets
from saved_networks import has_weights, load_weights, read_config
from settings import CHOICES as SHARED_CHOICES
from settings import HELP as SHARED_HELP

HELP = {
    "scale": "options of the space's networks, such as channels=8 cells=1",
    "image_size": "height and width of what the network gets, in pixels",
    "crop_ratio": "in evaluation the shorter side is resized to image_size / crop_ratio and the middle cut out",
    "bicubic": "resize by bicubic filters in evaluation, else bilinear",
    "mean": "of the channels, of colours in [0, 1]",
    "std": "of the channels",
    "crop_padding": "pixels around an image before a random crop",
    "random_resized_crop": "crop a random area and shape, and resize it",
    "random_flip": "mirror images at random",
    "color_jitter": "ranges of brightness, contrast, saturation and hue",
    "cutout": "side of a square that is set to the mean colour, 0 for none",
    "total_batch_size": "images of a step, over all processes",
    "train_batch_size": "images of a batch in each process, in place of --total_batch_size",
    "optimizer": "sgd, rmsprop or adamw",
    "momentum": "of the optimizer",
    "nesterov": "Nesterov's momentum",
    "rmsprop_alpha": "decay of rmsprop's mean of squares",
    "rmsprop_eps": "rmsprop's epsilon",
    "lr_scheduler": "cosine, linear, exponential (0.97 every 2.4 epochs) or constant",
    "lr_warmup_epochs": "epochs of linear warm-up",
    "weight_decay": "of all weights",
    "label_smoothing": "of the cross-entropy",
    "auxiliary_weight": "of the auxiliary classifier's loss (darts)",
    "drop_path_grows": "let drop path grow from 0 over the training (darts)",
    "skip_corrupt": "pass over images that cannot be decoded, and count them",
    "labels_by_number": "match classes by number if images and network have names for them and none coincide, as "
    "ImageNet's class folders and its readable names; both must have the same order",
    "shuffle_buffer": "with --streaming: images in memory among which the next is drawn, in each process",
    "channels_last": "keep channels last in memory, faster on GPUs",
    "images_on_device": "gigabytes of images of up to 64 pixels that are kept on the device and augmented there, "
    "with the same result; 0 for none",
    "dataloader_num_workers": "processes that decode images, for each process that trains",
    "validation_epochs": "epochs between evaluations; the last is always evaluated",
    **SHARED_HELP,
}
CHOICES = {
    **SHARED_CHOICES,
    "optimizer": ["sgd", "rmsprop", "adamw"],
    "lr_scheduler": ["cosine", "linear", "exponential", "constant"],
}


def add_image_options(parser: argparse.ArgumentParser) -> None:
    """Options of columns, configuration and revision, for all recipes that read images."""
    parser.add_argument("--image_column", default="image", help="column of images (default: image)")
    parser.add_argument("--label_column", default="label", help="column of labels (default: label)")
    parser.add_argument("--dataset_config", help="configuration of a data set on the Hub")
    parser.add_argument("--dataset_revision", help="revision of a data set on the Hub")


def add_streaming(parser: argparse.ArgumentParser) -> None:
    """The option of recipes that can read streams."""
    parser.add_argument("--streaming", action="store_true", help="read Parquet files or a data set on the Hub as they "
                        "are needed, without a copy on the disk")  # fmt: skip


def images_of(options: argparse.Namespace, source: str, split: str) -> LabelledImages:
    """Images of a source, by the options of `add_image_options`."""
    names = (options.image_column, options.label_column, options.dataset_config, options.dataset_revision)
    return load_images(source, split, *names)


def stream_of(options: argparse.Namespace, source: str, split: str) -> ImageStream:
    """A stream of images, by the options of `add_image_options`."""
    names = (options.image_column, options.label_column, options.dataset_config, options.dataset_revision)
    return open_stream(source, split, *names)


GO_ON = (
    "Name images by --validation_images (the same ones, to evaluate those that are trained on), another split by "
    "--validation_split, or give --no_validation"
)


def validation_of(options: argparse.Namespace) -> LabelledImages | ImageStream | None:
    """Images to evaluate, None with --no_validation.

    Raises
    ------
    ValueError
        If they are not named, and the images to train on have no such split.
    """
    if options.no_validation:
        return None
    read: Any = stream_of if options.streaming else images_of
    try:
        images = read(options, options.validation_images or options.train_images, options.validation_split)
    except UnknownSplit as error:
        raise ValueError(f"{str(error).removesuffix('.')}. {GO_ON}") from error
    if images.split is None and not options.validation_images:
        raise ValueError(f"{images.name} has no splits, so that all of it is trained on. {GO_ON}")
    return images


def print_passed_over(*sources: LabelledImages | ImageStream | None) -> None:
    """Print how many files are not images."""
    for images in sources:
        if images is not None and images.passed_over:
            number, first = len(images.passed_over), shown(images.passed_over[0])
            print(f"passed over {number:,} {'file' if number == 1 else 'files'} of {images.name}, no images: {first}"
                  + (", ..." if number > 1 else ""))  # fmt: skip


def scale_of(items: list[str]) -> dict[str, Any]:
    """Parse ``NAME=VALUE`` items to options of networks."""
    scale: dict[str, Any] = {}
    for item in items:
        name, equals, text = item.partition("=")
        if not equals:
            raise ValueError(f"--scale takes NAME=VALUE, got {item!r}")
        words = {"true": True, "false": False}
        number = next((kind(text) for kind in (int, float) if _is_a(kind, text)), text)
        scale[name] = words.get(text.lower(), number)
    return scale


def _is_a(kind: type, text: str) -> bool:
    try:
        kind(text)
    except ValueError:
        return False
    return True


def parse_arguments(argv: list[str] | None = None) -> tuple[Settings, argparse.Namespace]:
    """Parse the command line to settings, and to the other options: network and images.

    Raises
    ------
    ValueError
        If --network names none, or an item of --scale is malformed.
    """
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, add_help=False, allow_abbrev=False
    )
    add_network_options(parser)
    known, _ = parser.parse_known_args(argv)  # defaults of the other options follow from these
    preset = _preset(known)
    parser.add_argument("-h", "--help", action="help", help="show this and exit")
    add_data_options(parser)
    add_settings(parser, preset, HELP, CHOICES)
    options = parser.parse_args(argv)
    if not (options.architecture or options.network or options.generate):
        parser.error("name a network: --architecture STRING, --network FOLDER_OR_ID or --generate")
    if options.network and options.scale:
        parser.error("--scale is for a network that is built here; that of --network has its own")
    for name in ("num_train_images", "num_labels"):
        value = getattr(options, name)
        if value is not None and (value < 1 or not options.streaming):
            parser.error(f"--{name} must be at least 1 and is for --streaming, got {value}")
    values = {name: getattr(options, name) for name in HELP if name != "scale"}
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
    return dataclasses.replace(preset, scale={**preset.scale, **scale_of(options.scale)}, **values), options


def _preset(options: argparse.Namespace) -> Settings:
    """Default settings, by --preset, --space and --network."""
    saved = read_config(options.network) if options.network else None
    space = saved.space if saved is not None else options.space
    space = space or (get_preset(options.preset).space if options.preset else DEFAULT_SPACE)
    preset = get_preset(options.preset or preset_of(space), space)
    return preset if saved is None else dataclasses.replace(preset, image_size=saved.image_size)


def add_network_options(parser: argparse.ArgumentParser) -> None:
    """Options of the network and of its default settings."""
    parser.add_argument("--preset", choices=list(presets()), help="settings of a benchmark (default: by the space)")
    parser.add_argument("--space", choices=image_spaces(), metavar="SPACE",
                        help=f"of the network: {', '.join(image_spaces())} (default: the preset's)")  # fmt: skip
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--architecture", metavar="STRING", help="train this architecture of --space")
    which.add_argument("--network", metavar="FOLDER_OR_ID", help="train this saved network: from its weights if it "
                       "has any, else from fresh ones")  # fmt: skip
    which.add_argument("--generate", action="store_true", help="train what the pipeline ranks first in --space")
    add_generation_options(parser)


def add_data_options(parser: argparse.ArgumentParser) -> None:
    """Options of the images to train on and to evaluate."""
    parser.add_argument("--train_images", required=True, metavar="IMAGES", help="images to train on")
    parser.add_argument("--validation_images", metavar="IMAGES", help="images to evaluate (default: the split "
                        "--validation_split of --train_images)")  # fmt: skip
    parser.add_argument(
        "--train_split", default="train", help="of a folder or data set that has splits (default: train)"
    )
    parser.add_argument("--validation_split", default="validation", help="likewise; val, valid and dev are the same "
                        "(default: validation)")  # fmt: skip
    parser.add_argument("--no_validation", action="store_true", help="evaluate nothing")
    add_image_options(parser)
    parser.add_argument("--max_train_samples", type=int, help="train on so many images, drawn at random; with "
                        "--streaming the first")  # fmt: skip
    add_streaming(parser)
    parser.add_argument("--num_train_images", type=int, help="with --streaming: images of an epoch (default: as many "
                        "as the data set says it holds)")  # fmt: skip
    parser.add_argument(
        "--num_labels", type=int, help="with --streaming: classes of labels that are plain numbers, from 0"
    )


def make_network(
    settings: Settings, options: argparse.Namespace, images: LabelledImages | ImageStream
) -> PKGenNetworkForImageClassification:
    """Build, generate or load the network, for the classes of these images."""
    own = Task("image-classification", num_classes=2, image_size=settings.image_size)
    get_space(settings.space).task(own)  # ValueError if its networks read no images of this size
    classes = images.classes
    if not classes and not options.network:
        if isinstance(images, ImageStream) and images.holds_names:
            raise ValueError(f"{options.train_images} has names as labels, and which there are is not known before a "
                             "stream is read; train without --streaming or a --network that has them")  # fmt: skip
        if options.num_labels is None:
            raise ValueError(f"{options.train_images} does not name its classes; give --num_labels")
        classes = [str(label) for label in range(options.num_labels)]
    if options.network:
        if has_weights(options.network):
            return load_weights(options.network)
        if is_main_process() and not settings.quiet:
            print(f"{options.network} holds no weights: the training begins with fresh ones")
        torch.manual_seed(settings.seed)
        return PKGenNetworkForImageClassification(read_config(options.network))
    if options.generate:
        architecture = generate(options, settings.space, options.task, settings.seed)
    else:
        architecture = Architecture.from_string(settings.space, options.architecture)
    torch.manual_seed(settings.seed)
    model = PKGenNetworkForImageClassification.from_architecture(
        architecture, len(classes), settings.image_size, **settings.scale
    )
    name_classes(model.config, classes)
    return model


def main(argv: list[str] | None = None) -> None:
    with errors_in_one_line():
        settings, options = parse_arguments(argv)
        show = is_main_process() and not settings.quiet
        if not show:
            datasets.disable_progress_bars()
            transformers.utils.logging.disable_progress_bar()
        images: LabelledImages | ImageStream
        read: Any = stream_of if options.streaming else images_of
        images = read(options, options.train_images, options.train_split)
        validation = validation_of(options)
        model = make_network(settings, options, images)
        if isinstance(images, ImageStream):
            images.number = options.num_train_images or images.number
            images = images.subset(options.max_train_samples)
        else:
            images = images.subset(options.max_train_samples, settings.seed)
        if show:
            print(f"{model.config.space}: {model.config.architecture}")
            print(f"{len(images):,} images of {images.name}, {model.config.num_labels} classes")
            print_passed_over(images, validation)
        with training_bar(show) as on_step:
            result = train(settings, model, images, validation, on_step)
    if show:
        found = result["history"][-1].get("validation")
        print(f"top-1 {found['top_1']:.2f} %, top-5 {found['top_5']:.2f} %" if found else "not evaluated")
        print(f"saved in {settings.output_dir}/network, after {result['seconds']:,.0f} s")


if __name__ == "__main__":
    main()
