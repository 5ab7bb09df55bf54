"""The plain difference in differences of staggered adoption: how those who adopt change beside those who have not.

References: callaway2021.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

Array = np.ndarray


class Difference(NamedTuple):
    """The average effect since adoption, (n,) scores, and (n,) the treated units that it rests on.

    ``lacking`` of ``cells`` combinations of adoption group and period had nobody to compare with.
    """

    value: float
    scores: Array
    treated: Array
    cells: int
    lacking: int


def first_treated(adoption: Array, periods: Array) -> Array:
    """(n,) the first of the periods in which each unit is treated: minus infinity if there is none before it.

    Units that adopt after the last period keep their date, and infinity stays.
    """
    inside = adoption <= periods[-1]
    seen = periods[np.searchsorted(periods, np.where(inside, adoption, periods[-1]))]
    return np.where(inside, np.where(seen <= periods[0], -np.inf, seen), adoption)


def average(y: Array, first: Array, periods: Array, w: Array, anticipation: float = 0) -> Difference:
    """Each adoption group's mean effect since adoption, averaged by the weight of the groups.

    For the group g, each period t from g on, and b the last period before g less ``anticipation``,

        a(g, t) = mean of y_t - y_b in g, less the same among units first treated after t + ``anticipation``.

    ``y`` is (n, T), NaN where a unit is not seen: it then counts in those comparisons for which it is.
    Groups without a period b have no effect and are left out.
    """
    groups = np.unique(first[(w > 0) & np.isfinite(first) & (first <= periods[-1])])
    n, cells, lacking = len(y), 0, 0
    found: list[tuple[float, Array, Array]] = []
    for g in groups:
        before = np.flatnonzero(periods + anticipation < g)
        if not len(before):
            continue
        since = np.flatnonzero(periods >= g)
        change = y[:, since] - y[:, [before[-1]]]
        seen = np.isfinite(change) * w[:, None]
        change = np.where(np.isfinite(change), change, 0.0)
        member = first == g
        others = (first[:, None] > periods[since] + anticipation) & ~member[:, None]
        ours, theirs = seen * member[:, None], seen * others
        known = (ours.sum(axis=0) > 0) & (theirs.sum(axis=0) > 0)
        cells, lacking = cells + len(known), lacking + int((~known).sum())
        if known.any():
            a, b = (_means(change[:, known], part[:, known]) for part in (ours, theirs))
            found.append((float((a[0] - b[0]).mean()), (a[1] - b[1]).mean(axis=1), member))
    if not found:
        return Difference(np.nan, np.zeros(n), np.zeros(n, bool), cells, lacking)
    member = np.column_stack([m for *_, m in found])
    return Difference(*pooled([v for v, *_ in found], np.column_stack([s for _, s, _ in found]), member, w),
                      (w > 0) & member.any(axis=1), cells, lacking)  # fmt: skip


def pooled(values: list[float] | Array, scores: Array, member: Array, w: Array) -> tuple[float, Array]:
    """The average over groups by their weight: (k,) values, (n, k) scores, (n, k) who is in which group."""
    size = w @ member
    value = float(size @ np.asarray(values) / size.sum())
    gap = (np.asarray(values) - value) / size.sum()
    return value, scores @ (size / size.sum()) + w * (member @ gap)


def _means(x: Array, w: Array) -> tuple[Array, Array]:
    """Means of the columns of ``x``, each with its own column of weights, and their scores."""
    total = w.sum(axis=0)
    mean = (w * x).sum(axis=0) / total
    return mean, w * (x - mean) / total
