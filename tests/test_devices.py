"""Everything works where the weights are: on a pretended GPU with real numbers, and whatever torch's defaults are."""

from __future__ import annotations

import inspect
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from accelerate.state import AcceleratorState
from devices import CPU, CUDA, PretendedCuda, PretendedGenerator, place
from fresh import run_fresh
from representatives import REPRESENTATIVES
from torch.nn import functional as F

from pkgen_hf import Architecture, PKGenPipeline, PriorDiscreteScheduler, Proposer, get_space, list_spaces
from pkgen_hf.benchmarks.latencies import LatencyTable
from pkgen_hf.modeling_denoiser import ArchitectureDenoiser
from pkgen_hf.priors.prior import Prior
from pkgen_hf.spaces import SearchSpace
from pkgen_hf.training.arguments import RECORD, TrainingArguments
from pkgen_hf.training.loop import train
from pkgen_hf.training.tasks import load_tables

SMALL = {"priors_per_task": 4, "shifted_tasks": 2, "width": 16, "num_layers": 1, "num_heads": 2}
TENSORS = (
    "sizes", "choice_mask", "choice_features", "cost_effects", "slot_features", "relations", "null_indices",
    "valid_rows",
)  # fmt: skip


@pytest.fixture
def cuda() -> Iterator[None]:
    with PretendedCuda():
        yield


@pytest.fixture(scope="module")
def moved() -> PKGenPipeline:
    """The bundled checkpoint on the pretended GPU."""
    with PretendedCuda():
        return quiet(PKGenPipeline.from_pretrained("pkgen-base")).to("cuda")


@pytest.fixture
def on_cuda(cuda: None, moved: PKGenPipeline) -> PKGenPipeline:
    """The same, with the GPU pretended."""
    return moved


def quiet(pipe: PKGenPipeline) -> PKGenPipeline:
    pipe.set_progress_bar_config(disable=True)
    return pipe


def fresh(name: str) -> SearchSpace:
    """A built-in space that has made none of its tensors yet."""
    kind: Any = type(get_space(name))
    return kind(name) if "name" in inspect.signature(kind).parameters else kind()  # some classes have several spaces


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# ---------------------------------------------------------------------- the pretended GPU itself


