"""Two groups before and after: values by hand, scores as derivatives, and what is refused or said."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from impact import Outcome, Study, emulate
from impact.did import callaway_santanna, two_by_two
from impact.did.two_by_two import METHODS

pytestmark = pytest.mark.filterwarnings("ignore::impact.ImpactWarning")


def people(n=240, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    d = rng.random(n) < 1 / (1 + np.exp(-0.7 * x))
    base = x + rng.normal(size=n)
    return pd.DataFrame({
        "id": np.arange(n), "trained": d.astype(int), "x": x, "weight": rng.uniform(0.5, 2, n),
        "pay_1": base, "pay_2": base + 0.2 + rng.normal(size=n),
        "pay_3": base + 0.5 * x + 1.5 * d + rng.normal(size=n), "pay_4": base + 0.5 * x + 2 * d + rng.normal(size=n),
    })  # fmt: skip


def sample_of(table, periods=(2, 3), **about):
    about = {"title": "Training", "unit": "id", "treatment": "trained", **about}
    return emulate(Study(outcomes=Outcome("pay_{}", "pay", periods=periods), **about), table)


def once(table, seed=1):
    """Each person seen in one of two periods."""
    late = np.random.default_rng(seed).random(len(table)) < 0.5
    return table.assign(period=np.where(late, 3, 2), pay=np.where(late, table["pay_3"], table["pay_2"]))


def sections_of(table, **about):
    about = {"title": "Training", "unit": "id", "treatment": "trained", "period": "period", "missing": "keep", **about}
    return emulate(Study(outcomes=Outcome("pay"), **about), once(table))


def test_without_covariates_all_are_the_difference_of_mean_changes():
    table = people()
    change = table["pay_3"] - table["pay_2"]
    by_hand = change[table["trained"] == 1].mean() - change[table["trained"] == 0].mean()
    for method in METHODS:
        assert two_by_two.att(sample_of(table), method=method).value[0] == pytest.approx(by_hand, abs=1e-10)


def test_cross_sections_by_hand():
    means = once(people()).groupby(["trained", "period"])["pay"].mean()
    by_hand = means[1, 3] - means[1, 2] - means[0, 3] + means[0, 2]
    for method in sorted(set(METHODS) - {"abadie"}):
        found = two_by_two.att(sections_of(people()), method=method)
        assert found.value[0] == pytest.approx(by_hand, abs=1e-10)
        assert any("compared as cross-sections" in note for note in found.notes)


def test_odds_that_balance_make_the_improved_estimator_entropy_balancing():
    sample = sample_of(people(), covariates="x")
    from impact.matching import entropy, means

    table = people()
    changes = Study(title="t", unit="id", treatment="trained", covariates="x", outcomes=Outcome("change"))
    balanced = entropy.weight(emulate(changes, table.assign(change=table["pay_3"] - table["pay_2"])))
    found = two_by_two.att(sample, method="improved")
    np.testing.assert_allclose(found.value, means.difference(balanced).value, atol=1e-8)
    np.testing.assert_allclose(found.scores, means.difference(balanced).scores, atol=1e-8)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("make", [sample_of, sections_of])
def test_scores_are_derivatives(method, make):
    sample = make(people(), covariates="x", weights="weight")
    found = two_by_two.att(sample, method=method)
    np.testing.assert_allclose(found.scores.sum(axis=0), 0, atol=1e-9)
    for i in (3, 100, 211):
        moved = []
        for by in (-2, -1, 1, 2):
            w = sample.weights.copy()
            w[i] *= 1 + by * 1e-3
            moved.append(two_by_two.att(replace(sample, weights=w), method=method).value)
        slope = (moved[0] - 8 * moved[1] + 8 * moved[2] - moved[3]) / 12e-3
        np.testing.assert_allclose(found.scores[i], slope, atol=1e-7 * np.abs(found.scores).max())


def test_means_of_several_periods():
    table = people()
    found = two_by_two.att(sample_of(table, (1, 2, 3, 4)), before=[1, 2], after=[3, 4])
    change = table[["pay_3", "pay_4"]].mean(axis=1) - table[["pay_1", "pay_2"]].mean(axis=1)
    by_hand = change[table["trained"] == 1].mean() - change[table["trained"] == 0].mean()
    assert found.value[0] == pytest.approx(by_hand)
    assert two_by_two.att(sample_of(table, (1, 2, 3, 4)), after=3).value[0] == pytest.approx(
        two_by_two.att(sample_of(table, (1, 2, 3, 4)), before=[1, 2], after=3).value[0]
    )
    with pytest.raises(ValueError, match="does not say when treatment began: name the periods"):
        two_by_two.att(sample_of(table, (1, 2, 3, 4)))
    with pytest.raises(ValueError, match="`after` names 1 periods of which 0 are among"):
        two_by_two.att(sample_of(table), after=9)
    with pytest.raises(ValueError, match="must come earlier"):
        two_by_two.att(sample_of(table, (1, 2, 3, 4)), before=3, after=[2, 4])


def test_adoption_says_which_periods_are_compared_and_who_is_set_aside():
    table = people().assign(start=lambda t: np.where(t["trained"] == 1, np.where(t["id"] % 2, 3, 2), np.nan))
    sample = emulate(Study(title="t", unit="id", adoption="start",
                           outcomes=Outcome("pay_{}", periods=(1, 2, 3, 4))), table)  # fmt: skip
    whole = two_by_two.att(sample)
    change = table[["pay_3", "pay_4"]].mean(axis=1) - table["pay_1"]
    assert whole.value[0] == pytest.approx(change[table["trained"] == 1].mean() - change[table["trained"] == 0].mean())
    early = two_by_two.att(sample, before=1, after=2)
    change = table["pay_2"] - table["pay_1"]
    late = change[table["start"] != 2].mean()  # who adopts in 3 is not yet treated in 2
    assert early.value[0] == pytest.approx(change[table["start"] == 2].mean() - late)
    between = two_by_two.att(sample, before=2, after=4)
    change = table["pay_4"] - table["pay_2"]
    assert between.value[0] == pytest.approx(change[table["start"] == 3].mean() - change[table["trained"] == 0].mean())
    assert any(f"{(table['start'] == 2).sum()} of 240 units adopt neither" in n for n in between.notes)


def test_one_adoption_group_and_two_periods_are_callaway_and_santannas():
    table = people().assign(start=lambda t: np.where(t["trained"] == 1, 3, np.nan))
    sample = emulate(Study(title="t", unit="id", adoption="start", covariates="x", weights="weight",
                           outcomes=Outcome("pay_{}", periods=(2, 3))), table)  # fmt: skip
    for method in ("dr", "reg", "ipw"):
        one, other = two_by_two.att(sample, method=method), callaway_santanna.att(sample, method=method)
        np.testing.assert_allclose(one.value, other.value, rtol=1e-12)
        np.testing.assert_allclose(one.scores, other.scores, atol=1e-12)
        np.testing.assert_allclose(one.std_error, other.std_error, rtol=1e-12)


def test_people_not_seen_on_both_sides_are_counted():
    table = people()
    table.loc[:11, "pay_3"] = np.nan
    found = two_by_two.att(sample_of(table, missing="keep"))
    assert any(
        "12 of 240 units are not seen in every period compared of `pay`, and are left out" in n for n in found.notes
    )
    alone = two_by_two.att(sample_of(table[12:]))
    np.testing.assert_allclose(found.value, alone.value, rtol=1e-12)


def test_errors_of_observations_are_those_of_regression():
    import statsmodels.formula.api as smf

    table = once(people())
    fit = smf.ols("pay ~ trained * late + x", table.assign(late=(table["period"] == 3).astype(int)))
    sample = sections_of(people(), covariates="x")
    plain = two_by_two.att(sample, method="two_way", errors="conventional")
    robust = two_by_two.att(sample, method="two_way", errors="robust")
    by_unit = two_by_two.att(sample, method="two_way")
    assert plain.value[0] == pytest.approx(fit.fit().params["trained:late"])
    assert plain.std_error[0] == pytest.approx(fit.fit().bse["trained:late"])
    n = len(table)
    hc0 = fit.fit(cov_type="HC0").bse["trained:late"]
    assert robust.std_error[0] == pytest.approx(hc0 * np.sqrt(n / (n - 1)))
    assert by_unit.std_error[0] == pytest.approx(robust.std_error[0])
    assert plain.scores is None and plain.df == n - 5
    with pytest.raises(ValueError, match="set method='two_way'"):
        two_by_two.att(sample, errors="robust")


def test_an_outcome_seen_once_is_refused():
    table = people()
    once_seen = Study(title="t", unit="id", treatment="trained", outcomes=Outcome("pay_2"))
    with pytest.raises(ValueError, match="single value for each unit"):
        two_by_two.att(emulate(once_seen, table))


def test_treated_unlike_all_others_cannot_be_balanced():
    table = people()
    table.loc[table["trained"] == 1, "x"] += 3 + table["x"].max() - table["x"].min()
    with pytest.raises(ValueError, match="No weights give the|apart without error|did not settle"):
        two_by_two.att(sample_of(table, covariates="x"), method="improved")
