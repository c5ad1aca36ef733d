"""Rows of a protocol on a space: every method in every run of every condition."""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from pkgen_hf import ScoreTable
from pkgen_hf.benchmarks.sources import tables_in
from pkgen_hf.budgets.limits import Limits
from pkgen_hf.evaluation.judge import Judge
from pkgen_hf.evaluation.methods import METHODS, Method
from pkgen_hf.evaluation.problem import Problem
from pkgen_hf.evaluation.protocols import Condition, Protocol
from pkgen_hf.evaluation.runs import Knowledge, budgets_of, labels_read, problem_of, search, solve
from result_files import Row
from trainings import knowledge, of_checkpoint, tasks_of, training_record

LEAST_TAU = 0.5  # of a surrogate, in cross-validation, that judges
MOST_UNMEASURED = 0.05  # share of architectures with a choice of which the surrogate knows nothing


def load(space: str, options: argparse.Namespace) -> ScoreTable:
    """Load the table that results are looked up in: --table, a table in --data, or the PyPI package."""
    return ScoreTable.load(space, options.table or tables_in(options.data).get(space))


class Comparison:
    """A protocol on a space.

    Parameters
    ----------
    protocol
        Which conditions there are.
    table
        Of the space.
    options
        Of the command: ``runs``, ``trainings``, ``task``, ``labels``, ``quantiles``, and those of trainings.

    Attributes
    ----------
    used : dict
        Every training that was used, by its name.
    """

    def __init__(self, protocol: Protocol, table: ScoreTable, options: argparse.Namespace) -> None:
        self.protocol, self.table, self.options = protocol, table, options
        self.used: dict[str, Knowledge] = {}
        self._judges: dict[str, Judge] = {}

    def judge(self, task: str) -> Judge:
        """What judges the architectures of a task."""
        if task not in self._judges:
            self._judges[task] = Judge(self.table, task)
        return self._judges[task]

    def conditions(self) -> Iterator[Condition]:
        """Conditions of the protocol, with --labels, --quantiles or --budget in place of its own numbers.

        A search has one for all numbers of labels.
        """
        protocol, options = self.protocol, self.options
        if protocol.num_labels != (0,):
            labels = tuple(options.labels or protocol.num_labels)
            protocol = replace(protocol, num_labels=labels[-1:] if protocol.is_search else labels)
        if protocol.quantiles != (None,):
            protocol = replace(protocol, quantiles=tuple(options.quantiles or protocol.quantiles))
            if options.budget:
                for setting in protocol.settings:
                    yield from (Condition(setting, budgets=budgets) for budgets in options.budget)
                return
        yield from protocol.conditions()

    def parts(self) -> dict[str, tuple[Condition, str]]:
        """Every condition and task that the setting has trainings for, by a name."""
        return {
            f"{condition} {task}": (condition, task)
            for condition in self.conditions()
            for task in tasks_of(condition.setting, self.table.space.name, self.table.tasks)
            if task in (self.options.task or self.table.tasks)
            and self._was_read(condition.setting, task)
            and self._can_judge(task)
        }

    def _was_read(self, setting: str, task: str) -> bool:
        """Whether the checkpoint has read a task's labels, where the setting says so."""
        if setting != "same-benchmark":
            return True
        read = of_checkpoint(self.options.checkpoint).labels_read
        return f"{self.table.space.name}/{task}" in read

    def _can_judge(self, task: str) -> bool:
        """Whether scores or a surrogate that ranks well enough are there; says so once if not."""
        judge = self.judge(task)
        error = judge.error
        if judge.unmeasured > MOST_UNMEASURED:
            print(f"{task} is left out: {100 * judge.unmeasured:.0f} % of architectures have a choice that none of "
                  f"the {len(judge.table.indices):,} measured ones has, and no surrogate can judge them")  # fmt: skip
            return False
        if error is None or error["kendall_tau"] >= LEAST_TAU:
            return True
        print(f"{task} is left out: the surrogate fitted to its {error['n']:,} scores has Kendall's tau "
              f"{error['kendall_tau']:.2f}, and below {LEAST_TAU} it judges nothing")  # fmt: skip
        return False

    def rows(
        self,
        condition: Condition,
        task: str,
        methods: Iterable[Method] = METHODS.values(),
        knowledge: Callable[[str, str, str, int, argparse.Namespace], Knowledge] = knowledge,
    ) -> list[Row]:
        """Rows of one condition and task: of each run and method.

        `knowledge` gives the pipeline of a run, see `trainings.knowledge`.
        """
        judge = self.judge(task)
        budgets = budgets_of(condition, self.table.space, task)
        limits = Limits(self.table.space, task, **budgets)
        rows = []
        for run in range(self.options.runs):
            own = knowledge(condition.setting, self.table.space.name, task, run, self.options)
            self.used[own.training] = own
            given = replace(condition, num_labels=0) if self.protocol.is_search else condition
            problem = problem_of(given, judge, own, budgets, limits, run)
            cell = {"setting": condition.setting, "task": task, "quantile": condition.quantile}
            cell |= {"budget": str(limits) or None, "scores": judge.scores_are, "run": run}
            with warnings.catch_warnings():  # that no prior applies, which the rows show
                warnings.simplefilter("ignore", UserWarning)
                for method in methods:
                    if method.is_search == self.protocol.is_search and method.applies(problem):
                        for measured in self._measured(method, condition, problem, judge):
                            read = labels_read(method, judge, own, measured["num_labels"])
                            used = own.training if method.uses_pipeline(problem.given is not None) else None
                            rows.append(cell | {"method": method.id, "training": used} | measured | read)
        return rows

    def _measured(self, method: Method, condition: Condition, problem: Problem, judge: Judge) -> Iterator[Row]:
        if method.is_search:
            numbers = self.options.labels or self.protocol.num_labels
            yield from search(method, problem, judge, numbers)
        else:
            yield solve(method, problem, judge) | {"num_labels": condition.num_labels}

    def details(self) -> Row:
        """What a results file says of trainings and surrogates."""
        errors = {task: judge.error for task, judge in self._judges.items() if judge.error}
        records = {name: training_record(own.pipe) for name, own in self.used.items()}
        return {"trainings": records} | ({"surrogates": errors} if errors else {})
