"""Ask and tell: what is proposed, what is learnt from, what a state file keeps, and every kind of bad input."""

from __future__ import annotations

import json
import math
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd  # which datasets needs, too
import pytest
import torch
from fresh import run_fresh
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pkgen_hf import Architecture, PKGenPipeline, Prior, PriorDiscreteScheduler, Proposer, ScoreTable
from pkgen_hf.evidence.kernel import reference
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


@pytest.fixture(scope="module")
def pipe() -> PKGenPipeline:
    pipe = PKGenPipeline.from_pretrained("pkgen-base")
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


def test_first_proposals_are_what_the_prior_says(pipe: PKGenPipeline, cell_table: ScoreTable) -> None:
    """In a space it knows they are among the best hundredth, but for the fifth, which is a control."""
    asked = Proposer(pipe, SPACE, TASK, seed=0).ask(9)
    ranks = cell_table.ranks(torch.tensor(look_up(cell_table, asked)), TASK)
    assert ranks.median() < 0.01 < ranks[4]


def test_one_by_one_or_at_once(pipe: PKGenPipeline) -> None:
    """Every fifth of the first twenty is a random architecture of the half that is expected to be worse."""
    asked = Proposer(pipe, SPACE, TASK, seed=1).ask(23)
    one_by_one = Proposer(pipe, SPACE, TASK, seed=1)
    assert [one_by_one.ask()[0] for _ in range(23)] == asked
    in_parts = Proposer(pipe, SPACE, TASK, seed=1)
    assert [a for num in (7, 3, 13) for a in in_parts.ask(num)] == asked
    average = pipe.rank(SPACE, reference(get_space(SPACE)), TASK).median()
    assert (pipe.rank(SPACE, asked, TASK) < average).nonzero()[:, 0].tolist() == [4, 9, 14, 19]
    other = Proposer(pipe, SPACE, TASK, seed=2).ask(23)
    assert not {asked[place] for place in (4, 9, 14, 19)} & {*other}


@pytest.mark.parametrize("num_told", [0, 20])
@pytest.mark.parametrize("space", ["nas-bench-201", "ofa-mobilenetv3"])
def test_the_contrary_of_what_is_expected_is_found(pipe: PKGenPipeline, space: str, num_told: int) -> None:
    """Where smaller is better, within twenty proposals; no scores of large networks alone could show that."""
    target = get_space(space)

    def score(rows: torch.Tensor) -> torch.Tensor:
        return -target.log_costs(rows, target.resolved(None))[:, 0]

    told = pipe(space, num_architectures=20).architectures[:num_told]
    proposer = Proposer(pipe, space, seed=1)
    if told:
        proposer.tell(told, score(torch.tensor([a.indices for a in told])).tolist())
    expected = []
    for _ in range(2):
        asked = proposer.ask(10)
        expected += pipe.rank(space, asked).tolist()
        proposer.tell(asked, score(torch.tensor([a.indices for a in asked])).tolist())
    average = float(pipe.rank(space, reference(target)).median())
    assert all(expected[place] < average for place in (4, 9, 14, 19))
    assert float((score(reference(target)) > proposer.best[1]).float().mean()) < 0.1


def test_random_results_are_controls(pipe: PKGenPipeline) -> None:
    """Of twenty random results four are of the worse half, so that none is proposed."""
    space = get_space(SPACE)
    proposer = Proposer(pipe, SPACE, TASK)
    rows = reference(space)[:20]
    proposer.tell(Architecture.from_batch(space, rows), [math.nan] * 20)  # which says nothing of others
    assert (pipe.rank(SPACE, proposer.ask(10), TASK) > pipe.rank(SPACE, rows, TASK).median()).all()


