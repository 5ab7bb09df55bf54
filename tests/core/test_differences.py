"""The plain difference in differences and mean reversion as arrays: by hand, scores as derivatives."""

from __future__ import annotations

import numpy as np
import pytest

from impact.core import differences, reversion

PERIODS = np.arange(1.0, 7.0)


def panel(n=40, seed=0):
    r = np.random.default_rng(seed)
    first = r.choice([3.0, 5.0, np.inf], n)
    y = r.normal(size=(n, 6)) + np.where(first[:, None] <= PERIODS, 1.0, 0.0)
    return y, first, r.uniform(0.5, 2, n)


def derivative(value, w, i):
    moved = []
    for by in (-2, -1, 1, 2):
        v = w.copy()
        v[i] *= 1 + by * 1e-3
        moved.append(value(v))
    return (moved[0] - 8 * moved[1] + 8 * moved[2] - moved[3]) / 12e-3


def test_when_units_are_first_treated():
    adoption = np.array([1.0, 2.5, 6.0, 9.0, np.inf, 0.0])
    found = differences.first_treated(adoption, PERIODS)
    np.testing.assert_array_equal(found, [-np.inf, 3.0, 6.0, 9.0, np.inf, -np.inf])


def test_by_hand_with_weights_and_gaps():
    y, first, w = panel()
    y[np.random.default_rng(1).random(y.shape) < 0.15] = np.nan
    found = differences.average(y, first, PERIODS, w)
    groups = []
    for g in (3.0, 5.0):
        cells = []
        for t in PERIODS[PERIODS >= g]:
            change = y[:, int(t) - 1] - y[:, int(g) - 2]
            seen = np.isfinite(change)
            ours, theirs = seen & (first == g), seen & (first > t) & (first != g)
            cells.append(np.average(change[ours], weights=w[ours]) - np.average(change[theirs], weights=w[theirs]))
        groups.append(np.mean(cells))
    size = [w[first == g].sum() for g in (3.0, 5.0)]
    np.testing.assert_allclose(found.value, np.average(groups, weights=size))
    assert (found.cells, found.lacking) == (6, 0)
    np.testing.assert_array_equal(found.treated, np.isfinite(first))


@pytest.mark.parametrize("anticipation", [0, 1])
def test_scores_of_the_difference_are_derivatives(anticipation):
    y, first, w = panel()
    found = differences.average(y, first, PERIODS, w, anticipation)
    assert abs(found.scores.sum()) < 1e-12
    for i in range(0, 40, 7):
        slope = derivative(lambda v: differences.average(y, first, PERIODS, v, anticipation).value, w, i)
        np.testing.assert_allclose(found.scores[i], slope, atol=1e-9)


def test_anticipation_moves_the_start_and_who_is_compared():
    y, first, w = np.zeros((3, 4)), np.array([3.0, 4.0, np.inf]), np.ones(3)
    y[0], y[1], y[2] = [1, 5, 9, 9], [0, 0, 7, 0], [2, 3, 4, 5]
    periods = np.arange(1.0, 5.0)
    plain, early = (differences.average(y, first, periods, w, k).value for k in (0, 1))
    of_first = [(9 - 5) - ((7 - 0) + (4 - 3)) / 2, (9 - 5) - (5 - 3)]
    np.testing.assert_allclose(plain, (np.mean(of_first) + ((0 - 7) - (5 - 4))) / 2)
    of_first = [(9 - 1) - (4 - 2), (9 - 1) - (5 - 2)]
    np.testing.assert_allclose(early, (np.mean(of_first) + ((0 - 0) - (5 - 3))) / 2)


def test_nobody_to_compare_with():
    found = differences.average(np.ones((2, 3)), np.array([2.0, 2.0]), PERIODS[:3], np.ones(2))
    assert np.isnan(found.value) and (found.cells, found.lacking) == (2, 2)


def halves(history):
    half = history.shape[1] // 2
    return history[:, half:].mean(axis=1) - history[:, :half].mean(axis=1)


WINDOWS = reversion.Windows(history=2, horizon=2, baseline=1)


def test_the_slope_is_a_regression_with_a_mean_for_each_date():
    y, _, w = panel()
    b, scores = reversion.slope(y, [2, 3], halves, WINDOWS, w)
    d = np.concatenate([y[:, 1] - y[:, 0], y[:, 2] - y[:, 1]])
    f = np.concatenate([y[:, 2:4].mean(axis=1) - y[:, 1], y[:, 3:5].mean(axis=1) - y[:, 2]])
    n = len(y)
    x = np.column_stack([d, np.repeat([1.0, 0.0], n), np.repeat([0.0, 1.0], n)])
    root = np.sqrt(np.tile(w, 2))[:, None]
    np.testing.assert_allclose(b, np.linalg.lstsq(x * root, f * root[:, 0])[0][0])
    for i in range(0, n, 9):
        slope = derivative(lambda v: reversion.slope(y, [2, 3], halves, WINDOWS, v)[0], w, i)
        np.testing.assert_allclose(scores[i], slope, atol=1e-9)


def test_the_gap_over_groups_and_its_scores():
    y, first, w = panel()
    never = np.isinf(first)

    def gap(v):
        return reversion.gap({3.0: y[:, 0], 5.0: y[:, 1]}, first, never, v)

    sizes = [w[first == g].sum() for g in (3.0, 5.0)]
    means = [np.average(y[first == g, k], weights=w[first == g]) for k, g in enumerate((3.0, 5.0))]
    others = [np.average(y[never, k], weights=w[never]) for k in (0, 1)]
    value, scores = gap(w)
    np.testing.assert_allclose(value, np.average(np.subtract(means, others), weights=sizes))
    for i in range(0, len(y), 9):
        np.testing.assert_allclose(scores[i], derivative(lambda v: gap(v)[0], w, i), atol=1e-9)
