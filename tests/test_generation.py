"""What a call of the pipeline keeps to itself: threads, generators, interruption; and where it must stop."""

from __future__ import annotations

import itertools
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch

from pkgen_hf import PKGenPipeline, PKGenPipelineOutput, Prior, PriorDiscreteScheduler, Proposer, ScoreTable
from pkgen_hf.modeling_denoiser import ArchitectureDenoiser
from pkgen_hf.spaces import Choice, SearchSpace, Slot, Task, get_space

SPACE = "nas-bench-201"


@pytest.fixture(scope="module")
def untrained(cell_table: ScoreTable) -> PKGenPipeline:
    """Random weights and one prior."""
    torch.manual_seed(0)
    denoiser = ArchitectureDenoiser(width=16, num_layers=1, num_heads=2, vocabulary=["identity"])
    prior = Prior.from_benchmark(SPACE, "cifar10", table=cell_table)
    pipe = PKGenPipeline(denoiser.eval(), PriorDiscreteScheduler(), priors=[prior])
    pipe.set_progress_bar_config(disable=True)
    return pipe


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def found(out: PKGenPipelineOutput) -> list[tuple[int, ...]]:
    return [architecture.indices for architecture in out.architectures]


def chain(name: str, length: int, kind: type[SearchSpace] = SearchSpace) -> SearchSpace:
    """Operations one after the other, three to choose from."""
    operations = (Choice("none", "zero"), Choice("skip", "identity"), Choice("conv", "convolution", kernel=3))
    slots = [Slot(f"{v}", "operation", operations, reads=(v - 1,), writes=v) for v in range(1, length + 1)]
    return kind(name, slots, {"mine": Task("image-classification", 0.0, 2, image_size=8)}, "none")


class OnlyConvolutions(SearchSpace):
    def is_valid(self, indices: torch.Tensor) -> torch.Tensor:
        return (indices == 2).all(1)


class AtMostOneOther(SearchSpace):
    def is_valid(self, indices: torch.Tensor) -> torch.Tensor:
        return (indices == 2).sum(1) >= indices.shape[1] - 1


class Even(SearchSpace):
    def is_valid(self, indices: torch.Tensor) -> torch.Tensor:
        return indices.sum(1) % 2 == 0


class Nothing(SearchSpace):
    def is_valid(self, indices: torch.Tensor) -> torch.Tensor:
        return torch.zeros(len(indices), dtype=torch.bool)


# ---------------------------------------------------------------------- threads


def test_calls_in_threads_equal_the_same_calls_alone(untrained: PKGenPipeline) -> None:
    """300 calls in 8 threads, of several spaces, with other steps and budgets each, in any order."""
    half = int(get_space(SPACE).parameters(get_space(SPACE).all_indices()).median())
    kinds: list[dict[str, Any]] = [
        {"space": SPACE, "num_inference_steps": 2},
        {"space": SPACE, "num_inference_steps": 8, "distinct": False},
        {"space": SPACE, "num_inference_steps": 3, "distinct": False, "max_parameters": half},
        {"space": "nas-bench-macro", "num_inference_steps": 1},
        {"space": "transnas-bench-101-macro", "num_inference_steps": 4, "distinct": False, "guidance_scale": 0},
    ]
    requests = [kind | {"num_architectures": 2, "seed": seed} for kind in kinds for seed in range(4)]

    def call(request: dict[str, Any]) -> list[tuple[int, ...]]:
        arguments = {name: value for name, value in request.items() if name != "seed"}
        return found(untrained(generator=seeded(request["seed"]), **arguments))

    alone = [call(request) for request in requests]
    order = torch.randperm(300, generator=seeded(1)) % len(requests)
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda number: call(requests[number]), order.tolist()))
    assert together == [alone[number] for number in order.tolist()]


def test_a_call_leaves_the_scheduler_as_it_was(untrained: PKGenPipeline) -> None:
    before = untrained.scheduler.timesteps.clone()
    seen = []

    def watch(view: PKGenPipeline, step: int, timestep: int, kwargs: dict[str, Any]) -> None:
        seen.append((len(view.scheduler.timesteps), view.scheduler is untrained.scheduler))

    untrained(SPACE, num_inference_steps=7, num_architectures=1, distinct=False, callback_on_step_end=watch)
    assert seen == [(7, False)] * 7
    assert torch.equal(untrained.scheduler.timesteps, before)


# ---------------------------------------------------------------------- knowledge travels with the pipeline


