"""Intervals that allow for diverging trends hold the effect as often as they say, at the edge of what they allow."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import optimize

from impact import Outcome, Study, emulate
from impact.checks.honest_trends import honest_trends
from impact.checks.trends import parallel_trends
from impact.core import honest_restrictions, honest_smooth
from impact.core.honest import Honest
from impact.did import callaway_santanna as did

pytestmark = pytest.mark.slow

BEFORE, AFTER = 4, 3
FIRST, AVERAGE = np.array([1.0, 0, 0]), np.ones(AFTER) / AFTER


def event_study_covariance():
    """Of an event study measured from one period, whose periods have errors correlated at 0.5."""
    t = np.arange(BEFORE + AFTER + 1)
    periods = 0.5 ** np.abs(t[:, None] - t)
    change = np.delete(np.eye(len(t)), BEFORE, axis=0)
    change[:, BEFORE] = -1
    return 0.01 * change @ periods @ change.T


VCOV = event_study_covariance()
RELATIVE = {  # changes from period to period: one largest before, several, none
    "one largest change": ([0.1, 0.5, -0.1, 0.0], 0.5),
    "several equal changes": ([0.2, -0.2, 0.2, -0.2], 0.2),
    "a small change": ([0.0, 0.0, 0.0, 0.05], 0.05),
    "no change": ([0.0, 0.0, 0.0, 0.0], 0.0),
}


def divergence(steps):
    """(K + T,) levels from changes, zero in the reference period."""
    level = np.concatenate([[0.0], np.cumsum(steps)])
    return np.delete(level - level[BEFORE], BEFORE)


def covered(delta, weights, most, reps, rng, restriction, fixed=False):
    """How often an effect of zero is not rejected when the values are normal around the divergence alone."""
    draws = delta + rng.normal(size=(reps, len(delta))) @ np.linalg.cholesky(VCOV).T
    held = [not Honest(b, VCOV, BEFORE, weights, restriction, fixed=fixed).excludes_zero(most) for b in draws]
    return float(np.mean(held))


@pytest.mark.parametrize("name", RELATIVE)
@pytest.mark.parametrize("weights", [FIRST, AVERAGE], ids=["first", "average"])
def test_relative_magnitudes_hold_the_effect(name, weights):
    steps, largest = RELATIVE[name]
    rng = np.random.default_rng(17)
    delta = divergence([*steps, *[largest] * AFTER])
    found = covered(delta, weights, 1.0, 500, rng, "relative")
    print(f"{name}: {found:.3f}")
    assert found >= 0.93
    if name == "one largest change":  # the others are conservative: the largest change before is not known
        assert found <= 0.98


@pytest.mark.parametrize("fixed", [True, False], ids=["fixed length", "conditional"])
@pytest.mark.parametrize("weights", [FIRST, AVERAGE], ids=["first", "average"])
def test_smooth_divergence_at_its_worst(fixed, weights):
    """The divergence is the one within the restriction for which the bias of the shortest interval is largest."""
    rng, most = np.random.default_rng(5), 0.05
    of = honest_smooth.frontier(VCOV, BEFORE, weights)
    pull = honest_smooth.interval(of, np.zeros(BEFORE + AFTER), most, 0.05)[2]
    bends = honest_restrictions.bends(BEFORE, AFTER)
    limits = np.full(2 * len(bends), most)
    worst = optimize.linprog(-pull, A_ub=np.vstack([bends, -bends]), b_ub=limits, bounds=(-50, 50)).x
    found = covered(worst, weights, most, 2000, rng, "smooth", fixed)
    print(f"smooth, fixed {fixed}: {found:.3f}")
    assert 0.935 <= found <= (0.965 if fixed else 1.0)


def panel(rng, n, treated, steps):
    """Units of which the first are treated in the sixth of eight periods, with errors that persist and a divergence."""
    level = np.concatenate([[0.0], np.cumsum(steps)])
    error = np.zeros((n, BEFORE + AFTER + 1))
    error[:, 0] = rng.normal(size=n)
    for t in range(1, error.shape[1]):
        error[:, t] = 0.5 * error[:, t - 1] + np.sqrt(0.75) * rng.normal(size=n)
    y = rng.normal(size=(n, 1)) + error + (np.arange(n) < treated)[:, None] * level
    times = np.arange(1, error.shape[1] + 1)
    start = np.where(np.arange(n) < treated, BEFORE + 2.0, np.nan)
    table = pd.DataFrame({"area": np.arange(n), "start": start} | {f"y_{t}": y[:, t - 1] for t in times})
    return emulate(Study(title="t", unit="area", adoption="start", outcomes=Outcome("y_{}", periods=times)), table)


@pytest.mark.filterwarnings("ignore::impact.ImpactWarning")
@pytest.mark.parametrize(("n", "treated"), [(200, 80), (24, 8)])
def test_from_a_panel(n, treated):
    """Both intervals from the event study of a panel, with many units and with few; the true effect is zero."""
    rng, reps = np.random.default_rng(n), 120
    size = 4 / np.sqrt(treated)
    steps = np.array([0.1, 1.0, -0.1, 0.0, 1.0, 1.0, 1.0]) * size
    bend = np.array([0.0, 1.0, -1.0, 1.0, -1.0, 1.0, 1.0]) * 0.2 * size
    held = {"relative": 0, "smooth": 0, "normal": 0}
    for _ in range(reps):
        path = did.event_study(panel(rng, n, treated, steps), base="universal")
        smooth = did.event_study(panel(rng, n, treated, np.cumsum(bend)), base="universal")
        for name, check in {
            "relative": honest_trends(path, divergence=1, plausible=1.0),
            "smooth": honest_trends(smooth, restriction="smooth", divergence=0, plausible=0.2 * size),
            "normal": honest_trends(
                smooth, restriction="smooth", divergence=0, plausible=0.2 * size, reference="normal"
            ),
        }.items():
            held[name] += not check.passed
    print(n, {k: v / reps for k, v in held.items()})
    assert min(held["relative"], held["smooth"]) / reps >= 0.89  # three standard errors of 120 draws below 0.95


def staggered(rng, n):
    """Three adoption groups of a fifth of the units each; the outcomes are put in later."""
    t = np.arange(1, 9)
    start = rng.choice([4.0, 5.0, 6.0, np.nan], n, p=[0.2, 0.2, 0.2, 0.4])
    table = pd.DataFrame({"area": np.arange(n), "start": start} | {f"y_{k}": rng.normal(size=n) for k in t})
    return emulate(Study(title="t", unit="area", adoption="start", outcomes=Outcome("y_{}", periods=t)), table)


@pytest.mark.filterwarnings("ignore::impact.ImpactWarning")
@pytest.mark.parametrize("n", [60])  # 200 and 400 with more leads: test_did
def test_the_joint_test_of_trends_has_its_size(n):
    """Four effects before adoption, of which the earliest rests on a fifth of the units; errors persist."""
    rng, reps = np.random.default_rng(n), 600
    rejected = 0
    for r in range(reps):
        if r % 20 == 0:
            sample = staggered(rng, n)
            name = next(iter(sample.outcomes))
        error = rng.normal(size=(n, 8))
        for t in range(1, 8):
            error[:, t] = 0.5 * error[:, t - 1] + np.sqrt(0.75) * error[:, t]
        found = did.event_study(replace(sample, outcomes={name: error}))
        rejected += parallel_trends(found).passed is False
    print(n, rejected / reps)
    assert 0.024 <= rejected / reps <= 0.076  # three standard errors either way
