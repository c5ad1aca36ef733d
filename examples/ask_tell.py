"""Ask which cells to train, train them, tell their accuracies, and ask again: with real trainings, on the CPU.

    python examples/ask_tell.py [ROUNDS]

The images are made here: stripes of four directions in noise, 1 x 12 x 12. Each round trains four NAS-Bench-201 cells
in small for a few seconds. What was asked and told is kept in ``stripes.json``, so that running it again goes on.
"""

import math
import sys

import torch
from torch import nn

from pkgen_hf import Architecture, PKGenPipeline, Proposer, Task

CLASSES, SIZE, EPOCHS, BATCH = 4, 12, 3, 32


def stripes(number: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Images, ``(number, 1, SIZE, SIZE)``, and their classes, ``(number,)``."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(CLASSES, (number,), generator=generator)
    angle = (labels * math.pi / CLASSES)[:, None, None]
    phase = 2 * math.pi * torch.rand(number, 1, 1, generator=generator)
    y, x = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij")
    images = torch.sin(1.5 * (x * angle.cos() + y * angle.sin()) + phase)
    return (images + 1.5 * torch.randn(images.shape, generator=generator))[:, None], labels


TRAINING, VALIDATION = stripes(512, seed=0), stripes(1000, seed=1)
TASK = Task("image-classification", num_classes=CLASSES, in_channels=1, image_size=SIZE, name="stripes")


def evaluate(architecture: Architecture) -> float:
    """Train the network in small; percent of the validation images that it classifies correctly."""
    torch.manual_seed(0)
    network = architecture.build(task=TASK, channels=4, cells=1)
    images, labels = TRAINING
    steps = EPOCHS * len(images) // BATCH
    optimizer = torch.optim.Adam(network.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.01, total_steps=steps)
    for batch in torch.cat([torch.randperm(len(images)) for _ in range(EPOCHS)]).split(BATCH):
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(images[batch]), labels[batch]).backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        return 100 * (network.eval()(VALIDATION[0]).argmax(1) == VALIDATION[1]).double().mean().item()


proposer = Proposer(PKGenPipeline.from_pretrained("pkgen-base"), "nas-bench-201", TASK, state="stripes.json")
for number in range(int(sys.argv[1]) if len(sys.argv) > 1 else 3):
    asked = proposer.ask(4)
    scores = [evaluate(architecture) for architecture in asked]
    proposer.tell(asked, scores)
    print(f"round {number + 1}:", *(f"{score:.1f} %" for score in scores))
print("best of {}: {} with {:.1f} %".format(len(proposer.scores), *proposer.best))
