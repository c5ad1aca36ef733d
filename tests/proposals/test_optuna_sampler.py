"""Optuna's sampler: the same proposals as ask and tell, from the trials of a study that processes share."""

from __future__ import annotations

import math
import multiprocessing
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import optuna
import pytest
import torch
from fresh import run_fresh
from optuna.pruners import HyperbandPruner
from optuna.samplers import PartialFixedSampler, TPESampler
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState, create_trial

import pkgen_hf
from pkgen_hf import Architecture, PKGenPipeline, PKGenSampler, Proposer, ScoreTable
from pkgen_hf.proposals.optuna_trials import Parameters, Trials
from pkgen_hf.proposals.record import Record
from pkgen_hf.spaces import Choice, SearchSpace, Slot, get_space

SPACE, TASK = "nas-bench-201", "cifar100"
NUM_TRIALS, NUM_PROCESSES = 3, 3


@pytest.fixture(scope="module", autouse=True)
def quiet() -> Iterator[None]:
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    yield
    optuna.logging.set_verbosity(before)


@pytest.fixture(scope="module")
def sampler(pipe: PKGenPipeline) -> PKGenSampler:
    return PKGenSampler(pipe, SPACE, TASK)


def score(table: ScoreTable, architecture: Architecture) -> float:
    return float(table.values(architecture.rows, TASK))


def ask_and_tell(sampler: PKGenSampler) -> Proposer:
    """As the sampler, with the same pool, which is generated once."""
    candidates = sampler._candidates
    proposer = Proposer(candidates.pipe, SPACE, TASK, seed=candidates.seed)
    proposer._candidates = candidates
    return proposer


def proposed(study: optuna.Study, sampler: PKGenSampler) -> Architecture:
    """What the next trial is, which is kept running."""
    return sampler.architecture(study.ask())


def random_cells(num: int, seed: int = 0) -> list[Architecture]:
    """Distinct random cells of NAS-Bench-201."""
    space = get_space(SPACE)
    rows = space.sample(4 * num, torch.Generator().manual_seed(seed))
    return list(dict.fromkeys(Architecture.from_batch(space, rows[space.is_valid(rows)])))[:num]


# ---------------------------------------------------------------- the same as ask and tell


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
def test_proposes_what_ask_and_tell_does(
    pipe: PKGenPipeline, sampler: PKGenSampler, cell_table: ScoreTable, direction: str
) -> None:
    """Trial by trial, with failures and one that is running; it finds the best hundredth."""
    proposer = Proposer(pipe, SPACE, TASK) if direction == "maximize" else ask_and_tell(sampler)
    sign = 1 if direction == "maximize" else -1
    study = optuna.create_study(direction=direction, sampler=sampler)
    assert proposed(study, sampler) == proposer.ask()[0]
    for number in range(4):
        trial, (asked,) = study.ask(), proposer.ask()
        architecture = sampler.architecture(trial)
        assert architecture == asked and architecture.is_valid
        if number == 1:
            study.tell(trial, state=TrialState.FAIL)
            proposer.tell([asked], [math.nan])
        else:
            study.tell(trial, sign * score(cell_table, architecture))
            proposer.tell([asked], [score(cell_table, architecture)])
    best = sampler.architecture(study.best_trial)
    assert best == proposer.best[0] and cell_table.ranks(torch.tensor([study.best_value * sign]), TASK) < 0.01


def test_added_and_enqueued_trials_are_evidence(cell_table: ScoreTable, sampler: PKGenSampler) -> None:
    cells = random_cells(100)
    study, proposer = optuna.create_study(direction="maximize", sampler=sampler), ask_and_tell(sampler)
    study.add_trials([sampler.evaluated(str(cell), score(cell_table, cell)) for cell in cells[:98]])
    for cell in cells[98:]:
        study.enqueue_trial(sampler.params(cell))
    study.optimize(lambda trial: score(cell_table, sampler.architecture(trial)), n_trials=1)
    assert sampler.architecture(study.trials[98]) == cells[98]
    proposer.tell(cells[:99], [score(cell_table, cell) for cell in cells[:99]])
    study.ask()  # the other enqueued one runs
    assert not study.get_trials(states=[TrialState.WAITING])
    proposer._record = proposer._record.asked(cells[99:])
    assert proposed(study, sampler) == proposer.ask()[0]


