"""Every estimator keeps the same promises. None is listed by hand."""

from __future__ import annotations

import copy
import pickle
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache, partial
from importlib import resources
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest

from impact import Durations, Estimate, Sample
from impact.show import glossary
from tests.contracts import promises, walk

ESTIMATORS = walk.functions("Estimate")
DESIGNS = walk.functions("Sample")


def cases(*, every: bool = False) -> Iterator[Any]:
    """The functions of one module take turns at the samples; in the slow lane ``every`` one is tried on all.

    In did, where they share their cells, each is tried on one; elsewhere on two.
    """
    turn: dict[str, int] = {}
    for f in ESTIMATORS:
        place = turn[f.__module__] = turn.get(f.__module__, -1) + 1
        labels = list(walk.samples_for(f))
        each = 1 if f.__module__.split(".")[1] == "did" else 2
        for j, label in enumerate(labels):
            fast = (j - each * place) % len(labels) < each
            if fast or every:
                yield pytest.param(f, label, id=f"{walk.name(f)} on {label}", marks=() if fast else pytest.mark.slow)


# After every design one estimator of each topic is tried in the fast lane, on one sample, which takes turns, and on
# every sample in the slow one; there all others are tried too, on one sample each, those of did after every fourth
# design.
TRIED = ("matching.means.difference", "survival.aalen_johansen.risk_difference", "did.callaway_santanna.att")


def on_designs() -> Iterator[Any]:
    for i, f in enumerate(ESTIMATORS):
        labels = list(walk.samples_for(f))
        for j, design in enumerate(DESIGNS):
            now = labels[(i + j) % len(labels)]
            if f.__module__.split(".")[1] == "did" and walk.name(f) not in TRIED and (i + j) % 4:
                continue  # functions that share their cells share the designs as well
            for label in labels if walk.name(f) in TRIED else [now]:
                fast = walk.name(f) in TRIED and label == now
                name = f"{walk.name(f)} after {walk.name(design)} on {label}"
                yield pytest.param(f, design, label, id=name, marks=() if fast else pytest.mark.slow)


def refused(f: Callable[..., Any], sample: Sample) -> str:
    """Why a design or an estimator does not take this sample, in its own words; empty if it does."""
    try:
        f(sample)
    except ValueError as reason:
        return str(reason)
    return ""


@cache
def scored(f: Callable[..., Estimate]) -> bool:
    """Whether it has scores; else its variance is a published formula or a bootstrap, and coverage is simulated."""
    return f(next(iter(walk.samples_for(f).values()))).scores is not None


needs_scores = pytest.mark.needs_scores


@pytest.fixture(autouse=True)
def _what_it_does_not_take(request: pytest.FixtureRequest) -> None:
    """An estimator without scores may refuse a sample, in a sentence; promises about scores are not its own.

    A panel with gaps any estimator may refuse in a sentence.
    """
    about = getattr(request.node, "callspec", None)
    if about is None or "f" not in about.params:
        return
    f, label = about.params["f"], about.params.get("label")
    if label in walk.with_gaps() and (reason := refused(f, walk.samples()[label])):
        assert len(reason.split()) > 8, "a refusal is a sentence"
        pytest.skip("refuses panels with gaps in a sentence")
    if scored(f):
        return
    if request.node.get_closest_marker("needs_scores"):
        pytest.skip("has no scores: simulated coverage takes the place of this promise")
    if "label" in about.params and (reason := refused(f, walk.samples()[about.params["label"]])):
        assert len(reason.split()) > 8, "a refusal is a sentence"
        pytest.skip("refuses this sample in a sentence")


every_case = pytest.mark.parametrize(("f", "label"), list(cases()))
every_sample = pytest.mark.parametrize(("f", "label"), list(cases(every=True)))
each = pytest.mark.parametrize("f", ESTIMATORS, ids=walk.name)
pytestmark = pytest.mark.filterwarnings("ignore::impact.ImpactWarning")


def test_the_walk_finds_the_house_furnished():
    found = {walk.name(f) for f in ESTIMATORS}
    assert {*TRIED, "did.callaway_santanna.att_gt", "did.callaway_santanna.event_study"} <= found


