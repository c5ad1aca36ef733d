"""For whoever can afford a few trainings: architectures are proposed, their scores are told, better ones are proposed.

The prior that is carried over says what to try first. From then on each score that was told counts three times: it
updates the prior that the denoiser writes from, its best architectures are noised a little and drawn again, and a
Gaussian process on all scores chooses among what was written. No score is read but those that were told.
"""

from __future__ import annotations

import contextlib
import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import norm, rankdata
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

from .architecture import Architecture
from .errors import unknown
from .files import user_path, write_json
from .pipeline_pkgen import PKGenPipeline
from .priors import MIN_EVALUATIONS, Prior
from .spaces import SearchSpace, get_space

POOL = 512  # architectures written from the carried-over prior, before any score is known
UPDATED = 128  # written from the updated prior, each time
ELITE, OFFSPRING = 8, 128  # best architectures that are noised, and how often each
ANYTHING = 64  # uniform random ones, for where the prior is wrong
FIRST = 10  # scores before which the denoiser's own ranking proposes
FAVOURITES, FAMILIAR = 4, 0.5  # of these so many the pipeline's own favourites, in a space at least so familiar
CURIOSITY = 0.5  # standard deviations that count beside the mean: more tries what is uncertain


class Proposer:
    """Proposes architectures to train and learns from their scores, one batch at a time.

    ``ask`` and ``tell`` may be called in any order and number; what was told is all that is learnt from. The same
    checkpoint, seed and scores give the same proposals, in one run or resumed.

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
        A JSON file that is written after every `ask` and `tell`, and read first if it is there.

    Attributes
    ----------
    architectures : list of Architecture, those told, in order
    scores : list of float, theirs
    pending : list of Architecture, those asked for and not told yet

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
        self.pipe, self.space, self.task, self.seed = pipe, get_space(space), task, seed
        self.prior = pipe.select_prior(self.space, task, prior)
        self.state = None if state is None else user_path(state)
        self.architectures: list[Architecture] = []
        self.scores: list[float] = []
        self.pending: list[Architecture] = []
        self._pool: torch.Tensor | None = None
        if self.state is not None and self.state.exists():
            self._load(self.state)

    # ------------------------------------------------------------------ ask and tell

    def ask(self, num: int = 1) -> list[Architecture]:
        """The next architectures to train, most promising first; none was told or is pending.

        Raises
        ------
        ValueError
            If `num` is not a whole number from 1, or the space has no more.
        """
        if isinstance(num, bool) or not isinstance(num, int) or num < 1:
            raise ValueError(f"num must be a whole number from 1, got {num!r}")
        taken = {*self.architectures, *self.pending}
        if num > self.space.num_architectures - len(taken):
            raise ValueError(
                f"{num:,} architectures were asked for, but {self.space.name} holds {self.space.num_architectures:,}, "
                f"of which {len(taken):,} were told or are pending"
            )
        candidates = self._candidates(taken, num)
        if len(self.scores) < FIRST or len(set(self.scores)) < 2:
            worth = self._denoiser_scores(candidates)
            if self.pipe.familiarity(self.space) >= FAMILIAR:
                worth[: max(0, FAVOURITES - len(taken))] = np.inf  # the pool comes first, as the pipeline ranked it
        else:
            worth = self._promise(candidates)
        best = np.argsort(-worth, kind="stable")[:num]
        asked = Architecture.from_batch(self.space, candidates[torch.from_numpy(best)])
        self.pending += asked
        self._save()
        return asked

    def tell(self, architectures: Sequence[Architecture | str], scores: Sequence[float]) -> None:
        """What training gave: a score of each, higher is better. Architectures that were not asked for count as well.

        Raises
        ------
        ValueError
            For lengths that differ, a score that is not finite, an architecture of another space, or one told before;
            nothing is kept of such a call.
        """
        self._take(architectures, scores)
        self._save()

    def _take(self, architectures: Sequence[Architecture | str], scores: Sequence[float]) -> None:
        if len(architectures) != len(scores):
            raise ValueError(f"{len(architectures)} architectures but {len(scores)} scores")
        told = dict(zip(self.architectures, self.scores, strict=True))
        for given, score in zip(architectures, scores, strict=True):
            architecture = Architecture.from_string(self.space, given) if isinstance(given, str) else given
            if architecture.space.name != self.space.name:
                raise ValueError(f"{architecture!r} is not of the space {self.space.name}")
            if not np.isfinite(score):
                raise ValueError(f"scores must be finite numbers; that of {architecture} is {score}")
            if architecture in told:
                raise ValueError(f"{architecture} was told before, with {told[architecture]}")
            told[architecture] = float(score)
        self.architectures, self.scores = list(told), list(told.values())
        self.pending = [architecture for architecture in self.pending if architecture not in told]

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
        done = len(self.scores) + len(self.pending)
        return torch.Generator().manual_seed(self.seed * 1_000_003 + done)

    def _rows(self) -> torch.Tensor:
        return torch.tensor([a.indices for a in self.architectures]).reshape(-1, self.space.num_slots)

    def _write(self, prior: Prior, num: int, generator: torch.Generator) -> torch.Tensor:
        """Distinct architectures by the pipeline, ``LongTensor (num, slots)``."""
        num = min(num, self.space.num_architectures)
        out = self.pipe(self.space, self.task, prior, num, num_candidates=1, generator=generator)
        return torch.tensor([architecture.indices for architecture in out.architectures])

    def _candidates(self, taken: set[Architecture], num: int) -> torch.Tensor:
        """Distinct valid architectures to choose from, at least `num`, ``LongTensor (candidates, slots)``."""
        generator = self._generator()
        if self._pool is None:
            size = max(POOL, 2 * num)
            self._pool = self._write(self.prior, size, torch.Generator().manual_seed(self.seed * 1_000_003))
        parts = [self._pool]
        if len(self.scores) >= MIN_EVALUATIONS and len(set(self.scores)) > 1:
            known = self.task if self.task in self.space.tasks else None
            prior = Prior.from_evaluations(self.space, self._rows(), self.scores, known)
            parts.append(self._write(prior, UPDATED, generator))
            parts.append(self._noised(prior, generator))
            parts.append(self.space.sample(ANYTHING, generator))
        while True:
            rows = torch.cat(parts)
            rows = self.space.canonical(rows[self.space.is_valid(rows)])
            keys = self.space.keys(rows).numpy()
            used = self.space.keys(torch.tensor([a.indices for a in taken])).numpy() if taken else keys[:0]
            _, first = np.unique(keys, return_index=True)
            first = np.sort(first[~np.isin(keys[first], used)])
            if len(first) >= num:
                return rows[torch.from_numpy(first)]
            parts.append(self.space.sample(4 * num + ANYTHING, generator))  # nearly all of the space is known

    def _noised(self, prior: Prior, generator: torch.Generator) -> torch.Tensor:
        """The best told with a little of the diffusion's own noise, ``LongTensor (ELITE * OFFSPRING, slots)``."""
        best = np.argsort(-np.array(self.scores), kind="stable")[:ELITE].copy()
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

    def _promise(self, candidates: torch.Tensor) -> np.ndarray:
        """Upper confidence bounds by a Gaussian process on normal scores of the ranks of what was told."""
        told = len(self.scores)
        features = self._features(torch.cat([self.space.canonical(self._rows()), candidates]))
        target = norm.ppf((rankdata(self.scores) - 0.5) / told)
        kernel = (
            ConstantKernel(1.0, (0.1, 10)) * RBF(2.0, (0.5, 20))
            + ConstantKernel(0.5, (1e-3, 10)) * RBF(10.0, (3, 100))
            + WhiteKernel(0.1, (1e-3, 1))
        )
        process = GaussianProcessRegressor(kernel, normalize_y=True, random_state=0)
        with warnings.catch_warnings():  # a length scale at its bound is no concern of the user's
            warnings.simplefilter("ignore", ConvergenceWarning)
            mean, deviation = process.fit(features[:told], target).predict(features[told:], return_std=True)
        return mean + CURIOSITY * deviation

    # ------------------------------------------------------------------ files

    def _save(self) -> None:
        """Write the state."""
        if self.state is None:
            return
        content = {
            "space": self.space.name,
            "task": self.task,
            "seed": self.seed,
            "told": [[str(a), score] for a, score in zip(self.architectures, self.scores, strict=True)],
            "pending": [str(a) for a in self.pending],
        }
        write_json(content, self.state, indent=1)

    def _load(self, path: Path) -> None:
        try:
            content: dict[str, Any] = json.loads(path.read_text())
            told = [(str(text), float(score)) for text, score in content["told"]]
            pending = [str(text) for text in content["pending"]]
            was = {name: content[name] for name in ("space", "task", "seed")}
        except (ValueError, KeyError, TypeError, UnicodeDecodeError) as error:
            raise ValueError(f"{path} is not a state that a Proposer wrote, or is damaged: {error!r}") from error
        for name, here in (("space", self.space.name), ("task", self.task), ("seed", self.seed)):
            if was[name] != here:
                raise unknown(f"{name} of the state in {path}", here, [str(was[name])])
        self._take([text for text, _ in told], [score for _, score in told])
        self.pending = [Architecture.from_string(self.space, text) for text in pending]
