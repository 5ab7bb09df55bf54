"""Sentences for readers: what was found, with its interval, said no more strongly than the evidence bears."""

from __future__ import annotations

import math
from collections.abc import Iterable

from impact.show import digits

POWER = 0.8


def finding(
    quantity: str,
    estimate: float,
    std_error: float,
    conf_low: float,
    conf_high: float,
    *,
    treated: str = "the treated",
    comparison: str = "the comparison",
    level: float = 0.95,
    percent: bool = False,
    unit: str = "",
    verb: str = "was",
) -> str:
    """One difference between two groups as a sentence.

    With an interval that leaves out zero the sentence says which group is higher. With one that
    includes it, the sentence gives the estimate without a direction, says that it cannot be told from no
    effect, and names the smallest effect that the sample could have detected with 80% power, so that "no
    effect found" is not read as "no effect".

    Parameters
    ----------
    quantity : what was compared, as it stands after "The": ``"share in a job at 12 months"``.
    estimate, std_error, conf_low, conf_high : numbers in the unit of the outcome.
    treated, comparison : the groups in words; the estimate is the first less the second.
    level : confidence level of the interval.
    percent : values are shares, told in percentage points.
    unit : the unit in words otherwise, such as ``"euros"``.
    verb : "were" for a quantity in the plural.

    Examples
    --------
    >>> said = finding("share in a job", 0.041, 0.015, 0.012, 0.070, percent=True,
    ...                treated="private providers", comparison="the public service")
    >>> said[:74]
    'The share in a job was 4.1 percentage points higher with private providers'
    """
    by = 100.0 if percent else 1.0
    value, low, high = (by * number for number in (estimate, conf_low, conf_high))
    places = digits.decimals([by * std_error], [value])
    if not all(map(math.isfinite, (value, low, high))):
        return f"The difference in the {quantity} between {treated} and {comparison} could not be computed."
    spread = f"{100 * level:g}% interval "
    if low <= 0 <= high:
        floor = _detectable_clause(by * std_error, level, places, percent, unit)
        return (
            f"The difference in the {quantity} between {treated} and {comparison} was "
            f"{measured(value, places, percent, unit)} ({spread}{digits.interval(low, high, places)}), "
            f"which cannot be told from no effect{floor}."
        )
    # A size is told with its direction, and so are its limits: "2 lower (1 to 3 lower)", not "(-3 to -1)".
    ends, direction = ((low, high), "higher") if value > 0 else ((-high, -low), "lower")
    spread += digits.interval(*ends, places) + (" lower" if value < 0 else "")
    amount = measured(abs(value), places, percent, unit)
    return f"The {quantity} {verb} {amount} {direction} with {treated} than with {comparison} ({spread})."


def measured(value: float, places: int, percent: bool = False, unit: str = "") -> str:
    """A number with its unit: "2.1 percentage points", "1,794 euros", "0.35"."""
    word = digits.fixed(value, places)
    one = word.lstrip(digits.MINUS) == "1"
    if percent:
        return f"{word} percentage point" + ("" if one else "s")
    return f"{word} {unit}".strip()


def detectable(std_error: float, level: float = 0.95, power: float = POWER) -> float:
    """The smallest effect that a two-sided test finds with the given power.

    It is (z_{(1 + level) / 2} + z_power) standard errors: 2.8 of them at 95% and 80%.
    """
    from statistics import NormalDist

    normal = NormalDist()
    return (normal.inv_cdf((1 + level) / 2) + normal.inv_cdf(power)) * std_error


def _detectable_clause(error: float, level: float, places: int, percent: bool, unit: str) -> str:
    if not (math.isfinite(error) and error > 0):
        return ""
    size = digits.fixed(detectable(error, level), places)
    named = f"{size} points" if percent else f"{size} {unit}".strip()
    return f"; the smallest effect this sample could have detected with {POWER:.0%} power is {named}"


def listing(words: Iterable[str], last: str = "and") -> str:
    """Words as a list in a sentence: "a, b and c"."""
    said = [str(w) for w in words]
    return f" {last} ".join([", ".join(said[:-1]), said[-1]]) if len(said) > 1 else "".join(said)


def counted(count: int, one: str, many: str = "") -> str:
    """A count with its noun: "1 client", "2,750 clients"."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def tested(p_value: float) -> str:
    """A p value as it stands in a sentence: "p < 0.001", "p = 0.042"."""
    word = digits.p_value(p_value)
    return f"p {word}" if word[:1] in "<>" else f"p = {word}"
