"""Logistic regression: against statsmodels, under changes that must not matter, its scores, and its refusals."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm
from scipy.optimize import linprog

from impact.core.logit import logit
from tests.core.derivatives import slopes


def made(seed=1, n=120, p=3):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, p))
    x[:, 1] = rng.integers(0, 2, n)
    d = rng.random(n) < 1 / (1 + np.exp(-(x @ rng.normal(size=p))))
    return d, x, rng.gamma(2, 1, n)


def glm(d, x, w):
    family = sm.families.Binomial()
    return sm.GLM(d.astype(float), sm.add_constant(x), family=family, freq_weights=w).fit(tol=1e-14, maxiter=100)


def test_coefficients_and_probabilities_are_statsmodels():
    d, x, w = made()
    fit, peer = logit(d, x, w), glm(d, x, w)
    assert np.allclose(fit.in_units(), peer.params, rtol=1e-11)
    assert np.allclose(fit.probability, peer.fittedvalues, rtol=1e-11)
    assert np.allclose(fit.logit, np.log(fit.probability / (1 - fit.probability)), atol=1e-12)


def test_the_likelihoods_slope_is_nought():
    d, x, w = made()
    fit = logit(d, x, w)
    assert np.allclose(fit.design.T @ (w * (d - fit.probability)), 0, atol=1e-12 * w.sum())


def test_the_bread_is_statsmodels():
    d, x, w = made()
    fit, peer = logit(d, x, w), glm(d, x, w)
    pull = w * (d - peer.fittedvalues)
    influence = (sm.add_constant(x) * pull[:, None]) @ peer.normalized_cov_params
    predicted = sm.add_constant(x[:5]) @ influence.T
    assert np.allclose(fit.design[:5] @ fit.influence.T, predicted, atol=1e-11)


def test_scores_of_a_function_of_the_coefficients_are_its_derivatives():
    d, x, w = made()
    v = np.random.default_rng(2).random(len(w))
    fit = logit(d, x, w)

    def total(weights):
        return v @ logit(d, x, weights).logit

    scores = fit.carry(fit.design.T @ v)
    assert np.allclose(slopes(total, w, range(0, 120, 11)).ravel(), scores[::11], atol=1e-7)
    assert np.allclose(fit.influence.sum(axis=0), 0, atol=1e-11)


def test_row_order_doubled_weights_and_repeated_rows_change_nothing():
    d, x, w = made()
    i = np.random.default_rng(3).permutation(len(d))
    a = logit(d, x, w)
    assert np.allclose(a.probability[i], logit(d[i], x[i], w[i]).probability, atol=1e-13)
    assert np.allclose(a.probability, logit(d, x, 2 * w).probability, atol=1e-13)
    ones = np.ones(len(d))
    ones[:9] = 2
    rows = np.concatenate([np.arange(120), np.arange(9)])
    twice = logit(d[rows], x[rows], np.ones(129))
    assert np.allclose(logit(d, x, ones).probability, twice.probability[:120], atol=1e-13)


def test_units_of_measurement_change_nothing():
    d, x, w = made()
    scale, offset = np.array([1e-9, 1e9, 1e200]), np.array([0, 3.0, 0])
    a, b = logit(d, x, w), logit(d, x * scale + offset, w)
    assert np.allclose(a.probability, b.probability, atol=1e-12)
    assert np.allclose(a.in_units()[1:], b.in_units()[1:] * scale, rtol=1e-9)
    far = logit(d, x + [1e12, 0, 0], w)
    near = logit(d, np.column_stack([(x[:, 0] + 1e12) - 1e12, x[:, 1:]]), w)
    assert np.allclose(far.probability, near.probability, atol=1e-9)


def test_rows_with_the_same_covariates_tie_exactly():
    """Matching breaks ties by row, so a tie must not be lost to rounding."""
    rng = np.random.default_rng(4)
    x = rng.normal(size=(50, 7))[rng.integers(0, 50, 999)]
    d = rng.random(999) < 0.3
    fit = logit(d, x, np.ones(999))
    for row in np.unique(x, axis=0):
        assert len(set(fit.logit[(x == row).all(axis=1)])) == 1


def test_zero_weight_is_no_row_but_gets_a_probability():
    d, x, w = made()
    w[:20] = 0
    a, b = logit(d, x, w), logit(d[20:], x[20:], w[20:])
    assert np.allclose(a.probability[20:], b.probability, atol=1e-12)
    assert (a.influence[:20] == 0).all() and np.isfinite(a.probability).all()


def test_collinear_columns_are_left_out_and_reported():
    d, x, w = made()
    wide = np.column_stack([x, x[:, 0] + x[:, 1], np.ones(120), x[:, 2] * 7])
    a, b = logit(d, x, w), logit(d, wide, w)
    assert b.redundant.tolist() == [3, 4, 5]
    assert np.allclose(a.probability, b.probability, atol=1e-12)


def test_extreme_but_overlapping_scores_still_settle():
    x = np.linspace(-4, 4, 400)[:, None]
    d = x[:, 0] > 0
    d[[100, 300]] = ~d[[100, 300]]
    w = np.ones(400)
    w[[100, 300]] = 1e-9
    fit = logit(d, x, w)
    assert not fit.separated
    assert np.allclose(fit.design.T @ (w * (d - fit.probability)), 0, atol=1e-9)


def test_a_category_in_one_arm_only_is_the_limit_and_is_reported():
    """The limit of maximum likelihood: that category's rows are certain, the rest as if alone."""
    d, x, w = made()
    level = np.zeros(120)
    level[np.flatnonzero(d)[:8]] = 1
    wide = np.column_stack([x, level])
    fit = logit(d, wide, w, names=("age", "sex", "months", "C(school)[T.none]"))
    rest = level == 0
    alone = logit(d[rest], x[rest], w[rest])
    assert np.allclose(fit.probability[rest], alone.probability, atol=1e-12)
    assert (fit.probability[~rest] == 1).all() and np.isposinf(fit.logit[~rest]).all()
    assert (fit.influence[~rest] == 0).all()
    assert (fit.separated.treated, fit.separated.comparison) == (8, 0)
    assert fit.separated.names == ("C(school)[T.none]",)
    assert np.array_equal(fit.separated.rows, np.flatnonzero(level))
    # An ordinary fit runs towards the same limit.
    family = sm.families.Binomial()
    peer = sm.GLM(d.astype(float), sm.add_constant(wide), family=family, freq_weights=w).fit(maxiter=25, tol=0)
    assert np.allclose(peer.fittedvalues, fit.probability, atol=1e-7)


