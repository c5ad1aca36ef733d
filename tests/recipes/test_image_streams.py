"""Streams of images: what tables hold, in a shuffled order that processes, workers and kills do not change."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from pictures import CLASSES, pictures, renumbered, write_folder, write_labels, write_parquet
from processes import on_two_processes
from safetensors.torch import load_file
from test_images import id_of
from test_train_network import CELL, SMALL, argv_of, assert_same, network, refusal

from evaluate_imagenet import main as evaluate
from image_loaders import EvaluationImages, TrainingImages, batches_of
from image_streams import Encoded, ImageStream, open_stream
from image_training import train
from images import BadImage, load_images
from parallel import Plan
from pkgen_hf.modeling_network import image_processor
from train_network import main

CPU = torch.device("cpu")
SIZES = (20, 9, 1, 16, 11)  # images of the shards, 57 together
STREAMED = replace(SMALL, total_batch_size=12, num_train_epochs=2, shuffle_buffer=10)  # 9 images are left over


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Uneven shards of training images, and two of test images with 31 together."""
    folder = tmp_path_factory.mktemp("shards")
    rows = pictures(sum(SIZES))
    for number, size in enumerate(SIZES):
        write_parquet(folder / f"train-{number:05d}-of-00005.parquet", rows[:size])
        del rows[:size]
    rows = pictures(31, seed=1)
    write_parquet(folder / "test-00000-of-00002.parquet", rows[:13])
    write_parquet(folder / "test-00001-of-00002.parquet", rows[13:])
    return folder


def keys_of(stream: ImageStream, plan: Plan, start: int = 0) -> list[list[tuple[int, str]]]:
    """Batches of a process as epochs and places."""
    return [[(epoch, stream.where(key)) for epoch, key in batch] for batch in stream.epochs(plan, start)]


def opened(source: Path, **names: Any) -> ImageStream:
    stream = open_stream(str(source), **names)
    stream.check_classes(3)
    return stream


# ---------------------------------------------------------------------- what is read, and in which order


def test_a_stream_holds_what_the_folder_holds(folder: Path) -> None:
    stream, images = opened(folder), load_images(str(folder))
    assert len(stream) == len(images) == 57 and stream.classes == images.classes == CLASSES
    read = list(stream.read())
    assert [item.where for item in read] == [images.where(index) for index in range(57)]
    for index, item in enumerate(read):
        key = (0, [item])
        assert stream.label(key) == images.label(index)
        assert stream.image(key).tobytes() == images.image(index).tobytes()
    shuffled = list(stream.read((0, 3), 10))
    assert shuffled != read and sorted(shuffled) == sorted(read)


def test_order_follows_from_seed_and_epoch_and_mixes_shards(folder: Path) -> None:
    def order(*numbers: int) -> list[Encoded]:
        return list(opened(folder).read(numbers, 10))

    first = order(0, 0)
    assert first == order(0, 0)
    assert first != order(0, 1) and first != order(1, 0)
    assert len({item.shard for item in first[:12]}) > 1
    orders = [order(seed, 0) for seed in range(8)]
    assert len({items[0].shard for items in orders}) > 1
    assert any(items[0].row > 0 for items in orders)


def test_processes_read_the_parts_of_a_step(folder: Path) -> None:
    """Each image at most once an epoch, others left over each time; as many steps in each process."""
    stream = opened(folder)
    one = Plan(replace(STREAMED, gradient_accumulation_steps=6), 57, 0, 1)
    expected = keys_of(stream, one)
    assert one.steps_per_epoch == 4 and len(expected) == 2 * 4 * 6
    left = []
    for epoch in range(2):
        seen = [key for batch in expected[epoch * 24 : epoch * 24 + 24] for key in batch]
        assert len(set(seen)) == 48 and {key[0] for key in seen} == {epoch}
        left.append({item.where for item in stream.read()} - {where for _, where in seen})
    assert left[0] != left[1]
    settings = replace(STREAMED, gradient_accumulation_steps=2)
    parts = [keys_of(stream, Plan(settings, 57, rank, 3)) for rank in range(3)]
    assert [batch for s in range(8) for part in parts for batch in part[2 * s : 2 * s + 2]] == expected
    assert keys_of(stream, one, start=6) == expected[6 * 6 :]
    assert keys_of(stream, one, start=4) == expected[4 * 6 :]