def test_a_pipeline_of_the_parts_of_another_knows_as_much(pipe: PKGenPipeline) -> None:
    again = PKGenPipeline(**pipe.components)
    again.set_progress_bar_config(disable=True)
    assert again.priors == pipe.priors and len(again.priors) > 10
    first, second = (p(SPACE, "cifar10", generator=seeded()) for p in (pipe, again))
    assert found(first) == found(second) and second.prior.evidence == "measured"
    again.priors = pipe.priors[:1]
    assert PKGenPipeline.from_pipe(again).priors == pipe.priors[:1]


def test_parts_loaded_from_a_checkpoint_bring_its_priors(pipe: PKGenPipeline, tmp_path) -> None:
    pipe.save_pretrained(tmp_path)
    parts = PKGenPipeline(
        ArchitectureDenoiser.from_pretrained(tmp_path, subfolder="denoiser"),
        PriorDiscreteScheduler.from_pretrained(tmp_path, subfolder="scheduler"),
    )
    assert len(parts.priors) == len(pipe.priors)


def test_generating_from_nothing_warns(untrained: PKGenPipeline) -> None:
    nothing = PKGenPipeline(untrained.denoiser, untrained.scheduler)
    nothing.set_progress_bar_config(disable=True)
    for call in (lambda: nothing(SPACE, num_architectures=1), lambda: nothing.rank(SPACE, [(3,) * 6])):
        with pytest.warns(UserWarning, match="no prior for nas-bench-201: .*from_pretrained.*prior="):
            call()


@pytest.mark.filterwarnings("error")
def test_knowing_nothing_on_purpose_does_not_warn(untrained: PKGenPipeline) -> None:
    out = untrained(SPACE, num_architectures=1, prior=Prior.absent(SPACE), generator=seeded())
    assert out.prior.evidence == "absent"


# ---------------------------------------------------------------------- a generator for each


@pytest.mark.parametrize("call", [{}, {"max_parameters": 250_000}, {"max_flops": 200e6}])
def test_each_item_can_be_made_again_alone(untrained: PKGenPipeline, call: dict[str, Any]) -> None:
    """Also those that had to be drawn again, because they exceeded a limit or were not valid."""
    space = get_space("nas-bench-101") if call else chain("even", 12, Even)
    call = {"distinct": False, "num_inference_steps": 2, "prior": Prior.absent(space)} | call
    together = untrained(space, num_architectures=6, generator=[seeded(i) for i in range(6)], **call)
    alone = [found(untrained(space, num_architectures=1, generator=[seeded(i)], **call))[0] for i in range(6)]
    assert sorted(found(together)) == sorted(alone)
    assert (together.validity < 1) == (space.name == "even")


def test_items_that_need_many_rounds_depend_on_no_other(untrained: PKGenPipeline) -> None:
    """Under a low budget, where each item falls back to architectures known to be within it."""
    space = get_space("darts")
    rows = space.sample(2000, seeded(1))
    most = int(space.flops(rows).double().quantile(0.001))
    call: dict[str, Any] = {"distinct": False, "max_flops": most, "prior": Prior.absent("darts")}
    together = untrained("darts", num_architectures=6, generator=[seeded(i) for i in range(6)], **call)
    alone = [found(untrained("darts", num_architectures=1, generator=[seeded(i)], **call))[0] for i in range(6)]
    assert sorted(found(together)) == sorted(alone)


def test_samples_of_all_generators_are_put_together(untrained: PKGenPipeline) -> None:
    """Where they must be distinct: the same list gives the same, also where they draw the same at first."""
    first, second = (untrained(SPACE, num_architectures=4, generator=[seeded(5) for _ in range(4)]) for _ in range(2))
    assert found(first) == found(second) and len(set(first.architectures)) == 4


# ---------------------------------------------------------------------- where it must stop


@pytest.mark.parametrize("length", [3, 14])
def test_one_valid_architecture_in_many(untrained: PKGenPipeline, length: int) -> None:
    """It is found where encodings are listed; that one in 3^14 may not be is said in seconds."""
    space = chain("only-convolutions", length, OnlyConvolutions)
    with pytest.raises(ValueError, match="[01] could be had|holds 1;"):
        untrained(space, num_architectures=2, generator=seeded())
    if length == 3:
        assert set(found(untrained(space, num_architectures=2, distinct=False))) == {(2,) * 3}


