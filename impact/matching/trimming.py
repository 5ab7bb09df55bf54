"""Leaving out units with nobody like them, before another design is applied to the rest.

A trimmed sample keeps all its rows: those left out have weight zero, and the designs that follow match or weigh the
others as if they were the study. So trim first; nothing is trimmed on top of a design.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from impact.core import arguments
from impact.matching.distance import in_support
from impact.matching.options import probability
from impact.sample import Sample

Array = np.ndarray

WHOM = {"both": "either arm", "treated": "the treated", "comparison": "the comparison group"}


def crump(sample: Sample, *, cut: float | None = 0.1, score: Any = None, folds: int = 5, rng: Any = None) -> Sample:
    """Leave out units that are all but certain to be in their arm: with a score below the cut, or above one less it.

    With e(x) = P(treated | x) by logistic regression, the units with

        cut <= e(x) <= 1 - cut

    stay, and the effect is then that on them. The cut a of least variance solves

        1 / (a (1 - a)) = 2 mean(1 / (e (1 - e))) over those who stay,

    or is 0 if everybody may stay; 0.1 is the authors' rule of thumb for it.

    **Assumptions**: the score is well estimated. Who is left out is a step in the score: it is taken as given by the
    standard errors of what follows, which do not know that other data would have cut elsewhere.

    Parameters
    ----------
    sample : Sample
        From ``emulate``; trim before matching or weighting.
    cut : float or None
        Between 0 and 0.5; None for the one of least variance.
    score, folds, rng
        In place of logistic regression, a classifier or a covariate that is a probability, as in
        :func:`impact.matching.nearest.match`.

    Returns
    -------
    Sample
        With weight zero for the units left out, the others' weights as they were, and the score.

    Raises
    ------
    ValueError
        A cut out of range; nobody left in an arm; weights that another design made.

    **References**: crump2009.

    Examples
    --------
    >>> from impact import Outcome, Study, emulate
    >>> from impact.datasets import helsinki
    >>> from impact.matching import means, propensity, trimming
    >>> study = Study(title="Private and public services", unit="client", treatment="provider",
    ...               treated="private", comparison="public", covariates=("age", "months_worked"),
    ...               outcomes=Outcome("employed_12", "in a job at 12 months"))
    >>> sample = propensity.weight(trimming.crump(emulate(study, helsinki(seed=1).clients)))
    >>> len(means.difference(sample).value)
    1
    """
    if cut is not None and not 0 <= arguments.number(cut, "cut") < 0.5:
        raise ValueError(f"`cut` is {cut!r}, and is a probability from 0 to below 0.5: set 0.1, say, or None.")
    chance, by = _chance(sample, score, folds, rng)
    at = _least_variance(chance, sample.weights) if cut is None else cut
    chosen = ", the cut of least variance" if cut is None else ""
    keep = (chance >= at) & (chance <= 1 - at)
    return _kept(sample, chance, keep, f"{by} from {at:.3g} to {1 - at:.3g}{chosen}")


def quantile(sample: Sample, *, share: float = 0.05, score: Any = None, folds: int = 5, rng: Any = None) -> Sample:
    """Leave out units treated, or not, against all expectation: in the outer tails of the two arms' scores.

    With e(x) = P(treated | x) by logistic regression, the units stay whose score is at least the treated's quantile of
    order ``share`` and at most the comparison group's quantile of order 1 - ``share``. The effect is then that on the
    units that stay.

    **Assumptions**: the score is well estimated, and the treated with the lowest scores (and the others with the
    highest) are those with unmeasured reasons. Who is left out is a step in the score, and is taken as given by the
    standard errors of what follows.

    Parameters
    ----------
    sample : Sample
        From ``emulate``; trim before matching or weighting.
    share : float
        The share of each arm beyond its quantile, from 0 to below 0.5.
    score, folds, rng
        In place of logistic regression, a classifier or a covariate that is a probability, as in
        :func:`impact.matching.nearest.match`.

    Returns
    -------
    Sample
        With weight zero for the units left out, the others' weights as they were, and the score.

    Raises
    ------
    ValueError
        A share out of range; nobody left in an arm; weights that another design made.

    **References**: sturmer2010.
    """
    if not 0 <= arguments.number(share, "share") < 0.5:
        raise ValueError(f"`share` is {share!r}, and is a share from 0 to below 0.5: set 0.05, say.")
    (chance, by), d = _chance(sample, score, folds, rng), sample.treated
    low = _quantile(chance, sample.weights * d, share)
    high = -_quantile(-chance, sample.weights * ~d, share)
    keep = (chance >= low) & (chance <= high)
    return _kept(sample, chance, keep, f"{by} from {low:.3g} to {high:.3g}, quantiles of the arms")


def common_support(
    sample: Sample, *, discard: str = "both", score: Any = None, folds: int = 5, rng: Any = None
) -> Sample:
    """Leave out units whose probability of treatment lies outside the other arm's range.

    With e(x) = P(treated | x) by logistic regression, a unit stays if some unit of the other arm has a score as low as
    its own, and some a score as high. The effect is then that on the units that stay.

    **Assumptions**: the score is well estimated. The range hangs on the two outermost units of each arm; who is
    left out is taken as given by the standard errors of what follows.

    Parameters
    ----------
    sample : Sample
        From ``emulate``; trim before matching or weighting.
    discard : "both", "treated" or "comparison"
        Whose units are left out.
    score, folds, rng
        In place of logistic regression, a classifier or a covariate that is a probability, as in
        :func:`impact.matching.nearest.match`.

    Returns
    -------
    Sample
        With weight zero for the units left out, the others' weights as they were, and the score.

    Raises
    ------
    ValueError
        An unknown ``discard``; nobody left in an arm; weights that another design made.

    **References**: heckman1998; dehejia1999.
    """
    if discard not in WHOM:
        raise ValueError(f"`discard` is {discard!r}: choose 'both', 'treated' or 'comparison'.")
    chance, by = _chance(sample, score, folds, rng)
    keep = in_support(chance, sample.treated, sample.weights > 0, discard)
    return _kept(sample, chance, keep, f"{by} within the other arm's range (in {WHOM[discard]})")


def _chance(sample: Sample, score: Any, folds: int, rng: Any) -> tuple[Array, str]:
    """The score, and what to call it."""
    if sample.strata is not None or sample.nuisance is not None:
        raise ValueError(
            f"Trimming was asked of a sample that a design has already worked on ({sample.steps[-1]}): trim first, "
            "then match or weigh what is left."
        )
    chance, found = probability(sample, score, folds, rng, "Trimming")
    return chance, "a score" if score is None else f"a score, {found.words},"


def _kept(sample: Sample, score: Array, keep: Array, rule: str) -> Sample:
    before = sample.weights > 0
    keep = keep & before
    for arm, name in ((sample.treated, "treated"), (~sample.treated, "comparison")):
        if not (keep & arm).any():
            raise ValueError(
                f"Trimming to {rule} was asked for, and leaves nobody of {int((before & arm).sum()):,} {name} units: "
                "the arms hardly overlap. Trim less, or name fewer covariates that decide treatment."
            )
    gone = [int((before & ~keep & arm).sum()) for arm in (sample.treated, ~sample.treated)]
    lost = f"{gone[0]:,} treated and {gone[1]:,} comparison units"
    return sample.reweight(
        np.where(keep, sample.weights, 0.0),
        score=score,
        step=f"trimmed to {rule}, which leaves out {lost}",
        notes=(f"Trimming left out {lost}: the effect is that on the units that stay.",) if sum(gone) else (),
        flow="trimmed" if sum(gone) else None,
    )


def _least_variance(score: Array, w: Array) -> float:
    """Crump and others' cut: the largest set whose greatest 1 / (e (1 - e)) is at most twice its mean."""
    used = w > 0
    with np.errstate(divide="ignore"):
        cost = 1 / (score * (1 - score))[used]
    order = np.argsort(cost, kind="stable")
    cost, mass = cost[order], w[used][order]
    mean = np.cumsum(np.where(np.isfinite(cost), cost * mass, 0.0)) / np.cumsum(mass)
    if cost[-1] <= 2 * mean[-1]:
        return 0.0
    last = np.flatnonzero(cost <= 2 * mean)[-1]
    return float(0.5 - np.sqrt(0.25 - 1 / (2 * mean[last])))


def _quantile(x: Array, w: Array, share: float) -> float:
    """The least value with at least this share of the weight at or below it."""
    mine = w > 0
    order = np.argsort(x[mine], kind="stable")
    below = np.cumsum(w[mine][order]) / w[mine].sum()
    return float(x[mine][order][np.searchsorted(below, share * (1 - 1e-12))])
