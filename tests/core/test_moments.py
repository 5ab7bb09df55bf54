"""Weighted moments against their definitions, numpy and statsmodels."""

from __future__ import annotations

import numpy as np
import pytest

from impact.core.moments import effective_size, mean, mean_scores, smd, variance
from tests.core.derivatives import slopes


@pytest.fixture
def rows():
    rng = np.random.default_rng(1)
    return rng.normal(3, 2, (40, 3)), rng.gamma(2, 1, 40), rng.random(40) < 0.4


def test_a_mean_of_columns_is_the_columns_means(rows):
    x, w, _ = rows
    assert np.allclose(mean(x, w), np.average(x, axis=0, weights=w), rtol=1e-14)
    assert mean(x[:, 0], w) == pytest.approx(mean(x, w)[0], rel=1e-14)


@pytest.mark.parametrize("columns", [0, slice(None)])
def test_scores_of_a_mean_are_its_derivatives_and_cancel(rows, columns):
    x, w, _ = rows
    x = x[:, columns]
    scores = mean_scores(x, w)
    assert scores.shape == x.shape
    assert np.allclose(scores.sum(axis=0), 0, atol=1e-14)
    assert np.allclose(slopes(lambda v: mean(x, v), w, range(40)), scores.reshape(40, -1), atol=1e-11)
    assert np.allclose(mean_scores(x, 2 * w), scores, atol=1e-15)


def test_variance_with_equal_weights_has_the_denominators_stated(rows):
    x, _, _ = rows
    for w in (np.ones(40), np.full(40, 7.0)):
        assert np.allclose(variance(x, w), x.var(axis=0, ddof=1), rtol=1e-12)
        assert np.allclose(variance(x, w, unbiased=False), x.var(axis=0), rtol=1e-12)


def test_weighted_variance_is_that_of_cov_wt(rows):
    """R: cov.wt(x, wt = w / sum(w))$cov, whose formula numpy has as aweights."""
    x, w, _ = rows
    assert np.allclose(variance(x, w), np.diag(np.cov(x.T, aweights=w)), rtol=1e-12)


def test_weight_two_is_a_row_twice_in_the_plain_variance(rows):
    x, _, d = rows
    w, twice = 1.0 + d, np.concatenate([x, x[d]])
    ones = np.ones(len(twice))
    assert np.allclose(variance(x, w, unbiased=False), variance(twice, ones, unbiased=False), rtol=1e-12)
    assert not np.allclose(variance(x, w), variance(twice, ones), rtol=1e-6)


def test_variance_of_one_unit_is_not_defined():
    assert np.isnan(variance(np.array([1.0, 2.0]), np.array([1.0, 0.0])))


def test_rows_without_weight_do_not_matter(rows):
    x, w, d = rows
    without = np.where(d, 0.0, w)
    assert np.allclose(mean(x, without), mean(x[~d], w[~d]), rtol=1e-13)
    assert np.allclose(variance(x, without), variance(x[~d], w[~d]), rtol=1e-13)
    assert (mean_scores(x, without)[d] == 0).all()


def test_a_standardised_difference_divides_by_the_callers_scale(rows):
    x, w, d = rows
    scale = x[d].std(axis=0, ddof=1)
    gap = np.average(x[d], axis=0, weights=w[d]) - np.average(x[~d], axis=0, weights=w[~d])
    expected = gap / scale
    assert np.allclose(smd(x, d, w, scale), expected, rtol=1e-13)
    assert smd(x[:, 0], d, w, scale[0]) == pytest.approx(expected[0])


def test_a_column_that_does_not_vary_is_equal_or_infinitely_far():
    d, w = np.array([True, True, False, False]), np.ones(4)
    x = np.column_stack([np.ones(4), d.astype(float), -d.astype(float)])
    assert smd(x, d, w, np.zeros(3)).tolist() == [0.0, np.inf, -np.inf]


def test_effective_size():
    assert effective_size(np.full(10, 3.0)) == pytest.approx(10)
    assert effective_size(np.array([1.0, 0, 0])) == 1
    assert effective_size(np.zeros(3)) == 0
    assert effective_size(np.array([1e-200, 1e-200])) == pytest.approx(2)
    w = np.array([1.0, 2.0, 3.0])
    assert effective_size(w) == pytest.approx(36 / 14)
