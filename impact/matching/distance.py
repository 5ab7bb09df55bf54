"""What makes two units alike for a matching design, and what they must share besides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from impact.core import distance
from impact.core.neighbours import Conditions
from impact.sample import Sample
from impact.show.words import listing

Array = np.ndarray

WORDS = {
    "mahalanobis": "Mahalanobis distance",
    "robust_mahalanobis": "Mahalanobis distance of ranks",
    "scaled_euclidean": "Euclidean distance of standardised covariates",
    "euclidean": "Euclidean distance",
}


def points(sample: Sample, metric: str, terms: Sequence[str], live: Array) -> Array:
    """The units as points whose Euclidean distance is the metric, on the terms or, if none, on all covariates.

    Factors enter with every level, as 1/sqrt(2): to be of another level is then a distance of one in plain
    Euclidean distance, however many levels there are. The other metrics have scales of their own.
    """
    chosen = terms or tuple(sample.terms)
    if not chosen:
        raise ValueError(
            f"A {WORDS[metric]} was asked for, and the study “{sample.study.title}” has no covariates: name in "
            "`covariates` what decided who was treated."
        )
    columns = list(dict.fromkeys(j for term in chosen for j in sample.columns_of(term)))
    x = sample.characteristics[:, columns]
    factors = {f"C({c})" for c in sample.formula.factors} | set(sample.formula.factors)
    levels = {j for term, at in sample.terms.items() if term in factors for j in at}
    x = x * np.where([j in levels for j in columns], np.sqrt(0.5), 1.0)
    return distance.points(metric, x, sample.treated, np.where(live, sample.weights, 0.0))


def codes(sample: Sample, terms: Sequence[str]) -> Array | None:
    """One code for each combination of values of these terms."""
    if not terms:
        return None
    out, many = np.zeros(len(sample), np.int64), 1
    for j in (j for term in terms for j in sample.columns_of(term)):
        column = np.ascontiguousarray(sample.characteristics[:, j])
        zero_one = all(((part == 0) | (part == 1)).all() for part in (column[:99], column))
        mine = column.astype(np.int64) if zero_one else np.unique(column, return_inverse=True)[1].ravel()
        out = out * (int(mine.max(initial=0)) + 1) + mine
        many *= int(mine.max(initial=0)) + 1
        if many > len(out):  # so that the product of many columns never overflows
            out = np.unique(out, return_inverse=True)[1].ravel()
            many = int(out.max(initial=0)) + 1
    return out


def conditions(
    sample: Sample,
    near: Mapping[str, float],
    near_sd: Mapping[str, float],
    apart: Sequence[str],
    live: Array,
    score: tuple[Array, float] | None,
) -> Conditions | None:
    """Calipers on covariates in their units and in standard deviations over all live units, terms on which partners
    must differ, and a caliper on a score that is not the distance."""
    columns, reach = [], []
    for name, asked, unit in (
        *((n, r, None) for n, r in near.items()),
        *((n, r, "SD") for n, r in near_sd.items()),
    ):
        column = _number(sample, name)
        if isinstance(asked, bool) or not isinstance(asked, int | float | np.number) or not asked >= 0:
            raise ValueError(
                f"The caliper on `{name}` is {asked!r}: set the largest difference allowed, a number from 0 on."
            )
        columns.append(column)
        reach.append(float(asked) * (float(column[live].std(ddof=1)) if unit else 1.0))
    if score is not None and np.isfinite(score[1]):
        columns.append(np.where(live, score[0], 0.0))
        reach.append(score[1])
    different = [c for c in (codes(sample, (term,)) for term in apart) if c is not None]
    if not columns and not different:
        return None
    none = np.empty((len(sample), 0))
    return Conditions(
        np.column_stack([none, *columns]), np.asarray(reach, float), np.column_stack([none.astype(int), *different])
    )


def _number(sample: Sample, name: str) -> Array:
    at = sample.columns_of(name)
    if len(at) != 1:
        raise ValueError(
            f"A caliper on `{name}` was asked for, and it makes {len(at)} columns: match on it exactly, or name a "
            "covariate that is one number."
        )
    return np.asarray(sample.characteristics[:, at[0]])


def in_support(score: Array, treated: Array, live: Array, whom: str) -> Array:
    """Who is within the range of scores that the other arm has too: "treated", "comparison" or "both" are asked."""
    t, c = score[live & treated], score[live & ~treated]
    inside = np.ones(len(score), bool)
    if whom in ("treated", "both"):
        inside &= ~treated | (score >= c.min()) & (score <= c.max())
    if whom in ("comparison", "both"):
        inside &= treated | (score >= t.min()) & (score <= t.max())
    return inside


def variable_ratio(score: Array, focal: Array, pool: Array, ratio: float, fewest: int, most: int, tie: Array) -> Array:
    """How many partners each focal row is to have, ``ratio`` on average: few where partners are scarce.

    Ming and Rosenbaum's rule: all have ``fewest`` or ``most`` but one between, and those furthest on the focal
    side of the score have the fewest.
    """
    rows = np.flatnonzero(focal)
    n = len(rows)
    total = round(ratio * n)
    many = int((total - fewest * (n - 1)) // (most - fewest))
    few = n - many - 1
    wanted = np.r_[np.full(few, fewest), total - fewest * few - most * many, np.full(many, most)].astype(int)
    if (zero := np.flatnonzero(wanted == 0)).size:
        wanted[zero] = 1
        wanted[zero + 1] -= 1
    upper = score[focal].mean() > score[pool].mean()
    out = np.ones(len(score), int)
    out[rows[np.lexsort((tie[rows], -score[rows] if upper else score[rows]))]] = wanted
    return out


def describe(
    near: Mapping[str, float], near_sd: Mapping[str, float], exact: Sequence[str], apart: Sequence[str]
) -> str:
    """What partners share and where they differ, as the end of a sentence."""
    said = [f"at most {r:g} apart in `{n}`" for n, r in near.items()]
    said += [f"at most {r:g} SD apart in `{n}`" for n, r in near_sd.items()]
    if exact:
        said.append(f"with the same {listing(f'`{t}`' for t in exact)}")
    if apart:
        said.append(f"of another {listing(f'`{t}`' for t in apart)}")
    return f" and {listing(said)}" if said else ""
