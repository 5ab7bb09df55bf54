"""What a two-way effects estimate is made of: comparisons of two groups, and effects, with their weights.

In a balanced panel the coefficient of treatment is an average of all differences in differences of two
groups and two spans of time (Goodman-Bacon), and an average of the effects on each group in each period,
some of which may count negatively (de Chaisemartin and D'Haultfoeuille).

References: goodmanbacon2021, dechaisemartin2020.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

Array = np.ndarray

KINDS = ("never", "later", "earlier", "always")
"""Whom a group is compared with: never treated, treated later, treated earlier, treated from the start."""

FORBIDDEN = (2, 3)
"""Comparisons with units that are treated already, whose own effects may still be changing."""


class Comparisons(NamedTuple):
    """One row a comparison: ``treated`` and ``other`` are positions of groups, ``kind`` one of ``KINDS``.

    ``weight`` sums to one; ``estimate`` is the difference in differences.
    """

    treated: Array
    other: Array
    kind: Array
    weight: Array
    estimate: Array

    @property
    def forbidden(self) -> Array:
        """Which comparisons are with units treated already."""
        return np.isin(self.kind, FORBIDDEN)


def comparisons(start: Array, weight: Array, mean: Array) -> Comparisons:
    """All comparisons of two groups.

    Parameters
    ----------
    start : (C,) the position of each group's first treated period among the T; 0 for the group treated in
        all of them, T for the group never treated. No two groups have the same.
    weight : (C,) of the groups.
    mean : (C, T) the groups' mean outcomes; of weights alone, zeros will do.
    """
    periods = mean.shape[1]
    share = weight / weight.sum()
    time = (periods - start) / periods  # the share of periods in which a group is treated
    rows: list[tuple[int, int, int, float, float]] = []
    for k in np.flatnonzero((start > 0) & (start < periods)):
        for o in np.flatnonzero(start != start[k]):
            low, high, kind = _span(int(start[k]), int(start[o]), periods)
            part = (high - low) / periods  # of the periods in which the other group's treatment does not change
            treated = (high - start[k]) / (high - low)
            pair = share[k] * share[o]  # (n_k + n_o)^2 n_ko (1 - n_ko)
            rows.append((int(k), int(o), kind, pair * part**2 * treated * (1 - treated),
                         _change(mean[k] - mean[o], low, int(start[k]), high)))  # fmt: skip
    treated_, other, kind_, size, estimate = (np.array(c) for c in zip(*rows, strict=True))
    variance = _variance(share, time, start, periods)
    return Comparisons(treated_, other, kind_, size / variance, estimate)


def coefficients(parts: Comparisons, weight: Array, start: Array, periods: int) -> Array:
    """(C, T): what the weighted sum of comparisons, with these weights, takes of each group's mean in each period."""
    out = np.zeros((len(start), periods))
    for k, o, w in zip(parts.treated, parts.other, weight, strict=True):
        low, high, _ = _span(int(start[k]), int(start[o]), periods)
        change = np.zeros(periods)
        change[start[k] : high] = w / (high - start[k])
        change[low : start[k]] = -w / (start[k] - low)
        out[k] += change
        out[o] -= change
    return out


def _span(own: int, other: int, periods: int) -> tuple[int, int, int]:
    """The periods in which the other group's treatment does not change, and the kind of comparison."""
    if other == periods:
        return 0, periods, 0
    if other == 0:
        return 0, periods, 3
    return (0, other, 1) if own < other else (other, periods, 2)


def _change(gap: Array, low: int, start: int, high: int) -> float:
    return float(gap[start:high].mean() - gap[low:start].mean())


def _variance(share: Array, time: Array, start: Array, periods: int) -> float:
    """The variance of treatment once units and periods have their own constants."""
    return float(share @ (_left(share, start, periods) ** 2).mean(axis=1))


def _left(share: Array, start: Array, periods: int) -> Array:
    """(C, T): treatment less unit and period means, plus the mean of all."""
    treated = (np.arange(periods) >= start[:, None]).astype(float)
    return treated - treated.mean(axis=1, keepdims=True) - share @ treated + share @ treated.mean(axis=1)


def effects(start: Array, weight: Array, periods: int) -> Array:
    """(C, T): the weight of the effect on each group in each period in the coefficient; zero where untreated."""
    share = weight / weight.sum()
    treated = np.arange(periods) >= start[:, None]
    pull = np.where(treated, share[:, None] * _left(share, start, periods), 0.0)
    return np.asarray(pull / pull.sum())
