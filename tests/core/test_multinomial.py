"""Logistic regression of several arms: against statsmodels and the two-arm fit, its scores, its limits and refusals."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm

from impact.core.logit import logit
from impact.core.multinomial import multinomial
from tests.core.derivatives import slopes


def made(seed=1, n=400, arms=3):
    r = np.random.default_rng(seed)
    x = np.column_stack([r.normal(45, 9, n), r.integers(0, 2, n), r.normal(size=n)])
    predictor = (x - x.mean(axis=0)) / x.std(axis=0) @ r.normal(size=(3, arms)) * 0.6
    p = np.exp(predictor)
    p /= p.sum(axis=1, keepdims=True)
    return (r.random(n)[:, None] > p.cumsum(axis=1)).sum(axis=1), x, r.gamma(2, 1, n)


@pytest.mark.parametrize("arms", [3, 5])
def test_coefficients_and_probabilities_are_statsmodels(arms):
    arm, x, _ = made(arms=arms)
    fit = multinomial(arm, x, np.ones(len(arm)))
    peer = sm.MNLogit(arm, sm.add_constant(x)).fit(method="newton", tol=1e-14, maxiter=100, disp=0)
    assert np.allclose(fit.in_units(), np.asarray(peer.params).T, rtol=1e-8)
    assert np.allclose(fit.probability, peer.predict(), rtol=1e-9)
    # The inverse of the information, on differences of predictors, which no choice of coordinates changes.
    z = sm.add_constant(x[:4])
    direction = np.kron(np.eye(arms - 1), z)
    theirs = direction @ np.asarray(peer.cov_params()) @ direction.T
    ours = np.kron(np.eye(arms - 1), fit.design[:4])
    assert np.allclose(ours @ np.linalg.inv(fit.root.T @ fit.root) @ ours.T, theirs, rtol=1e-6, atol=1e-8)


def test_weights_are_counts():
    arm, x, _ = made()
    w = np.random.default_rng(0).integers(0, 4, len(arm)).astype(float)
    often = np.repeat(np.arange(len(arm)), w.astype(int))
    fit, peer = multinomial(arm, x, w), multinomial(arm[often], x[often], np.ones(len(often)))
    assert np.allclose(fit.probability[often], peer.probability, rtol=1e-10)


def test_two_arms_are_the_two_arm_fit():
    arm, x, w = made(arms=2)
    fit, peer = multinomial(arm, x, w), logit(arm == 1, x, w)
    assert np.allclose(fit.in_units()[0], peer.in_units(), rtol=1e-9)
    assert np.allclose(fit.probability[:, 1], peer.probability, rtol=1e-9)
    assert np.allclose(fit.influence, peer.influence, atol=1e-9 * np.abs(peer.influence).max())


def test_units_of_measurement_and_the_order_of_arms_change_nothing():
    arm, x, w = made()
    fit = multinomial(arm, x, w)
    assert np.allclose(multinomial(arm, x * [1e6, 1, 1e-6] + [0, 5, 0], w).probability, fit.probability, rtol=1e-9)
    turned = multinomial(np.array([2, 0, 1])[arm], x, w)
    assert np.allclose(turned.probability[:, [2, 0, 1]], fit.probability, rtol=1e-9)


def test_scores_of_a_function_of_the_parameters_are_its_derivatives():
    arm, x, w = made()
    v = np.random.default_rng(2).random((len(w), 2))
    fit = multinomial(arm, x, w)

    def total(weights):
        return (v * multinomial(arm, x, weights).predictor[:, 1:]).sum()

    scores = fit.carry(fit.columns(v).sum(axis=0))
    assert np.allclose(slopes(total, w, range(0, 400, 37)).ravel(), scores[::37], rtol=1e-7, atol=1e-9)
    assert np.allclose(fit.influence.sum(axis=0), 0, atol=1e-10)


def rare(seed=3, n=500):
    """Nobody in arm 2 has the fourth column."""
    arm, x, w = made(seed, n)
    x = np.column_stack([x, np.random.default_rng(9).random(n) < 0.1])
    arm = np.where((x[:, 3] == 1) & (arm == 2), 1, arm)
    return arm, x, w


def test_an_arm_that_never_has_a_level_is_barred_in_the_limit():
    """The limit that ever larger coefficients tend to."""
    arm, x, w = rare()
    fit = multinomial(arm, x, w, names=("age", "woman", "z", "region: north"))
    has = x[:, 3] == 1
    assert (fit.barred[:, 2] == has).all() and not fit.barred[:, :2].any() and fit.names == ("region: north",)
    assert (fit.probability[has, 2] == 0).all() and np.allclose(fit.probability.sum(axis=1), 1)
    pulled = fit.pull.T @ fit.design
    assert np.allclose(pulled, 0, atol=1e-9 * w.sum())

    def total(weights):
        return multinomial(arm, x, weights).probability[:, 1] @ np.arange(len(arm)) / len(arm)

    p = fit.probability
    weight = np.arange(len(arm)) / len(arm)
    gradient = weight[:, None] * p[:, [1]] * (np.array([1.0, 0.0]) - p[:, 1:])
    scores = fit.carry(fit.columns(gradient).sum(axis=0))
    assert np.allclose(slopes(total, w, range(0, 500, 61)).ravel(), scores[::61], rtol=1e-6, atol=1e-8)


def test_two_arms_with_a_level_in_one_only_are_the_two_arm_fit():
    arm, x, w = rare()
    d = (x[:, 3] == 1) | (arm > 0)
    fit, peer = multinomial(d.astype(int), x, w), logit(d, x, w)
    assert np.allclose(fit.probability[:, 1], peer.probability, rtol=1e-9)
    assert np.array_equal(np.flatnonzero(fit.barred.any(axis=1)), peer.separated.rows)


def test_what_has_no_answer_is_refused_in_words():
    arm, x, w = made()
    with pytest.raises(ValueError, match="none of the 400 rows with weight is in “B”. Keep units of every arm"):
        multinomial(np.minimum(arm, 1), x, w, arms=("public", "A", "B"))
    alone = np.where(x[:, 0] > 55, 2, np.minimum(arm, 1))
    with pytest.raises(ValueError, match=r"`age` tells the \d+ units of “B” from all others without error"):
        multinomial(alone, x, w, names=("age", "woman", "z"), arms=("public", "A", "B"))
    with pytest.raises(ValueError, match="on 4 columns .* was asked of 4 rows"):
        multinomial(np.array([0, 1, 2, 0]), x[:4], w[:4])
