"""The training of a network on images: exact under accumulation, several processes and resumption."""

from __future__ import annotations

import importlib.metadata
import json
import math
import os
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import nn

from accuracy import accuracy, cost, everywhere
from classes import classes_of, has_names, name_classes
from image_loaders import EvaluationImages, TrainingImages, batches_of
from image_streams import ImageStream
from images import LabelledImages
from optimizers import make_optimizer, moving_average
from parallel import Plan, RunningStatistics, has_idle_weights, make_accelerator
from pkgen_hf.errors import one_line
from pkgen_hf.files import replace_folder, user_path, write_json
from pkgen_hf.modeling_network import PKGenNetworkForImageClassification, image_processor
from pkgen_hf.publishing.cards import network_card, write_card
from pkgen_hf.training.arguments import RECORD
from pkgen_hf.training.checkpoints import load_checkpoint, save_checkpoint
from presets import Settings

# Settings that may differ between a run and the one that resumes it.
_NOT_OF_THE_RESULT = {
    "train_batch_size", "total_batch_size", "gradient_accumulation_steps", "cpu", "dataloader_num_workers",
    "output_dir", "checkpointing_steps", "checkpoints_total_limit", "resume_from_checkpoint", "report_to",
    "logging_steps", "quiet", "compile",
}  # fmt: skip

# What a checkpoint keeps beside step, seconds and settings.
_KEPT = {"loss": int | float, "history": list[dict], "skipped": list[str]}


def train(
    settings: Settings,
    model: PKGenNetworkForImageClassification,
    images: LabelledImages | ImageStream,
    validation: LabelledImages | ImageStream | EvaluationImages | None = None,
    on_step: Callable[[int, int, dict[str, float]], None] | None = None,
) -> dict[str, Any]:
    """Train a network, save it with its preprocessing and a record in `output_dir`/network, and return the record.

    All randomness depends on the seed and the number of the step: a resumed run ends with the weights of an
    uninterrupted one, and a run on several processes makes the updates of one process that accumulates as many
    batches.

    Parameters
    ----------
    settings
        See `Settings`.
    model
        With its initial weights; it is trained in place.
    images
        To train on.
    validation
        To evaluate after epochs; `EvaluationImages` where several trainings share them.
    on_step
        Called on the main process with the number of the step, that of all steps, loss and images a second; every
        `logging_steps`.

    Returns
    -------
    dict
        As in training.json: network, settings, ``history`` (of each epoch, its loss, learning rate and validation),
        ``skipped_images``, ``seconds``, ``images_per_second``, versions.

    Raises
    ------
    ValueError
        For settings out of range, labels that do not fit the network, a corrupt image, a loss that is not finite.
    OSError
        If something cannot be written.
    RuntimeError
        If the launcher started several processes but they do not know of each other.
    """
    trainer = ImageTrainer(settings, model, images, validation)
    trainer.resume()
    trainer.run(on_step)
    return trainer.save()


