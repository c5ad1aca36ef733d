"""Training language models on text: it learns, resumes exactly, and several processes do what one does."""

from __future__ import annotations

import json
import math
import random
import re
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from fresh import run_fresh
from processes import on_two_processes, start_script
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from optimizers import make_adamw
from parallel import make_accelerator
from perplexity import perplexity
from pkgen_hf import Architecture, PKGenNetworkForCausalLM, PKGenPipeline
from pkgen_hf.spaces import Task
from text_settings import TextSettings
from text_tokens import Blocks, Tokens, train_tokenizer
from text_training import read_corpus, train
from texts import Texts, load_texts
from train_language_model import main, parse_arguments

WORDS = (("A", "The", "Every"), ("small", "wide", "deep"), ("network", "cell", "decoder"),
         ("needs", "has", "beats"), ("a skip", "two heads", "no bias", "a kernel"))  # fmt: skip
_SIZES = {"embed_dim": 192, "num_layers": 10, "heads": [4] * 10, "mlp_ratio": [2] * 10, "bias": True}
TINY = json.dumps(_SIZES, separators=(",", ":"))
CONTEXT = 32
FEW = TextSettings(
    context=CONTEXT, vocab_size=300, total_batch_size=4, max_train_steps=2, learning_rate=2e-3, cpu=True, quiet=True
)


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of random sentences of a few words."""
    path, drawn = tmp_path_factory.mktemp("text") / "sentences.txt", random.Random(0)
    path.write_text("".join(" ".join(map(drawn.choice, WORDS)) + ".\n" for _ in range(600)))
    return path


def network(vocab_size: int = 300) -> PKGenNetworkForCausalLM:
    torch.manual_seed(0)
    return PKGenNetworkForCausalLM.from_architecture(
        Architecture.from_string("hw-gpt-bench-s", TINY), vocab_size=vocab_size
    )


def argv_of(options: dict[str, Any]) -> list[str]:
    """As on the command line."""
    return ["--cpu", *(word for name, value in options.items() for word in (f"--{name}", str(value)))]


def options_of(text: Path, output: Path) -> dict[str, Any]:
    """The command line of a few steps."""
    return {
        "architecture": TINY, "train_text": text, "context": CONTEXT, "vocab_size": 300, "total_batch_size": 4,
        "max_train_steps": 6, "learning_rate": 2e-3, "validation_share": 0.05, "output_dir": output,
    }  # fmt: skip


def record_of(output: Path) -> dict[str, Any]:
    record: dict[str, Any] = json.loads((output / "network/training.json").read_text())
    return record


def refusal(argv: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line with which the recipe ends."""
    with pytest.raises(SystemExit) as ended:
        main(argv)
    if ended.value.code == 2:  # argparse's own, after the usage
        return capsys.readouterr().err.splitlines()[-1]
    assert str(ended.value.code).startswith("error: ") and "\n" not in str(ended.value.code)
    return str(ended.value.code)


def assert_same(first: Path, second: Path, **tolerance: float) -> None:
    a, b = load_file(first / "network/model.safetensors"), load_file(second / "network/model.safetensors")
    assert a.keys() == b.keys()
    for name in a:
        torch.testing.assert_close(a[name], b[name], **tolerance, msg=lambda text, name=name: f"{name}: {text}")


def direct(model: Any, tokens: Tokens) -> float:
    """Sum of the negative log-likelihoods of all tokens, one after the other."""
    total = 0.0
    for start in range(0, len(tokens), CONTEXT):
        ids = torch.from_numpy(tokens.ids[start : start + CONTEXT + 1].astype("int64"))
        with torch.no_grad():
            likelihoods = model(input_ids=ids[None, :-1]).logits[0].double().log_softmax(-1)
        for place, target in enumerate(ids[1:].tolist()):
            total -= float(likelihoods[place, target])
    return total


# ---------------------------------------------------------------------- it learns


