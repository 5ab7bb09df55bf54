"""An event study as a check reads it: time since adoption, and the period that everything is measured from."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from impact.estimate import Estimate

Array = np.ndarray


def ages(path: Estimate) -> Array:
    """Time since adoption of each value."""
    columns = set(path.index.columns)
    if "time" not in columns or "group" in columns:
        raise ValueError(
            f"Trends are judged on differences over time, and “{path.estimand}” has the labels "
            f"{', '.join(f'`{c}`' for c in path.index.columns)}: give the path of an event study."
        )
    time = path.index["time"].to_numpy(float)
    return time - path.index["adoption_group"].to_numpy(float) if "adoption_group" in columns else time


class Path(NamedTuple):
    """The values of one event study in order of time: their ages, places in the estimate, and the reference period.

    ``reference`` is NaN where no value lies before adoption, so that trends before it are not seen.
    """

    age: Array
    place: Array
    reference: float

    @property
    def before(self) -> int:
        """How many values lie before the reference period."""
        return int((self.age < self.reference).sum())

    @property
    def after(self) -> Array:
        """Ages of the values after the reference period."""
        return self.age[self.age > self.reference] if self.before else self.age


def universal(path: Estimate) -> Path:
    """One event study, all measured from one period, which is left out of it or zero by construction."""
    age = ages(path)
    fixed = (path.std_error == 0) & (path.value == 0) & (age < 0)
    place = np.flatnonzero(~fixed)
    place = place[np.argsort(age[place], kind="stable")]
    age = age[place]
    twice = len(age) - len(np.unique(age))
    if twice:
        raise ValueError(
            f"{twice} of {len(age)} values share their time since adoption with one of another outcome or group: "
            "choose one event study by `where` first."
        )
    lost = int((~np.isfinite(path.std_error[place])).sum())
    if lost:
        raise ValueError(
            f"{lost} of {len(age)} values have no standard error, so how far trends diverge by chance is not known: "
            "leave those times out by `where`, or make clusters finer."
        )
    if not (age >= 0).any():
        raise ValueError(f"None of the {len(age)} effects lies after adoption: give a path that goes on after it.")
    if not (age < 0).any():
        return Path(age, place, np.nan)
    return Path(age, place, _reference(age))


def _reference(age: Array) -> float:
    """The one period before adoption without a value."""
    if len(age) == 2 and age[0] < -1 and age[1] == 0:
        return float(age.mean())
    step = float(np.diff(age).min(initial=np.inf)) if len(age) > 1 else 1.0
    full = age[0] + step * np.arange(int(round((age[-1] - age[0]) / step)) + 1)
    gaps = full[~np.isclose(full[:, None], age).any(axis=1)]
    if len(full) - len(gaps) != len(age) or len(gaps) > 1 or (len(gaps) == 1 and gaps[0] >= 0):
        raise ValueError(
            f"The {len(age)} times since adoption are not evenly spaced: between the first and the last, {len(gaps)} "
            "have no value, where only the reference period before adoption should have none, so changes from one to "
            "the next would mean different things. Choose times without gaps by `where`."
        )
    if not len(gaps):
        raise ValueError(
            f"All {len(age)} times since adoption from {age[0]:g} on have a value, also the period from which the "
            "others should be measured: those before adoption are short differences, each from the period before. Give "
            "the event study with base='universal'."
        )
    return float(gaps[0])


def named(path: Estimate, age: float) -> str:
    """The effect at a time since adoption, in the path's own word for periods."""
    time = path.axes.get("time", "")
    time = time if "since" in time else "periods since adoption"
    return f"the effect at {age:g} {time.replace('s since', ' since', 1) if age == 1 else time}"


class Steady(NamedTuple):
    """A divergence of one a period, as the values of a path see it.

    ``early`` are the places of the k effects before adoption, and ``before`` (k,) what each would be: the distance from
    the reference period, or one period where each is measured from the period before. ``reach`` is how much it
    adds to the last effect, at age ``last``, which has its ``place`` unless several values have that age.
    """

    early: Array
    before: Array
    last: float
    reach: float
    place: int | None
    words: str


def steady(path: Estimate, early: Array, anticipation: float) -> Steady | None:
    """How a steady divergence shows in a path.

    None where errors are not known, outcomes have different units, or effects before adoption are measured from
    several periods at once, of which the path says no more than that.
    """
    if path.options.get("measured_from") == "all earlier periods":
        return None
    if "outcome" in path.index and path.index["outcome"].nunique() > 1:
        return None
    if not len(early) or not np.isfinite(path.vcov[np.ix_(early, early)]).all():
        return None
    age = ages(path)
    step = float(np.min(np.diff(np.unique(age)), initial=np.inf))
    step = step if np.isfinite(step) else 1.0
    start = -anticipation - step
    # With the period before adoption among the effects, each is a change over one period; without it,
    # all are measured from that period.
    short = np.isclose(age[early], start).any()
    before = np.full(len(early), step) if short else age[early] - start
    last = float(age.max())
    latest = np.flatnonzero(age == last)
    place = int(latest[0]) if len(latest) == 1 and np.isfinite(path.std_error[latest[0]]) else None
    return Steady(early, before, last, last - start, place, named(path, last))
