"""What the presets of trainings on images, and trainings of language models, cost: the tables of docs/training.md.

Multiply-adds and memory are counted on networks that are built; hours are estimated from them, see `Row.hours`.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import nn

from pkgen_hf import Architecture, PKGenPipeline
from pkgen_hf.modeling_text_network import causal_spaces
from pkgen_hf.spaces import Task, get_space
from presets import Settings, presets
from text_settings import TextSettings

IMAGES = {32: 50_000, 224: 1_281_167}  # of the training sets of CIFAR and of ImageNet-1k, by their size in pixels
PASSES = 6  # operations of a step for each multiply-add: two forward, four backward
DENSE, DEPTHWISE = 10e12, 1e12  # operations a second of networks without and with depthwise convolutions
TOKENS = 1e9  # of a training of a language model
FEW = 64  # of them, on which memory is counted: it grows linearly, as fused attention keeps no pairs of tokens
DARTS_V2 = (  # Liu et al., ICLR 2019
    "Genotype(normal=[('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0), ('sep_conv_3x3', 1), "
    "('sep_conv_3x3', 1), ('skip_connect', 0), ('skip_connect', 0), ('dil_conv_3x3', 2)], normal_concat=[2, 3, 4, 5], "
    "reduce=[('max_pool_3x3', 0), ('max_pool_3x3', 1), ('skip_connect', 2), ('max_pool_3x3', 1), "
    "('max_pool_3x3', 0), ('skip_connect', 2), ('skip_connect', 2), ('max_pool_3x3', 1)], reduce_concat=[2, 3, 4, 5])"
)


@dataclass(frozen=True)
class Row:
    """One training.

    Attributes
    ----------
    name
        Of the preset, or of the space of a language model.
    network
        Which one it is.
    parameters, multiply_adds
        Of the network; of one image or one token.
    examples
        Images or tokens that the training reads.
    activation_bytes
        What a step keeps for its backward pass, of a whole batch in float32.
    is_depthwise
        Whether it has depthwise convolutions.
    """

    name: str
    network: str
    parameters: int
    multiply_adds: float
    examples: float
    activation_bytes: int
    is_depthwise: bool

    @property
    def operations(self) -> float:
        """Of the whole training: six for each multiply-add and example."""
        return PASSES * self.multiply_adds * self.examples

    @property
    def hours(self) -> float:
        """Of one GPU, estimated: `DENSE` operations a second, or `DEPTHWISE`, whose convolutions wait for memory."""
        return self.operations / (DEPTHWISE if self.is_depthwise else DENSE) / 3600

    def __str__(self) -> str:
        mantissa, exponent = f"{self.operations:.1e}".split("e")
        cells = (
            f"`{self.name}`, {self.network}",
            f"{_digits(self.parameters / 1e6)} M",
            f"{_digits(self.multiply_adds / 1e6)} M",
            f"{mantissa}e{int(exponent)}",
            _digits(self.hours, 2),
            f"{_digits(self.activation_bytes / 1e9, 2)} GB",
        )
        return f"| {' | '.join(cells)} |"


def _digits(number: float, most: int = 3) -> str:
    """A number with so many significant digits, or as many as it has before the point."""
    whole = len(f"{int(number)}") if number >= 1 else 0
    return f"{number:,.{max(0, most - whole)}f}"


class _Kept:
    """Bytes of what a forward pass keeps for its backward pass, weights and what was kept before left out."""

    def __init__(self, network: nn.Module) -> None:
        self.seen = {weight.untyped_storage()._cdata for weight in (*network.parameters(), *network.buffers())}
        self.tensors: list[torch.Tensor] = []  # held, so that no storage takes the place of another

    def __call__(self, tensor: torch.Tensor) -> torch.Tensor:
        if tensor.untyped_storage()._cdata not in self.seen:
            self.seen.add(tensor.untyped_storage()._cdata)
            self.tensors.append(tensor)
        return tensor

    @property
    def bytes(self) -> int:
        return sum(tensor.untyped_storage().nbytes() for tensor in self.tensors)


def kept_bytes(network: nn.Module, inputs: torch.Tensor) -> int:
    """Memory that one training step of `inputs` keeps for its backward pass."""
    kept = _Kept(network)
    with torch.autograd.graph.saved_tensors_hooks(kept, lambda tensor: tensor):
        network.train()(inputs)
    return kept.bytes


def _first(pipe: PKGenPipeline, space: str, task: str) -> Architecture:
    """The network that the pipeline ranks first."""
    return pipe(space, task, generator=torch.Generator().manual_seed(0)).architectures[0]


def image_row(name: str, preset: Settings, pipe: PKGenPipeline | None = None) -> Row:
    """The row of a preset: of DARTS for the published cell, else for what the pipeline ranks first."""
    space = get_space(preset.space)
    task = next(task for task in space.tasks.values() if (task.image_size > 32) == (preset.image_size > 32))
    chosen = Architecture.from_string(space, DARTS_V2) if pipe is None else _first(pipe, space.name, task.name)
    # An auxiliary classifier is trained, too, but is no part of the network that remains.
    scale = {option: value for option, value in preset.scale.items() if option != "auxiliary"}
    cost, network = chosen.cost(task, measured=True, **scale), chosen.build(task=task, **preset.scale)
    assert cost.multiply_adds is not None
    images = torch.rand(2, task.in_channels, preset.image_size, preset.image_size)
    return Row(
        name,
        "DARTS V2" if pipe is None else "first-ranked",
        cost.parameters,
        cost.multiply_adds,
        IMAGES[preset.image_size] * preset.num_train_epochs,
        round(kept_bytes(network, images) / len(images) * preset.total_batch_size),
        any(isinstance(part, nn.Conv2d) and part.groups > 1 for part in network.modules()),
    )


def text_row(space: str, pipe: PKGenPipeline) -> Row:
    """The row of what the pipeline ranks first in a space of language models, with the settings of their recipe."""
    settings = TextSettings()
    chosen = _first(pipe, space, "language-modelling")
    task = Task("language-modelling", num_classes=settings.vocab_size)
    cost = chosen.cost(task, measured=True)
    assert cost.multiply_adds is not None
    few = torch.zeros(1, FEW, dtype=torch.long)
    kept = kept_bytes(chosen.build(task=task), few) * settings.context // FEW * settings.total_batch_size
    return Row(space, "first-ranked", cost.parameters, cost.multiply_adds, TOKENS, kept, False)


def rows(pipe: PKGenPipeline) -> Iterator[Row]:
    """Of every preset, then of every space of language models that the pipeline has priors of."""
    for name, preset in presets().items():
        yield image_row(name, preset, None if preset.space == "darts" else pipe)
    known = {prior.space.name for prior in pipe.priors}
    for space in (name for name in causal_spaces() if name in known):
        yield text_row(space, pipe)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", default="pkgen-base", help="of the pipeline that chooses networks")
    pipe = PKGenPipeline.from_pretrained(parser.parse_args().checkpoint)
    pipe.set_progress_bar_config(disable=True)
    for row in rows(pipe):
        print(row, flush=True)


if __name__ == "__main__":
    main()
