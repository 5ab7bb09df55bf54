"""E-values: how strong confounding must be to move a ratio of risks to where it matters.

References: vanderweele2017.
"""

from __future__ import annotations

import numpy as np

Array = np.ndarray


def e_value(ratio: Array | float, low: Array | float, high: Array | float) -> tuple[Array, Array]:
    """E-values of risk ratios and of the limits of their intervals nearest to one.

    For a ratio R above one, R + sqrt(R (R - 1)); below one, that of 1 / R. It is 1 where the
    interval holds one: no confounding at all is needed.
    """
    ratio, low, high = (np.asarray(v, float) for v in (ratio, low, high))
    nearest = np.where(low > 1, low, np.where(high < 1, high, 1.0))
    return _of(ratio), _of(nearest)


def _of(ratio: Array) -> Array:
    with np.errstate(divide="ignore"):
        up = np.where(ratio >= 1, ratio, 1 / ratio)
    return up + np.sqrt(up * (up - 1))


def from_standardised(d: Array | float) -> Array:
    """The risk ratio that a difference of d standard deviations of an outcome comes near to: exp(0.91 d)."""
    return np.exp(0.91 * np.asarray(d, float))
