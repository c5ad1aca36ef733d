"""Division of steps among processes, such that results do not depend on the number of processes."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Iterator

import numpy as np
import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from torch import nn

from pkgen_hf.errors import unknown
from pkgen_hf.files import user_path
from pkgen_hf.modeling_network import PKGenNetworkForImageClassification
from pkgen_hf.training.processes import check_processes
from settings import TrainingSettings

DECAY, DECAY_EPOCHS = 0.97, 2.4  # of the exponential schedule, as in MnasNet (Tan et al., CVPR 2019)


def has_idle_weights(network: PKGenNetworkForImageClassification) -> bool:
    """Whether some weights never get a gradient, as those of an edge whose end is not used."""
    empty = nn.Module.to(copy.deepcopy(network), "meta").train()
    size = network.config.image_size
    labels = torch.empty(2, dtype=torch.long, device="meta")
    empty(torch.empty(2, 3, size, size, device="meta"), labels).loss.backward()
    return any(parameter.grad is None for parameter in empty.parameters())


def make_accelerator(
    settings: TrainingSettings, idle_weights: bool = False, script: str = "recipes/train_network.py"
) -> Accelerator:
    """Make an Accelerator; RuntimeError if it does not see all processes that the launcher started."""
    warnings.filterwarnings("ignore", message=".*broadcast_buffers.*", category=FutureWarning)
    accelerator = Accelerator(
        cpu=settings.cpu,
        mixed_precision=settings.mixed_precision,
        gradient_accumulation_steps=settings.gradient_accumulation_steps,
        log_with=settings.report_to,
        project_dir=user_path(settings.output_dir),
        dynamo_backend="inductor" if settings.compile else None,
        # Statistics are merged by `RunningStatistics`.
        kwargs_handlers=[DistributedDataParallelKwargs(broadcast_buffers=False, find_unused_parameters=idle_weights)],
    )
    check_processes(accelerator, script)
    return accelerator


class Plan:
    """The examples, such as images, that each process reads in each step.

    A step reads the next examples of its epoch's permutation. They are divided into equal batches. Each process has as
    many consecutive batches as there are accumulation steps.

    Attributes
    ----------
    batch_size
        Examples of a batch in one process.
    parts
        Slices of a step's examples, one for each batch of this process.
    steps_per_epoch, steps
        Number of steps of an epoch and of the whole training.
    """

    def __init__(self, settings: TrainingSettings, number: int, process: int, processes: int) -> None:
        self.settings, self.number = settings, number
        accumulated = settings.gradient_accumulation_steps
        parts = processes * accumulated
        self.batch_size, rest = divmod(settings.total_batch_size, parts)
        if settings.train_batch_size is not None:
            self.batch_size, rest = settings.train_batch_size, 0
        if rest or self.batch_size < 1:
            raise ValueError(
                f"a step of {settings.total_batch_size} {settings.examples} cannot be divided among {processes} "
                f"processes x {accumulated} accumulation steps; set --train_batch_size"
            )
        self.total_batch_size = self.batch_size * parts
        own = range(process * accumulated, (process + 1) * accumulated)
        self.parts = [slice(part * self.batch_size, (part + 1) * self.batch_size) for part in own]
        self.steps_per_epoch = number // self.total_batch_size
        if not self.steps_per_epoch:
            raise ValueError(f"{number} {settings.examples} are fewer than the {self.total_batch_size} of one step; "
                             "give a smaller --total_batch_size")  # fmt: skip
        self.steps = settings.max_train_steps or settings.num_train_epochs * self.steps_per_epoch
        if self.steps < 1:
            raise ValueError(f"at least one step must be made, got {self.steps}")

    def batches(self, start: int) -> Iterator[list[tuple[int, int]]]:
        """Batches of this process from step `start` on, each a list of ``(epoch, number of the example)``."""
        epoch, order = -1, np.empty(0, np.int64)
        for step in range(start, self.steps):
            if step // self.steps_per_epoch != epoch:
                epoch = step // self.steps_per_epoch
                order = np.random.default_rng((self.settings.seed, epoch)).permutation(self.number)
            first = step % self.steps_per_epoch * self.total_batch_size
            for part in self.parts:
                yield [(epoch, index) for index in order[first:][part].tolist()]

    def learning_rate(self, step: int) -> float:
        """Learning rate of a step: linear warm-up, whose first step is not 0, then the schedule."""
        settings, warmup = self.settings, self.settings.warmup_steps(self.steps_per_epoch, self.steps)
        if step < warmup:
            return settings.learning_rate * (step + 1) / warmup
        done = (step - warmup) / max(1, self.steps - warmup)
        factor = {
            "cosine": 0.5 * (1 + math.cos(math.pi * done)),
            "linear": 1 - done,
            "exponential": DECAY ** ((step - warmup) / self.steps_per_epoch / DECAY_EPOCHS),
            "constant": 1.0,
        }
        if settings.lr_scheduler not in factor:
            raise unknown("lr_scheduler", settings.lr_scheduler, factor)
        return settings.learning_rate * factor[settings.lr_scheduler]


class RunningStatistics:
    """Running statistics of batch norms, as if one process had computed the batches of all processes in order.

    With a momentum m, k batches change statistics r to ``(1 - m)^k r + c``. After a step, c of each process follows
    from its own r, and the updates of all processes are applied one after the other.
    """

    def __init__(self, network: nn.Module, accelerator: Accelerator, batches: int) -> None:
        self.accelerator = accelerator
        self.batches = batches
        self.norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
        self.buffers: list[torch.Tensor] = []
        decays: list[torch.Tensor] = []
        for norm in self.norms:  # all batch norms of the package have statistics and a momentum
            for buffer in (norm.get_buffer("running_mean"), norm.get_buffer("running_var")):
                self.buffers.append(buffer)
                decays.append(torch.full_like(buffer, (1 - float(norm.momentum or 0.0)) ** batches))
        self.decay = torch.cat(decays)
        self.begin()

    def _flat(self) -> torch.Tensor:
        return torch.cat(self.buffers)

    def begin(self) -> None:
        """Start from the present statistics, which are the same in every process."""
        self.before = self._flat()

    def merge(self) -> None:
        """Merge the statistics of all processes, after each has computed its batches of a step."""
        merged = self.before
        for after in self.accelerator.gather(self._flat()[None]):
            merged = self.decay * merged + (after - self.decay * self.before)
        for buffer, part in zip(self.buffers, merged.split([len(b) for b in self.buffers]), strict=True):
            buffer.copy_(part)
        for norm in self.norms:
            norm.get_buffer("num_batches_tracked").add_(self.batches * (self.accelerator.num_processes - 1))
        self.before = self._flat()
