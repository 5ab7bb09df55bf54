"""One file as a table: CSV, Parquet, Stata, SAS or SPSS, with what could go wrong said in a sentence."""

from __future__ import annotations

import datetime
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from impact.registers import delimited

_STATA = tuple(bytes([release, order]) for release in range(102, 116) for order in (1, 2))
KINDS = {  # what a file of each ending is, and how such a file begins
    ".csv": ("a CSV file", ()),
    ".tsv": ("a CSV file", ()),
    ".csv.gz": ("a gzip file", (b"\x1f\x8b",)),
    ".tsv.gz": ("a gzip file", (b"\x1f\x8b",)),
    ".parquet": ("a Parquet file", (b"PAR1",)),
    ".dta": ("a Stata file", (b"<stata_dta>", *_STATA)),
    ".sas7bdat": ("a SAS data set", (b"\0" * 12 + b"\xc2\xea\x81\x60",)),
    ".sav": ("an SPSS file", (b"$FL2", b"$FL3")),
}
OTHERS = (
    ("an Excel workbook or another zip file", (b"PK\x03\x04",)),
    ("an old Excel or Word file", (b"\xd0\xcf\x11\xe0",)),
    ("a PDF", (b"%PDF",)),
    ("an HTML page", (b"<!doctype html", b"<html")),
)


def read(
    path: str | os.PathLike[str],
    *,
    decimal: str | None = None,
    separator: str | None = None,
    encoding: str | None = None,
    missing: tuple[str, ...] | None = None,
) -> pd.DataFrame:
    """Read a file into a table, by its ending.

    Parameters
    ----------
    path : path
        ``.csv`` or ``.tsv`` (also with ``.gz``), ``.parquet``, Stata's ``.dta``, SAS's ``.sas7bdat`` or
        SPSS's ``.sav``.
    decimal, separator, encoding, missing : of CSV files only
        The sign before decimals (a point, if not said); the sign between columns and the encoding of
        the text (found out, if not said); and the texts that mean a missing value.

    Returns
    -------
    DataFrame
        One column per column of the file. In CSV files a column is numbers only if every value is a
        number: codes with leading zeros, long identifiers and dates stay text. Value labels of Stata
        and SPSS become categories. ``attrs["notes"]`` holds what should be known of the reading; each
        note is also a warning, and :func:`impact.emulate` hands the notes on.

    Raises
    ------
    FileNotFoundError, ValueError, ModuleNotFoundError
        The file is not there, is empty, is not what its ending says, or needs a package that is not
        installed.
    """
    said, file = str(path), Path(path)
    settings = {"decimal": decimal, "separator": separator, "encoding": encoding, "missing": missing}
    given: dict[str, Any] = {name: value for name, value in settings.items() if value is not None}
    ending = next((e for e in sorted(KINDS, key=len, reverse=True) if file.name.lower().endswith(e)), None)
    if ending is None:
        raise ValueError(
            f"The file {said} has an ending that is not known: a table is read from {', '.join(KINDS)}. From a "
            "spreadsheet, save it as CSV (UTF-8)."
        )
    _refuse_other_content(file, said, ending)
    if given and ending not in delimited.ENDINGS:
        raise ValueError(
            f"{', '.join(given)} can be said of CSV files only, and {said} is {KINDS[ending][0]}: leave it out."
        )
    notes: list[str] = []
    if ending in delimited.ENDINGS:
        table = delimited.read(file, said, notes, **given)
    else:
        table = _guarded(_READERS[ending], file, said, ending, notes)
    if not len(table):
        raise ValueError(f"The file {said} has {table.shape[1]} columns and 0 rows: check how it was made.")
    for note in notes:
        warnings.warn(note, UserWarning, stacklevel=2)
    table.attrs["notes"] = tuple(notes)
    return table


def _refuse_other_content(file: Path, said: str, ending: str) -> None:
    """A file that is not there, empty, or not what its ending says."""
    try:
        with file.open("rb") as opened:
            head = opened.read(64)
    except FileNotFoundError:
        raise FileNotFoundError(f"There is no file {said}: check its name and folder.") from None
    except OSError as problem:  # a folder, or a file that may not be read
        raise ValueError(
            f"The file {said} cannot be opened ({problem.strerror}): check that it is a file of yours."
        ) from None
    if not head:
        raise ValueError(f"The file {said} is empty (0 bytes): check how it was made.")
    kind, starts = KINDS[ending]
    if starts and head.startswith(starts):
        return
    other = _kind(head)
    if other or starts:
        raise ValueError(
            f"The file {said} is not what its ending says: it begins like {other or 'something other than ' + kind}. "
            "Rename it to its right ending, or write it again."
        )


