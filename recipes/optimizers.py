"""Optimizers of networks, and the moving average of their weights."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from pkgen_hf.errors import unknown
from presets import Settings


def make_optimizer(settings: Settings, network: nn.Module) -> torch.optim.Optimizer:
    """SGD, RMSprop or AdamW, as the settings say; ValueError for any other."""
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
    if settings.optimizer == "adamw":
        return make_adamw(network, settings.learning_rate, settings.weight_decay, (0.9, 0.999))
    raise unknown("optimizer", settings.optimizer, ["sgd", "rmsprop", "adamw"])


def make_adamw(
    network: nn.Module, learning_rate: float, weight_decay: float, betas: tuple[float, float]
) -> torch.optim.Optimizer:
    """AdamW (Loshchilov and Hutter, ICLR 2019), whose decay spares embeddings, positions, biases and norms."""
    embeddings = {id(module.weight) for module in network.modules() if isinstance(module, nn.Embedding)}
    decayed: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for name, parameter in network.named_parameters():
        is_matrix = name.endswith("weight") and parameter.ndim >= 2 and id(parameter) not in embeddings
        (decayed if is_matrix else others).append(parameter)
    groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=learning_rate, betas=betas)


def moving_average(network: nn.Module, decay: float) -> AveragedModel:
    """Exponential moving average of weights and running statistics.

    As in TensorFlow, its decay is at most (1 + n) / (10 + n) after n updates, so that it forgets the initial weights.
    """

    def update(averaged: Any, current: Any, number: Any) -> None:
        now = min(decay, float((1 + number) / (10 + number)))
        get_ema_multi_avg_fn(now)(averaged, current, number)

    return AveragedModel(network, multi_avg_fn=update, use_buffers=True)
