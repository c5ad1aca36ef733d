"""Images of the recipes: sources, what is wrong with them, augmentation."""

from __future__ import annotations

import io
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
from pictures import CLASSES, draw_picture, encode, pictures, write_folder, write_labels, write_parquet
from PIL import ExifTags, Image
from transformers import pipeline
from transformers.image_utils import load_image

from augmentation import augment, random_numbers
from image_folders import UnknownSplit, find_files
from image_loaders import EvaluationImages, TrainingImages, batches_of
from image_streams import open_stream
from images import BadImage, load_images
from pixels import decoded
from pkgen_hf import Architecture, PKGenNetworkForImageClassification
from pkgen_hf.modeling_network import image_processor
from presets import get_preset
from tables import open_table

SMALL = replace(get_preset("nas-bench-201"), image_size=16, crop_padding=2)
CPU = torch.device("cpu")
CELL = Architecture("nas-bench-201", (3, 0, 1, 4, 0, 2))


def id_of(value: Any) -> str:
    """Of a test's arguments."""
    return f"{value.type}: {value.to_pylist()}" if isinstance(value, pa.Array) else str(value)


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


@pytest.mark.parametrize("read", [load_images, open_stream])
@pytest.mark.parametrize(
    ("feature", "values", "said"),
    [
        (datasets.ClassLabel(names=["cat", "dog", "fox"]), [0, 1], r"classes \['cat', 'dog', 'fox'\]"),
        (datasets.ClassLabel(names=["fox", "cat"]), [0, 1], r"classes \['fox', 'cat'\]"),
        (datasets.Value("string"), ["cat", "fox"], "names"),
        (datasets.Value("int64"), [0, 1], "numbers"),
        (datasets.Value("bool"), [False, True], "true and false"),
    ],
    ids=str,
)
def test_files_whose_labels_mean_different_things_are_refused(
    tmp_path: Path, read: Any, feature: Any, values: list[Any], said: str
) -> None:
    first = datasets.ClassLabel(names=["fox", "cat", "dog"])
    image = encode(draw_picture("disc", np.random.default_rng(0)))
    for number, (kind, labels) in enumerate([(first, [0, 2]), (first, [2, 1]), (feature, values)]):
        features = datasets.Features({"image": datasets.Image(), "label": kind})
        rows = {"image": [{"bytes": image, "path": None}] * 2, "label": labels}
        Dataset.from_dict(rows, features=features).to_parquet(tmp_path / f"train-{number}.parquet")
    with pytest.raises(ValueError, match=f"train-2.parquet and .*train-0.parquet differ in .*'label' holds: {said}"):
        read(str(tmp_path))
    (tmp_path / "train-2.parquet").unlink()
    assert read(str(tmp_path)).classes == ["fox", "cat", "dog"]


def test_numbers_of_different_widths_are_labels_alike(tmp_path: Path) -> None:
    for number, kind in enumerate([pa.int64(), pa.int8()]):
        rows = pictures(3, seed=number)
        table = {"image": [encoded for encoded, _ in rows], "label": pa.array([label for _, label in rows], kind)}
        pq.write_table(pa.table(table), tmp_path / f"train-{number}.parquet")
    assert len(load_images(str(tmp_path))) == 6


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
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 and nothing else")
    with pytest.raises(ValueError, match="broken.parquet cannot be read as a data set"):
        load_images(str(tmp_path / "broken.parquet"))


def test_bad_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="neither a folder, a Parquet file nor"):
        load_images(str(tmp_path / "nothing"))
    (tmp_path / "empty").mkdir()
    with pytest.MonkeyPatch.context() as patch:  # and is no id of the Hub, as its folder is here
        patch.chdir(tmp_path.parent)
        with pytest.raises(FileNotFoundError, match=rf"Did you mean {tmp_path.name}/empty\?"):
            load_images(f"{tmp_path.name}/emtpy")
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


