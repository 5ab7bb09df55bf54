"""Rosenbaum's bounds, E-values, omitted variables, left-out covariates and placebos: by hand and by enumeration."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from impact import Outcome, Study, emulate
from impact.checks import leave_out, placebo
from impact.checks.e_value import e_value
from impact.checks.omitted_variable import robustness
from impact.checks.rosenbaum import bounds
from impact.core import hidden_bias as hidden
from impact.matching import means, nearest, regression

pytestmark = pytest.mark.filterwarnings("ignore::impact.ImpactWarning")


def table(n=400, effect=1.0, hidden=0.0, seed=0):
    r = np.random.default_rng(seed)
    x, z, u = r.normal(size=(3, n))
    d = (r.random(n) < 1 / (1 + np.exp(-(-0.8 + 0.7 * x + 0.2 * z + hidden * u)))).astype(int)
    past = x + hidden * u + r.normal(size=n)
    y = x + 0.3 * z + hidden * u + effect * d + r.normal(size=n)
    months = {f"wage_{k}": past + r.normal(size=n) + (effect * d if k > 0 else 0) for k in (-3, -2, -1, 1, 2)}
    return pd.DataFrame({"id": range(n), "d": d, "x": x, "z": z, "y": y, "past": past, "u": u, "job": y > 0} | months)


STUDY = Study(
    title="t",
    unit="id",
    treatment="d",
    covariates=("x", "z"),
    outcomes=(Outcome("y", "income"), Outcome("past"), Outcome("job"), Outcome("wage_{}", periods=(-3, -2, -1, 1, 2))),
)


def sample(**how):
    rows = table(**how)
    return emulate(STUDY, rows.assign(job=rows["job"].astype(int)))


# ---- Rosenbaum --------------------------------------------------------------------------------


@pytest.mark.parametrize("gamma", [1.0, 1.7, 4.0])
def test_the_largest_expectation_over_all_hidden_biases(gamma):
    """By trying every u in {0, 1} in a set of five, where the maximum is known to lie."""
    q = np.random.default_rng(3).normal(size=(1, 5)).round(1)
    best = max(
        (q[0] @ odds / odds.sum(), q[0] ** 2 @ odds / odds.sum() - (q[0] @ odds / odds.sum()) ** 2)
        for odds in (gamma ** np.array(u, float) for u in itertools.product([0, 1], repeat=5))
    )
    mean, variance = hidden.largest(q, gamma)
    assert mean[0] == pytest.approx(best[0]) and variance[0] == pytest.approx(best[1])


def test_the_exact_bound_by_enumeration():
    """Sets of two, three and four with zeros and ones: the chance of as many treated successes, added up by hand."""
    good = [np.array([[1, 0], [1, 0]], bool), np.array([[1, 1, 0]], bool), np.array([[0, 1, 0, 0]], bool)]
    chance = [2 / 3, 2 / 3, 2 * 2 / (2 * 2 + 1), 2 / (2 + 3)]
    tail = 0.0
    for seen in itertools.product([0, 1], repeat=4):
        if sum(seen) >= 3:
            tail += np.prod([p if s else 1 - p for p, s in zip(chance, seen, strict=True)])
    assert hidden.exact_p_values(good, 2.0)[1] == pytest.approx(tail)


def test_without_hidden_bias_both_bounds_are_the_usual_test():
    from scipy import stats

    matched = nearest.match(sample(), caliper=None)
    row = bounds(matched, gamma=[1]).tidy().iloc[0]
    y, d, s = matched.outcome("y"), matched.treated, matched.strata
    order = [np.flatnonzero((s == k) & arm)[0] for arm in (d, ~d) for k in range(s.max() + 1)]
    gap = np.subtract(*np.split(y[order], 2))
    usual = stats.wilcoxon(gap, alternative="greater", method="approx", correction=False).pvalue
    assert row["p_low"] == pytest.approx(row["p_high"]) == pytest.approx(usual, rel=1e-6)
    assert row["estimate"] == pytest.approx(means.difference(matched, outcome="y").value[0])


def test_the_verdict_follows_the_declared_bias():
    matched = nearest.match(sample())
    assert bounds(matched).passed is None and bounds(matched, bias=1.2).passed is True
    assert bounds(matched, bias=50).passed is False
    weak = bounds(nearest.match(sample(effect=0.0)), bias=1.2)
    assert weak.passed is None and "cannot be decided" in weak.reason
    p = bounds(matched, gamma=[1, 2, 4, 8]).tidy()
    assert (np.diff(p["p_high"]) > 0).all() and (np.diff(p["p_low"]) <= 0).all()


@pytest.mark.parametrize("outcome", ["y", "job"])
def test_sets_of_one_to_several_and_the_other_direction(outcome):
    matched = nearest.match(sample(), ratio=2, caliper=0.5)
    up = bounds(matched, outcome=outcome).tidy()
    assert up["p_high"][0] < 0.01 and up["p_high"].is_monotonic_increasing
    flipped = matched.take(np.arange(len(matched)))
    lower = {k: (v if k != outcome else (-v if k == "y" else 1 - v)) for k, v in matched.outcomes.items()}
    down = bounds(replace(flipped, outcomes=lower), outcome=outcome).tidy()
    np.testing.assert_allclose(down[["p_low", "p_high"]], up[["p_low", "p_high"]], rtol=1e-9, atol=1e-300)
    np.testing.assert_allclose(down["estimate"], -up["estimate"], atol=1e-12)


def test_sets_with_one_comparison_unit_mirror_sets_with_one_treated():
    r = np.random.default_rng(1)
    y, strata = r.normal(size=30), np.repeat(np.arange(10), 3)
    one = np.tile([True, False, False], 10)
    a, _ = hidden.blocks(strata, one, np.ones(30, bool))
    b, _ = hidden.blocks(strata, ~one, np.ones(30, bool))
    low_a, high_a = hidden.p_values(hidden.aligned_ranks(y, a), 1.5)
    low_b, high_b = hidden.p_values(hidden.aligned_ranks(-y, b), 1.5)
    assert (low_a, high_a) == (pytest.approx(low_b), pytest.approx(high_b))


def test_bounds_say_when_they_cannot_decide():
    check = bounds(sample())
    assert check.passed is None and "no matched sets" in check.reason
    several = sample().reweight(np.ones(400), step="one stratum", strata=np.arange(400) % 4)
    assert "4 sets have several units of both arms" in bounds(several).reason
    with pytest.raises(ValueError, match="`gamma` is"):
        bounds(sample(), gamma=[0.5])


# ---- E-value ----------------------------------------------------------------------------------


def test_the_risk_ratio_and_its_interval_by_the_delta_method():
    whole = sample()
    row = e_value(whole, outcome="job").tidy().iloc[0]
    y, d = whole.outcome("job"), whole.treated
    p1, p0 = y[d].mean(), y[~d].mean()
    n = len(y)
    error = np.sqrt(n / (n - 1) * ((1 - p1) / (p1 * d.sum()) + (1 - p0) / (p0 * (~d).sum())))
    from scipy import stats

    t = stats.t.ppf(0.975, n - 1)
    assert row["estimate"] == pytest.approx(p1 / p0)
    assert (row["conf_low"], row["conf_high"]) == (
        pytest.approx(p1 / p0 * np.exp(-t * error)),
        pytest.approx(p1 / p0 * np.exp(t * error)),
    )


def test_e_value_of_measurements_and_of_other_estimators():
    matched = nearest.match(sample())
    plain, other = e_value(matched), e_value(matched, estimator=regression.difference)
    y, d, w = matched.outcome("y"), matched.treated, matched.weights
    sd = np.sqrt((y[d & (w > 0)].var(ddof=1) + y[~d & (w > 0)].var(ddof=1)) / 2)
    ratio = np.exp(0.91 * means.difference(matched, outcome="y").value[0] / sd)
    assert plain.tidy()["estimate"][0] == pytest.approx(ratio)
    assert plain.tidy()["e_value"][0] == pytest.approx(ratio + np.sqrt(ratio * (ratio - 1)))
    assert other.tidy()["estimate"][0] != plain.tidy()["estimate"][0]
    assert plain.passed is None and e_value(matched, bias=1.2).passed is True and not e_value(matched, bias=9).passed
    assert "cannot be decided" in e_value(nearest.match(sample(effect=0.0)), bias=1.2).reason


# ---- omitted variables ------------------------------------------------------------------------


def test_the_adjusted_estimate_is_what_the_longer_regression_gives():
    """With the confounder's own shares of variance, the formula is exact: the regression with it says the same."""
    from impact.core import omitted_variable as omitted

    rows = table(hidden=0.8)
    x, y, d, w = rows[["x", "z"]].to_numpy(), rows["y"].to_numpy(), rows["d"].to_numpy(bool), np.ones(400)
    short = omitted.coefficient(y, d, x, w)
    long = omitted.coefficient(y, d, np.column_stack([x, rows["u"]]), w)
    r2_d = 1 - long.treatment_left / short.treatment_left
    r2_y = 1 - long.outcome_left / short.outcome_left
    value, error = omitted.adjusted(short, r2_d, r2_y)
    assert value == pytest.approx(long.value) and error == pytest.approx(long.error)


