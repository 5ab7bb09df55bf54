"""The ways of inference with few treated areas, one function each: from a change to a row of the table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from impact.core import areas, few, leverage, permutation, wild_bootstrap
from impact.core import synthetic_placebo as synthetic_placebos
from impact.did.few_change import Change
from impact.did.few_places import Places

Array = np.ndarray

POWER = 0.8
FEW = 20
"""With fewer treated units than this the usual error is not to be trusted, even where units are independent."""
DONORS = 20
"""Conley and Taber's and Ferman and Pinto's tests read tails off untreated areas: at least so many that lie apart."""
WILD = 5
"""With fewer treated clusters than this the restricted wild bootstrap hardly ever rejects, or rejects at random."""
SYNTHETIC = 199
"""Synthetic controls are made for at most so many places: each is a problem of its own."""
YES = "yes"
APART = "no: units drawn apart do not share what an area's units share; give neighbours or coordinates"


@dataclass(frozen=True)
class Ask:
    """What is asked of every method. ``population`` (n,) goes with the units of the sample."""

    places: Places
    population: Array | None
    aim: float | None
    level: float
    draws: int
    rng: Any

    def generator(self) -> np.random.Generator:
        """The same draws for every method and outcome, unless a generator was given."""
        return np.random.default_rng(self.rng)

    def judged(self, valid: str) -> str:
        """Whether the draws are enough to reject anything at this level, where nothing else is wrong."""
        few_draws = self.draws + 1 < 1 / (1 - self.level) - 1e-9
        return f"no: {self.draws} draws are too few for this level" if few_draws and valid == YES else valid


class Row(NamedTuple):
    """A line of the table."""

    method: str
    estimate: float
    conf_low: float
    conf_high: float
    p_value: float
    p_aim: float
    smallest_detectable: float
    hypothesis: str
    donor_pool: str
    donors: int
    valid: str


Method = Callable[[Change, Ask], Row]


def robust(change: Change, ask: Ask) -> Row:
    """The usual robust t, which takes units for independent and many."""
    n = len(change.value)
    found = leverage.coefficient(change.value, change.treated, change.weights, change.covariates, np.arange(n))
    found = found._replace(df=float(n - 2 - change.covariates.shape[1]))
    valid = YES
    if not change.spread_out or (np.bincount(change.cluster) > 1).any():
        valid = "no: takes the units of an area for independent"
    elif change.treated.sum() < FEW:
        valid = f"no: {int(change.treated.sum())} treated units are too few for it"
    return _by_t(found, ask, "robust t, by unit", "zero on average; units independent", f"none: {n} units", n, valid)


def cluster_robust(change: Change, ask: Ask) -> Row:
    """CR2 with Bell and McCaffrey's degrees of freedom."""
    found = leverage.coefficient(change.value, change.treated, change.weights, change.covariates, change.cluster)
    groups = int(change.cluster.max()) + 1
    valid = YES if np.isfinite(found.std_error) else "no: one treated area shows no spread between areas"
    df = f"{found.df:.1f} degrees of freedom" if np.isfinite(found.df) else "no degrees of freedom"
    words = "zero on average; areas independent", f"none: {groups} areas, {df}"
    return _by_t(found, ask, "cluster-robust, Bell-McCaffrey", *words, groups, valid)


def wild(change: Change, ask: Ask) -> Row:
    """The restricted wild cluster bootstrap."""
    groups, treated = int(change.cluster.max()) + 1, len(change.sizes)
    valid = YES if treated >= WILD else f"no: {treated} treated areas are too few for it, and it needs {WILD}"
    return _by_wild(change, ask, None, "wild cluster bootstrap", f"signs of {groups} areas", groups, valid)


def subcluster(change: Change, ask: Ask) -> Row:
    """The wild bootstrap by unit within areas, for contrast."""
    n = len(change.value)
    valid = "no: draws take the units of an area for independent"
    return _by_wild(change, ask, np.arange(n), "wild bootstrap by unit", f"signs of {n} units", n, valid)


def permutation_of_areas(change: Change, ask: Ask) -> Row:
    """Areas of the same sizes, put elsewhere by lot."""
    elsewhere, about = _elsewhere(change, ask, ask.draws)
    found = permutation.placed(change.value, change.treated, change.weights, change.covariates, elsewhere)
    return _by_lot(found, ask, "permutation of areas", *about)


