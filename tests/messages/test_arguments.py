"""Arguments that make no sense: every function found by walking refuses them in a sentence, or answers with numbers."""

from __future__ import annotations

import inspect
from functools import cache
from typing import Any

import numpy as np
import pytest

from impact import Event, Sample
from tests.contracts import walk
from tests.messages.entries import answer, functions, sample_of
from tests.messages.forms import FORMS, people

WRONG: dict[str, list[Any]] = {
    "outcome": ["nothing", "", ["pay", "nothing"], 3, [], ("pay", 3)],
    "cause": ["nothing", "", ["job", "nothing"], 3, []],
    "times": [-1, [np.nan], "soon", [], [1e9], np.inf, [[1, 2]], None, [1, "two"]],
    "horizon": [-1, 0, np.nan, "soon", 1e9, np.inf, [], [1, 2]],
    "ratio": [0, -1, 1.5, "two", True, None, 10**6],
    "caliper": [0, -1, np.nan, "wide", np.inf, 1e-300, True],
    "replace": ["no", None],
    "exact": ["nothing", 3, ["age", "nothing"], [""], [3]],
    "scale": ["metres", None, 3],
    "order": ["alphabetical", 3],
    "rng": ["dice", -1, 1.5],
    "estimand": ["LATE", 3, ""],
    "method": ["magic", None, 3],
    "comparison": ["everybody", None, 3],
    "anticipation": [-1, np.nan, "soon", 99, None],
    "base": ["military", None],
    "balance": [-1, 99, "even", np.nan, 1.5],
    "average": ["mean", None],
    "threshold": [-1, 0, np.nan, "low", None, np.inf],
    "tolerance": [-1, np.nan, "low", 2, None],
    "bins": [0, -1, 1.5, "many", None, 10**7],
}


@cache
def sample(staggered: bool) -> Sample:
    if staggered:
        form = FORMS["long"]
        study, data = form.study, form.data
    else:
        study = FORMS["once"].study
        study = study.revise(outcomes=(*study.outcomes, Event("months", "exit", {1: "job", 2: "education"})))
        data = people()
    found = sample_of((study, data))
    assert isinstance(found, Sample)
    return found


CALLS = [
    pytest.param(f, staggered, name, value, id=f"{walk.name(f)}, {name}={value!r}"[:90])
    for staggered in (False, True)
    for f in functions(staggered)
    for name in inspect.signature(f).parameters
    for value in WRONG.get(name, ())
]


@pytest.mark.parametrize(("f", "staggered", "name", "value"), CALLS)
def test_an_argument_that_makes_no_sense_is_refused_in_words(f, staggered, name, value):
    def with_argument(given: Sample) -> Any:
        return f(given, **{name: value})

    with_argument.__module__, with_argument.__name__ = f.__module__, f.__name__
    answer(with_argument, sample(staggered))


def test_every_argument_of_every_function_is_tried():
    every = [*functions(False), *functions(True)]
    taken = {name for f in every for name in inspect.signature(f).parameters}
    assert taken - {"sample"} <= set(WRONG), "say in WRONG what makes no sense for these"
