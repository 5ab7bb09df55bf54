"""How strong must confounding be, on both its sides, to explain the effect away?"""

from __future__ import annotations

import numpy as np
import pandas as pd

from impact.check import Check
from impact.checks.estimators import Estimator, chosen, one_value
from impact.checks.sides import single
from impact.core import arguments
from impact.core import e_value as core
from impact.core.moments import mean, mean_scores, variance
from impact.core.placebo import zero_one
from impact.estimate import Estimate
from impact.sample import Sample
from impact.stacking import stack

Array = np.ndarray


def e_value(
    sample: Sample,
    *,
    outcome: str | None = None,
    time: float | None = None,
    estimator: Estimator | None = None,
    bias: float | None = None,
    level: float = 0.95,
) -> Check:
    """How strongly a confounder would have to go with treatment and outcome to explain the effect away.

    For a ratio of risks R > 1 (else its inverse), a confounder that multiplies both the chance of
    treatment and the risk of the outcome by less than

        E = R + sqrt(R (R - 1))

    cannot have made it, beyond what was adjusted for; and the same for the limit of the interval that
    is nearest to one. The ratio follows from the difference: for the ATT the risk of the treated over that
    risk less the effect, otherwise the comparison group's risk plus the effect over itself. For a measurement, a
    difference of d standard deviations counts as R = exp(0.91 d), an approximation.

    **Assumptions**: the confounder's ratios are on the risk scale; the effect is otherwise rightly estimated.

    Parameters
    ----------
    sample : Sample
        After the design, if there is one.
    outcome, time : the measured outcome, and its period if it has several; the first, and the last.
    estimator : function ``Sample -> Estimate`` with one value, optional
        Of the difference, on this sample, as ``regression.difference``; the difference in means, if left out.
    bias : number, optional
        The ratio that the interval's E-value must reach for the claim to hold, declared beforehand. Without one
        the reader judges.
    level : float
        Of the interval.

    Returns
    -------
    Check
        With the ratio of risks, its interval, and the E-values of the ratio and of the limit.

    Raises
    ------
    ValueError
        The estimator gives several values, or implies a risk that is not above zero.

    **References**: vanderweele2017.
    """
    arguments.number(level, "level", above=0, below=1)
    arguments.number(bias, "bias", least=1, optional=True)
    alone, y = single(sample, outcome, time)
    words = alone.measured()[0].words
    effect = chosen(estimator, "difference in means")(alone)
    value = one_value(effect)[0]
    if zero_one(y):
        ratio, low, high = _risk_ratio(alone, y, effect, level)
        term = "risk ratio"
    else:
        w, d = alone.weights, alone.treated
        s = float(np.sqrt((variance(y[d], w[d]) + variance(y[~d], w[~d])) / 2))
        if not s > 0:
            raise ValueError(
                f"The outcome `{alone.measured()[0].name}` is the same for all units of each arm, so that a difference "
                "has no standard deviations to be counted in: choose another outcome."
            )
        limits = (value, *one_value(effect, level=level)[2:])
        ratio, low, high = (float(core.from_standardised(v / s)) for v in limits)
        term = "risk ratio, approximately"
    point, limit = (float(v) for v in core.e_value(ratio, low, high))
    told = limit > 1
    table = {"outcome": words, "term": term, "estimate": ratio, "conf_low": low, "conf_high": high, "e_value": point,
             "e_value_limit": limit}  # fmt: skip
    strength = f" by a ratio of {bias:g}" if bias else ""
    return Check(
        claim=f"Only a confounder strongly tied to both treatment and {words}{strength} could explain the effect away",
        table=pd.DataFrame([table]),
        passed=None if bias is None or not told else bool(limit >= bias),
        reason=(
            f"An unmeasured confounder would have to go with both treatment and outcome by risk ratios of {point:.2f} "
            f"each to explain the estimate away, and of {limit:.2f} for its interval to reach no effect."
            if told
            else f"It cannot be decided: the {100 * level:g}% interval holds no effect already, without confounding "
            f"(E-value of the estimate {point:.2f})."
        ),
        options={"ylabel": term, "null": 1.0},
        references=("vanderweele2017",),
    )


def _risk_ratio(sample: Sample, y: Array, effect: Estimate, level: float) -> tuple[float, float, float]:
    """The ratio of risks that the effect makes of the risk of one arm, with an interval symmetric in its log."""
    att = sample.study.estimand == "ATT"
    arm = sample.weights * (sample.treated == att)
    base = Estimate.of(sample, {"term": "risk"}, mean(y, arm), mean_scores(y, arm))

    def log_ratio(v: Array) -> Array:
        return np.log(v[1] / (v[1] - v[0])) if att else np.log((v[1] + v[0]) / v[1])

    gap, risk = float(effect.value[0]), float(base.value[0])
    if not min(risk, risk - gap if att else risk + gap) > 0:
        raise ValueError(
            f"A ratio of risks was asked for, and a risk of {risk:.3f} with an effect of {gap:.3f} leaves none in one "
            "arm: choose a commoner outcome or another estimator."
        )
    if effect.scores is None:  # its covariance with the risk is unknown: the risk is taken as given
        found = effect.transform(lambda v: log_ratio(np.array([v[0], risk])))
    else:
        found = stack(effect, base).transform(lambda v: np.atleast_1d(log_ratio(v)))
    low, high = found.about(scale="identity").interval(level)
    return float(np.exp(found.value[0])), float(np.exp(low[0])), float(np.exp(high[0]))
