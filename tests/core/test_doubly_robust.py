"""Means with and without treatment: by hand, against statsmodels, and their scores as derivatives."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm

from impact.core.doubly_robust import ESTIMANDS, METHODS, difference, levels
from impact.core.logit import logit
from tests.core.derivatives import slopes


def made(seed=1, n=150, p=3, periods=None):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, p))
    x[:, 1] = rng.integers(0, 2, n)
    d = rng.random(n) < 1 / (1 + np.exp(-0.7 * x[:, 0] + 0.4 * x[:, 1]))
    y = (x @ rng.normal(size=p) + d * (1 + x[:, 0]) + rng.normal(size=n))[:, None] * np.arange(1, (periods or 1) + 1)
    y = y + 0.3 * rng.normal(size=y.shape)
    return (y if periods else y[:, 0]), d, x, rng.gamma(3, 1, n)


CHOICES = [(e, m) for e in ESTIMANDS for m in METHODS]


@pytest.mark.parametrize("periods", [None, 4])
@pytest.mark.parametrize(("estimand", "method"), CHOICES)
def test_scores_are_derivatives_and_cancel(estimand, method, periods):
    y, d, x, w = made(periods=periods)
    value, scores = difference(y, d, x, w, estimand, method)
    assert scores.shape == y.shape and np.shape(value) == y.shape[1:]
    rows = range(0, 150, 13)
    expected = slopes(lambda v: difference(y, d, x, v, estimand, method)[0], w, rows)
    assert np.allclose(scores[list(rows)].reshape(len(expected), -1), expected, atol=1e-8)
    assert np.allclose(scores.sum(axis=0), 0, atol=1e-10)


@pytest.mark.parametrize(("estimand", "method"), CHOICES)
def test_levels_differ_by_the_difference_and_have_derivatives_too(estimand, method):
    y, d, x, w = made()
    found = levels(y, d, x, w, estimand, method)
    assert found.treated - found.comparison == pytest.approx(difference(y, d, x, w, estimand, method)[0], abs=1e-13)
    for arm in ("treated", "comparison"):
        expected = slopes(lambda v, arm=arm: getattr(levels(y, d, x, v, estimand, method), arm), w, range(0, 150, 29))
        assert np.allclose(getattr(found, f"{arm}_scores")[::29], expected.ravel(), atol=1e-8)


@pytest.mark.parametrize(("estimand", "method"), CHOICES)
def test_what_must_not_matter_does_not(estimand, method):
    y, d, x, w = made()
    value, scores = difference(y, d, x, w, estimand, method)
    i = np.random.default_rng(2).permutation(150)
    moved = difference(y[i], d[i], x[i], w[i], estimand, method)
    assert moved[0] == pytest.approx(value, abs=1e-12) and np.allclose(moved[1], scores[i], atol=1e-12)
    doubled = difference(y, d, x, 2 * w, estimand, method)
    assert doubled[0] == pytest.approx(value, abs=1e-12) and np.allclose(doubled[1], scores, atol=1e-12)
    units = difference(y, d, x * [1e-9, 1, 1e9] + [0, 5, 0], w, estimand, method)
    assert units[0] == pytest.approx(value, abs=1e-9) and np.allclose(units[1], scores, atol=1e-9)
    affine = difference(3 - 2 * y, d, x, w, estimand, method)
    assert affine[0] == pytest.approx(-2 * value, abs=1e-11) and np.allclose(affine[1], -2 * scores, atol=1e-11)
    alone = difference(np.column_stack([y, y**2]), d, x, w, estimand, method)
    assert alone[0][0] == pytest.approx(value, abs=1e-12) and np.allclose(alone[1][:, 0], scores, atol=1e-12)


@pytest.mark.parametrize(("estimand", "method"), CHOICES)
def test_weight_two_is_a_row_twice_and_zero_no_row(estimand, method):
    y, d, x, _ = made()
    w = np.ones(150)
    w[:12], w[12:20] = 2, 0
    rows = np.concatenate([np.flatnonzero(w), np.arange(12)])
    a, s = difference(y, d, x, w, estimand, method)
    b, t = difference(y[rows], d[rows], x[rows], np.ones(len(rows)), estimand, method)
    assert a == pytest.approx(b, abs=1e-11)
    assert np.allclose(s[20:], t[12:142], atol=1e-11) and np.allclose(s[:12], t[:12] + t[142:], atol=1e-11)
    assert (s[12:20] == 0).all()


def test_the_att_by_hand():
    """Sant'Anna and Zhao (2020), their Hajek weights, written out with statsmodels."""
    y, d, x, w = made()
    z = sm.add_constant(x)
    p = sm.GLM(d.astype(float), z, family=sm.families.Binomial(), freq_weights=w).fit(tol=1e-14).fittedvalues
    m = sm.WLS(y[~d], z[~d], weights=w[~d]).fit().predict(z)
    odds = w[~d] * p[~d] / (1 - p[~d])
    expected = np.average((y - m)[d], weights=w[d]) - np.average((y - m)[~d], weights=odds)
    assert difference(y, d, x, w)[0] == pytest.approx(expected, abs=1e-11)
    regression = np.average((y - m)[d], weights=w[d])
    assert difference(y, d, x, w, "ATT", "reg")[0] == pytest.approx(regression, abs=1e-11)
    weighting = np.average(y[d], weights=w[d]) - np.average(y[~d], weights=odds)
    assert difference(y, d, x, w, "ATT", "ipw")[0] == pytest.approx(weighting, abs=1e-11)


