"""Two-way effects: the options do what they say, and what cannot be estimated is said."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from impact import ImpactWarning, Outcome, Study, emulate
from impact.did import callaway_santanna, sun_abraham, two_way

pytestmark = pytest.mark.filterwarnings("ignore::impact.ImpactWarning")
STUDY = Study(title="t", unit="unit", period="time", adoption="start", outcomes=Outcome("y", "rate"))


def table(starts=(4, 6, np.inf), n=90, periods=8, seed=0):
    r = np.random.default_rng(seed)
    g = r.choice(starts, n)
    t = np.arange(1, periods + 1)
    age = np.where(np.isinf(g[:, None]), -1, t - g[:, None])
    x = r.normal(size=n)
    y = (
        r.normal(size=(n, 1))
        + 0.2 * t
        + 0.3 * x[:, None] * t
        + r.normal(size=(n, periods))
        + np.where(age >= 0, 1.0, 0)
    )
    return pd.DataFrame({"unit": np.repeat(np.arange(n), periods), "time": np.tile(t, n), "y": y.ravel(),
                         "x": np.repeat(x, periods),
                         "start": np.repeat(np.where(np.isinf(g), np.nan, g), periods)})  # fmt: skip


def few(treated=5, n=20, periods=10, seed=0):
    r = np.random.default_rng(seed)
    y = np.cumsum(r.normal(size=(n, periods)), axis=1)
    start = np.where(np.arange(n) < treated, 6.0, np.nan)
    return pd.DataFrame({"unit": np.repeat(np.arange(n), periods), "time": np.tile(np.arange(1, periods + 1), n),
                         "y": y.ravel(), "start": np.repeat(start, periods)})  # fmt: skip


def test_with_one_date_and_no_covariates_it_is_the_difference_of_the_means_of_changes():
    data = table((4, np.inf))
    y = data["y"].to_numpy().reshape(-1, 8)
    treated = data["start"].notna().to_numpy().reshape(-1, 8)[:, 0]
    change = y[:, 3:].mean(axis=1) - y[:, :3].mean(axis=1)
    found = two_way.att(emulate(STUDY, data))
    np.testing.assert_allclose(found.value, change[treated].mean() - change[~treated].mean())
    path = two_way.event_study(emulate(STUDY, data))
    assert list(path.index["time"]) == [-3, -2, 0, 1, 2, 3, 4]
    cells = callaway_santanna.event_study(emulate(STUDY, data), base="universal")
    np.testing.assert_allclose(path.value, cells.value, rtol=1e-10)
    np.testing.assert_allclose(path.scores, cells.scores, atol=1e-12)


@pytest.mark.parametrize("covariates", [(), ("x",)])
def test_a_panel_with_gaps_is_the_regression_on_what_is_seen(covariates):
    """Against least squares with every dummy written out."""
    data = table().sample(frac=0.8, random_state=1)
    found = two_way.att(emulate(STUDY.revise(missing="keep", covariates=covariates), data))
    x = [((data["start"] <= data["time"]) * 1.0).to_numpy()[:, None]]
    x += [pd.get_dummies(data[c], dtype=float).to_numpy() for c in ("unit", "time")]
    if covariates:
        x.append((data["x"].to_numpy()[:, None] * (data["time"].to_numpy()[:, None] == np.arange(2, 9))).astype(float))
    expected = np.linalg.lstsq(np.hstack(x), data["y"].to_numpy(), rcond=None)[0][0]
    np.testing.assert_allclose(found.value, expected, rtol=1e-9)


def test_units_seen_once_are_counted_and_say_nothing():
    data = table()
    cut = data.drop(data.index[(data["unit"] < 3) & (data["time"] > 1)])
    found = two_way.att(emulate(STUDY.revise(missing="keep"), cut))
    assert "3 of 90 units are seen in a single period of `y` and say nothing on changes." in found.notes
    np.testing.assert_allclose(found.value, two_way.att(emulate(STUDY, data[data["unit"] >= 3])).value)


def test_units_not_seen_before_they_adopt_are_left_out_or_kept_and_said():
    data = table()
    cut = data[~((data["unit"] < 12) & (data["time"] < data["start"]))]
    late = int((data.query("unit < 12 and time == 1")["start"].notna()).sum())
    sample = emulate(STUDY.revise(missing="keep"), cut)
    found = two_way.att(sample)
    assert any(n.startswith(f"{late} of 90 units adopt while observed but are not seen before") for n in found.notes)
    gone = ~((data["unit"] < 12) & data["start"].notna())
    np.testing.assert_allclose(found.value, two_way.att(emulate(STUDY, data[gone])).value)
    assert two_way.att(sample, always_treated="keep").value != found.value


def test_leads_and_lags_that_are_binned_share_the_last_coefficient():
    sample = emulate(STUDY, table())
    assert list(two_way.event_study(sample).index["time"]) == [-5, -4, -3, -2, 0, 1, 2, 3, 4]
    binned = two_way.event_study(sample, leads=3, lags=1)
    assert list(binned.index["time"]) == [-3, -2, 0, 1]
    assert "leads of 3 and more in one; lags of 1 and more in one" in binned.method
    pooled = two_way.event_study(sample, leads=0, lags=0)
    np.testing.assert_allclose(pooled.value, two_way.att(sample).value, rtol=1e-10)
    assert "all periods before adoption as reference" in pooled.method


def test_the_reference_can_be_chosen():
    sample = emulate(STUDY, table())
    usual, other = two_way.event_study(sample), two_way.event_study(sample, reference=-3)
    assert list(other.index["time"]) == [-5, -4, -2, -1, 0, 1, 2, 3, 4]
    at = dict(zip(usual.index["time"], usual.value, strict=True)) | {-1: 0.0}
    np.testing.assert_allclose(other.value, [at[t] - at[-3] for t in other.index["time"]], rtol=1e-9)
    early = two_way.event_study(sample, anticipation=1)
    assert -1 in list(early.index["time"]) and -2 not in list(early.index["time"])
    with pytest.raises(ValueError, match="a time since adoption at which treated units are seen"):
        two_way.event_study(sample, reference=-99)


def test_without_units_never_treated_a_trend_cannot_be_told_and_is_said():
    sample = emulate(STUDY, table((4, 6, 7)))
    with pytest.warns(ImpactWarning, match="Effects at -6 periods since adoption cannot be told"):
        found = two_way.event_study(sample)
    assert -6 not in list(found.index["time"]) and 4 in list(found.index["time"])
    chosen = two_way.event_study(sample, reference=[-1, -6])
    np.testing.assert_allclose(found.value, chosen.value, rtol=1e-8)


def test_treatment_that_is_a_matter_of_period_alone_is_refused():
    with pytest.raises(ValueError, match="The effect on `y` cannot be estimated by two-way effects"):
        two_way.att(emulate(STUDY, table((4,))))


def test_anticipation_has_an_effect_of_its_own_in_the_static_regression():
    data = table((4, np.inf))
    y = data["y"].to_numpy().reshape(-1, 8)
    treated = data["start"].notna().to_numpy().reshape(-1, 8)[:, 0]
    change = y[:, 3:].mean(axis=1) - y[:, :2].mean(axis=1)
    found = two_way.att(emulate(STUDY, data), anticipation=1)
    np.testing.assert_allclose(found.value, change[treated].mean() - change[~treated].mean())


@pytest.mark.filterwarnings("ignore::impact.ImpactWarning")
def test_units_treated_from_the_start_are_left_out_or_kept_and_said():
    data = table((1, 4, np.inf))
    sample, without = emulate(STUDY, data), emulate(STUDY, data[data["start"] != 1])
    found, kept = two_way.att(sample), two_way.att(sample, always_treated="keep")
    np.testing.assert_allclose(found.value, two_way.att(without).value)
    assert any("and are left out" in note for note in found.notes)
    assert any("kept as comparisons that are treated" in note for note in kept.notes)
    z = [((data["start"] <= data["time"]) * 1.0).to_numpy()[:, None]]
    z += [pd.get_dummies(data[c], dtype=float).to_numpy() for c in ("unit", "time")]
    np.testing.assert_allclose(kept.value, np.linalg.lstsq(np.hstack(z), data["y"], rcond=None)[0][0], rtol=1e-9)


def test_staggered_adoption_is_said_with_the_weight_of_comparisons_with_the_treated():
    from impact.checks.goodman_bacon import goodman_bacon

    sample = emulate(STUDY, table())
    parts = goodman_bacon(sample).tidy()
    share = parts.loc[parts["term"] == "against already treated", "weight"].sum()
    assert any(f"{100 * share:.0f}% of this estimate's weight lies" in note for note in two_way.att(sample).notes)
    assert not any("staggered" in note for note in two_way.att(emulate(STUDY, table((4, np.inf)))).notes)


def test_with_few_treated_the_error_is_welchs_and_with_one_there_is_none():
    data = few()
    found = two_way.att(emulate(STUDY, data))
    y = data["y"].to_numpy().reshape(20, 10)
    change = y[:, 5:].mean(axis=1) - y[:, :5].mean(axis=1)
    error = np.sqrt(change[:5].var(ddof=1) / 5 + change[5:].var(ddof=1) / 15)
    np.testing.assert_allclose(found.std_error, error)
    np.testing.assert_allclose(found.dfs, (1 / 5 + 1 / 15) ** 2 / (1 / (25 * 4) + 1 / (225 * 14)))
    with pytest.warns(ImpactWarning, match=r"single treated cluster \(`unit`\).*few_treated"):
        alone = two_way.att(emulate(STUDY, few(1)))
    assert np.isfinite(alone.value).all() and np.isnan(alone.std_error).all()
    with pytest.warns(ImpactWarning, match="9 of 9 values rest on a single treated"):
        two_way.event_study(emulate(STUDY, few(1)))


def test_few_treated_in_one_outcome_of_two_or_in_clusters():
    data = few().assign(z=lambda d: d["y"] ** 2, area=lambda d: d["unit"] // 2)
    both = two_way.att(emulate(STUDY.revise(outcomes=(Outcome("y"), Outcome("z"))), data))
    one = two_way.att(emulate(STUDY, data))
    np.testing.assert_allclose([both.std_error[0], both.dfs[0]], [one.std_error[0], one.dfs[0]])
    areas = two_way.att(emulate(STUDY.revise(cluster="area"), data))
    assert areas.dfs[0] < one.dfs[0] and areas.counts["clusters"] == 10


def test_conventional_errors_are_those_of_least_squares():
    import statsmodels.api as sm

    data = table(n=30)
    z = [((data["start"] <= data["time"]) * 1.0).to_numpy()[:, None]]
    z += [pd.get_dummies(data[c], dtype=float).to_numpy() for c in ("unit", "time")]
    z[2] = z[2][:, 1:]
    for keep in (np.ones(len(data), bool), ~np.isin(np.arange(len(data)), [3, 70])):
        expected = sm.OLS(data["y"].to_numpy()[keep], np.hstack(z)[keep]).fit()
        found = two_way.att(emulate(STUDY.revise(missing="keep"), data[keep]), errors="conventional")
        np.testing.assert_allclose(found.value, expected.params[0])
        np.testing.assert_allclose([found.std_error[0], found.df], [expected.bse[0], expected.df_resid])
    two = STUDY.revise(outcomes=(Outcome("y"), Outcome("x")))
    with pytest.raises(ValueError, match="Conventional errors were asked for 2 outcomes"):
        two_way.att(emulate(two, data), errors="conventional")


def test_first_differences_need_two_periods_running():
    data = table()
    alternate = data[(data["time"] + data["unit"]) % 2 == 0]
    sample = emulate(STUDY.revise(missing="keep"), alternate)
    with pytest.raises(ValueError, match="two periods running"):
        two_way.att(sample, effects="first_difference")
    once = data[data["time"] == 1 + data["unit"] % 8]
    with pytest.raises(ValueError, match="none of 90 units is seen in more than one period"):
        two_way.att(emulate(STUDY.revise(missing="keep"), once), effects="first_difference")


def test_a_repeated_cross_section_has_constants_for_groups():
    once = table(n=600).query("time == 1 + unit % 8")
    found = two_way.att(emulate(STUDY.revise(missing="keep"), once))
    z = [((once["start"] <= once["time"]) * 1.0).to_numpy()[:, None]]
    z += [pd.get_dummies(once[c].fillna(99), dtype=float).to_numpy() for c in ("start", "time")]
    np.testing.assert_allclose(found.value, np.linalg.lstsq(np.hstack(z), once["y"], rcond=None)[0][0], rtol=1e-9)
    assert any("adoption groups have constants in place of units" in note for note in found.notes)


# ---- Sun and Abraham ------------------------------------------------------------------------


def test_in_a_balanced_panel_its_cells_are_differences_in_differences_with_the_never_treated():
    sample = emulate(STUDY, table())
    ours = sun_abraham.att_gt(sample)
    theirs = callaway_santanna.att_gt(sample, comparison="never", base="universal")
    np.testing.assert_allclose(ours.value, theirs.value, rtol=1e-9)
    np.testing.assert_allclose(ours.scores, theirs.scores, atol=1e-12)


def test_without_units_never_treated_the_last_to_adopt_are_compared_with_before_they_do():
    data = table((4, 6, 8))
    with pytest.warns(ImpactWarning, match="No unit of `y` is never treated. The .* units that adopt last, in 8"):
        found = sun_abraham.att_gt(emulate(STUDY, data))
    assert found.index["time"].max() == 7 and set(found.index["adoption_group"]) == {4, 6}
    cut = data[data["time"] < 8].assign(start=data["start"].where(data["start"] < 8))
    np.testing.assert_allclose(found.value, sun_abraham.att_gt(emulate(STUDY, cut)).value, rtol=1e-9)
    mixed = sun_abraham.att_gt(emulate(STUDY, table((4, 6, 8, np.inf))), comparison="last")
    assert any("units never treated are left out" in note for note in mixed.notes)
    with pytest.raises(ValueError, match="nobody to compare with"):
        sun_abraham.att_gt(emulate(STUDY, table((4,))))


def test_cells_that_gaps_leave_without_a_link_to_their_base_are_left_out_and_said():
    data = table()
    lost = data[~((data["start"] == 4) & (data["time"] == 7))]
    sample = emulate(STUDY.revise(missing="keep"), lost)
    with pytest.warns(ImpactWarning, match="1 of 14 combinations"):
        found = sun_abraham.att_gt(sample)
    assert len(found.value) == 13
    no_base = data[~((data["start"] == 4) & (data["time"] == 3))]
    with pytest.warns(ImpactWarning, match="7 of 14 combinations"):
        found = sun_abraham.att_gt(emulate(STUDY.revise(missing="keep"), no_base))
    assert set(found.index["adoption_group"]) == {6}
