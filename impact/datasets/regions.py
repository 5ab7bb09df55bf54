"""Simulated regional trials: 23 of 295 municipalities run their own employment services, with a known truth.

No municipality in it exists. The simulation follows the outline of the Finnish regional trials of
August 2017 to December 2018, in which some municipalities, in a few contiguous areas, took over the
employment services of their residents; its numbers are invented, chosen to be of a plausible size,
and say nothing about the real trials.

Each municipality is followed for 84 months with the trial and without it, by the same shocks, so that
the effect on every municipality in every month is known. It is built to be hard in the ways in which
such trials are hard: areas are few, contiguous and of very unequal size; neighbours share shocks that
last; small municipalities are noisier; the trials were sought where unemployment had grown most; and
open unemployment can fall because the unemployed are called something else.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Codes = NDArray[np.int64]

MUNICIPALITIES, MONTHS, REGIONS = 295, 84, 18
AREAS = (1, 1, 1, 1, 1, 3, 6, 9)
"""Municipalities in each of the trial's areas."""
FIRST_MONTH = np.datetime64("2013-01", "M")
START, END, RAMP = 55, 72, 6  # August 2017 to December 2018; the effect grows over six months
NEIGHBOURS = 4
COST_OPEN, COST_SERVICES = 992.0, 1392.0  # euro a month for each unemployed person, by where they are counted
LOGS = {"log_broad": "broad", "log_open": "open", "log_cost": "cost"}
ALL, NEARBY = "all areas", "neighbours"


class Land(NamedTuple):
    """What a municipality is, before anything happens."""

    population: Floats
    place: Floats  # (municipality, 2), in a unit square
    region: Codes
    level: Floats  # unemployment, as a share of the labour force


@dataclass(frozen=True)
class Regions:
    """The simulated table and the truth behind it.

    Attributes
    ----------
    months : DataFrame, one row per municipality and month
        ``municipality`` (number), ``month`` (its first day, January 2013 to December 2019); in per cent of the
        labour force, ``broad`` unemployment and its parts, ``open`` unemployment and the unemployed in
        ``services``; ``cost``, euro a month per member of the labour force; ``log_broad``, ``log_open`` and
        ``log_cost``, 100 times natural logarithms, so that differences are near per cent. What does not
        change: ``population``, ``region`` (18 of them), ``east`` and ``north`` (in a unit square), ``area`` (of
        the trial; a municipality outside it is an area of its own), and ``adoption``, August 2017 in the trial
        and empty elsewhere.
    neighbours : DataFrame
        The four nearest municipalities of each: ``municipality``, ``neighbour``, ``distance``. What spills over
        reaches those of the trial's municipalities.
    truth : DataFrame
        One row per ``outcome``, ``area`` (each area of the trial, all areas, and the neighbours that spillover
        reaches) and ``time`` (months since adoption, 0 to 16): the mean over its municipalities ``with_trial``,
        ``without_trial``, and the ``difference``.
    seed : int
        The seed that, with the same arguments, gives these very tables again.
    """

    months: pd.DataFrame = field(repr=False)
    neighbours: pd.DataFrame = field(repr=False)
    truth: pd.DataFrame = field(repr=False)
    seed: int

    @cached_property
    def municipalities(self) -> pd.DataFrame:
        """What does not change, one row a municipality."""
        fixed = ["municipality", "population", "region", "east", "north", "area", "adoption"]
        return self.months.loc[self.months["month"] == self.months["month"].iloc[0], fixed].reset_index(drop=True)

    def effect(self, outcome: str, *, area: str = ALL) -> float:
        """The true effect on an outcome, averaged over the months of the trial and the area's municipalities."""
        rows = self.truth[(self.truth["outcome"] == outcome) & (self.truth["area"] == area)]
        if rows.empty:
            raise ValueError(
                f"The truth has no rows for outcome {outcome!r} and area {area!r}: name one of each from the columns "
                "of `truth`."
            )
        return float(rows["difference"].mean())

    def describe(self) -> str:
        """What this is, in words."""
        trial = self.municipalities["adoption"].notna()
        words = {"log_broad": "broad unemployment", "log_open": "open unemployment", "log_cost": "total cost"}
        return "\n".join(
            [
                f"SIMULATED data (seed {self.seed}): no municipality in it exists, "
                "and it says nothing about the real trials.",
                f"{len(trial)} municipalities by {MONTHS} months, {int(trial.sum())} of them in "
                f"{self.municipalities['area'][trial].nunique()} trial areas from August 2017 to December 2018.",
                "True effect on the trial's municipalities, over the months of the trial:",
                *(f"  {said}: {self.effect(outcome):+.1f} per cent" for outcome, said in words.items()),
            ]
        )