def test_what_waits_is_not_proposed(sampler: PKGenSampler) -> None:
    study = optuna.create_study(direction="maximize", sampler=sampler)
    first = proposed(study, sampler)
    other = optuna.create_study(direction="maximize", sampler=sampler)
    other.ask()  # has no architecture yet
    other.enqueue_trial(sampler.params(first))
    trials = Trials(Parameters(sampler.space), "other", other.trials, 1)
    assert trials.record().pending == (first,)
    assert trials.numbers_of(first) == [1]


def test_the_rest_of_a_partly_enqueued_trial_is_proposed(sampler: PKGenSampler, cell_table: ScoreTable) -> None:
    study = optuna.create_study(direction="maximize", sampler=sampler)
    fixed = [{"0->1": "none", "2->3": "none"}, {"0->3": "avg_pool_3x3"}, {"0->3": "none", "1->3": "none"}]
    for params in (*fixed, fixed[0]):
        study.enqueue_trial(params)
    study.optimize(lambda trial: score(cell_table, sampler.architecture(trial)), n_trials=5)
    for trial, params in zip(study.trials, (*fixed, fixed[0]), strict=False):
        assert {name: trial.params[name] for name in params} == params
    cells = [sampler.architecture(trial) for trial in study.trials]
    assert len(set(cells)) == 5 and all(cell.is_valid for cell in cells)
    study.enqueue_trial(dict.fromkeys(["0->1", "0->2", "0->3"], "none"))  # nothing reaches the output
    with pytest.raises(ValueError, match="^1 architectures of nas-bench-201 with the fixed choices were asked"):
        sampler.architecture(study.ask())


def test_other_samplers_and_parameters(sampler: PKGenSampler, cell_table: ScoreTable) -> None:
    """The objective is the same for other samplers; parameters that are no slots are random, the same each time."""

    def objective(trial: optuna.Trial) -> float:
        rate = trial.suggest_float("rate", 1e-3, 1e-1, log=True)
        architecture = sampler.architecture(trial)
        return score(cell_table, architecture) if architecture.is_valid and rate else 0.0

    study = optuna.create_study(direction="maximize", sampler=TPESampler(seed=0))
    study.optimize(objective, n_trials=12)
    assert set(study.trials[0].params) == {"rate", *(slot.name for slot in sampler.space.slots)}
    study.sampler = sampler
    study.optimize(objective, n_trials=2)
    again = optuna.create_study(direction="maximize", sampler=pickle.loads(pickle.dumps(sampler)))
    again.add_trials(study.trials[:12])
    again.optimize(objective, n_trials=2)
    assert [trial.params for trial in again.trials[12:]] == [trial.params for trial in study.trials[12:]]
    assert study.trials[12].params["rate"] != study.trials[13].params["rate"]
    study.sampler = PartialFixedSampler({"0->1": "skip_connect"}, sampler)
    study.optimize(objective, n_trials=1)
    assert study.trials[14].params["0->1"] == "skip_connect"


# ---------------------------------------------------------------- what trials say


def finished(sampler: PKGenSampler, cell: Architecture, state: TrialState, **fields: Any) -> optuna.trial.FrozenTrial:
    trial = sampler.evaluated(cell, 0.0)
    return create_trial(state=state, params=trial.params, distributions=trial.distributions, **fields)


@pytest.mark.parametrize("sign", [1, -1])
def test_pruned_trials_rank_between_complete_and_failed_ones(sampler: PKGenSampler, sign: int) -> None:
    direction = "maximize" if sign == 1 else "minimize"
    study = optuna.create_study(direction=direction, sampler=sampler)
    cells = random_cells(9)

    def pruned(cell: Architecture, reported: dict[int, float]) -> None:
        steps = {step: sign * value for step, value in reported.items()}
        study.add_trial(finished(sampler, cell, TrialState.PRUNED, intermediate_values=steps))

    pruned(cells[0], {0: 99.0, 5: 20.0})
    pruned(cells[1], {0: 1.0, 5: 30.0})
    pruned(cells[2], {7: 10.0})
    pruned(cells[3], {})
    pruned(cells[4], {7: math.nan})
    study.add_trial(finished(sampler, cells[5], TrialState.FAIL))
    study.add_trial(sampler.evaluated(cells[6], sign * 50.0))
    study.add_trial(sampler.evaluated(cells[7], sign * 40.0))
    study.add_trial(sampler.evaluated(cells[8], math.inf))
    pruned(cells[6], {9: 1.0})  # complete once: it does not count
    found = Trials(Parameters(sampler.space), "mine", study.trials, sign).record()
    assert sorted(found.means, key=found.means.__getitem__, reverse=True)[:7] == [
        cells[k] for k in (6, 7, 2, 4, 1, 0, 3)
    ]
    assert found.means[cells[6]] == 50.0 and set(found.failures) == {cells[5], cells[8]}
    assert proposed(study, sampler) not in cells