class ImageTrainer:
    """A network with its optimizer, moving average and images, prepared for this process; see `train`."""

    def __init__(
        self,
        settings: Settings,
        model: PKGenNetworkForImageClassification,
        images: LabelledImages | ImageStream,
        validation: LabelledImages | ImageStream | EvaluationImages | None,
    ) -> None:
        model.config.auxiliary_weight = settings.auxiliary_weight
        model.config.label_smoothing = settings.label_smoothing
        several = int(os.environ.get("WORLD_SIZE", "1")) > 1
        self.settings, self.model, self.images = settings, model, images
        self.accelerator = accelerator = make_accelerator(settings, several and has_idle_weights(model))
        self.plan = Plan(settings, len(images), accelerator.process_index, accelerator.num_processes)
        self.validated = validation.images if isinstance(validation, EvaluationImages) else validation
        self.names = _match_classes(model, images, self.validated, settings.labels_by_number)
        if accelerator.is_main_process:
            _check_writable(settings.output_dir)
        _check_network(settings, model)
        resize = None if settings.crop_ratio == 1 else round(settings.image_size / settings.crop_ratio)
        mean, std = list(settings.mean), list(settings.std)
        self.processor = image_processor(settings.image_size, mean, std, resize, settings.bicubic)
        self.data = TrainingImages(images, settings)
        if isinstance(validation, LabelledImages | ImageStream):
            validation = EvaluationImages(validation, self.processor, settings.skip_corrupt)
        self.validation = validation

        self.layout = torch.channels_last if settings.channels_last else torch.contiguous_format
        nn.Module.to(model, memory_format=self.layout)
        self.network, self.optimizer = accelerator.prepare(model, make_optimizer(settings, model))
        self.statistics = None
        if accelerator.num_processes > 1:
            self.statistics = RunningStatistics(model, accelerator, settings.gradient_accumulation_steps)
        self.averaged = moving_average(model, settings.ema_decay) if settings.ema_decay else None
        if self.averaged is not None:
            accelerator.register_for_checkpointing(self.averaged)

    def resume(self) -> None:
        """Begin, or load the checkpoint that the settings name."""
        settings, plan, wanted = self.settings, self.plan, self.settings.resume_from_checkpoint
        self.decisive = self._decisive()
        progress = load_checkpoint(self.accelerator, settings.output_dir, wanted, self.decisive, _KEPT)
        if progress is not None and progress["step"] >= plan.steps:
            raise ValueError(f"the checkpoint is of step {progress['step']}, but the training has {plan.steps} steps")
        progress = progress or {"step": 0, "loss": 0.0, "history": [], "skipped": [], "seconds": 0.0}
        if self.statistics is not None:
            self.statistics.begin()
        if settings.report_to:
            self.accelerator.init_trackers("pkgen-network", config={"learning_rate": settings.learning_rate})
        self.history, self.skipped = progress["history"], set(progress["skipped"])
        self.first, self.seconds_before = progress["step"], progress["seconds"]
        # sum of the losses of this epoch's batches, over all processes
        self.total_loss = torch.tensor(progress["loss"], dtype=torch.float64, device=self.accelerator.device)
        if not self.accelerator.is_main_process:
            self.total_loss.zero_()

    def _decisive(self) -> dict[str, Any]:
        """Settings that decide the result, which a resumed training must share."""
        decisive = {name: value for name, value in asdict(self.settings).items() if name not in _NOT_OF_THE_RESULT}
        checksum = f"{zlib.crc32(json.dumps(self.names).encode()):08x}"
        return decisive | {
            "architecture": self.model.config.architecture,
            "scale": self.model.config.scale,
            "images": len(self.images),
            "streaming": isinstance(self.images, ImageStream),
            "total_batch_size": self.plan.total_batch_size,
            "steps": self.plan.steps,
            "classes": f"{', '.join(self.names)[:40]}, ... ({len(self.names)}, {checksum})",
        }

    @property
    def seconds(self) -> float:
        """Seconds of the training so far, with those before it was resumed."""
        return self.seconds_before + time.time() - self.started

    def run(self, on_step: Callable[[int, int, dict[str, float]], None] | None) -> None:
        """Do all steps that are left, evaluate after epochs and write checkpoints."""
        settings, plan, images = self.settings, self.plan, self.images
        self.started, self.evaluating = time.time(), 0.0
        keys = images.epochs(plan, self.first) if isinstance(images, ImageStream) else plan.batches(self.first)
        workers = settings.dataloader_num_workers
        with closing(batches_of(self.data, keys, workers, self.accelerator.device)) as batches:
            self.network.train()
            for step in range(self.first, plan.steps):
                loss, done = self._update(step, batches), step + 1
                elapsed = time.time() - self.started - self.evaluating
                self.images_per_second = (done - self.first) * plan.total_batch_size / elapsed
                if done % settings.logging_steps == 0 or done == plan.steps:
                    self._report(done, loss, on_step)
                if done % plan.steps_per_epoch == 0 or done == plan.steps:
                    self._end_epoch(done)
                if settings.checkpointing_steps and done % settings.checkpointing_steps == 0 and done < plan.steps:
                    self._save_checkpoint(done)

    def _update(self, step: int, batches: Iterator[dict[str, Any]]) -> torch.Tensor:
        """One optimizer step; returns the loss of its last batch."""
        settings, plan, accelerator = self.settings, self.plan, self.accelerator
        for group in self.optimizer.param_groups:
            group["lr"] = plan.learning_rate(step)
        if settings.drop_path_grows:
            epoch, final = step // plan.steps_per_epoch, self.model.config.scale.get("drop_path_prob", 0.0)
            for cell in self.model.network.get_submodule("cells").children():
                cell.drop_path_prob = final * epoch * plan.steps_per_epoch / plan.steps
        for part in range(settings.gradient_accumulation_steps):
            batch = next(batches)
            self.skipped.update(batch["skipped"])
            number = accelerator.process_index * settings.gradient_accumulation_steps + part
            torch.manual_seed(int(np.random.SeedSequence((settings.seed, step, number)).generate_state(1)[0]))
            with accelerator.accumulate(self.network):
                pixels = batch["pixel_values"].contiguous(memory_format=self.layout)
                loss: torch.Tensor = self.network(pixel_values=pixels, labels=batch["labels"]).loss
                accelerator.backward(loss)
                if accelerator.sync_gradients and settings.max_grad_norm:
                    accelerator.clip_grad_norm_(self.network.parameters(), settings.max_grad_norm)
                self.optimizer.step()
                self.optimizer.zero_grad()
            self.total_loss += loss.detach().double()
        if self.statistics is not None:
            self.statistics.merge()
        if self.averaged is not None:
            self.averaged.update_parameters(self.model)
        return loss

    def _report(
        self, done: int, loss: torch.Tensor, on_step: Callable[[int, int, dict[str, float]], None] | None
    ) -> None:
        """Give loss and speed to `on_step` and to trackers; ValueError for a loss that is not finite."""
        value = self.accelerator.reduce(loss.detach(), "mean").item()
        if not math.isfinite(value):
            raise ValueError(f"the loss is {value} at step {done}; a smaller --learning_rate may help")
        values = {"loss": value, "images/s": self.images_per_second}
        if on_step is not None and self.accelerator.is_main_process:
            on_step(done, self.plan.steps, values)
        if self.settings.report_to:
            self.accelerator.log({**values, "learning_rate": self.plan.learning_rate(done - 1)}, step=done)

    def _end_epoch(self, done: int) -> None:
        """Add the epoch that ends with step `done` to the history, with its accuracy if it is to be evaluated."""
        plan, accelerator = self.plan, self.accelerator
        epoch = (done - 1) // plan.steps_per_epoch
        batches = (done - epoch * plan.steps_per_epoch) * self.settings.gradient_accumulation_steps
        loss = accelerator.reduce(self.total_loss, "sum").item() / batches / accelerator.num_processes
        record: dict[str, Any] = {"epoch": epoch + 1, "steps": done, "loss": loss}
        record["learning_rate"] = plan.learning_rate(done - 1)
        self.total_loss.zero_()
        is_evaluated = (epoch + 1) % self.settings.validation_epochs == 0 or done == plan.steps
        if self.validation is not None and is_evaluated:
            began, workers = time.time(), self.settings.dataloader_num_workers
            network = (self.model if self.averaged is None else self.averaged.module).eval()
            record["validation"] = accuracy(network, self.validation, accelerator, 2 * plan.batch_size, workers)
            self.network.train()
            self.evaluating += time.time() - began
            if self.settings.report_to:
                accelerator.log({"top_1": record["validation"]["top_1"]}, step=done)
        self.history.append(record | {"seconds": round(self.seconds, 3)})

    def _save_checkpoint(self, done: int) -> None:
        state = {
            "step": done,
            "settings": self.decisive,
            "history": self.history,
            "seconds": self.seconds,
            "loss": self.accelerator.reduce(self.total_loss, "sum").item(),
            "skipped": _all(self.skipped, self.accelerator),
        }
        save_checkpoint(self.accelerator, self.settings.output_dir, state, self.settings.checkpoints_total_limit)

    def save(self) -> dict[str, Any]:
        """Save the network, its preprocessing, record and card; returns the record."""
        accelerator = self.accelerator
        final = accelerator.unwrap_model(self.network, keep_fp32_wrapper=False, keep_torch_compile=False)
        if self.averaged is not None:
            final = self.averaged.module
        record = self._record(final)
        if accelerator.is_main_process:
            folder = user_path(self.settings.output_dir) / "network"
            try:
                with replace_folder(folder) as new:
                    final.save_pretrained(new)
                    self.processor.save_pretrained(new)
                    write_json(record, new / RECORD)
                    write_card(new, network_card(new))  # once more, with the preprocessing and the training
            except Exception as error:  # safetensors has its own for a full disk
                raise OSError(f"cannot write {folder}: {one_line(error)}") from error
        if self.settings.report_to:
            accelerator.end_training()
        accelerator.wait_for_everyone()
        return record

    def _record(self, final: PKGenNetworkForImageClassification) -> dict[str, Any]:
        images, accelerator, validated = self.images, self.accelerator, self.validated
        network = {name: getattr(final.config, name) for name in ("space", "architecture", "scale", "num_labels")}
        libraries = ("pkgen-hf", "torch", "accelerate", "transformers", "pillow")
        return {
            "network": network,
            "settings": asdict(self.settings) | {"scale": final.config.scale},
            "total_batch_size": self.plan.total_batch_size,
            "images": len(images),
            "source": images.name,
            "split": images.split,
            "validation_source": validated and {"name": validated.name, "split": validated.split},
            "files_passed_over": len(images.passed_over),
            **cost(final.eval(), self.settings.image_size),
            "history": self.history,
            "skipped_images": _all(self.skipped, accelerator),
            "seconds": round(self.seconds, 3),
            "images_per_second": round(self.images_per_second, 1),
            "processes": accelerator.num_processes,
            "device": str(accelerator.device),
            "threads": torch.get_num_threads(),
            "versions": {name: importlib.metadata.version(name) for name in libraries},
        }


