"""Least squares: against statsmodels, under changes that must not matter, and its scores as derivatives."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm

from impact.core.linear import coordinates, least_squares
from tests.core.derivatives import slopes


def made(seed=1, n=80, p=4):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, p))
    x[:, 1] = rng.integers(0, 2, n)
    y = x @ rng.normal(size=p) + rng.normal(size=n) * (1 + x[:, 1])
    return y, x, rng.gamma(2, 1, n)


def test_coefficients_and_predictions_are_statsmodels():
    y, x, w = made()
    fit, peer = least_squares(y, x, w), sm.WLS(y, sm.add_constant(x), weights=w).fit()
    assert np.allclose(fit.in_units(), peer.params, rtol=1e-12)
    assert np.allclose(fit.predict(x), peer.fittedvalues, rtol=1e-12)
    assert np.allclose(fit.residual, peer.resid, atol=1e-12)


def test_scores_give_the_sandwich_of_statsmodels():
    """HC0 of a weighted regression is the sum of the outer products of the scores."""
    y, x, w = made()
    fit = least_squares(y, x, w)
    peer = sm.WLS(y, sm.add_constant(x), weights=w).fit(cov_type="HC0")
    # The slope on column 2 in its units is coefficient 3 in the fit's coordinates over its scale.
    gradient = np.zeros(5)
    gradient[3] = 1 / fit.coordinates.scale[2]
    scores = fit.carry(gradient)
    assert np.sqrt(scores @ scores) == pytest.approx(peer.bse[3], rel=1e-12)


@pytest.mark.parametrize("periods", [None, 3])
def test_scores_of_a_prediction_are_its_derivatives(periods):
    y, x, w = made()
    if periods:
        y = np.column_stack([y, y**2, np.sin(y)])[:, :periods]
    v = np.random.default_rng(2).random(len(w))

    def total(weights):
        return v @ least_squares(y, x, weights).predict(x)

    fit = least_squares(y, x, w)
    scores = fit.carry(fit.design.T @ v)
    assert scores.shape == y.shape
    assert np.allclose(slopes(total, w, range(0, 80, 7)), scores[::7].reshape(12, -1), atol=1e-8)
    assert np.allclose(scores.sum(axis=0), 0, atol=1e-10)


def test_each_outcome_may_have_its_own_gradient():
    y, x, w = made()
    both = np.column_stack([y, y**2])
    fit = least_squares(both, x, w)
    gradient = np.random.default_rng(3).normal(size=(5, 2))
    scores = fit.carry(gradient)
    for t in range(2):
        alone = least_squares(both[:, t], x, w)
        assert np.allclose(scores[:, t], alone.carry(gradient[:, t]), atol=1e-12)


def test_many_outcomes_are_as_many_regressions():
    y, x, w = made()
    both = least_squares(np.column_stack([y, -2 * y + 1]), x, w)
    assert np.allclose(both.coefficients[:, 0], least_squares(y, x, w).coefficients, atol=1e-12)
    assert np.allclose(both.predict(x)[:, 1], -2 * both.predict(x)[:, 0] + 1, atol=1e-12)


def test_row_order_and_doubled_weights_change_nothing():
    y, x, w = made()
    i = np.random.default_rng(4).permutation(len(y))
    a, b, c = least_squares(y, x, w), least_squares(y[i], x[i], w[i]), least_squares(y, x, 2 * w)
    g = a.design.T @ np.ones(len(y))
    assert np.allclose(a.in_units(), b.in_units(), rtol=1e-11)
    assert np.allclose(a.in_units(), c.in_units(), rtol=1e-11)
    assert np.allclose(a.carry(g)[i], b.carry(b.design.T @ np.ones(len(y))), atol=1e-11)
    assert np.allclose(a.carry(g), c.carry(g), atol=1e-11)


def test_weight_two_is_a_row_twice_and_weight_zero_is_no_row():
    y, x, _ = made()
    w = np.ones(80)
    w[:5], w[5:9] = 2, 0
    rows = np.concatenate([np.arange(80)[w > 0], np.arange(5)])
    a, b = least_squares(y, x, w), least_squares(y[rows], x[rows], np.ones(len(rows)))
    assert np.allclose(a.in_units(), b.in_units(), rtol=1e-11)
    ga, gb = a.coordinates.of(x).sum(axis=0), b.coordinates.of(x).sum(axis=0)
    assert np.allclose(a.carry(ga)[w == 1], b.carry(gb)[5:76], atol=1e-11)
    assert np.allclose(a.carry(ga)[:5], b.carry(gb)[:5] + b.carry(gb)[76:], atol=1e-11)
    assert (a.carry(ga)[5:9] == 0).all()


def test_units_of_measurement_change_nothing():
    y, x, w = made()
    scale = np.array([1e-9, 1.0, 1e9, 1e150])
    a, b = least_squares(y, x, w), least_squares(1e-9 * y, x * scale, w)
    assert np.allclose(1e-9 * a.predict(x), b.predict(x * scale), rtol=1e-11)
    assert np.allclose(a.in_units()[1:], 1e9 * b.in_units()[1:] * scale, rtol=1e-10)
    g = a.design.T @ np.ones(80)
    assert np.allclose(1e-9 * a.carry(g), b.carry(g), rtol=1e-9, atol=1e-20)


def test_an_offset_of_a_trillion_costs_only_the_digits_the_data_lost():
    y, x, w = made()
    there = x.copy()
    there[:, 0] = x[:, 0] + 1e12
    here = x.copy()
    here[:, 0] = there[:, 0] - 1e12  # what the column still says after its rounding
    a, b = least_squares(y, here, w), least_squares(y, there, w)
    assert len(b.redundant) == 0
    assert np.allclose(a.predict(here), b.predict(there), atol=1e-9)
    shifted = least_squares(y + 1e12, here, w).predict(here) - 1e12
    assert np.allclose(a.predict(here), shifted, atol=1e-3)


def test_redundant_columns_are_named_in_order_and_change_no_prediction():
    y, x, w = made()
    wide = np.column_stack([x[:, :2], np.full(80, 0.3), x[:, 0] - 3 * x[:, 1] + 2, x[:, 2:], 1e-9 * x[:, 3]])
    a, b = least_squares(y, x, w), least_squares(y, wide, w)
    assert b.redundant.tolist() == [2, 3, 6]
    assert np.allclose(a.predict(x), b.predict(wide), atol=1e-11)
    assert np.isnan(b.in_units()[[3, 4, 7]]).all()
    assert np.allclose(b.in_units()[[0, 1, 2, 5, 6]], a.in_units(), atol=1e-11)


def test_a_category_of_rows_without_weight_is_redundant():
    y, x, w = made()
    w = np.where(x[:, 1] == 1, 0.0, w)
    assert least_squares(y, x, w).redundant.tolist() == [1]


def test_nearly_collinear_columns_stay():
    y, x, w = made()
    x[:, 3] = x[:, 0] + 1e-5 * x[:, 3]
    fit = least_squares(y, x, w)
    assert len(fit.redundant) == 0
    peer = sm.WLS(y, sm.add_constant(x), weights=w).fit()
    assert np.allclose(fit.predict(x), peer.fittedvalues, atol=1e-8)


def test_a_regression_on_nothing_is_the_mean():
    y, _, w = made()
    fit = least_squares(y, np.empty((80, 0)), w)
    assert fit.in_units() == pytest.approx([np.average(y, weights=w)])
    assert np.allclose(fit.predict(np.empty((2, 0))), np.average(y, weights=w))


def test_more_columns_than_rows_is_refused_with_both_counts():
    rng = np.random.default_rng(5)
    with pytest.raises(ValueError, match=r"on 10 columns .* asked of 10 rows.*Name fewer covariates"):
        least_squares(rng.normal(size=10), rng.normal(size=(10, 30)), np.ones(10))


def test_coordinates_are_unit_free():
    _, x, w = made()
    a, b = coordinates(x, w), coordinates(1e6 * x + 5, w)
    assert np.allclose(a.of(x), b.of(1e6 * x + 5), atol=1e-8)
    design = a.of(x)
    v = w / w.sum()
    assert np.allclose(v @ design[:, 1:], 0, atol=1e-14)
    assert np.allclose(v @ design[:, 1:] ** 2, 1, rtol=1e-13)
