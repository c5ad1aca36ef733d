"""Settings of trainings on ImageNet-1k that the presets of several spaces share."""

from __future__ import annotations

from typing import Any

# Of He et al., CVPR 2016, as nearly all papers since: crops of 224 pixels from images of 256, colours standardised by
# the statistics of the training set; with label smoothing by Szegedy et al., CVPR 2016, and the linear warm-up over
# five epochs for a batch of 1,024 by Goyal et al., 2017.
IMAGENET: dict[str, Any] = {
    "image_size": 224,
    "crop_ratio": 0.875,
    "mean": (0.485, 0.456, 0.406),
    "std": (0.229, 0.224, 0.225),
    "crop_padding": 0,
    "random_resized_crop": True,
    "label_smoothing": 0.1,
    "lr_warmup_epochs": 5,
    "total_batch_size": 1024,
}
