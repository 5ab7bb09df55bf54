"""The answer: covariance, tests, bands, and what is done to values being done to scores."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from impact import Estimate, stack
from tests.contracts import walk


def means_of(sample, columns, **about):
    """Weighted means of some columns and their scores, by hand."""
    x, w = columns, sample.weights
    value = w @ x / w.sum()
    return Estimate.of(sample, {"term": [f"m{j}" for j in range(x.shape[1])]}, value,
                       w[:, None] * (x - value) / w.sum(), **about)  # fmt: skip


@pytest.fixture
def sample():
    return walk.samples()["people"]


@pytest.fixture
def columns(sample):
    return np.column_stack([sample.outcome("score"), sample.outcome("pay")])


def test_an_unclustered_mean_has_the_textbook_standard_error(sample, columns):
    e = means_of(sample, columns)
    n = len(sample)
    # sum of squared scores is (n - 1)/n² s², times n/(n - 1): s²/n.
    assert np.allclose(e.std_error, columns.std(axis=0, ddof=1) / np.sqrt(n))
    assert e.df == n - 1


def test_a_clustered_mean_agrees_with_statsmodels(columns):
    import statsmodels.api as sm

    sample = walk.samples()["people, clustered"]
    y = sample.outcome("score")
    fit = sm.OLS(y, np.ones(len(y))).fit(cov_type="cluster", cov_kwds={"groups": sample.cluster})
    g, n = len(np.unique(sample.cluster)), len(y)
    # statsmodels multiplies by G/(G-1) · (n-1)/(n-k); ours by G/(G-1): with k = 1 they are the same.
    e = means_of(sample, y[:, None])
    assert np.isclose(e.std_error[0], fit.bse[0], rtol=1e-12) and e.df == g - 1
    assert n > g


def test_the_t_reference_has_the_clusters_less_one():
    sample = walk.samples()["people, clustered"]
    e = means_of(sample, sample.outcome("score")[:, None])
    low, high = e.interval(0.9)
    reach = stats.t.ppf(0.95, e.df) * e.std_error
    assert np.allclose([low, high], [e.value - reach, e.value + reach])


def test_hotellings_test_is_the_one_sample_test(sample, columns):
    e = means_of(sample, columns)
    n, k = columns.shape
    null = columns.mean(axis=0) + 0.3
    gap = columns.mean(axis=0) - null
    t2 = n * gap @ np.linalg.solve(np.cov(columns, rowvar=False), gap)
    answer = e.test(null)
    assert np.isclose(answer["wald"], t2)
    assert np.isclose(answer["p_value"], stats.f.sf(t2 * (n - k) / (k * (n - 1)), k, n - k))


def test_a_joint_test_with_fewer_clusters_than_values_has_no_answer(sample):
    few = sample.take(np.arange(3))
    e = means_of(few, np.random.default_rng(0).normal(size=(3, 4)))
    assert e.df == 2 and np.isnan(e.test()["p_value"]) or e.test()["df"] <= 2


def test_hotelling_keeps_its_size_with_few_clusters():
    """The Wald test's chi-square reference rejects far too often with 12 clusters and 4 values; F does not."""
    rng = np.random.default_rng(5)
    n, k, draws = 12, 4, 4000
    x = rng.standard_normal((draws, n, k))
    centred = x - x.mean(axis=1, keepdims=True)
    cov = np.einsum("dni,dnj->dij", centred, centred) / (n - 1) / n
    m = x.mean(axis=1)
    wald = np.einsum("di,di->d", m, np.linalg.solve(cov, m[..., None])[..., 0])
    f = stats.f.sf(wald / k * (n - k) / (n - 1), k, n - k)
    assert abs((f < 0.05).mean() - 0.05) < 3 * np.sqrt(0.05 * 0.95 / draws)
    assert (stats.chi2.sf(wald, k) < 0.05).mean() > 0.15


def test_the_band_of_independent_values_is_sidaks():
    e = Estimate.of_covariance({"term": list("abcde")}, np.zeros(5), np.eye(5))
    _, high = e.interval(simultaneous=True)
    sidak = stats.norm.ppf((1 + 0.95 ** (1 / 5)) / 2)
    assert np.allclose(high, sidak, atol=0.02)


def test_the_band_of_one_value_repeated_is_its_interval():
    e = Estimate.of_covariance({"term": ["a", "b"]}, np.zeros(2), np.ones((2, 2)))
    assert np.allclose(e.interval(simultaneous=True)[1], e.interval()[1], atol=0.02)


@pytest.mark.parametrize("scale", ["log", "loglog", "logit"])
def test_intervals_on_other_scales_stay_inside_and_are_exact_at_the_ends(scale):
    e = Estimate.of_covariance({"term": ["a", "b"]}, [0.9, 1.0], np.diag([0.01, 0.0]), scale=scale)
    low, high = e.interval()
    assert 0 < low[0] < 0.9 < high[0] and (scale == "log" or high[0] < 1)
    assert low[1] == high[1] == 1.0


def test_a_difference_of_an_estimate_with_itself_is_exactly_nothing(sample, columns):
    e = means_of(sample, columns)
    gap = e - e
    assert (gap.value == 0).all() and (gap.std_error == 0).all()


