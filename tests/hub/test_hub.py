"""Downloads with the real client: what was published loads by its id, and what goes wrong is told in one line.

Two servers on this machine: `olah`, which serves git repositories as the Hub does, to fresh processes; and the stub,
for what should fail.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hub_stub import NOWHERE, TOKEN, HubStub, connect
from huggingface_hub import constants
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import AutoTokenizer, BertTokenizer, GPT2Tokenizer

from pkgen_hf import (
    Architecture,
    PKGenNetworkForCausalLM,
    PKGenNetworkForImageClassification,
    PKGenNetworkForSequenceClassification,
    PKGenPipeline,
    Prior,
    get_space,
    load_benchmark,
)
from pkgen_hf.hub.download import whole_folder
from pkgen_hf.publishing import push as publishing
from pkgen_hf.publishing.cards import write_card
from pkgen_hf.publishing.network_cards import network_card

Getter = Callable[..., Any]
GETTERS: dict[str, Getter] = {
    "pipeline": lambda name, **options: PKGenPipeline.from_pretrained(name, **options),
    "priors": lambda name, **options: Prior.from_hub(name, "nas-bench-201", "cifar10", **options),
    "dataset": lambda name, **options: load_benchmark("nas-bench-201", name, **options),
}


@pytest.fixture
def published(hub: HubStub, made: Path) -> HubStub:
    """The stub with a pipeline, priors and a benchmark."""
    publishing.push([publishing.plan(made / kind, f"org/{kind}") for kind in GETTERS], token=TOKEN, quiet=True)
    return hub


# ---------------------------------------------------------------------- what goes wrong


@pytest.mark.parametrize("kind", GETTERS)
def test_what_cannot_be_had_gives_one_error(
    kind: str, published: HubStub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    get = GETTERS[kind]
    what = "repository" if kind == "pipeline" else "data set"

    def refused(
        message: str, name: str = f"org/{kind}", error: type[Exception] = FileNotFoundError, **options
    ) -> None:
        with pytest.raises(error, match=message) as caught:
            get(name, **options)
        assert "\n" not in str(caught.value)

    refused("no folder org/nothing, and no Hub .* that you may read; for a private one, log in", "org/nothing")
    refused(f"the Hub's {what} org/{kind} has no revision 'v9'", revision="v9")
    refused("cannot be the name of a Hub", "org/--x..y")
    published.repositories["model" if kind == "pipeline" else "dataset", f"org/{kind}"].private = True
    refused("no Hub .* of that name that you may read; for a private one, log in with `hf auth login`")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert get(f"org/{kind}") is not None
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cold"))
    connect(monkeypatch, NOWHERE)
    refused("the Hub could not be reached.*the cache does not hold the whole")
    # nor is it reached where it must not be, as HF_HUB_OFFLINE=1 says
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    refused("the Hub could not be reached, or must not be.*the cache does not hold the whole")


@pytest.mark.parametrize("kind", GETTERS)
def test_interrupted_download_goes_on(kind: str, published: HubStub, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client tries five times itself; then what has arrived is kept, and the next call fetches the rest."""
    monkeypatch.setattr(time, "sleep", lambda _: None)
    get = GETTERS[kind]
    published.cut = 10_000
    with pytest.raises(FileNotFoundError, match="the download of .* failed; what has arrived is kept, so try again"):
        get(f"org/{kind}")
    published.cut = 2  # one or two files break off once more, which the client puts right
    first = get(f"org/{kind}")
    published.sent.clear()
    again = get(f"org/{kind}")
    assert published.sent == []  # all is in the cache
    connect(monkeypatch, NOWHERE)  # and serves without the Hub
    unplugged = get(f"org/{kind}")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    offline = get(f"org/{kind}")
    for other in (again, unplugged, offline):
        if kind == "pipeline":
            assert len(other.priors) == len(first.priors) == len(PKGenPipeline.from_pretrained("pkgen-base").priors)
            for one, two in zip(first.denoiser.parameters(), other.denoiser.parameters(), strict=True):
                assert torch.equal(one, two)
        elif kind == "priors":
            assert torch.equal(first.frequencies, other.frequencies) and first.evidence == "measured"
        else:
            assert first.num_rows == 15_625 and first["architecture"][:] == other["architecture"][:]


