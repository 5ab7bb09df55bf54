"""Optimal matching: partners chosen so that all distances together are least, not each in its turn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from impact.core import arguments
from impact.matching import assigned
from impact.matching.options import NONE, Reach, reach
from impact.matching.sets import both_arms, by_label, known_estimand, lost, refuse_empty, sets_found, weigh
from impact.sample import Sample
from impact.show.words import listing

Array = np.ndarray


def match(
    sample: Sample,
    *,
    distance: str = "score",
    on: str | Sequence[str] = (),
    score: Any = None,
    scale: str = "logit",
    folds: int = 5,
    ratio: int = 1,
    caliper: float | None = 0.2,
    caliper_in: str = "SD",
    calipers: Mapping[str, float] = NONE,
    calipers_sd: Mapping[str, float] = NONE,
    exact: str | Sequence[str] = (),
    antiexact: str | Sequence[str] = (),
    discard: str = "none",
    rng: Any = None,
) -> Sample:
    """Find comparison units for the treated so that the distances of all pairs together are least.

    Greedy matching (:func:`impact.matching.nearest.match`) gives each unit in turn the nearest
    partner that is left. Here partners are chosen for all at once, to make

        sum over pairs |s_i - s_j|  +  caliper x (partners asked for and not given)

    as small as it can be, with s the score on its scale: a unit is left without partner only if
    that saves more than a pair at the caliper would cost. Without any caliper everyone is paired
    (everyone of the smaller arm, where partners do not suffice). On another distance, or with
    calipers on covariates only, as many are paired as can be, and those at the least total distance. For the
    ATC the comparison units are given partners.

    **Assumptions**: no unmeasured confounding; overlap.

    **Where intervals do not cover**: those of differences in means, whose errors do not know that
    estimating the score balances what it is estimated on (abadie2016, abadie2022). In 300 simulations of
    1,000 units they were 1.4 times the spread, and intervals of 95% covered 99%; by Mahalanobis distance
    91%, with a bias of 0.3 times the spread; after regression on the matched sample
    (:func:`impact.matching.regression.difference`) 94 to 97%.

    Parameters
    ----------
    sample : Sample
        With estimand "ATT" or "ATC".
    distance, on, score, scale, folds, rng
        What is to be small, as in :func:`impact.matching.nearest.match`: distances of the score (by
        logistic regression, by a cross-fitted classifier, or a covariate) or between covariates.
    ratio : int
        How many partners a unit is given. Partners share its weight.
    caliper, caliper_in, calipers, calipers_sd, exact, antiexact, discard
        How far apart partners may be, what they share, and who takes part, as in
        :func:`impact.matching.nearest.match`.

    Returns
    -------
    Sample
        With matched sets as ``strata`` and weights: a unit that is given partners keeps its sampling
        weight, and they share as much. Units without partner weigh nothing.

    Raises
    ------
    ValueError
        The estimand is another one; nobody has a partner; covariates that tell the arms apart
        without error; too many pairs to choose from; an option that does not exist.
    KeyError
        A covariate is named that the study has not.

    Notes
    -----
    Pairs on the score, with no caliper but on the score, take n log n time, and never cross: of two
    answers with the same total the one that pairs the lower with the lower is given. Otherwise the
    pairs that may be made are held in memory, up to twenty million. Units with the same distance are
    taken in order of their labels, so that the order of rows changes nothing.

    **References**: rosenbaum1989; rosenbaum2012; abadie2016; abadie2022.

    Examples
    --------
    >>> from impact import Outcome, Study, emulate
    >>> from impact.datasets import helsinki
    >>> from impact.matching import optimal
    >>> study = Study(title="Private and public services", unit="client", treatment="provider",
    ...               treated="private", comparison="public", covariates=("age", "months_worked"),
    ...               outcomes=Outcome("employed_{}", "in a job", periods=range(1, 19)))
    >>> sample = optimal.match(emulate(study, helsinki(seed=1).clients))
    >>> sample.flow[-1].treated == sample.flow[-1].comparison
    True
    """
    why = "they find partners for one arm only: use optimal.full, which has an ATE"
    known_estimand(sample, ("ATT", "ATC"), "optimal pairs", why)
    arguments.number(ratio, "ratio", least=1, whole=True)
    rows, back = by_label(sample)
    space = reach(
        rows, "Matching on the propensity score", distance=distance, on=on, score=score, scale=scale, folds=folds,
        rng=rng, caliper=caliper, caliper_in=caliper_in, calipers=calipers, calipers_sd=calipers_sd, exact=exact,
        antiexact=antiexact, discard=discard,
    )  # fmt: skip
    treated_choose = sample.study.estimand == "ATT"
    i, j = assigned.pairs(space, treated_choose, ratio)
    who, place = np.unique(i, return_inverse=True)
    codes = np.full(len(sample), -1)
    codes[i], codes[j] = place, place
    chose, chosen = ("treated", "comparison") if treated_choose else ("comparison", "treated")
    fewer = int((np.bincount(place, minlength=1) < ratio).sum()) if len(i) else 0
    thin = (f"{fewer:,} of the {len(who):,} matched {chose} units have fewer than the {ratio} partners asked for.",)
    return _designed(
        sample,
        space,
        codes[back],
        back,
        base=np.where(sample.treated == treated_choose, sample.weights, 1.0),
        step=f"matched 1:{ratio} without replacement to {chosen} units at the least total distance",
        notes=thin if fewer else (),
    )


def full(
    sample: Sample,
    *,
    distance: str = "score",
    on: str | Sequence[str] = (),
    score: Any = None,
    scale: str = "logit",
    folds: int = 5,
    most_treated: int | None = None,
    most_comparison: int | None = None,
    caliper: float | None = None,
    caliper_in: str = "SD",
    calipers: Mapping[str, float] = NONE,
    calipers_sd: Mapping[str, float] = NONE,
    exact: str | Sequence[str] = (),
    antiexact: str | Sequence[str] = (),
    discard: str = "none",
    rng: Any = None,
) -> Sample:
    """Put every unit into a set with the units of the other arm most like it, so that all distances together are least.

    A set has one treated unit and one or more comparison units, or one comparison unit and several
    treated. Of all ways to put every unit into such a set, the one with the least

        sum over sets, over their pairs of a treated and a comparison unit, |s_i - s_j|

    is found, with s the score on its scale, or the distance asked for in place of |s_i - s_j|. Nobody
    is thrown away for want of a partner of their own, so that it serves the ATT, the ATC and the ATE.

    **Assumptions**: no unmeasured confounding; overlap.

    **Where intervals do not cover**: those of differences in means, whose errors do not know that
    estimating the score balances what it is estimated on (abadie2016, abadie2022). In 300 simulations of
    1,000 units they were 1.2 to 1.3 times the spread, and intervals of 95% covered 97 to 99%; after regression
    on the matched sample (:func:`impact.matching.regression.difference`) 94 to 97%.

    Parameters
    ----------
    sample : Sample
    distance, on, score, scale, folds, rng
        What is to be small, as in :func:`impact.matching.nearest.match`.
    most_treated, most_comparison : int, optional
        How many treated units may share one comparison unit, and how many comparison units one treated unit;
        any number, if left out. (optmatch's ``min.controls`` is one over the first, its ``max.controls`` the
        second.) As many units as can be are then put into sets, and those at the least total distance;
        who finds no place is left out. Unless one of the two is 1 it takes a linear programme: seconds for
        hundreds of units, minutes for thousands where the limits are tight.
    caliper, caliper_in, calipers, calipers_sd, exact, antiexact, discard
        How far apart the pairs of a set may be, what its units share, and who takes part, as in
        :func:`impact.matching.nearest.match`; by default any distance. Units whom these leave nobody
        of the other arm are left out.

    Returns
    -------
    Sample
        With sets as ``strata``, which are the clusters, and weights: both sides of a set weigh what
        the set weighs in the group of interest. For the ATT the treated keep their sampling weights
        and the comparison units of a set share their sum, by their own sampling weights. (MatchIt
        then scales the weights of each arm to average one, which changes no estimate.)

    Raises
    ------
    ValueError
        The estimand is "ATO" or "ATM"; no set holds both arms; covariates that tell the arms apart
        without error; an option that does not exist.
    KeyError
        A covariate is named that the study has not.

    Notes
    -----
    The distance is least to the last digit: optmatch stops within a tolerance. On the score, with no
    caliper but on the score, time and memory grow little faster than the number of units. Otherwise
    every pair that may be made is looked at, which takes time, but only those that could be in the
    answer are kept. Often several answers have the same total: which is given depends on the labels
    of the units, not on the order of rows.

    **References**: hansen2004; rosenbaum1991; abadie2016; abadie2022.

    Examples
    --------
    >>> from impact import Outcome, Study, emulate
    >>> from impact.datasets import helsinki
    >>> from impact.matching import optimal
    >>> study = Study(title="Private and public services", unit="client", treatment="provider",
    ...               treated="private", comparison="public", covariates=("age", "months_worked"),
    ...               outcomes=Outcome("employed_{}", "in a job", periods=range(1, 19)), estimand="ATE")
    >>> sample = optimal.full(emulate(study, helsinki(seed=1).clients))
    >>> bool((sample.weights > 0).all())
    True
    """
    known_estimand(sample, ("ATT", "ATC", "ATE"), "full matching")
    rows, back = by_label(sample)
    space = reach(
        rows, "Matching on the propensity score", distance=distance, on=on, score=score, scale=scale, folds=folds,
        rng=rng, caliper=caliper, caliper_in=caliper_in, calipers=calipers, calipers_sd=calipers_sd, exact=exact,
        antiexact=antiexact, discard=discard,
    )  # fmt: skip
    limits = [
        f"{arguments.number(most, f'most_{arm}', least=1, whole=True)} {arm}"
        for arm, most in (("treated", most_treated), ("comparison", most_comparison))
        if most is not None
    ]
    said = f", sets of at most {listing(limits)} units" if limits else ""
    codes = assigned.sets(space, most_treated, most_comparison)[back]
    return _designed(
        sample,
        space,
        codes,
        back,
        base=sample.weights,
        step=f"full matching at the least total distance{said}",
        notes=_without_place(sample, space.live[back] & (codes < 0)),
    )


def _without_place(sample: Sample, alone: Array) -> tuple[str, ...]:
    """A note on the units of the arm whose effect it is not: the others are in a note of all sets."""
    other = {"ATT": ~sample.treated, "ATC": sample.treated}.get(sample.study.estimand)
    count = 0 if other is None else int((alone & other).sum())
    name = "comparison" if sample.study.estimand == "ATT" else "treated"
    return (f"{count:,} {name} units found no place in the sets and weigh nothing.",) if count else ()


def _designed(
    sample: Sample, space: Reach, codes: Array, back: Array, *, base: Array, step: str, notes: tuple[str, ...]
) -> Sample:
    """The sample with the sets that were found; ``back`` has the place of each of its rows in ``space``."""
    strata = both_arms(codes, sample.treated, space.live[back])
    refuse_empty(
        strata,
        f"Matching {space.within}",
        "widen the caliper, match exactly on less, or choose a comparison group that is more alike",
    )
    known = None if space.alike is None else space.alike.probability
    return sample.reweight(
        weigh(strata, sample.treated, base, sample.study.estimand),
        strata=strata,
        score=None if known is None else known[back],
        step=f"{step} ({space.by}), {space.within}; {sets_found(strata, sample.treated)}",
        notes=(*lost(strata, sample, f"found no partner {space.within}"), *space.notes, *notes),
        flow="matched",
    )
