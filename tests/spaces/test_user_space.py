"""Spaces of the user's own: what cannot be is refused, the rest goes all the way to architectures and files."""

from __future__ import annotations

import importlib.util
import pickle
import runpy
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
import torch

from pkgen_hf import Architecture, PKGenPipeline, Prior, PriorDiscreteScheduler, Proposer
from pkgen_hf.benchmarks.score_table import ScoreTable
from pkgen_hf.modeling_denoiser import ArchitectureDenoiser
from pkgen_hf.priors.files import load_priors, save_priors
from pkgen_hf.priors.shapley import games, operation_players, shapley_contributions
from pkgen_hf.spaces import Choice, SearchSpace, Slot, Task, get_space, list_spaces

SCRIPT = Path(__file__).parents[2] / "examples" / "own_space.py"
NONE, CONV = Choice("none", "zero"), Choice("conv", "convolution", kernel=3)
SLOT = Slot("a", "operation", (NONE, CONV), (0,), 1)
TASK = Task("image-classification", chance_score=10.0, num_classes=10)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("own_space", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def space(example: ModuleType) -> SearchSpace:
    return example.SPACE


@pytest.fixture(scope="module")
def untrained(cell_table: ScoreTable) -> PKGenPipeline:
    """A pipeline whose denoiser has learnt nothing and leans on its priors."""
    torch.manual_seed(0)
    denoiser = ArchitectureDenoiser(width=16, num_layers=1, num_heads=2, vocabulary=["identity", "zero"])
    pipe = PKGenPipeline(denoiser.eval(), PriorDiscreteScheduler())
    pipe.priors = [
        Prior.from_benchmark("nas-bench-201", task, 20, cell_table) for task in ("image-classification", "cifar10")
    ]
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.fixture(scope="module")
def base() -> PKGenPipeline:
    pipe = PKGenPipeline.from_pretrained("pkgen-base")
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.fixture(params=["untrained", "base"])
def pipe(request: pytest.FixtureRequest) -> PKGenPipeline:
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="module")
def prior(example: ModuleType, space: SearchSpace) -> Prior:
    tried = Architecture.from_batch(space, space.sample(20, seeded()))
    return Prior.from_evaluations(space, tried, [example.evaluate(a) for a in tried], "flowers")


# ---------------------------------------------------------------------- generating in one


@pytest.mark.parametrize("task", ["flowers", "image-classification", None])
def test_prior_is_carried_over_and_architectures_are_of_the_space(
    pipe: PKGenPipeline, space: SearchSpace, task: str | None
) -> None:
    out = pipe(space=space, task=task, num_architectures=8, generator=seeded())
    assert len(set(out.architectures)) == 8 and all(a.space is space and a.is_valid for a in out.architectures)
    assert out.scores.isfinite().all()
    assert (out.prior.evidence, out.prior.task) == ("from other spaces", task)
    again = pipe(space=space, task=task, num_architectures=8, generator=seeded())
    assert [a.indices for a in again.architectures] == [a.indices for a in out.architectures]


def test_what_is_known_of_convolutions_is_carried_over(untrained: PKGenPipeline, space: SearchSpace) -> None:
    """Cells that are good have 3x3 convolutions on their edges, and a connection from input to output."""
    prior = untrained.select_prior(space, "flowers", None)
    assert prior.detail == "from nas-bench-201/image-classification"  # the consensus, not the single task
    names = [space.slots[s].choices[k].name for s, k in enumerate(prior.frequencies.argmax(1).tolist())]
    assert names[3] == "skip" and set(names[:3] + names[4:]) == {"conv3x3"}