def test_stacking_keeps_the_covariance(sample, columns):
    both = means_of(sample, columns)
    one, other = means_of(sample, columns[:, :1]), means_of(sample, columns[:, 1:])
    assert np.allclose(stack(one, other).vcov, both.vcov)


def test_stacking_needs_common_units_or_a_promise(sample, columns):
    e = means_of(sample, columns)
    elsewhere = replace(e, unit=np.array([f"other {i}" for i in range(len(sample))]))
    with pytest.raises(ValueError, match="share no units"):
        stack(e, elsewhere)
    apart = stack(e, elsewhere, independent=True)
    k = len(e.value)
    assert np.allclose(apart.vcov[:k, :k], e.vcov) and (apart.vcov[:k, k:] == 0).all()


def test_stacking_takes_the_coarsest_clusters(sample, columns):
    fine = means_of(sample, columns)
    coarse = means_of(replace(sample, cluster=np.arange(len(sample)) // 3), columns)
    assert stack(fine, coarse).df == coarse.df
    crossing = replace(fine, cluster=np.arange(len(sample)) % 2)
    with pytest.raises(ValueError, match="cross"):
        stack(crossing, replace(fine, cluster=np.minimum(np.arange(len(sample)) // 2, 40)))


def test_what_was_saved_cannot_be_stacked_but_can_be_read(sample, columns):
    e = means_of(sample, columns)
    saved = pickle.loads(pickle.dumps(e))
    assert np.allclose(saved.tidy().iloc[:, 1:], e.tidy().iloc[:, 1:])
    assert np.allclose(saved.combine([[1, -1, 0, 0]]).std_error, e.combine([[1, -1, 0, 0]]).std_error)
    with pytest.raises(ValueError, match="no scores"):
        stack(e, saved)


def test_a_pickle_holds_no_score_and_no_unit(sample, columns):
    marked = replace(sample, unit=np.array([f"SENTINEL-{i}" for i in range(len(sample))]))
    e = means_of(marked, columns)
    e.vcov  # noqa: B018  fills the caches, which must not be pickled
    text = pickle.dumps(e)
    assert b"SENTINEL" not in text and e.scores.tobytes()[:64] not in text


def test_transform_is_the_delta_method(sample, columns):
    e = means_of(sample, columns)
    ratio = e.transform(lambda v: [v[0] / v[1]], term="ratio")
    a, b = e.value[:2]
    gradient = np.array([1 / b, -a / b**2])
    assert np.isclose(ratio.std_error[0], np.sqrt(gradient @ e.vcov[:2, :2] @ gradient), rtol=1e-8)


def test_combine_and_where(sample, columns):
    e = means_of(sample, columns)
    gap = e.combine([[1, -1, 0, 0]], term="gap")
    assert np.isclose(gap.value[0], e.value[0] - e.value[1]) and gap.index.term.tolist() == ["gap"]
    assert e.where("term == 'm2'").value[0] == e.value[2]
    with pytest.raises(ValueError, match="No value has labels"):
        e.where("term == 'zzz'")


def test_draws_give_their_covariance():
    draws = np.random.default_rng(0).multivariate_normal([1, 2], [[2, 1], [1, 3]], size=400)
    e = Estimate.of_draws({"term": ["a", "b"]}, [1, 2], draws)
    assert np.allclose(e.vcov, np.cov(draws, rowvar=False)) and np.isinf(e.df)
    assert np.isclose(e.test([1, 2])["p_value"], 1)


def test_the_detectable_effect_is_found_with_the_power_it_promises():
    rng = np.random.default_rng(1)
    e = Estimate.of_covariance({"term": "a"}, 0.0, [[0.04]])
    size = e.detectable(power=0.8)[0]
    found = np.abs(rng.normal(size, 0.2, 20_000)) > stats.norm.ppf(0.975) * 0.2
    assert abs(found.mean() - 0.8) < 0.01


def test_one_cluster_has_no_error(sample, columns):
    with pytest.raises(ValueError, match="1 cluster"):
        means_of(replace(sample, cluster=np.zeros(len(sample), int)), columns)


def test_about_changes_words_only(sample, columns):
    e = means_of(sample, columns)
    assert e.about(estimand="x").estimand == "x"
    with pytest.raises(ValueError, match="words, not numbers"):
        e.about(value=e.value)


def test_a_ratio_is_tested_against_one_on_its_own_scale():
    e = Estimate.of_covariance({"term": "risk ratio"}, 1.27, [[0.1876**2]], scale="log", null=1.0)
    row = e.tidy().iloc[0]
    z = np.log(1.27) / (0.1876 / 1.27)
    assert np.isclose(row["statistic"], z) and np.isclose(row["p_value"], 2 * stats.norm.sf(z))
    assert (row["p_value"] < 0.05) == (row["conf_low"] > 1)


def test_levels_have_no_p_value(sample, columns):
    frame = means_of(sample, columns, null=None).tidy()
    assert "p_value" not in frame and "conf_low" in frame


@pytest.mark.filterwarnings("ignore::impact.ImpactWarning")
def test_who_was_trimmed_is_no_cluster_of_a_weighted_estimate():
    from impact.matching import means, propensity, trimming

    trimmed = trimming.quantile(walk.samples()["people"], share=0.1)
    e = means.difference(propensity.weight(trimmed), outcome="score")
    left = int((trimmed.weights > 0).sum())
    assert left < len(trimmed) and e.counts["clusters"] == left and e.df == left - 1
