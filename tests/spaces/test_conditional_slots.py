"""Slots that have an effect only with certain choices of other slots: layers below a maximal depth."""

from __future__ import annotations

import pytest
import torch

from pkgen_hf import ArchitectureDenoiser, Choice, PKGenPipeline, Prior, PriorDiscreteScheduler, SearchSpace, Slot
from pkgen_hf.benchmarks.estimate import Estimate
from pkgen_hf.spaces.cost_effects import measured_effects
from pkgen_hf.spaces.tasks import Task
from pkgen_hf.training.losses import _cross_entropy

DEPTHS, HEADS, RATIOS = ("2", "3", "4"), ("h1", "h2", "h4"), ("r2", "r4")
TASK = Task("language-modelling", -5.0, 100)


class Layers(SearchSpace):
    """Two to four layers of one to four heads, with an MLP of which only some have a width to choose."""

    def __init__(self) -> None:
        slots = [Slot("depth", "depth", tuple(Choice(d, "size", level=int(d) / 4) for d in DEPTHS), (0,), 1)]
        for layer in range(4):
            there = None if layer < 2 else ("depth", DEPTHS[layer - 1 :])
            heads = tuple(Choice(h, "size", level=int(h[1:]) / 4) for h in HEADS)
            mlp = (Choice("no-mlp", "zero"), Choice("mlp", "linear"))
            ratios = tuple(Choice(r, "size", expansion=int(r[1:])) for r in RATIOS)
            nodes = {"reads": (layer + 1,), "writes": layer + 2}
            slots += [
                Slot(f"heads {layer}", "width", heads, **nodes, active_if=there),
                Slot(f"mlp {layer}", "operation", mlp, **nodes, active_if=there),
                Slot(f"ratio {layer}", "expansion", ratios, **nodes, active_if=(f"mlp {layer}", ("mlp",))),
            ]
        super().__init__("layers", slots, {"text": TASK}, null_choice=("2", "h1", "no-mlp", "r2"))

    def parameters(self, indices: torch.Tensor, task: str | None = None) -> torch.Tensor:
        active = self.active_slots(indices)[:, 1:].unflatten(1, (4, 3))
        heads, mlp, ratio = indices[:, 1:].unflatten(1, (4, 3)).unbind(2)
        sizes = 4 * 2**heads * active[..., 0] + 16 * (1 + ratio) * mlp * active[..., 2]
        return 100 + sizes.sum(1)

    flops = parameters


SPACE = Layers()


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def by_hand(row: list[int]) -> list[bool]:
    active = [True]
    for layer in range(4):
        there = layer < row[0] + 2
        active += [there, there, there and row[3 * layer + 2] == 1]
    return active


def shuffled(rows: torch.Tensor, seed: int = 1) -> torch.Tensor:
    """The same architectures, with random choices in slots without effect."""
    return torch.where(SPACE.active_slots(rows), rows, SPACE.sample(len(rows), seeded(seed)))


def test_active_slots_are_those_of_layers_that_exist_also_through_a_chain() -> None:
    rows = SPACE.sample(500, seeded())
    assert SPACE.is_conditional
    assert SPACE.active_slots(rows).tolist() == [by_hand(row) for row in rows.tolist()]


def test_architectures_that_differ_in_slots_without_effect_are_one() -> None:
    rows = SPACE.sample(500, seeded())
    other = shuffled(rows)
    assert not torch.equal(other, SPACE.canonical(rows))
    assert torch.equal(SPACE.keys(other), SPACE.keys(rows))
    assert torch.equal(SPACE.canonical(SPACE.canonical(rows)), SPACE.canonical(rows))
    assert torch.equal(SPACE.features(other), SPACE.features(rows))
    assert torch.equal(SPACE.parameters(other), SPACE.parameters(rows))
    # heads, and no MLP or one of two widths: 3 * 3 choices a layer
    assert SPACE.num_architectures == 9**2 + 9**3 + 9**4 == SPACE.count_by_enumeration()


@pytest.mark.parametrize("scale", [1.0, 0.0])
def test_denoiser_does_not_look_at_slots_without_effect(scale: float) -> None:
    torch.manual_seed(0)
    denoiser = ArchitectureDenoiser(width=16, num_layers=2, num_heads=2).eval()
    torch.nn.init.normal_(denoiser.relation.weight)
    condition = denoiser.make_condition(SPACE, Prior.absent(SPACE), similarity=scale)
    rows = SPACE.canonical(SPACE.sample(200, seeded()))
    other, active = shuffled(rows), SPACE.active_slots(rows)
    with torch.no_grad():
        logits, other_logits = denoiser(rows, 0.0, condition), denoiser(other, 0.0, condition)
    assert not torch.equal(rows, other)
    torch.testing.assert_close(other_logits[active], logits[active])
    changes = logits[:, :, 0].std(0)  # with the choices of the other slots
    assert (changes > 1e-3).all() if scale else not changes.any()


