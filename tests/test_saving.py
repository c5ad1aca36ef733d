"""Saving and loading the pipeline: every argument that diffusers has, every place, and every damage."""

from __future__ import annotations

import json
import os
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from diffusers import DDPMScheduler, DiffusionPipeline
from fresh import run_fresh
from hub_stub import TOKEN, HubStub
from safetensors.torch import load_file, save_file
from test_files import in_a_mount_namespace

from pkgen_hf import Architecture, PKGenPipeline, Prior, PriorDiscreteScheduler
from pkgen_hf.modeling_denoiser import ArchitectureDenoiser
from pkgen_hf.publishing import push as publishing
from pkgen_hf.publishing.cards import pipeline_card
from pkgen_hf.spaces import Choice, SearchSpace, Slot, Task

SPACE = "nas-bench-201"
WEIGHTS = "denoiser/diffusion_pytorch_model.safetensors"
load = PKGenPipeline.from_pretrained


def denoiser_of(width: int = 16, seed: int = 0) -> ArchitectureDenoiser:
    torch.manual_seed(seed)
    return ArchitectureDenoiser(width=width, num_layers=1, num_heads=2, vocabulary=["identity"]).eval()


def own_space(name: str = "flowers", choices: int = 3) -> SearchSpace:
    slots = [
        Slot(f"s{i}", "operation", tuple(Choice(f"c{k}", "convolution", kernel=2 * k + 1) for k in range(choices)),
             (i,), i + 1)
        for i in range(3)
    ]  # fmt: skip
    return SearchSpace(
        name, slots, {"x": Task("image-classification", chance_score=10.0, num_classes=10)}, null_choice="c0"
    )


@pytest.fixture(scope="module")
def small() -> PKGenPipeline:
    """Weights that have learnt nothing, and a prior without knowledge."""
    pipe = PKGenPipeline(denoiser_of(), PriorDiscreteScheduler())
    pipe.priors = [Prior.absent(SPACE, "cifar10")]
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.fixture
def saved(small: PKGenPipeline, tmp_path: Path) -> Path:
    small.save_pretrained(tmp_path / "saved")
    return tmp_path / "saved"


def samples(pipe: PKGenPipeline, space: str | SearchSpace = SPACE, number: int = 4) -> list[Architecture]:
    pipe.set_progress_bar_config(disable=True)
    return pipe(space, num_architectures=number, generator=torch.Generator().manual_seed(0)).architectures


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


# ---------------------------------------------------------------------- types of weights


@pytest.mark.parametrize("name", ["torch_dtype", "dtype"])
@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (torch.float16, torch.float16),
        ("float16", torch.float16),
        ("torch.bfloat16", torch.bfloat16),
        ("bf16", torch.bfloat16),
        ("float64", torch.float64),
        ({"denoiser": "float16"}, torch.float16),
        ({"default": torch.bfloat16}, torch.bfloat16),
        ({}, torch.float32),
        ("auto", torch.float32),
        (None, torch.float32),
    ],
)
def test_types_are_taken_as_diffusers_takes_them(saved: Path, name: str, given: Any, expected: torch.dtype) -> None:
    assert {weight.dtype for weight in load(saved, **{name: given}).denoiser.parameters()} == {expected}


def test_auto_is_the_type_that_was_saved(saved: Path, tmp_path: Path) -> None:
    load(saved, torch_dtype="float16").save_pretrained(tmp_path / "half")
    assert load_file(tmp_path / "half" / WEIGHTS)["norm.weight"].dtype == torch.float16
    assert load(tmp_path / "half").denoiser.dtype == torch.float32
    assert load(tmp_path / "half", torch_dtype="auto").denoiser.dtype == torch.float16
    assert load(tmp_path / "half", dtype="auto", torch_dtype="auto").denoiser.dtype == torch.float16


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_generation_in_other_types(dtype: torch.dtype) -> None:
    """On a CPU, of every kind of space; half precision may rank otherwise, but everything is finite and valid."""
    pipe = load("pkgen-base", torch_dtype=dtype)
    pipe.set_progress_bar_config(disable=True)
    for space in ("nas-bench-201", "nas-bench-graph", "hw-gpt-bench-s", "nas-bench-macro"):
        out = pipe(space, num_architectures=2, generator=torch.Generator().manual_seed(0))
        assert len(out.architectures) == 2 and out.scores.isfinite().all()
        assert all(architecture.is_valid for architecture in out.architectures)
        assert pipe.rank(space, out.architectures).isfinite().all()


