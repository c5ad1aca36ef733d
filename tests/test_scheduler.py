"""The scheduler: Bayes' rule by brute force, the prior as the stationary law, and draws that can be repeated."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from pkgen_hf.scheduling_prior_discrete import (
    PriorDiscreteScheduler,
    PriorDiscreteSchedulerOutput,
    draw_categorical,
    draw_uniform,
)

LAST = 1000
PAIRS = [(1000, 0), (1000, 500), (1000, 999), (700, 699), (500, 100), (500, 0), (10, 3), (1, 0)]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(params=["cosine", "linear"])
def scheduler(request: pytest.FixtureRequest) -> PriorDiscreteScheduler:
    return PriorDiscreteScheduler(num_train_timesteps=LAST, schedule=request.param)


def random_distribution(*shape: int, seed: int = 0) -> torch.Tensor:
    """Rows sum to 1, far from uniform."""
    return (2 * torch.randn(shape, generator=seeded(seed))).softmax(-1)


def transition(scheduler: PriorDiscreteScheduler, s: int, t: int, prior: torch.Tensor) -> torch.Tensor:
    """The matrices q(x_t | x_s) by definition, ``(..., from, to)``, in double precision."""
    alphas = scheduler.alphas_cumprod.double()
    kept = alphas[t] / alphas[s]
    return kept * torch.eye(prior.shape[-1], dtype=torch.float64) + (1 - kept) * prior.double()[..., None, :]


def bayes(
    scheduler: PriorDiscreteScheduler, t: int, s: int, sample: torch.Tensor, clean: torch.Tensor, prior: torch.Tensor
) -> torch.Tensor:
    """sum over k of p(x_0 = k) q(x_s | x_0 = k) q(x_t | x_s) / q(x_t | x_0 = k), every factor written out."""
    now = sample[..., None, None].expand(*sample.shape, prior.shape[-1], 1)
    reach = transition(scheduler, 0, t, prior).expand(*sample.shape, -1, -1).gather(-1, now)  # q(x_t | x_0), by k
    begin = transition(scheduler, 0, s, prior)  # (..., k, x_s)
    end = transition(scheduler, s, t, prior).expand(*sample.shape, -1, -1).gather(-1, now).squeeze(-1)  # by x_s
    joint = begin * end[..., None, :] / reach  # p(x_s | x_t, x_0 = k)
    return torch.where(clean[..., None] > 0, clean.double()[..., None] * joint, 0).sum(-2)


def previous(
    scheduler: PriorDiscreteScheduler, logits: torch.Tensor, t: Any, sample: torch.Tensor, *arguments: Any
) -> torch.Tensor:
    """What `step` draws."""
    out = scheduler.step(logits, t, sample, *arguments)
    assert isinstance(out, PriorDiscreteSchedulerOutput)
    return out.prev_sample


def assert_frequencies(drawn: torch.Tensor, expected: torch.Tensor, sigmas: float = 5.0) -> None:
    """Draws ``(n, ...)`` are of the distribution ``(..., choices)``, up to chance."""
    share = F.one_hot(drawn, expected.shape[-1]).double().mean(0)
    expected = expected.double()
    assert ((share - expected).abs() <= sigmas * (expected * (1 - expected) / len(drawn)).sqrt() + 1e-9).all()


# ---------------------------------------------------------------------- the law of the noise


def test_time_runs_from_clean_to_noise(scheduler: PriorDiscreteScheduler) -> None:
    alphas = scheduler.alphas_cumprod
    assert alphas.shape == (LAST + 1,) and alphas[0] == 1 and alphas[-1] == 0
    assert (alphas.diff() < 0).all() and len(scheduler) == LAST


@pytest.mark.parametrize(("t", "s"), PAIRS)
def test_posterior_is_that_of_bayes(scheduler: PriorDiscreteScheduler, t: int, s: int) -> None:
    """For every x_t, whatever the model says of the clean choices; a prior for all, or one for each sample."""
    slots, choices = 3, 4
    clean = random_distribution(200, slots, choices)
    sample = torch.randint(choices, (200, slots), generator=seeded(1))
    for prior in (random_distribution(slots, choices, seed=2), random_distribution(200, slots, choices, seed=3)):
        posterior = scheduler.posterior(clean, t, s, sample, prior)
        torch.testing.assert_close(
            posterior.double(), bayes(scheduler, t, s, sample, clean, prior), rtol=1e-3, atol=2e-5
        )
        torch.testing.assert_close(posterior.sum(-1), torch.ones(200, slots))
        assert (posterior >= 0).all()


@pytest.mark.parametrize(("t", "s"), PAIRS)
def test_posterior_of_choices_that_do_not_exist_is_zero(scheduler: PriorDiscreteScheduler, t: int, s: int) -> None:
    prior = random_distribution(3, 4)
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [0, 1, 1, 0]]).bool()
    prior = prior * mask / (prior * mask).sum(1, keepdim=True)
    clean = torch.randn(100, 3, 4, generator=seeded(1)).masked_fill(~mask, -torch.inf).softmax(-1)
    sample = draw_categorical(prior.expand(100, -1, -1), torch.rand(100, 3, generator=seeded(2)))
    posterior = scheduler.posterior(clean, t, s, sample, prior)
    assert (posterior[:, ~mask] == 0).all() and posterior.isfinite().all()
    torch.testing.assert_close(posterior.double(), bayes(scheduler, t, s, sample, clean, prior), rtol=1e-3, atol=2e-5)


def test_two_steps_are_one(scheduler: PriorDiscreteScheduler) -> None:
    """Going back from t to r by way of s, with x_0 known, is going from t to r."""
    prior, choices = random_distribution(5, seed=1), 5
    for t, s, r in [(1000, 600, 200), (800, 799, 5), (1000, 10, 0)]:
        now, clean = (grid.flatten() for grid in torch.meshgrid(*[torch.arange(choices)] * 2, indexing="ij"))
        known = F.one_hot(clean, choices).float()[:, None]  # (25, 1, choices)
        direct = scheduler.posterior(known, t, r, now[:, None], prior[None])
        half = scheduler.posterior(known, t, s, now[:, None], prior[None])
        composed = torch.zeros_like(direct)
        for middle in range(choices):
            at = torch.full_like(now, middle)[:, None]
            composed += half[..., middle, None] * scheduler.posterior(known, s, r, at, prior[None])
        torch.testing.assert_close(composed, direct, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("steps", [1, 2, 7, 1000])
def test_reverse_of_the_truth_recovers_the_data(scheduler: PriorDiscreteScheduler, steps: int) -> None:
    """For one slot, with the true p(x_0 | x_t), the law at time 0 is that of the data in any number of steps."""
    data, prior = random_distribution(4, seed=1).double(), random_distribution(4, seed=2)
    scheduler.set_timesteps(steps)
    law = prior.double()  # of x_t
    sample = torch.arange(4)[:, None]  # all x_t at once
    grid = [*scheduler.timesteps.tolist(), 0]
    for t, s in itertools.pairwise(grid):
        joint = data[:, None] * transition(scheduler, 0, t, prior)  # (x_0, x_t)
        truth = (joint / joint.sum(0)).T[:, None]  # p(x_0 | x_t)
        law = law @ scheduler.posterior(truth, t, s, sample, prior[None]).double()[:, 0]
    torch.testing.assert_close(law, data, rtol=0, atol=1e-4)


def test_steps_recover_a_joint_distribution() -> None:
    """Two slots that depend on each other, drawn by `step` with the true p(x_0 | x_t) of each slot."""
    scheduler = PriorDiscreteScheduler()
    scheduler.set_timesteps(50)
    num, choices = 20_000, 3
    prior = random_distribution(2, choices, seed=1)
    data = torch.tensor([[0.4, 0.0, 0.1], [0.0, 0.3, 0.0], [0.05, 0.0, 0.15]], dtype=torch.float64)
    generator = seeded()
    sample = scheduler.initial_sample(prior, num, generator)
    for t in scheduler.timesteps.tolist():
        first, second = (transition(scheduler, 0, t, slot) for slot in prior)  # (x_0, x_t)
        joint = data[..., None, None] * first[:, None, :, None] * second[None, :, None, :]  # (x_0, y_0, x_t, y_t)
        weights = joint[:, :, sample[:, 0], sample[:, 1]]
        truth = torch.stack([weights.sum(1).T, weights.sum(0).T], dim=1)  # (num, slots, choices)
        own = torch.stack([first[:, sample[:, 0]].T, second[:, sample[:, 1]].T], dim=1)  # q(x_t | x_0) of each slot
        sample = previous(scheduler, truth.log() - own.log(), t, sample, prior, generator)
    drawn = torch.bincount(sample[:, 0] * choices + sample[:, 1], minlength=9).reshape(3, 3) / num
    torch.testing.assert_close(drawn.sum(0).double(), data.sum(0), rtol=0, atol=0.02)
    torch.testing.assert_close(drawn.sum(1).double(), data.sum(1), rtol=0, atol=0.02)
    torch.testing.assert_close(drawn.double(), data, rtol=0, atol=0.03)


# ---------------------------------------------------------------------- noise


def test_noise_is_drawn_from_its_law(scheduler: PriorDiscreteScheduler) -> None:
    """Each row of q(x_t | x_0) by the frequencies of many draws; the times of a batch differ."""
    num, prior = 20_000, random_distribution(2, 4)
    generator = seeded()
    for t, clean in itertools.product((1, 300, 800), range(4)):
        original = torch.full((num, 2), clean)
        noisy = scheduler.add_noise(original, torch.full((num,), t), prior, generator)
        expected = transition(scheduler, 0, t, prior)[:, clean]
        torch.testing.assert_close(expected.sum(-1), torch.ones(2, dtype=torch.float64))
        assert_frequencies(noisy, expected)
    times = torch.tensor([0, LAST]).repeat(num // 2)
    noisy = scheduler.add_noise(torch.zeros(num, 2, dtype=torch.long), times, prior, generator)
    assert not noisy[::2].any()
    assert_frequencies(noisy[1::2], prior)


def test_noise_begins_with_the_sample_and_ends_with_the_prior(scheduler: PriorDiscreteScheduler) -> None:
    prior = random_distribution(3, 5)
    original = torch.randint(5, (20_000, 3), generator=seeded())
    assert torch.equal(scheduler.add_noise(original, torch.zeros(20_000, dtype=torch.long), prior), original)
    noise = scheduler.add_noise(original, torch.full((20_000,), LAST), prior, seeded(1))
    assert_frequencies(noise, prior)
    for clean in range(5):  # nothing of the sample is left
        assert_frequencies(noise[original[:, 0] == clean][:, 0], prior[0])


def test_prior_is_stationary(scheduler: PriorDiscreteScheduler) -> None:
    prior, num = random_distribution(3, 5), 20_000
    sample = scheduler.initial_sample(prior, num, seeded())
    assert_frequencies(sample, prior)
    for t in (1, 250, 500, 900, LAST):
        assert_frequencies(scheduler.add_noise(sample, torch.full((num,), t), prior, seeded(t)), prior)
    # and backwards, exactly: data that are as the prior stay so
    now = torch.arange(5)[:, None].expand(5, 3)
    for t, s in PAIRS:
        truth = (transition(scheduler, 0, t, prior) * prior[..., None] / prior[:, None]).permute(2, 0, 1)
        back = scheduler.posterior(truth.float(), t, s, now, prior)  # (x_t, slots, x_s)
        torch.testing.assert_close(torch.einsum("sk,ksj->sj", prior, back), prior, rtol=0, atol=1e-5)


def test_noise_may_have_a_prior_for_each_sample(scheduler: PriorDiscreteScheduler) -> None:
    sure = torch.randint(4, (500, 3), generator=seeded())
    prior = F.one_hot(sure, 4).float()
    noise = scheduler.add_noise(torch.zeros(500, 3, dtype=torch.long), torch.full((500,), LAST), prior, seeded(1))
    assert torch.equal(noise, sure)


def test_what_the_prior_rules_out_is_never_drawn(scheduler: PriorDiscreteScheduler) -> None:
    num = 20_000
    prior = torch.tensor([[0.0, 0.5, 0.5, 0.0], [1.0, 0.0, 0.0, 0.0], [0.1, 0.0, 0.0, 0.9]])
    generator = seeded()
    sample = scheduler.initial_sample(prior, num, generator)
    original = draw_categorical(prior.expand(num, -1, -1), torch.rand(num, 3, generator=generator))
    logits = torch.randn(num, 3, 4, generator=generator).masked_fill(prior == 0, -torch.inf)
    drawn = [sample]
    for t in (1, 300, 999, LAST):
        drawn.append(scheduler.add_noise(original, torch.full((num,), t), prior, generator))
    for t in scheduler.timesteps:
        sample = previous(scheduler, logits, t, sample, prior, generator)
        drawn.append(sample)
    for rows in drawn:
        assert (prior.expand(num, -1, -1).gather(-1, rows[..., None]) > 0).all()


# ---------------------------------------------------------------------- steps


@pytest.mark.parametrize("steps", [1, 4, 1000])
@pytest.mark.parametrize("logit", [60.0, torch.inf], ids=["sure", "certain"])
def test_last_step_is_what_the_model_is_sure_of(scheduler: PriorDiscreteScheduler, steps: int, logit: float) -> None:
    scheduler.set_timesteps(steps)
    prior = random_distribution(6, 5)
    target = torch.randint(5, (1_000, 6), generator=seeded(1))
    sure = F.one_hot(target, 5).bool()
    logits = torch.where(sure, 0.0, -logit)
    noisy = torch.randint(5, (1_000, 6), generator=seeded(2))
    drawn, clean = scheduler.step(logits, scheduler.timesteps[-1], noisy, prior, seeded(3), return_dict=False)
    assert torch.equal(drawn, target)
    torch.testing.assert_close(clean, sure.float())


def test_step_draws_from_the_posterior(scheduler: PriorDiscreteScheduler) -> None:
    num, prior = 20_000, random_distribution(2, 4)
    logits = torch.randn(2, 4, generator=seeded(1))
    sample = torch.tensor([1, 3])
    scheduler.set_timesteps(4)
    for t, s in itertools.pairwise([*scheduler.timesteps.tolist(), 0]):
        batch = logits.expand(num, -1, -1), t, sample.expand(num, -1), prior, seeded(t)
        drawn, clean = scheduler.step(*batch, return_dict=False)
        # what the noise says of the clean choice is multiplied with what the model says of it
        noise = torch.stack([transition(scheduler, 0, t, slot)[:, at] for slot, at in zip(prior, sample, strict=True)])
        said = logits.double().softmax(-1) * noise
        said = (said / said.sum(-1, keepdim=True)).float()
        assert_frequencies(drawn, bayes(scheduler, t, s, sample[None], said[None], prior)[0])
        torch.testing.assert_close(clean[0], said)


def test_log_likelihood_ratio_is_that_of_the_noise(scheduler: PriorDiscreteScheduler) -> None:
    """Its exponential is q(x_t | x_0 = x_t) / q(x_t | x_0) for any other x_0."""
    prior, sample = random_distribution(2, 4), torch.tensor([[1, 3], [0, 0]])
    for t in (20, 400, 999, LAST):
        ratio = scheduler.log_likelihood_ratio(torch.tensor([t, t]), sample, prior).double().exp()
        for row, at in zip(ratio, sample, strict=True):
            for slot in range(2):
                column = transition(scheduler, 0, t, prior[slot])[:, at[slot]]  # q(x_t = at | x_0)
                other = column[(at[slot] + 1) % 4]
                torch.testing.assert_close(row[slot], column[at[slot]] / other, rtol=1e-3, atol=0)


def test_step_may_be_conditioned_on_a_support(scheduler: PriorDiscreteScheduler) -> None:
    """Samples are from the product of the slots' posteriors, conditioned on the support."""
    num, prior = 20_000, random_distribution(2, 4)
    logits, sample = torch.randn(2, 4, generator=seeded(1)), torch.tensor([1, 3])
    support = torch.tensor([[0, 0], [1, 3], [2, 1], [3, 3], [0, 2]])
    scheduler.set_timesteps(4)
    t, s = scheduler.timesteps[1:3].tolist()
    batch = logits.expand(num, -1, -1), t, sample.expand(num, -1), prior
    drawn = scheduler.step(*batch, seeded(2), return_dict=False, support=support)[0]
    clean = scheduler.step(*batch, seeded(2), return_dict=False)[1][0]
    law = bayes(scheduler, t, s, sample[None], clean[None], prior)[0]  # (slots, choices)
    expected = law[0, support[:, 0]] * law[1, support[:, 1]]
    which = (drawn[:, None] == support).all(-1)
    assert which.any(-1).all()
    assert_frequencies(which.byte().argmax(-1), expected / expected.sum())


