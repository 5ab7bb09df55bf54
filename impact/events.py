"""When it happened: durations, exits and first treatment, read from numbers or dates."""

from __future__ import annotations

import numpy as np
import pandas as pd

from impact import columns as col
from impact.sample import Durations
from impact.study import Event, Study

Array = np.ndarray
LONGEST = 100  # years between two dates of one person's record


def durations(event: Event, rows: pd.DataFrame, notes: list[str]) -> Durations:
    """The times to an event, with the exits numbered in the study's order and 0 for censored."""
    time = _time(event, event.duration, rows)
    entry = None if event.entry is None else _time(event, event.entry, rows)
    n, negative, zero = len(time), int((time < 0).sum()), int((time == 0).sum())
    if negative:
        what = f"`{event.duration}` lies before `{event.since}`" if event.since else f"`{event.duration}` is negative"
        raise ValueError(
            f"{what} for {negative} of {n} units: nobody leaves before time zero; correct these rows or exclude them "
            "by an eligibility rule."
        )
    if zero:
        notes.append(f"`{event.duration}` is zero for {zero} of {n} units: they leave at time zero.")
    if entry is not None and (entry >= time).any():
        raise ValueError(
            f"`{event.entry}` is not before `{event.duration}` for {int((entry >= time).sum())} of {n} units: a unit "
            "must come under observation before it leaves."
        )
    return Durations(time, _exits(event, rows[event.status], notes), entry)


def _exits(event: Event, column: pd.Series, notes: list[str]) -> Array:
    n = len(column)
    status = np.full(n, -1)
    for k, code in enumerate((event.censored, *event.causes)):
        status[col.equal(column, code)] = k
    unknown = int((status < 0).sum())
    if unknown:
        raise ValueError(
            f"`{event.status}` ({col.kind(column)}) has codes that the study does not name for {unknown} of {n} "
            f"units; codes found, with counts: {col.common_codes(column)}. Name every code in `causes`, or as "
            "`censored`, and write text in quotes and numbers without."
        )
    if not (status > 0).any():
        raise ValueError(
            f"`{event.status}` records no event for any of {n} units: there is nothing to estimate; check the codes "
            "in `causes`."
        )
    for k, word in enumerate(event.causes.values(), start=1):
        if not (status == k).any():
            notes.append(f"Nobody of {n} units has the exit “{word}” in `{event.status}`.")
    return status


def _time(event: Event, name: str, rows: pd.DataFrame) -> Array:
    if event.since is None:
        if col.is_date(rows[name]) or col.like_dates(rows[name]):
            raise ValueError(
                f"The duration `{name}` holds dates: name the column with the date of time zero as `since` in the "
                "Event."
            )
        return col.numbers(rows[name], name, "duration")
    start, end = rows[event.since], rows[name]
    if all(isinstance(c.dtype, pd.DatetimeTZDtype) for c in (start, end)):
        end = end.dt.tz_convert(start.dt.tz)
    time = col.elapsed(col.dates(end, name), col.dates(start, event.since), event.unit)
    endless = int((time > LONGEST * col.DAYS["years"] / col.DAYS[event.unit]).sum())
    if endless:
        raise ValueError(
            f"`{name}` lies more than {LONGEST} years after `{event.since}` for {endless} of {len(time)} units: a "
            "date such as 9999-12-31 stands for an open end, so write the end of observation in its place."
        )
    return time


def ever(column: pd.Series, never: float | None) -> Array:
    """Who is ever treated: an empty cell, infinity and the study's code mean never."""
    known = column.notna().to_numpy()
    if not pd.api.types.is_numeric_dtype(column.dtype):
        return known
    values = column.to_numpy(dtype=float, na_value=np.nan)
    return known & np.isfinite(values) & (values != (np.nan if never is None else never))


def never_coded(study: Study, column: pd.Series, first: float, notes: list[str]) -> float | None:
    """The code that means never treated: the study's, or 0 where it lies before the first period."""
    if study.never is not None or not pd.api.types.is_numeric_dtype(column.dtype) or not first > 0:
        return study.never
    zero = int((column.to_numpy(dtype=float, na_value=np.nan) == 0).sum())
    if not zero:
        return None
    notes.append(
        f"`{study.adoption}` is 0 for {zero} of {len(column)} units, before the first period observed: they are "
        "taken as never treated, like those without a value."
    )
    return 0.0


def adoption(
    study: Study,
    column: pd.Series,
    periods: Array,
    origin: pd.Timestamp | None,
    notes: list[str],
    never: float | None,
) -> Array:
    """When each unit is first treated, in the numbers of the periods; infinity for never."""
    name, n = str(study.adoption), len(column)
    if origin is not None and not (col.is_date(column) or col.is_text(column)) and column.notna().any():
        raise ValueError(
            f"`{name}` holds numbers and the period `{study.period}` dates: give both as dates, or both as numbers."
        )
    if origin is not None:
        values, _ = col.periods(column, name, origin)
    else:
        values = col.numbers(column, name, "adoption period", finite=False)
    values = np.where(ever(pd.Series(values), never), values, np.inf)
    early, late = int((values <= periods.min()).sum()), int((np.isfinite(values) & (values > periods.max())).sum())
    if not (values <= periods.max()).any():
        raise ValueError(
            f"Nobody of {n} units is treated by `{name}` within the periods observed ({late} later, {n - late} "
            "never): check the column."
        )
    if early:
        notes.append(f"{early} of {n} units are treated by `{name}` from the first period on: nothing is seen before.")
    if late:
        notes.append(f"{late} of {n} units are first treated by `{name}` after the last period observed.")
    return values
