"""Exported networks: plain Python that computes the same without this package, weights, and ONNX models."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn
from typer.testing import CliRunner

from pkgen_hf import (
    Architecture,
    Choice,
    PKGenNetworkForCausalLM,
    PKGenNetworkForImageClassification,
    SearchSpace,
    Slot,
    __version__,
    get_space,
)
from pkgen_hf.cli.main import app
from pkgen_hf.modeling_text_network import saved_text_network
from pkgen_hf.networks import at_image_size
from pkgen_hf.networks.darts import operation as darts_operation
from pkgen_hf.networks.export import python_source
from pkgen_hf.networks.source_code import literal
from pkgen_hf.spaces.nas_bench_asr import SpeechScale

CLASSES = 5
SMALL: dict[str, dict[str, Any]] = {  # of spaces that differ in sizes alone, the smallest
    "autoformer-tiny": {},
    "darts": {"channels": 4, "cells": 3},
    "hw-gpt-bench-s": {"context": 9},
    "mnasnet": {"channels": 8},
    "nas-bench-101": {"channels": 8, "stacks": 2, "modules": 1},
    "nas-bench-201": {"channels": 4, "cells": 1},
    "nas-bench-bert": {"vocabulary": 7, "positions": 9, "embedding": 8},
    "nas-bench-asr": {"filters": [8, 8, 8, 8], "cells": [1, 1, 1, 1], "groups": 2, "units": 6},
    "nas-bench-graph": {"num_features": 6, "task": "computers"},
    "nas-bench-macro": {"channels": 4},
    "nas-bench-nlp": {"embedding": 6, "hidden": 8},
    "nats-bench-size": {},
    "ofa-mobilenetv3": {"width": 0.5},
    "transnas-bench-101-micro": {"channels": 8},
    "transnas-bench-101-macro": {"channels": 4},
}
# Spaces whose networks differ in operations, not in sizes alone.
OF_OPERATIONS = {"darts", "nas-bench-101", "nas-bench-201", "nas-bench-asr", "nas-bench-graph", "nas-bench-macro",
                 "nas-bench-nlp", "transnas-bench-101-micro"}  # fmt: skip
# Branches that the default scale does not take.
OTHERS: list[tuple[str, dict[str, Any]]] = [
    ("darts", {"channels": 4, "cells": 3, "affine": True, "auxiliary": True, "drop_path_prob": 0.3}),
    ("darts", {"channels": 4, "cells": 4, "stem": "imagenet", "affine": True, "auxiliary": True}),
    ("transnas-bench-101-micro", {"channels": 8, "task": "jigsaw"}),
    ("transnas-bench-101-micro", {"channels": 8, "task": "segmentsemantic"}),
    ("transnas-bench-101-macro", {"channels": 4, "task": "normal"}),
    ("nas-bench-graph", {"num_features": 6, "task": "pubmed"}),
    ("nas-bench-bert", {"vocabulary": 7, "positions": 9, "embedding": 8, "masked_language_model": True}),
]
CELL = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_3x3~2|"
SIZES = Architecture.from_string("nats-bench-size", "8:16:8:8:24")
RUN_WITHOUT_PACKAGE = '''
"""Build every file's network, load its weights, and write what it makes of its inputs."""
import importlib.util, sys
from pathlib import Path

class Refusal:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "pkgen_hf":
            raise AssertionError(f"{name} is imported")

sys.meta_path.insert(0, Refusal())
import torch
from safetensors.torch import load_file, save_file

torch.set_num_threads(1)
for path in sorted(Path(sys.argv[1]).glob("*.py")):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    module.main()
    network = module.build()
    network.load_state_dict(load_file(path.with_suffix(".safetensors")))
    inputs = load_file(path.with_suffix(".inputs"))
    outputs = {}
    for mode in ("eval", "train"):
        getattr(network, mode)()
        torch.manual_seed(0)
        found = network(*(inputs[key] for key in sorted(inputs)))
        found = found if isinstance(found, tuple) else (found,)
        tensors = [part for part in found if isinstance(part, torch.Tensor)]
        outputs |= {f"{mode} {k}": part.detach().contiguous() for k, part in enumerate(tensors)}
    save_file(outputs, path.with_suffix(".outputs"))
