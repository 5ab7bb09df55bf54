"""Simulated services for the young unemployed, bought by result: 42,000 people in 14 regions, with a known truth.

No person in it exists. The simulation follows the outline of a Finnish pilot of 2018 and 2019, in which the young
unemployed chose among providers who were paid a fee for each start and more for each result; its numbers are
invented, chosen to be of a plausible size, and say nothing about the real pilot.

Each person lives through the same months three times, by the same draws of luck: as it happened, with no service
for anybody, and joining later than in fact. So the effect on those who joined is known, against never joining and
against waiting, and so is the effect on every region.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.random import Generator
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Codes = NDArray[np.int64]
    Bools = NDArray[np.bool_]

REGIONS, CONTRACTS = 14, 24
SIZE = (30, 10, 8, 7, 6, 6, 5, 5, 5, 5, 4, 4, 3, 2)  # of the regions, in proportion
PROVIDERS = (4, 2, 2, 2, 2, 2, 2, 2, 1, 1, 1, 1, 1, 1)  # contracts in each region
EDUCATION = ("basic", "vocational", "general secondary", "tertiary")
EXITS = ("job", "degree", "self-employment", "other")
RESULTS = 3  # the first so many of EXITS are results, for which a provider is paid
FIRST_MONTH = np.datetime64("2018-01", "M")
OPEN, CLOSED = 3, 18  # the calendar months in which one may join, from April 2018 to July 2019
WAVES = (6, 9, 12, None)  # where regions start in waves: the months in which they do, in turn
LONGEST, PANEL, FOLLOWED = 42, 30, 18  # months: of a spell, of the regional table, since joining
NEVER = 99


class People(NamedTuple):
    """What a person is before anything happens, as arrays of one length."""

    region: Codes
    rate: Floats  # unemployment in the region, per cent
    pull: Floats  # how much likelier one joins in this region, in log-odds
    age: Codes
    woman: Bools
    education: Codes
    foreign_born: Bools
    health_limit: Bools
    months_employed: Floats  # of the 24 before
    spells: Codes  # of unemployment before
    motivation: Floats  # seen by nobody
    entry: Codes  # calendar month in which unemployment began
    contract: Codes  # of the provider that this person would choose


class Life(NamedTuple):
    """When a person joined and left, in months since unemployment began, and how; ``NEVER`` and 0 if not."""

    joined: Codes
    left: Codes
    exit: Codes


@dataclass(frozen=True)
class Youth:
    """The simulated register, the regional table made from it, and the truth behind both.

    Attributes
    ----------
    clients : DataFrame, one row a person
        ``client`` (number), ``region``, ``age``, ``woman``, ``education``, ``foreign_born``, ``health_limit``,
        ``months_employed`` (of the 24 before), ``spells`` (of unemployment before), ``unemployed_from`` (first day
        of a month; a spell that began before January 2018 lasted until then), ``joined`` (first day of the
        month, empty if never), ``contract`` (1 to 24, empty if never joined), ``left`` (month), ``months`` (in
        unemployment, 42 if still there), ``exit`` (0 none, 1 job, 2 degree, 3 self-employment, 4 other).
    regions : DataFrame, one row per region and month
        ``region``, ``month`` (January 2018 to June 2020); ``adoption``, the month in which the service started there
        (empty: never); ``known``, people who have become unemployed so far; ``unemployed`` of them at the end of
        the month and ``joined`` so far; in per cent of those known, ``in_job``, who have left for a job, and
        ``results``, who have left with a result; ``rate``, of unemployment before.
    truth : DataFrame
        The effect on those who joined: one row per ``outcome`` (each exit, and ``result``: a job, a degree or
        self-employment), ``against`` (``never`` joining, or ``waiting`` a month or more) and ``time`` (months
        since joining), with ``with_service``, ``without_service`` and ``difference``.
    regional_truth : DataFrame
        One row per ``region``, ``month`` and ``outcome`` (``in_job``, ``results``): ``with_service``,
        ``without_service``, ``difference``.
    seed : int
        The seed that, with the same arguments, gives these very tables again.
    """

    clients: pd.DataFrame = field(repr=False)
    regions: pd.DataFrame = field(repr=False)
    truth: pd.DataFrame = field(repr=False)
    regional_truth: pd.DataFrame = field(repr=False)
    seed: int

    def effect(self, outcome: str = "result", *, against: str = "never", time: int = 12) -> float:
        """One true effect on those who joined, from :attr:`truth`."""
        at = self.truth
        rows = at[(at["outcome"] == outcome) & (at["against"] == against) & (at["time"] == time)]
        if len(rows) != 1:
            raise ValueError(
                f"The truth has {len(rows)} rows for outcome {outcome!r}, against {against!r} and time {time}: name "
                "one of each from the columns of `truth`."
            )
        return float(rows["difference"].iloc[0])

    def describe(self) -> str:
        """What this is, in words."""
        joined = int(self.clients["joined"].notna().sum())
        return "\n".join(
            [
                f"SIMULATED data (seed {self.seed}): no person in it exists, and it says nothing about a real pilot.",
                f"{len(self.clients):,} unemployed people under 30 in {REGIONS} regions, {joined:,} of whom joined.",
                "True effect on those who joined, result within 12 months, in percentage points:",
                f"  against never joining: {100 * self.effect():+.1f}",
                f"  against waiting: {100 * self.effect(against='waiting'):+.1f}",
            ]
        )


def youth(seed: int = 1, *, clients: int = 42_000, hidden: float = 0.0, in_waves: bool = False) -> Youth:
    """Simulate services for the young unemployed, paid by result, with their truth.

    Every month an unemployed person may leave to a job, a degree, self-employment or otherwise, by a
    multinomial logit in what the person is, the season, the time unemployed and the region. From April 2018 to July
    2019 the person may join the service, by a logit in much the same; it keeps people from jobs for two
    months, helps for seven, by how good the provider is, and then hardly. Those who join are better placed
    already, and those who left early never had the time to join: comparing those who ever joined with those who
    never did is badly wrong.

    Parameters
    ----------
    seed : int
        Same seed, same numbers, as long as numpy keeps the stream of its generator's distributions.
    clients : int
        People, at least 1,000.
    hidden : float
        How much motivation, which nobody records, changes both joining and finding a job, in log-odds by
        standard deviation. Above zero no adjustment for what is recorded is enough.
    in_waves : bool
        Whether the service starts in one region after the other, in July and October 2018 and January 2019, and in
        three regions never. If not, it starts everywhere in April 2018, and no region is left to compare with.

    Returns
    -------
    Youth

    Raises
    ------
    ValueError
        Fewer than 1,000 ``clients``.

    Examples
    --------
    >>> from impact.datasets import youth
    >>> pilot = youth(seed=1)
    >>> int(pilot.clients["joined"].notna().sum()), round(100 * pilot.effect(), 1)
    (8495, 4.3)
    """
    if clients < 1_000:
        raise ValueError(f"Asked for {clients} clients: name 1,000 or more, so that every region has some.")
    rng = np.random.default_rng(seed)
    people, quality = _people(rng, clients)
    luck, wish = rng.random((clients, 48)), rng.random((clients, 48))
    people = people._replace(contract=_contract(people, quality, rng.random(clients)))
    start = _starts(in_waves)
    opened = start[people.region]

    def lived(service: Callable[[Codes], Bools]) -> Life:
        return _lived(people, quality, luck, wish, hidden, service)

    fact = lived(lambda month: (month >= opened) & (month <= CLOSED))
    never = lived(lambda month: np.zeros(clients, bool))
    joined = fact.joined < NEVER
    first = np.where(joined, people.entry + fact.joined, -NEVER)
    waiting = lived(lambda month: (month >= opened) & (month <= CLOSED) & (month > first))
    with_service, without = _regional(people, fact), _regional(people, never)
    return Youth(
        clients=_register(people, fact),
        regions=_regions(people, start, with_service),
        truth=_truth(fact, {"never": never, "waiting": waiting}),
        regional_truth=_regional_truth(with_service, without),
        seed=seed,
    )


# ---- people -----------------------------------------------------------------------------------


def _people(rng: Generator, n: int) -> tuple[People, tuple[Floats, Floats]]:
    """Who they are; and, by contract, how good the provider is and how well liked."""
    size = np.array(SIZE, float)
    region = rng.choice(REGIONS, n, p=size / size.sum())
    rate = np.linspace(8.5, 14, REGIONS)[rng.permutation(REGIONS)]
    pull = rng.normal(0, 0.35, REGIONS)
    people = People(
        region=region,
        rate=rate[region],
        pull=pull[region],
        age=rng.integers(18, 30, n),
        woman=rng.random(n) < 0.42,
        education=rng.choice(4, n, p=[0.30, 0.48, 0.12, 0.10]),
        foreign_born=rng.random(n) < 0.12,
        health_limit=rng.random(n) < 0.08,
        months_employed=24 * rng.beta(1.1, 1.6, n),
        spells=rng.poisson(1.2, n),
        motivation=rng.normal(0, 1, n),
        entry=rng.integers(-6, 16, n),
        contract=np.zeros(n, int),
    )
    return people, (rng.normal(0, 0.12, CONTRACTS), rng.normal(0, 0.5, CONTRACTS))


def _contract(people: People, quality: tuple[Floats, Floats], draw: Floats) -> Codes:
    """The provider that each would choose in the region; every other one draws those who are harder to place."""
    chosen = np.zeros(len(draw), int)
    ends = np.cumsum(PROVIDERS)
    for region, (end, count) in enumerate(zip(ends, PROVIDERS, strict=True)):
        mine, offers = np.flatnonzero(people.region == region), np.arange(end - count, end)
        harder = (people.education[mine] == 0) | people.health_limit[mine]
        odds = np.exp(quality[1][offers][None, :] + 0.9 * (offers % 2)[None, :] * harder[:, None])
        ceiling = np.cumsum(odds / odds.sum(axis=1, keepdims=True), axis=1)
        chosen[mine] = offers[(draw[mine, None] >= ceiling).sum(axis=1).clip(0, count - 1)]
    return chosen


def _starts(in_waves: bool) -> Codes:
    """(region,): the calendar month in which the service starts there."""
    if not in_waves:
        return np.full(REGIONS, OPEN)
    return np.array([NEVER if wave is None else wave for wave in np.resize(np.array(WAVES, object), REGIONS)])


# ---- lives ------------------------------------------------------------------------------------


def _lived(
    people: People,
    quality: tuple[Floats, Floats],
    luck: Floats,
    wish: Floats,
    hidden: float,
    service: Callable[[Codes], Bools],
) -> Life:
    """A life by the luck drawn; ``service`` says who may join in each person's calendar month."""
    n = len(people.age)
    here = np.ones(n, bool)
    joined, left, exit = np.full(n, NEVER), np.full(n, NEVER), np.zeros(n, int)
    for t in range(LONGEST):
        month = people.entry + t
        may = here & (joined == NEVER) & (month >= 0) & service(month)
        joins = may & (wish[:, t] < 1 / (1 + np.exp(-_joining(people, t, hidden))))
        joined[joins] = t
        odds = _leaving(people, t, month, hidden)
        inside = joined <= t
        odds[inside] += _service(t - joined[inside], quality[0][people.contract[inside]])
        ceiling = np.exp(odds)
        ceiling = np.cumsum(ceiling / (1 + ceiling.sum(axis=1, keepdims=True)), axis=1)
        passed = (luck[:, t, None] >= ceiling).sum(axis=1)
        leaves = here & (passed < len(EXITS)) & (month >= 0)  # whose spell began before lasted until January
        exit[leaves], left[leaves] = passed[leaves] + 1, t
        here &= ~leaves
    return Life(joined, left, exit)


