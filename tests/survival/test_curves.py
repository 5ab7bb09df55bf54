"""Curves, differences and restricted means of a sample: values, scores, words, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from impact import Event, Outcome, Study, emulate
from impact.core import risk
from impact.survival import aalen_johansen, kaplan_meier, restricted_mean

CAUSES = {1: "job", 2: "education", 3: "other"}
ESTIMATORS = {
    "survival": kaplan_meier.survival,
    "difference in survival": kaplan_meier.difference,
    "cumulative incidence": aalen_johansen.cumulative_incidence,
    "risk difference": aalen_johansen.risk_difference,
    "risk ratio": aalen_johansen.risk_ratio,
    "time until": restricted_mean.time_until,
    "difference in time until": restricted_mean.difference,
    "time lost": restricted_mean.time_lost,
}


def clients(n=300, seed=0, entry=False):
    rng = np.random.default_rng(seed)
    arm = np.where(rng.random(n) < 0.4, "private", "public")
    months = np.ceil(rng.exponential(9, n))
    exit_code = np.where(months <= 12, rng.integers(1, 4, n), 0)
    table = pd.DataFrame({"client": np.arange(n), "provider": arm, "months": np.minimum(months, 12)})
    table["exit"] = np.where(rng.random(n) < 0.1, 0, exit_code)
    table["weight"] = rng.gamma(2, 1, n)
    table["since"] = np.where(rng.random(n) < 0.3, np.minimum(2.0, table["months"] - 0.5), 0) if entry else 0.0
    return table


def sample_of(table, **about):
    event = Event("months", "exit", CAUSES, label="months to exit", entry=about.pop("entry", None))
    about = {"title": "t", "unit": "client", "treatment": "provider", "treated": "private", "comparison": "public",
             "outcomes": event, **about}  # fmt: skip
    return emulate(Study(**about), table)


SAMPLES = {
    "plain": lambda: sample_of(clients()),
    "weighted": lambda: sample_of(clients(seed=1), weights="weight"),
    "late entries": lambda: sample_of(clients(seed=2, entry=True), entry="since"),
}


@pytest.mark.parametrize("case", SAMPLES)
@pytest.mark.parametrize("name", ESTIMATORS)
def test_scores_are_derivatives(name, case):
    sample = SAMPLES[case]()
    found = ESTIMATORS[name](sample)
    rng = np.random.default_rng(3)
    np.testing.assert_allclose(found.scores.sum(axis=0), 0, atol=1e-10)
    for i in rng.choice(len(sample), 6, replace=False):
        step, moved = 1e-4, []
        for sign in (-1, 1):
            w = sample.weights.copy()
            w[i] *= 1 + sign * step
            moved.append(ESTIMATORS[name](replace(sample, weights=w)).value)
        slope = (moved[1] - moved[0]) / (2 * step)
        np.testing.assert_allclose(found.scores[i], slope, rtol=1e-5, atol=1e-7 * np.abs(found.scores).max())


@pytest.mark.parametrize("name", ESTIMATORS)
def test_fewer_times_causes_and_outcomes_change_nothing(name):
    sample = SAMPLES["weighted"]()
    estimate = ESTIMATORS[name]
    ask = "times" if "time" not in name else "horizon"
    every = estimate(sample, **{ask: [3, 6, 9, 12]})
    few = estimate(sample, **{ask: [6, 12]})
    kept = every.where("time in (6, 12)")
    np.testing.assert_array_equal(few.value, kept.value)
    np.testing.assert_array_equal(few.scores, kept.scores)
    if "cause" in every.index:
        one = estimate(sample, cause="education", **{ask: [6]})
        np.testing.assert_array_equal(one.value, every.where("time == 6 and cause == 'education'").value)
    named = estimate(sample, outcome="months", **{ask: [6, 12]})
    np.testing.assert_array_equal(named.value, few.value)


def test_arms_and_differences_fit_together():
    sample = SAMPLES["weighted"]()
    at = [4, 8, 12]
    curves = aalen_johansen.cumulative_incidence(sample, times=at)
    gap = aalen_johansen.risk_difference(sample, times=at)
    ratio = aalen_johansen.risk_ratio(sample, times=at)
    left = kaplan_meier.survival(sample, times=at)
    top, bottom = curves.where("group == 'private'").value, curves.where("group == 'public'").value
    np.testing.assert_allclose(gap.value, top - bottom)
    np.testing.assert_allclose(ratio.value, top / bottom)
    gone = curves.value.reshape(2, 3, 3).sum(axis=1)
    np.testing.assert_allclose(left.value.reshape(2, 3), 1 - gone)
    np.testing.assert_allclose(
        kaplan_meier.difference(sample, times=at).value, -gap.value.reshape(3, 3).sum(axis=0), atol=1e-14
    )
    assert list(curves.index.columns) == ["outcome", "group", "cause", "time"]
    assert list(curves.index["group"][:1]) == ["private"]
    lost = restricted_mean.time_lost(sample, horizon=[10, 12])
    until = restricted_mean.difference(sample, horizon=[10, 12])
    np.testing.assert_allclose(until.value, -lost.value.reshape(3, 2).sum(axis=0))
    whole = restricted_mean.time_until(sample, horizon=12)
    d, w = sample.treated, sample.weights
    time, status, _ = sample.outcome("months")
    by_hand = [risk.restricted_mean(time, status, w * arm, horizon=[12])[0][0] for arm in (d, ~d)]
    np.testing.assert_allclose(whole.value, by_hand)


def test_without_censoring_they_are_means():
    """Nobody is censored before 12, so the share that has left is a share, and its error a mean's."""
    table = clients()
    table["exit"] = np.where((table["months"] < 12) & (table["exit"] == 0), 2, table["exit"])
    sample = sample_of(table)
    by_six = ((table["months"] <= 6) & (table["exit"] == 1)).to_numpy(float)
    d = (table["provider"] == "private").to_numpy()
    gap = aalen_johansen.risk_difference(sample, cause="job", times=6)
    np.testing.assert_allclose(gap.value, by_six[d].mean() - by_six[~d].mean())
    n = len(table)
    variance = by_six[d].var() / d.sum() + by_six[~d].var() / (~d).sum()
    np.testing.assert_allclose(gap.std_error**2, variance * n / (n - 1))


