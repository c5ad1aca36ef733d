"""Images of the recipes: sources, what is wrong with them, augmentation."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from datasets import Dataset
from pictures import CLASSES, draw_picture, pictures, write_folder, write_parquet
from PIL import Image

from augmentation import augment
from image_loaders import EvaluationImages, TrainingImages, batches_of
from images import BadImage, load_images
from pkgen_hf.modeling_network import image_processor
from presets import PRESETS

SMALL = replace(PRESETS["nas-bench-201"], image_size=16, crop_padding=2)
CPU = torch.device("cpu")


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Data sets are cached where the tests leave their files."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("cache"))
        yield


def rows_of(batch: dict[str, Any]) -> list[int]:
    """Rows of the images that were skipped."""
    return [int(where.rpartition(" ")[2]) for where in batch["skipped"]]


def pixels(images: TrainingImages, epoch: int) -> torch.Tensor:
    return torch.stack([images[epoch, index]["pixel_values"] for index in range(len(images.images))])


# ---------------------------------------------------------------------- sources


def test_parquet_and_folder_hold_the_same(tmp_path: Path) -> None:
    rows = sorted(pictures(12), key=lambda row: row[1])
    write_parquet(tmp_path / "table/train-00000-of-00002.parquet", rows[:7])
    write_parquet(tmp_path / "table/train-00001-of-00002.parquet", rows[7:])
    write_parquet(tmp_path / "table/test-00000-of-00001.parquet", rows[:3])
    write_folder(tmp_path / "folder/train", rows)
    table, folder = load_images(str(tmp_path / "table")), load_images(str(tmp_path / "folder"))
    assert table.classes == folder.classes == CLASSES and len(table) == len(folder) == 12
    for index in range(12):
        assert np.array_equal(table.image(index), folder.image(index))
        assert table.label(index) == folder.label(index) == rows[index][1]
    assert torch.equal(pixels(TrainingImages(table, SMALL), 3), pixels(TrainingImages(folder, SMALL), 3))
    assert table.where(8).endswith("train-00001-of-00002.parquet, row 1")
    assert folder.where(0).endswith("folder/train/bars/00000.png")
    assert len(load_images(str(tmp_path / "table"), "test")) == 3


def test_plain_bytes_and_other_names_of_columns(tmp_path: Path) -> None:
    rows = pictures(6)
    table = pa.table({"img": [encoded for encoded, _ in rows], "fine": [label for _, label in rows]})
    pq.write_table(table, tmp_path / "plain.parquet")
    images = load_images(str(tmp_path / "plain.parquet"), image_column="img", label_column="fine")
    assert images.classes == ["0", "1", "2"] and images.image(5).size == (16, 16)
    images.check_classes(10)  # a network may have classes of which there is no image
    with pytest.raises(ValueError, match="row 2: the label 2 is out of range; the network has 2 classes"):
        images.check_classes(2)


def test_a_data_set_of_the_hub_client_is_read_as_it_writes_it(tmp_path: Path) -> None:
    """What `datasets` itself writes, an image it was given as PIL, grey and with transparency included."""
    rng = np.random.default_rng(0)
    pictures = [draw_picture("disc", rng), draw_picture("bars", rng).convert("L"), Image.new("RGBA", (20, 10))]
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=CLASSES)})
    Dataset.from_dict({"image": pictures, "label": [1, 0, 2]}, features=features).to_parquet(tmp_path / "x.parquet")
    images = load_images(str(tmp_path / "x.parquet"))
    assert [images.label(index) for index in range(3)] == [1, 0, 2] and images.classes == CLASSES
    assert {images.image(index).mode for index in range(3)} == {"RGB"}


def test_subsets_are_drawn_from_all_classes(tmp_path: Path) -> None:
    images = load_images(str(write_folder(tmp_path, pictures(60))))
    part = images.subset(30, seed=1)
    assert len(part) == 30 and {part.label(index) for index in range(30)} == {0, 1, 2}
    assert np.array_equal(part.rows, images.subset(30, seed=1).rows)
    assert not np.array_equal(part.rows, images.subset(30, seed=2).rows)
    assert images.subset(60) is images and images.subset(None) is images
    with pytest.raises(ValueError, match="at least 1 image must be left, got 0"):
        images.subset(0)


# ---------------------------------------------------------------------- what is wrong with them


def test_bad_tables_are_refused_by_file_and_row(tmp_path: Path) -> None:
    good = pictures(4)
    path = write_parquet(tmp_path / "missing.parquet", [*good, (good[0][0], None)])
    with pytest.raises(ValueError, match=r"missing.parquet, row 4: the label is missing"):
        load_images(str(path))
    path = write_parquet(tmp_path / "range.parquet", [*good[:2], (good[0][0], 3)])
    with pytest.raises(ValueError, match=r"range.parquet, row 2: the label 3 is out of range; classes are 0 to 2"):
        load_images(str(path))
    path = write_parquet(tmp_path / "negative.parquet", [(good[0][0], -1)], named=False)
    with pytest.raises(ValueError, match=r"negative.parquet, row 0: the label -1 is out of range"):
        load_images(str(path))
    path = write_parquet(tmp_path / "good.parquet", good)
    with pytest.raises(ValueError, match="'lable'.*Did you mean 'label'"):
        load_images(str(path), label_column="lable")
    with pytest.raises(ValueError, match="has 3 classes, the network has 4"):
        load_images(str(path)).check_classes(4)
    pq.write_table(pa.table({"image": [good[0][0]], "label": ["cat"]}), tmp_path / "words.parquet")
    with pytest.raises(ValueError, match="'label' holds .*not the numbers of classes"):
        load_images(str(tmp_path / "words.parquet"))
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 and nothing else")
    with pytest.raises(ValueError, match="broken.parquet cannot be read as a data set"):
        load_images(str(tmp_path / "broken.parquet"))


def test_bad_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="neither a folder, a Parquet file nor"):
        load_images(str(tmp_path / "nothing"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="holds neither Parquet files nor sub-folders of images"):
        load_images(str(tmp_path / "empty"))
    folder = write_folder(tmp_path / "folder", pictures(6))
    (folder / "stray.png").write_bytes(pictures(1)[0][0])
    with pytest.raises(ValueError, match="stray.png has no label"):
        load_images(str(folder))
    write_parquet(tmp_path / "splits/train.parquet", pictures(3))
    with pytest.raises(ValueError, match="unknown split of .*'tran'.*Did you mean 'train'"):
        load_images(str(tmp_path / "splits"), "tran")


@pytest.mark.parametrize("size", [16, 80])  # decoded beforehand, and when they are asked for
@pytest.mark.parametrize("workers", [0, 1])
def test_corrupt_images_are_named_or_skipped_and_counted(tmp_path: Path, size: int, workers: int) -> None:
    rows: list[tuple[bytes | None, int | None]] = [*pictures(8)]
    buffer = io.BytesIO()
    Image.effect_noise((64, 64), 90).convert("RGB").save(buffer, "jpeg")
    rows[2] = (buffer.getvalue()[:-500], 2)  # a truncated JPEG
    rows[5] = (b"not an image", 2)
    rows[6] = (None, 0)
    images = load_images(str(write_parquet(tmp_path / "x.parquet", rows)))
    settings = replace(SMALL, image_size=size)
    keys = [[(0, index) for index in range(8)]]
    with pytest.raises(BadImage, match=r"^\S*x.parquet, row 2: the image cannot be read: .*truncated") as refused:
        list(batches_of(TrainingImages(images, settings), keys, workers, CPU))
    assert "\n" not in str(refused.value)
    for row, reason in [(5, "it is of no known format"), (6, "there is no image")]:
        with pytest.raises(BadImage, match=f"row {row}: the image cannot be read: {reason}"):
            images.image(row)
    skipping = TrainingImages(images, replace(settings, skip_corrupt=True))
    (batch,) = batches_of(skipping, keys, workers, CPU)
    assert rows_of(batch) == [2, 5, 6, 6]  # the place of 5 is taken by 7, past 6
    assert batch["labels"].tolist() == [0, 1, 0, 0, 1, 1, 1, 1]
    processor = image_processor(size, [0.5] * 3, [0.5] * 3)
    evaluated = EvaluationImages(images, processor, skip_corrupt=True)
    (batch,) = batches_of(evaluated, [list(range(8))], workers, CPU)
    assert rows_of(batch) == [2, 5, 6] and batch["labels"].tolist() == [0, 1, 0, 1, 1]
    with pytest.raises(BadImage, match="row 2"):
        list(batches_of(EvaluationImages(images, processor), [list(range(8))], workers, CPU))


def test_nothing_but_corrupt_images(tmp_path: Path) -> None:
    images = load_images(str(write_parquet(tmp_path / "x.parquet", [(b"no", 0), (b"no", 1)])))
    with pytest.raises(BadImage):
        TrainingImages(images, replace(SMALL, skip_corrupt=True))[0, 0]


# ---------------------------------------------------------------------- augmentation


@pytest.mark.parametrize("preset", ["nas-bench-201", "darts-cifar", "darts-imagenet"])
def test_augmentation_follows_from_seed_epoch_and_number(tmp_path: Path, preset: str) -> None:
    images = load_images(str(write_folder(tmp_path, pictures(6, size=40))))
    settings = replace(PRESETS[preset], image_size=24)
    first = pixels(TrainingImages(images, settings), 0)
    assert first.shape == (6, 3, 24, 24) and first.dtype == torch.float32
    again = TrainingImages(load_images(str(tmp_path)), settings)
    assert torch.equal(again[0, 4]["pixel_values"], first[4])  # whatever was asked for before
    assert not torch.equal(pixels(again, 1), first)
    assert not torch.equal(pixels(TrainingImages(images, replace(settings, seed=1)), 0), first)


def test_crops_and_mirrored_images_are_parts_of_the_image() -> None:
    picture = draw_picture("disc", np.random.default_rng(0))
    plain = replace(SMALL, mean=(0.0,) * 3, std=(1.0,) * 3)
    whole = np.asarray(picture, np.float32).transpose(2, 0, 1) / 255
    padded = np.pad(whole, ((0, 0), (2, 2), (2, 2)))
    seen = set()
    for seed in range(200):
        found = augment(picture, plain, np.random.default_rng(seed))
        places = [
            (top, left, mirrored)
            for top in range(5)
            for left in range(5)
            for mirrored in (False, True)
            if np.array_equal(padded[:, top : top + 16, left : left + 16][:, :, :: -1 if mirrored else 1], found)
        ]
        assert len(places) == 1
        seen |= set(places)
    assert len(seen) > 45  # of 50
    still = replace(plain, crop_padding=0, random_flip=False)
    assert np.array_equal(augment(picture, still, np.random.default_rng(0)), whole)


def test_cutout_sets_a_square_to_the_mean() -> None:
    settings = replace(SMALL, cutout=6, crop_padding=0, random_flip=False)
    picture = Image.new("RGB", (16, 16), (255, 255, 255))
    areas = [(augment(picture, settings, np.random.default_rng(s)) == 0).all(0).sum() for s in range(100)]
    assert max(areas) == 36 and 9 <= min(areas) < 36  # less where it reaches over the border


def test_colours_change_and_stay_colours() -> None:
    settings = replace(SMALL, crop_padding=0, random_flip=False, mean=(0.0,) * 3, std=(1.0,) * 3)
    picture = draw_picture("disc", np.random.default_rng(0))
    plain = augment(picture, settings, np.random.default_rng(0))
    for kind in range(4):
        ranges = tuple(0.4 if number == kind else 0.0 for number in range(4))
        changed = augment(picture, replace(settings, color_jitter=ranges), np.random.default_rng(3))
        assert not np.array_equal(changed, plain) and changed.min() >= 0 and changed.max() <= 1
        grey = Image.new("RGB", (16, 16), (100, 100, 100))
        if kind >= 2:  # saturation and hue of grey
            same = augment(grey, replace(settings, color_jitter=ranges), np.random.default_rng(3))
            np.testing.assert_allclose(same, 100 / 255, atol=1e-6)


def test_evaluation_is_the_processor(tmp_path: Path) -> None:
    """Whether kept or not, and on small images the same as training without augmentation."""
    images = load_images(str(write_folder(tmp_path, pictures(5, size=16))))
    mean, std = list(SMALL.mean), list(SMALL.std)
    kept = EvaluationImages(images, image_processor(16, mean, std))
    still = TrainingImages(images, replace(SMALL, crop_padding=0, random_flip=False))
    large = EvaluationImages(images, image_processor(72, mean, std, resize=80))
    for index in range(5):
        expected = kept.processor(images.image(index), return_tensors="pt")["pixel_values"][0]
        assert torch.equal(kept[index]["pixel_values"], expected)
        torch.testing.assert_close(still[0, index]["pixel_values"], expected)
        assert large[index]["pixel_values"].shape == (3, 72, 72)


def test_imagenet_as_parquet_and_as_folder(shared_benchmarks: Path, tmp_path: Path) -> None:
    source = shared_benchmarks.parent / "images/imagenet-one-per-class/validation.parquet"
    if not source.is_file():
        pytest.skip(f"no images at {source}")
    table = load_images(str(source))
    assert len(table) == len(table.classes) == 1000
    for index in (0, 1, 500):
        (tmp_path / table.classes[index]).mkdir()
        (tmp_path / table.classes[index] / "x.jpeg").write_bytes(table.source.encoded(index) or b"")
    folder = load_images(str(tmp_path))
    settings = PRESETS["darts-imagenet"]
    assert folder.classes == [table.classes[index] for index in (0, 1, 500)]
    for number, index in enumerate((0, 1, 500)):
        draws = [np.random.default_rng(7) for _ in range(2)]
        first, second = (
            augment(table.image(index), settings, draws[0]),
            augment(folder.image(number), settings, draws[1]),
        )
        assert first.shape == (3, 224, 224) and np.array_equal(first, second)
