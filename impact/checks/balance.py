"""Are the groups alike in what was measured?"""

from __future__ import annotations

import numpy as np
import pandas as pd

from impact.check import Check
from impact.core import arguments, moments
from impact.sample import Sample, told

Array = np.ndarray


def balance(sample: Sample, *, threshold: float = 0.1) -> Check:
    """Whether treated and comparison units have like covariates, before and after the design.

    For each covariate, and each level of a factor, the standardised difference is

        (mean of the treated - mean of the comparison group) / s,

    where s is fixed before the design: the standard deviation among the treated (ATT), among the
    comparison units (ATC), or the root of the two variances' average (ATE). For a column of
    zeros and ones the variance is p (1 - p); otherwise it is the weighted sample variance.
    These are MatchIt's conventions.

    **Assumptions**: none; but balance in what was measured says nothing about what was not.

    Parameters
    ----------
    sample : Sample
    threshold : float
        The largest standardised difference that is tolerated, in standard deviations.

    Returns
    -------
    Check
        With the means by arm after the design, standardised differences, variance ratios (not
        for columns of zeros and ones) and the largest gap between the two cumulative
        distributions (KS), before and after. A first row shows the propensity score, if the
        design estimated one.

    Raises
    ------
    ValueError
        The sample has no covariates.

    **References**: austin2009; stuart2010.
    """
    arguments.number(threshold, "threshold", above=0, most=1e6)
    names, x = sample.characteristic_names, sample.characteristics
    if sample.score is not None:
        names, x = ("propensity score", *names), np.column_stack([sample.score, x])
    if not names:
        raise ValueError(f"The study “{sample.study.title}” has no covariates to balance: name some in `covariates`.")
    d, before, after = sample.treated, sample.sampling, sample.weights
    binary = ((x == 0) | (x == 1)).all(axis=0)
    scale = _scale(sample, x, binary)
    table = pd.DataFrame(
        {
            "term": names,
            "mean_treated": moments.mean(x[d], after[d]),
            "mean_comparison": moments.mean(x[~d], after[~d]),
            "before": moments.smd(x, d, before, scale),
            "after": moments.smd(x, d, after, scale),
            "variance_ratio_before": np.where(binary, np.nan, _variance_ratio(x, d, before)),
            "variance_ratio_after": np.where(binary, np.nan, _variance_ratio(x, d, after)),
            "ks_before": _distance(x, d, before),
            "ks_after": _distance(x, d, after),
        }
    )
    worst = int(table["after"].abs().to_numpy().argmax())
    over = int((table["after"].abs() >= threshold).sum())
    return Check(
        claim=f"Treated and comparison units differ by less than {threshold:g} standard deviations in every covariate",
        table=table,
        passed=over == 0,
        reason=f"{over} of {len(table)} rows reach {threshold:g}; the largest difference is "
        f"{abs(table['after'].iloc[worst]):.3f} standard deviations, in {told(names, x)[worst]}.",
        kind="love",
        options={"threshold": threshold},
        references=("austin2009", "stuart2010"),
    )


def _scale(sample: Sample, x: Array, binary: Array) -> Array:
    d, w = sample.treated, sample.sampling

    def spread(arm: Array) -> Array:
        return np.where(
            binary, moments.variance(x[arm], w[arm], unbiased=False), moments.variance(x[arm], w[arm], unbiased=True)
        )

    pooled = (spread(d) + spread(~d)) / 2
    return np.sqrt({"ATT": spread(d), "ATC": spread(~d), "ATE": pooled}[sample.study.estimand])


def _variance_ratio(x: Array, d: Array, w: Array) -> Array:
    top, bottom = moments.variance(x[d], w[d]), moments.variance(x[~d], w[~d])
    return np.divide(top, bottom, out=np.full_like(top, np.nan), where=bottom > 0)


def _distance(x: Array, d: Array, w: Array) -> Array:
    """(k,) Kolmogorov-Smirnov distances between the arms' weighted distributions."""
    step = np.where(d, w / w[d].sum(), -w / w[~d].sum())
    order = np.argsort(x, axis=0, kind="stable")
    risen = np.cumsum(step[order], axis=0)
    ordered = np.take_along_axis(x, order, axis=0)
    last = np.vstack([ordered[1:] != ordered[:-1], np.ones((1, x.shape[1]), bool)])
    return np.abs(np.where(last, risen, 0.0)).max(axis=0)