def test_step_as_tuple_and_in_half_precision() -> None:
    scheduler = PriorDiscreteScheduler()
    prior, sample = random_distribution(3, 4), torch.zeros(50, 3, dtype=torch.long)
    logits = torch.randn(50, 3, 4, generator=seeded(1)).bfloat16()
    as_dict = scheduler.step(logits, 500, sample, prior, seeded())
    assert isinstance(as_dict, PriorDiscreteSchedulerOutput)
    as_tuple = scheduler.step(logits, torch.tensor(500), sample, prior, seeded(), return_dict=False)
    assert isinstance(as_tuple, tuple) and torch.equal(as_dict.prev_sample, as_tuple[0])
    assert as_tuple[0].dtype == torch.long
    assert torch.equal(as_dict.pred_original_sample, as_tuple[1]) and as_tuple[1].dtype == torch.float32
    assert scheduler.scale_model_input(sample, 500) is sample


def test_same_seed_same_result(scheduler: PriorDiscreteScheduler) -> None:
    prior = random_distribution(6, 5)
    logits, original = torch.randn(64, 6, 5, generator=seeded(9)), torch.zeros(64, 6, dtype=torch.long)
    times = torch.full((64,), 500)

    def draw(seed: int) -> list[torch.Tensor]:
        generator = seeded(seed)
        start = scheduler.initial_sample(prior, 64, generator)
        return [
            start,
            previous(scheduler, logits, 500, start, prior, generator),
            scheduler.add_noise(original, times, prior, generator),
        ]

    assert all(map(torch.equal, draw(0), draw(0)))
    assert not any(map(torch.equal, draw(0), draw(1)))