def test_a_failed_training_that_was_repeated_has_its_score(sampler: PKGenSampler) -> None:
    study = optuna.create_study(direction="maximize", sampler=sampler)
    (cell,) = random_cells(1)
    study.add_trial(finished(sampler, cell, TrialState.FAIL))
    study.add_trials([sampler.evaluated(cell, 60.0), sampler.evaluated(cell, 62.0)])
    assert Trials(Parameters(sampler.space), "mine", study.trials, 1).record().scores == {cell: 61.0}
    assert Trials(Parameters(sampler.space), "none", [], 1).record() == Record()


def test_an_objective_that_prunes_and_fails(sampler: PKGenSampler, cell_table: ScoreTable) -> None:
    """A whole run with a pruner, whose brackets see their own trials alone."""

    def objective(trial: optuna.Trial) -> float:
        value = score(cell_table, sampler.architecture(trial))
        if trial.number == 2:
            raise RuntimeError("out of memory")
        for step in (1, 2, 3):
            trial.report(value * step / 3, step)
            if trial.should_prune() or trial.number == 4:
                raise optuna.TrialPruned
        return value

    study = optuna.create_study(direction="maximize", sampler=sampler, pruner=HyperbandPruner(1, 3, 3))
    study.optimize(objective, n_trials=7, catch=RuntimeError)
    states = [trial.state for trial in study.trials]
    assert {TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL} == set(states)


# ---------------------------------------------------------------- conditional slots, small spaces


def test_slots_without_effect_have_no_parameter(pipe: PKGenPipeline) -> None:
    sampler, space = PKGenSampler(pipe, "hw-gpt-bench-s"), get_space("hw-gpt-bench-s")
    study = optuna.create_study(direction="minimize", sampler=sampler)
    study.enqueue_trial({"num_layers": "10"})
    study.optimize(lambda trial: sampler.architecture(trial).cost().parameters, n_trials=3)
    names = [slot.name for slot in space.slots]
    lengths = set()
    for trial in study.trials:
        architecture = sampler.architecture(trial)
        assert sampler.params(architecture) == trial.params and architecture == architecture.canonical()
        active = space.active_slots(architecture.rows)[0]
        assert list(trial.params) == [name for name, is_active in zip(names, active, strict=True) if is_active]
        lengths.add(len(trial.params))
    assert study.trials[0].params["num_layers"] == "10" and len(names) > min(lengths)
    assert len({sampler.architecture(trial) for trial in study.trials}) == 3
    other = optuna.create_study(direction="minimize", sampler=sampler)
    other.add_trials(study.trials)
    assert proposed(other, sampler) == proposed(study, sampler)
    study.enqueue_trial(study.best_params)  # once more, with another seed of the training
    assert sampler.sample_relative(study, study.trials[-1], sampler.infer_relative_search_space(study, trial)) == {}
    assert proposed(study, sampler) == sampler.architecture(study.best_trial)


def test_a_space_of_few_architectures_is_used_up(pipe: PKGenPipeline) -> None:
    operations = (Choice("none", "zero"), Choice("skip", "identity"), Choice("conv", "convolution", kernel=3))
    slots = [Slot(f"{v}", "operation", operations, reads=(v - 1,), writes=v) for v in (1, 2)]
    sampler = PKGenSampler(pipe, SearchSpace("tiny", slots, {}, null_choice="none"))
    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.optimize(lambda trial: sum(sampler.architecture(trial).indices), n_trials=9)
    assert len({sampler.architecture(trial) for trial in study.trials}) == 9
    with pytest.raises(ValueError, match=r"^study '.*' holds all 9 architectures of tiny: none is left to propose$"):
        sampler.architecture(study.ask())


# ---------------------------------------------------------------- errors