def test_half_a_download_is_not_taken_for_a_whole(
    published: HubStub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: None)
    PKGenPipeline.from_pretrained("org/pipeline")
    link = next(tmp_path.glob("hub-cache/**/darts.parquet"))
    link.resolve().unlink()
    link.unlink()
    connect(monkeypatch, NOWHERE)
    # newer clients tell themselves; with older ones the checkpoint's own list of priors does
    with pytest.raises((FileNotFoundError, ValueError), match="org/pipeline.*(cache does not hold|is missing)"):
        PKGenPipeline.from_pretrained("org/pipeline")


def test_repository_of_something_else(published: HubStub) -> None:
    """Nothing large of it is fetched."""
    repository = published.repositories["model", "org/pipeline"]
    files = dict(repository.commits[-1])
    index = files.pop("model_index.json").replace(b'"PKGenPipeline"', b'"StableDiffusionPipeline"')
    repository.add(files | {"model_index.json": index})
    published.sent.clear()
    with pytest.raises(ValueError, match="org/pipeline is a checkpoint of .*StableDiffusionPipeline"):
        PKGenPipeline.from_pretrained("org/pipeline")
    assert published.sent == ["model_index.json"]
    repository.add(files)
    with pytest.raises(ValueError, match="org/pipeline is not a PKGen checkpoint: it has no model_index.json"):
        PKGenPipeline.from_pretrained("org/pipeline")
    assert published.sent == ["model_index.json"]
    with pytest.raises(ValueError, match="data set org/dataset has no priors of nas-bench-201"):
        Prior.from_hub("org/dataset", "nas-bench-201")
    with pytest.raises(ValueError, match="unknown task of nas-bench-201: 'cifar1'. Did you mean 'cifar10'"):
        Prior.from_hub("org/priors", "nas-bench-201", "cifar1")
    with pytest.raises(ValueError, match="is not a nas-bench-graph string|has no column|no column of a task"):
        load_benchmark("nas-bench-graph", "org/priors")
    published.repositories["dataset", "org/dataset"].add({"data.csv": b"a,b\n"})
    with pytest.raises(ValueError, match="the Hub's data set org/dataset has no Parquet files"):
        load_benchmark("nas-bench-201", "org/dataset")


def test_priors_that_a_data_set_lacks_are_carried_over(made: Path) -> None:
    folder = str(made / "priors")
    own = Prior.from_hub(folder, "nas-bench-201", "cifar100")
    assert (own.task, own.evidence) == ("cifar100", "measured")
    assert Prior.from_hub(folder, "nas-bench-201").task is None
    carried = Prior.from_hub(folder, "darts", "imagenet1k")
    assert (carried.task, carried.evidence) == ("imagenet1k", "carried over")
    assert whole_folder(None, None) is None and whole_folder("org/gone", "/some/denoiser") is None


# ---------------------------------------------------------------------- what was published loads by its id


