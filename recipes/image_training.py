"""The training of a network on images: exact under accumulation, several processes and resumption."""

from __future__ import annotations

import importlib.metadata
import json
import math
import os
import tempfile
import time
import zlib
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from accuracy import accuracy, cost, everywhere
from classes import classes_of, has_names, name_classes
from image_loaders import EvaluationImages, TrainingImages, batches_of
from image_streams import ImageStream
from images import LabelledImages
from parallel import Plan, RunningStatistics, has_idle_weights, make_accelerator
from pkgen_hf.errors import one_line, unknown
from pkgen_hf.files import replace_folder, user_path, write_json
from pkgen_hf.modeling_network import PKGenNetworkForImageClassification, image_processor
from pkgen_hf.publishing.cards import network_card, write_card
from pkgen_hf.training.arguments import RECORD
from pkgen_hf.training.checkpoints import load_checkpoint, save_checkpoint
from presets import Settings

# What may differ between a run and the one that goes on with it.
_NOT_OF_THE_RESULT = {
    "train_batch_size", "total_batch_size", "gradient_accumulation_steps", "cpu", "dataloader_num_workers",
    "output_dir", "checkpointing_steps", "checkpoints_total_limit", "resume_from_checkpoint", "report_to",
    "logging_steps", "quiet", "compile",
}  # fmt: skip

# What a checkpoint keeps beside step, seconds and settings.
_KEPT = {"loss": int | float, "history": list[dict], "skipped": list[str]}


def _make_optimizer(settings: Settings, network: nn.Module) -> torch.optim.Optimizer:
    shared: dict[str, Any] = {
        "lr": settings.learning_rate,
        "momentum": settings.momentum,
        "weight_decay": settings.weight_decay,
    }
    if settings.optimizer == "sgd":
        return torch.optim.SGD(network.parameters(), nesterov=settings.nesterov, **shared)
    if settings.optimizer == "rmsprop":
        alpha, eps = settings.rmsprop_alpha, settings.rmsprop_eps
        return torch.optim.RMSprop(network.parameters(), alpha=alpha, eps=eps, **shared)
    raise unknown("optimizer", settings.optimizer, ["sgd", "rmsprop"])


def _moving_average(network: nn.Module, decay: float) -> AveragedModel:
    """Of weights and running statistics; it begins with a smaller decay, so that it forgets the initial weights."""

    def update(averaged: Any, current: Any, number: Any) -> None:
        now = min(decay, float((1 + number) / (10 + number)))
        get_ema_multi_avg_fn(now)(averaged, current, number)

    return AveragedModel(network, multi_avg_fn=update, use_buffers=True)


