"""Any table at all: the right answer or a named error, never another exception, and never NaN without a note."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from impact import Event, Outcome, Sample, Study
from tests.messages.entries import answer, functions, sample_of

STRANGE = [np.nan, np.inf, -np.inf, 1e9, 1e-9, -1e12, 1e99, 1e200, 5e-324, 0.0, -0.0, None]
CELLS: dict[str, Callable[[np.random.Generator, int], list[Any]]] = {
    "numbers": lambda r, n: list(r.normal(0, 3, n).round(2)),
    "small counts": lambda r, n: [int(v) for v in r.integers(0, 4, n)],
    "two values": lambda r, n: [int(v) for v in r.integers(0, 2, n)],
    "strange numbers": lambda r, n: [STRANGE[k] if k < len(STRANGE) else float(k) for k in r.integers(0, 40, n)],
    "yes and no": lambda r, n: [bool(v) for v in r.integers(0, 2, n)],
    "text": lambda r, n: [["a", "b", "ä", "", "x_1 & <b>", "$"][k] for k in r.integers(0, 6, n)],
    "numbers as text": lambda r, n: [["1", "2,5", "-3", "4e2", " 5", "007"][k] for k in r.integers(0, 6, n)],
    "mixed": lambda r, n: [[1, "1", 2.5, "a", None, True][k] for k in r.integers(0, 6, n)],
    "dates": lambda r, n: [pd.Timestamp("2020-01-01") + pd.Timedelta(days=int(k)) for k in r.integers(0, 999, n)],
    "ISO text": lambda r, n: [f"2020-01-{k:02d}" for k in r.integers(1, 31, n)],
    "nothing": lambda r, n: [None] * n,
    "one value": lambda r, n: [3] * n,
    "lists": lambda r, n: [[1, 2]] * n,
}
TYPES = ["as it comes"] * 40 + ["category", "string", "Int64", "Float64", "boolean", "datetime64[s]", "object"]


@st.composite
def column(draw: st.DrawFn, n: int, usual: str) -> pd.Series:
    kind, wanted = draw(st.sampled_from([usual] * 60 + list(CELLS))), draw(st.sampled_from(TYPES))
    r = np.random.default_rng(draw(st.integers(0, 2**16)))
    cells = pd.Series(CELLS[kind](r, n))
    if draw(st.integers(0, 15)) == 0:
        cells = cells.mask(r.random(n) < 0.1)
    try:
        return cells if wanted == "as it comes" else cells.astype(wanted)
    except (TypeError, ValueError, OverflowError):
        return cells


@st.composite
def cases(draw: st.DrawFn) -> tuple[Study, pd.DataFrame]:
    n = draw(st.sampled_from([60, 60, 60, 40, 12, 5, 1, 0]))
    units = pd.Series(range(n)) if draw(st.integers(0, 5)) else draw(column(n, "small counts"))
    usual = {"arm": "two values", "x": "numbers", "g": "text", "y": "numbers", "time": "small counts",
             "exit": "two values", "w": "small counts"}  # fmt: skip
    data = pd.DataFrame({"id": units, **{name: draw(column(n, kind)) for name, kind in usual.items()}})
    terms = st.sampled_from(["x", "g", "C(g)", "C(x)", "x:g", "x*g", "log(x)", "I(x**2)", "bs(x, 4)", "poly(x, 2)"])
    rules = st.sampled_from(
        ["x > -9", "x > 0", "g == 'a'", "g != 3", "not x < 1", "x / y > 1", "y == y", "w", "x > '2020-01-01'"]
    )
    job = {1: "job"}
    outcomes = [Outcome("y"), Event("time", "exit", job), Event("y", "exit", job, since="x")]
    study = Study(
        title="t",
        unit="id",
        treatment="arm",
        outcomes=draw(st.sampled_from(outcomes)),
        covariates=draw(st.lists(terms, max_size=2)),
        eligibility={"rule": draw(rules)} if draw(st.integers(0, 2)) == 0 else {},
        missing=draw(st.sampled_from(["drop", "error"])),
        estimand=draw(st.sampled_from(["ATT", "ATC", "ATE"])),
        weights=draw(st.sampled_from([None, None, "w"])),
        cluster=draw(st.sampled_from([None, None, "g"])),
    )
    return study, data


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(cases(), st.sampled_from(functions(staggered=False)))
def test_any_table_has_an_answer_or_a_named_error(case, f):
    sample = sample_of(case)  # asserts that what refuses is a sentence of ours
    if not isinstance(sample, Sample):
        return
    assert sample.flow[0].total == len(case[1]) and sample.flow[-1].total == len(sample)
    assert np.isfinite(sample.covariates).all() and np.isfinite(sample.characteristics).all()
    answer(f, sample)  # asserts numbers, or a note, or a sentence


@st.composite
def panels(draw: st.DrawFn) -> tuple[Study, pd.DataFrame]:
    n, periods = draw(st.sampled_from([24, 24, 12, 3, 1])), draw(st.sampled_from([4, 4, 2, 1]))
    units = pd.DataFrame({"id": range(n), "x": draw(column(n, "numbers")), "start": draw(column(n, "small counts"))})
    long = units.loc[np.repeat(np.arange(n), periods)].reset_index(drop=True)
    long["t"] = np.tile(np.arange(1, periods + 1), n)
    long["y"] = draw(column(len(long), "numbers"))
    if draw(st.booleans()):
        long = long.drop(index=draw(st.sets(st.integers(0, len(long) - 1), max_size=3)))
    study = Study(
        title="t",
        unit="id",
        adoption="start",
        period="t",
        outcomes=Outcome("y"),
        never=draw(st.sampled_from([None, 0])),
        covariates=draw(st.sampled_from([(), ("x",)])),
        missing=draw(st.sampled_from(["drop", "error"])),
    )
    return study, long


@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow])
@given(panels(), st.sampled_from(functions(staggered=True)))
def test_any_panel_has_an_answer_or_a_named_error(case, f):
    sample = sample_of(case)
    if isinstance(sample, Sample):
        answer(f, sample)