def synthetic_placebo(change: Change, ask: Ask) -> Row:
    """As permutation of areas, each place being compared with a weighted path of units like it."""
    draws = min(ask.draws, SYNTHETIC)
    elsewhere, about = _elsewhere(change, ask, draws)
    every = np.vstack([change.treated, elsewhere])
    at, pull = synthetic_placebos.placements(
        change.early, change.late.mean(axis=1), change.weights, every, change.late.shape[1]
    )
    found = permutation.Placed(float(at[0]), at[1:], pull[1:])
    return _by_lot(found, replace(ask, draws=draws), "synthetic control, placebo areas", *about)


def conley_taber(change: Change, ask: Ask) -> Row:
    """Errors like those of untreated areas."""
    return _by_donors(change, ask, "Conley-Taber", "zero on average; areas' errors alike", None)


def ferman_pinto(change: Change, ask: Ask) -> Row:
    """Errors like those of untreated areas, once their population is taken account of."""
    hypothesis = "zero on average; alike but for population"
    if ask.population is None:
        return _refused(change, "Ferman-Pinto", hypothesis, "no: give `population`, by which errors may differ")
    return _by_donors(change, ask, "Ferman-Pinto", hypothesis, ask.population[change.rows])


METHODS: tuple[Method, ...] = (
    robust,
    cluster_robust,
    wild,
    subcluster,
    permutation_of_areas,
    synthetic_placebo,
    conley_taber,
    ferman_pinto,
)


# ---- their common parts ---------------------------------------------------------------------


def _by_t(
    found: leverage.Coefficient, ask: Ask, method: str, hypothesis: str, pool: str, count: int, valid: str
) -> Row:
    from scipy import stats

    value, error, df = found
    critical = float(stats.t.ppf((1 + ask.level) / 2, df))

    def p_value(null: float) -> float:
        with np.errstate(divide="ignore", invalid="ignore"):
            return float(2 * stats.t.sf(np.abs(np.divide(value - null, error)), df))

    aimed = np.nan if ask.aim is None else p_value(ask.aim)
    reach = (critical + float(stats.norm.ppf(POWER))) * error
    low, high = value - critical * error, value + critical * error
    return Row(method, value, low, high, p_value(0.0), aimed, reach, hypothesis, pool, count, valid)


def _elsewhere(change: Change, ask: Ask, draws: int) -> tuple[Array, tuple[str, int, str]]:
    """Where treatment might have been (draws, n); the pool in words, how many it holds, and whether it will do."""
    rng, n, sizes = ask.generator(), len(change.value), change.sizes
    groups, many = int(change.cluster.max()) + 1, int(sizes.sum())
    valid, count = YES, n
    if change.spread_out and groups == n:
        elsewhere = areas.anywhere(n, many, draws, rng)
        pool = f"{n} units, {many} drawn"
    elif ask.places.known:
        elsewhere = ask.places.anywhere(change, sizes, draws, rng)
        pool = f"areas of the same sizes, {ask.places.words}"
    elif _alike(change):
        count = groups
        elsewhere = areas.whole_clusters(change.cluster, len(sizes), draws, rng)
        pool = f"{groups} areas, {len(sizes)} drawn whole"
    else:
        elsewhere = areas.anywhere(n, many, draws, rng)
        pool = f"{n} units, {many} drawn by size only"
        valid = APART
    distinct = len(np.unique(np.packbits(elsewhere, axis=1), axis=0))
    if valid == YES and distinct < draws / 2 and distinct < 1 / (1 - ask.level):
        valid = f"no: {distinct} different places cannot tell at this level"
    return elsewhere, (pool, count, valid)


def _by_lot(found: permutation.Placed, ask: Ask, method: str, pool: str, count: int, valid: str) -> Row:
    low, high = found.interval(ask.level)
    return Row(
        method,
        found.value,
        low,
        high,
        found.p_value(0.0),
        np.nan if ask.aim is None else found.p_value(ask.aim),
        permutation.detectable(low, high, found.errors(), POWER),
        "zero for all; a lot placed the areas",
        pool,
        count,
        ask.judged(valid),
    )


