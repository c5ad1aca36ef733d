"""How one call of the pipeline draws architectures; all state of a call is here, so that calls can run in threads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from .budgets.limits import Limits
from .budgets.steering import Steering
from .errors import TooFew, shortened
from .modeling_denoiser import ArchitectureDenoiser, EncodedCondition
from .scheduling_prior_discrete import GeneratorArg, PriorDiscreteScheduler
from .spaces import SearchSpace

MAX_BATCH = 4096
MAX_ROUNDS = 50  # in a row without one more architecture
FIRST_BATCH, GROWN_BATCH = 64, 1024  # samples of a round at least, and up to which it grows after `PATIENCE`
PATIENCE = 10  # poor rounds before batches grow; fruitless ones before known architectures within limits are drawn
COLDEST = 1e-6  # temperature: below it nothing changes any more
FLATTEN = 1.5  # by what the temperature is multiplied where hardly anything new is found

Callback = Callable[[Any, int, int, dict[str, Any]], dict[str, Any] | None]


@dataclass
class Drawn:
    """What a call has drawn.

    Attributes
    ----------
    rows : LongTensor (rows, slots)
        Valid, within the limits.
    counts : FloatTensor (rows,)
        How often each was drawn, where they are distinct; empty otherwise.
    num_raw, num_valid : int
        Samples, and those of them that were valid.
    """

    rows: torch.Tensor
    counts: torch.Tensor
    num_raw: int = 0
    num_valid: int = 0


@dataclass
class Sampler:
    """One call of the pipeline.

    Attributes
    ----------
    view
        What callbacks are given as the pipeline: a copy with this call's own scheduler and ``_interrupt``.
    pipeline
        The pipeline itself, whose ``_interrupt`` stops every call.
    scheduler
        With the timesteps of this call.
    encoded, unguided
        The condition, and the one without a prior; None without guidance.
    stationary
        ``FloatTensor (slots, choices)``
    rows
        The architectures that the last step may draw from, where there are few: ``LongTensor (rows, slots)``.
    generator
        One, or one for each architecture.
    temperature
        At first.
    on_kept
        Called with the number of architectures found anew.
    """

    view: Any
    pipeline: Any
    space: SearchSpace
    denoiser: ArchitectureDenoiser
    scheduler: PriorDiscreteScheduler
    encoded: EncodedCondition
    unguided: EncodedCondition | None
    stationary: torch.Tensor
    limits: Limits | None
    rows: torch.Tensor | None
    num_candidates: int
    guidance_scale: float
    generator: GeneratorArg
    temperature: float
    callback: Callback | None
    callback_inputs: Sequence[str]
    on_kept: Callable[[int], Any]
    temperatures: torch.Tensor = field(init=False)  # of each item: of each generator, or one for all
    steering: Steering | None = field(init=False)
    fruitless: torch.Tensor = field(init=False)  # rounds in a row without anything new, of each item
    poor: int = 0  # rounds in a row in which fewer than 1 in 20 samples were new

    def __post_init__(self) -> None:
        items = len(self.generator) if isinstance(self.generator, list) else 1
        temperature = max(self.temperature, COLDEST)
        self.temperatures = torch.full((items,), temperature, dtype=torch.float32, device=self.stationary.device)
        self.steering = None if self.limits is None else Steering(self.limits, items, self.stationary.device)
        self.fruitless = torch.zeros(items, dtype=torch.long)

    @property
    def interrupted(self) -> bool:
        """Whether ``_interrupt`` was set, of the view by a callback or of the pipeline itself."""
        return bool(self.view._interrupt or self.pipeline._interrupt)

    # ------------------------------------------------------------------ rounds

    def distinct(self, number: int) -> Drawn:
        """Distinct architectures, `number` or more; samples of all generators are pooled, round by round.

        Raises
        ------
        TooFew
            If `MAX_ROUNDS` rounds in a row find no more.
        """
        drawn, start = self._nothing(), 0
        while len(drawn.rows) < number and not self.interrupted:
            missing = number - len(drawn.rows)
            if isinstance(self.generator, list):
                which = torch.arange(start, min(start + MAX_BATCH // self.num_candidates, len(self.generator)))
                start = (int(which[-1]) + 1) % len(self.generator)
            else:
                which = torch.zeros(self._groups(missing, FIRST_BATCH), dtype=torch.long)
            sample, accepted = self._round(which, drawn)
            before = len(drawn.rows)
            rows = torch.cat([drawn.rows, sample[accepted]])
            first, same = first_of_each(self.space.keys(rows))
            again = torch.cat([drawn.counts, drawn.counts.new_ones(len(rows) - before)])
            drawn.rows, drawn.counts = rows[first], self._no_counts(len(first)).index_add(0, same, again)
            found = len(drawn.rows) - before
            self.fruitless = torch.zeros_like(self.fruitless) if found else self.fruitless + 1
            self.poor = self.poor + 1 if found < len(sample) / 20 else 0
            self._give_up_in_the_end(number, drawn, "distinct architectures")
            if self.poor and found < missing:
                self.temperatures *= FLATTEN
            self.on_kept(min(found, missing))
        return drawn

    def independent(self, number: int) -> Drawn:
        """`number` samples, each the best scored of its candidates; those that are not accepted are drawn again.

        With a list of generators each sample depends on its own generator alone.

        Raises
        ------
        TooFew
            If `MAX_ROUNDS` rounds in a row find none (for one of the generators).
        """
        drawn = self._nothing()
        own = isinstance(self.generator, list)
        pending = torch.arange(number) if own else torch.zeros(number, dtype=torch.long)
        while len(pending) and not self.interrupted:
            now = pending[: MAX_BATCH // self.num_candidates]
            if not own:
                now = (
                    now
                    if self.poor <= PATIENCE
                    else torch.zeros(self._groups(len(now), FIRST_BATCH), dtype=torch.long)
                )
            sample, accepted = self._round(now, drawn)
            scores = self.scores(sample, self.encoded).masked_fill(~accepted, -torch.inf)
            groups = torch.arange(len(now), device=sample.device)
            best = scores.view(len(now), -1).argmax(1) + self.num_candidates * groups
            found, before = accepted[best], len(drawn.rows)
            drawn.rows = torch.cat([drawn.rows, sample[best[found]]])[:number]
            found = found.cpu()
            if own:
                pending = torch.cat([now[~found], pending[len(now) :]])
                self.fruitless[now[~found]] += 1
                self.temperatures[now[~found].to(sample.device)] *= FLATTEN
            else:
                pending = pending[: number - len(drawn.rows)]
                self.fruitless = torch.zeros_like(self.fruitless) if found.any() else self.fruitless + 1
                self.poor = self.poor + 1 if found.sum() < len(now) / 20 else 0
                if self.poor and len(pending):
                    self.temperatures *= FLATTEN
            self._give_up_in_the_end(number, drawn, "architectures")
            self.on_kept(len(drawn.rows) - before)
        return drawn

    def _nothing(self) -> Drawn:
        place = self.stationary.device
        return Drawn(torch.empty(0, self.space.num_slots, dtype=torch.long, device=place), self._no_counts())

    def _groups(self, missing: int, least: int) -> int:
        """Groups of candidates of a round: as many as are missing, but not too few, and more after poor rounds."""
        least = min(least * 2 ** max(0, self.poor - PATIENCE), GROWN_BATCH)
        return min(MAX_BATCH // self.num_candidates, max(missing, least // self.num_candidates))

    def _no_counts(self, number: int = 0) -> torch.Tensor:
        return torch.zeros(number, dtype=torch.float32, device=self.stationary.device)

    def _round(self, which: torch.Tensor, drawn: Drawn) -> tuple[torch.Tensor, torch.Tensor]:
        """Samples of some items, and which are valid and within the limits; the steering is updated by them."""
        sample = self.denoise(which)
        valid = self.space.is_valid(sample)
        drawn.num_raw, drawn.num_valid = drawn.num_raw + len(sample), drawn.num_valid + int(valid.sum())
        if self.limits is None or self.steering is None:
            return sample, valid
        items = which.to(sample.device).repeat_interleave(self.num_candidates)
        self.steering.learn(sample[valid], items[valid])
        return sample, valid & self.limits.within(sample)

    def _give_up_in_the_end(self, wanted: int, drawn: Drawn, kind: str) -> None:
        """Raise TooFew after `MAX_ROUNDS` fruitless rounds."""
        if int(self.fruitless.max()) < MAX_ROUNDS:
            return
        if self.limits is not None:
            raise self.limits.too_few(wanted, drawn.rows.cpu(), kind)
        found = len(drawn.rows)
        raise TooFew(
            f"{wanted:,} {kind} of {self.space.name} were asked for, but {found:,} could be had: {drawn.num_valid:,} "
            f"of {drawn.num_raw:,} samples were valid; ask for fewer",
            drawn.rows.cpu(),
        )

    # ------------------------------------------------------------------ one batch

    def denoise(self, which: torch.Tensor) -> torch.Tensor:
        """Raw samples of items `which` ``(groups,)``, candidates beside each other.

        Returns
        -------
        LongTensor (groups * num_candidates, slots)
        """
        own = isinstance(self.generator, list)
        generator: GeneratorArg = self.generator
        if isinstance(self.generator, list):
            generator = [self.generator[i] for i in which.tolist()]
        items = which.to(self.stationary.device)
        sample = self.scheduler.initial_sample(self.stationary, len(which), generator)
        steps = len(self.scheduler.timesteps)
        for step, timestep in enumerate(self.scheduler.timesteps):
            # samples share prior, time and temperature, so equal ones need the denoiser only once
            those, inverse = (sample, None) if own else distinct_rows(self.space, sample)
            logits = self._logits(those, timestep, step >= steps // 2, items if own else items[:1])
            logits = logits if inverse is None else logits[inverse]
            if step == steps // 2:  # from here on the candidates of a group are drawn independently
                logits, sample = (part.repeat_interleave(self.num_candidates, 0) for part in (logits, sample))
                items = items.repeat_interleave(self.num_candidates)
                if isinstance(generator, list):
                    generator = [one for one in generator for _ in range(self.num_candidates)]
            before = sample
            sample = self._step(logits, timestep, sample, generator)
            if step == steps - 1:
                sample = self._among_listed(sample, logits, timestep, before, generator, items)
            sample = self._called_back(step, timestep, sample)
            if self.interrupted:
                break
        if len(sample) < len(which) * self.num_candidates:  # interrupted before there were candidates
            sample = sample.repeat_interleave(self.num_candidates, 0)
        return sample

    def _logits(
        self, sample: torch.Tensor, timestep: torch.Tensor, is_guided: bool, items: torch.Tensor
    ) -> torch.Tensor:
        """Logits of the clean choices: guided, at each item's temperature, and below the limits."""
        logits, _ = self.denoiser(sample, timestep, self.encoded)
        # while most of a sample is noise, guidance changes nothing that the later steps do not
        if self.unguided is not None and is_guided:
            free, _ = self.denoiser(sample, timestep, self.unguided)
            guided = (1 + self.guidance_scale) * logits - self.guidance_scale * free
            logits = torch.where(logits.isfinite(), guided, logits)
        logits = logits.float() / self.temperatures[items][:, None, None]
        if self.steering is not None:
            evidence = self.scheduler.log_likelihood_ratio(timestep, sample, self.stationary)
            evidence = torch.zeros_like(logits).scatter_(-1, sample[..., None], evidence[..., None])
            logits = self.steering.tilt(logits, evidence, items)
        return logits

    def _step(
        self, logits: torch.Tensor, timestep: torch.Tensor, before: torch.Tensor, generator: GeneratorArg
    ) -> torch.Tensor:
        return self.scheduler.step(logits, timestep, before, self.stationary, generator, return_dict=False)[0]

    def _among_listed(
        self,
        sample: torch.Tensor,
        logits: torch.Tensor,
        timestep: torch.Tensor,
        before: torch.Tensor,
        generator: GeneratorArg,
        items: torch.Tensor,
    ) -> torch.Tensor:
        """Samples of the last step; what is not accepted is drawn again among the rows that are, if all are listed.

        Where some are known within the limits, but not all, only items whose rounds were fruitless draw among these.
        """
        rows = self.rows
        if rows is None and self.limits is not None:
            rows = self.limits.pool
        if rows is None:
            return sample
        wrong = ~self.space.is_valid(sample)
        if self.limits is not None:
            wrong |= ~self.limits.within(sample)
        if self.rows is None:
            wrong &= (self.fruitless > PATIENCE).to(items.device)[items].expand_as(wrong)
        at = wrong.nonzero()[:, 0]
        if len(at):
            own = [generator[i] for i in at.tolist()] if isinstance(generator, list) else generator
            sample[at] = self.scheduler.step(
                logits[at], timestep, before[at], self.stationary, own, return_dict=False, support=rows
            )[0]
        return sample

    def _called_back(self, step: int, timestep: torch.Tensor, sample: torch.Tensor) -> torch.Tensor:
        if self.callback is None:
            return sample
        given = {name: sample for name in self.callback_inputs}
        returned = self.callback(self.view, step, int(timestep), given)
        if returned is not None and not isinstance(returned, dict):
            raise ValueError(f"callback_on_step_end must return a dict or None, got {shortened(returned)}")
        changed = (returned or {}).get("sample", sample)
        if not isinstance(changed, torch.Tensor) or changed.shape != sample.shape:
            what = tuple(changed.shape) if isinstance(changed, torch.Tensor) else shortened(changed)
            raise ValueError(f"callback_on_step_end must return a sample of shape {tuple(sample.shape)}, got {what}")
        return self.space.check(changed).to(sample.device)

    def scores(self, indices: torch.Tensor, encoded: EncodedCondition) -> torch.Tensor:
        """The model's ranking under a condition, ``FloatTensor (batch,)``; isomorphic architectures score alike."""
        return scores_of(self.denoiser, self.space, indices, encoded)


