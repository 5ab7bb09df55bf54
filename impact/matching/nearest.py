"""Nearest-neighbour matching on the propensity score."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from impact.core import arguments
from impact.core.neighbours import ORDERS, nearest
from impact.matching.treatment import certainty, propensity
from impact.sample import Sample
from impact.show.words import listing

Array = np.ndarray

SCALES = ("logit", "probability")


def match(
    sample: Sample,
    *,
    ratio: int = 1,
    caliper: float | None = 0.2,
    replace: bool = False,
    exact: str | Sequence[str] = (),
    scale: str = "logit",
    order: str | None = None,
    rng: Any = None,
) -> Sample:
    """Find for each treated unit the comparison units most like it, and leave the others out.

    Alike means a like propensity score e(x) = P(treated | x), estimated by logistic regression on
    the study's covariates with the sample's weights. Treated units choose in turn, each the
    nearest unit still free, on the scale log e - log(1 - e) or e; all choose once before any
    chooses again. For the ATC the comparison units choose among the treated instead.

    **Assumptions**: no unmeasured confounding: among units with the same covariates, who was
    treated has nothing to do with what would have become of them; overlap: whatever the
    covariates, either arm was possible.

    Parameters
    ----------
    sample : Sample
        With estimand "ATT" or "ATC".
    ratio : int
        How many partners a unit is given. Partners share their weight.
    caliper : float or None
        How far apart partners may be, in standard deviations of the score on its scale over all
        units with weight, of both arms, each counting once (as MatchIt does; not the pooled
        within-arm deviation of some texts). None: any distance.
    replace : bool
        Whether one unit may be a partner of several. Its weight is then the sum over the units
        it is a partner of, and the standard errors of what follows take these counts as given.
    exact : covariates of the study, optional
        Partners have the same value or level of these.
    scale : "logit" or "probability"
    order : "largest", "smallest", "closest", "data" or "random", optional
        Who chooses first: the largest or smallest score, whoever has the closest partner, the
        first row, or at random. If left out, those hardest to match: the treated with the
        largest scores, or, for the ATC, the comparison units with the smallest.
    rng : seed or numpy Generator, for order "random" only.

    Returns
    -------
    Sample
        With matched sets as ``strata`` (none with replacement), the score, and weights: a unit
        that chose keeps its sampling weight, and its partners share as much, so that both sides
        of each set weigh the same (sampling weights of partners serve the model of treatment only).
        Units without partner weigh nothing.

    Raises
    ------
    ValueError
        The estimand is the ATE; nobody has a partner within the caliper; the covariates tell the
        arms apart without error; an option that does not exist.
    KeyError
        ``exact`` names what is not a covariate.

    Notes
    -----
    Where units have the same score, the order of rows decides, as in MatchIt 4.7.2, whose pairs
    are reproduced one by one. Units whom the covariates place in one arm with certainty (a
    level seen in one arm only) are not matched.

    **References**: rosenbaum1985; austin2011; abadie2006; stuart2010.

    Examples
    --------
    >>> from impact import Outcome, Study, emulate
    >>> from impact.datasets import helsinki
    >>> from impact.matching import nearest
    >>> study = Study(title="Private and public services", unit="client", treatment="provider",
    ...               treated="private", comparison="public", covariates=("age", "months_worked"),
    ...               outcomes=Outcome("employed_{}", "in a job", periods=range(1, 19)))
    >>> sample = nearest.match(emulate(study, helsinki(seed=1).clients), ratio=2)
    >>> sample.flow[-1].treated
    750
    """
    _refuse(sample, ratio, caliper, scale, order)
    replace, terms = arguments.yes_or_no(replace, "replace"), arguments.texts(exact, "exact")
    arguments.seed(rng, "rng")
    fit = propensity(sample, "Matching on the propensity score")
    score = fit.logit if scale == "logit" else fit.probability
    live = sample.weights > 0
    live[fit.separated.rows] = False
    reach = np.inf if caliper is None else caliper * float(score[live].std(ddof=1))
    treated_choose = sample.study.estimand == "ATT"
    focal = live & (sample.treated == treated_choose)
    pool = live & (sample.treated != treated_choose)
    groups = _groups(sample, terms)
    pairs = nearest(
        score,
        focal,
        pool,
        ratio=ratio,
        caliper=reach,
        replace=replace,
        groups=groups,
        order=order or ("largest" if treated_choose else "smallest"),
        rng=rng,
    )
    within = _within(caliper, reach, scale, terms)
    chose, chosen = ("treated", "comparison") if treated_choose else ("comparison", "treated")
    if not len(pairs):
        raise ValueError(
            f"Partners {within} were asked for, and none of the {int(focal.sum()):,} {chose} units has one among the "
            f"{int(pool.sum()):,} {chosen} units: widen the caliper, match exactly on less, or choose a comparison "
            "group that is more alike."
        )
    _keep_promises(pairs, score, groups, reach, ratio, replace)
    weights, strata = _sets(sample, pairs, replace)
    asked = int(((sample.weights > 0) & (sample.treated == treated_choose)).sum())
    found = len(np.unique(pairs[:, 0]))
    return sample.reweight(
        weights,
        strata=strata,
        score=fit.probability,
        step=f"matched 1:{ratio} {'with' if replace else 'without'} replacement to the nearest {chosen} units by "
        f"propensity score (logistic regression), {within}; {found:,} of {asked:,} {chose} units have a partner",
        notes=(
            *_left_out(asked, found, chose, chosen, within),
            *certainty(fit.separated, "they cannot be matched, and are left out."),
            *_thin(pairs, ratio, chose, found),
            *_reused(pairs, replace, chosen),
        ),
        flow="matched",
    )


def _refuse(sample: Sample, ratio: int, caliper: float | None, scale: str, order: str | None) -> None:
    if sample.study.estimand == "ATE":
        raise ValueError(
            "Nearest-neighbour matching was asked for the ATE, but it finds partners for one arm only: revise the "
            "study's estimand to 'ATT' or 'ATC', or use propensity.weight, which has an ATE."
        )
    if isinstance(ratio, bool) or not isinstance(ratio, int | np.integer) or ratio < 1:
        raise ValueError(f"`ratio` is {ratio!r}, and is a whole number of partners from 1 on: set ratio=1, 2 or more.")
    if caliper is not None and (
        isinstance(caliper, bool) or not isinstance(caliper, int | float | np.number) or not caliper > 0
    ):
        raise ValueError(
            f"`caliper` is {caliper!r}, and is a positive number of standard deviations: set 0.2, say, or None for any "
            "distance."
        )
    if scale not in SCALES:
        raise ValueError(f"`scale` is {scale!r}: choose {listing(map(repr, SCALES), 'or')}.")
    if order is not None and order not in ORDERS:
        raise ValueError(f"`order` is {order!r}: choose {listing(map(repr, ORDERS), 'or')}, or leave it out.")


def _groups(sample: Sample, terms: tuple[str, ...]) -> Array | None:
    if not terms:
        return None
    columns = [j for term in terms for j in sample.columns_of(term)]
    return np.unique(sample.characteristics[:, columns], axis=0, return_inverse=True)[1].ravel()


def _sets(sample: Sample, pairs: Array, replace: bool) -> tuple[Array, Array | None]:
    """Weights, and the matched sets where units are in one only."""
    i, j = pairs.T
    who, place, partners = np.unique(i, return_inverse=True, return_counts=True)
    weights = np.zeros(len(sample))
    weights[who] = sample.weights[who]
    np.add.at(weights, j, sample.weights[i] / partners[place])
    if replace:
        return weights, None
    strata = -1 - np.arange(len(sample))
    strata[who] = np.arange(len(who))
    strata[j] = place
    return weights, strata


def _within(caliper: float | None, reach: float, scale: str, terms: tuple[str, ...]) -> str:
    on = "on the logit scale" if scale == "logit" else "on the probability scale"
    near = f"at any distance {on}" if caliper is None else f"within {caliper:g} SD ({reach:.3g}) {on}"
    return near + (f" and with the same {listing(f'`{t}`' for t in terms)}" if terms else "")


def _left_out(asked: int, found: int, chose: str, chosen: str, within: str) -> tuple[str, ...]:
    if found == asked:
        return ()
    return (
        f"{asked - found:,} of {asked:,} {chose} units found no free {chosen} unit {within} and are left out: the "
        f"effect is now that on the {found:,} matched {chose} units, who may differ from the rest.",
    )


def _thin(pairs: Array, ratio: int, chose: str, found: int) -> tuple[str, ...]:
    if ratio == 1 or len(pairs) == ratio * found:
        return ()
    fewer = int((np.unique(pairs[:, 0], return_counts=True)[1] < ratio).sum())
    return (f"{fewer:,} of the {found:,} matched {chose} units have fewer than the {ratio} partners asked for.",)


def _reused(pairs: Array, replace: bool, chosen: str) -> tuple[str, ...]:
    if not replace:
        return ()
    times = np.unique(pairs[:, 1], return_counts=True)[1]
    return (
        f"Matched with replacement: {len(times):,} {chosen} units are partners {len(pairs):,} times, one of them "
        f"{times.max():,} times. Standard errors take these counts as given.",
    )


def _keep_promises(pairs: Array, score: Array, groups: Array | None, reach: float, ratio: int, replace: bool) -> None:
    """What was asked for holds, or there is no result: a matcher that breaks its caliper in silence has been seen."""
    i, j = pairs.T
    kept = (
        (np.abs(score[i] - score[j]) <= reach).all()
        and (groups is None or (groups[i] == groups[j]).all())
        and np.unique(i, return_counts=True)[1].max() <= ratio
        and (len(np.unique(pairs, axis=0)) == len(pairs) if replace else len(np.unique(j)) == len(j))
    )
    if not kept:
        raise RuntimeError(
            "The matched pairs break the caliper, the exact groups or the number of uses that were asked for. This is "
            "a fault of the package, not of the data: please report it."
        )
