"""The forms in which people put data to a study, each with clean data and the roles of its columns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
import pandas as pd

from impact import Event, Outcome, Study

SENTINEL = 987654.321
SENTINEL_UNIT = "SENTINEL-ID-77"
SENTINEL_TEXT = "SENTINEL-TEXT-88"


@dataclass(frozen=True, eq=False)
class Form:
    """A study with clean data, and which of its columns are which."""

    name: str
    words: str
    study: Study
    make: Callable[[], pd.DataFrame]
    covariate: str
    outcome: str
    arm: str
    """The column of the treatment, or of its start."""

    @property
    def data(self) -> pd.DataFrame:
        return _clean(self.make).copy()

    @property
    def staggered(self) -> bool:
        return self.study.adoption is not None


@cache
def _clean(make: Callable[[], pd.DataFrame]) -> pd.DataFrame:
    return make()


def people(n: int = 240) -> pd.DataFrame:
    r = np.random.default_rng(11)
    age, school = r.normal(45, 9, n).round(2), r.choice(["basic", "secondary", "tertiary"], n)
    treated = r.random(n) < 1 / (1 + np.exp(-(0.05 * (age - 45) - 0.3 * (school == "tertiary"))))
    pay = 20 + 0.2 * age + 1.5 * treated + r.normal(0, 3, n)
    first = np.column_stack([r.exponential(9, n), r.exponential(20, n)])
    last = r.uniform(4, 18, n)
    time = np.ceil(np.minimum(first.min(axis=1), last))
    start = pd.Timestamp("2020-01-15") + pd.to_timedelta(r.integers(0, 300, n), unit="D")
    return pd.DataFrame(
        {"id": [f"p{k:04d}" for k in range(n)], "arm": np.where(treated, 1, 0), "age": age, "school": school,
         "woman": r.integers(0, 2, n), "pay": pay,
         **{f"pay_{m}": pay + m * treated + r.normal(0, 1, n) for m in (1, 2, 3)},
         "months": time, "exit": np.where(first.min(axis=1) <= last, 1 + first.argmin(axis=1), 0), "start": start,
         "end": start + pd.to_timedelta(time * 30, unit="D"), "office": r.integers(0, 24, n),
         "weight": r.uniform(0.5, 2, n).round(3)}
    )  # fmt: skip


def regions(n: int = 60, periods: int = 4) -> pd.DataFrame:
    r = np.random.default_rng(12)
    x = r.normal(0, 1, n).round(3)
    g = r.choice([3.0, np.nan], n)
    t = np.arange(1, periods + 1)
    rate = r.normal(0, 1, (n, 1)) + 0.2 * t + 0.1 * t * x[:, None] + (t >= g[:, None]) + r.normal(0, 1, (n, periods))
    units = pd.DataFrame({"id": [f"r{k:03d}" for k in range(n)], "adopted": g, "age": x,
                          "weight": r.uniform(0.5, 2, n).round(3)})  # fmt: skip
    return (
        units.loc[np.repeat(np.arange(n), periods)]
        .reset_index(drop=True)
        .assign(period=np.tile(t, n), rate=rate.ravel())
    )


def regions_wide() -> pd.DataFrame:
    long = regions()
    wide = long.pivot(index="id", columns="period", values="rate").add_prefix("rate_").reset_index()
    return wide.merge(long.drop_duplicates("id")[["id", "adopted", "age", "weight"]], on="id").rename_axis(columns=None)


TRIAL = Study(title="Services", unit="id", treatment="arm", covariates=("age", "school"), outcomes=Outcome("pay"))
EXITS = {1: "job", 2: "education"}
FORMS = {
    form.name: form
    for form in (
        Form("once", "an outcome measured once", TRIAL, people, "age", "pay", "arm"),
        Form("wide", "an outcome with a column a period",
             TRIAL.revise(outcomes=Outcome("pay_{}", periods=(1, 2, 3))), people, "age", "pay_2", "arm"),
        Form("event", "a duration and an exit",
             TRIAL.revise(outcomes=Event("months", "exit", EXITS)), people, "age", "months", "arm"),
        Form("dates", "an exit between two dates",
             TRIAL.revise(outcomes=Event("end", "exit", EXITS, since="start")), people, "age", "end", "arm"),
        Form("long", "a row per unit and period, with a start of treatment",
             Study(title="Pilots", unit="id", period="period", adoption="adopted", covariates=("age",),
                   outcomes=Outcome("rate")), regions, "age", "rate", "adopted"),
        Form("starts", "a column a period, with a start of treatment",
             Study(title="Pilots", unit="id", adoption="adopted", covariates=("age",),
                   outcomes=Outcome("rate_{}", periods=(1, 2, 3, 4))), regions_wide, "age", "rate_2", "adopted"),
    )
}  # fmt: skip
