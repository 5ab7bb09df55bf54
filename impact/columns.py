"""Columns of a table as arrays, or a sentence that says why not.

No message holds a value of a row: names of columns, counts, and what to do. The one
exception are codes of arms and exits that at least ten rows share.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

Array = np.ndarray
DAYS = {"days": 1.0, "weeks": 7.0, "months": 365.25 / 12, "years": 365.25}
LARGEST = 1e100  # beyond it squares overflow; no register holds such a number
_ZONE = r"(?<=\d)\s*(?:Z|[+-]\d\d:?\d\d)$"


def listed(names: Iterable[Any]) -> str:
    """Names in backticks, as a list in a sentence."""
    return ", ".join(f"`{n}`" for n in names)


# ---- kinds ------------------------------------------------------------------------------------


def is_text(column: pd.Series) -> bool:
    """Whether a column is a factor by nature: text, or categories that are text."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        return not _is_number(column.cat.categories.dtype)
    if pd.api.types.is_object_dtype(column.dtype):
        return bool(column.dropna().map(lambda v: isinstance(v, str)).any())
    return pd.api.types.is_string_dtype(column.dtype)


def is_date(column: pd.Series) -> bool:
    """Whether a column holds dates as such, in whichever type."""
    arrow = str(column.dtype).startswith(("date32", "date64", "timestamp"))
    if arrow or pd.api.types.is_datetime64_any_dtype(column.dtype):
        return True
    if not pd.api.types.is_object_dtype(column.dtype):
        return False
    filled = column.dropna()
    return bool(len(filled)) and bool(filled.map(lambda v: isinstance(v, datetime.date)).all())


def kind(column: pd.Series) -> str:
    """What a column holds, in words."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        return f"categories of {kind(pd.Series(column.cat.categories))}"
    if is_date(column):
        return "dates"
    if is_text(column):
        return "text"
    if pd.api.types.is_bool_dtype(column.dtype):
        return "True and False"
    return "numbers" if _is_number(column.dtype) else "values of several types"


def _is_number(dtype: Any) -> bool:
    types = pd.api.types
    return types.is_numeric_dtype(dtype) and not types.is_complex_dtype(dtype) or types.is_bool_dtype(dtype)


# ---- numbers ----------------------------------------------------------------------------------


def numbers(column: pd.Series, name: str, role: str, *, finite: bool = True) -> Array:
    """A column as float, with NaN where it is missing; text, dates and infinities are refused."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.astype(column.cat.categories.dtype if not column.isna().any() else object)
    if is_date(column) or like_dates(column):
        raise ValueError(
            f"The {role} `{name}` holds dates, and a number is needed: use the time since a date that means "
            "something, in days or months."
        )
    if pd.api.types.is_timedelta64_dtype(column.dtype) or str(column.dtype).startswith("duration"):
        raise ValueError(f"The {role} `{name}` holds time differences: divide them by one day, week or month first.")
    if not _is_number(column.dtype):
        column = _numbers_from_objects(column, name, role)
    values = column.to_numpy(dtype=float, na_value=np.nan)
    if not finite or (len(values) and -LARGEST <= values.min() and values.max() <= LARGEST):
        return values
    infinite = int((np.abs(values) > LARGEST).sum())
    if infinite:
        raise ValueError(
            f"The {role} `{name}` is infinite, or beyond {LARGEST:.0e}, in {infinite} of {len(values)} rows: correct "
            "or remove these values."
        )
    return values


def _numbers_from_objects(column: pd.Series, name: str, role: str) -> pd.Series:
    filled = column[column.notna()]
    text = filled.map(lambda v: isinstance(v, str | bytes)).to_numpy(dtype=bool)
    if not text.any():
        return _floats(column, name, role)
    count = int(text.sum())
    words = count - like_numbers(filled[text])
    if words:
        others = f" beside {count - words} numbers stored as text" if words < count else ""
        raise ValueError(
            f"The {role} `{name}` holds words in {words} of {len(column)} rows{others}, and a number is needed: "
            "recode it to numbers, and leave the cell empty where there is none."
        )
    comma = filled[text].astype(str).str.contains(",", regex=False).any()
    how = "decimal commas: read the file with `decimal=','`" if comma else "convert it with pandas.to_numeric"
    codes = f"; if they are codes, write `C({name})`" if role == "covariate" else ""
    raise ValueError(
        f"The {role} `{name}` holds numbers stored as text in {count} of {len(column)} rows: {how}{codes}."
    )


def _floats(column: pd.Series, name: str, role: str) -> pd.Series:
    """Decimals, fractions and the like as float."""

    def number(value: Any) -> float:
        try:
            return float(value)
        except (TypeError, ValueError, OverflowError):
            return np.inf

    missing = column.isna().to_numpy(dtype=bool)
    values = [np.nan if gone else number(v) for v, gone in zip(column, missing, strict=True)]
    wrong = sum(v == np.inf for v in values)
    if wrong:
        raise ValueError(
            f"The {role} `{name}` holds something other than numbers in {wrong} of {len(column)} rows: recode it to "
            "numbers."
        )
    return pd.Series(values, index=column.index, dtype=float)


