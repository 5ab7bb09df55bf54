"""Any dataframe as a pandas table of the columns that a study needs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from impact import columns as col


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
        raise ValueError(f"The data have more than one column named {col.listed(twice)}: rename or drop all but one.")
    missing = [n for n in needed if n not in have]
    if missing:
        index = [n for n in missing if n in getattr(getattr(data, "index", None), "names", ())]
        hint = f" {col.listed(index)} is the index: make it a column with reset_index()." if index else ""
        raise KeyError(
            f"The study names columns that the data lack: {col.listed(missing)}.{hint} The data have {len(have)} "
            f"columns: {col.listed(map(str, have[:40]))}{' and more' if len(have) > 40 else ''}."
        )
    if isinstance(data, pd.DataFrame):
        table = data.loc[:, list(needed)].reset_index(drop=True)
    else:
        table = _collected(_narwhal(data), needed)
    if not len(table):
        raise ValueError("The data have 0 rows: check the file or the query that made them.")
    for name in needed:
        nested = _nested(table[name])
        if nested:
            raise ValueError(f"`{name}` holds lists or tables in {nested} of {len(table)} rows: keep one value a cell.")
    return table


def _nested(column: pd.Series) -> int:
    """How many cells hold more than one value."""
    if not pd.api.types.is_object_dtype(column.dtype):
        return 0
    return sum(isinstance(v, list | dict | set | np.ndarray | pd.DataFrame | pd.Series) for v in column)


def _narwhal(data: Any) -> Any:
    import narwhals.stable.v1 as nw
    from narwhals.exceptions import DuplicateError

    try:
        frame = nw.from_native(data)
        frame.collect_schema()
    except TypeError:
        raise TypeError(
            f"The data must be a dataframe (pandas, polars, Arrow, DuckDB), not {type(data).__name__}: "
            "read the file first, for example with impact.read."
        ) from None
    except DuplicateError:
        raise ValueError("The data have more than one column of the same name: rename or drop all but one.") from None
    except Exception as problem:  # of the library or the database that holds the table
        raise ValueError(
            f"The columns of the table could not be read ({type(problem).__name__}): see that its query runs, and "
            "that a connection it needs is open."
        ) from None
    return frame


def _collected(frame: Any, needed: Sequence[str]) -> pd.DataFrame:
    try:
        chosen = frame.select(*needed)
        return (chosen.collect() if hasattr(chosen, "collect") else chosen).to_pandas().reset_index(drop=True)
    except ModuleNotFoundError as problem:
        raise ModuleNotFoundError(
            f"To take in this table, the package {problem.name} is needed: pip install {problem.name}.",
            name=problem.name,
        ) from None
    except Exception as problem:  # of the library or the database that holds the table
        raise ValueError(
            f"The table could not be fetched ({type(problem).__name__}): see that its query runs, and that a "
            "connection it needs is open."
        ) from None
