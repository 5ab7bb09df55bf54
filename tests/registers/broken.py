"""Files that cannot be read: a name, what is in it, and the error with words of its sentence."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

from impact.registers import read

BROKEN: dict[str, tuple[str, Any, type[Exception], str]] = {
    "nothing there": ("missing.csv", None, FileNotFoundError, "There is no file"),
    "empty": ("t.csv", b"", ValueError, "is empty (0 bytes)"),
    "blank": ("t.csv", b"\n\n", ValueError, "holds no text"),
    "a header alone": ("t.csv", b"a,b\n", ValueError, "has 2 columns and 0 rows"),
    "an unknown ending": ("t.xlsx", b"PK\x03\x04", ValueError, "has an ending that is not known"),
    "no ending": ("data", b"a,b\n1,2\n", ValueError, "has an ending that is not known"),
    "a workbook called CSV": ("t.csv", b"PK\x03\x04" + bytes(60), ValueError, "begins like an Excel workbook"),
    "Parquet called CSV": ("t.csv", b"PAR1" + bytes(60), ValueError, "begins like a Parquet file"),
    "Stata called SAS": ("t.sas7bdat", b"<stata_dta><header>", ValueError, "begins like a Stata file"),
    "CSV called Parquet": ("t.parquet", b"a,b\n1,2\n", ValueError, "other than a Parquet file"),
    "CSV called Stata": ("t.dta", b"a,b\n1,2\n", ValueError, "other than a Stata file"),
    "CSV called SAS": ("t.sas7bdat", b"a,b\n1,2\n", ValueError, "other than a SAS data set"),
    "CSV called gzip": ("t.csv.gz", b"a,b\n1,2\n", ValueError, "other than a gzip file"),
    "a web page called CSV": ("t.csv", b"\n<!DOCTYPE html><html>", ValueError, "begins like an HTML page"),
    "binary called CSV": ("t.csv", b"a,b\n\x00\x01,2\n", ValueError, "holds binary data"),
    "half a gzip file": ("t.csv.gz", gzip.compress(b"a,b\n" + b"1,2\n" * 999)[:40], ValueError, "ends too soon"),
    "half a Parquet file": ("t.parquet", b"PAR1" + bytes(60), ValueError, "cannot be read"),
    "half a Stata file": ("t.dta", b"<stata_dta><header><release>118</release>", ValueError, "cannot be read"),
    "half a SAS file": ("t.sas7bdat", b"\0" * 12 + b"\xc2\xea\x81\x60" + bytes(60), ValueError, "cannot be read"),
    "half an SPSS file": ("t.sav", b"$FL2@(#) SPSS", ValueError, "cannot be read"),
    "more cells than columns": ("t.csv", b"a,b\n1,2\n1,2,3\n", ValueError, "line 3 has 3 columns and the first line 2"),
    "an open quotation mark": ("t.csv", b'a,b\n"x,2\n3,4\n', ValueError, "opened and never closed"),
}


def sentence(broken: str, folder: Path) -> str:
    """What reading such a file says, with its name as given."""
    name, content, _, _ = BROKEN[broken]
    if content is not None:
        (folder / name).write_bytes(content)
    try:
        read(folder / name)
    except (ValueError, FileNotFoundError, ModuleNotFoundError) as refused:
        return str(refused.args[0]).replace(f"{folder}/", "")
    raise AssertionError(f"{broken} was read")
