"""A simulated Helsinki: private against public employment services, with a known truth.

No person in it exists. The simulation follows the outline of the pilot of 2019-2021, in which private
providers served some 750 Helsinki residents over 30 with more than 300 days on labour market support;
its numbers are invented, chosen to be of a plausible size, and say nothing about the real pilot.

Each client lives through 18 months twice, once with the private service and once with the public one,
by the same draws of luck, so that the effect on every client is known. The register that a researcher
would hold shows only the life that belongs to the client's provider.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from impact.datasets import lives

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Codes = NDArray[np.int8]

MONTHS = 18
STATES = ("unemployed", "job", "education", "other lasting solution")
EXITS = STATES[1:]
EDUCATION = ("basic", "secondary", "tertiary")
FIRST_MONTH = np.datetime64("2019-11", "M")  # enrolment ran from here for 13 months

RETURN = (0.045, 0.03, 0.0)  # a month's probability of unemployment again, from each of EXITS
TRAITS, LUCK = 9, 2 * MONTHS  # draws a client: traits, enrolment and joining; exits and returns by month


class People(NamedTuple):
    """What is known of each client at enrolment, as arrays of one length."""

    age: Floats
    woman: Floats
    education: Codes
    foreign_born: Floats
    health_limit: Floats
    support_days: Floats
    months_worked: Floats
    enrolment: NDArray[np.int64]  # months since FIRST_MONTH


@dataclass(frozen=True)
class Helsinki:
    """The simulated register and the truth behind it.

    Attributes
    ----------
    clients : DataFrame, one row a client
        ``client`` (number), ``age`` (years), ``woman``, ``education`` (basic, secondary, tertiary),
        ``foreign_born``, ``health_limit`` (0 or 1), ``support_days`` (days on labour market support),
        ``months_worked`` (of the 60 before enrolment), ``enrolment_month`` (its first day; time zero),
        ``provider`` (private or public); ``months`` to the first exit (18 if none) and ``exit`` (0 none
        within 18 months, 1 job, 2 education, 3 other lasting solution); ``state_1`` to ``state_18`` and
        ``employed_1`` to ``employed_18`` at the end of each month; ``employed_12m``, the same as
        ``employed_12``.
    truth : DataFrame
        The effect on the clients of private providers, had they been served publicly instead:
        one row per ``outcome``, ``cause``, ``time`` (months since enrolment) and ``basis``, with
        ``with_service``, ``without_service`` and ``difference``.

        Outcomes are ``months`` (probability of having left by this ``cause`` first; ``any`` of them),
        ``employed`` (probability of being in a job), ``months_employed`` and ``months_unemployed``
        (mean months in that state so far). The basis is ``realised``, with the luck these clients had,
        or ``expected``, over all the luck that clients with these characteristics may have. An estimate
        from the register should be near the expected effect; the two differ by chance alone.
    seed : int
        The seed that gives these very tables again.
    """

    clients: pd.DataFrame = field(repr=False)
    truth: pd.DataFrame = field(repr=False)
    seed: int

    @cached_property
    def states(self) -> pd.DataFrame:
        """A long table: ``client``, ``month`` since enrolment, ``calendar_month``, ``state`` at its end."""
        month = np.tile(np.arange(1, MONTHS + 1), len(self.clients))
        enrolled = self.clients["enrolment_month"].to_numpy().astype("datetime64[M]")
        return pd.DataFrame(
            {
                "client": np.repeat(self.clients["client"].to_numpy(), MONTHS),
                "month": month,
                "calendar_month": (np.repeat(enrolled, MONTHS) + (month - 1)).astype("datetime64[s]"),
                "state": self.clients[[f"state_{m}" for m in range(1, MONTHS + 1)]].to_numpy().ravel(),
            }
        )

    def effect(self, outcome: str, *, cause: str = "", time: int = 12, basis: str = "expected") -> float:
        """One true effect of the private service on its clients, from :attr:`truth`."""
        rows = self.truth[
            (self.truth["outcome"] == outcome)
            & (self.truth["cause"] == cause)
            & (self.truth["time"] == time)
            & (self.truth["basis"] == basis)
        ]
        if len(rows) != 1:
            raise ValueError(
                f"The truth has {len(rows)} rows for outcome {outcome!r}, cause {cause!r}, time {time} and "
                f"basis {basis!r}: name one of each from the columns of `truth`."
            )
        return float(rows["difference"].iloc[0])

    def describe(self) -> str:
        """What this is, in words."""
        private = int((self.clients["provider"] == "private").sum())
        rows = [
            f"  {cause}: {100 * self.effect('months', cause=cause):+.1f} percentage points" for cause in EXITS
        ]
        return "\n".join(
            [
                f"SIMULATED data (seed {self.seed}): no person in it exists, "
                "and it says nothing about the real pilot.",
                f"{len(self.clients):,} clients, {private:,} of them served by private providers, "
                f"followed for {MONTHS} months from enrolment.",
                "True effect of the private service on its clients, first exit within 12 months:",
                *rows,
            ]
        )


def helsinki(seed: int = 1, *, clients: int = 9_000, treated: int = 750, ineligible: int = 400) -> Helsinki:
    """Simulate the register of a pilot of private employment services, with its truth.

    Every month an unemployed client may leave to a job, to education or to another lasting solution
    (a pension, rehabilitation), by a multinomial logit in the client's characteristics, the calendar
    (the epidemic of 2020-2021) and, with the private service, its effect: fewer jobs in the first three
    months and more of every exit afterwards. Jobs and studies may end. Those who volunteer for the
    private service are better placed to begin with, all of it by recorded characteristics, so that
    adjusting for them is enough, and the naive comparison is wrong.

    Parameters
    ----------
    seed : int
        Same seed, same bytes, whatever the version of numpy: only the raw stream of PCG64 is drawn on.
    clients : int
        Eligible clients: aged 30 or over, with more than 300 days on labour market support.
    treated : int
        How many of them are served by private providers.
    ineligible : int
        Further clients of the public service who are under 30 or have at most 300 days, added at the
        end of the table for a study's eligibility rules to find. The other rows and the truth do not
        depend on how many there are.

    Returns
    -------
    Helsinki

    Raises
    ------
    ValueError
        If ``treated`` is not between 1 and ``clients`` less one, or ``ineligible`` is negative.

    Examples
    --------
    >>> from impact.datasets import helsinki
    >>> city = helsinki(seed=1)
    >>> city.clients["provider"].value_counts().to_dict()
    {'public': 8650, 'private': 750}
    """
    if not 0 < treated < clients:
        raise ValueError(
            f"Asked for {treated} treated of {clients} clients: name at least 1, and fewer than all."
        )
    if ineligible < 0:
        raise ValueError(f"Asked for {ineligible} ineligible clients: name 0 or more.")

    eligible_seed, ineligible_seed = np.random.SeedSequence(seed).spawn(2)
    draws = lives.uniform(eligible_seed, (clients, TRAITS + LUCK))
    people = _people(draws)
    private = _volunteers(people, draws[:, TRAITS - 1], treated)
    leave = [_leave(people, service=service) for service in (True, False)]
    states = [lives.lived(probability, RETURN, draws[:, TRAITS:]) for probability in leave]

    truth = _truth(
        realised=[lives.realised(codes[private], len(EXITS)) for codes in states],
        expected=[lives.expected(probability[private], RETURN) for probability in leave],
    )
    register = _register(people, np.where(private[:, None], *states), private)
    if ineligible:
        others = _ineligible_register(ineligible_seed, ineligible, first=clients + 1)
        register = pd.concat([register, others], ignore_index=True)
    return Helsinki(clients=register, truth=truth, seed=seed)


def _people(draws: Floats) -> People:
    """Clients who meet the conditions of the pilot."""
    from scipy.special import gammaincinv, ndtri

    return People(
        age=np.rint(np.clip(46 + 9 * ndtri(draws[:, 0]), 30, 62)),
        woman=(draws[:, 1] < 0.43).astype(float),
        education=np.searchsorted([0.38, 0.80], draws[:, 2], side="right").astype(np.int8),
        foreign_born=(draws[:, 3] < 0.33).astype(float),
        health_limit=(draws[:, 4] < 0.30).astype(float),
        support_days=np.ceil(300 + 520 * gammaincinv(1.3, draws[:, 5])),
        months_worked=np.rint(np.minimum(24, -2.2 * np.log1p(-draws[:, 6]))),
        enrolment=np.floor(13 * draws[:, 7]).astype(np.int64),
    )


def _volunteers(people: People, draw: Floats, treated: int) -> NDArray[np.bool_]:
    """Who joins the private service: the ``treated`` clients who want it most (a logit choice)."""
    wish = (
        0.05 * people.months_worked
        - 0.45 * people.health_limit
        + 0.25 * (people.education == 2)
        - 0.015 * (people.age - 46)
        + 0.15 * people.woman
        - 0.00025 * (people.support_days - 1000)
        - np.log(-np.log(draw))
    )
    joins = np.zeros(len(wish), dtype=bool)
    joins[np.argsort(-wish, kind="stable")[:treated]] = True
    return joins


def _leave(people: People, *, service: bool) -> Floats:
    """A month's probability of each exit for a client then unemployed: (client, month, exit)."""
    lasting = np.stack(  # log-odds of each exit against staying, apart from the calendar and the service
        [
            -4.30
            + 0.05 * people.months_worked
            - 0.022 * (people.age - 46)
            + 0.30 * (people.education == 2)
            - 0.20 * (people.education == 0)
            - 0.25 * people.foreign_born
            - 0.75 * people.health_limit
            - 0.00035 * (people.support_days - 1000),
            -5.55 - 0.05 * (people.age - 46) + 0.35 * people.foreign_born,
            -6.10 + 1.10 * people.health_limit + 0.05 * (people.age - 46),
        ],
        axis=1,
    )
    by_month = _calendar() + _service() if service else _calendar()
    return lives.probabilities(lasting[:, None, :] + by_month[people.enrolment])