HERE, FLAGS = torch.arange(6.0).reshape(2, 3), torch.tensor([True, False])
REFUSED: dict[str, Callable[[torch.Tensor], Any]] = {
    "sum": lambda x: x + HERE,
    "written to": lambda x: HERE.clone().add_(x),
    "a number written to": lambda x: torch.tensor(1.0).add_(x[0, 0]),
    "a number of the GPU beside many of the CPU": lambda x: HERE * x[0, 0],
    "product of matrices": lambda x: x @ HERE.T,
    "joined": lambda x: torch.cat([x, HERE]),
    "stacked numbers": lambda x: torch.stack([x[0, 0], torch.tensor(1.0)]),
    "chosen": lambda x: torch.where(x > 1, x, HERE),
    "chosen by": lambda x: torch.where(HERE > 1, x, 0.0),
    "masked": lambda x: x.masked_fill(HERE > 1, 0.0),
    "gathered": lambda x: x.gather(1, torch.zeros(2, 1, dtype=torch.long)),
    "scattered": lambda x: x.scatter_add(1, x.long().clamp(max=2), HERE),
    "added by index": lambda x: x.index_add(0, torch.tensor([0, 1]), x),
    "searched": lambda x: torch.searchsorted(x[0], HERE[0]),
    "membership": lambda x: torch.isin(x, HERE),
    "embedding": lambda x: F.embedding(x.long(), torch.zeros(9, 2)),
    "loss": lambda x: F.cross_entropy(x, torch.tensor([0, 1])),
    "sum of products": lambda x: torch.einsum("ij,kj->ik", x, HERE),
    "lists": lambda x: torch._foreach_add([x, x], [x, HERE]),
    "indexed from the GPU": lambda x: HERE[x[:, 0].long().clamp(max=1)],
    "indexed by a mask of the GPU": lambda x: HERE[x > 1],
    "written by a list": lambda x: x.__setitem__([0, 1], HERE),
    "written by a mask": lambda x: x.__setitem__(FLAGS, HERE[:1]),
    "layer": lambda x: torch.nn.Linear(3, 2)(x),
    "layer on the GPU": lambda x: torch.nn.Linear(3, 2).to("cuda")(HERE),
    "noise": lambda x: torch.rand(2, device=x.device, generator=seeded()),
    "draws": lambda x: torch.multinomial(x + 1, 1, generator=seeded()),
    "noise of the GPU": lambda x: torch.rand(2, generator=PretendedGenerator()),
}
ALLOWED: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "numbers": lambda x: torch.tensor(2.0) * x + 1,
    "a number chosen": lambda x: torch.where(x > 1, x, torch.tensor(0.0)),
    "indexed from the CPU": lambda x: x[torch.tensor([1, 0])],
    "indexed by a mask of the CPU": lambda x: x[FLAGS],
    "copied": lambda x: x.copy_(HERE),
    "a part written from the CPU": lambda x: (x.__setitem__((slice(None), 0), HERE[:, 1]), x)[1],
    "made there": lambda x: torch.arange(3, device=x.device) + x,
    "made like it": lambda x: torch.zeros_like(x) + x.new_ones(2, 3) + x.max(1).values[:, None],
    "drawn on the CPU": lambda x: x + torch.rand(2, 3, generator=seeded()).to(x.device),
    "drawn there": lambda x: x * torch.rand(2, 3, generator=PretendedGenerator(), device=x.device),
    "of the kind of another": lambda x: HERE.to(x) + torch.as_tensor(HERE, device="cuda") + torch.as_tensor(x),
    "layer": lambda x: torch.nn.Linear(3, 2).cuda()(x),
    "parameter": lambda x: torch.nn.Parameter(x) * x,
    "gradient": lambda x: torch.autograd.grad((y := x.clone().requires_grad_()).square().sum(), y)[0],
}


@pytest.mark.parametrize("what", REFUSED)
def test_refuses_to_mix_devices(cuda: None, what: str) -> None:
    with pytest.raises(RuntimeError, match="same device|on cpu|device type for generator"):
        REFUSED[what](HERE.to("cuda"))


@pytest.mark.parametrize("what", ALLOWED)
def test_allows_what_cuda_allows_and_computes_it(cuda: None, what: str) -> None:
    torch.manual_seed(0)
    result = ALLOWED[what](HERE.to("cuda"))
    assert result.device == CUDA and result.is_cuda and not result.is_cpu
    back = result.cpu()
    assert back.device == place(back) == CPU and result.device == CUDA
    assert back.isfinite().all() and result.tolist() == back.tolist()


def test_numbers_leave_the_gpu_as_in_torch(cuda: None) -> None:
    there = HERE.to("cuda")
    assert float(there[0, 1]) == there[0, 1].item() == 1 and bool(there.any()) and [0, 1, 2][there[0, 1].long()] == 1
    assert torch.equal(HERE[there[0, 1].long()], HERE[1])  # a single index is read, not indexed with
    for read in (there.numpy, lambda: np.asarray(there)):
        with pytest.raises(TypeError, match="can't convert cuda:0"):
            read()
    assert torch.from_numpy(there.cpu().numpy()).device == CPU


def test_moving_copies_just_where_it_must(cuda: None) -> None:
    here = torch.zeros(2)
    there = here.to("cuda:0")
    there += 1
    assert there.to("cuda") is there and there.cuda() is there and here.cpu() is here and here.sum() == 0
    assert there.to("cuda", torch.float64).dtype == torch.float64


def test_modules_their_gradients_and_optimizers_move(cuda: None) -> None:
    layer = torch.nn.Linear(3, 1)
    optimizer = torch.optim.AdamW(layer.parameters())
    for device in ("cuda", "cpu"):
        before = layer.to(device).weight.tolist()
        layer(HERE.to(device)).sum().backward()
        assert layer.weight.device.type == layer.weight.grad.device.type == device  # type: ignore[union-attr]
        optimizer = torch.optim.AdamW(layer.parameters())
        optimizer.step()
        assert layer.weight.tolist() != before
        assert {tensor.device.type for tensor in layer.state_dict().values()} == {device}