def test_evaluations_take_over(
    pipe: PKGenPipeline, example: ModuleType, space: SearchSpace, prior: Prior, tmp_path: Path
) -> None:
    out = pipe(space=space, task="flowers", prior=prior, num_architectures=8, generator=seeded())
    assert out.prior is prior and prior.labels_read == 20
    by_chance = [example.evaluate(a) for a in Architecture.from_batch(space, space.sample(500, seeded(1)))]
    assert sum(map(example.evaluate, out.architectures)) / 8 > torch.tensor(by_chance).quantile(0.75)
    for suffix in ("png", "svg"):
        assert out.architectures[0].draw(tmp_path / f"cell.{suffix}").stat().st_size > 1000
    assert prior.plot(tmp_path / "prior.png").stat().st_size > 1000


def test_the_example_runs_as_a_script(
    untrained: PKGenPipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    untrained.save_pretrained(tmp_path / "checkpoint")
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), str(tmp_path / "checkpoint"), str(tmp_path)])
    runpy.run_path(str(SCRIPT), run_name="__main__")
    printed = capsys.readouterr().out
    assert "evidence='from other spaces'" in printed and "5 best of 20 evaluations" in printed
    assert {"first.svg", "second.svg", "prior.parquet", "architectures.jsonl"} <= {p.name for p in tmp_path.iterdir()}


def test_the_example_with_the_bundled_checkpoint(base: PKGenPipeline, example: ModuleType, tmp_path: Path) -> None:
    first, second = example.main(base, tmp_path)
    assert len(set(first)) == len(set(second)) == 8
    tried = Architecture.from_batch(example.SPACE, example.SPACE.sample(20, seeded()))  # those that it evaluates
    assert min(map(example.evaluate, second)) > max(map(example.evaluate, tried))
    for seed in (1, 2, 3):
        others = Architecture.from_batch(example.SPACE, example.SPACE.sample(20, seeded(seed)))
        scores = list(map(example.evaluate, others))
        third = base(example.SPACE, "flowers", evaluations=(others, scores), generator=seeded())
        assert min(map(example.evaluate, third.architectures)) > max(scores)


def test_ten_operations_play_two_games(space: SearchSpace) -> None:
    """In each of which what it gains together is shared out, while the other's operations stay."""
    parts = games(space, operation_players(space))
    assert [len(part) for part in parts] == [5, 5] and sorted(sum(parts, [])) == list(range(10))
    worth = torch.randn(10, 6, generator=seeded())

    def value(rows: torch.Tensor) -> torch.Tensor:
        alone = worth[torch.arange(10), rows].sum(1)
        return alone + 0.5 * ((rows[:, 0] == 2) & (rows[:, 7] == 3)).float() + (rows == 2).sum(1).float() ** 2

    rows = space.sample(100, seeded(1))
    contributions = shapley_contributions(space, rows, value, operation_players(space))
    for part in parts:
        without = rows.clone()
        without[:, part] = 0
        torch.testing.assert_close(contributions[:, part].sum(1), value(rows) - value(without), rtol=1e-4, atol=1e-4)


def test_what_the_space_calls_invalid_is_not_generated(untrained: PKGenPipeline, space: SearchSpace) -> None:
    class FewConvolutions(SearchSpace):
        def is_valid(self, indices: torch.Tensor) -> torch.Tensor:
            return (indices == 2).sum(1) <= 4

    few = FewConvolutions("few-convolutions", space.slots, space.tasks, "none")
    out = untrained(space=few, task="flowers", num_architectures=8, generator=seeded())
    assert out.validity < 1 and all(a.indices.count(2) <= 4 for a in out.architectures)


@pytest.mark.parametrize("is_ordered", [False, True])
def test_a_space_of_nothing_known(untrained: PKGenPipeline, is_ordered: bool) -> None:
    """Where nothing is alike, every choice stays about as frequent as by chance, but for the trend with sizes."""
    sizes = tuple(Choice(str(8 * k), "size", level=k / 4 if is_ordered else 0.0) for k in range(1, 5))
    widths = SearchSpace("widths", [Slot(f"w{i}", "width", sizes, (i,), i + 1) for i in range(3)], {}, "8")
    out = untrained(space=widths, num_architectures=8, generator=seeded())
    assert len(set(out.architectures)) == 8
    assert out.prior.contributions.isnan().all()
    if is_ordered:
        assert (out.prior.frequencies.diff(dim=1) > 0.02).all()  # cells of more parameters are better
    else:
        assert (out.prior.frequencies - 0.25).abs().max() < 0.05


