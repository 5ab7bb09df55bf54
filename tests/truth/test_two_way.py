"""Two-way effects with few treated units and errors that last: what intervals cover.

Errors of a unit are AR(1) with 0.8 over ten periods; no effect. The usual errors are beside ours: of least squares
(iid), robust to unequal variances (HC1), and by clusters with fixest's factor and t(G - 1).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from impact import Outcome, Study, emulate
from impact.core.regression import regress
from impact.did import sun_abraham, two_way

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::impact.ImpactWarning")]

T, RHO = 10, 0.8
ONCE, APART = (6,), (4, 5, 6, 7, 8)
STUDY = Study(title="t", unit="unit", adoption="start", outcomes=Outcome("y_{}", periods=range(1, T + 1)))


def sample_of(n, starts):
    start = np.append(np.asarray(starts, float), np.full(n - len(starts), np.nan))
    wide = pd.DataFrame({"unit": np.arange(n), "start": start} | {f"y_{t}": np.zeros(n) for t in range(1, T + 1)})
    return emulate(STUDY, wide)


def errors(rng, n, treated, ratio=1.0):
    e = np.empty((n, T))
    e[:, 0] = rng.normal(size=n) / np.sqrt(1 - RHO**2)
    for t in range(1, T):
        e[:, t] = RHO * e[:, t - 1] + rng.normal(size=n)
    e[:treated] *= ratio
    return e


def covered(estimate):
    low, high = estimate.interval()
    return (low <= 0) & (0 <= high)


def usual(y, first):
    """Whether intervals with iid, HC1 and cluster-robust errors hold zero."""
    n = len(y)
    unit, period = np.repeat(np.arange(n), T), np.tile(np.arange(1, T + 1), n)
    d = (period >= first[unit]).astype(float)[:, None]
    fit = regress(y.ravel(), d, row=unit, effects=(unit, period), weights=np.ones(n))
    hc1 = np.sqrt((fit.parts() ** 2).sum() * n * T / fit.degrees)
    clustered = np.sqrt((fit.scores**2).sum() * n / (n - 1) * (n * T - 1) / (n * T - 1 - T))
    value, df = abs(fit.coefficients[0]), fit.degrees
    return (
        value < stats.t.ppf(0.975, df) * np.sqrt(fit.conventional()[0, 0]),
        value < stats.t.ppf(0.975, df) * hc1,
        value < stats.t.ppf(0.975, n - 1) * clustered,
    )


@pytest.mark.parametrize(
    ("n", "starts", "ratio", "least", "most"),
    [
        (20, ONCE * 5, 1.0, 0.93, 0.97),
        (20, APART, 1.0, 0.93, 0.97),
        (20, ONCE * 5, 2.0, 0.92, 0.97),  # errors of the treated twice as large
        (50, APART, 1.0, 0.93, 0.975),
        (20, ONCE * 3, 1.0, 0.93, 0.985),
        (20, (4, 6, 8), 1.0, 0.93, 0.99),
        (20, ONCE * 2, 1.0, 0.97, 1.0),  # too wide rather than too narrow: one degree of freedom
    ],
)
def test_with_few_treated_units_intervals_cover_where_the_usual_ones_do_not(n, starts, ratio, least, most):
    rng, reps = np.random.default_rng(3), 800
    sample = sample_of(n, starts)
    held, others = 0, np.zeros(3)
    for _ in range(reps):
        y = errors(rng, n, len(starts), ratio)
        held += covered(two_way.att(replace(sample, outcomes={"y": y})))[0]
        others += usual(y, sample.adoption)
    iid, hc1, clustered = others / reps
    print(f"{len(starts)} of {n} at {sorted(set(starts))}, ratio {ratio}: iid {iid:.3f}, HC1 {hc1:.3f}, "
          f"clustered {clustered:.3f}, ours {held / reps:.3f}")  # fmt: skip
    assert least <= held / reps <= most
    assert iid < 0.8 and hc1 < 0.8 and clustered < 0.94


def test_one_treated_unit_has_no_interval():
    rng = np.random.default_rng(4)
    found = two_way.att(replace(sample_of(20, (6,)), outcomes={"y": errors(rng, 20, 1)}))
    assert np.isnan(found.std_error).all() and np.isnan(found.interval()).all()


@pytest.mark.parametrize("estimator", [two_way.event_study, sun_abraham.event_study])
def test_each_effect_of_an_event_study_is_covered(estimator):
    """Eight treated of thirty, at two dates; every time since adoption."""
    rng, reps = np.random.default_rng(5), 1000
    sample = sample_of(30, (5,) * 4 + (7,) * 4)
    held = np.mean(
        [covered(estimator(replace(sample, outcomes={"y": errors(rng, 30, 8)}))) for _ in range(reps)], axis=0
    )
    print(estimator.__module__, np.round(held, 3))
    assert held.min() > 0.93 and held.max() < 0.985
