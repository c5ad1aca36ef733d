"""A search space of your own, from its description to architectures, without training the generator again.

    python examples/own_space.py [CHECKPOINT] [FOLDER]

A residual cell of five nodes: each of its ten edges carries one of six operations, and the output is added to the
input. The checkpoint (``pkgen-base`` by default) has never seen it. Its prior is carried over from the spaces it
knows, by what the operations are and where they stand; the second time, 20 evaluations add to it. Pictures, a prior of
the evaluations alone and architectures are written to the folder (the current one by default).
"""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

import torch

from pkgen_hf import Architecture, PKGenPipeline, Prior
from pkgen_hf.drawing.pictures import draw
from pkgen_hf.spaces import Choice, SearchSpace, Slot, Task

OPERATIONS = (
    Choice("none", "zero"),
    Choice("skip", "identity"),
    Choice("conv3x3", "convolution", kernel=3),
    Choice("sepconv5x5", "convolution", kernel=5, separable=True),
    Choice("dilconv3x3", "convolution", kernel=3, dilation=2),
    Choice("maxpool3x3", "pooling", kernel=3, aggregation="max"),
)
EDGES = itertools.combinations(range(5), 2)  # node 0 is the cell's input, node 4 its output
SPACE = SearchSpace(
    "residual-cell",
    slots=[Slot(f"{a}->{b}", "operation", OPERATIONS, reads=(a,), writes=b) for a, b in EDGES],
    tasks={"flowers": Task("image-classification", chance_score=1.0, num_classes=100, image_size=64)},
    null_choice="none",
)


def evaluate(architecture: Architecture) -> float:
    """A score in percent, higher is better. This one is made up: train and measure your network here."""
    gain = {"none": 0.0, "skip": 1.0, "conv3x3": 3.0, "sepconv5x5": 4.0, "dilconv3x3": 2.0, "maxpool3x3": 0.5}
    return 40.0 + sum(gain[name] for name in str(architecture).split("|"))


def main(pipe: PKGenPipeline, folder: Path) -> list[list[Architecture]]:
    """Generate twice, by the carried-over prior alone and with evaluations, and return both."""
    first = pipe(space=SPACE, task="flowers", num_architectures=8, generator=torch.Generator().manual_seed(0))
    print(first.prior)
    print(*first.architectures, sep="\n")
    draw(first.architectures, folder / "first.svg")

    tried = Architecture.from_batch(SPACE, SPACE.sample(20, torch.Generator().manual_seed(0)))
    scores = [evaluate(architecture) for architecture in tried]
    second = pipe(
        space=SPACE,
        task="flowers",
        evaluations=(tried, scores),
        num_architectures=8,
        generator=torch.Generator().manual_seed(0),
    )
    print(*second.architectures, sep="\n")
    draw(second.architectures, folder / "second.svg")

    prior = Prior.from_evaluations(SPACE, tried, scores, "flowers")  # of these alone, to draw, save or publish
    print(prior)
    prior.save(folder / "prior.parquet")  # files name the space, so reading them needs it
    assert torch.equal(Prior.load(folder / "prior.parquet", space=SPACE).frequencies, prior.frequencies)
    lines = [architecture.to_json() for architecture in second.architectures]
    (folder / "architectures.jsonl").write_text("\n".join(lines) + "\n")
    assert [Architecture.from_json(line, space=SPACE) for line in lines] == second.architectures
    return [first.architectures, second.architectures]


if __name__ == "__main__":
    checkpoint = sys.argv[1] if len(sys.argv) > 1 else "pkgen-base"
    main(PKGenPipeline.from_pretrained(checkpoint), Path(sys.argv[2] if len(sys.argv) > 2 else "."))
