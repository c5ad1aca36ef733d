"""Training networks on images: it learns, resumes exactly, and several processes do what one does."""

from __future__ import annotations

import json
import resource
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch
from genotypes import DARTS_V2
from pictures import CLASSES, pictures, renumbered, write_folder, write_labels, write_parquet, write_splits
from processes import on_two_processes, start_script
from safetensors.torch import load_file, save_file
from transformers import pipeline

import evaluate_imagenet
from image_training import train
from images import load_images
from parallel import Plan, has_idle_weights
from pkgen_hf import Architecture, PKGenNetworkForImageClassification, PKGenPipeline
from pkgen_hf.modeling_network import image_processor
from pkgen_hf.publishing.network_cards import network_card
from presets import Settings, get_preset, presets
from train_network import main, parse_arguments

CELL = "|nor_conv_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|skip_connect~0|none~1|nor_conv_3x3~2|"
IDLE = "|nor_conv_3x3~0|+|nor_conv_1x1~0|none~1|+|skip_connect~0|none~1|nor_conv_3x3~2|"  # nothing reads node 1
SMALL = replace(
    get_preset("nas-bench-201"),
    image_size=16, crop_padding=2, num_train_epochs=4, total_batch_size=24, learning_rate=0.05, cpu=True, quiet=True,
    scale={"channels": 4, "cells": 1},
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """train.parquet of 96 images, test.parquet of 31."""
    return write_splits(tmp_path_factory.mktemp("pictures"), 96)


def network(settings: Settings, architecture: str = CELL, seed: int = 0) -> PKGenNetworkForImageClassification:
    torch.manual_seed(seed)
    return PKGenNetworkForImageClassification.from_architecture(
        Architecture.from_string(settings.space, architecture), 3, settings.image_size, **settings.scale
    )


def argv_of(options: dict[str, Any]) -> list[str]:
    """As on the command line."""
    words = ["--cpu"]
    for name, value in options.items():
        words += [f"--{name}", *map(str, value if isinstance(value, list) else [value])]
    return words


def refusal(argv: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line with which the recipe ends."""
    with pytest.raises(SystemExit) as ended:
        main(argv)
    if ended.value.code == 2:  # argparse's own, after the usage
        return capsys.readouterr().err.splitlines()[-1]
    assert str(ended.value.code).startswith("error: ") and "\n" not in str(ended.value.code)
    return str(ended.value.code)


def options_of(folder: Path, output: Path) -> dict[str, Any]:
    """The command line of a few steps of a network with all that is random in it."""
    return {
        "space": "darts", "preset": "darts-cifar", "architecture": DARTS_V2, "image_size": 32, "crop_padding": 2,
        "scale": ["channels=4", "cells=3"], "train_images": folder, "validation_split": "test", "cutout": 4,
        "total_batch_size": 24, "num_train_epochs": 3, "ema_decay": 0.9, "output_dir": output,
    }  # fmt: skip


def assert_same(first: Path, second: Path, **tolerance: float) -> None:
    a, b = load_file(first / "network/model.safetensors"), load_file(second / "network/model.safetensors")
    assert a.keys() == b.keys()
    for name in a:
        torch.testing.assert_close(a[name], b[name], **tolerance, msg=lambda text, name=name: f"{name}: {text}")


@pytest.fixture(scope="module")
def trained(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that learned the classes; its network evaluates images with their names in any order."""
    output = tmp_path_factory.mktemp("trained")
    main([*argv_of(options_of_classes(folder, output)), "--quiet"])
    return output


def options_of_classes(source: Path, output: Path) -> dict[str, Any]:
    """The command line of a training that learns to tell the classes."""
    return {
        "architecture": CELL, "scale": ["channels=4", "cells=1"], "image_size": 16, "crop_padding": 2,
        "train_images": source, "validation_split": "test", "total_batch_size": 24, "num_train_epochs": 6,
        "learning_rate": 0.05, "ema_decay": 0.8, "output_dir": output,
    }  # fmt: skip


def record_of(output: Path) -> dict[str, Any]:
    record: dict[str, Any] = json.loads((output / "network/training.json").read_text())
    return record


def test_it_learns_and_what_is_saved_classifies(folder: Path, tmp_path: Path) -> None:
    images, validation = load_images(str(folder)), load_images(str(folder), "test")
    settings = replace(SMALL, output_dir=str(tmp_path), num_train_epochs=6, ema_decay=0.8, report_to="tensorboard")
    steps: list[tuple[int, int, dict[str, float]]] = []
    result = train(settings, network(settings), images, validation, lambda *values: steps.append(values))
    losses = [record["loss"] for record in result["history"]]
    assert len(losses) == 6 and losses[-1] < 0.6 * losses[0], losses
    last = result["history"][-1]["validation"]
    assert last["images"] == 31 and last["top_1"] > 60 and last["top_5"] == 100
    assert [step for step, _, _ in steps] == [10, 20, 24] and {total for _, total, _ in steps} == {24}
    assert all(values["images/s"] > 0 for _, _, values in steps)
    saved = tmp_path / "network"
    assert json.loads((saved / "training.json").read_text()) == json.loads(json.dumps(result))
    assert {path.suffix for path in saved.iterdir()} == {".json", ".safetensors", ".md"}
    card = (saved / "README.md").read_text()
    told = f"{result['history'][-1]['epoch']} epochs on {len(images)} images of"
    assert card == str(network_card(saved)) and told in card and "AutoImageProcessor" in card
    # The saved preprocessing and network give the accuracy that was recorded.
    classify = pipeline("image-classification", model=str(saved))
    hits = sum(
        classify(validation.image(index))[0]["label"] == classify.model.config.id2label[validation.label(index)]
        for index in range(31)
    )
    assert 100 * hits / 31 == pytest.approx(last["top_1"])
    assert list((tmp_path / "pkgen-network").rglob("events*"))


def test_same_seed_same_weights_and_workers_change_nothing(folder: Path, tmp_path: Path) -> None:
    images = load_images(str(folder))
    runs = {"a": {}, "b": {"dataloader_num_workers": 2}, "c": {"seed": 1}}
    for name, change in runs.items():
        settings = replace(SMALL, output_dir=str(tmp_path / name), max_train_steps=3, **change)
        train(settings, network(settings), images)
    assert_same(tmp_path / "a", tmp_path / "b", rtol=0, atol=0)
    with pytest.raises(AssertionError):
        assert_same(tmp_path / "a", tmp_path / "c", rtol=0, atol=0)


def test_a_killed_run_goes_on_exactly(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """SIGKILL in the middle of the second of three epochs; drop path, moving average and auxiliary head included."""
    main([*argv_of(options_of(folder, tmp_path / "whole")), "--quiet"])
    options = argv_of(options_of(folder, tmp_path / "killed") | {"checkpointing_steps": 1})
    process = start_script("train_network.py", [*options, "--quiet"])
    while not list((tmp_path / "killed").glob("checkpoint-[567]")):
        assert process.is_alive(), "it ended before it could be killed"
        time.sleep(0.005)
    process.kill()
    process.join()
    assert not (tmp_path / "killed/network").exists()
    capsys.readouterr()
    main([*options, "--resume_from_checkpoint", "latest", "--quiet"])
    shown = capsys.readouterr()
    assert not shown.out and not shown.err
    assert_same(tmp_path / "whole", tmp_path / "killed", rtol=0, atol=0)
    a, b = (json.loads((tmp_path / name / "network/training.json").read_text()) for name in ("whole", "killed"))
    for record in [*a["history"], *b["history"]]:
        del record["seconds"]
    assert a["history"] == b["history"] and len(a["history"]) == 3
    assert len(list((tmp_path / "killed").glob("checkpoint-*"))) == 2
    refused = refusal([*options, "--learning_rate", "0.5", "--resume_from_checkpoint", "latest"], capsys)
    assert "learning_rate 0.025, not 0.5" in refused
    missing = refusal([*options, "--resume_from_checkpoint", "checkpoint-77"], capsys)
    assert "unknown checkpoint" in missing and "checkpoint-11" in missing


def test_two_processes_are_one_that_accumulates(folder: Path, tmp_path: Path) -> None:
    options = options_of(folder, tmp_path / "one") | {"max_train_steps": 5}
    main([*argv_of(options), "--gradient_accumulation_steps", "4", "--quiet"])
    two = argv_of(options | {"output_dir": tmp_path / "two"})
    assert not on_two_processes(main, [*two, "--gradient_accumulation_steps", "2", "--quiet"])
    assert_same(tmp_path / "one", tmp_path / "two", rtol=1e-4, atol=1e-4)
    a, b = (json.loads((tmp_path / name / "network/training.json").read_text()) for name in ("one", "two"))
    assert b["processes"] == 2 and b["history"][-1]["validation"]["images"] == 31
    assert [r["loss"] for r in a["history"]] == pytest.approx([r["loss"] for r in b["history"]], rel=1e-4)


def test_weights_that_lead_nowhere_and_corrupt_images_on_two_processes(folder: Path, tmp_path: Path) -> None:
    assert has_idle_weights(network(SMALL, IDLE)) and not has_idle_weights(network(SMALL))
    corrupt = write_parquet(tmp_path / "x.parquet", [*pictures(30), (b"no", 1), *pictures(30, seed=1), (b"no", 1)])
    options = options_of(folder, tmp_path / "one") | {"space": "nas-bench-201", "architecture": IDLE}
    options |= {"preset": "nas-bench-201", "scale": ["channels=4", "cells=1"], "train_images": corrupt}
    options |= {"validation_images": folder / "test.parquet"}
    main([*argv_of(options), "--gradient_accumulation_steps", "2", "--skip_corrupt", "--quiet"])
    on_two_processes(main, [*argv_of(options | {"output_dir": tmp_path / "two"}), "--skip_corrupt", "--quiet"])
    assert_same(tmp_path / "one", tmp_path / "two", rtol=1e-4, atol=1e-4)
    a, b = (json.loads((tmp_path / name / "network/training.json").read_text()) for name in ("one", "two"))
    assert a["skipped_images"] == b["skipped_images"] == [f"{corrupt}, row {row}" for row in (30, 61)]
    assert (a["processes"], b["processes"]) == (1, 2)


def test_every_image_of_a_step_is_read_by_one_process() -> None:
    """Steps read the same images however they are divided, each image once an epoch but for those left over."""
    one = Plan(replace(SMALL, total_batch_size=12, gradient_accumulation_steps=6), 40, 0, 1)
    expected = list(one.batches(0))
    assert one.batch_size == 2 and one.steps_per_epoch == 3 and len(expected) == 4 * 3 * 6
    for epoch in range(4):
        seen = [key for batch in expected[epoch * 18 : epoch * 18 + 18] for key in batch]
        assert len(set(seen)) == 36 and {key[0] for key in seen} == {epoch}
    parts = [
        list(Plan(replace(SMALL, total_batch_size=12, gradient_accumulation_steps=2), 40, r, 3).batches(0))
        for r in range(3)
    ]
    joined = [batch for s in range(12) for part in parts for batch in part[2 * s : 2 * s + 2]]
    assert joined == expected
    assert list(one.batches(7)) == expected[7 * 6 :]


@pytest.mark.parametrize("scheduler", ["cosine", "linear", "exponential", "constant"])
def test_learning_rates(scheduler: str) -> None:
    settings = replace(SMALL, lr_scheduler=scheduler, lr_warmup_epochs=1.5, num_train_epochs=10, learning_rate=0.4)
    plan = Plan(settings, 96, 0, 1)
    rates = [plan.learning_rate(step) for step in range(plan.steps)]
    assert rates[:6] == pytest.approx([0.4 * (step + 1) / 6 for step in range(6)])
    assert rates[6] == pytest.approx(0.4)
    assert all(a >= b for a, b in zip(rates[6:], rates[7:], strict=False))
    last = {"cosine": 0.0, "linear": 0.0, "exponential": 0.4 * 0.97 ** (34 / 4 / 2.4), "constant": 0.4}
    assert plan.learning_rate(plan.steps) == pytest.approx(last[scheduler])


@pytest.mark.parametrize("name", presets())
def test_presets_build_and_their_options_override(name: str) -> None:
    preset = get_preset(name)
    space = preset.space
    other = get_preset(name, "nas-bench-macro")
    assert other.scale == {} and not other.drop_path_grows
    argv = ["--preset", name, "--generate", "--train_images", "x"]
    assert parse_arguments(argv)[0] == preset
    small = {"darts": ["channels=4", "cells=3"]}.get(space, [])
    changed, options = parse_arguments(
        [*argv, "--learning_rate", "0.5", "--no-random_flip", "--mean", "0", "0", "1"]
        + (["--scale", *small] if small else [])
    )
    assert (changed.learning_rate, changed.random_flip, changed.mean) == (0.5, False, (0.0, 0.0, 1.0))
    if small:
        assert changed.scale == preset.scale | {"channels": 4, "cells": 3}
    assert parse_arguments(["--space", space, "--generate", "--train_images", "x"])[0].optimizer == preset.optimizer


@pytest.mark.parametrize(
    ("kind", "streaming"),
    [(kind, streaming) for kind in ("table", "strings", "lacking") for streaming in (False, True)]
    + [("folder", False), ("folder that lacks one", False)],
)
def test_images_to_evaluate_are_matched_by_name(
    folder: Path, trained: Path, tmp_path: Path, kind: str, streaming: bool
) -> None:
    """Names in another order, as strings, and without one of the classes: the accuracy is that of the same images."""
    rows = [row for row in pictures(31, seed=1) if "lack" not in kind or row[1] > 0]
    write_parquet(tmp_path / "same/0.parquet", rows)
    there = [CLASSES[2], CLASSES[1]] if kind == "lacking" else CLASSES[::-1]
    if "folder" in kind:
        write_folder(tmp_path / "other", rows)
        if "lacks" in kind:
            (tmp_path / "other" / CLASSES[0]).rmdir()
    elif kind == "strings":
        write_labels(tmp_path / "other/0.parquet", pa.array([CLASSES[label] for _, label in rows]), rows)
    else:
        write_parquet(tmp_path / "other/0.parquet", renumbered(rows, there), classes=there)
    base = {"network": trained / "network", "train_images": folder, "learning_rate": 0, "max_train_steps": 1}
    base |= {"total_batch_size": 24}
    found = {}
    for name in ("same", "other"):
        options = base | {"validation_images": tmp_path / name, "output_dir": tmp_path / "runs" / name}
        main([*argv_of(options), *(["--streaming"] if streaming else []), "--quiet"])
        found[name] = record_of(tmp_path / "runs" / name)["history"][-1]["validation"]
    assert found["same"] == found["other"]
    assert found["same"]["images"] == len(rows) and found["same"]["top_1"] > 60
    source = record_of(tmp_path / "runs/other")["validation_source"]
    assert source == {"name": str(tmp_path / "other"), "split": None}


def test_a_network_keeps_its_classes_whatever_the_order_of_the_images(
    folder: Path, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Trained on with a rate of 0, from images whose classes are in another order, or are a part of them."""
    order = CLASSES[::-1]
    write_parquet(tmp_path / "other/train.parquet", renumbered(pictures(48), order), classes=order)
    write_parquet(tmp_path / "other/test.parquet", renumbered(pictures(31, seed=1), order), classes=order)
    two = [row for row in pictures(48) if row[1]]
    write_parquet(tmp_path / "part/train.parquet", renumbered(two, CLASSES[1:]), classes=CLASSES[1:])
    write_parquet(tmp_path / "wolf/train.parquet", pictures(48), classes=["bars", "disc", "strips"])
    losses = []
    base = {"network": trained / "network", "total_batch_size": 24, "learning_rate": 0, "crop_padding": 0}
    base |= {"max_train_steps": 2, "output_dir": tmp_path / "run"}
    for source in (folder, tmp_path / "other"):
        main([*argv_of(base | {"train_images": source, "validation_split": "test"}), "--no-random_flip", "--quiet"])
        record = record_of(tmp_path / "run")
        assert record["history"][-1]["validation"]["top_1"] > 60
        config = json.loads((tmp_path / "run/network/config.json").read_text())
        assert config["id2label"] == {str(number): name for number, name in enumerate(CLASSES)}
        losses.append(record["history"][-1]["loss"])
    assert all(loss < 1.0 for loss in losses)  # of pictures with the labels of others it is above 1.5
    main([*argv_of(base | {"train_images": tmp_path / "part"}), "--no_validation", "--quiet"])
    assert record_of(tmp_path / "run")["history"][-1]["loss"] < 1.0
    refused = refusal([*argv_of(base | {"train_images": tmp_path / "wolf"}), "--no_validation"], capsys)
    assert "unknown class of" in refused and "'strips'. Did you mean 'stripes'" in refused


def test_a_network_without_names_takes_those_of_the_images(folder: Path, tmp_path: Path) -> None:
    images = load_images(str(folder))
    order = ["stripes", "bars", "disc"]
    path = write_parquet(tmp_path / "x.parquet", renumbered(pictures(31, seed=1), order), classes=order)
    results = []
    for validation in (load_images(str(folder), "test"), load_images(str(path))):
        settings = replace(SMALL, output_dir=str(tmp_path / "run"))
        model = network(settings)
        assert model.config.id2label[0] == "LABEL_0"
        results.append(train(settings, model, images, validation)["history"][-1]["validation"])
        assert [model.config.id2label[number] for number in range(3)] == CLASSES
    assert results[0] == results[1] and results[0]["top_1"] > 50


def test_labels_that_do_not_begin_at_0(tmp_path: Path) -> None:
    for name, number in (("train", 48), ("test", 31)):
        labels = pa.array([index % 3 + 1 for index in range(number)])
        write_labels(tmp_path / f"{name}.parquet", labels)
    main([*argv_of(options_of_classes(tmp_path, tmp_path / "run") | {"max_train_steps": 1}), "--quiet"])
    config = json.loads((tmp_path / "run/network/config.json").read_text())
    assert config["id2label"] == {"0": "1", "1": "2", "2": "3"}


def test_unknown_classes_are_named(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = options_of_classes(folder, tmp_path / "run") | {"max_train_steps": 1, "validation_images": tmp_path / "x"}
    for classes, message in [
        (["bars", "disc", "strips"], "'strips'. Did you mean 'stripes'? Allowed: bars, disc, stripes"),
        (
            ["n1", "n2", "n3"],
            "by its name: the first is 'n1' here and 'bars' in the network; if both have the same order",
        ),
        (["n1", "n2", "n3", "n4"], "'n1'. Allowed: bars, disc, stripes"),
    ]:
        write_parquet(tmp_path / "x/0.parquet", pictures(6), classes=classes)
        assert message in refusal(argv_of(base), capsys)
    write_parquet(tmp_path / "x/0.parquet", pictures(6), classes=["n1", "n2", "n3"])
    main([*argv_of(base), "--labels_by_number", "--quiet"])
    assert record_of(tmp_path / "run")["history"][-1]["validation"]["images"] == 6
    plain = write_parquet(tmp_path / "x/0.parquet", [*pictures(3), (pictures(1)[0][0], 3)], named=False)
    assert f"{plain}, row 3: the label 3 is out of range" in refusal(argv_of(base), capsys)
    one = write_folder(tmp_path / "one", pictures(1)).rename(tmp_path / "two")
    (one / "disc").rmdir(), (one / "stripes").rmdir()
    argv = argv_of(base | {"train_images": one, "total_batch_size": 1})
    assert "needs at least 2 classes to be trained, this one has 1" in refusal([*argv, "--no_validation"], capsys)


def test_a_run_goes_on_with_the_classes_it_began_with(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    order = CLASSES[::-1]
    write_parquet(tmp_path / "x.parquet", renumbered(pictures(96), order), classes=order)
    options = options_of_classes(folder, tmp_path / "run") | {"checkpointing_steps": 2, "max_train_steps": 3}
    main([*argv_of(options), "--no_validation", "--quiet"])
    again = argv_of(options | {"train_images": tmp_path / "x.parquet", "resume_from_checkpoint": "latest"})
    refused = refusal([*again, "--no_validation"], capsys)
    assert "of a training with classes 'bars, disc, stripes" in refused and "not 'stripes, disc, bars" in refused


def test_nothing_is_evaluated_on_the_images_trained_on_unless_they_are_named(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_folder(tmp_path / "plain", pictures(24))
    write_folder(tmp_path / "train only/train", pictures(24))
    write_folder(tmp_path / "val/train", pictures(24))
    write_folder(tmp_path / "val/val", pictures(6, seed=1))
    single = write_parquet(tmp_path / "one/single.parquet", pictures(24))
    write_parquet(tmp_path / "shards/train-00000-of-00001.parquet", pictures(24))
    base = options_of_classes(folder, tmp_path / "run") | {"max_train_steps": 1}
    del base["validation_split"]
    without = "has no splits, so that all of it is trained on. Name images by --validation_images"
    for source, streaming, message in [
        (tmp_path / "plain", False, without),
        (single, False, without),
        (single, True, without),
        (single.parent, False, without),
        (tmp_path / "train only", False, "'validation'. Allowed: train. Name images by --validation_images"),
        (tmp_path / "train only/train", False, without),
        (tmp_path / "shards", False, "'validation'. Allowed: train. Name images"),
        (tmp_path / "shards", True, "'validation'. Allowed: train. Name images"),
        (folder, False, "'validation'. Allowed: test, train. Name images"),
    ]:
        argv = [*argv_of(base | {"train_images": source}), *(["--streaming"] if streaming else [])]
        refused = refusal(argv, capsys)
        assert message in refused and "--no_validation" in refused
        assert not (tmp_path / "run").exists()
    main([*argv_of(base | {"train_images": tmp_path / "val"}), "--quiet"])
    record = record_of(tmp_path / "run")
    assert record["split"] == "train" and record["validation_source"]["split"] == "val"
    assert record["history"][-1]["validation"]["images"] == 6
    main([*argv_of(base | {"train_images": single, "validation_images": single}), "--quiet"])
    assert record_of(tmp_path / "run")["history"][-1]["validation"]["images"] == 24


def test_what_was_passed_over_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for split in ("train", "test"):
        write_folder(tmp_path / split, pictures(24))
    for name in ("train/bars/list.txt", "train/disc/Thumbs.db", "train/disc/._00001.png"):
        (tmp_path / name).write_bytes(b"no image")
    main(argv_of(options_of_classes(tmp_path, tmp_path / "run") | {"max_train_steps": 1}))
    shown = capsys.readouterr().out
    assert f"passed over 2 files of {tmp_path}/train, no images: {tmp_path}/train/bars/list.txt, ...\n" in shown
    assert shown.count("passed over") == 1 and record_of(tmp_path / "run")["files_passed_over"] == 2


def test_a_saved_network_is_trained_on(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """From its weights, or from fresh ones if it has none."""
    model = network(SMALL, seed=5)
    model.save_pretrained(tmp_path / "both")
    model.config.save_pretrained(tmp_path / "config")
    for name in ("both", "config"):
        options = {
            "network": tmp_path / name, "train_images": folder, "total_batch_size": 8,
            "learning_rate": 0, "max_train_steps": 1, "output_dir": tmp_path / f"{name}-trained",
        }  # fmt: skip
        main([*argv_of(options), "--no_validation"])
        said = capsys.readouterr().out
        assert "not evaluated" in said
        assert ("holds no weights: the training begins with fresh ones" in said) == (name == "config")
        weights = load_file(tmp_path / f"{name}-trained" / "network/model.safetensors")
        same = torch.equal(weights["network.classifier.weight"], model.network.classifier.weight)
        assert same == (name == "both")


def _as_old_file(saved: Path) -> None:
    (saved / "model.safetensors").rename(saved / "pytorch_model.bin")


def _as_variant(saved: Path) -> None:
    (saved / "model.safetensors").rename(saved / "model.fp16.safetensors")


def _cut(saved: Path) -> None:
    path = saved / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def _without_one(saved: Path) -> None:
    weights = load_file(saved / "model.safetensors")
    del weights["network.classifier.weight"]
    save_file(weights, saved / "model.safetensors", {"format": "pt"})


def _of_other_shape(saved: Path) -> None:
    weights = load_file(saved / "model.safetensors")
    weights["network.classifier.bias"] = torch.zeros(5)
    save_file(weights, saved / "model.safetensors", {"format": "pt"})


def _not_a_number(saved: Path) -> None:
    weights = load_file(saved / "model.safetensors")
    weights["network.classifier.bias"][1] = torch.nan
    save_file(weights, saved / "model.safetensors", {"format": "pt"})


@pytest.mark.parametrize("recipe", ["train", "evaluate"])
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_as_old_file, "model.safetensors is missing"),
        (_as_variant, "model.safetensors is missing; there is the variant 'fp16'"),
        (_cut, "model.safetensors is truncated or not a safetensors file"),
        (_without_one, "lacks 1 weights of the network, network.classifier.weight first"),
        (_of_other_shape, "1 weights do not fit config.json, network.classifier.bias first"),
        (_not_a_number, "holds weights that are not finite, in network.classifier.bias"),
    ],
)
def test_a_network_whose_weights_are_not_whole_is_refused(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], recipe: str, damage: Any, message: str
) -> None:
    network(SMALL).save_pretrained(tmp_path / "saved")
    image_processor(16, [0.5] * 3, [0.5] * 3).save_pretrained(tmp_path / "saved")
    damage(tmp_path / "saved")
    assert message in refusal_of(recipe, folder, tmp_path, capsys)
    assert not (tmp_path / "out/network").exists()


@pytest.mark.parametrize("recipe", ["train", "evaluate"])
@pytest.mark.parametrize(
    "change",
    [
        None, {"scale": [1]}, {"image_size": "a"}, {"image_size": 0}, {"id2label": [1]}, {"id2label": {"a": "b"}},
        {"architecture": 1}, {"space": ["darts"]}, {"label_smoothing": "a"}, {"scale": {"channels": "a"}},
    ],
    ids=str,
)  # fmt: skip
def test_a_configuration_that_cannot_be_is_refused(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], recipe: str, change: dict[str, Any] | None
) -> None:
    network(SMALL).save_pretrained(tmp_path / "saved")
    path = tmp_path / "saved/config.json"
    path.write_text(json.dumps([] if change is None else json.loads(path.read_text()) | change))
    message = "is not a network of PKGen" if change is None else "config.json of "
    assert message in refusal_of(recipe, folder, tmp_path, capsys)


def refusal_of(recipe: str, images: Path, place: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """The one line with which a recipe ends that is given the network `place`/saved."""
    if recipe == "train":
        options = {"network": place / "saved", "train_images": images, "output_dir": place / "out"}
        return refusal([*argv_of(options), "--no_validation"], capsys)
    with pytest.raises(SystemExit) as ended:
        evaluate_imagenet.main([str(place / "saved"), "--images", str(images), "--split", "test", "--cpu", "--quiet"])
    assert str(ended.value.code).startswith("error: ") and "\n" not in str(ended.value.code)
    return str(ended.value.code)


def test_what_the_pipeline_ranks_first_is_trained(folder: Path, tmp_path: Path) -> None:
    options = options_of(folder, tmp_path) | {"space": "nas-bench-201", "preset": "nas-bench-201", "task": "cifar100"}
    options |= {"scale": ["channels=4", "cells=1"], "max_train_steps": 1}
    del options["architecture"]
    main([*argv_of(options), "--generate", "--quiet"])
    pipe = PKGenPipeline.from_pretrained("pkgen-base")
    pipe.set_progress_bar_config(disable=True)
    expected = pipe("nas-bench-201", "cifar100", num_architectures=1, generator=torch.Generator().manual_seed(0))
    record = json.loads((tmp_path / "network/training.json").read_text())
    assert record["network"]["architecture"] == str(expected.architectures[0])


def test_the_home_folder_is_that_of_the_user(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    images = load_images(str(folder))
    settings = replace(SMALL, output_dir="~/runs", max_train_steps=2, checkpointing_steps=1)
    train(settings, network(settings), images)
    assert (tmp_path / "home/runs/network/config.json").is_file() and not (tmp_path / "~").exists()
    progress = tmp_path / "home/runs/checkpoint-1/progress.json"
    content = json.loads(progress.read_text())
    progress.write_text(json.dumps(content | {"history": 1}))
    with pytest.raises(ValueError, match="has an invalid history: 1"):
        train(replace(settings, resume_from_checkpoint="latest"), network(settings), images)
    progress.write_text(json.dumps(content | {"step": 2}))
    progress.parent.rename(progress.parent.with_name("checkpoint-2"))
    with pytest.raises(ValueError, match="the checkpoint is of step 2, but the training has 2 steps"):
        train(replace(settings, resume_from_checkpoint="latest"), network(settings), images)


def test_what_cannot_be_is_refused(folder: Path, tmp_path: Path) -> None:
    images = load_images(str(folder))
    good = replace(SMALL, output_dir=str(tmp_path / "x"))
    for change, message in [
        ({"total_batch_size": 97}, "96 images are fewer than the 97 of one step"),
        ({"gradient_accumulation_steps": 5}, "24 images cannot be divided among 1 processes x 5"),
        ({"optimizer": "sdg"}, "'sdg'.*Did you mean 'sgd'"),
        ({"lr_scheduler": "cosin"}, "Did you mean 'cosine'"),
        ({"drop_path_grows": True}, "drop_path_grows is for networks of darts, not of nas-bench-201"),
        ({"image_size": 32}, "images of 16 pixels, not 32"),
        ({"images_on_device": -1.0}, "--images_on_device must be 0 or more gigabytes, got -1"),
        ({"learning_rate": 1e30, "logging_steps": 1}, "the loss is .* at step"),
    ]:
        with pytest.raises(ValueError, match=message):
            train(replace(good, **change), network(SMALL), images)
    wide = network(SMALL)
    wide.config.num_labels = 2
    with pytest.raises(ValueError, match="row 2: the label 2 is out of range; the network has 2 classes"):
        train(good, wide, images)
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="cannot write in --output_dir .*file"):
        train(replace(good, output_dir=str(tmp_path / "file/run")), network(SMALL), images)
    assert not (tmp_path / "x/network").exists()


def test_a_full_disk_leaves_nothing_half_written(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Files may not grow beyond 20 kB, less than the weights: the checkpoint fails, and without one the end."""
    options = argv_of(options_of(folder, tmp_path / "out") | {"max_train_steps": 2})
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    load_images(str(folder)), load_images(str(folder), "test")  # into the cache
    for more, name in [(["--checkpointing_steps", "1"], "checkpoint-1"), ([], "network")]:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
        try:
            refused = refusal([*options, *more], capsys)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert "cannot write" in refused and name in refused
        assert not list((tmp_path / "out").iterdir())


def test_mistakes_on_the_command_line(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_folder(tmp_path / "two/train", pictures(4))
    base: dict[str, Any] = {"train_images": folder, "output_dir": tmp_path / "out", "validation_split": "test"}
    for options, message in [
        (base, "name a network"),
        (base | {"architecture": "nonsense"}, "is not a nas-bench-201 string"),
        (base | {"network": tmp_path / "two"}, "is not a network of PKGen"),
        (base | {"architecture": CELL, "scale": ["chanels=3"]}, "Did you mean 'channels'"),
        (base | {"architecture": CELL, "scale": ["channels"]}, "takes NAME=VALUE, got 'channels'"),
        (base | {"architecture": CELL, "validation_split": "tset"}, "Did you mean 'test'"),
        (base | {"architecture": CELL, "image_column": "imag"}, "Did you mean 'image'"),
        (base | {"architecture": CELL, "train_images": tmp_path / "none"}, "neither a folder, a Parquet file"),
        (
            base | {"architecture": CELL, "image_size": 15},
            "read images from 4 pixels, multiples of 4, not of image_size",
        ),
    ]:
        assert message in refusal(argv_of(options), capsys)