def test_the_error_of_estimated_weights_is_carried():
    from impact.sample import Nuisance

    sample = SAMPLES["plain"]()
    rng = np.random.default_rng(0)
    nuisance = Nuisance(rng.normal(size=(300, 2)) / 300, rng.normal(size=(300, 2)))
    designed = sample.reweight(rng.gamma(2, 1, 300), step="weighted", nuisance=nuisance)
    known = replace(designed, nuisance=None)
    at = {"times": [6], "cause": "job"}
    a, b = (aalen_johansen.risk_difference(s, **at) for s in (designed, known))
    np.testing.assert_array_equal(a.value, b.value)
    slope = b.scores / designed.weights[:, None]
    np.testing.assert_allclose(a.scores - b.scores, nuisance.influence @ (nuisance.gradient.T @ slope))
    assert "weighted; Aalen-Johansen" in a.method


def test_words():
    sample = sample_of(clients(), time_zero="month of enrolment, as registered")
    gap = aalen_johansen.risk_difference(sample)
    assert gap.estimand == "Difference in cumulative incidence, private less public"
    assert gap.axes["time"] == "months since enrolment"
    assert gap.percent and gap.kind == "path"
    assert set(gap.index["outcome"]) == {"months to exit"}
    curve = kaplan_meier.survival(sample_of(clients()))
    assert curve.axes["time"] == "months since time zero" and curve.kind == "steps" and curve.scale == "loglog"


def test_default_times():
    """Event times if they are few, else round ones; never past the end of either arm."""
    np.testing.assert_array_equal(kaplan_meier.difference(SAMPLES["plain"]()).index["time"], np.arange(1, 13))
    table = clients()
    table["months"] = table["months"] - np.random.default_rng(0).random(300)
    short = table["provider"].eq("private") & (table["months"] > 8)
    table.loc[short, "exit"] = 0
    table.loc[short, "months"] = 8.0
    found = kaplan_meier.difference(sample_of(table))
    np.testing.assert_allclose(found.index["time"], np.arange(0.2, 8.01, 0.2))
    assert restricted_mean.difference(sample_of(table)).index["time"].item() == 8


def test_an_arm_that_has_left_altogether_stays_observed():
    table = clients()
    private = table["provider"].eq("private")
    table.loc[private, "exit"] = 1
    table.loc[private, "months"] = np.minimum(table.loc[private, "months"], 5)
    curve = aalen_johansen.cumulative_incidence(sample_of(table), cause="job", times=[5, 11])
    np.testing.assert_allclose(curve.where("group == 'private'").value, 1)
    np.testing.assert_allclose(curve.where("group == 'private'").std_error, 0, atol=1e-15)


