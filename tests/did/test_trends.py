"""The check of trends before adoption: its test, its verdict, and what it would have missed."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from impact import Estimate, Outcome, Study, emulate
from impact.checks.trends import parallel_trends
from impact.did import callaway_santanna as did

PERIODS = 7


def path(drift=0.0, n=200, seed=0, estimator=did.event_study, **options):
    rng = np.random.default_rng(seed)
    start = rng.choice([5, np.nan], n)
    t = np.arange(1, PERIODS + 1)
    treated = ~np.isnan(start)[:, None]
    y = rng.normal(size=(n, 1)) + rng.normal(size=(n, PERIODS)) + treated * (drift * t + (t >= 5))
    table = pd.DataFrame({"area": np.arange(n), "start": start} | {f"y_{k}": y[:, k - 1] for k in t})
    study = Study(title="t", unit="area", adoption="start", outcomes=Outcome("y_{}", periods=t.tolist(), per="quarter"))
    return estimator(emulate(study, table), **options)


def test_a_test_that_does_not_reject_leaves_the_judgement_to_the_reader():
    check = parallel_trends(path())
    assert check.passed is None and check.verdict == "for the reader to judge"
    assert "3 effects before adoption are not told from zero at 5% (F(3, " in check.reason
    assert "not evidence of parallel trends" in check.notes[0]
    assert (check.table["time"] < 0).all() and len(check.table) == 3


def test_diverging_trends_are_found():
    check = parallel_trends(path(drift=0.8))
    assert check.passed is False and check.verdict == "does not hold"
    assert "differ from zero by more than chance at 5%" in check.reason and "p < 0.001" in check.reason


def test_the_reference_is_hotellings():
    found = path()
    before = found.where("time < 0")
    wald = before.value @ np.linalg.inv(before.vcov) @ before.value
    df = 3 / (1 / before.dfs).sum()
    assert 150 < before.df <= df < 199  # of 90 and 110 areas or so
    p = stats.f.sf(wald * (df - 2) / (3 * df), 3, df - 2)
    assert f"p = {p:.3f}" in parallel_trends(found).reason


def test_the_table_has_a_band_and_what_could_be_detected():
    found = path()
    table = parallel_trends(found).tidy()
    assert (table["band_low"] < table["conf_low"]).all() and (table["band_high"] > table["conf_high"]).all()
    before = found.where("time < 0")
    expected = (stats.t.ppf(0.975, before.dfs) + stats.norm.ppf(0.8)) * before.std_error
    np.testing.assert_allclose(table["smallest_detectable"], expected)
    wide = parallel_trends(found, level=0.01).tidy()
    assert (wide["conf_low"] < table["conf_low"]).all()


@pytest.mark.parametrize("base", ["varying", "universal"])
def test_the_divergence_it_would_have_missed(base):
    """Simulated power at the stated slope is the stated 80 per cent, whichever the base period."""
    found = path(n=400, base=base)
    check = parallel_trends(found)
    slope = float(check.reason.split("divergence of ")[1].split(" a period")[0])
    added = float(check.reason.split("would have added ")[1].split(" to")[0])
    assert added == pytest.approx(3 * slope, rel=0.02)
    before = found.where("time < 0")
    ages = before.index["time"].to_numpy()
    drift = slope * (np.ones(3) if base == "varying" else ages + 1)
    inverse = np.linalg.inv(before.vcov)
    ncp = drift @ inverse @ drift
    power = stats.ncf.sf(stats.f.isf(0.05, len(ages), 400 - len(ages)), len(ages), 400 - len(ages), ncp)
    assert power == pytest.approx(0.8, abs=0.01)


def test_group_time_effects_are_taken_by_age():
    check = parallel_trends(path(estimator=did.att_gt))
    assert set(check.table["time"]) == {2, 3, 4}
    assert check.reason == parallel_trends(path()).reason.replace("quarters since", "periods since")


def test_anticipation_is_not_tested():
    check = parallel_trends(path(anticipation=1), anticipation=1)
    assert list(check.table["time"]) == [-3, -2]
    assert parallel_trends(path(), anticipation=0.0).table["time"].max() == -1


def test_without_periods_before_it_cannot_be_decided():
    check = parallel_trends(path().where("time >= 0"))
    assert check.passed is None
    assert check.reason.startswith("It cannot be decided: none of the 3 effects lies before adoption")
    assert len(check.tidy()) == 3


def test_more_effects_than_clusters_cannot_be_decided():
    check = parallel_trends(path(n=4, seed=1))
    assert check.passed is None
    assert "cannot be tested" in check.reason
    few = Estimate.of_covariance({"time": [-3, -2, -1, 0]}, np.zeros(4), np.eye(4), df=2)
    assert "It cannot be decided: 3 effects before adoption cannot be tested jointly" in parallel_trends(few).reason


def test_hardly_more_clusters_than_effects():
    for df, words in (
        (3, "would hardly have found any"),
        (6, "A steady divergence of"),
        (np.inf, "chi-squared(3) = 0.00"),
    ):
        few = Estimate.of_covariance({"time": [-3, -2, -1, 0]}, np.zeros(4), np.eye(4), df=df)
        assert words in parallel_trends(few).reason


def test_a_released_estimate_will_do():
    assert parallel_trends(path().released()).reason == parallel_trends(path()).reason


def test_levels_and_single_numbers_are_refused():
    with pytest.raises(ValueError, match="Trends are judged on differences over time"):
        parallel_trends(path(estimator=did.att))
    levels = path().about(index=path().index.assign(group="a"))
    with pytest.raises(ValueError, match="labels `outcome`, `time`, `group`: give the path of an event study"):
        parallel_trends(levels)
    with pytest.raises(ValueError, match="A level is between 0 and 1"):
        parallel_trends(path(), level=5)


def test_effects_measured_from_all_earlier_periods_are_tested_and_no_divergence_is_read_off_them():
    from impact.did import imputation

    check = parallel_trends(path(n=300, estimator=imputation.event_study, leads=2))
    assert "2 effects before adoption are not told from zero" in check.reason
    assert "steady divergence" not in check.reason and len(check.notes) == 1