def _joining(people: People, t: int, hidden: float) -> Floats:
    """Log-odds of joining in a month."""
    return (
        -3.18
        + people.pull
        + 0.35 * (people.months_employed / 12 - 1)
        + 0.20 * people.woman
        + 0.25 * (people.education == 1)
        - 0.35 * people.health_limit
        - 0.20 * people.foreign_born
        - 0.05 * (t - 3)
        + hidden * people.motivation
    )


def _leaving(people: People, t: int, month: Codes, hidden: float) -> Floats:
    """(person, exit): log-odds of each exit against staying, without the service."""
    of_year = month % 12
    job = (
        -2.48
        + 0.22 * (people.months_employed / 12 - 1)
        - 0.30 * (people.education == 0)
        + 0.20 * (people.education == 3)
        - 0.25 * people.foreign_born
        - 0.60 * people.health_limit
        - 0.03 * min(t, 18)
        - 0.04 * (people.rate - 10)
        + 0.12 * np.isin(of_year, [4, 5, 6, 7])
        - 0.05 * (people.spells - 1.2)
        + hidden * people.motivation
    )
    degree = -3.25 + 0.35 * (people.age < 22) - 0.3 * people.health_limit + 0.5 * np.isin(of_year, [4, 11])
    has_none = (people.education == 0) | (people.education == 2)
    own = -6.2 + 0.5 * (people.age >= 25) + 0.2 * (people.education == 3)
    other = -4.35 + 0.3 * people.woman + 0.5 * people.health_limit
    return np.column_stack([job, np.where(has_none, degree, -30.0), own, other])


