"""Mean outcomes with and without treatment, by regression, by weighting, or by both.

Write d for treatment, w for the weights of the rows, t for the population of interest (the
treated for "ATT", the comparison for "ATC", everyone for "ATE", and for "ATO" and "ATM", which the
weights w define), m_a(x) for the linear regression of y on x in arm a, and r_a(x) for how many of
the population of interest there are for each of arm a (the odds of treatment for the comparison and
the ATT; one over the probability of its arm for the ATE). The mean outcome of the population t under arm a is

    "reg"   mean_t(m_a)
    "ipw"   mean_{a, r}(y)
    "dr"    mean_t(m_a) + mean_{a, r}(y - m_a)

where mean_t weighs by w t and mean_{a, r} by w 1(d = a) r_a, each normalised to one. For the ATT on
changes these are the three estimators of Callaway and Sant'Anna (R's DRDID: ``reg_did_panel``,
``std_ipw_did_panel``, ``drdid_panel``). The scores carry the error of the two fitted models.

References: santanna2020, callaway2021, robins1994.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from impact.core.linear import LinearFit, least_squares
from impact.core.logit import LogitFit, logit
from impact.core.moments import mean, mean_scores

Array = np.ndarray

METHODS = ("dr", "reg", "ipw")
ESTIMANDS = ("ATT", "ATC", "ATE", "ATO", "ATM")


class Levels(NamedTuple):
    """Mean outcomes of one population under treatment and under comparison.

    ``treated`` and ``comparison`` are (T,) or a number; their scores (n, T) or (n,). ``propensity``
    is None where no model of treatment was needed; ``outcome`` holds the regressions by arm
    (True for the treated) that were.
    """

    treated: Array
    comparison: Array
    treated_scores: Array
    comparison_scores: Array
    propensity: LogitFit | None
    outcome: dict[bool, LinearFit]


def difference(
    y: Array,
    d: Array,
    x: Array,
    w: Array,
    estimand: str = "ATT",
    method: str = "dr",
    names: Sequence[str] | None = None,
) -> tuple[Array, Array]:
    """The effect of treatment on the mean: (value, scores), see the head of this file.

    y (n,) gives a number and (n,) scores; y (n, T) gives (T,) and (n, T).
    """
    found = levels(y, d, x, w, estimand, method, names)
    return found.treated - found.comparison, found.treated_scores - found.comparison_scores


def levels(
    y: Array,
    d: Array,
    x: Array,
    w: Array,
    estimand: str = "ATT",
    method: str = "dr",
    names: Sequence[str] | None = None,
) -> Levels:
    """The mean outcome under each arm, with what was fitted on the way."""
    if estimand not in ESTIMANDS or method not in METHODS:
        raise ValueError(
            f"The estimand {estimand!r} by method {method!r} was asked for. "
            f"The estimands are {', '.join(ESTIMANDS)} and the methods {', '.join(METHODS)}."
        )
    d = np.asarray(d, bool)
    target = {"ATT": d, "ATC": ~d}.get(estimand, np.ones(len(d), bool))
    propensity = None if method == "reg" else logit(d, x, w, names)
    outcome: dict[bool, LinearFit] = {}
    found = {}
    for arm in (True, False):
        inside = d == arm
        if estimand == ("ATT" if arm else "ATC"):
            # In the population of interest itself, all three are the plain mean.
            found[arm] = mean(y, w * inside), mean_scores(y, w * inside)
            continue
        if method != "ipw":
            outcome[arm] = _regression(y, x, w * inside, arm)
        found[arm] = _level(y, w, arm, inside, target, propensity, outcome.get(arm))
    return Levels(found[True][0], found[False][0], found[True][1], found[False][1], propensity, outcome)


def _regression(y: Array, x: Array, w: Array, arm: bool) -> LinearFit:
    try:
        return least_squares(y, x, w)
    except ValueError as refusal:
        raise ValueError(f"Among the {'treated' if arm else 'comparison'} units: {refusal}") from None


def _level(
    y: Array,
    w: Array,
    arm: bool,
    inside: Array,
    target: Array,
    propensity: LogitFit | None,
    fit: LinearFit | None,
) -> tuple[Array, Array]:
    value, scores = np.zeros(y.shape[1:]), np.zeros(y.shape)
    left, pull = y, None
    if fit is not None:
        expected, left = y - fit.residual, fit.residual
        over = w * target
        value, scores = mean(expected, over), mean_scores(expected, over)
        pull = fit.design.T @ (over / over.sum())
    if propensity is not None:
        ratio, slope = ratios(propensity, arm, target)
        v = w * inside * ratio
        centre = mean(left, v)
        value, scores = value + centre, scores + mean_scores(left, v)
        pull = None if pull is None else pull - fit.design.T @ (v / v.sum())  # type: ignore[union-attr]
        tilt = (w * inside * slope / v.sum()).reshape(-1, *[1] * (y.ndim - 1)) * (left - centre)
        scores = scores + propensity.carry(propensity.design.T @ tilt)
    if fit is not None and pull is not None:
        scores = scores + fit.carry(pull)
    return value, scores


def ratios(propensity: LogitFit, arm: bool, target: Array) -> tuple[Array, Array]:
    """How many of the population there are for each row of the arm, and the slope of that in the logit.

    (n,) each, meaningful for rows of the arm: for the whole population 1 / P(arm), with slope
    -(1 - P) / P for the treated and its mirror for the comparison; for the other arm alone the odds
    of being there, with plus or minus itself as slope. Separated rows are certain of their own arm:
    their ratio is one or zero, and does not move.
    """
    towards_other = -propensity.logit if arm else propensity.logit
    with np.errstate(over="ignore"):
        odds = np.exp(towards_other)
    odds = np.where(np.isfinite(odds), odds, 0.0)
    sign = -1.0 if arm else 1.0
    return (1.0 + odds if target.all() else odds), sign * odds