def test_studies_that_do_not_fit_are_refused(pipe: PKGenPipeline, sampler: PKGenSampler) -> None:
    study = optuna.create_study(study_name="two", directions=["maximize", "minimize"], sampler=sampler)
    with pytest.raises(ValueError, match="^PKGenSampler takes studies of one objective; 'two' has 2$"):
        sampler.architecture(study.ask())

    macro = PKGenSampler(pipe, "nas-bench-macro")
    study = optuna.create_study(study_name="blocks", sampler=sampler)
    study.add_trial(macro.evaluated("21102012", 93.0))
    with pytest.raises(ValueError, match="^study 'blocks' is not of nas-bench-201: its trial 0 has no parameter '0"):
        sampler.architecture(study.ask())

    transnas = PKGenSampler(pipe, "transnas-bench-101-micro")
    study = optuna.create_study(study_name="cells", sampler=sampler)
    study.add_trial(transnas.evaluated("64-41414-3_33_103", 54.0))
    wrong = "its parameter '0->1' has none, skip_connect, nor_conv_1x1, nor_conv_3x3, not none, .*, avg_pool_3x3$"
    with pytest.raises(ValueError, match=wrong):
        sampler.architecture(study.ask())

    study = optuna.create_study(study_name="numbers", sampler=TPESampler())
    study.optimize(lambda trial: trial.suggest_int("0->1", 0, 4), n_trials=1)
    study.sampler = sampler
    with pytest.raises(ValueError, match="its parameter '0->1' has IntDistribution.*, not none, skip_connect"):
        sampler.architecture(study.ask())


def test_arguments_are_checked(pipe: PKGenPipeline, sampler: PKGenSampler) -> None:
    with pytest.raises(ValueError, match="unknown task of nas-bench-201: 'cifar1'. Did you mean 'cifar10'"):
        PKGenSampler(pipe, SPACE, "cifar1")
    with pytest.raises(ValueError, match="seed must be a whole number from 0"):
        PKGenSampler(pipe, SPACE, seed=-1)
    with pytest.raises(ValueError, match="is not of the space nas-bench-201"):
        sampler.params(Architecture.from_string("nas-bench-macro", "21102012"))
    with pytest.raises(ValueError, match="is not a nas-bench-201 string"):
        sampler.evaluated("|none~0|", 1.0)


def test_without_optuna_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    code = "import pkgen_hf; print('PKGenSampler' in pkgen_hf.__all__, 'Proposer' in pkgen_hf.__all__)"
    hidden = "import importlib.util as u; f = u.find_spec; u.find_spec = lambda n: None if n == 'optuna' else f(n); "
    done = subprocess.run([sys.executable, "-c", hidden + code], capture_output=True, text=True, check=True)
    assert done.stdout == "False True\n"

    class Hidden:
        @staticmethod
        def find_spec(name: str, *_: Any) -> None:
            if name.partition(".")[0] == "optuna":
                raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    ours = [f"pkgen_hf.proposals.{name}" for name in ("optuna_sampler", "optuna_trials")]
    for name in [name for name in sys.modules if name.partition(".")[0] == "optuna" or name in ours]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(vars(pkgen_hf), "PKGenSampler")
    monkeypatch.setattr(sys, "meta_path", [Hidden, *sys.meta_path])
    with pytest.raises(ModuleNotFoundError, match=r"^PKGenSampler is .*: pip install 'pkgen-hf\[optuna\]'$"):
        _ = pkgen_hf.PKGenSampler


# ---------------------------------------------------------------- processes and threads

Storage = Callable[[Path], optuna.storages.BaseStorage]


def journal(folder: Path) -> optuna.storages.BaseStorage:
    return optuna.storages.JournalStorage(JournalFileBackend(str(folder / "journal.log")))


def sqlite(folder: Path) -> optuna.storages.BaseStorage:
    return optuna.storages.RDBStorage(f"sqlite:///{folder / 'study.db'}", {"connect_args": {"timeout": 60}})


def work(storage: Storage, folder: Path, sampler: PKGenSampler, table: ScoreTable) -> None:
    """What a worker does; the process has its own sampler, of which it shares nothing."""
    study = optuna.load_study(study_name="shared", storage=storage(folder), sampler=sampler)
    study.optimize(lambda trial: score(table, sampler.architecture(trial)), n_trials=NUM_TRIALS)


