"""On a real GPU: what the pretended one of `devices` says, and what only a real one can. Run by ``pytest -m gpu``."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate.state import AcceleratorState
from devices import CPU, CUDA
from test_devices import ALLOWED, CALLS, HERE, METHODS, REFUSED, losses, quiet, seeded

from pkgen_hf import Architecture, PKGenNetworkForCausalLM, PKGenPipeline, get_space, list_spaces
from pkgen_hf.training.arguments import RECORD

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine"),
]
SPACES = ["nas-bench-201", "nas-bench-101", "darts", "transnas-bench-101-macro"]


@pytest.fixture(scope="module")
def gpu() -> PKGenPipeline:
    """The bundled checkpoint on the GPU."""
    return quiet(PKGenPipeline.from_pretrained("pkgen-base")).to("cuda")


def counted(pipe: PKGenPipeline, space: str, generator: Any = None, **options: Any) -> Counter[Architecture]:
    """Architectures of a call and how often each is there."""
    call = {key: value() if callable(value) else value for key, value in options.items()}
    out = pipe(space, generator=generator or seeded(5), **call)
    assert out.scores.device == CPU and all(architecture.is_valid for architecture in out.architectures)
    return Counter(out.architectures)


# ---------------------------------------------------------------------- the pretended GPU says the truth


@pytest.mark.parametrize("what", [what for what in REFUSED if what != "noise of the GPU"])
def test_what_the_pretended_gpu_refuses_a_real_one_refuses(what: str) -> None:
    with pytest.raises(RuntimeError, match="same device|on cpu|device type for generator"):
        REFUSED[what](HERE.to("cuda"))


@pytest.mark.parametrize("what", [what for what in ALLOWED if what != "drawn there"])
def test_what_the_pretended_gpu_allows_a_real_one_allows(what: str) -> None:
    result = ALLOWED[what](HERE.to("cuda"))
    assert result.device == CUDA and result.isfinite().all()


# ---------------------------------------------------------------------- spaces


@pytest.mark.parametrize("name", list_spaces())
def test_a_space_answers_on_the_gpu(name: str) -> None:
    space = get_space(name)
    rows = space.sample(200, seeded())
    for what, ask in METHODS.items():
        there = ask(space, rows.to("cuda"))
        assert there.device == CUDA, what
        torch.testing.assert_close(there.cpu(), ask(space, rows), msg=what)
    assert torch.equal(space.parameters(rows.to("cuda")).cpu(), space.parameters(rows))
    assert torch.equal(space.flops(rows.to("cuda")).cpu(), space.flops(rows))
    assert space.to_strings(rows.to("cuda")) == space.to_strings(rows)
    drawn = space.sample(20, torch.Generator("cuda").manual_seed(0))
    assert drawn.device == CUDA and len(space.check(drawn)) == 20


def test_a_language_model_computes_the_same_on_the_gpu() -> None:
    """In float32 and, to a hundredth, in bfloat16; it generates the same with a cache as without."""
    space = get_space("hw-gpt-bench-s")
    (architecture,) = Architecture.from_batch(space, space.sample(1, seeded()))
    torch.manual_seed(0)
    model = PKGenNetworkForCausalLM.from_architecture(architecture, 500, 128).eval()
    tokens = torch.randint(500, (4, 100))
    mask = torch.ones_like(tokens)
    mask[0, :30] = 0
    expected = model(tokens, attention_mask=mask).logits.detach()
    there = mask.bool()
    model.to("cuda")
    tokens, mask = tokens.to("cuda"), mask.to("cuda")
    found = model(tokens, attention_mask=mask).logits.detach().cpu()
    torch.testing.assert_close(found[there], expected[there], rtol=1e-3, atol=1e-3)
    options = {"attention_mask": mask, "max_new_tokens": 20, "do_sample": False, "pad_token_id": 0}
    with_cache, without = (model.generate(tokens, use_cache=use, **options) for use in (True, False))
    assert torch.equal(with_cache, without)
    half = model.bfloat16()(tokens, attention_mask=mask).logits.detach().float().cpu()
    assert (half[there] - expected[there]).abs().max() < 1e-2 * expected.abs().max().clamp(min=1)


# ---------------------------------------------------------------------- generation


@pytest.mark.parametrize("name", SPACES)
def test_the_same_seed_gives_the_same_architectures_on_both_devices(
    gpu: PKGenPipeline, pipe: PKGenPipeline, name: str
) -> None:
    for options in ({}, {"distinct": False, "num_architectures": 50}):
        assert counted(gpu, name, **options) == counted(pipe, name, **options)
    own = [[seeded(i) for i in range(4)] for _ in range(2)]
    options = {"num_architectures": 4, "distinct": False}
    assert counted(gpu, name, own[0], **options) == counted(pipe, name, own[1], **options)


@pytest.mark.parametrize("call", CALLS)
def test_every_kind_of_call_on_the_gpu(gpu: PKGenPipeline, pipe: PKGenPipeline, call: str) -> None:
    found = counted(gpu, "nas-bench-201", **CALLS[call])
    assert found.total() == CALLS[call].get("num_architectures", 8)
    for name in ("max_parameters", "max_flops"):
        most = CALLS[call].get(name)
        assert most is None or all(getattr(a.cost(), name.removeprefix("max_")) <= most for a in found)


@pytest.mark.parametrize("name", SPACES)
def test_limits_on_the_gpu(gpu: PKGenPipeline, name: str) -> None:
    space = get_space(name)
    most = float(space.parameters(space.sample(500, seeded())).double().quantile(0.3))
    found = counted(gpu, name, max_parameters=most)
    assert found.total() == 8 and all(architecture.cost().parameters <= most for architecture in found)


def test_generators_of_the_gpu_repeat(gpu: PKGenPipeline) -> None:
    def one() -> torch.Generator:
        return torch.Generator("cuda").manual_seed(3)

    assert counted(gpu, "nas-bench-201", one()) == counted(gpu, "nas-bench-201", one())
    lists = [[torch.Generator("cuda").manual_seed(i) for i in range(4)] for _ in range(2)]
    found = [counted(gpu, "nas-bench-201", own, num_architectures=4) for own in lists]
    assert found[0] == found[1] and found[0].total() == 4


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_generation_in_half_precision(dtype: torch.dtype) -> None:
    half = quiet(PKGenPipeline.from_pretrained("pkgen-base", torch_dtype=dtype)).to("cuda")
    assert half.denoiser.dtype == dtype
    for options in ({"task": "cifar10"}, {"max_parameters": 4e5}):
        assert counted(half, "nas-bench-201", **options).total() == 8
    assert half.rank("darts", get_space("darts").sample(9, seeded())).isfinite().all()


@pytest.mark.parametrize("kind", ["model", "sequential"])
def test_offloaded_generation(pipe: PKGenPipeline, kind: str) -> None:
    away = quiet(PKGenPipeline.from_pretrained("pkgen-base"))
    if kind == "model":
        away.enable_model_cpu_offload()
    else:
        away.enable_sequential_cpu_offload()
    for options in ({}, {"max_parameters": 4e5}):
        assert counted(away, "nas-bench-201", **options) == counted(pipe, "nas-bench-201", **options)
        if kind == "model":
            assert away.denoiser.device == CPU
    rows = get_space("darts").sample(9, seeded())
    torch.testing.assert_close(away.rank("darts", rows), pipe.rank("darts", rows), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", SPACES)
def test_ranking_on_the_gpu_is_that_of_the_cpu(gpu: PKGenPipeline, pipe: PKGenPipeline, name: str) -> None:
    rows = get_space(name).sample(50, seeded())
    found, expected = gpu.rank(name, rows.to("cuda")), pipe.rank(name, rows)
    assert found.device == CPU
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)
    apart = (expected[:, None] - expected).abs() > 1e-2
    assert torch.equal((found[:, None] > found)[apart], (expected[:, None] > expected)[apart])


# ---------------------------------------------------------------------- training


def test_training_resumes_on_the_gpu(accelerate_anew: None, tmp_path: Path) -> None:
    """20 steps in one go, and stopped after 10; sums on a GPU are not in the same order every time."""
    options = {"max_train_steps": 20, "use_ema": True, "checkpointing_steps": 10, "checkpoints_total_limit": 2}
    whole = losses(tmp_path, **options)
    record = json.loads((tmp_path / "pipeline" / RECORD).read_text())
    assert record["device"].startswith("cuda")
    before = PKGenPipeline.from_pretrained(tmp_path / "pipeline").denoiser.state_dict()
    shutil.rmtree(tmp_path / "pipeline")
    shutil.rmtree(tmp_path / "checkpoint-20")
    path = tmp_path / "checkpoint-10" / "progress.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "seconds": 5000.0}))
    rest = losses(tmp_path, resume_from_checkpoint="latest", **options)
    assert [values["step"] for values in rest] == list(range(11, 21))
    for one, other in zip(rest, whole[10:], strict=True):
        assert one == pytest.approx(other, abs=1e-2)
    after = PKGenPipeline.from_pretrained(tmp_path / "pipeline").denoiser.state_dict()
    for name in before:
        torch.testing.assert_close(after[name], before[name], rtol=1e-2, atol=1e-2, msg=name)
    assert json.loads((tmp_path / "pipeline" / RECORD).read_text())["seconds"] > 5000


def test_losses_are_those_of_the_cpu(accelerate_anew: None, tmp_path: Path) -> None:
    """Whoever makes the batches."""
    there = losses(tmp_path / "gpu", max_train_steps=10)
    AcceleratorState._reset_state(reset_partial_state=True)
    alone = losses(tmp_path / "alone", max_train_steps=10, dataloader_num_workers=0)
    AcceleratorState._reset_state(reset_partial_state=True)
    here = losses(tmp_path / "cpu", max_train_steps=10, cpu=True)
    assert there == [pytest.approx(values, abs=1e-3) for values in here]
    assert there == [pytest.approx(values, abs=1e-3) for values in alone]


def test_a_generated_network_trains_on_the_gpu(gpu: PKGenPipeline) -> None:
    (architecture,) = counted(gpu, "nas-bench-201", task="cifar10", num_architectures=1)
    torch.manual_seed(0)
    network = architecture.build(num_classes=10).to("cuda")
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01)
    images, labels = torch.rand(8, 3, 32, 32, device="cuda"), torch.arange(8, device="cuda")
    found = []
    for _ in range(5):
        loss = torch.nn.functional.cross_entropy(network(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        found.append(loss.item())
    assert found[-1] < found[0]