# ---------------------------------------------------------------------- other arguments


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"torch_dtype": "float17"}, "unknown torch_dtype: 'float17'. Did you mean 'float16'"),
        ({"dtype": torch.int8}, "unknown dtype: 'torch.int8'.*Allowed: auto, float16"),
        ({"dtype": {"denoizer": "float16"}}, "unknown part of the pipeline in dtype: 'denoizer'. Did you mean 'denoi"),
        ({"dtype": "bf16", "torch_dtype": "fp16"}, "torch_dtype and dtype are the same argument, got 'fp16' and 'bf1"),
        ({"use_safetensors": False}, "use_safetensors=False is not possible"),
        ({"variant": "fp16"}, "denoiser is not whole: diffusion_pytorch_model.fp16.safetensors is missing"),
        ({"variant": "../x"}, r"variant must be a name of letters and digits such as 'fp16', got '\.\./x'"),
        ({"device_map": "cuda:77"}, "device_map must be a device of this machine.*got 'cuda:77'"),
        ({"device_map": {"denoiser": 0}}, "device_map must be a device"),
        ({"proxies": {"https": "x"}}, "proxies is not taken by PKGenPipeline.from_pretrained: set .*HTTPS_PROXY"),
        ({"subfolder": "x"}, "subfolder is not taken .*: name the folder of the pipeline itself"),
        ({"custom_pipeline": "x/y"}, "custom_pipeline is not taken .*no code of a checkpoint is run here"),
        ({"quantization_config": object()}, "quantization_config is not taken .*pass torch_dtype"),
        ({"output_loading_info": True}, "output_loading_info is not taken"),
        ({"use_auth_token": "x"}, "use_auth_token is not taken .*its name is token now"),
        ({"revison": "main"}, "unknown argument of PKGenPipeline.from_pretrained: 'revison'. Did you mean 'revision'"),
        ({"denoiser": torch.nn.Linear(1, 1)}, "denoiser must be of the class ArchitectureDenoiser, got Linear"),
        ({"scheduler": DDPMScheduler()}, "scheduler must be of the class PriorDiscreteScheduler, got DDPMScheduler"),
        ({"spaces": own_space()}, "spaces must be a list of SearchSpace objects"),
        ({"spaces": None}, "spaces must be a list of SearchSpace objects"),
        ({"spaces": ["nas-bench-201"]}, "spaces must be a list of SearchSpace objects"),
    ],
)
def test_what_is_not_taken_is_refused_by_name(saved: Path, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        load(saved, **arguments)
    assert "\n" not in str(error.value)


def test_what_changes_nothing_is_taken(saved: Path, small: PKGenPipeline) -> None:
    pipe = load(
        saved, use_safetensors=True, low_cpu_mem_usage=True, trust_remote_code=True, force_download=True,
        local_files_only=None, device_map="cpu", variant=None, proxies=None, custom_pipeline=None, subfolder=None,
    )  # fmt: skip
    assert samples(pipe) == samples(small)
    assert load(saved, device_map="balanced").device.type in ("cpu", "cuda", "mps")


def test_parts_that_are_passed_in_are_used_and_not_read(saved: Path) -> None:
    shutil.rmtree(saved / "denoiser")
    shutil.rmtree(saved / "scheduler")
    denoiser, scheduler = denoiser_of(32), PriorDiscreteScheduler(schedule="linear")
    pipe = load(saved, denoiser=denoiser, scheduler=scheduler)
    assert pipe.denoiser is denoiser and pipe.scheduler is scheduler and len(pipe.priors) == 1
    with pytest.raises(ValueError, match="denoiser/config.json is missing"):
        load(saved, scheduler=scheduler)


def test_a_variant_is_saved_beside_the_others_and_loaded_by_its_name(saved: Path, small: PKGenPipeline) -> None:
    plain = (saved / WEIGHTS).read_bytes()
    load(saved, torch_dtype="fp16").save_pretrained(saved, variant="fp16")
    assert (saved / WEIGHTS).read_bytes() == plain and samples(load(saved)) == samples(small)
    half = load(saved, variant="fp16", torch_dtype=torch.float16).denoiser.state_dict()
    for name, value in small.denoiser.state_dict().items():
        assert torch.equal(half[name], value.half())
    (saved / WEIGHTS).unlink()
    with pytest.raises(ValueError, match="model.safetensors is missing; there is the variant 'fp16'"):
        load(saved)
    with pytest.raises(ValueError, match="model.ema.safetensors is missing; there is the variant 'fp16'"):
        load(saved, variant="ema")
    for arguments, message in [
        ({"variant": "a/b"}, "variant must be a name of letters and digits such as 'fp16', got 'a/b'"),
        ({"max_shard_size": "lots"}, "max_shard_size must be bytes, or a size such as '5GB', got 'lots'"),
        ({"max_shard_size": -1}, "max_shard_size must be bytes"),
    ]:
        with pytest.raises(ValueError, match=message):
            small.save_pretrained(saved, **arguments)


@pytest.mark.parametrize("variant", [None, "fp16"])
def test_weights_in_several_files(small: PKGenPipeline, tmp_path: Path, variant: str | None) -> None:
    folder = tmp_path / "parts"
    small.save_pretrained(folder, max_shard_size="8KB", variant=variant)
    files = sorted(path.name for path in (folder / "denoiser").glob("*.safetensors"))
    assert len(files) > 3 and samples(load(folder, variant=variant)) == samples(small)
    lost = (folder / "denoiser" / files[1]).read_bytes()
    (folder / "denoiser" / files[1]).unlink()
    with pytest.raises(ValueError, match=f"denoiser is not whole: {files[1]} is missing, which .*index"):
        load(folder, variant=variant)
    (folder / "denoiser" / files[1]).write_bytes(lost[:-9])
    with pytest.raises(ValueError, match=f"{files[1]} is truncated"):
        load(folder, variant=variant)
    small.save_pretrained(folder, variant=variant)  # in one file, and no stale part of it
    assert len(list((folder / "denoiser").glob("*safetensors*"))) == 1
    assert samples(load(folder, variant=variant)) == samples(small)


# ---------------------------------------------------------------------- places


def test_every_place_is_written_and_read(
    small: PKGenPipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The current folder, a link, the home folder, a relative path; nothing else appears anywhere."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    for place, really in {
        ".": "here", "../link": "real", "~/models/mine": "home/models/mine", "../rel": "rel",
        tmp_path / "link": "real",
    }.items():  # fmt: skip
        for _ in range(2):
            small.save_pretrained(place)
        assert samples(load(place)) == samples(small)
        assert (tmp_path / really / "model_index.json").is_file() and not list(tmp_path.rglob(".*"))
    assert Path(os.getcwd()) == tmp_path / "here" and (tmp_path / "link").is_symlink()
    assert {path.name for path in tmp_path.iterdir()} == {"here", "real", "link", "home", "rel"}


def test_other_files_of_a_folder_are_not_even_touched(small: PKGenPipeline, tmp_path: Path) -> None:
    (tmp_path / "denoiser").mkdir()
    (tmp_path / "denoiser" / "notes.txt").write_text("mine")
    (tmp_path / "broken").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe")  # whoever opened it would wait for ever
    before = (tmp_path / "denoiser" / "notes.txt").stat()
    small.save_pretrained(tmp_path)
    after = (tmp_path / "denoiser" / "notes.txt").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert (tmp_path / "broken").is_symlink() and (tmp_path / "pipe").is_fifo()
    assert samples(load(tmp_path)) == samples(small)


def test_saving_changes_nothing_of_the_pipeline(saved: Path) -> None:
    pipe = load(saved)
    before = dict(pipe.config)
    pipe.save_pretrained(saved)
    pipe.priors = pipe.priors[:]
    assert before.items() <= pipe.config.items() and "_priors" not in pipe.config and "PKGenPipeline" in repr(pipe)


def test_mounted_and_read_only_folders(tmp_path: Path, saved: Path) -> None:
    """Pipelines, exports, networks and data sets."""
    in_a_mount_namespace(
        """
from pkgen_hf import Architecture, PKGenNetworkForImageClassification, PKGenPipeline
from pkgen_hf.publishing.dataset_folder import build_priors
from pkgen_hf.publishing.pipeline_folder import export_pipeline

pipe = PKGenPipeline.from_pretrained(root / "saved")
cell = Architecture("nas-bench-201", (3, 0, 1, 4, 0, 2))
network = PKGenNetworkForImageClassification.from_architecture(cell, 3, channels=4, cells=1)
acts = {
    "pipeline": pipe.save_pretrained,
    "export": lambda folder: export_pipeline(root / "saved", folder),
    "network": network.save_pretrained,
    "dataset": lambda folder: build_priors(root / "saved", folder, quiet=True),
}
for name, act in acts.items():
    (root / name).mkdir()
    mount("-t", "tmpfs", "none", root / name)
    act(root / name)
    first = listing(root / name)
    act(root / name)
    assert listing(root / name) == first and not any(".un" in file for file in first), first
    mount("-o", "remount,ro", root / name)
    try:
        act(root / name)
    except OSError as error:
        assert "Read-only file system" in str(error) and chr(10) not in str(error), error
    else:
        raise AssertionError(name)
    assert listing(root / name) == first
assert len(PKGenPipeline.from_pretrained(root / "pipeline").priors) == 1
assert sorted(os.listdir(root)) == sorted([*acts, "saved"])
""",
        tmp_path,
    )


# ---------------------------------------------------------------------- the general pipeline of diffusers

GENERAL = """
import sys
import torch
from diffusers import DiffusionPipeline
from diffusers.utils import dynamic_modules_utils

dynamic_modules_utils.HF_MODULES_CACHE = sys.argv[2]
pipe = DiffusionPipeline.from_pretrained(sys.argv[1], trust_remote_code=True)
pipe.set_progress_bar_config(disable=True)
out = pipe("nas-bench-201", num_architectures=4, generator=torch.Generator().manual_seed(0))
print("|".join(map(str, out.architectures)), len(pipe.priors), type(pipe).__module__)
"""


def test_a_saved_folder_loads_with_diffusers_alone(saved: Path, small: PKGenPipeline, tmp_path: Path) -> None:
    """In a process that imports nothing of this package itself; without leave it is refused."""
    done = run_fresh(GENERAL, str(saved), str(tmp_path / "modules"))
    assert done.returncode == 0, done.stderr[-3000:]
    expected = "|".join(map(str, samples(small)))
    assert done.stdout.splitlines()[-1] == f"{expected} 1 pkgen_hf.pipeline_pkgen"
    with pytest.raises(ValueError, match="trust_remote_code"):
        DiffusionPipeline.from_pretrained(saved)


def test_what_diffusers_loaded_is_saved_without_paths_of_this_machine(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from diffusers.utils import dynamic_modules_utils

    monkeypatch.setattr(dynamic_modules_utils, "HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.syspath_prepend(str(tmp_path / "modules"))
    general = DiffusionPipeline.from_pretrained(saved, trust_remote_code=True, torch_dtype=torch.float32)
    general.save_pretrained(tmp_path / "again")
    assert bytes_of(tmp_path / "again") == bytes_of(saved)
    assert not any(str(tmp_path).encode() in content for content in bytes_of(saved).values())


def test_from_pretrained_runs_no_code_of_a_folder(saved: Path, tmp_path: Path) -> None:
    for name in ("pipeline.py", "denoiser/modeling_denoiser.py", "scheduler/scheduling_prior_discrete.py"):
        (saved / name).write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    load(saved, trust_remote_code=True)
    assert not (tmp_path / "ran").exists()


def test_folders_of_a_class_of_ones_own(tmp_path: Path, small: PKGenPipeline) -> None:
    class Mine(PKGenPipeline):
        pass

    mine = Mine(small.denoiser, small.scheduler)
    mine.priors = small.priors
    mine.save_pretrained(tmp_path)
    assert type(Mine.from_pretrained(tmp_path)) is Mine and type(load(tmp_path)) is PKGenPipeline


# ---------------------------------------------------------------------- uploads


def test_push_to_hub_sends_the_whole_checkpoint(saved: Path, hub: HubStub, small: PKGenPipeline) -> None:
    pipe = load(saved)
    for arguments, message in [
        ({"push_to_hub": True}, "push_to_hub=True needs the name of the Hub repository: repo_id='ORG/NAME'"),
        ({"repo_id": "org/x"}, "repo_id is for an upload: pass push_to_hub=True too"),
        ({"push_to_hub": True, "repo_id": "org/x", "create_pr": True}, "unknown argument of save_pretrained: 'create"),
        ({"max_shard": "1GB"}, "unknown argument of save_pretrained: 'max_shard'. Did you mean 'max_shard_size'"),
        ({"safe_serialization": False}, "safe_serialization=False is not supported"),
    ]:
        with pytest.raises(ValueError, match=message):
            pipe.save_pretrained(saved, **arguments)
    pipe.save_pretrained(
        saved, push_to_hub=True, repo_id="org/mine", token=TOKEN, private=True, commit_message="First"
    )
    repository = hub.repositories["model", "org/mine"]
    sent = {name: content for name, content in repository.commits[-1].items() if name != ".gitattributes"}
    assert sent == bytes_of(saved) and repository.private and f"priors/{SPACE}.parquet" in sent
    assert b'PKGenPipeline.from_pretrained("org/mine")' in sent["README.md"]
    assert samples(load("org/mine", token=TOKEN)) == samples(small)
    pipe.push_to_hub("org/again", token=TOKEN)
    again = hub.repositories["model", "org/again"].commits[-1]
    assert {name for name in again if name != ".gitattributes"} == set(sent) and b"license: apache" in again[
        "README.md"
    ]
    hub.sent.clear()
    load("org/mine", token=TOKEN)
    assert not hub.sent
    load("org/mine", token=TOKEN, force_download=True)
    assert WEIGHTS in hub.sent


def test_a_variant_comes_back_from_the_hub(saved: Path, hub: HubStub, tmp_path: Path, small: PKGenPipeline) -> None:
    folder = tmp_path / "half"
    load(saved, dtype="fp16").save_pretrained(
        folder, variant="fp16", max_shard_size="8KB", push_to_hub=True, repo_id="org/half", token=TOKEN
    )
    assert 'PKGenPipeline.from_pretrained("org/half", variant="fp16")' in (folder / "README.md").read_text()
    assert load("org/half", variant="fp16", dtype="auto").denoiser.dtype == torch.float16
    with pytest.raises(ValueError, match="there is the variant 'fp16'"):
        load("org/half")


# ---------------------------------------------------------------------- priors of spaces of one's own


@pytest.fixture
def with_own(tmp_path: Path, small: PKGenPipeline) -> tuple[SearchSpace, Path]:
    """A space, and a checkpoint with two priors of it beside one of a space that is known."""
    space = own_space()
    pipe = PKGenPipeline(small.denoiser, small.scheduler)
    tried = Architecture.from_batch(space, space.sample(12, torch.Generator().manual_seed(0)))
    scores = [float(sum(architecture.indices)) for architecture in tried]
    pipe.priors = [*small.priors, Prior.from_evaluations(space, tried, scores, "x"), Prior.absent(space)]
    pipe.save_pretrained(tmp_path / "own")
    return space, tmp_path / "own"


def test_a_space_that_is_passed_has_its_priors(with_own: tuple[SearchSpace, Path]) -> None:
    space, folder = with_own
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pipe = load(folder, spaces=[space])
    assert [prior.space.name for prior in pipe.priors].count("flowers") == 2
    assert pipe.familiarity(space) == 1 and len(samples(pipe, space)) == 4
    with pytest.raises(ValueError, match=f"{folder}/priors/flowers.parquet is damaged.*choice 'c3'|.*says nothing"):
        load(folder, spaces=[own_space(choices=4)])


def test_a_space_that_is_not_known_is_left_out_and_saved_again(
    with_own: tuple[SearchSpace, Path], tmp_path: Path
) -> None:
    space, folder = with_own
    with pytest.warns(UserWarning, match=r"not known here, which are left out: flowers.*from_pretrained\(.*spaces="):
        pipe = load(folder)
    assert {prior.space.name for prior in pipe.priors} == {SPACE} and len(samples(pipe)) == 4
    shutil.rmtree(folder / "priors")  # it does not need the file any more
    for target in (folder, tmp_path / "again"):
        pipe.save_pretrained(target)
        assert json.loads((target / "model_index.json").read_text())["_priors"] == {SPACE: 1, "flowers": 2}
        again = load(target, spaces=[space])
        assert [prior.task for prior in again.priors if prior.space is space] == ["x", None]
    pipe.priors = [Prior.absent(space)]  # one that is set takes its place
    pipe.save_pretrained(folder)
    assert [prior.evidence for prior in load(folder, spaces=[space]).priors] == ["absent"]
    assert set(bytes_of(folder / "priors")) == {"flowers.parquet"}


def test_a_checkpoint_of_ones_own_space_has_a_card(with_own: tuple[SearchSpace, Path], hub: HubStub) -> None:
    _, folder = with_own
    assert "flowers" in str(pipeline_card(folder, "org/own"))
    with pytest.warns(UserWarning, match="not known here"):
        load(folder).save_pretrained(folder, push_to_hub=True, repo_id="org/own", token=TOKEN)
    assert publishing.kind_of(folder) == "pipeline"


# ---------------------------------------------------------------------- damage


def cut(name: str, part: float = 0.5) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: int(part * len(content))])

    return change


def put(name: str, **values: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        content = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps(content | values))

    return change


def spoil_prior(folder: Path) -> None:
    path = folder / "priors" / f"{SPACE}.parquet"
    table = pq.read_table(path)
    pq.write_table(table.slice(0, table.num_rows - 1), path)


def as_integers(folder: Path) -> None:
    state = load_file(folder / WEIGHTS)
    save_file({name: value.to(torch.int8) for name, value in state.items()}, folder / WEIGHTS)


INDEX, CONFIG, SCHEDULE = "model_index.json", "denoiser/config.json", "scheduler/scheduler_config.json"


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        *[(name, cut(name)) for name in (WEIGHTS, INDEX, CONFIG, SCHEDULE, f"priors/{SPACE}.parquet")],
        *[(name, cut(name, 0)) for name in (WEIGHTS, INDEX, CONFIG, SCHEDULE, f"priors/{SPACE}.parquet")],
        (INDEX, lambda folder: (folder / INDEX).unlink()),
        (CONFIG, lambda folder: (folder / CONFIG).unlink()),
        (SCHEDULE, lambda folder: (folder / SCHEDULE).unlink()),
        (WEIGHTS, lambda folder: (folder / WEIGHTS).unlink()),
        (f"priors/{SPACE}.parquet", lambda folder: (folder / "priors" / f"{SPACE}.parquet").unlink()),
        (f"priors/{SPACE}.parquet", spoil_prior),
        (INDEX, put(INDEX, _priors=3)),
        (CONFIG, put(CONFIG, width="16")),
        (CONFIG, put(CONFIG, width=-1)),
        (CONFIG, put(CONFIG, num_heads=0)),
        (SCHEDULE, put(SCHEDULE, schedule="cosin")),
        (SCHEDULE, put(SCHEDULE, num_train_timesteps=None)),
        (WEIGHTS, put(CONFIG, num_layers=2)),
        (WEIGHTS, as_integers),
    ],
)
def test_a_damaged_file_is_named_in_one_line(saved: Path, name: str, damage: Callable[[Path], None]) -> None:
    damage(saved)
    with pytest.raises(ValueError) as error:
        load(saved)
    assert Path(name).name in str(error.value) and str(saved) in str(error.value) and "\n" not in str(error.value)


def test_an_index_without_a_class_is_of_no_pipeline(saved: Path) -> None:
    put(INDEX, _class_name=[])(saved)
    with pytest.raises(ValueError, match=r"is a checkpoint of \[\], not of PKGenPipeline"):
        load(saved)
    for name, message in [
        (saved / INDEX, "model_index.json is a file; name the folder of a checkpoint"),
        ("", "the path is empty; the current folder is '.'"),
        (None, "unknown checkpoint: 'None'"),
    ]:
        with pytest.raises(FileNotFoundError, match=message):
            load(name)
    with pytest.raises(FileNotFoundError, match="the path is empty"):
        PKGenPipeline(denoiser_of(), PriorDiscreteScheduler()).save_pretrained("")
