"""A search space of your own, from its description to architectures, without training the generator again.

    python examples/own_space.py [CHECKPOINT] [FOLDER]

A residual cell of five nodes: each of its ten edges carries one of six operations. The checkpoint (``pkgen-base`` by
default) has never seen it. Its prior is carried over from the spaces it knows, by what the operations are and where
they stand; the second time, 20 evaluations add to it. What is written goes to the folder (the current one by default).
"""

import itertools
import sys
from pathlib import Path

import torch

from pkgen_hf import Architecture, Choice, PKGenPipeline, Prior, SearchSpace, Slot, Task
from pkgen_hf.drawing import draw

OPERATIONS = (
    Choice("none", "zero"),
    Choice("skip", "identity"),
    Choice("conv3x3", "convolution", kernel=3),
    Choice("sepconv5x5", "convolution", kernel=5, separable=True),
    Choice("dilconv3x3", "convolution", kernel=3, dilation=2),
    Choice("maxpool3x3", "pooling", kernel=3, aggregation="max"),
)
EDGES = itertools.combinations(range(5), 2)  # node 0 is the cell's input, node 4 its output
SLOTS = [Slot(f"{a}->{b}", "operation", OPERATIONS, reads=(a,), writes=b) for a, b in EDGES]
TASK = Task("image-classification", num_classes=100, image_size=64)
SPACE = SearchSpace("residual-cell", SLOTS, tasks={"flowers": TASK}, null_choice="none")
GAINS = {"none": 0.0, "skip": 1.0, "conv3x3": 3.0, "sepconv5x5": 4.0, "dilconv3x3": 2.0, "maxpool3x3": 0.5}


def evaluate(architecture: Architecture) -> float:
    """A score in percent, higher is better. This one is made up: train and measure your network here."""
    return 40.0 + sum(GAINS[name] for name in str(architecture).split("|"))


def main(pipe: PKGenPipeline, folder: Path) -> list[list[Architecture]]:
    """Generate twice, by the carried-over prior alone and with evaluations, and return both."""
    out = pipe(SPACE, "flowers", num_architectures=8)
    first = out.architectures
    print(out.prior, *first, sep="\n")
    draw(first, folder / "first.svg")

    tried = Architecture.from_batch(SPACE, SPACE.sample(20, torch.Generator().manual_seed(0)))
    scores = [evaluate(architecture) for architecture in tried]
    second = pipe(SPACE, "flowers", evaluations=(tried, scores), num_architectures=8).architectures
    print(f"With 20 evaluations, the best {max(scores)}:", *(f"{one} {evaluate(one)}" for one in second), sep="\n")
    draw(second, folder / "second.svg")
    (folder / "architectures.jsonl").write_text("".join(f"{one.to_json()}\n" for one in second))
    prior = Prior.from_evaluations(SPACE, tried, scores, "flowers")  # of these alone, to draw, save or publish
    print(prior, prior.save(folder / "prior.parquet"), sep="\n")  # Prior.load(path, space=SPACE) reads it
    return [first, second]


if __name__ == "__main__":
    checkpoint = sys.argv[1] if len(sys.argv) > 1 else "pkgen-base"
    main(PKGenPipeline.from_pretrained(checkpoint), Path(sys.argv[2] if len(sys.argv) > 2 else "."))
