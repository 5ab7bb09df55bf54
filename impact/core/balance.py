"""How far apart two arms lie on each of several columns, as MatchIt and cobalt measure it.

Values ``x`` are (n, k), ``d`` (n,) says who is in the first arm, weights ``w`` are (n,).
"""

from __future__ import annotations

import numpy as np

from impact.core import moments

Array = np.ndarray


def binary(x: Array) -> Array:
    """(k,) whether a column holds zeros and ones only."""
    return ((x == 0) | (x == 1)).all(axis=0)


def deviation(x: Array, d: Array, w: Array, estimand: str) -> Array:
    """(k,) the denominator of standardised differences.

    The standard deviation in the first arm ("ATT"), in the second ("ATC"), or the root of the
    average of their variances ("ATE"). A column of zeros and ones has variance p (1 - p).
    """
    flat = binary(x)

    def spread(arm: Array) -> Array:
        biased, unbiased = (moments.variance(x[arm], w[arm], unbiased=u) for u in (False, True))
        return np.where(flat, biased, unbiased)

    if estimand not in ("ATT", "ATC"):
        return np.sqrt((spread(d) + spread(~d)) / 2)
    return np.sqrt(spread(d if estimand == "ATT" else ~d))


def variance_ratio(x: Array, d: Array, w: Array) -> Array:
    """(k,) variance in the first arm over that in the second; NaN for columns of zeros and ones."""
    top, bottom = moments.variance(x[d], w[d]), moments.variance(x[~d], w[~d])
    ratio = np.divide(top, bottom, out=np.full_like(top, np.nan), where=bottom > 0)
    return np.where(binary(x), np.nan, ratio)


def ecdf_gaps(x: Array, d: Array, w: Array) -> tuple[Array, Array]:
    """(k,) the mean and (k,) the largest gap between the arms' weighted cumulative distributions.

    The mean is over the distinct values of the column, each counting once; the largest gap is
    the Kolmogorov-Smirnov distance. For a column of zeros and ones both are the gap in means.
    """
    step = np.where(d, w / w[d].sum(), -w / w[~d].sum())
    order = np.argsort(x, axis=0, kind="stable")
    risen = np.abs(np.cumsum(step[order], axis=0))
    ordered = np.take_along_axis(x, order, axis=0)
    last = np.vstack([ordered[1:] != ordered[:-1], np.ones((1, x.shape[1]), bool)])
    gaps = np.where(last, risen, 0.0)
    largest = gaps.max(axis=0)
    return np.where(binary(x), largest, gaps.sum(axis=0) / last.sum(axis=0)), largest
