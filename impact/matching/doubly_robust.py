"""Outcome regression and weighting together: right if either model is."""

from __future__ import annotations

from impact.core.doubly_robust import Levels, levels
from impact.estimate import Estimate
from impact.matching.measured import Measured, Names, measured
from impact.matching.regression import unseen
from impact.matching.treatment import certainty, covariates
from impact.sample import Sample, caution, told

METHOD = "linear outcome regression within each arm and logistic model of treatment, combined (doubly robust)"
REFERENCES = ("robins1994", "santanna2020")


def difference(sample: Sample, *, outcome: Names = None) -> Estimate:
    """The effect of treatment, right if the model of the outcome or the model of treatment is right.

    With m_a(x) the linear regression of y on the covariates in arm a, and r_a(x) the weights that
    make arm a resemble the group of interest by the logistic model (the odds of treatment for the
    comparison group and the ATT), the mean outcome under a is

        the mean of m_a over the group of interest + the mean of y - m_a over arm a, weighted by r_a,

    and the effect is that of treatment less that of comparison. Both means are normalised. The
    standard error carries both models. In a matched or weighted sample both models are fitted
    with the design's weights.

    **Assumptions**: no unmeasured confounding; overlap; one of the two models is right.

    Parameters
    ----------
    sample : Sample
        From ``emulate`` or from a design.
    outcome : str or several, optional
        Which measured outcomes; all of the study's, if left out.

    Returns
    -------
    Estimate
        A value for each outcome, and for each period of an outcome over time.

    Raises
    ------
    ValueError
        No measured outcome, no two arms, no covariates, fewer units in an arm than columns, or
        covariates that tell the arms apart without error.

    **References**: robins1994; santanna2020.
    """
    asked, found, notes = _fitted(sample, outcome)
    return asked.difference(
        found.treated - found.comparison,
        found.treated_scores - found.comparison_scores,
        method=METHOD,
        references=REFERENCES,
        notes=notes,
    )


def means(sample: Sample, *, outcome: Names = None) -> Estimate:
    """The mean outcomes of the group of interest with and without treatment, doubly robust.

    See :func:`difference`, of which these are the two sides.

    **Assumptions**: those of :func:`difference`.

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
        As :func:`difference`.

    **References**: robins1994; santanna2020.
    """
    asked, found, notes = _fitted(sample, outcome)
    return asked.levels(
        (found.treated, found.treated_scores),
        (found.comparison, found.comparison_scores),
        method=METHOD,
        references=REFERENCES,
        notes=notes,
    )


def _fitted(sample: Sample, outcome: Names) -> tuple[Measured, Levels, tuple[str, ...]]:
    asked = measured(sample, outcome)
    x = covariates(sample, "A doubly robust estimate")
    names = told(sample.covariate_names, x)
    found = levels(asked.values, sample.treated, x, sample.weights, sample.study.estimand, "dr", names=names)
    assert found.propensity is not None
    separated = certainty(
        found.propensity.separated,
        "for those of them in the group of interest the estimate rests on the outcome regression alone, beyond what it "
        "has seen.",
    )
    return asked, found, caution([*separated, *unseen(sample, found)])