def regions(
    seed: int = 1,
    *,
    effect: float = -0.01,
    activation: float = 0.12,
    spillover: float = 0.003,
    area_spread: float = 0.01,
    selected: bool = True,
) -> Regions:
    """Simulate regional trials of employment services, with their truth.

    The logarithm of broad unemployment is the municipality's level, plus its own reaction to the business
    cycle, two further factors, the season and a trend of its own, plus shocks that its region shares and that
    fade slowly, plus its own noise, which is smaller where there are more people. The trial changes it by
    ``effect``, more or less in different areas, growing over six months and ending with the trial; it moves
    some of the unemployed from open unemployment into services, which cost more.

    Parameters
    ----------
    seed : int
        Same seed, same numbers, as long as numpy keeps the stream of its generator's distributions.
    effect : float
        On the logarithm of broad unemployment, when it has grown in full.
    activation : float
        By how much, in proportion, the trial raises the share of the unemployed who are in services.
    spillover : float
        On the logarithm of broad unemployment of the nearest municipalities outside the trial.
    area_spread : float
        Standard deviation of the effect between areas.
    selected : bool
        Whether the trial goes where unemployment grew most in 2014 to 2016, and to larger places; by lot if
        not. ``regions(seed, effect=0, activation=0, spillover=0, area_spread=0, selected=False)`` is a trial
        without any effect, in places drawn by lot.

    Returns
    -------
    Regions

    Raises
    ------
    ValueError
        A negative ``area_spread``; an ``activation`` that would leave no one, or everyone, in services.

    Examples
    --------
    >>> from impact.datasets import regions
    >>> trial = regions(seed=1)
    >>> int(trial.municipalities["adoption"].notna().sum()), round(trial.effect("log_open"), 1)
    (23, -5.3)
    """
    if not area_spread >= 0:
        raise ValueError(f"Asked for a spread of {area_spread} between areas: name 0 or more.")
    if not -1 <= activation <= 1:
        raise ValueError(f"Asked for an activation of {activation}: name a proportion from -1 to 1.")
    rng = np.random.default_rng(seed)
    land = _land(rng)
    log_broad = _without_trial(rng, land)
    area = _areas(rng, land, log_broad, selected=selected)
    nearby = _nearby(land.place, area)
    grown = _ramp()
    own = rng.normal(0, area_spread, len(AREAS))
    change = np.zeros_like(log_broad)
    change[area >= 0] = (effect + own[area[area >= 0]])[:, None] * grown
    change[nearby] += spillover * grown
    share = np.clip(rng.normal(0.30, 0.04, len(area)), 0.15, 0.5)[:, None] * np.ones(MONTHS)
    raised = share * (1 + activation * (area >= 0)[:, None] * grown)
    with_trial = _outcomes(log_broad + change, raised)
    without = _outcomes(log_broad, share)
    return Regions(
        months=_table(land, area, with_trial),
        neighbours=_neighbours(land.place),
        truth=_truth(with_trial, without, area, nearby),
        seed=seed,
    )


# ---- the places -----------------------------------------------------------------------------


def _land(rng: Generator) -> Land:
    """Municipalities scattered over a square, each in the region of the nearest centre."""
    population = np.exp(rng.normal(8.75, 1.05, MUNICIPALITIES))
    place = rng.random((MUNICIPALITIES, 2))
    region = _squared(place, rng.random((REGIONS, 2))).argmin(axis=1)
    return Land(population, place, region, np.clip(rng.normal(0.125, 0.030, MUNICIPALITIES), 0.04, 0.24))


def _squared(a: Floats, b: Floats) -> Floats:
    """(len(a), len(b)) squared distances."""
    return ((a[:, None] - b[None]) ** 2).sum(axis=2)


def _without_trial(rng: Generator, land: Land) -> Floats:
    """(municipality, month): the logarithm of broad unemployment, had there been no trial."""
    factors, shared, own = np.zeros((2, MONTHS)), np.zeros((REGIONS, MONTHS)), np.zeros((MUNICIPALITIES, MONTHS))
    noise = 0.035 * (land.population / 6000) ** -0.35
    for t in range(1, MONTHS):
        factors[:, t] = [0.985, 0.95] * factors[:, t - 1] + rng.normal(0, 1, 2) * [0.012, 0.02]
        shared[:, t] = 0.95 * shared[:, t - 1] + rng.normal(0, 0.014, REGIONS)
        own[:, t] = 0.80 * own[:, t - 1] + rng.normal(0, 1, MUNICIPALITIES) * noise * 0.6
    # Unemployment rose until the middle of 2015, eased, and fell fast from 2017 on.
    cycle = np.concatenate([np.linspace(0, 0.16, 30), np.linspace(0.16, 0.10, 18), np.linspace(0.10, -0.22, 36)])
    loading = np.c_[1 + 0.25 * rng.normal(size=MUNICIPALITIES), rng.normal(0, 1, MUNICIPALITIES)]
    month = np.arange(MONTHS)
    season = 0.05 * np.cos(2 * np.pi * month / 12)
    trend = rng.normal(0, 0.00045, MUNICIPALITIES)[:, None] * (month - 42)
    common = loading[:, [0]] * cycle + 0.5 * loading @ factors + season
    return np.log(land.level)[:, None] + common + trend + shared[land.region] + own