def test_scores_hold_beside_a_separated_category():
    d, x, w = made()
    level = np.zeros(120)
    level[np.flatnonzero(~d)[:5]] = 1
    wide = np.column_stack([x, level])
    v = np.where(level == 1, 0, np.random.default_rng(2).random(120))

    def total(weights):
        return v @ logit(d, wide, weights).probability

    fit = logit(d, wide, w)
    scores = fit.carry(fit.design.T @ (v * fit.probability * (1 - fit.probability)))
    assert np.allclose(slopes(total, w, range(0, 120, 11)).ravel(), scores[::11], atol=1e-8)


def test_separation_within_separation_is_followed_to_its_end():
    d, x, w = made(n=200)
    first, second = np.zeros(200), np.zeros(200)
    first[np.flatnonzero(d)[:6]] = 1
    second[np.flatnonzero(~d)[:7]] = 1
    # Only the sum and a multiple of the two are given, and an outlier far out in the first.
    first[np.flatnonzero(d)[0]] = 1e6
    wide = np.column_stack([x, first + second, first - 2 * second])
    fit = logit(d, wide, w)
    assert fit.separated.treated == 6 and fit.separated.comparison == 7
    rest = (first == 0) & (second == 0)
    assert np.allclose(fit.probability[rest], logit(d[rest], x[rest], w[rest]).probability, atol=1e-11)


