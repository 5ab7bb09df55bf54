"""Intervals under diverging trends against slow, plain computations: linear programmes and direct search."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import optimize, stats

from impact.core import honest_restrictions as restrictions
from impact.core import honest_smooth, moment_inequalities
from impact.core.honest import Honest

LEVEL = 0.05


def covariance(rng, k):
    a = rng.normal(size=(k, 2 * k))
    return a @ a.T / (2 * k)


# ---- the conditional test, by linear programmes ---------------------------------------------------------


def by_programmes(rows, bound, value, vcov, weights, theta, first):
    """Whether theta is rejected, as Andrews, Roth and Pakes write it: a primal, its dual, and truncation by search."""
    late, scale = rows[:, len(value) - len(weights) :], np.sqrt(np.diag(rows @ vcov @ rows.T))
    basis = np.linalg.svd(weights[None, :])[2][1:].T  # what theta leaves free
    tau = theta * weights / (weights @ weights)
    y = rows @ value - bound - late @ tau
    sigma = rows @ vcov @ rows.T
    equal = np.vstack([scale, (late @ basis).T])
    target = np.concatenate([[1.0], np.zeros(basis.shape[1])])

    def most(objective):
        found = optimize.linprog(-objective, A_eq=equal, b_eq=target, bounds=(0, None), method="highs-ds")
        return -found.fun, found.x

    eta, vertex = most(y)
    if eta > first:
        return True
    if eta <= 0:
        return False
    variance = vertex @ sigma @ vertex
    pull = sigma @ vertex / variance
    rest = y - pull * eta
    ends = []
    for far, clip in ((-100.0, min), (100.0, max)):
        at = far
        for _ in range(60):
            reached, other = most(rest + pull * at)
            if reached <= at + 1e-9:
                break
            at = (other @ rest) / (1 - other @ pull)
        ends.append(-np.inf if at == -100 else np.inf if at == 100 else clip(at, eta))
    low, high = ends[0], min(ends[1], first)
    sd, size = np.sqrt(variance), (LEVEL - LEVEL / 10) / (1 - LEVEL / 10)
    tail = stats.norm.sf(np.array([eta, low, high]) / sd)
    return bool((tail[0] - tail[2]) / (tail[1] - tail[2]) < size)


CASES = [
    (name, shape, after)
    for name in ("relative", "smooth", "relative_smooth")
    for shape in ("", "positive", "decreasing")
    for after in (2, 3)
]


@pytest.mark.parametrize(("name", "shape", "after"), CASES)
def test_the_vertices_say_what_linear_programmes_say(name, shape, after):
    rng = np.random.default_rng(after)
    make = {"relative": restrictions.relative, "smooth": restrictions.smooth,
            "relative_smooth": restrictions.relative_smooth}[name]  # fmt: skip
    differ = tried = 0
    for _ in range(4):
        vcov, weights = covariance(rng, 3 + after), rng.normal(size=after)
        value = np.linalg.cholesky(vcov) @ rng.normal(size=3 + after)
        for rows, bound in list(make(3, after, 0.7, shape))[:2]:
            rays = moment_inequalities.rays(rows[:, 3:], weights)
            of = moment_inequalities.moments(rays, rows, bound, value, vcov, weights)
            first = moment_inequalities.least_favourable(of.spread, LEVEL / 10)
            for theta in weights @ value[3:] + np.linspace(-6, 6, 9) * np.sqrt(weights @ vcov[3:, 3:] @ weights):
                fast = bool(moment_inequalities.rejected(of, np.array([theta]), LEVEL, first)[0])
                differ += fast != by_programmes(rows, bound, value, vcov, weights, theta, first)
                tried += 1
    assert tried >= 36 and differ == 0


def test_without_a_shape_there_are_two_vertices_and_one_a_period():
    for after in (2, 5, 12):
        for make in (restrictions.relative, restrictions.smooth):
            rows, _ = next(make(4, after, 1.0))
            assert len(moment_inequalities.rays(rows[:, 4:], np.arange(1.0, after + 1))) == after + 2


def test_too_many_vertices_are_refused_in_words():
    rows, _ = next(restrictions.smooth(3, 14, 1.0, "positive"))
    with pytest.raises(ValueError, match="restriction on 14 periods has more than 4,000 vertices"):
        moment_inequalities.rays(rows[:, 3:], np.ones(14))


@pytest.mark.parametrize("rank", [1, 2, 4])
def test_the_least_favourable_value_is_the_quantile_of_the_largest(rank):
    rng = np.random.default_rng(rank)
    factor = rng.normal(size=(6, rank))
    draws = (rng.normal(size=(2_000_000, rank)) @ factor.T).max(axis=1)
    wanted = np.quantile(draws, 0.995)
    found = moment_inequalities.least_favourable(factor @ factor.T, 0.005)
    assert found == pytest.approx(wanted, rel=0.01)


def test_the_ends_are_where_the_test_turns():
    rng = np.random.default_rng(8)
    vcov, weights = covariance(rng, 6), np.array([1.0, 0.0, 0.0])
    value = np.array([0.1, -0.2, 0.1, 1.0, 1.5, 2.0])
    study = Honest(value, vcov, 3, weights)
    found = study.interval(1.0)
    for end, way in ((found.low, -1), (found.high, 1)):
        for step, excluded in ((1e-7, True), (-1e-7, False)):
            moved = np.concatenate([value[:3], value[3:] - [end + way * step, 0, 0]])
            assert Honest(moved, vcov, 3, weights).excludes_zero(1.0) is excluded


# ---- the shortest interval of fixed length --------------------------------------------------------------


def worst_bias(weights, post):
    """By a linear programme over second differences, of which each is at most one."""
    k, t = len(weights), len(post)
    bends = restrictions.bends(k, t)
    full = np.concatenate([weights, post])
    found = optimize.linprog(-full, A_ub=np.vstack([bends, -bends]), b_ub=np.ones(2 * len(bends)), bounds=(None, None))
    return -found.fun if found.success else np.inf


@pytest.mark.parametrize(("before", "after"), [(1, 1), (2, 1), (3, 2), (5, 3)])
def test_no_other_linear_estimator_has_a_shorter_interval(before, after):
    rng = np.random.default_rng(before)
    vcov, post = covariance(rng, before + after), rng.normal(size=after)
    study = Honest(np.zeros(before + after), vcov, before, post, "smooth", fixed=True)
    of = honest_smooth.frontier(vcov, before, post)

    def length(z, most):
        full = np.concatenate([of.weights @ np.concatenate([[1.0], z]), post])
        error = np.sqrt(full @ vcov @ full)
        return error * honest_smooth.quantile(most * (of.fixed + np.abs(z).sum()) / error, 1 - LEVEL)

    for z in rng.normal(size=(5, before - 1)):
        weights = of.weights @ np.concatenate([[1.0], z])
        assert worst_bias(weights, post) == pytest.approx(of.fixed + np.abs(z).sum(), rel=1e-6)
    for most in (0.0, 0.03, 0.3, 3.0):
        half = study.interval(most).high
        if before == 1:
            assert half == pytest.approx(length(np.zeros(0), most), rel=1e-9)
            continue
        starts = [np.zeros(before - 1), rng.normal(size=before - 1)]
        options = {"maxfev": 2000, "xatol": 1e-8, "fatol": 1e-10}
        best = min(optimize.minimize(length, z, (most,), "Nelder-Mead", options=options).fun for z in starts)
        assert half <= best * (1 + 1e-9) and half == pytest.approx(best, rel=1e-3)


def test_the_quantile_of_the_folded_normal():
    draws = np.abs(np.random.default_rng(0).normal(size=1_000_000) + 0.8)
    assert honest_smooth.quantile(0.8, 0.95) == pytest.approx(np.quantile(draws, 0.95), abs=0.005)
    assert honest_smooth.quantile(0.0, 0.95) == pytest.approx(stats.norm.ppf(0.975))
    assert honest_smooth.quantile(50.0, 0.95) == pytest.approx(50 + stats.norm.ppf(0.95))


# ---- the breakdown value --------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "fixed"), [("relative", False), ("smooth", True), ("smooth", False)])
def test_at_the_breakdown_value_zero_is_an_end_of_the_interval(name, fixed):
    rng = np.random.default_rng(3)
    vcov = covariance(rng, 6) / 20
    study = Honest(np.array([0.1, -0.1, 0.05, 1.0, 1.2, 1.1]), vcov, 3, np.ones(3) / 3, name, fixed=fixed)
    at = study.breakdown(0.01)
    assert 0 < at < 50
    assert study.interval(at).low == pytest.approx(0, abs=1e-4)
    assert study.excludes_zero(0.999 * at) and not study.excludes_zero(1.001 * at)


def test_nothing_and_everything_can_be_excluded():
    vcov = np.eye(4) / 100
    assert np.isnan(Honest(np.array([0.1, 0.1, 0.05, 0.05]), vcov, 2, np.array([1.0, 0])).breakdown(0.25))
    known = Honest(np.array([0.1, 0.1, 5, 5]), vcov, 2, np.array([1.0, 0]), shape="negative")
    assert known.breakdown(0.25) == np.inf


def test_scale_and_sign_go_through():
    rng = np.random.default_rng(5)
    vcov, value = covariance(rng, 5) / 9, np.array([0.2, -0.1, 0.1, 1.0, 1.5])
    for name, fixed, shape, turned in (
        ("relative", False, "", ""), ("smooth", True, "", ""), ("relative", False, "positive", "negative"),
        ("smooth", False, "increasing", "decreasing"),
    ):  # fmt: skip
        by = 10.0 if name == "smooth" else 1.0
        one = Honest(value, vcov, 3, np.ones(2) / 2, name, shape, fixed)
        ten = Honest(-10 * value, 100 * vcov, 3, np.ones(2) / 2, name, turned, fixed)
        a, b = one.interval(0.5), ten.interval(0.5 * by)
        np.testing.assert_allclose([a.low, a.high], [-b.high / 10, -b.low / 10], rtol=1e-6)
