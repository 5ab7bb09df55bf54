"""Propensity scores fitted to balance covariates, instead of to predict treatment."""

from __future__ import annotations

import numpy as np

from impact.core import balancing
from impact.core.linear import coordinates
from impact.core.moments import mean, variance
from impact.matching import balanced
from impact.sample import Nuisance, Sample

Array = np.ndarray

SCORE = "The covariate-balancing propensity score"
TILTING = "Inverse probability tilting"
ESTIMANDS = ("ATT", "ATC", "ATE")


def weight(sample: Sample, *, estimand: str | None = None) -> Sample:
    """Weight units by a propensity score chosen so that its weights balance the covariates exactly.

    The score is logistic, logit e(x) = b'[1, x], and b solves the balancing equations (just-identified) instead of
    the likelihood's. With s the sampling weights, for the ATE

        sum over the treated of s [1, x] / e = sum over the comparison group of s [1, x] / (1 - e),

    so that the two arms have the same means (not necessarily those of all); for the ATT the comparison group
    weighted by its odds e / (1 - e) has the treated's totals, for the ATC the mirror of it. Weights are scaled as
    inverse probabilities are: those of the ATT's comparison group add up to the treated's sampling weights, and are
    exactly those of :func:`impact.matching.entropy.weight`. That the score is estimated is carried into the standard
    errors of everything that follows.

    **Assumptions**: no unmeasured confounding; overlap; the logit of treatment, or the outcomes, linear in the
    covariates.

    Parameters
    ----------
    sample : Sample
        From ``emulate``, or trimmed.
    estimand : "ATT", "ATC" or "ATE", optional
        The study's, if left out; another one is written into the sample's study.

    Returns
    -------
    Sample
        With weights, the score, and how the weights depend on the score's coefficients.

    Raises
    ------
    ValueError
        No covariates; an unknown estimand; no weights balance the covariates (those that stand in the way are named).

    **References**: imai2014; zhao2019.

    Examples
    --------
    >>> from impact import Outcome, Study, emulate
    >>> from impact.datasets import helsinki
    >>> from impact.matching import covariate_balancing, means
    >>> study = Study(title="Private and public services", unit="client", treatment="provider",
    ...               treated="private", comparison="public", covariates=("age", "months_worked"),
    ...               outcomes=Outcome("employed_12", "in a job at 12 months"), estimand="ATE")
    >>> sample = covariate_balancing.weight(emulate(study, helsinki(seed=1).clients))
    >>> len(means.difference(sample).value)
    1
    """
    sample, chosen = balanced.asked(sample, estimand, ESTIMANDS, SCORE)
    over = balanced.columns(sample, SCORE, 1, 0.0, chosen)
    if chosen == "ATE":
        found, score = _jointly(sample, over)
    else:
        found = balanced.balance(sample, over, balancing.ENTROPY, chosen, SCORE)
        arm, sign = ("comparison", 1.0) if chosen == "ATT" else ("treated", -1.0)
        score = _inverse(sign * found.predictor[arm])
    how = "a propensity score that balances the covariates exactly (logistic, just-identified)"
    return sample.reweight(
        found.weights, nuisance=found.nuisance, score=score, **balanced.about(sample, found, chosen, how)
    )


def tilt(sample: Sample, *, estimand: str | None = None) -> Sample:
    """Weight each arm by a propensity score of its own, chosen so that the arm has the covariate means of all.

    For the ATE, logit e_a(x) = b_a'[1, x] in each arm a solves

        sum over arm a of s [1, x] / P_a(a | x) = sum over all of s [1, x],

    so that both arms have exactly the means of everybody, which one score cannot do for both. The weights of either
    arm add up to the sampling weights of all. For the ATT and the ATC there is one arm to weigh,
    and the weights are those of :func:`weight` and of :func:`impact.matching.entropy.weight`. That
    the scores are estimated is carried into the standard errors of everything that follows.

    **Assumptions**: no unmeasured confounding; overlap; the logit of treatment, or the outcomes, linear in the
    covariates.

    Parameters
    ----------
    sample : Sample
        From ``emulate``, or trimmed.
    estimand : "ATT", "ATC" or "ATE", optional
        The study's, if left out; another one is written into the sample's study.

    Returns
    -------
    Sample
        With weights, and how they depend on the scores' coefficients.

    Raises
    ------
    ValueError
        No covariates; an unknown estimand; no weights balance the covariates (those that stand in the way are named).

    **References**: graham2012.
    """
    sample, chosen = balanced.asked(sample, estimand, ESTIMANDS, TILTING)
    over = balanced.columns(sample, TILTING, 1, 0.0, chosen)
    family = balancing.TILT if chosen == "ATE" else balancing.ENTROPY
    found = balanced.balance(sample, over, family, chosen, TILTING)
    how = "inverse probability tilting, means of the covariates alike exactly"
    return sample.reweight(found.weights, nuisance=found.nuisance, **balanced.about(sample, found, chosen, how))


def _jointly(sample: Sample, over: balanced.Columns) -> tuple[balanced.Balance, Array]:
    """Both arms weighted by one score, for the ATE: the totals of the signed columns are zero."""
    d, s = sample.treated, sample.weights
    rows = np.flatnonzero(s > 0)
    where = coordinates(over.x, s)
    sign = np.where(d, -1.0, 1.0)
    design = where.of(over.x)
    z = sign[:, None] * design
    start, target = np.zeros(z.shape[1]), np.zeros(z.shape[1])
    start[0] = np.log((s @ d) / (s @ ~d))
    what = f"{SCORE} for the ATE"
    try:
        found = balancing.dual(z[rows], s[rows], target, balancing.TILT, start=start)
    except balancing.Unsettled:
        missed = balancing.misses(z[rows], s[rows], target, np.zeros(z.shape[1]), balancing.TILT.least)[1:]
        names = tuple(over.names[j] for j in where.kept)
        raise ValueError(balanced.cannot(what, "treated and comparison", len(rows), names, missed)) from None
    weights, gradient = np.zeros(len(s)), np.zeros(z.shape)
    weights[rows], gradient[rows] = s[rows] * found.ratio, (s[rows] * found.slope)[:, None] * z[rows]
    gap = np.abs(mean(over.x[d], weights[d]) - mean(over.x[~d], weights[~d]))
    assert (gap <= balanced.EXACT * np.sqrt(variance(over.x, s, unbiased=False)) + 1e-300).all(), "balanced"
    nuisance = Nuisance(found.influence(-weights[:, None] * z), gradient)
    return balanced.Balance(weights, nuisance, {}, {}), _inverse(design @ found.parameters)


def _inverse(predictor: Array) -> Array:
    from scipy.special import expit

    return expit(predictor)
