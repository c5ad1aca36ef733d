"""A generated network as a transformers model for image classification.

Importing this module registers both classes and an image processor, so that ``AutoModelForImageClassification``,
``AutoImageProcessor``, ``pipeline("image-classification")`` and ``Trainer`` know them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional as F
from transformers import AutoConfig, AutoImageProcessor, AutoModelForImageClassification, PretrainedConfig
from transformers.modeling_outputs import ImageClassifierOutputWithNoAttention

try:  # transformers 5 keeps the processor that needs no torchvision under a name of its own
    from transformers.models.bit import BitImageProcessorPil as _ImageProcessor
except ImportError:
    from transformers.models.bit import BitImageProcessor as _ImageProcessor  # type: ignore[assignment]

from .architecture import Architecture
from .errors import shortened, unknown
from .network_folder import PKGenNetworkModel, SavedNetwork, check_architecture, saved_state
from .networks import at_image_size, at_task, planner_of
from .networks.inputs import image_size_for
from .spaces import DEFAULT_SPACE, TaskLike, get_space, list_spaces

MODEL_TYPE = "pkgen-network"
IMAGE_CLASSIFICATION = "image-classification"


def image_spaces() -> list[str]:
    """Spaces whose networks classify images."""
    spaces = [space for name in list_spaces() if planner_of(space := get_space(name)) is not None]
    return [here.name for here in spaces if any(t.kind == IMAGE_CLASSIFICATION for t in here.tasks.values())]


class PKGenNetworkConfig(PretrainedConfig):
    """What a network is: an architecture of a space, at a scale, for images of a size.

    Parameters
    ----------
    space, architecture
        Name of the space and the benchmark's own string.
    scale
        Options of `pkgen_hf.networks.build` for this space, such as ``{"channels": 16}``.
    image_size
        Height and width of images in pixels.
    auxiliary_weight
        Of the loss of the auxiliary classifier, where the scale has one; only in training.
    label_smoothing
        Of the cross-entropy (Szegedy et al., CVPR 2016); only in training.
    **kwargs
        As of any transformers configuration; ``num_labels`` or ``id2label`` gives the number of classes.

    Raises
    ------
    ValueError
        For a space that has no networks for images, or a string that is not of the space.
    """

    model_type = MODEL_TYPE

    def __init__(
        self,
        space: str = DEFAULT_SPACE,
        architecture: str = "|nor_conv_3x3~0|+|none~0|none~1|+|skip_connect~0|none~1|nor_conv_3x3~2|",
        scale: dict[str, Any] | None = None,
        image_size: int = 32,
        auxiliary_weight: float = 0.4,
        label_smoothing: float = 0.0,
        **kwargs: Any,
    ) -> None:
        if space not in image_spaces():
            raise unknown("space of networks for images", space, image_spaces())
        _check_config(architecture, scale, image_size, kwargs)
        for name, value in (("auxiliary_weight", auxiliary_weight), ("label_smoothing", label_smoothing)):
            if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
                raise ValueError(f"{name} must be a number, got {shortened(value)}")
        with torch.device("cpu"):
            get_space(space).from_strings([architecture])
        self.space, self.architecture = space, architecture
        self.scale, self.image_size, self.auxiliary_weight = dict(scale or {}), image_size, auxiliary_weight
        self.label_smoothing = label_smoothing
        super().__init__(**kwargs)


def _check_config(architecture: Any, scale: Any, image_size: Any, others: dict[str, Any]) -> None:
    """Raise ValueError for values of another type, as a file that was edited may hold."""
    if not isinstance(architecture, str):
        raise ValueError(f"architecture must be a string of the space, got {shortened(architecture)}")
    if scale is not None and not isinstance(scale, Mapping):
        raise ValueError(f"scale must hold options by name, got {shortened(scale)}")
    if isinstance(image_size, bool) or not isinstance(image_size, int) or image_size < 1:
        raise ValueError(f"image_size must be a whole number of pixels, at least 1, got {shortened(image_size)}")
    labels = others.get("id2label")
    if labels is not None and not (isinstance(labels, Mapping) and all(str(key).isdecimal() for key in labels)):
        raise ValueError(f"id2label must hold a name for each number of a class, got {shortened(labels)}")


class PKGenNetworkForImageClassification(PKGenNetworkModel):
    """The network of a `PKGenNetworkConfig`, with fresh weights unless loaded: what `Architecture.build` gives.

    Its state is that of the module under the prefix ``network.``.
    """

    config_class = PKGenNetworkConfig
    main_input_name = "pixel_values"
    supports_gradient_checkpointing = True  # of networks with an attribute for it, such as transformers; else an error

    def __init__(self, config: PKGenNetworkConfig) -> None:
        super().__init__(config)
        with torch.device("cpu"):  # builders read their architecture from tensors, which the meta device cannot
            architecture = Architecture.from_string(config.space, config.architecture)
            scale = at_image_size(architecture.space, config.image_size, config.scale)
            self.network = architecture.build(num_classes=config.num_labels, **scale)
        self.post_init()

    @classmethod
    def from_architecture(
        cls,
        architecture: Architecture,
        num_labels: int | None = None,
        image_size: int | None = None,
        task: TaskLike | None = None,
        **scale: Any,
    ) -> PKGenNetworkForImageClassification:
        """A network with fresh weights.

        Parameters
        ----------
        architecture
            Of a space whose networks classify images.
        num_labels, image_size
            By default those of the task.
        task
            A data set of the space, a kind of task, or a `Task` of your own, whose channels of images count, too; by
            default the space's first that classifies images.
        scale
            Options of the space's family, see `pkgen_hf.networks.build`.

        Raises
        ------
        ValueError
            For what is no `Architecture`, a space or task that is not for classifying images, an unknown option, or a
            size that cannot be.
        """
        check_architecture(architecture, image_spaces(), "for images")
        space = architecture.space
        data = space.data_set(IMAGE_CLASSIFICATION if task is None else task) or ""
        about = space.task(data)
        if about.kind != IMAGE_CLASSIFICATION:
            raise ValueError(f"these networks classify images, and {about.label} is no task of {IMAGE_CLASSIFICATION}")
        if task is not None:
            num_labels, scale = at_task(space, data, num_labels, scale)
            size_of_task = scale.pop("image_size", None)
            image_size = image_size or size_of_task or image_size_for(space, data, scale)
        config = PKGenNetworkConfig(
            space=space.name,
            architecture=str(architecture),
            scale=scale,
            image_size=image_size or about.image_size,
            num_labels=num_labels or about.num_classes,
        )
        return cls(config)

    def forward(
        self,
        pixel_values: torch.Tensor,
        labels: torch.Tensor | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> ImageClassifierOutputWithNoAttention | tuple[torch.Tensor, ...]:
        """Classify images.

        Parameters
        ----------
        pixel_values
            ``FloatTensor (batch, channels, height, width)``, as the image processor gives them; 3 channels unless the
            scale has ``in_channels``.
        labels
            ``LongTensor (batch,)``, for the cross-entropy; with an auxiliary classifier its own is added in training.

        Returns
        -------
        ImageClassifierOutputWithNoAttention
            ``logits``, ``FloatTensor (batch, num_labels)``, and ``loss`` if there are labels.
        """
        logits = self.network(pixel_values)
        auxiliary = None
        if isinstance(logits, tuple):
            logits, auxiliary = logits
        loss = None
        if labels is not None:
            smoothing = self.config.label_smoothing if self.training else 0.0
            loss = F.cross_entropy(logits, labels, label_smoothing=smoothing)
            if auxiliary is not None:
                second = F.cross_entropy(auxiliary, labels, label_smoothing=smoothing)
                loss = loss + self.config.auxiliary_weight * second
        if return_dict is False:
            return (logits,) if loss is None else (loss, logits)
        return ImageClassifierOutputWithNoAttention(loss=loss, logits=logits)


def image_processor(
    image_size: int, mean: list[float], std: list[float], resize: int | None = None, bicubic: bool = True
) -> _ImageProcessor:
    """Preprocessing as a transformers image processor, which needs no torchvision.

    Parameters
    ----------
    image_size
        Of what the network gets, in pixels.
    mean, std
        Of the three channels of images in [0, 1].
    resize
        Size of the shorter side before the centre is cut out; by default images are resized to `image_size` square.
    bicubic
        Interpolate by bicubic, else by bilinear filters.

    Raises
    ------
    ValueError
        For means or deviations of other than three channels: images are converted to RGB.
    """
    if len(mean) != 3 or len(std) != 3:
        raise ValueError(
            f"images are converted to RGB, which takes mean and std of 3 channels, got {len(mean)} and {len(std)}: "
            "images of other channels are for a preprocessing of your own"
        )
    square = {"height": image_size, "width": image_size}
    return _ImageProcessor(
        do_resize=True,
        size=square if resize is None else {"shortest_edge": resize},
        resample=3 if bicubic else 2,
        do_center_crop=resize is not None,
        crop_size=square,
        do_rescale=True,
        do_normalize=True,
        image_mean=mean,
        image_std=std,
        do_convert_rgb=True,
    )


def saved_network(folder: str | Path) -> SavedNetwork:
    """Read the folder of a `pkgen_hf.PKGenNetworkForImageClassification`.

    Raises
    ------
    FileNotFoundError
        If there is no such folder, or no weights in it.
    ValueError
        If it holds another model, or weights that cannot be read.
    """
    state = saved_state(folder, MODEL_TYPE)
    made = PKGenNetworkConfig.from_pretrained(folder)
    architecture = Architecture.from_string(made.space, made.architecture)
    return SavedNetwork(architecture, made.num_labels, made.image_size, state, made.scale)


AutoConfig.register(MODEL_TYPE, PKGenNetworkConfig, exist_ok=True)
AutoModelForImageClassification.register(PKGenNetworkConfig, PKGenNetworkForImageClassification, exist_ok=True)
AutoImageProcessor.register(PKGenNetworkConfig, slow_image_processor_class=_ImageProcessor, exist_ok=True)
