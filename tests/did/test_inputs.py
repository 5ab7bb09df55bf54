"""What users bring: small cohorts, collinear covariates, gaps, every way of writing never. Right, or said in words.

The rows of a table of inputs on which other packages drop units or average over what survived, without a word.
"""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest

from impact import ImpactWarning, Outcome, Study, emulate
from impact.did import callaway_santanna as did

T = 7


def offices(n=400, seed=0, starts=(3.0, 4.0, 6.0, np.nan), shares=(0.2, 0.2, 0.2, 0.4)):
    """A long table; the effect is 1."""
    r = np.random.default_rng(seed)
    g, x, t = r.choice(starts, n, p=shares), r.normal(size=n), np.arange(1, T + 1)
    y = 2 * r.normal(size=(n, 1)) + 0.3 * t + 0.1 * x[:, None] * t + (t >= g[:, None]) + 0.5 * r.normal(size=(n, T))
    return pd.DataFrame({"id": np.repeat(np.arange(n), T), "t": np.tile(t, n), "g": np.repeat(g, T),
                         "x": np.repeat(x, T), "y": y.ravel()})  # fmt: skip


def study(**about):
    return Study(**{"title": "Offices", "unit": "id", "period": "t", "adoption": "g", "covariates": "x",
                    "outcomes": Outcome("y"), **about})  # fmt: skip


def sample_of(table, **about):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ImpactWarning)
        return emulate(study(**about), table)


def att(table, estimator=did.att, about=None, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ImpactWarning)
        return estimator(sample_of(table, **(about or {})), **options)


PLAIN = att(offices())


def said(estimate, words):
    return any(words in note for note in estimate.notes)


# ---- never treated --------------------------------------------------------------------------


@pytest.mark.parametrize("never", [np.nan, np.inf, 0.0])
def test_never_may_be_written_in_three_ways(never):
    found = att(offices().fillna({"g": never}))
    np.testing.assert_allclose(found.value, PLAIN.value)
    assert found.counts == PLAIN.counts


def test_without_never_treated_and_with_always_treated():
    """Last adopters serve as comparison until they adopt; what cannot be known is named, the always treated counted."""
    table = offices(starts=(1.0, 4.0, 6.0, 3.0), shares=(0.2, 0.3, 0.3, 0.2))
    with pytest.warns(ImpactWarning, match="without 6 of 11 since adoption"):
        found = did.att_gt(sample_of(table))
    early = int((table.groupby("id")["g"].first() == 1).sum())
    assert said(found, f"{early} of 400 units have no period of `y` before their adoption, and are left out.")
    assert said(found, "8 of 18 combinations of adoption group and period of `y` have no units not yet treated")
    assert said(found, "those first treated in 3 in 6 and 7, those first treated in 4 in 6 and 7 and those first "
                       "treated in 6 in 4, 5, 6 and 7")  # fmt: skip
    assert said(found, "groups with 100% of the treated units; nothing is known of those first treated in 6")
    assert found.index["time"].max() == 5
    after = att(table)
    assert abs(after.value[0] - 1) < 3 * after.std_error[0]
    alone = att(table[table["g"] > 1], did.att_gt)
    np.testing.assert_allclose(found.value, alone.value)


# ---- small and singular groups --------------------------------------------------------------


def shrunk(table, group, to):
    mine = table.loc[table["g"] == group, "id"].unique()
    return table[~table["id"].isin(mine[to:])]


def test_a_group_of_two_is_estimated_with_a_word():
    found = att(shrunk(offices(), 4, 2), did.by_group)
    assert np.isfinite(found.value).all() and np.isfinite(found.std_error).all()
    assert said(found, "1 of 3 adoption groups (`g` 4) have fewer than 10 units")


def test_a_group_of_one_has_an_effect_and_no_error():
    for method in ("dr", "reg"):
        found = att(shrunk(offices(), 4, 1), did.by_group, method=method)
        assert np.isfinite(found.value).all()
        assert np.isnan(found.std_error).tolist() == [False, True, False]
        assert said(found, "1 of 3 values rest on a single cluster")


def test_a_collinear_covariate_is_left_out():
    found = att(offices().assign(z=lambda d: 2 * d["x"] + 1), about={"covariates": ("x", "z")})
    np.testing.assert_allclose(found.value, PLAIN.value)
    np.testing.assert_allclose(found.std_error, PLAIN.std_error)
    assert said(found, "determined by other covariates: `z`")