def test_the_regression_is_least_squares():
    import statsmodels.api as sm

    rows = table()
    fit = sm.OLS(rows["y"], sm.add_constant(rows[["d", "x", "z"]].astype(float))).fit()
    row = robustness(sample()).tidy().iloc[0]
    low, high = fit.conf_int().loc["d"]
    np.testing.assert_allclose(row[["estimate", "std_error", "conf_low", "conf_high"]].to_numpy(float),
                               [fit.params["d"], fit.bse["d"], low, high], rtol=1e-9)  # fmt: skip


def test_verdicts_against_named_covariates():
    strong = robustness(sample())
    assert strong.passed is True and "the strongest here, a confounder like x" in strong.reason
    assert robustness(sample(effect=0.35), times=2).passed is False
    assert robustness(sample(effect=0.0)).passed is None
    assert robustness(sample(), against="x", times=60).passed is None
    assert list(robustness(sample(), against="z").tidy()["term"]) == ["as estimated", "confounder like z"]


def test_leaving_covariates_out():
    check = leave_out.covariates(sample())
    found = check.tidy().set_index("term")
    assert check.passed is False and "Without x the effect moves most" in check.reason
    fewer = emulate(STUDY.revise(covariates=("z",)), table().assign(job=0))
    assert found.loc["without x", "estimate"] == pytest.approx(regression.difference(fewer, outcome="y").value[0])
    both = regression.difference(sample(), outcome="y")
    gap = regression.difference(fewer, outcome="y") - both
    assert found.loc["without x", "shift"] == pytest.approx(gap.value[0])
    assert found.loc["without x", "shift_error"] == pytest.approx(gap.std_error[0])


