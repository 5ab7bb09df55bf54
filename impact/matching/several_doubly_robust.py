"""More than two arms: outcome regression and generalised propensity scores together, right if either model is."""

from __future__ import annotations

from typing import Any

from impact.core.several import Level, levels
from impact.estimate import Estimate
from impact.matching import balanced
from impact.matching.arms import Means, barred, codes, focused, model, names, target
from impact.matching.measured import Names, measured
from impact.sample import Sample, caution, told
from impact.show.words import listing
from impact.study import ESTIMANDS

WHAT = "A doubly robust estimate"
METHOD = "linear outcome regression within each arm and multinomial model of the arms, combined (doubly robust)"
REFERENCES = ("cattaneo2010", "robins1994")


def differences(sample: Sample, *, outcome: Names = None, focal: Any = None) -> Estimate:
    """The effects of all pairs of arms, right if the models of the outcome or the model of the arms are right.

    With m_k(x) the linear regression of y on the covariates in arm k, and r_k(x) the weights that make arm k
    resemble the group of interest by multinomial logistic regression (one over its probability for the ATE), the
    mean outcome under k is

        the mean of m_k over the group of interest + the mean of y - m_k over arm k, weighted by r_k,

    and the effect of a pair is the difference of theirs. All means are normalised and of one and the same group:
    everybody for the ATE, the study's first treated arm (or ``focal``) for the ATT, the comparison group for the ATC.
    The standard errors carry both models. All pairs are one estimate: ``test()`` asks whether all arms are alike,
    and ``tidy(simultaneous=True)`` gives intervals that hold for all pairs at once. With two arms it is
    :func:`impact.matching.doubly_robust.difference`. In a weighted sample both models are fitted with its weights.

    **Assumptions**: no unmeasured confounding of any of the arms; overlap; one of the two models is right.

    Parameters
    ----------
    sample : Sample
        From ``emulate`` or from :func:`impact.matching.several.weight`.
    outcome : str or several, optional
        Which measured outcomes; all of the study's, if left out.
    focal : an arm, by its value or in words; optional
        The arm on whose units the effects are asked for, in place of the study's estimand.

    Returns
    -------
    Estimate
        A value for each pair of arms (``term``), outcome and period.

    Raises
    ------
    ValueError
        No measured outcome, no arms, no covariates, fewer units in an arm than columns, or covariates that
        tell an arm from all others without error.

    **References**: cattaneo2010; robins1994.
    """
    found, notes = _fitted(sample, outcome, focal)
    return found.contrasts(method=METHOD, references=REFERENCES, notes=notes)


def means(sample: Sample, *, outcome: Names = None, focal: Any = None) -> Estimate:
    """The mean outcomes of the group of interest under each of several arms, doubly robust.

    See :func:`differences`, of which these are the sides.

    **Assumptions**: those of :func:`differences`.

    Parameters
    ----------
    sample : Sample
    outcome : str or several, optional
        Which measured outcomes; all of the study's, if left out.
    focal : an arm, by its value or in words; optional
        As for :func:`differences`.

    Returns
    -------
    Estimate
        A value for each arm (``group``), outcome and period.

    Raises
    ------
    ValueError
        As :func:`differences`.

    **References**: cattaneo2010; robins1994.
    """
    found, notes = _fitted(sample, outcome, focal)
    return found.levels(method=METHOD, references=REFERENCES, notes=notes)


def _fitted(sample: Sample, outcome: Names, focal: Any) -> tuple[Means, tuple[str, ...]]:
    sample, estimand = focused(sample, focal, None)
    sample, _ = balanced.asked(sample, estimand, ESTIMANDS, WHAT)
    asked = measured(sample, outcome, several=True)
    fit, words = model(sample, WHAT), names(sample)
    of = target(sample.study.estimand)
    found = levels(asked.values, codes(sample), sample.covariates, sample.weights, fit, of, words)
    interest = (sample.weights > 0) & (True if of is None else codes(sample) == of)
    consequence = "for them the estimate rests on the outcome regression alone, beyond what it has seen."
    notes = caution([*barred(fit, interest, consequence), *_unseen(sample, found, words)])
    shown = [found[k] for k in (*range(1, len(words)), 0)]  # treated first, as everywhere
    return Means(asked, [level.value for level in shown], [level.scores for level in shown]), notes


def _unseen(sample: Sample, found: list[Level], words: tuple[str, ...]) -> list[str]:
    """A note for covariates that an arm cannot tell apart, on which its regression has nothing to say."""
    spoken, notes = told(sample.covariate_names, sample.covariates), []
    for name, level in zip(words, found, strict=True):
        flat = [] if level.outcome is None else [f"`{spoken[j]}`" for j in level.outcome.redundant]
        if flat:
            more = f" and {len(flat) - 5} more" if len(flat) > 5 else ""
            notes.append(
                f"Among the units of “{name}”, {listing(flat[:5])}{more} does not vary or follows from other "
                "covariates: the regression says nothing about it, and expects the same whatever its value."
            )
    return notes
