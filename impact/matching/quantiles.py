"""Quantiles of outcomes and their differences, in groups that a design has made comparable."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from impact.core import arguments, resampling
from impact.estimate import Estimate
from impact.matching.measured import Measured, Names, measured
from impact.sample import Sample
from impact.study import ESTIMANDS

Array = np.ndarray

QUARTERS = (0.25, 0.5, 0.75)


def difference(
    sample: Sample, *, outcome: Names = None, quantiles: Sequence[float] = QUARTERS, draws: int = 500, rng: Any = 0
) -> Estimate:
    """How much higher the quantiles of the outcome are among the treated than in the comparison group.

    With F_1 and F_0 the arms' distributions under the weights that the design gave,

        min{y: F_1(y) >= q} - min{y: F_0(y) >= q}.

    It compares two distributions: what happens at the median, not to the median person. The error is
    that of ``draws`` samples from the Bayesian bootstrap of whole clusters; weights that were estimated
    move along. In matched samples the sets are the clusters.

    **Assumptions**: the design has made the arms comparable, for the effect on the distribution of the
    group of interest; few units share one value near the quantile. Where many do, as with whole hours
    or no earnings, intervals are only rough. After matching with replacement the bootstrap takes the
    counts of uses as given (abadie2008).

    Parameters
    ----------
    sample : Sample
        From ``emulate``, or better from a design.
    outcome : str or several, optional
        Which measured outcomes; all of the study's, if left out.
    quantiles : numbers between 0 and 1
    draws : int
        How many samples the error is taken from.
    rng : seed or numpy Generator

    Returns
    -------
    Estimate
        A value for each quantile (``term``), outcome and period, without scores.

    Raises
    ------
    ValueError
        No measured outcome, or no two arms; quantiles not between 0 and 1; fewer than two draws.

    **References**: firpo2007; rubin1981; abadie2008.

    Examples
    --------
    >>> from impact import Outcome, Study, emulate
    >>> from impact.datasets import helsinki
    >>> from impact.matching import propensity, quantiles
    >>> study = Study(title="Private and public services", unit="client", treatment="provider",
    ...               treated="private", comparison="public", covariates=("age", "months_worked"),
    ...               outcomes=Outcome("employed_12", "in a job at 12 months"))
    >>> sample = propensity.weight(emulate(study, helsinki(seed=1).clients))
    >>> len(quantiles.difference(sample, quantiles=[0.5], draws=20).value)
    1
    """
    asked = measured(sample, outcome)
    value, drawn = _both(asked, quantiles, draws, rng)
    adjusted = bool(sample.steps)
    whose = ESTIMANDS[sample.study.estimand].replace("average effect", "effect") if adjusted else "arms as they are"
    about = asked.words_of(f"difference in quantiles, {whose}", "difference in quantiles of")
    return _estimate(asked, {}, quantiles, value[0] - value[1], drawn[0] - drawn[1], about)


def levels(
    sample: Sample, *, outcome: Names = None, quantiles: Sequence[float] = QUARTERS, draws: int = 500, rng: Any = 0
) -> Estimate:
    """The quantiles of the outcome in each arm, with the weights that the design gave.

        min{y: F(y) >= q}, F the arm's weighted distribution.

    **Assumptions**: none to describe; for the gap between the arms to be an effect, those of
    :func:`difference`.

    Parameters
    ----------
    sample : Sample
    outcome, quantiles, draws, rng :
        As for :func:`difference`.

    Returns
    -------
    Estimate
        A value for each arm (``group``), quantile (``term``), outcome and period, without scores.

    Raises
    ------
    ValueError
        As :func:`difference`.

    **References**: firpo2007; rubin1981; abadie2008.
    """
    asked = measured(sample, outcome)
    value, drawn = _both(asked, quantiles, draws, rng)
    arms = np.repeat(list(sample.arms), value.shape[1])
    about = asked.words_of("quantiles of the outcome by arm", "quantiles of")
    return _estimate(asked, {"group": arms}, quantiles, value.ravel(), np.hstack([*drawn]), about)


def _both(asked: Measured, at: Sequence[float], draws: int, rng: Any) -> tuple[Array, Array]:
    """Quantiles of both arms (2, q k) and their draws (2, B, q k), outcome by outcome."""
    sample, y, shares = asked.sample, asked.values, arguments.numbers(at, "quantiles")
    _refuse(sample, shares, draws)
    arguments.seed(rng, "rng")
    # Drawn in an order that the units' values decide, so that neither the order of the rows nor labels change it.
    every = [np.asarray(sample.outcome(o.name), float).reshape(len(sample), -1) for o in sample.measured()]
    order = np.lexsort((*sample.covariates.T, sample.weights, sample.treated, *np.hstack(every).T))
    sample, y = sample.take(order), y[order]
    n, nuisance = len(sample), sample.nuisance
    blocks = resampling.redrawn(
        sample.weights,
        sample.cluster,
        draws,
        np.random.default_rng(rng),
        None if nuisance is None else nuisance.influence,
        None if nuisance is None else nuisance.gradient,
    )
    arms = (sample.treated & (sample.weights > 0), ~sample.treated & (sample.weights > 0))

    def of(w: Array) -> Array:
        return np.array(
            [np.hstack([resampling.quantiles(column[arm], w[:, arm], shares) for column in y.T]) for arm in arms]
        )

    return of(sample.weights.reshape(1, n))[:, 0], np.concatenate([of(w) for w in blocks], axis=1)


def _estimate(
    asked: Measured, more: dict[str, Any], at: Sequence[float], value: Array, drawn: Array, about: dict[str, Any]
) -> Estimate:
    sample, shares = asked.sample, [f"quantile {q:g}" if q != 0.5 else "median" for q in np.asarray(at, float).ravel()]
    copies = len(value) // (len(shares) * len(asked.words))
    labels = {name: np.tile(np.repeat(column, len(shares)), copies) for name, column in asked.labels().items()}
    labels["term"] = np.tile(shares, len(value) // len(shares))
    clusters = len(np.unique(sample.cluster[sample.weights > 0]))
    return Estimate.of_draws(
        more | labels,
        value,
        drawn,
        df=clusters - 1,
        references=("firpo2007", "rubin1981"),
        notes=sample.notes,
        counts=asked.counts(clusters),
        **{
            **about,
            "method": "; ".join([*sample.steps, f"weighted quantiles, error by {len(drawn):,} bootstrap draws"]),
            "kind": about["kind"] if len(shares) == 1 else "points",
            "percent": False,
        },
    )


def _refuse(sample: Sample, shares: Array, draws: int) -> None:
    if not len(shares) or not ((shares > 0) & (shares < 1)).all():
        raise ValueError("`quantiles` are numbers between 0 and 1, and others were given: write 0.5 for the median.")
    arguments.number(draws, "draws", least=2, most=1e6, whole=True)
    if len(np.unique(sample.cluster[sample.weights > 0])) < 2:
        raise ValueError(
            f"All units with a weight belong to one cluster (`{sample.study.cluster or sample.study.unit}`), so no "
            "error can be drawn: name a finer cluster."
        )
    for words, mine in sample.arms.items():
        if not (mine & (sample.weights > 0)).any():
            raise ValueError(f"Quantiles were asked for of an arm, {words}, in which no unit has weight.")
