"""Pictures of networks of layers: bars of what each layer has, and of no layer that does not exist."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from drawing.test_drawing import assert_clear, assert_text_is_clear, texts

from pkgen_hf.architecture import Architecture
from pkgen_hf.drawing.diagram import BAR, TEXT
from pkgen_hf.drawing.heat_maps import draw_prior
from pkgen_hf.drawing.layout import lay_out
from pkgen_hf.drawing.per_layer import describe, per_layer
from pkgen_hf.drawing.pictures import draw
from pkgen_hf.priors.prior import Prior
from pkgen_hf.spaces import Choice, SearchSpace, Slot, get_space, list_spaces

OPERATIONS = (
    Choice("attention", "combination", aggregation="attention"),
    Choice("nor_conv_3x3", "convolution", kernel=3),
    Choice("none", "zero"),
)


def sizes(*values: float, prefix: str = "") -> tuple[Choice, ...]:
    return tuple(Choice(f"{prefix}{value}", "size", level=k / len(values)) for k, value in enumerate(values))


def transformer(depths: tuple[int, ...]) -> SearchSpace:
    """Heads and MLP ratio of every layer, and its operation, on which the heads depend."""
    slots = [
        Slot("embed_dim", "width", sizes(192, 384), (0,), 1),
        Slot("num_layers", "depth", sizes(*depths), (0,), 1),
        Slot("bias", "gate", (Choice("bias", "combination"), Choice("no-bias", "zero")), (0,), 1),
    ]
    for layer in range(max(depths)):
        names = tuple(str(depth) for depth in depths if depth > layer)
        exists = ("num_layers", names) if len(names) < len(depths) else None
        name, place = f"layer {layer + 1}", ((layer + 1,), layer + 2)
        slots += [
            Slot(f"{name} operation", "operation", OPERATIONS, *place, active_if=exists),
            Slot(f"{name} heads", "width", sizes(4, 8), *place, active_if=(f"{name} operation", ("attention",))),
            Slot(f"{name} mlp_ratio", "expansion", sizes(2, 3.5, prefix="r"), *place, active_if=exists),
        ]
    return SearchSpace("transformer", slots, {}, "none")


def mobile() -> SearchSpace:
    """Three stages of one to three blocks."""
    slots = []
    for stage in range(3):
        depth = f"stage {stage + 1} depth"
        slots.append(Slot(depth, "depth", sizes(1, 2, 3, prefix="d"), (3 * stage,), 3 * stage + 1))
        for block in range(3):
            node = 3 * stage + block
            exists = (depth, tuple(f"d{n}" for n in (1, 2, 3) if n > block)) if block else None
            name = f"stage {stage + 1} block {block + 1}"
            slots += [
                Slot(f"{name} kernel", "kernel", sizes(3, 7, prefix="k"), (node,), node + 1, active_if=exists),
                Slot(f"{name} expansion", "expansion", sizes(3, 6, prefix="e"), (node,), node + 1, active_if=exists),
            ]
    return SearchSpace("mobile", slots, {}, "k3")


SPACES = {"12": transformer((10, 11, 12)), "36": transformer((34, 35, 36)), "stages": mobile()}


def some(space: SearchSpace, num: int) -> list[Architecture]:
    rows = space.sample(num, torch.Generator().manual_seed(0))
    return [Architecture(space, row) for row in rows.tolist()]


def test_only_what_exists_is_drawn() -> None:
    space = SPACES["12"]
    for architecture in some(space, 20):
        named = dict(zip((slot.name for slot in space.slots), architecture.indices, strict=True))
        depth = 10 + named["num_layers"]
        boxes = lay_out(architecture).boxes
        numbers = [box for box in boxes if box.kind == TEXT and box.text == "layer"]
        assert [box.text for box in boxes if box.y == numbers[0].y and box is not numbers[0]] == [
            str(k + 1) for k in range(depth)
        ]
        attention = [k for k in range(depth) if named[f"layer {k + 1} operation"] == 0]
        assert sum(box.kind == BAR for box in boxes) == depth + len(attention)
        assert sum(box.kind in ("combination", "convolution", "zero") for box in boxes) == depth
        shared = ["192", "384"][named["embed_dim"]], str(depth), ["bias", "no bias"][named["bias"]]
        assert boxes[0].text == "embed dim {}  ·  num layers {}  ·  {}".format(*shared)


def test_bars_are_in_proportion_to_their_numbers() -> None:
    for architecture in some(SPACES["12"], 10):
        boxes = lay_out(architecture).boxes
        bars = [(box, number) for box, number in zip(boxes, boxes[1:], strict=False) if box.kind == BAR]
        for bar, number in bars:
            largest = 8 if number.text in ("4", "8") else 3.5
            assert bar.height == pytest.approx(0.46 * float(number.text) / largest)
            assert number.x == bar.x and number.y > bar.y + bar.height / 2
        for row in ({"4", "8"}, {"2", "3.5"}):
            feet = {round(bar.y - bar.height / 2, 6) for bar, number in bars if number.text in row}
            shades = {number.text: bar.shade for bar, number in bars if number.text in row}
            assert len(feet) <= 1
            assert all(shades[text] == (1.0 if text == max(row, key=float) else 0.45) for text in shades)


def test_layers_are_in_order_from_the_left() -> None:
    for architecture in some(SPACES["36"], 5):
        boxes = lay_out(architecture).boxes
        (name,) = [box for box in boxes if box.text == "layer"]
        numbers = [box for box in boxes if box.y == name.y and box is not name]
        numbers.sort(key=lambda box: box.x)
        assert [box.text for box in numbers] == [str(k + 1) for k in range(34 + architecture.indices[1])]


def test_stages_show_their_blocks() -> None:
    space = SPACES["stages"]
    architecture = Architecture(space, [0] + [0] * 6 + [2] + [1] * 6 + [1] + [0] * 6)  # 1, 3 and 2 blocks
    boxes = lay_out(architecture).boxes
    at = {box.text: box.y for box in boxes if box.text in ("block", "stage")}
    line = {
        name: [box.text for box in sorted(boxes, key=lambda box: box.x) if box.y == y and box.kind == TEXT][1:]
        for name, y in at.items()
    }
    assert line == {"block": ["1", "1", "2", "3", "1", "2"], "stage": ["1", "2", "3"]}
    assert [box.text for box in boxes if box.text in ("kernel", "expansion")] == ["kernel", "expansion"]
    assert (
        describe(architecture) == "6 blocks; kernel by block: 3, 7, 7, 7, 3, 3; expansion by block: 3, 6, 6, 6, 3, 3"
    )


@pytest.mark.parametrize("name", SPACES)
def test_pictures_are_clear_and_of_one_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    cells = some(SPACES[name], 4)
    extents = []
    for architecture in cells:
        diagram = lay_out(architecture)
        assert_clear(diagram, labelled=False)
        extents.append(np.ptp(diagram.corners, axis=0))
    assert np.allclose(extents, extents[0])
    titles = [f"{k}. 37.4 M parameters" for k in range(4)]
    assert_text_is_clear(monkeypatch, lambda: draw(cells, tmp_path / "a.png", titles))
    shown = texts(draw(cells, tmp_path / "a.svg", titles))
    assert [text for text in shown if "parameters" in text] == titles


def test_long_names_stand_upright() -> None:
    slots = [Slot(f"op {k + 1}", "operation", OPERATIONS, (k,), k + 1) for k in range(24)]
    space = SearchSpace("long", slots, {}, "none")
    (architecture,) = some(space, 1)
    diagram = lay_out(architecture)
    tiles = [box for box in diagram.boxes if box.kind not in (TEXT, "")]
    assert len(tiles) == 24 and all(box.upright and box.height > box.width for box in tiles)
    assert np.ptp(diagram.corners, axis=0)[0] < 10
    assert_clear(diagram, labelled=False)


def test_the_form_follows_from_the_slots() -> None:
    form = per_layer(SPACES["12"])
    assert form is not None
    assert [decision.name for decision in form.decisions] == ["operation", "heads", "mlp ratio"]
    assert [SPACES["12"].slots[s].name for s in form.shared] == ["embed_dim", "num_layers", "bias"]
    assert form.stages == [0] * 12 and form.depths == []
    form = per_layer(SPACES["stages"])
    assert form is not None and form.stages == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert [SPACES["stages"].slots[s].name for s in form.depths] == [f"stage {k} depth" for k in (1, 2, 3)]


def test_decisions_that_never_have_an_effect_are_not_shown() -> None:
    slots = []
    for layer in range(3):
        name, place = f"layer {layer + 1}", ((layer,), layer + 1)
        slots += [
            Slot(f"{name} width", "width", sizes(2, 4), *place),
            Slot(f"{name} operation", "operation", OPERATIONS, *place, active_if=(f"{name} width", ())),
            Slot(f"{name} norm", "gate", sizes(0, 1), *place, active_if=(f"{name} operation", ("attention",))),
        ]
    form = per_layer(SearchSpace("widths", slots, {}, "2"))
    assert form is not None and [decision.name for decision in form.decisions] == ["width"]


def test_other_forms_stay_as_they_are() -> None:
    for name in list_spaces():
        if not get_space(name).is_conditional:
            assert per_layer(get_space(name)) is None, name
    edges = [(0, 1), (0, 2), (1, 2)]
    depends = [None, None, ("0->1", ("attention",))]
    slots = [
        Slot(f"{a}->{b}", "operation", OPERATIONS, (a,), b, active_if=when)
        for (a, b), when in zip(edges, depends, strict=True)
    ]
    space = SearchSpace("cell", slots, {}, "none")
    assert per_layer(space) is None
    assert [box.text for box in lay_out(Architecture(space, [1, 1, 0])).boxes if box.kind] == ["conv 3x3"] * 2


def test_an_architecture_in_words() -> None:
    space = transformer((1, 2))
    words = describe(Architecture(space, [1, 1, 1, 0, 1, 0, 1, 0, 1]))
    assert words == (
        "embed dim 384, num layers 2, no bias; 2 layers; operation by layer: attention, conv 3x3; "
        "heads by layer: 8, none; mlp ratio by layer: 2, 3.5"
    )
    cell = Architecture.from_string("nas-bench-graph", "0112:gcn,gin,fc,cheb")
    assert describe(cell) == str(cell)


@pytest.mark.parametrize("name", SPACES)
def test_priors_show_every_layer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    space = SPACES[name]
    rows = space.sample(200, torch.Generator().manual_seed(0))
    active = space.active_slots(rows)[..., None]
    counts = (torch.nn.functional.one_hot(rows, space.num_choices) * active).sum(0)
    given = replace(Prior.absent(space), frequencies=counts / counts.sum(1, keepdim=True).clamp(min=1))
    assert_text_is_clear(monkeypatch, lambda: draw_prior(given, tmp_path / "a.png"))
    shown = texts(draw_prior(given, tmp_path / "a.svg"))
    form = per_layer(space)
    assert form is not None and not any("slots" in text for text in shown)
    for decision in form.decisions:
        assert sum(text.startswith(f"{decision.name} by ") for text in shown) == 2
        layers = [text for text in shown if re.fullmatch(r"\d\.\d" if name == "stages" else "9", text)]
    assert len(layers) == 2 * len(form.decisions) * (9 if name == "stages" else 1)


def test_layers_that_no_good_architecture_has_are_left_out_of_priors(tmp_path: Path) -> None:
    space = SPACES["12"]
    rows = space.sample(50, torch.Generator().manual_seed(0))
    rows[:, 1] = 1  # 11 layers
    frequencies = torch.nn.functional.one_hot(rows, space.num_choices).float().mean(0)
    shown = texts(draw_prior(replace(Prior.absent(space), frequencies=frequencies), tmp_path / "a.svg"))
    assert shown.count("11") == 2 * 3 + 2  # the columns of three decisions, and a depth
    assert shown.count("12") == 2  # a depth alone
    assert any(re.fullmatch(r"\d+ %", text) for text in shown)  # heads, where the operation is attention
