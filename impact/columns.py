"""Columns of a table as arrays, or a sentence that says why not.

No message holds a value of a row: names of columns, counts, and what to do. The one
exception are codes of arms and exits that at least ten rows share.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

Array = np.ndarray
DAYS = {"days": 1.0, "weeks": 7.0, "months": 365.25 / 12, "years": 365.25}


def names(data: Any) -> list[str]:
    """The columns of any dataframe."""
    if isinstance(data, pd.DataFrame):
        return list(data.columns)
    return list(_narwhal(data).collect_schema().names())


def select(data: Any, needed: Sequence[str]) -> pd.DataFrame:
    """The needed columns of any dataframe (pandas, polars, Arrow, DuckDB) as a pandas table of its own."""
    have = names(data)
    twice = sorted({str(n) for n in have if n in needed and have.count(n) > 1})
    if twice:
        raise ValueError(f"The data have more than one column named {listed(twice)}: rename or drop all but one.")
    missing = [n for n in needed if n not in have]
    if missing:
        raise KeyError(
            f"The study names columns that the data lack: {listed(missing)}. The data have {len(have)} columns: "
            f"{listed(map(str, have[:40]))}{' and more' if len(have) > 40 else ''}."
        )
    if isinstance(data, pd.DataFrame):
        table = data.loc[:, list(needed)].reset_index(drop=True)
    else:
        chosen = _narwhal(data).select(*needed)
        table = (chosen.collect() if hasattr(chosen, "collect") else chosen).to_pandas().reset_index(drop=True)
    if not len(table):
        raise ValueError("The data have 0 rows: check the file or the query that made them.")
    return table


def _narwhal(data: Any) -> Any:
    import narwhals.stable.v1 as nw

    try:
        return nw.from_native(data)
    except TypeError:
        raise TypeError(
            f"The data must be a dataframe (pandas, polars, Arrow, DuckDB), not {type(data).__name__}: "
            "read the file first, for example with impact.read."
        ) from None


def listed(names: Any) -> str:
    return ", ".join(f"`{n}`" for n in names)


def numbers(column: pd.Series, name: str, role: str) -> Array:
    """A column as float, with NaN where it is missing; text, dates and infinities are refused."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.astype(column.cat.categories.dtype)
    if pd.api.types.is_datetime64_any_dtype(column.dtype):
        raise ValueError(
            f"The {role} `{name}` holds dates, and a number is needed: use the time since a date that means something, "
            "in days or months."
        )
    if pd.api.types.is_timedelta64_dtype(column.dtype):
        raise ValueError(f"The {role} `{name}` holds time differences: divide them by one day, week or month first.")
    if not (pd.api.types.is_numeric_dtype(column.dtype) or pd.api.types.is_bool_dtype(column.dtype)):
        column = _numbers_from_objects(column, name, role)
    values = column.to_numpy(dtype=float, na_value=np.nan)
    infinite = int(np.isinf(values).sum())
    if infinite:
        raise ValueError(
            f"The {role} `{name}` is infinite in {infinite} of {len(values)} rows: correct or remove these values."
        )
    return values


def _numbers_from_objects(column: pd.Series, name: str, role: str) -> pd.Series:
    filled = column[column.notna()]
    text = filled.map(lambda v: isinstance(v, str | bytes))
    if not text.any():
        return pd.to_numeric(column.map(lambda v: np.nan if v is None or v is pd.NA else float(v)))
    count = int(text.sum())
    like = like_numbers(filled[text])
    if like == count:
        comma = filled[text].str.contains(",").any()
        how = "decimal commas: read the file with `decimal=','`" if comma else "convert it with pandas.to_numeric"
        raise ValueError(
            f"The {role} `{name}` holds numbers stored as text in {count} of {len(column)} rows ({how}); "
            f"if they are codes, write `C({name})` as a covariate."
        )
    raise ValueError(
        f"The {role} `{name}` holds text in {count} of {len(column)} rows, and a number is needed: "
        "recode it to numbers first."
    )


def like_numbers(text: pd.Series) -> int:
    """How many texts read as numbers, with a decimal point or comma."""
    plain = text.astype(str).str.strip().str.replace(",", ".", regex=False).str.replace("−", "-", regex=False)
    return int(pd.to_numeric(plain, errors="coerce").notna().sum())


def is_text(column: pd.Series) -> bool:
    """Whether a column is a factor by nature: text, or categories that are text."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        return not pd.api.types.is_numeric_dtype(column.cat.categories.dtype)
    if pd.api.types.is_string_dtype(column.dtype) and not pd.api.types.is_object_dtype(column.dtype):
        return True
    return pd.api.types.is_object_dtype(column.dtype) and bool(column.dropna().map(lambda v: isinstance(v, str)).any())


def dates(column: pd.Series, name: str) -> pd.Series:
    """A column of dates without time zone; ISO text is read, anything else is refused."""
    if isinstance(column.dtype, pd.DatetimeTZDtype):
        return column.dt.tz_localize(None)
    if pd.api.types.is_datetime64_any_dtype(column.dtype):
        return column
    if pd.api.types.is_numeric_dtype(column.dtype):
        raise ValueError(f"`{name}` holds numbers, and a date is needed: convert it to dates first.")
    read = pd.to_datetime(column.astype("string"), format="ISO8601", errors="coerce", utc=True).dt.tz_localize(None)
    wrong = int((read.isna() & column.notna()).sum())
    if wrong:
        raise ValueError(
            f"`{name}` holds text that is not a date like 2020-01-31 in {wrong} of {len(column)} rows: "
            "convert it, for example with pandas.to_datetime(…, format='%d.%m.%Y')."
        )
    return read


def elapsed(end: pd.Series, start: pd.Series, unit: str) -> Array:
    """Time from one date to another, in days, weeks, months of 365.25/12 days, or years."""
    return ((end - start) / pd.Timedelta(days=1)).to_numpy(dtype=float) / DAYS[unit]


def periods(column: pd.Series, name: str, origin: pd.Timestamp | None = None) -> tuple[Array, pd.Timestamp | None]:
    """Calendar periods as numbers. Dates become whole months, counted so that the first date is month 1."""
    iso = is_text(column) and not like_numbers(column.dropna())
    if not (iso or pd.api.types.is_datetime64_any_dtype(column.dtype)):
        return numbers(column, name, "period"), None
    when = dates(column, name)
    origin = when.min() if origin is None else origin
    months = (when.dt.year - origin.year) * 12 + (when.dt.month - origin.month) + 1
    return months.to_numpy(dtype=float, na_value=np.nan), origin


def equal(column: pd.Series, value: Any) -> Array:
    """Which rows hold a value; missing is not equal to anything."""
    return (column == value).fillna(False).to_numpy(dtype=bool)


def common_codes(column: pd.Series, at_least: int = 10) -> str:
    """The codes that enough rows share to be named in a message."""
    counts = column.value_counts()
    shown = [f"{code!s} ({n})" for code, n in counts.items() if n >= at_least][:6]
    rest = len(counts) - len(shown)
    return (", ".join(shown) or "none that 10 rows share") + (f" and {rest} more" if rest else "")