def test_a_covariate_that_predicts_a_group():
    """The group is left out by name, and what averages cover is said; a regression does without and says so."""
    table = offices().assign(z=lambda d: (d["g"] == 4).astype(int))
    about = {"covariates": ("x", "z")}
    with pytest.warns(ImpactWarning, match="No effect on `y` is given for the 62 units first treated in 4 in periods"):
        found = did.att_gt(sample_of(table, **about))
    assert set(found.index["adoption_group"]) == {3.0, 6.0}
    assert said(found, "in periods 2, 3, 4, 5, 6 and 7: A model of treatment was asked for, but `z` tells the 62 "
                       "treated and the 338 comparison units apart")  # fmt: skip
    assert said(found, "without 4 of 11 since adoption, which concern groups with 28% of the treated units; nothing is "
                       "known of those first treated in 4.")  # fmt: skip
    rest = att(table, did.by_group, about)
    plain = att(offices(), did.by_group).where("adoption_group != 4")
    assert list(rest.index["adoption_group"]) == [3.0, 6.0]
    assert (np.abs(rest.value - plain.value) < plain.std_error).all()
    by_regression = att(table, did.att, about, method="reg")
    assert said(by_regression, "Among the units compared with those first treated in 4, `z` cannot be told")
    np.testing.assert_allclose(by_regression.value, att(offices(), method="reg").value, rtol=1e-2)


def test_a_covariate_that_is_collinear_in_some_comparisons_only():
    table = offices()
    kind = np.where((table["g"] < 6) & (table["id"] % 3 == 0), "harbour", "town")
    found = att(table.assign(kind=kind), did.att_gt, {"covariates": ("x", "kind")})
    assert len(found.value) == 18 and np.isfinite(found.std_error).all()
    assert said(found, "Among the units compared with those first treated in 3, `kind: town` cannot be told") or said(
        found, "Among the units compared with those first treated in 3, `kind: harbour` cannot be told"
    )
    assert said(found, "certain to be treated")


def test_where_no_group_can_be_estimated_it_is_refused():
    table = offices().assign(z=lambda d: d["g"].notna().astype(int))
    with pytest.raises(
        ValueError, match="None of 18 effects on `y` can be estimated. In period 2 for the .* `z` tells"
    ):
        att(table, about={"covariates": ("x", "z")}, comparison="never")


def test_covariates_on_any_scale():
    for scale in (1e9, 1e-9):
        found = att(offices().assign(x=lambda d, s=scale: s * d["x"]))
        np.testing.assert_allclose(found.value, PLAIN.value, rtol=1e-9)


# ---- gaps -----------------------------------------------------------------------------------


def thinned(share=0.05):
    table = offices()
    return table[np.random.default_rng(1).random(len(table)) > share]


def test_rows_that_are_missing_stop_the_study_unless_it_says_what_to_do():
    with pytest.raises(ValueError, match="121 of 400 units lack `y` in some of the 7 periods of `t`"):
        sample_of(thinned())


def test_units_with_gaps_are_kept_and_counted():
    """Each effect is of the units seen in both of its periods, by hand."""
    table = thinned()
    found = att(table, did.att_gt, {"missing": "keep", "covariates": ()})
    assert said(found, "121 of 400 units are not seen in every period of `y`. They are kept: each effect is of the "
                       "units seen in both of its periods, which are 87 to 92%")  # fmt: skip
    wide = table.pivot(index="id", columns="t", values="y")
    g = table.groupby("id")["g"].first().fillna(np.inf)
    for row in found.tidy().itertuples():
        base = row.adoption_group - 1 if row.time >= row.adoption_group else row.time - 1
        change = wide[row.time] - wide[base]
        mine, others = g == row.adoption_group, (g > row.time) & (g != row.adoption_group)
        assert row.estimate == pytest.approx(change[mine].mean() - change[others].mean(), rel=1e-9)
    assert found.counts["units"] == 400


@pytest.mark.parametrize("unbalanced", ["changes", "levels"])
@pytest.mark.parametrize("method", ["dr", "reg", "ipw"])
def test_with_gaps_the_truth_is_found(method, unbalanced):
    table = offices(n=3000)
    table = table[np.random.default_rng(1).random(len(table)) > 0.1]
    found = att(table, about={"missing": "keep"}, method=method, unbalanced=unbalanced)
    assert abs(found.value[0] - 1) < 4 * found.std_error[0]


def test_following_units_is_more_precise_than_following_nobody():
    """Levels take the differences between units into the error; changes do not."""
    table = offices(n=2000)
    table = table[np.random.default_rng(1).random(len(table)) > 0.1]
    changes, levels = (att(table, about={"missing": "keep"}, unbalanced=u) for u in ("changes", "levels"))
    assert levels.std_error[0] > 1.15 * changes.std_error[0]
    assert said(levels, "All observations are compared as from repeated cross-sections, nobody being followed")


@pytest.mark.parametrize("unbalanced", ["changes", "levels"])
@pytest.mark.parametrize("method", ["dr", "reg", "ipw"])
def test_scores_with_gaps_are_derivatives(method, unbalanced):
    from tests.contracts import promises

    sample = sample_of(thinned(0.1), missing="keep")

    def estimator(s):
        return did.event_study(s, method=method, unbalanced=unbalanced)

    assert promises.derivative_gap(estimator, sample, units=8) < 1e-6
    e = estimator(sample)
    assert (np.abs(e.scores.sum(axis=0)) < 1e-9).all()


def test_a_group_never_seen_in_both_periods_is_named():
    table = offices()
    table = table[~((table["g"] == 4) & (table["t"] == 5))]
    found = att(table, did.att_gt, {"missing": "keep"})
    assert said(found, "units first treated in 4 in period 5: none of them is seen both then and in the period")
    assert len(found.value) == 17
    nobody = offices()
    nobody = nobody[~((nobody["t"] == 5) & nobody["g"].isna())]
    found = att(nobody, did.att_gt, {"missing": "keep"}, comparison="never")
    assert said(found, "none of the units never treated is seen both then and in the period that it is measured from")


