"""Text with a sign between columns (CSV): which sign, which encoding, and which columns are numbers."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import re
import zlib
from pathlib import Path
from typing import IO, Any

import pandas as pd

ENDINGS = (".csv", ".tsv", ".csv.gz", ".tsv.gz")
MISSING = ("", "NA", "N/A", "#N/A", "NaN", "nan", "NULL", "null", ".")
_SEPARATORS = ",;\t|"
_ENCODINGS = (("utf-8-sig", "UTF-8"), ("cp1252", "Windows-1252"), ("latin-1", "Latin-1"))


def read(
    file: Path,
    said: str,
    notes: list[str],
    *,
    decimal: str = ".",
    separator: str | None = None,
    encoding: str | None = None,
    missing: tuple[str, ...] = MISSING,
) -> pd.DataFrame:
    """The table in a CSV file: numbers where every value is one, and text as it stands elsewhere."""
    if decimal not in (".", ","):
        raise ValueError(f"`decimal` is the sign before decimals, '.' or ',', not {decimal!r}.")
    if separator is not None and len(separator) != 1:
        raise ValueError(f"`separator` is one character, such as ';', not {separator!r}.")
    try:
        encoding = encoding or _encoding(file, said, notes)
        with _open(file) as raw, io.TextIOWrapper(raw, encoding, newline="") as text:
            sample = text.read(1 << 16)
        separator = separator or _separator(sample)
        cells, header = _cells(file, said, notes, encoding, separator)
        guessed = _guessed(file, encoding, separator, decimal, missing, len(header))
    except (gzip.BadGzipFile, EOFError, zlib.error):
        raise ValueError(f"The file {said} is damaged: its compressed text ends too soon; copy it again.") from None
    except LookupError:
        raise ValueError(
            f"The encoding {encoding!r} is not known: leave it out, or write for example 'latin-1'."
        ) from None
    except UnicodeDecodeError:
        raise ValueError(f"The file {said} is not in the encoding {encoding}: leave the encoding out.") from None
    typed = pd.concat([_typed(cells[j], guessed[j], missing) for j in cells.columns], axis=1)
    typed.columns = pd.Index(header, dtype=object)
    return typed


def _open(file: Path) -> IO[bytes]:
    return gzip.open(file) if file.name.lower().endswith(".gz") else file.open("rb")  # type: ignore[return-value]


def _encoding(file: Path, said: str, notes: list[str]) -> str:
    """UTF-8 if all of the file is, UTF-16 if it says so, and else what Western Windows writes."""
    with _open(file) as raw:
        head = raw.read(4)
        if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            return "utf-16"
    for encoding, name in _ENCODINGS:
        if _decodes(file, said, encoding):
            if name != "UTF-8":
                notes.append(f"The file {said} is not UTF-8 and was read as {name}: look at letters such as ä and é.")
            return encoding
    raise AssertionError("every byte is a letter in Latin-1")


def _decodes(file: Path, said: str, encoding: str) -> bool:
    decoder = codecs.getincrementaldecoder(encoding)()
    with _open(file) as raw:
        while chunk := raw.read(1 << 20):
            if b"\0" in chunk:
                raise ValueError(f"The file {said} is not what its ending says: it holds binary data, not text.")
            try:
                decoder.decode(chunk)
            except UnicodeDecodeError:
                return False
    try:
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def _separator(sample: str) -> str:
    """The sign that cuts the first lines into the same number of columns, more than one."""
    best, columns = ",", 1
    for sign in _SEPARATORS:
        lines = [row for row in csv.reader(io.StringIO(sample), delimiter=sign) if row][:50]
        lines = lines[:-1] if len(lines) > 2 else lines  # the last may be cut
        widths = {len(row) for row in lines}
        if len(widths) == 1 and (width := widths.pop()) > columns:
            best, columns = sign, width
    return best if columns > 1 else max(_SEPARATORS, key=sample.split("\n", 1)[0].count)


def _cells(file: Path, said: str, notes: list[str], encoding: str, separator: str) -> tuple[pd.DataFrame, list[str]]:
    """Every cell as text, and the header: pandas would rename columns that are named twice."""
    with _open(file) as raw:
        try:
            table = pd.read_csv(
                raw, sep=separator, header=None, dtype=str, encoding=encoding, na_filter=False, low_memory=False
            )
        except pd.errors.EmptyDataError:
            raise ValueError(f"The file {said} holds no text: check how it was made.") from None
        except pd.errors.ParserError as problem:
            raise ValueError(f"The file {said} cannot be read as a table: {_why(str(problem), separator)}.") from None
    header = [str(name).strip().removeprefix("\ufeff") for name in table.iloc[0]]
    for j, name in enumerate(header):
        if not name:  # as R writes the names of rows
            header[j] = f"column_{j + 1}"
            notes.append(f"Column {j + 1} of the file {said} has no name, and is called `{header[j]}`.")
    return table.iloc[1:].reset_index(drop=True), header


def _guessed(
    file: Path, encoding: str, separator: str, decimal: str, missing: tuple[str, ...], columns: int
) -> pd.DataFrame:
    """The cells in the types that pandas guesses, which is fast, and right but for codes that look like numbers."""
    # Before version 3 pandas reads the last digit of a number only roughly, unless told otherwise.
    precision: Any = {} if int(pd.__version__.split(".")[0]) >= 3 else {"float_precision": "round_trip"}
    with _open(file) as raw:
        return pd.read_csv(
            raw, sep=separator, header=0, names=range(columns), index_col=False, encoding=encoding, decimal=decimal,
            keep_default_na=False, na_values=list(missing), low_memory=False,
            **precision,
        )  # fmt: skip


def _why(problem: str, separator: str) -> str:
    found = re.search(r"Expected (\d+) fields in line (\d+), saw (\d+)", problem)
    sign = {"\t": "tabs"}.get(separator, f"“{separator}”")
    if found:
        expected, line, saw = found.groups()
        return (
            f"with {sign} between columns, line {line} has {saw} columns and the first line {expected}; put quotes "
            "around text that holds the sign, name every column, or say the `separator`"
        )
    if "EOF inside string" in problem:
        return "a quotation mark is opened and never closed"
    return f"with {sign} between columns its lines do not agree; say the `separator`"


def _typed(cells: pd.Series, guessed: pd.Series, missing: tuple[str, ...]) -> pd.Series:
    """Numbers, if every value is one and none a code; True and False likewise; else text."""
    if pd.api.types.is_bool_dtype(guessed.dtype):
        return guessed
    if pd.api.types.is_numeric_dtype(guessed.dtype):
        codes = cells.str.match(r"\s*[+-]?0\d").fillna(False).any()
        # Beside a missing value pandas takes whole numbers for floating point, which keeps 15 digits.
        long = pd.api.types.is_float_dtype(guessed.dtype) and cells[guessed.abs() >= 1e15].str.isdigit().any()
        return cells.mask(guessed.isna()) if codes or long else guessed
    gone = (cells.isna() | cells.str.strip().isin(missing)).astype(bool)
    truth = cells[~gone].str.strip().str.lower()
    if len(truth) and truth.isin(("true", "false")).all():
        return (truth == "true").astype("boolean").reindex(cells.index)
    return cells.mask(gone)