# ---------------------------------------------------------------------- spaces


METHODS: dict[str, Callable[[SearchSpace, torch.Tensor], torch.Tensor]] = {
    "check": lambda space, rows: space.check(rows),
    "is_valid": lambda space, rows: space.is_valid(rows),
    "is_connected": lambda space, rows: space.is_connected(rows),
    "canonical": lambda space, rows: space.canonical(rows),
    "codes": lambda space, rows: space.codes(rows),
    "keys": lambda space, rows: space.keys(rows),
    "features": lambda space, rows: space.features(rows),
    "remove": lambda space, rows: space.remove(rows, rows > 0),
}


@pytest.mark.parametrize("name", list_spaces())
def test_a_space_answers_on_the_device_of_its_rows(cuda: None, name: str) -> None:
    space = get_space(name)
    rows = space.sample(40, seeded())
    asked = dict(METHODS)
    for task in [None, *space.tasks]:
        asked[f"parameters {task}"] = lambda space, rows, task=task: space.parameters(rows, task)
        asked[f"flops {task}"] = lambda space, rows, task=task: space.flops(rows, task)
    for what, ask in asked.items():
        there, here = ask(space, rows.to("cuda")), ask(space, rows)
        assert (there.device, here.device) == (CUDA, CPU), what
        assert there.dtype == here.dtype and torch.equal(there.cpu(), here), what
    assert space.to_strings(rows.to("cuda")) == space.to_strings(rows)
    assert Architecture.from_batch(space, rows.to("cuda")) == Architecture.from_batch(space, rows)


@pytest.mark.parametrize("name", list_spaces())
def test_a_space_draws_where_the_generator_does(cuda: None, name: str) -> None:
    space = get_space(name)
    drawn = space.sample(40, PretendedGenerator().manual_seed(3))
    assert drawn.device == CUDA and torch.equal(drawn.cpu(), space.sample(40, seeded(3)))
    assert space.sample(2).device == CPU


def test_keys_of_the_graph_benchmark_are_read_on_their_device(cuda: None) -> None:
    space: Any = get_space("nas-bench-graph")
    keys = torch.tensor([12345, 80178])
    assert torch.equal(space.from_benchmark_keys(keys.to("cuda")).cpu(), space.from_benchmark_keys(keys))


# ---------------------------------------------------------------------- denoiser and scheduler


def conditions(denoiser: ArchitectureDenoiser, name: str) -> Any:
    space = get_space(name)
    uneven = torch.rand(space.choice_mask.shape, generator=seeded()) * space.choice_mask
    prior = Prior(space, None, "measured", uneven, uneven, uneven / uneven.sum(1, keepdim=True))
    return denoiser.make_condition(space, [prior, Prior.absent(space)], similarity=0.5), prior


@pytest.mark.parametrize("name", ["nas-bench-201", "nas-bench-101"])
def test_the_denoiser_computes_on_its_device(on_cuda: PKGenPipeline, pipe: PKGenPipeline, name: str) -> None:
    results: dict[str, list[torch.Tensor]] = {}
    for device, denoiser in (("cuda", on_cuda.denoiser), ("cpu", pipe.denoiser)):
        assert denoiser.execution_device.type == device
        sample = get_space(name).sample(6, seeded()).to(device)
        condition, _ = conditions(denoiser, name)
        for part in (condition, condition.unconditional(), denoiser.encode(condition)):
            tensors = [getattr(part, field.name) for field in fields(part)]
            assert {tensor.device.type for tensor in tensors if tensor is not None} == {device}
        with torch.no_grad():
            several = denoiser(sample, torch.arange(0, 600, 100, device=device), condition)
            one = denoiser(sample, 30.0, denoiser.encode(condition.unconditional()))
        assert several.device.type == one.device.type == device
        results[device] = [several.cpu(), one.cpu()]
    for there, here in zip(*results.values(), strict=True):
        assert alike(there, here)


