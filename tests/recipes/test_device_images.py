"""Images on the device that trains: the same as those of a loader, pixel by pixel, and the same weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pictures import pictures, write_parquet
from PIL import Image
from processes import on_two_processes
from test_train_network import SMALL, argv_of, assert_same, network, options_of

from augmentation import augment, boxes, random_numbers
from device_images import DeviceImages, augmented, training_images
from image_loaders import EvaluationImages, TrainingImages
from image_training import train
from images import BadImage, LabelledImages, load_images
from pkgen_hf.modeling_network import image_processor
from presets import get_preset
from train_network import main

CPU = torch.device("cpu")
AUGMENTATIONS: list[dict[str, Any]] = [
    {"crop_padding": 4},
    {"crop_padding": 2, "cutout": 16},
    {"crop_padding": 0, "random_flip": False, "cutout": 7},
    {"random_resized_crop": True, "cutout": 8},
    {"random_resized_crop": True, "random_flip": False},
]


@pytest.fixture
def images(tmp_path: Path) -> LabelledImages:
    return load_images(str(write_parquet(tmp_path / "train.parquet", pictures(40))))


def test_the_numbers_of_an_image_depend_on_nothing_else() -> None:
    together = random_numbers(1, 2, 3, count=50)
    for number in (0, 7, 49):
        assert np.array_equal(random_numbers(1, 2, 3 + number)[0], together[number])
    others = [random_numbers(*entropy)[0] for entropy in ((0, 2, 3), (1, 3, 3), (1, 2, 4), (1, 2, 1, 3))]
    assert len({tuple(row) for row in [together[0], *others]}) == 5
    assert np.unique(together).size == together.size  # none is used twice


@pytest.mark.parametrize("size", [8, 32])
@pytest.mark.parametrize("changes", AUGMENTATIONS, ids=str)
def test_pixels_are_those_of_pillow(changes: dict[str, Any], size: int) -> None:
    settings = replace(get_preset("nas-bench-201"), image_size=size, **changes)
    noise = np.random.default_rng(size).integers(0, 256, (300, size, size, 3), np.uint8)
    noise[:50] = 255 * (noise[:50] > 127)  # of the largest differences
    on_device = DeviceImages(_of_arrays(noise), settings, CPU)
    for epoch in (0, 1):
        found = on_device.batch(epoch, np.arange(300))["pixel_values"].numpy()
        for index, picture in enumerate(noise):
            numbers = random_numbers(settings.seed, epoch, index)[0]
            assert np.array_equal(found[index], augment(Image.fromarray(picture), settings, numbers)), index


def _of_arrays(pixels: np.ndarray) -> LabelledImages:
    """Images that are decoded already."""

    class Nothing:
        def encoded(self, row: int) -> bytes | None:
            return None

        def where(self, row: int) -> str:
            return f"row {row}"

    images = LabelledImages("arrays", Nothing(), np.zeros(len(pixels), np.int64), ["0", "1"])
    images._pixels = {pixels.shape[1]: (pixels, np.ones(len(pixels), bool))}
    return images


def test_boxes_are_inside_and_have_their_shapes() -> None:
    numbers = random_numbers(0, 0, 0, count=2000)
    for width, height in ((32, 32), (64, 20), (1, 300)):
        left, top, wide, tall = boxes(numbers, width, height).T
        assert (left >= 0).all() and (top >= 0).all() and (wide > 0).all() and (tall > 0).all()
        assert (left + wide <= width).all() and (top + tall <= height).all()
    share = (boxes(numbers, 500, 500)[:, 2:].prod(1) / 500**2).astype(float)
    assert share.min() > 0.07 and share.max() <= 1
    assert share.mean() == pytest.approx(0.48, abs=0.02)  # large ones fit less often
    assert (boxes(numbers, 1, 300) == [0, 149, 1, 1]).all()  # nothing fits: the middle


def test_batches_are_those_of_a_loader(images: LabelledImages) -> None:
    keys = [[(0, 3), (0, 39)], [(0, 0)], [(2, 3), (2, 4)]]
    for settings in (SMALL, replace(SMALL, cutout=5, seed=3)):
        chosen = training_images(images, settings, CPU)
        assert isinstance(chosen, DeviceImages)
        loader = training_images(images, replace(settings, images_on_device=0), CPU)
        assert isinstance(loader, TrainingImages)
        for found, expected in zip(chosen.batches(keys, 0, CPU), loader.batches(keys, 0, CPU), strict=True):
            assert torch.equal(found["pixel_values"], expected["pixel_values"])
            assert torch.equal(found["labels"], expected["labels"]) and found["skipped"] == expected["skipped"] == []


def test_large_jittered_and_too_many_images_are_left_to_workers(images: LabelledImages) -> None:
    cuda = torch.device("cuda")  # nothing is moved to it
    for changes in ({"image_size": 65}, {"color_jitter": (0.4, 0, 0, 0)}, {"images_on_device": 1e-6}):
        assert isinstance(training_images(images, replace(SMALL, **changes), cuda), TrainingImages)  # type: ignore[arg-type]
    resized = replace(SMALL, random_resized_crop=True)
    assert isinstance(training_images(images, resized, CPU), TrainingImages)


def test_corrupt_images_are_refused_or_replaced_as_by_a_loader(tmp_path: Path) -> None:
    bad = (b"no image", 1)
    rows = [bad, *pictures(4), bad, bad, *pictures(3, seed=1), bad]
    images = load_images(str(write_parquet(tmp_path / "train.parquet", rows)))
    with pytest.raises(BadImage, match="row 0: the image cannot be read"):
        DeviceImages(images, SMALL, CPU)
    settings = replace(SMALL, skip_corrupt=True)
    keys = [[(1, index) for index in range(len(rows))], [(1, 5), (1, 10)]]
    on_device, loader = DeviceImages(images, settings, CPU), TrainingImages(images, settings)
    for found, expected in zip(on_device.batches(keys, 0, CPU), loader.batches(keys, 0, CPU), strict=True):
        assert torch.equal(found["pixel_values"], expected["pixel_values"])
        assert torch.equal(found["labels"], expected["labels"])
        assert found["skipped"] == expected["skipped"] and found["skipped"]
    with pytest.raises(BadImage, match="row 0"):  # decoded already, and now not to be skipped
        DeviceImages(images, SMALL, CPU)
    none = load_images(str(write_parquet(tmp_path / "none.parquet", [bad, bad])))
    with pytest.raises(BadImage, match="row 0"):
        DeviceImages(none, settings, CPU)


def test_kept_images_are_evaluated_as_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [*pictures(7), (b"no image", 1), *pictures(3, seed=1)]
    images = load_images(str(write_parquet(tmp_path / "test.parquet", rows)))
    processor = image_processor(16, list(SMALL.mean), list(SMALL.std))
    kept = EvaluationImages(images, processor, skip_corrupt=True)
    monkeypatch.setattr("image_loaders.KEPT", 0)
    others = EvaluationImages(images, processor, skip_corrupt=True)
    assert kept._kept is not None and others._kept is None
    keys = images.in_order(4, 0, 1)
    for found, expected in zip(kept.batches(keys, 0, CPU), others.batches(keys, 0, CPU), strict=True):
        assert torch.equal(found["pixel_values"], expected["pixel_values"])
        assert torch.equal(found["labels"], expected["labels"]) and found["skipped"] == expected["skipped"]


def test_weights_are_the_same_without(images: LabelledImages, tmp_path: Path) -> None:
    for name, gigabytes in (("with", 2.0), ("without", 0.0)):
        settings = replace(SMALL, output_dir=str(tmp_path / name), max_train_steps=3, images_on_device=gigabytes)
        record = train(settings, network(settings), images)
        assert 0 <= record["waiting_share"] < 1 and record["peak_memory_bytes"] is None
    assert_same(tmp_path / "with", tmp_path / "without", rtol=0, atol=0)


def test_weights_are_the_same_without_on_two_processes(tmp_path: Path) -> None:
    write_parquet(tmp_path / "images/train.parquet", pictures(60))
    write_parquet(tmp_path / "images/test.parquet", pictures(12, seed=1))
    for name, gigabytes in (("with", 2.0), ("without", 0.0)):
        options = options_of(tmp_path / "images", tmp_path / name) | {"images_on_device": gigabytes}
        assert not on_two_processes(main, [*argv_of(options | {"max_train_steps": 3}), "--quiet"])
    assert_same(tmp_path / "with", tmp_path / "without", rtol=0, atol=0)


def test_a_batch_may_be_of_any_kind_of_device_tensor() -> None:
    """No number that is drawn leaves the device: all of `augmented` runs without data."""
    settings = replace(get_preset("nas-bench-201"), random_resized_crop=True, cutout=8)
    found = augmented(
        torch.empty(5, 3, 32, 32, dtype=torch.uint8, device="meta"),
        torch.empty(5, 7, dtype=torch.long, device="meta"),
        settings,
    )
    assert found.shape == (5, 3, 32, 32) and found.dtype == torch.float32
