"""Outcome regression and weighting together: right if either model is."""

from __future__ import annotations

from typing import Any

import numpy as np

from impact.core.doubly_robust import Levels, levels
from impact.estimate import Estimate
from impact.matching.learners import Learners, cross_fitted
from impact.matching.measured import Measured, Names, measured
from impact.matching.regression import unseen
from impact.matching.treatment import certainty, covariates
from impact.sample import Sample, caution, told

METHOD = "linear outcome regression within each arm and logistic model of treatment, combined (doubly robust)"
REFERENCES = ("robins1994", "santanna2020")


def difference(
    sample: Sample,
    *,
    outcome: Names = None,
    outcome_model: Any = None,
    treatment_model: Any = None,
    folds: int = 5,
    rng: Any = 0,
    n_jobs: int | None = 1,
) -> Estimate:
    """The effect of treatment, right if the model of the outcome or the model of treatment is right.

    With m_a(x) the linear regression of y on the covariates in arm a, and r_a(x) the weights that
    make arm a resemble the group of interest by the logistic model (the odds of treatment for the
    comparison group and the ATT), the mean outcome under a is

        the mean of m_a over the group of interest + the mean of y - m_a over arm a, weighted by r_a,

    and the effect is that of treatment less that of comparison. Both means are normalised. The
    standard error carries both models. In a matched or weighted sample both models are fitted
    with the design's weights.

    Given learners, each fold of units is predicted by models fitted on the other folds (cross-fitting), and
    the standard error takes the predictions as known, which their product of errors allows (chernozhukov2018).
    Probabilities of treatment are kept between 0.01 and 0.99.

    **Assumptions**: no unmeasured confounding; overlap; one of the two models is right. With learners:
    both come near enough to the truth, the product of their errors vanishing faster than one over the
    square root of the number of units.

    Parameters
    ----------
    sample : Sample
        From ``emulate`` or from a design.
    outcome : str or several, optional
        Which measured outcomes; all of the study's, if left out.
    outcome_model : scikit-learn regressor, or classifier for outcomes that are 0 or 1; optional
        Fitted in each arm on the covariates; linear regression, if left out.
    treatment_model : scikit-learn classifier, optional
        With ``predict_proba``; logistic regression, if left out. With neither learner nothing is
        cross-fitted, and the standard error carries both models.
    folds : int
        How many folds; the units of a cluster (and a matched set) are in one.
    rng : seed or numpy Generator
        Deals the folds, and seeds learners that have no ``random_state`` of their own.
    n_jobs : int
        Processes that fit at once (joblib); the answer does not depend on it.

    Returns
    -------
    Estimate
        A value for each outcome, and for each period of an outcome over time.

    Raises
    ------
    ValueError
        No measured outcome, no two arms, no covariates, fewer units in an arm than columns, or
        covariates that tell the arms apart without error; more folds than clusters; a learner that
        cannot be used.

    **References**: robins1994; santanna2020; chernozhukov2018.

    Examples
    --------
    >>> from sklearn.ensemble import HistGradientBoostingRegressor
    >>> from impact import Outcome, Study, emulate
    >>> from impact.datasets import helsinki
    >>> from impact.matching import doubly_robust
    >>> study = Study(title="Private and public services", unit="client", treatment="provider",
    ...               treated="private", comparison="public", covariates=("age", "months_worked"),
    ...               outcomes=Outcome("employed_12", "in a job at 12 months"))
    >>> sample = emulate(study, helsinki(seed=1).clients)
    >>> boosted = HistGradientBoostingRegressor(max_iter=20, max_depth=2)
    >>> len(doubly_robust.difference(sample, outcome_model=boosted, folds=2).value)
    1
    """
    asked, found, notes, method = _fitted(sample, outcome, Learners(outcome_model, treatment_model, folds, rng, n_jobs))
    return asked.difference(
        found.treated - found.comparison,
        found.treated_scores - found.comparison_scores,
        method=method,
        references=_references(outcome_model, treatment_model),
        notes=notes,
    )