@pytest.fixture(scope="module")
def trained(text: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that learned from the text."""
    output = tmp_path_factory.mktemp("trained")
    options = options_of(text, output) | {"max_train_steps": 60, "validation_steps": 20, "report_to": "tensorboard"}
    main([*argv_of(options), "--quiet"])
    return output


LOGITS = """
import sys, torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, AutoTokenizer
import pkgen_hf
folder, out = sys.argv[1:]
tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder).eval()
ids = tokenizer("The small", return_tensors="pt")["input_ids"]
with torch.no_grad():
    save_file({"logits": model(input_ids=ids).logits, "ids": ids}, out)
print(tokenizer.decode(model.generate(ids, max_new_tokens=24, do_sample=False)[0]))
"""


def test_it_learns_and_is_the_same_in_a_fresh_process(text: Path, trained: Path, tmp_path: Path) -> None:
    record = record_of(trained)
    losses = [part["loss"] for part in record["history"]]
    validation = [part["validation"]["loss"] for part in record["history"]]
    assert len(losses) == 3 and losses[0] > losses[1] > losses[2], losses
    least = sum(math.log(len(words)) for words in WORDS)  # nats a sentence that no model can save
    a_sentence = validation[-1] * record["validation"]["tokens"] / 30  # of which the last 30 are held out
    assert validation[0] > validation[1] > validation[2] and least < a_sentence < 1.5 * least, (validation, a_sentence)
    assert record["validation"] == record["history"][-1]["validation"]
    assert record["tokens_seen"] == 60 * 4 * CONTEXT and record["network"]["architecture"] == TINY
    assert record["validation_source"] == {"name": str(text), "split": None, "held_out": 0.05}
    assert list((trained / "pkgen-network").rglob("events*"))
    card = (trained / "network/README.md").read_text()
    assert f"60 steps on 7,680 tokens of `{text.name}`" in card and "AutoTokenizer" in card
    assert f"the last 5 % of the text, which was not trained on: {record['validation']['perplexity']:.2f}" in card
    # Fresh process, without the Hub.
    done = run_fresh(LOGITS, str(trained / "network"), str(tmp_path / "x.safetensors"))
    assert done.returncode == 0, done.stderr
    there = load_file(tmp_path / "x.safetensors")
    model = AutoModelForCausalLM.from_pretrained(trained / "network").eval()
    assert isinstance(model, PKGenNetworkForCausalLM)
    with torch.no_grad():
        assert torch.equal(model(input_ids=there["ids"]).logits, there["logits"])
    sentence = done.stdout.splitlines()[0]
    assert re.fullmatch("The small " + " ".join(f"({'|'.join(words)})" for words in WORDS[2:]) + r"\.", sentence)
    # The perplexity that is recorded is that of the network that is saved, over all tokens of the end of the text.
    tokenizer = AutoTokenizer.from_pretrained(trained / "network")
    tokens = Tokens(load_texts(str(text)).hold_out(0.05)[1], tokenizer)
    found = record["validation"]
    assert found["tokens"] == len(tokens)
    total = direct(model, tokens)
    assert found["loss"] == pytest.approx(total / len(tokens), rel=1e-6)
    assert found["perplexity"] == pytest.approx(math.exp(total / len(tokens)), rel=1e-5)
    assert found["bits_per_byte"] == pytest.approx(total / math.log(2) / tokens.bytes, rel=1e-6)


def test_a_sentence_is_written_at_the_end(text: Path, trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The saved network, trained on from its weights and with its tokenizer."""
    again = options_of(text, trained / "again") | {"network": trained / "network", "max_train_steps": 1}
    del again["architecture"]
    main([*argv_of(again | {"prompt": "Every wide", "learning_rate": 0})])
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("hw-gpt-bench-s: {") and "tokens of" in said[1]
    assert said[2].startswith("perplexity ") and any(line.startswith("Every wide") for line in said)
    assert said[-1].startswith(f"saved in {trained}/again/network")
    assert_same(trained, trained / "again", rtol=0, atol=0)
    assert record_of(trained / "again")["validation"] == record_of(trained)["validation"]


