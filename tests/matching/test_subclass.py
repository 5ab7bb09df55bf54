"""Subclassification on the score: bounds, classes that are joined, refusals."""

from __future__ import annotations

import numpy as np
import pytest

from impact import emulate
from impact.matching import subclass
from tests.contracts import walk

pytestmark = pytest.mark.filterwarnings("ignore::impact.ImpactWarning")


def people(**changes):
    return emulate(walk.TRIAL.revise(**changes), walk.people())


@pytest.mark.parametrize("estimand", ["ATT", "ATC", "ATE"])
@pytest.mark.parametrize("classes", [2, 5])
def test_bounds_are_quantiles_among_the_group_of_interest(estimand, classes):
    after = subclass.stratify(people(estimand=estimand), classes=classes)
    d = after.treated
    of = {"ATT": d, "ATC": ~d, "ATE": np.ones(len(d), bool)}[estimand]
    bounds = np.quantile(after.score[of], np.arange(1, classes) / classes)
    assert (after.strata == np.searchsorted(bounds, after.score, side="right")).all()
    size = np.bincount(after.strata[of])
    assert np.ptp(size) <= 1


def test_classes_with_too_few_are_joined_and_it_is_said():
    start = people()
    before = subclass.stratify(start, classes=12)
    after = subclass.stratify(start, classes=12, smallest=4)
    for arm in (after.treated, ~after.treated):
        assert np.bincount(after.strata[arm]).min() >= 4
    assert after.strata.max() < 11
    assert any("joined a neighbour" in note for note in after.notes)
    assert (after.weights > 0).all()
    # classes stay in order of the score
    top = [after.score[after.strata == k].max() for k in range(after.strata.max() + 1)]
    assert top == sorted(top) and before.strata.max() <= 11


def test_refusals():
    for options in ({"classes": 1}, {"classes": 2.0}, {"classes": True}, {"smallest": 0}):
        with pytest.raises(ValueError, match="whole number"):
            subclass.stratify(people(), **options)
    with pytest.raises(ValueError, match="45 treated and 105 comparison"):
        subclass.stratify(people(), smallest=60)
