"""The table of bad input: each kind, what is done to clean data to get it, and what the package is to do.

``same``: the right answer, equal to the one on clean data. ``refused``: a sentence that names the column
or the count and says what to do; whoever does not need what is broken may answer as on clean data.
``noted``: an answer that differs from the clean one, and says so in a note, or a sentence.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from impact import Event, Outcome, Study
from tests.messages.forms import FORMS, SENTINEL, SENTINEL_TEXT, Form

Case = tuple[Study, Any]
ARMS = ("once", "wide", "event", "dates")
ALL = tuple(FORMS)


@dataclass(frozen=True, eq=False)
class Kind:
    """One kind of bad input. ``spoil`` gives the study and the table; ``clean``, what the answer must equal."""

    name: str
    does: str
    forms: tuple[str, ...]
    spoil: Callable[[Form], Case]
    clean: Callable[[Form], Case]
    asks: dict[str, Any]
    """Arguments for the functions that take them."""


def _as_it_is(form: Form) -> Case:
    return form.study, form.data


KINDS: list[Kind] = []


def kind(
    name: str, does: str, forms: tuple[str, ...] = ALL, clean: Callable[[Form], Case] = _as_it_is, **asks: Any
) -> Callable:
    def keep(spoil: Callable[[Form], Case]) -> Callable[[Form], Case]:
        KINDS.append(Kind(name, does, forms, spoil, clean, asks))
        return spoil

    return keep


def some(data: pd.DataFrame, k: int = 7) -> pd.Index:
    """Rows of k units."""
    return data.index[data["id"].isin(data["id"].unique()[5 : 5 + k])]


def put(data: pd.DataFrame, column: str, value: Any, k: int = 7) -> pd.DataFrame:
    """The table with a value in some rows of a column, in whichever type that takes."""
    values = data[column].astype(object).to_numpy(copy=True)
    values[some(data, k)] = value
    fits = isinstance(value, float) and pd.api.types.is_numeric_dtype(data[column].dtype)
    return data.assign(**{column: values.astype(float) if fits else pd.Series(values, index=data.index, dtype=object)})


def nat(data: pd.DataFrame, column: str, k: int = 7) -> pd.DataFrame:
    return data.assign(**{column: data[column].mask(data.index.isin(some(data, k)))})


# ---- missing and infinite -------------------------------------------------------------------------


@kind("a missing covariate", "refused")
def _(form):
    return form.study, nat(form.data, form.covariate)


def _without_some(form: Form) -> Case:
    data = form.data
    return form.study, data.drop(index=some(data)).reset_index(drop=True)


@kind("a missing covariate, with missing='drop'", "same", clean=_without_some)
def _(form):
    return form.study.revise(missing="drop"), nat(form.data, form.covariate)


@kind("an infinite covariate", "refused")
def _(form):
    return form.study, put(form.data, form.covariate, -np.inf)


@kind("a covariate beyond all measure", "refused")
def _(form):
    return form.study, put(form.data, form.covariate, 1e200)


@kind("a missing outcome", "refused")
def _(form):
    return form.study, nat(form.data, form.outcome)


@kind("a missing outcome, with missing='drop'", "same", clean=_without_some)
def _(form):
    return form.study.revise(missing="drop"), nat(form.data, form.outcome)


@kind("an infinite outcome or duration", "refused", tuple(f for f in ALL if f != "dates"))
def _(form):
    return form.study, put(form.data, form.outcome, np.inf)


@kind("a missing treatment", "refused", ARMS)
def _(form):
    return form.study, nat(form.data, form.arm)


@kind("a missing treatment, with missing='drop'", "same", ARMS, clean=_without_some)
def _(form):
    return form.study.revise(missing="drop"), nat(form.data, form.arm)


@kind("a missing unit", "refused")
def _(form):
    return form.study, nat(form.data, "id")


@kind("a missing exit", "refused", ("event", "dates"))
def _(form):
    return form.study, nat(form.data, "exit")


@kind("a missing weight", "refused")
def _(form):
    return form.study.revise(weights="weight"), nat(form.data, "weight")


@kind("a missing value in an eligibility rule", "noted")
def _(form):
    return form.study.revise(eligibility={"known": "extra != 3"}), nat(form.data.assign(extra=1.0), "extra")


# ---- treatment ----------------------------------------------------------------------------------------


@kind("one arm only", "refused")
def _(form):
    return form.study, form.data.assign(**{form.arm: np.nan if form.staggered else 1})


@kind("everybody treated from the start", "refused", ("long", "starts"))
def _(form):
    return form.study, form.data.assign(adopted=1.0)


@kind("one unit in an arm", "noted", ARMS)
def _(form):
    data = form.data
    return form.study, data.assign(arm=(data.index == 3).astype(int))


@kind("treated coded 1 and 2, which the study says", "same", ARMS)
def _(form):
    data = form.data
    return form.study.revise(treated=2, comparison=1), data.assign(arm=data["arm"] + 1)


@kind("treated coded 1 and 2, which the study does not say", "refused", ARMS)
def _(form):
    data = form.data
    return form.study, data.assign(arm=data["arm"] + 1)


@kind("treated as text, which the study says", "same", ARMS)
def _(form):
    data = form.data
    words = np.where(data["arm"] == 1, "private", "public")
    return form.study.revise(treated="private", comparison="public"), data.assign(arm=words)


@kind("treated as text, which the study does not say", "refused", ARMS)
def _(form):
    data = form.data
    return form.study, data.assign(arm=data["arm"].astype(str))


@kind("treated as True and False", "same", ARMS)
def _(form):
    data = form.data
    return form.study, data.assign(arm=data["arm"] == 1)


@kind("the treatment among the covariates", "refused")
def _(form):
    return form.study.revise(covariates=(*form.study.covariates, form.arm)), form.data


@kind("the outcome among the covariates", "refused", ("once", "event", "dates"))
def _(form):
    return form.study.revise(covariates=(*form.study.covariates, form.outcome)), form.data


@kind("a treatment that changes over time", "refused", ("long",))
def _(form):
    data = form.data
    return form.study, data.assign(adopted=data["period"].astype(float))


@kind("never treated coded 0, which the study does not say", "noted", ("long", "starts"))
def _(form):
    return form.study, form.data.fillna({"adopted": 0})


@kind("never treated coded 0, which the study says", "same", ("long", "starts"))
def _(form):
    return form.study.revise(never=0), form.data.fillna({"adopted": 0})


# ---- covariates ---------------------------------------------------------------------------------------


@kind("perfect separation", "noted", ARMS)
def _(form):
    data = form.data
    apart = data["arm"] * 10 + np.linspace(0, 1, len(data))
    return form.study.revise(covariates=(*form.study.covariates, "apart")), data.assign(apart=apart)


@kind("a level that one arm never has", "noted", ARMS)
def _(form):
    data = form.data
    rare = np.where((data["arm"] == 1) & (data["age"] > 52), "abroad", data["school"])
    return form.study, data.assign(school=rare)


@kind("a stratum without comparison units, to be matched exactly", "noted", ("once", "event"), exact="school")
def _(form):
    data = form.data
    alone = np.where((data["arm"] == 1) & (data["age"] > 55), "abroad", data["school"])
    return form.study, data.assign(school=alone)


def _no_two_alike(form: Form) -> Case:
    data = form.data
    return form.study, data.assign(age=data["age"] + np.arange(len(data)) / 1e4)


kind("nobody within the caliper", "refused", ("once", "event"), clean=_no_two_alike, caliper=1e-12)(_no_two_alike)


@kind("a constant covariate", "same")
def _(form):
    return form.study.revise(covariates=(*form.study.covariates, "one")), form.data.assign(one=3.5)


@kind("a covariate that follows from others", "same")
def _(form):
    data = form.data
    return form.study.revise(covariates=(*form.study.covariates, "sum")), data.assign(sum=2 * data[form.covariate] - 7)


@kind("a covariate twice under two names", "same")
def _(form):
    data = form.data
    return form.study.revise(covariates=(*form.study.covariates, "again")), data.assign(again=data[form.covariate])


@kind("two columns of one name", "refused")
def _(form):
    data = form.data
    return form.study, pd.concat([data, data[[form.covariate]]], axis=1)


@kind("a covariate as text", "refused")
def _(form):
    data = form.data
    return form.study, data.assign(**{form.covariate: data[form.covariate].astype(str)})


@kind("a covariate with decimal commas", "refused")
def _(form):
    data = form.data
    return form.study, data.assign(**{form.covariate: data[form.covariate].astype(str).str.replace(".", ",")})


@kind("a covariate of numbers and words", "refused")
def _(form):
    data = form.data
    text = data.assign(**{form.covariate: data[form.covariate].astype(str)})
    return form.study, put(text, form.covariate, SENTINEL_TEXT)


@kind("a covariate of dates", "refused", ARMS)
def _(form):
    return form.study.revise(covariates=("age", "start")), form.data


@kind("a covariate of lists", "refused")
def _(form):
    data = form.data
    return form.study, data.assign(**{form.covariate: pd.Series([[SENTINEL]] * len(data), dtype=object)})


@kind("a covariate of complex numbers", "refused")
def _(form):
    data = form.data
    return form.study, data.assign(**{form.covariate: data[form.covariate] + 1j})


@kind("the logarithm of a negative number", "refused")
def _(form):
    data = form.data
    return form.study.revise(covariates=("log(negative)",)), put(data.assign(negative=5.0), "negative", -SENTINEL)


@kind("a category of 5,000 levels", "refused", ("once",))
def _(form):
    data = pd.concat([form.data] * 42, ignore_index=True)
    many = [f"level {k % 5000}" for k in range(len(data))]
    return form.study.revise(covariates=("age", "many")), data.assign(id=np.arange(len(data)), many=many)


@kind("more columns than rows", "refused", ("once", "long"))
def _(form):
    data = form.data
    units = data["id"].nunique()
    r = np.random.default_rng(0)
    extra = pd.DataFrame(r.normal(size=(units, units)), index=data["id"].unique()).add_prefix("x")
    return form.study.revise(covariates=tuple(extra)), data.join(extra, on="id")


@kind("a level that nobody has", "same", ARMS)
def _(form):
    data = form.data
    levels = ["none", "basic", "secondary", "tertiary", "more"]
    return form.study, data.assign(school=pd.Categorical(data["school"], categories=levels))


def _scaled(factor: float, shift: float = 0.0) -> Callable[[Form], Case]:
    def spoil(form: Form) -> Case:
        data = form.data
        return form.study, data.assign(**{form.covariate: factor * data[form.covariate] + shift})

    return spoil


kind("a covariate on the scale 1e-9", "same")(_scaled(1e-9))
kind("a covariate on the scale 1e9", "same")(_scaled(1e9))
kind("a covariate 1e9 x + 1e12", "same")(_scaled(1e9, 1e12))


# ---- rows ----------------------------------------------------------------------------------------------


@kind("a unit twice", "refused")
def _(form):
    data = form.data
    return form.study, pd.concat([data, data.loc[some(data)]], ignore_index=True)


@kind("rows in another order", "same")
def _(form):
    return form.study, form.data.sample(frac=1, random_state=5)


@kind("an index that is repeated and out of line", "same")
def _(form):
    data = form.data
    return form.study, data.set_axis(np.arange(len(data))[::-1] // 3)


@kind("the unit as index", "refused")
def _(form):
    return form.study, form.data.set_index("id")


@kind("no rows", "refused")
def _(form):
    return form.study, form.data.head(0)


@kind("no table", "refused", ("once",))
def _(form):
    return form.study, "clients.csv"


@kind("four units", "noted", ARMS)
def _(form):
    return form.study, form.data.head(4).assign(arm=[1, 0, 1, 0])


@kind("a column that is not there", "refused")
def _(form):
    return form.study, form.data.drop(columns=form.covariate)


@kind("eligibility that leaves nobody", "refused")
def _(form):
    return form.study.revise(eligibility={"too old": f"{form.covariate} > 900"}), form.data


@kind("a rule that compares text with a number", "refused", ARMS)
def _(form):
    return form.study.revise(eligibility={"school": "school != 3"}), form.data


@kind("units not seen in every period", "refused", ("long",))
def _(form):
    data = form.data
    return form.study, data[~((data["period"] == 4) & data.index.isin(some(data)))]


@kind("units not seen in every period, with missing='drop'", "same", ("long",), clean=_without_some)
def _(form):
    data = form.data
    return form.study.revise(missing="drop"), data[~((data["period"] == 4) & data.index.isin(some(data)))]


# ---- outcomes and durations ---------------------------------------------------------------------------------


@kind("an outcome as text", "refused", tuple(f for f in ALL if f != "dates"))
def _(form):
    data = form.data
    return form.study, data.assign(**{form.outcome: data[form.outcome].astype(str)})


@kind("an outcome of words", "refused", tuple(f for f in ALL if f != "dates"))
def _(form):
    return form.study, put(form.data, form.outcome, SENTINEL_TEXT)


@kind("an outcome that is the same for all", "noted", ("once", "wide", "long", "starts"))
def _(form):
    columns = [c for c in form.data.columns if c.startswith(form.outcome.split("_")[0])]
    return form.study, form.data.assign(**dict.fromkeys(columns, 3.0))


@kind("a negative duration, or an exit before time zero", "refused", ("event", "dates"))
def _(form):
    if form.name == "event":
        return form.study, put(form.data, "months", -SENTINEL)
    data = form.data
    return form.study, data.assign(end=data["end"].mask(data.index.isin(some(data)), pd.Timestamp("1987-06-05")))


@kind("a duration of zero", "noted", ("event", "dates"))
def _(form):
    data = form.data
    zero = 0 if form.name == "event" else data["start"]
    return form.study, data.assign(**{form.outcome: data[form.outcome].mask(data.index.isin(some(data)), zero)})


@kind("the end of the year 9999 as an open end", "refused", ("dates",))
def _(form):
    data = form.data
    end = data["end"].astype("datetime64[s]")
    return form.study, data.assign(end=end.mask(data.index.isin(some(data)), np.datetime64("9999-12-31")))


@kind("exit codes that the study does not name", "refused", ("event", "dates"))
def _(form):
    return form.study, put(form.data, "exit", 7.0)


@kind("exit codes as text", "refused", ("event", "dates"))
def _(form):
    data = form.data
    return form.study, data.assign(exit=data["exit"].astype(str))


@kind("no events", "refused", ("event", "dates"))
def _(form):
    return form.study, form.data.assign(exit=0)


@kind("an exit that nobody takes", "noted", ("event", "dates"))
def _(form):
    data = form.data
    return form.study, data.assign(exit=data["exit"].replace(2, 1))


@kind("dates with a time zone", "same", ("dates",))
def _(form):
    data = form.data
    return form.study, data.assign(**{n: data[n].dt.tz_localize("Europe/Helsinki") for n in ("start", "end")})


@kind("dates as ISO text", "same", ("dates",))
def _(form):
    data = form.data
    return form.study, data.assign(**{n: data[n].dt.strftime("%Y-%m-%d") for n in ("start", "end")})


@kind("dates as other text", "refused", ("dates",))
def _(form):
    data = form.data
    return form.study, data.assign(end=data["end"].dt.strftime("%d.%m.%Y"))


@kind("dates without a time zero", "refused", ("dates",))
def _(form):
    return form.study.revise(outcomes=Event("end", "exit", {1: "job", 2: "education"})), form.data


@kind("periods as dates", "same", ("long",))
def _(form):
    data, first = form.data, pd.Timestamp("2020-01-01")
    month = {float(k): first + pd.DateOffset(months=k - 1) for k in range(1, 6)}
    return form.study, data.assign(period=data["period"].map(month), adopted=data["adopted"].map(month))


@kind("periods as dates and starts as numbers", "refused", ("long",))
def _(form):
    data = form.data
    day = pd.Timestamp("2020-01-01") + pd.to_timedelta(data["period"] * 31, unit="D")
    return form.study, data.assign(period=day)


# ---- weights and clusters --------------------------------------------------------------------------------------


@kind("a negative weight", "refused")
def _(form):
    return form.study.revise(weights="weight"), put(form.data, "weight", -SENTINEL)


@kind("weights of zero for an arm", "refused", ARMS)
def _(form):
    data = form.data
    return form.study.revise(weights="weight"), data.assign(weight=data["weight"] * data["arm"])


@kind("one cluster", "refused")
def _(form):
    return form.study.revise(cluster="all"), form.data.assign(all="everybody")


# ---- types and names ---------------------------------------------------------------------------------------------


@kind("nullable types", "same")
def _(form):
    return form.study, form.data.convert_dtypes()


@kind("types of Arrow", "same")
def _(form):
    return form.study, form.data.convert_dtypes(dtype_backend="pyarrow")


@kind("categorical types", "same")
def _(form):
    data = form.data
    names = [n for n in ("school", "exit", "arm", "id") if n in data]
    return form.study, data.assign(**{n: data[n].astype("category") for n in names})


@kind("decimals", "same")
def _(form):
    from decimal import Decimal

    data = form.data
    return form.study, data.assign(**{form.covariate: data[form.covariate].map(lambda v: Decimal(repr(v)))})


@kind("unicode, spaces and LaTeX in names", "same")
def _(form):
    data = form.data
    kept = ("rate_", "pay_")  # the columns of patterns
    odd = {n: f"{n} ä € $\\frac{{x}}{{_2}}$ 50% & <b> '1'" for n in data.columns if not n.startswith(kept)}
    if "school" in data:
        data = data.assign(school=data["school"] + " [T.ä] & $x_1$: <i>")

    def name(column: str | None) -> str | None:
        return odd.get(column, column) if column is not None else None

    def renamed(outcome: Outcome | Event) -> Outcome | Event:
        if isinstance(outcome, Event):
            return Event(name(outcome.duration), name(outcome.status), outcome.causes, since=name(outcome.since))
        return Outcome(name(outcome.column), periods=outcome.periods)

    study = form.study
    changes = {part: name(getattr(study, part)) for part in ("unit", "treatment", "adoption", "period")}
    covariates, outcomes = tuple(name(c) for c in study.covariates), tuple(renamed(o) for o in study.outcomes)
    return study.revise(**changes, covariates=covariates, outcomes=outcomes), data.rename(columns=odd)