def test_a_subset_is_the_first_images(folder: Path) -> None:
    stream = opened(folder)
    part = stream.subset(25)
    assert len(part) == 25 and stream.subset(57) is stream and stream.subset(None) is stream
    first = list(stream.read())[:25]
    assert list(part.read()) == first and sorted(part.read((0, 1), 10)) == sorted(first)
    with pytest.raises(ValueError, match="at least 1 image must be left, got 0"):
        stream.subset(0)


@pytest.mark.parametrize("workers", [0, 2])
def test_evaluation_reads_every_image_once(folder: Path, workers: int) -> None:
    processor = image_processor(16, [0.5] * 3, [0.5] * 3)
    images, stream = load_images(str(folder), "test"), opened(folder, split="test")
    data, streamed = EvaluationImages(images, processor), EvaluationImages(stream, processor)
    expected = list(batches_of(data, images.in_order(4, 0, 1), 0, CPU))
    parts = [list(batches_of(streamed, stream.in_order(4, rank, 3), workers, CPU)) for rank in range(3)]
    assert [len(part) for part in parts] == [3, 3, 2]
    for number, batch in enumerate(expected):
        found = parts[number % 3][number // 3]
        assert torch.equal(found["pixel_values"], batch["pixel_values"])
        assert torch.equal(found["labels"], batch["labels"]) and found["skipped"] == []


def test_a_wrong_number_of_images_is_noticed(folder: Path) -> None:
    stream = opened(folder)
    stream.number = 60
    with pytest.raises(ValueError, match="holds 57 images, not 60"):
        list(stream.in_order(8, 1, 2))
    for rank in range(2):  # in every process at the same step
        plan = Plan(replace(STREAMED, total_batch_size=20), 60, rank, 2)
        batches = stream.epochs(plan, 0)
        assert len([next(batches), next(batches)]) == 2
        with pytest.raises(ValueError, match="ended after 57 images of 60; correct --num_train_images"):
            next(batches)
    stream.number = None
    with pytest.raises(ValueError, match="does not say how many images it holds; give --num_train_images"):
        len(stream)
    list(stream.in_order(8, 0, 1))
    assert len(stream) == 57


# ---------------------------------------------------------------------- what is wrong with them


@pytest.mark.parametrize("workers", [0, 1])
def test_corrupt_images_are_named_or_skipped_and_counted(tmp_path: Path, workers: int) -> None:
    rows: list[Any] = pictures(8, size=20)
    rows[2], rows[5], rows[6] = (rows[2][0][:200], 2), (b"not an image", 1), (None, 0)
    path = write_parquet(tmp_path / "x.parquet", rows)
    stream = opened(path)
    (keys,) = stream.in_order(8, 0, 1)
    batch_keys = [[(0, key) for key in keys]]
    with pytest.raises(BadImage, match=r"^\S*x.parquet, row 2: the image cannot be read: .*truncated") as refused:
        list(batches_of(TrainingImages(stream, SMALL), batch_keys, workers, CPU))
    assert "\n" not in str(refused.value)
    for row, reason in [(5, "it is of no known format"), (6, "there is no image")]:
        with pytest.raises(BadImage, match=f"row {row}: the image cannot be read: {reason}"):
            stream.image(keys[row])
    skipping = TrainingImages(stream, replace(SMALL, skip_corrupt=True))
    (batch,) = batches_of(skipping, batch_keys, workers, CPU)
    assert batch["skipped"] == [f"{path}, row {row}" for row in (2, 5, 6, 6)]
    assert batch["labels"].tolist() == [0, 1, 0, 0, 1, 1, 1, 1]
    with pytest.raises(BadImage, match="row 2"):  # nothing but corrupt images in a batch
        skipping[0, (0, [keys[2][1][2]])]
    evaluated = EvaluationImages(stream, image_processor(16, [0.5] * 3, [0.5] * 3), skip_corrupt=True)
    (batch,) = batches_of(evaluated, [keys], workers, CPU)
    assert batch["skipped"] == [f"{path}, row {row}" for row in (2, 5, 6)]
    assert batch["labels"].tolist() == [0, 1, 0, 1, 1]


def test_bad_tables_are_refused_by_file_and_row(tmp_path: Path) -> None:
    good = pictures(4)
    for name, label, message in [
        ("missing", None, r"missing.parquet, row 4: the label is missing"),
        ("range", 3, r"range.parquet, row 4: the label 3 is out of range; the network has 3 classes"),
        ("negative", -1, r"negative.parquet, row 4: the label -1 is out of range"),
    ]:
        path = write_parquet(tmp_path / f"{name}.parquet", [*good, (good[0][0], label)], named=False)
        with pytest.raises(ValueError, match=message):
            list(opened(path).read())
    path = write_parquet(tmp_path / "good.parquet", good)
    with pytest.raises(ValueError, match="'lable'.*Did you mean 'label'"):
        open_stream(str(path), label_column="lable")
    with pytest.raises(ValueError, match="has 3 classes, the network has 4"):
        open_stream(str(path)).check_classes(4)
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 and nothing else")
    with pytest.raises(ValueError, match="broken.parquet cannot be read as a data set"):
        open_stream(str(tmp_path / "broken.parquet"))
    content = bytearray((tmp_path / "good.parquet").read_bytes())
    content[4:400] = bytes(396)  # the footer is whole
    (tmp_path / "damaged.parquet").write_bytes(content)
    with pytest.raises(ValueError, match="damaged.parquet cannot be read after 0 rows: "):
        list(opened(tmp_path / "damaged.parquet").read())
    write_folder(tmp_path / "classes", good)
    with pytest.raises(ValueError, match="holds no Parquet files; image files are read one by one without"):
        open_stream(str(tmp_path / "classes"))


@pytest.mark.parametrize(
    ("values", "classes", "labels"),
    [
        (pa.array(["fox", "cat", "dog"]), ["cat", "dog", "fox"], [2, 0, 1]),
        (pa.array([2.0, 0.0, 1.0]), ["cat", "dog", "fox"], [2, 0, 1]),
        (pa.array([3, 1, 2]), ["1", "2", "3"], [2, 0, 1]),
        (pa.array([True, False]), ["False", "True"], [1, 0]),
        (pa.array([True, False]), ["True", "False"], [0, 1]),
    ],
    ids=id_of,
)
def test_labels_are_those_of_the_network(
    tmp_path: Path, values: pa.Array, classes: list[str], labels: list[int]
) -> None:
    stream = open_stream(str(write_labels(tmp_path / "x.parquet", values)))
    stream.check_classes(len(classes), classes)
    assert [item.label for item in stream.read()] == labels


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (pa.array([0.0, 0.5]), "row 1: the label 0.5 is not a whole number"),
        (pa.array([0.0, float("nan")]), "row 1: the label is missing"),
        (pa.array([1.0, -1.0]), "row 1: the label -1 is out of range; .*; -1 marks images without labels"),
        (pa.array(["cat", ""]), "row 1: the label is missing"),
        (pa.array(["cat", "wolf"]), "unknown class of .*, row 1: 'wolf'. Allowed: cat, dog, fox"),
    ],
    ids=id_of,
)
def test_labels_that_are_none_are_refused(tmp_path: Path, values: pa.Array, message: str) -> None:
    stream = open_stream(str(write_labels(tmp_path / "x.parquet", values)))
    stream.check_classes(3, ["cat", "dog", "fox"])
    with pytest.raises(ValueError, match=message):
        list(stream.read())


