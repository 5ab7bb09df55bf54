"""Invented people selected on covariates, and what treatment would do for each of them, in expectation.

The effect grows with a covariate that also decides who is treated, so that ATT, ATC and ATE differ; errors are larger
among the treated.

**Which effect an interval should cover** (docs/decisions/0005): the effect in the population, over all the people who
might have been drawn and all the luck they may have. A design that leaves out some of the group of interest says that
it answers for those who stay; the effect is then moved by as much as the expected effects of those who stay lie, on
average, above those of the group of interest as drawn.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pandas as pd

from impact import Outcome, Study, emulate

STUDY = Study(
    title="t", unit="id", treatment="arm", covariates=("a", "b", "group"), outcomes=(Outcome("y"), Outcome("high"))
)
ESTIMANDS = ("ATT", "ATC", "ATE", "ATO", "ATM")
SIDES = ("y1", "y0", "high1", "high0")


def draw(r: np.random.Generator, n: int) -> pd.DataFrame:
    a, b, group = r.normal(size=n), r.normal(size=n), r.integers(0, 2, n)
    d = r.random(n) < probability(a, b, group)
    y0 = a + 0.5 * b + group + r.normal(size=n)
    y1 = y0 + 1 + 0.5 * a + 0.5 * group + 0.5 * r.normal(size=n)
    return pd.DataFrame({"a": a, "b": b, "group": group, "arm": d.astype(int), "y0": y0, "y1": y1})


def probability(a, b, group):
    """Of being treated."""
    return 1 / (1 + np.exp(-(-0.6 + 0.5 * a - 0.4 * b + 0.4 * group)))


def expected(rows: pd.DataFrame) -> np.ndarray:
    """(n, 4): each person's expected y and chance of a high y (above 1), with treatment and without."""
    from scipy.stats import norm

    y0 = rows["a"] + 0.5 * rows["b"] + rows["group"]
    y1 = y0 + 1 + 0.5 * rows["a"] + 0.5 * rows["group"]
    return np.column_stack([y1, y0, norm.sf(1, y1, np.sqrt(1.25)), norm.sf(1, y0, 1)])


def of_interest(rows: pd.DataFrame, estimand: str) -> np.ndarray:
    """(n,) how much each person counts in the group of interest."""
    e, d = probability(rows["a"], rows["b"], rows["group"]), rows["arm"] == 1
    own = {"ATT": d, "ATC": ~d, "ATE": d | True, "ATO": e * (1 - e), "ATM": np.minimum(e, 1 - e)}[estimand]
    return np.asarray(own, float)


@cache
def population() -> dict[str, np.ndarray]:
    """(4,) by estimand: the means of ``SIDES`` among two million people."""
    many = draw(np.random.default_rng(99), 2_000_000)
    means = expected(many)
    return {estimand: np.average(means, axis=0, weights=of_interest(many, estimand)) for estimand in ESTIMANDS}


class Drawn:
    """One draw of people, and what is known of them."""

    def __init__(self, seed: int, n: int) -> None:
        rows = draw(np.random.default_rng(seed), n)
        y = np.where(rows["arm"] == 1, rows["y1"], rows["y0"])
        self.sample = emulate(STUDY, rows.assign(y=y, high=(y > 1).astype(int), id=np.arange(n)))
        self.expected = expected(rows)
        self.counts = {estimand: of_interest(rows, estimand) for estimand in ESTIMANDS}

    def truth(self, estimand: str, stays: np.ndarray) -> np.ndarray:
        """(4,) the means of ``SIDES`` that a design keeping those who stay should find; see the head of this file."""
        mine = self.counts[estimand]
        kept = mine * stays
        return population()[estimand] + kept @ self.expected / kept.sum() - mine @ self.expected / mine.sum()


# ---- judging ------------------------------------------------------------------------------------

PROMISED = (0.93, 0.97)
ERRORS = (0.924, 1.107)
"""Stated errors over the spread for which intervals of 95 per cent cover as promised, the estimate being unbiased."""


def against(e, target: np.ndarray) -> np.ndarray:
    """(k, 3): errors of the estimate, stated errors, and whether the intervals cover the target."""
    low, high = e.interval()
    return np.column_stack([e.value - target, e.std_error, (low <= target) & (target <= high)])


def judged(found: np.ndarray) -> dict[str, np.ndarray]:
    """From (draws, k, 3), by word (k,): bias over spread, stated error over spread, coverage."""
    off, error, covers = np.moveaxis(found, 2, 0)
    spread = off.std(axis=0, ddof=1)
    stated = np.sqrt((error**2).mean(axis=0))
    return {"bias": off.mean(axis=0) / spread, "error": stated / spread, "covered": covers.mean(axis=0)}


def broken(found: np.ndarray, floor: float | None = None) -> list[str]:
    """Which promises do not hold, within three standard errors of the simulation; with a floor, whether it is reached.

    A bias of a fifth of the spread costs half a point of coverage, and is let pass.
    """
    draws, seen = len(found), judged(found)
    if floor is not None:
        short = seen["covered"] < floor - 3 * np.sqrt(floor * (1 - floor) / draws)
        return ["covers less than its docstring says"] * bool(short.any())
    share = 3 * np.sqrt(0.95 * 0.05 / draws)
    ratio = 3 / np.sqrt(2 * draws)
    low, high = PROMISED
    small, large = ERRORS
    wrong = {
        "bias": np.abs(seen["bias"]) > 0.2 + 3 / np.sqrt(draws),
        "coverage": (seen["covered"] < low - share) | (seen["covered"] > high + share),
        "stated error": (seen["error"] < small - ratio) | (seen["error"] > large + ratio),
    }
    return [word for word, failed in wrong.items() if failed.any()]


def line(found: np.ndarray) -> str:
    return f"{len(found)} draws, " + ", ".join(f"{word} {value.round(3)}" for word, value in judged(found).items())
