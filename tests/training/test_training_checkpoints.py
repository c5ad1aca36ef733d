"""Checkpoints of a training: whole or not there, and a damaged one is named together with the one before it."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator

from pkgen_hf.training.checkpoints import (
    find_checkpoint,
    list_checkpoints,
    load_checkpoint,
    load_state,
    save_checkpoint,
)


class Training:
    """The smallest: a layer, its optimizer and a schedule."""

    def __init__(self, width: int = 3) -> None:
        torch.manual_seed(0)
        self.accelerator = Accelerator(cpu=True)
        model = torch.nn.Linear(width, 1)
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
        self.model, self.optimizer = self.accelerator.prepare(model, optimizer)
        self.schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 / (1 + step))
        self.accelerator.register_for_checkpointing(self.schedule)
        self.width = width

    def step(self) -> float:
        loss = self.model(torch.randn(4, self.width)).square().mean()
        self.accelerator.backward(loss)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.schedule.step()
        return loss.item()


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """With checkpoints after 10, 20 and 100 steps, and what is no checkpoint."""
    training = Training()
    for step in (10, 20, 100):
        training.step()
        progress = {"step": step, "seconds": 1.5, "settings": {"lr": 0.1}}
        save_checkpoint(training.accelerator, tmp_path, progress, limit=3)
    (tmp_path / "checkpoint-200-mine").mkdir()
    return tmp_path


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def flip(path: Path) -> None:
    """One byte of the longest part, as a failing disk does."""
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        part = max(archive.infolist(), key=lambda part: part.file_size)
    lengths = (int.from_bytes(content[part.header_offset + at :][:2], "little") for at in (26, 28))
    content[part.header_offset + 30 + sum(lengths) + part.file_size // 2] ^= 0xFF
    path.write_bytes(content)


def test_it_goes_on_as_if_it_had_not_stopped(output: Path) -> None:
    whole = Training()
    losses = [whole.step() for _ in range(5)]
    again = Training()
    latest = find_checkpoint(output, "latest")
    assert latest == output / "checkpoint-100" and find_checkpoint(output, None) is None
    load_state(again.accelerator, latest)
    assert [again.step(), again.step()] == losses[3:]
    assert [path.name for path in list_checkpoints(output)] == ["checkpoint-10", "checkpoint-20", "checkpoint-100"]
    for name in ("checkpoint-20", str(output / "checkpoint-20")):
        assert find_checkpoint(output, name) == output / "checkpoint-20"
    with pytest.raises(FileNotFoundError, match="unknown checkpoint.*'checkpoint-21'. Did you mean 'checkpoint-20'"):
        find_checkpoint(output, "checkpoint-21")
    assert find_checkpoint(output / "none", "latest") is None


WITH_CHECKSUM = ["optimizer.bin", "random_states_0.pkl", "custom_checkpoint_0.pkl"]
FILES = ["model.safetensors", "progress.json", *WITH_CHECKSUM]


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        *[(name, damage) for name in FILES for damage in (cut, empty)],
        *[(name, flip) for name in WITH_CHECKSUM],
        *[(name, Path.unlink) for name in FILES[:-1]],
    ],
)
def test_a_damaged_file_is_named_and_the_checkpoint_before_offered(
    output: Path, name: str, damage: Callable[[Path], None]
) -> None:
    path = output / "checkpoint-100" / name
    damage(path)
    with pytest.raises(ValueError) as error:
        load_checkpoint(Training().accelerator, str(output), "latest", {"lr": 0.1})
    text = str(error.value)
    assert name in text and "checkpoint-100" in text and "\n" not in text
    assert text.endswith("the checkpoint before it is whole: --resume_from_checkpoint checkpoint-20")
    progress = load_checkpoint(Training().accelerator, str(output), "checkpoint-20", {"lr": 0.1})
    assert progress is not None and progress["step"] == 20


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"step": 20}, "is of step 20, unlike its folder"),
        ({"step": True}, "has an invalid step: True"),
        ({"seconds": -1.0}, "has an invalid number of seconds: -1.0"),
        ({"seconds": float("nan")}, "has an invalid number of seconds: nan"),
        ({"loss": "much"}, "has an invalid loss: 'much'"),
        ({"history": {}}, "has an invalid history: "),
        ({"history": [1]}, "has an invalid history: "),
        ({"skipped": [["a"]]}, "has an invalid skipped: "),
        ({"skipped": None}, "has an invalid skipped: "),
    ],
    ids=str,
)
def test_progress_that_cannot_be_is_named(output: Path, change: dict[str, Any], message: str) -> None:
    also = {"loss": int | float, "history": list[dict], "skipped": list[str]}
    path = output / "checkpoint-100" / "progress.json"
    good = json.loads(path.read_text()) | {"loss": 1, "history": [{}], "skipped": ["a"]}
    path.write_text(json.dumps(good | change))
    with pytest.raises(ValueError, match=message) as error:
        load_checkpoint(Training().accelerator, str(output), "latest", {"lr": 0.1}, also)
    assert str(error.value).endswith("--resume_from_checkpoint checkpoint-20")
    for name in ("loss", "history", "skipped"):
        path.write_text(json.dumps({key: value for key, value in good.items() if key != name}))
        with pytest.raises(ValueError, match=f"progress.json has no {name}"):
            load_checkpoint(Training().accelerator, str(output), "latest", {"lr": 0.1}, also)
    path.write_text(json.dumps(good))
    assert load_checkpoint(Training().accelerator, str(output), "latest", {"lr": 0.1}, also) == good


def test_only_a_whole_checkpoint_is_offered(output: Path) -> None:
    for step in (100, 20):
        cut(output / f"checkpoint-{step}" / "optimizer.bin")
    with pytest.raises(ValueError, match="checkpoint-100/optimizer.bin is truncated.*checkpoint checkpoint-10$"):
        load_state(Training().accelerator, output / "checkpoint-100")
    cut(output / "checkpoint-10" / "model.safetensors")
    with pytest.raises(ValueError, match="optimizer.bin is truncated.*there is no whole checkpoint before it"):
        load_state(Training().accelerator, output / "checkpoint-100")


def test_a_checkpoint_of_something_else_is_not_called_damaged(output: Path) -> None:
    with pytest.raises(ValueError, match="checkpoint-100 does not fit this training: .*size mismatch") as error:
        load_state(Training(width=5).accelerator, output / "checkpoint-100")
    assert "\n" not in str(error.value) and len(str(error.value)) < 500
    with pytest.raises(ValueError, match="with lr 0.1, not 0.2"):
        load_checkpoint(Training().accelerator, str(output), "latest", {"lr": 0.2})
    (output / "checkpoint-100" / "progress.json").write_text(json.dumps({"step": 100, "seconds": 1.0}))
    with pytest.raises(ValueError, match="progress.json has no settings; the checkpoint bef"):
        load_checkpoint(Training().accelerator, str(output), "latest", {"lr": 0.1})


def test_a_checkpoint_that_cannot_be_written_leaves_nothing(output: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    training = Training()
    before = sorted(output.rglob("*"))
    for problem, expected in ((RuntimeError("disk\nfull"), OSError), (KeyboardInterrupt(), KeyboardInterrupt)):

        def fail(*_: Any, problem: BaseException = problem, **__: Any) -> None:
            raise problem

        monkeypatch.setattr(training.optimizer, "state_dict", fail)
        with pytest.raises(expected) as error:
            save_checkpoint(training.accelerator, output, {"step": 300}, limit=1)
        assert str(error.value) in (f"cannot write {output}/checkpoint-300: disk full", "")
        assert sorted(output.rglob("*")) == before
