"""Honest trends told: sizes of divergence in words, the table, the reason and the notes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from impact.core.honest import Honest
from impact.estimate import Estimate
from impact.show import digits

Array = np.ndarray


@dataclass(frozen=True)
class Words:
    """How divergence is told under a restriction: in multiples, or for ``"smooth"`` in the outcome's unit."""

    restriction: str
    percent: bool

    @property
    def in_unit(self) -> bool:
        return self.restriction == "smooth"

    @property
    def column(self) -> str:
        return "slope_change" if self.in_unit else "divergence"

    def size(self, most: float) -> str:
        """A size of divergence: "1.5 times", "0.02", "2 percentage points"."""
        number = digits.label(float(f"{100 * most if self.percent and self.in_unit else most:.3g}"))
        return number + (" percentage points" if self.percent else "") if self.in_unit else f"{number} times"

    def condition(self, most: float | None) -> str:
        """What is allowed for, as it stands after "even if"."""
        if most is None:
            return "trends diverged after adoption"
        step = "from one period to the next"
        if self.restriction == "relative":
            return f"trends diverged after adoption, {step}, by up to {self.size(most)} as much as at most before"
        slope = "the slope of the divergence changed"
        if self.restriction == "smooth":
            return f"{slope} {step} by up to {self.size(most)}"
        return f"{slope} after adoption, {step}, by up to {self.size(most)} as much as at most before"

    def row(self, most: float, name: str = "") -> str:
        """The name of a row of the table, short enough for a figure."""
        if name:
            return f"{name}: {self.size(most)}"
        if most == 0:
            return "parallel after adoption" if self.restriction == "relative" else "straight divergence"
        if self.restriction == "relative":
            return f"up to {self.size(most)} as before"
        return f"slope changes up to {self.size(most)}"


def table(
    path: Estimate, own: Estimate, found: Honest, sizes: Array, breakdown: float, plausible: float | None, words: Words
) -> pd.DataFrame:
    """The interval under parallel trends, then under each size of divergence, with the breakdown value among them."""
    low, high = own.interval(1 - found.level)
    rows = [("parallel trends", np.nan, float(own.value[0]), float(low[0]), float(high[0]))]
    named = {float(size): "" for size in sizes}
    if plausible is not None:
        named[float(plausible)] = "plausible"
    if np.isfinite(breakdown) and breakdown > 0:
        named[breakdown] = "breakdown"
    rows += [(words.row(size, named[size]), size, *found.interval(size)) for size in sorted(named)]
    frame = pd.DataFrame(rows, columns=["term", words.column, "estimate", "conf_low", "conf_high"])
    if "outcome" in path.index:
        frame.insert(0, "outcome", path.index["outcome"].iloc[0])
    return frame


def reason(
    own: Estimate, table: pd.DataFrame, breakdown: float, plausible: float | None, words: Words, level: float
) -> str:
    """What the table says: the interval under parallel trends, and up to where zero is excluded."""
    by, unit = (100.0, " percentage points") if words.percent else (1.0, "")
    places = digits.decimals([by * float(own.std_error[0])])

    def interval(row: Any) -> str:
        return digits.interval(by * row["conf_low"], by * row["conf_high"], places) + unit

    said = f"Under parallel trends the {100 * (1 - level):g}% interval is {interval(table.iloc[0])}."
    if plausible is not None:
        at = table[np.isclose(table[words.column], plausible, rtol=1e-12)].iloc[0]
        said += f" At the {words.size(plausible)} held plausible it is {interval(at)}."
    if np.isnan(breakdown):
        least = (
            "without divergence after adoption" if words.restriction == "relative" else "if divergence goes straight on"
        )
        return f"{said} Zero is not excluded even {least}."
    if np.isinf(breakdown):
        return f"{said} Zero is excluded at every divergence tried."
    held = words.condition(breakdown).replace("diverged", "diverge").replace("changed", "changes")
    return f"{said} Zero is excluded as long as {held}."


def notes(own: Estimate, words: Words, found: Honest, bend: float, reference: str) -> tuple[str, ...]:
    """What is seen before adoption, by which method, and against which distribution."""
    from scipy import stats

    said = []
    if words.restriction == "relative":
        said.append(
            f"Before, {found.before} changes from one period to the next are seen, up to the reference period. The "
            "intervals allow for the error with which they are estimated."
        )
    elif found.before > 1:
        size = Words("smooth", words.percent).size(bend)
        said.append(f"The largest change of slope seen before adoption is {size}, with error.")
    if found.shape:
        said.append(f"The divergence after the reference period is taken to be {found.shape}.")
    if found.fixed:
        said.append("Intervals are of fixed length, around an estimate that goes on from the trend before.")
    else:
        said.append(
            "Intervals hold what the conditional test does not reject; the estimate is that under parallel trends."
        )
    df, most = float(own.dfs[0]), 1 - found.level / 2
    if reference == "t" and np.isfinite(df):
        wider = 100 * (stats.t.ppf(most, df) / stats.norm.ppf(most) - 1)
        said.append(
            f"Errors are {wider:.1f}% larger than in the published method, which takes the normal distribution: the "
            f"effect has {df:.1f} degrees of freedom (reference='normal' leaves that out)."
        )
    return tuple(said)
