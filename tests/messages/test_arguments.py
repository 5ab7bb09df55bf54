"""Arguments that make no sense: every function found by walking refuses them in a sentence, or answers with numbers."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest

from impact import Event, Sample
from impact.study import ESTIMANDS
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
    "unbalanced": ["steady", None, 3],
    "balance": [-1, 99, "even", np.nan, 1.5],
    "average": ["mean", None],
    "threshold": [-1, 0, np.nan, "low", None, np.inf],
    "tolerance": [-1, np.nan, "low", 2, None],
    "bins": [0, -1, 1.5, "many", None, 10**7],
    "gap": [-1, np.nan, "small", None, 2],
    "seconds": [0, -1, np.nan, "long", None],
    "moments": [0, -1, 1.5, "many", None, 99],
    "covariates": ["nothing", 3, ["age", "nothing"], [], [3]],
    "cutpoints": ["fine", 0, -3, 1.5, np.nan, {"nothing": 3}, {"age": [np.nan]}, {"age": "fine"}, None],
    "grouping": [3, "school", {"nothing": [["a"]]}, {"school": 3}, {"school": [["nothing"]]}],
    "kernel": ["magic", None, 3],
    "bandwidth": [0, -1, np.nan, "wide", None, np.inf, True],
    "support": ["no", None, 3],
    "distance": ["crow", None, 3],
    "on": ["nothing", 3, ["age", "nothing"], [""], [3]],
    "score": ["nothing", 3, ..., [0.5]],
    "folds": [0, 1, 1.5, "many", None, 10**6],
    "fewest": [0, 3, "few", 1.5],
    "most": [0, 3, "many", 1.5],
    "caliper_in": ["metres", None, 3],
    "calipers": [{"nothing": 1}, {"age": -1}, {"age": "wide"}, {"age": np.nan}, "age", 3, None],
    "calipers_sd": [{"nothing": 1}, {"age": -1}, {"age": "wide"}, {"age": np.nan}, "age", 3, None],
    "antiexact": ["nothing", 3, ["age", "nothing"], [""], [3]],
    "discard": ["everybody", None, 3],
    "ties": ["both", None, 3],
    "classes": [0, 1, -1, 1.5, "many", None, 10**6],
    "smallest": [-1, 1.5, "few", None, 10**6],
    "cut": [-1, 0, 0.6, np.nan, "low"],
    "share": [-1, 0.6, np.nan, "low", None],
    "drop": ["everybody", None, 3],
    "matches": [0, -1, 1.5, "two", True, None, 10**6],
    "metric": ["crow", None, 3],
    "bias_adjust": ["no", None, 3],
    "variance_matches": [0, -1, 1.5, "two", 10**6],
    "outcome_model": ["magic", 3, ...],
    "treatment_model": ["magic", 3, ...],
    "n_jobs": [0, 1.5, "all"],
    "quantiles": [-1, [np.nan], "middle", [], [2], 0, 1, None, [0.5, "two"], [[0.5]]],
    "draws": [0, 1, -1, 1.5, "many", None],
    "term": ["nothing", 3, ["age"], ""],
    "estimator": ["magic", 3],
    "by": ["nothing", 3, ["age"], ""],
    "detail": ["no", None, 3],
    "time": [np.nan, "soon", 99, [], [1, 2], -1],
    "bias": [0, -1, np.nan, "low", 0.5, [1, 2]],
    "level": [0, 1, -1, np.nan, "high", None, 95],
    "blocks": [3, "age", {"a": ["nothing"]}, {"a": 3}, {}, {"a": []}],
    "against": ["nothing", 3, ["age", "nothing"], [""], [3], []],
    "margin": [0, -1, np.nan, "low", None],
    "at": [np.nan, "soon", 99, [], [1, 2]],
    "estimators": [{}, 3, "magic", {"a": 3}],
    "size": [np.nan, "big", [], None, [0, "two"]],
    "units": [0, -1, 1.5, "many", 10**6],
    "few": ["stay", None, 3],
    "most_treated": [0, -1, 1.5, "two", True],
    "most_comparison": [0, -1, 1.5, "two", True],
    "focal": ["nobody", 3, [], 1.5],
    "cut_by": ["everybody", 3],
    "design": ["magic", 3],
    "before": [-1, 1.5, np.nan, "long", [], [[1]], 10**6],
    "after": [-1, 1.5, np.nan, "long", [], [[1]], 10**6],
    "neighbours": [3, "map", [], {}, {"a": 3}],
    "coordinates": [3, "map", [], {}, {"a": 3}],
    "population": [3, "many", {}, [1, 2]],
    "aim": [np.nan, "high", [], np.inf, True],
    "earlier": [0, -1, np.nan, "soon", [], 99, [1, "two"], [[1]]],
    "nearest": [0, -1, 1.5, "two", True],
    "rule": ["magic", 3, len, np.sum],
    "history": [0, -1, 1.5, "long", 99],
    "baseline": [0, -1, 1.5, "two", None, 99],
    "repetitions": [0, 1, -1, 1.5, "many", None],
    "effects": ["random", None, 3],
    "errors": ["magic", "robust", 3],
    "always_treated": ["drop", None, 3],
    "lags": [-1, np.nan, "many", True, 99],
    "reference": [np.nan, "start", 99, [], [[1]], [-1, 99]],
    "pre": [-1, 0, "many", np.nan, 1.5, 99],
    "post": [-1, "many", np.nan, 1.5, 99],
    "stacking": ["magic", None, 3],
    "affected": ["nothing", "", 3, ["age"], "age"],
    "leads": [-1, 99, "many", np.nan, 1.5, True],
    "solver": ["magic", 3, None],
    "periods": [0, -1, 1.5, "many", 10**6],
    "named": ["no", None, 3],
    "gamma": [0, -1, [np.nan], "strong", [], [0.5], None],
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


def calls() -> Iterator[Any]:
    """Functions of one module share the code that looks at an argument: in the fast lane the first is tried."""
    tried = set()
    for staggered in (False, True):
        for f in functions(staggered):
            for name in inspect.signature(f).parameters:
                for value in WRONG.get(name, ()):
                    key = (f.__module__, name, repr(value))
                    marks = (pytest.mark.slow,) if key in tried else ()
                    tried.add(key)
                    shown = getattr(value, "__name__", None) or repr(value)
                    about = f"{walk.name(f)}, {name}={shown}"[:90]
                    yield pytest.param(f, staggered, name, value, id=about, marks=marks)


@pytest.mark.parametrize(("f", "staggered", "name", "value"), list(calls()))
def test_an_argument_that_makes_no_sense_is_refused_in_words(f, staggered, name, value):
    def with_argument(given: Sample) -> Any:
        return f(given, **{name: value})

    with_argument.__module__, with_argument.__name__ = f.__module__, f.__name__
    answer(with_argument, sample(staggered))


def test_every_argument_of_every_function_is_tried():
    every = [*functions(False), *functions(True)]
    taken = {name for f in every for name in inspect.signature(f).parameters}
    assert taken - {"sample"} <= set(WRONG), "say in WRONG what makes no sense for these"


@pytest.mark.parametrize("f", functions(staggered=False), ids=walk.name)
@pytest.mark.parametrize("estimand", ESTIMANDS)
def test_every_estimand_has_an_answer_or_a_sentence(f, estimand):
    found = sample(False)
    answer(f, replace(found, study=found.study.revise(estimand=estimand)))