@needs_scores
@every_sample
def test_a_units_score_is_the_derivative_of_the_estimate_in_its_weight(f, label):
    """The infinitesimal jackknife: one promise that proves every standard error."""
    assert promises.derivative_gap(f, walk.samples()[label]) < 1e-6


@needs_scores
@pytest.mark.parametrize(("f", "design", "label"), list(on_designs()))
def test_the_derivative_holds_after_every_design(f, design, label):
    """Estimated weights: through the design. Matched sets: the derivative in the weights that matching gave."""
    sample = walk.samples()[label]
    reason = refused(design, sample)
    if reason:
        assert len(reason.split()) > 8, "a refusal is a sentence"
        return
    designed = design(sample)
    if designed.nuisance is not None:
        assert promises.derivative_gap(lambda s: f(design(s)), sample, units=6) < 1e-6
    else:
        assert promises.derivative_gap(f, designed, units=6) < 1e-6


@needs_scores
@every_case
def test_a_planted_fault_in_the_scores_is_seen(f, label):
    """One part in ten thousand of one value's scores, and the contract above fails."""

    def faulty(sample: Sample) -> Estimate:
        e = f(sample)
        assert e.scores is not None
        wrong = e.scores.copy()
        wrong[:, 0] *= 1 + 1e-4
        return replace(e, scores=wrong)

    assert promises.derivative_gap(faulty, walk.samples()[label], units=12) > 1e-6


@needs_scores
@every_case
def test_the_contributions_to_error_cancel(f, label):
    e = f(walk.samples()[label])
    assert np.all(np.abs(e.scores.sum(axis=0)) <= 1e-8 * np.maximum(np.abs(e.scores).sum(axis=0), 1e-300))


@every_case
def test_the_order_of_the_rows_changes_nothing(f, label):
    sample = walk.samples()[label]
    mixed = sample.take(np.random.default_rng(1).permutation(len(sample)))
    assert promises.same(f(sample), f(mixed))


@every_case
def test_the_labels_of_the_units_change_nothing(f, label):
    sample = walk.samples()[label]
    assert promises.same(f(sample), f(replace(sample, unit=np.array([f"ö {9999 - i}" for i in range(len(sample))]))))


@every_case
def test_doubling_every_weight_changes_nothing(f, label):
    sample = walk.samples()[label]
    assert promises.same(f(sample), f(replace(sample, weights=2 * sample.weights, sampling=2 * sample.sampling)))


@every_case
def test_a_weight_of_two_is_a_row_twice(f, label):
    """With the second row in the cluster of the first: the same person, counted twice."""
    if f.__module__.endswith("abadie_imbens"):
        pytest.skip("its units are independent: a unit counted twice would be its own nearest neighbour")
    sample = walk.samples()[label]
    chosen = np.arange(0, len(sample), 3)
    factor = np.ones(len(sample))
    factor[chosen] = 2
    heavy = replace(sample, weights=sample.weights * factor, sampling=sample.sampling * factor)
    twice = sample.take(np.concatenate([np.arange(len(sample)), chosen]))
    twice = replace(twice, unit=np.arange(len(twice)))
    assert promises.same(f(heavy), f(twice))


@every_case
def test_the_outcome_shifted_and_scaled_does_what_it_must(f, label):
    """a·y + b: every value is a times itself, plus b for a level and nothing for a difference."""
    sample = walk.samples()[label]
    if f.__module__.startswith("impact.survival"):
        times = {"times": [6.0, 24.0]} if walk.takes(f, "times") else {}
        later = {k: Durations(2 * v.time, v.status, v.entry) if isinstance(v, Durations) else v
                 for k, v in sample.outcomes.items()}  # fmt: skip
        before = f(sample, **{k: [t / 2 for t in v] for k, v in times.items()})
        after = f(replace(sample, outcomes=later), **times)
        ratio = 1.0 if before.percent or before.scale == "log" else 2.0
        assert np.allclose(after.value, ratio * before.value, rtol=1e-9)
        return
    if f(sample).scale == "log":  # of two arms: a ratio does not know the unit, and turned round its odds are one over
        turn, power = ((lambda v: 1 - v), -1) if "odds" in f.__name__ else ((lambda v: 3 * v), 1)
        better = {"better": turn(sample.outcomes["better"])}
        before, after = (f(replace(sample, outcomes=o), outcome="better")
                         for o in (sample.outcomes, {**sample.outcomes, **better}))  # fmt: skip
        assert np.allclose(after.value, before.value**power, rtol=1e-9)
        return
    moved = {k: v if isinstance(v, Durations) else 3 * v + 7 for k, v in sample.outcomes.items()}
    before, after = f(sample), f(replace(sample, outcomes=moved))
    shift = after.value - 3 * before.value
    assert np.allclose(shift, 0, atol=1e-8) or np.allclose(shift, 7, atol=1e-8)
    assert np.allclose(after.std_error, 3 * before.std_error)


