"""Every entry through which bad input can come in: kinds of tables, designs, estimators, checks, the command line."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cache, partial, update_wrapper
from typing import Any

import numpy as np
import pandas as pd

from impact import Check, Estimate, ImpactWarning, Sample, emulate
from tests.contracts import walk
from tests.messages.kinds import Case

Function = Callable[..., Any]


QUICK = {"draws": 4, "repetitions": 4}


def functions(staggered: bool) -> list[Function]:
    """Designs, estimators and checks that fit a form of study, found by walking; those that draw draw little."""
    found = [f for k in ("Sample", "Estimate", "Check") for f in walk.functions(k)]
    return [
        asking(f, QUICK) for f in found
        if walk.subject(f) == "Sample" and walk.staggered(f) == staggered
    ]  # fmt: skip


def asking(f: Function, asks: dict[str, Any]) -> Function:
    """The function with those of the arguments that it takes."""
    mine = {name: value for name, value in asks.items() if walk.takes(f, name)}
    return update_wrapper(partial(f, **mine), f) if mine else f


def quietly(f: Callable[[], Any]) -> Any:
    """Call, with the package's own warnings kept for the notes in which they are found again."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        warnings.simplefilter("ignore", ImpactWarning)
        return f()


def said(problem: BaseException) -> str:
    """An error as one line; it must be one of ours: raised in the package, of a plain type, a sentence."""
    frame = problem.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    where = frame.tb_frame.f_code.co_filename if frame else ""
    assert "/impact/" in where and "/site-packages/" not in where, f"raised by another library: {problem!r} in {where}"
    assert type(problem) in (ValueError, KeyError, TypeError, ModuleNotFoundError), f"{type(problem)}: {problem}"
    text = str(problem.args[0])
    assert text.endswith(".") and "\n" not in text and 30 < len(text) < 700, f"not a sentence: {text!r}"
    return f"{type(problem).__name__}: {text}"


def sample_of(case: Case, table: Callable[[pd.DataFrame], Any] = lambda data: data) -> Sample | str:
    """The sample, or the sentence that refuses it."""
    study, data = case
    try:
        return quietly(lambda: emulate(study, table(data) if isinstance(data, pd.DataFrame) else data))
    except Exception as problem:
        return said(problem)


def answer(f: Function, sample: Sample) -> Any:
    """What a function makes of a sample, or the sentence that refuses it; never NaN without a note."""
    try:
        found = quietly(lambda: f(sample))
    except Exception as problem:
        return said(problem)
    for name, numbers in values(found).items():
        if not np.isfinite(numbers).all():
            notes = (*found.notes, getattr(found, "reason", ""))
            assert any(notes), f"{walk.name(f)}: {name} is not finite, and no note says why"
    assert repr(found)
    return found


def values(found: Any) -> dict[str, np.ndarray]:
    """The numbers of a result, by what they are."""
    if isinstance(found, Sample):
        return {"weights": found.weights}
    if isinstance(found, Estimate):
        return {"value": found.value, "std_error": found.std_error}
    assert isinstance(found, Check)
    table = found.table.select_dtypes("number")
    return {"table": table.to_numpy(float)[~table.isna().to_numpy()]}


def notes(found: Any) -> tuple[str, ...]:
    return tuple(found.notes)


# ---- tables -------------------------------------------------------------------------------------


def of_polars(data: pd.DataFrame) -> Any:
    import polars

    return polars.from_pandas(data)


def of_arrow(data: pd.DataFrame) -> Any:
    import pyarrow

    return pyarrow.Table.from_pandas(data, preserve_index=False)


@cache
def _connection() -> Any:
    import duckdb

    return duckdb.connect()


def of_duckdb(data: pd.DataFrame) -> Any:
    return _connection().from_arrow(of_arrow(data))


TABLES = {"polars": of_polars, "Arrow": of_arrow, "DuckDB": of_duckdb}
