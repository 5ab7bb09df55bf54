"""Regression with absorbed effects against the same regression with every dummy written out."""

from __future__ import annotations

import numpy as np
import pytest

from impact.core.regression import regress


def panel(seed=0, n=30, periods=6, gaps=0.25, k=3, weighted=True):
    r = np.random.default_rng(seed)
    seen = r.random((n, periods)) > gaps
    unit, period = np.nonzero(seen)
    y = r.normal(size=n)[unit] + 0.3 * period + r.normal(size=len(unit))
    x = r.normal(size=(len(unit), k)) + 0.2 * period[:, None]
    w = r.uniform(0.5, 2, n) if weighted else np.ones(n)
    return y, x, unit, period, w


def dummies(*effects):
    columns = np.hstack([(e[:, None] == np.unique(e)).astype(float) for e in effects])
    keep = np.abs(np.diag(np.linalg.qr(columns)[1])) > 1e-8
    return columns[:, keep]


def written_out(y, x, w, effects):
    z = np.hstack([x, dummies(*effects)])
    root = np.sqrt(w)[:, None]
    b = np.linalg.lstsq(root * z, root[:, 0] * y, rcond=None)[0]
    return z, b, y - z @ b, np.linalg.pinv(z.T @ (w[:, None] * z))


@pytest.mark.parametrize("gaps", [0.0, 0.25])
def test_coefficients_residuals_and_scores_are_those_of_the_regression_on_dummies(gaps):
    y, x, unit, period, w = panel(gaps=gaps)
    fit = regress(y, x, row=unit, effects=(unit, period), weights=w)
    z, b, e, m = written_out(y, x, w[unit], (unit, period))
    np.testing.assert_allclose(fit.coefficients, b[:3], rtol=1e-10)
    np.testing.assert_allclose(fit.residual, e, atol=1e-11)
    np.testing.assert_allclose(fit.inverse, m[:3, :3], rtol=1e-9)
    each = (z * (w[unit] * e)[:, None]) @ m[:, :3]
    np.testing.assert_allclose(fit.scores, np.array([each[unit == i].sum(axis=0) for i in range(len(w))]), atol=1e-11)
    assert fit.absorbed == z.shape[1] - 3
    sigma = (w[unit] * e**2).sum() / (len(y) - z.shape[1])
    np.testing.assert_allclose(fit.conventional(), sigma * m[:3, :3], rtol=1e-9)


def test_a_score_is_the_derivative_in_the_units_weight():
    y, x, unit, period, w = panel(1)
    fit = regress(y, x, row=unit, effects=(unit, period), weights=w)
    for i in (0, 7, 29):
        up, down = w.copy(), w.copy()
        up[i] *= 1 + 1e-5
        down[i] *= 1 - 1e-5
        slope = [regress(y, x, row=unit, effects=(unit, period), weights=v).coefficients for v in (up, down)]
        np.testing.assert_allclose((slope[0] - slope[1]) / 2e-5, fit.scores[i], rtol=1e-6, atol=1e-9)
    assert np.abs(fit.scores.sum(axis=0)).max() < 1e-12


def test_many_levels_are_solved_by_iteration_to_the_same_answer(monkeypatch):
    from impact.core import fixed_effects

    y, x, unit, period, w = panel(2, n=60)
    more = np.random.default_rng(0).integers(0, 12, len(y))
    outright = regress(y, x, row=unit, effects=(unit, period), weights=w)
    third = regress(y, x, row=unit, effects=(unit, period, more), weights=w)
    monkeypatch.setattr(fixed_effects, "DENSE", 0)
    again = regress(y, x, row=unit, effects=(unit, period), weights=w)
    np.testing.assert_allclose(again.coefficients, outright.coefficients, rtol=1e-10)
    assert again.absorbed == outright.absorbed
    again = regress(y, x, row=unit, effects=(unit, period, more), weights=w)
    np.testing.assert_allclose(again.coefficients, third.coefficients, rtol=1e-10)
    assert third.absorbed == 60 + 5 + 11


def test_columns_that_others_explain_are_left_out_and_named():
    y, x, unit, period, w = panel(3)
    wide = np.column_stack([x[:, 0], unit.astype(float), x[:, 1], x[:, 0] - x[:, 1] + 2 * period, x[:, 2]])
    fit = regress(y, wide, row=unit, effects=(unit, period), weights=w)
    assert fit.kept.tolist() == [0, 2, 4] and fit.redundant.tolist() == [1, 3]
    np.testing.assert_allclose(
        fit.coefficients, regress(y, x, row=unit, effects=(unit, period), weights=w).coefficients, rtol=1e-9
    )
    with pytest.raises(ValueError, match="asked of"):
        regress(y, unit[:, None].astype(float), row=unit, effects=(unit, period), weights=w)


def test_units_far_from_zero_and_columns_of_any_size_cost_no_digits():
    y, x, unit, period, w = panel(4)
    plain = regress(y, x, row=unit, effects=(unit, period), weights=w)
    size = np.array([1e-9, 1.0, 1e9])
    other = regress(y + 1e6, x * size + 1e3 * size, row=unit, effects=(unit, period), weights=1e-6 * w)
    np.testing.assert_allclose(other.coefficients * size, plain.coefficients, rtol=1e-7)