def separated_by_programming(d, x):
    """Rows that some direction places in their own arm while moving none of the rest the wrong way (Konis 2007)."""
    z = np.where(d, 1.0, -1.0)[:, None] * np.column_stack([np.ones(len(d)), x])
    apart = np.zeros(len(d), bool)
    while not apart.all():
        rest = np.flatnonzero(~apart)
        n, k = len(rest), z.shape[1]
        cost, room = np.append(np.zeros(k), -np.ones(n)), [(None, None)] * k + [(0, 1)] * n
        best = linprog(cost, A_ub=np.hstack([-z[rest], np.eye(n)]), b_ub=np.zeros(n), bounds=room, method="highs")
        new = best.x[k:] > 1e-6
        if not new.any():
            break
        apart[rest[new]] = True
    return apart


def test_separation_is_that_of_linear_programming():
    """Small designs of a few values, where all three cases are common; another 3,000 were tried by hand."""
    seen = {"none": 0, "some": 0, "complete": 0}
    for seed in range(90):
        r = np.random.default_rng(seed)
        n, p = r.integers(8, 60), r.integers(1, 5)
        x = r.integers(0, [2, 4, 50][seed % 3], size=(n, p)) * 10.0 ** r.integers(-6, 7, p)
        z = (x - x.mean(axis=0)) / np.where(x.std(axis=0) > 0, x.std(axis=0), 1)
        d = r.random(n) < 1 / (1 + np.exp(-z @ r.normal(size=p) * r.choice([0.5, 2, 6])))
        if d.all() or not d.any():
            continue
        apart = separated_by_programming(d, z)
        if len(set(d[~apart])) < 2:
            seen["complete"] += 1
            with pytest.raises(ValueError, match="apart without error"):
                logit(d, x, np.ones(n))
        else:
            seen["some" if apart.any() else "none"] += 1
            assert np.array_equal(logit(d, x, np.ones(n)).separated.rows, np.flatnonzero(apart))
    assert min(seen.values()) > 8


def test_one_sided_tail_is_separated_only_beyond_the_overlap():
    """A score with d = x above a threshold and a plateau below: only the rows past it are certain."""
    rng = np.random.default_rng(6)
    category = np.repeat([0.0, 1.0], 60)
    d = np.concatenate([rng.random(60) < 0.5, np.ones(60, bool)])
    fit = logit(d, category[:, None], np.ones(120), names=("region",))
    assert np.allclose(fit.probability[:60], d[:60].mean(), atol=1e-12)
    assert fit.separated.treated == 60 and fit.separated.names == ("region",)


def test_complete_separation_names_the_covariate_and_the_counts():
    d, x, w = made()
    told = np.column_stack([x, d * 2.0 + x[:, 0] * 1e-3])
    with pytest.raises(ValueError, match=r"`code` tells the \d+ treated and the \d+ comparison") as refusal:
        logit(d, told, w, names=("age", "sex", "months", "code"))
    assert "age" not in str(refusal.value) and "Leave out" in str(refusal.value)


def test_complete_separation_by_a_combination_names_its_columns():
    rng = np.random.default_rng(7)
    x = rng.normal(size=(200, 3))
    d = x[:, 0] + x[:, 1] > 0
    with pytest.raises(ValueError, match=r"a combination of `a`, `b` tells"):
        logit(d, x[:, :2], np.ones(200), names=("a", "b"))
    with pytest.raises(ValueError, match="a combination of `a`, `b`"):
        logit(d, x, np.ones(200), names=("a", "b", "c"))


@pytest.mark.parametrize("arm", [True, False])
def test_one_arm_is_refused(arm):
    d, x, w = made()
    with pytest.raises(ValueError, match=f"all {int((d == arm).sum())} rows with weight are in the"):
        logit(d, x, np.where(d == arm, w, 0.0))


def test_more_columns_than_rows_is_refused_with_both_counts():
    rng = np.random.default_rng(8)
    with pytest.raises(ValueError, match=r"on 20 columns .* asked of 20 rows.*Name fewer covariates"):
        logit(np.arange(20) % 2 == 0, rng.normal(size=(20, 50)), np.ones(20))


def test_no_covariates_is_the_share():
    d, _, w = made()
    fit = logit(d, np.empty((120, 0)), w)
    assert np.allclose(fit.probability, np.average(d, weights=w), rtol=1e-12)
