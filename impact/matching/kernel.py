"""Kernel and radius matching: each unit is compared with all near it, the nearer the more."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from impact.core import arguments, candidates
from impact.matching.distance import describe
from impact.matching.options import Reach, reach
from impact.matching.sets import by_label, known_estimand
from impact.sample import Sample
from impact.show.words import listing

Array = np.ndarray
Sides = list[tuple[Array, Array]]

KERNELS: dict[str, Callable[[Array], Array]] = {
    "epanechnikov": lambda u: np.maximum(1 - u**2, 0.0),
    "biweight": lambda u: np.maximum(1 - u**2, 0.0) ** 2,
    "gaussian": lambda u: np.exp(-(u**2) / 2),
    "uniform": lambda u: (np.abs(u) <= 1).astype(float),
}
"""K(u) up to a constant, which cancels."""
RULES = ("pairs", "cross-validation")


def match(
    sample: Sample,
    *,
    kernel: str = "epanechnikov",
    bandwidth: float | str = "pairs",
    distance: str = "score",
    on: str | Sequence[str] = (),
    score: Any = None,
    scale: str = "probability",
    folds: int = 5,
    exact: str | Sequence[str] = (),
    discard: str = "none",
    rng: Any = None,
) -> Sample:
    """Compare each treated unit with a weighted mean of all comparison units whose score is near its own.

    With s the score and h the bandwidth, treated unit i is compared with the comparison units j in
    proportion to their sampling weight times K((s_i - s_j) / h), or K of another distance over h. The
    weight of a comparison unit is the sum of its shares:

        w_j = sum over i of  w_i v_j K((s_i - s_j) / h) / sum over l of v_l K((s_i - s_l) / h).

    K(u) is 1 - u^2 (Epanechnikov), (1 - u^2)^2 (biweight), exp(-u^2 / 2) (Gaussian), or 1 (uniform:
    radius matching with radius h), all but the Gaussian for \\|u\\| up to 1. For the ATC comparison units
    are compared with treated ones so; for the ATE both are done, and each unit's weight is its own
    and its shares in the others'.

    **Assumptions**: no unmeasured confounding; overlap: units with nobody within the bandwidth
    are left out.

    **Where intervals do not cover**: standard errors of what follows take the weights as given: neither
    the score's error nor that each share depends on who else is near is in them (heckman1998 has a
    variance with both). For differences in means they are then too large where covariates explain much
    of the outcome: in 300 simulations of 1,000 units 1.3 to 1.5 times the spread, and intervals of 95%
    covered 99%. After regression on the weighted sample
    (:func:`impact.matching.regression.difference`) they covered 94 to 95%.

    Parameters
    ----------
    sample : Sample
    kernel : "epanechnikov", "biweight", "gaussian" or "uniform"
    bandwidth : number or rule
        h in units of the score on its scale, or of the distance; "pairs", one and a half times the 90th percentile of
        the distances to the nearest unit of the other arm, those of zero left out (the
        pair-matching rule, as in Stata's kmatch); or "cross-validation", of 15 values from a fifth
        to five times of that the one that predicts best the covariates of each possible partner
        from those of the others. No rule looks at an outcome.
    distance, on, score, scale, folds, rng
        By what units are near, as in :func:`impact.matching.nearest.match`; but the score is a
        probability unless ``scale`` says otherwise, as in Stata's psmatch2 and kmatch.
    exact : covariates of the study, optional
        Units are compared only with those who have the same value or level of these.
    discard : "none", "treated", "comparison" or "both"
        Whose units to leave out where the other arm has no score as high or as low ("comparison" is
        the common support of Becker and Ichino for the ATT).

    Returns
    -------
    Sample
        With the score and weights, no sets. Units with nobody within the bandwidth weigh nothing.

    Raises
    ------
    ValueError
        The estimand is "ATO" or "ATM"; nobody has anybody within the bandwidth; covariates that tell
        the arms apart without error; an option that does not exist.
    KeyError
        A covariate is named that the study has not.

    Notes
    -----
    With the Gaussian kernel a unit more than some 38 bandwidths from everybody has nobody.

    **References**: heckman1998; becker2002; huber2013.

    Examples
    --------
    >>> from impact import Outcome, Study, emulate
    >>> from impact.datasets import helsinki
    >>> from impact.matching import kernel
    >>> study = Study(title="Private and public services", unit="client", treatment="provider",
    ...               treated="private", comparison="public", covariates=("age", "months_worked"),
    ...               outcomes=Outcome("employed_{}", "in a job", periods=range(1, 19)))
    >>> sample = kernel.match(emulate(study, helsinki(seed=1).clients), bandwidth=0.05)
    >>> sample.flow[-1].treated
    750
    """
    known_estimand(sample, ("ATT", "ATC", "ATE"), "kernel matching")
    _refuse(kernel, bandwidth)
    rows, back = by_label(sample)
    space = reach(
        rows, "Kernel matching on the propensity score", distance=distance, on=on, score=score, scale=scale,
        folds=folds, rng=rng, exact=exact, discard=discard,
    )  # fmt: skip
    estimand, d, w = sample.study.estimand, rows.treated, rows.weights
    asks = [arm for arm in (True, False) if estimand != ("ATC" if arm else "ATT")]
    sides = [side for arm in asks for side in space.groups_with_both(arm)]
    h = float(bandwidth) if not isinstance(bandwidth, str) else _rule(bandwidth, space, sides, kernel)
    weights, served = np.zeros(len(rows)), 0
    for focal, pool in sides:
        shares, found = _shares(space, focal, pool, h, kernel)
        weights[focal[found]] += w[focal][found]
        weights[pool] += shares
        served += int(found.sum())
    asked, there = (sum(int((who & (d == arm)).sum()) for arm in asks) for who in (w > 0, space.live))
    near = f"{'radius' if kernel == 'uniform' else 'bandwidth'} {h:.3g}"
    near += f" {space.alike.on}" if space.on_score and space.alike is not None else ""
    near += describe({}, {}, arguments.texts(exact, "exact"), ())
    if not (weights[d].any() and weights[~d].any()):
        raise ValueError(
            f"Matching by {space.by} with {near} was asked for, and none of {asked:,} units has anybody of the other "
            "arm so near: widen the bandwidth, or choose a comparison group that is more alike."
        )
    known = None if space.alike is None else space.alike.probability
    return sample.reweight(
        weights[back],
        score=None if known is None else known[back],
        step=f"matched to all units nearby by {space.by}, {kernel} kernel with {near}; "
        f"{int((weights[d] > 0).sum()):,} treated and {int((weights[~d] > 0).sum()):,} comparison units have a weight",
        notes=(
            *_alone(there - served, asked, estimand, near),
            *space.notes,
            "Standard errors take the weights of kernel matching as given.",
        ),
        flow="matched",
    )


def _alone(alone: int, asked: int, estimand: str, near: str) -> tuple[str, ...]:
    if not alone:
        return ()
    who = {"ATT": "treated", "ATC": "comparison", "ATE": "treated and comparison"}[estimand]
    return (
        f"{alone:,} of {asked:,} {who} units have nobody of the other arm within the {near} and are left out: the "
        "effect is now that on the others, who may differ from them.",
    )


def _shares(space: Reach, focal: Array, pool: Array, h: float, kernel: str) -> tuple[Array, Array]:
    """What each row of the pool is worth to the focal rows compared with it, and which of these have anybody near.

    Works through the pairs within reach in parts: memory does not grow with their number.
    """
    w = space.sample.weights
    total, found = np.zeros(len(pool)), np.zeros(len(focal), bool)
    for i, j in _near(space, focal, pool, h, kernel):
        share = w[pool[j]] * KERNELS[kernel](space.apart(focal[i], pool[j]) / h)
        sums = np.bincount(i, share, minlength=len(focal))
        worth = np.divide(w[focal], sums, out=np.zeros(len(focal)), where=sums > 0)
        total += np.bincount(j, share * worth[i], minlength=len(pool))
        found |= sums > 0
    return total, found


def _near(space: Reach, focal: Array, pool: Array, h: float, kernel: str) -> Iterator[tuple[Array, Array]]:
    """Pairs within reach of the kernel, and others: no further apart on the first coordinate."""
    first = space.points[:, 0]
    return candidates.within(first[focal], first[pool], np.inf if kernel == "gaussian" else h)


def _rule(rule: str, space: Reach, sides: Sides, kernel: str) -> float:
    gaps = np.concatenate([_gaps(space.points[focal], space.points[pool]) for focal, pool in sides])
    if not (gaps > 0).any():
        raise ValueError(
            "A bandwidth by the distances of pairs was asked for, and every unit has one of the other arm with the "
            f"same {'score' if space.on_score else 'covariates'}: give `bandwidth` a number."
        )
    h = 1.5 * float(np.quantile(gaps[gaps > 0], 0.9))
    if rule == "pairs":
        return h
    tried = h * np.geomspace(0.2, 5.0, 15)
    losses = [sum(_loss(space, pool, h, kernel) for _, pool in sides) for h in tried]
    return float(tried[int(np.argmin(losses))])


def _gaps(x: Array, y: Array) -> Array:
    """How far each row of x is from the nearest row of y."""
    from scipy.spatial import cKDTree

    return np.asarray(cKDTree(y).query(x)[0])


def _loss(space: Reach, pool: Array, h: float, kernel: str) -> float:
    """Squared error of predicting each pool unit's standardised covariates from the others near it.

    A unit with nobody near is predicted by the mean of all, so that a narrow bandwidth gains nothing by it.
    """
    from scipy.sparse import csr_array

    v, x = space.sample.weights[pool], space.sample.covariates[pool]
    centre = (v @ x) / v.sum()
    spread = np.sqrt((v @ (x - centre) ** 2) / v.sum())
    z = (x - centre) / np.where(spread > 0, spread, 1.0)
    sums, guess = np.zeros(len(pool)), np.zeros(z.shape)
    for i, j in _near(space, pool, pool, h, kernel):
        share = np.where(i == j, 0.0, v[j] * KERNELS[kernel](space.apart(pool[i], pool[j]) / h))
        ends = np.cumsum(np.bincount(i, minlength=len(pool)))
        shares = csr_array((share, j, np.concatenate([[0], ends])), shape=(len(pool), len(pool)))
        sums += shares.sum(axis=1)
        guess += shares @ z
    guess = np.divide(guess, sums[:, None], out=np.zeros(z.shape), where=sums[:, None] > 0)
    return float(v @ ((z - guess) ** 2).sum(axis=1))


def _refuse(kernel: str, bandwidth: float | str) -> None:
    if kernel not in KERNELS:
        raise ValueError(f"`kernel` is {kernel!r}: choose {listing(map(repr, KERNELS), 'or')}.")
    number = isinstance(bandwidth, int | float | np.number) and not isinstance(bandwidth, bool)
    if not (bandwidth > 0 and np.isfinite(bandwidth) if number else bandwidth in RULES):  # type: ignore[operator]
        raise ValueError(f"`bandwidth` is {bandwidth!r}: give a positive number, or {listing(map(repr, RULES), 'or')}.")
