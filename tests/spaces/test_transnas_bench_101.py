"""TransNAS-Bench-101: strings of both spaces, validity, and costs against built networks of all seven tasks."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from pkgen_hf import Architecture, SearchSpace, get_space
from pkgen_hf.benchmarks.score_table import ScoreTable
from pkgen_hf.networks import transnas_bench_101 as transnas
from pkgen_hf.publishing.dataset_folder import build_benchmark
from pkgen_hf.spaces.shapes import on_meta
from pkgen_hf.spaces.transnas_bench_101 import decoder_layers

MICRO = get_space("transnas-bench-101-micro")
MACRO = get_space("transnas-bench-101-macro")
BOTH = [MICRO, MACRO]
SKIPS, NOTHING = "64-41414-1_11_111", "64-41414-0_00_000"


def named(space: SearchSpace) -> str:
    return space.name


def valid_rows(space: SearchSpace) -> torch.Tensor:
    rows = space.all_indices()
    return rows if space is MICRO else rows[space.is_valid(rows)]


def build(text: str, **options: Any) -> nn.Module:
    return Architecture.from_string(MACRO if text.endswith("basic") else MICRO, text).build(**options)


# ---------------------------------------------------------------------- spaces


@pytest.mark.parametrize(("space", "size"), [(MICRO, 4_096), (MACRO, 3_256)], ids=["micro", "macro"])
def test_every_string_comes_back(space: SearchSpace, size: int) -> None:
    rows = valid_rows(space)
    strings = space.to_strings(rows)
    assert len(rows) == len(set(strings)) == size
    assert torch.equal(space.from_strings(strings), rows)


@pytest.mark.parametrize("space", BOTH, ids=named)
def test_strings_are_those_of_the_shared_table(space: SearchSpace, shared_benchmarks: Path) -> None:
    table = pq.read_table(shared_benchmarks / f"{space.name}.parquet")
    texts = table["architecture"].to_pylist()
    rows = space.from_strings(texts)
    assert space.to_strings(rows) == texts
    assert set(texts) == set(space.to_strings(valid_rows(space)))
    assert set(space.tasks) <= {name.split("_validation")[0] for name in table.column_names}


@pytest.mark.parametrize("space", BOTH, ids=named)
def test_published_scores_are_of_the_same_strings_and_never_lower(space: SearchSpace, shared_benchmarks: Path) -> None:
    """The best epoch of validation is at least as good as the last, in all rows and tasks."""
    last = ScoreTable.load(space, shared_benchmarks / f"{space.name}.parquet")
    best = ScoreTable.load(space, shared_benchmarks / f"{space.name}-published.parquet")
    assert set(space.to_strings(best.indices)) == set(space.to_strings(valid_rows(space)))
    assert best.tasks == last.tasks == list(space.tasks)
    equal = torch.zeros(len(best.indices), dtype=torch.bool)
    for task in space.tasks:
        assert best.split(task) == "validation" and best.has(task, "test") and not last.has(task, "test")
        before, after = last.scores(best.indices, task), best.column(task)
        assert (after >= before).all() and (after > before).any() and best.column(task, "test").isfinite().all()
        equal |= after == before
    assert int(equal.sum()) == {"transnas-bench-101-micro": 4_087, "transnas-bench-101-macro": 3_247}[space.name]


@pytest.mark.parametrize("space", BOTH, ids=named)
def test_published_scores_become_a_data_set(space: SearchSpace, shared_benchmarks: Path, tmp_path: Path) -> None:
    source = shared_benchmarks / f"{space.name}-published.parquet"
    built = build_benchmark(space.name, source, tmp_path / "data", quiet=True)
    again = ScoreTable.load(space, built.folder)
    assert {"room_layout_validation_score", "room_layout_test_score", "room_layout_train_neg_loss"} <= set(
        again.column_names
    )
    assert not any(name.endswith(("_accuracy", "_score")) and "_train_" in name for name in again.column_names)
    table = ScoreTable.load(space, source)
    for split in ("validation", "test"):
        assert torch.equal(again.scores(table.indices, "jigsaw", split), table.column("jigsaw", split))


def test_two_kinds_of_validation_scores_are_not_mixed(tmp_path: Path) -> None:
    texts = pa.array(MICRO.to_strings(MICRO.sample(2)))
    for name in ("class_scene_validation", "class_scene_valid_top1"):
        pq.write_table(pa.table({"architecture": texts, name: [40.0, 41.0]}), tmp_path / f"{name}.parquet")
    with pytest.raises(ValueError, match="^scores of the last epoch and of the best epochs are two tables"):
        ScoreTable.load(MICRO, tmp_path)


def test_macro_space_holds_what_the_paper_says() -> None:
    """By brute force over digits: 4 to 6 modules, 1 to 4 that halve, 1 to 3 that widen."""
    expected = {
        f"64-{''.join(digits)}-basic"
        for length in (4, 5, 6)
        for digits in itertools.product("1234", repeat=length)
        if 1 <= sum(d in "34" for d in digits) <= 4 and 1 <= sum(d in "24" for d in digits) <= 3
    }
    assert set(MACRO.to_strings(valid_rows(MACRO))) == expected
    assert len(expected) == MACRO.num_architectures == 3_256
    gap = torch.tensor([[3, 0, 0, 0, 4, 0]])
    assert not MACRO.is_valid(gap) and MACRO.is_connected(gap)


def test_micro_cells_that_differ_by_exchanging_inner_nodes_are_equal() -> None:
    rows = MICRO.all_indices()
    a, b = MICRO.from_strings(["64-41414-1_20_321", "64-41414-2_10_312"])
    assert torch.equal(MICRO.keys(a[None]), MICRO.keys(b[None]))
    # Of 4^5 cells without an edge between the inner nodes, 4^3 are their own mirror images.
    assert len(MICRO.keys(rows).unique()) == 4_096 - (4**5 - 4**3) // 2
    canonical = MICRO.canonical(rows)
    for task in MICRO.tasks:
        assert torch.equal(MICRO.parameters(canonical, task), MICRO.parameters(rows, task))
        assert torch.equal(MICRO.flops(canonical, task), MICRO.flops(rows, task))


@pytest.mark.parametrize(
    ("space", "text"),
    [
        (MICRO, ""),
        (MICRO, "64-41414-1_02_33"),
        (MICRO, "64-41414-1_02_334"),
        (MICRO, "32-41414-1_02_333"),
        (MICRO, "64-1234-basic"),
        (MACRO, ""),
        (MACRO, "64-123-basic"),
        (MACRO, "64-1234123-basic"),
        (MACRO, "64-1235-basic"),
        (MACRO, "64-41414-1_02_333"),
    ],
)
def test_malformed_string_is_refused(space: SearchSpace, text: str) -> None:
    with pytest.raises(ValueError, match="one looks like '64-") as caught:
        space.from_strings([space.example, text])
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize("space", BOTH, ids=named)
def test_costs_of_a_batch_are_those_of_each(space: SearchSpace) -> None:
    rows = space.sample(20, torch.Generator().manual_seed(0))
    for task in space.tasks:
        for counted in (space.parameters, space.flops):
            whole = counted(rows, task)
            assert whole.dtype == torch.long and whole.shape == (20,)
            assert torch.equal(whole, torch.cat([counted(row[None], task) for row in rows]))
    assert torch.equal(space.parameters(rows), space.parameters(rows, "class_scene"))
    with pytest.raises(ValueError, match="Did you mean 'jigsaw'"):
        space.flops(rows, "jigsow")


# ---------------------------------------------------------------------- networks


def task_images(space: SearchSpace, task: str) -> torch.Tensor:
    size = space.task(task).image_size
    return (
        torch.empty(1, 9, 3, 64, 64, device="meta")
        if task == "jigsaw"
        else torch.empty(1, 3, size, size, device="meta")
    )


@pytest.mark.parametrize("task", list(MICRO.tasks))
@pytest.mark.parametrize("space", BOTH, ids=named)
def test_costs_are_those_of_the_network(space: SearchSpace, task: str) -> None:
    rows = valid_rows(space)
    rows = rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))[:2]]
    if space is MICRO:
        rows = torch.cat([rows, MICRO.from_strings([SKIPS, NOTHING])])
    else:  # 1, 2, 3 and 4 modules that halve
        some = ["64-4111-basic", "64-3231-basic", "64-44131-basic", "64-333321-basic"]
        rows = torch.cat([rows, MACRO.from_strings(some)])
    is_dense = task in ("segmentsemantic", "normal", "autoencoder")
    if task == "jigsaw":
        rows = rows[:1]  # nine times the work
    elif not is_dense and task != "class_scene":
        rows = rows[-2:]  # only the width of the output differs
    images = task_images(space, task)
    for architecture in Architecture.from_batch(space, rows):
        with on_meta():
            network = architecture.build(task=task).eval()
        with torch.no_grad(), FlopCounterMode(display=False) as counter:  # gradients double the time
            output = network(images)
        cost = architecture.cost(task)
        assert sum(parameter.numel() for parameter in network.parameters()) == cost.parameters, str(architecture)
        assert counter.get_total_flops() // 2 == cost.flops, str(architecture)
        assert output.shape == (1, space.task(task).num_classes, *([256, 256] if is_dense else []))


@pytest.mark.parametrize("text", ["64-41414-1_02_313", "64-2314-basic"])
@pytest.mark.parametrize("task", ["class_scene", "jigsaw"])
def test_network_trains_and_is_saved(text: str, task: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = build(text, task=task, num_classes=7, channels=4)
    images = torch.randn(4, 9, 3, 32, 32) if task == "jigsaw" else torch.randn(4, 3, 64, 64)
    output = network(images)
    assert output.shape == (4, 7)
    F.cross_entropy(output, torch.arange(4)).backward()
    for parameter in network.parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all()
    save_file(network.state_dict(), tmp_path / "network.safetensors")
    other = build(text, task=task, num_classes=7, channels=4).eval()
    assert not torch.equal(other(images), network.eval()(images))
    other.load_state_dict(load_file(tmp_path / "network.safetensors"))
    assert torch.equal(other(images), network(images))


@pytest.mark.parametrize("task", ["segmentsemantic", "normal"])
def test_decoder_runs_and_trains(task: str) -> None:
    torch.manual_seed(0)
    network = build("64-4311-basic", task=task, channels=4)
    output = network(torch.randn(1, 3, 32, 32))
    assert output.shape == (1, MACRO.task(task).num_classes, 32, 32)
    assert (output.abs() <= 1).all() == (task == "normal")
    output.square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


def test_decoders_double_as_often_as_they_must() -> None:
    for kind, doublings in itertools.product(("image-segmentation", "dense-regression"), range(2, 7)):
        layers = decoder_layers(kind, 99, doublings, 5)
        assert sum(doubles for *_, doubles in layers) == doublings
        assert layers[0][0] == 99 and layers[-1][1] == 5 and not layers[-1][2]
        assert all(a[1] == b[0] for a, b in itertools.pairwise(layers))


def test_network_without_any_connection_runs() -> None:
    network = build(NOTHING, channels=4).eval()
    logits = network(torch.randn(3, 3, 64, 64))
    torch.testing.assert_close(logits[0], logits[1])  # nothing of the images arrives
    assert logits.shape == (3, 47)


def test_skip_connection_that_halves_sees_every_second_pixel_of_each_kind() -> None:
    halving = transnas.Halving(1, 2).eval()
    nn.init.ones_(halving.even.weight)
    nn.init.ones_(halving.odd.weight)
    image = torch.arange(1.0, 17).reshape(1, 1, 4, 4)
    even, odd = halving(image)[0] * (1 + halving.norm.eps) ** 0.5
    torch.testing.assert_close(even, image[0, 0, ::2, ::2])
    torch.testing.assert_close(odd, image[0, 0, 1::2, 1::2])
    torch.testing.assert_close(transnas.Nothing(3)(image), torch.zeros(1, 3, 2, 2))


def test_residual_block_adds_its_input() -> None:
    features = torch.randn(2, 4, 8, 8)
    for outputs, stride in [(4, 1), (8, 1), (4, 2), (8, 2)]:
        block = transnas.ResidualBlock(4, outputs, stride).eval()
        assert block(features).shape == (2, outputs, 8 // stride, 8 // stride)
        assert len(block.shortcut) == (0 if (outputs, stride) == (4, 1) else 2)
    plain = transnas.ResidualBlock(4, 4, stride=1).eval()
    torch.testing.assert_close(plain(features), features + plain.convolutions(features))


def test_wrong_options_are_refused() -> None:
    with pytest.raises(ValueError, match="Did you mean 'jigsaw'"):
        build(SKIPS, task="jigsow")
    with pytest.raises(ValueError, match="Did you mean 'channels'"):
        build(SKIPS, chanels=8)
    with pytest.raises(ValueError, match=r"tiles \(batch, 9, channels, height, width\)"):
        build(SKIPS, task="jigsaw", channels=2)(torch.randn(1, 3, 64, 64))
    with pytest.raises(ValueError, match="at most 4 modules that halve the resolution, not 5"):
        build("64-333341-basic", task="normal")
