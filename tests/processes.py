"""Recipes in processes forked from a server that has imported the libraries that they need.

Not from that of the tests: gradients cannot be computed in a process that was forked after threads of them ran.
"""

from __future__ import annotations

import json
import os
import runpy
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from accelerate.state import AcceleratorState
from fresh import fork_server

RECIPES = Path(__file__).parents[1] / "recipes"
Main = Callable[[list[str]], Any]


SHOW = "import json, os, sys; open(sys.argv[1] + os.environ['RANK'], 'w').write(json.dumps(dict(os.environ)))"
ALIKE = [{"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2"} for rank in range(2)]


def environments_of_launcher(folder: Path) -> list[dict[str, str]]:
    """What `accelerate launch --multi_gpu --num_processes 2` adds to the environment of each process.

    Without what joins a process to the launcher's own server.
    """
    script = folder / "show.py"
    script.write_text(SHOW)
    command = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]
    done = subprocess.run([*command, str(script), f"{folder}/"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    found = [json.loads((folder / str(rank)).read_text()) for rank in range(2)]
    return [
        {name: value for name, value in each.items() if name not in os.environ and not name.startswith("TORCHELASTIC")}
        for each in found
    ]


def as_one_of_two(
    rank: int, port: int, main: Main, argv: list[str], environments: list[dict[str, str]], printed: str
) -> None:
    """The recipe with the environment that a launcher sets; it knew of no others before. It prints to a file."""
    os.dup2(os.open(printed, os.O_WRONLY | os.O_APPEND), 1)
    AcceleratorState._reset_state(reset_partial_state=True)
    os.environ |= environments[rank] | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    main(argv)


def on_two_processes(main: Main, argv: list[str], environments: list[dict[str, str]] = ALIKE) -> str:
    """Run a recipe on two processes, as `accelerate launch --multi_gpu --num_processes 2` does, but without its start.

    Returns what they print: the server of processes has the output of the test that started it.

    Parameters
    ----------
    main, argv
        The recipe's function and the words of its command line.
    environments
        Of each process, beside the address at which they meet.

    Raises
    ------
    ProcessRaisedException
        If one of them fails.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    fork_server()
    with tempfile.NamedTemporaryFile("r") as printed:
        torch.multiprocessing.start_processes(
            as_one_of_two, (port, main, argv, environments, printed.name), nprocs=2, start_method="forkserver"
        )
        return printed.read()


def run_script(name: str, argv: list[str]) -> None:
    """Run a recipe as a script, in this process."""
    path = str(RECIPES / name)
    with mock.patch.object(sys, "argv", [path, *argv]):
        runpy.run_path(path, run_name="__main__")


def start_script(name: str, argv: list[str]) -> BaseProcess:
    """Run a recipe as a script, in a process that can be killed."""
    process = fork_server().Process(target=run_script, args=(name, argv))
    process.start()
    return process
