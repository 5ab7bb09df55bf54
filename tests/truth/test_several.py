"""Three arms in repeated samples of a thousand, selected on covariates: intervals of 95 per cent cover 93 to 97.

Effects grow with a covariate that also decides who gets what, so that each estimand has its own truth; errors differ
by arm. The truth is the mean over two million draws of all three potential outcomes, weighted by the true
probabilities as the estimand says. Coverage is held to the bounds promised, and to three standard errors of a
binomial share for the simulation.
"""

from __future__ import annotations

import warnings
from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd
import pytest
from joblib import Parallel, delayed

from impact import ImpactWarning, Outcome, Study, emulate
from impact.matching import several, several_doubly_robust

pytestmark = pytest.mark.slow

N, REPS = 1000, 300
STUDY = Study(
    title="t", unit="id", treatment="arm", treated=("A", "B"), comparison="public", covariates=("a", "b", "group"),
    outcomes=Outcome("y"),
)  # fmt: skip
ARMS = np.array(["public", "A", "B"])
# of the arms public, A, B: estimand to the weight of a unit, given its probabilities
POPULATION = {
    "ATE": lambda p: np.ones(len(p)),
    "ATT": lambda p: p[:, 1],
    "ATC": lambda p: p[:, 0],
    "ATO": lambda p: 1 / (1 / p).sum(axis=1),
    "ATM": lambda p: p.min(axis=1),
}
CASES = {f"weighted, {e}": (e, lambda s: several.differences(several.weight(s))) for e in POPULATION}
CASES |= {f"doubly robust, {e}": (e, several_doubly_robust.differences) for e in ("ATE", "ATT", "ATC")}
LEVELS = {"weighted": lambda s: several.means(several.weight(s)), "doubly robust": several_doubly_robust.means}
CASES |= {f"means, {name}": ("means", f) for name, f in LEVELS.items()}


def draw(r, n):
    """Covariates, the probabilities of the arms, and the outcome under each: (n, 3) both."""
    a, b, group = r.normal(size=n), r.normal(size=n), r.integers(0, 2, n)
    predictor = np.column_stack([np.zeros(n), -0.5 + 0.5 * a - 0.3 * b, -0.8 - 0.4 * a + 0.4 * b + 0.4 * group])
    p = np.exp(predictor)
    base = a + 0.5 * b + group
    y = np.column_stack([base, base + 1 + 0.5 * a, base + 0.5 - 0.5 * b + 0.5 * group])
    return pd.DataFrame({"a": a, "b": b, "group": group}), p / p.sum(axis=1, keepdims=True), y


@cache
def truth():
    """By estimand: A less public, B less public, A less B; the means of A, B and public for everybody."""
    _, p, y = draw(np.random.default_rng(99), 2_000_000)
    means = {name: np.average(y, axis=0, weights=of(p)) for name, of in POPULATION.items()}
    gaps = {name: np.array([m[1] - m[0], m[2] - m[0], m[1] - m[2]]) for name, m in means.items()}
    return gaps | {"means": means["ATE"][[1, 2, 0]]}


def one(seed):
    """For each case: estimates, their errors, whether each interval covers, and whether all three do at once."""
    r = np.random.default_rng(seed)
    rows, p, y = draw(r, N)
    arm = (r.random(N)[:, None] > p.cumsum(axis=1)).sum(axis=1)
    seen = y[np.arange(N), arm] + r.normal(size=N) * np.array([1.0, 0.5, 1.5])[arm]
    sample = emulate(STUDY, rows.assign(arm=ARMS[arm], y=seen, id=np.arange(N)))
    found = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ImpactWarning)
        for name, (estimand, estimator) in CASES.items():
            e = estimator(replace(sample, study=STUDY.revise(estimand="ATE" if estimand == "means" else estimand)))
            target = truth()[estimand]
            low, high = e.interval()
            p_value = e.test(target)["p_value"]
            found[name] = (e.value - target, e.std_error, (low <= target) & (target <= high), p_value)
    return found


@pytest.fixture(scope="module")
def runs():
    truth()
    return Parallel(n_jobs=-1)(delayed(one)(seed) for seed in range(7000, 7000 + REPS))


@pytest.mark.parametrize("name", CASES)
def test_intervals_cover(runs, name):
    off, error, covers = (np.array([run[name][k] for run in runs]) for k in range(3))
    bias, spread, covered = off.mean(axis=0), off.std(axis=0, ddof=1), covers.mean(axis=0)
    stated = np.sqrt((error**2).mean(axis=0))
    print(f"{name}: bias {bias.round(4)}, spread {spread.round(4)}, stated {stated.round(4)}, covered {covered}")
    assert (np.abs(covered - 0.95) <= 0.02 + 3 * np.sqrt(0.95 * 0.05 / REPS)).all()
    assert (np.abs(bias) < (0.2 + 3 / np.sqrt(REPS)) * spread).all()


@pytest.mark.parametrize("name", CASES)
def test_the_joint_test_of_all_pairs_keeps_its_size(runs, name):
    rejected = np.mean([run[name][3] < 0.05 for run in runs])
    print(f"{name}: rejects {rejected:.3f}")
    assert abs(rejected - 0.05) <= 0.02 + 3 * np.sqrt(0.95 * 0.05 / REPS)
