"""What evaluations say of architectures: the kernel, the posterior, and calls of the pipeline with evaluations."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch

from pkgen_hf import Architecture, PKGenPipeline, ScoreTable, SearchSpace, get_space, list_spaces
from pkgen_hf.evidence.carried_over import (
    OF_MEASURED_DATA,
    OF_MEASURED_SPACE,
    OF_NEW_SPACE,
    OF_UNLIKE_DATA,
    SIZES,
    CarriedOver,
    Coefficients,
)
from pkgen_hf.evidence.evaluations import Evaluations
from pkgen_hf.evidence.kernel import Kernel
from pkgen_hf.evidence.posterior import LEVEL, NOISE, Posterior
from pkgen_hf.priors.effects import Effects
from pkgen_hf.spaces import RELATIONS
from pkgen_hf.spaces.components import Components
from pkgen_hf.spaces.spectral_capacity import spectral_capacity

SPACE, TASK = "nas-bench-201", "cifar100"


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def labels(table: ScoreTable, num: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    rows, scores = table.distinct_rows(table.column(TASK))
    order = torch.randperm(len(rows), generator=seeded(seed))[:num]
    return table.indices[rows[order]], scores[order]


# ---------------------------------------------------------------------- evaluations


def test_scores_of_one_architecture_are_averaged_and_failures_are_last() -> None:
    space = get_space(SPACE)
    rows = space.canonical(space.sample(4, seeded()))
    given = Evaluations.of(space, (rows[[0, 0, 1, 2, 2, 3]], [1.0, 3.0, 5.0, math.nan, 4.0, math.nan]))
    scores = dict(zip(space.keys(given.indices).tolist(), given.scores.tolist(), strict=True))
    assert [scores[key] for key in space.keys(rows).tolist()] == [2.0, 5.0, 4.0, -math.inf]
    normal = dict(zip(space.keys(given.indices).tolist(), given.normal_scores().tolist(), strict=True))
    assert normal[int(space.keys(rows[3:])[0])] == min(normal.values()) and sum(normal.values()) == pytest.approx(0)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("cells", "must be a pair"),
        ({"a": 70.0, "b": 71.0}, "must be a pair"),
        ([("a", 70.0), ("b", 71.0)], "must be a pair"),
        (([[0] * 6], ["good"]), "scores must be numbers: .*'good'"),
        (([], [1.0]), "0 architectures but 1 score"),
        (([[0] * 6], [math.inf]), "score 0 is inf"),
        (([[9] * 6], [1.0]), "9"),
    ],
)
def test_what_is_no_evaluation(given: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Evaluations.of(get_space(SPACE), given)


# ---------------------------------------------------------------------- kernel and posterior


@pytest.mark.parametrize("name", list_spaces())
def test_covariances_are_those_of_a_kernel(name: str) -> None:
    """Positive semidefinite, largest on the diagonal, and equal for isomorphic architectures."""
    space = get_space(name)
    kernel = Kernel(space, None)
    rows = kernel.reference[:60]
    features = kernel.features(rows)
    covariance = kernel(features, features)
    assert torch.allclose(covariance.diagonal(), torch.full((len(rows),), kernel.variance(), dtype=torch.float64))
    assert (covariance <= kernel.variance() + 1e-9).all() and torch.linalg.eigvalsh(covariance).min() > -1e-8
    again = kernel(kernel.features(space.canonical(rows)), features)
    assert torch.allclose(again, covariance)


NO_ROWS = torch.empty(0, 6, dtype=torch.long)
EVEN = torch.zeros(6, 5)  # log-probabilities that tell nothing


def carried(
    samples: torch.Tensor = NO_ROWS,
    log_probabilities: torch.Tensor = EVEN,
    coefficients: Coefficients = OF_NEW_SPACE,
    effects: Effects | None = None,
) -> CarriedOver:
    """Of the cells: their sizes alone, unless samples, probabilities or effects are given."""
    return CarriedOver(Kernel.of(get_space(SPACE), TASK), samples, log_probabilities, effects, coefficients)


def some_effects(name: str = SPACE, seed: int = 3) -> Effects:
    """Random ones."""
    space, generator = get_space(name), seeded(seed)
    components = Components(space)
    number = len(components.identities)
    return Effects(
        torch.randn(space.num_slots, space.num_choices, generator=generator),
        torch.randn(len(components.relations), number, number, generator=generator),
    )


def test_the_posterior_is_that_of_linear_regression_with_a_kernel(cell_table: ScoreTable) -> None:
    """Mean, deviation and coefficients by the textbook formulas, with an explicit inverse."""
    space = cell_table.space
    given = Evaluations.of(space, labels(cell_table, 15))
    values = torch.randn(6, 5, generator=seeded(1))
    process = carried(space.sample(40, seeded()), values, OF_MEASURED_SPACE, some_effects())
    posterior, rows = Posterior(process, given), process.kernel.reference[:50]
    known, asked = process.inputs(given.indices), process.inputs(rows)
    given_as = OF_MEASURED_SPACE
    means = [given_as.density[0], given_as.probability[0], *(given_as.size[0] * share for share in SIZES)]
    means += [*[0.0] * 5, given_as.effects[0]]
    deviations = [given_as.density[1], given_as.probability[1], *[given_as.size[1]] * 3]
    deviations += [*[given_as.counts[1] / 5**0.5] * 5, given_as.effects[1]]  # of operations, and of effects
    kernel, b, spread = process.kernel, torch.tensor(means).double(), torch.tensor(deviations).double().diag() ** 2
    covariance = kernel(known.features, known.features) + known.basis @ spread @ known.basis.T
    inverse = torch.linalg.inv(covariance + LEVEL + NOISE * torch.eye(15, dtype=torch.float64))
    shared = kernel(asked.features, known.features) + asked.basis @ spread @ known.basis.T
    residual = given.normal_scores() - known.basis @ b
    mean, deviation = posterior(rows)
    assert torch.allclose(mean, asked.basis @ b + shared @ inverse @ residual)
    before = kernel.variance() + (asked.basis @ spread * asked.basis).sum(1)
    assert torch.allclose(deviation, (before - (shared @ inverse * shared).sum(1)).sqrt())
    assert torch.allclose(posterior.coefficients, b + spread @ known.basis.T @ inverse @ residual)


@pytest.mark.parametrize("coefficients", [OF_NEW_SPACE, OF_MEASURED_SPACE, OF_MEASURED_DATA, OF_UNLIKE_DATA])
def test_without_evaluations_what_is_carried_over_ranks(coefficients: Coefficients) -> None:
    space = get_space(SPACE)
    process = carried(space.sample(40, seeded()), torch.randn(6, 5, generator=seeded()), coefficients)
    posterior = Posterior(process, Evaluations.of(space, ([], [])))
    rows = space.sample(50, seeded(1))
    basis = process.inputs(rows).basis
    by_hand = coefficients.density[0] * basis[:, 0] + coefficients.probability[0] * basis[:, 1]
    for column, share in enumerate(SIZES, start=2):
        by_hand = by_hand + coefficients.size[0] * share * basis[:, column]
    torch.testing.assert_close(posterior.mean(rows), by_hand)
    assert (coefficients is OF_UNLIKE_DATA) == (posterior.mean(rows).abs().max() == 0)


def test_what_is_carried_over_follows_the_evaluations() -> None:
    """Scores that are the sum of what each choice is, against probabilities of the same or the opposite order."""
    space = get_space(SPACE)
    values = torch.randn(6, 5, generator=seeded())
    rows = space.sample(60, seeded(1))
    rows = rows[space.is_valid(rows)][:30]
    given = Evaluations.of(space, (rows, values[torch.arange(6), rows].sum(1)))
    for coefficients in (OF_NEW_SPACE, OF_MEASURED_SPACE, OF_MEASURED_DATA, OF_UNLIKE_DATA):
        before, deviation = coefficients.probability
        same, opposite = (
            Posterior(carried(log_probabilities=sign * values, coefficients=coefficients), given) for sign in (1, -1)
        )
        assert float(same.coefficients[1]) > before + 0.2 * deviation
        assert float(opposite.coefficients[1]) < before - deviation


def test_of_many_evaluations_the_best_and_random_others_count(cell_table: ScoreTable) -> None:
    given = Evaluations.of(cell_table.space, labels(cell_table, 5000))
    posterior = Posterior(carried(), given)
    ranks = torch.stack([posterior.mean(given.indices), given.scores]).argsort(1).argsort(1).double()
    assert torch.corrcoef(ranks)[0, 1] > 0.8
    best = given.indices[given.scores.argmax()][None]
    assert posterior.mean(best) > posterior.mean(given.indices).quantile(0.95)


def standardised(values: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    return (values - reference.mean()) / reference.std(correction=0)


@pytest.mark.parametrize("name", [SPACE, "hw-gpt-bench-s"])
def test_basis_functions_are_density_probability_sizes_counts_and_effects(name: str) -> None:
    """By hand; log-probabilities and counts are of choices with an effect."""
    space = get_space(name)
    kernel, task = Kernel.of(space, None), space.data_set(None)
    samples = space.sample(30, seeded())[torch.arange(40) % 30]  # some of them twice
    given = torch.randn(space.num_slots, space.num_choices, generator=seeded(1))
    rows, reference = space.canonical(space.sample(20, seeded(2))), space.canonical(kernel.reference)

    def density(rows: torch.Tensor) -> torch.Tensor:
        one, other = kernel.features(rows), kernel.features(samples)
        parts = [0.3 * torch.exp(-torch.cdist(a, b).square() / 2) for a, b in zip(one.parts, other.parts, strict=True)]
        return sum(parts).mean(1).log()  # type: ignore[union-attr]

    def probability(rows: torch.Tensor) -> torch.Tensor:
        values = given.double()[torch.arange(space.num_slots), rows]
        return torch.where(space.active_slots(rows), values, 0).sum(1)

    def count(rows: torch.Tensor, identity: str) -> torch.Tensor:
        is_it = torch.zeros(space.num_slots, space.num_choices)
        for s, slot in enumerate(space.slots):
            for c, choice in enumerate(slot.choices):
                is_it[s, c] = choice.identity == identity
        return (is_it[torch.arange(space.num_slots), rows] * space.active_slots(rows)).sum(1).double()

    names = sorted({choice.identity for slot in space.slots for choice in slot.choices})
    varying = [name for name in names if count(reference, name).std() > 0]
    assert len(varying) > 1
    columns = (
        density,
        probability,
        lambda rows: space.flops(rows, task).double().log(),
        lambda rows: space.parameters(rows, task).double().log(),
        lambda rows: spectral_capacity(space, rows, task),
        *(partial(count, identity=name) for name in varying),
    )
    expected = torch.stack([standardised(column(rows), column(reference)) for column in columns], 1)
    effects = some_effects(name)
    found = CarriedOver(kernel, samples, given, effects, OF_MEASURED_SPACE).inputs(rows).basis
    torch.testing.assert_close(found[:, :-1], expected, rtol=1e-4, atol=1e-4)
    by_hand = torch.tensor([effect_by_hand(space, effects, row) for row in rows.tolist()], dtype=torch.float64)
    torch.testing.assert_close(found[:, -1] - found[:, -1].mean(), by_hand - by_hand.mean(), rtol=1e-4, atol=1e-4)


def effect_by_hand(space: SearchSpace, effects: Effects, row: list[int]) -> float:
    """The sum over choices, and over ordered pairs of slots in each relation."""
    components, active = Components(space), space.active_slots(torch.tensor([row]))[0].tolist()
    slots = [s for s in range(space.num_slots) if active[s]]
    number = {s: components.identities.index(space.slots[s].choices[row[s]].identity) for s in slots}
    total = sum(float(effects.choices[s, row[s]]) for s in slots)
    for s in slots:
        for t in slots:
            name = RELATIONS[int(space.relations[s, t])]
            if name in components.relations:
                total += float(effects.pairs[components.relations.index(name), number[s], number[t]])
    return total


def test_what_is_carried_over_is_equal_for_isomorphic_architectures() -> None:
    space = get_space(SPACE)
    rows = space.valid_rows
    rows = rows[(space.canonical(rows) != rows).any(1)][:200]
    found = carried(space.sample(30, seeded()), torch.randn(6, 5, generator=seeded(1)), effects=some_effects())
    torch.testing.assert_close(found.inputs(rows).basis, found.inputs(space.canonical(rows)).basis)
    moved, of_rows = carried(space.canonical(rows)), carried(rows)  # samples in another form
    assert torch.equal(moved.inputs(rows).basis, of_rows.inputs(rows).basis)


def test_without_samples_sizes_are_carried_over() -> None:
    rows = get_space(SPACE).sample(300, seeded())
    found = carried()
    scores = found.mean(found.inputs(rows))
    sizes = found.kernel.features(rows).sizes @ torch.tensor(SIZES, dtype=torch.float64)
    assert torch.corrcoef(torch.stack([scores, sizes]))[0, 1] > 1 - 1e-9


def test_architectures_like_the_samples_are_expected_to_be_better() -> None:
    """Of the same size: those sampled, and what is one slot away from them, less so."""
    space = get_space(SPACE)
    sample = torch.tensor([[3, 3, 3, 1, 3, 3]])
    near, far = torch.tensor([[3, 3, 3, 1, 3, 2]]), torch.tensor([[0, 4, 4, 0, 4, 0]])
    found = carried(sample.expand(20, -1))
    scores = found.mean(found.inputs(torch.cat([sample, near, far])))
    assert scores[0] > scores[1] > scores[2]
    assert scores[0] > found.mean(found.inputs(found.kernel.reference)).max() - 1e-9
    assert space.is_valid(sample).all()


def test_a_batch_is_spread_out(cell_table: ScoreTable) -> None:
    """More than the best by the bound alone; what is pending is not proposed and moves the others away."""
    space = cell_table.space
    posterior = Posterior(carried(), Evaluations.of(space, labels(cell_table, 10)))
    kernel = posterior.kernel
    rows = kernel.reference
    none, no_controls = torch.empty(0, space.num_slots, dtype=torch.long), torch.empty(0, dtype=torch.long)
    mean, deviation = posterior(rows)
    alone = (mean + 2 * deviation).argsort(descending=True)[:10]
    together = posterior.batch(rows, 10, 2.0, none, no_controls, ())
    assert len(set(together.tolist())) == 10 and together[0] == alone[0]

    def similarity(which: torch.Tensor) -> float:
        features = kernel.features(rows[which])
        return float(kernel(features, features).mean())

    assert similarity(together) < similarity(alone)
    rest = posterior.batch(rows, 7, 2.0, rows[together[:3]], no_controls, ())
    assert rest.tolist() == together[3:].tolist()


def test_controls_have_their_turns_in_a_batch(cell_table: ScoreTable) -> None:
    """Each once, in their order, passing over one that was chosen for its bound; without any left, bounds choose."""
    space = cell_table.space
    posterior = Posterior(carried(), Evaluations.of(space, labels(cell_table, 10)))
    rows = posterior.kernel.reference[:50]
    none = torch.empty(0, space.num_slots, dtype=torch.long)
    best = posterior.batch(rows, 3, 0.5, none, torch.empty(0, dtype=torch.long), ())
    worst = posterior.mean(rows).argsort()[:2]
    controls = torch.cat([best[:1], worst])
    found = posterior.batch(rows, 6, 0.5, none, controls, (1, 3, 4))
    assert found[0] == best[0] and found[1] == worst[0] and found[3] == worst[1]
    assert len(set(found.tolist())) == 6 and found[4] not in controls
    later = posterior.batch(rows, 2, 0.5, rows[found[:3]], torch.cat([worst[1:], worst[:1]]), (0,))
    assert later.tolist() == found[3:5].tolist()


# ---------------------------------------------------------------------- calls


def test_measured_effects_order_what_is_within_a_budget(pipe: PKGenPipeline, cell_table: ScoreTable) -> None:
    """Small cells, too, which are never sampled without a budget and are not among the good ones of a prior."""
    space = cell_table.space
    rows, scores = cell_table.distinct_rows(cell_table.column(TASK))
    costs = space.parameters(cell_table.indices[rows], TASK)
    for quantile in (0.2, 0.35, 0.5):
        most = int(costs.double().quantile(quantile))
        out = pipe(SPACE, TASK, max_parameters=most, num_architectures=100, generator=seeded())
        found = cell_table.values(torch.tensor([a.indices for a in out.architectures]), TASK)
        ranks = (scores[costs <= most][:, None] > found).float().mean(0)
        assert ranks[0] < 0.04 and ranks.median() < 0.08, quantile


def test_evaluations_are_better_than_what_was_evaluated(pipe: PKGenPipeline, cell_table: ScoreTable) -> None:
    """From a pipeline without priors, too: over five sets of 20 labels, the set is far better than they are."""
    pipe = PKGenPipeline(pipe.denoiser, pipe.scheduler, [])
    pipe.set_progress_bar_config(disable=True)
    best_labels, best, medians = [], [], []
    for seed in range(5):
        rows, scores = labels(cell_table, 20, seed)
        with pytest.warns(UserWarning, match="no prior"):
            out = pipe(SPACE, TASK, evaluations=(rows, scores), num_architectures=100, generator=seeded())
        assert len(set(out.architectures)) == 100 and (out.scores[:-1] >= out.scores[1:]).all()
        ranks = cell_table.ranks(cell_table.values(torch.tensor([a.indices for a in out.architectures]), TASK), TASK)
        best_labels.append(float(cell_table.ranks(scores, TASK).min()))
        best.append(float(ranks[:8].min()))
        medians.append(float(ranks.median()))
    assert sum(best) < sum(best_labels) and sum(medians) / 5 < 0.1


def test_rank_is_the_order_of_a_call(pipe: PKGenPipeline, cell_table: ScoreTable) -> None:
    """What is first does not depend on how many are asked for, nor on the generator, and obeys the limits."""
    given = labels(cell_table, 20)
    few, many = (
        pipe(SPACE, TASK, evaluations=given, num_architectures=num, generator=seeded(num)) for num in (8, 200)
    )
    assert few.architectures[0] == many.architectures[0]
    scores = pipe.rank(SPACE, many.architectures, TASK, evaluations=given)
    torch.testing.assert_close(scores, many.scores)
    within = pipe(SPACE, TASK, evaluations=given, max_parameters=4e5, generator=seeded())
    assert all(architecture.cost(TASK).parameters <= 4e5 for architecture in within.architectures)


@pytest.mark.parametrize(
    ("name", "limits"), [("darts", {"max_parameters": 1.2e6}), ("hw-gpt-bench-s", {"max_parameters": 40e6})]
)
def test_what_is_first_within_limits_is_the_same_however_many(
    pipe: PKGenPipeline, name: str, limits: dict[str, float]
) -> None:
    first = [
        pipe(name, num_architectures=num, generator=seeded(num), **limits).architectures[0]  # type: ignore[arg-type]
        for num in (1, 8, 100)
    ]
    assert len(set(first)) == 1


def test_evaluations_in_any_form_and_number(pipe: PKGenPipeline, cell_table: ScoreTable) -> None:
    rows, scores = labels(cell_table, 5)
    architectures = Architecture.from_batch(cell_table.space, rows)
    forms = [(rows, scores), (architectures, scores.tolist()), ([str(a) for a in architectures], scores.numpy())]
    found = [pipe(SPACE, TASK, evaluations=form, generator=seeded()).architectures for form in forms]
    assert found[0] == found[1] == found[2]
    for num in (0, 1):
        out = pipe(SPACE, "image-classification", evaluations=(rows[:num], scores[:num]), generator=seeded())
        assert len(out.architectures) == 8
    with pytest.warns(UserWarning, match="all 5 evaluations failed"):
        failed = pipe(SPACE, TASK, evaluations=(rows, [math.nan] * 5), generator=seeded())
    assert len(failed.architectures) == 8
    with pytest.raises(ValueError, match="distinct=False"):
        pipe(SPACE, TASK, evaluations=(rows, scores), distinct=False)


@pytest.mark.parametrize("name", ["darts", "hw-gpt-bench-s", "nas-bench-graph", "nas-bench-101", "nas-bench-nlp"])
def test_evaluations_in_other_spaces(pipe: PKGenPipeline, name: str) -> None:
    """Scores that rise with the number of parameters: what is generated is larger than what was evaluated."""
    space = get_space(name)
    rows = space.sample(2000, seeded())
    rows = rows[space.is_valid(rows)][:20]
    sizes = space.parameters(rows).float()
    out = pipe(name, evaluations=(rows, sizes), generator=seeded())
    found = space.parameters(torch.tensor([a.indices for a in out.architectures])).float()
    assert found.mean() > sizes.quantile(0.8)
