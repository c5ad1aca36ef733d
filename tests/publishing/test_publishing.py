"""Publishing: the form of a pipeline, what is refused, and uploads of all kinds to a Hub on this machine."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hub_stub import NOWHERE, READER, TOKEN, HubStub, connect
from huggingface_hub import snapshot_download
from typer.testing import CliRunner

from pkgen_hf import PKGenPipeline
from pkgen_hf.cli.main import app
from pkgen_hf.hub.download import CHECKPOINTS
from pkgen_hf.publishing import push as publishing
from pkgen_hf.publishing.cards import pipeline_card
from pkgen_hf.publishing.pipeline_folder import SHIMS, export_pipeline

ROOT = Path(__file__).parents[2]
KINDS = ("pipeline", "network", "dataset", "priors", "space")


def contents(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture
def copy(made: Path, tmp_path: Path) -> Callable[[str], Path]:
    """A copy of one of them that a test may spoil."""
    return lambda kind: Path(shutil.copytree(made / kind, tmp_path / kind))


# ---------------------------------------------------------------------- the form of a pipeline


def test_exported_pipeline_is_the_same_pipeline(made: Path) -> None:
    folder, own = made / "pipeline", CHECKPOINTS / "pkgen-base"
    index = json.loads((folder / "model_index.json").read_text())
    assert index["_class_name"] == ["pipeline", "PKGenPipeline"]
    assert index["denoiser"] == ["modeling_denoiser", "ArchitectureDenoiser"]
    assert index["scheduler"] == ["scheduling_prior_discrete", "PriorDiscreteScheduler"]
    for name, text in SHIMS.items():
        assert (folder / name).read_text() == text and text.count("\n") == 1
        exec(text, names := {})
        assert set(index["_class_name"] + index["denoiser"] + index["scheduler"]) & set(names)
    same = set(contents(own)) - {"model_index.json"}
    assert set(contents(folder)) == set(contents(own)) | set(SHIMS) | {"README.md"}
    for name in same:
        one, other = (contents(where)[name] for where in (own, folder))
        assert json.loads(one) == json.loads(other) if name.endswith(".json") else one == other
    samples = []
    for where in (own, folder):
        pipe = PKGenPipeline.from_pretrained(where)
        pipe.set_progress_bar_config(disable=True)
        samples.append(pipe("nas-bench-201", "cifar10", generator=torch.Generator().manual_seed(3)).architectures)
    assert samples[0] == samples[1]


def test_saving_and_export_leave_no_path_of_this_machine(tmp_path: Path) -> None:
    pipe = PKGenPipeline.from_pretrained("pkgen-base")
    pipe.save_pretrained(tmp_path / "saved")
    folder = export_pipeline(tmp_path / "saved", tmp_path / "exported")
    assert contents(folder) == contents(tmp_path / "saved")
    for name, content in contents(folder).items():
        assert str(tmp_path).encode() not in content and str(CHECKPOINTS).encode() not in content, name
    assert "no record of its training" in str(pipeline_card(folder))
    (folder / "README.md").write_text("a card\n")
    assert contents(export_pipeline(tmp_path / "saved", folder)) == contents(folder)  # again, and the card stays
    assert (folder / "README.md").read_text() == "a card\n"
    with pytest.raises(FileExistsError, match="no exported pipeline"):
        export_pipeline("pkgen-base", tmp_path)


def test_a_saved_folder_is_published_as_it_is(tmp_path: Path) -> None:
    """Its card is written where it is, and export over it leaves what is not of the checkpoint."""
    folder = tmp_path / "saved"
    pipe = PKGenPipeline.from_pretrained("pkgen-base")
    pipe.priors = pipe.priors[:1]
    pipe.save_pretrained(folder)
    before = contents(folder)
    put("notes.txt")(folder)
    export_pipeline(folder, folder)
    assert contents(folder) == before | {"notes.txt": b"x"}
    put("priors/stale.parquet")(folder)
    export_pipeline("pkgen-base", folder)
    assert "priors/stale.parquet" not in contents(folder) and "priors/darts.parquet" in contents(folder)
    (folder / "notes.txt").unlink()
    assert run("card", str(folder), "--repo-id", "org/mine")[0] == 0
    assert publishing.plan(folder, "org/mine").kind == "pipeline"


def test_checkpoint_without_one_of_its_priors_is_not_whole(copy: Callable[[str], Path]) -> None:
    folder = copy("pipeline")
    (folder / "priors" / "darts.parquet").unlink()
    with pytest.raises(ValueError, match="not a whole checkpoint: priors/darts.parquet is missing"):
        PKGenPipeline.from_pretrained(folder)


def test_files_of_tokenizers_are_published_with_their_network(copy: Callable[[str], Path]) -> None:
    folder, names = copy("network"), ["vocab.txt", "merges.txt", "vocab.json", "tokenizer.json"]
    names += ["tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"]
    for name in names:
        put(name)(folder)
    assert set(names) < set(publishing.plan(folder, "org/x").files)


# ---------------------------------------------------------------------- what is refused


def test_kinds_are_told_apart(made: Path, tmp_path: Path) -> None:
    found = {kind: publishing.kind_of(made / kind) for kind in KINDS}
    assert found == {kind: "dataset" if kind == "priors" else kind for kind in KINDS}
    for folder, error, message in [
        (tmp_path / "none", FileNotFoundError, "no folder"),
        (tmp_path, ValueError, "nothing that can be published"),
        (CHECKPOINTS / "pkgen-base", ValueError, "not yet in the Hub's form: pkgen card .* --output"),
    ]:
        with pytest.raises(error, match=message):
            publishing.kind_of(folder)
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(ValueError, match="of type 'bert', expected 'pkgen-network'"):
        publishing.kind_of(tmp_path)


def put(name: str, text: str = "x") -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(path.read_text() + text if path.is_file() else text)

    return change


def replace(old: str, new: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        text = (folder / "README.md").read_text()
        assert old in text
        (folder / "README.md").write_text(text.replace(old, new))

    return change


@pytest.mark.parametrize(
    ("kind", "change", "message"),
    [
        ("dataset", put(".env", "A=1"), r"\.env is hidden"),
        ("dataset", put(".cache/x"), r"\.cache is hidden"),
        ("network", lambda folder: (folder / "more.json").symlink_to("config.json"), "more.json is a link to config"),
        ("network", lambda folder: (folder / "up").symlink_to(folder.parent), "up is a link"),
        ("space", put("__pycache__/app.txt"), "__pycache__ is a cache"),
        ("space", put("app.py~"), "temporary file"),
        ("network", put("model.safetensors.incomplete"), "temporary file"),
        ("network", put("training_args.bin"), "training_args.bin has no place in a network: only .*safetensors"),
        (
            "network",
            put("notes.txt"),
            "only files that end in .json, .safetensors, .md, and vocab.txt, and merges.txt",
        ),
        ("network", put("more/vocab.txt"), "more/vocab.txt has no place in a network"),
        ("network", put("tokenizer.py", "print()"), "tokenizer.py has no place in a network"),
        ("network", put("tokenizer.pkl"), "tokenizer.pkl has no place in a network"),
        ("dataset", put("vocab.txt"), "vocab.txt has no place in a dataset"),
        ("dataset", put("load.py", "print()"), "load.py has no place in a dataset"),
        ("pipeline", put("pipeline.py", "import os\n"), "pipeline.py is code that pkgen did not write"),
        ("pipeline", put("denoiser/more.py"), "more.py is code that pkgen did not write"),
        ("network", put("README.md", f"token: {TOKEN}\n"), "README.md, line .*looks like a Hugging Face token"),
        ("space", put("app.py", f"KEY = 'AKIA{'A' * 16}'"), "app.py, line 2, .*key of a cloud service"),
        ("space", put("key.txt", "-----BEGIN RSA PRIVATE KEY-----"), "line 1, .*private key"),
        ("network", put("notes.json", '"ghp_' + "a" * 36 + '"'), "GitHub token"),
        ("dataset", lambda folder: (folder / "README.md").unlink(), "has no card, README.md: pkgen dataset build"),
        ("dataset", replace("org/dataset", "org/name"), "names the repository org/name"),
        ("dataset", replace("license: mit", "license: mitt"), "'mitt'. Did you mean 'mit'"),
        ("dataset", replace("path: image-", "path: images-"), "images-classification/train-.*no such file"),
        ("space", replace("app.py", "main.py"), "names main.py, and there is no such file"),
        ("space", replace("sdk: gradio", "sdk: gradios"), "'gradios'. Did you mean 'gradio'"),
        ("network", replace("---\nlib", "lib"), "a card starts with a header"),
        ("network", replace("license: apache-2.0", "license: [apache"), "is not YAML"),
    ],
)
def test_what_must_not_be_public(
    kind: str, change: Callable[[Path], None], message: str, copy: Callable[[str], Path]
) -> None:
    folder = copy(kind)
    publishing.plan(folder, "org/x")
    change(folder)
    with pytest.raises(ValueError, match=message) as error:
        publishing.plan(folder, "org/x")
    assert TOKEN not in str(error.value)


def test_own_token_is_found_whatever_it_looks_like(
    copy: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "a.plain-word")
    folder = copy("space")
    put("app.py", "x = 'a.plain-word'\n")(folder)
    with pytest.raises(ValueError, match="app.py, line 2, .*token that you are logged in with"):
        publishing.plan(folder, "org/x")


def test_a_linked_folder_is_refused(made: Path, tmp_path: Path) -> None:
    (tmp_path / "linked").symlink_to(made / "space")
    with pytest.raises(ValueError, match="linked is a link"):
        publishing.plan(tmp_path / "linked", "org/x")
    with pytest.raises(ValueError, match="'x' is not the name of a Hub repository: expected ORG/NAME"):
        publishing.plan(made / "space", "x")


# ---------------------------------------------------------------------- uploads


def test_uploads_come_back_byte_for_byte(hub: HubStub, made: Path) -> None:
    uploads = [publishing.plan(made / kind, f"org/{kind}") for kind in KINDS]
    addresses = publishing.push(uploads, token=TOKEN, quiet=True)
    assert len(addresses) == len(KINDS)
    for upload, address in zip(uploads, addresses, strict=True):
        repository = hub.repositories[upload.repo_type, upload.repo_id]
        assert len(repository.commits) == 2 and upload.repo_id in address  # the one it is born with, and ours
        files = contents(Path(snapshot_download(upload.repo_id, repo_type=upload.repo_type)))
        files.pop(".gitattributes")
        assert files == contents(upload.folder)
    assert {kind for kind, _ in hub.repositories} == {"model", "dataset", "space"}


def test_what_the_hub_has_is_not_sent_again(hub: HubStub, copy: Callable[[str], Path]) -> None:
    folder = copy("pipeline")
    hub.fail_commits = 100  # the client tries again with fewer files in a commit
    with pytest.raises(ConnectionError, match="answered 507 for org/p; run the same again"):
        publishing.push(publishing.plan(folder, "org/p"), token=TOKEN)
    hub.fail_commits = 0
    for _ in range(2):
        publishing.push(publishing.plan(folder, "org/p"), token=TOKEN, quiet=True)
    repository = hub.repositories["model", "org/p"]
    assert len(repository.commits) == 2
    # a later upload without a prior takes it away, and leaves what others put there
    repository.commits[-1]["NOTES.md"] = b"theirs"
    (folder / "priors" / "darts.parquet").unlink()
    index = json.loads((folder / "model_index.json").read_text())
    del index["_priors"]["darts"]
    (folder / "model_index.json").write_text(json.dumps(index))
    publishing.push(publishing.plan(folder, "org/p"), "Without darts", token=TOKEN, quiet=True)
    files = repository.commits[-1]
    assert len(repository.commits) == 3 and "priors/darts.parquet" not in files and files["NOTES.md"] == b"theirs"
    # and a branch is made where one is named
    put("training.json", " ")(folder)
    publishing.push(publishing.plan(folder, "org/p"), revision="trial", token=TOKEN, quiet=True)
    assert repository.refs == {"main": 2, "trial": 3}


def test_who_may_not_write_is_told(hub: HubStub, made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    upload = publishing.plan(made / "space", "org/s")
    for token, message in [
        (None, "not logged in to the Hub: run `hf auth login`"),
        (READER, "may not write to org/s"),
        ("hf_" + "x" * 34, "token is not valid"),
    ]:
        with pytest.raises(PermissionError, match=message):
            publishing.push(upload, token=token)
    connect(monkeypatch, NOWHERE)
    with pytest.raises(ConnectionError, match="could not be reached for org/s; run the same again"):
        publishing.push(upload, token=TOKEN)
    assert not hub.repositories


# ---------------------------------------------------------------------- commands


def run(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, list(arguments))
    return result.exit_code, result.stdout, " ".join(result.stderr.split())


def test_commands(hub: HubStub, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = str(tmp_path / "mine")
    checkpoint = str(CHECKPOINTS / "pkgen-base")
    assert run("card", checkpoint, "-o", mine, "--repo-id", "org/mine")[:2] == (0, f"{mine}/README.md\n")
    code, text, _ = run("push", mine, "org/mine", "--dry-run")
    assert code == 0 and f"-> model org/mine: {len(contents(tmp_path / 'mine'))} files" in text
    assert not hub.repositories
    assert run("push", mine, "org/mine")[0] == 1
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    code, text, _ = run("push", mine, "org/mine", "--private", "-m", "First")
    assert code == 0 and "org/mine/commit/" in text
    assert hub.repositories["model", "org/mine"].private
    shutil.copytree(made / "network", tmp_path / "network")
    assert run("card", str(tmp_path / "network"), "-q") == (0, "", "")
    for arguments, message in [
        (["card", checkpoint], "is there and is no exported pipeline"),
        (["card", str(made / "space")], "neither a checkpoint nor a network"),
        (["card", str(made / "network"), "-o", mine], "--output and --results are for checkpoints"),
        (["push", str(tmp_path / "network"), "org/n"], "names the repository org/name: make it again with --repo-id"),
        (["push", str(tmp_path), "org/n"], "nothing that can be published"),
    ]:
        code, text, errors = run(*arguments)
        assert code == 1 and text == "" and message in errors and "Traceback" not in errors
    (tmp_path / "network" / "README.md").write_text("three years of work")
    assert "was not written by pkgen" in run("card", str(tmp_path / "network"))[2]


def test_recipe(
    hub: HubStub, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "recipes"))
    import publish

    monkeypatch.chdir(tmp_path)
    network = shutil.copytree(made / "network", tmp_path / "my-network" / "network")  # as train_network.py leaves it
    call = ["publish.py", "pipeline", "priors", "networks", "--network", str(network), "--hub_org", "org"]
    monkeypatch.setattr(sys, "argv", [*call, "--dry_run"])
    publish.main()
    text = capsys.readouterr().out
    assert "-> model org/pkgen-base: " in text and "-> dataset org/pkgen-priors: " in text
    assert "-> model org/my-network: " in text and "nothing was sent" in text and not hub.repositories
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setattr(sys, "argv", [*call, "--push_to_hub", "--private"])
    publish.main()
    assert {name for _, name in hub.repositories} == {"org/pkgen-base", "org/pkgen-priors", "org/my-network"}
    # the Space is its own files, and a card with the version of gradio that is tested
    space = tmp_path / "root" / "hub_cards" / "space"
    shutil.copytree(ROOT / "hub_cards" / "space", space)
    (space / "app.py").write_text("import gradio\n")
    (space / "__pycache__").mkdir()
    shutil.copy(ROOT / "pyproject.toml", tmp_path / "root")
    (tmp_path / "root" / "constraints.txt").write_text("gradio==6.5.4\n")
    monkeypatch.setattr(publish, "ROOT", tmp_path / "root")
    monkeypatch.setattr(publish, "SPACE", space)
    monkeypatch.setattr(sys, "argv", [*call[:1], "space", "--hub_org", "org", "--push_to_hub"])
    publish.main()
    files = hub.repositories["space", "org/pkgen"].commits[-1]
    assert set(files) >= {"README.md", "app.py"} and not any("__pycache__" in name for name in files)
    assert b"sdk_version: 6.5.4" in files["README.md"] and b"- org/pkgen-base" in files["README.md"]
    monkeypatch.setattr(sys, "argv", [*call[:1], "pipelines", "--hub_org", "org"])
    with pytest.raises(SystemExit, match="Did you mean 'pipeline'"):
        publish.main()
