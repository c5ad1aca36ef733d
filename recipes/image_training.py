"""Training of a network on images, reproducible under accumulation, several processes and resumption."""

from __future__ import annotations

import json
import zlib
from collections.abc import Generator, Hashable, Iterator
from contextlib import AbstractContextManager, closing
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import torch
from accelerate import Accelerator
from torch import nn

from accuracy import accuracy, cost, everywhere
from classes import classes_of, has_names, name_classes
from device_images import training_images
from image_loaders import EvaluationImages
from image_streams import ImageStream
from images import LabelledImages
from network_training import NetworkTrainer, OnStep, check_writable
from optimizers import make_optimizer
from parallel import RunningStatistics, has_idle_weights, make_accelerator
from pixels import check_channels
from pkgen_hf.files import write_json
from pkgen_hf.modeling_network import PKGenNetworkForImageClassification, image_processor
from pkgen_hf.publishing.cards import write_card
from pkgen_hf.publishing.network_cards import network_card
from pkgen_hf.training.arguments import RECORD
from pkgen_hf.training.processes import num_launched
from presets import Settings, spaces_with
from settings import NOT_OF_THE_RESULT


def train(
    settings: Settings,
    model: PKGenNetworkForImageClassification,
    images: LabelledImages | ImageStream,
    validation: LabelledImages | ImageStream | EvaluationImages | None = None,
    on_step: OnStep | None = None,
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
        ``skipped_images``, ``seconds``, ``images_per_second``, ``waiting_share``, ``peak_memory_bytes``, versions.

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


class ImageTrainer(NetworkTrainer):
    """A network with its optimizer, moving average and images, prepared for this process; see `train`."""

    settings: Settings
    kept = {"skipped": list[str]}
    not_of_the_result = NOT_OF_THE_RESULT | {"dataloader_num_workers", "images_on_device"}
    logged = {"top_1": "top_1"}
    libraries = (*NetworkTrainer.libraries, "pillow")

    def __init__(
        self,
        settings: Settings,
        model: PKGenNetworkForImageClassification,
        images: LabelledImages | ImageStream,
        validation: LabelledImages | ImageStream | EvaluationImages | None,
    ) -> None:
        model.config.auxiliary_weight = settings.auxiliary_weight
        model.config.label_smoothing = settings.label_smoothing
        self.images = images
        accelerator = make_accelerator(settings, num_launched() > 1 and has_idle_weights(model))
        super().__init__(settings, model, accelerator, len(images))
        self.validated = validation.images if isinstance(validation, EvaluationImages) else validation
        self.names = _match_classes(model, images, self.validated, settings.labels_by_number)
        if accelerator.is_main_process:
            check_writable(settings.output_dir)
        _check_network(settings, model)
        resize = None if settings.crop_ratio == 1 else round(settings.image_size / settings.crop_ratio)
        mean, std = list(settings.mean), list(settings.std)
        self.processor = image_processor(settings.image_size, mean, std, resize, settings.bicubic)
        self.data = training_images(images, settings, accelerator.device)
        if isinstance(validation, LabelledImages | ImageStream):
            validation = EvaluationImages(validation, self.processor, settings.skip_corrupt)
        self.validation = validation

        self.layout = torch.channels_last if settings.channels_last else torch.contiguous_format
        nn.Module.to(model, memory_format=self.layout)
        self.prepare(make_optimizer(settings, model))
        self.statistics = None
        if accelerator.num_processes > 1:
            self.statistics = RunningStatistics(model, accelerator, settings.gradient_accumulation_steps)

    def _begin(self, progress: dict[str, Any]) -> None:
        super()._begin(progress)
        self.skipped = set(progress.get("skipped", []))
        if self.statistics is not None:
            self.statistics.begin()

    def _decisive(self) -> dict[str, Any]:
        checksum = f"{zlib.crc32(json.dumps(self.names).encode()):08x}"
        return super()._decisive() | {
            "architecture": self.model.config.architecture,
            "scale": self.model.config.scale,
            "images": len(self.images),
            "streaming": isinstance(self.images, ImageStream),
            "classes": f"{', '.join(self.names)[:40]}, ... ({len(self.names)}, {checksum})",
        }

    def _batches(self) -> AbstractContextManager[Iterator[dict[str, torch.Tensor]]]:
        return closing(self._read())

    def _read(self) -> Generator[dict[str, torch.Tensor]]:
        images, plan = self.images, self.plan
        keys = images.epochs(plan, self.first) if isinstance(images, ImageStream) else plan.batches(self.first)
        workers = self.settings.dataloader_num_workers
        with closing(self.data.batches(keys, workers, self.accelerator.device)) as batches:
            for batch in batches:
                self.skipped.update(batch["skipped"])
                yield {name: batch[name] for name in ("pixel_values", "labels")}

    def _before(self, step: int) -> Hashable:
        if not self.settings.drop_path_grows:
            return None
        plan = self.plan
        epoch, final = step // plan.steps_per_epoch, self.model.config.scale.get("drop_path_prob", 0.0)
        probability = final * epoch * plan.steps_per_epoch / plan.steps
        for cell in self.model.network.get_submodule("cells").children():
            cell.drop_path_prob = probability
        return probability

    def _loss(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        pixels = batch["pixel_values"].contiguous(memory_format=self.layout)
        loss: torch.Tensor = self.network(pixel_values=pixels, labels=batch["labels"]).loss
        return loss

    def _after_update(self) -> None:
        if self.statistics is not None:
            self.statistics.merge()

    def _values(self, loss: float) -> dict[str, float]:
        return {"loss": loss, "images/s": self.speed}

    def _is_evaluated(self, done: int) -> bool:
        epoch = (done - 1) // self.plan.steps_per_epoch + 1
        is_due = epoch % self.settings.validation_epochs == 0 or done == self.plan.steps
        return self.validation is not None and is_due

    def _evaluate(self, network: nn.Module) -> dict[str, Any]:
        batch_size, workers = 2 * self.plan.batch_size, self.settings.dataloader_num_workers
        return accuracy(network, cast(EvaluationImages, self.validation), self.accelerator, batch_size, workers)

    def _state(self) -> dict[str, Any]:
        return {"skipped": _all(self.skipped, self.accelerator)}

    def _write(self, final: PKGenNetworkForImageClassification, record: dict[str, Any], folder: Path) -> None:
        final.save_pretrained(folder)
        self.processor.save_pretrained(folder)
        write_json(record, folder / RECORD)
        write_card(folder, network_card(folder))  # once more, with the preprocessing and the training

    def _record(self, final: PKGenNetworkForImageClassification) -> dict[str, Any]:
        images, validated = self.images, self.validated
        network = {name: getattr(final.config, name) for name in ("space", "architecture", "scale", "num_labels")}
        return {
            "network": network,
            "settings": asdict(self.settings) | {"scale": final.config.scale},
            "total_batch_size": self.plan.total_batch_size,
            "images": len(images),
            "source": images.name,
            "split": images.split,
            "validation_source": validated and {"name": validated.name, "split": validated.split},
            "files_passed_over": len(images.passed_over),
            **cost(final, self.settings.image_size),
            "skipped_images": _all(self.skipped, self.accelerator),
            "images_per_second": round(self.speed, 1),
        }


def _check_network(settings: Settings, model: PKGenNetworkForImageClassification) -> None:
    """ValueError unless the settings are for this network."""
    check_channels(model.config.scale)
    if settings.images_on_device < 0:
        raise ValueError(f"--images_on_device must be 0 or more gigabytes, got {settings.images_on_device:g}")
    if model.config.image_size != settings.image_size:
        raise ValueError(f"the network is for images of {model.config.image_size} pixels, not {settings.image_size}")
    growing = spaces_with("drop_path_grows")
    if settings.drop_path_grows and model.config.space not in growing:
        raise ValueError(f"drop_path_grows is for networks of {', '.join(growing)}, not of {model.config.space}")


def _match_classes(
    model: PKGenNetworkForImageClassification,
    images: LabelledImages | ImageStream,
    validation: LabelledImages | ImageStream | None,
    by_number: bool,
) -> list[str]:
    """Map the labels of all images to the network's classes, and return the names of its classes.

    A network without names of classes takes those of the images to train on; images to evaluate are matched with them.
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
    """The distinct places of all processes."""
    found = list(places) if accelerator.num_processes == 1 else everywhere(list(places), accelerator)
    return sorted(set(found))