def _by_wild(change: Change, ask: Ask, finer: Array | None, method: str, pool: str, count: int, valid: str) -> Row:
    from scipy import stats

    data = change.value, change.treated, change.weights, change.covariates, change.cluster
    found = wild_bootstrap.wild(*data, ask.draws, ask.generator(), finer=finer)
    low, high = found.interval(ask.level)
    hypothesis = "zero on average; areas independent" if finer is None else "zero on average; units independent"
    return Row(
        method,
        found.value,
        low,
        high,
        found.p_value(0.0),
        np.nan if ask.aim is None else found.p_value(ask.aim),
        (high - low) / 2 + float(stats.norm.ppf(POWER)) * found.std_error,
        hypothesis,
        pool,
        count,
        ask.judged(valid),
    )


def _by_donors(change: Change, ask: Ask, method: str, hypothesis: str, population: Array | None) -> Row:
    """What the estimate's error might have been, had the treated areas' errors been those of untreated ones."""
    rng = ask.generator()
    partial = permutation.Partial.of(change.covariates, change.weights)
    y, d = partial.rest(change.value), partial.rest(change.treated.astype(float))
    value = float(y @ d / (d @ d))
    others = np.flatnonzero(~change.treated)
    left = (y - value * d)[others] / partial.root[others]
    donors, pool, valid = _donors(change, ask, others, left, population, rng)
    if not donors:
        return _refused(change, method, hypothesis, valid)
    own = None if population is None else np.bincount(change.area[change.treated], population[change.treated])
    draws = 10 * ask.draws  # of numbers, which cost nothing
    errors = few.drawn_errors(donors, change.share, draws, rng, own=own)
    weights = change.weights[others]  # the mean of the untreated has an error too, a small one
    errors += rng.normal(0, np.sqrt(((weights * left) ** 2).sum()) / weights.sum(), draws)
    low, high = few.inverted(value, errors, ask.level)
    return Row(
        method,
        value,
        low,
        high,
        few.equal_tails(value, errors, 0.0),
        np.nan if ask.aim is None else few.equal_tails(value, errors, ask.aim),
        permutation.detectable(low, high, errors, POWER),
        hypothesis,
        pool,
        min(len(pool.errors) for pool in donors),
        valid,
    )


def _donors(
    change: Change, ask: Ask, others: Array, left: Array, population: Array | None, rng: np.random.Generator
) -> tuple[list[few.Donors], str, str]:
    """For each treated area the untreated areas of its size; then the pool in words, and whether it will do."""
    weights = change.weights[others]
    people = np.ones(len(others)) if population is None else population[others]
    by_size: dict[int, few.Donors] = {}
    for size in np.unique(change.sizes).tolist():
        if size == 1:
            members = np.arange(len(others))[:, None]
        elif ask.places.known:
            members = ask.places.around(change.rows[others], size, rng)
        else:
            members = np.array([rng.permutation(len(others))[:size] for _ in range(len(others))])
        if not len(members):
            return [], "", f"no: no {size} untreated units lie together"
        errors = (weights * left)[members].sum(axis=1) / weights[members].sum(axis=1)
        by_size[size] = few.Donors(errors - errors.mean(), people[members].sum(axis=1), len(others) // size)
    apart = not change.spread_out and not ask.places.known
    fewest = min(d.worth for d in by_size.values())
    valid = YES
    if apart:
        valid = APART
    elif fewest < DONORS:
        valid = f"no: {fewest} untreated areas that lie apart do not show the tails, and it needs {DONORS}"
    together = "of units drawn apart" if apart else ask.places.words
    how = "units" if change.spread_out else f"areas of the same sizes, {together}"
    return [by_size[s] for s in change.sizes.tolist()], f"untreated {how}", valid


def _alike(change: Change) -> bool:
    """Whether untreated clusters are as large as treated ones, so that a lot might have drawn them."""
    untreated = np.bincount(change.cluster[~change.treated])
    return int(untreated.max()) >= int(change.sizes.max())


def _refused(change: Change, method: str, hypothesis: str, why: str) -> Row:
    weights, treated = change.weights, change.treated
    partial = permutation.Partial.of(change.covariates, weights)
    y, d = partial.rest(change.value), partial.rest(treated.astype(float))
    nothing = np.nan
    value = float(y @ d / (d @ d))
    return Row(method, value, nothing, nothing, nothing, nothing, nothing, hypothesis, "none", 0, why)
