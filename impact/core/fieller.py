"""The confidence set of a ratio of two estimated values, which holds however near to zero the lower one is.

References: fieller1954.
"""

from __future__ import annotations

import numpy as np

Array = np.ndarray


def limits(value: Array, vcov: Array, df: float, level: float) -> tuple[float, float]:
    """Limits of ``value[0] / value[1]``; infinite where the value below cannot be told from zero.

    A ratio r is inside if ``value[0] - r value[1] = 0`` is not rejected at ``level`` by a t test, which is a quadratic
    inequality in r. Where the value below is not told from zero, the set is the line, or the line without
    an interval; both are given as infinite limits.
    """
    from scipy import stats

    c = stats.t.ppf((1 + level) / 2, df) ** 2
    square = value[1] ** 2 - c * vcov[1, 1]
    cross = value[0] * value[1] - c * vcov[0, 1]
    rest = value[0] ** 2 - c * vcov[0, 0]
    if not square > 0:
        return -np.inf, np.inf
    root = np.sqrt(max(cross**2 - square * rest, 0.0))
    return float((cross - root) / square), float((cross + root) / square)