def read_as_numbers(text: pd.Series) -> Array:
    """Which texts read as numbers, with a decimal point or comma."""
    plain = text.astype(str).str.strip().str.replace(",", ".", regex=False).str.replace("−", "-", regex=False)
    return np.asarray(pd.to_numeric(plain, errors="coerce").notna(), bool)


def like_numbers(text: pd.Series) -> int:
    """How many texts read as numbers."""
    return int(read_as_numbers(text).sum())


def like_dates(column: pd.Series) -> bool:
    """Whether a column is text that reads as dates such as 2020-01-31."""
    if not is_text(column) or isinstance(column.dtype, pd.CategoricalDtype):
        return False
    first = column.dropna().head(50).astype("string")
    return bool(len(first)) and bool(first.str.match(r"\d{4}-\d\d-\d\d(?:$|[ T])").all())


# ---- codes ------------------------------------------------------------------------------------


def text(level: Any) -> str:
    """A level of a factor in words: a whole number without its ``.0``."""
    return f"{level:.15g}" if isinstance(level, float | np.floating) else str(level)


def coded(column: pd.Series) -> tuple[Array, list[Any]]:
    """The values of a factor as places among those that occur; -1 where missing."""
    places, values = pd.factorize(column)
    return places, list(values)


def equal(column: pd.Series, value: Any) -> Array:
    """Which rows hold a value; missing is not equal to anything, and text is not equal to a number."""
    try:
        same = column == value
    except (TypeError, ValueError, NotImplementedError):  # Arrow types refuse to be compared with another type
        return np.zeros(len(column), bool)
    return same.fillna(False).to_numpy(dtype=bool)


def common_codes(column: pd.Series, at_least: int = 10) -> str:
    """The codes that enough rows share to be named in a message."""
    counts = column.value_counts()
    counts = counts[counts > 0]
    shown = [f"{text(code)[:30]} ({n})" for code, n in counts.items() if n >= at_least][:6]
    rest = len(counts) - len(shown)
    return (", ".join(shown) or "none that 10 rows share") + (f" and {rest} more" if rest and shown else "")


# ---- dates ------------------------------------------------------------------------------------


def dates(column: pd.Series, name: str) -> pd.Series:
    """A column of dates as clocks on the wall showed them, without time zone; of text, only ISO dates are read."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.astype(object)
    if pd.api.types.is_datetime64_any_dtype(column.dtype):
        wall = column.dt.tz_localize(None) if isinstance(column.dtype, pd.DatetimeTZDtype) else column
        return wall.astype("datetime64[us]")  # nanoseconds end in 2262, and registers in 9999
    if _is_number(column.dtype):
        raise ValueError(f"`{name}` holds numbers, and a date is needed: convert it to dates first.")
    wall = column.astype("string").str.replace(_ZONE, "", regex=True)
    read = pd.to_datetime(wall, format="ISO8601", errors="coerce").astype("datetime64[us]")
    late = (read.isna() & wall.str.match(r"\d{4}-\d\d-\d\d").fillna(False)).to_numpy(dtype=bool)
    if late.any():  # older pandas reads text into nanoseconds, which end in 2262
        read[late] = np.asarray([_date(text) for text in wall[late]], dtype="datetime64[us]")
    wrong = int((read.isna() & column.notna()).sum())
    if wrong:
        raise ValueError(
            f"`{name}` holds text that is not a date like 2020-01-31 in {wrong} of {len(column)} rows: "
            "convert it, for example with pandas.to_datetime(…, format='%d.%m.%Y')."
        )
    return read


def _date(text: str) -> np.datetime64:
    try:
        return np.datetime64(text, "us")
    except ValueError:
        return np.datetime64("NaT")


def elapsed(end: pd.Series, start: pd.Series, unit: str) -> Array:
    """Time from one date to another, in days, weeks, months of 365.25/12 days, or years."""
    # By numpy: older pandas counts in nanoseconds, and wraps around after 292 years.
    time = end.to_numpy(dtype="datetime64[us]") - start.to_numpy(dtype="datetime64[us]")
    return time / np.timedelta64(1, "D") / DAYS[unit]


def periods(column: pd.Series, name: str, origin: pd.Timestamp | None = None) -> tuple[Array, pd.Timestamp | None]:
    """Calendar periods as numbers. Dates become whole months, counted so that the first date is month 1."""
    iso = is_text(column) and not like_numbers(column.dropna())
    if not (iso or is_date(column)):
        return numbers(column, name, "period"), None
    when = dates(column, name)
    origin = when.min() if origin is None else origin
    months = (when.dt.year - origin.year) * 12 + (when.dt.month - origin.month) + 1
    return months.to_numpy(dtype=float, na_value=np.nan), origin
