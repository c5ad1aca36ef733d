"""Ask and tell, for a budget of a few trainings: architectures are proposed, and their scores improve the next ones.

What is carried over from other tasks and spaces says what to try first; from the first reported score on it counts
as far as scores agree with it. Proposals are those of the highest upper confidence bound of the posterior that a call
of the pipeline with evaluations ranks by, and a few controls at first. No score is read but those that were reported.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..architecture import Architecture
from ..files import user_path
from ..inputs import on_cpu, whole_number
from ..pipeline_pkgen import PKGenPipeline
from ..priors.prior import Prior
from ..spaces import SearchSpace, TaskLike
from .candidates import Candidates
from .record import Record, to_evaluations
from .state_file import StateFile


class Proposer:
    """Proposes architectures to train and learns from their scores, one batch at a time.

    ``ask`` and ``tell`` may be called in any order and number; nothing but these evaluations is learnt from. The
    same checkpoint, seed and scores give the same proposals, asked for in the same batches, in one run or resumed. An
    architecture that is evaluated several times (with several seeds) has the mean of its scores; a score of NaN is a
    training that failed, ranked below all others.

    Parameters
    ----------
    pipe
        The pipeline that generates architectures. Its own priors, without the target's labels, are the start.
    space, task
        What the architectures are for, as in a call of the pipeline; all fields of a `Task` of the user's own are kept
        in the state file.
    prior
        The start, in place of the pipeline's own choice.
    seed
        Everything random follows from it and from what was reported.
    state
        A JSON file that every `ask` and `tell` reads and writes, so that a run can be resumed, and several processes
        can share one: none proposes what another has asked for, and each learns from all scores. While one of them
        reads and writes, the others wait (for a lock on the file ``.NAME.lock`` beside it).

    Attributes
    ----------
    architectures : list of Architecture, those evaluated, in order
    scores : list of float, the mean score of each
    failures : list of Architecture, those whose trainings all failed
    pending : list of Architecture, those asked for, by any process, and not evaluated yet

    Raises
    ------
    ValueError
        For an unknown space or task, or a state file that is damaged or of another space, task or seed.
    """

    def __init__(
        self,
        pipe: PKGenPipeline,
        space: str | SearchSpace,
        task: TaskLike | None = None,
        prior: Prior | None = None,
        seed: int = 0,
        state: str | Path | None = None,
    ) -> None:
        self._candidates = start = Candidates.of(pipe, space, task, prior, seed)
        self.pipe, self.space, self.task = pipe, start.space, start.task
        self.prior, self.seed = start.prior, start.seed
        self.state = None if state is None else user_path(state).absolute()
        self._file = None if self.state is None else StateFile(self.state, self.space, self.task, self.seed)
        self._record = Record()
        self._lock = threading.RLock()
        with self._shared(writes=False):
            pass

    @on_cpu
    def ask(self, num: int = 1) -> list[Architecture]:
        """The next architectures to train, in order; none of them is evaluated or pending.

        The most promising come first. Every fifth of the first twenty, told ones included, is a control: a random one
        of the half that was expected to be worse before any score, without which scores could not show that what is
        carried over is wrong. If too few of that half were told, later ones make up for it.

        Raises
        ------
        ValueError
            If `num` is not a whole number from 1, or the space has no more.
        """
        num = whole_number("num", num)
        _ = self._candidates.pool  # generated before others are made to wait
        with self._shared():
            self._check_left(num)
            asked = Architecture.from_batch(self.space, self._candidates.best(self._record, num))
            self._record = self._record.asked(asked)
        return asked

    def _check_left(self, num: int) -> None:
        """Raise ValueError if fewer than `num` architectures of the space are left."""
        used = sum(architecture.is_valid for architecture in self._record.taken)
        if num > (left := self.space.num_architectures - used):
            raise ValueError(
                f"{num:,} architectures were asked for, but {self.space.name} holds "
                f"{self.space.num_architectures:,}, of which {used:,} were told or are pending: {left:,} are left"
            )

    def tell(self, architectures: Sequence[Architecture | str], scores: Sequence[float]) -> None:
        """Report evaluations: a score of each architecture, higher is better; NaN or None if its training failed.

        Architectures that were not asked for count as well; of one that was evaluated before, scores are averaged.

        Raises
        ------
        ValueError
            For lengths that differ, an infinite score, or an architecture of another space; nothing is kept of such a
            call.
        """
        evaluations = to_evaluations(self.space, architectures, scores)
        with self._shared():
            self._record = self._record.told(evaluations)

    @property
    def architectures(self) -> list[Architecture]:
        return list(self._record.scores)

    @property
    def scores(self) -> list[float]:
        return list(self._record.scores.values())

    @property
    def failures(self) -> list[Architecture]:
        return self._record.failures

    @property
    def pending(self) -> list[Architecture]:
        return list(self._record.pending)

    @property
    def best(self) -> tuple[Architecture, float]:
        """The architecture of the highest score, and that score; ValueError if none was reported."""
        if not self._record.scores:
            failed = len(self.failures)
            raise ValueError(f"no training has succeeded yet, {failed} failed" if failed else "nothing was told yet")
        return max(self._record.scores.items(), key=lambda item: item[1])

    @contextlib.contextmanager
    def _shared(self, writes: bool = True) -> Iterator[None]:
        """Hold the state file, if there is one: what others wrote is read first, what changes is written at the end.

        If something fails, nothing is written, and what is held here stays as it was.
        """
        with self._lock:
            before = self._record
            try:
                if self._file is None or not (writes or self._file.path.exists()):
                    yield
                    return
                with self._file.held():
                    self._record = self._file.read(self._record)
                    yield
                    if writes:
                        self._file.write(self._record)
            except BaseException:
                self._record = before
                raise
