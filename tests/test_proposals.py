"""Ask and tell: what is proposed, what is learnt from, what a state file keeps, and every kind of bad input."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from pkgen_hf import Architecture, PKGenPipeline, Prior, PriorDiscreteScheduler, Proposer, ScoreTable
from pkgen_hf.modeling_denoiser import ArchitectureDenoiser
from pkgen_hf.spaces import Choice, SearchSpace, Slot, Task, get_space

SPACE, TASK = "nas-bench-201", "cifar100"
BEST, GOOD = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_3x3~2|", 70.0


@pytest.fixture(scope="module")
def untrained() -> PKGenPipeline:
    """Random weights and no prior: all that a proposer knows is what it is told."""
    torch.manual_seed(0)
    pipe = PKGenPipeline(ArchitectureDenoiser(width=16, num_layers=1, num_heads=2).eval(), PriorDiscreteScheduler())
    pipe.priors = []
    pipe.set_progress_bar_config(disable=True)
    return pipe


def look_up(table: ScoreTable, architectures: list[Architecture]) -> list[float]:
    return table.values(torch.tensor([a.indices for a in architectures]), TASK).tolist()


def test_learns_from_nothing_but_what_it_is_told(untrained: PKGenPipeline, cell_table: ScoreTable) -> None:
    """Its first ten are far worse than chance, for what it starts from is arbitrary; its fifth ten are far better."""
    first, fifth = [], []
    for seed in range(3):
        proposer = Proposer(untrained, SPACE, TASK, seed=seed)
        for _ in range(5):
            asked = proposer.ask(10)
            proposer.tell(asked, look_up(cell_table, asked))
        assert len(proposer.scores) == len(set(proposer.architectures)) == 50
        first += proposer.scores[:10]
        fifth += proposer.scores[-10:]
    random = float(cell_table.column(TASK).mean())
    assert sum(first) / 30 < random < sum(fifth) / 30 - 4


def test_proposals_are_distinct_valid_and_new(untrained: PKGenPipeline, cell_table: ScoreTable) -> None:
    proposer = Proposer(untrained, SPACE, TASK)
    first, second = proposer.ask(6), proposer.ask(6)
    assert len({*first, *second}) == 12 and all(a.is_valid for a in first + second)
    assert proposer.pending == first + second
    proposer.tell(first, look_up(cell_table, first))
    assert proposer.pending == second and proposer.architectures == first
    proposer.tell([str(second[0])], [1.0])
    assert proposer.pending == second[1:] and proposer.scores[-1] == 1.0
    third = proposer.ask(6)
    assert not {*first, *second} & {*third}


def test_first_proposals_are_what_the_prior_says(cell_table: ScoreTable) -> None:
    """In a space it knows, the four that the pipeline ranks first of 512; then those the denoiser scores highest."""
    pipe = PKGenPipeline.from_pretrained("pkgen-base")
    pipe.set_progress_bar_config(disable=True)
    asked = Proposer(pipe, SPACE, TASK, seed=0).ask(9)
    ranks = cell_table.ranks(torch.tensor(look_up(cell_table, asked)), TASK)
    assert ranks.median() < 0.01
    generator = torch.Generator().manual_seed(0)
    pool = pipe(SPACE, TASK, num_architectures=512, num_candidates=1, generator=generator).architectures
    assert asked[:4] == pool[:4]
    scores = pipe.rank(SPACE, asked[4:], TASK)
    assert (scores[:-1] >= scores[1:]).all()
    others = [architecture for architecture in pool if architecture not in asked]
    assert scores[-1] >= pipe.rank(SPACE, others, TASK).max()
    one_by_one = Proposer(pipe, SPACE, TASK, seed=0)
    assert [one_by_one.ask()[0] for _ in range(9)] == asked


def test_an_unfamiliar_space_has_no_favourites() -> None:
    """Where little like it was trained on, the denoiser's scores propose from the first on."""
    pipe = PKGenPipeline.from_pretrained("pkgen-base")
    pipe.set_progress_bar_config(disable=True)
    pipe.priors = [prior for prior in pipe.priors if not prior.space.name.startswith("transnas")]
    asked = Proposer(pipe, "transnas-bench-101-macro", "jigsaw").ask(6)
    scores = pipe.rank("transnas-bench-101-macro", asked, "jigsaw")
    assert pipe.familiarity(get_space("transnas-bench-101-macro")) < 0.5
    assert (scores[:-1] >= scores[1:]).all()