def test_a_condition_moves_as_hooks_move_arguments(cuda: None, pipe: PKGenPipeline) -> None:
    condition, _ = conditions(pipe.denoiser, "darts")
    moved = condition.to("cuda")
    assert moved.prior_features.device == moved.choice_ids.device == CUDA
    assert moved.prior_features.dtype == condition.prior_features.dtype
    assert moved.to("cpu", torch.bfloat16).similarity.dtype == torch.bfloat16


@pytest.mark.parametrize("several", [False, True], ids=["one generator", "a generator for each"])
def test_the_scheduler_draws_on_the_device_of_the_samples(cuda: None, pipe: PKGenPipeline, several: bool) -> None:
    space = get_space("nas-bench-201")
    results: dict[str, list[torch.Tensor]] = {}
    for device in ("cuda", "cpu"):
        scheduler = PriorDiscreteScheduler()
        scheduler.set_timesteps(4, device)
        _, prior = conditions(pipe.denoiser, space.name)
        m = scheduler.stationary(prior.distribution()).to(device)
        draw: Any = [seeded(i) for i in range(8)] if several else seeded()
        sample = scheduler.initial_sample(m, 8, draw)
        noisy = scheduler.add_noise(sample, torch.arange(0, 800, 100, device=device), m, draw)
        logits = torch.linspace(-1, 1, m.numel(), device=device).reshape(m.shape).expand(8, -1, -1)
        out = [sample, noisy, scheduler.log_likelihood_ratio(torch.tensor(500), noisy, m)]
        out += [scheduler.posterior(logits.softmax(-1), 500, 250, noisy, m)]
        out += scheduler.step(logits, scheduler.timesteps[1], noisy, m, draw, return_dict=False)
        # architectures to draw from may come from the CPU
        out += scheduler.step(logits, 250, noisy, m, draw, return_dict=False, support=space.valid_rows)
        assert {tensor.device.type for tensor in out} == {device}
        results[device] = [tensor.cpu() for tensor in out]
    for there, here in zip(*results.values(), strict=True):
        assert torch.equal(there, here)


def test_add_noise_without_a_generator_draws_there(cuda: None) -> None:
    scheduler, m = PriorDiscreteScheduler(), torch.full((3, 4), 0.25, device="cuda")
    sample = scheduler.initial_sample(m, 5)
    assert scheduler.add_noise(sample, torch.full((5,), 900, device="cuda"), m).device == CUDA


# ---------------------------------------------------------------------- generation


def latencies() -> LatencyTable:
    """Of a thousand cells: a millisecond for every operation that is not none."""
    space = get_space("nas-bench-201")
    rows = space.all_indices()[::15]
    times = (rows > 0).sum(1).double()
    table = pa.table({"architecture": space.to_strings(rows), "chip_latency": times.numpy()})
    return LatencyTable(space, table)


CALLS: dict[str, dict[str, Any]] = {
    "plain": {"task": "cifar10"},
    "as they come": {"distinct": False, "num_architectures": 20},
    "unguided": {"guidance_scale": 0.0, "num_inference_steps": 5},
    "max_parameters": {"max_parameters": 4e5},
    "max_flops": {"max_flops": 5e7, "distinct": False},
    "max_latency": {"max_latency": 4, "device": "chip", "latency_table": latencies},
    "all limits": {"max_parameters": 6e5, "max_flops": 9e7, "max_latency": 5, "device": "chip",
                   "latency_table": latencies},
    "many": {"num_architectures": 300},
    "evaluations": {"evaluations": ([[3, 3, 3, 1, 3, 3], [0, 1, 0, 3, 2, 2], [4, 4, 1, 3, 1, 3]], [91.0, 70.0, 85.0])},
}  # fmt: skip


def alike(there: torch.Tensor, here: torch.Tensor) -> bool:
    """Equal up to rounding: on a CPU the denoiser's blocks compute with folded constants."""
    return torch.allclose(there, here, rtol=1e-4, atol=1e-4)