def test_fewer_valid_than_asked_for(untrained: PKGenPipeline) -> None:
    few = chain("at-most-one-other", 3, AtMostOneOther)
    assert few.num_architectures == 7
    out = untrained(few, num_architectures=7, generator=seeded())
    assert len(set(out.architectures)) == 7 and all(architecture.is_valid for architecture in out.architectures)
    with pytest.raises(ValueError, match="8 distinct architectures were asked for, but at-most-one-other holds 7"):
        untrained(few, num_architectures=8)
    many = chain("many-at-most-one-other", 12, AtMostOneOther)  # 25 of 531,441, more than are listed
    with pytest.raises(ValueError, match="40 distinct architectures of many-at.*could be had: .* samples were valid"):
        untrained(many, num_architectures=40, generator=seeded())


@pytest.mark.parametrize("length", [2, 12])
def test_no_valid_architecture_at_all(untrained: PKGenPipeline, length: int) -> None:
    space = chain("nothing", length, Nothing)
    for distinct in (True, False):
        with pytest.raises(ValueError, match="nothing") as error:
            untrained(space, num_architectures=1, distinct=distinct)
        assert "\n" not in str(error.value) and not isinstance(error.value, IndexError)


def test_the_temperature_that_was_reached_is_told(pipe: PKGenPipeline) -> None:
    assert pipe(SPACE, "cifar10", num_architectures=4, generator=seeded()).temperature == 0.5
    raised = pipe(SPACE, "cifar10", num_architectures=2000, generator=seeded()).temperature
    assert raised > 0.5 and np.log(raised / 0.5) / np.log(1.5) == pytest.approx(
        round(np.log(raised / 0.5) / np.log(1.5)), abs=1e-4
    )


# ---------------------------------------------------------------------- what callers pass


@pytest.mark.parametrize("name", ["num_architectures", "num_inference_steps"])
@pytest.mark.parametrize("number", [np.int64(3), np.uint8(3), torch.tensor(3)])
def test_scalars_of_arrays_are_numbers(untrained: PKGenPipeline, name: str, number: Any) -> None:
    call: dict[str, Any] = {"num_architectures": 3, "num_inference_steps": 3, "distinct": False}
    expected = found(untrained(SPACE, generator=seeded(), **call))
    assert found(untrained(SPACE, generator=seeded(), **call | {name: number})) == expected