def _kind(head: bytes) -> str | None:
    """What a file that begins so is, if that is known."""
    for kind, starts in (*KINDS.values(), *OTHERS):
        if starts and (head.startswith(starts) or head.lstrip().lower().startswith(starts)):
            return kind
    return None


def _guarded(
    reader: Callable[[Path, list[str]], pd.DataFrame], file: Path, said: str, ending: str, notes: list[str]
) -> pd.DataFrame:
    """Run a library's reader, and say in a sentence what it may raise."""
    try:
        return reader(file, notes)
    except ModuleNotFoundError as problem:
        raise ModuleNotFoundError(
            f"To read {said}, the package {problem.name} is needed: pip install {problem.name}.", name=problem.name
        ) from None
    except ImportError:  # pandas says so when pyarrow is absent or too old
        raise ModuleNotFoundError(
            f"To read {said}, the package pyarrow is needed: pip install pyarrow.", name="pyarrow"
        ) from None
    except Exception:  # each library has errors of its own for a damaged file
        raise ValueError(
            f"The file {said} begins like {KINDS[ending][0]} and cannot be read: it is damaged or cut short, "
            "or of a version that is not known; write it again."
        ) from None


def _parquet(file: Path, notes: list[str]) -> pd.DataFrame:
    table = pd.read_parquet(file, engine="pyarrow")
    return table.reset_index() if any(n is not None for n in table.index.names) else table.reset_index(drop=True)


def _stata(file: Path, notes: list[str]) -> pd.DataFrame:
    try:
        table = pd.read_stata(file, order_categoricals=False)
    except ValueError as problem:
        if "unique" not in str(problem):
            raise
        table = pd.read_stata(file, convert_categoricals=False)
        notes.append("Some value labels of the Stata file name two codes alike, so codes were kept instead of labels.")
    return _blanks_missing(table)


def _sas(file: Path, notes: list[str]) -> pd.DataFrame:
    try:
        import pyreadstat
    except ModuleNotFoundError:
        table = pd.read_sas(file, format="sas7bdat", encoding="infer")
        if any(not str(name).strip() for name in table.columns):  # seen on files that SAS did not write
            raise ModuleNotFoundError("pandas misread the names of the columns", name="pyreadstat") from None
    else:
        table, _ = pyreadstat.read_sas7bdat(str(file))
    return _blanks_missing(_dates(table))


def _spss(file: Path, notes: list[str]) -> pd.DataFrame:
    import pyreadstat

    table, _ = pyreadstat.read_sav(str(file), apply_value_formats=True, formats_as_category=True)
    return _blanks_missing(_dates(table))


def _dates(table: pd.DataFrame) -> pd.DataFrame:
    """Python dates as pandas dates, in seconds, so that the open end of the year 9999 fits."""
    for name in [n for n in table.columns if pd.api.types.is_object_dtype(table[n].dtype)]:
        filled = table[name].dropna()
        if len(filled) and filled.map(lambda v: isinstance(v, datetime.date)).all():
            values = [np.datetime64("NaT") if pd.isna(v) else np.datetime64(v, "s") for v in table[name]]
            table[name] = np.asarray(values, dtype="datetime64[s]")
    return table


def _blanks_missing(table: pd.DataFrame) -> pd.DataFrame:
    """SAS, Stata and SPSS have no missing text: blank stands for it."""
    for name in table.columns:
        if pd.api.types.is_string_dtype(table[name].dtype) or pd.api.types.is_object_dtype(table[name].dtype):
            blank = table[name].map(lambda v: isinstance(v, str) and not v.strip()).to_numpy(dtype=bool)
            if blank.any():
                table[name] = table[name].mask(blank)
    return table


_READERS: dict[str, Callable[[Path, list[str]], Any]] = {
    ".parquet": _parquet,
    ".dta": _stata,
    ".sas7bdat": _sas,
    ".sav": _spss,
}
