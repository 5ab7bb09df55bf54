"""More than two arms: weights by generalised propensity scores, means, and the differences between all pairs."""

from __future__ import annotations

from typing import Any

import numpy as np

from impact.core.moments import mean, mean_scores
from impact.core.several import ask_for_weight, ratios
from impact.estimate import Estimate
from impact.matching import balanced
from impact.matching.arms import Means, barred, codes, focused, model, names, target
from impact.matching.measured import Names, measured
from impact.sample import Nuisance, Sample
from impact.show.words import listing
from impact.study import ESTIMANDS

Array = np.ndarray

WHAT = "Weighting by generalised propensity scores"
WAYS = {
    "ATE": "each arm weighted by one over the probability of being in it",
    "ATO": "each arm weighted by the overlap of all arms (h) over the probability of being in it",
    "ATM": "each arm weighted by the smallest of the probabilities over that of being in it",
}
ALONE = "no weighting makes that arm resemble them, and the effects on them are not identified."
UNLIKE = "they get no weight, being unlike anybody in the group of interest."


def weight(sample: Sample, *, estimand: str | None = None, focal: Any = None) -> Sample:
    """Weight units so that each of several arms looks like the group whose effects are asked for.

    With e_k(x) = P(arm = k | x) by multinomial logistic regression on the study's covariates (the generalised
    propensity score), own the arm of the unit and s the sampling weight, the weights are s h / e_own, where

        ATE   h = 1                          everybody;
        ATT   h = e_f                        the units of arm f: ``focal``, or the study's first treated arm;
        ATC   h = e_0                        the comparison group;
        ATO   h = 1 / sum_k (1 / e_k)        those likeliest to have been in any arm (overlap weights);
        ATM   h = min_k e_k                  those whom matching of all arms would keep (matching weights).

    They are scaled as written, and every mean that follows divides by their sum in its arm. All pairs of arms are
    then compared on one and the same group, so that the effects add up: A less B is A less C plus C less B. With
    two arms these are the weights of :func:`impact.matching.propensity.weight`. Overlap weights never exceed s, and
    lean on nobody where overlap is thin; with more than two arms they do not balance means exactly. Matching weights
    have kinks where two arms are equally unlikely, which are taken as smooth.

    That the probabilities are estimated is carried into the standard errors of everything that follows.

    **Assumptions**: no unmeasured confounding of any of the arms; overlap: everybody in the group of interest could
    have been in every arm; the multinomial model of the arms is right.

    Parameters
    ----------
    sample : Sample
        From ``emulate``, of a study whose ``treated`` has several values (or one).
    estimand : "ATT", "ATC", "ATE", "ATO" or "ATM", optional
        The study's, if left out; another one is written into the sample's study.
    focal : an arm, by its value or in words; optional
        The arm on whose units the effects are asked for. A treated arm makes it the ATT and is put first among the
        treated arms of the sample's study; the comparison group makes it the ATC.

    Returns
    -------
    Sample
        With weights, and how they depend on the estimated model.

    Raises
    ------
    ValueError
        An unknown estimand or arm; no covariates; covariates that tell an arm from all others without error, or
        leave an arm nobody who resembles the group of interest.

    **References**: imbens2000; li2019; mccaffrey2013; yoshida2017.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> from impact import Outcome, Study, emulate
    >>> from impact.matching import several
    >>> draw = np.random.default_rng(1)
    >>> clients = pd.DataFrame({"id": range(600), "age": draw.normal(45, 9, 600).round(),
    ...                         "provider": draw.choice(["A", "B", "public"], 600)})
    >>> clients["pay"] = 20 + 0.1 * clients["age"] + (clients["provider"] == "A") + draw.normal(0, 1, 600)
    >>> study = Study(title="Two providers and the public service", unit="id", treatment="provider",
    ...               treated=("A", "B"), comparison="public", covariates="age", outcomes=Outcome("pay"))
    >>> sample = several.weight(emulate(study, clients), estimand="ATE")
    >>> list(several.differences(sample).index["term"])
    ['A less public', 'B less public', 'A less B']
    """
    sample, estimand = focused(sample, focal, estimand)
    sample, asked = balanced.asked(sample, estimand, ESTIMANDS, WHAT)
    arm, words, w, of = codes(sample), names(sample), sample.weights, target(asked)
    fit = model(sample, WHAT)
    ratio, slope = ratios(fit, arm, "ATT" if of is not None else asked, of or 0)
    weights = np.where(w > 0, w * ratio, 0.0)
    ask_for_weight(weights, arm, words, f"{WHAT} for the {asked}")
    told = [(arm == k, name) for k, name in enumerate(words) if k != of]
    way = WAYS.get(asked, f"the other arms weighted by the probability of “{words[of or 0]}” over that of their own")
    return sample.reweight(
        weights,
        nuisance=Nuisance(fit.influence, fit.columns(np.where(w > 0, w, 0.0)[:, None] * slope)),
        score=fit.probability[:, 1] if sample.arm is None else None,
        step=f"weighted for the {asked} by generalised propensity scores (multinomial logistic regression): {way}; "
        + listing(balanced.worth(weights, mine, w, f"“{name}”") for mine, name in told),
        notes=(
            *barred(fit, (weights > 0) & ((arm == of) if of is not None else asked == "ATE"), ALONE),
            *barred(fit, (weights == 0) & (w > 0), UNLIKE),
            *(note for mine, name in told for note in balanced.heavy(weights, mine, f"“{name}”")),
        ),
        flow="with a weight" if ((weights == 0) & (w > 0)).any() else None,
        several=True,
    )