@pytest.fixture(scope="module")
def olah(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a server of what was made, as repositories of git."""
    pytest.importorskip("olah", reason="the server of Hub repositories is not installed: pip install '.[test]'")
    root = tmp_path_factory.mktemp("olah")
    git = ["git", "-c", "user.name=x", "-c", "user.email=x@x", "-c", "init.defaultBranch=main"]
    for kind, where in [
        ("pipeline", "models"),
        ("network", "models"),
        ("dataset", "datasets"),
        ("priors", "datasets"),
    ]:
        repository = root / where / "org" / kind
        shutil.copytree(made / kind, repository)
        for command in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "x"]):
            subprocess.run([*git, *command], cwd=repository, check=True, capture_output=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config = f'[basic]\nhost = "127.0.0.1"\nport = {port}\nrepos-path = "{root}/cache"\nmirrors-path = ["{root}"]\n'
    (root / "olah.toml").write_text(config + "[accessibility]\noffline = true\n")
    command = [sys.executable, "-c", "from olah.server import cli; cli()", "-c", str(root / "olah.toml")]
    with (root / "log").open("w") as log:
        server = subprocess.Popen([*command, "--log-path", str(root / "logs")], cwd=root, stdout=log, stderr=log)
    try:
        for _ in range(600):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert server.poll() is None, (root / "log").read_text()[-2000:]
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(30)


USE = """
import json, sys
import torch
import datasets, pkgen_hf
from diffusers import DiffusionPipeline
from transformers import AutoModelForImageClassification
from pkgen_hf import PKGenPipeline, Prior, load_benchmark

def samples(pipe):
    pipe.set_progress_bar_config(disable=True)
    out = pipe("nas-bench-201", "cifar100", num_architectures=6, generator=torch.Generator().manual_seed(1))
    return [str(architecture) for architecture in out.architectures], len(pipe.priors)

found = {"pkgen": samples(PKGenPipeline.from_pretrained("org/pipeline"))}
general = DiffusionPipeline.from_pretrained("org/pipeline", trust_remote_code=True, revision="main")
assert type(general) is PKGenPipeline
found["diffusers"] = samples(general)
rows = datasets.load_dataset("org/priors", "nas-bench-201", split="train").to_list()
prior = Prior.from_hub("org/priors", "nas-bench-201", "cifar10")
operations = [row for row in rows if row["task"] == "cifar10" and row["component"] == "operation"]
found["rows"] = [row["frequency"] for row in operations]
found["frequencies"] = prior.frequencies.flatten().tolist()
found["default"] = datasets.load_dataset("org/priors", split="train").config_name
whole = datasets.load_dataset("org/dataset", split="train").with_format("arrow")[:]
table = load_benchmark("nas-bench-201", "org/dataset").with_format("arrow")[:]
found["same table"] = all(whole[name].equals(table[name]) for name in whole.column_names)
found["table"] = table.shape
model = AutoModelForImageClassification.from_pretrained("org/network").eval()
found["logits"] = model(torch.linspace(-1, 1, 3072).view(1, 3, 32, 32)).logits.tolist()
print(json.dumps(found))
"""


def process(code: str, folder: Path, **settings: str) -> str:
    """The last line that a fresh process prints, with a cache in a folder and no token."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    environment |= {"HF_HOME": str(folder / "home"), **settings}
    done = subprocess.run([sys.executable, "-c", code], env=environment, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.splitlines()[-1]


def test_a_fresh_process_loads_everything_by_its_id(olah: str, made: Path, tmp_path: Path) -> None:
    online = json.loads(process(USE, tmp_path, HF_ENDPOINT=olah))
    pipe = PKGenPipeline.from_pretrained(made / "pipeline")
    pipe.set_progress_bar_config(disable=True)
    call = {"num_architectures": 6, "generator": torch.Generator().manual_seed(1)}
    expected = [str(architecture) for architecture in pipe("nas-bench-201", "cifar100", **call).architectures]
    assert online["pkgen"] == online["diffusers"] == [expected, len(pipe.priors)]
    assert online["rows"] == pytest.approx(online["frequencies"])
    assert online["default"] == "nas-bench-201" and online["same table"] and online["table"][0] == 15_625
    with torch.no_grad():
        network = PKGenNetworkForImageClassification.from_pretrained(made / "network").eval()
        logits = network(torch.linspace(-1, 1, 3072).view(1, 3, 32, 32)).logits
    torch.testing.assert_close(torch.tensor(online["logits"]), logits)


def test_examples_in_cards_run(hub: HubStub, made: Path, tmp_path: Path) -> None:
    """As they are written, in one fresh process, against what was uploaded."""
    kinds = ("pipeline", "network", "dataset", "priors")
    publishing.push([publishing.plan(made / kind, f"org/{kind}") for kind in kinds], token=TOKEN, quiet=True)
    blocks = []
    for kind in kinds:
        found = re.findall(r"```python\n(.*?)```", (made / kind / "README.md").read_text(), flags=re.DOTALL)
        assert found and f"org/{kind}" in "".join(found)
        blocks += found
    names = process("".join([*blocks, "print(sorted(globals()))\n"]), tmp_path, HF_ENDPOINT=hub.url)
    assert all(f"'{name}'" in names for name in ("network", "logits", "table", "prior"))


# ---------------------------------------------------------------------- networks for texts, with their tokenizers

TEXT = "a generated network reads a text and writes a text"


def gpt_with_tokenizer(folder: Path) -> torch.Tensor:
    """A language model and byte-level byte-pair encoding, as ``vocab.json`` and ``merges.txt``; logits of `TEXT`."""
    pairs = Tokenizer(models.BPE())
    pairs.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=280, special_tokens=["<|endoftext|>"], initial_alphabet=alphabet, show_progress=False
    )
    pairs.train_from_iterator([TEXT], trainer)
    folder.mkdir()
    tokenizer = GPT2Tokenizer(*pairs.model.save(str(folder)))
    space = get_space("hw-gpt-bench-s")
    smallest = Architecture(space, space.canonical(torch.zeros(1, space.num_slots, dtype=torch.long))[0].tolist())
    return saved(PKGenNetworkForCausalLM.from_architecture(smallest, len(tokenizer), 32), tokenizer, folder)


def bert_with_tokenizer(folder: Path) -> torch.Tensor:
    """A classifier and a vocabulary of words, as ``vocab.txt``; logits of `TEXT`."""
    folder.mkdir()
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *dict.fromkeys(TEXT.split())]
    (folder / "vocab.txt").write_text("\n".join(words) + "\n")
    tokenizer = BertTokenizer(str(folder / "vocab.txt"))
    space = get_space("nas-bench-bert")
    smallest = Architecture(space, [0] * space.num_slots)
    model = PKGenNetworkForSequenceClassification.from_architecture(smallest, len(words), 32)
    return saved(model, tokenizer, folder)