def test_times_nobody_is_observed_at_are_refused():
    sample = SAMPLES["plain"]()
    with pytest.raises(
        ValueError, match=r"`months` was asked for at 13 and 24, and nobody of the \d+ units in “private”"
    ):
        kaplan_meier.survival(sample, times=[6, 13, 24])
    with pytest.raises(ValueError, match="ask for times up to 1[0-2], when at least 10 units"):
        restricted_mean.time_lost(sample, horizon=18)
    with pytest.raises(ValueError, match="of which 2 are missing, infinite or before time zero: ask for months"):
        kaplan_meier.difference(sample, times=[-1, 3, np.nan])
    with pytest.raises(ValueError, match="no time passes before it"):
        restricted_mean.time_until(sample, horizon=0)
    late = sample_of(clients(seed=2).assign(since=lambda t: t["months"] - 0.5), entry="since")
    with pytest.raises(ValueError, match=r"`months` was asked for at 0, and nobody of the"):
        kaplan_meier.survival(late, times=[0, 6])


def test_causes_that_do_not_exist_are_refused():
    with pytest.raises(
        ValueError, match="The cause 'work' was asked for, and `exit` has 'job', 'education' and 'other'"
    ):
        aalen_johansen.risk_difference(SAMPLES["plain"](), cause=["job", "work"])


def test_a_ratio_to_nothing_is_refused_or_left_out_with_a_word():
    table = clients()
    table.loc[table["months"].le(2) & table["exit"].eq(2) & table["provider"].eq("public"), "exit"] = 1
    sample = sample_of(table)
    with pytest.raises(ValueError, match="1 of 3 combinations of cause and time at which nobody of one arm has left"):
        aalen_johansen.risk_ratio(sample, times=2)
    found = aalen_johansen.risk_ratio(sample)
    assert any("2 of 36 combinations" in note for note in found.notes)
    assert len(found.value) == 34 and found.scale == "log" and not found.percent


def test_small_risk_sets_are_pointed_out():
    table = clients()
    table.loc[table["provider"].eq("private") & (table["months"] > 9), ["months", "exit"]] = [9.0, 0]
    table.loc[np.flatnonzero(table["provider"].eq("private"))[:3], ["months", "exit"]] = [12.0, 0]
    notes = kaplan_meier.survival(sample_of(table)).notes
    assert any(
        n.startswith("Fewer than 10 units of “private” are at risk at 3 of the 12 times, the first at 10")
        for n in notes
    )


def test_a_curve_that_ends_before_the_entries_is_pointed_out():
    table = clients(seed=5)
    table["since"] = np.where(np.arange(300) < 298, np.minimum(1.5, table["months"] - 0.5), 0.0)
    table["since"] = np.where(np.arange(300) < 298, 1.5, 0.0)
    table["months"] = np.maximum(table["months"], 2)
    table.loc[298:, ["months", "exit", "provider"]] = [[1.0, 1, "private"], [1.0, 1, "public"]]
    notes = kaplan_meier.survival(sample_of(table, entry="since"), times=6).notes
    assert sum("everybody at risk early on (1 units) had left before" in n for n in notes) == 2


def test_studies_without_events_or_arms_are_refused():
    table = clients().assign(y=1.0, adopted=np.nan)
    table.loc[:50, "adopted"] = 2.0
    table.loc[5, "y"] = 0.0
    plain = sample_of(table, outcomes=Outcome("y"))
    with pytest.raises(ValueError, match="This needs a time to an event, and the study “t” has none: add an Event"):
        kaplan_meier.survival(plain)
    both = sample_of(table, outcomes=[Outcome("y"), Event("months", "exit", CAUSES)])
    with pytest.raises(ValueError, match="`y` is not one"):
        aalen_johansen.risk_difference(both, outcome="y")
    assert len(aalen_johansen.risk_difference(both, times=6).value) == 3
    table["y_1"] = table["y_2"] = table["y"]
    adopting = Study(
        title="t",
        unit="client",
        adoption="adopted",
        outcomes=[Outcome("y_{}", periods=[1, 2]), Event("months", "exit", CAUSES)],
    )
    with pytest.raises(ValueError, match="staggered adoption"):
        restricted_mean.difference(emulate(adopting, table))


def test_several_events_are_told_apart():
    table = clients().assign(weeks=lambda t: 4 * t["months"], out=lambda t: (t["exit"] > 0).astype(int))
    events = [Event("months", "exit", CAUSES, label="exit"), Event("weeks", "out", {1: "left"}, unit="weeks")]
    found = aalen_johansen.risk_difference(sample_of(table, outcomes=events))
    assert found.index.groupby("outcome", sort=False).size().to_dict() == {"exit": 36, "weeks": 12}
    one = aalen_johansen.risk_difference(sample_of(table, outcomes=events), outcome="weeks")
    np.testing.assert_array_equal(one.value, found.where("outcome == 'weeks'").value)


def test_an_arm_without_weights_is_refused():
    sample = SAMPLES["plain"]()
    empty = sample.reweight(np.where(sample.treated, 1.0, 0.0), step="nothing matched")
    with pytest.raises(ValueError, match="units in “public” has a weight left"):
        kaplan_meier.survival(empty)