assert "pkgen_hf" not in sys.modules
'''


def valid_samples(name: str, num: int) -> list[Architecture]:
    space = get_space(name)
    rows = space.sample(200, torch.Generator().manual_seed(5))
    return Architecture.from_batch(space, rows[space.is_valid(rows)][:num])


def data_for(name: str, options: dict[str, Any]) -> list[torch.Tensor]:
    if name == "nas-bench-graph":
        return [torch.randn(4, 6), torch.tensor([[0, 1, 2, 3, 0], [1, 2, 3, 0, 2]])]
    if name == "nas-bench-nlp":
        return [torch.randint(CLASSES, (4, 7))]
    if name == "hw-gpt-bench-s":
        return [torch.randint(CLASSES, (2, 9)), torch.tensor([[1] * 9, [0] * 4 + [1] * 5])]
    if name == "nas-bench-bert":
        return [torch.randint(CLASSES, (2, 9)), torch.tensor([[1] * 9, [1] * 5 + [0] * 4]), torch.randint(2, (2, 9))]
    if name == "nas-bench-asr":
        return [torch.randn(2, 12, 80)]
    if options.get("task") == "jigsaw":
        return [torch.randn(2, 9, 3, 32, 32)]
    size = {"imagenet": 224}.get(options.get("stem", ""), 64 if name.startswith("transnas") else 32)
    return [torch.randn(2, 3, size, size)]


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == 0, result.output
    return result.output


# ---------------------------------------------------------------------- Python


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, tuple[nn.Module, list[torch.Tensor]]]]:
    """A folder of files, weights and inputs, and the networks that they are of."""
    folder = tmp_path_factory.mktemp("exported")
    numbers = {name: 2 if name in OF_OPERATIONS else 1 for name in SMALL}
    cases = [(name, SMALL[name], one) for name, number in numbers.items() for one in valid_samples(name, number)]
    cases += [(name, options, valid_samples(name, 1)[0]) for name, options in OTHERS]
    disconnected = "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|"
    cases.append(("nas-bench-201", {"channels": 4}, Architecture.from_string("nas-bench-201", disconnected)))
    genotype = str(valid_samples("darts", 1)[0])
    for operation in ("max_pool_3x3", "dil_conv_3x3"):
        genotype = genotype.replace(operation, "none")
    assert genotype.count("none") > 1
    cases.append(("darts", SMALL["darts"], Architecture.from_string("darts", genotype)))
    networks = {}
    torch.manual_seed(0)
    for number, (name, options, architecture) in enumerate(cases):
        data = data_for(name, options)
        size = data[0].shape[-1] if data[0].ndim > 3 else None
        network = architecture.build(num_classes=CLASSES, **at_image_size(architecture.space, size, options))
        with torch.no_grad():
            network(*data)  # running statistics of its own
        file = folder / f"net{number:02}_{name.replace('-', '_')}.py"
        architecture.export(file, num_classes=CLASSES, image_size=size, **options)
        state = network.state_dict()
        weights = file.with_suffix(".safetensors")
        architecture.export(weights, num_classes=CLASSES, image_size=size, state=state, **options)
        save_file({f"{k}": tensor for k, tensor in enumerate(data)}, file.with_suffix(".inputs"))
        networks[file.stem] = network, data
    return folder, networks


def test_files_compute_the_same_without_this_package(exported) -> None:
    """In evaluation, and in training with the same random numbers; the weights have the same names."""
    folder, networks = exported
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    call = [sys.executable, "-c", RUN_WITHOUT_PACKAGE, str(folder)]
    done = subprocess.run(call, capture_output=True, text=True, cwd=folder, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("output of shape") == len(networks) == len(SMALL) + len(OF_OPERATIONS) + len(OTHERS) + 2
    for name, (network, data) in networks.items():
        outputs = load_file(folder / f"{name}.outputs")
        for mode in ("eval", "train"):
            getattr(network, mode)()
            torch.manual_seed(0)
            found = network(*data)
            found = found if isinstance(found, tuple) else (found,)
            expected = [part.detach() for part in found if isinstance(part, torch.Tensor)]
            assert {f"{mode} {k}" for k in range(len(expected))} == {key for key in outputs if key.startswith(mode)}
            for k, part in enumerate(expected):
                torch.testing.assert_close(outputs[f"{mode} {k}"], part, rtol=1e-6, atol=1e-6)


def test_files_import_torch_alone_and_say_what_they_are(exported) -> None:
    folder, networks = exported
    for name in networks:
        text = (folder / f"{name}.py").read_text()
        tree = ast.parse(text)
        roots = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
        roots |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        assert {root.split(".")[0] for root in roots} - sys.stdlib_module_names == {"torch"}
        header = ast.get_docstring(tree) or ""
        assert f"pkgen-hf {__version__}" in header and "Apache-2.0" in header and " parameters" in header
        assert "\nArchitecture:" in header and "\nScale: " in header


@pytest.mark.skipif(find_spec("ruff") is None, reason="ruff is not installed")
def test_files_are_clean_and_formatted(exported) -> None:
    folder, _ = exported
    (folder / "ruff.toml").write_text('line-length = 119\nlint.select = ["E", "F", "W", "I", "UP", "B", "SIM"]\n')
    for command in (["check"], ["format", "--diff"]):
        call = [sys.executable, "-m", "ruff", *command, "--no-cache", str(folder)]
        done = subprocess.run(call, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-3000:]


def test_what_the_architecture_does_not_use_is_left_out() -> None:
    text = python_source(Architecture.from_string("nas-bench-201", CELL))
    assert "nn.Identity()" in text and "nor_conv_3x3" in text
    assert "count_include_pad" not in text and "class Zero" not in text and '"none"' not in text
    with_pool = python_source(Architecture.from_string("nas-bench-201", CELL.replace("skip_connect", "avg_pool_3x3")))
    assert "count_include_pad" in with_pool and "nn.Identity()" not in with_pool
    plain, large = (
        python_source(valid_samples("darts", 1)[0], **options) for options in ({}, {"stem": "imagenet", "cells": 4})
    )
    assert "_auxiliary_head" not in plain and "stride=2, padding=1, bias=False" not in plain
    assert "stride=2, padding=1, bias=False" in large


def test_header_has_the_scale_and_its_costs() -> None:
    architecture = Architecture.from_string("nas-bench-201", CELL)
    text = python_source(architecture, num_classes=7, image_size=48, channels=8)
    cost = architecture.cost(num_classes=7, image_size=48, channels=8)
    assert f"{cost.parameters:,} parameters; {cost.multiply_adds:,} multiply-adds for an input of 3 x 48 x 48" in text
    assert "channels=8" in text and "num_classes=7" in text and "torch.randn(1, 3, 48, 48)" in text


def test_tracing_is_left_as_it_was() -> None:
    def tracer(frame: Any, event: str, argument: Any) -> None:
        return None

    before = sys.gettrace()
    sys.settrace(tracer)
    try:
        python_source(SIZES)
        assert sys.gettrace() is tracer
    finally:
        sys.settrace(before)
    assert isinstance(darts_operation("max_pool_3x3", 4, 1, True), nn.MaxPool2d)


@pytest.mark.parametrize(
    "value",
    [
        0,
        1.5,
        None,
        True,
        'it\'s "so"',
        "back\\slash",
        [],
        (),
        (1,),
        ["a", ("b", [True, None])],
        [[k, k / 3, f"{k:060}"] for k in range(5)],
        [("name", "operation", ["x", "y"])] * 9,
        SpeechScale(units=7),
    ],
    ids=repr,
)
def test_literals_are_read_as_they_were(value: Any) -> None:
    text = literal(value, 4, 20)
    assert eval(text, {"SpeechScale": SpeechScale}) == value
    assert all(len(line) <= 119 for line in text.splitlines())


# ---------------------------------------------------------------------- weights


def test_weights_say_what_they_are_of(tmp_path: Path) -> None:
    file = tmp_path / "net.safetensors"
    torch.manual_seed(3)
    untouched = torch.rand(1)
    torch.manual_seed(3)
    done = SIZES.export(file, num_classes=4, seed=1)
    assert done == (file, None) and torch.equal(torch.rand(1), untouched)
    with safe_open(file, framework="pt") as opened:
        facts = opened.metadata()
    assert facts["space"] == "nats-bench-size" and facts["architecture"] == str(SIZES)
    assert facts["num_classes"] == "4" and json.loads(facts["scale"]) == {}
    torch.manual_seed(1)
    expected = SIZES.build(num_classes=4).state_dict()
    found = load_file(file)
    assert all(torch.equal(found[key], value) for key, value in expected.items()) and found.keys() == expected.keys()


def test_files_are_replaced_when_they_are_whole(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "net.py"
    SIZES.export(file)
    first = file.read_text()
    with pytest.raises(ValueError, match="'channels'"):
        SIZES.export(file, channels=3)
    with pytest.raises(ValueError, match="cannot read an input of 3 x 2 x 2"):
        SIZES.export(file, image_size=2)
    assert file.read_text() == first and [path.name for path in file.parent.iterdir()] == ["net.py"]
    SIZES.export(file, num_classes=3)
    assert file.read_text() != first
    with pytest.raises(ValueError, match="not of this network"):
        SIZES.export(tmp_path / "net.safetensors", num_classes=3, state=SIZES.build(num_classes=4).state_dict())
    assert [path.name for path in tmp_path.iterdir()] == ["deep"]


@pytest.mark.parametrize(
    ("name", "format", "message"),
    [
        ("net.pt", None, "unknown suffix of a file to export to: '.pt'"),
        ("net.py", "onxx", "unknown format to export to: 'onxx'. Did you mean 'onnx'"),
    ],
)
def test_unknown_formats_are_refused(name: str, format: str | None, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        SIZES.export(tmp_path / name, format)


# ---------------------------------------------------------------------- ONNX


@pytest.mark.parametrize("name", ["nas-bench-macro", "nas-bench-101"])
def test_onnx_models_compute_the_same_on_batches_of_any_size(name: str, tmp_path: Path) -> None:
    runtime, onnx = pytest.importorskip("onnxruntime"), pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    options = SMALL[name]
    (architecture,) = valid_samples(name, 1)
    network = architecture.build(num_classes=CLASSES, **options)
    with torch.no_grad():
        network(torch.randn(4, 3, 32, 32))
    network.eval()
    file = tmp_path / "net.onnx"
    done = architecture.export(file, num_classes=CLASSES, state=network.state_dict(), **options)
    assert done.path == file and done.difference is not None and done.difference < 1e-4
    assert [path.name for path in tmp_path.iterdir()] == ["net.onnx"]  # no second file with weights
    session = runtime.InferenceSession(file)
    assert [found.name for found in session.get_inputs()] == ["images"]
    for batch in (1, 5):
        images = torch.randn(batch, 3, 32, 32)
        (found,) = session.run(None, {"images": images.numpy()})
        with torch.no_grad():
            torch.testing.assert_close(torch.from_numpy(found), network(images), rtol=1e-4, atol=1e-5)
    facts = {entry.key: entry.value for entry in onnx.load(file).metadata_props}
    assert facts["space"] == name and facts["architecture"] == str(architecture)
    assert json.loads(facts["scale"]) == options
    if name == "nas-bench-101":
        from pkgen_hf.networks.export import output_difference

        other = architecture.build(num_classes=CLASSES, **options).eval()
        with pytest.raises(ValueError, match="not written: its results differ"):
            output_difference(other, file, torch.randn(2, 3, 32, 32))


def test_onnx_models_of_texts_take_any_length(tmp_path: Path) -> None:
    """Of a decoder; encoders are exported in the tests of their models."""
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    name = "hw-gpt-bench-s"
    space = get_space(name)
    (architecture,) = Architecture.from_batch(space, space.canonical(space.null_indices.clamp(min=0)[None]))
    network = architecture.build(num_classes=CLASSES, **SMALL[name]).eval()
    file = tmp_path / "net.onnx"
    done = architecture.export(file, num_classes=CLASSES, state=network.state_dict(), **SMALL[name])
    assert done.difference is not None and done.difference < 1e-4
    session = runtime.InferenceSession(file)
    assert [found.name for found in session.get_inputs()] == ["tokens"]
    for batch, length in ((1, 1), (3, 5), (2, 9)):
        tokens = torch.randint(CLASSES, (batch, length))
        (found,) = session.run(None, {"tokens": tokens.numpy()})
        with torch.no_grad():
            torch.testing.assert_close(torch.from_numpy(found), network(tokens), rtol=1e-4, atol=1e-5)


def test_onnx_names_the_extra_that_it_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)  # as if it were not installed
    with pytest.raises(ModuleNotFoundError, match=r"onnxscript: pip install 'pkgen-hf\[onnx\]'"):
        SIZES.export(tmp_path / "net.onnx")
    assert not list(tmp_path.iterdir())


def test_images_that_a_network_cannot_read_are_refused(tmp_path: Path) -> None:
    pytest.importorskip("onnxscript"), pytest.importorskip("onnx")
    with pytest.raises(ValueError, match="this network cannot read an input of 3 x 31 x 31"):
        SIZES.export(tmp_path / "net.onnx", image_size=31)
    assert not list(tmp_path.iterdir())


def test_space_without_networks_says_so(tmp_path: Path) -> None:
    toy = SearchSpace("toy", [Slot("a", "operation", (Choice("none", "zero"),), (0,), 1)], {}, "none")
    for name in ("net.py", "net.safetensors"):
        with pytest.raises(NotImplementedError, match="toy has no networks"):
            Architecture(toy, [0]).export(tmp_path / name)


@pytest.mark.parametrize("name", ["nas-bench-asr", "nas-bench-graph", "nas-bench-nlp"])
def test_onnx_is_for_images_and_texts(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"can be written as ONNX; those of {name} do not"):
        valid_samples(name, 1)[0].export(tmp_path / "net.onnx", **SMALL[name])


# ---------------------------------------------------------------------- command line


def test_command_writes_a_trained_network(tmp_path: Path) -> None:
    architecture = Architecture.from_string("nas-bench-201", CELL)
    model = PKGenNetworkForImageClassification.from_architecture(architecture, 3, image_size=16, channels=4, cells=1)
    model.save_pretrained(tmp_path / "trained")
    for suffix in ("py", "safetensors"):
        call = ["export", "--weights", str(tmp_path / "trained"), "-o", str(tmp_path / f"net.{suffix}")]
        assert "written to" in run(*call) and run(*call, "--quiet") == ""
    names: dict[str, Any] = {"__name__": "net"}
    exec((tmp_path / "net.py").read_text(), names)
    network = names["build"]().eval()
    network.load_state_dict(load_file(tmp_path / "net.safetensors"))
    images = torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        torch.testing.assert_close(network(images), model.eval()(images).logits)
    assert "for an input of 3 x 16 x 16" in (tmp_path / "net.py").read_text()
    mistakes = [
        ([CELL.replace("skip_connect", "none")], "holds Architecture('nas-bench-201'"),
        (["--num-classes", "3"], "leave them out"),
    ]
    weights = tmp_path / "trained" / "model.safetensors"
    for arguments, message in mistakes:
        result = CliRunner().invoke(app, [*call, *arguments])
        assert result.exit_code == 1 and message in result.stderr
    save_file({"network.stem.0.weight": torch.zeros(4, 3, 3, 3)}, weights)
    assert "not of this network" in CliRunner().invoke(app, call).stderr
    weights.write_bytes(weights.read_bytes()[:50])
    assert "truncated or not a safetensors file" in CliRunner().invoke(app, call).stderr
    weights.unlink()
    assert "there is no model.safetensors" in CliRunner().invoke(app, call).stderr


def test_command_writes_a_saved_language_model(tmp_path: Path) -> None:
    (architecture,) = valid_samples("hw-gpt-bench-s", 1)
    model = PKGenNetworkForCausalLM.from_architecture(architecture, 17, 24).eval()
    model.save_pretrained(tmp_path / "gpt")
    for suffix in ("py", "safetensors"):
        assert "written to" in run("export", "--weights", str(tmp_path / "gpt"), "-o", str(tmp_path / f"net.{suffix}"))
    names: dict[str, Any] = {"__name__": "net"}
    exec((tmp_path / "net.py").read_text(), names)
    network = names["build"]().eval()
    network.load_state_dict(load_file(tmp_path / "net.safetensors"))
    tokens = torch.randint(17, (2, 11))
    with torch.no_grad():
        assert torch.equal(network(tokens), model(tokens).logits)
    assert "for an input of 24 tokens" in (tmp_path / "net.py").read_text()
    config = tmp_path / "gpt" / "config.json"
    config.write_text(config.read_text().replace("PKGenNetworkForCausalLM", "GPTForCausalLM"))
    with pytest.raises(ValueError, match="class of the model in .*'GPTForCausalLM'. Did you mean 'PKGenNetworkFor"):
        saved_text_network(tmp_path / "gpt")


def test_command_takes_options_of_scale(tmp_path: Path) -> None:
    call = ["export", CELL, "-o", str(tmp_path / "x"), "--format", "python", "--scale", "channels=4", "--scale"]
    run(*call, "cells=2", "--num-classes", "9")
    text = (tmp_path / "x").read_text()
    assert "channels=4" in text and "cells=2" in text and "num_classes=9" in text


def test_cost_command() -> None:
    call = ["cost", CELL, "--json"]
    cost = Architecture.from_string("nas-bench-201", CELL).cost()
    assert json.loads(run(*call)) == {"parameters": cost.parameters, "flops": cost.flops}
    measured = json.loads(run(*call, "--scale", "channels=4", "--latency", "--runs", "1"))
    of_language_models = {"non_embedding_parameters", "flops_at_context", "memory_bytes"}
    assert set(measured) == {*vars(cost)} - of_language_models and measured["latency_ms"] > 0
    assert "peak bytes" in run("cost", CELL, "--measure")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["export", "-o", "net.py"], "an architecture, or --weights"),
        (["export", CELL, "-o", "net.txt"], "'.txt'"),
        (["export", CELL, "-o", "net.py", "--scale", "channels"], "--scale takes name=value"),
        (["export", CELL, "-o", "net.py", "--scale", "chanels=3"], "Did you mean 'channels'"),
        (["export", CELL, "-o", "net.py", "--scale", "channels=wide"], "whole number, got 'wide'"),
        (["export", CELL, "-o", "/dev/null/net.py"], "/dev/null"),
        (["export", "-o", "net.py", "--weights", "no-such-folder"], "there is no config.json"),
        (["cost", "nonsense"], "is not a nas-bench-201 string"),
        (["cost", "0112:gcn,gin,fc,cheb", "--space", "nas-bench-graph", "--measure"], "whole graph"),
    ],
)
def test_mistakes_give_one_line(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 1 and message in result.stderr and result.stderr.count("error:") == 1
    assert not list(tmp_path.iterdir())


def test_the_same_source_in_every_process() -> None:
    """Whatever the seed of hashes, which differs from process to process."""
    code = "from pkgen_hf import Architecture, get_space\nfrom pkgen_hf.networks.export import python_source\n"
    code += "print(python_source(Architecture.from_string('darts', get_space('darts').example)))"
    seed = "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1"  # that of this process is random, or another
    environment = {**os.environ, "PYTHONHASHSEED": seed}
    command = [sys.executable, "-c", code]
    there = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    here = python_source(Architecture.from_string("darts", get_space("darts").example))
    assert there == f"{here}\n" and "class " in here
