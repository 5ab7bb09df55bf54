"""Weighting by the propensity score."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from impact.core.doubly_robust import ratios
from impact.core.moments import effective_size
from impact.matching.treatment import certainty, propensity
from impact.sample import Nuisance, Sample
from impact.show.words import counted, listing
from impact.study import ESTIMANDS

Array = np.ndarray

WAYS = {
    "ATT": "the comparison group weighted by its odds of treatment",
    "ATC": "the treated weighted by their odds of comparison",
    "ATE": "each arm weighted by one over the probability of being in it",
}


def weight(sample: Sample, *, estimand: str | None = None) -> Sample:
    """Weight units so that each arm looks like the group whose effect is asked for.

    With e(x) = P(treated | x) by logistic regression on the study's covariates, and s the sampling
    weights, the weights are

        ATT   s for the treated, s e / (1 - e) for the comparison group;
        ATC   s (1 - e) / e for the treated, s for the comparison group;
        ATE   s / e for the treated, s / (1 - e) for the comparison group.

    That the probabilities are estimated is carried into the standard errors of everything that
    follows.

    **Assumptions**: no unmeasured confounding; overlap; the logistic model of treatment is right.

    Parameters
    ----------
    sample : Sample
    estimand : "ATT", "ATC" or "ATE", optional
        The study's, if left out; another one is written into the sample's study.

    Returns
    -------
    Sample
        With weights, the score, and how the weights depend on the estimated model.

    Raises
    ------
    ValueError
        An unknown estimand; no covariates; covariates that tell the arms apart without error.

    **References**: hirano2003; lunceford2004.

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
    asked = sample.study.estimand if estimand is None else estimand
    if asked not in ESTIMANDS:
        raise ValueError(f"The estimand {estimand!r} was asked for: choose among {', '.join(ESTIMANDS)}.")
    fit = propensity(sample, "Weighting by the propensity score")
    d, w = sample.treated, sample.weights
    target = {"ATT": d, "ATC": ~d, "ATE": np.ones(len(d), bool)}[asked]
    ratio, slope = np.ones(len(d)), np.zeros(len(d))
    for arm in (True, False):
        if asked != ("ATT" if arm else "ATC"):
            mine = d == arm
            ratio[mine], slope[mine] = (part[mine] for part in ratios(fit, arm, target))
    weights = w * ratio
    if asked != sample.study.estimand:
        sample = replace(sample, study=sample.study.revise(estimand=asked))
    arms = ((d, "treated", asked != "ATT"), (~d, "comparison", asked != "ATC"))
    return sample.reweight(
        weights,
        nuisance=Nuisance(fit.influence, fit.design * (w * slope)[:, None]),
        score=fit.probability,
        step=f"weighted for the {asked} by propensity score (logistic regression): {WAYS[asked]}; "
        + listing(_worth(weights, arm, w, name) for arm, name, weighed in arms if weighed),
        notes=(
            *certainty(fit.separated, _consequence(asked, fit.separated.treated, fit.separated.comparison)),
            *(note for arm, name, weighed in arms if weighed for note in _heavy(weights, arm, name)),
        ),
        flow="with a weight" if ((weights == 0) & (w > 0)).any() else None,
    )


def _consequence(estimand: str, treated: int, comparison: int) -> str:
    """What certainty of the arm does: whom nobody can stand in for, and who gets no weight."""
    target, other = (comparison, treated) if estimand == "ATC" else (treated, comparison)
    alone = target + other if estimand == "ATE" else target
    said = []
    if alone:
        said.append("no weighting makes the other arm resemble them, and the effect on them is not identified")
    if estimand != "ATE" and other:
        said.append(f"{other:,} get no weight, being unlike anybody in the group of interest")
    return "; ".join(said) + "."


def _worth(weights: Array, arm: Array, before: Array, name: str) -> str:
    count = int((arm & (before > 0)).sum())
    return f"{count:,} {name} units are worth {effective_size(weights[arm]):,.0f} of equal weight"


def _heavy(weights: Array, arm: Array, name: str) -> tuple[str, ...]:
    """A note when few units carry much of an arm: one more than a tenth, or a twentieth of them more than half."""
    mine = np.sort(weights[arm & (weights > 0)])[::-1]
    if len(mine) < 2:
        return ()
    share = np.cumsum(mine) / mine.sum()
    few = int(np.ceil(len(mine) / 20))
    if share[0] > 0.1:
        told = f"One of the {len(mine):,} {name} units carries {100 * share[0]:.0f}%"
    elif share[few - 1] > 0.5:
        told = f"{counted(few, 'unit')} of the {len(mine):,} {name} units carry {100 * share[few - 1]:.0f}%"
    else:
        return ()
    return (
        f"{told} of the arm's weight: the estimate leans on very few. Look at overlap, drop covariates that all but "
        "decide treatment, or match within a caliper.",
    )