def means(
    sample: Sample,
    *,
    outcome: Names = None,
    outcome_model: Any = None,
    treatment_model: Any = None,
    folds: int = 5,
    rng: Any = 0,
    n_jobs: int | None = 1,
) -> Estimate:
    """The mean outcomes of the group of interest with and without treatment, doubly robust.

    See :func:`difference`, of which these are the two sides.

    **Assumptions**: those of :func:`difference`.

    Parameters
    ----------
    sample : Sample
    outcome : str or several, optional
        Which measured outcomes; all of the study's, if left out.
    outcome_model, treatment_model : scikit-learn learners, optional
    folds, rng, n_jobs :
        As for :func:`difference`.

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
    asked, found, notes, method = _fitted(sample, outcome, Learners(outcome_model, treatment_model, folds, rng, n_jobs))
    return asked.levels(
        (found.treated, found.treated_scores),
        (found.comparison, found.comparison_scores),
        method=method,
        references=_references(outcome_model, treatment_model),
        notes=notes,
    )


def risk_ratio(
    sample: Sample,
    *,
    outcome: Names = None,
    outcome_model: Any = None,
    treatment_model: Any = None,
    folds: int = 5,
    rng: Any = 0,
    n_jobs: int | None = 1,
) -> Estimate:
    """How many times as high the mean outcome is with treatment as without.

        mean with treatment / mean without, both doubly robust

    For an outcome that is yes or no the means are risks. Intervals are symmetric on the logarithmic scale.

    **Assumptions**: those of :func:`difference`; the means of both arms are above zero.

    Parameters
    ----------
    sample : Sample
    outcome : str or several, optional
        Which measured outcomes; if left out, all of the study's that have a ratio.
    outcome_model, treatment_model : scikit-learn learners, optional
    folds, rng, n_jobs :
        As for :func:`difference`.

    Returns
    -------
    Estimate
        A value for each outcome, and for each period of an outcome over time.

    Raises
    ------
    ValueError
        As :func:`difference`; an outcome asked for whose mean is not above zero in both arms.

    **References**: robins1994; norton2018.
    """
    asked, found, notes, method = _fitted(sample, outcome, Learners(outcome_model, treatment_model, folds, rng, n_jobs))
    return asked.ratio(
        (found.treated, found.treated_scores),
        (found.comparison, found.comparison_scores),
        named=outcome is not None,
        method=method,
        references=_references(outcome_model, treatment_model),
        notes=notes,
    )


def odds_ratio(
    sample: Sample,
    *,
    outcome: Names = None,
    outcome_model: Any = None,
    treatment_model: Any = None,
    folds: int = 5,
    rng: Any = 0,
    n_jobs: int | None = 1,
) -> Estimate:
    """How many times as high the odds of an outcome that is yes or no are with treatment as without.

        [p_1 / (1 - p_1)] / [p_0 / (1 - p_0)],    p_a the doubly robust mean under arm a

    It is the ratio of marginal odds, not the coefficient of a logistic regression, which is a ratio within
    people of the same covariates and farther from one. Intervals are symmetric on the logarithmic scale.

    **Assumptions**: those of :func:`difference`; the means of both arms are between zero and one.

    Parameters
    ----------
    sample : Sample
    outcome : str or several, optional
        Which measured outcomes; if left out, all of the study's that have odds.
    outcome_model, treatment_model : scikit-learn learners, optional
    folds, rng, n_jobs :
        As for :func:`difference`.

    Returns
    -------
    Estimate
        A value for each outcome, and for each period of an outcome over time.

    Raises
    ------
    ValueError
        As :func:`difference`; an outcome asked for whose mean is not between zero and one in both arms.

    **References**: robins1994; norton2018.
    """
    asked, found, notes, method = _fitted(sample, outcome, Learners(outcome_model, treatment_model, folds, rng, n_jobs))
    return asked.ratio(
        (found.treated, found.treated_scores),
        (found.comparison, found.comparison_scores),
        odds=True,
        named=outcome is not None,
        method=method,
        references=_references(outcome_model, treatment_model),
        notes=notes,
    )


def _fitted(sample: Sample, outcome: Names, by: Learners) -> tuple[Measured, Levels, tuple[str, ...], str]:
    asked = measured(sample, outcome)
    x = covariates(sample, "A doubly robust estimate")
    if by.outcome is None and by.treatment is None:
        return (asked, *_modelled(asked, x), METHOD)
    found, notes = cross_fitted(asked, x, by)
    return asked, found, caution(notes), by.words()


def _modelled(asked: Measured, x: np.ndarray) -> tuple[Levels, tuple[str, ...]]:
    """By the two regressions, which the standard error carries."""
    sample = asked.sample
    names = told(sample.covariate_names, x)
    found = levels(asked.values, sample.treated, x, sample.weights, sample.study.estimand, "dr", names=names)
    assert found.propensity is not None
    separated = certainty(
        found.propensity.separated,
        "for those of them in the group of interest the estimate rests on the outcome regression alone, beyond what it "
        "has seen.",
    )
    return found, caution([*separated, *unseen(sample, found)])


def _references(outcome_model: Any, treatment_model: Any) -> tuple[str, ...]:
    if outcome_model is None and treatment_model is None:
        return REFERENCES
    return ("robins1994", "chernozhukov2018")