def test_floating_scalars_and_limits(untrained: PKGenPipeline) -> None:
    call = {"guidance_scale": 1, "temperature": 1, "max_parameters": 500_000, "num_architectures": 2}
    same = {"guidance_scale": np.float32(1), "temperature": torch.tensor(1.0), "max_parameters": np.int64(500_000)}
    assert found(untrained(SPACE, generator=seeded(), **call)) == found(
        untrained(SPACE, generator=seeded(), **call | same)
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ({"generator": 42}, "generator must be a torch.Generator or a list of them, got 42; of a seed make"),
        ({"generator": np.random.default_rng(0)}, "generator must be a torch.Generator or a list of them"),
        ({"generator": [0] * 8}, "generator must be a torch.Generator or a list of them"),
        ({"num_inference_steps": 2.5}, "num_inference_steps must be a whole number, 1 to 1000, got 2.5"),
        ({"num_inference_steps": None}, "num_inference_steps must be a whole number, 1 to 1000, got None"),
        ({"num_inference_steps": True}, "num_inference_steps must be a whole number, 1 to 1000, got True"),
        ({"num_architectures": "8"}, "num_architectures must be a whole number from 1, got '8'"),
        ({"num_architectures": np.bool_(True)}, "num_architectures must be a whole number from 1, got"),
        ({"guidance_scale": None}, "guidance_scale must be 0 to 100, got None"),
        ({"guidance_scale": "1"}, "guidance_scale must be 0 to 100, got '1'"),
        ({"temperature": None}, "temperature must be above 0 and at most 100, got None"),
        ({"max_parameters": "1e6"}, "max_parameters must be a positive number of parameters, got '1e6'"),
        ({"prior": "mine.parquet"}, "prior must be a Prior, got 'mine.parquet'; Prior.load reads one"),
        ({"task": 3}, "unknown task of nas-bench-201: 3"),
        ({"space": None}, "unknown search space: None"),
        ({"space": ["nas-bench-201"]}, "unknown search space: ['nas-bench-201']"),
        ({"callback_on_step_end": lambda *_: 3}, "callback_on_step_end must return a dict or None, got 3"),
    ],
)
def test_one_clear_line(untrained: PKGenPipeline, call: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as error:
        untrained(**{"space": SPACE, **call})
    assert message in str(error.value) and "\n" not in str(error.value)


def test_a_callback_may_return_nothing(untrained: PKGenPipeline) -> None:
    plain = found(untrained(SPACE, num_architectures=3, generator=seeded()))
    for returned in (None, {}):
        out = untrained(SPACE, num_architectures=3, generator=seeded(), callback_on_step_end=lambda *_, r=returned: r)
        assert found(out) == plain


@pytest.mark.parametrize("distinct", [True, False])
@pytest.mark.parametrize("through", ["view", "pipeline"])
def test_a_call_can_be_interrupted(untrained: PKGenPipeline, distinct: bool, through: str) -> None:
    """It returns the valid ones of what it has sampled, and nothing else, in the order of `rank`."""
    seen = []

    def stop(view: PKGenPipeline, step: int, timestep: int, kwargs: dict[str, Any]) -> dict[str, Any]:
        seen.append(kwargs["sample"].clone())
        if len(seen) == 2:
            (view if through == "view" else untrained)._interrupt = True
        return kwargs

    call = {"num_inference_steps": 6, "num_architectures": 500, "distinct": distinct}
    out = untrained(SPACE, generator=seeded(), callback_on_step_end=stop, **call)
    space = get_space(SPACE)
    assert len(seen) == 2
    valid = seen[1][space.is_valid(seen[1])]
    keys = space.keys(torch.tensor(found(out))).sort().values
    expected = space.keys(valid).sort().values
    assert torch.equal(keys, expected.unique() if distinct else expected) and len(keys) > 20
    torch.testing.assert_close(out.scores, untrained.rank(SPACE, out.architectures))
    assert (out.scores.diff() <= 0).all()
    assert len(untrained(SPACE, num_architectures=5, generator=seeded()).architectures) == 5  # the next one is not


def test_interrupting_one_call_leaves_the_others(untrained: PKGenPipeline) -> None:
    ready = threading.Barrier(2, timeout=60)

    def call(stops: bool) -> int:
        steps = itertools.count(1)

        def watch(view: PKGenPipeline, *_: Any) -> None:
            if next(steps) == 2:
                view._interrupt = stops
                ready.wait()

        options: dict[str, Any] = {"num_inference_steps": 20, "num_architectures": 1, "distinct": False}
        untrained(SPACE, generator=seeded(), callback_on_step_end=watch, **options)
        return next(steps) - 1

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(call, [True, False])) == [2, 20]


def test_another_default_device(untrained: PKGenPipeline) -> None:
    """Nothing that is made without a device goes there: on the meta device it would be lost."""
    call: dict[str, Any] = {"max_parameters": 500_000, "num_architectures": 3}
    evaluations = get_space(SPACE).sample(9, seeded()).tolist(), list(range(9))

    def everything() -> list[Any]:
        prior = Prior.from_evaluations(SPACE, *evaluations)
        asked = Proposer(untrained, SPACE, prior=prior).ask(2)
        out = untrained(SPACE, "cifar10", generator=seeded(), **call)
        return [found(out), prior.frequencies, asked, untrained.rank(SPACE, out.architectures)]

    plain = everything()
    torch.set_default_device("meta")
    try:
        there = everything()
    finally:
        torch.set_default_device(None)
    assert plain[0] == there[0] and torch.equal(plain[1], there[1])
    assert plain[2] == there[2] and torch.equal(plain[3], there[3])


def test_the_smallest_budget_can_be_had(untrained: PKGenPipeline) -> None:
    """Of spaces too large to list, whose smallest networks steering alone hardly finds."""
    least = 82_343_424
    call: dict[str, Any] = {"num_architectures": 1, "max_flops": least, "prior": Prior.absent("darts")}
    for distinct in (True, False):
        out = untrained("darts", generator=seeded(), distinct=distinct, **call)
        assert out.architectures[0].cost().flops == least


def test_sparse_spaces_with_and_without_distinct(untrained: PKGenPipeline) -> None:
    """Samples as they come are looked for as long as distinct ones."""
    space = chain("few-valid", 10, AtMostOneOther)
    out = untrained(space, num_architectures=5, distinct=False, generator=seeded(), prior=Prior.absent(space))
    assert len(out.architectures) == 5 and all(architecture.is_valid for architecture in out.architectures)


