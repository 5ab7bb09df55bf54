"""The largest balanced sample: balance kept, size against enumeration, refusals."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from impact import Outcome, Study, emulate
from impact.checks.balance import balance
from impact.matching import cardinality
from tests.contracts import walk

pytestmark = pytest.mark.filterwarnings("ignore::impact.ImpactWarning")


def people(**changes):
    return emulate(walk.TRIAL.revise(**changes), walk.people())


@pytest.mark.parametrize("estimand", ["ATT", "ATC", "ATE"])
@pytest.mark.parametrize(("ratio", "tolerance"), [(1, 0.02), (2, 0.1)])
def test_balance_is_as_close_as_asked(estimand, ratio, tolerance):
    after = cardinality.match(people(estimand=estimand), ratio=ratio, tolerance=tolerance)
    if ratio == 1:  # with several partners the ATC gives a treated unit their weight, which changes no mean
        assert balance(after).table["after"].abs()[1:].max() <= tolerance + 1e-6
    used = after.weights > 0
    assert (used & ~after.treated).sum() == ratio * (used & after.treated).sum()
    for s in range(after.strata.max() + 1):
        mine = after.strata == s
        assert (mine & after.treated).sum() == 1 and (mine & ~after.treated).sum() == ratio


def test_no_larger_balanced_sample_exists():
    """Six treated and six comparison units: every choice is tried."""
    import pandas as pd

    r = np.random.default_rng(5)
    for seed in range(4):
        x = np.concatenate([r.normal(0.8, 1, 6), r.normal(0, 1, 6)])
        rows = pd.DataFrame({"id": range(12), "t": [1] * 6 + [0] * 6, "x": x, "y": 0.0})
        study = Study(title="t", unit="id", treatment="t", covariates=("x",), outcomes=Outcome("y"))
        limit = 0.3 * x[:6].std(ddof=1)
        best = max(
            (
                size
                for size in range(1, 7)
                for a in combinations(x[:6], size)
                for b in combinations(x[6:], size)
                if abs(np.mean(a) - np.mean(b)) <= limit
            ),
            default=0,
        )
        sample = emulate(study, rows)
        if best == 0:
            with pytest.raises(ValueError, match="raise the tolerance"):
                cardinality.match(sample, tolerance=0.3, gap=0.0)
            continue
        assert cardinality.match(sample, tolerance=0.3, gap=0.0).flow[-1].treated == best, seed


def test_less_tolerance_never_keeps_more():
    start = people()
    kept = [cardinality.match(start, tolerance=t, gap=0.0).flow[-1].treated for t in (0.01, 0.05, 0.3)]
    assert kept == sorted(kept)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"ratio": 0}, "whole number of partners"),
        ({"tolerance": -0.1}, "`tolerance` is -0.1"),
        ({"gap": "none"}, "`gap` is 'none'"),
        ({"seconds": 0}, "`seconds` is 0"),
        ({"ratio": 200}, "raise the tolerance"),
    ],
)
def test_refusals(options, words):
    with pytest.raises(ValueError, match=words):
        cardinality.match(people(), **options)


def test_sampling_weights_are_refused():
    with pytest.raises(ValueError, match="unequal sampling weights"):
        cardinality.match(people(weights="weight"))
