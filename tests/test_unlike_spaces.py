"""Spaces and kinds of task that no prior is like: one warning that says what is missing, and uniform samples."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import pytest
import torch

from pkgen_hf import PKGenPipeline, Prior, Proposer, Task
from pkgen_hf.priors.relevance import LEAST_SIMILARITY, NOUNS, RELATED, relevance_of
from pkgen_hf.priors.transfer import task_kind
from pkgen_hf.spaces import TASK_KINDS, Choice, SearchSpace, Slot, get_space
from pkgen_hf.spaces.tasks import data_of

OPERATIONS = (
    Choice("none", "zero"),
    Choice("skip", "identity"),
    Choice("conv3", "convolution", kernel=3),
    Choice("pool", "pooling", kernel=3, aggregation="max"),
)
EDGES = [(a, b) for b in range(1, 4) for a in range(b)]


def own_space(task: Task | None, choices: tuple[Choice, ...] = OPERATIONS, kind: str = "operation") -> SearchSpace:
    slots = [Slot(f"{a}->{b}", kind, choices, reads=(a,), writes=b) for a, b in EDGES]
    return SearchSpace("my-cells", slots, {} if task is None else {"my-data": task}, choices[0].name)


IMAGES = own_space(Task("image-classification", num_classes=10))
GRAPHS = own_space(Task("node-classification", num_classes=7))
SPEECH = own_space(Task("speech-recognition"))


@pytest.fixture
def fresh(pipe: PKGenPipeline) -> Callable[..., PKGenPipeline]:
    """A pipeline that has warned of nothing, with the priors of some sorts of data."""

    def of(*data: str) -> PKGenPipeline:
        priors = [p for p in pipe.priors if not data or data_of(task_kind(p.space, p.task)) in data]
        made = PKGenPipeline(pipe.denoiser, pipe.scheduler, priors)
        made.set_progress_bar_config(disable=True)
        return made

    return of


def generate(pipe: PKGenPipeline, space: SearchSpace, number: int = 4, **options: object) -> torch.Tensor:
    out = pipe(space, num_architectures=number, generator=torch.Generator().manual_seed(0), **options)  # type: ignore[arg-type]
    return torch.tensor([architecture.indices for architecture in out.architectures])


def warned(pipe: PKGenPipeline, space: SearchSpace, **options: object) -> list[str]:
    """Texts of the warnings of a call."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        generate(pipe, space, **options)
    return [str(one.message) for one in found]


# ---------------------------------------------------------------------- what is missing


@pytest.mark.parametrize(
    "data, space, start",
    [
        (
            ("images", "texts"),
            GRAPHS,
            "no prior of a graph task: they are of images and texts, so that architectures are",
        ),
        (
            (),
            SPEECH,
            "no prior of a speech task: they are of graphs, images and texts, so that what is carried over says less",
        ),
        (
            ("images",),
            own_space(Task("language-modelling")),
            "no prior of a text task: they are of images, so that what",
        ),
        (("texts",), IMAGES, "no prior of an image task: they are of texts, so that what is carried over says less"),
        (
            (),
            own_space(None),
            'no prior of a task of the kind "other": what is carried over says less; give my-cells a',
        ),
    ],
)
def test_a_kind_without_priors_is_warned_of_once(
    fresh: Callable[..., PKGenPipeline], data: tuple[str, ...], space: SearchSpace, start: str
) -> None:
    pipe = fresh(*data)
    first, *others = warned(pipe, space)
    assert first.startswith(start) and "evaluations=" in first and not others
    assert warned(pipe, space) == [] and len(warned(fresh(*data), space)) == 1


@pytest.mark.parametrize("name", ["nas-bench-201", "nas-bench-bert", "autoformer-tiny"])
def test_no_warning_where_priors_are_of_the_sort(fresh: Callable[..., PKGenPipeline], name: str) -> None:
    assert warned(fresh(), get_space(name)) == []