# ---------------------------------------------------------------------- files, JSON, pickles


def test_priors_are_saved_and_loaded(prior: Prior, space: SearchSpace, tmp_path: Path) -> None:
    loaded = Prior.load(prior.save(tmp_path / "prior.parquet"), space=space)
    assert loaded.space is space
    for name in ("contributions", "subgraph_contributions", "frequencies"):
        torch.testing.assert_close(getattr(loaded, name), getattr(prior, name), rtol=0, atol=0, equal_nan=True)
    for name in ("task", "evidence", "subgraphs", "scale", "num_good", "labels_read", "detail"):
        assert getattr(loaded, name) == getattr(prior, name)
    assert torch.equal(loaded.features(), prior.features())


def test_a_file_may_mix_own_and_known_spaces(prior: Prior, space: SearchSpace, tmp_path: Path) -> None:
    known = Prior.absent("nas-bench-201", "cifar10")
    path = save_priors([known, prior, replace(prior, task=None)], tmp_path / "priors.parquet")
    loaded = load_priors(path, spaces=[space])
    assert [p.space for p in loaded] == [get_space("nas-bench-201"), space, space]
    assert [p.task for p in loaded] == ["cifar10", "flowers", None]


def test_a_space_that_is_not_passed_is_asked_for(prior: Prior, space: SearchSpace, tmp_path: Path) -> None:
    path = prior.save(tmp_path / "prior.parquet")
    for read in (load_priors, Prior.load):
        with pytest.raises(ValueError, match="'residual-cell'.*own, pass it: Prior.load.path, space=.*spaces="):
            read(path)
    other = SearchSpace("residual-cel", space.slots, space.tasks, "none")
    with pytest.raises(ValueError, match="'residual-cell'.*Did you mean 'residual-cel'"):
        Prior.load(path, space=other)
    known = Prior.absent("nas-bench-201").save(tmp_path / "known.parquet")
    with pytest.raises(ValueError, match="holds a prior of nas-bench-201, not of residual-cell"):
        Prior.load(known, space=space)
    assert Prior.load(known, space="nas-bench-201").space is get_space("nas-bench-201")


def test_a_space_that_has_changed_is_refused(prior: Prior, space: SearchSpace, tmp_path: Path) -> None:
    path = prior.save(tmp_path / "prior.parquet")
    choices = space.slots[0].choices
    more = [replace(slot, choices=(*choices, Choice("conv7x7", "convolution", kernel=7))) for slot in space.slots]
    with pytest.raises(ValueError, match="says nothing of choice 'conv7x7' in slot '0->1'"):
        Prior.load(path, space=SearchSpace(space.name, more, space.tasks, "none"))
    fewer = [replace(slot, choices=choices[:-1]) for slot in space.slots]
    with pytest.raises(ValueError, match="unknown choice.*'maxpool3x3'"):
        Prior.load(path, space=SearchSpace(space.name, fewer, space.tasks, "none"))
    with pytest.raises(ValueError, match="unknown slot of residual-cell.*'3->4'"):
        Prior.load(path, space=SearchSpace(space.name, space.slots[:-1], space.tasks, "none"))