def test_classes_are_matched_before_anything_is_read(tmp_path: Path) -> None:
    order = ["stripes", "bars", "disc"]
    path = write_parquet(tmp_path / "x.parquet", renumbered(pictures(6), order), classes=order)
    stream = open_stream(str(path))
    stream.check_classes(3, CLASSES)
    assert [item.label for item in stream.read()] == [0, 1, 2, 0, 1, 2]
    stream.check_classes(2, ["disc", "wolf"])
    with pytest.raises(ValueError, match="unknown class of .*row 0: 'bars'. Allowed: disc, wolf"):
        list(stream.read())
    with pytest.raises(ValueError, match="no class of .* is one of the network's by its name"):
        stream.check_classes(3, ["cat", "dog", "fox"])
    strings = open_stream(str(write_labels(tmp_path / "s.parquet", pa.array(["a", "b"]))))
    with pytest.raises(ValueError, match="has names as labels, but the network does not name its classes"):
        strings.check_classes(2)
    pq.write_table(pa.table({"image": [[1, 2]], "label": [0]}), tmp_path / "array.parquet")
    with pytest.raises(ValueError, match="column 'image' holds List.*, not images"):
        open_stream(str(tmp_path / "array.parquet"))


def test_empty_files_of_a_table(tmp_path: Path) -> None:
    for number, rows in enumerate([pictures(2), [], pictures(3)]):
        write_parquet(tmp_path / f"train-{number}.parquet", rows)
    for images in (opened(tmp_path), load_images(str(tmp_path))):
        assert len(images) == 5
    assert [item.where for item in opened(tmp_path).read()][2] == f"{tmp_path}/train-2.parquet, row 0"
    for read in (open_stream, load_images):
        with pytest.raises(ValueError, match="train-1.parquet holds no images"):
            read(str(tmp_path / "train-1.parquet"))