@pytest.mark.parametrize("kind", [kind for kind in TASK_KINDS if data_of(kind) in ("images", "graphs", "texts")])
def test_spaces_of_the_users_own_whose_sort_is_known(fresh: Callable[..., PKGenPipeline], kind: str) -> None:
    relevance = relevance_of(fresh().priors, own_space(Task(kind, 0.0)), None)
    assert relevance.missing() == {} and relevance.weight == 1 and relevance.has_costs


def test_every_sort_of_data_is_named() -> None:
    sorts = {data_of(kind) for kind in TASK_KINDS} - {""}
    assert sorts == set(NOUNS) and set(RELATED) <= {*sorts, ""}


def test_nothing_is_asked_for_that_was_given(fresh: Callable[..., PKGenPipeline]) -> None:
    pipe = fresh("images", "texts")
    rows = GRAPHS.sample(6, torch.Generator().manual_seed(1))
    scores = [float(k) for k in range(6)]
    assert warned(pipe, GRAPHS, evaluations=(rows, scores)) == []
    assert warned(pipe, GRAPHS, prior=Prior.from_evaluations(GRAPHS, rows, scores)) == []
    assert warned(pipe, GRAPHS, prior=Prior.from_function(GRAPHS, lambda rows: rows.sum(1))) == []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        proposer = Proposer(pipe, GRAPHS)
        for _ in range(2):
            asked = proposer.ask(3)
            proposer.tell(asked, [1.0, 2.0, 3.0])


def test_choices_that_say_nothing_of_costs_are_warned_of(fresh: Callable[..., PKGenPipeline]) -> None:
    pools = (Choice("none", "zero"), Choice("max", "pooling", kernel=3, aggregation="max"), Choice("skip", "identity"))
    space = own_space(Task("image-classification", num_classes=10), pools)
    (text,) = warned(fresh(), space)
    assert (
        text.startswith("my-cells has no parameters(), and nothing follows from the descriptions") and "build=" in text
    )
    gates = own_space(
        Task("image-classification", num_classes=10), tuple(Choice(n, "activation") for n in "ab"), "gate"
    )
    relevance = relevance_of(fresh("images").priors, gates, None)
    assert relevance.similarity < LEAST_SIMILARITY and relevance.weight == 0
    assert set(relevance.missing()) == {"costs", "descriptions"}


# ---------------------------------------------------------------------- what is generated


def test_samples_of_an_unlike_kind_are_uniform(fresh: Callable[..., PKGenPipeline]) -> None:
    """Each choice is as frequent as by chance, and no order but that of sampling is given."""
    pipe = fresh("images", "texts")
    with pytest.warns(UserWarning, match="no prior of a graph task"):
        out = pipe(GRAPHS, num_architectures=400, generator=torch.Generator().manual_seed(0), distinct=False)
    rows = torch.tensor([architecture.indices for architecture in out.architectures])
    shares = torch.nn.functional.one_hot(rows, 4).float().mean(0)
    assert (shares - 0.25).abs().max() < 0.09  # four standard errors
    assert not out.scores.any() and out.prior.evidence == "absent" and out.prior.detail.startswith("left out: ")
    assert not pipe.rank(GRAPHS, rows[:5]).any()


def test_what_applies_is_carried_over(fresh: Callable[..., PKGenPipeline]) -> None:
    pipe = fresh("images", "texts")
    assert pipe.similarity_to_training(GRAPHS) == 0 and pipe.similarity_to_training(IMAGES) > 0.5
    assert relevance_of(pipe.priors, GRAPHS, None).similarity == pipe.similarity_to_training(IMAGES, "my-data")
    rows = generate(pipe, IMAGES, 20)
    assert (rows == 2).float().mean() > 0.4  # convolutions
    with pytest.warns(UserWarning, match="no prior of an image task"):
        assert (generate(fresh("texts"), IMAGES, 20) == 2).float().mean() > 0.4  # which cost most