@pytest.mark.parametrize("storage", [journal, sqlite])
def test_processes_share_a_study(
    sampler: PKGenSampler, cell_table: ScoreTable, tmp_path: Path, storage: Storage
) -> None:
    """They ask at the same moment, and in vain for almost no time otherwise; no cell is proposed twice."""
    optuna.create_study(study_name="shared", storage=storage(tmp_path), direction="maximize")
    _ = sampler._candidates.pool
    forked = multiprocessing.get_context("fork")
    workers = [
        forked.Process(target=work, args=(storage, tmp_path, sampler, cell_table)) for _ in range(NUM_PROCESSES)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(timeout=300)
    assert [worker.exitcode for worker in workers] == [0] * NUM_PROCESSES
    study = optuna.load_study(study_name="shared", storage=storage(tmp_path), sampler=sampler)
    cells = [sampler.architecture(trial) for trial in study.trials]
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * NUM_PROCESSES * NUM_TRIALS
    assert len(set(cells)) == len(cells)
    assert cell_table.ranks(torch.tensor([study.best_value]), TASK) < 0.01


FRESH = """
import sys
import optuna
from optuna.storages.journal import JournalFileBackend
from pkgen_hf import PKGenPipeline, PKGenSampler

pipe = PKGenPipeline.from_pretrained()
pipe.set_progress_bar_config(disable=True)
sampler = PKGenSampler(pipe, "nas-bench-201", "cifar100")
storage = optuna.storages.JournalStorage(JournalFileBackend(sys.argv[1]))
study = optuna.load_study(study_name="mine", storage=storage, sampler=sampler)
print(*(sampler.architecture(study.ask()) for _ in range(2)), sep="\\n")
"""


def test_a_study_goes_on_in_another_process(sampler: PKGenSampler, cell_table: ScoreTable, tmp_path: Path) -> None:
    """With the proposals that this one would make."""
    study = optuna.create_study(study_name="mine", storage=journal(tmp_path), direction="maximize", sampler=sampler)
    study.optimize(lambda trial: score(cell_table, sampler.architecture(trial)), n_trials=3)
    study.ask()
    here = optuna.create_study(direction="maximize", sampler=pickle.loads(pickle.dumps(sampler)))
    here.add_trials(study.trials[:3])
    expected = [proposed(here, here.sampler), proposed(here, here.sampler)]
    done = run_fresh(FRESH, str(tmp_path / "journal.log"))
    assert done.returncode == 0 and done.stdout.split() == [str(cell) for cell in expected], done.stderr


class Lockstep(optuna.storages.InMemoryStorage):
    """Threads go on together once each has announced a proposal, and again once each has read what others did."""

    def __init__(self) -> None:
        super().__init__()
        self.calls, self.barrier = threading.local(), threading.Barrier(3, timeout=60)

    def go_together(self, steps: set[str]) -> None:
        """From here on, in this thread."""
        self.calls.left = steps

    def _wait(self, step: str, after: str | None = None) -> None:
        left = getattr(self.calls, "left", set())
        if step in left and after not in left:
            left.remove(step)
            self.barrier.wait()

    def set_trial_system_attr(self, *arguments: Any) -> None:
        super().set_trial_system_attr(*arguments)
        self._wait("announced")

    def get_all_trials(self, *arguments: Any, **options: Any) -> list[optuna.trial.FrozenTrial]:
        trials = super().get_all_trials(*arguments, **options | {"deepcopy": True})
        self._wait("read", after="announced")
        return trials


def test_workers_that_announce_the_same_propose_anew(sampler: PKGenSampler) -> None:
    """Each announces the best before it sees the others: then they take the next ones, by the number of the trial."""
    best, storage = ask_and_tell(sampler).ask(4), Lockstep()
    name = optuna.create_study(direction="maximize", storage=storage).study_name

    def worker(_: int) -> tuple[int, Architecture]:
        own = pickle.loads(pickle.dumps(sampler))
        trial = optuna.load_study(study_name=name, storage=storage, sampler=own).ask()
        storage.go_together({"announced", "read"})
        return trial.number, own.architecture(trial)

    with ThreadPoolExecutor(3) as pool:
        assert sorted(pool.map(worker, range(3)), key=lambda found: found[0]) == list(enumerate(best[1:]))


def test_threads_share_a_sampler(sampler: PKGenSampler) -> None:
    study = optuna.create_study(direction="maximize", sampler=sampler)
    with ThreadPoolExecutor(3) as pool:
        cells = list(pool.map(lambda _: proposed(study, sampler), range(4)))
    assert len(set(cells)) == 4
