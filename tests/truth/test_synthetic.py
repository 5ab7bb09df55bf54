"""Synthetic comparisons in repeated samples: intervals cover where the docstring says so, and the docstring is right.

40 areas, 20 periods before and 10 after, two autocorrelated common shocks that the treated feel more, autocorrelated
errors; no effect.
"""

from __future__ import annotations

import numpy as np
import pytest

from impact.core import synthetic_panel
from impact.did import synthetic
from tests.did.test_synthetic import sample_of

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::impact.ImpactWarning")]

N, BEFORE, AFTER = 40, 20, 10
T = BEFORE + AFTER


def persistent(rng, rows, rho):
    shocks = rng.normal(size=(rows, T))
    for t in range(1, T):
        shocks[:, t] = rho * shocks[:, t - 1] + np.sqrt(1 - rho**2) * shocks[:, t]
    return shocks


def panel(rng, treated, felt=0.5, noise=1.0):
    import pandas as pd

    mine = np.arange(N) < treated
    loading = rng.normal(size=(N, 2)) + felt * mine[:, None]
    y = 2 * rng.normal(size=(N, 1)) + loading @ persistent(rng, 2, 0.8)
    y += persistent(rng, N, 0.5) * np.where(mine, noise, 1.0)[:, None]
    table = pd.DataFrame({"area": np.arange(N), "start": np.where(mine, BEFORE + 1, np.nan)})
    return sample_of(table.assign(**{f"rate_{k + 1}": y[:, k] for k in range(T)}))


def coverage(treated, repetitions, seed=5, felt=0.5, noise=1.0, **options):
    rng, covered = np.random.default_rng(seed), 0
    for _ in range(repetitions):
        found = synthetic.att(panel(rng, treated, felt, noise), solver="exact", **options)
        low, high = found.interval()
        covered += bool(low[0] <= 0 <= high[0])
    return covered / repetitions


@pytest.mark.parametrize("treated", [1, 3, 8])
def test_the_default_error_of_synthetic_did_covers(treated):
    assert 0.91 <= coverage(treated, 200) <= 0.985


@pytest.mark.parametrize("treated", [3, 8])
def test_the_jackknife_bears_treated_areas_that_are_more_erratic(treated):
    assert 0.91 <= coverage(treated, 200, noise=2.0) <= 0.985


def test_placebos_do_not_and_the_docstring_says_so():
    assert coverage(1, 120, noise=2.0) < 0.85
    found = synthetic.att(panel(np.random.default_rng(0), 1, noise=3.0))
    assert any("times as much among the treated" in n for n in found.notes)


@pytest.mark.parametrize("treated", [1, 3])
def test_the_default_error_of_synthetic_control_covers(treated):
    assert 0.90 <= coverage(treated, 150, method="synthetic_control", draws=40) <= 0.995


def test_placebos_of_one_area_are_all_there_are():
    sample = panel(np.random.default_rng(1), 1)
    assert "39 placebos among 39" in synthetic.att(sample).method
    arranged = synthetic_panel.arranged(
        np.zeros((4, 3)), np.ones(4), np.arange(4), np.array([2, 3, 3, 3]), np.arange(4)[:, None]
    )
    drawn = synthetic_panel.placebos(arranged, 200, np.random.default_rng(0))
    assert len(drawn.w) == 3 and (drawn.w[:, 0] == 0).all() and ((drawn.group == 0).sum(axis=1) == 1).all()