def test_the_ate_by_hand():
    y, d, x, w = made()
    z = sm.add_constant(x)
    p = sm.GLM(d.astype(float), z, family=sm.families.Binomial(), freq_weights=w).fit(tol=1e-14).fittedvalues
    expected = 0.0
    for arm, prob, sign in ((d, p, 1), (~d, 1 - p, -1)):
        m = sm.WLS(y[arm], z[arm], weights=w[arm]).fit().predict(z)
        expected += sign * (np.average(m, weights=w) + np.average((y - m)[arm], weights=(w / prob)[arm]))
    assert difference(y, d, x, w, "ATE")[0] == pytest.approx(expected, abs=1e-11)


def test_the_atc_is_the_att_of_the_other_arm():
    y, d, x, w = made()
    for method in METHODS:
        a, s = difference(y, d, x, w, "ATC", method)
        b, t = difference(y, ~d, x, w, "ATT", method)
        assert a == pytest.approx(-b, abs=1e-12) and np.allclose(s, -t, atol=1e-12)


def test_the_error_of_weighting_is_that_of_statsmodels():
    """statsmodels' TreatmentEffect (GMM, tested against Stata teffects ipw) has the same standard error."""
    from statsmodels.treatment.treatment_effects import TreatmentEffect

    y, d, x, _ = made(n=400)
    selection = sm.Logit(d.astype(float), sm.add_constant(x)).fit(disp=0)
    outcome = sm.OLS(y, sm.add_constant(x))
    peer = TreatmentEffect(outcome, d.astype(int), results_select=selection).ipw()
    value, scores = difference(y, d, x, np.ones(400), "ATE", "ipw")
    assert value == pytest.approx(float(np.atleast_1d(peer.effect)[0]), abs=1e-8)
    assert np.sqrt(scores @ scores) == pytest.approx(float(peer.results_gmm.bse[0]), rel=1e-4)


def test_right_when_either_model_is_right():
    """Bias goes away in a large sample when one of the two models is right, not when neither is."""
    rng = np.random.default_rng(9)
    n = 200_000
    x = rng.normal(size=(n, 1))
    d = rng.random(n) < 1 / (1 + np.exp(-x[:, 0]))
    straight, curved = x[:, 0], np.exp(x[:, 0])
    for y in (straight + d, curved + d):
        assert difference(y + rng.normal(size=n), d, x, np.ones(n))[0] == pytest.approx(1, abs=0.05)
    assert abs(difference(curved + d, d, x, np.ones(n), "ATT", "reg")[0] - 1) > 0.2


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("estimand", ESTIMANDS)
def test_a_category_in_one_arm_only_keeps_the_derivatives(estimand, method):
    y, d, x, w = made()
    level = np.zeros(150)
    level[np.flatnonzero(d)[:6]] = 1
    x = np.column_stack([x, level])
    found = levels(y, d, x, w, estimand, method)
    if found.propensity is not None:
        assert found.propensity.separated.treated == 6
    if False in found.outcome:
        assert found.outcome[False].redundant.tolist() == [3]
    _, scores = difference(y, d, x, w, estimand, method)
    expected = slopes(lambda v: difference(y, d, x, v, estimand, method)[0], w, range(0, 150, 13))
    assert np.allclose(scores[::13], expected.ravel(), atol=1e-8)


def test_a_model_of_treatment_is_fitted_only_when_needed():
    y, d, x, w = made()
    assert levels(y, d, x, w, method="reg").propensity is None
    assert levels(y, d, x, w, method="ipw").outcome == {}
    assert set(levels(y, d, x, w).outcome) == {False}
    assert set(levels(y, d, x, w, "ATE").outcome) == {True, False}
    fit = levels(y, d, x, w).propensity
    assert np.allclose(fit.probability, logit(d, x, w).probability)


@pytest.mark.parametrize("asked", [("ATX", "dr"), ("ATT", "aipw")])
def test_an_unknown_choice_is_refused_with_the_known_ones(asked):
    with pytest.raises(ValueError, match="ATT, ATC, ATE.*dr, reg, ipw"):
        difference(*made(), *asked)
