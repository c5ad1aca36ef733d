"""The training loop of the denoiser, with Accelerate."""

from __future__ import annotations

import importlib.metadata
import math
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator, skip_first_batches
from accelerate.utils import set_seed
from diffusers.training_utils import EMAModel
from torch.utils.data import DataLoader

from ..benchmarks.score_table import ScoreTable
from ..files import write_json
from ..modeling_denoiser import ArchitectureDenoiser, Condition
from ..pipeline_pkgen import PKGenPipeline
from ..priors.prior import Prior
from ..scheduling_prior_discrete import PriorDiscreteScheduler
from ..spaces.parts import COST_FEATURES
from .arguments import RECORD, TrainingArguments
from .batches import EpisodeDataset
from .checkpoints import load_checkpoint, save_checkpoint
from .episodes import make_episodes, priors_of
from .losses import training_loss
from .processes import check_processes
from .tasks import labels_read

# Of the decay of the moving average, 1 - (1 + step) ** -power: 0.998 is reached after 2,400 steps, most of a training.
EMA_POWER = 0.8
MOST_WORKERS = 8  # that make batches for a GPU, unless told otherwise


@contextmanager
def _float32() -> Iterator[None]:
    """Context in which torch makes float32 numbers by default, as it does in a new process."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@_float32()
def train(
    arguments: TrainingArguments,
    tables: Sequence[ScoreTable],
    on_step: Callable[[int, dict[str, float]], None] | None = None,
) -> PKGenPipeline:
    """Train a denoiser and return (and save in `output_dir`) a pipeline with the priors of every task of `tables`.

    Parameters
    ----------
    arguments
        See `TrainingArguments`.
    tables
        As from `load_tables`; only these are read.
    on_step
        Called on the main process after each step with its number and its losses.

    Raises
    ------
    RuntimeError
        If the launcher started several processes but they do not know of each other.
    FileNotFoundError
        If there is no checkpoint to resume from.
    ValueError
        If that checkpoint is damaged, or of a training with other settings or labels.
    OSError
        If a checkpoint cannot be written.
    """
    trainer = Trainer(arguments, tables)
    accelerator, started = trainer.accelerator, time.monotonic()
    batches = trainer.make_batches(tables)
    settings = _settings(arguments, tables, trainer.batches_in_step)
    resumed = load_checkpoint(accelerator, arguments.output_dir, arguments.resume_from_checkpoint, settings)
    step, before = (resumed["step"], resumed["seconds"]) if resumed else (0, 0.0)
    if step > arguments.max_train_steps:
        raise ValueError(f"max_train_steps is {arguments.max_train_steps}, but the checkpoint is of step {step}")
    if trainer.ema is not None:
        trainer.ema.to(accelerator.device)  # only now: a loaded state is on the CPU
    if arguments.report_to:
        accelerator.init_trackers("pkgen", config={"seed": arguments.seed, "learning_rate": arguments.learning_rate})

    trainer.denoiser.train()
    for losses in trainer.steps(batches, done=step):
        step += 1
        trainer.report(step, losses, on_step)
        if arguments.checkpointing_steps and step % arguments.checkpointing_steps == 0:
            seconds = before + time.monotonic() - started
            progress = {"step": step, "seconds": seconds, "settings": settings}
            save_checkpoint(accelerator, arguments.output_dir, progress, arguments.checkpoints_total_limit)

    pipeline = trainer.pipeline(tables)
    if accelerator.is_main_process:
        folder = Path(arguments.output_dir) / "pipeline"
        pipeline.save_pretrained(folder)
        write_json(trainer.record(tables, seconds=before + time.monotonic() - started), folder / RECORD)
    if arguments.report_to:
        accelerator.end_training()
    accelerator.wait_for_everyone()
    return pipeline


class Trainer:
    """The denoiser, its optimizer, schedule and moving average, prepared for this process by Accelerate.

    Parameters
    ----------
    arguments
        See `TrainingArguments`.
    tables
        Of the spaces to train on.

    Raises
    ------
    RuntimeError
        If the launcher started several processes but they do not know of each other.
    """

    def __init__(self, arguments: TrainingArguments, tables: Sequence[ScoreTable]) -> None:
        self.arguments = arguments
        self.accelerator = accelerator = _make_accelerator(arguments)
        set_seed(arguments.seed)
        self.scheduler = PriorDiscreteScheduler(end_distribution=arguments.end_distribution)
        denoiser, conditions = _make_denoiser(arguments, tables)
        optimizer = torch.optim.AdamW(denoiser.parameters(), lr=arguments.learning_rate)
        self.denoiser, self.optimizer = accelerator.prepare(denoiser, optimizer)
        self.model: ArchitectureDenoiser = accelerator.unwrap_model(self.denoiser)
        self.conditions = [condition.to(accelerator.device, torch.float32) for condition in conditions]
        # not prepared: a prepared scheduler would advance once for each process
        self.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(arguments, step))
        accelerator.register_for_checkpointing(self.lr_scheduler)
        self.ema = None
        if arguments.use_ema:
            decay, power = arguments.ema_decay, EMA_POWER
            self.ema = EMAModel(self.model.parameters(), decay=decay, use_ema_warmup=True, power=power)
            accelerator.register_for_checkpointing(self.ema)

    @property
    def batches_in_step(self) -> int:
        """Batches of one optimizer step, over all processes."""
        return self.arguments.gradient_accumulation_steps * self.accelerator.num_processes

    def make_batches(self, tables: Sequence[ScoreTable]) -> DataLoader[dict[str, torch.Tensor]]:
        """Batches of the whole training, those of this process."""
        arguments, seed = self.arguments, self.arguments.seed
        quiet = arguments.quiet or not self.accelerator.is_main_process
        episodes = make_episodes(tables, arguments.priors_per_task, arguments.shifted_tasks, seed, quiet)
        number = arguments.max_train_steps * self.batches_in_step
        size, dropout = arguments.train_batch_size, arguments.prior_dropout
        dataset = EpisodeDataset(episodes, self.scheduler, size, dropout, seed, number)
        is_gpu = self.accelerator.device.type == "cuda"
        workers = arguments.dataloader_num_workers
        if workers is None:
            workers = min(MOST_WORKERS, (os.cpu_count() or 1) - 1) if is_gpu else 0
        loader = DataLoader(dataset, batch_size=1, collate_fn=_only, num_workers=workers, pin_memory=is_gpu)
        return self.accelerator.prepare(loader)

    def steps(self, batches: DataLoader[dict[str, torch.Tensor]], done: int) -> Iterator[dict[str, torch.Tensor]]:
        """Do the optimizer steps that are left after `done`, and yield the losses of each one's last batch."""
        accelerator, arguments = self.accelerator, self.arguments
        left: Iterable[dict[str, torch.Tensor]] = batches
        if done:
            left = skip_first_batches(batches, done * arguments.gradient_accumulation_steps)
        for batch in left:
            with accelerator.accumulate(self.denoiser):
                loss, losses = training_loss(self.denoiser, self._condition(batch), batch)
                accelerator.backward(loss)
                if accelerator.sync_gradients:
                    accelerator.clip_grad_norm_(self.denoiser.parameters(), arguments.max_grad_norm)
                self.optimizer.step()
                self.optimizer.zero_grad()
            if accelerator.sync_gradients:
                self.lr_scheduler.step()
                if self.ema is not None:
                    self.ema.step(self.model.parameters())
                yield losses

    def _condition(self, batch: dict[str, torch.Tensor]) -> Condition:
        """The condition of a batch, without the features and identities that are masked in it."""
        condition = self.conditions[int(batch["space"])]
        features = condition.choice_features.clone()
        features[..., :-COST_FEATURES][batch["masked"]] = 0
        return replace(
            condition,
            choice_features=features,
            choice_ids=torch.where(batch["mask_identities"] | batch["masked"], 0, condition.choice_ids),
            prior_features=batch["prior_features"],
            task_traits=batch["task_traits"],
        )

    def report(
        self,
        step: int,
        losses: dict[str, torch.Tensor],
        on_step: Callable[[int, dict[str, float]], None] | None,
    ) -> None:
        """Give the losses of a step, averaged over processes, to `on_step` and, every `logging_steps`, to trackers."""
        logs = step % self.arguments.logging_steps == 0
        if on_step is None and not logs:
            return
        values = self.accelerator.reduce(torch.stack([value.detach() for value in losses.values()]), "mean")
        means = dict(zip(losses, values.tolist(), strict=True))  # the GPU is waited for once
        if on_step is not None and self.accelerator.is_main_process:
            on_step(step, means)
        if self.arguments.report_to and logs:
            self.accelerator.log({**means, "learning_rate": self.lr_scheduler.get_last_lr()[0]}, step=step)

    def pipeline(self, tables: Sequence[ScoreTable]) -> PKGenPipeline:
        """The trained pipeline, with averaged weights if there is a moving average."""
        if self.ema is not None:
            self.ema.copy_to(self.model.parameters())
        pipeline = PKGenPipeline(self.model.eval(), self.scheduler)
        pipeline.priors = [prior for table in tables for prior in priors_of(table)]
        return pipeline

    def record(self, tables: Sequence[ScoreTable], seconds: float) -> dict[str, Any]:
        """What is written beside the pipeline: settings, labels read, versions."""
        return {
            **self.arguments.recorded(),
            "labels_read": labels_read(tables),
            "parameters": self.model.num_parameters(),
            "seconds": round(seconds, 1),
            "processes": self.accelerator.num_processes,
            "device": str(self.accelerator.device),
            "versions": {name: importlib.metadata.version(name) for name in ("pkgen-hf", "torch", "diffusers")},
        }


