"""How each benchmark trains its networks on images: a table of settings."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from pkgen_hf.errors import unknown

CIFAR_MEAN, CIFAR_STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Settings:
    """Settings of `train_network.train`; the command line has an option for each.

    Attributes
    ----------
    space, scale
        Search space, and options of its networks (`pkgen_hf.networks.build`), which hold for this space only.
    image_size, crop_ratio, bicubic, mean, std
        Of what the network gets: pixels; in evaluation the shorter side is resized to image_size / crop_ratio and the
        middle cut out (with a ratio of 1 images are resized to a square), by bicubic or bilinear filters; then colours
        in [0, 1] are normalised.
    crop_padding, random_resized_crop, random_flip, color_jitter, cutout
        Augmentation: pixels around the image before a random crop; or a crop of random area and shape, resized;
        mirroring; ranges of brightness, contrast, saturation and hue; side of a square that is set to the mean colour.
    num_train_epochs, max_train_steps
        Epochs; steps in their place where not None. An epoch leaves out the images that do not fill its last step,
        others each time.
    total_batch_size, train_batch_size, gradient_accumulation_steps
        Images of a step. Without `train_batch_size`, the batch of each process, it is divided among processes and
        accumulation steps.
    optimizer
        ``"sgd"`` or ``"rmsprop"``.
    learning_rate, lr_scheduler, lr_warmup_epochs
        The peak; how it falls after a linear warm-up: ``"cosine"`` or ``"linear"`` to 0, ``"exponential"`` by
        0.97 every 2.4 epochs, or ``"constant"``.
    auxiliary_weight, drop_path_grows
        In the space darts: of the auxiliary classifier's loss; whether drop path grows from 0 over the training.
    shuffle_buffer
        Images of a stream among which the next is drawn.
    ema_decay
        Of the moving average of weights that is evaluated and saved; 0 for none.
    skip_corrupt
        Whether an image that cannot be decoded is passed over (in training, the next one takes its place; of a
        stream, the next of its batch) and counted.
    labels_by_number
        Whether classes are matched by number where images and network have names for them and none coincide.
    validation_epochs
        Epochs between evaluations; the last is always evaluated.
    """

    space: str = "nas-bench-201"
    scale: dict[str, Any] = field(default_factory=dict)
    image_size: int = 32
    crop_ratio: float = 1.0
    bicubic: bool = True
    mean: tuple[float, ...] = CIFAR_MEAN
    std: tuple[float, ...] = CIFAR_STD
    crop_padding: int = 4
    random_resized_crop: bool = False
    random_flip: bool = True
    color_jitter: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0)
    cutout: int = 0
    num_train_epochs: int = 200
    max_train_steps: int | None = None
    total_batch_size: int = 256
    train_batch_size: int | None = None
    gradient_accumulation_steps: int = 1
    optimizer: str = "sgd"
    momentum: float = 0.9
    nesterov: bool = False
    rmsprop_alpha: float = 0.9
    rmsprop_eps: float = 1e-3
    learning_rate: float = 0.1
    lr_scheduler: str = "cosine"
    lr_warmup_epochs: float = 0.0
    weight_decay: float = 5e-4
    max_grad_norm: float = 0.0
    label_smoothing: float = 0.0
    auxiliary_weight: float = 0.0
    drop_path_grows: bool = False
    ema_decay: float = 0.0
    skip_corrupt: bool = False
    labels_by_number: bool = False
    shuffle_buffer: int = 10_000
    seed: int = 0
    mixed_precision: str = "no"
    channels_last: bool = False
    compile: bool = False
    cpu: bool = False
    dataloader_num_workers: int = 0
    validation_epochs: int = 1
    output_dir: str = "runs/network"
    checkpointing_steps: int = 0
    checkpoints_total_limit: int = 2
    resume_from_checkpoint: str | None = None
    report_to: str | None = None
    logging_steps: int = 10
    quiet: bool = False


_IMAGENET = Settings(
    image_size=224,
    crop_ratio=0.875,
    mean=IMAGENET_MEAN,
    std=IMAGENET_STD,
    crop_padding=0,
    random_resized_crop=True,
    label_smoothing=0.1,
    lr_warmup_epochs=5,
    total_batch_size=1024,
)

PRESETS: dict[str, Settings] = {
    # Dong and Yang, ICLR 2020, section 2.2 and table 1: the cells of NAS-Bench-201.
    "nas-bench-201": Settings(nesterov=True),
    # Ying et al., ICML 2019, appendix: RMSProp whose epsilon of 1 makes it nearly momentum.
    "nas-bench-101": Settings(
        space="nas-bench-101",
        num_train_epochs=108,
        optimizer="rmsprop",
        rmsprop_eps=1.0,
        learning_rate=0.2,
        weight_decay=1e-4,
    ),
    # Liu et al., ICLR 2019, section 3.2: the evaluation of a genotype on CIFAR-10.
    "darts-cifar": Settings(
        space="darts",
        scale={"channels": 36, "cells": 20, "affine": True, "auxiliary": True, "drop_path_prob": 0.2},
        num_train_epochs=600,
        total_batch_size=96,
        learning_rate=0.025,
        weight_decay=3e-4,
        max_grad_norm=5.0,
        cutout=16,
        auxiliary_weight=0.4,
        drop_path_grows=True,
    ),
    # P-DARTS (Chen et al., ICCV 2019) and PC-DARTS (Xu et al., ICLR 2020): batch 1,024, linear from 0.5, warm-up.
    "darts-imagenet": replace(
        _IMAGENET,
        space="darts",
        scale={"channels": 48, "cells": 14, "affine": True, "stem": "imagenet", "auxiliary": True},
        bicubic=False,
        color_jitter=(0.4, 0.4, 0.4, 0.2),
        num_train_epochs=250,
        learning_rate=0.5,
        lr_scheduler="linear",
        weight_decay=3e-5,
        max_grad_norm=5.0,
        auxiliary_weight=0.4,
    ),
    # Tan et al., CVPR 2019 (MnasNet), section 5, with stochastic depth and moving average of EfficientNet (Tan and
    # Le, ICML 2019), without AutoAugment; the rate of 0.256 at batch 4,096 is scaled to the batch.
    "mnasnet-imagenet": replace(
        _IMAGENET,
        space="mnasnet",
        num_train_epochs=350,
        optimizer="rmsprop",
        learning_rate=0.064,
        lr_scheduler="exponential",
        weight_decay=1e-5,
        ema_decay=0.9999,
    ),
}
_BY_SPACE = {"darts": "darts-cifar", "mnasnet": "mnasnet-imagenet", "nas-bench-101": "nas-bench-101"}


def preset_of(space: str) -> str:
    """The preset that trains networks of a space unless another is named."""
    return _BY_SPACE.get(space, "nas-bench-201")


def get_preset(name: str, space: str) -> Settings:
    """Settings of a preset for a space; the preset's scale and drop path are of its own space, others keep theirs."""
    if name not in PRESETS:
        raise unknown("preset", name, PRESETS)
    preset = PRESETS[name]
    return preset if space == preset.space else replace(preset, space=space, scale={}, drop_path_grows=False)
