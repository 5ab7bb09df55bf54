"""Does the effect hang on which of equally good partners are taken? Draw them again and again."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from impact.check import Check
from impact.checks.estimators import Estimator, named, one_value
from impact.checks.sides import single
from impact.core import arguments, neighbours
from impact.core.logit import logit
from impact.core.placebo import zero_one
from impact.sample import Sample
from impact.show.glossary import POINTS

Array = np.ndarray
Design = Callable[..., Sample]


def ties(
    sample: Sample,
    *,
    design: Design | None = None,
    estimator: Estimator | None = None,
    outcome: str | None = None,
    time: float | None = None,
    repetitions: int = 100,
    tolerance: float = 0.5,
    rng: Any = 0,
) -> Check:
    """How far the effect moves when partners that are equally near are drawn at random, again and again.

    Units with the same score are equally good partners, and a matching design takes some of them and leaves the
    others: by their labels, by the order of rows, or by lot. The design is done again R times by lot, and the effect
    estimated each time. With e_r the estimate of draw r, the range and the spread

        max e_r - min e_r,     sqrt( sum (e_r - mean e)^2 / (R - 1) )

    are beside the standard error of one draw, s_r on average, which knows nothing of it: another analyst with the same
    data and the same method could have found any of these values.

    **Assumptions**: none on the world: what is drawn is the analyst's own lot. The draws are random, so that the range
    grows a little with R, and the spread does not.

    Parameters
    ----------
    sample : Sample
        Before any design.
    design : function ``(Sample, ties=, rng=) -> Sample``, optional
        As :func:`impact.matching.nearest.match`, or with its options
        ``functools.partial(nearest.match, caliper=None)``: it is called with ``ties="random"`` and a generator. If left
        out, one partner without replacement by the logit of the propensity score, within 0.2 of its standard
        deviations. (With a classifier for the score its folds are drawn anew, too.)
    estimator : function ``Sample -> Estimate`` with one value, optional
        Such as ``means.difference``; the difference in means, if left out.
    outcome, time : the measured outcome, and its period if it has several; the first, and the last.
    repetitions : int
        R, how many draws.
    tolerance : float
        How wide the range may be, in standard errors.
    rng : seed or numpy ``Generator``

    Returns
    -------
    Check
        With the lowest, the middle and the highest estimate, each with its error and interval, their range and spread,
        and both as shares of the mean standard error. It holds if the range is no wider than tolerated.

    Raises
    ------
    ValueError
        The sample has been designed already; the design takes no ``ties`` or ``rng``; the estimator gives more than
        one value.

    **References**: stuart2010; abadie2006.

    Examples
    --------
    >>> from functools import partial
    >>> from impact import Outcome, Study, emulate
    >>> from impact.checks.ties import ties
    >>> from impact.datasets import helsinki
    >>> from impact.matching import means, nearest
    >>> study = Study(title="Private and public services", unit="client", treatment="provider",
    ...               treated="private", comparison="public", covariates=("age", "months_worked"),
    ...               outcomes=Outcome("employed_12", "in a job at 12 months"))
    >>> sample = emulate(study, helsinki(seed=1).clients)
    >>> check = ties(sample, design=partial(nearest.match, ratio=2), estimator=means.difference, repetitions=10)
    >>> check.tidy()["term"].tolist()
    ['lowest', 'middle', 'highest']
    """
    _refuse(sample, design)
    if not (estimator is None or callable(estimator)):
        raise ValueError(
            f"`estimator` is {estimator!r}, and is a function of a sample, such as means.difference: give one, or "
            "leave it out."
        )
    arguments.number(repetitions, "repetitions", least=2, most=100_000, whole=True)
    arguments.number(tolerance, "tolerance", least=0.0)
    alone, y = single(sample, outcome, time)
    draws = np.random.default_rng(arguments.seed(rng, "rng"))
    match, estimate = design or _pairs, estimator or named("difference in means")
    found, times = [], np.zeros(len(alone))
    for _ in range(repetitions):
        matched = match(alone, ties="random", rng=draws)
        found.append(one_value(estimate(matched)))
        times += matched.weights > 0
    return _told(alone, np.array(found), times, y, tolerance)


def _refuse(sample: Sample, design: Design | None) -> None:
    if sample.steps:
        raise ValueError(
            f"Drawing ties starts from the sample before any design, and this one was {sample.steps[-1]}: give the "
            "sample that `emulate` returned, and the design as `design`."
        )
    if design is None:
        if sample.study.estimand not in ("ATT", "ATC"):
            raise ValueError(
                f"Ties of pairs were asked for the {sample.study.estimand}, and pairs are found for one arm only: give "
                "a `design` for it, or revise the study's estimand to 'ATT' or 'ATC'."
            )
        return
    taken = inspect.signature(design).parameters.values() if callable(design) else ()
    names = {p.name for p in taken if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)}
    if not ({"ties", "rng"} <= names or any(p.kind is p.VAR_KEYWORD for p in taken)):
        raise ValueError(
            "`design` was to draw ties by lot, and does not take `ties` and `rng`: give nearest.match, or a function "
            "that hands both on to it."
        )


def _pairs(sample: Sample, *, ties: str, rng: np.random.Generator) -> Sample:
    """One partner without replacement, nearest on the logit of the propensity score: ties by lot."""
    if not sample.covariates.shape[1]:
        raise ValueError(
            f"Ties of the propensity score were asked for, and the study “{sample.study.title}” has no covariates that "
            "vary: name in `covariates` what decided who was treated."
        )
    fit = logit(sample.treated, sample.covariates, sample.weights, names=sample.covariate_names)
    live = sample.weights > 0
    live[fit.separated.rows] = False
    first = sample.treated == (sample.study.estimand == "ATT")
    spread = float(fit.logit[live].std(ddof=1))
    pairs = neighbours.nearest(
        np.where(live, fit.logit, 0.0),
        live & first,
        live & ~first,
        caliper=0.2 * spread,
        order="largest" if sample.study.estimand == "ATT" else "smallest",
        tie=rng.random(len(sample)),
        tolerance=1e-9 * spread,
    )
    if not len(pairs):
        raise ValueError(
            "Ties of pairs were asked for, and nobody has a partner within 0.2 standard deviations of the propensity "
            "score: give a `design` with a wider caliper, or choose a comparison group that is more alike."
        )
    weights, strata = np.zeros(len(sample)), -1 - np.arange(len(sample))
    weights[pairs] = sample.weights[pairs[:, :1]]
    strata[pairs] = np.arange(len(pairs))[:, None]
    return sample.reweight(weights, strata=strata, score=fit.probability, step="matched in pairs, ties by lot")


def _told(sample: Sample, found: Array, times: Array, y: Array, tolerance: float) -> Check:
    value, error = found[:, 0], float(found[:, 1].mean())
    order = np.argsort(value, kind="stable")
    rows = found[order[[0, (len(value) - 1) // 2, -1]]]
    width, spread = float(np.ptp(value)), float(value.std(ddof=1))
    words = sample.measured()[0].words
    table = pd.DataFrame(rows, columns=["estimate", "std_error", "conf_low", "conf_high"])
    table.insert(0, "term", ["lowest", "middle", "highest"])
    table.insert(0, "outcome", words)
    table = table.assign(spread=spread, range=width, share_of_error=width / error if error > 0 else np.nan)
    still = bool(width <= tolerance * error)
    share = f", {100 * width / error:.0f}% of the standard error (its spread is {100 * spread / error:.0f}%)"
    return Check(
        claim=f"The effect on {words} does not hang on which of equally near partners are taken",
        table=table,
        passed=still,
        reason=f"Over {len(value):,} draws of ties it moves over a range of {_words(width, y)}"
        f"{share if error > 0 else ''}; {100 * tolerance:g}% are tolerated.",
        percent=zero_one(y),
        options={"ylabel": "effect"},
        references=("stuart2010", "abadie2006"),
        notes=(_drawn(sample, times, len(found)), *(() if still else (_advice(np.hypot(spread, error), error, y),))),
    )


def _drawn(sample: Sample, times: Array, draws: int) -> str:
    """Whom the lot decides about: units that are in some of the matched samples and not in others."""
    d, told = sample.treated, []
    for arm, name in ((d, "treated"), (~d, "comparison")):
        always, some = int((arm & (times == draws)).sum()), int((arm & (times > 0) & (times < draws)).sum())
        told.append(f"{always:,} {name} units in every matched sample and {some:,} more in some")
    return f"The lot takes {', and '.join(told)}."


def _words(value: float, y: Array) -> str:
    return f"{100 * value:.3g} {POINTS}" if zero_one(y) else f"{value:,.4g}"


def _advice(whole: float, error: float, y: Array) -> str:
    return (
        "State the rule by which ties were broken. More partners a unit, a design that takes all who are equally near "
        "(kernel, full matching or weighting), or more covariates leave less to it; the error of a reader who does not "
        f"know the lot is {_words(whole, y)} in place of {_words(error, y)}."
    )