def same_on_both(there: PKGenPipeline, here: PKGenPipeline, space: str, **options: Any) -> None:
    """The same seed, on the CPU, gives the same architectures on both devices."""
    outputs = []
    for pipe in (there, here):
        call = {key: value() if callable(value) else value for key, value in options.items()}
        outputs.append(pipe(space, generator=seeded(5), **call))
    assert outputs[0].architectures == outputs[1].architectures
    assert outputs[0].scores.device == CPU and alike(outputs[0].scores, outputs[1].scores)
    assert outputs[0].validity == outputs[1].validity


@pytest.mark.parametrize("call", CALLS)
def test_generation_on_the_gpu_equals_that_on_the_cpu(on_cuda: PKGenPipeline, pipe: PKGenPipeline, call: str) -> None:
    same_on_both(on_cuda, pipe, "nas-bench-201", **CALLS[call])


@pytest.mark.parametrize("name", REPRESENTATIVES)
def test_every_space_is_generated_on_the_gpu(on_cuda: PKGenPipeline, pipe: PKGenPipeline, name: str) -> None:
    same_on_both(on_cuda, pipe, name, num_architectures=2, distinct=False)


@pytest.mark.parametrize("name", ["darts", "nas-bench-101", "transnas-bench-101-macro"])
def test_limits_hold_on_the_gpu_where_a_space_is_large(on_cuda: PKGenPipeline, pipe: PKGenPipeline, name: str) -> None:
    space = get_space(name)
    most = float(space.parameters(space.sample(500, seeded())).double().quantile(0.3))
    same_on_both(on_cuda, pipe, name, num_architectures=4, max_parameters=most, distinct=False)


def test_generators_for_each_architecture_on_either_device(on_cuda: PKGenPipeline, pipe: PKGenPipeline) -> None:
    def strings(pipe: PKGenPipeline, kind: type, **options: Any) -> list[str]:
        own = [kind().manual_seed(i) for i in range(3)]
        out = pipe("nas-bench-201", num_architectures=3, generator=own, **options)
        return [str(architecture) for architecture in out.architectures]

    for options in ({}, {"distinct": False}, {"max_parameters": 4e5}):
        expected = strings(pipe, torch.Generator, **options)
        assert strings(on_cuda, torch.Generator, **options) == expected
        assert strings(on_cuda, PretendedGenerator, **options) == expected


def test_a_callback_is_given_samples_there_and_may_change_them(on_cuda: PKGenPipeline) -> None:
    def callback(pipe: Any, step: int, timestep: int, kwargs: dict[str, Any]) -> dict[str, Any]:
        assert kwargs["sample"].device == CUDA
        return {"sample": torch.zeros_like(kwargs["sample"]).add_(3)}

    out = on_cuda("nas-bench-201", num_architectures=1, distinct=False, callback_on_step_end=callback)
    assert out.architectures[0].indices == (3,) * 6


@pytest.mark.parametrize("name", ["nas-bench-201", "darts"])
def test_ranking_on_the_gpu_equals_that_on_the_cpu(on_cuda: PKGenPipeline, pipe: PKGenPipeline, name: str) -> None:
    rows = get_space(name).sample(20, seeded())
    scores = pipe.rank(name, rows)
    for given in (rows, rows.to("cuda"), get_space(name).to_strings(rows)):
        found = on_cuda.rank(name, given)
        assert found.device == CPU and alike(found, scores)


def test_priors_take_evaluations_from_the_gpu(cuda: None) -> None:
    space = get_space("nas-bench-201")
    rows = space.sample(30, seeded())
    scores = space.parameters(rows).float()
    there = Prior.from_evaluations(space, rows.to("cuda"), scores.to("cuda"))
    assert torch.equal(there.frequencies, Prior.from_evaluations(space, rows, scores).frequencies)


