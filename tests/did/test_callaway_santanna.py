"""Group-time effects and their averages: values by hand, scores as derivatives, and what is refused or said."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from impact import ImpactWarning, Outcome, Study, emulate
from impact.did import callaway_santanna as did

ESTIMATORS = {f.__name__: f for f in (did.att_gt, did.event_study, did.by_group, did.by_period, did.att)}
T = 6


def offices(n=90, seed=0, starts=(3, 4, 6, np.nan), shares=(0.3, 0.2, 0.2, 0.3)):
    rng = np.random.default_rng(seed)
    start = rng.choice(starts, n, p=shares)
    need = rng.normal(size=n) + 0.3 * np.nan_to_num(start)
    t = np.arange(1, T + 1)
    age = t - start[:, None]
    y = need[:, None] * (1 + 0.2 * t) + 0.3 * t + np.where(age >= 0, 1 + 0.5 * age, 0) + rng.normal(size=(n, T))
    table = pd.DataFrame({"office": np.arange(n), "start": start, "need": need, "size": rng.gamma(2, 1, n)})
    return table.assign(**{f"placed_{k}": y[:, k - 1] for k in t}, region=rng.integers(0, 20, n), last=y[:, -1])


def sample_of(table, **about):
    placed = Outcome("placed_{}", "placements", periods=range(1, T + 1), per="month")
    about = {"title": "One-stop offices", "unit": "office", "adoption": "start", "outcomes": placed, **about}
    return emulate(Study(**about), table)


def by_hand(table, g, t, base, cutoff):
    """The change of group g from base to t, less that of offices that start after the cutoff."""
    change = (table[f"placed_{t}"] - table[f"placed_{base}"]).to_numpy()
    start = table["start"].fillna(np.inf).to_numpy()
    return change[start == g].mean() - change[(start > cutoff) & (start != g)].mean()


def test_effects_by_hand():
    table = offices()
    found = did.att_gt(sample_of(table))
    want = {(g, t): by_hand(table, g, t, g - 1 if t >= g else t - 1, t) for g in (3, 4, 6) for t in range(2, T + 1)}
    assert list(found.index.itertuples(index=False, name=None)) == [("placements", *k) for k in want]
    np.testing.assert_allclose(found.value, list(want.values()), rtol=1e-10)


def test_never_treated_universal_base_and_anticipation_by_hand():
    table = offices()
    never = did.att_gt(sample_of(table), comparison="never", base="universal")
    want = {(g, t): by_hand(table, g, t, g - 1, 99) for g in (3, 4, 6) for t in range(1, T + 1) if t != g - 1}
    assert list(never.index[["adoption_group", "time"]].itertuples(index=False, name=None)) == list(want)
    np.testing.assert_allclose(never.value, list(want.values()), rtol=1e-10)
    early = did.att_gt(sample_of(table), anticipation=1)
    base = {(g, t): g - 2 if t >= g else t - 1 for g in (3, 4, 6) for t in range(2, T + 1)}
    want = [by_hand(table, g, t, b, max(t, b) + 1) for (g, t), b in base.items()]
    np.testing.assert_allclose(early.value, want, rtol=1e-10)
    assert "reacting up to 1 periods in advance" in early.method


@pytest.mark.parametrize("name", ESTIMATORS)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"method": "reg", "comparison": "never"},
        {"method": "ipw"},
        {"anticipation": 1},
        {"base": "universal", "comparison": "never"},
        {"balance": 1},
        {"average": "simple"},
        {"average": "event"},
        {"average": "period"},
    ],
    ids=str,
)
def test_scores_are_derivatives(name, options):
    f = ESTIMATORS[name]
    if not set(options) <= set(f.__kwdefaults__):
        pytest.skip("not an option of this one")
    sample = sample_of(offices(), covariates="need", weights="size")
    found = f(sample, **options)
    np.testing.assert_allclose(found.scores.sum(axis=0), 0, atol=1e-9)
    for i in np.random.default_rng(1).choice(len(sample), 4, replace=False):
        moved = []
        for by in (-2, -1, 1, 2):
            w = sample.weights.copy()
            w[i] *= 1 + by * 1e-3
            moved.append(f(replace(sample, weights=w), **options).value)
        slope = (moved[0] - 8 * moved[1] + 8 * moved[2] - moved[3]) / 12e-3
        np.testing.assert_allclose(found.scores[i], slope, atol=1e-7 * np.abs(found.scores).max())


def test_averages_fit_together():
    table = offices()
    sample = sample_of(table, weights="size")
    cells = did.att_gt(sample)
    w = table.groupby("start")["size"].sum()
    index = cells.index.assign(value=cells.value, w=cells.index["adoption_group"].map(w))
    index["age"] = index["time"] - index["adoption_group"]
    since = index[index["age"] >= 0]

    def weighted(part):
        return (part["value"] * part["w"]).sum() / part["w"].sum()

    path, groups, periods = did.event_study(sample), did.by_group(sample), did.by_period(sample)
    np.testing.assert_allclose(path.value, [weighted(p) for _, p in index.groupby("age")])
    np.testing.assert_allclose(groups.value, [p["value"].mean() for _, p in since.groupby("adoption_group")])
    np.testing.assert_allclose(periods.value, [weighted(p) for _, p in since.groupby("time")])
    by_hand = {
        "simple": weighted(since),
        "group": (groups.value * w[groups.index["adoption_group"]].to_numpy()).sum() / w.sum(),
        "event": path.where("time >= 0").value.mean(),
        "period": periods.value.mean(),
    }
    for average, value in by_hand.items():
        np.testing.assert_allclose(did.att(sample, average=average).value, value)
    steady = did.event_study(sample, balance=2)
    kept = index[(index["adoption_group"] <= 4) & (index["age"] <= 2)]
    np.testing.assert_allclose(steady.value, [weighted(p) for _, p in kept.groupby("age")])


def test_it_finds_the_truth_where_parallel_trends_need_the_covariate():
    """Offices in need start early and improve faster: without the covariate the effect is overstated."""
    table = offices(n=6000, seed=3)
    truth = 1 + 0.5 * np.arange(4)
    for method in ("dr", "reg", "ipw"):
        path = did.event_study(sample_of(table, covariates="need"), method=method, base="universal")
        after = path.where("time >= 0")
        assert (np.abs(after.value - truth) < 4 * after.std_error).all()
        assert (np.abs(path.where("time < 0").value) < 4 * path.where("time < 0").std_error).all()
    naive = did.event_study(sample_of(table), base="universal").where("time >= 0")
    assert (np.abs(naive.value - truth) > 4 * naive.std_error).any()


def test_zero_weights_are_offices_left_out():
    table = offices()
    sample = sample_of(table, covariates="need")
    half = sample.reweight(np.where(table["region"] < 10, 1.0, 0.0), step="half of the regions kept")
    alone = did.event_study(sample_of(table[table["region"] < 10], covariates="need"))
    found = did.event_study(half)
    np.testing.assert_allclose(found.value, alone.value, rtol=1e-10)
    np.testing.assert_allclose(found.std_error, alone.std_error, rtol=1e-8)
    assert found.method.startswith("half of the regions kept; Callaway")


def test_clusters():
    table = offices()
    found = did.att(sample_of(table, cluster="region"))
    plain = did.att(sample_of(table))
    summed = np.array([plain.scores[(table["region"] == r).to_numpy()].sum() for r in table["region"].unique()])
    treated = np.array([table["start"][table["region"] == r].notna().any() for r in table["region"].unique()])
    few = np.where(treated, treated.sum() / (treated.sum() - 1), 19 / 18)
    np.testing.assert_allclose(found.std_error**2, (few * summed**2).sum(), rtol=5e-3)


def test_several_outcomes_and_words():
    table = offices().assign(**{f"open_{k}": np.arange(90) % (k + 1) > 0 for k in range(1, T + 1)})
    outcomes = [
        Outcome("placed_{}", "placements", periods=range(1, T + 1), per="month"),
        Outcome("open_{}", "open", periods=range(1, T + 1)),
        Outcome("last"),
    ]
    sample = sample_of(table, outcomes=outcomes)
    both = did.event_study(sample)
    assert list(dict.fromkeys(both.index["outcome"])) == ["placements", "open"]
    assert not both.percent and both.axes == {"time": "months since adoption", "estimate": "effect"}
    one = did.event_study(sample, outcome=["open"])
    np.testing.assert_array_equal(one.value, both.where("outcome == 'open'").value)
    assert one.percent and one.axes["estimate"] == "effect on open"
    with pytest.raises(ValueError, match="`last` is a single value for each unit.*give the Outcome its `periods`"):
        did.att(sample, outcome="last")
    with pytest.raises(ValueError, match="`last` is a single value"):
        did.att(sample, outcome=["open", "last"])


def test_units_treated_from_the_start_are_left_out_and_counted():
    table = offices(starts=(1, 3, 4, np.nan))
    early = int((table["start"] == 1).sum())
    found = did.att_gt(sample_of(table))
    assert f"{early} of 90 units have no period of `placed` before their adoption, and are left out." in found.notes
    rest = did.att_gt(sample_of(table[table["start"] != 1]))
    np.testing.assert_allclose(found.value, rest.value)
    np.testing.assert_allclose(found.scores.T @ found.scores, rest.scores.T @ rest.scores)
    assert not found.scores[(table["start"] == 1).to_numpy()].any()
    ahead = did.att_gt(sample_of(table), anticipation=2)
    lost = int((table["start"] <= 3).sum())
    assert any(n.startswith(f"{lost} of 90 units have no period") and "2 early" in n for n in ahead.notes)


def test_adoption_after_the_end_and_between_periods():
    table = offices(starts=(2.5, 4, 9, np.nan))
    found = did.att_gt(sample_of(table))
    late, between = int((table["start"] == 9).sum()), int((table["start"] == 2.5).sum())
    assert f"{late} of 90 units adopted after the last period of `placed` and count as not yet treated." in found.notes
    assert any(n.startswith(f"{between} of 90 units adopted between two periods") for n in found.notes)
    rounded = table.assign(start=table["start"].replace({2.5: 3.0, 9.0: np.nan}))
    np.testing.assert_allclose(found.value, did.att_gt(sample_of(rounded)).value)


def test_cells_without_comparison_are_left_out_and_counted():
    table = offices(starts=(3, 4, 6, 5), shares=(0.3, 0.2, 0.3, 0.2))
    found = did.att_gt(sample_of(table))
    assert "5 of 20 combinations of adoption group and period of `placed` have no units not yet treated" in "".join(
        found.notes
    )
    assert len(found.value) == 15 and found.index["time"].max() == 5
    with pytest.raises(
        ValueError, match="no units never treated to compare with among the 90 units.*comparison='not_yet'"
    ):
        did.att(sample_of(table), comparison="never")
    with pytest.raises(ValueError, match="no units not yet treated to compare with.*add units that adopt later"):
        did.att_gt(sample_of(offices(starts=(2, 1), shares=(0.5, 0.5))))


def test_no_effects_after_adoption():
    table = offices(starts=(6, 7), shares=(0.5, 0.5)).assign(start=6.0)
    table.loc[:30, "start"] = 1.0
    with pytest.raises(ValueError, match="no units not yet treated to compare with"):
        did.att(sample_of(table))
    table = offices(starts=(5, 6), shares=(0.5, 0.5))
    assert did.by_group(sample_of(table)).index["adoption_group"].tolist() == [5.0]


def test_nobody_seen_on_both_sides():
    table = offices(starts=(1, 8, np.nan), shares=(0.3, 0.3, 0.4))
    with pytest.raises(ValueError, match=r"None of 90 units is seen both before and after its adoption \(`start`\)"):
        did.att_gt(sample_of(table))


def test_there_must_be_two_periods():
    with pytest.raises(ValueError, match="seen in 1 period"):
        did.att_gt(sample_of(offices(), outcomes=Outcome("placed_{}", periods=[4])))


def test_studies_without_adoption_are_refused():
    table = offices().assign(start=lambda t: t["start"].notna().astype(int))
    study = sample_of(table, adoption=None, treatment="start")
    with pytest.raises(ValueError, match="has no `adoption`, which says when each unit was first treated"):
        did.event_study(study)


def test_options_are_refused_in_words():
    sample = sample_of(offices())
    with pytest.raises(ValueError, match="`method` is one of 'dr', 'reg' or 'ipw', not 'matching'"):
        did.att(sample, method="matching")
    with pytest.raises(ValueError, match="`comparison` is one of 'not_yet' or 'never'"):
        did.att(sample, comparison="notyettreated")
    with pytest.raises(ValueError, match="`unbalanced` is one of 'changes' or 'levels', not 'drop'"):
        did.att(sample, unbalanced="drop")
    with pytest.raises(ValueError, match="`base` is one of"):
        did.att_gt(sample, base="long")
    with pytest.raises(ValueError, match="`anticipation` is -1, and is a number of at least 0"):
        did.att(sample, anticipation=-1)
    with pytest.raises(ValueError, match="`average` is one of"):
        did.att(sample, average="dynamic")
    with pytest.raises(ValueError, match="No adoption group is observed 9 periods after adoption.*longest is 3"):
        did.event_study(sample, balance=9)


def test_small_groups_are_pointed_out():
    table = offices()
    table.loc[table.index[table["start"] == 6][4:], "start"] = np.nan
    notes = did.by_group(sample_of(table)).notes
    assert any(n.startswith("1 of 3 adoption groups (`start` 6) have fewer than 10 units") for n in notes)


def test_a_group_that_covariates_single_out_is_left_out_by_name():
    table = offices()
    table["need"] = np.where(table["start"] == 4, 9 + table["need"], table["need"])
    with pytest.warns(ImpactWarning, match=r"is given for the \d+ units first treated in 4 in periods .*method='reg'"):
        found = did.by_group(sample_of(table, covariates="need"))
    assert list(found.index["adoption_group"]) == [3, 6]
    assert any("nothing is known of those first treated in 4" in note for note in found.notes)
    assert len(did.by_group(sample_of(table, covariates="need"), method="reg").value) == 3


def test_units_certain_of_their_arm_are_pointed_out():
    table = offices(n=300)
    odd = np.where((table["start"] == 3) & (table.index % 3 == 0), "harbour", "town")
    with pytest.warns(ImpactWarning, match="Some units are certain to be treated, or not to be, by"):
        found = did.att(sample_of(table.assign(kind=odd), covariates=["need", "C(kind)"]))
    assert any("certain to be treated" in n for n in found.notes)