@each
def test_asking_for_less_changes_nothing_in_what_is_asked(f):
    sample = next(iter(walk.samples_for(f).values()))
    first = "better" if "better" in sample.outcomes else sample.study.outcomes[0].name  # odds ask for yes or no
    asked = {"times": ([3.0, 6.0, 9.0], [6.0]), "outcome": (None, [first]),
             "cause": (None, "education")}  # fmt: skip
    if f.__module__.startswith("impact.survival"):
        asked["outcome"] = (None, "months")
    for parameter, (much, little) in asked.items():
        if not walk.takes(f, parameter):
            continue
        many, few = f(sample, **{parameter: much}), f(sample, **{parameter: little})
        labels = list(few.index.columns)
        both = many.tidy().merge(few.tidy(), on=labels, suffixes=("", "_few"))
        assert len(both) == len(few.value)
        for column in ("estimate", "std_error"):
            assert np.allclose(both[column], both[f"{column}_few"], rtol=1e-10, equal_nan=True)


@every_case
def test_nothing_is_mutated(f, label):
    f(promises.frozen(walk.samples()[label]))


@each
def test_it_prints_plots_and_sets_in_type(f):
    e = f(next(iter(walk.samples_for(f).values())))
    assert "Estimate" in repr(e)
    assert "<table" in e.to_html()
    assert r"\toprule" in e.to_latex() and "|" in e.to_markdown()
    axes = e.plot()
    assert axes.get_figure() is not None
    plt.close("all")


@each
def test_its_columns_are_in_the_glossary(f):
    assert not glossary.unknown(f(next(iter(walk.samples_for(f).values()))).tidy().columns)


@each
def test_it_says_what_it_assumes_and_whom_it_follows(f):
    text = f.__doc__ or ""
    assert "**Assumptions**" in text, "the assumptions"
    keys = re.search(r"\*\*References\*\*:?\s*([\w ;,.\n]+)", text)
    assert keys, "the references"
    known = set(re.findall(r"@\w+\{(\w+),", resources.files("impact").joinpath("references.bib").read_text("utf-8")))
    cited = set(re.findall(r"\b[a-z]+\d{4}[a-z]?\b", keys.group(1)))
    assert cited and cited <= known
    assert set(f(next(iter(walk.samples_for(f).values()))).references) <= known


@each
def test_it_can_be_called_with_a_sample_alone(f):
    import inspect

    _, *rest = inspect.signature(f).parameters.values()
    assert all(p.kind is p.KEYWORD_ONLY and p.default is not p.empty for p in rest)


@each
def test_no_person_leaves_the_process(f):
    e = f(next(iter(walk.samples_for(f).values())))
    released = pickle.loads(pickle.dumps(e))
    assert released.scores is None and released.unit is None and released.cluster is None
    assert promises.same(e, released) and released.df == e.df
    assert copy.deepcopy(e).scores is e.scores
    assert len(pickle.dumps(e)) < 20_000 + 16 * len(e.value) ** 2 + 200 * len(e.value)


@each
def test_a_wrong_name_is_answered_with_the_names_there_are(f):
    if not walk.takes(f, "outcome"):
        pytest.skip("takes no outcome")
    sample = next(iter(walk.samples_for(f).values()))
    with pytest.raises((KeyError, ValueError), match="nonsense|has no outcome"):
        partial(f, sample)(outcome="nonsense")