def _service(since: Codes, good: Floats) -> Floats:
    """(person, exit): change in log-odds by the service, so many months after joining."""
    job = np.where(since < 2, -0.35, np.where(since < 9, 0.30 + good, 0.05))
    degree = np.where(since < 3, 0.0, 0.10)
    return np.column_stack([job, degree, np.zeros_like(job), np.zeros_like(job)])


# ---- tables -----------------------------------------------------------------------------------


def _dates(month: Codes, known: Bools) -> NDArray[np.datetime64]:
    return np.where(known, (FIRST_MONTH + month).astype("datetime64[s]"), np.datetime64("NaT", "s"))


def _names(region: Codes) -> NDArray[np.object_]:
    return np.array([f"region {k + 1}" for k in range(REGIONS)], dtype=object)[region]


def _register(people: People, life: Life) -> pd.DataFrame:
    n, joined, gone = len(people.age), life.joined < NEVER, life.left < NEVER
    return pd.DataFrame(
        {
            "client": np.arange(1, n + 1),
            "region": _names(people.region),
            "age": people.age,
            "woman": people.woman.astype(np.int64),
            "education": np.array(EDUCATION, dtype=object)[people.education],
            "foreign_born": people.foreign_born.astype(np.int64),
            "health_limit": people.health_limit.astype(np.int64),
            "months_employed": people.months_employed,
            "spells": people.spells,
            "unemployed_from": (FIRST_MONTH + people.entry).astype("datetime64[s]"),
            "joined": _dates(people.entry + life.joined, joined),
            "contract": np.where(joined, people.contract + 1.0, np.nan),
            "left": _dates(people.entry + life.left, gone),
            "months": np.where(gone, life.left + 1, LONGEST),
            "exit": life.exit,
        }
    )


