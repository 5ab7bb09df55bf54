"""Tests and intervals from what an estimate would have been, had treatment fallen elsewhere.

The estimate is the coefficient of treatment in a weighted regression on an intercept, treatment and
covariates. Under the hypothesis that treatment adds tau to every treated unit, tau is taken off the
treated, treatment is placed anew, and the coefficient is computed again. It is linear in tau, so that
every draw says exactly for which tau it is as extreme as what was found: no search is needed.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

Array = np.ndarray


class Partial(NamedTuple):
    """A weighted regression with the intercept and covariates partialled out.

    ``basis`` (n, 1 + p) is orthonormal and spans them, each row times the root of its weight.
    """

    root: Array
    basis: Array

    @classmethod
    def of(cls, covariates: Array, weights: Array) -> Partial:
        root = np.sqrt(weights)
        design = root[:, None] * np.column_stack([np.ones(len(weights)), covariates])
        left, size, _ = np.linalg.svd(design, full_matrices=False)
        return cls(root, left[:, size > 1e-10 * size[0]])

    def rest(self, values: Array) -> Array:
        """(n,) what is left of values, times the root of the weights."""
        scaled = self.root * values
        return scaled - self.basis @ (self.basis.T @ scaled)


class Placed(NamedTuple):
    """The estimate, and for each draw its coefficient: ``at`` on the outcome, ``pull`` on treatment as it was."""

    value: float
    at: Array
    pull: Array

    def errors(self) -> Array:
        """(draws,) what the draws would have given, had there been no effect but the estimate's."""
        return self.at - self.value * self.pull

    def p_value(self, null: float) -> float:
        """How often a draw is at least as far from zero as what was found, the effect being ``null``."""
        found = abs(self.value - null)
        return float((1 + (np.abs(self.at - null * self.pull) >= found * (1 - 1e-9)).sum()) / (len(self.at) + 1))

    def interval(self, level: float) -> tuple[float, float]:
        """The effects that are not rejected.

        Each draw is as extreme as what was found for tau from one root of

            (at - tau pull)^2 = (value - tau)^2

        to the other, and the estimate lies between them.
        """
        low, high = self._roots()
        allowed = int(np.floor((1 - level) * (len(low) + 1) + 1e-9))
        if allowed < 1:
            return -np.inf, np.inf
        return float(np.sort(low)[allowed - 1]), float(np.sort(high)[-allowed])

    def _roots(self) -> tuple[Array, Array]:
        with np.errstate(divide="ignore", invalid="ignore"):
            one = (self.at + self.value) / (1 + self.pull)
            other = (self.at - self.value) / (self.pull - 1)
        bounded = np.abs(self.pull) < 1 - 1e-9  # else treatment fell where it was: as extreme for every effect
        low = np.where(bounded, np.minimum(one, other), -np.inf)
        return low, np.where(bounded, np.maximum(one, other), np.inf)


def placed(outcome: Array, treated: Array, weights: Array, covariates: Array, elsewhere: Array) -> Placed:
    """The coefficient of treatment as it was and as it would have been elsewhere.

    Parameters
    ----------
    outcome, treated, weights : (n,)
    covariates : (n, p), without intercept
    elsewhere : (draws, n) bool: who would have been treated
    """
    partial = Partial.of(covariates, weights)
    outcome_rest, treated_rest = partial.rest(outcome), partial.rest(treated.astype(float))
    sides = np.column_stack([outcome_rest, treated_rest, partial.basis]) * partial.root[:, None]
    sides = np.column_stack([sides, weights])
    crossed = np.vstack([block.astype(float) @ sides for block in blocks(elsewhere, elsewhere.shape[1])])
    spread = crossed[:, -1] - (crossed[:, 2:-1] ** 2).sum(axis=1)
    there = spread > 1e-10 * crossed[:, -1]  # else the covariates say exactly who is treated in that draw
    spread = np.where(there, spread, np.inf)
    value = float(outcome_rest @ treated_rest / (treated_rest @ treated_rest))
    return Placed(value, crossed[:, 0] / spread, np.where(there, crossed[:, 1] / spread, 1.0))


def blocks(rows: Array, width: int, most: int = 4_000_000) -> list[Array]:
    """The rows in blocks of at most so many cells, a row being ``width`` cells wide."""
    return np.array_split(rows, max(1, -(-len(rows) * width // most)))


def detectable(low: float, high: float, errors: Array, power: float) -> float:
    """The smallest effect found with this power: half the interval, and how far the estimate may fall short.

    Effects farther from the estimate than half the interval are rejected; the estimate falls short of the
    truth as ``errors`` do of zero, in either direction.
    """
    return float((high - low) / 2 + np.quantile(np.concatenate([errors, -errors]), power))
