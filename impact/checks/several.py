"""Are more than two groups alike in what was measured?"""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd

from impact.check import Check
from impact.core import arguments, moments
from impact.core import balance as gaps
from impact.sample import Sample, told

Array = np.ndarray
MEASURES = ("before", "after", "variance_ratio_before", "variance_ratio_after", "ks_before", "ks_after")


def balance(sample: Sample, *, threshold: float = 0.1, detail: bool = False) -> Check:
    """Whether the units of all arms have like covariates, before and after the design: the worst pair of arms decides.

    For each covariate, and each level of a factor, and each pair of arms a and b the standardised difference is

        (mean in arm a - mean in arm b) / s,

    where s is the same for all pairs and fixed before the design: the standard deviation in the study's first
    treated arm (ATT), in the comparison group (ATC), or the root of the average of all arms' variances (any other).
    The table shows the largest over the pairs, without its sign. With two arms these are the figures of
    :func:`impact.checks.balance.balance`.

    **Assumptions**: none; but balance in what was measured says nothing about what was not.

    Parameters
    ----------
    sample : Sample
    threshold : float
        The largest standardised difference that is tolerated, in standard deviations.
    detail : bool
        A row for each pair of arms (``subgroup``), with the sign of the difference and variance ratios.

    Returns
    -------
    Check
        With standardised differences and the largest gaps between cumulative distributions (KS), before and after.

    Raises
    ------
    ValueError
        The sample has no covariates, or no arms.

    **References**: mccaffrey2013; austin2009.
    """
    arguments.number(threshold, "threshold", above=0, most=1e6)
    arguments.yes_or_no(detail, "detail")
    arms, names, x = sample.every_arm, sample.characteristic_names, sample.characteristics
    if not names:
        raise ValueError(f"The study “{sample.study.title}” has no covariates to balance: name some in `covariates`.")
    scale = _scale(sample, list(arms.values()))
    pairs = list(combinations(arms, 2))
    parts = [
        pd.DataFrame({"subgroup": f"{a} and {b}", "term": names, **_measures(sample, x, arms[a], arms[b], scale)})
        for a, b in pairs
    ]
    every = pd.concat(parts, ignore_index=True)
    size = every["after"].abs().to_numpy().reshape(len(pairs), len(names))
    worst = np.unravel_index(np.argmax(np.nan_to_num(size, nan=-1.0)), size.shape)
    a, b = pairs[worst[0]]
    over = int((size.max(axis=0) >= threshold).sum())
    return Check(
        claim=f"All pairs of arms differ by less than {threshold:g} standard deviations in every covariate",
        table=every if detail else _largest(every, names),
        passed=None if np.isnan(size).any() else bool((size < threshold).all()),
        reason=f"{over} of {len(names)} rows reach {threshold:g} between some pair of {len(arms)} arms; the largest "
        f"difference is {size[worst]:.3f} standard deviations, in {told(names, x)[worst[1]]} between “{a}” and “{b}”.",
        kind="love",
        options={"threshold": threshold},
        references=("mccaffrey2013", "austin2009"),
    )


def _scale(sample: Sample, arms: list[Array]) -> Array:
    """(k,) the denominator: a standard deviation of the arm of interest, or of all arms on average."""
    of_interest = {"ATT": arms[:1], "ATC": arms[-1:]}.get(sample.study.estimand, arms)
    spreads = [gaps.deviation(sample.characteristics, arm, sample.sampling, "ATT") for arm in of_interest]
    return np.sqrt(np.mean(np.square(spreads), axis=0))


def _measures(sample: Sample, x: Array, a: Array, b: Array, scale: Array) -> dict[str, Array]:
    rows = a | b
    found: dict[str, Array] = {}
    for when, weights in (("before", sample.sampling[rows]), ("after", sample.weights[rows])):
        d = a[rows]
        found[when] = moments.smd(x[rows], d, weights, scale)
        found[f"variance_ratio_{when}"] = gaps.variance_ratio(x[rows], d, weights)
        found[f"ks_{when}"] = gaps.ecdf_gaps(x[rows], d, weights)[1]
    return {name: found[name] for name in MEASURES}


def _largest(every: pd.DataFrame, names: tuple[str, ...]) -> pd.DataFrame:
    kept = ["before", "after", "ks_before", "ks_after"]
    largest = every[kept].abs().groupby(np.tile(np.arange(len(names)), len(every) // len(names))).max()
    largest.insert(0, "term", list(names))
    return largest.reset_index(drop=True)
