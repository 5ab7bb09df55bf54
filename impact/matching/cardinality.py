"""Cardinality matching: the most units whose covariates are balanced as closely as asked."""

from __future__ import annotations

from typing import Any

import numpy as np

from impact.core import moments
from impact.core.assignment import on_a_line
from impact.matching.sets import both_arms, by_label, known_estimand, lost, refuse_empty, sets_found, weigh
from impact.matching.treatment import certainty, covariates, propensity
from impact.sample import Sample

Array = np.ndarray

FREE = 400
"""Units that may change when those taken in part are made whole."""


def match(
    sample: Sample, *, ratio: int = 1, tolerance: float = 0.05, gap: float = 0.001, seconds: float = 60.0
) -> Sample:
    """Keep as many units as can be kept so that the arms differ by no more than a tolerance in any covariate.

    Chooses units z_i in {0, 1} by integer programming (HiGHS) to make sum z_i as large as it can be,
    given that there are ``ratio`` comparison units for each treated unit kept, and that the means of
    each covariate x_k, every level of a factor included, differ by no more than

        | mean of x_k over treated kept - mean of x_k over comparison units kept |  <=  tolerance x SD_k.

    SD_k is the standard deviation over all units of the arm of interest (both arms' variances
    averaged for the ATE), as in :func:`impact.checks.balance.balance`. Balance is given, not hoped
    for; how many units it leaves is the result.

    **Assumptions**: no unmeasured confounding, and outcomes without treatment that are close to
    linear in the covariates balanced (name squares and interactions as covariates if they matter).
    The effect is that on the units kept. The largest sample tends to use the whole tolerance, always
    in the direction in which the arms differ: regression on it removes what that leaves.

    **Where intervals do not cover**: those of differences in means. Pairs by the score do not show that the
    whole sample was made to balance, so that errors were 1.5 times the spread in 100 simulations of 1,000 units, and
    the tolerance left a bias of 0.4 to 1 times the spread (zubizarreta2014): intervals of 95% covered 98 to 99%,
    those of the arms' levels 91%. After regression on the sample kept
    (:func:`impact.matching.regression.difference`) both covered 95 to 97%.

    Parameters
    ----------
    sample : Sample
        Without sampling weights.
    ratio : int
        How many comparison units for each treated one.
    tolerance : float
        In standard deviations.
    gap : float
        The search stops when no more than this share of units could be won yet.
    seconds : float
        The search stops after so long, with the best found; a note then says how many more could
        be possible. What is found may then differ from one machine to the next.

    Returns
    -------
    Sample
        With the units kept, each treated unit in one of ``strata`` with ``ratio`` comparison units:
        those kept are paired by propensity score at the least total distance. Pairs change no mean;
        they are the clusters.

    Raises
    ------
    ValueError
        No two groups are balanced so closely; unequal sampling weights; no covariates; an option that
        does not exist.

    **References**: zubizarreta2014.

    Examples
    --------
    >>> from impact import Outcome, Study, emulate
    >>> from impact.datasets import helsinki
    >>> from impact.matching import cardinality
    >>> study = Study(title="Private and public services", unit="client", treatment="provider",
    ...               treated="private", comparison="public", covariates=("age", "months_worked"),
    ...               outcomes=Outcome("employed_{}", "in a job", periods=range(1, 19)))
    >>> sample = cardinality.match(emulate(study, helsinki(seed=1).clients))
    >>> sample.flow[-1].treated == sample.flow[-1].comparison
    True
    """
    _refuse(sample, ratio, tolerance, gap, seconds)
    rows, back = by_label(sample)
    covariates(rows, "Cardinality matching")
    fit = propensity(rows, "Pairing by the propensity score")
    live = rows.weights > 0
    live[fit.separated.rows] = False
    at = np.flatnonzero(live)
    x, d = rows.characteristics[at], rows.treated[at]
    scale = _scale(x, d, sample.study.estimand)
    kept, more = _largest(x, d, scale, ratio, tolerance, gap, seconds)
    if more and not kept.any():
        raise ValueError(
            f"The largest sample with at most a difference of {tolerance:g} SD in every covariate was asked for, and "
            f"none was found in {seconds:g} seconds: allow more `seconds`, a higher tolerance, or fewer covariates."
        )
    _keep_promises(x, d, kept, scale, ratio, tolerance)
    treated, partners = at[kept & d], at[kept & ~d]
    codes = np.full(len(rows), -1)
    if len(treated):
        i, j = on_a_line(np.repeat(fit.logit[treated], ratio), fit.logit[partners])
        codes[treated] = np.arange(len(treated))
        codes[partners[j]] = i // ratio
    strata = both_arms(codes, rows.treated, live)[back]
    within = f"a difference of {tolerance:g} SD in every covariate"
    refuse_empty(strata, f"Balance within {within}", "raise the tolerance, or name fewer covariates")
    return sample.reweight(
        weigh(strata, sample.treated, sample.weights, sample.study.estimand),
        strata=strata,
        score=fit.probability[back],
        step=f"largest sample of 1:{ratio} with at most {within} (integer programming), paired by propensity score; "
        f"{sets_found(strata, sample.treated)}",
        notes=(
            *lost(strata, sample, "are not in the largest balanced sample"),
            *certainty(fit.separated, "they are not considered."),
            *more,
        ),
        flow="matched",
    )


