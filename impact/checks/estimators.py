"""What a check estimates with when it is given no estimator: a difference in means, or a regression.

Checks import no topic. Estimators of the topics are handed to them as functions.
"""

from __future__ import annotations

from collections.abc import Callable

from impact.core import arguments, doubly_robust
from impact.core.moments import mean, mean_scores
from impact.estimate import Estimate
from impact.sample import Sample

Estimator = Callable[[Sample], Estimate]

METHODS = {"difference in means": "", "regression": "reg", "weighting by the propensity score": "ipw",
           "doubly robust": "dr"}  # fmt: skip


def named(name: str) -> Estimator:
    """The estimator of this name: of a sample with one measured outcome, one value."""
    method = METHODS[name]

    def run(sample: Sample) -> Estimate:
        y, d, w, x = sample.outcome(), sample.treated, sample.weights, sample.covariates
        if method and x.shape[1]:
            value, scores = doubly_robust.difference(y, d, x, w, sample.study.estimand, method)
        else:
            value = mean(y, w * d) - mean(y, w * ~d)
            scores = mean_scores(y, w * d) - mean_scores(y, w * ~d)
        return Estimate.of(sample, {"term": sample.study.estimand}, value, scores, method=name)

    return run


def chosen(estimator: Estimator | None, otherwise: str) -> Estimator:
    """The estimator that was given, or the one of this name."""
    return named(otherwise) if estimator is None else arguments.function(estimator, "estimator")


def one_value(found: Estimate, name: str = "", level: float = 0.95) -> tuple[float, float, float, float]:
    """The one value of an estimate, its standard error and its interval; refused if there are several."""
    if len(found.value) != 1:
        raise ValueError(
            f"The estimator{f' “{name}”' if name else ''} gave {len(found.value)} values for one outcome: let it "
            "return one, by `where`."
        )
    low, high = found.interval(level)
    return float(found.value[0]), float(found.std_error[0]), float(low[0]), float(high[0])
