"""How checks of several estimates judge: a joint test, a margin, or else what would have been seen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from impact.core import arguments
from impact.estimate import Estimate
from impact.show import digits
from impact.show.words import counted, tested
from impact.stacking import stack

Array = np.ndarray

POWER = 0.8


def together(found: Sequence[Estimate]) -> Estimate | None:
    """The estimates as one with their covariance; None where it is not known."""
    if len(found) == 1:
        return found[0]
    return stack(*found) if all(e.scores is not None for e in found) else None


def shift(part: Estimate, whole: Estimate) -> tuple[float, float]:
    """How far one estimate lies from another, and the error of that, which needs the scores of both."""
    moved = float(part.value[0] - whole.value[0])
    both = together([part, whole])
    return moved, np.nan if both is None else float(both.combine([[1.0, -1.0]], term="shift").std_error[0])


def joint(found: Sequence[Estimate]) -> tuple[float, str]:
    """The p value of all values being zero, and how it was found; by Bonferroni where the covariance is not known."""
    whole = together(found)
    if whole is None:
        p = min(1.0, len(found) * min(float(e.test()["p_value"]) for e in found))
        return p, tested(p) if np.isfinite(p) else ""
    test = whole.test()
    p = float(test["p_value"])
    if not np.isfinite(p):
        return p, ""
    return p, f"F({test['df']:.0f}, {test['df_residual']:.0f}) = {test['statistic']:.2f}, {tested(p)}"


def judged(
    found: Sequence[Estimate], low: Array, high: Array, *, level: float, margin: float | None, what: str, percent: bool
) -> tuple[bool | None, str]:
    """The verdict that all values are zero, and the reason: the joint test, the margin, or what would have been seen.

    ``what`` is the values in words, as "effect on neighbours".
    """
    p, said = joint(found)
    k = sum(len(e.value) for e in found)
    count = counted(k, what) if k > 1 else f"The {what}"
    differ, are = ("differ", "are") if k > 1 else ("differs", "is")
    if np.isfinite(p) and p <= level:
        return False, f"{count} {differ} from zero by more than chance at {100 * level:g}% ({said})."
    by, unit = (100.0, " percentage points") if percent else (1.0, "")
    if margin is not None and (low > -margin).all() and (high < margin).all():
        lies = "every interval lies" if k > 1 else "its interval lies"
        return True, f"{count} {are} within {by * margin:g}{unit} of zero: {lies} there."
    if not np.isfinite(p):
        return None, f"It cannot be decided: {count[0].lower()}{count[1:]} cannot be tested."
    seen = np.concatenate([e.detectable(POWER, 1 - level) for e in found])
    size = digits.plain(by * seen.min())
    each = "one of them alone" if k > 1 else "it"
    return None, (
        f"{count} {are} not told from zero at {100 * level:g}% ({said}), which does not show that there is none: of "
        f"{each}, {size}{unit} would have been found with {POWER:.0%} power, and less more likely missed."
    )


def of_levels(level: float, margin: float | None) -> None:
    """Refuse a level or a margin that is none."""
    arguments.number(level, "level", above=0, below=1)
    arguments.number(margin, "margin", above=0, most=1e12, optional=True)


def nothing(outcome: str, why: str) -> dict[str, Any]:
    """What a check says that has nothing to look at: a table of one outcome without a value, and why."""
    return {
        "table": pd.DataFrame({"outcome": [outcome], "estimate": [np.nan]}),
        "reason": f"It cannot be decided: {why}.",
    }
