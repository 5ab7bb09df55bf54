"""Triple differences by hand, as three differences in differences, and who is affected."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from impact import Outcome, Study, emulate
from impact.core import doubly_robust
from impact.did import triple

pytestmark = pytest.mark.filterwarnings("ignore::impact.ImpactWarning")
ALL = (triple.att_gt, triple.event_study, triple.by_group, triple.by_period, triple.att)
T = 5


def people(n=400, seed=0, shift=0.0, starts=(3, 4, np.nan)):
    """Local shocks where the programme is adopted, a trend of the young everywhere, and an effect of 2 on the young."""
    rng = np.random.default_rng(seed)
    start, young = rng.choice(starts, n), rng.integers(0, 2, n)
    x = rng.normal(size=n) + shift * young * np.isfinite(start)
    t = np.arange(1, T + 1)
    age = t - start[:, None]
    y = rng.normal(size=(n, 1)) + 0.3 * t * young[:, None] + 0.2 * t * x[:, None] + rng.normal(size=(n, T))
    y += 0.4 * t * np.isfinite(start)[:, None] + np.where(age >= 0, 2 * young[:, None], 0)
    table = pd.DataFrame({"id": np.arange(n), "start": start, "young": young, "x": x, "w": rng.uniform(0.5, 2, n)})
    return table.assign(**{f"y_{k}": y[:, k - 1] for k in t}, area=rng.integers(0, 40, n))


def sample_of(table, **about):
    about = {"title": "Youth guarantee", "unit": "id", "adoption": "start", "covariates": "young", **about}
    return emulate(Study(outcomes=Outcome("y_{}", periods=range(1, T + 1)), **about), table)


def change(table, rows, t, base):
    return (table[f"y_{t}"] - table[f"y_{base}"])[rows].mean()


def test_effects_by_hand():
    table = people()
    found = triple.att_gt(sample_of(table), base="universal")
    young, never = table["young"] == 1, table["start"].isna()
    index = [(g, t) for g in (3, 4) for t in range(1, T + 1) if t != g - 1]
    assert list(found.index[["adoption_group", "time"]].itertuples(index=False, name=None)) == index
    for (g, t), value in zip(index, found.value, strict=True):
        mine = table["start"] == g
        gap = change(table, mine & young, t, g - 1) - change(table, mine & ~young, t, g - 1)
        gap -= change(table, never & young, t, g - 1) - change(table, never & ~young, t, g - 1)
        assert value == pytest.approx(gap)


@pytest.mark.parametrize("method", ["dr", "reg", "ipw"])
def test_with_covariates_it_is_three_doubly_robust_differences(method):
    table = people()
    mine, never, young = (
        (table["start"] == 3).to_numpy(),
        table["start"].isna().to_numpy(),
        table["young"].to_numpy() == 1,
    )
    dy, x = (table["y_4"] - table["y_2"]).to_numpy(), table[["x"]].to_numpy()
    total = 0.0
    for other, sign in ((mine & ~young, 1), (never & young, 1), (never & ~young, -1)):
        rows = (mine & young) | other
        total += (
            sign
            * doubly_robust.difference(dy[rows], (mine & young)[rows], x[rows], np.ones(rows.sum()), "ATT", method)[0]
        )
    found = triple.att_gt(sample_of(table, covariates=("young", "x")), method=method, base="universal")
    at = found.index.query("adoption_group == 3 and time == 4").index[0]
    assert found.value[at] == pytest.approx(total)


@pytest.mark.parametrize("options", [{}, {"method": "reg"}, {"method": "ipw"}, {"anticipation": 1}], ids=str)
def test_scores_are_derivatives(options):
    from tests.contracts import promises

    table = people()
    long = table.melt(["id", "start", "young", "x", "w"], [f"y_{t}" for t in range(1, T + 1)], "t", "y")
    long = long.assign(t=long["t"].str[-1].astype(int))[np.random.default_rng(2).random(len(long)) > 0.1]
    gaps = emulate(Study(title="t", unit="id", period="t", adoption="start", missing="keep", outcomes=Outcome("y"),
                         covariates=("young", "x"), weights="w"), long)  # fmt: skip
    for sample in (sample_of(table, covariates=("young", "x"), weights="w"), gaps):
        for f in ALL if not options else (triple.event_study,):
            gap = promises.derivative_gap(lambda s, f=f: f(s, affected="young", **options), sample, units=3)
            assert gap < 1e-7, f.__name__


def test_later_adopters_are_averaged_and_never_pooled():
    """With one later group, the average of the two comparisons with the smallest variance, both right."""
    table = people(3000)
    sample = sample_of(table)
    never, both = triple.att_gt(sample), triple.att_gt(sample, comparison="not_yet")
    at = never.index.query("adoption_group == 3 and time == 3").index[0]
    assert both.std_error[at] < never.std_error[at]
    assert abs(both.value[at] - 2) < 4 * both.std_error[at]
    last = never.index.query("adoption_group == 3 and time == 5").index[0]
    assert both.value[last] == pytest.approx(never.value[last])


def test_two_arms_and_two_periods():
    table = people().assign(arm=lambda t: t["start"].notna().astype(int))
    study = Study(title="t", unit="id", treatment="arm", covariates="young", outcomes=Outcome("y_{}", periods=(2, 4)))
    found = triple.att(emulate(study, table))
    young, treated = table["young"] == 1, table["arm"] == 1
    gap = [change(table, a & b, 4, 2) for a in (treated, ~treated) for b in (young, ~young)]
    assert found.value[0] == pytest.approx(gap[0] - gap[1] - gap[2] + gap[3])


def test_who_is_affected():
    table = people().assign(sex=lambda t: np.where(t["young"] == 1, "woman", "man"), old=lambda t: 1 - t["young"])
    plain = triple.att(sample_of(table))
    several = sample_of(table, covariates=("young", "old"))
    with pytest.raises(ValueError, match="2 of 2 covariates of the study are yes or no: name the one"):
        triple.att(several)
    with pytest.raises(ValueError, match="holds other values than 0 and 1"):
        triple.att(sample_of(table, covariates=("young", "x")), affected="x")
    with pytest.raises(KeyError, match="`nothing` is not among the covariates"):
        triple.att(sample_of(table), affected="nothing")
    worded = triple.att(sample_of(table, covariates="sex"), affected="sex: woman")
    np.testing.assert_allclose(worded.value, plain.value)
    crossed = triple.att(sample_of(table, covariates=("young", "x", "young:x")), affected="young")
    np.testing.assert_allclose(
        crossed.value, triple.att(sample_of(table, covariates=("young", "x")), affected="young").value
    )


def test_a_kind_of_unit_that_is_missing_is_said():
    table = people()
    table = table[~((table["young"] == 0) & (table["start"] == 3))]
    found = triple.att_gt(sample_of(table))
    assert set(found.index["adoption_group"]) == {4}
    assert any("affected or other units are missing" in n and "3 in 3" in n for n in found.notes)
    with pytest.raises(ValueError, match=r"None of \d+ triple differences .* can be formed"):
        triple.att(sample_of(table[(table["young"] == 1) | table["start"].isna()]))


def test_one_cluster_in_a_corner_has_no_error_and_says_so():
    table = people()
    lone = (table["young"] == 0) & table["start"].notna()
    table = table[~lone | (table["id"] == table["id"][lone].iloc[0])].assign(
        start=lambda t: t["start"].where(t["start"].isna(), 3)
    )
    found = triple.att(sample_of(table), method="ipw")
    assert np.isnan(found.std_error).all()
    assert any("single cluster (`id`) in one of the four groups" in n for n in found.notes)


def test_areas_that_hold_affected_and_others_are_the_clusters():
    table = people(600)
    table["start"] = np.where(table["area"] < 8, 3, np.nan)
    found = triple.att(sample_of(table, cluster="area"))
    assert found.counts["clusters"] == 40 and found.df < 20


def test_the_difference_of_two_doubly_robust_differences_is_biased_and_this_is_not():
    """Local shocks move with x, and the affected of adopting areas have another x than the others there."""
    from impact.did import callaway_santanna

    table = people(8000, seed=4, shift=1.5)
    shock = 0.4 * table["x"] * table["start"].notna()
    table = table.assign(**{f"y_{t}": table[f"y_{t}"] + t * shock for t in range(1, T + 1)})
    found = triple.att(sample_of(table, covariates=("young", "x")), affected="young")
    assert abs(found.value[0] - 2) < 4 * found.std_error[0]
    young, others = (
        callaway_santanna.att(sample_of(table[table["young"] == k], covariates="x"), comparison="never") for k in (1, 0)
    )
    gap, error = young.value[0] - others.value[0], np.hypot(young.std_error[0], others.std_error[0])
    assert gap - 2 > 8 * error


def test_few_clusters_in_one_corner_decide_the_degrees():
    table = people(900, seed=5)
    table["start"] = table["start"].where(table["start"].isna(), 3)
    few = (table["start"] == 3) & (table["young"] == 0)
    table = table[~few | (few.cumsum() <= 5)]
    assert triple.att(sample_of(table)).df < 8
