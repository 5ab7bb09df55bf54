"""The decomposition adds up to the estimate it takes apart, in every kind of panel; and the verdict follows it."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from impact import Outcome, Study, emulate
from impact.checks.goodman_bacon import goodman_bacon
from impact.core import goodman_bacon as core
from impact.did import two_way

pytestmark = pytest.mark.filterwarnings("ignore::impact.ImpactWarning")
STUDY = Study(title="t", unit="unit", period="time", adoption="start", outcomes=Outcome("y", "rate"))


def table(starts, n=90, periods=8, growth=0.0, seed=0, weighted=False):
    r = np.random.default_rng(seed)
    g = r.choice(starts, n)
    t = np.arange(1, periods + 1)
    age = np.where(np.isinf(g[:, None]), -1, t - g[:, None])
    y = r.normal(size=(n, 1)) + 0.2 * t + r.normal(size=(n, periods)) + np.where(age >= 0, 1 + growth * age, 0)
    w = r.uniform(0.5, 2, n) if weighted else np.ones(n)
    start = np.where(np.isinf(g), np.nan, g)
    columns = {"time": np.tile(t, n), "y": y.ravel(), "start": np.repeat(start, periods), "w": np.repeat(w, periods)}
    return pd.DataFrame({"unit": np.repeat(np.arange(n), periods), **columns})


@pytest.mark.parametrize("always", ["leave_out", "keep"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("starts", [[3, 5, np.inf], [4, 6, 8], [1, 3, 6, np.inf], [2, 3, 4, 5, 9, np.inf]])
def test_the_parts_add_up_to_the_estimate(starts, weighted, always):
    study = STUDY.revise(weights="w") if weighted else STUDY
    sample = emulate(study, table(starts, weighted=weighted, growth=0.5))
    found = goodman_bacon(sample, always_treated=always).tidy()
    assert abs(found["weight"].sum() - 1) < 1e-12 and (found["weight"] > 0).all()
    whole = two_way.att(sample, always_treated=always).value[0]
    assert abs((found["weight"] * found["estimate"]).sum() - whole) < 1e-10


def test_effects_enter_with_the_weights_that_the_regression_gives_them():
    """An effect of one on one group in one period moves the estimate by its weight."""
    start, weight, periods = np.array([2, 4, 7, 8]), np.array([10.0, 20.0, 30.0, 25.0]), 8
    expected = core.effects(start, weight, periods)
    parts = core.comparisons(start, weight, np.zeros((4, periods)))
    for g, t in [(0, 2), (0, 7), (1, 5), (2, 7)]:
        mean = np.zeros((4, periods))
        mean[g, t] = 1
        moved = core.comparisons(start, weight, mean)
        np.testing.assert_allclose(parts.weight @ moved.estimate, expected[g, t], atol=1e-14)
    assert (expected < 0).any() and abs(expected.sum() - 1) < 1e-12


def test_the_comparisons_are_linear_in_the_groups_means():
    start, weight, mean = (
        np.array([0, 2, 4, 8]),
        np.array([5.0, 1.0, 2.0, 3.0]),
        np.random.default_rng(1).normal(size=(4, 8)),
    )
    parts = core.comparisons(start, weight, mean)
    pull = core.coefficients(parts, parts.weight, start, 8)
    np.testing.assert_allclose((pull * mean).sum(), parts.weight @ parts.estimate)


def test_growing_effects_are_found_out():
    check = goodman_bacon(emulate(STUDY, table([3, 6], growth=1.0)))
    assert check.passed is False and "instead of" in check.reason
    check = goodman_bacon(emulate(STUDY, table([4, np.inf], growth=1.0)))
    assert check.passed is True and check.reason == "No comparison is with units already treated."
    check = goodman_bacon(emulate(STUDY, table([3, 6, np.inf], n=300, seed=1)))
    assert check.passed is None, "the weight is there, and does not matter here"


def test_what_cannot_be_decomposed_is_said():
    with pytest.raises(ValueError, match="a comparison needs two"):
        goodman_bacon(emulate(STUDY, table([4])))
    gaps = table([3, 6, np.inf]).drop(index=[5, 40])
    with pytest.raises(ValueError, match="is not seen in every period"):
        goodman_bacon(emulate(STUDY.revise(missing="keep"), gaps))
    single = Study(title="t", unit="unit", adoption="start", outcomes=(Outcome("y_{}", periods=(1, 2)), Outcome("z")))
    wide = pd.DataFrame({"unit": [1, 2, 3], "start": [2, 2, None], "y_1": [1, 2, 3], "y_2": [2, 4, 3], "z": [1, 1, 2]})
    with pytest.raises(ValueError, match="two periods"):
        goodman_bacon(emulate(single, wide), outcome="z")


def test_the_figure_shows_weight_against_estimate():
    check = goodman_bacon(emulate(STUDY, table([3, 6, np.inf])))
    axes = check.plot()
    labels = [line.get_label() for line in axes.get_lines()]
    assert {"against never treated", "against already treated", "their average"} <= set(labels)
    dots = np.concatenate([line.get_xdata() for line in axes.get_lines() if line.get_marker() not in ("None", "")])
    assert sorted(dots) == pytest.approx(sorted(check.tidy()["weight"]))
    plt.close("all")