def test_each_row_may_have_a_generator_of_its_own(scheduler: PriorDiscreteScheduler) -> None:
    """What a row becomes depends on its own generator only, not on the batch it is in."""
    prior, num = random_distribution(6, 5), 12
    logits, original = torch.randn(num, 6, 5, generator=seeded(9)), torch.randint(5, (num, 6), generator=seeded(8))
    times = torch.arange(num) * 80

    def draw(rows: list[int]) -> torch.Tensor:
        generators = [seeded(100 + row) for row in rows]
        sample = scheduler.initial_sample(prior, len(rows), generators)
        trace = [sample]
        for t in scheduler.timesteps:
            sample = previous(scheduler, logits[rows], t, sample, prior, generators)
            trace.append(sample)
        trace.append(scheduler.add_noise(original[rows], times[rows], prior, generators))
        return torch.stack(trace, dim=1)

    together = draw(list(range(num)))
    assert len(together[:, 0].unique(dim=0)) == num
    for rows in ([0], [7], [3, 11], list(range(num))[::-1]):
        assert torch.equal(draw(rows), together[rows])


@pytest.mark.parametrize("given", [1, 3, 5])
def test_wrong_number_of_generators_is_refused(given: int) -> None:
    """In particular one generator does not make every row the same."""
    scheduler, prior = PriorDiscreteScheduler(), random_distribution(6, 5)
    generators = [seeded(i) for i in range(given)]
    sample, logits = torch.zeros(4, 6, dtype=torch.long), torch.zeros(4, 6, 5)
    with pytest.raises((ValueError, RuntimeError)):
        scheduler.initial_sample(prior, 4, generators)
    with pytest.raises((ValueError, RuntimeError)):
        scheduler.step(logits, 500, sample, prior, generators)
    with pytest.raises((ValueError, RuntimeError)):
        scheduler.add_noise(sample, torch.full((4,), 500), prior, generators)


