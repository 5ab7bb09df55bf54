"""Regressions with unit effects against the same regressions with a dummy for every unit."""

from __future__ import annotations

import numpy as np
import pytest

from impact.core import unit_effects


def problem(seed=0, n=40, T=6, kinds=3, q=2, gaps=0.2):
    rng = np.random.default_rng(seed)
    y = rng.normal(size=(n, T)) + 5 * rng.normal(size=(n, 1))
    y[rng.random((n, T)) < gaps] = np.nan
    kind = rng.integers(0, kinds, n)
    terms = rng.normal(size=(kinds, T, 3))
    z = np.column_stack([np.ones(n), rng.normal(size=(n, q - 1))])
    return y, kind, terms, z, rng.uniform(0.5, 2, n)


def dense(y, kind, terms, z, w):
    n, T = y.shape
    rows = np.einsum("itj,iq->itjq", terms[kind], z).reshape(n * T, -1)
    x = np.column_stack([rows, np.kron(np.eye(n), np.ones((T, 1)))])
    kept = np.isfinite(y.ravel())
    root = np.sqrt(np.repeat(w, T)[kept])[:, None]
    found = np.linalg.lstsq(x[kept] * root, y.ravel()[kept] * root[:, 0], rcond=None)[0]
    residual = np.full(n * T, np.nan)
    residual[kept] = y.ravel()[kept] - x[kept] @ found
    return found[: rows.shape[1]], residual.reshape(n, T)


@pytest.mark.parametrize("gaps", [0.0, 0.2, 0.5])
@pytest.mark.parametrize("n", [40, 300])
def test_coefficients_and_residuals_are_those_with_a_dummy_for_each_unit(gaps, n):
    y, kind, terms, z, w = problem(gaps=gaps, n=n)
    fit = unit_effects.fit(y, np.isfinite(y), kind, terms, z, w)
    coefficients, residual = dense(y, kind, terms, z, w)
    np.testing.assert_allclose(fit.coefficients.ravel(), coefficients, atol=1e-9)
    np.testing.assert_allclose(fit.residual, residual, atol=1e-9)


def test_scores_are_derivatives_in_the_weights():
    y, kind, terms, z, w = problem(seed=1)
    gradient = np.random.default_rng(2).normal(size=(4, 3, 2))

    def value(weights):
        fit = unit_effects.fit(y, np.isfinite(y), kind, terms, z, weights)
        return np.einsum("mjq,jq->m", gradient, fit.coefficients)

    scores = unit_effects.fit(y, np.isfinite(y), kind, terms, z, w).carry(gradient)
    np.testing.assert_allclose(scores.sum(axis=0), 0, atol=1e-12)
    for i in (0, 7, 31):
        step = np.zeros(len(w))
        step[i] = 1e-4 * w[i]
        slope = (value(w + step) - value(w - step)) / 2e-4
        np.testing.assert_allclose(scores[i], slope, rtol=1e-5, atol=1e-8)


def test_what_the_data_do_not_tell_is_known():
    """A column a period has no meaning beside unit effects, and the difference of two has."""
    y, kind, _, z, w = problem(gaps=0.0)
    T = y.shape[1]
    fit = unit_effects.fit(y, np.isfinite(y), np.zeros(len(y), int), np.eye(T)[None], z, w)
    alone, gap = np.zeros((T, 2)), np.zeros((T, 2))
    alone[2, 0] = gap[2, 0] = 1
    gap[1, 0] = -1
    assert list(fit.estimable(np.stack([alone, gap]))) == [False, True]
    part = np.where(np.arange(T) < 3, kind[:, None] == 0, kind[:, None] > 0)  # nobody is seen on both sides
    apart = unit_effects.fit(y, part, np.zeros(len(y), int), np.eye(T)[None], z, w)
    across = np.zeros((T, 2))
    across[4, 0], across[1, 0] = 1, -1
    assert list(apart.estimable(np.stack([gap, across]))) == [True, False]


def test_coefficients_that_are_not_free_are_zero():
    y, kind, terms, z, w = problem(seed=3)
    free = np.ones((3, 2), bool)
    free[2] = False
    fit = unit_effects.fit(y, np.isfinite(y), kind, terms, z, w, free)
    less = unit_effects.fit(y, np.isfinite(y), kind, terms[:, :, :2], z, w)
    np.testing.assert_allclose(fit.coefficients[:2], less.coefficients, atol=1e-12)
    assert (fit.coefficients[2] == 0).all()


def test_patterns_with_many_periods():
    rng = np.random.default_rng(4)
    seen = rng.random((50, 95)) < 0.5
    seen[25:] = seen[:25]
    code, first = unit_effects.patterns(np.zeros(50, int), seen)
    assert (code[25:] == code[:25]).all() and len(first) == 25
