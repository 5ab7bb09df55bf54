"""The regression from group means against the regression on every observation."""

from __future__ import annotations

import numpy as np
import pytest

from impact.core.collapsed import collapsed, collapsed_with_gaps
from impact.core.regression import regress


def panel(seed, n=60, periods=7, covariates=0):
    r = np.random.default_rng(seed)
    first = r.choice([3.0, 5.0, np.inf], n)
    groups, code = np.unique(first, return_inverse=True)
    z = r.normal(size=(n, covariates)) + 3
    y = 1e5 + r.normal(size=(n, 1)) + r.normal(size=(n, periods)) + z.sum(axis=1, keepdims=True) * np.arange(periods)
    z *= [1e-6, 1e6][:covariates]
    age = np.arange(1, periods + 1) - groups[:, None]
    pattern = np.stack([age == e for e in (-2, 0, 1, 2)], axis=2).astype(float)
    return y, code, pattern, z, r.uniform(0.5, 2, n) * (r.random(n) > 0.1)


def stacked(y, code, pattern, z, w, within):
    n, periods = y.shape
    unit, period = np.repeat(np.arange(n), periods), np.tile(np.arange(periods), n)
    x = pattern[code[unit], period]
    each = [(period == t) * z[unit, j] for j in range(z.shape[1]) for t in range(periods)]
    effects = (unit, period) if within else (period,)
    return regress(y.ravel(), np.column_stack([x, *each]), row=unit, effects=effects, weights=w)


@pytest.mark.parametrize("covariates", [0, 2])
@pytest.mark.parametrize("within", [True, False])
def test_group_means_say_all(covariates, within):
    y, code, pattern, z, w = panel(covariates, covariates=covariates)
    a = collapsed(y, code, pattern, z, w, within=within)
    b = stacked(y, code, pattern, z, w, within)
    np.testing.assert_allclose(a.coefficients, b.coefficients[:4], rtol=1e-8)
    np.testing.assert_allclose(a.scores, b.scores[:, :4], rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(a.conventional(), b.conventional()[:4, :4], rtol=1e-7)
    assert a.degrees == b.degrees and np.abs(a.scores.sum(axis=0)).max() < 1e-9


def test_a_column_that_others_explain_is_left_out():
    y, code, pattern, z, w = panel(5)
    wide = np.concatenate([pattern, pattern.sum(axis=2, keepdims=True), np.ones_like(pattern[:, :, :1])], axis=2)
    found = collapsed(y, code, wide, z, w)
    assert found.kept.tolist() == [0, 1, 2, 3] and found.redundant.tolist() == [4, 5]
    with pytest.raises(ValueError, match="tells 0 of the columns"):
        collapsed(y, code, np.ones_like(pattern), z, w)


@pytest.mark.parametrize("within", [True, False])
def test_units_seen_in_the_same_periods_are_a_kind(within):
    y, code, pattern, _, w = panel(7, n=200)
    y[np.random.default_rng(0).random(y.shape) < 0.3] = np.nan
    y[:3] = np.nan
    y[3, 1:] = np.nan
    wide = np.concatenate([pattern, pattern.sum(axis=2, keepdims=True), np.ones_like(pattern[:, :, :1])], axis=2)
    a = collapsed_with_gaps(y, code, wide, w, within=within)
    unit, period = np.nonzero(~np.isnan(y))
    effects = (unit, period) if within else (period,)
    b = regress(y[unit, period], wide[code[unit], period], row=unit, effects=effects, weights=w)
    assert a.kept.tolist() == b.kept.tolist() == [0, 1, 2, 3] and a.redundant.tolist() == [4, 5]
    np.testing.assert_allclose(a.coefficients, b.coefficients, rtol=1e-8)
    np.testing.assert_allclose(a.scores, b.scores, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(a.conventional(), b.conventional(), rtol=1e-7)
    assert a.degrees == b.degrees


def test_where_every_unit_is_a_kind_of_its_own_it_says_no(monkeypatch):
    from impact.core import collapsed as module

    monkeypatch.setattr(module, "MOST", 10)
    y, code, pattern, _, w = panel(7)
    assert collapsed_with_gaps(y, code, pattern, w) is None
