"""Costs of a space's networks, counted on the networks that its `build` makes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, Protocol

import torch
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from ..errors import one_line, shortened
from .shapes import on_meta
from .tasks import TASK_KINDS, Task

MOST_AT_ONCE = 64  # networks that one call builds, some milliseconds each; of more architectures costs must be sums
CHECKS = 32  # networks whose costs must be, to the last one, the sums that follow from others
LARGEST_SAMPLE = 512  # networks that are built to find out
ESTIMATE = 128  # networks at least, of which costs that are no sums are estimated
DRAWS = 20  # rounds of random architectures, until there are so many
RIDGE = 1.0  # of the fit of logarithms, where costs are no sums


class Builds(Protocol):
    """What is asked of a space: `pkgen_hf.spaces.SearchSpace` has all of it."""

    name: str
    build: Callable[[Sequence[str], Task], Any] | None

    @property
    def num_choices(self) -> int: ...
    @property
    def choice_names(self) -> Any: ...
    @property
    def sizes(self) -> torch.Tensor: ...
    def sample(self, num: int, generator: torch.Generator | None = None) -> torch.Tensor: ...
    def is_valid(self, indices: torch.Tensor) -> torch.Tensor: ...
    def canonical(self, indices: torch.Tensor) -> torch.Tensor: ...
    def active_slots(self, indices: torch.Tensor) -> torch.Tensor: ...
    def to_strings(self, indices: torch.Tensor) -> list[str]: ...
    def input_shape(self, task: Task) -> tuple[int, ...]: ...


class BuiltCosts:
    """Trainable parameters and multiply-adds of the networks that a space builds, at the scale of one task.

    The costs of a few architectures are counted on their networks. Those of many are the sums of what each choice adds
    to them, where costs are such sums: effects of choices follow from random networks by least squares, and must
    give the costs of `CHECKS` others exactly.

    Parameters
    ----------
    space
        With `build`.
    task
        Its data set, or one of the user's own.
    """

    def __init__(self, space: Builds, task: Task) -> None:
        self.space, self.task = space, task
        self.reads_graphs = "graph" in TASK_KINDS[task.kind]
        self._known: dict[tuple[int, ...], tuple[int, int]] = {}

    def counts(self, indices: torch.Tensor) -> torch.Tensor:
        """Parameters and multiply-adds of ``(batch, slots)``, ``LongTensor (batch, 2)``, exact.

        Raises
        ------
        NotImplementedError
            For many architectures where costs are no sums.
        ValueError
            If `build` makes no network, or one that cannot read the data of the task.
        """
        rows = self.space.canonical(indices.cpu())
        distinct, which = rows.unique(dim=0, return_inverse=True)
        new = [row for row in distinct.tolist() if tuple(row) not in self._known]
        if len(new) > MOST_AT_ONCE:
            return self._sums(rows).to(indices.device)
        return self._counted(distinct)[which].to(indices.device)

    def log_costs(self, indices: torch.Tensor) -> torch.Tensor:
        """Logarithms of multiply-adds and parameters, ``DoubleTensor (batch, 2)``, of sums or else of a linear fit.

        Of networks on graphs, whose multiply-adds are not counted, both are parameters.
        """
        rows = self.space.canonical(indices.cpu())
        if self._effects is not None and bool((self._one_hot(rows) <= self._seen).all()):
            logs = self._sums(rows).double().clamp(min=1).log()
        else:
            logs = self._one_hot(rows) @ self._log_effects
        logs = logs[:, [0, 0]] if self.reads_graphs else logs[:, [1, 0]]
        return logs.to(indices.device)

    # ------------------------------------------------------------------ sums over choices

    @property
    def _wanted(self) -> int:
        """How many networks are built: a quarter more than there are effects, and those that check them."""
        effects = 1 + int((self.space.sizes - 1).sum())
        return min(5 * effects // 4 + CHECKS, LARGEST_SAMPLE)

    def _sample(self, num: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Up to `num` distinct random architectures, one-hot ``(n, columns)``, and costs ``(n, 2)``, DoubleTensors."""
        generator = torch.Generator().manual_seed(0)
        found: dict[tuple[int, ...], None] = {}
        for _ in range(DRAWS):
            rows = self.space.sample(2 * num, generator)
            found |= dict.fromkeys(map(tuple, self.space.canonical(rows[self.space.is_valid(rows)]).tolist()))
            if len(found) >= num:
                break
        rows = torch.tensor(list(found)[:num])
        return self._one_hot(rows), self._counted(rows).double()

    @cached_property
    def _checked(self) -> tuple[torch.Tensor, torch.Tensor]:
        """The sample that shows whether costs are sums."""
        return self._sample(self._wanted)

    @cached_property
    def _effects(self) -> torch.Tensor | None:
        """What each choice adds to parameters and multiply-adds, ``DoubleTensor (columns, 2)``.

        Columns are those of `_one_hot`. None if costs are no sums.
        """
        one_hot, costs = self._checked
        scale = costs.amax(0).clamp(min=1)
        fitted = slice(CHECKS, None) if len(costs) == self._wanted else slice(None)  # fewer are the whole space
        effects = torch.linalg.lstsq(one_hot[fitted], (costs / scale)[fitted], driver="gelsd").solution * scale
        return effects if bool(((one_hot @ effects).round() == costs).all()) else None

    @cached_property
    def _log_effects(self) -> torch.Tensor:
        """The same on logarithms, by ridge regression."""
        one_hot, costs = self._sample(max(self._wanted, ESTIMATE))
        logs = costs.clamp(min=1).log()
        penalty = RIDGE * torch.eye(one_hot.shape[1], dtype=torch.float64)
        penalty[-1, -1] = 0.0  # of the constant
        return torch.linalg.solve(one_hot.T @ one_hot + penalty, one_hot.T @ logs)

    @cached_property
    def _seen(self) -> torch.Tensor:
        """Which choices the sample has, ``DoubleTensor (columns,)`` of 0 and 1."""
        return self._checked[0].amax(0)

    def _one_hot(self, rows: torch.Tensor) -> torch.Tensor:
        """Choices of slots that have an effect, and a constant, ``DoubleTensor (n, slots * choices + 1)``."""
        one_hot = F.one_hot(rows, self.space.num_choices) * self.space.active_slots(rows)[..., None]
        return F.pad(one_hot.flatten(1).double(), (0, 1), value=1.0)

    def _sums(self, rows: torch.Tensor) -> torch.Tensor:
        """Costs of canonical rows as sums over choices, ``LongTensor (n, 2)``."""
        one_hot = self._one_hot(rows)
        if self._effects is None or not bool((one_hot <= self._seen).all()):
            raise NotImplementedError(
                f"{self.space.name} has no count of costs for more than {MOST_AT_ONCE} architectures at a time, since "
                "those of its built networks are no sums over choices: override parameters() and flops()"
            )
        return (one_hot @ self._effects).round().long()

    # ------------------------------------------------------------------ networks

    def _counted(self, rows: torch.Tensor) -> torch.Tensor:
        """Costs of canonical rows, each counted on its network once, ``LongTensor (n, 2)``."""
        found = []
        for row in rows.tolist():
            if tuple(row) not in self._known:
                self._known[tuple(row)] = self._count(row)
            found.append(self._known[tuple(row)])
        return torch.tensor(found).reshape(-1, 2)

    def _count(self, row: list[int]) -> tuple[int, int]:
        """Parameters and multiply-adds of one network."""
        names = tuple(self.space.choice_names[range(len(row)), row].tolist())
        problem, cause = "does not return a torch.nn.Module", None
        try:
            try:
                with on_meta():
                    return self._of_network(names)
            except NotAModule:
                raise
            except Exception:  # what computes with numbers when it is built or run has none on the meta device
                with torch.random.fork_rng(devices=[]), torch.device("cpu"):
                    return self._of_network(names)
        except NotAModule:
            pass
        except Exception as error:
            problem, cause = f"fails: {one_line(error)}", error
        text = shortened(self.space.to_strings(torch.tensor([row]))[0])
        raise ValueError(f"build of {self.space.name} {problem}; for {text}") from cause

    def _of_network(self, names: Sequence[str]) -> tuple[int, int]:
        """Parameters and multiply-adds, 0 of networks on graphs, which read no single example."""
        assert self.space.build is not None
        network = self.space.build(names, self.task)
        if not isinstance(network, torch.nn.Module):
            raise NotAModule
        parameters = sum(weight.numel() for weight in network.parameters() if weight.requires_grad)
        if self.reads_graphs:
            return parameters, 0
        with torch.no_grad(), FlopCounterMode(display=False) as products:
            network.eval()(self._example())
        return parameters, products.get_total_flops() // 2  # which torch counts as two each

    def _example(self) -> torch.Tensor:
        """One example of the task's data, of zeros."""
        shape = self.space.input_shape(self.task)
        is_text = "text" in TASK_KINDS[self.task.kind]
        return torch.zeros(1, *(shape or (1,)), dtype=torch.long if is_text or not shape else torch.float32)


class NotAModule(TypeError):
    """`build` returned something else than a network."""
