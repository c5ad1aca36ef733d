"""Recipes in processes forked from that of the tests, which has imported already what they need."""

from __future__ import annotations

import multiprocessing
import os
import runpy
import socket
import sys
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from accelerate.state import AcceleratorState

RECIPES = Path(__file__).parents[1] / "recipes"
Main = Callable[[list[str]], Any]


def as_one_of_two(rank: int, port: int, main: Main, argv: list[str]) -> None:
    """The recipe with the environment that a launcher sets; the forked process knew of no others before."""
    AcceleratorState._reset_state(reset_partial_state=True)
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    main(argv)


def on_two_processes(main: Main, argv: list[str]) -> None:
    """Run a recipe on two processes, as `accelerate launch --multi_gpu --num_processes 2` does, but without its start.

    Raises
    ------
    ProcessRaisedException
        If one of them fails.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torch.multiprocessing.start_processes(as_one_of_two, (port, main, argv), nprocs=2, start_method="fork")


def run_script(name: str, argv: list[str]) -> None:
    """Run a recipe as a script, in this process."""
    path = str(RECIPES / name)
    with mock.patch.object(sys, "argv", [path, *argv]):
        runpy.run_path(path, run_name="__main__")


def start_script(name: str, argv: list[str]) -> BaseProcess:
    """Run a recipe as a script, in a process that can be killed."""
    process = multiprocessing.get_context("fork").Process(target=run_script, args=(name, argv))
    process.start()
    return process
