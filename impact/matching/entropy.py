"""Entropy balancing: the comparison group reweighted until its covariates have the treated's means."""

from __future__ import annotations

from impact.core import balancing
from impact.matching import balanced
from impact.sample import Sample

WHAT = "Entropy balancing"


def weight(sample: Sample, *, estimand: str | None = None, moments: int = 1, tolerance: float = 0.0) -> Sample:
    """Weight units so that each arm has exactly the covariate means of the group whose effect is asked for.

    Of all weights w on an arm that reach the target, those closest to the sampling weights s:

        minimise sum_i w_i log(w_i / s_i)  subject to  sum_i w_i x_i = sum_target s_j x_j,  sum_i w_i = sum_target s_j,

    which are w_i = s_i exp(b'[1, x_i]). The weights of the arm add up to the sampling weights of the group of
    interest (185 treated: the comparison group's weights add up to 185). For the ATT they are those of the
    just-identified covariate-balancing propensity score and of inverse probability tilting, and the mean
    difference is right if the logit of treatment or the mean outcome without treatment is linear in the
    columns balanced. That the weights are estimated, and that the target is itself a sample's mean, is
    carried into the standard errors of everything that follows.

    **Assumptions**: no unmeasured confounding; overlap; outcomes or the logit of treatment linear in the columns
    balanced.

    **Where intervals do not cover**: those of differences in means with a tolerance, which leaves a bias of the
    tolerance times the slopes of the outcome: with 0.05, half the spread in 300 simulations of 1,000 units, where
    intervals of 95% covered 92% for the ATT. Exact, or after regression, they covered 93 to 94%.

    Parameters
    ----------
    sample : Sample
        From ``emulate``, or trimmed.
    estimand : "ATT", "ATC" or "ATE", optional
        The study's, if left out; another one is written into the sample's study. For the ATE both arms are
        brought to the means of all.
    moments : 1, 2 or 3
        Balance the means of the covariates; of their squares too; of their cubes too (not of columns of zeros
        and ones, whose powers are themselves).
    tolerance : float
        How far standardised differences between the arms may remain, by the standard deviation in the group
        of interest (the two arms' average for the ATE, where each arm comes within half of it). Zero is exact.

    Returns
    -------
    Sample
        With weights, and how they depend on the covariates' means.

    Raises
    ------
    ValueError
        No covariates; an unknown estimand; no weights balance the covariates (those that stand in the way are named).

    **References**: hainmueller2012; zhao2017.

    Examples
    --------
    >>> from impact import Outcome, Study, emulate
    >>> from impact.datasets import helsinki
    >>> from impact.matching import entropy, means
    >>> study = Study(title="Private and public services", unit="client", treatment="provider",
    ...               treated="private", comparison="public", covariates=("age", "months_worked"),
    ...               outcomes=Outcome("employed_12", "in a job at 12 months"))
    >>> sample = entropy.weight(emulate(study, helsinki(seed=1).clients))
    >>> len(means.difference(sample).value)
    1
    """
    sample, chosen = balanced.asked(sample, estimand, ("ATT", "ATC", "ATE"), WHAT)
    over = balanced.columns(sample, WHAT, moments, tolerance, chosen)
    found = balanced.balance(sample, over, balancing.ENTROPY, chosen, WHAT)
    how = f"within {tolerance:g} standard deviations" if tolerance else "exactly"
    how = f"entropy balancing, {balanced.MOMENTS[moments]} of the covariates alike {how}"
    return sample.reweight(found.weights, nuisance=found.nuisance, **balanced.about(sample, found, chosen, how))