def test_a_choice_that_has_become_another_is_refused_from_a_file(
    prior: Prior, space: SearchSpace, tmp_path: Path
) -> None:
    path = prior.save(tmp_path / "prior.parquet")
    changed = [
        replace(slot, choices=[replace(c, kernel=7) if c.name == "conv3x3" else c for c in slot.choices])
        for slot in space.slots
    ]
    with pytest.raises(
        ValueError, match="choice 'conv3x3' in slot '0->1' was 'convolution-k3', and is 'convolution-k7'"
    ):
        Prior.load(path, space=SearchSpace(space.name, changed, space.tasks, "none"))
    reordered = [replace(slot, choices=slot.choices[::-1]) for slot in space.slots]  # by name: the same knowledge
    again = Prior.load(path, space=SearchSpace(space.name, reordered, space.tasks, "none"))
    assert torch.equal(again.frequencies.flip(1), prior.frequencies)


def test_json_needs_the_space(space: SearchSpace) -> None:
    for architecture in Architecture.from_batch(space, space.sample(20, seeded())):
        text = architecture.to_json()
        again = Architecture.from_json(text, space=space)
        assert again.indices == architecture.indices and again.space is space
        with pytest.raises(ValueError, match="'residual-cell'.*own, pass it: from_json"):
            Architecture.from_json(text)
        with pytest.raises(ValueError, match="an architecture of residual-cell, not of nas-bench-201"):
            Architecture.from_json(text, space="nas-bench-201")


def test_names_of_the_package_are_taken(space: SearchSpace) -> None:
    for name in list_spaces():
        with pytest.raises(ValueError, match=f"the name '{name}' is taken by a space of this package"):
            SearchSpace(name, space.slots, space.tasks, "none")
    architecture = Architecture(space, [5] * 10)
    again = pickle.loads(pickle.dumps(architecture))
    assert again == architecture and again.indices == architecture.indices and str(again) == str(architecture)


def test_lists_do_as_well_as_tuples() -> None:
    slot = Slot("a", "operation", [NONE, CONV], [0], 1)  # type: ignore[arg-type]
    assert slot == SLOT and hash(slot) == hash(SLOT)


