"""The extended two-way regression against the regression written out, imputation, and Callaway and Sant'Anna's."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from impact.did import callaway_santanna, extended, imputation
from tests.did.test_callaway_santanna import T, offices, sample_of
from tests.did.test_imputation import long_of, panel_of, with_gaps

pytestmark = pytest.mark.filterwarnings("ignore::impact.ImpactWarning")
ALL = (extended.att_gt, extended.event_study, extended.by_group, extended.by_period, extended.att)


@pytest.mark.parametrize("comparison", ["not_yet", "never"])
def test_coefficients_are_those_of_the_regression_written_out(comparison):
    long = with_gaps(offices(), share=0.1)
    long = long[long["start"].isna() | long["office"].isin(long[long["t"] < long["start"]]["office"])]
    parts, index = [pd.get_dummies(long["office"]), pd.get_dummies(long["t"])], []
    for g in (3, 4, 6):
        for t in range(1, T + 1):
            if t >= g or (comparison == "never" and t != g - 1):
                index.append((g, t))
                parts.append(((long["start"] == g) & (long["t"] == t)).to_frame())
    x = np.hstack([p.to_numpy(float) for p in parts])
    b = np.linalg.lstsq(x, long["placed"].to_numpy(), rcond=None)[0][-len(index) :]
    found = extended.att_gt(panel_of(long), comparison=comparison)
    assert list(found.index[["adoption_group", "time"]].itertuples(index=False, name=None)) == index
    np.testing.assert_allclose(found.value, b, atol=1e-9)


@pytest.mark.parametrize("covariates", [(), "need"])
def test_on_balanced_panels_it_is_imputation(covariates):
    sample = sample_of(offices(), covariates=covariates, weights="size")
    one, other = extended.att_gt(sample), imputation.att_gt(sample)
    np.testing.assert_allclose(one.value, other.value, atol=1e-10)
    np.testing.assert_allclose(one.scores, other.scores, atol=1e-10)
    # With the mean effect of a group and period taken off, treated observations have the residuals of
    # the regression: the conservative variance of Borusyak, Jaravel and Spiess is the regression's.
    np.testing.assert_allclose(one.std_error, other.std_error, rtol=1e-9)


@pytest.mark.parametrize("covariates", [(), "need"])
def test_against_the_never_treated_it_is_callaway_and_santannas_regression(covariates):
    sample = sample_of(offices(), covariates=covariates, weights="size")
    for mine, theirs in (
        (extended.att_gt, callaway_santanna.att_gt),
        (extended.event_study, callaway_santanna.event_study),
    ):
        one = mine(sample, comparison="never")
        other = theirs(sample, method="reg", comparison="never", base="universal")
        assert one.index.equals(other.index)
        np.testing.assert_allclose(one.value, other.value, atol=1e-10)
        np.testing.assert_allclose(one.scores, other.scores, atol=1e-10)


@pytest.mark.parametrize("comparison", ["not_yet", "never"])
def test_scores_are_derivatives_with_gaps(comparison):
    from tests.contracts import promises

    sample = panel_of(with_gaps(offices()), covariates="need", weights="size")
    for f in ALL:
        assert promises.derivative_gap(lambda s, f=f: f(s, comparison=comparison), sample, units=3) < 1e-7


def test_without_never_treated_it_says_what_cannot_be_told():
    sample = sample_of(offices(starts=(3, 4, 6, 5), shares=(0.3, 0.2, 0.3, 0.2)))
    with pytest.raises(ValueError, match="no units never treated to compare with among the 90 units"):
        extended.att(sample, comparison="never")
    found = extended.att_gt(sample)
    assert found.index["time"].max() == 5
    assert any("4 of 10 combinations of adoption group and period" in n and "3 in 6" in n for n in found.notes)
    np.testing.assert_allclose(found.value, imputation.att_gt(sample).value, atol=1e-10)


def test_anticipation_has_effects_of_its_own():
    long = long_of(offices(starts=(4, 6, np.nan), shares=(0.3, 0.3, 0.4)))
    early = long.assign(placed=long["placed"] + 10 * (long["t"] == long["start"] - 1))
    plain, found = (
        extended.event_study(panel_of(long), anticipation=1),
        extended.event_study(panel_of(early), anticipation=1),
    )
    assert list(found.index["time"]) == [-1, 0, 1, 2]
    np.testing.assert_allclose(found.value - plain.value, [10, 0, 0, 0], atol=1e-9)