# ---------------------------------------------------------------------- times


@pytest.mark.parametrize("steps", [1, 2, 3, 7, 10, 333, 999, 1000])
def test_timesteps_are_evenly_laid(scheduler: PriorDiscreteScheduler, steps: int) -> None:
    scheduler.set_timesteps(steps)
    times = scheduler.timesteps
    assert len(times) == steps == scheduler.num_inference_steps and times[0] == LAST
    strides = -torch.cat([times, torch.zeros(1, dtype=torch.long)]).diff()
    assert strides.min() >= 1 and strides.max() - strides.min() <= 1 and strides.sum() == LAST


def test_each_step_ends_where_the_next_begins() -> None:
    """A certain model ends at its target after the last step and not before."""
    scheduler = PriorDiscreteScheduler()
    prior = torch.full((4, 5), 0.2)
    target = torch.randint(5, (2_000, 4), generator=seeded())
    logits = torch.where(F.one_hot(target, 5).bool(), 0.0, -torch.inf)
    for steps in (3, 8):
        scheduler.set_timesteps(steps)
        sample = scheduler.initial_sample(prior, 2_000, seeded(1))
        for t, s in itertools.pairwise([*scheduler.timesteps.tolist(), 0]):
            sample = previous(scheduler, logits, t, sample, prior, seeded(t))
            kept = float(scheduler.alphas_cumprod[s])
            share = float((sample == target).float().mean())
            assert share == pytest.approx(kept + (1 - kept) / 5, abs=0.03)
        assert torch.equal(sample, target)


