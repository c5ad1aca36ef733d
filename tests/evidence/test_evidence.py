"""What evaluations say of architectures: the kernel, the posterior, and calls of the pipeline with evaluations."""

from __future__ import annotations

import math

import pytest
import torch

from pkgen_hf import Architecture, PKGenPipeline, ScoreTable, get_space, list_spaces
from pkgen_hf.evidence.carried_over import AGREEMENT, AGREEMENT_OF_UNLIKE, CarriedOver
from pkgen_hf.evidence.evaluations import Evaluations
from pkgen_hf.evidence.kernel import Kernel
from pkgen_hf.evidence.posterior import LEVEL, NOISE, Posterior

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


def carried(task: str = TASK, log_probabilities: torch.Tensor | None = None, **options: object) -> CarriedOver:
    """Of the cells: nothing, unless probabilities are given."""
    space = get_space(SPACE)
    known = torch.zeros(6, 5) if log_probabilities is None else log_probabilities
    return CarriedOver(Kernel(space, task), known, **{"is_new": False, "agreement": AGREEMENT, **options})


def test_the_posterior_is_that_of_a_gaussian_process(cell_table: ScoreTable) -> None:
    """With nothing carried over: mean and deviation by the textbook formulas, with an explicit inverse."""
    given = Evaluations.of(cell_table.space, labels(cell_table, 15))
    posterior = Posterior(carried(), given)
    kernel = posterior.kernel
    rows = kernel.reference[:50]
    known, asked = kernel.features(given.indices), kernel.features(rows)
    inverse = torch.linalg.inv(kernel(known, known) + LEVEL + NOISE * torch.eye(15, dtype=torch.float64))
    shared = kernel(asked, known)
    mean, deviation = posterior(rows)
    assert torch.allclose(mean, shared @ inverse @ given.normal_scores())
    variance = kernel.variance() - (shared @ inverse * shared).sum(1)
    assert torch.allclose(deviation, variance.sqrt())
    assert torch.allclose(posterior.weights, torch.tensor(list(AGREEMENT.values()), dtype=torch.float64))


def test_agreement_follows_the_evaluations() -> None:
    """Scores that are the sum of what each choice is, against probabilities of the same or the opposite order."""
    space = get_space(SPACE)
    values = torch.randn(6, 5, generator=seeded())
    rows = space.sample(60, seeded(1))
    rows = rows[space.is_valid(rows)][:30]
    given = Evaluations.of(space, (rows, values[torch.arange(6), rows].sum(1)))
    same, opposite = (Posterior(carried(log_probabilities=sign * values), given).agreement for sign in (1, -1))
    prior = sum(value * share for value, share in AGREEMENT.items())
    assert same > prior + 0.2 and opposite < prior - 0.2
    none = Evaluations.of(space, ([], []))
    assert Posterior(carried(log_probabilities=values), none).agreement == pytest.approx(prior)
    unlike = carried(log_probabilities=values, agreement=AGREEMENT_OF_UNLIKE)
    assert Posterior(unlike, none).agreement == pytest.approx(0) and Posterior(unlike, given).agreement > 0.2


def test_of_many_evaluations_the_best_and_random_others_count(cell_table: ScoreTable) -> None:
    given = Evaluations.of(cell_table.space, labels(cell_table, 5000))
    posterior = Posterior(carried(), given)
    ranks = torch.stack([posterior.mean(given.indices), given.scores]).argsort(1).argsort(1).double()
    assert torch.corrcoef(ranks)[0, 1] > 0.8
    best = given.indices[given.scores.argmax()][None]
    assert posterior.mean(best) > posterior.mean(given.indices).quantile(0.95)


def test_what_is_carried_over_is_probable_and_in_new_spaces_large() -> None:
    space = get_space(SPACE)
    values = torch.randn(6, 5, generator=seeded())
    rows = space.canonical(space.sample(500, seeded(1)))
    expected = values.double()[torch.arange(6), rows].sum(1)
    scores = carried(log_probabilities=values)(rows)
    assert torch.corrcoef(torch.stack([scores, expected]))[0, 1] > 1 - 1e-9
    reference = carried(log_probabilities=values)(Kernel(space, TASK).reference)
    assert abs(float(reference.mean())) < 1e-9 and float(reference.std(correction=0)) == pytest.approx(1)
    sizes = space.flops(rows, TASK).double().log()
    new = carried(is_new=True)(rows)
    assert torch.corrcoef(torch.stack([new, sizes]))[0, 1] > 0.9


def test_a_batch_is_spread_out(cell_table: ScoreTable) -> None:
    """More than the best by the bound alone; what is pending is not proposed and moves the others away."""
    space = cell_table.space
    posterior = Posterior(carried(), Evaluations.of(space, labels(cell_table, 10)))
    kernel = posterior.kernel
    rows = kernel.reference
    none = torch.empty(0, space.num_slots, dtype=torch.long)
    mean, deviation = posterior(rows)
    alone = (mean + 2 * deviation).argsort(descending=True)[:10]
    together = posterior.batch(rows, 10, 2.0, none)
    assert len(set(together.tolist())) == 10 and together[0] == alone[0]

    def similarity(which: torch.Tensor) -> float:
        features = kernel.features(rows[which])
        return float(kernel(features, features).mean())

    assert similarity(together) < similarity(alone)
    rest = posterior.batch(rows, 7, 2.0, rows[together[:3]])
    assert rest.tolist() == together[3:].tolist()


# ---------------------------------------------------------------------- calls


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


def test_evaluations_in_any_form_and_number(pipe: PKGenPipeline, cell_table: ScoreTable) -> None:
    rows, scores = labels(cell_table, 5)
    architectures = Architecture.from_batch(cell_table.space, rows)
    forms = [(rows, scores), (architectures, scores.tolist()), ([str(a) for a in architectures], scores.numpy())]
    found = [pipe(SPACE, TASK, evaluations=form, generator=seeded()).architectures for form in forms]
    assert found[0] == found[1] == found[2]
    for num in (0, 1):
        out = pipe(SPACE, "image-classification", evaluations=(rows[:num], scores[:num]), generator=seeded())
        assert len(out.architectures) == 8
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
