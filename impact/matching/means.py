"""Means and their differences, in groups that a design has made comparable."""

from __future__ import annotations

import numpy as np

from impact.core.moments import mean, mean_scores
from impact.estimate import Estimate
from impact.matching.measured import Measured, Names, measured
from impact.sample import Sample

Array = np.ndarray


def difference(sample: Sample, *, outcome: Names = None) -> Estimate:
    """How much higher the mean outcome is among the treated than in the comparison group.

    With w the weights that the design gave and d for the treated,

        sum(w d y) / sum(w d) - sum(w (1 - d) y) / sum(w (1 - d)).

    After matching this is the mean difference within matched sets, which are the clusters of its
    standard error (which does not know that the score was estimated, and so is too large: 1.2 to 1.5
    times the spread in simulations, where the designs' pages say what intervals covered;
    :func:`impact.matching.regression.difference` on the matched sample is more precise, and covers);
    after weighting, the normalised (Hajek) inverse probability estimate, whose
    standard error knows that the weights were estimated.

    **Assumptions**: the design has made the arms comparable. Without a design it is a description
    and not an effect.

    Parameters
    ----------
    sample : Sample
        From ``emulate``, or better from a design.
    outcome : str or several, optional
        Which measured outcomes; all of the study's, if left out.

    Returns
    -------
    Estimate
        A value for each outcome, and for each period of an outcome over time.

    Raises
    ------
    ValueError
        The study has no measured outcome, or no two arms.

    **References**: abadie2022; lunceford2004; hirano2003.

    Examples
    --------
    >>> from impact import Outcome, Study, emulate
    >>> from impact.datasets import helsinki
    >>> from impact.matching import means, nearest
    >>> study = Study(title="Private and public services", unit="client", treatment="provider",
    ...               treated="private", comparison="public", covariates=("age", "months_worked"),
    ...               outcomes=Outcome("employed_{}", "in a job", periods=range(1, 19)))
    >>> sample = nearest.match(emulate(study, helsinki(seed=1).clients))
    >>> means.difference(sample).where("time == 12").value.shape
    (1,)
    """
    asked = measured(sample, outcome)
    (a, a_scores), (b, b_scores) = _arms(asked)
    return asked.difference(
        a - b,
        a_scores - b_scores,
        adjusted=bool(sample.steps),
        method="difference in means" if sample.steps else "difference in means, nothing adjusted for",
        references=("abadie2022", "lunceford2004"),
    )


def means(sample: Sample, *, outcome: Names = None) -> Estimate:
    """The mean outcome of each arm, with the weights that the design gave.

        sum(w y) / sum(w) over the units of the arm.

    **Assumptions**: none to describe; for the gap between the arms to be an effect, those of
    :func:`difference`.

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
        The study has no measured outcome, or no two arms.

    **References**: abadie2022.
    """
    asked = measured(sample, outcome)
    return asked.levels(*_arms(asked), method="weighted means" if sample.steps else "means", references=("abadie2022",))


def risk_ratio(sample: Sample, *, outcome: Names = None) -> Estimate:
    """How many times as high the mean outcome is among the treated as in the comparison group.

        [sum(w d y) / sum(w d)] / [sum(w (1 - d) y) / sum(w (1 - d))]

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

    **References**: norton2018.
    """
    asked = measured(sample, outcome)
    return asked.ratio(
        *_arms(asked),
        named=outcome is not None,
        adjusted=bool(sample.steps),
        method="ratio of means" if sample.steps else "ratio of means, nothing adjusted for",
        references=("norton2018",),
    )


def odds_ratio(sample: Sample, *, outcome: Names = None) -> Estimate:
    """How many times as high the odds of an outcome that is yes or no are among the treated as in the comparison group.

        [p_1 / (1 - p_1)] / [p_0 / (1 - p_0)],    p_1 and p_0 the weighted means of the arms

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

    **References**: norton2018.
    """
    asked = measured(sample, outcome)
    return asked.ratio(
        *_arms(asked),
        odds=True,
        named=outcome is not None,
        adjusted=bool(sample.steps),
        method="ratio of odds" if sample.steps else "ratio of odds, nothing adjusted for",
        references=("norton2018",),
    )


def _arms(asked: Measured) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """Value and scores of the treated's means, and of the comparison group's."""
    y, d, w = asked.values, asked.sample.treated, asked.sample.weights
    return (mean(y, w * d), mean_scores(y, w * d)), (mean(y, w * ~d), mean_scores(y, w * ~d))
