"""For whoever can afford a few trainings: architectures are proposed, their scores are told, better ones are proposed.

The prior that is carried over says what to try first. From then on each score that was told counts three times: it
updates the prior that the denoiser writes from, its best architectures are noised a little and drawn again, and a
Gaussian process on all scores chooses among what was written. No score is read but those that were told.
"""

from __future__ import annotations

import contextlib
import json
import math
import threading
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock
from scipy.stats import norm, rankdata
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

from ..architecture import Architecture
from ..errors import TooFew, shortened, unknown
from ..files import user_path, write_json
from ..inputs import on_cpu, to_architecture, to_scores, whole_number
from ..pipeline_pkgen import PKGenPipeline
from ..priors.from_evaluations import MIN_EVALUATIONS
from ..priors.prior import Prior
from ..spaces import SearchSpace, get_space

POOL = 512  # architectures written from the carried-over prior, before any score is known
UPDATED = 128  # written from the updated prior, each time
ELITE, OFFSPRING = 8, 128  # best architectures that are noised, and how often each
ANYTHING = 64  # uniform random ones, for where the prior is wrong
FIRST = 10  # scores before which the denoiser's own ranking proposes
FAVOURITES, FAMILIAR = 4, 0.5  # of these so many the pipeline's own favourites, in a space at least so familiar
FILLING = tuple(4**k for k in range(3, 10))  # draws of random architectures, where candidates are too few
LARGEST_SEED, LARGEST_SCORE = 2**40, 1e30  # scores are computed with in 32 bits
CURIOSITY = 0.5  # standard deviations that count beside the mean: more tries what is uncertain


