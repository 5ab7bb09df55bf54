"""What hidden bias could do to a randomisation test in matched sets (Rosenbaum's bounds).

Within a matched set, units who look alike may differ in their odds of treatment by a factor of at
most Γ. In a set of n with one treated unit, the chance that unit k is that one is then
exp(γ u_k) / sum_l exp(γ u_l), with γ = log Γ and some u in [0, 1] that nobody measured. A set with one
comparison unit and several treated is the same with the roles changed.

References: rosenbaum2002, gastwirth2000.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

Array = np.ndarray


class Block(NamedTuple):
    """The m matched sets of one size n: ``members`` (m, n) are rows, of which the first is alone in its arm.

    ``sign`` (m,) is 1 where that one is treated, and -1 where it is the comparison unit.
    """

    members: Array
    sign: Array


def blocks(strata: Array, treated: Array, used: Array) -> tuple[list[Block], int]:
    """Matched sets by size, and how many sets have several units of both arms and cannot be used."""
    rows = np.flatnonzero(used)
    _, code = np.unique(strata[rows], return_inverse=True)
    n1 = np.bincount(code, treated[rows]).astype(int)
    n = np.bincount(code)
    n0 = n - n1
    several = int(((n1 > 1) & (n0 > 1)).sum())
    fits = ((n1 == 1) & (n0 >= 1)) | ((n0 == 1) & (n1 >= 1))
    sign = np.where(n1 == 1, 1, -1)
    alone = treated[rows] == (sign[code] > 0)
    order = np.lexsort((rows, ~alone, code))
    found = []
    for size in np.unique(n[fits]):
        chosen = fits & (n == size)
        members = rows[order[chosen[code[order]]]].reshape(-1, size)
        found.append(Block(members, sign[chosen]))
    return found, several


def largest(q: Array, gamma: float) -> tuple[Array, Array]:
    """(m,) the largest expected score of the unit that is alone in its arm, and (m,) its variance.

    ``q`` (m, n) are the scores of the sets' units. The largest expectation has u = 1 for the highest
    scores of a set and 0 for the others; among equals the larger variance counts (separability).
    """
    ordered = np.sort(q, axis=1)
    n = q.shape[1]
    low = np.arange(1, n)
    size = low + gamma * (n - low)
    first, second = (np.cumsum(v, axis=1) for v in (ordered, ordered**2))
    mean = (first[:, :-1] + gamma * (first[:, -1:] - first[:, :-1])) / size
    variance = (second[:, :-1] + gamma * (second[:, -1:] - second[:, :-1])) / size - mean**2
    top = mean.max(axis=1)
    near = mean >= (top - 1e-12 * np.maximum(np.abs(ordered).max(axis=1), 1e-300))[:, None]
    return top, np.maximum(np.where(near, variance, -np.inf).max(axis=1), 0.0)


def p_values(scores: Sequence[Array], gamma: float) -> tuple[float, float]:
    """The smallest and largest one-sided p value of the sum of the lone units' scores.

    ``scores`` holds (m, n) arrays, the lone unit's first, in the direction that is tested; the sum
    is compared with a normal distribution.
    """
    from scipy.stats import norm

    total = sum(float(q[:, 0].sum()) for q in scores)
    high = [largest(q, gamma) for q in scores]
    low = [largest(-q, gamma) for q in scores]
    out = []
    for side, bounds in ((-1.0, low), (1.0, high)):
        mean = side * sum(float(m.sum()) for m, _ in bounds)
        spread = np.sqrt(sum(float(v.sum()) for _, v in bounds))
        out.append(float(norm.sf((total - mean) / spread)) if spread > 0 else np.nan)
    return out[0], out[1]


def exact_p_values(good: Sequence[Array], gamma: float) -> tuple[float, float]:
    """The smallest and largest p value for outcomes of zeros and ones, exactly (McNemar's test in pairs).

    ``good`` holds (m, n) arrays of bool, the lone unit's first: with g of n good in a set, the
    lone unit is good with a chance between g / (g + Γ (n - g)) and Γ g / (Γ g + n - g). Sets
    without difference say nothing.
    """
    count = sum(int(b[:, 0].sum()) for b in good)
    g, n = (
        np.concatenate(part) for part in ([b.sum(axis=1) for b in good], [np.full(len(b), b.shape[1]) for b in good])
    )
    telling = (g > 0) & (g < n)
    sure = int((g == n).sum())
    if not telling.any():
        return np.nan, np.nan
    g, n = g[telling], n[telling]
    low, high = (_tail(count - sure, f * g / (f * g + n - g)) for f in (1 / gamma, gamma))
    return low, high


def _tail(count: int, chance: Array) -> float:
    """The chance that independent events with these chances happen at least ``count`` times in all."""
    from scipy.stats import binom

    if count <= 0:
        return 1.0
    pmf = np.ones(1)
    for p, times in zip(*np.unique(chance, return_counts=True), strict=True):
        pmf = np.convolve(pmf, binom.pmf(np.arange(times + 1), times, p))
    return float(min(1.0, pmf[count:].sum()))


def signed_ranks(y: Array, pairs: Array, sign: Array) -> Array:
    """(m', 2) scores of Wilcoxon's signed rank test: ranks of the pairs' absolute differences.

    Pairs without a difference are ranked with the others and then say nothing, as in Rosenbaum's book.
    """
    from scipy.stats import rankdata

    gap = sign * (y[pairs[:, 0]] - y[pairs[:, 1]])
    ranks = rankdata(np.abs(gap))[gap != 0]
    gap = gap[gap != 0]
    return np.column_stack([np.where(gap > 0, ranks, 0.0), np.where(gap > 0, 0.0, ranks)])


def aligned_ranks(y: Array, sets: Sequence[Block]) -> list[Array]:
    """Scores of Hodges and Lehmann's aligned rank test: ranks of the distances to the set's mean."""
    from scipy.stats import rankdata

    aligned = [y[b.members] - y[b.members].mean(axis=1, keepdims=True) for b in sets]
    ranks = rankdata(np.concatenate([a.ravel() for a in aligned]))
    cuts = np.cumsum([a.size for a in aligned])[:-1]
    return [b.sign[:, None] * r.reshape(b.members.shape) for b, r in zip(sets, np.split(ranks, cuts), strict=True)]


def differences(y: Array, sets: Sequence[Block], estimand: str) -> list[Array]:
    """Each unit's share in the mean difference, were it the one alone in its arm.

    A set counts with its treated ("ATT"), its comparison units ("ATC") or all its units ("ATE").
    """
    weigh = []
    for b in sets:
        n = b.members.shape[1]
        treated = np.where(b.sign > 0, 1, n - 1)
        weigh.append({"ATT": treated, "ATC": n - treated, "ATE": np.full(len(treated), n)}[estimand].astype(float))
    total = sum(float(w.sum()) for w in weigh)
    out = []
    for b, w in zip(sets, weigh, strict=True):
        values, n = y[b.members], b.members.shape[1]
        gap = (n * values - values.sum(axis=1, keepdims=True)) / (n - 1)
        out.append(b.sign[:, None] * gap * w[:, None] / total)
    return out
