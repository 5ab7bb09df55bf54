"""Each kind of bad input at every entry: the right answer, a note, or a sentence that helps; kept word by word."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest

from impact import Sample
from tests.messages.entries import TABLES, sample_of
from tests.messages.forms import FORMS
from tests.messages.kinds import KINDS, Kind
from tests.messages.runs import (
    PAGE,
    at_the_door,
    clean_sample,
    fields_of,
    file_sentences,
    kept,
    lines,
    on_the_command_line,
    page,
)

CASES = [pytest.param(kind, form, id=f"{kind.name}, {form}") for kind in KINDS for form in kind.forms]
LEADING = [pytest.param(kind, id=kind.name) for kind in KINDS if kind.name != "no table"]


@pytest.mark.parametrize(("kind", "form"), CASES)
def test_what_happens_is_what_the_table_says_in_the_words_that_are_kept(kind: Kind, form: str):
    assert lines(kind, FORMS[form]) == kept()[kind.name][form], "if the new words are better: python -m tests.messages"


def test_the_page_of_the_documentation_is_of_these_words():
    assert PAGE.read_text("utf-8") == page(kept())
    assert list(kept()) == [*(kind.name for kind in KINDS), "files"]
    pytest.importorskip("pyarrow")
    pytest.importorskip("pyreadstat")
    assert kept()["files"] == file_sentences()


@pytest.mark.parametrize("kind", LEADING)
@pytest.mark.parametrize("table", TABLES)
def test_other_kinds_of_tables_meet_the_same_fate(kind: Kind, table: str):
    form = FORMS[kind.forms[0]]
    study, data = kind.spoil(form)
    try:
        other = TABLES[table](data)
    except Exception:  # each library has its own, and says what it cannot hold
        pytest.skip(f"{table} cannot hold this")
    expected, found = at_the_door(kind, form), sample_of((study, other))
    if isinstance(expected, str):
        assert found == expected.replace(" `id` is the index: make it a column with reset_index().", "")
        return
    assert isinstance(found, Sample)
    if found.fingerprint != expected.fingerprint:
        # polars puts levels in the order of the rows, and DuckDB counts the hour that summer time takes.
        np.testing.assert_allclose(_in_order(found), _in_order(expected), atol=1 / 24 / 28)


def _in_order(sample: Sample) -> np.ndarray:
    outcome = sample.outcome()
    numbers = outcome.time if isinstance(outcome, tuple) else outcome
    columns = np.column_stack([sample.characteristics, numbers])
    return columns[:, np.lexsort(columns)]


@pytest.mark.parametrize("kind", [p for p in LEADING if p.values[0].does == "refused"])
def test_the_command_line_says_one_sentence_and_exits_with_two(kind: Kind, tmp_path):
    """CSV has text and numbers only, so what is wrong with types alone is mended, or told in other words."""
    form = FORMS[kind.forms[0]]
    expected = at_the_door(kind, form)
    if kind.name in MENDED or not isinstance(expected, str):
        pytest.skip("not wrong in a CSV file" if kind.name in MENDED else "refused by some methods only")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        code, said = on_the_command_line(kind, form, tmp_path)
    assert code == 2 and said.startswith("impact: ") and said.endswith(".")
    if kind.name not in OTHERWISE:
        assert said.removeprefix("impact: ") == expected.split(": ", 1)[1]


MENDED = {
    "treated as text, which the study does not say", "a covariate as text", "a covariate of lists", "the unit as index",
    "an outcome as text", "exit codes as text",
}  # fmt: skip
OTHERWISE = {
    "a covariate of dates", "a covariate of complex numbers", "no rows", "an outcome of words",
}  # fmt: skip


def test_the_right_answer_is_right_because_the_sample_is():
    """Kinds that change types, names or order alone give, number by number, the sample of the clean data."""
    for kind in KINDS:
        if kind.name in ("nullable types", "types of Arrow", "decimals", "an index that is repeated and out of line"):
            for name in kind.forms:
                found, clean = at_the_door(kind, FORMS[name]), clean_sample(kind, FORMS[name])
                assert isinstance(found, Sample)
                mine = fields_of(found)
                for field, array in fields_of(clean).items():
                    np.testing.assert_array_equal(mine[field], array, err_msg=f"{kind.name}, {name}, {field}")


def test_nothing_is_changed_by_trying():
    for kind in KINDS:
        form = FORMS[kind.forms[0]]
        study, data = kind.spoil(form)
        if isinstance(data, pd.DataFrame):
            before = data.copy(deep=True)
            sample_of((study, data))
            pd.testing.assert_frame_equal(data, before)