def _regional(people: People, life: Life) -> dict[str, Floats]:
    """Each as (region, month): people in some state at the end of each month."""
    month = np.arange(PANEL)

    def counted(which: Bools) -> Floats:
        return np.array([which[people.region == k].sum(axis=0) for k in range(REGIONS)], float)

    known = people.entry[:, None] <= month
    gone = (people.entry + life.left)[:, None] <= month
    everybody = counted(known)
    return {
        "known": everybody,
        "unemployed": counted(known & ~gone),
        "joined": counted((people.entry + life.joined)[:, None] <= month),
        "in_job": 100 * counted(gone & (life.exit == 1)[:, None]) / everybody,
        "results": 100 * counted(gone & (life.exit <= RESULTS)[:, None]) / everybody,
    }


def _regions(people: People, start: Codes, seen: dict[str, Floats]) -> pd.DataFrame:
    rate = np.array([people.rate[people.region == k][0] for k in range(REGIONS)])
    table = {
        "region": np.repeat(_names(np.arange(REGIONS)), PANEL),
        "month": np.tile((FIRST_MONTH + np.arange(PANEL)).astype("datetime64[s]"), REGIONS),
        "adoption": np.repeat(_dates(start, start < NEVER), PANEL),
    }
    counts = {name: seen[name].ravel().astype(np.int64) for name in ("known", "unemployed", "joined")}
    shares = {name: seen[name].ravel() for name in ("in_job", "results")}
    return pd.DataFrame({**table, **counts, **shares, "rate": np.repeat(rate, PANEL)})


def _truth(fact: Life, otherwise: dict[str, Life]) -> pd.DataFrame:
    """The table of :attr:`Youth.truth`."""
    joined, since = fact.joined < NEVER, np.arange(1, FOLLOWED + 1)
    outcomes = {name: (k,) for k, name in enumerate(EXITS, start=1)} | {"result": tuple(range(1, RESULTS + 1))}

    def share(life: Life, codes: tuple[int, ...]) -> Floats:
        by_now = (life.left - fact.joined)[joined, None] < since
        return (by_now & np.isin(life.exit[joined], codes)[:, None]).mean(axis=0)

    tables = []
    for against, life in otherwise.items():
        for outcome, codes in outcomes.items():
            had, did = share(life, codes), share(fact, codes)
            labels = {"outcome": outcome, "against": against, "time": since}
            tables.append(
                pd.DataFrame({**labels, "with_service": did, "without_service": had, "difference": did - had})
            )
    return pd.concat(tables, ignore_index=True)


def _regional_truth(with_service: dict[str, Floats], without: dict[str, Floats]) -> pd.DataFrame:
    """The table of :attr:`Youth.regional_truth`."""
    month = np.tile((FIRST_MONTH + np.arange(PANEL)).astype("datetime64[s]"), REGIONS)
    region = np.repeat(_names(np.arange(REGIONS)), PANEL)
    tables = []
    for outcome in ("in_job", "results"):
        did, had = with_service[outcome].ravel(), without[outcome].ravel()
        labels = {"region": region, "month": month, "outcome": outcome}
        tables.append(pd.DataFrame({**labels, "with_service": did, "without_service": had, "difference": did - had}))
    return pd.concat(tables, ignore_index=True)