def test_what_is_remembered_goes_when_scores_contradict_it(pipe: PKGenPipeline) -> None:
    """Scores that rise with skip connections, which are rare in the best cells of images."""
    space = get_space(SPACE)
    skip = [choice.name for choice in space.slots[0].choices].index("skip_connect")

    def skips(rows: torch.Tensor) -> torch.Tensor:
        return (rows == skip).sum(1).float()

    rows = space.sample(40, torch.Generator().manual_seed(0))
    rows = rows[space.is_valid(rows)][:20]
    proposer = Proposer(pipe, SPACE, TASK)
    before = torch.tensor([a.indices for a in Proposer(pipe, SPACE, TASK).ask(10)])
    proposer.tell(Architecture.from_batch(space, rows), skips(rows).tolist())
    after = torch.tensor([a.indices for a in proposer.ask(10)])
    assert skips(before).mean() < 1.5 < skips(rows).max() <= skips(after).mean()


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


def test_stopped_or_not_whatever_was_asked_for(
    untrained: PKGenPipeline, cell_table: ScoreTable, tmp_path: Path
) -> None:
    """Also after a number so large that the first pool does not hold it."""
    whole, state = Proposer(untrained, SPACE, TASK, seed=3), tmp_path / "state.json"
    parts = Proposer(untrained, SPACE, TASK, seed=3, state=state)
    for num in (300, 5, 1):
        asked = whole.ask(num)
        assert parts.ask(num) == asked and len(set(asked)) == num
        for proposer in (whole, parts):
            proposer.tell(asked, look_up(cell_table, asked))
        parts = Proposer(untrained, SPACE, TASK, seed=3, state=state)


def test_several_scores_of_one_architecture_are_averaged(untrained: PKGenPipeline) -> None:
    proposer = Proposer(untrained, SPACE)
    cell, same = Architecture(SPACE, (1, 2, 0, 3, 3, 4)), Architecture(SPACE, (2, 1, 0, 3, 4, 3))
    assert cell == same
    proposer.tell([cell, BEST, same], [60.0, 70.0, 64.0])
    proposer.tell([str(cell)], [65.0])
    assert proposer.architectures == [cell, Architecture.from_string(SPACE, BEST)]
    assert proposer.scores == [63.0, 70.0]


def test_the_order_of_scores_makes_no_difference_to_what_is_learnt(
    untrained: PKGenPipeline, cell_table: ScoreTable
) -> None:
    rows = cell_table.space.sample(12, torch.Generator().manual_seed(1))
    cells = Architecture.from_batch(SPACE, torch.cat([rows, rows]))
    scores = [score + k for k, score in enumerate(look_up(cell_table, cells))]
    asked = []
    for order in (list(range(24)), list(range(23, -1, -1))):
        proposer = Proposer(untrained, SPACE, TASK)
        proposer.tell([cells[k] for k in order], [scores[k] for k in order])
        asked.append(set(proposer.ask(6)))
    assert len(asked[0] & asked[1]) >= 5  # of elite architectures those told first are noised first


def test_failed_trainings(untrained: PKGenPipeline, cell_table: ScoreTable, tmp_path: Path) -> None:
    """They are not proposed again and count as worse than all; good scores of the same call are kept."""
    state = tmp_path / "state.json"
    proposer = Proposer(untrained, SPACE, TASK, state=state)
    first = proposer.ask(12)
    scores = look_up(cell_table, first)
    proposer.tell(first, [float("nan"), None, *scores[2:]])  # type: ignore[list-item]
    assert proposer.failures == first[:2] and proposer.architectures == first[2:] and not proposer.pending
    assert proposer.scores == scores[2:] and proposer.best[1] == max(scores[2:])
    second = proposer.ask(6)
    assert not set(first) & set(second)
    again = Proposer(untrained, SPACE, TASK, state=state)
    assert again.failures == first[:2] and again.scores == scores[2:] and again.pending == second
    proposer.tell(first[:1], [scores[0]])  # a second training did not fail
    assert proposer.failures == first[1:2] and proposer.scores == [scores[0], *scores[2:]]
    assert "NaN" not in state.read_text()


def test_nothing_but_failures_is_learnt_from_too(untrained: PKGenPipeline) -> None:
    proposer = Proposer(untrained, SPACE)
    asked = proposer.ask(15)
    proposer.tell(asked, [float("nan")] * 15)
    assert len(set(proposer.ask(15)) - set(asked)) == 15
    with pytest.raises(ValueError, match="no training has succeeded yet, "):
        _ = proposer.best