def _only(items: list[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """The one item of a batch of the loader, which is a batch already."""
    return items[0]


def _make_accelerator(arguments: TrainingArguments) -> Accelerator:
    """RuntimeError if the launcher started several processes but they do not know of each other."""
    accelerator = Accelerator(
        cpu=arguments.cpu,
        mixed_precision=arguments.mixed_precision,
        gradient_accumulation_steps=arguments.gradient_accumulation_steps,
        log_with=arguments.report_to,
        project_dir=arguments.output_dir,
    )
    check_processes(accelerator, "recipes/train.py")
    return accelerator


def _make_denoiser(
    arguments: TrainingArguments, tables: Sequence[ScoreTable]
) -> tuple[ArchitectureDenoiser, list[Condition]]:
    """A fresh denoiser, and the condition of each space without a prior."""
    operations = {
        choice.identity
        for table in tables
        for slot in table.space.slots
        if slot.kind == "operation"  # connections are known by their features
        for choice in slot.choices
    }
    denoiser = ArchitectureDenoiser(
        width=arguments.width,
        num_layers=arguments.num_layers,
        num_heads=arguments.num_heads,
        vocabulary=sorted(operations),
    )
    conditions = [denoiser.make_condition(table.space, Prior.absent(table.space)) for table in tables]
    with torch.no_grad():  # features that are 0 in all training spaces must have no effect in others
        seen = torch.stack([(here.choice_features != 0).flatten(0, 1).any(0) for here in conditions]).any(0)
        denoiser.choice.weight[:, ~seen] = 0
    return denoiser, conditions


def _rate(arguments: TrainingArguments, step: int) -> float:
    """Learning rate of a step relative to its peak: linear warm-up, whose first step is not 0, then a cosine."""
    warmup = arguments.lr_warmup_steps
    if step < warmup:
        return (step + 1) / warmup
    done = (step - warmup) / max(1, arguments.max_train_steps - warmup)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


def _settings(arguments: TrainingArguments, tables: Sequence[ScoreTable], batches_in_step: int) -> dict[str, Any]:
    """What must be the same when a training is resumed."""
    settings = arguments.compared() | {"batches in a step": batches_in_step}
    return settings | {f"labels of {task}": number for task, number in labels_read(tables).items()}