def _areas(rng: Generator, land: Land, log_broad: Floats, *, selected: bool) -> Codes:
    """Which area of the trial each municipality belongs to, -1 for none: a seat and the places nearest to it."""
    growth = log_broad[:, 36:48].mean(axis=1) - log_broad[:, 12:24].mean(axis=1)  # 2014 to 2016
    need = 1.2 * (growth - growth.mean()) / growth.std() + 0.9 * (np.log(land.population) - 8.75) / 1.05
    seats = np.argsort(-((need if selected else 0) + rng.gumbel(size=MUNICIPALITIES)))
    area = np.full(MUNICIPALITIES, -1)
    for code, (seat, size) in enumerate(zip(seats, AREAS, strict=False)):
        free = np.flatnonzero((area < 0) | (np.arange(MUNICIPALITIES) == seat))
        area[free[np.argsort(_squared(land.place[free], land.place[[seat]])[:, 0])[:size]]] = code
    return area


def _nearby(place: Floats, area: Codes) -> NDArray[np.bool_]:
    """Municipalities outside the trial that are among the nearest of one inside."""
    near = np.zeros(len(area), dtype=bool)
    near[_nearest(place)[area >= 0].ravel()] = True
    return near & (area < 0)


def _nearest(place: Floats) -> Codes:
    return np.argsort(_squared(place, place), axis=1)[:, 1 : NEIGHBOURS + 1]


def _ramp() -> Floats:
    """(month,): how much of the effect is there."""
    month = np.arange(MONTHS)
    return np.where((month >= START) & (month < END), np.clip((month - START + 1) / RAMP, 0, 1), 0)


# ---- the tables -----------------------------------------------------------------------------


def _outcomes(log_broad: Floats, share: Floats) -> dict[str, Floats]:
    """Each outcome as (municipality, month), given the share of the unemployed who are in services."""
    broad = 100 * np.exp(log_broad)
    found = {
        "broad": broad,
        "open": broad * (1 - share),
        "services": broad * share,
        "cost": broad / 100 * ((1 - share) * COST_OPEN + share * COST_SERVICES),
    }
    return found | {name: 100 * np.log(found[of]) for name, of in LOGS.items()}


def _table(land: Land, area: Codes, outcomes: dict[str, Floats]) -> pd.DataFrame:
    number = np.arange(1, MUNICIPALITIES + 1)
    outside = np.array([f"municipality {k}" for k in number], dtype=object)
    inside = np.array([f"area {k + 1}" for k in area], dtype=object)
    start = (FIRST_MONTH + START).astype("datetime64[s]")
    fixed = {
        "population": np.rint(land.population).astype(np.int64),
        "region": np.array([f"region {k + 1}" for k in land.region], dtype=object),
        "east": land.place[:, 0],
        "north": land.place[:, 1],
        "area": np.where(area >= 0, inside, outside),
        "adoption": np.where(area >= 0, start, np.datetime64("NaT", "s")),
    }
    calendar = (FIRST_MONTH + np.arange(MONTHS)).astype("datetime64[s]")
    return pd.DataFrame(
        {"municipality": np.repeat(number, MONTHS), "month": np.tile(calendar, MUNICIPALITIES)}
        | {name: values.ravel() for name, values in outcomes.items()}
        | {name: np.repeat(values, MONTHS) for name, values in fixed.items()}
    )


def _neighbours(place: Floats) -> pd.DataFrame:
    nearest = _nearest(place)
    of = np.repeat(np.arange(len(place)), NEIGHBOURS)
    far = np.sqrt(((place[of] - place[nearest.ravel()]) ** 2).sum(axis=1))
    return pd.DataFrame({"municipality": of + 1, "neighbour": nearest.ravel() + 1, "distance": far})


def _truth(
    with_trial: dict[str, Floats], without: dict[str, Floats], area: Codes, nearby: NDArray[np.bool_]
) -> pd.DataFrame:
    """The table of :attr:`Regions.truth`."""
    who = {ALL: area >= 0} | {f"area {k + 1}": area == k for k in range(len(AREAS)) if (area == k).any()}
    who |= {NEARBY: nearby} if nearby.any() else {}
    trial = slice(START, END)
    tables = []
    for outcome, values in with_trial.items():
        for label, mask in who.items():
            did, had = values[mask, trial].mean(axis=0), without[outcome][mask, trial].mean(axis=0)
            labels = {"outcome": outcome, "area": label, "time": np.arange(END - START)}
            tables.append(pd.DataFrame({**labels, "with_trial": did, "without_trial": had, "difference": did - had}))
    return pd.concat(tables, ignore_index=True)
