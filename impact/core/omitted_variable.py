"""What an omitted variable could do to a regression's coefficient, in terms of shares of variance.

With a confounder z that explains the share ``r2_treatment`` of what is left of the variance of treatment, and
``r2_outcome`` of that of the outcome, after the covariates (and treatment), the coefficient is off by

    se sqrt(df) sqrt(r2_outcome r2_treatment / (1 - r2_treatment)).

References: cinelli2020.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from impact.core.linear import least_squares

Array = np.ndarray


class Coefficient(NamedTuple):
    """A treatment's coefficient, its classical standard error and degrees of freedom, and what is unexplained.

    ``treatment_left`` and ``outcome_left`` are weighted sums of squares: of treatment after the
    covariates, and of the outcome after both.
    """

    value: float
    error: float
    df: int
    treatment_left: float
    outcome_left: float


def coefficient(y: Array, d: Array, x: Array, w: Array) -> Coefficient:
    """The coefficient of d in the weighted regression of y on d and x, through what x leaves of both."""
    fit = least_squares(np.column_stack([d.astype(float), y]), x, w)
    left = fit.residual
    s = left.T @ (w[:, None] * left)
    if s[0, 0] <= 1e-12 * float(w @ (d - w @ d / w.sum()) ** 2):
        raise ValueError(
            "The covariates tell the arms apart without error, so that a regression has no treatment left to judge: "
            "name fewer covariates."
        )
    value = s[0, 1] / s[0, 0]
    rest = float(w @ (left[:, 1] - value * left[:, 0]) ** 2)
    df = int((w > 0).sum()) - fit.design.shape[1] - 1
    error = np.sqrt(rest / df / s[0, 0]) if df > 0 else np.nan
    return Coefficient(float(value), float(error), df, float(s[0, 0]), rest)


def robustness_value(t: float, df: float, level: float | None = None) -> float:
    """The share of variance, of treatment and of outcome alike, that a confounder must explain.

    Without ``level`` to bring the coefficient to zero, with it (0.95) to bring zero into its interval.
    """
    from scipy import stats

    f = abs(t) / np.sqrt(df)
    if level is None:
        return float((np.sqrt(f**4 + 4 * f**2) - f**2) / 2)
    edge = abs(stats.t.ppf((1 - level) / 2, df - 1)) / np.sqrt(df - 1)
    if f <= edge:
        return 0.0
    if f > 1 / edge:  # the confounder's gain in precision has to be overcome as well
        return float((f**2 - edge**2) / (1 + f**2))
    gap = f - edge
    return float((np.sqrt(gap**4 + 4 * gap**2) - gap**2) / 2)


def benchmark(full: Coefficient, without: Coefficient, times: float = 1.0) -> tuple[float, float]:
    """The shares (treatment, outcome) that a confounder ``times`` as strong as some covariates explains at most.

    ``without`` is the regression without these covariates. NaN where so strong a confounder cannot be.
    """
    treatment = 1 - full.treatment_left / without.treatment_left
    outcome = 1 - full.outcome_left / without.outcome_left
    if not times * treatment < 1:
        return np.nan, np.nan
    mine = times * treatment / (1 - treatment)
    shared = times * treatment**2 / ((1 - times * treatment) * (1 - treatment))
    if not (mine < 1 and shared < 1):
        return np.nan, np.nan
    factor = (np.sqrt(times) + np.sqrt(shared)) / np.sqrt(1 - shared)
    return float(mine), float(min(1.0, factor**2 * outcome / (1 - outcome)))


def adjusted(full: Coefficient, r2_treatment: float, r2_outcome: float) -> tuple[float, float]:
    """The coefficient, nearer to zero, and its error, had such a confounder been in the regression."""
    off = full.error * np.sqrt(full.df) * np.sqrt(r2_outcome * r2_treatment / (1 - r2_treatment))
    value = np.sign(full.value) * (abs(full.value) - off)
    error = full.error * np.sqrt((1 - r2_outcome) / (1 - r2_treatment)) * np.sqrt(full.df / (full.df - 1))
    return float(value), float(error)