def scores_of(
    denoiser: ArchitectureDenoiser, space: SearchSpace, indices: torch.Tensor, encoded: EncodedCondition
) -> torch.Tensor:
    """The denoiser's scores of architectures, ``FloatTensor (batch,)``; isomorphic ones score alike."""
    if not len(indices):
        return torch.zeros(0, dtype=torch.float32, device=indices.device)
    rows, inverse = distinct_rows(space, indices)
    scores = [denoiser(part, 0.0, encoded)[1] for part in space.canonical(rows).split(MAX_BATCH)]
    return torch.cat(scores).float()[inverse]


def distinct_rows(space: SearchSpace, indices: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The distinct rows of a batch, and for each row of the batch the number of its distinct row."""
    codes, inverse = space.codes(indices).unique(return_inverse=True)
    rows = indices.new_empty(len(codes), indices.shape[1])
    rows[inverse] = indices
    return rows, inverse


def first_of_each(keys: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Positions of the first occurrence of each key, in order, and for each key the number of its first occurrence."""
    order = keys.argsort(stable=True)
    is_first = torch.ones_like(keys, dtype=torch.bool)
    is_first[1:] = keys[order][1:] != keys[order][:-1]
    first, place = order[is_first].sort()
    which = torch.empty_like(keys)
    which[order] = place.argsort()[is_first.cumsum(0) - 1]
    return first, which


def standardised(values: torch.Tensor) -> torch.Tensor:
    """With mean 0 and standard deviation 1; zeros where all are equal."""
    if len(values) < 2:
        return torch.zeros_like(values)
    spread = values.std(correction=0)
    return (values - values.mean()) / spread if spread > 1e-6 else torch.zeros_like(values)