def test_loss_counts_slots_that_have_an_effect_only() -> None:
    condition = ArchitectureDenoiser(width=16, num_layers=1, num_heads=2).make_condition(SPACE, Prior.absent(SPACE))
    clean = SPACE.canonical(SPACE.sample(64, seeded()))
    active = SPACE.active_slots(clean)
    logits = torch.randn(64, SPACE.num_slots, SPACE.num_choices, generator=seeded())
    loss = _cross_entropy(logits, clean, condition)
    torch.testing.assert_close(loss, torch.nn.functional.cross_entropy(logits[active], clean[active]))
    changed = torch.where(active[..., None], logits, logits + torch.randn(logits.shape, generator=seeded(1)))
    torch.testing.assert_close(_cross_entropy(changed, clean, condition), loss)


def test_prior_counts_choices_of_layers_that_exist_only() -> None:
    """Of 30 architectures, those with a fourth layer have 4 heads there: a prior of all says so of every one."""
    rows = SPACE.sample(30, seeded())
    last = 1 + 3 * 3
    has_fourth = rows[:, 0] == 2
    assert 0 < int(has_fourth.sum()) < 20
    rows[has_fourth, last] = 2
    rows = SPACE.canonical(rows)  # a first choice, 1 head, stands in the slot of all others
    scores = SPACE.parameters(rows).float() + torch.linspace(0, 1, 30)
    prior = Prior.from_evaluations(SPACE, rows, scores, "text", top_k=30)
    good = rows[scores.argsort(descending=True)[: prior.num_good]]
    active = SPACE.active_slots(good)
    assert active[:, last].any() and not active[:, last].all()
    assert prior.frequencies[last].tolist() == [0.0, 0.0, 1.0]
    torch.testing.assert_close(prior.frequencies.sum(1), torch.ones(SPACE.num_slots))
    for part in prior.subgraphs:
        if last in part.slots:
            assert part.count <= int(active[:, last].sum())
    shallow = SPACE.sample(200, seeded())
    shallow = shallow[shallow[:, 0] == 0]
    none = Prior.from_evaluations(SPACE, shallow, torch.arange(float(len(shallow))), "text")
    assert none.frequencies[last].tolist() == pytest.approx([1 / 3] * 3)
    assert none.contributions[last].isnan().all()


def test_effects_on_costs_of_a_layer_say_nothing_of_the_number_of_layers() -> None:
    effects = measured_effects(SPACE)[..., 1]
    first, last = effects[1, :3], effects[1 + 3 * 3, :3]
    assert abs(float(last.mean())) < 0.2 and abs(float(first.mean())) < 0.2
    assert last[0] < last[1] < last[2]
    assert effects[0, 0] < -0.5 and effects[0, 2] > 0.5


def test_additive_fit_does_not_look_at_slots_without_effect() -> None:
    rows = SPACE.canonical(SPACE.sample(200, seeded()))
    estimate = Estimate(SPACE, rows, SPACE.parameters(rows).float(), 0.0, look_up=False)
    more = SPACE.sample(100, seeded(5))
    torch.testing.assert_close(estimate(more), estimate(SPACE.canonical(more)))
    error = (estimate(more) - SPACE.parameters(more)).abs().mean()
    assert error < 0.1 * SPACE.parameters(more).float().std()


def test_pipeline_returns_no_architecture_twice_under_a_limit() -> None:
    torch.manual_seed(0)
    pipe = PKGenPipeline(ArchitectureDenoiser(width=16, num_layers=1, num_heads=2), PriorDiscreteScheduler())
    pipe.set_progress_bar_config(disable=True)
    out = pipe(SPACE, prior=Prior.absent(SPACE), num_architectures=50, generator=seeded(), max_parameters=200)
    assert len({str(architecture.canonical()) for architecture in out.architectures}) == 50
    rows = torch.cat([architecture.rows for architecture in out.architectures])
    assert torch.equal(rows, SPACE.canonical(rows))
    assert all(int(SPACE.parameters(architecture.rows)) <= 200 for architecture in out.architectures)


def test_spaces_that_differ_in_conditions_only_are_different() -> None:
    def space(active_if: tuple[str, tuple[str, ...]] | None) -> SearchSpace:
        choices = (Choice("a", "size"), Choice("b", "size", level=1.0))
        slots = [Slot("one", "depth", choices, (0,), 1), Slot("two", "width", choices, (1,), 2, active_if=active_if)]
        return SearchSpace("two", slots, {}, "a")

    assert space(None) == space(None) != space(("one", ("b",))) != space(("one", ("a",)))
    with pytest.raises(ValueError, match="'onee', did you mean 'one'|one"):
        space(("onee", ("b",)))
    with pytest.raises(ValueError, match="choice of slot 'one'"):
        space(("one", ("c",)))