def test_other_columns_and_files_beside_the_table(tmp_path: Path) -> None:
    """Rows that hold the path of an image, as those of data sets of loose files do."""
    (tmp_path / "x.png").write_bytes(pictures(1)[0][0])
    paths = [str(tmp_path / name) for name in ("x.png", "no.png")]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    images = pa.array([{"bytes": None, "path": path} for path in paths], kind)
    pq.write_table(pa.table({"img": images, "fine": [2, 1]}), tmp_path / "t.parquet")
    stream = opened(tmp_path / "t.parquet", image_column="img", label_column="fine")
    ((there, missing),) = stream.in_order(2, 0, 1)
    assert stream.classes == [] and stream.label(there) == 2
    assert stream.image(there).size == (16, 16)
    with pytest.raises(BadImage, match="t.parquet, row 1: the image cannot be read: .*no.png"):
        stream.image(missing)


# ---------------------------------------------------------------------- training and evaluation


def test_same_command_same_weights_and_workers_change_nothing(folder: Path, tmp_path: Path) -> None:
    runs: dict[str, dict[str, Any]] = {"a": {}, "b": {"dataloader_num_workers": 2}, "c": {"shuffle_buffer": 30}}
    for name, change in runs.items():
        settings = replace(STREAMED, output_dir=str(tmp_path / name), max_train_steps=6, **change)
        train(settings, network(settings), opened(folder))
    assert_same(tmp_path / "a", tmp_path / "b", rtol=0, atol=0)
    with pytest.raises(AssertionError):
        assert_same(tmp_path / "a", tmp_path / "c", rtol=0, atol=0)