def test_proposals_on_the_gpu_equal_those_on_the_cpu(on_cuda: PKGenPipeline, pipe: PKGenPipeline) -> None:
    asked = []
    for here in (on_cuda, pipe):
        proposer = Proposer(here, "nas-bench-201", "cifar10")
        batch = proposer.ask(10)
        proposer.tell(batch, [architecture.cost().parameters % 1000 for architecture in batch])
        asked.append([*proposer.architectures, *proposer.ask(2)])
    assert asked[0] == asked[1]


@pytest.mark.parametrize("kind", ["model", "sequential", "group"])
def test_offloaded_generation_equals_that_on_the_cpu(cuda: None, pipe: PKGenPipeline, kind: str) -> None:
    """Weights rest on the CPU, or nowhere, and are taken to the GPU by hooks when something is computed."""
    away = quiet(PKGenPipeline.from_pretrained("pkgen-base"))
    if kind == "model":
        away.enable_model_cpu_offload(device="cuda")
    elif kind == "sequential":
        away.enable_sequential_cpu_offload(device="cuda")
    else:
        away.denoiser.enable_group_offload(CUDA, CPU, offload_type="leaf_level")
    assert away._execution_device == CUDA
    strings = [str(architecture) for architecture in pipe("darts", num_architectures=2).architectures]
    for most in (4e5, None):
        same_on_both(away, pipe, "nas-bench-201", num_architectures=2, max_parameters=most)
        if kind == "model":
            assert away.denoiser.device == CPU
        assert alike(away.rank("darts", strings), pipe.rank("darts", strings))


# ---------------------------------------------------------------------- training