def train(
    settings: Settings,
    model: PKGenNetworkForImageClassification,
    images: LabelledImages | ImageStream,
    validation: LabelledImages | ImageStream | EvaluationImages | None = None,
    on_step: Callable[[int, int, dict[str, float]], None] | None = None,
) -> dict[str, Any]:
    """Train a network, save it with its preprocessing and a record in `output_dir`/network, and return the record.

    Everything random follows from the seed and the number of the step: a run that is resumed ends with the weights of
    one that was not, and one on several processes makes the updates of one on a single process that accumulates as
    many batches.

    Parameters
    ----------
    settings
        See `Settings`.
    model
        With the weights to begin with; it is trained in place.
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
        For settings that cannot be, labels that do not fit the network, a corrupt image, a loss that is not finite.
    OSError
        If something cannot be written.
    RuntimeError
        If the launcher started several processes but they do not know of each other.
    """
    model.config.auxiliary_weight, model.config.label_smoothing = settings.auxiliary_weight, settings.label_smoothing
    several = int(os.environ.get("WORLD_SIZE", "1")) > 1
    accelerator = make_accelerator(settings, several and has_idle_weights(model))
    plan = Plan(settings, len(images), accelerator.process_index, accelerator.num_processes)
    validated = validation.images if isinstance(validation, EvaluationImages) else validation
    names = _match_classes(model, images, validated, settings.labels_by_number)
    if accelerator.is_main_process:
        _check_writable(settings.output_dir)
    if model.config.image_size != settings.image_size:
        raise ValueError(f"the network is for images of {model.config.image_size} pixels, not {settings.image_size}")
    if settings.drop_path_grows and model.config.space != "darts":
        raise ValueError(f"drop_path_grows is for networks of darts, not of {model.config.space}")
    resize = None if settings.crop_ratio == 1 else round(settings.image_size / settings.crop_ratio)
    processor = image_processor(settings.image_size, list(settings.mean), list(settings.std), resize, settings.bicubic)
    data = TrainingImages(images, settings)
    if isinstance(validation, LabelledImages | ImageStream):
        validation = EvaluationImages(validation, processor, settings.skip_corrupt)

    layout = torch.channels_last if settings.channels_last else torch.contiguous_format
    nn.Module.to(model, memory_format=layout)
    optimizer = _make_optimizer(settings, model)
    network, optimizer = accelerator.prepare(model, optimizer)
    statistics = None
    if accelerator.num_processes > 1:
        statistics = RunningStatistics(model, accelerator, settings.gradient_accumulation_steps)
    averaged = _moving_average(model, settings.ema_decay) if settings.ema_decay else None
    if averaged is not None:
        accelerator.register_for_checkpointing(averaged)
    decisive = {name: value for name, value in asdict(settings).items() if name not in _NOT_OF_THE_RESULT}
    decisive |= {"architecture": model.config.architecture, "scale": model.config.scale, "images": len(images)}
    decisive |= {
        "streaming": isinstance(images, ImageStream),
        "total_batch_size": plan.total_batch_size,
        "steps": plan.steps,
        "classes": f"{', '.join(names)[:40]}, ... ({len(names)}, {zlib.crc32(json.dumps(names).encode()):08x})",
    }
    wanted = settings.resume_from_checkpoint
    progress = load_checkpoint(accelerator, settings.output_dir, wanted, decisive, _KEPT)
    if progress is not None and progress["step"] >= plan.steps:
        raise ValueError(f"the checkpoint is of step {progress['step']}, but the training has {plan.steps} steps")
    progress = progress or {"step": 0, "settings": decisive, "loss": 0.0, "history": [], "skipped": [], "seconds": 0.0}
    if statistics is not None:
        statistics.begin()
    if settings.report_to:
        accelerator.init_trackers("pkgen-network", config={"learning_rate": settings.learning_rate})

    history, skipped = progress["history"], set(progress["skipped"])
    first, evaluating = progress["step"], 0.0
    started, seconds = time.time(), progress["seconds"]
    # Sum of the losses of this epoch's batches, over all processes.
    total_loss = torch.tensor(progress["loss"], dtype=torch.float64, device=accelerator.device)
    if not accelerator.is_main_process:
        total_loss.zero_()
    keys = images.epochs(plan, first) if isinstance(images, ImageStream) else plan.batches(first)
    workers = settings.dataloader_num_workers
    with closing(batches_of(data, keys, workers, accelerator.device)) as batches:
        network.train()
        for step in range(first, plan.steps):
            epoch = step // plan.steps_per_epoch
            for group in optimizer.param_groups:
                group["lr"] = plan.learning_rate(step)
            if settings.drop_path_grows:
                grown = model.config.scale.get("drop_path_prob", 0.0) * epoch * plan.steps_per_epoch / plan.steps
                for cell in model.network.get_submodule("cells").children():
                    cell.drop_path_prob = grown
            for part in range(settings.gradient_accumulation_steps):
                batch = next(batches)
                skipped.update(batch["skipped"])
                number = accelerator.process_index * settings.gradient_accumulation_steps + part
                torch.manual_seed(int(np.random.SeedSequence((settings.seed, step, number)).generate_state(1)[0]))
                with accelerator.accumulate(network):
                    pixels = batch["pixel_values"].contiguous(memory_format=layout)
                    loss = network(pixel_values=pixels, labels=batch["labels"]).loss
                    accelerator.backward(loss)
                    if accelerator.sync_gradients and settings.max_grad_norm:
                        accelerator.clip_grad_norm_(network.parameters(), settings.max_grad_norm)
                    optimizer.step()
                    optimizer.zero_grad()
                total_loss += loss.detach().double()
            if statistics is not None:
                statistics.merge()
            if averaged is not None:
                averaged.update_parameters(model)
            done = step + 1
            speed = (done - first) * plan.total_batch_size / (time.time() - started - evaluating)
            if done % settings.logging_steps == 0 or done == plan.steps:
                value = accelerator.reduce(loss.detach(), "mean").item()
                if not math.isfinite(value):
                    raise ValueError(f"the loss is {value} at step {done}; a smaller --learning_rate may help")
                values = {"loss": value, "images/s": speed}
                if on_step is not None and accelerator.is_main_process:
                    on_step(done, plan.steps, values)
                if settings.report_to:
                    accelerator.log({**values, "learning_rate": plan.learning_rate(step)}, step=done)
            if done % plan.steps_per_epoch == 0 or done == plan.steps:
                steps = done - epoch * plan.steps_per_epoch
                mean = accelerator.reduce(total_loss, "sum").item() / (steps * settings.gradient_accumulation_steps)
                record: dict[str, Any] = {"epoch": epoch + 1, "steps": done, "loss": mean / accelerator.num_processes}
                record["learning_rate"] = plan.learning_rate(step)
                total_loss.zero_()
                if validation is not None and ((epoch + 1) % settings.validation_epochs == 0 or done == plan.steps):
                    evaluating -= time.time()
                    evaluated = (model if averaged is None else averaged.module).eval()
                    record["validation"] = accuracy(evaluated, validation, accelerator, 2 * plan.batch_size, workers)
                    network.train()
                    evaluating += time.time()
                    if settings.report_to:
                        accelerator.log({"top_1": record["validation"]["top_1"]}, step=done)
                history.append(record | {"seconds": round(seconds + time.time() - started, 3)})
            if settings.checkpointing_steps and done % settings.checkpointing_steps == 0 and done < plan.steps:
                state = {"step": done, "settings": decisive, "history": history}
                state["seconds"] = seconds + time.time() - started
                state["loss"] = accelerator.reduce(total_loss, "sum").item()
                state["skipped"] = _all(skipped, accelerator)
                save_checkpoint(accelerator, settings.output_dir, state, settings.checkpoints_total_limit)

    final = accelerator.unwrap_model(network, keep_fp32_wrapper=False, keep_torch_compile=False)
    if averaged is not None:
        final = averaged.module
    result = {
        "network": {name: getattr(final.config, name) for name in ("space", "architecture", "scale", "num_labels")},
        "settings": asdict(settings) | {"scale": final.config.scale},
        "total_batch_size": plan.total_batch_size,
        "images": len(images),
        "source": images.name,
        "split": images.split,
        "validation_source": validated and {"name": validated.name, "split": validated.split},
        "files_passed_over": len(images.passed_over),
        **cost(final.eval(), settings.image_size),
        "history": history,
        "skipped_images": _all(skipped, accelerator),
        "seconds": round(seconds + time.time() - started, 3),
        "images_per_second": round(speed, 1),
        "processes": accelerator.num_processes,
        "device": str(accelerator.device),
        "threads": torch.get_num_threads(),
        "versions": {
            name: importlib.metadata.version(name)
            for name in ("pkgen-hf", "torch", "accelerate", "transformers", "pillow")
        },
    }
    if accelerator.is_main_process:
        folder = user_path(settings.output_dir) / "network"
        try:
            with replace_folder(folder) as new:
                final.save_pretrained(new)
                processor.save_pretrained(new)
                write_json(result, new / RECORD)
                write_card(new, network_card(new))  # once more, with the preprocessing and the training
        except Exception as error:  # safetensors has its own for a full disk
            raise OSError(f"cannot write {folder}: {one_line(error)}") from error
    if settings.report_to:
        accelerator.end_training()
    accelerator.wait_for_everyone()
    return result


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
