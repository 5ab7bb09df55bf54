"""Are the two groups alike in what was measured?"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from impact.check import Check
from impact.checks.sides import judged, levels, of_two_arms
from impact.core import arguments, moments
from impact.core import balance as gaps
from impact.sample import Sample, told

Array = np.ndarray


def balance(sample: Sample, *, threshold: float = 0.1, by: str | None = None, detail: bool = False) -> Check:
    """Whether treated and comparison units have like covariates, before and after the design.

    For each covariate, and each level of a factor, the standardised difference is

        (mean of the treated - mean of the comparison group) / s,

    where s is fixed before the design: the standard deviation among the treated (ATT), among the
    comparison units (ATC), or the root of the two variances' average (any other). For a column of
    zeros and ones the variance is p (1 - p); otherwise it is the weighted sample variance.
    These are MatchIt's conventions.

    **Assumptions**: none; but balance in what was measured says nothing about what was not.

    Parameters
    ----------
    sample : Sample
    threshold : float
        The largest standardised difference that is tolerated, in standard deviations.
    by : covariate of the study, optional
        Judge balance within each level of it too (provider, region, sex). The denominator s stays
        that of all units, so that rows of different groups share a scale.
    detail : bool
        Show the means before the design and the mean gap between the cumulative distributions
        (over the distinct values of the column) as well: all that MatchIt's ``summary`` shows.

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
        The sample has no covariates, or ``by`` has more than 50 levels.
    KeyError
        ``by`` is not a covariate of the study.

    **References**: austin2009; stuart2010.
    """
    arguments.number(threshold, "threshold", above=0, most=1e6)
    detail = arguments.yes_or_no(detail, "detail")
    of_two_arms(sample)
    names, x = sample.characteristic_names, sample.characteristics
    if sample.score is not None:
        names, x = ("propensity score", *names), np.column_stack([sample.score, x])
    if not names:
        raise ValueError(f"The study “{sample.study.title}” has no covariates to balance: name some in `covariates`.")
    scale = gaps.deviation(x, sample.treated, sample.sampling, sample.study.estimand)
    table = _table(sample, names, x, scale, np.ones(len(sample), bool))
    if by is not None:
        own = {sample.characteristic_names[j] for j in sample.columns_of(arguments.text(by, "by"))}
        others = [j for j, name in enumerate(names) if name not in own]  # the groups themselves do not vary within
        few = tuple(names[j] for j in others)
        parts = [
            _table(sample, few, x[:, others], scale[others], rows).assign(subgroup=word)
            for word, rows in levels(sample, by)
        ]
        table = pd.concat([table.assign(subgroup="all"), *parts], ignore_index=True)
        table.insert(0, "subgroup", table.pop("subgroup"))
    if not detail:
        table = table.drop(columns=[c for c in table if c in DETAIL])
    return Check(
        claim=f"Treated and comparison units differ by less than {threshold:g} standard deviations in every covariate",
        table=table,
        passed=bool((table["after"].abs() < threshold).all()) if table["after"].notna().all() else None,
        reason=_reason(table, threshold, dict(zip(names, told(names, x), strict=True))),
        kind="love",
        options={"threshold": threshold},
        references=("austin2009", "stuart2010"),
    )


DETAIL = ("mean_treated_before", "mean_comparison_before", "ecdf_before", "ecdf_after")


def _table(sample: Sample, names: tuple[str, ...], x: Array, scale: Array, rows: Array) -> pd.DataFrame:
    d = sample.treated[rows]
    found: dict[str, Any] = {"term": names}
    for when, weights in (("before", sample.sampling[rows]), ("after", sample.weights[rows])):
        treated, comparison, smd, ratio, ecdf, ks = _measures(x[rows], d, weights, scale)
        means = ("mean_treated_before", "mean_comparison_before") if when == "before" else MEANS
        found |= {means[0]: treated, means[1]: comparison, when: smd, f"variance_ratio_{when}": ratio,
                  f"ecdf_{when}": ecdf, f"ks_{when}": ks}  # fmt: skip
    twice = [f"{measure}_{when}" for measure in ("variance_ratio", "ecdf", "ks") for when in ("before", "after")]
    order = ["term", "mean_treated_before", "mean_comparison_before", *MEANS, "before", "after", *twice]
    return pd.DataFrame(found)[order]


MEANS = ("mean_treated", "mean_comparison")


def _measures(x: Array, d: Array, w: Array, scale: Array) -> tuple[Array, ...]:
    if not (w[d].sum() > 0 and w[~d].sum() > 0):  # a subgroup with one arm only
        return (np.full(x.shape[1], np.nan),) * 6
    return (
        moments.mean(x[d], w[d]),
        moments.mean(x[~d], w[~d]),
        moments.smd(x, d, w, scale),
        gaps.variance_ratio(x, d, w),
        *gaps.ecdf_gaps(x, d, w),
    )


def _reason(table: pd.DataFrame, threshold: float, told: dict[str, str]) -> str:
    size, where = table["after"].abs(), table["term"].map(told)
    if "subgroup" in table:
        where = where + " (" + table["subgroup"].map(lambda group: told.get(group, group)) + ")"
    worst, over = size.idxmax(), int((size >= threshold).sum())
    said = (
        f"{over} of {len(table)} rows reach {threshold:g}; the largest difference is "
        f"{size[worst]:.3f} standard deviations, in {where[worst]}."
    )
    alone = table.loc[size.isna(), "subgroup"].nunique() if "subgroup" in table else 0
    if not alone:
        return said
    return f"It cannot be decided for {alone} of the subgroups, which have units of one arm only. Elsewhere {said}"


def sizes(sample: Sample, *, tolerance: float = 0.05) -> Check:
    """How many units the design kept, and how many equally weighted units they are worth.

    An arm with weights w is worth (sum w)^2 / sum w^2 units of equal weight (Kish), which is
    what decides how precise its mean is.

    **Assumptions**: none; what was left out changes whom the effect is about, see :func:`impact.checks.overlap.lost`.

    Parameters
    ----------
    sample : Sample
    tolerance : float
        The share of the units whose effect is asked for (the treated for the ATT, the comparison
        units for the ATC, both for the ATE) that may be left out.

    Returns
    -------
    Check
        With, for each arm: the units before the design and what they are worth, those kept and
        what they are worth, those left out, and the share kept. MatchIt's table of sample sizes.

    Raises
    ------
    ValueError
        A tolerance that is no share; a study without two arms.

    **References**: kish1965; stuart2010.
    """
    arguments.number(tolerance, "tolerance", least=0, most=1)
    rows = []
    for word, arm in sample.sides.items():
        before, after = sample.sampling[arm], sample.weights[arm]
        all_, kept = int((before > 0).sum()), int((after > 0).sum())
        rows.append((word, all_, moments.effective_size(before), kept, moments.effective_size(after), all_ - kept,
                     float(before[after > 0].sum() / before.sum())))  # fmt: skip
    table = pd.DataFrame(
        rows, columns=["group", "total", "effective_size_before", "kept", "effective_size", "excluded", "estimate"]
    )
    asked = [i for i, side in enumerate(("treated", "comparison")) if side in judged(sample)]
    said = "; ".join(
        f"of {r.total:,} {side} units {r.kept:,} are kept, worth {r.effective_size:,.0f} of equal weight"
        for side, r in zip(("treated", "comparison"), table.itertuples(), strict=True)
    )
    return Check(
        claim=f"The design keeps nearly all {' and '.join(judged(sample))} units, whose effect is asked for",
        table=table,
        passed=bool((table["estimate"].iloc[asked] >= 1 - tolerance).all()),
        reason=f"{said[0].upper() + said[1:]}; {100 * tolerance:g}% may be left out.",
        percent=True,
        options={"ylabel": "share kept (%)", "null": None},
        references=("kish1965", "stuart2010"),
    )