def _calendar() -> Floats:
    """Change in log-odds by the epidemic: (month of enrolment, month since enrolment, exit)."""
    month = np.arange(13)[:, None] + np.arange(MONTHS)[None, :]  # since November 2019
    effect = np.zeros((13, MONTHS, len(EXITS)))
    effect[:, :, 0] = np.select([month < 5, month < 8, month < 20], [0.0, -0.60, -0.25], 0.0)
    return effect


def _service() -> Floats:
    """Change in log-odds by the private service: (month since enrolment, exit).

    Jobs are fewer while the client is in the service and more afterwards.
    """
    month = np.arange(1, MONTHS + 1)
    return np.stack(
        [
            np.where(month <= 3, -0.25, 0.34),
            np.where(month <= 3, 0.10, 0.45),
            np.where(month <= 2, 0.00, 0.90),
        ],
        axis=1,
    )


def _truth(**bases: list[lives.Lives]) -> pd.DataFrame:
    """The table of :attr:`Helsinki.truth`, from lives with and without the service on each basis."""
    tables = []
    for basis, (with_service, without_service) in bases.items():
        without = _means(without_service)
        for (outcome, cause), mean in _means(with_service).items():
            labels = {"outcome": outcome, "cause": cause, "time": np.arange(1, MONTHS + 1), "basis": basis}
            values = {"with_service": mean, "without_service": without[outcome, cause]}
            tables.append(pd.DataFrame({**labels, **values, "difference": mean - without[outcome, cause]}))
    return pd.concat(tables, ignore_index=True)