def test_a_run_that_was_stopped_goes_on_as_if_it_was_not(
    untrained: PKGenPipeline, cell_table: ScoreTable, tmp_path: Path
) -> None:
    whole, state = Proposer(untrained, SPACE, TASK, seed=3), tmp_path / "runs" / "state.json"
    parts = Proposer(untrained, SPACE, TASK, seed=3, state=state)
    for _ in range(3):
        asked = whole.ask(7)
        assert parts.ask(7) == asked
        parts = Proposer(untrained, SPACE, TASK, seed=3, state=state)
        assert parts.pending == asked
        whole.tell(asked, look_up(cell_table, asked))
        parts.tell(asked, look_up(cell_table, asked))
        parts = Proposer(untrained, SPACE, TASK, seed=3, state=state)
        assert parts.architectures == whole.architectures and parts.scores == whole.scores and not parts.pending
    assert sorted(path.name for path in state.parent.iterdir()) == [".state.json.lock", "state.json"]
    assert json.loads(state.read_text())["task"] == TASK


def test_a_space_of_few_architectures_is_used_up(untrained: PKGenPipeline) -> None:
    operations = (Choice("none", "zero"), Choice("skip", "identity"), Choice("conv", "convolution", kernel=3))
    slots = [Slot(f"{v}", "operation", operations, reads=(v - 1,), writes=v) for v in (1, 2)]
    space = SearchSpace(
        "tiny",
        slots,
        {"mine": Task("image-classification", guess=0.0, num_classes=2, image_size=8)},
        null_choice="none",
    )
    proposer = Proposer(untrained, space, "mine")
    for left in (5, 4):
        asked = proposer.ask(left)
        proposer.tell(asked, [float(sum(a.indices)) for a in asked])
    assert len(set(proposer.architectures)) == 9
    assert str(proposer.best[0]) == "conv|conv" and proposer.best[1] == 4.0
    with pytest.raises(ValueError, match=r"1 architectures were asked for, but tiny holds 9, of which 9 were told"):
        proposer.ask()


@pytest.mark.parametrize("num", [0, -1, 1.5, True])
def test_impossible_numbers_are_refused(untrained: PKGenPipeline, num: int) -> None:
    with pytest.raises(ValueError, match="num must be a whole number from 1"):
        Proposer(untrained, SPACE).ask(num)


@pytest.mark.parametrize(
    "architectures, scores, message",
    [
        ([BEST], [], "1 architectures but 0 scores"),
        ([BEST], ["good"], "scores must be numbers: could not convert"),
        (BEST, [GOOD], "takes a list of architectures"),
        ([BEST], [float("inf")], "scores must be finite numbers"),
        (["|none~0|"], [GOOD], "is not a nas-bench-201 string"),
        ([Architecture.from_string("nas-bench-macro", "21102012")], [GOOD], "is not of the space nas-bench-201"),
    ],
)
def test_what_cannot_be_told(untrained: PKGenPipeline, architectures: list, scores: list, message: str) -> None:
    proposer = Proposer(untrained, SPACE)
    with pytest.raises(ValueError, match=message.replace("|", r"\|")):
        proposer.tell(architectures, scores)
    assert not proposer.scores
    with pytest.raises(ValueError, match="nothing was told yet"):
        _ = proposer.best


def test_wrong_state_files_are_refused(untrained: PKGenPipeline, tmp_path: Path) -> None:
    state = tmp_path / "state.json"
    proposer = Proposer(untrained, SPACE, TASK, state=state)
    proposer.tell([BEST], [GOOD])
    text = state.read_text()
    with pytest.raises(ValueError, match="unknown task of the state in .*'cifar10'.*Did you mean 'cifar100'"):
        Proposer(untrained, SPACE, "cifar10", state=state)
    with pytest.raises(ValueError, match="unknown seed of the state"):
        Proposer(untrained, SPACE, TASK, seed=1, state=state)
    for damaged in (text[:-20], "[]", '{"told": 3}', text.replace("70.0", '"x"')):
        state.write_text(damaged)
        with pytest.raises(ValueError, match="is not a state that a Proposer wrote, or is damaged"):
            Proposer(untrained, SPACE, TASK, state=state)
    with pytest.raises(ValueError, match="prior is of nas-bench-graph"):
        Proposer(untrained, SPACE, TASK, prior=Prior.absent("nas-bench-graph"))