def test_threads_share_a_scheduler(scheduler: PriorDiscreteScheduler) -> None:
    """With both times of a step given, the result does not depend on `set_timesteps` of others."""
    prior, sample = random_distribution(6, 5), torch.zeros(64, 6, dtype=torch.long)
    logits, times = torch.randn(64, 6, 5, generator=seeded(9)), scheduler.inference_times(7)
    assert times[0] == LAST and times[-1] == 0 and len(times) == 8
    scheduler.set_timesteps(7)
    assert torch.equal(scheduler.timesteps, times[:-1])
    alone = [previous(scheduler, logits, t, sample, prior, seeded(1)) for t in times[:-1]]

    def steps(number: int) -> bool:
        scheduler.set_timesteps(1 + number)
        for (t, s), expected in zip(itertools.pairwise(times.tolist()), alone, strict=True):
            out = scheduler.step(logits, t, sample, prior, seeded(1), return_dict=False, previous_timestep=s)
            if not torch.equal(out[0], expected):
                return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(steps, range(8)))


def test_impossible_times_are_refused(scheduler: PriorDiscreteScheduler) -> None:
    for steps in (0, -1, LAST + 1):
        with pytest.raises(ValueError, match=f"num_inference_steps must be 1 to 1000, got {steps}"):
            scheduler.set_timesteps(steps)
    scheduler.set_timesteps(4)
    sample, prior = torch.zeros(2, 3, dtype=torch.long), random_distribution(3, 4)
    for t in (0, 999, 1001, -250):
        with pytest.raises(ValueError, match=rf"timestep {t} is not among .*\[1000, 750, 500, 250\]"):
            scheduler.step(torch.zeros(2, 3, 4), t, sample, prior)
    for t, s in ((250, 250), (250, 500), (250, -1), (1001, 0)):
        with pytest.raises(ValueError, match=f"there is no step from timestep {t} to {s}"):
            scheduler.step(torch.zeros(2, 3, 4), t, sample, prior, previous_timestep=s)


