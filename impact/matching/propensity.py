"""Weighting by the propensity score."""

from __future__ import annotations

from typing import Any

import numpy as np

from impact.core.doubly_robust import ratios
from impact.core.logit import LogitFit
from impact.matching import balanced
from impact.matching.options import probability, refuse_folds
from impact.matching.treatment import certainty, propensity
from impact.sample import Nuisance, Sample
from impact.show.words import listing
from impact.study import ESTIMANDS

Array = np.ndarray

WAYS = {
    "ATT": "the comparison group weighted by its odds of treatment",
    "ATC": "the treated weighted by their odds of comparison",
    "ATE": "each arm weighted by one over the probability of being in it",
    "ATO": "each arm weighted by the probability of being in the other",
    "ATM": "each arm weighted by the smaller of the two probabilities over that of being in it",
}


def weight(
    sample: Sample, *, estimand: str | None = None, score: Any = None, folds: int = 5, rng: Any = None
) -> Sample:
    """Weight units so that each arm looks like the group whose effect is asked for.

    With e(x) = P(treated | x) by logistic regression on the study's covariates (or by a classifier, or given as
    a covariate), and s the sampling weights, the weights are

        ATT   s for the treated, s e / (1 - e) for the comparison group;
        ATC   s (1 - e) / e for the treated, s for the comparison group;
        ATE   s / e for the treated, s / (1 - e) for the comparison group;
        ATO   s (1 - e) for the treated, s e for the comparison group (overlap weights);
        ATM   s min(e, 1 - e) / e and s min(e, 1 - e) / (1 - e) (matching weights).

    They are scaled as written, and every mean that follows divides by their sum in its arm, so that
    stabilised weights, s P(arm) / P(arm | x), give the same. The last two never exceed s, so that no unit can
    carry an estimate: where overlap is thin they ask for the effect on those who could have been in either
    arm, instead of leaning on few. Overlap weights balance the covariates' means exactly; matching weights
    have a kink at e = 1/2, which is taken as smooth.

    That the probabilities are estimated by logistic regression is carried into the standard errors of everything
    that follows. Those of a classifier or a covariate are taken as given: how a classifier errs is in no standard
    error here, and it need not balance the covariates' means, so that
    :func:`impact.matching.doubly_robust.difference`, which takes a classifier too, is the safer place for one.

    **Assumptions**: no unmeasured confounding; overlap; the model of treatment is right.

    Parameters
    ----------
    sample : Sample
    estimand : "ATT", "ATC", "ATE", "ATO" or "ATM", optional
        The study's, if left out; another one is written into the sample's study.
    score, folds, rng
        In place of logistic regression, a classifier or a covariate that is a probability, as in
        :func:`impact.matching.nearest.match`.

    Returns
    -------
    Sample
        With weights, the score, and how the weights depend on the estimated model.

    Raises
    ------
    ValueError
        An unknown estimand; no covariates; covariates that tell the arms apart without error; a score that gives
        a unit a weight without bound.
    KeyError
        ``score`` names what is not a covariate.

    **References**: hirano2003; lunceford2004; li2018; li2013.

    Examples
    --------
    >>> from impact import Outcome, Study, emulate
    >>> from impact.datasets import helsinki
    >>> from impact.matching import means, propensity
    >>> study = Study(title="Private and public services", unit="client", treatment="provider",
    ...               treated="private", comparison="public", covariates=("age", "months_worked"),
    ...               outcomes=Outcome("employed_12", "in a job at 12 months"))
    >>> sample = propensity.weight(emulate(study, helsinki(seed=1).clients))
    >>> len(means.difference(sample).value)
    1
    """
    sample, asked = balanced.asked(sample, estimand, ESTIMANDS, "Weighting by the propensity score")
    d, w = sample.treated, sample.weights
    refuse_folds(folds, rng)
    if score is None:
        fit = propensity(sample, "Weighting by the propensity score")
        ratio, slope = _ratios(fit, d, asked)
        nuisance = Nuisance(fit.influence, fit.design * (w * slope)[:, None])
        chance, by = fit.probability, "propensity score (logistic regression)"
        consequence = _consequence(asked, fit.separated.treated, fit.separated.comparison)
        notes: tuple[str, ...] = certainty(fit.separated, consequence)
    else:
        chance, found = probability(sample, score, folds, rng, "Weighting by the propensity score")
        ratio, by = _given(chance, d, w > 0, asked, found.words), found.words
        nuisance = Nuisance(np.empty((len(d), 0)), np.empty((len(d), 0)))  # estimated weights, of no parameters
        notes = (f"Standard errors take the weights by {by} as given.",)
    weights, arms = w * ratio, balanced.weighed(d, asked)
    return sample.reweight(
        weights,
        nuisance=nuisance,
        score=chance,
        step=f"weighted for the {asked} by {by}: {WAYS[asked]}; "
        + listing(balanced.worth(weights, arm, w, name) for arm, name in arms),
        notes=(*notes, *(note for arm, name in arms for note in balanced.heavy(weights, arm, name))),
        flow="with a weight" if ((weights == 0) & (w > 0)).any() else None,
    )


def _given(chance: Array, d: Array, live: Array, estimand: str, words: str) -> Array:
    """(n,) the weight over the sampling weight, of probabilities of treatment as they are."""
    own = np.where(d, chance, 1 - chance)
    odds = np.divide(1 - own, own, out=np.full(len(d), np.inf), where=own > 0)  # of the other arm
    ratio = {"ATE": 1 + odds, "ATO": 1 - own, "ATM": np.minimum(odds, 1.0)}.get(estimand, odds)
    ratio = np.where({"ATT": d, "ATC": ~d}.get(estimand, False), 1.0, ratio)
    endless = live & np.isinf(ratio)
    if endless.any():
        raise ValueError(
            f"Weighting for the {estimand} by {words} was asked for, which gives {int(endless.sum()):,} units no "
            "chance of the arm they are in, and so weights without bound: trim first, or take a less certain score."
        )
    return np.where(live, ratio, 0.0)


def _ratios(fit: LogitFit, d: Array, estimand: str) -> tuple[Array, Array]:
    """(n,) the weight over the sampling weight, and its slope in the logit."""
    ratio, slope = np.ones(len(d)), np.zeros(len(d))
    target = {"ATT": d, "ATC": ~d}.get(estimand, np.ones(len(d), bool))
    for arm in (True, False):
        if estimand == ("ATT" if arm else "ATC"):
            continue
        mine = d == arm
        over, change = ratios(fit, arm, target)  # one over the probability of the own arm, for the ATE
        if estimand == "ATO":  # the probability of the other arm, 1 - 1 / over
            over, change = 1 - 1 / over, change / over**2
        elif estimand == "ATM":  # the odds of the other arm, where these are below one
            over, change = np.minimum(over - 1, 1.0), np.where(over < 2, change, 0.0)
        ratio[mine], slope[mine] = over[mine], change[mine]
    return ratio, slope


def _consequence(estimand: str, treated: int, comparison: int) -> str:
    """What certainty of the arm does: whom nobody can stand in for, and who gets no weight."""
    target, other = (comparison, treated) if estimand == "ATC" else (treated, comparison)
    if estimand in ("ATO", "ATM"):
        return f"{target + other:,} get no weight, being unlike anybody in the other arm."
    alone = target + other if estimand == "ATE" else target
    said = []
    if alone:
        said.append("no weighting makes the other arm resemble them, and the effect on them is not identified")
    if estimand != "ATE" and other:
        said.append(f"{other:,} get no weight, being unlike anybody in the group of interest")
    return "; ".join(said) + "."
