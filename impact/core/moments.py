"""Weighted moments, and what each row contributes to their error.

Every function takes weights ``w`` of shape (n,), non-negative, and values ``x`` of shape (n,) or
(n, k), one column a quantity. Rows of zero weight never matter.
"""

from __future__ import annotations

import numpy as np

Array = np.ndarray


def mean(x: Array, w: Array) -> Array:
    """The weighted mean, sum(w x) / sum(w): a number for (n,) values, (k,) for (n, k)."""
    return (w @ x) / w.sum()


def mean_scores(x: Array, w: Array) -> Array:
    """What each row adds to the error of a weighted mean: w_i times its derivative in w_i.

    With m the mean, score_i = w_i (x_i - m) / sum(w). The shape is that of ``x``.
    """
    return (w.reshape(-1, *[1] * (x.ndim - 1)) * (x - mean(x, w))) / w.sum()


def variance(x: Array, w: Array, *, unbiased: bool = True) -> Array:
    """The weighted variance.

    With normalised weights v = w / sum(w) and m the mean,

        sum v (x - m)^2 / (1 - sum v^2)    when ``unbiased``: with equal weights the denominator is n - 1;
        sum v (x - m)^2                    otherwise: with equal weights the denominator is n.

    The first is what R's ``cov.wt``, MatchIt and cobalt compute. Neither changes when all weights
    are doubled; but a row of weight two counts as one unit seen with more weight, not as two
    units, in the first (its denominator counts units) and as two in the second. Where the first
    has no degree of freedom (one row carries all the weight) it is not defined and is NaN.
    """
    v = w / w.sum()
    spread = v @ (x - mean(x, w)) ** 2
    if not unbiased:
        return spread
    left = 1.0 - v @ v
    return spread / left if left > 1e-14 else np.full_like(spread, np.nan)


def smd(x: Array, d: Array, w: Array, scale: Array | float) -> Array:
    """Standardised mean difference: the weighted mean where d, less that where not d, over ``scale``.

    The scale is the caller's, fixed before adjustment, so that a number before matching and one
    after it share a denominator. A column that does not vary (scale zero) is 0 where the means
    agree and infinite, with the sign of the gap, where they do not.
    """
    gap = np.asarray(mean(x[d], w[d]) - mean(x[~d], w[~d]), float)
    scale = np.broadcast_to(np.asarray(scale, float), gap.shape)
    flat = np.where(gap == 0, 0.0, np.copysign(np.inf, gap))
    return np.divide(gap, scale, out=flat, where=scale > 0)


def effective_size(w: Array) -> float:
    """How many equally weighted units would give as precise a mean: sum(w)^2 / sum(w^2).

    Zero when no weight is left. Does not change when all weights are doubled.
    """
    w = w / top if (top := w.max(initial=0.0)) > 0 else w
    return float(w.sum() ** 2 / (w @ w)) if top > 0 else 0.0
