"""The reference of small samples against the formulas of two means, and what it does in combinations."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from impact import Estimate, Outcome, Study, emulate, stack
from impact.core.small_sample import Arms, Joined
from impact.did import callaway_santanna as did


def two_means(n1, n0, seed=0):
    """Changes of n1 treated and n0 other units, the difference of their means, and its scores."""
    r = np.random.default_rng(seed)
    treated = np.arange(n1 + n0) < n1
    y = r.normal(size=n1 + n0) * np.where(treated, 2.0, 1.0)
    scores = np.where(treated, (y - y[treated].mean()) / n1, -(y - y[~treated].mean()) / n0)
    return y, treated, scores


def arms(n1, n0):
    y, treated, scores = two_means(n1, n0)
    return y, treated, Arms(scores[:, None], treated[:, None], ~treated[:, None])


@pytest.mark.parametrize(("n1", "n0"), [(5, 15), (2, 30), (12, 3)])
def test_few_clusters_have_the_error_of_two_means_and_the_fewer_degrees(n1, n0):
    y, treated, small = arms(n1, n0)
    v1, v0 = y[treated].var(ddof=1) / n1, y[~treated].var(ddof=1) / n0
    np.testing.assert_allclose(small.adjusted.T @ small.adjusted, v1 + v0)
    welch = stats.ttest_ind(y[treated], y[~treated], equal_var=False).df
    alike = (1 / n1 + 1 / n0) ** 2 / (1 / (n1**2 * (n1 - 1)) + 1 / (n0**2 * (n0 - 1)))
    np.testing.assert_allclose(small.degrees, min(welch, alike))


def test_many_clusters_have_the_published_error():
    _, _, small = arms(30, 70)
    np.testing.assert_allclose(small.adjusted.T @ small.adjusted, 100 / 99 * small.sums.T @ small.sums)
    assert 29 < small.degrees[0] < 99


def test_one_treated_cluster_has_no_error():
    _, treated, small = arms(1, 19)
    assert np.isnan(small.adjusted[treated]).all() and np.isnan(small.adjusted.T @ small.adjusted).all()


def test_covariates_fitted_among_few_cost_degrees():
    _, treated, small = arms(5, 15)
    less = Arms(small.sums, small.treated, small.others, fitted=4)
    assert less.degrees < small.degrees
    np.testing.assert_allclose(less.adjusted[~treated], np.sqrt(15 / 10) * small.sums[~treated])


def test_clusters_that_hold_both_sides_are_comparisons_of_their_own():
    sums = np.random.default_rng(1).normal(size=(8, 1))
    everyone = np.ones((8, 1), bool)
    small = Arms(sums, everyone, everyone)
    np.testing.assert_allclose(small.adjusted, np.sqrt(8 / 7) * sums)
    np.testing.assert_allclose(small.degrees, 7)


def test_a_combination_rests_on_the_clusters_of_all_its_values():
    y, treated, one = arms(6, 14)
    early = treated & (np.arange(20) < 2)
    two = Arms(np.hstack([one.sums, 2 * one.sums]), np.column_stack([early, treated]), ~treated[:, None].repeat(2, 1))
    both = two.carry(np.array([[0.5, 0.5], [1.0, 0.0]]))
    np.testing.assert_array_equal(both.sides, [[6, 2], [14, 14]])
    np.testing.assert_allclose(both.sums[:, 0], 1.5 * one.sums[:, 0])
    joined = Joined(np.hstack([one.adjusted, one.adjusted]), np.array([4.0, 9.0]))
    np.testing.assert_allclose(joined.carry(np.array([[1.0, -1.0], [0.0, 2.0]])).degrees, [4, 9])


def panel(n=20, treated=5, seed=0):
    r = np.random.default_rng(seed)
    start = np.where(np.arange(n) < treated, 4.0, np.nan)
    y = r.normal(size=(n, 6)).cumsum(axis=1)
    columns = {f"y_{t}": y[:, t - 1] for t in range(1, 7)}
    study = Study(title="t", unit="area", adoption="start", outcomes=Outcome("y_{}", periods=range(1, 7)))
    return emulate(study, pd.DataFrame({"area": np.arange(n), "start": start, **columns}))


@pytest.mark.filterwarnings("ignore::impact.ImpactWarning")
def test_an_estimate_keeps_its_reference_through_everything():
    sample = panel()
    path = did.event_study(sample, base="universal")
    after = path.where("time >= 0")
    mean = after.combine(np.full((1, 3), 1 / 3), term="mean")
    one = did.att(sample)
    np.testing.assert_allclose(mean.std_error, one.std_error)
    np.testing.assert_allclose(mean.dfs, one.dfs)
    assert 3 < one.df < 8
    free = one.released()
    for simultaneous in (False, True):
        np.testing.assert_allclose(free.interval(simultaneous=simultaneous), one.interval(simultaneous=simultaneous))
    np.testing.assert_allclose(free.tidy()["p_value"], one.tidy()["p_value"])
    np.testing.assert_allclose(path.released().where("time >= 0").dfs, after.dfs)
    gap = stack(one, did.att(sample, comparison="never")).combine([[1, -1]], term="gap")
    assert gap.std_error[0] < 1e-12 and gap.dfs[0] == pytest.approx(one.dfs[0])
    assert path.test()["df_residual"] < path.df


def test_one_treated_area_is_told_where_to_go():
    with pytest.warns(UserWarning, match="The value rests on a single cluster .*impact.did.few_treated"):
        one = did.att(panel(treated=1))
    assert np.isnan(one.std_error).all() and np.isfinite(one.value).all() and np.isnan(one.df)
    assert "NaN" not in repr(one)


def test_a_formula_keeps_its_degrees():
    e = Estimate.of_covariance({"term": ["a", "b"]}, [1.0, 2.0], np.eye(2), df=7)
    assert e.dfs.tolist() == [7, 7] and e.where("term == 'b'").dfs.tolist() == [7] and e.combine([[1, 1]]).df == 7