def test_leaving_blocks_out_of_design_and_estimator():
    check = leave_out.covariates(
        sample(), estimator=lambda s: means.difference(nearest.match(s)), blocks={"history": ["x"], "all but x": ["z"]}
    )
    fewer = emulate(STUDY.revise(covariates=("z",)), table().assign(job=0))
    alone = means.difference(nearest.match(fewer), outcome="y").value[0]
    assert check.tidy().set_index("term").loc["without history", "estimate"] == pytest.approx(alone)
    with pytest.raises(ValueError, match="put the design into the estimator"):
        leave_out.covariates(nearest.match(sample()))
    with pytest.raises(KeyError):
        leave_out.covariates(sample(), blocks={"b": ["region"]})


# ---- placebos ---------------------------------------------------------------------------------


def test_confounding_is_seen_in_an_earlier_outcome():
    naive = placebo.outcome(sample(hidden=1.0), outcome="past")
    assert naive.passed is False and "more than chance" in naive.reason
    adjusted = placebo.outcome(sample(n=40_000), outcome="past", estimator=regression.difference)
    assert adjusted.passed is True
    small = placebo.outcome(sample(n=150), outcome="past", estimator=regression.difference)
    assert small.passed is None and "not ruled out for “past”" in small.reason


def test_periods_before_zero_are_placebos_and_are_tested_jointly():
    check = placebo.outcome(sample(hidden=1.0))
    assert list(check.tidy()["outcome"]) == [f"wage, period {t}" for t in (-3, -2, -1)]
    whole = sample(hidden=1.0)
    path = means.difference(whole, outcome="wage").where("time < 0")
    assert path.test()["p_value"] < 0.001 and "p < 0.001" in check.reason
    np.testing.assert_allclose(check.tidy()["estimate"], path.value)


def test_a_start_before_the_start():
    check = placebo.start(sample(n=4000))
    assert check.passed is not False and list(check.tidy()["outcome"]) == ["wage, change at period -2"]
    whole = sample(n=4000)
    y, d = whole.outcome("wage"), whole.treated
    change = y[:, 1:3].mean(axis=1) - y[:, 0]
    assert check.tidy()["estimate"][0] == pytest.approx(change[d].mean() - change[~d].mean())
    with pytest.raises(ValueError, match="periods on both its sides"):
        placebo.start(sample(), at=-9)


def test_without_a_placebo_nothing_is_decided():
    lone = emulate(STUDY.revise(outcomes=Outcome("y")), table().assign(job=0))
    for check in (placebo.outcome(lone), placebo.start(lone), placebo.negative_control(lone)):
        assert check.passed is None and "cannot be decided" in check.reason
    assert placebo.negative_control(sample(), outcome="y").passed is False
