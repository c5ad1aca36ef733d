"""Training of networks, reproducible under accumulation, several processes and resumption, whatever they read.

All randomness depends on the seed and the number of the step: a resumed run ends with the weights of an uninterrupted
one, and a run on several processes makes the updates of one process that accumulates as many batches.
"""

from __future__ import annotations

import importlib.metadata
import math
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterator
from contextlib import AbstractContextManager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import nn

from cuda_graphs import GraphedStep, capturable, set_learning_rate, why_not
from optimizers import moving_average
from parallel import Plan
from pkgen_hf.errors import one_line
from pkgen_hf.files import replace_folder, user_path
from pkgen_hf.training.checkpoints import load_checkpoint, save_checkpoint
from settings import NOT_OF_THE_RESULT, TrainingSettings

OnStep = Callable[[int, int, dict[str, float]], None]


class NetworkTrainer(ABC):
    """A network with its optimizer and moving average, prepared for this process.

    A subclass reads the data: it gives batches, their loss, the evaluation, the record and what is saved.

    Parameters
    ----------
    settings
        See `TrainingSettings`.
    model
        A transformers model with its initial weights; it is trained in place.
    accelerator
        Of this process.
    number
        Examples of an epoch.

    Attributes
    ----------
    period
        Steps between two records of the history; the last step has one, too.
    speed
        Examples a second, over all processes.
    waiting
        Seconds that this process waited for batches.
    history
        Records so far.
    """

    kept: dict[str, Any] = {}  # state of a subclass in a checkpoint beside step, seconds and settings: names and types
    not_of_the_result = NOT_OF_THE_RESULT
    logged: dict[str, str] = {}  # numbers of an evaluation that trackers get, and their names there
    libraries: tuple[str, ...] = ("pkgen-hf", "torch", "accelerate", "transformers")

    def __init__(self, settings: TrainingSettings, model: Any, accelerator: Accelerator, number: int) -> None:
        self.settings, self.model, self.accelerator = settings, model, accelerator
        self.plan = Plan(settings, number, accelerator.process_index, accelerator.num_processes)
        self.period, self.speed, self.waiting = self.plan.steps_per_epoch, 0.0, 0.0

    def prepare(self, optimizer: torch.optim.Optimizer) -> None:
        """Let Accelerate prepare network and optimizer, and begin the moving average."""
        self.network, self.optimizer = self.accelerator.prepare(self.model, optimizer)
        decay = self.settings.ema_decay
        self.averaged = moving_average(self.model, decay) if decay else None
        if self.averaged is not None:
            self.accelerator.register_for_checkpointing(self.averaged)

    def resume(self) -> None:
        """Begin, or load the checkpoint that the settings name."""
        settings, plan, wanted = self.settings, self.plan, self.settings.resume_from_checkpoint
        self.decisive = self._decisive()
        kept = {"loss": int | float, "history": list[dict], **self.kept}
        progress = load_checkpoint(self.accelerator, settings.output_dir, wanted, self.decisive, kept)
        if progress is not None and progress["step"] >= plan.steps:
            raise ValueError(f"the checkpoint is of step {progress['step']}, but the training has {plan.steps} steps")
        self._begin(progress or {"step": 0, "loss": 0.0, "history": [], "seconds": 0.0})
        if settings.report_to:
            self.accelerator.init_trackers("pkgen-network", config={"learning_rate": settings.learning_rate})

    def _begin(self, progress: dict[str, Any]) -> None:
        """Take over the state of a checkpoint, or of a training that begins."""
        self.history = progress["history"]
        self.first, self.seconds_before = progress["step"], progress["seconds"]
        # sum of the losses of this period's batches, over all processes
        self.total_loss = torch.tensor(progress["loss"], dtype=torch.float64, device=self.accelerator.device)
        if not self.accelerator.is_main_process:
            self.total_loss.zero_()

    @property
    def _stepping(self) -> float:
        """Seconds of the steps since the training began or was resumed, evaluation left out."""
        return time.time() - self.started - self.evaluating

    @property
    def waiting_share(self) -> float:
        """Share of the time of the steps in which this process waited for batches, evaluation left out."""
        return self.waiting / max(self._stepping, 1e-9)

    @property
    def peak_memory(self) -> int | None:
        """Bytes that PyTorch had allocated on this process's GPU at most; None on a CPU."""
        device = self.accelerator.device
        return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None

    @property
    def seconds(self) -> float:
        """Seconds of the training so far, with those before it was resumed."""
        return self.seconds_before + time.time() - self.started

    # ------------------------------------------------------------------ what a subclass gives

    @abstractmethod
    def _batches(self) -> AbstractContextManager[Iterator[dict[str, torch.Tensor]]]:
        """Batches of this process from step `first` on, on the device."""

    @abstractmethod
    def _loss(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        """The mean loss of a batch."""

    @abstractmethod
    def _evaluate(self, network: nn.Module) -> dict[str, Any]:
        """What a record says of a network, which is in evaluation mode."""

    @abstractmethod
    def _is_evaluated(self, done: int) -> bool:
        """Whether the record of a step has an evaluation."""

    def _decisive(self) -> dict[str, Any]:
        """Settings that decide the result, which a resumed training must share."""
        named = asdict(self.settings).items()
        decisive = {name: value for name, value in named if name not in self.not_of_the_result}
        return decisive | {"total_batch_size": self.plan.total_batch_size, "steps": self.plan.steps}

    @abstractmethod
    def _values(self, loss: float) -> dict[str, float]:
        """What is reported of a step."""

    @abstractmethod
    def _record(self, final: Any) -> dict[str, Any]:
        """What training.json says of the trained network, beside what `_common` says."""

    @abstractmethod
    def _write(self, final: Any, record: dict[str, Any], folder: Path) -> None:
        """Write the trained network and what belongs to it."""

    def _before(self, step: int) -> Hashable:
        """Set what changes with the step; returns what of it is no tensor."""
        return None

    def _after_update(self) -> None:  # noqa: B027 - most have nothing to do
        """Merge what processes have apart."""

    def _state(self) -> dict[str, Any]:
        """State of a checkpoint that `kept` names."""
        return {}

    # ------------------------------------------------------------------ the loop

    def run(self, on_step: OnStep | None) -> None:
        """Do all steps that are left, record and evaluate periods and write checkpoints."""
        settings, plan = self.settings, self.plan
        self.started, self.evaluating = time.time(), 0.0
        self.graph = self._graphed()
        if self.accelerator.device.type == "cuda":  # of this training alone
            torch.cuda.reset_peak_memory_stats(self.accelerator.device)
        with self._batches() as batches:
            self.network.train()
            for step in range(self.first, plan.steps):
                loss, done = self._update(step, batches), step + 1
                self.speed = (done - self.first) * plan.total_batch_size / self._stepping
                if done % settings.logging_steps == 0 or done == plan.steps:
                    self._report(done, loss, on_step)
                if done % self.period == 0 or done == plan.steps:
                    self._end_period(done)
                if settings.checkpointing_steps and done % settings.checkpointing_steps == 0 and done < plan.steps:
                    self._save_checkpoint(done)

    def _update(self, step: int, batches: Iterator[dict[str, torch.Tensor]]) -> torch.Tensor:
        """One optimizer step; returns the loss of its last batch."""
        settings = self.settings
        set_learning_rate(self.optimizer, self.plan.learning_rate(step))
        constants = self._before(step)
        for part in range(settings.gradient_accumulation_steps):
            began = time.time()
            batch = next(batches)
            self.waiting += time.time() - began
            number = self.accelerator.process_index * settings.gradient_accumulation_steps + part
            torch.manual_seed(int(np.random.SeedSequence((settings.seed, step, number)).generate_state(1)[0]))
            loss = self._compute(batch) if self.graph is None else self.graph(batch, constants)
        self._after_update()
        if self.averaged is not None:
            self.averaged.update_parameters(self.model)
        return loss

    def _compute(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        """All that is computed of a batch: its loss, gradients and, after the last batch of a step, new weights."""
        accelerator = self.accelerator
        with accelerator.accumulate(self.network):
            loss = self._loss(batch)
            accelerator.backward(loss)
            if accelerator.sync_gradients and self.settings.max_grad_norm:
                accelerator.clip_grad_norm_(self.network.parameters(), self.settings.max_grad_norm)
            self.optimizer.step()
            self.optimizer.zero_grad()
        loss = loss.detach()
        self.total_loss += loss.double()
        return loss

    def _graphed(self) -> GraphedStep | None:
        """The step as a CUDA graph, None where it cannot be one; says why if that is a surprise."""
        accelerator = self.accelerator
        reason = why_not(self.settings, accelerator.device, accelerator.num_processes)
        if reason is None:
            capturable(self.optimizer, accelerator.device)
            return GraphedStep(self._compute, self._say_why_no_graph)
        if reason:
            self._say_why_no_graph(reason)
        return None

    def _say_why_no_graph(self, reason: str) -> None:
        if not self.settings.quiet:
            self.accelerator.print(f"a step is not one CUDA graph: {reason}")

    def _report(self, done: int, loss: torch.Tensor, on_step: OnStep | None) -> None:
        """Give loss and speed to `on_step` and to trackers; ValueError for a loss that is not finite."""
        value = self.accelerator.reduce(loss, "mean").item()
        if not math.isfinite(value):
            raise ValueError(f"the loss is {value} at step {done}; a smaller --learning_rate may help")
        values = self._values(value) | {"waiting": self.waiting_share}
        if memory := self.peak_memory:
            values["GB"] = memory / 1e9
        if on_step is not None and self.accelerator.is_main_process:
            on_step(done, self.plan.steps, values)
        if self.settings.report_to:
            self.accelerator.log({**values, "learning_rate": self.plan.learning_rate(done - 1)}, step=done)

    def _end_period(self, done: int) -> None:
        """Add the period that ends with step `done` to the history, with an evaluation if there is to be one."""
        plan, accelerator = self.plan, self.accelerator
        begin = (done - 1) // self.period * self.period
        batches = (done - begin) * self.settings.gradient_accumulation_steps
        loss = accelerator.reduce(self.total_loss, "sum").item() / batches / accelerator.num_processes
        record: dict[str, Any] = {"epoch": (done - 1) // plan.steps_per_epoch + 1, "steps": done, "loss": loss}
        record["learning_rate"] = plan.learning_rate(done - 1)
        self.total_loss.zero_()
        if self._is_evaluated(done):
            began = time.time()
            network = (self.model if self.averaged is None else self.averaged.module).eval()
            record["validation"] = self._evaluate(network)
            self.network.train()
            self.evaluating += time.time() - began
            if self.settings.report_to:
                accelerator.log({name: record["validation"][key] for key, name in self.logged.items()}, step=done)
        self.history.append(record | {"seconds": round(self.seconds, 3)})

    def _save_checkpoint(self, done: int) -> None:
        state = {
            "step": done,
            "settings": self.decisive,
            "history": self.history,
            "seconds": self.seconds,
            "loss": self.accelerator.reduce(self.total_loss, "sum").item(),
            **self._state(),
        }
        save_checkpoint(self.accelerator, self.settings.output_dir, state, self.settings.checkpoints_total_limit)

    # ------------------------------------------------------------------ the result

    def save(self) -> dict[str, Any]:
        """Save the network, what belongs to it, and its record; returns the record."""
        accelerator = self.accelerator
        final = accelerator.unwrap_model(self.network, keep_fp32_wrapper=False, keep_torch_compile=False)
        if self.averaged is not None:
            final = self.averaged.module
        record = self._record(final.eval()) | self._common()
        if accelerator.is_main_process:
            folder = user_path(self.settings.output_dir) / "network"
            try:
                with replace_folder(folder) as new:
                    self._write(final, record, new)
            except Exception as error:  # safetensors raises its own if the disk is full
                raise OSError(f"cannot write {folder}: {one_line(error)}") from error
        if self.settings.report_to:
            accelerator.end_training()
        accelerator.wait_for_everyone()
        return record

    def _common(self) -> dict[str, Any]:
        """What training.json says of every training."""
        return {
            "history": self.history,
            "seconds": round(self.seconds, 3),
            "waiting_share": round(self.waiting_share, 4),
            "peak_memory_bytes": self.peak_memory,
            "cuda_graph": self.graph is not None and self.graph.is_used,
            "processes": self.accelerator.num_processes,
            "device": str(self.accelerator.device),
            "threads": torch.get_num_threads(),
            "versions": {name: importlib.metadata.version(name) for name in self.libraries},
        }


def check_writable(output_dir: str) -> None:
    """Raise OSError unless files can be made in a folder, which is made."""
    try:
        user_path(output_dir).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=user_path(output_dir)):
            pass
    except OSError as error:
        raise OSError(f"cannot write in --output_dir {output_dir}: {error.strerror}") from error
