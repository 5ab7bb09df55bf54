"""Imputation: values against a regression written out, gaps, leads, and what is refused or said."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from impact import Outcome, Study, emulate
from impact.did import extended, imputation
from tests.did.test_callaway_santanna import T, offices, sample_of

pytestmark = pytest.mark.filterwarnings("ignore::impact.ImpactWarning")


def long_of(table):
    out = table.melt(["office", "start", "need", "size"], [f"placed_{t}" for t in range(1, T + 1)], "t", "placed")
    return out.assign(t=out["t"].str[-1].astype(int)).sort_values(["office", "t"]).reset_index(drop=True)


def with_gaps(table, share=0.25, seed=5):
    long = long_of(table)
    return long[np.random.default_rng(seed).random(len(long)) > share].reset_index(drop=True)


def panel_of(long, **about):
    about = {"covariates": (), **about}
    return emulate(Study(title="t", unit="office", period="t", adoption="start", missing="keep",
                         outcomes=Outcome("placed", "placements"), **about), long)  # fmt: skip


def imputed(long, covariates=(), weights=None):
    """Untreated observations regressed on dummies, and every treated observation less what that says."""
    w = np.ones(len(long)) if weights is None else long[weights].to_numpy()
    parts = [pd.get_dummies(long["office"]), pd.get_dummies(long["t"])]
    parts += [pd.get_dummies(long["t"]).mul(long[c], axis=0) for c in covariates]
    x = np.hstack([p.to_numpy(float) for p in parts])
    free = ~(long["t"] >= long["start"]).to_numpy()
    root = np.sqrt(w[free])[:, None]
    b = np.linalg.lstsq(x[free] * root, long["placed"].to_numpy()[free] * root[:, 0], rcond=None)[0]
    return long.assign(effect=long["placed"] - x @ b, w=w)[~free]


def cells(effects):
    return effects.groupby(["start", "t"]).apply(lambda p: np.average(p["effect"], weights=p["w"]))


@pytest.mark.parametrize("covariates", [(), ("need",)])
@pytest.mark.parametrize("weights", [None, "size"])
def test_effects_are_what_was_seen_less_what_is_imputed(covariates, weights):
    for long in (long_of(offices()), with_gaps(offices())):
        seen_before = long[long["t"] < long["start"]].groupby("office").size()
        kept = long[long["start"].isna() | long["office"].isin(seen_before.index)]
        want = cells(imputed(kept, covariates, weights))
        found = imputation.att_gt(panel_of(long, covariates=covariates, weights=weights))
        index = list(found.index[["adoption_group", "time"]].itertuples(index=False, name=None))
        assert index == list(want.index)
        np.testing.assert_allclose(found.value, want, atol=1e-9)


def test_scores_are_derivatives_with_gaps():
    from tests.contracts import promises

    sample = panel_of(with_gaps(offices()), covariates="need", weights="size")
    for f in (imputation.att_gt, imputation.event_study, imputation.by_group, imputation.by_period, imputation.att):
        assert promises.derivative_gap(f, sample, units=3) < 1e-7, f.__name__


def test_the_simple_average_is_over_treated_observations():
    long = long_of(offices())
    found = imputation.att(panel_of(long), average="simple")
    assert found.value[0] == pytest.approx(imputed(long)["effect"].mean())


def test_leads_are_a_regression_on_untreated_observations():
    table = offices(n=300)
    long = long_of(table)
    free = long[~(long["t"] >= long["start"])]
    parts = [pd.get_dummies(free["office"]), pd.get_dummies(free["t"])]
    parts += [(free["start"] - free["t"] == k).to_frame() for k in (1, 2)]
    x = np.hstack([p.to_numpy(float) for p in parts])
    b = np.linalg.lstsq(x, free["placed"].to_numpy(), rcond=None)[0][-2:]
    found = imputation.event_study(sample_of(table), leads=2)
    np.testing.assert_allclose(found.where("time < 0").value, b[::-1], atol=1e-9)
    assert list(found.index["time"]) == [-2, -1, 0, 1, 2, 3]
    assert list(imputation.event_study(sample_of(table)).index["time"]) == [-1, 0, 1, 2, 3]
    assert list(imputation.event_study(sample_of(table), leads=0).index["time"]) == [0, 1, 2, 3]
    with pytest.raises(ValueError, match="`leads` is 5, and of the periods of `placed` before adoption 4 can be told"):
        imputation.event_study(sample_of(table), leads=5)


def test_periods_without_anybody_untreated_are_named():
    table = offices(starts=(3, 4, 6, 5), shares=(0.3, 0.2, 0.3, 0.2))
    found = imputation.att_gt(sample_of(table))
    note = next(n for n in found.notes if "have no effect" in n)
    assert "4 of 10 combinations" in note and "3 in 6" in note and "nobody untreated is seen" in note
    assert found.index["time"].max() == 5
    assert np.isfinite(found.std_error).all()


def test_units_without_an_untreated_period_are_counted():
    long = long_of(offices())
    gone = (long["start"] == 3) & (long["t"] < 3) & (long["office"] % 2 == 0)
    lost = long[gone]["office"].nunique()
    found = imputation.att_gt(panel_of(long[~gone]))
    assert any(f"{lost} of 90 units adopt while observed but are not seen before" in n for n in found.notes)
    alone = imputation.att_gt(panel_of(long[~long["office"].isin(long[gone]["office"])]))
    np.testing.assert_allclose(found.value, alone.value, rtol=1e-10)


def test_anticipation_takes_the_periods_before_adoption_out():
    long = long_of(offices(starts=(4, 6, np.nan), shares=(0.3, 0.3, 0.4)))
    early = long.assign(placed=long["placed"] + 10 * (long["t"] == long["start"] - 1))
    np.testing.assert_allclose(
        imputation.att(panel_of(early), anticipation=1).value, imputation.att(panel_of(long), anticipation=1).value
    )
    path = imputation.event_study(panel_of(early), anticipation=1)
    assert list(path.index["time"]) == [-2, 0, 1, 2]


def test_it_finds_the_truth_where_trends_follow_the_covariate():
    path = imputation.event_study(sample_of(offices(n=6000, seed=3), covariates="need"), leads=2)
    truth = np.r_[0, 0, 1 + 0.5 * np.arange(4)]
    assert (np.abs(path.value - truth) < 4 * path.std_error).all()


@pytest.mark.parametrize("estimator", [imputation.att, extended.att])
def test_repeated_cross_sections_are_sent_to_estimators_that_take_them(estimator):
    long = long_of(offices(300))
    once = long[long["t"] == 1 + long["office"] % T]
    with pytest.raises(ValueError, match="Each of 300 units is seen in one period of `placed`.*two_by_two"):
        estimator(panel_of(once))
