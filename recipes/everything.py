"""Everything that is published, in one run: which commands, and how they are run beside each other and resumed."""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from tqdm.auto import tqdm

from pkgen_hf import get_space
from pkgen_hf.errors import unknown
from pkgen_hf.training.arguments import RECORD
from runs import Row, finished_commands, keep_finished, save

# Every published result, by the spaces it is about: NAS-Bench-201 first, trainings before what uses them.
EVERYTHING: list[tuple[str, list[str], list[str]]] = [
    *(("new-space", ["nas-bench-201"], ["--train_seed", str(seed)]) for seed in range(5)),
    ("new-data-set", ["nas-bench-201"], []),
    ("limits", ["nas-bench-201"], []),
    ("few-labels", ["nas-bench-201"], ["--train_seeds", "0", "1", "2", "3", "4"]),
    ("same-benchmark", ["nas-bench-201"], []),
    ("prior-matters", ["nas-bench-201"], []),
    ("quality", ["nas-bench-201"], []),
    ("ablations", ["nas-bench-201"], []),  # the longest: early, so that the others run beside it
    ("new-space", ["nas-bench-101"], []),
    ("new-space", ["transnas-bench-101-micro", "transnas-bench-101-macro"], []),
    ("few-labels", ["nas-bench-101"], []),
    ("few-labels", ["transnas-bench-101-micro", "transnas-bench-101-macro"], ["--labels", "20", "50"]),
    ("new-space", ["nas-bench-macro", "mnasnet"], []),
    ("few-labels", ["nas-bench-macro", "mnasnet"], []),
    ("new-space", ["darts"], []),
    ("new-space", ["nas-bench-graph"], []),
    *(
        ("new-data-set", ["transnas-bench-101-micro", "transnas-bench-101-macro"], ["--task", task])
        for task in get_space("transnas-bench-101-micro").tasks
    ),
    ("new-data-set", ["nas-bench-graph"], []),
    *(("new-data-set", ["nas-bench-graph"], ["--task", task]) for task in ("cora", "citeseer")),
    *(
        ("same-benchmark", [space], [])
        for space in (
            "nas-bench-101", "nas-bench-graph", "nas-bench-macro", "transnas-bench-101-micro",
            "transnas-bench-101-macro", "mnasnet", "darts",
        )
    ),
    ("quality", ["nas-bench-101"], []),
    ("under-a-budget", ["hw-gpt-bench-s"], ["--budget", "max_parameters=40e6", "--budget", "max_memory=140e6"]),
    ("under-a-budget", ["autoformer-small"], ["--budget", "max_parameters=20e6"]),
    ("under-a-budget", ["ofa-mobilenetv3"], ["--budget", "max_parameters=5e6"]),
]  # fmt: skip
QUICK = ["--num_architectures", "200", "--seeds", "2", "--labels", "20", "--runs", "2", "--max_train_steps", "100"]
FOLDERS = ("data", "checkpoint", "output_dir", "results", "latency_table")  # what all passes on
QUICK_FOLDERS = {"output_dir": "runs/quick", "results": Path("runs/quick/results")}


def commands_of(options: argparse.Namespace) -> list[list[str]]:
    """All of the above, or what concerns the named spaces, a command each; ablations only when asked for all."""
    commands = []
    for protocol, spaces, more in EVERYTHING:
        if options.space and (not set(spaces) & set(options.space) or protocol == "ablations"):
            continue
        if options.quick and (protocol in ("ablations", "limits") or "--train_seed" in more and more[-1] != "0"):
            continue
        command = [sys.argv[0], protocol, *(word for space in spaces for word in ("--space", space)), *more]
        if command[-2:] == ["--train_seed", "0"]:
            command = command[:-2]
        if options.quick:
            command += ["--train_seeds", "0", *QUICK]
        for name in FOLDERS:  # where they are not the defaults
            value = str(getattr(options, name))
            if value != str(options.defaults[name]) and (name != "latency_table" or protocol == "limits"):
                command += [f"--{name}", value]
        commands.append(command)
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

    With --quick all of it in small, in runs/quick.

    Seconds of each, and from the first start to the last end, are written to results/timings/all[-SPACE...].json.
    """
    passed_on = ("protocol", "space", "quick", "jobs", *FOLDERS)
    for option, default in options.defaults.items():
        if option not in passed_on and getattr(options, option) != default:
            raise ValueError(f"all makes what is published and takes no --{option}; give it to one of the protocols")
    published = sorted({space for _, spaces, _ in EVERYTHING for space in spaces})
    for space in options.space or []:
        if space not in published:
            raise unknown("space with published results", space, published)
    name = "-".join(["all", *(options.space or [])])
    for folder, small in QUICK_FOLDERS.items():
        if options.quick and getattr(options, folder) == options.defaults[folder]:
            setattr(options, folder, small)
    timings = argparse.Namespace(**vars(options) | {"results": options.results / "timings"})
    commands = commands_of(options)
    before, done = finished_commands(name, timings)

    started = time.time() - before
    trained_before = sum(
        path.stat().st_mtime < started for path in Path(options.output_dir).glob(f"*/pipeline/{RECORD}")
    )
    with ThreadPoolExecutor(options.jobs) as pool:
        futures = [pool.submit(run, command, done, options.jobs) for command in commands]
        try:
            for future in tqdm(as_completed(futures), total=len(futures), desc=name):
                row = future.result()
                done[row["command"]] = row["seconds"]
                keep_finished(name, time.time() - started, done, timings)
        finally:
            pool.shutdown(cancel_futures=True)
    rows = [future.result() for future in futures]
    details = {"protocol": "all", "space": options.space, "seconds": round(time.time() - started, 1)}
    save(
        name,
        {**details, "jobs": options.jobs, "cores": os.cpu_count(), "trained_before": trained_before},
        rows,
        timings,
    )
