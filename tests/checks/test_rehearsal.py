"""Rehearsals: what is drawn, what is planted, what is counted, and that processes change nothing."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from impact import Outcome, Study, emulate
from impact.checks.rehearsal import rehearsal
from impact.core import placebo
from impact.core.logit import logit
from impact.matching import means, nearest, regression

pytestmark = pytest.mark.filterwarnings("ignore::impact.ImpactWarning")

STUDY = Study(
    title="t",
    unit="id",
    treatment="d",
    covariates=("x",),
    outcomes=(Outcome("y"), Outcome("job"), Outcome("w_{}", periods=(1, 2))),
)
PLAIN = {"plain": means.difference}


def sample(n=300, seed=0, slope=1.0, **changes):
    r = np.random.default_rng(seed)
    x = r.normal(size=n)
    d = (r.random(n) < 1 / (1 + np.exp(-(-1 + slope * x)))).astype(int)
    y = 2 * x + r.normal(size=n) + 5 * d
    rows = pd.DataFrame({"id": range(n), "d": d, "x": x, "y": y, "job": (x + r.normal(size=n) > 0).astype(int)})
    return emulate(STUDY.revise(**changes), rows.assign(w_1=y, w_2=2 * y))


def numbers(check):
    return check.tidy().select_dtypes("number").to_numpy()


def test_processes_change_nothing_and_seeds_do():
    one, two = (rehearsal(sample(), estimators=PLAIN, draws=30, n_jobs=k) for k in (1, 2))
    np.testing.assert_array_equal(numbers(one), numbers(two))
    other = rehearsal(sample(), estimators=PLAIN, draws=30, rng=1)
    assert (numbers(one) != numbers(other)).any()
    seed = np.random.SeedSequence(7)
    a, b = (rehearsal(sample(), estimators=PLAIN, draws=5, rng=seed) for _ in range(2))
    np.testing.assert_array_equal(numbers(a), numbers(b))
    c, d = (rehearsal(sample(), estimators=PLAIN, draws=5, rng=np.random.default_rng(7)) for _ in range(2))
    np.testing.assert_array_equal(numbers(c), numbers(d))


def test_more_draws_and_more_estimators_leave_the_first_as_they_were():
    seen = []

    def spy(s):
        seen.append((s.treated.copy(), s.outcome().copy()))
        return means.difference(s)

    rehearsal(sample(), estimators={"spy": spy}, draws=3)
    rehearsal(sample(), estimators={"a": means.difference, "spy": spy}, draws=4, size=[0, 1])
    for (d, y), (d2, y2), (d3, y3) in zip(seen[:3], seen[3::2], seen[4::2], strict=False):
        np.testing.assert_array_equal(d, d2)
        np.testing.assert_array_equal(y, y2)
        np.testing.assert_allclose(y3 - y2, d3)  # an effect of one, on the placebo treated


def test_only_comparison_units_are_drawn_as_many_treated_as_in_earnest():
    whole, shares = sample(n=3000), []

    def spy(s):
        assert set(s.unit) <= set(whole.unit[~whole.treated]) and len(set(s.unit)) == 500
        shares.append((s.treated.mean(), logit(s.treated, s.covariates, s.weights).in_units()[1]))
        return means.difference(s)

    rehearsal(whole, estimators={"spy": spy}, draws=40, units=500)
    share, slope = np.mean(shares, axis=0)
    fitted = logit(whole.treated, whole.covariates, whole.weights).in_units()[1]
    assert share == pytest.approx(whole.treated.mean(), abs=0.01)
    assert slope == pytest.approx(fitted, abs=0.08)  # selection is as strong as in earnest


def test_the_intercept_is_found_where_some_have_no_choice():
    chance = placebo.shifted(np.array([-np.inf, 0.0, 1.0, np.inf]), 0.5, np.ones(4))
    assert chance[0] == 0 and chance[3] == 1 and chance.mean() == pytest.approx(0.5)
    with pytest.raises(ValueError, match="leaves only 0 of them a choice"):
        placebo.shifted(np.array([-np.inf, np.inf]), 0.5, np.ones(2))


@pytest.mark.parametrize("estimand", ["ATT", "ATC", "ATE"])
def test_effects_on_zeros_and_ones_are_what_was_asked_for(estimand):
    r = np.random.default_rng(0)
    n = 200_000
    x = r.normal(size=n)
    y, chance = (x + r.normal(size=n) > 0).astype(float), 1 / (1 + np.exp(1 - x))
    plan = placebo.plan(y, chance, np.ones(n), (0.1, -0.2), estimand)
    treated, turned = r.random(n) < chance, r.random(n)
    over = {"ATT": treated, "ATC": ~treated, "ATE": np.ones(n, bool)}[estimand]
    for k, size in enumerate((0.1, -0.2)):
        # everybody treated, so that the effect is seen in the whole group of interest
        gap = plan.planted(y, np.ones(n, bool), turned, k) - y
        assert gap[over].mean() == pytest.approx(size, abs=0.005)
        assert set(np.unique(plan.planted(y, treated, turned, k))) == {0.0, 1.0}
    with pytest.raises(ValueError, match="leaves room"):
        placebo.plan(y, chance, np.ones(n), (0.9,), estimand)


def test_verdicts_and_ranks():
    named = {
        "naive": means.difference,
        "regression": regression.difference,
        "matching": lambda s: means.difference(nearest.match(s)),
    }
    check = rehearsal(sample(n=600), estimators=named, draws=100, size=[0, 1])
    found = check.tidy()
    assert check.passed is True and "Can be trusted here: “regression”" in check.reason
    assert "“naive” is off by +" in check.reason
    assert list(found["method"])[0] == "regression" and list(found["method"])[-1] == "naive"
    assert set(found["truth"]) == {0.0, 1.0}
    np.testing.assert_allclose(found["rmse"] ** 2, found["bias"] ** 2 + found["spread"] ** 2 * 99 / 100)
    assert rehearsal(sample(n=600), estimators={"naive": means.difference}, draws=100).passed is False
    few = rehearsal(sample(), draws=20)
    assert few.passed is None and "cannot be decided with 20 draws" in few.reason


def test_an_estimator_that_refuses_is_counted():
    calls = []

    def moody(s):
        calls.append(0)
        if len(calls) % 2:
            raise ValueError("no")
        return means.difference(s)

    found = rehearsal(sample(), estimators={"moody": moody}, draws=100)
    row = found.tidy().iloc[0]
    assert (row["draws"], row["refused"]) == (50, 50)
    assert found.passed is False and "had no answer in 50 draws" in found.reason

    def never(s):
        raise ValueError("no")

    assert rehearsal(sample(), estimators={"never": never}, draws=100).passed is False


def test_what_it_refuses():
    with pytest.raises(ValueError, match="before any design"):
        rehearsal(nearest.match(sample()))
    with pytest.raises(ValueError, match="no covariates"):
        rehearsal(sample(covariates=()))
    with pytest.raises(ValueError, match="gave 2 values"):
        rehearsal(sample(), estimators={"both": means.means}, draws=2)
    with pytest.raises(ValueError, match="comparison units to draw"):
        rehearsal(sample(), units=5000)


def test_one_period_of_an_outcome_over_time():
    last = rehearsal(sample(), estimators=PLAIN, outcome="w", draws=5)
    first = rehearsal(sample(), estimators=PLAIN, outcome="w", time=1, draws=5)
    np.testing.assert_allclose(last.tidy()["bias"], 2 * first.tidy()["bias"])
    with pytest.raises(ValueError, match="name one of its periods"):
        rehearsal(sample(), outcome="w", time=3)