SHARING = """
import sys, torch
from pkgen_hf import PKGenPipeline, PriorDiscreteScheduler, Proposer
from pkgen_hf.evidence.kernel import reference
from pkgen_hf.modeling_denoiser import ArchitectureDenoiser
torch.manual_seed(0)
torch.set_num_threads(1)
pipe = PKGenPipeline(ArchitectureDenoiser(width=16, num_layers=1, num_heads=2).eval(), PriorDiscreteScheduler())
pipe.set_progress_bar_config(disable=True)
proposer = Proposer(pipe, "nas-bench-201", "cifar100", state=sys.argv[1])
for turn in range(3):
    asked = proposer.ask(2)
    print(*asked, sep="\\n", flush=True)
    proposer.tell(asked, [float(sys.argv[2]) + turn, 10.0])
"""


def test_processes_share_a_state_file(untrained: PKGenPipeline, tmp_path: Path) -> None:
    """None proposes what another did, and all 18 scores of three processes are kept."""
    state = tmp_path / "state.json"
    with ThreadPoolExecutor(3) as pool:
        done = list(pool.map(lambda k: run_fresh(SHARING, str(state), str(20 * k)), range(3)))
    assert [process.returncode for process in done] == [0, 0, 0], [process.stderr for process in done]
    proposed = "".join(process.stdout for process in done).split()
    assert len(proposed) == len(set(proposed)) == 18
    after = Proposer(untrained, SPACE, TASK, state=state)
    assert set(map(str, after.architectures)) == set(proposed) and not after.pending
    assert sorted(after.scores) == sorted([20.0 * k + turn for k in range(3) for turn in range(3)] + [10.0] * 9)


def test_what_changed_underneath_is_refused(untrained: PKGenPipeline, tmp_path: Path) -> None:
    state = tmp_path / "state.json"
    proposer = Proposer(untrained, SPACE, TASK, state=state)
    proposer.tell([BEST], [GOOD])
    text = state.read_text()
    state.write_text(text.replace("70.0", "71.0"))
    for call in (proposer.ask, lambda: proposer.tell([BEST], [GOOD])):
        with pytest.raises(ValueError, match="has changed: it no longer begins with the 1 scores"):
            call()
    assert "71.0" in state.read_text() and proposer.scores == [GOOD] and not proposer.pending
    state.unlink()
    with pytest.raises(ValueError, match="is gone, though it held 1 scores"):
        proposer.ask()
    assert not state.exists()
    state.write_text(text)
    proposer.ask()
    other = json.loads(text) | {"fingerprint": "0" * 64}
    state.write_text(json.dumps(other))
    with pytest.raises(ValueError, match="another space that is called 'nas-bench-201' too"):
        Proposer(untrained, SPACE, TASK, state=state)


def test_threads_share_a_proposer(untrained: PKGenPipeline) -> None:
    proposer = Proposer(untrained, SPACE)
    with ThreadPoolExecutor(6) as pool:
        asked = [a for part in pool.map(lambda _: proposer.ask(3), range(6)) for a in part]
    assert len(set(asked)) == 18 and set(proposer.pending) == set(asked)


def test_the_state_stays_where_it_was(
    untrained: PKGenPipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    proposer = Proposer(untrained, SPACE, state="run/state.json")
    asked = proposer.ask(2)
    monkeypatch.chdir(tmp_path / "elsewhere")
    proposer.tell(asked, [1.0, 2.0])
    assert not list((tmp_path / "elsewhere").iterdir())
    assert Proposer(untrained, SPACE, state=tmp_path / "run" / "state.json").scores == [1.0, 2.0]


def test_scores_that_hardly_differ_or_are_huge(untrained: PKGenPipeline) -> None:
    proposer = Proposer(untrained, SPACE, seed=np.int64(3))  # type: ignore[arg-type]
    asked = proposer.ask(12)
    with pytest.raises(ValueError, match="scores must be finite numbers"):
        proposer.tell(asked, [-1e39] * 12)
    proposer.tell(asked, [1e9 + 1e-3 * k for k in range(12)])
    assert proposer.ask(2)
    for seed in (None, "a", 1.5, 2**60):
        with pytest.raises(ValueError, match="seed must be a whole number from 0"):
            Proposer(untrained, SPACE, seed=seed)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="architectures must be a list of them, in an order|in the order of the arch"):
        Prior.from_evaluations(SPACE, set(asked), range(12))  # type: ignore[arg-type]


