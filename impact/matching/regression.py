"""Outcome regression by arm, standardised over the group of interest (g-computation)."""

from __future__ import annotations

from impact.core.doubly_robust import Levels, levels
from impact.estimate import Estimate
from impact.matching.measured import Measured, Names, measured
from impact.matching.treatment import covariates
from impact.sample import Sample, caution, told
from impact.show.words import listing

REFERENCES = ("snowden2011",)


def difference(sample: Sample, *, outcome: Names = None) -> Estimate:
    """What outcomes would have been with and without treatment, by linear regression within each arm.

    With m_1(x) and m_0(x) the regressions of y on the covariates among the treated and in the
    comparison group, both weighted by the design's weights w, the effect is the mean of
    m_1(x) - m_0(x) over the group of interest: the treated (ATT), the comparison group (ATC) or
    everybody (ATE), again weighted by w. In a matched sample these are the matched units. The
    standard error covers the regressions and the sampling of the covariates.

    **Assumptions**: no unmeasured confounding; within each arm the mean outcome is linear in the
    covariates (write curves and interactions as terms of the study), or the design has balanced
    what is not.

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
        No measured outcome, no two arms, no covariates, or fewer units in an arm than columns.

    **References**: snowden2011.
    """
    asked, found, notes = _fitted(sample, outcome)
    return asked.difference(
        found.treated - found.comparison,
        found.treated_scores - found.comparison_scores,
        method="linear outcome regression within each arm, standardised",
        references=REFERENCES,
        notes=notes,
    )


def means(sample: Sample, *, outcome: Names = None) -> Estimate:
    """The mean outcomes that the regressions expect of the group of interest, with and without treatment.

    See :func:`difference`: the means of m_1(x) and of m_0(x).

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

    **References**: snowden2011.
    """
    asked, found, notes = _fitted(sample, outcome)
    return asked.levels(
        (found.treated, found.treated_scores),
        (found.comparison, found.comparison_scores),
        method="linear outcome regression within each arm, standardised",
        references=REFERENCES,
        notes=notes,
    )


def risk_ratio(sample: Sample, *, outcome: Names = None) -> Estimate:
    """How many times as high the mean outcome is with treatment as without, in the group of interest.

        mean of m_1(x) / mean of m_0(x) over the group of interest

    For an outcome that is yes or no the means are risks. Intervals are symmetric on the logarithmic scale.

    **Assumptions**: those of :func:`difference`; the means of both arms are above zero.

    Parameters
    ----------
    sample : Sample
    outcome : str or several, optional
        Which measured outcomes; if left out, all of the study's that have a ratio.

    Returns
    -------
    Estimate
        A value for each outcome, and for each period of an outcome over time.

    Raises
    ------
    ValueError
        As :func:`difference`; an outcome asked for whose mean is not above zero in both arms.

    **References**: snowden2011; norton2018.
    """
    asked, found, notes = _fitted(sample, outcome)
    return asked.ratio(
        (found.treated, found.treated_scores),
        (found.comparison, found.comparison_scores),
        named=outcome is not None,
        method="linear outcome regression within each arm, standardised",
        references=REFERENCES,
        notes=notes,
    )


def odds_ratio(sample: Sample, *, outcome: Names = None) -> Estimate:
    """How many times as high the odds of an outcome that is yes or no are with treatment as without.

        [p_1 / (1 - p_1)] / [p_0 / (1 - p_0)],    p_a the mean of m_a(x) over the group of interest

    It is the ratio of marginal odds, not the coefficient of a logistic regression, which is a ratio within
    people of the same covariates and farther from one. Intervals are symmetric on the logarithmic scale.

    **Assumptions**: those of :func:`difference`; the means of both arms are between zero and one.

    Parameters
    ----------
    sample : Sample
    outcome : str or several, optional
        Which measured outcomes; if left out, all of the study's that have odds.

    Returns
    -------
    Estimate
        A value for each outcome, and for each period of an outcome over time.

    Raises
    ------
    ValueError
        As :func:`difference`; an outcome asked for whose mean is not between zero and one in both arms.

    **References**: snowden2011; norton2018.
    """
    asked, found, notes = _fitted(sample, outcome)
    return asked.ratio(
        (found.treated, found.treated_scores),
        (found.comparison, found.comparison_scores),
        odds=True,
        named=outcome is not None,
        method="linear outcome regression within each arm, standardised",
        references=REFERENCES,
        notes=notes,
    )


def _fitted(sample: Sample, outcome: Names) -> tuple[Measured, Levels, tuple[str, ...]]:
    asked = measured(sample, outcome)
    x = covariates(sample, "Outcome regression")
    found = levels(asked.values, sample.treated, x, sample.weights, sample.study.estimand, "reg")
    return asked, found, caution(unseen(sample, found))


def unseen(sample: Sample, found: Levels) -> list[str]:
    """A note for covariates that an arm cannot tell apart, on which its regression has nothing to say."""
    notes = []
    for arm, fit in found.outcome.items():
        spoken = told(sample.covariate_names, sample.covariates)
        names = [f"`{spoken[j]}`" for j in fit.redundant]
        if names:
            more = f" and {len(names) - 5} more" if len(names) > 5 else ""
            notes.append(
                f"Among the {'treated' if arm else 'comparison'} units, {listing(names[:5])}{more} does not vary or "
                "follows from other covariates: the regression says nothing about it, and expects the same whatever "
                "its value."
            )
    return notes
