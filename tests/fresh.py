"""Python code in fresh processes, without the seconds that importing torch, diffusers and transformers takes.

They are forked from a server that has imported what this package depends on, but nothing of the package itself. Code
that must be there before such an import, or a variable of the environment, needs a process of its own.
"""

from __future__ import annotations

import multiprocessing
import multiprocessing.context
import os
import subprocess
import sys
import tempfile
import types
from pathlib import Path

PACKAGE = "pkgen_hf"
LIBRARIES = ["diffusers.pipelines.pipeline_utils", "transformers.models.auto.modeling_auto", "transformers.generation"]


def fork_server() -> multiprocessing.context.ForkServerContext:
    """Forks processes from one that has imported the libraries, and in which nothing ran."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(LIBRARIES)
    return context


def run_fresh(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """What ``python -c CODE ARGUMENTS`` prints and how it ends, without the Hub."""
    context = fork_server()
    with tempfile.TemporaryDirectory() as folder:
        process = context.Process(target=_run, args=(code, arguments, folder))
        process.start()
        process.join()
        out, err = (Path(folder, name).read_text() for name in ("stdout", "stderr"))
    assert process.exitcode is not None
    return subprocess.CompletedProcess(code, process.exitcode, out, err)


def _run(code: str, arguments: tuple[str, ...], folder: str) -> None:
    """Run code as the main module, with both streams in files of a folder."""
    for stream, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(Path(folder, name), os.O_WRONLY | os.O_CREAT), stream)
    from huggingface_hub import constants

    constants.HF_HUB_OFFLINE = True
    assert PACKAGE not in sys.modules
    sys.argv = ["-c", *arguments]
    main = sys.modules["__main__"] = types.ModuleType("__main__")
    exec(compile(code, "<string>", "exec"), vars(main))
