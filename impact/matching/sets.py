"""What designs that put units into sets share: an order of units, exact groups, weights, and words."""

from __future__ import annotations

import numpy as np

from impact.sample import Nuisance, Sample
from impact.show.words import listing

Array = np.ndarray

FEW = 64
"""Up to so many sets their shares are parameters, estimated with error; more and smaller sets are clusters."""


def by_label(sample: Sample) -> tuple[Sample, Array]:
    """The sample with its rows in order of the units' labels, and where each row went.

    Designs are worked out on these rows. Where several answers are equally good, which of them is
    found then depends on the labels of the units and not on the order in which rows happen to
    stand, down to the rounding of the score.
    """
    labels = sample.unit.astype(str) if sample.unit.dtype == object else sample.unit
    order = np.argsort(labels, kind="stable")
    back = np.empty(len(order), int)
    back[order] = np.arange(len(order))
    return sample.take(order), back


def known_estimand(sample: Sample, known: tuple[str, ...], what: str, why: str = "") -> None:
    """Two sides, and an estimand that the design serves; others are refused in a sentence."""
    _ = sample.sides  # refuses more than two arms in words
    asked = sample.study.estimand
    if asked not in known:
        reason = why or "no weights of these sets define that group: use propensity.weight, whose weights do"
        raise ValueError(
            f"The {asked} was asked of {what}, and {reason}; or revise the study's estimand to "
            f"{listing(map(repr, known), 'or')}."
        )


def both_arms(codes: Array, treated: Array, live: Array) -> Array:
    """(n,) codes of sets with live units of both arms, counted from 0; own negative codes for all others."""
    known = live & (codes >= 0)
    shared = np.intersect1d(codes[known & treated], codes[known & ~treated])
    strata = -1 - np.arange(len(codes))
    used = known & np.isin(codes, shared)
    strata[used] = np.searchsorted(shared, codes[used])
    return strata


def weigh(strata: Array, treated: Array, weights: Array, estimand: str) -> Array:
    """Weights that make both arms of each set weigh as much as the set does in the group of interest.

    With T and C the sums of the weights of the treated and of the comparison units of a set, a
    unit's own weight is multiplied by

        ATT   1 if treated, T / C if not;
        ATC   C / T if treated, 1 if not;
        ATE   (T + C) / T if treated, (T + C) / C if not.
    """
    used = strata >= 0
    out = np.zeros(len(strata))
    if not used.any():
        return out
    sums = {arm: np.bincount(strata[used], (weights * (treated == arm))[used]) for arm in (True, False)}
    goal = {"ATT": sums[True], "ATC": sums[False], "ATE": sums[True] + sums[False]}[estimand]
    for arm in (True, False):
        mine = used & (treated == arm)
        out[mine] = weights[mine] * (goal / sums[arm])[strata[mine]]
    return out


def strata_weights(sample: Sample, strata: Array) -> tuple[Array, Nuisance | None]:
    """Weights for strata that hold any number of units of both arms, and how they depend on the arms' shares.

    Few large strata are not clusters: their units are independent, and what is estimated is how
    many of each arm there are in each. That error is carried as a nuisance. Many small strata are
    matched sets, and clusters, as after other matching: they have no nuisance.
    """
    estimand = sample.study.estimand
    weights = weigh(strata, sample.treated, sample.weights, estimand)
    few = strata.max(initial=-1) < FEW
    return weights, _shares(strata, sample.treated, sample.weights, estimand) if few else None


def _shares(strata: Array, treated: Array, weights: Array, estimand: str) -> Nuisance:
    """How the ratios T / C and C / T of each set depend on the units' weights, and the new weights on them."""
    used = strata >= 0
    sets = int(strata.max()) + 1
    member = np.zeros((len(strata), sets))
    member[np.flatnonzero(used), strata[used]] = weights[used]
    sums = {arm: member[treated == arm].sum(axis=0) for arm in (True, False)}
    influence, gradient = [], []
    for arm in (True, False):  # whose weights are multiplied
        if estimand != ("ATT" if arm else "ATC"):
            mine = (treated == arm)[:, None]
            ratio = sums[not arm] / sums[arm]
            influence.append(member * np.where(mine, -ratio, 1.0) / sums[arm])
            gradient.append(member * mine)
    return Nuisance(np.hstack(influence), np.hstack(gradient))


def lost(strata: Array, sample: Sample, why: str) -> tuple[str, ...]:
    """A note on units of the group of interest that are left out, who change whose effect it is."""
    arms = {"ATT": (True,), "ATC": (False,), "ATE": (True, False)}[sample.study.estimand]
    said = []
    for arm in arms:
        asked = (sample.weights > 0) & (sample.treated == arm)
        out = int((asked & (strata < 0)).sum())
        if out:
            said.append(f"{out:,} of {int(asked.sum()):,} {'treated' if arm else 'comparison'} units")
    if not said:
        return ()
    return (
        f"{listing(said)} {why} and are left out: the effect is now that on the units that are left, who may differ "
        "from the rest.",
    )


def refuse_empty(strata: Array, asked: str, instead: str) -> None:
    """There is no design without a set that holds units of both arms."""
    if not (strata >= 0).any():
        raise ValueError(f"{asked} was asked for, and no set holds units of both arms: {instead}.")


def sets_found(strata: Array, treated: Array) -> str:
    """How many sets, of how many units: "113 sets of 113 treated and 113 comparison units"."""
    used = strata >= 0
    count = int(strata.max(initial=-1)) + 1
    return (
        f"{count:,} {'set' if count == 1 else 'sets'} of {int((used & treated).sum()):,} treated and "
        f"{int((used & ~treated).sum()):,} comparison units"
    )