def test_a_stopped_run_goes_on_exactly(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In the middle of the second epoch, with corrupt images read before."""

    class Killed(Exception):
        pass

    def kill(step: int, *_: Any) -> None:
        if step == 7:
            raise Killed

    write_parquet(tmp_path / "data/train-0.parquet", [*pictures(30), (b"no", 1), (b"no", 2)])
    write_parquet(tmp_path / "data/train-1.parquet", pictures(28, seed=2))
    settings = replace(STREAMED, logging_steps=1, checkpointing_steps=3, skip_corrupt=True, num_train_epochs=3)
    whole = replace(settings, output_dir=str(tmp_path / "whole"))
    killed = replace(settings, output_dir=str(tmp_path / "killed"))
    stream, validation = opened(tmp_path / "data"), opened(folder, split="test")
    expected = train(whole, network(settings), stream, validation)
    with pytest.raises(Killed):
        train(killed, network(settings), stream, validation, kill)
    result = train(replace(killed, resume_from_checkpoint="latest"), network(settings), stream, validation)
    assert_same(tmp_path / "whole", tmp_path / "killed", rtol=0, atol=0)
    assert result["skipped_images"] == expected["skipped_images"] and len(result["skipped_images"]) == 2
    assert [r["loss"] for r in result["history"]] == [r["loss"] for r in expected["history"]]
    assert all(record["validation"]["images"] == 31 for record in result["history"])
    for change, message in [({"shuffle_buffer": 11}, "shuffle_buffer 10, not 11"), ({}, "streaming True, not False")]:
        source = stream if change else load_images(str(tmp_path / "data"))
        with pytest.raises(ValueError, match=message):
            train(replace(killed, resume_from_checkpoint="latest", **change), network(settings), source)


def test_two_processes_are_one_that_accumulates(folder: Path, tmp_path: Path) -> None:
    """From the command line, and their network is then evaluated as a stream and as a table."""
    options = {
        "architecture": CELL, "scale": ["channels=4", "cells=1"], "image_size": 16, "total_batch_size": 24,
        "train_images": folder, "validation_split": "test", "shuffle_buffer": 10, "num_train_epochs": 2,
    }  # fmt: skip
    one = argv_of(options | {"output_dir": tmp_path / "one", "gradient_accumulation_steps": 2})
    main([*one, "--streaming", "--quiet"])

    on_two_processes(main, [*argv_of(options | {"output_dir": tmp_path / "two"}), "--streaming", "--quiet"])
    assert_same(tmp_path / "one", tmp_path / "two", rtol=1e-4, atol=1e-4)
    a, b = (json.loads((tmp_path / name / "network/training.json").read_text()) for name in ("one", "two"))
    assert (a["processes"], b["processes"]) == (1, 2) and a["images"] == b["images"] == 57
    assert [r["loss"] for r in a["history"]] == pytest.approx([r["loss"] for r in b["history"]], rel=1e-5)
    assert a["history"][-1]["validation"] == b["history"][-1]["validation"]
    argv = [str(tmp_path / "one/network"), "--cpu", "--images", str(folder), "--split", "test", "--batch_size", "4"]
    evaluate([*argv, "--quiet", "--output", str(tmp_path / "table.json")])
    evaluate([*argv, "--quiet", "--streaming", "--output", str(tmp_path / "stream.json")])
    table, stream = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("table", "stream"))
    for name in ("images", "top_1", "top_5"):
        assert table[name] == stream[name] == a["history"][-1]["validation"][name]
    evaluate([*argv, "--quiet", "--streaming", "--max_samples", "9", "--output", str(tmp_path / "few.json")])
    assert json.loads((tmp_path / "few.json").read_text())["images"] == 9


def test_mistakes_on_the_command_line(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plain = write_parquet(tmp_path / "plain.parquet", pictures(24), named=False)
    strings = write_labels(tmp_path / "strings.parquet", pa.array(CLASSES * 8))
    base = {"train_images": folder, "architecture": CELL, "output_dir": tmp_path / "out", "scale": ["channels=4"]}
    base |= {"total_batch_size": 12, "image_size": 16, "max_train_steps": 5}
    for options, more, message in [
        (base | {"num_train_images": 48}, [], "--num_train_images must be at least 1 and is for --streaming"),
        (base | {"num_train_images": 0}, ["--streaming"], "--num_train_images must be at least 1"),
        (base | {"num_train_images": 60}, ["--streaming"], "ended after 57 images of 60"),
        (base | {"train_images": plain}, ["--streaming"], "does not name its classes; give --num_labels"),
        (base | {"train_images": plain, "num_labels": 2}, ["--streaming"], "the network has 2 classes"),
        (base | {"train_images": strings}, ["--streaming"], "has names as labels, and which there are is not known"),
        (base | {"shuffle_buffer": 0}, ["--streaming"], "--shuffle_buffer must be at least 1, got 0"),
    ]:
        assert message in refusal([*argv_of(options), "--no_validation", *more], capsys)
    options = base | {"train_images": plain, "num_labels": 5, "max_train_samples": 13}
    main([*argv_of(options), "--no_validation", "--streaming", "--quiet"])
    record = json.loads((tmp_path / "out/network/training.json").read_text())
    assert record["images"] == 13 and record["network"]["num_labels"] == 5
    assert load_file(tmp_path / "out/network/model.safetensors")["network.classifier.weight"].shape[0] == 5