def _means(people: lives.Lives) -> dict[tuple[str, str], Floats]:
    """Means over people, month by month, of each outcome and cause."""
    exited, present = people.exited.mean(axis=0), people.present.mean(axis=0)
    return {
        **{("months", cause): exited[:, k] for k, cause in enumerate(EXITS)},
        ("months", "any"): exited.sum(axis=1),
        ("employed", ""): present[:, 1],
        ("months_employed", ""): present[:, 1].cumsum(),
        ("months_unemployed", ""): present[:, 0].cumsum(),
    }


def _register(people: People, states: Codes, private: NDArray[np.bool_], first: int = 1) -> pd.DataFrame:
    """The table that a researcher would hold."""
    n = len(private)
    months, exit = lives.first_exit(states)
    columns: dict[str, object] = {
        "client": np.arange(first, first + n),
        "age": people.age.astype(np.int64),
        "woman": people.woman.astype(np.int64),
        "education": np.array(EDUCATION, dtype=object)[people.education],
        "foreign_born": people.foreign_born.astype(np.int64),
        "health_limit": people.health_limit.astype(np.int64),
        "support_days": people.support_days.astype(np.int64),
        "months_worked": people.months_worked.astype(np.int64),
        "enrolment_month": (FIRST_MONTH + people.enrolment).astype("datetime64[s]"),
        "provider": np.where(private, "private", "public").astype(object),
        "months": months,
        "exit": exit.astype(np.int64),
    }
    words = np.array(STATES, dtype=object)[states]
    employed = (states == 1).astype(np.int64)
    columns |= {f"state_{m + 1}": words[:, m] for m in range(MONTHS)}
    columns |= {f"employed_{m + 1}": employed[:, m] for m in range(MONTHS)}
    columns["employed_12m"] = employed[:, 11]
    return pd.DataFrame(columns)


def _ineligible_register(seed: np.random.SeedSequence, n: int, *, first: int) -> pd.DataFrame:
    """Clients of the public service whom the pilot did not admit: in turn too young, and too few days."""
    draws = lives.uniform(seed, (n, TRAITS + LUCK))
    people = _people(draws)
    young = np.arange(n) % 2 == 0
    people = people._replace(
        age=np.where(young, 18 + np.floor((people.age - 30) * 12 / 33), people.age),  # 18 to 29
        support_days=np.where(young, people.support_days, 1 + (people.support_days - 301) % 300),  # 1 to 300
    )
    states = lives.lived(_leave(people, service=False), RETURN, draws[:, TRAITS:])
    return _register(people, states, np.zeros(n, dtype=bool), first=first)
