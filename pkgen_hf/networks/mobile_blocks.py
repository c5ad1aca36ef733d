"""What mobile networks on images are made of: convolutions, squeeze-and-excitation, inverted bottlenecks."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn


def drop_path(features: torch.Tensor, probability: float) -> torch.Tensor:
    """Set whole examples to 0 with `probability` below 1, and divide the others by that of keeping them.

    Stochastic depth (Huang et al., ECCV 2016); `features` are ``(batch, ...)``.
    """
    keep = torch.rand(len(features), *[1] * (features.ndim - 1), device=features.device) >= probability
    return features * keep.to(features.dtype) / (1 - probability)


def convolution(
    inputs: int,
    outputs: int,
    kernel: int = 1,
    stride: int = 1,
    groups: int = 1,
    activation: nn.Module | None = None,
) -> list[nn.Module]:
    """A convolution that keeps the resolution (or divides it by `stride`), its normalisation, and an activation."""
    layer = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, groups=groups, bias=False)
    normalised: list[nn.Module] = [layer, nn.BatchNorm2d(outputs)]
    return normalised if activation is None else [*normalised, activation]


class SqueezeExcitation(nn.Module):
    """Scales every channel by a function of the means of all (Hu et al., CVPR 2018).

    Parameters
    ----------
    channels, middle
        Of the input, and between the two layers of the function.
    activation, gate
        What follows the first and the second layer.
    """

    def __init__(
        self,
        channels: int,
        middle: int,
        activation: Callable[[torch.Tensor], torch.Tensor],
        gate: Callable[[torch.Tensor], torch.Tensor],
    ) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels, middle, 1)
        self.excite = nn.Conv2d(middle, channels, 1)
        self.activation, self.gate = activation, gate

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """``(batch, channels, height, width)`` to the same shape."""
        means = features.mean((2, 3), keepdim=True)
        return features * self.gate(self.excite(self.activation(self.squeeze(means))))


class InvertedBottleneck(nn.Module):
    """Expansion, depthwise convolution, a gate if there is one, and projection (Sandler et al., CVPR 2018).

    Its input is added to its output where they have one shape; in training the latter is dropped at times.

    Parameters
    ----------
    inputs, outputs, stride
        Channels, and by what the block divides the resolution.
    kernel, inner
        Of the depthwise convolution, and its channels; as many as the inputs need no expansion.
    activation
        After expansion and depthwise convolution.
    gate
        Between the latter and the projection.
    drop_path_prob
        Probability of dropping.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        stride: int,
        kernel: int,
        inner: int,
        activation: nn.Module,
        gate: SqueezeExcitation | None,
        drop_path_prob: float,
    ) -> None:
        super().__init__()
        layers = convolution(inputs, inner, activation=activation) if inner != inputs else []
        layers += convolution(inner, inner, kernel, stride, groups=inner, activation=activation)
        if gate is not None:
            layers.append(gate)
        self.layers = nn.Sequential(*layers, *convolution(inner, outputs))
        self.adds_input = inputs == outputs and stride == 1
        self.drop_path_prob = drop_path_prob

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """``(batch, inputs, height, width)`` to ``(batch, outputs, height / stride, width / stride)``."""
        result = self.layers(features)
        if not self.adds_input:
            return result
        return features + (drop_path(result, self.drop_path_prob) if self.training else result)
