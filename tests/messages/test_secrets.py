"""No message, note or print holds a value of a row or the name of a unit, though such values are planted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import pytest

from impact import Check, Estimate, Sample
from tests.contracts import walk
from tests.messages.entries import answer, functions, sample_of
from tests.messages.forms import FORMS, SENTINEL, SENTINEL_TEXT, SENTINEL_UNIT, Form
from tests.messages.kinds import KINDS, Kind

SECRETS = (str(SENTINEL), f"{SENTINEL:.1f}", "987,654", "987654", SENTINEL_UNIT, SENTINEL_TEXT, "1987-06-05")


def planted(make: Callable[[], pd.DataFrame]) -> pd.DataFrame:
    """Data in which one unit has the values that must not be seen, in every column that can hold them."""
    data = make()
    units = data["id"].unique()
    rows = (data["id"] == units[8]).to_numpy()
    for column in data.columns.intersection(["age", "pay", "pay_2", "rate", "rate_2", "months", "weight"]):
        data[column] = data[column].astype(float).mask(rows, SENTINEL)
    for column in data.columns.intersection(["office"]):
        data[column] = data[column].astype(str).mask(rows, SENTINEL_TEXT)
    if "start" in data:
        data["start"] = data["start"].mask(rows, pd.Timestamp("1987-06-05"))
    data["id"] = data["id"].mask(rows, SENTINEL_UNIT)
    return data


PLANTED = {name: replace(form, make=partial(planted, form.make)) for name, form in FORMS.items()}


def refuse_secrets(text: str, where: str) -> None:
    for secret in SECRETS:
        assert secret not in text, f"{secret} is told by {where}: {text[max(0, text.find(secret) - 80) :][:200]}"


def words(found: Any) -> Iterator[str]:
    """Everything that a result says or shows."""
    if isinstance(found, str):
        yield found
        return
    yield repr(found)
    yield from found.notes
    if isinstance(found, Sample):
        yield from found.steps
        yield from (step.step for step in found.flow)
    if isinstance(found, Estimate):
        yield found.method
        yield found.estimand
        yield found._repr_html_()
    if isinstance(found, Check):
        yield found.claim
        yield found.reason


@pytest.mark.parametrize("kind", [pytest.param(k, id=k.name) for k in KINDS])
def test_no_sentence_or_note_tells_a_value(kind: Kind):
    for name in kind.forms:
        found = sample_of(kind.spoil(PLANTED[name]))
        for text in words(found):
            refuse_secrets(text, f"{kind.name}, {name}")


FITTING = [(form, f) for form in PLANTED.values() for f in functions(form.staggered)]


@pytest.mark.parametrize(("form", "f"), [pytest.param(a, f, id=f"{a.name}, {walk.name(f)}") for a, f in FITTING])
def test_no_design_estimate_or_check_tells_a_value(form: Form, f: Callable[..., Any]):
    study = form.study if form.staggered else form.study.revise(covariates=("age", "school", "woman"), cluster="office")
    sample = sample_of((study, form.data))
    assert isinstance(sample, Sample), sample
    for text in words(answer(f, sample)):
        refuse_secrets(text, walk.name(f))


@pytest.mark.parametrize("f", functions(staggered=False), ids=walk.name)
def test_a_level_that_few_have_is_a_row_of_tables_and_goes_unnamed_in_words(f: Callable[..., Any]):
    """Balance is judged level by level in a table, which disclosure control reads; sentences do not repeat it."""
    form = FORMS["once"]
    data = form.data
    rare = data.index.isin(data.index[data["arm"] == 1][:3])
    data["school"] = data["school"].mask(rare, SENTINEL_TEXT)
    study = form.study.revise(outcomes=(*form.study.outcomes, *FORMS["event"].study.outcomes))
    sample = sample_of((study, data))
    assert isinstance(sample, Sample), sample
    found = answer(f, sample)
    said = found if isinstance(found, str) else " ".join([*found.notes, getattr(found, "reason", "")])
    refuse_secrets(said, walk.name(f))


def test_codes_are_told_only_if_ten_rows_share_them():
    form = FORMS["event"]
    data = form.data
    rare = np.where(np.arange(len(data)) < 9, SENTINEL, 7.0)
    said = sample_of((form.study, data.assign(exit=rare)))
    assert isinstance(said, str) and "codes found, with counts: 7 (231) and 1 more" in said
    refuse_secrets(said, "the codes of exits")
    said = sample_of((form.study, data.assign(arm=rare)))
    assert isinstance(said, str) and "7 (231) and 1 more" in said
    refuse_secrets(said, "the codes of arms")