# ---------------------------------------------------------------------- what cannot be


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: Choice("c", "convolutions"), "unknown kind of choice: 'convolutions'. Did you mean 'convolution'"),
        (lambda: Choice("c", "convolution", kernel="3"), "kernel of choice 'c' must be a number from 0, got '3'"),
        (lambda: Choice("c", "pooling", aggregation="maxx"), "unknown aggregation: 'maxx'. Did you mean 'max'"),
        (lambda: Choice("c", "activation", activation="tan"), "unknown activation: 'tan'. Did you mean 'tanh'"),
        (lambda: Choice("c", "convolution", kernel=-1), "kernel of choice 'c' must be a number from 0, got -1"),
        (lambda: Choice("c", "convolution", stride=0), "stride of choice 'c' must be a number from 1, got 0"),
        (lambda: Choice("c", "convolution", dilation=0), "dilation of choice 'c' must be a number from 1, got 0"),
        (lambda: Choice("c", "predecessor", level=3), "level of choice 'c' must be a number from 0 to 1, got 3"),
        (lambda: Slot("a", "operations", (NONE,), (0,), 1), "unknown kind of slot: 'operations'. Did you mean"),
        (lambda: Slot("a", "operation", (), (0,), 1), "slot 'a' needs distinct choices, at least one; got none"),
        (lambda: Slot("a", "operation", (NONE, CONV, NONE), (0,), 1), "'none' is there twice"),
        (lambda: Slot("a", "operation", ("conv",), (0,), 1), "choices of slot 'a' are Choice objects, got 'conv'"),
        (lambda: Slot("a", "operation", (NONE,), 0, 1), "slot 'a' reads a tuple of nodes, e.g. (0,), got 0"),
        (lambda: Slot("a", "operation", (NONE,), (0, 2), 1), "slot 'a' reads node 2 and writes node 1"),
        (lambda: Slot("a", "operation", (NONE,), (1,), 1), "slot 'a' reads node 1 and writes node 1"),
        (lambda: Slot("a", "operation", (NONE,), (-1,), 1), "slot 'a' reads node -1 and writes node 1"),
        (lambda: Slot("a", "operation", (NONE,), (), 0), "slot 'a' reads nothing and writes node 0"),
        (lambda: Task("images", 0.0, 2), "unknown kind of task: 'images'"),
        (lambda: Task("other", 0.0, 2, split="train"), "unknown split: 'train'"),
        (lambda: Task("other", float("nan"), 2), "the score of guessing must be a finite number, got nan"),
        (lambda: Task("other", 0.0, -1), "num_classes of a task must be a whole number from 0, got -1"),
        (lambda: SearchSpace("own", [], {}, "none"), "own needs at least one slot"),
        (lambda: SearchSpace(5, [SLOT], {}, "none"), "part of file names: not empty, no slashes; got 5"),
        (lambda: SearchSpace("..", [SLOT], {}, "none"), "part of file names: not empty, no slashes; got '..'"),
        (lambda: SearchSpace("own", None, {}, "none"), "slots of 'own' must be a list of Slot objects, got None"),
        (lambda: SearchSpace("own", [SLOT], ["t"], "none"), "tasks of 'own' must be Task objects by name, got ['t']"),
        (lambda: SearchSpace("own", [SLOT], {}, None), "null_choice of 'own' must be a name or names, got None"),
        (lambda: Task("other", "low", 2), "the score of guessing must be a finite number, got 'low'"),
        (lambda: Slot("a", "operation", (NONE,), (0,), 1.5), "slot 'a' writes one node, a whole number, got 1.5"),
        (lambda: SearchSpace("own", [SLOT, SLOT], {}, "none"), "own has two slots called 'a'"),
        (lambda: SearchSpace("own", [CONV], {}, "none"), "slots of own are Slot objects, got Choice("),
        (lambda: SearchSpace("own", [SLOT], {"t": "other"}, "none"), "task 't' of own must be a Task, got 'other'"),
        (lambda: SearchSpace("own", [SLOT], {"t": TASK}, "nome"), "which no slot has: 'nome'. Did you mean 'none'"),
        (lambda: SearchSpace("own", [SLOT], {}, ["none", "skip"]), "which no slot has: 'skip'. Allowed: none, conv"),
        (lambda: SearchSpace("own", [SLOT], {}, ()), "own needs a null choice"),
        (lambda: SearchSpace("my/own", [SLOT], {}, "none"), "part of file names: not empty, no slashes; got 'my/own'"),
        (lambda: SearchSpace("", [SLOT], {}, "none"), "part of file names"),
        (
            lambda: SearchSpace("own", [replace(SLOT, choices=(NONE, Choice("a|b", "linear")))], {}, "none"),
            "choice 'a|b' of own: strings of the space put | between choices",
        ),
    ],
)
def test_wrong_parts_are_refused(make, message: str) -> None:
    with pytest.raises(ValueError) as error:
        make()
    assert message in str(error.value) and "\n" not in str(error.value)


# ---------------------------------------------------------------------- identity: what a space is, not its name


def changed(space: SearchSpace) -> dict[str, SearchSpace]:
    """Spaces of the same name that are others, by what differs."""
    slots, tasks = space.slots, space.tasks
    other = Choice("none", "zero"), Choice("skip", "identity")
    return {
        "order of choices": SearchSpace(
            space.name, [replace(slot, choices=slot.choices[::-1]) for slot in slots], tasks, "none"
        ),
        "order of slots": SearchSpace(space.name, [*slots[1:], slots[0]], tasks, "none"),
        "fewer choices": SearchSpace(space.name, [replace(slot, choices=slot.choices[:-1]) for slot in slots], tasks,
                                     "none"),
        "other choices": SearchSpace(space.name, [replace(slot, choices=other) for slot in slots], tasks, "none"),
        "meaning of a choice": SearchSpace(
            space.name,
            [replace(slots[0], choices=(NONE, *(replace(c, kernel=c.kernel + 2) for c in slots[0].choices[1:]))),
             *slots[1:]],
            tasks,
            "none",
        ),
        "null choice": SearchSpace(space.name, slots, tasks, "skip"),
    }  # fmt: skip


