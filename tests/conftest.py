"""Tables that many tests read, loaded once, and where the tables that are not in the repository are."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from pkgen_hf.benchmarks import ScoreTable

# What the tests compute is too small for threads: on a busy machine of 2 cores they make it up to 9 times slower.
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def cell_table() -> ScoreTable:
    """NAS-Bench-201 as its PyPI package has it: validation scores on 3 tasks."""
    return ScoreTable.load("nas-bench-201")


@pytest.fixture(scope="session")
def graph_table() -> ScoreTable:
    """NAS-Bench-Graph as its PyPI package has it: validation and test scores on 9 tasks."""
    return ScoreTable.load("nas-bench-graph")


@pytest.fixture(scope="session")
def shared_benchmarks() -> Path:
    """Folder of benchmark tables that are not part of the repository; tests that read it are skipped without it."""
    default = Path(__file__).resolve().parents[2] / "shared" / "benchmarks"
    folder = Path(os.environ.get("PKGEN_TEST_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"no benchmark tables at {folder}: set PKGEN_TEST_DATA to their folder to run this test")
    return folder
