"""Evaluation of trained networks: each image counted once, on one process and on two; what is recorded."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest
import torch
from accelerate import Accelerator
from pictures import CLASSES, pictures, renumbered, write_folder, write_labels, write_parquet
from processes import on_two_processes
from torch import nn
from transformers import AutoImageProcessor

from accuracy import accuracy, cost
from classes import name_classes
from evaluate_imagenet import load_network, main
from image_loaders import EvaluationImages
from images import load_images
from pkgen_hf import Architecture, PKGenNetworkForImageClassification
from pkgen_hf.modeling_network import image_processor

CELL = Architecture.from_string(
    "nas-bench-201", "|nor_conv_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|skip_connect~0|none~1|nor_conv_3x3~2|"
)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network of 7 classes, of which the images have 3, with preprocessing that crops."""
    folder = tmp_path_factory.mktemp("network")
    torch.manual_seed(1)
    model = PKGenNetworkForImageClassification.from_architecture(CELL, 7, 24, channels=4, cells=1)
    model.eval().save_pretrained(folder)
    image_processor(24, [0.5, 0.4, 0.3], [0.2, 0.3, 0.4], resize=28).save_pretrained(folder)
    return folder


def by_hand(saved: Path, images: list[tuple[bytes, int]], table: Path) -> tuple[float, float]:
    """Top-1 and top-5, one image at a time."""
    model = PKGenNetworkForImageClassification.from_pretrained(saved).eval()
    loaded = load_images(str(table))
    processor = image_processor(24, [0.5, 0.4, 0.3], [0.2, 0.3, 0.4], resize=28)
    first = five = 0
    for index, (_, label) in enumerate(images):
        pixels = processor(loaded.image(index), return_tensors="pt")["pixel_values"]
        with torch.no_grad():
            order = model(pixels).logits[0].argsort(descending=True).tolist()
        first += order[0] == label
        five += label in order[:5]
    return 100 * first / len(images), 100 * five / len(images)


def test_one_and_two_processes_count_every_image_once(saved: Path, tmp_path: Path) -> None:
    """37 images and a corrupt one, in batches of 5: divisible by nothing."""
    images = pictures(37, seed=3, size=30)
    table = write_parquet(tmp_path / "good.parquet", images, named=False)
    corrupt = write_parquet(tmp_path / "bad.parquet", [*images, (b"broken", 0)], named=False)
    argv = [str(saved), "--cpu", "--batch_size", "5", "--quiet", "--output"]
    main([*argv, str(tmp_path / "good.json"), "--images", str(table)])
    argv = ["--skip_corrupt", "--images", str(corrupt), *argv]
    main([*argv, str(tmp_path / "one.json")])
    on_two_processes(main, [*argv, str(tmp_path / "two.json")])
    good, one, two = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("good", "one", "two"))
    assert (two["processes"], one["processes"]) == (2, 1)
    for record in (one, two):
        assert record["images"] == 37 and len(record["skipped_images"]) == 1
        assert record["skipped_images"][0].endswith("bad.parquet, row 37")
    assert good["images"] == 37 and good["skipped_images"] == []
    assert (good["top_1"], good["top_5"]) == (one["top_1"], one["top_5"]) == (two["top_1"], two["top_5"])
    assert (good["top_1"], good["top_5"]) == pytest.approx(by_hand(saved, images, table))
    assert good["top_1"] < good["top_5"]