# ---------------------------------------------------------------------- labels


@pytest.mark.parametrize(
    ("values", "classes", "labels"),
    [
        (pa.array(["fox", "cat", "dog", "cat"]), ["cat", "dog", "fox"], [2, 0, 1, 0]),
        (pa.array(["b", "a", "b"], pa.large_string()), ["a", "b"], [1, 0, 1]),
        (pa.array(["b", "a", "b"]).dictionary_encode(), ["a", "b"], [1, 0, 1]),
        (pa.array([2.0, 0.0, 1.0]), ["0", "1", "2"], [2, 0, 1]),
        (pa.array([3, 1, 2]), ["1", "2", "3"], [2, 0, 1]),
        (pa.array([10, 9, 10], pa.uint8()), ["9", "10"], [1, 0, 1]),
        (pa.array([2**63, 0], pa.uint64()), ["0", str(2**63)], [1, 0]),
        (pa.array([True, False, True]), ["False", "True"], [1, 0, 1]),
    ],
    ids=id_of,
)
def test_classes_are_the_labels_that_occur(
    tmp_path: Path, values: pa.Array, classes: list[str], labels: list[int]
) -> None:
    images = load_images(str(write_labels(tmp_path / "x.parquet", values)))
    assert images.classes == classes and [images.label(index) for index in range(len(images))] == labels


@pytest.mark.parametrize("kind", ["folders", "names", "declared"])
def test_classes_called_by_numbers_have_these_numbers(tmp_path: Path, kind: str) -> None:
    """In alphabetical order, as folders are, 10 comes before 2."""
    classes = ["0", "1", "10", "2"]
    rows = [(image, index % 4) for index, (image, _) in enumerate(pictures(8))]
    if kind == "folders":
        for number, (encoded, label) in enumerate(rows):
            (tmp_path / classes[label]).mkdir(exist_ok=True)
            (tmp_path / classes[label] / f"{number}.png").write_bytes(encoded)
    elif kind == "names":
        write_labels(tmp_path / "x.parquet", pa.array([classes[label] for _, label in rows]), rows)
    else:
        write_parquet(tmp_path / "x.parquet", rows, classes=classes)
    for names, by_number in [([], False), ([f"kind {number}" for number in range(11)], True)]:
        images = load_images(str(tmp_path))
        called = images.check_classes(11, names, by_number)
        found = {images.classes[images.labels[index]]: images.label(index) for index in range(8)}
        assert found == {"0": 0, "1": 1, "10": 10, "2": 2} and called == [str(number) for number in range(11)]
    with pytest.raises(ValueError, match="class 10 of .* is out of range; the network has 4 classes, from 0"):
        load_images(str(tmp_path)).check_classes(4)
    if kind == "declared":
        stream = open_stream(str(tmp_path))
        stream.check_classes(11)
        assert [item.label for item in stream.read()] == [0, 1, 10, 2] * 2


