"""Generated networks as transformers models: save, load in a fresh process, auto classes, pipeline and Trainer."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from fresh import run_fresh
from hub_stub import TOKEN, HubStub
from transformers import AutoImageProcessor, AutoModelForImageClassification, Trainer, TrainingArguments, pipeline

from pkgen_hf import (
    Architecture,
    PKGenNetworkForCausalLM,
    PKGenNetworkForSequenceClassification,
    Task,
    get_space,
    network_folder,
)
from pkgen_hf.modeling_network import (
    PKGenNetworkConfig,
    PKGenNetworkForImageClassification,
    image_processor,
    image_spaces,
)
from pkgen_hf.publishing.network_cards import network_card

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
    "ofa-mobilenetv3": {"width": 0.5},
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
    done = run_fresh(code, str(tmp_path))
    with torch.no_grad():
        logits = model(torch.linspace(-1, 1, 3 * 32 * 32).view(1, 3, 32, 32)).logits
    torch.testing.assert_close(torch.tensor(eval(done.stdout)), logits)


def test_the_card_of_a_saved_network_runs_in_a_fresh_process(tmp_path: Path) -> None:
    """As it stands in the folder, with the folder's name where it stands for it; in another order it would not."""
    model = PKGenNetworkForImageClassification.from_architecture(CELL, 3, channels=4, cells=1)
    model.save_pretrained(tmp_path, variant="ema")
    card = (tmp_path / "README.md").read_text()
    assert card == str(network_card(tmp_path, variant="ema")) and "pip install pkgen-hf" in card
    assert f"{model.num_parameters():,} parameters" in card and str(CELL) in card and "3 classes" in card
    assert "`org/name` stands for the folder of these files" in card
    (code,) = re.findall(r"```python\n(.*?)```", card.replace("org/name", str(tmp_path)), flags=re.DOTALL)
    assert code.index("import pkgen_hf") < code.index("from_pretrained(")
    done = run_fresh(code)
    assert done.returncode == 0 and done.stdout.startswith("LABEL_"), done.stderr[-3000:]
    without = code.replace("import pkgen_hf", "")
    done = run_fresh(without)
    assert done.returncode and "pkgen-network" in done.stderr  # as the card says


def test_a_network_is_saved_whole_and_leaves_other_files_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = PKGenNetworkForImageClassification.from_architecture(CELL, 3, channels=4, cells=1).eval()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "README.md").write_text("three years of work")
    (tmp_path / "notes.txt").write_text("mine")
    for _ in range(2):
        model.save_pretrained(".", max_shard_size="5KB")
        model.save_pretrained(".", is_main_process=False)
    names = {path.name for path in Path.cwd().iterdir()}
    assert len(names) > 6 and "model.safetensors.index.json" in names and "model.safetensors" not in names
    assert network_card(tmp_path).content.count(f"{model.num_parameters():,} parameters") == 1
    model.save_pretrained(".")  # in one file, and no stale part of it
    assert {path.name for path in Path.cwd().iterdir()} == {
        "README.md", "notes.txt", "config.json", "model.safetensors",
    }  # fmt: skip
    assert (tmp_path / "README.md").read_text() == "three years of work"
    pixels = torch.linspace(-1, 1, 3 * 32 * 32).view(1, 3, 32, 32)
    again = AutoModelForImageClassification.from_pretrained(".")
    torch.testing.assert_close(again(pixels).logits, model(pixels).logits)
    before = {path.name: path.read_bytes() for path in Path.cwd().iterdir()}

    def full_disk(*_: object, **__: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(network_folder, "may_write_card", full_disk)
    with pytest.raises(OSError, match="No space left"):
        PKGenNetworkForImageClassification.from_architecture(CELL, 5, channels=4, cells=1).save_pretrained(".")
    assert {path.name: path.read_bytes() for path in Path.cwd().iterdir()} == before
    with pytest.raises(ValueError, match="safe_serialization=False is not supported"):
        model.save_pretrained(".", safe_serialization=False)
    with pytest.raises(NotADirectoryError, match="notes.txt is a file; name a folder"):
        model.save_pretrained("notes.txt")


def test_a_network_goes_to_the_hub_with_its_own_card(hub: HubStub, tmp_path: Path) -> None:
    model = PKGenNetworkForImageClassification.from_architecture(CELL, 3, channels=4, cells=1)
    address = model.push_to_hub("org/net", token=TOKEN, private=True, commit_message="First")
    repository = hub.repositories["model", "org/net"]
    assert "org/net/" in address and repository.private
    model.save_pretrained(tmp_path / "net", push_to_hub=True, repo_id="org/other", token=TOKEN)
    for name in ("org/net", "org/other"):
        files = hub.repositories["model", name].commits[-1]
        assert f'from_pretrained("{name}").eval()'.encode() in files["README.md"]
        assert b"org/name" not in files["README.md"] and b"More Information Needed" not in files["README.md"]
        assert files["model.safetensors"] == (tmp_path / "net" / "model.safetensors").read_bytes()
    with pytest.raises(ValueError, match="push_to_hub=True needs the name of the Hub repository"):
        model.save_pretrained(tmp_path / "new", push_to_hub=True)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("config.json", "{", "config.json is not readable JSON"),
        ("config.json", '{"model_type": "bert"}', "config.json is not the configuration of a network of pkgen"),
        ("model.safetensors", "x", "model.safetensors is truncated"),
        ("model.safetensors", None, "is not whole: model.safetensors is missing"),
        ("training.json", "{", "training.json is not readable JSON"),
    ],
)
def test_the_card_names_a_damaged_file(tmp_path: Path, name: str, content: str | None, message: str) -> None:
    PKGenNetworkForImageClassification.from_architecture(CELL, 3, channels=4, cells=1).save_pretrained(tmp_path)
    (tmp_path / name).unlink(missing_ok=True)
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=message):
        network_card(tmp_path)


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


