"""What evaluations say of all other architectures, together with what was known before."""

from __future__ import annotations

from collections.abc import Collection

import torch

from .carried_over import CarriedOver
from .evaluations import Evaluations

NOISE = 0.1  # variance of normal scores that nothing explains: of trainings with other seeds, and of what is unknown
# Variance of the level of all that was evaluated, which is unknown: a few good ones do not make each other average.
LEVEL = 4.0
ROWS_AT_ONCE = 4096
MOST = 2000  # evaluations that are compared with: computing grows with the cube of their number


class Posterior:
    """Distribution of the normal score of any architecture, given evaluations.

    That of the Gaussian process of what is carried over, given the evaluations. What contradicts them is so left; no
    parameter is fitted.

    Parameters
    ----------
    carried
        The process before evaluations.
    evaluations
        Any number of them, none included. Of more than `MOST` the best half of so many and random others count.
    """

    def __init__(self, carried: CarriedOver, evaluations: Evaluations) -> None:
        self.kernel, self.carried, self.evaluations = carried.kernel, carried, evaluations
        which = _which(evaluations.scores)
        self._known = carried.inputs(evaluations.indices[which])
        noise = NOISE * torch.eye(len(which), dtype=torch.float64)
        self._factor = torch.linalg.cholesky(carried.covariance(self._known, self._known) + LEVEL + noise)
        residuals = evaluations.normal_scores()[which] - carried.mean(self._known)
        self._solved = torch.cholesky_solve(residuals[:, None], self._factor)[:, 0]

    @property
    def coefficients(self) -> torch.Tensor:
        """Expected coefficients of the basis functions of what is carried over, ``DoubleTensor (functions,)``."""
        return self.carried.expected + self.carried.variances * (self._known.basis.T @ self._solved)

    def __call__(self, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and standard deviation of the normal score of ``(n, slots)``, without noise, ``DoubleTensor (n,)``."""
        parts = [self._of_part(part) for part in rows.split(ROWS_AT_ONCE)]
        return torch.cat([mean for mean, _ in parts]), torch.cat([deviation for _, deviation in parts])

    def mean(self, rows: torch.Tensor) -> torch.Tensor:
        """The mean alone."""
        return self(rows)[0]

    def batch(
        self,
        rows: torch.Tensor,
        num: int,
        exploration: float,
        pending: torch.Tensor,
        controls: torch.Tensor,
        turns: Collection[int],
    ) -> torch.Tensor:
        """Positions of architectures to evaluate together, in order, ``LongTensor (num,)``.

        One after the other that of the highest upper confidence bound, as if those before had been evaluated with the
        score that is expected, which lessens the deviation of similar ones (Desautels et al., JMLR 2014); in some
        turns the next control instead.

        Parameters
        ----------
        rows
            ``LongTensor (n, slots)``
        num
            At most n.
        exploration
            Standard deviations that are added to the mean.
        pending
            Architectures that are being evaluated, ``LongTensor (p, slots)``.
        controls
            Positions that are taken in this order, whatever is expected there, ``LongTensor (c,)``; may be none.
        turns
            Which of the `num` are controls, as long as there are some.
        """
        mean, _ = self(rows)
        inputs = self.carried.inputs(torch.cat([pending, rows]))
        shared = torch.linalg.solve_triangular(self._factor, self.carried.covariance(self._known, inputs), upper=False)
        covariance = self.carried.covariance(inputs, inputs) - shared.T @ shared
        mean = torch.cat([mean.new_full((len(pending),), -torch.inf), mean])
        controls, chosen = controls + len(pending), list[int]()
        for step in range(len(pending) + num):
            left = controls[~mean[controls].isinf()] if step - len(pending) in turns else controls[:0]
            bound = mean + exploration * covariance.diagonal().clamp(min=0).sqrt()
            best = step if step < len(pending) else int(left[0] if len(left) else bound.argmax())
            column = covariance[:, best] / (covariance[best, best] + NOISE).sqrt()
            covariance = covariance - column[:, None] * column
            mean[best] = -torch.inf
            chosen.append(best - len(pending))
        return torch.tensor(chosen[len(pending) :], dtype=torch.long)

    def _of_part(self, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        inputs = self.carried.inputs(rows)
        shared = self.carried.covariance(self._known, inputs)
        mean = self.carried.mean(inputs) + self._solved @ shared
        explained = torch.linalg.solve_triangular(self._factor, shared, upper=False).square().sum(0)
        return mean, (self.carried.variance(inputs) - explained).clamp(min=0).sqrt()


def _which(scores: torch.Tensor) -> torch.Tensor:
    """Places of the evaluations that count, ``LongTensor (up to MOST,)``."""
    best = scores.argsort(descending=True, stable=True)
    others = best[MOST // 2 :]
    others = others[torch.randperm(len(others), generator=torch.Generator().manual_seed(0))[: MOST - MOST // 2]]
    return torch.cat([best[: MOST // 2], others]).sort().values