def test_classes_of_a_network_are_checked_by_name_or_number(tmp_path: Path) -> None:
    """Names of which there is no image do no harm; a label that the network does not have is named."""
    some = load_images(str(write_parquet(tmp_path / "x.parquet", pictures(6), classes=[*CLASSES, "wolf"])))
    some.check_classes(3, ["stripes", "disc", "bars"])
    assert [some.label(index) for index in range(6)] == [2, 1, 0] * 2
    with pytest.raises(ValueError, match="unknown class of .*'stripes'. Allowed: bars, disc"):
        some.check_classes(2, ["bars", "disc"])
    numbers = load_images(str(write_labels(tmp_path / "x.parquet", pa.array([0, 1, 2]))))
    numbers.check_classes(4, ["0", "1", "2", "3"])
    with pytest.raises(ValueError, match="row 0: the label 0 is out of range; the network has 3 classes, 1 to 3"):
        numbers.check_classes(3, ["1", "2", "3"])
    with pytest.raises(ValueError, match="row 2: the label 2 is out of range; the network has 2 classes$"):
        numbers.check_classes(2, ["cat", "dog"])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (pa.array([0.0, 0.5]), "row 1: the label 0.5 is not a whole number"),
        (pa.array([0.0, float("inf")]), "row 1: the label inf is not a whole number"),
        (pa.array([0.0, 1.0, float("nan")]), "row 2: the label is missing"),
        (pa.array(["cat", None]), "row 1: the label is missing"),
        (pa.array(["cat", "dog", ""]), "row 2: the label is missing"),
        (pa.array([0, 1, -1]), "row 2: the label -1 is out of range; .*; -1 marks images without labels"),
        (pa.array([[0], [1]]), "column 'label' holds List.*, not classes: numbers or names"),
        (pa.nulls(2), "column 'label' holds .*null.*, not classes"),
        (pa.array([], pa.int64()), "x.parquet holds no images"),
    ],
    ids=id_of,
)
def test_labels_that_are_none_are_refused(tmp_path: Path, values: pa.Array, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_images(str(write_labels(tmp_path / "x.parquet", values)))


def test_images_of_a_column_are_bytes_structs_or_paths(tmp_path: Path) -> None:
    (encoded, _), *_ = pictures(1)
    (tmp_path / "x.png").write_bytes(encoded)
    expected = Image.open(io.BytesIO(encoded)).tobytes()
    for column in ([encoded], [{"bytes": encoded}], [str(tmp_path / "x.png")], [{"path": str(tmp_path / "x.png")}]):
        pq.write_table(pa.table({"image": column, "label": [0]}), tmp_path / "x.parquet")
        assert load_images(str(tmp_path / "x.parquet")).image(0).tobytes() == expected
    pq.write_table(pa.table({"image": [str(tmp_path / "no.png")], "label": [0]}), tmp_path / "x.parquet")
    with pytest.raises(BadImage, match="x.parquet, row 0: the image cannot be read: .*no.png"):
        load_images(str(tmp_path / "x.parquet")).image(0)
    pq.write_table(pa.table({"image": [[[0, 255], [255, 0]]], "label": [0]}), tmp_path / "x.parquet")
    with pytest.raises(ValueError, match="column 'image' holds List.*, not images, which are bytes, paths or structs"):
        load_images(str(tmp_path / "x.parquet"))


def test_names_of_files_are_no_patterns(tmp_path: Path) -> None:
    for number, name in enumerate(["a[1]", "a1", "b?", "bc", "d*", "de"]):
        path = write_labels(tmp_path / name / "x.parquet", pa.array([number]))
        assert load_images(str(path)).classes == [str(number)]
        assert load_images(str(tmp_path / name)).classes == [str(number)]


# ---------------------------------------------------------------------- folders of classes


def test_images_below_a_class_are_of_the_class(tmp_path: Path) -> None:
    """At any depth and behind links, with suffixes in upper case; a link into itself adds nothing."""
    encoded = [image for image, _ in pictures(48)]
    places = [*["cat/2023"] * 12, *["cat/2023/May.png"] * 12, *["dog"] * 8, *["fox"] * 8, *["fox/more"] * 8]
    for number, (image, place) in enumerate(zip(encoded, places, strict=True)):
        folder = tmp_path / "images" / place
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number:02d}{['.png', '.PNG'][number % 2]}").write_bytes(image)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/x.png").write_bytes(encoded[0])
    (tmp_path / "images/dog/linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "images/dog/again").symlink_to("..")
    (tmp_path / "images/dog/itself").symlink_to("itself")
    images = load_images(str(tmp_path / "images"))
    assert images.classes == ["cat", "dog", "fox"] and len(images) == 49
    assert np.bincount([images.label(index) for index in range(49)]).tolist() == [24, 9, 16]
    assert len({images.where(index) for index in range(49)}) == 49


def test_what_is_no_image_is_passed_over_and_counted(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, pictures(6))
    for name in ("._00000.png", ".DS_Store", "__MACOSX/disc/._00000.png", ".cache/x.png"):
        (folder / name).parent.mkdir(exist_ok=True, parents=True)
        (folder / name).write_bytes(b"hidden")
    (folder / "bars/._00000.png").write_bytes(b"hidden")
    assert load_images(str(folder)).passed_over == []
    others = ["README.txt", "bars/Thumbs.db", "disc/clip.mpg", "disc/paper.pdf", "disc/a/images.zip"]
    for name in others:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"no image")
    images = load_images(str(folder))
    assert images.passed_over == [str(folder / name) for name in ["README.txt", *sorted(others[1:])]]
    assert images.classes == CLASSES and len(images) == 6
    assert [images.image(index).size for index in range(6)] == [(16, 16)] * 6


