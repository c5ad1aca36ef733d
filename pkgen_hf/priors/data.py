"""What a prior holds, and what it says of a space: a distribution, samples, and features for the denoiser.

`pkgen_hf.priors.prior` adds to it how a prior is made, read and written.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ..inputs import real_number, whole_number
from ..spaces import SearchSpace, TaskLike
from ..spaces.parts import device_of
from .effects import Effects
from .frequencies import encode_frequencies
from .shapley import describe_games

# From strong to weak. The denoiser tells the first four apart; it was not trained on computed priors.
EVIDENCE = ("measured", "partly measured", "carried over", "from other spaces", "computed", "absent")
FEATURES_OF_EVIDENCE = EVIDENCE[:4]
READ_AS = {"computed": "from other spaces"}  # what the denoiser takes other evidence for
PRIOR_FEATURES = 6 + len(FEATURES_OF_EVIDENCE)
FREQUENCY, LOG_FREQUENCY = 4, 5  # places of the frequency, plain and encoded, among the features
# Of the stationary distribution: a choice that no good architecture has can still be sampled, as a frequency over 20
# architectures does not exclude it.
UNIFORM_SHARE = 0.1
LARGEST_FEATURE = 4.0  # contributions of more average slots than this are clipped; they would dominate a linear layer


@dataclass(frozen=True)
class Subgraph:
    """A one-hop subgraph of good architectures: the choices of a node's slots, its mean contribution and its count."""

    slots: tuple[int, ...]
    choices: tuple[int, ...]
    contribution: float
    count: int


@dataclass(frozen=True, eq=False)
class PriorData:
    """What each choice contributed in good architectures of one space (and task).

    Its fields are described where users meet them, in `Prior`.
    """

    space: SearchSpace
    task: str | None
    evidence: str
    contributions: torch.Tensor
    subgraph_contributions: torch.Tensor
    frequencies: torch.Tensor
    subgraphs: tuple[Subgraph, ...] = ()
    scale: float = 1.0
    num_good: int = 0
    labels_read: int = 0
    detail: str = ""
    effects: Effects | None = None

    def __repr__(self) -> str:
        return f"Prior({self.space.name!r}, task={self.task!r}, evidence={self.evidence!r}, {self.detail})"

    @property
    def games(self) -> str:
        """The games whose Shapley values the contributions are, e.g. ``"one game of 6 operations, ..."``.

        A space of more than 8 operations (or subgraphs) plays several restricted games, in each of which all else
        stays in place (see `pkgen_hf.priors.shapley.games`): ``"2 restricted games of 8 and 8 operations, ..."``.
        """
        if self.evidence == "absent":
            return "none"
        if self.evidence == "from other spaces":
            return "those of the other spaces"
        return describe_games(self.space)

    @property
    def is_of_its_space(self) -> bool:
        """Whether it was measured in its space, for this task or another."""
        return self.evidence not in ("from other spaces", "computed", "absent")

    def distribution(self) -> torch.Tensor:
        """The stationary distribution of the diffusion, ``FloatTensor (slots, choices)``; rows sum to 1.

        A tenth is uniform over the choices that are drawn (see `Choice.is_drawn`); others are possible only where good
        architectures have them. The rest is half the frequencies in good architectures, and half the softmax of the
        contributions in units of `scale`, which redistributes the frequencies of the choices of known contribution.
        """
        uniform = uniform_distribution(self.space)
        if self.evidence == "absent":
            return uniform
        known = ~self.contributions.isnan() & self.possible_choices()
        logits = torch.where(known, self.contributions / self.scale, -torch.inf)
        share = (self.frequencies * known).sum(1, keepdim=True)
        softmax = torch.where(known, logits.softmax(1).nan_to_num() * share, self.frequencies)
        return UNIFORM_SHARE * uniform + (1 - UNIFORM_SHARE) * (softmax + self.frequencies) / 2

    def possible_choices(self) -> torch.Tensor:
        """Choices that are drawn, and those of good architectures, ``BoolTensor (slots, choices)``."""
        return self.space.drawn_mask | (self.frequencies > 0)

    def sample(self, num: int, temperature: float = 1.0, generator: torch.Generator | None = None) -> torch.Tensor:
        """Independent samples of every slot, ``LongTensor (num, slots)``: the prior alone, without the denoiser."""
        num = whole_number("num", num)
        temperature = real_number("temperature", temperature, "above 0", 5e-324)
        weights = self.distribution() ** (1 / temperature)
        if not weights.sum(1).all():  # underflow: the most probable choices are left
            weights = (self.distribution() == self.distribution().amax(1, keepdim=True)).float()
        weights = weights.to(device_of(generator))
        return torch.multinomial(weights, num, replacement=True, generator=generator).T

    def features(self) -> torch.Tensor:
        """What the denoiser is conditioned on, ``FloatTensor (slots, choices, PRIOR_FEATURES)``.

        Contributions of both kinds in units of `scale`, each with whether it is known; the frequency, plain and
        encoded; and the evidence, one-hot. All are 0 for an absent prior and where a slot has no such choice.
        """
        mask = self.space.choice_mask.float()
        present = 0.0 if self.evidence == "absent" else 1.0
        columns = []
        for values in (self.contributions, self.subgraph_contributions):
            scaled = (values / self.scale).clamp(-LARGEST_FEATURE, LARGEST_FEATURE)
            columns += [scaled.nan_to_num(0.0), (~values.isnan()).float()]
        columns += [self.frequencies * present, encode_frequencies(self.frequencies) * present]
        evidence = READ_AS.get(self.evidence, self.evidence)
        columns += [mask * float(evidence == kind) for kind in FEATURES_OF_EVIDENCE]
        return torch.stack(columns, dim=-1) * mask[..., None]


def uniform_distribution(space: SearchSpace) -> torch.Tensor:
    """Every choice of a slot that is drawn as probable as the others, ``FloatTensor (slots, choices)``."""
    return space.drawn_mask.float() / space.drawn_sizes[:, None]


def absent(space: SearchSpace, task: TaskLike | None = None) -> PriorData:
    """A prior without knowledge: no contribution is known and every choice is as frequent."""
    unknown = torch.full((space.num_slots, space.num_choices), torch.nan, dtype=torch.float32, device="cpu")
    uniform = uniform_distribution(space)
    return PriorData(space, space.task_label(task), "absent", unknown, unknown, uniform, detail="nothing known")
