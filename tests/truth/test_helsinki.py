"""The main job against the truth: 200 simulated pilots, matched, and the effect on each exit at 12 months.

Who volunteers is decided by recorded covariates, so matching on them should remove all bias. The truth is the
expected effect on the clients who were served, over the luck that clients like them may have.

Bias is judged at two Monte Carlo standard errors for three exits, so that one set of seeds in seven or eight
fails by luck alone. Seeds 1 to 200 are such a set (jobs: -2.5); seeds 201 to 800 together are not (+0.1, -0.3 and
+1.9), and weighting shows the same on both, so the luck is in the draws. The seeds below were chosen before looking.
"""

from __future__ import annotations

import numpy as np
import pytest
from joblib import Parallel, delayed

from impact import Study, emulate, toml
from impact.datasets import helsinki

SEEDS = range(1001, 1201)
EXITS = ("job", "education", "other lasting solution")


def declared() -> Study:
    from importlib import resources

    content = toml.loads(resources.files("impact.datasets").joinpath("helsinki.toml").read_text("utf-8"))
    content.pop("plan"), content.pop("data")
    return Study.from_mapping(content)


def one(seed: int) -> np.ndarray:
    """(3 exits, 5): truth, naive estimate, matched estimate, its standard error, and whether its interval covers."""
    import warnings

    from impact import ImpactWarning
    from impact.matching import nearest
    from impact.survival import aalen_johansen

    city = helsinki(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ImpactWarning)
        sample = emulate(declared(), city.clients)
        matched = nearest.match(sample, ratio=2, caliper=0.2)
    naive = aalen_johansen.risk_difference(sample, outcome="months", times=[12])
    effect = aalen_johansen.risk_difference(matched, outcome="months", times=[12])
    low, high = effect.interval()
    truth = np.array([city.effect("months", cause=c, time=12) for c in effect.index["cause"]])
    return np.column_stack([truth, naive.value, effect.value, effect.std_error, (low <= truth) & (truth <= high)])


@pytest.fixture(scope="module")
def runs() -> np.ndarray:
    """(seeds, exits, 5)."""
    return np.array(Parallel(n_jobs=-1)(delayed(one)(seed) for seed in SEEDS))


@pytest.mark.slow
@pytest.mark.parametrize("k", range(3), ids=EXITS)
def test_matching_is_unbiased_for_each_exit(runs, k):
    error = runs[:, k, 2] - runs[:, k, 0]
    monte_carlo = error.std(ddof=1) / np.sqrt(len(error))
    print(f"{EXITS[k]}: bias {error.mean():+.5f}, Monte Carlo standard error {monte_carlo:.5f}")
    assert abs(error.mean()) < 2 * monte_carlo


@pytest.mark.slow
@pytest.mark.parametrize("k", range(3), ids=EXITS)
def test_intervals_cover(runs, k):
    covered = runs[:, k, 4].mean()
    spread, claimed = (runs[:, k, 2] - runs[:, k, 0]).std(ddof=1), np.sqrt((runs[:, k, 3] ** 2).mean())
    print(f"{EXITS[k]}: coverage {covered:.3f}; spread {spread:.5f}, standard error {claimed:.5f}")
    assert 0.93 <= covered <= 0.97


@pytest.mark.slow
def test_without_adjustment_the_answer_is_wrong(runs):
    """The test has teeth: the naive difference in jobs is biased by many Monte Carlo standard errors."""
    error = runs[:, 0, 1] - runs[:, 0, 0]
    assert error.mean() > 8 * error.std(ddof=1) / np.sqrt(len(error))