def test_changes_of_one_slot_find_what_samples_do_not(untrained: PKGenPipeline) -> None:
    """Rounds are counted by their steps; within the limits, sampling all would take many more."""
    steps: list[int] = []
    space, limit = get_space(SPACE), 2.5e5
    within = space.canonical(space.valid_rows)
    within = within[space.is_drawn(within) & (space.parameters(within) <= limit)]
    num = int(0.8 * len(space.keys(within).unique()))
    out = untrained(
        SPACE,
        num_architectures=num,
        max_parameters=limit,
        num_inference_steps=1,
        generator=seeded(),
        callback_on_step_end=lambda pipe, step, timestep, given: steps.append(step) or {},
    )
    assert len(set(found(out))) == num > 500 and len(steps) <= 8
    assert all(architecture.cost().parameters <= limit for architecture in out.architectures)


def test_nothing_to_rank_and_nothing_found(untrained: PKGenPipeline) -> None:
    assert untrained.rank(SPACE, []).shape == (0,)

    def stop(view: PKGenPipeline, *_: Any) -> None:
        view._interrupt = True

    call: dict[str, Any] = {"max_parameters": 3e5, "num_inference_steps": 8}
    for distinct in (True, False):
        out = untrained(
            "nas-bench-101",
            num_architectures=1,
            callback_on_step_end=stop,
            distinct=distinct,
            generator=seeded(),
            **call,
        )
        assert len(out.architectures) == len(out.scores) <= 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda sample: sample.fill_(99), "has choices 0..4, got 99"),
        (lambda sample: sample[:1], "must return a sample of shape"),
        (lambda sample: None, "must return a sample of shape"),
    ],
)
def test_what_a_callback_may_not_return(untrained: PKGenPipeline, change: Any, message: str) -> None:
    def watch(view: PKGenPipeline, step: int, timestep: int, kwargs: dict[str, Any]) -> dict[str, Any]:
        return {"sample": change(kwargs["sample"])}

    with pytest.raises(ValueError) as error:
        untrained(SPACE, num_architectures=4, callback_on_step_end=watch)
    assert message in str(error.value)


def test_priors_are_read_once_by_many_threads(pipe: PKGenPipeline, tmp_path) -> None:
    pipe.save_pretrained(tmp_path)
    parts = PKGenPipeline(
        ArchitectureDenoiser.from_pretrained(tmp_path, subfolder="denoiser").eval(), PriorDiscreteScheduler()
    )
    with ThreadPoolExecutor(4) as pool:
        counts = list(pool.map(lambda _: len(parts.priors), range(8)))
    assert counts == [len(pipe.priors)] * 8
    again = PKGenPipeline(parts.denoiser, parts.scheduler)
    (tmp_path / "priors" / f"{SPACE}.parquet").write_bytes(b"xx")
    for _ in range(2):  # not an error once and nothing the second time
        with pytest.raises(ValueError, match=f"{SPACE}.parquet"):
            _ = again.priors


def test_parts_of_a_loaded_pipeline_bring_its_priors(pipe: PKGenPipeline) -> None:
    assert len(PKGenPipeline(pipe.denoiser, pipe.scheduler).priors) == len(pipe.priors)


def test_a_new_call_does_not_undo_a_request_to_stop(untrained: PKGenPipeline) -> None:
    begun, steps = threading.Event(), itertools.count(1)

    def watch(view: PKGenPipeline, *_: Any) -> None:
        if next(steps) == 1:
            begun.set()
            asked.wait(60)

    asked = threading.Event()
    options: dict[str, Any] = {"num_inference_steps": 500, "num_architectures": 1, "distinct": False}
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(lambda: untrained(SPACE, callback_on_step_end=watch, **options))
        begun.wait(60)
        untrained._interrupt = True
        untrained(SPACE, num_architectures=1, distinct=False)
        asked.set()
        running.result()
    assert next(steps) < 500


def test_default_dtype_of_64_bits(untrained: PKGenPipeline) -> None:
    call: dict[str, Any] = {"max_parameters": 500_000, "num_architectures": 3, "num_inference_steps": 3}
    plain = untrained(SPACE, "cifar10", generator=seeded(), **call)
    torch.set_default_dtype(torch.float64)
    try:
        double = untrained(SPACE, "cifar10", generator=seeded(), **call)
        prior = Prior.from_evaluations(SPACE, get_space(SPACE).sample(9, seeded()), range(9))
        assert untrained(SPACE, prior=prior, num_architectures=1).prior.frequencies.dtype == torch.float32
    finally:
        torch.set_default_dtype(torch.float32)
    assert found(double) == found(plain) and double.scores.dtype == torch.float32
