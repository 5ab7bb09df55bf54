"""Ratios, quantiles, subgroups and learners: against what they must agree with, and what they refuse."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from impact import ImpactWarning, Outcome, emulate
from impact.core import crossfit, resampling
from impact.matching import abadie_imbens, doubly_robust, means, nearest, propensity, quantiles, regression, subgroups
from impact.show import glossary
from tests.matching.test_nearest import clients, quiet, study

METHODS = [means, regression, doubly_robust]
each = pytest.mark.parametrize("method", METHODS, ids=lambda m: m.__name__.rsplit(".")[-1])


def sample_of(table, **changes):
    return emulate(study(**{"outcomes": (Outcome("job", "in a job"), Outcome("pay")), **changes}), table)


# ---- ratios -----------------------------------------------------------------------------------


@quiet
@each
def test_ratios_are_functions_of_the_means(method):
    sample = sample_of(clients(n=500))
    levels = method.means(sample, outcome="job")
    for ratio, function in (
        (method.risk_ratio, lambda v: v[0] / v[1]),
        (method.odds_ratio, lambda v: v[0] / (1 - v[0]) * (1 - v[1]) / v[1]),
    ):
        e, by_delta = ratio(sample, outcome="job"), levels.transform(function, term="ratio")
        assert e.value[0] == pytest.approx(by_delta.value[0], rel=1e-12)
        assert e.std_error[0] == pytest.approx(by_delta.std_error[0], rel=1e-6)
        low, high = e.interval()
        assert np.sqrt(low * high)[0] == pytest.approx(e.value[0])  # symmetric in logarithms
        assert not glossary.unknown(e.tidy().columns) and not e.percent


def test_the_ratio_of_two_shares_has_the_textbooks_error():
    """log RR: 1/a - 1/n1 + 1/b - 1/n0, with no factor for small samples."""
    table = clients(n=400)
    e = means.risk_ratio(sample_of(table), outcome="job")
    a, b = (table.loc[table["arm"] == arm, "job"] for arm in (1, 0))
    error = np.sqrt(1 / a.sum() - 1 / len(a) + 1 / b.sum() - 1 / len(b))
    assert e.value[0] == pytest.approx(a.mean() / b.mean())
    assert e.std_error[0] / e.value[0] * np.sqrt(399 / 400) == pytest.approx(error, rel=1e-10)
    o = means.odds_ratio(sample_of(table), outcome="job")
    error = np.sqrt(sum(1 / c for c in (a.sum(), len(a) - a.sum(), b.sum(), len(b) - b.sum())))
    assert o.std_error[0] / o.value[0] * np.sqrt(399 / 400) == pytest.approx(error, rel=1e-10)


@quiet
@each
def test_outcomes_without_a_ratio_are_left_out_or_refused(method):
    sample = sample_of(clients())
    with pytest.warns(ImpactWarning, match="Left out: “pay”"):
        assert len(method.odds_ratio(sample).value) == 1
    with pytest.raises(ValueError, match="not between 0 and 1"):
        method.odds_ratio(sample, outcome="pay")
    with pytest.raises(ValueError, match="not above 0"):
        method.risk_ratio(sample_of(clients().assign(pay=-1.0)), outcome="pay")


# ---- quantiles --------------------------------------------------------------------------------


def test_quantiles_of_weights_are_those_of_rows_repeated():
    r = np.random.default_rng(0)
    y, w, at = r.normal(size=50).round(1), r.integers(1, 5, 50), np.array([0.1, 0.25, 0.5, 0.9])
    found = resampling.quantiles(y, w[None, :].astype(float), at)[0]
    assert np.array_equal(found, np.quantile(np.repeat(y, w), at, method="inverted_cdf"))


def test_the_error_of_a_mean_by_redrawn_weights_is_that_of_its_scores():
    """The bootstrap behind quantiles, where the answer is known: means with weights that were estimated."""
    sample = propensity.weight(sample_of(clients(n=600), estimand="ATE"))
    drawn = resampling.redrawn(sample.weights, sample.cluster, 3000, np.random.default_rng(1), *sample.nuisance)
    w, d, y = np.concatenate(list(drawn)), sample.treated, sample.outcome("pay")
    gaps = (w[:, d] @ y[d]) / w[:, d].sum(axis=1) - (w[:, ~d] @ y[~d]) / w[:, ~d].sum(axis=1)
    assert gaps.std() == pytest.approx(means.difference(sample, outcome="pay").std_error[0], rel=0.05)


@quiet
def test_quantile_effects_after_matching_and_by_arm():
    sample = nearest.match(sample_of(clients(n=500)))
    e, levels = quantiles.difference(sample, outcome="pay"), quantiles.levels(sample, outcome="pay")
    y, d, w = sample.outcome("pay"), sample.treated, sample.weights > 0
    for k, q in enumerate((0.25, 0.5, 0.75)):
        by_hand = [np.quantile(y[a & w], q, method="inverted_cdf") for a in (d, ~d)]
        assert levels.where(f"term == '{('quantile 0.25', 'median', 'quantile 0.75')[k]}'").value == pytest.approx(
            by_hand
        )
        assert e.value[k] == pytest.approx(by_hand[0] - by_hand[1])
    assert e.df == len(np.unique(sample.cluster[w])) - 1 and e.method.startswith("matched 1:1")


@quiet
def test_quantiles_depend_on_their_seed_alone_and_know_clusters():
    sample = sample_of(clients(n=300), cluster="office")
    a, b = (quantiles.difference(sample, rng=seed, draws=50) for seed in (1, 1))
    assert np.array_equal(a.vcov, b.vcov) and a.df == 2
    other = quantiles.difference(sample, rng=2, draws=50)
    assert not np.array_equal(a.vcov, other.vcov) and np.array_equal(a.value, other.value)


@pytest.mark.parametrize("options", [{"quantiles": [0, 0.5]}, {"quantiles": []}, {"draws": 1}, {"draws": 2.5}])
def test_quantiles_that_do_not_exist_are_refused(options):
    with pytest.raises(ValueError, match=r"between 0 and 1|whole number"):
        quantiles.difference(sample_of(clients()), **options)


# ---- subgroups --------------------------------------------------------------------------------


@pytest.mark.parametrize("estimator", [means.difference, regression.difference, doubly_robust.difference])
def test_each_part_is_as_if_it_were_the_sample(estimator):
    table = clients(n=600)
    e = subgroups.effects(sample_of(table), term="office", outcome="pay", estimator=estimator)
    assert e.index["subgroup"].iloc[0] == "everybody" and len(e.value) == 4
    for k, name in enumerate(e.index["subgroup"].iloc[1:], start=1):
        part = sample_of(table[table["office"] == name.split(": ")[1]], covariates=("age",))
        alone = estimator(part, outcome="pay")
        n = len(part)
        assert e.value[k] == pytest.approx(alone.value[0], rel=1e-9)
        assert e.std_error[k] * np.sqrt(599 / 600) == pytest.approx(alone.std_error[0] * np.sqrt((n - 1) / n), rel=1e-9)


def test_parts_are_independent_where_units_are_and_contrasts_add_up():
    sample = sample_of(clients(n=600))
    e = subgroups.effects(sample, term="office", outcome="pay")
    assert np.allclose(e.vcov[1:, 1:] - np.diag(np.diag(e.vcov)[1:]), 0, atol=1e-12)
    gap = subgroups.contrasts(sample, term="office", outcome="pay")
    assert np.allclose(gap.value, e.value[2:] - e.value[1])
    assert np.allclose(gap.std_error**2, np.diag(e.vcov)[2:] + e.vcov[1, 1])
    assert gap.test()["df"] == 2 and "difference from office: " in gap.estimand


def test_intervals_that_hold_at_once_are_wider_than_one_and_narrower_than_bonferronis():
    from scipy import stats

    e = subgroups.effects(sample_of(clients(n=600)), term="office", outcome="pay")
    one, both = (np.diff(e.interval(simultaneous=s), axis=0)[0] for s in (False, True))
    bonferroni = one * stats.t.ppf(1 - 0.025 / len(e.value), e.df) / stats.t.ppf(0.975, e.df)
    assert (one < both).all() and (both < bonferroni).all()


def test_estimated_weights_keep_their_error_in_parts():
    sample = propensity.weight(sample_of(clients(n=600)))
    known = replace(sample, nuisance=None)
    a, b = (subgroups.effects(s, term="office", outcome="pay", estimator=means.difference) for s in (sample, known))
    assert np.allclose(a.value, b.value) and not np.allclose(a.std_error, b.std_error, rtol=1e-6)


@quiet
def test_what_makes_no_subgroups_is_refused_or_said():
    sample = sample_of(clients())
    with pytest.raises(ValueError, match="2 to 10"):
        subgroups.effects(sample, term="age")
    with pytest.raises(KeyError, match="not among the covariates"):
        subgroups.effects(sample, term="pay")
    with pytest.raises(ValueError, match="no covariate of the study"):
        subgroups.effects(sample_of(clients(), covariates=("age",)))
    with pytest.raises(ValueError, match="without scores"):
        subgroups.effects(sample, term="office", estimator=partial(abadie_imbens.difference))
    with pytest.raises(ValueError, match="asked of ratios"):
        subgroups.contrasts(sample, term="office", outcome="job", estimator=means.risk_ratio)
    few = clients(n=60)
    few.loc[few["office"] == "east", "arm"] = 0
    with pytest.raises(ValueError, match="“office: east” has no unit with weight in “1”"):
        subgroups.effects(sample_of(few), term="office")
    with pytest.warns(ImpactWarning, match="matched sets have members in more than one subgroup"):
        subgroups.effects(nearest.match(sample), term="office", estimator=means.difference, outcome="pay")
    exact = subgroups.effects(nearest.match(sample, exact="office"), term="office", estimator=means.difference)
    assert not any("more than one subgroup" in note for note in exact.notes)


# ---- learners ---------------------------------------------------------------------------------


def linear():
    from sklearn.linear_model import LinearRegression

    return LinearRegression()


def test_folds_are_whole_clusters_in_equal_numbers():
    cluster = np.repeat(np.arange(53), 4)
    fold = crossfit.folds(cluster, 5, 1)
    assert all(len(set(fold[cluster == c])) == 1 for c in range(53))
    sizes = np.bincount(fold[::4])
    assert sizes.max() - sizes.min() <= 1 and not np.array_equal(fold, crossfit.folds(cluster, 5, 2))


def test_the_linear_learner_is_the_linear_regression():
    """A learner of ours and the default are one estimator; the formula by hand from the same predictions."""
    sample = sample_of(clients(n=400), estimand="ATE")
    e = doubly_robust.difference(sample, outcome="pay", outcome_model=linear())
    y, d, x, w = sample.outcome("pay")[:, None], sample.treated, sample.covariates, sample.weights
    seed = int(np.random.default_rng(0).integers(2**31))
    by = crossfit.predict(y, d, x, w, crossfit.folds(sample.cluster, 5, seed))
    p, m1, m0, y = by.probability, by.treated[:, 0], by.comparison[:, 0], y[:, 0]
    value = (m1 - m0).mean() + np.average((y - m1)[d], weights=1 / p[d])
    value -= np.average((y - m0)[~d], weights=1 / (1 - p[~d]))
    assert e.value[0] == pytest.approx(value, rel=1e-8)
    assert np.abs(e.scores.sum(axis=0)).max() < 1e-10
    plain = doubly_robust.difference(sample, outcome="pay")
    assert abs(e.value[0] - plain.value[0]) < 0.5 * plain.std_error[0]
    assert e.std_error[0] == pytest.approx(plain.std_error[0], rel=0.1)


@quiet
def test_learners_give_the_same_whatever_the_processes_and_the_order_of_rows():
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

    sample = sample_of(clients(n=200), cluster="office")
    options = {
        "outcome_model": RandomForestRegressor(3, min_samples_leaf=5), "folds": 2, "outcome": "pay", "rng": 4,
        "treatment_model": RandomForestClassifier(3, min_samples_leaf=5),
    }  # fmt: skip
    a = doubly_robust.difference(sample, **options)
    b = doubly_robust.difference(sample, **options, n_jobs=2)
    c = doubly_robust.difference(sample.take(np.random.default_rng(1).permutation(200)), **options)
    assert a.value[0] == b.value[0] and a.value[0] == pytest.approx(c.value[0], rel=1e-12)
    assert "RandomForestRegressor" in a.method and "chernozhukov2018" in a.references
    assert options["outcome_model"].random_state is None  # the reader's own learner is left as it was


def test_classifiers_for_outcomes_that_are_yes_or_no_and_weights():
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    scaled = make_pipeline(StandardScaler(), LogisticRegression())
    heavy = sample_of(clients(n=400), weights="weight")
    e = doubly_robust.risk_ratio(heavy, outcome="job", outcome_model=scaled, treatment_model=scaled)
    plain = doubly_robust.risk_ratio(heavy, outcome="job")
    assert abs(e.value[0] - plain.value[0]) < 0.5 * plain.std_error[0]
    with pytest.raises(ValueError, match="not 0 or 1"):
        doubly_robust.difference(heavy, outcome="pay", outcome_model=scaled)
    with pytest.raises(ValueError, match="takes no weights"):
        doubly_robust.difference(heavy, outcome="pay", outcome_model=KNeighborsRegressor())
    with pytest.raises(ValueError, match="predicts no probabilities"):
        doubly_robust.difference(heavy, treatment_model=linear())
    with pytest.raises(ValueError, match="whole number from 2"):
        doubly_robust.difference(heavy, outcome_model=linear(), folds=1)
    with pytest.raises(ValueError, match="here 3: set 5"):
        doubly_robust.difference(sample_of(clients(), cluster="office"), outcome_model=linear())


def test_nearly_certain_units_are_said():
    from sklearn.tree import DecisionTreeClassifier

    with pytest.warns(ImpactWarning, match="nearly certain of their arm"):
        e = doubly_robust.difference(sample_of(clients()), treatment_model=DecisionTreeClassifier(), outcome="pay")
    assert any("nearly certain" in note for note in e.notes)
