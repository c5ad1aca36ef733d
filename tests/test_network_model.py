"""Generated networks as transformers models: save, load in a fresh process, auto classes, pipeline and Trainer."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import AutoImageProcessor, AutoModelForImageClassification, Trainer, TrainingArguments, pipeline

from pkgen_hf import Architecture, get_space
from pkgen_hf.modeling_network import (
    PKGenNetworkConfig,
    PKGenNetworkForImageClassification,
    image_processor,
    image_spaces,
)

CELL = Architecture.from_string(
    "nas-bench-201", "|nor_conv_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|avg_pool_3x3~0|none~1|nor_conv_3x3~2|"
)
SMALL = {
    "darts": {"channels": 4, "cells": 3, "auxiliary": True},
    "mnasnet": {},
    "nas-bench-101": {"channels": 8, "modules": 1},
    "nas-bench-201": {"channels": 4, "cells": 1},
    "nas-bench-macro": {"channels": 4},
    "nats-bench-size": {},
}


def architecture_of(name: str) -> Architecture:
    space = get_space(name)
    rows = space.sample(64, torch.Generator().manual_seed(0))
    return Architecture.from_batch(space, rows[space.is_valid(rows)][:1])[0]


@pytest.mark.parametrize("name", image_spaces())
def test_every_space_of_images_saves_and_loads(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = PKGenNetworkForImageClassification.from_architecture(architecture_of(name), 5, **SMALL.get(name, {}))
    size = 64 if model.config.image_size > 64 else model.config.image_size
    pixels = torch.randn(2, 3, size, size)
    model.train()(pixels, labels=torch.tensor([0, 4])).loss.backward()  # running statistics of its own
    model.eval().save_pretrained(tmp_path)
    assert {path.suffix for path in tmp_path.iterdir()} == {".json", ".safetensors", ".md"}
    again, loading = AutoModelForImageClassification.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(loading.values())
    assert not again.training and isinstance(again, PKGenNetworkForImageClassification)
    with torch.no_grad():
        torch.testing.assert_close(again(pixels).logits, model(pixels).logits)
    assert str(Architecture.from_string(again.config.space, again.config.architecture)) == model.config.architecture


def test_it_is_the_network_that_the_architecture_builds() -> None:
    torch.manual_seed(0)
    plain = CELL.build(num_classes=7, channels=4, cells=1)
    torch.manual_seed(0)
    model = PKGenNetworkForImageClassification.from_architecture(CELL, 7, channels=4, cells=1)
    assert {f"network.{name}" for name in plain.state_dict()} == set(model.state_dict())
    for name, value in plain.state_dict().items():
        assert torch.equal(model.state_dict()[f"network.{name}"], value)
    full = PKGenNetworkForImageClassification.from_architecture(CELL)
    assert full.num_parameters() == CELL.cost("cifar10").parameters
    assert full.config.num_labels == 10 and full.config.image_size == 32


def test_auxiliary_loss_counts_in_training_only() -> None:
    architecture = architecture_of("darts")
    model = PKGenNetworkForImageClassification.from_architecture(architecture, 3, channels=4, cells=3, auxiliary=True)
    pixels, labels = torch.randn(4, 3, 32, 32), torch.tensor([0, 1, 2, 0])
    out = model.train()(pixels, labels=labels)
    assert out.loss > torch.nn.functional.cross_entropy(out.logits, labels) + 0.1
    out = model.eval()(pixels, labels=labels)
    torch.testing.assert_close(out.loss, torch.nn.functional.cross_entropy(out.logits, labels))
    loss, logits = model(pixels, labels=labels, return_dict=False)
    assert torch.equal(loss, out.loss) and torch.equal(logits, out.logits)


def test_same_logits_in_a_fresh_process(tmp_path: Path) -> None:
    model = PKGenNetworkForImageClassification.from_architecture(CELL, 3, channels=4, cells=1).eval()
    model.save_pretrained(tmp_path)
    code = (
        "import sys, torch, pkgen_hf\n"
        "from transformers import AutoModelForImageClassification\n"
        "model = AutoModelForImageClassification.from_pretrained(sys.argv[1])\n"
        "pixels = torch.linspace(-1, 1, 3 * 32 * 32).view(1, 3, 32, 32)\n"
        "print(model(pixels).logits.tolist())"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    with torch.no_grad():
        logits = model(torch.linspace(-1, 1, 3 * 32 * 32).view(1, 3, 32, 32)).logits
    torch.testing.assert_close(torch.tensor(eval(done.stdout)), logits)


def test_pipeline_labels_an_image(tmp_path: Path) -> None:
    from PIL import Image

    config = PKGenNetworkConfig(
        architecture=str(CELL), scale={"channels": 4, "cells": 1}, id2label={0: "cat", 1: "dog", 2: "ship"}
    )
    PKGenNetworkForImageClassification(config).save_pretrained(tmp_path)
    image_processor(32, [0.49, 0.48, 0.45], [0.25, 0.24, 0.26]).save_pretrained(tmp_path)
    image = Image.effect_noise((50, 40), 60).convert("RGB")
    found = pipeline("image-classification", model=str(tmp_path))(image)
    assert {entry["label"] for entry in found} == {"cat", "dog", "ship"}
    assert sum(entry["score"] for entry in found) == pytest.approx(1)


def test_preprocessing_is_recorded_and_comes_back(tmp_path: Path) -> None:
    """ImageNet's: the shorter side to 256, the middle 224, mean and deviation of the channels."""
    from PIL import Image

    PKGenNetworkConfig(architecture=str(CELL)).save_pretrained(tmp_path)
    image_processor(224, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225], resize=256).save_pretrained(tmp_path)
    again = AutoImageProcessor.from_pretrained(tmp_path)
    pixels = again(Image.new("RGB", (500, 375), (255, 0, 0)), return_tensors="pt")["pixel_values"]
    assert pixels.shape == (1, 3, 224, 224)
    expected = [(1 - 0.485) / 0.229, -0.456 / 0.224, -0.406 / 0.225]
    torch.testing.assert_close(pixels.mean((0, 2, 3)), torch.tensor(expected), atol=1e-4, rtol=0)


def test_trainer_runs_two_steps(tmp_path: Path) -> None:
    model = PKGenNetworkForImageClassification.from_architecture(CELL, 3, channels=4, cells=1)
    before = {name: value.clone() for name, value in model.named_parameters()}
    data = [{"pixel_values": torch.randn(3, 32, 32), "labels": i % 3} for i in range(8)]
    arguments = TrainingArguments(
        str(tmp_path), max_steps=2, per_device_train_batch_size=4, report_to=[], use_cpu=True, disable_tqdm=True
    )
    trainer = Trainer(model, arguments, train_dataset=data)
    assert trainer.train().global_step == 2
    assert any(not torch.equal(before[name], value) for name, value in model.named_parameters())


def test_mistakes_are_named() -> None:
    with pytest.raises(ValueError, match="'nas-bench-nlp'.*nas-bench-201"):
        PKGenNetworkConfig(space="nas-bench-nlp")
    with pytest.raises(ValueError, match="'nas-bench-210'.*Did you mean 'nas-bench-201'"):
        PKGenNetworkConfig(space="nas-bench-210")
    with pytest.raises(ValueError, match="is not a nas-bench-201 string"):
        PKGenNetworkConfig(architecture="nonsense")
    with pytest.raises(ValueError, match="'chanels'.*Did you mean 'channels'"):
        PKGenNetworkForImageClassification.from_architecture(CELL, chanels=3)