def saved(model: Any, tokenizer: Any, folder: Path) -> torch.Tensor:
    """Logits of `TEXT`, once the tokenizer is saved beside the model, of which only the texts hold the vocabulary."""
    model.eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "tokenizer.json").unlink(missing_ok=True)
    inputs = AutoTokenizer.from_pretrained(folder)(TEXT, return_tensors="pt")
    assert inputs["input_ids"].unique().numel() > 5
    with torch.no_grad():
        return model(**inputs).logits


def test_networks_and_their_tokenizers_load_by_one_id(hub: HubStub, tmp_path: Path) -> None:
    """In a fresh process, which runs the examples of their cards, too, tokens and logits are those of this one."""
    code, expected, all_files = "import json, torch, pkgen_hf\nfound = {}\n", {}, set()
    for auto, make, files in (
        ("AutoModelForCausalLM", gpt_with_tokenizer, {"vocab.json", "merges.txt"}),
        ("AutoModelForSequenceClassification", bert_with_tokenizer, {"vocab.txt"}),
    ):
        folder, name = tmp_path / auto, f"org/{auto.lower()}"
        expected[auto] = make(folder)
        write_card(folder, network_card(folder, name))
        upload = publishing.plan(folder, name)
        assert files | {"tokenizer_config.json", "config.json", "model.safetensors"} <= set(upload.files)
        publishing.push(upload, token=TOKEN, quiet=True)
        all_files |= files
        code += f"""
from transformers import {auto}, AutoTokenizer
inputs = AutoTokenizer.from_pretrained("{name}")({TEXT!r}, return_tensors="pt")
with torch.no_grad():
    found["{auto}"] = {auto}.from_pretrained("{name}").eval()(**inputs).logits.tolist()
"""
        code += "".join(re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), flags=re.DOTALL))
    found = json.loads(process(f"{code}\nprint(json.dumps(found))\n", tmp_path, HF_ENDPOINT=hub.url))
    for auto, logits in expected.items():
        torch.testing.assert_close(torch.tensor(found[auto]), logits)
    assert all_files < set(hub.sent)