def test_the_record_says_what_was_done(saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = write_parquet(tmp_path / "x.parquet", pictures(6), named=False)
    main([str(saved), "--cpu", "--images", str(table), "--output", str(tmp_path / "x.json"), "--max_samples", "4"])
    assert capsys.readouterr().out.startswith("4 images, 0 skipped: top-1 ")
    record = json.loads((tmp_path / "x.json").read_text())
    assert record["preprocessing"] == {
        "resize": {"shortest_edge": 28},
        "interpolation": "bicubic",
        "crop": {"height": 24, "width": 24},
        "mean": [0.5, 0.4, 0.3],
        "std": [0.2, 0.3, 0.4],
    }
    assert record["architecture"] == str(CELL) and record["scale"] == {"channels": 4, "cells": 1}
    assert record["images"] == 4 and record["images_per_second"] > 0
    model = CELL.build(7, channels=4, cells=1)
    assert record["parameters"] == sum(parameter.numel() for parameter in model.parameters())


def test_multiply_adds_are_those_of_the_benchmark() -> None:
    """Of convolutions and linear layers, beside which NAS-Bench-201 counts normalisations and more."""
    model = PKGenNetworkForImageClassification.from_architecture(CELL)
    found, counted = cost(model, 32), CELL.cost("cifar10")
    assert found["parameters"] == counted.parameters
    assert model.training and found["multiply_adds"] <= counted.flops < 1.05 * found["multiply_adds"]
    layer = nn.Conv2d(3, 8, 3, bias=False)
    assert cost(layer, 10) == {"parameters": 216, "multiply_adds": 8 * 8 * 216}


def test_nothing_to_count(saved: Path, tmp_path: Path) -> None:
    images = load_images(str(write_parquet(tmp_path / "x.parquet", [(b"no", 0)] * 3, named=False)))
    data = EvaluationImages(images, image_processor(24, [0.5] * 3, [0.5] * 3), skip_corrupt=True)
    model = PKGenNetworkForImageClassification.from_pretrained(saved).eval()
    with pytest.raises(ValueError, match="none of the 3 images of .* can be read"):
        accuracy(model, data, Accelerator(cpu=True))


@pytest.fixture(scope="module")
def named(saved: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same network, which names its classes: those of the images and others."""
    folder = tmp_path_factory.mktemp("named")
    model = PKGenNetworkForImageClassification.from_pretrained(saved)
    name_classes(model.config, NAMES)
    model.save_pretrained(folder)
    AutoImageProcessor.from_pretrained(saved).save_pretrained(folder)
    return folder


NAMES = ["lines", "disc", "grid", "bars", "waves", "stripes", "dots"]


@pytest.mark.parametrize("streaming", [False, True])
def test_classes_are_matched_by_name(saved: Path, named: Path, tmp_path: Path, streaming: bool) -> None:
    """A part of the network's classes, in any order and with names of which there is no image."""
    images = pictures(31, seed=3, size=30)
    numbers = [NAMES.index(CLASSES[label]) for _, label in images]
    expected = by_hand(saved, [(image, number) for (image, _), number in zip(images, numbers, strict=True)],
                       write_parquet(tmp_path / "plain.parquet", images, named=False))  # fmt: skip
    options = ["--cpu", "--quiet", *(["--streaming"] if streaming else []), "--output", str(tmp_path / "x.json")]

    def check(path: Path, by: str) -> None:
        main([str(named), "--images", str(path), *options])
        record = json.loads((tmp_path / "x.json").read_text())
        assert (record["top_1"], record["top_5"]) == pytest.approx(expected)
        assert record["images"] == 31 and record["classes_matched_by"] == by

    for classes in (CLASSES, ["stripes", "disc", "bars"], ["wolf", "bars", "stripes", "disc"]):
        check(write_parquet(tmp_path / "t.parquet", renumbered(images, classes), classes=classes), "name")
    check(write_labels(tmp_path / "s.parquet", pa.array([NAMES[number] for number in numbers]), images), "name")
    check(write_labels(tmp_path / "n.parquet", pa.array(numbers), images), "number")
    check(write_labels(tmp_path / "f.parquet", pa.array([float(number) for number in numbers]), images), "number")
    if not streaming:
        check(write_folder(tmp_path / "folder", images), "name")


@pytest.mark.parametrize("streaming", [False, True])
def test_classes_of_other_names_are_matched_by_number_only_on_demand(
    named: Path, tmp_path: Path, streaming: bool
) -> None:
    """As class folders of ImageNet and its readable names."""
    images = pictures(31, seed=3, size=30)
    ids = [f"n{number:08d}" for number in range(7)]
    path = write_parquet(tmp_path / "x.parquet", images, classes=ids)
    argv = [str(named), "--images", str(path), "--cpu", "--quiet", *(["--streaming"] if streaming else [])]
    with pytest.raises(
        SystemExit, match="by its name: the first is 'n00000000' here and 'lines' in .*--labels_by_number"
    ):
        main(argv)
    main([*argv, "--labels_by_number", "--output", str(tmp_path / "x.json")])
    record = json.loads((tmp_path / "x.json").read_text())
    plain = write_parquet(tmp_path / "plain.parquet", images, named=False)
    assert (record["top_1"], record["top_5"]) == pytest.approx(by_hand(named, images, plain))
    assert record["classes_matched_by"] == "number"
    write_parquet(path, images, classes=ids[:5])
    with pytest.raises(SystemExit, match="has 5 classes, the network has 7"):
        main([*argv, "--labels_by_number"])


def test_the_split_that_was_read_is_recorded(named: Path, tmp_path: Path) -> None:
    write_folder(tmp_path / "data/val", pictures(6))
    write_folder(tmp_path / "data/train", pictures(9))
    (tmp_path / "data/val/disc/Thumbs.db").write_bytes(b"")
    for source, options, split, number in [
        (tmp_path / "data", [], "val", 6),
        (tmp_path / "data", ["--split", "train"], "train", 9),
        (tmp_path / "data/train", [], None, 9),
    ]:
        main([str(named), "--images", str(source), *options, "--cpu", "--quiet", "--output", str(tmp_path / "x.json")])
        record = json.loads((tmp_path / "x.json").read_text())
        assert (record["split"], record["images"]) == (split, number)
        assert record["files_passed_over"] == (1 if split == "val" else 0)
    with pytest.raises(SystemExit, match="unknown split of .*: 'test'. Allowed: train, val"):
        main([str(named), "--images", str(tmp_path / "data"), "--split", "test", "--cpu", "--quiet"])


def test_mistakes_are_named(saved: Path, named: Path, tmp_path: Path) -> None:
    table = str(write_parquet(tmp_path / "x.parquet", pictures(3)))
    broken = tmp_path / "broken"
    broken.mkdir()
    for name in ("config.json", "preprocessor_config.json"):
        (broken / name).write_bytes((saved / name).read_bytes())
    wolf = str(write_parquet(tmp_path / "wolf.parquet", pictures(3), classes=["bars", "disc", "wolf"]))
    plain = str(write_parquet(tmp_path / "plain.parquet", [(pictures(1)[0][0], 7)], named=False))
    for argv, message in [
        ([str(saved), "--images", table], "has 3 classes, the network has 7"),
        ([str(named), "--images", wolf], "unknown class of .*wolf.parquet: 'wolf'. Allowed: lines, disc"),
        ([str(saved), "--images", plain], "row 0: the label 7 is out of range; the network has 7 classes"),
        ([str(tmp_path), "--images", table], "is not a network of PKGen"),
        ([str(broken), "--images", table], "broken is not whole: model.safetensors is missing"),
        ([str(saved), "--images", str(tmp_path / "no")], "neither a folder"),
        ([str(saved), "--images", table, "--batch_size", "0"], "--batch_size must be at least 1, got 0"),
    ]:
        with pytest.raises(SystemExit, match=message):
            main([*argv, "--cpu", "--quiet"])


def test_a_network_that_does_not_read_rgb_ends_in_one_line(tmp_path: Path) -> None:
    model = PKGenNetworkForImageClassification.from_architecture(CELL, 7, 24, channels=4, cells=1, in_channels=1)
    model.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="images are decoded to RGB.* reads 3 channels, not in_channels=1"):
        load_network(str(tmp_path))
