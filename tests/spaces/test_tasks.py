"""Tasks: data sets of a space, and of the user's own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

import pkgen_hf
from pkgen_hf import Architecture, Prior, Proposer, SearchSpace, Task, get_space
from pkgen_hf.spaces.tasks import TASK_KINDS, TaskLike, data_of, kind_of

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


def test_every_kind_of_the_data_that_its_networks_read_can_be_asked_of_a_space() -> None:
    for name in pkgen_hf.list_spaces():
        space = get_space(name)
        read = data_of(next(iter(space.tasks.values())).kind)
        for kind in (kind for kind in TASK_KINDS if data_of(kind) in ("", read)):
            own = Task(kind, num_classes=7, name="mine")
            assert space.resolved(kind) == kind and space.task_label(own) == f"{kind}/mine"
            assert space.task(own).num_classes == 7
            if type(space).parameters is not pkgen_hf.SearchSpace.parameters:
                assert int(space.parameters(space.sample(1), own)) > 0


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        (
            "darts",
            "language-modelling",
            "networks of darts read images, and a task of language-modelling is of texts. Did you mean "
            "'image-classification'. Allowed: image-classification, image-segmentation, image-regression, "
            "dense-regression, other.",
        ),
        ("hw-gpt-bench-s", "image-classification", "read texts, and .* is of images. .* 'text-classification'"),
        ("nas-bench-bert", "edge-classification", "read texts, and .* is of graphs. .* 'text-classification'"),
        ("nas-bench-nlp", "speech-recognition", "read texts, and .* is of sound. Did you mean 'language-modelling'"),
        ("nas-bench-asr", "text-regression", "read sound, and .* is of texts. Did you mean 'speech-recognition'"),
        ("nas-bench-graph", "text-classification", "read graphs, and .* is of texts. .* 'node-classification'"),
    ],
)
def test_tasks_of_data_that_networks_do_not_read_end_in_one_line(pipe, name: str, kind: str, message: str) -> None:
    space, own = get_space(name), Task(kind, num_classes=3, name="mine")
    rows = space.sample(50, torch.Generator().manual_seed(0))
    architecture = Architecture.from_batch(space, rows[space.is_valid(rows)])[0]
    calls: dict[str, Callable[[TaskLike], object]] = {
        "cost": architecture.cost,
        "measured": lambda task: architecture.cost(task, measured=True),
        "build": lambda task: architecture.build(task=task),
        "generate": lambda task: pipe(space, task, num_architectures=1),
        "rank": lambda task: pipe.rank(space, [architecture], task),
        "evaluations": lambda task: Prior.from_evaluations(space, [architecture] * 5, [1.0, 2, 3, 4, 5], task),
        "ask": lambda task: Proposer(pipe, space, task),
    }
    for call in calls.values():
        for task in (own, kind, own.label):
            with pytest.raises(ValueError, match=message) as error:
                call(task)
            assert "\n" not in str(error.value)
    for formula in (space.parameters, space.flops):
        with pytest.raises(ValueError, match=message):
            formula(rows, own)


def test_a_task_has_the_sizes_of_a_data_set_of_the_same_data() -> None:
    tasks = {
        "pictures": Task("image-classification", num_classes=10, image_size=32),
        "reviews": Task("text-classification", num_classes=2),
    }
    both = SearchSpace("both", get_space("nas-bench-201").slots, tasks, "none")
    own = Task("text-regression")
    assert both.like(own) == both.data_set(own.kind) == "reviews" and both.task(own).image_size == 0
    assert both.like(Task("image-regression")) == both.data_set("other") == both.data_set(None) == "pictures"
    with pytest.raises(ValueError, match="networks of both read images and texts, and .* is of graphs"):
        both.task(Task("node-classification", num_classes=2))


@pytest.mark.parametrize("field", ["image_size", "in_channels"])
def test_only_images_have_pixels_and_channels(field: str) -> None:
    message = f"a task of language-modelling is of texts: it has no {field}=8"
    with pytest.raises(ValueError, match=message):
        Task("language-modelling", num_classes=10, **{field: 8})
    assert getattr(Task("other", **{field: 8}), field) == getattr(Task("image-regression", **{field: 8}), field) == 8