def _check_network(settings: Settings, model: PKGenNetworkForImageClassification) -> None:
    """ValueError unless the settings are for this network."""
    if model.config.image_size != settings.image_size:
        raise ValueError(f"the network is for images of {model.config.image_size} pixels, not {settings.image_size}")
    if settings.drop_path_grows and model.config.space != "darts":
        raise ValueError(f"drop_path_grows is for networks of darts, not of {model.config.space}")


def _match_classes(
    model: PKGenNetworkForImageClassification,
    images: LabelledImages | ImageStream,
    validation: LabelledImages | ImageStream | None,
    by_number: bool,
) -> list[str]:
    """Make the labels of all images those of the network, and return the names of its classes.

    A network without names takes those of the images it is trained on, and images to evaluate are matched by them.
    """
    own = classes_of(model.config)
    if len(own) < 2:
        raise ValueError(f"a network needs at least 2 classes to be trained, this one has {len(own)}")
    names = images.check_classes(len(own), own, by_number)
    if validation is not None:
        validation.check_classes(len(own), names, by_number)
    if not has_names(own) and names != own:
        name_classes(model.config, names)
    return names


def _all(places: set[str], accelerator: Accelerator) -> list[str]:
    """The places of all processes, each once."""
    found = list(places) if accelerator.num_processes == 1 else everywhere(list(places), accelerator)
    return sorted(set(found))


def _check_writable(output_dir: str) -> None:
    try:
        user_path(output_dir).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=user_path(output_dir)):
            pass
    except OSError as error:
        raise OSError(f"cannot write in --output_dir {output_dir}: {error.strerror}") from error