def test_unknown_schedule_is_refused() -> None:
    with pytest.raises(ValueError, match="'cosin'.*Did you mean 'cosine'.*linear"):
        PriorDiscreteScheduler(schedule="cosin")
    with pytest.raises(ValueError):
        PriorDiscreteScheduler(num_train_timesteps=0)


@pytest.mark.parametrize(("last", "schedule"), [(1, "cosine"), (7, "linear"), (1000, "cosine")])
def test_configuration_comes_back(last: int, schedule: str, tmp_path: Path) -> None:
    scheduler = PriorDiscreteScheduler(num_train_timesteps=last, schedule=schedule)
    scheduler.save_pretrained(tmp_path)
    for again in (
        PriorDiscreteScheduler.from_pretrained(tmp_path),
        PriorDiscreteScheduler.from_config(scheduler.config),
    ):
        assert (again.num_train_timesteps, again.config.schedule) == (last, schedule)
        assert torch.equal(again.alphas_cumprod, scheduler.alphas_cumprod)
        assert torch.equal(again.timesteps, scheduler.timesteps)


def test_configuration_given_by_position_comes_back() -> None:
    """diffusers takes positional arguments for defaults, which `from_config` drops."""
    try:
        scheduler = PriorDiscreteScheduler(7, "linear")
    except TypeError:
        return  # refusing them is as good
    again = PriorDiscreteScheduler.from_config(scheduler.config)
    assert (again.num_train_timesteps, again.config.schedule) == (7, "linear")