@pytest.fixture
def accelerator_on_cuda(cuda: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Accelerate is told that its device is the GPU."""
    AcceleratorState._reset_state(reset_partial_state=True)
    monkeypatch.setenv("ACCELERATE_TORCH_DEVICE", "cuda:0")
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


def losses(folder: Path, **changes: Any) -> list[dict[str, float]]:
    """Of every step of a small training on one task."""
    found: list[dict[str, float]] = []
    arguments = TrainingArguments(output_dir=str(folder), quiet=True, train_batch_size=16, **SMALL, **changes)
    tables = load_tables({}, ["nas-bench-graph", "nas-bench-201/cifar100", "nas-bench-201/ImageNet16-120"])
    train(arguments, tables, lambda step, values: found.append({"step": step, **values}))
    return found


@pytest.mark.parametrize("use_ema", [True, False])
def test_training_on_the_gpu_resumes_exactly(accelerator_on_cuda: None, tmp_path: Path, use_ema: bool) -> None:
    options = {"max_train_steps": 6, "use_ema": use_ema}
    whole = losses(tmp_path, checkpointing_steps=3, **options)
    pipe = PKGenPipeline.from_pretrained(tmp_path / "pipeline")
    record = json.loads((tmp_path / "pipeline" / RECORD).read_text())
    assert record["device"] == "cuda:0"
    shutil.rmtree(tmp_path / "pipeline")
    shutil.rmtree(tmp_path / "checkpoint-6")
    assert losses(tmp_path, resume_from_checkpoint="latest", **options) == whole[3:]
    again = PKGenPipeline.from_pretrained(tmp_path / "pipeline")
    for one, other in zip(pipe.denoiser.parameters(), again.denoiser.parameters(), strict=True):
        assert torch.equal(one, other)


# ---------------------------------------------------------------------- torch's defaults


@pytest.fixture
def double() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("name", list_spaces())
def test_a_space_is_the_same_whatever_the_default_dtype(double: None, name: str) -> None:
    space, known = fresh(name), get_space(name)
    rows = space.sample(40, seeded())
    features = space.features(rows)
    described = [getattr(space, tensor) for tensor in TENSORS]
    torch.set_default_dtype(torch.float32)
    assert torch.equal(rows, known.sample(40, seeded()))
    assert features.dtype == torch.float32 and torch.equal(features, known.features(rows))
    for tensor, there in zip(TENSORS, described, strict=True):
        here = getattr(known, tensor)
        assert (there is None) == (here is None), tensor
        assert here is None or (there.dtype == here.dtype and torch.equal(there, here)), tensor


@pytest.mark.parametrize("default", ["dtype", "device"])
def test_denoiser_and_scheduler_are_the_same_whatever_the_default(pipe: PKGenPipeline, default: str) -> None:
    times = torch.arange(0, 900, 100)

    def results() -> list[torch.Tensor]:
        space, scheduler = get_space("nas-bench-101"), PriorDiscreteScheduler(end_distribution="uniform")
        condition = pipe.denoiser.make_condition(space, given, "cifar10", similarity=0.7)
        scheduler.set_timesteps(7)
        sample = scheduler.initial_sample(m, 9, seeded())
        each = [seeded(i) for i in range(9)]
        noisy = scheduler.add_noise(sample, times, m, each)
        with torch.no_grad():
            logits = pipe.denoiser(noisy, 300.0, condition)
        out = scheduler.step(logits, scheduler.timesteps[2], noisy, m, seeded(1), return_dict=False)
        rows = scheduler.step(logits, scheduler.timesteps[2], noisy, m, each, return_dict=False, support=sample)
        torch.manual_seed(2)
        alone = scheduler.add_noise(sample, times, m)
        return [scheduler.timesteps, scheduler.alphas_cumprod, sample, noisy, logits, *out, *rows, alone]

    _, given = conditions(pipe.denoiser, "nas-bench-101")
    m = PriorDiscreteScheduler(end_distribution="uniform").stationary(given.distribution())
    expected = results()
    if default == "device":
        with torch.device("meta"):
            found = results()
    else:
        torch.set_default_dtype(torch.float64)
        try:
            found = results()
        finally:
            torch.set_default_dtype(torch.float32)
    for there, here in zip(found, expected, strict=True):
        assert there.dtype == here.dtype and torch.equal(there, here)


def test_training_is_the_same_whatever_the_default_dtype(tmp_path: Path) -> None:
    options = {"max_train_steps": 3, "cpu": True}
    expected = losses(tmp_path / "single", **options)
    torch.set_default_dtype(torch.float64)
    try:
        assert losses(tmp_path / "double", **options) == expected
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)


USES_OF_SPACES = """
import torch
torch.set_default_device({device!r})
from pkgen_hf.spaces import get_space, list_spaces

for name in list_spaces():
    space = get_space(name)
    for tensor in {tensors}:
        there = getattr(space, tensor)
        assert there is None or there.device.type == "cpu", (name, tensor)
    rows = space.sample(5, torch.Generator().manual_seed(0))
    costs = space.parameters(rows) + space.flops(rows)
    graphs = space.graphs(rows[0].tolist())
    assert space.sample(5).device.type == rows.device.type == costs.device.type == "cpu"
    assert space.keys(rows).tolist() == space.keys(space.canonical(rows)).tolist()
    print(name, space.to_strings(rows), costs.tolist(), space.features(rows).sum().item(), graphs)
"""


def test_a_space_is_on_the_cpu_whatever_the_default_device(capsys: pytest.CaptureFixture[str]) -> None:
    """In a process of its own, since constants are made when modules are imported."""
    script = USES_OF_SPACES.format(device="meta", tensors=TENSORS)
    done = run_fresh(script)
    assert done.returncode == 0, done.stderr[-3000:]
    exec(USES_OF_SPACES.format(device=None, tensors=TENSORS))
    assert done.stdout == capsys.readouterr().out


def test_a_space_first_used_without_gradients_can_be_trained_on() -> None:
    """Tensors made in inference mode may never be part of what is differentiated."""
    space = fresh("nas-bench-101")
    denoiser = ArchitectureDenoiser(width=16, num_layers=1, num_heads=2)
    with torch.inference_mode():
        denoiser(space.sample(4, seeded()), 0.0, denoiser.make_condition(space, Prior.absent(space)))
    rows = space.sample(4, seeded())
    logits = denoiser(rows, 0.0, denoiser.make_condition(space, Prior.absent(space)))
    F.cross_entropy(logits.flatten(0, 1), rows.flatten()).backward()
    assert denoiser.choice.weight.grad is not None