def by_hand(y, x, w, effects, cluster, k):
    """CR2 and its degrees by the textbook, with N by N matrices; the working variance is 1 / weight."""
    root = np.sqrt(w)[:, None]
    z = root * np.hstack([x, dummies(*effects)])
    m = np.linalg.pinv(z.T @ z)
    hat = z @ m @ z.T
    e = root[:, 0] * y - hat @ (root[:, 0] * y)
    groups = [np.flatnonzero(cluster == g) for g in np.unique(cluster)]
    pull = []
    for g in groups:
        size, basis = np.linalg.eigh(np.eye(len(g)) - hat[np.ix_(g, g)])
        grow = np.where(size > 1e-9, 1 / np.sqrt(np.maximum(size, 1e-9)), 0)
        pull.append((basis * grow) @ basis.T @ z[g] @ m[:, :k])
    v = sum(np.outer(q.T @ e[g], q.T @ e[g]) for q, g in zip(pull, groups, strict=True))
    left = np.eye(len(y)) - hat
    dof = []
    for j in range(k):
        p = np.column_stack([left[:, g] @ q[:, j] for q, g in zip(pull, groups, strict=True)])
        omega = p.T @ p
        dof.append(np.trace(omega) ** 2 / (omega**2).sum())
    return v, np.array(dof)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("coarse", [False, True])
def test_cr2_and_its_degrees_are_the_textbooks(weighted, coarse):
    y, x, unit, period, w = panel(5, n=24, weighted=weighted)
    x[:, 2] = (unit < 6) & (period >= 3)
    cluster = np.arange(24) // (4 if coarse else 1)
    fit = regress(y, x, row=unit, effects=(unit, period), weights=w)
    small = fit.small(cluster)
    v, dof = by_hand(y, x, w[unit], (unit, period), cluster[unit], 3)
    np.testing.assert_allclose(small.covariance(), v, rtol=1e-8)
    np.testing.assert_allclose(small.degrees, dof, rtol=1e-8)
    contrast = small.carry(np.array([[1.0, -1.0, 0.0]]))
    np.testing.assert_allclose(contrast.covariance(), [[v[0, 0] + v[1, 1] - 2 * v[0, 1]]], rtol=1e-8)


def test_two_groups_and_one_date_give_welchs_variance():
    """Before and after, treated and not: a comparison of two means of changes, whatever the errors do over time."""
    r = np.random.default_rng(6)
    n, treated, periods = 20, 5, 10
    y = np.cumsum(r.normal(size=(n, periods)), axis=1)
    unit, period = np.repeat(np.arange(n), periods), np.tile(np.arange(periods), n)
    d = ((unit < treated) & (period >= 5)).astype(float)[:, None]
    fit = regress(y.ravel(), d, row=unit, effects=(unit, period), weights=np.ones(n))
    small = fit.small(np.arange(n))
    change = y[:, 5:].mean(axis=1) - y[:, :5].mean(axis=1)
    a, b = change[:treated], change[treated:]
    np.testing.assert_allclose(fit.coefficients, a.mean() - b.mean())
    np.testing.assert_allclose(small.covariance(), a.var(ddof=1) / 5 + b.var(ddof=1) / 15)
    np.testing.assert_allclose(small.degrees, (1 / 5 + 1 / 15) ** 2 / (1 / (25 * 4) + 1 / (225 * 14)))


def test_one_treated_cluster_has_no_error():
    r = np.random.default_rng(7)
    n, periods = 20, 6
    unit, period = np.repeat(np.arange(n), periods), np.tile(np.arange(periods), n)
    x = np.column_stack([(unit == 0) & (period >= 3), r.normal(size=n * periods)]).astype(float)
    fit = regress(r.normal(size=n * periods), x, row=unit, effects=(unit, period), weights=np.ones(n))
    small = fit.small(np.arange(n))
    assert small.estimable.tolist() == [False, True]
    assert np.isnan(small.degrees[0]) and np.isnan(small.covariance()[0]).all()
    assert np.isfinite(small.covariance()[1, 1])


def test_a_weight_of_two_is_a_unit_twice_in_its_cluster():
    y, x, unit, period, w = panel(8, n=20)
    double = np.ones(20)
    double[::3] = 2
    one = regress(y, x, row=unit, effects=(unit, period), weights=w * double)
    again = np.flatnonzero(unit % 3 == 0)
    place = np.append(np.arange(20), np.arange(0, 20, 3))
    copy = np.where(unit[again] % 3 == 0, 20 + unit[again] // 3, 0)
    row = np.append(unit, copy)
    both = np.append(np.arange(len(y)), again)
    two = regress(y[both], x[both], row=row, effects=(row, period[both]), weights=w[place])
    np.testing.assert_allclose(two.coefficients, one.coefficients, rtol=1e-9)
    np.testing.assert_allclose(two.small(place).covariance(), one.small(np.arange(20)).covariance(), rtol=1e-8)
    np.testing.assert_allclose(two.small(place).degrees, one.small(np.arange(20)).degrees, rtol=1e-8)


def test_an_observation_may_have_a_share_of_its_units_weight():
    y, x, unit, period, w = panel(9)
    share = np.random.default_rng(0).uniform(0.2, 1, len(y))
    share[:5] = 0
    fit = regress(y, x, row=unit, effects=(unit, period), weights=w, share=share)
    b = written_out(y, x, w[unit] * share, (unit, period))[1]
    np.testing.assert_allclose(fit.coefficients, b[:3], rtol=1e-10)
    assert fit.used.sum() == len(y) - 5
    parts = fit.parts()
    np.testing.assert_allclose([parts[unit[fit.used] == i].sum(axis=0) for i in range(len(w))], fit.scores, atol=1e-12)