def test_what_is_no_architecture_is_named() -> None:
    for kind, of in (
        (PKGenNetworkForImageClassification, "images"),
        (PKGenNetworkForCausalLM, "texts"),
        (PKGenNetworkForSequenceClassification, "texts"),
    ):
        for given in (None, str(CELL), CELL.to_json()):
            with pytest.raises(ValueError, match=r"architecture must be an Architecture, got .*; Architecture\.from_"):
                kind.from_architecture(given)
        other = Architecture.from_batch("nas-bench-nlp", get_space("nas-bench-nlp").sample(1))[0]
        with pytest.raises(ValueError, match=f"unknown space of networks for {of}: 'nas-bench-nlp'"):
            kind.from_architecture(other)


def test_mistakes_are_named() -> None:
    with pytest.raises(ValueError, match="'nas-bench-nlp'.*nas-bench-201"):
        PKGenNetworkConfig(space="nas-bench-nlp")
    with pytest.raises(ValueError, match="'nas-bench-210'.*Did you mean 'nas-bench-201'"):
        PKGenNetworkConfig(space="nas-bench-210")
    with pytest.raises(ValueError, match="is not a nas-bench-201 string"):
        PKGenNetworkConfig(architecture="nonsense")
    with pytest.raises(ValueError, match="'chanels'.*Did you mean 'channels'"):
        PKGenNetworkForImageClassification.from_architecture(CELL, chanels=3)


def test_a_task_gives_classes_channels_and_sizes(tmp_path: Path) -> None:
    task = Task("image-classification", num_classes=6, in_channels=1, image_size=16, name="grey")
    model = PKGenNetworkForImageClassification.from_architecture(CELL, task=task, channels=4, cells=1).eval()
    assert (model.config.num_labels, model.config.image_size) == (6, 16)
    assert model.config.scale == {"in_channels": 1, "channels": 4, "cells": 1}
    model.save_pretrained(tmp_path)
    again = AutoModelForImageClassification.from_pretrained(tmp_path).eval()
    pixels = torch.randn(2, 1, 16, 16)
    with torch.no_grad():
        torch.testing.assert_close(again(pixels).logits, model(pixels).logits)
    card = (tmp_path / "README.md").read_text()
    assert "torch.randn(1, 1, 16, 16)" in card and "16 × 16 pixels and 1 channel, 6 classes" in card
    # what is given counts before the task; data sets of the space by name
    given = PKGenNetworkForImageClassification.from_architecture(CELL, 3, 8, task, in_channels=3, channels=4, cells=1)
    assert (given.config.num_labels, given.config.image_size, given.config.scale["in_channels"]) == (3, 8, 3)
    named = PKGenNetworkForImageClassification.from_architecture(CELL, task="ImageNet16-120", channels=4, cells=1)
    assert (named.config.num_labels, named.config.image_size) == (120, 16)
    with pytest.raises(ValueError, match="these networks classify images, and image-segmentation is no task of"):
        PKGenNetworkForImageClassification.from_architecture(CELL, task=Task("image-segmentation", num_classes=3))
    with pytest.raises(ValueError, match="images are converted to RGB, which takes mean and std of 3 channels, got 1"):
        image_processor(16, [0.5], [0.5])