def _scale(x: Array, d: Array, estimand: str) -> Array:
    one = np.ones(len(x))
    binary = ((x == 0) | (x == 1)).all(axis=0)
    treated, comparison = (
        np.where(binary, moments.variance(x[a], one[a], unbiased=False), moments.variance(x[a], one[a]))
        for a in (d, ~d)
    )
    return np.sqrt({"ATT": treated, "ATC": comparison, "ATE": (treated + comparison) / 2}[estimand])


def _largest(
    x: Array, d: Array, scale: Array, ratio: int, tolerance: float, gap: float, seconds: float
) -> tuple[Array, tuple[str, ...]]:
    """Which rows are kept, and a note if more may be possible.

    With c rows kept of the comparison arm, ratio for each treated one, the means differ by
    (ratio sum of x over treated - sum of x over comparison) / c: linear in who is kept.
    """
    from scipy.optimize import LinearConstraint

    side = np.where(d, float(ratio), -1.0)
    spread = np.where(scale > 0, scale, 1.0)
    z = (x - x.mean(axis=0)) / spread
    signed, slack = (side[:, None] * z).T, tolerance * np.where(scale > 0, 1.0, 0.0)[:, None] * (~d)[None, :]
    rules = [
        LinearConstraint(side[None, :], 0.0, 0.0),
        LinearConstraint(np.vstack([signed - slack, -signed - slack]), -np.inf, 0.0),
    ]
    kept, most = _rounded(rules, len(d), 1 + ratio, gap, seconds)
    if kept.sum() >= (1 - gap) * most:
        return kept, ()
    found = _solved(rules, np.zeros(len(d)), np.ones(len(d)), gap, seconds, whole=True)
    if found.x is not None and (found.x > 0.5).sum() >= kept.sum():
        kept = found.x > 0.5
    if found.status == 0:
        return kept, ()
    return kept, (
        f"The search for the largest balanced sample stopped after {seconds:g} seconds with {int(kept.sum()):,} units; "
        f"no more than {most:,} are possible.",
    )


def _rounded(rules: list[Any], n: int, step: int, gap: float, seconds: float) -> tuple[Array, int]:
    """A balanced sample close to the largest, and a size that none exceeds.

    Allowing parts of units gives that size, and nearly all units whole: no more are in parts than there
    are rules. These are made whole again together with FREE others, evenly spaced, all the rest as they are.
    """
    relaxed = _solved(rules, np.zeros(n), np.ones(n), gap, seconds, whole=False)
    if relaxed.x is None:
        return np.zeros(n, bool), n
    parts = (relaxed.x > 1e-6) & (relaxed.x < 1 - 1e-6)
    parts[np.linspace(0, n - 1, min(FREE, n)).astype(int)] = True
    low, high = np.where(parts, 0.0, np.round(relaxed.x)), np.where(parts, 1.0, np.round(relaxed.x))
    found = _solved(rules, low, high, gap, seconds, whole=True)
    kept = np.zeros(n, bool) if found.x is None else found.x > 0.5
    return kept, step * int(np.floor(-relaxed.fun / step + 1e-6))


def _solved(rules: list[Any], low: Array, high: Array, gap: float, seconds: float, *, whole: bool) -> Any:
    """The most units within the rules, each between ``low`` and ``high``."""
    from scipy.optimize import Bounds, milp

    return milp(
        -np.ones(len(low)),
        constraints=rules,
        integrality=np.full(len(low), int(whole)),
        bounds=Bounds(low, high),
        options={"mip_rel_gap": gap, "time_limit": seconds},
    )


def _keep_promises(x: Array, d: Array, kept: Array, scale: Array, ratio: int, tolerance: float) -> None:
    """The solver works within its own tolerance; what was asked for is checked on the units themselves."""
    if not kept.any():
        return
    gap = np.abs(x[kept & d].mean(axis=0) - x[kept & ~d].mean(axis=0))
    balanced = gap <= tolerance * scale + 1e-6 * np.maximum(scale, 1e-3)
    if (kept & ~d).sum() != ratio * (kept & d).sum() or not balanced.all():
        raise RuntimeError(
            "The units kept break the balance or the ratio that was asked for. This is a fault of the package, not of "
            "the data: please report it."
        )


def _refuse(sample: Sample, ratio: int, tolerance: float, gap: float, seconds: float) -> None:
    known_estimand(sample, ("ATT", "ATC", "ATE"), "the largest balanced sample")
    if isinstance(ratio, bool) or not isinstance(ratio, int | np.integer) or ratio < 1:
        raise ValueError(f"`ratio` is {ratio!r}, and is a whole number of partners from 1 on: set ratio=1, 2 or more.")
    for name, value, least in (("tolerance", tolerance, 0.0), ("gap", gap, 0.0), ("seconds", seconds, 1e-3)):
        if isinstance(value, bool) or not (isinstance(value, int | float | np.number) and value >= least):
            raise ValueError(f"`{name}` is {value!r}, and is a number from 0 on: leave it out for the default.")
    used = sample.weights[sample.weights > 0]
    if len(used) and np.ptp(used) > 1e-12 * used.max():
        raise ValueError(
            f"The largest balanced sample was asked for, and the {len(used):,} units have unequal sampling weights: it "
            "counts units, so use exact.match, optimal.full or propensity.weight instead."
        )
