"""Every design keeps the same promises: it never looks at an outcome, and it says what it did."""

from __future__ import annotations

import re
from dataclasses import replace
from importlib import resources

import numpy as np
import pytest

from impact import Durations
from tests.contracts import promises, walk

DESIGNS = walk.functions("Sample")
pytestmark = pytest.mark.filterwarnings("ignore::impact.ImpactWarning")


def tried():
    for f in DESIGNS:
        options = [{}]
        if walk.takes(f, "replace"):
            options += [{"replace": True}, {"ratio": 2, "caliper": None}]
        elif walk.takes(f, "ratio"):
            options += [{"ratio": 2}]
        if walk.takes(f, "exact"):
            options += [{"exact": ("school",)}]
        for option in options:
            words = ", ".join(f"{k}={v}" for k, v in option.items()) or "defaults"
            yield pytest.param(f, option, id=f"{walk.name(f)} with {words}")


every_design = pytest.mark.parametrize(("f", "options"), list(tried()))


def start():
    return walk.samples()["people"]


@every_design
def test_it_keeps_the_units_and_says_what_it_did(f, options):
    before = start()
    after = f(promises.frozen(before), **options)
    assert len(after) == len(before) and (after.unit == before.unit).all()
    assert len(after.steps) == len(before.steps) + 1 and len(after.steps[-1].split()) > 2
    assert (after.weights >= 0).all() and np.isfinite(after.weights).all()
    assert after.weights[after.treated].sum() > 0 and after.weights[~after.treated].sum() > 0
    assert (after.sampling == before.sampling).all()


@every_design
def test_it_never_looks_at_an_outcome(f, options):
    before = start()
    mix = np.random.default_rng(0).permutation(len(before))
    blind = {
        k: Durations(v.time[mix], v.status[mix]) if isinstance(v, Durations) else v[mix]
        for k, v in before.outcomes.items()
    }
    assert (f(before, **options).weights == f(replace(before, outcomes=blind), **options).weights).all()


@every_design
def test_the_order_of_the_rows_changes_nothing(f, options):
    before = start()
    mix = np.random.default_rng(0).permutation(len(before))
    assert np.allclose(f(before, **options).weights[mix], f(before.take(mix), **options).weights, rtol=1e-9, atol=1e-12)


@every_design
def test_both_sides_of_a_matched_set_weigh_the_same(f, options):
    after = f(start(), **options)
    if after.strata is None:
        assert len(np.unique(after.cluster)) == len(np.unique(start().cluster))
        return
    used = after.weights > 0
    assert (after.strata[~used] < 0).all() and (after.strata[used] >= 0).all()
    for s in np.unique(after.strata[used]):
        mine = after.strata == s
        sides = after.weights[mine & after.treated].sum(), after.weights[mine & ~after.treated].sum()
        assert np.isclose(*sides)


@every_design
def test_a_comparison_unit_is_used_as_often_as_allowed(f, options):
    after = f(start(), **options)
    if after.strata is None:
        told = any(note.startswith("Standard errors take the weights") for note in after.notes)
        stays = after.weights > 0
        trimmed = not stays.all() and (after.weights[stays] == start().weights[stays]).all()
        assert after.nuisance is not None or options.get("replace") or told or trimmed
        return
    assert not options.get("replace")
    for s in np.unique(after.strata[after.strata >= 0]):
        mine = after.strata == s
        treated, comparison = (mine & after.treated).sum(), (mine & ~after.treated).sum()
        assert treated >= 1 and comparison >= 1
        if walk.takes(f, "ratio"):
            assert treated == 1 and comparison <= options.get("ratio", 1)


@every_design
def test_what_it_leaves_out_is_in_the_flow(f, options):
    before, after = start(), f(start(), **options)
    used = after.weights > 0
    if used.all():
        return
    last = after.flow[-1]
    assert len(after.flow) == len(before.flow) + 1
    assert last.treated == (used & after.treated).sum() and last.comparison == (used & ~after.treated).sum()


@pytest.mark.parametrize("f", DESIGNS, ids=walk.name)
def test_it_says_what_it_assumes_and_whom_it_follows(f):
    text = f.__doc__ or ""
    known = set(re.findall(r"@\w+\{(\w+),", resources.files("impact").joinpath("references.bib").read_text("utf-8")))
    keys = re.search(r"\*\*References\*\*:?\s*([\w ;,.\n]+)", text)
    assert "**Assumptions**" in text and keys
    cited = set(re.findall(r"\b[a-z]+\d{4}[a-z]?\b", keys.group(1)))
    assert cited and cited <= known
