"""Accuracy of a network over images that several processes share, each image counted exactly once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from accelerate import Accelerator
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from image_loaders import EvaluationImages


@torch.no_grad()
def accuracy(
    network: nn.Module,
    images: EvaluationImages,
    accelerator: Accelerator,
    batch_size: int = 256,
    workers: int = 0,
    on_batch: Callable[[int], None] | None = None,
) -> dict[str, Any]:
    """Top-1 and top-5 accuracy.

    Batches are the same whatever the number of processes, which take turns at them; hence so is the result.

    Parameters
    ----------
    network
        In evaluation mode, and not wrapped for parallel training.
    images
        Of which `images.images.label` is an index of the network's logits.
    accelerator
        Of the processes.
    batch_size, workers
        Of the loader in each process.
    on_batch
        Called with the number of images after each batch of this process.

    Returns
    -------
    dict
        ``top_1`` and ``top_5`` in percent (of all classes, where there are fewer than five), ``images`` counted,
        ``skipped`` where those are that are corrupt.

    Raises
    ------
    BadImage
        For a corrupt image that is not to be skipped.
    RuntimeError
        If what all processes counted is not the number of images.
    """
    keys = images.images.in_order(batch_size, accelerator.process_index, accelerator.num_processes)
    counts = torch.zeros(3, dtype=torch.long, device=accelerator.device)  # images, top 1, top 5
    skipped: list[str] = []
    for batch in images.batches(keys, workers, accelerator.device):
        skipped += batch["skipped"]
        if "labels" in batch:
            with accelerator.autocast():
                logits = network(batch["pixel_values"]).logits.float()
            best = logits.topk(min(5, logits.shape[1])).indices
            hits = best == batch["labels"][:, None]
            counts += torch.stack([torch.tensor(len(hits), device=hits.device), hits[:, 0].sum(), hits.sum()])
        if on_batch is not None:
            on_batch(len(batch.get("labels", ())) + len(batch["skipped"]))
    counted, first, five = accelerator.reduce(counts, "sum").tolist()
    if accelerator.num_processes > 1:
        skipped = sorted(set(everywhere(skipped, accelerator)))
    if counted + len(skipped) != len(images):
        raise RuntimeError(f"{counted} images were evaluated and {len(skipped)} skipped, of {len(images)}")
    if not counted:
        raise ValueError(f"none of the {len(images)} images of {images.images.name} can be read")
    return {"top_1": 100 * first / counted, "top_5": 100 * five / counted, "images": counted, "skipped": skipped}


def everywhere(items: list[Any], accelerator: Accelerator) -> list[Any]:
    """The items of all processes."""
    parts: list[Any] = [None] * accelerator.num_processes
    torch.distributed.all_gather_object(parts, items)
    return [item for part in parts for item in part]


def cost(network: nn.Module, image_size: int) -> dict[str, int]:
    """Parameters, and multiply-adds of convolutions and linear layers for one image; of what evaluation needs."""
    was_training = network.training
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        parameter = next(network.parameters())
        network.eval()(torch.zeros(1, 3, image_size, image_size, device=parameter.device, dtype=parameter.dtype))
    network.train(was_training)
    parameters = sum(p.numel() for name, p in network.named_parameters() if ".auxiliary." not in name)
    return {"parameters": parameters, "multiply_adds": counter.get_total_flops() // 2}
