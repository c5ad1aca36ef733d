"""The processes of a training, as a launcher starts them."""

from __future__ import annotations

import os

from accelerate import Accelerator


def is_main_process() -> bool:
    """Whether this is the process that prints and writes."""
    return int(os.environ.get("RANK", "0")) == 0


def num_launched() -> int:
    """Number of processes that the launcher started; 1 without a launcher."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def check_processes(accelerator: Accelerator, script: str) -> None:
    """RuntimeError if the launcher started several processes of a script, but they do not know of each other."""
    launched = num_launched()
    if accelerator.num_processes != launched:
        raise RuntimeError(
            f"the launcher started {launched} processes but Accelerate sees {accelerator.num_processes}; on CPUs use: "
            f"accelerate launch --multi_gpu --num_processes {launched} {script} --cpu"
        )
