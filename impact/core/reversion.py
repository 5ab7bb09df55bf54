"""Mean reversion: how much of what was lost in the past comes back by itself.

References: daw2018.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from impact.core.differences import pooled

Array = np.ndarray
Rule = Callable[[Array], Array]


class Windows(NamedTuple):
    """How many periods before a date the rule of selection sees, how many after it the follow-up takes in, and how
    many before it the level is from which the follow-up is measured."""

    history: int
    horizon: int
    baseline: int


def at(y: Array, date: int, rule: Rule, windows: Windows) -> tuple[Array, Array]:
    """What selection looked at before the position ``date``, and how the outcome changed after it: two (n,) arrays."""
    history = y[:, date - windows.history : date]
    after = y[:, date : date + windows.horizon].mean(axis=1)
    return np.asarray(rule(history), float), after - y[:, date - windows.baseline : date].mean(axis=1)


def slope(y: Array, dates: list[int], rule: Rule, windows: Windows, w: Array) -> tuple[float, Array]:
    """The change that follows per unit of what selection looks at, over all dates, and its scores.

    With D and F the two in deviation from their mean at the date,

        b = sum over dates and units of w D F / sum of w D^2.

    Rows of zero weight are left out.
    """
    cross, square = np.zeros(len(y)), np.zeros(len(y))
    total = w.sum()
    for date in dates:
        d, f = at(y, date, rule, windows)
        d, f = d - w @ d / total, f - w @ f / total
        cross += d * f
        square += d * d
    below = w @ square
    if not below > 0:
        return np.nan, np.zeros(len(y))
    b = float(w @ cross / below)
    return b, w * (cross - b * square) / below


def gap(values: dict[float, Array], first: Array, never: Array, w: Array) -> tuple[float, Array]:
    """By how much adoption groups differ from those never treated, over groups by their weight, and the scores.

    ``values`` has (n,) numbers for each group, taken at its own date.
    """
    gaps, scores = [], []
    theirs = w * never
    for g, x in values.items():
        ours = w * (first == g)
        a, b = ours @ x / ours.sum(), theirs @ x / theirs.sum()
        gaps.append(float(a - b))
        scores.append(ours * (x - a) / ours.sum() - theirs * (x - b) / theirs.sum())
    member = np.column_stack([first == g for g in values])
    return pooled(gaps, np.column_stack(scores), member, w)