def test_classes_without_images_and_metadata_are_refused(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "images", pictures(6))
    (folder / "zebra/young").mkdir(parents=True)
    (folder / "zebra/young/list.txt").write_text("")
    with pytest.raises(ValueError, match="images/zebra holds no images: every sub-folder of .*images must be a class"):
        load_images(str(folder))
    (folder / "zebra/young/x.png").write_bytes(pictures(1)[0][0])
    assert load_images(str(folder)).classes == [*CLASSES, "zebra"]
    for name in ("metadata.csv", "zebra/metadata.jsonl"):
        (folder / name).write_text("file_name,label\n")
        with pytest.raises(ValueError, match=f"{name} is not read: the folder of an image is its class"):
            load_images(str(folder))
        (folder / name).unlink()
    for name in ("x.zip", "x.tar"):
        (tmp_path / "archives").mkdir(exist_ok=True)
        (tmp_path / "archives" / name).write_bytes(b"")
    with pytest.raises(ValueError, match="archives must be unpacked"):
        load_images(str(tmp_path / "archives"))


def test_links_to_the_folder_itself_are_no_classes(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "data/root", pictures(6))
    (root / "loop").symlink_to(".")
    (root / "up").symlink_to(tmp_path / "data")
    (root / "disc/loop").symlink_to("..")
    images = load_images(str(root))
    assert images.classes == CLASSES and len(images) == 6
    (root / "val").symlink_to(".")
    with pytest.raises(UnknownSplit):
        load_images(str(root), "vla")
    assert len(load_images(str(root), "validation")) == 6  # without splits it is read whole
    (tmp_path / "other").symlink_to(root)
    assert len(load_images(str(tmp_path / "other"))) == 6
    (root / "round").symlink_to("disc")
    with pytest.raises(ValueError, match="round and 'disc' beside it are the same folder"):
        load_images(str(root))


def test_splits_in_classes_are_refused(tmp_path: Path) -> None:
    for name in CLASSES:
        for split in ("train", "val"):
            (tmp_path / name / split).mkdir(parents=True)
            (tmp_path / name / split / "1.png").write_bytes(pictures(1)[0][0])
    for split in ("train", "val"):
        with pytest.raises(ValueError, match="holds splits in its classes, as stripes/train; .* as train/stripes"):
            load_images(str(tmp_path), split)
    (tmp_path / "bars/2.png").write_bytes(pictures(1)[0][0])  # of a class, as those below it
    assert len(load_images(str(tmp_path))) == 7


def test_a_broken_link_is_an_image_that_cannot_be_read(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, pictures(3))
    (folder / "bars/link.png").symlink_to("nothing.png")
    images = load_images(str(folder))
    with pytest.raises(BadImage, match="bars/link.png: the image cannot be read"):
        images.image(1)


# ---------------------------------------------------------------------- splits


