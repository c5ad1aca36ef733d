"""Tasks: data sets of a space, and of the user's own."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

import pkgen_hf
from pkgen_hf import Architecture, Task, get_space
from pkgen_hf.spaces.tasks import TASK_KINDS, kind_of

OWN = Task("image-classification", num_classes=18, in_channels=1, image_size=16, name="addnist")


def test_the_chance_score_follows_from_classes() -> None:
    assert OWN.chance_score == 100 / 18
    assert Task("image-segmentation", num_classes=4).chance_score == 25
    assert Task("image-regression").chance_score == Task("language-modelling", num_classes=9).chance_score == 0
    assert Task("image-classification", 12.5, 10).chance_score == 12.5
    assert pkgen_hf.Task is Task


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "image-clasification"}, "Did you mean 'image-classification'"),
        ({"kind": ["image-classification"]}, "unknown kind of task"),
        ({"num_classes": 10.0}, "num_classes of a task must be a whole number from 0, got 10.0"),
        ({"num_classes": True}, "num_classes of a task must be a whole number from 0, got True"),
        ({"image_size": -1}, "image_size of a task must be a whole number from 0, got -1"),
        ({"num_features": "3"}, "num_features of a task must be a whole number from 0, got '3'"),
        ({"in_channels": 0}, "in_channels of a task must be a whole number from 1, got 0"),
        ({"chance_score": True}, "the score of guessing must be a finite number, got True"),
        ({"chance_score": float("inf")}, "the score of guessing must be a finite number, got inf"),
        ({"chance_score": None, "num_classes": 0}, "needs num_classes, from 1, or a chance_score"),
        ({"name": 3}, "the name of a task must be text on one line, got 3"),
        ({"name": "a\nb"}, "the name of a task must be text on one line"),
        ({"split": "train"}, "unknown split: 'train'"),
    ],
)
def test_wrong_fields_end_in_one_line(changes, message: str) -> None:
    with pytest.raises(ValueError) as error:
        replace(OWN, **changes)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_labels_have_name_and_kind() -> None:
    assert OWN.label == "image-classification/addnist" and replace(OWN, name="").label == "image-classification"
    assert kind_of(OWN.label) == kind_of(OWN.kind) == OWN.kind and kind_of("addnist") is None
    assert kind_of(replace(OWN, name="org/addnist").label) == OWN.kind


def test_data_sets_of_a_space_know_their_names() -> None:
    space = get_space("nas-bench-201")
    assert [task.name for task in space.tasks.values()] == list(space.tasks)
    for name, task in space.tasks.items():
        assert space.task(name) is space.task(task) is task
        assert space.resolved(task) == space.data_set(task) == space.like(task) == space.task_label(task) == name
    # the same shape under the same name is the data set, another shape is another
    again = Task("image-classification", num_classes=10, image_size=32, name="cifar10")
    assert space.resolved(again) == "cifar10"
    assert space.resolved(replace(again, in_channels=1)) == replace(again, in_channels=1)
    assert space.task_label(replace(again, in_channels=1)) == "image-classification/cifar10"


def test_a_task_of_ones_own_takes_missing_sizes_from_the_data_set_it_is_like() -> None:
    cells, graphs = get_space("nas-bench-201"), get_space("nas-bench-graph")
    assert cells.task(OWN) == cells.data_set(OWN) == OWN and cells.like(OWN) == "cifar10"
    assert cells.task(replace(OWN, image_size=0)).image_size == 32
    own = graphs.task(Task("edge-classification", num_classes=3))
    assert (own.num_classes, own.num_features) == (3, graphs.task(graphs.like(own)).num_features)
    assert graphs.tasks[graphs.like(own)].kind in ("edge-classification", "node-classification")


def test_labels_are_read_as_kinds() -> None:
    space = get_space("nas-bench-201")
    assert space.data_set(OWN.label) == space.data_set(OWN.kind) == "cifar10"
    assert space.resolved(OWN.label) == space.task_label(OWN.label) == OWN.label
    with pytest.raises(ValueError, match="unknown task of nas-bench-201: 'addnist'"):
        space.resolved("addnist")


@pytest.mark.parametrize(
    ("name", "size", "message"),
    [
        ("nas-bench-201", 30, "read images from 4 pixels, multiples of 4, not of image_size=30"),
        ("nats-bench-size", 2, "read images from 4 pixels, multiples of 4, not of image_size=2"),
        ("nas-bench-101", 3, "read images from 4 pixels, not of image_size=3"),
        ("darts", 33, "multiples of 4, not of image_size=33"),
        ("darts", 144, "read images from 128 pixels, multiples of 32, not of image_size=144"),
    ],
)
def test_images_that_networks_cannot_read_end_in_one_line(name: str, size: int, message: str) -> None:
    space = get_space(name)
    with pytest.raises(ValueError, match=message):
        space.parameters(space.sample(1), replace(OWN, image_size=size))


def test_every_kind_can_be_asked_of_every_space() -> None:
    for name in pkgen_hf.list_spaces():
        space = get_space(name)
        for kind in TASK_KINDS:
            own = Task(kind, num_classes=7, name="mine")
            assert space.task_label(own) == f"{kind}/mine" and space.task(own).num_classes == 7
            if type(space).parameters is not pkgen_hf.SearchSpace.parameters:
                assert int(space.parameters(space.sample(1), own)) > 0


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("darts", "language-modelling", "networks of darts read images; a task of language-modelling is of texts"),
        ("hw-gpt-bench-s", "image-classification", "networks of hw-gpt-bench-s read texts; .* is of images"),
        ("nas-bench-graph", "text-classification", "networks of nas-bench-graph read graphs; .* is of texts"),
    ],
)
def test_no_network_is_built_for_data_that_it_does_not_read(name: str, kind: str, message: str) -> None:
    space = get_space(name)
    rows = space.sample(50, torch.Generator().manual_seed(0))
    architecture = Architecture.from_batch(space, rows[space.is_valid(rows)])[0]
    with pytest.raises(ValueError, match=message):
        architecture.build(task=Task(kind, num_classes=3))