def test_the_same_definition_run_again_is_the_same_space(
    untrained: PKGenPipeline, space: SearchSpace, prior: Prior, example: ModuleType
) -> None:
    again = SearchSpace(space.name, list(space.slots), {**space.tasks, "more": TASK}, "none")
    assert again == space and hash(again) == hash(space) and again is not space
    out = untrained(again, prior=prior, num_architectures=2, generator=seeded())
    assert [a.indices for a in out.architectures] == [
        a.indices for a in untrained(space, prior=prior, num_architectures=2, generator=seeded()).architectures
    ]
    assert Architecture(again, [2] * 10) == Architecture(space, [2] * 10)
    assert Prior.carried_over(again, [prior]).evidence == "carried over"


def test_another_definition_of_the_same_name_is_another_space(
    untrained: PKGenPipeline, space: SearchSpace, prior: Prior, tmp_path: Path
) -> None:
    pipe = PKGenPipeline(untrained.denoiser, untrained.scheduler, priors=[*untrained.priors, prior])
    pipe.set_progress_bar_config(disable=True)
    architecture = Architecture(space, [1] * 10)
    for what, other in changed(space).items():
        assert other != space, what
        with pytest.raises(ValueError, match="this prior is of another space that is called 'residual-cell' too: "):
            pipe(other, prior=prior, num_architectures=1)
        assert architecture != Architecture(other, [1] * 10), what
        for refused in (
            lambda s=other: Prior.from_evaluations(s, [architecture] * 9, range(9)),
            lambda s=other: pipe.rank(s, [architecture]),
            lambda s=other: Proposer(pipe, s, prior=prior),
            lambda s=other: Proposer(pipe, s).tell([architecture], [1.0]),
        ):
            with pytest.raises(ValueError, match="another space that is called 'residual-cell' too"):
                refused()
        # what is known of the first is not taken for knowledge of the second
        assert pipe.select_prior(other, "flowers", None).evidence == "from other spaces", what
        assert Prior.carried_over(other, [prior]).evidence == "from other spaces", what
        with pytest.raises(ValueError, match="residual-cell"):
            save_priors([prior, Prior.absent(other, "other")], tmp_path / "both.parquet")


def test_what_differs_is_said(space: SearchSpace, prior: Prior, untrained: PKGenPipeline) -> None:
    messages = {}
    for what, other in changed(space).items():
        with pytest.raises(ValueError) as error:
            untrained(other, prior=prior)
        messages[what] = str(error.value)
    assert "choices of its slot '0->1' are none, skip, conv3x3" in messages["order of choices"]
    assert "its slot 0 is '0->1', here it is '0->2'" in messages["order of slots"]
    assert "is described otherwise" in messages["meaning of a choice"]


def test_an_own_space_is_never_one_of_the_package(space: SearchSpace, untrained: PKGenPipeline) -> None:
    real = get_space("nas-bench-201")
    with pytest.raises(ValueError, match="the name 'nas-bench-201' is taken"):
        SearchSpace("nas-bench-201", real.slots, real.tasks, "none")

    class Mine(type(real)):  # type: ignore[misc]
        def is_valid(self, indices: torch.Tensor) -> torch.Tensor:
            return (indices == 3).any(1)

    with pytest.raises(ValueError, match="the name 'nas-bench-201' is taken"):
        Mine()


# ---------------------------------------------------------------------- kinds of task