def layout(root: Path, *names: str) -> Path:
    """A folder with a file of each of these names."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(pictures(1)[0][0])
    return root


@pytest.mark.parametrize(
    ("names", "split", "folder", "found"),
    [
        (["train/cat/1.png", "val/cat/1.png"], "validation", "val", "val"),
        (["train/cat/1.png", "valid/cat/1.png"], "train", "train", "train"),
        (["Train/cat/1.png", "Dev/cat/1.png"], "validation", "Dev", "Dev"),
        (["train2017/cat/1.png", "val2017/cat/1.png"], "validation", "val2017", "val2017"),
        (["train/cat/1.png", "test/cat/1.png", "new/1.png"], "test", "test", "test"),
        (["fold1/cat/1.png", "fold2/cat/1.png"], "fold2", "fold2", "fold2"),
        (["train/cat/1.png", "notes/list.txt"], "train", "train", "train"),
        (["cat/1.png", "dog/1.png"], "validation", ".", None),
        (["bus/1.png", "car/1.png", "train/1.png"], "train", ".", None),  # a class
        (["freight_train/1.png", "passenger_train/1.png"], "train", ".", None),
        (["cat/train/1.png", "dog/train/1.png"], "train", ".", None),
    ],
    ids=str,
)
def test_splits_of_folders(tmp_path: Path, names: list[str], split: str, folder: str, found: str | None) -> None:
    assert find_files(str(layout(tmp_path, *names)), split) == ([], tmp_path / folder, found)


@pytest.mark.parametrize(
    ("names", "split", "files", "found"),
    [
        (["train-0.parquet", "train-1.parquet", "test-0.parquet"], "train", ["train-0", "train-1"], "train"),
        (["data/train-0.parquet", "data/validation-0.parquet"], "validation", ["data/validation-0"], "validation"),
        (["train.parquet", "val.parquet"], "validation", ["val"], "val"),
        (["cifar10-train.parquet", "cifar10-test.parquet"], "train", ["cifar10-train"], "train"),
        (["x/train/0000.parquet", "x/test/0000.parquet"], "test", ["x/test/0000"], "test"),
        (["train/0000.parquet", "test/0000.parquet"], "train", ["train/0000"], "train"),
        (["test_a-0.parquet", "test_b-0.parquet"], "test_b", ["test_b-0"], "test_b"),
        (["a.parquet", "values.PARQUET", "._a.parquet"], "validation", ["a", "values"], None),
        (["train/cat/1.png", "table.parquet", "test/cat/1.png"], "train", [], "train"),
    ],
    ids=str,
)
def test_splits_of_tables(tmp_path: Path, names: list[str], split: str, files: list[str], found: str | None) -> None:
    layout(tmp_path, *names)
    there = find_files(str(tmp_path), split)
    assert [str(Path(file).relative_to(tmp_path).with_suffix("")) for file in there.files] == files
    assert there.split == found


@pytest.mark.parametrize(
    ("names", "split", "message"),
    [
        (["train/cat/1.png"], "validation", "unknown split of .*: 'validation'. Allowed: train"),
        (["train/cat/1.png", "test/cat/1.png"], "validation", "Allowed: test, train"),
        (["train/1.png", "test/1.png"], "validation", "unknown split"),
        (["train/cat/1.png", "val/cat/1.png", "dev/cat/1.png"], "validation", "Allowed: dev, train, val"),
        (["train-0.parquet"], "validation", "unknown split of .*: 'validation'. Allowed: train"),
        (["x/train/0.parquet", "x/test/0.parquet"], "validation", "Allowed: test, train"),
        (["cat/1.png", "dog/1.png"], "fold3", "has no splits, hence none called 'fold3'"),
        (["a.parquet"], "fold3", "has no splits, hence none called 'fold3'"),
        (["bus/1.png", "train/2023/1.png"], "train", "holds 'train', which may be a split or a class, and 'bus' with"),
    ],
    ids=str,
)
def test_splits_that_are_not_there_are_refused(tmp_path: Path, names: list[str], split: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_images(str(layout(tmp_path, *names)), split)


def test_a_data_set_says_which_splits_it_has(tmp_path: Path) -> None:
    """As `datasets` says it, here of a folder that it reads as it reads one of the Hub."""
    write_parquet(tmp_path / "train-00000-of-00001.parquet", pictures(3))
    for streaming in (False, True):
        with pytest.raises(UnknownSplit, match=r"split.*validation.*\['train'\]"):
            open_table(str(tmp_path), [], "validation", None, None, streaming)


# ---------------------------------------------------------------------- pixels


def turned(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    return exif


def test_16_bits_are_read_by_their_upper_8(tmp_path: Path) -> None:
    """Grey as in colour, of either order of bytes, in any format; beside it the image with 8 bits."""
    levels = np.arange(2**16, dtype=np.uint16).reshape(256, 256)
    expected = np.repeat((levels >> 8).astype(np.uint8)[..., None], 3, axis=2)
    grey = Image.fromarray(levels)
    files = {
        "png": encode(grey),
        "tiff": encode(grey, "tiff"),
        "ppm": encode(Image.fromarray(levels.astype(np.int32)), "ppm"),
    }
    files["big"] = encode(Image.fromarray(levels.astype(">u2")), "tiff")
    files["turned"] = encode(grey, "png", exif=turned(3))
    for name, content in files.items():
        found = np.asarray(decoded(content))
        assert np.array_equal(found[::-1, ::-1] if name == "turned" else found, expected), name
    write_folder(tmp_path, [(files["png"], 0), (encode(Image.fromarray(expected)), 1), (files["tiff"], 2)])
    data = TrainingImages(load_images(str(tmp_path)), replace(SMALL, crop_padding=0, random_flip=False))
    first, *others = (data[0, index]["pixel_values"] for index in range(3))
    assert all(torch.equal(other, first) for other in others)


@pytest.mark.parametrize("kind", [np.int32, np.float32])
def test_levels_beyond_8_bits_in_32_are_refused(kind: type) -> None:
    levels = np.arange(256).reshape(16, 16)
    image = decoded(encode(Image.fromarray(levels.astype(kind)), "tiff"))
    assert np.array_equal(np.asarray(image)[..., 1], levels)
    for bad in (levels * 256, levels - 1, *([levels / 255, levels * np.nan] if kind is np.float32 else [])):
        with pytest.raises(BadImage, match="its levels are .* to .*, not 0 to 255; save it with 8 or 16 bits"):
            decoded(encode(Image.fromarray(bad.astype(kind)), "tiff"))


def stored_images() -> dict[str, bytes]:
    """A picture in every form in which files hold it."""
    picture = draw_picture("disc", np.random.default_rng(0)).resize((20, 12))
    files = {
        f"{file_format}, EXIF orientation {number}": encode(picture, file_format, exif=turned(number))
        for number in range(1, 9)
        for file_format in ("jpeg", "png", "webp", "tiff")
    }
    for mode in ("1", "L", "LA", "P", "RGBA"):
        files[f"mode {mode}"] = encode(picture.convert(mode))
    clear = picture.convert("RGBA")
    clear.putalpha(Image.linear_gradient("L").resize(clear.size))
    files["transparency"] = encode(clear)
    files["palette with a transparent colour"] = encode(picture.convert("P"), transparency=3)
    files["palette with transparencies"] = encode(picture.convert("P"), transparency=bytes(range(0, 250, 50)))
    files["CMYK"] = encode(picture.convert("CMYK"), "jpeg")
    files["animation"] = encode(picture, "gif", save_all=True, append_images=[picture.transpose(0)])
    return files


@pytest.mark.filterwarnings("ignore:Palette images with Transparency")
@pytest.mark.parametrize("name", stored_images())
def test_pixels_are_those_of_datasets_and_of_pipelines(tmp_path: Path, name: str) -> None:
    content = stored_images()[name]
    path = tmp_path / "cat/x.png"
    path.parent.mkdir()
    path.write_bytes(content)
    found = load_images(str(tmp_path)).image(0)
    for expected in (
        datasets.Image().decode_example({"bytes": content, "path": None}).convert("RGB"),
        load_image(str(path)),
    ):
        assert found.size == expected.size and found.tobytes() == expected.tobytes()


def test_training_evaluation_and_pipeline_see_the_same(tmp_path: Path) -> None:
    """A photograph taken upright, as cameras store it: lying, and turned by its EXIF orientation."""
    picture = draw_picture("bars", np.random.default_rng(1))
    folder = tmp_path / "images/cat"
    folder.mkdir(parents=True)
    (folder / "x.jpg").write_bytes(encode(picture.transpose(Image.Transpose.ROTATE_90), "jpeg", exif=turned(6)))
    images = load_images(str(tmp_path / "images"))
    processor = image_processor(16, list(SMALL.mean), list(SMALL.std))
    still = TrainingImages(images, replace(SMALL, crop_padding=0, random_flip=False))[0, 0]["pixel_values"]
    evaluated = EvaluationImages(images, processor)[0]["pixel_values"]
    torch.testing.assert_close(still, evaluated)
    model = PKGenNetworkForImageClassification.from_architecture(CELL, 3, 16, channels=4, cells=1).eval()
    classify = pipeline("image-classification", model=model, image_processor=processor)
    with torch.no_grad():
        expected = model(evaluated[None]).logits[0].softmax(0)
    for row in classify(str(folder / "x.jpg")):
        assert row["score"] == pytest.approx(float(expected[model.config.label2id[row["label"]]]), abs=1e-6)


# ---------------------------------------------------------------------- augmentation


@pytest.mark.parametrize("preset", ["nas-bench-201", "darts-cifar", "darts-imagenet"])
def test_augmentation_follows_from_seed_epoch_and_number(tmp_path: Path, preset: str) -> None:
    images = load_images(str(write_folder(tmp_path, pictures(6, size=40))))
    settings = replace(get_preset(preset), image_size=24)
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
        found = augment(picture, plain, random_numbers(seed, 0, 0)[0])
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
    assert np.array_equal(augment(picture, still, random_numbers(0, 0, 0)[0]), whole)


def test_cutout_sets_a_square_to_the_mean() -> None:
    settings = replace(SMALL, cutout=6, crop_padding=0, random_flip=False)
    picture = Image.new("RGB", (16, 16), (255, 255, 255))
    areas = [(augment(picture, settings, random_numbers(s, 0, 0)[0]) == 0).all(0).sum() for s in range(100)]
    assert max(areas) == 36 and 9 <= min(areas) < 36  # less where it reaches over the border


def test_colours_change_and_stay_colours() -> None:
    settings = replace(SMALL, crop_padding=0, random_flip=False, mean=(0.0,) * 3, std=(1.0,) * 3)
    picture = draw_picture("disc", np.random.default_rng(0))
    plain = augment(picture, settings, random_numbers(0, 0, 0)[0])
    for kind in range(4):
        ranges = tuple(0.4 if number == kind else 0.0 for number in range(4))
        changed = augment(picture, replace(settings, color_jitter=ranges), random_numbers(3, 0, 0)[0])
        assert not np.array_equal(changed, plain) and changed.min() >= 0 and changed.max() <= 1
        grey = Image.new("RGB", (16, 16), (100, 100, 100))
        if kind >= 2:  # saturation and hue of grey
            same = augment(grey, replace(settings, color_jitter=ranges), random_numbers(3, 0, 0)[0])
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
    settings = get_preset("darts-imagenet")
    assert folder.classes == [table.classes[index] for index in (0, 1, 500)]
    for number, index in enumerate((0, 1, 500)):
        (numbers,) = random_numbers(7, 0, 0)
        first, second = (augment(image, settings, numbers) for image in (table.image(index), folder.image(number)))
        assert first.shape == (3, 224, 224) and np.array_equal(first, second)