# ---------------------------------------------------------------------- exactness


def test_a_killed_run_goes_on_exactly(text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """SIGKILL between evaluations; the moving average included."""
    more = {"max_train_steps": 8, "validation_steps": 3, "ema_decay": 0.9}
    main([*argv_of(options_of(text, tmp_path / "whole") | more), "--quiet"])
    options = argv_of(options_of(text, tmp_path / "killed") | more | {"checkpointing_steps": 1})
    process = start_script("train_language_model.py", [*options, "--quiet"])
    while not list((tmp_path / "killed").glob("checkpoint-[45]")):
        assert process.is_alive(), "it ended before it could be killed"
        time.sleep(0.005)
    process.kill()
    process.join()
    assert not (tmp_path / "killed/network").exists()
    capsys.readouterr()
    main([*options, "--resume_from_checkpoint", "latest", "--quiet"])
    shown = capsys.readouterr()
    assert not shown.out and not shown.err
    assert_same(tmp_path / "whole", tmp_path / "killed", rtol=0, atol=0)
    a, b = (record_of(tmp_path / name) for name in ("whole", "killed"))
    for part in [*a["history"], *b["history"]]:
        del part["seconds"]
    assert a["history"] == b["history"] and [part["steps"] for part in a["history"]] == [3, 6, 8]
    for change, message in [
        (["--learning_rate", "0.5"], "learning_rate 0.002, not 0.5"),
        (["--vocab_size", "301"], "vocab_size 300, not 301"),
        (["--validation_share", "0.2"], "is of a training with tokenizer"),
    ]:
        assert message in refusal([*options, *change, "--resume_from_checkpoint", "latest"], capsys)


def test_two_processes_are_one_that_accumulates(text: Path, tmp_path: Path) -> None:
    """The perplexity of a text whose last batch and last block are not full is the same, too."""
    options = options_of(text, tmp_path / "one") | {"max_train_steps": 3, "validation_steps": 2}
    main([*argv_of(options), "--gradient_accumulation_steps", "2", "--quiet"])
    assert not on_two_processes(main, [*argv_of(options | {"output_dir": tmp_path / "two"}), "--quiet"])
    assert_same(tmp_path / "one", tmp_path / "two", rtol=1e-3, atol=1e-4)
    a, b = (record_of(tmp_path / name) for name in ("one", "two"))
    assert (a["processes"], b["processes"]) == (1, 2) and a["validation"]["tokens"] % CONTEXT
    for here, there in zip(a["history"], b["history"], strict=True):
        assert here["loss"] == pytest.approx(there["loss"], rel=1e-5)
        assert here["validation"] == pytest.approx(there["validation"], rel=1e-5)


@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_perplexity_does_not_depend_on_batches(text: Path, batch_size: int) -> None:
    texts = Texts("x", [text.read_text()[:3000], "a second document"])
    tokenizer = train_tokenizer(texts, 300, CONTEXT)
    tokens, model = Tokens(texts, tokenizer), network().eval()
    found = perplexity(model, Blocks(tokens, CONTEXT, whole=False), make_accelerator(FEW), batch_size)
    assert found["tokens"] == len(tokens)
    assert found["loss"] == pytest.approx(direct(model, tokens) / len(tokens), rel=1e-6)


def test_gradient_checkpointing_changes_nothing(text: Path, tmp_path: Path) -> None:
    texts = load_texts(str(text))
    corpus = read_corpus(train_tokenizer(texts, 300, CONTEXT), texts, None)
    for name in ("without", "with"):
        here = replace(FEW, output_dir=str(tmp_path / name), gradient_checkpointing=name == "with")
        result = train(here, network(), corpus)
        assert result["validation"] is None and len(result["history"]) == 1
    assert_same(tmp_path / "without", tmp_path / "with", rtol=1e-5, atol=1e-6)


def test_decay_spares_embeddings_biases_and_norms() -> None:
    model = network()
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    decayed, others = make_adamw(model, 1e-3, 0.1, (0.9, 0.95)).param_groups
    assert (decayed["weight_decay"], others["weight_decay"]) == (0.1, 0.0)
    assert len(decayed["params"]) + len(others["params"]) == len(names)
    assert all(parameter.ndim == 2 for parameter in decayed["params"])
    spared = [parameter for parameter in others["params"] if parameter.ndim > 1]
    assert [tuple(parameter.shape) for parameter in spared] == [(300, 192)]


# ---------------------------------------------------------------------- networks and mistakes


def test_what_the_pipeline_ranks_first_is_trained(text: Path, tmp_path: Path) -> None:
    """Limits count the network that is trained, with the vocabulary of its tokenizer."""
    options = options_of(text, tmp_path) | {"max_train_steps": 1, "max_parameters": 20e6, "min_parameters": 18e6}
    del options["architecture"]
    main([*argv_of(options | {"max_memory": "90MB"}), "--generate", "--no_validation", "--quiet"])
    pipe = PKGenPipeline.from_pretrained("pkgen-base")
    pipe.set_progress_bar_config(disable=True)
    limits = {"max_parameters": 20e6, "min_parameters": 18e6, "max_memory": 90e6, "context": CONTEXT}
    task, generator = Task("language-modelling", num_classes=300), torch.Generator().manual_seed(0)
    expected = pipe("hw-gpt-bench-s", task, num_architectures=1, generator=generator, **limits).architectures[0]
    record = record_of(tmp_path)
    assert record["network"]["architecture"] == str(expected)
    assert 18e6 <= record["parameters"] <= 20e6 and record["parameters"] == expected.cost(task).parameters


def test_mistakes_on_the_command_line(
    text: Path, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = options_of(text, tmp_path / "out")
    without = {name: value for name, value in base.items() if name != "architecture"}
    (tmp_path / "short.txt").write_text("too short\nfor a block\n")
    AutoTokenizer.from_pretrained(trained / "network").save_pretrained(tmp_path / "tokenizer")
    network().save_pretrained(tmp_path / "alone")
    for options, message in [
        (without, "name a network"),
        (base | {"architecture": "nonsense"}, "nonsense"),
        (without | {"network": tmp_path / "tokenizer"}, "is not a network of PKGen"),
        (without | {"network": tmp_path / "alone"}, "cannot be loaded as a tokenizer"),
        (base | {"tokenizer": tmp_path / "alone"}, "cannot be loaded as a tokenizer"),
        (base | {"space": "nas-bench-201"}, "invalid choice: 'nas-bench-201' (choose from"),
        (base | {"train_text": tmp_path / "none.txt"}, "neither a file, a folder nor the id"),
        (base | {"train_text": tmp_path / "short.txt"}, "tokens, fewer than the 32 of a block"),
        (base | {"total_batch_size": 3000}, "blocks are fewer than the 3000 of one step"),
        (base | {"gradient_accumulation_steps": 3}, "a step of 4 blocks cannot be divided"),
        (base | {"vocab_size": 100}, "--vocab_size must be at least 257"),
        (base | {"validation_split": "test"}, "has no splits, hence none called 'test'"),
        (base | {"validation_share": 2}, "--validation_share must be between 0 and 1"),
        (base | {"learning_rate": 1e30, "logging_steps": 1}, "the loss is"),
    ]:
        assert message in refusal(argv_of(options), capsys), options
    assert not (tmp_path / "out/network").exists()
    texts = load_texts(str(text))
    corpus = read_corpus(train_tokenizer(texts, 301, CONTEXT), texts, None)
    with pytest.raises(ValueError, match="the network has 300 tokens, fewer than the 301 of the tokenizer"):
        train(replace(FEW, output_dir=str(tmp_path / "out")), network(), corpus)


def test_defaults_are_those_of_the_settings() -> None:
    settings, _ = parse_arguments(["--generate", "--train_text", "x"])
    assert settings == TextSettings()