def test_kinds_of_task_are_taken_everywhere(pipe: PKGenPipeline, space: SearchSpace) -> None:
    rows, kind = space.sample(9, seeded()), "image-classification"
    prior = Prior.from_evaluations(space, rows, range(9), kind)
    assert prior.task == kind
    out = pipe(space, kind, prior=prior, num_architectures=2, generator=seeded())
    assert Proposer(pipe, space, kind).ask(2)
    cells = pipe("nas-bench-201", kind, num_architectures=2, max_parameters=500_000, generator=seeded())
    assert all(a.cost(kind) == a.cost("cifar10") and a.cost(kind).parameters <= 500_000 for a in cells.architectures)
    assert cells.architectures[0].cost(kind, measured=True).parameters == cells.architectures[0].cost().parameters
    macro = Architecture.from_string("transnas-bench-101-macro", "64-1234-basic")
    assert macro.cost("image-segmentation") == macro.cost("segmentsemantic") != macro.cost("class_scene")
    assert macro.cost("other") == macro.cost("class_scene")  # of no data set of the space
    with pytest.raises(ValueError, match="'image-classificatio'"):
        macro.cost("image-classificatio")
    with pytest.raises(ValueError, match="'image-classificatio'"):
        Prior.from_evaluations(space, rows, range(9), "image-classificatio")
    assert out.prior is prior


def one_choice_more(valid: int) -> SearchSpace:
    """As a notebook's cell that is run again after a change of its class."""

    class Own(SearchSpace):
        def is_valid(self, indices: torch.Tensor) -> torch.Tensor:
            return (indices == 2).sum(1) >= valid

    operations = (NONE, Choice("skip", "identity"), CONV)
    slots = [Slot(f"{v}", "operation", operations, reads=(v - 1,), writes=v) for v in range(1, 5)]
    return Own("own", slots, {"mine": TASK}, "none")


def test_a_class_that_has_changed_is_another_space(untrained: PKGenPipeline) -> None:
    assert one_choice_more(1) == one_choice_more(1)

    class Own(SearchSpace):
        def is_valid(self, indices: torch.Tensor) -> torch.Tensor:
            return (indices == 1).sum(1) >= 1

    Own.__qualname__ = type(one_choice_more(1)).__qualname__
    space = one_choice_more(1)
    changed = Own(space.name, space.slots, space.tasks, "none")
    assert changed.fingerprint == space.fingerprint and changed != space
    with pytest.raises(ValueError, match="its class or its null choice differs"):
        untrained(changed, prior=Prior.absent(space))


@pytest.mark.parametrize(
    ("method", "answer", "message"),
    [
        ("is_valid", lambda self, rows: (rows == 2).any(1).long(), "is_valid of Wrong must return a tensor of shape"),
        ("is_valid", lambda self, rows: [True] * len(rows), "and type torch.bool for 3 architectures, got list"),
        ("is_valid", lambda self, rows: rows == 2, "got ((3, 4), torch.bool)"),
        ("canonical", lambda self, rows: rows[:, :2], "canonical of Wrong must return a tensor of shape (3, 4)"),
    ],
)
def test_methods_that_answer_otherwise_are_refused(untrained, method: str, answer, message: str) -> None:
    wrong = type("Wrong", (SearchSpace,), {method: answer})
    space = one_choice_more(1)
    with pytest.raises(ValueError) as error:
        untrained(wrong("wrong", space.slots, {}, "none"), num_architectures=1)
    assert message in str(error.value)


def test_a_table_of_another_space_makes_no_prior(cell_table: ScoreTable) -> None:
    with pytest.raises(ValueError, match="this table of scores is of nas-bench-201, not of darts"):
        Prior.from_benchmark("darts", "cifar10", 5, cell_table)


def test_tasks_may_go_and_come(untrained: PKGenPipeline, space: SearchSpace, prior: Prior) -> None:
    pipe = PKGenPipeline(untrained.denoiser, untrained.scheduler, priors=[prior])
    pipe.set_progress_bar_config(disable=True)
    assert (
        len(pipe(SearchSpace(space.name, space.slots, {"new": TASK}, "none"), num_architectures=2).architectures) == 2
    )