class Proposer:
    """Proposes architectures to train and learns from their scores, one batch at a time.

    ``ask`` and ``tell`` may be called in any order and number; nothing but these evaluations is learnt from. The
    same checkpoint, seed and scores give the same proposals, in one run or resumed. An architecture that is evaluated
    several times (with several seeds) has the mean of its scores; a score of NaN is a training that failed, ranked
    below all others.

    Parameters
    ----------
    pipe
        The pipeline that writes architectures. Its own priors, without the target's labels, are where it starts.
    space, task
        What the architectures are for, as in a call of the pipeline.
    prior
        Where it starts, in place of the pipeline's own choice.
    seed
        Everything random follows from it and from what was told.
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
        task: str | None = None,
        prior: Prior | None = None,
        seed: int = 0,
        state: str | Path | None = None,
    ) -> None:
        self.pipe, self.space, self.task = pipe, get_space(space), task
        self.seed = whole_number("seed", seed, 0, LARGEST_SEED)
        self._lock = threading.RLock()
        self.prior = pipe.select_prior(self.space, task, prior)
        self.state = None if state is None else user_path(state).absolute()
        self.pending: list[Architecture] = []
        self._evaluations: list[tuple[Architecture, float]] = []  # all that were told, in order; NaN is a failure
        self._first: torch.Tensor | None = None
        self._learn()
        with self._shared(writes=False):
            pass

    # ------------------------------------------------------------------ ask and tell

    @on_cpu
    def ask(self, num: int = 1) -> list[Architecture]:
        """The next architectures to train, best first; none of them is evaluated or pending.

        Raises
        ------
        ValueError
            If `num` is not a whole number from 1, or the space has no more.
        """
        num = whole_number("num", num)
        first = self._pool()
        with self._shared():
            taken = {*self.architectures, *self.failures, *self.pending}
            used = sum(architecture.is_valid for architecture in taken)
            if num > (left := self.space.num_architectures - used):
                raise ValueError(
                    f"{num:,} architectures were asked for, but {self.space.name} holds "
                    f"{self.space.num_architectures:,}, of which {used:,} were told or are pending: {left:,} are left"
                )
            candidates = self._candidates(first, taken, num)
            if len(self._known) < FIRST or len(set(self._known.values())) < 2:
                acquisition = self._denoiser_scores(candidates)
                if self.pipe.familiarity(self.space) >= FAMILIAR:  # candidates begin with the pipeline's own ranking
                    acquisition[: max(0, FAVOURITES - len(taken))] = np.inf
            else:
                acquisition = self._upper_confidence_bounds(candidates)
            best = np.argsort(-acquisition, kind="stable")[:num]
            asked = Architecture.from_batch(self.space, candidates[torch.from_numpy(best)])
            self.pending += asked
        return asked

    def tell(self, architectures: Sequence[Architecture | str], scores: Sequence[float]) -> None:
        """Report evaluations: a score of each architecture, higher is better; NaN or None if its training failed.

        Architectures that were not asked for count as well; of one that was evaluated before, scores are averaged.

        Raises
        ------
        ValueError
            For lengths that differ, an infinite score, or an architecture of another space; nothing is kept of such a
            call.
        """
        evaluations = self._checked(architectures, scores)
        with self._shared():
            self._evaluations += evaluations
            self._learn()

    def _checked(self, architectures: Sequence[Any], scores: Sequence[Any]) -> list[tuple[Architecture, float]]:
        if isinstance(architectures, (str, Architecture)):
            raise ValueError(
                f"tell takes a list of architectures and one of scores, got {shortened(architectures)} alone"
            )
        given, values = list(architectures), to_scores(scores).tolist()
        if len(given) != len(values):
            raise ValueError(f"{len(given)} architectures but {len(values)} scores")
        told = []
        for number, (one, score) in enumerate(zip(given, values, strict=True)):
            architecture = to_architecture(self.space, one, number)
            if abs(score) > LARGEST_SCORE:
                raise ValueError(
                    f"scores must be finite numbers, or NaN of a training that failed; that of "
                    f"{shortened(str(architecture))} is {score}"
                )
            told.append((architecture, score))
        return told

    def _learn(self) -> None:
        """Update `architectures`, `scores`, `failures` and `pending` from all evaluations."""
        values: dict[Architecture, list[float]] = {}
        for architecture, score in self._evaluations:
            values.setdefault(architecture, []).append(score)
        good = {a: [score for score in those if not math.isnan(score)] for a, those in values.items()}
        means = {a: math.fsum(those) / len(those) for a, those in good.items() if those}
        self.architectures, self.scores = list(means), list(means.values())
        self.failures = [a for a in values if a not in means]
        self._known = {a: means.get(a, -math.inf) for a in values}
        self.pending = [a for a in self.pending if a not in values]

    @property
    def best(self) -> tuple[Architecture, float]:
        """The architecture of the highest score told, and that score; ValueError if none was told."""
        if not self.scores:
            raise ValueError("nothing was told yet")
        at = int(np.argmax(self.scores))
        return self.architectures[at], self.scores[at]

    # ------------------------------------------------------------------ what is proposed

    def _generator(self) -> torch.Generator:
        """One that follows from the seed and from how many were told and are pending."""
        done = len(self._known) + len(self.pending)
        return torch.Generator().manual_seed(self.seed * 1_000_003 + done)

    def _rows(self) -> torch.Tensor:
        rows = [a.indices for a in self._known]
        return torch.tensor(rows, dtype=torch.long, device="cpu").reshape(-1, self.space.num_slots)

    def _values(self) -> np.ndarray:
        """Scores of `_rows`, minus infinity for failures."""
        return np.array(list(self._known.values()), dtype=np.float64)

    def _write(self, prior: Prior, num: int, generator: torch.Generator) -> torch.Tensor:
        """Distinct architectures by the pipeline, ``LongTensor (num, slots)``; fewer where it finds no more."""
        num = min(num, self.space.num_architectures)
        try:
            out = self.pipe(self.space, self.task, prior, num, num_candidates=1, generator=generator)
        except TooFew as error:
            return error.rows
        return torch.tensor([architecture.indices for architecture in out.architectures], device="cpu")

    def _pool(self) -> torch.Tensor:
        """What the pipeline writes before any score is known, ``LongTensor (POOL, slots)``."""
        if self._first is None:
            self._first = self._write(self.prior, POOL, torch.Generator().manual_seed(self.seed * 1_000_003))
        return self._first

    def _candidates(self, first: torch.Tensor, taken: set[Architecture], num: int) -> torch.Tensor:
        """Distinct valid architectures to choose from, at least `num`, ``LongTensor (candidates, slots)``."""
        generator = self._generator()
        parts = [first]
        if 2 * num > POOL:
            parts.append(self._write(self.prior, 2 * num, generator))
        if len(self._known) >= MIN_EVALUATIONS and len(np.unique(np.asarray(self.scores, np.float32))) > 1:
            known = self.task if self.task in self.space.tasks else None
            values = np.maximum(self._values(), min(self.scores))  # a failure is as bad as the worst
            prior = Prior.from_evaluations(self.space, self._rows(), values, known)
            parts.append(self._write(prior, UPDATED, generator))
            parts.append(self._noised(prior, generator))
            parts.append(self.space.sample(ANYTHING, generator))
        used = torch.tensor([a.indices for a in taken], dtype=torch.long, device="cpu")
        used_keys = self.space.keys(used.reshape(-1, self.space.num_slots)).numpy()
        for more in (0, *FILLING):  # random ones where nearly all of the space is known
            if more:
                listed = self.space.valid_rows
                parts.append(self.space.sample(more + 4 * num, generator) if listed is None else listed)
            rows = torch.cat(parts)
            rows = self.space.canonical(rows[self.space.is_valid(rows)])
            keys = self.space.keys(rows).numpy()
            _, unique = np.unique(keys, return_index=True)
            unique = np.sort(unique[~np.isin(keys[unique], used_keys)])
            if len(unique) >= num:
                return rows[torch.from_numpy(unique)]
            parts = [rows]
        raise ValueError(
            f"{num:,} architectures of {self.space.name} were asked for, but {len(unique):,} could be found beside "
            f"the {len(taken):,} that were told or are pending; ask for fewer"
        )

    def _noised(self, prior: Prior, generator: torch.Generator) -> torch.Tensor:
        """The best told with a little of the diffusion's own noise, ``LongTensor (ELITE * OFFSPRING, slots)``."""
        best = np.argsort(-self._values(), kind="stable")[: min(ELITE, len(self.scores))].copy()
        rows = self._rows()[torch.from_numpy(best)].repeat_interleave(OFFSPRING, 0)
        scheduler = self.pipe.scheduler
        last = scheduler.num_train_timesteps
        times = torch.randint(last // 8, last // 2, (len(rows),), generator=generator)
        return scheduler.add_noise(rows, times, scheduler.stationary(prior.distribution()), generator)

    # ------------------------------------------------------------------ how it is chosen

    def _denoiser_scores(self, rows: torch.Tensor) -> np.ndarray:
        """The denoiser's ranking under the prior it started from, ``(rows,)``."""
        return self.pipe.rank(self.space, rows, self.task, self.prior).double().numpy()

    def _features(self, rows: torch.Tensor) -> np.ndarray:
        """The space's own, and beside them, standardised: logarithms of costs, and the denoiser's scores."""
        beside = [self._denoiser_scores(rows)]
        with contextlib.suppress(NotImplementedError):  # a space of the user's own counts no costs
            for cost in (self.space.flops, self.space.parameters):
                beside.append(cost(rows).double().clamp(min=1).log().numpy())
        columns = np.stack(beside, axis=1)
        columns = (columns - columns.mean(0)) / np.maximum(columns.std(0), 1e-9)
        return np.concatenate([self.space.features(rows).double().numpy(), 0.5 * columns], axis=1)

    def _upper_confidence_bounds(self, candidates: torch.Tensor) -> np.ndarray:
        """By a Gaussian process on normal scores of the ranks of the evaluations, ``(candidates,)``."""
        number = len(self._known)
        features = self._features(torch.cat([self.space.canonical(self._rows()), candidates]))
        target = norm.ppf((rankdata(self._values()) - 0.5) / number)
        kernel = (
            ConstantKernel(1.0, (0.1, 10)) * RBF(2.0, (0.5, 20))
            + ConstantKernel(0.5, (1e-3, 10)) * RBF(10.0, (3, 100))
            + WhiteKernel(0.1, (1e-3, 1))
        )
        process = GaussianProcessRegressor(kernel, normalize_y=True, random_state=0)
        with warnings.catch_warnings():  # a length scale at its bound is no concern of the user's
            warnings.simplefilter("ignore", ConvergenceWarning)
            mean, deviation = process.fit(features[:number], target).predict(features[number:], return_std=True)
        return mean + CURIOSITY * deviation

    # ------------------------------------------------------------------ files

    @contextlib.contextmanager
    def _shared(self, writes: bool = True) -> Iterator[None]:
        """Hold the state file, if there is one: what others wrote is read first, what changes is written at the end.

        If something fails, nothing is written, and what is held here stays as it was.
        """
        with self._lock, self._unchanged_on_failure():
            if self.state is None or not (writes or self.state.exists()):
                yield
                return
            self.state.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(self.state.with_name(f".{self.state.name}.lock")):
                self._read(self.state)
                yield
                if writes:
                    self._save(self.state)

    @contextlib.contextmanager
    def _unchanged_on_failure(self) -> Iterator[None]:
        before = (list(self._evaluations), list(self.pending))
        try:
            yield
        except BaseException:
            self._evaluations, self.pending = before
            self._learn()
            raise

    def _save(self, path: Path) -> None:
        """Write the state under a temporary name, then rename."""
        content = {
            "space": self.space.name,
            "fingerprint": self.space.fingerprint,
            "task": self.task,
            "seed": self.seed,
            "told": [[str(a), None if math.isnan(score) else score] for a, score in self._evaluations],
            "pending": [str(a) for a in self.pending],
        }
        write_json(content, path, indent=1)

    def _read(self, path: Path) -> None:
        """Take over the evaluations of the file, of which those of this process must be the first."""
        if not path.exists():
            if self._evaluations or self.pending:
                raise ValueError(
                    f"{path} is gone, though it held {len(self._evaluations)} scores: put it back, or begin anew"
                )
            return
        told, pending = self._content(path)
        here = [(a, None if math.isnan(score) else score) for a, score in self._evaluations]
        there = [(a, None if math.isnan(score) else score) for a, score in told]
        if there[: len(here)] != here:
            raise ValueError(
                f"{path} has changed: it no longer begins with the {len(here)} scores that were told here. Another "
                f"run was written over it, or it was edited; put it back, or begin anew with another file"
            )
        self._evaluations, self.pending = told, pending
        self._learn()

    def _content(self, path: Path) -> tuple[list[tuple[Architecture, float]], list[Architecture]]:
        """Evaluations and pending architectures of a state file; ValueError if it is damaged or of another run."""
        damaged = f"{path} is not a state that a Proposer wrote, or is damaged"
        try:
            content: dict[str, Any] = json.loads(path.read_text())
            told = [(_text(text), _score(score)) for text, score in content["told"]]
            pending = [_text(text) for text in content["pending"]]
            was = {name: content[name] for name in ("space", "task", "seed")}
            fingerprint = content.get("fingerprint", self.space.fingerprint)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ValueError(f"{damaged}: {error!r}") from error
        for name, here in (("space", self.space.name), ("task", self.task), ("seed", self.seed)):
            if was[name] != here:
                raise unknown(f"{name} of the state in {path}", here, [str(was[name])])
        if fingerprint != self.space.fingerprint:
            raise ValueError(f"{path} is of another space that is called {self.space.name!r} too: its slots differ")
        try:
            rows = self._checked([text for text, _ in told], [score for _, score in told])
            return rows, [Architecture.from_string(self.space, text) for text in pending]
        except ValueError as error:
            raise ValueError(f"{damaged}: {error}") from error


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected the string of an architecture, got {shortened(value)}")
    return value


def _score(value: Any) -> float:
    if value is None:
        return math.nan
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"expected a score, got {shortened(value)}")
    return float(value)