def differences(sample: Sample, *, outcome: Names = None) -> Estimate:
    """How far apart the mean outcomes of all pairs of arms lie.

    With w the weights that the design gave, for each pair of arms a and b

        sum_a(w y) / sum_a(w) - sum_b(w y) / sum_b(w),

    each treated arm less the comparison group first, then the treated arms among each other. All are one estimate:
    ``test()`` asks whether all arms are alike, and ``tidy(simultaneous=True)`` gives intervals that hold for all
    pairs at once. With two arms it is :func:`impact.matching.means.difference`.

    **Assumptions**: the design has made the arms comparable. Without a design these are descriptions and not
    effects.

    Parameters
    ----------
    sample : Sample
        From ``emulate``, or better from :func:`weight`.
    outcome : str or several, optional
        Which measured outcomes; all of the study's, if left out.

    Returns
    -------
    Estimate
        A value for each pair of arms (``term``), outcome and period.

    Raises
    ------
    ValueError
        The study has no measured outcome, or no arms.

    **References**: imbens2000; mccaffrey2013; li2019.
    """
    plain = "differences in means, all pairs of arms"
    return _means(sample, outcome).contrasts(
        adjusted=bool(sample.steps),
        method=plain if sample.steps else f"{plain}, nothing adjusted for",
        references=("imbens2000", "li2019"),
    )


def means(sample: Sample, *, outcome: Names = None) -> Estimate:
    """The mean outcome of each of several arms, with the weights that the design gave.

        sum(w y) / sum(w) over the units of the arm.

    **Assumptions**: none to describe; for gaps between the arms to be effects, those of :func:`differences`.

    Parameters
    ----------
    sample : Sample
    outcome : str or several, optional
        Which measured outcomes; all of the study's, if left out.

    Returns
    -------
    Estimate
        A value for each arm (``group``), outcome and period.

    Raises
    ------
    ValueError
        The study has no measured outcome, or no arms.

    **References**: imbens2000.
    """
    method = "weighted means" if sample.steps else "means"
    return _means(sample, outcome).levels(method=method, references=("imbens2000",))


def _means(sample: Sample, outcome: Names) -> Means:
    asked = measured(sample, outcome, several=True)
    over = [sample.weights * mine for mine in sample.every_arm.values()]
    return Means(asked, [mean(asked.values, w) for w in over], [mean_scores(asked.values, w) for w in over])
