"""Numbers as a reader wants them: as many decimals as the evidence carries, true minus signs, p values."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

MINUS, MISSING, INFINITY = "\u2212", "\u2013", "\u221e"
MOST_DECIMALS = 6


def fixed(value: float, decimals: int) -> str:
    """A number with a fixed count of decimals, thousands apart, a true minus and no minus before zero."""
    value = float(value)
    if math.isnan(value):
        return MISSING
    if math.isinf(value):
        return INFINITY if value > 0 else MINUS + INFINITY
    word = f"{value:,.{max(decimals, 0)}f}"
    if not any(digit in word for digit in "123456789"):
        word = word.lstrip("-")
    return word.replace("-", MINUS)


def plain(value: float) -> str:
    """A number on its own: three significant digits, and every digit before the point."""
    value = float(value)
    if not math.isfinite(value) or value == 0:
        return fixed(value, 0)
    decimals = 2 - _magnitude(value, 3)
    if decimals > MOST_DECIMALS:
        digits, power = f"{value:.1e}".split("e")
        return f"{digits}e{int(power)}".replace("-", MINUS)
    return fixed(value, decimals)


def label(value: float) -> str:
    """A number that names something (a month, a year, an arm): no thousands apart, no idle decimals."""
    value = float(value)
    return f"{value:.10g}".replace("-", MINUS) if math.isfinite(value) else fixed(value, 0)


def p_value(value: float) -> str:
    """A p value with three decimals, never as zero or one."""
    value = float(value)
    if math.isnan(value):
        return MISSING
    if value < 0.001:
        return "< 0.001"
    return "> 0.999" if value > 0.999 else f"{value:.3f}"


def interval(low: float, high: float, decimals: int) -> str:
    """Two limits as "−0.9 to 5.1"; one dash where neither is known."""
    if math.isnan(float(low)) and math.isnan(float(high)):
        return MISSING
    return f"{fixed(low, decimals)} to {fixed(high, decimals)}"


def decimals(errors: Iterable[float], values: Iterable[float] = ()) -> int:
    """How many decimals carry two significant digits of the typical standard error.

    Where no standard error is known, three significant digits of the typical value.
    """
    for numbers, digits in ((errors, 2), (values, 3)):
        sizes = np.abs(np.asarray(list(numbers), dtype=float))
        sizes = sizes[np.isfinite(sizes) & (sizes > 0)]
        if len(sizes):
            typical = float(np.median(sizes))
            return min(max(digits - 1 - _magnitude(typical, digits), 0), MOST_DECIMALS)
    return 3


def fraction(word: str) -> str:
    """The digits of a number from its point on, by which a column of numbers is aligned."""
    _, point, digits = word.rpartition(".")
    return point + digits if point and digits.isdigit() else ""


def _magnitude(value: float, digits: int) -> int:
    """The power of ten of the first digit, once rounded to so many digits (0.0996 is 0.10)."""
    return int(f"{abs(value):.{digits - 1}e}".split("e")[1])