def test_end_distribution() -> None:
    """Uniform over what the prior allows, in a saved scheduler too; no other name is taken."""
    prior = torch.tensor([[0.7, 0.3, 0.0], [0.1, 0.2, 0.7]])
    assert torch.equal(PriorDiscreteScheduler().stationary(prior), prior)
    uniform = PriorDiscreteScheduler(end_distribution="uniform")
    again = PriorDiscreteScheduler.from_config(uniform.config)
    expected = torch.tensor([[1 / 2, 1 / 2, 0.0], [1 / 3, 1 / 3, 1 / 3]])
    for scheduler in (uniform, again):
        torch.testing.assert_close(scheduler.stationary(prior), expected)
    torch.testing.assert_close(uniform.stationary(prior.expand(4, 2, 3)), expected.expand(4, 2, 3))
    with pytest.raises(ValueError, match="'unifrom'.*Did you mean 'uniform'"):
        PriorDiscreteScheduler(end_distribution="unifrom")


# ---------------------------------------------------------------------- drawing


def test_zero_probability_is_never_drawn() -> None:
    """At both ends of the uniform numbers and in between, for all patterns of zeros and unnormalised weights."""
    patterns = torch.tensor(list(itertools.product((0.0, 1e-30, 0.1, 1 / 3, 7.0), repeat=5)))
    patterns = patterns[(patterns > 0).any(1)]
    below_one = torch.nextafter(torch.tensor(1.0), torch.tensor(0.0))
    uniform = torch.cat([torch.tensor([0.0, 2.0**-24, 0.5]), below_one[None], torch.rand(20, generator=seeded())])
    for u in uniform:
        index = draw_categorical(patterns, u.expand(len(patterns)))
        assert (patterns.gather(1, index[:, None]) > 0).all(), float(u)


def test_draws_are_those_of_the_inverse_distribution_function() -> None:
    weights = torch.tensor([0.5, 0.0, 0.25, 0.25])
    uniform = torch.tensor([0.0, 0.25, 0.499, 0.5, 0.6, 0.749, 0.75, 0.99])
    for scale in (1.0, 0.25, 64.0):
        drawn = draw_categorical((scale * weights).expand(8, -1), uniform)
        assert drawn.tolist() == [0, 0, 0, 2, 2, 2, 3, 3]


def test_uniform_numbers_are_below_one_and_independent() -> None:
    for generator in (None, seeded(), [seeded(i) for i in range(1_000)]):
        uniform = draw_uniform((1_000, 20), generator)
        assert uniform.shape == (1_000, 20) and uniform.min() >= 0 and uniform.max() < 1
        assert float(uniform.mean()) == pytest.approx(0.5, abs=0.02)
        assert len(uniform.unique()) > 19_900