def test_scores_as_people_hold_them(untrained: PKGenPipeline) -> None:
    cells = [Architecture(SPACE, (k, 3, 3, 3, 3, 3)) for k in range(4)]
    proposer = Proposer(untrained, SPACE)
    proposer.tell(
        pd.Series(map(str, cells), index=[4, 9, 2, 7]), pd.Series([1.0, 2.0, np.nan, 4.0], index=[4, 9, 2, 7])
    )
    assert proposer.scores == [1, 2, 4] and proposer.failures == cells[2:3]
    proposer.tell([(4, 3, 3, 3, 3, 3)], torch.tensor([5]))
    assert proposer.scores[-1] == 5 and proposer.ask(np.int64(2))  # type: ignore[arg-type]


class OneInMany(SearchSpace):
    def is_valid(self, indices: torch.Tensor) -> torch.Tensor:
        return (indices == 2).all(1)


@pytest.mark.parametrize("length", [3, 12])
def test_a_space_with_hardly_any_valid_architecture(untrained: PKGenPipeline, length: int) -> None:
    operations = (Choice("none", "zero"), Choice("skip", "identity"), Choice("conv", "convolution", kernel=3))
    slots = [Slot(f"{v}", "operation", operations, reads=(v - 1,), writes=v) for v in range(1, length + 1)]
    space = OneInMany("one-in-many", slots, {}, "none")
    proposer = Proposer(untrained, space)
    if length == 3:
        assert proposer.ask() == [Architecture(space, [2, 2, 2])]
    with pytest.raises(ValueError, match="^2 architectures .*were asked for, but"):
        proposer.ask(2)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_file_is_a_state_or_a_clear_error(untrained: PKGenPipeline, tmp_path: Path, data: st.DataObject) -> None:
    state = tmp_path / "fuzz.json"
    good = {"space": SPACE, "task": None, "seed": 0, "told": [[BEST, GOOD], [BEST, None]], "pending": [BEST]}
    anything = st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=20) | st.just(BEST),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
        max_leaves=8,
    )
    changed = good | data.draw(st.dictionaries(st.sampled_from(sorted(good)), anything, max_size=2))
    text = data.draw(st.sampled_from([json.dumps(changed), json.dumps(data.draw(anything))]))
    cut = data.draw(st.integers(0, len(text)))
    state.write_text(data.draw(st.sampled_from([text, text[:cut], "[" * 100_000, text + text])))
    before = state.read_text()
    try:
        proposer = Proposer(untrained, SPACE, state=state)
    except ValueError as error:
        assert str(state) in str(error)
    else:
        assert all(np.isfinite(proposer.scores))
    assert state.read_text() == before


def test_a_space_of_few_architectures_is_used_up(untrained: PKGenPipeline) -> None:
    operations = (Choice("none", "zero"), Choice("skip", "identity"), Choice("conv", "convolution", kernel=3))
    slots = [Slot(f"{v}", "operation", operations, reads=(v - 1,), writes=v) for v in (1, 2)]
    space = SearchSpace(
        "tiny",
        slots,
        {"mine": Task("image-classification", chance_score=0.0, num_classes=2, image_size=8)},
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
    with pytest.raises(ValueError, match="is of the task 'cifar100', not 'cifar10'; use another file"):
        Proposer(untrained, SPACE, "cifar10", state=state)
    with pytest.raises(ValueError, match="is of the seed 0, not 1"):
        Proposer(untrained, SPACE, TASK, seed=1, state=state)
    for damaged in (text[:-20], "[]", '{"told": 3}', text.replace("70.0", '"x"')):
        state.write_text(damaged)
        with pytest.raises(ValueError, match="is not a state that a Proposer wrote, or is damaged"):
            Proposer(untrained, SPACE, TASK, state=state)
    with pytest.raises(ValueError, match="prior is of nas-bench-graph"):
        Proposer(untrained, SPACE, TASK, prior=Prior.absent("nas-bench-graph"))