def test_changes_and_levels_are_one_where_nobody_is_unseen():
    """A unit's score sums over its observations: in a balanced panel without covariates nothing differs."""
    table = offices()
    both = pd.concat([table, table[table["g"].isna()].iloc[[0]].assign(id=999)])  # in the first period only
    about = {"missing": "keep", "covariates": ()}
    changes, levels = (att(both, did.att_gt, about, unbalanced=u).where("time > 2") for u in ("changes", "levels"))
    later = changes.index["adoption_group"].to_numpy() > 3  # no effect on these is measured from the first period
    later |= changes.index["time"].to_numpy() > 3
    np.testing.assert_allclose(changes.value[later], levels.value[later], rtol=1e-9)
    np.testing.assert_allclose(changes.std_error[later], levels.std_error[later], rtol=1e-9)


def test_repeated_cross_sections():
    """Each unit is seen once: it is said, and found, and the group's weight is its observations."""
    table = offices(n=2000).assign(row=lambda d: np.arange(len(d)))
    once = table.drop(columns="id").rename(columns={"row": "id"})
    about = {"missing": "keep"}
    found = att(once, about=about)
    assert said(found, "Each of 14,000 units is seen in one period of `y` only")
    assert abs(found.value[0] - 1) < 4 * found.std_error[0]
    assert found.counts["units"] == 14_000
    np.testing.assert_allclose(att(once, about=about, unbalanced="levels").value, found.value)


def test_a_covariate_missing_later_is_not_used_and_missing_first_is_refused():
    """The first period's value counts. Missing there for all never treated, it stops the study, naming the column."""
    table = offices()
    later = table.assign(x=table["x"].where(~(table["g"].isna() & (table["t"] == 3))))
    np.testing.assert_allclose(att(later).value, PLAIN.value)
    first = table.assign(x=table["x"].where(~(table["g"].isna() & (table["t"] == 1))))
    for missing in ("error", "keep"):
        with pytest.raises(ValueError, match=r"Values are missing, of 400 units, in `x` \(175\)"):
            sample_of(first, missing=missing)
    with pytest.raises(ValueError, match="leaves 225 treated of 225 and 0 comparison units of 175"):
        sample_of(first, missing="drop")


# ---- time -----------------------------------------------------------------------------------


def test_a_period_that_was_not_observed():
    table = offices()
    found = att(table[table["t"] != 5], did.event_study)
    assert said(found, "The periods of `y` are not evenly spaced: the period 5 was not observed.")
    assert list(found.index["time"]) == [-4, -3, -2, -1, 0, 1, 2, 3, 4]
    whole = att(table, did.att_gt).where("time != 5")
    gapped = att(table[table["t"] != 5], did.att_gt)
    later = gapped.where("time >= adoption_group and adoption_group < 6")
    same = whole.where("time >= adoption_group and adoption_group < 6")
    np.testing.assert_allclose(later.value, same.value)
    two = att(table[~table["t"].isin([5, 6])], did.event_study)
    assert said(two, "2 periods in between were not observed (5 and 6)")
    assert said(two, "units adopted between two periods of `y`: the first period after counts as theirs")
    odd = att(table.assign(t=table["t"].replace({7: 7.5})), did.event_study)
    assert said(odd, "1 of 6 gaps is wider than the narrowest, of 1")


def test_units_that_leave_treatment():
    """Adoption cannot say so; a treatment that changes is refused with the number of units and what to name instead."""
    table = offices().assign(treated=lambda d: ((d["t"] >= d["g"]) & (d["t"] < 7)).astype(int))
    with pytest.raises(ValueError, match="`treated` changes over time for 225 units .* name as `adoption` a column"):
        sample_of(table, adoption=None, treatment="treated")


def test_dates():
    table = offices()
    dated = table.assign(t=[pd.Timestamp(2020, int(t), 1) for t in table["t"]],
                         g=[pd.Timestamp(2020, int(g), 1) if g == g else pd.NaT for g in table["g"]])  # fmt: skip
    np.testing.assert_allclose(att(dated).value, PLAIN.value)


# ---- tables ---------------------------------------------------------------------------------


def test_rows_that_repeat_a_unit_and_adoption_that_changes_are_refused():
    table = offices()
    with pytest.raises(ValueError, match="3 of 2803 rows repeat a unit"):
        sample_of(pd.concat([table, table.iloc[:3]]))
    table.loc[5, "g"] = 5
    with pytest.raises(ValueError, match="`g` changes over time for 1 units"):
        sample_of(table)


def test_labels_objects_and_other_frames():
    import polars

    table = offices()
    for other in (
        table.assign(id="u" + table["id"].astype(str)),
        table.assign(y=table["y"].astype(object)),
        polars.from_pandas(table),
    ):
        np.testing.assert_allclose(att(other).value, PLAIN.value)
