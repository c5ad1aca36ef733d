"""Settings of trainings on images, and the presets that spaces have for their networks."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from pkgen_hf.errors import unknown
from pkgen_hf.spaces import DEFAULT_SPACE, get_space, list_spaces
from settings import TrainingSettings

CIFAR_MEAN, CIFAR_STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)


@dataclass(frozen=True)
class Settings(TrainingSettings):
    """Settings of `train_network.train` beside those of every training.

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
    optimizer
        ``"sgd"``, ``"rmsprop"``, or ``"adamw"``, which has no momentum.
    lr_warmup_epochs
        Epochs of linear warm-up.
    auxiliary_weight, drop_path_grows
        Weight of the loss of an auxiliary classifier, and whether the probability of drop path grows linearly from 0
        to that of the scale, for networks that have these.
    shuffle_buffer
        Images of a stream among which the next is drawn.
    skip_corrupt
        Whether an image that cannot be decoded is passed over (in training, the next one takes its place; of a
        stream, the next of its batch) and counted.
    labels_by_number
        Whether classes are matched by number where images and network have names for them and none coincide.
    images_on_device
        Gigabytes of images of up to 64 pixels that are decoded once, kept on the device that trains, and augmented
        there, with the same result; more, larger and jittered ones are decoded and augmented by workers.
    validation_epochs
        Epochs between evaluations; the last is always evaluated.
    """

    examples: ClassVar[str] = "images"

    space: str = DEFAULT_SPACE
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
    optimizer: str = "sgd"
    momentum: float = 0.9
    nesterov: bool = False
    rmsprop_alpha: float = 0.9
    rmsprop_eps: float = 1e-3
    lr_warmup_epochs: float = 0.0
    label_smoothing: float = 0.0
    auxiliary_weight: float = 0.0
    drop_path_grows: bool = False
    skip_corrupt: bool = False
    labels_by_number: bool = False
    shuffle_buffer: int = 10_000
    channels_last: bool = False
    images_on_device: float = 2.0
    dataloader_num_workers: int = 0
    validation_epochs: int = 1

    def warmup_steps(self, steps_per_epoch: int, steps: int) -> float:
        """Steps of linear warm-up, of a training of so many steps."""
        return self.lr_warmup_epochs * steps_per_epoch


def presets() -> dict[str, Settings]:
    """Settings of every preset, by its name: each is part of the search space whose networks it is for."""
    spaces = (get_space(name) for name in list_spaces())
    return {
        preset: Settings(space=space.name, **changes) for space in spaces for preset, changes in space.presets.items()
    }


def spaces_with(setting: str) -> list[str]:
    """Spaces of whose presets one has a setting, such as ``drop_path_grows``, which means nothing to the others."""
    return list(dict.fromkeys(preset.space for preset in presets().values() if getattr(preset, setting)))


def preset_of(space: str) -> str:
    """The preset that trains networks of a space unless another is named."""
    return next(iter(get_space(space).presets or get_space(DEFAULT_SPACE).presets))


def get_preset(name: str, space: str | None = None) -> Settings:
    """Settings of a preset for a space, by default its own; for others scale and drop path are left out.

    Raises
    ------
    ValueError
        For an unknown preset.
    """
    known = presets()
    if name not in known:
        raise unknown("preset", name, list(known))
    preset = known[name]
    if space is None or space == preset.space:
        return preset
    return replace(preset, space=space, scale={}, drop_path_grows=False)
