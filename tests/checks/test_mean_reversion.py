"""Areas chosen in bad times: what comes back by itself is told from the effect, and found only where it is."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from impact.checks.mean_reversion import mean_reversion
from impact.core import differences
from impact.did import callaway_santanna
from tests.checks.staggered import sample_of

pytestmark = pytest.mark.filterwarnings("ignore::impact.ImpactWarning")

WINDOWS = {"history": 4, "horizon": 3, "baseline": 2}


def areas(seed=0, n=120, chosen=30, effect=0.0, select=True, hold=0.5):
    """Shocks that die out; those who adopt in 11 had the worst change from periods 7 and 8 to 9 and 10."""
    r = np.random.default_rng(seed)
    level, y = r.normal(size=n), np.zeros((n, 16))
    y[:, 0] = r.normal(size=n)
    for t in range(1, 16):
        y[:, t] = hold * y[:, t - 1] + r.normal(size=n)
    change = y[:, 8:10].mean(axis=1) - y[:, 6:8].mean(axis=1)
    treated = np.argsort(-change if select else r.random(n))[:chosen]
    start = np.full(n, np.nan)
    start[treated] = 11.0
    y = y + 3 * level[:, None] + effect * (np.arange(1, 17) >= start[:, None])
    columns = {f"y_{k}": y[:, k - 1] for k in range(1, 17)}
    return pd.DataFrame({"area": [f"area {k}" for k in range(n)], "start": start} | columns)


def values(check):
    return check.table.set_index("term")["estimate"]


def test_by_hand():
    table = areas()
    found = values(mean_reversion(sample_of(table), **WINDOWS))
    y = table[[f"y_{k}" for k in range(1, 17)]].to_numpy()
    never, treated = table["start"].isna().to_numpy(), table["start"].notna().to_numpy()
    d, f, date = [], [], []
    for s in range(4, 10):
        d.append(y[never, s - 2 : s].mean(axis=1) - y[never, s - 4 : s - 2].mean(axis=1))
        f.append(y[never, s : s + 3].mean(axis=1) - y[never, s - 2 : s].mean(axis=1))
        date.append(np.full(never.sum(), s))
    x = np.column_stack([np.concatenate(d), pd.get_dummies(np.concatenate(date)).to_numpy(float)])
    slope = np.linalg.lstsq(x, np.concatenate(f))[0][0]
    recent = y[:, 8:10].mean(axis=1) - y[:, 6:8].mean(axis=1)
    after = y[:, 10:13].mean(axis=1) - y[:, 8:10].mean(axis=1)
    gap, effect = (v[treated].mean() - v[never].mean() for v in (recent, after))
    np.testing.assert_allclose(found, [gap, slope * gap, effect, effect - slope * gap])


def test_what_comes_back_by_itself_is_found_and_taken_off():
    found = mean_reversion(sample_of(areas(n=400, chosen=100)), **WINDOWS)
    assert found.passed is False and "effect expected from mean reversion differs" in found.reason
    row = found.table.set_index("term")
    assert row.loc["effect found", "conf_high"] < 0  # a recovery that would be taken for an effect
    left = row.loc["effect less mean reversion"]
    assert left["conf_low"] < 0 < left["conf_high"]


def test_without_selection_nothing_is_expected():
    found = mean_reversion(sample_of(areas(select=False, n=400, chosen=100)), **WINDOWS)
    assert found.passed is None and "of it, " in found.reason
    assert mean_reversion(sample_of(areas(select=False, n=400, chosen=100)), margin=1.0, **WINDOWS).passed is True


def test_the_effect_found_may_be_that_of_an_estimator():
    sample = sample_of(areas(effect=2.0))
    found = mean_reversion(sample, estimator=callaway_santanna.att, **WINDOWS).table.set_index("term")
    one = callaway_santanna.att(sample)
    np.testing.assert_allclose(
        found.loc["effect found", ["estimate", "std_error"]].astype(float), [one.value[0], one.std_error[0]]
    )
    expected = found.loc["effect expected from mean reversion", "estimate"]
    np.testing.assert_allclose(found.loc["effect less mean reversion", "estimate"], one.value[0] - expected)
    with pytest.raises(ValueError, match="has no scores"):
        mean_reversion(sample, estimator=lambda s: callaway_santanna.att(s).released(), **WINDOWS)


def test_a_rule_of_ones_own():
    sample = sample_of(areas())
    found = mean_reversion(sample, rule=lambda h: h[:, -2:].mean(axis=1) - h[:, :2].mean(axis=1), **WINDOWS)
    pd.testing.assert_frame_equal(found.table, mean_reversion(sample, **WINDOWS).table)
    for rule in (lambda h: h, lambda h: h.mean(), lambda h: h[:, 0] * np.nan):
        with pytest.raises(ValueError, match="one finite number for each unit"):
            mean_reversion(sample, rule=rule, **WINDOWS)
    with pytest.raises(ValueError, match="does not vary among the 90 units never treated"):
        mean_reversion(sample, rule=lambda h: h[:, 0] * 0, **WINDOWS)


def test_row_order_and_weights():
    table = areas().assign(size=np.random.default_rng(0).uniform(1, 2, 120))
    whole = mean_reversion(sample_of(table, weights="size"), **WINDOWS).table
    mixed = table.sample(frac=1, random_state=0).assign(size=lambda t: 3 * t["size"])
    pd.testing.assert_frame_equal(mean_reversion(sample_of(mixed, weights="size"), **WINDOWS).table, whole)


def test_standard_errors_are_those_of_the_derivatives():
    """The expected effect as a function of the weights: its scores make its standard error."""
    from dataclasses import replace

    sample = sample_of(areas(n=40, chosen=10))
    row = mean_reversion(sample, **WINDOWS).table.iloc[3]

    def value(w):
        return mean_reversion(replace(sample, weights=w), **WINDOWS).table["estimate"][3]

    scores = np.empty(40)
    for i in range(40):
        up, down = (np.where(np.arange(40) == i, 1 + h, 1.0) for h in (1e-4, -1e-4))
        scores[i] = (value(up) - value(down)) / 2e-4
    treated = sample.treated
    parts = [n / (n - 1) * (scores[m] ** 2).sum() for n, m in ((10, treated), (30, ~treated))]
    np.testing.assert_allclose(row["std_error"] ** 2, sum(parts), rtol=0.02)


def test_what_does_not_fit():
    sample = sample_of(areas())
    with pytest.raises(ValueError, match="9 after it are not there"):
        mean_reversion(sample, history=8, horizon=9)
    with pytest.raises(ValueError, match="10 periods before a date"):
        mean_reversion(sample, history=10)
    alike = areas(chosen=118)
    assert "2 units were never treated" in mean_reversion(sample_of(alike)).reason
    gone = areas()
    gone.loc[0, "y_3"] = np.nan
    with pytest.raises(ValueError, match="not seen in every period"):
        mean_reversion(sample_of(gone, missing="keep"))


def test_groups_each_at_their_own_date():
    table = areas()
    table.loc[table.index[table["start"].notna()][:10], "start"] = 13.0
    found = mean_reversion(sample_of(table), **WINDOWS)
    y = table[[f"y_{k}" for k in range(1, 17)]].to_numpy()
    first = differences.first_treated(table["start"].fillna(np.inf).to_numpy(), np.arange(1.0, 17.0))
    gaps = []
    for g in (11, 13):
        recent = y[:, g - 3 : g - 1].mean(axis=1) - y[:, g - 5 : g - 3].mean(axis=1)
        gaps.append(recent[first == g].mean() - recent[np.isinf(first)].mean())
    np.testing.assert_allclose(values(found).iloc[0], np.average(gaps, weights=[20, 10]))
    late = mean_reversion(sample_of(table), history=4, horizon=5, baseline=1)
    assert any("10 treated units are left out" in n for n in late.notes)


def test_one_treated_area_gives_values_without_errors_and_no_verdict():
    found = mean_reversion(sample_of(areas(chosen=1)), **WINDOWS)
    assert found.passed is None and found.table["estimate"].notna().all() and repr(found)
    assert "cannot be decided" in found.reason
