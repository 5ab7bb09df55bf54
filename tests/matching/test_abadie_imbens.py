"""Matching with replacement: by hand on small tables, ties, cells, clusters, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from impact import Outcome, emulate
from impact.core import matched_sets
from impact.matching import abadie_imbens, means, nearest, propensity
from tests.matching.test_nearest import clients, quiet, study


def sample_of(table, **changes):
    return emulate(study(**{"covariates": ("age",), "outcomes": Outcome("pay"), **changes}), table)


def by_hand(y, d, x, w, matches, neighbours, estimand):
    """The formulas of Abadie and Imbens (2006) unit by unit, one covariate, with loops."""
    n = len(y)
    target = {"ATT": d, "ATC": ~d, "ATE": np.ones(n, bool)}[estimand]
    gap, uses, squares, spread = np.zeros(n), np.zeros(n), np.zeros(n), np.zeros(n)
    for i in range(n):
        far = np.abs(x - x[i])
        own = np.flatnonzero((d == d[i]) & (far <= np.sort(far[d == d[i]])[neighbours] + 1e-9))
        spread[i] = np.var(y[own], ddof=1)
        if target[i]:
            there = np.flatnonzero((d != d[i]) & (far <= np.sort(far[d != d[i]])[matches - 1] + 1e-9))
            share = w[there] / w[there].sum()
            gap[i] = (y[i] - share @ y[there]) * (1 if d[i] else -1)
            uses[there] += w[i] * share
            squares[there] += (w[i] * share) ** 2
    value = np.average(gap[target], weights=w[target])
    variance = (w[target] ** 2 * (gap[target] - value) ** 2).sum()
    variance += (spread * (uses**2 - squares + 2 * w * uses * target)).sum()
    return value, np.sqrt(variance) / w[target].sum()


@pytest.mark.parametrize("estimand", ["ATT", "ATC", "ATE"])
@pytest.mark.parametrize(("matches", "neighbours"), [(1, 1), (3, 4)])
@pytest.mark.parametrize("weights", [None, "weight"])
def test_by_hand_with_ties_and_weights(estimand, matches, neighbours, weights):
    table = clients(n=160, seed=3).assign(weight=np.random.default_rng(0).uniform(0.5, 2, 160))
    table["age"] = table["age"].round()  # whole years: many ties
    sample = sample_of(table, estimand=estimand, weights=weights)
    e = abadie_imbens.difference(sample, matches=matches, variance_matches=neighbours)
    value, error = by_hand(sample.outcome("pay"), sample.treated, sample.covariates[:, 0], sample.weights, matches,
                           neighbours, estimand)  # fmt: skip
    assert e.value[0] == pytest.approx(value, rel=1e-9)
    assert e.std_error[0] == pytest.approx(error, rel=1e-9)


def test_the_covariance_between_outcomes_is_that_of_their_sums():
    """var(a + b) = var a + var b + 2 cov(a, b), for the matching of a + b itself."""
    table = clients(n=200, seed=2)
    r = np.random.default_rng(1)
    table["more"] = table["pay"] * 0.3 + r.normal(size=200)
    table["sum"] = table["pay"] + table["more"]
    sample = sample_of(table, covariates=("age", "office"), outcomes=(Outcome("pay"), Outcome("more"), Outcome("sum")))
    for options in ({}, {"variance_matches": None}, {"metric": "score"}, {"bias_adjust": True, "matches": 3}):
        e = abadie_imbens.difference(sample, **options)
        assert e.combine([[1, 1, -1]], term="gap").vcov[0, 0] == pytest.approx(0, abs=1e-8 * e.vcov[2, 2])
        assert e.value[0] + e.value[1] == pytest.approx(e.value[2])


def test_one_match_on_the_score_is_nearest_with_replacement_where_nothing_ties():
    table = clients(n=300, seed=8)
    sample = sample_of(table)
    with pytest.warns(UserWarning, match="with replacement"):
        known = nearest.match(sample, replace=True, caliper=None, scale="probability")
    e = abadie_imbens.difference(sample, metric="score")
    assert e.value[0] == pytest.approx(means.difference(known).value[0], rel=1e-9)


def test_units_of_measurement_change_nothing():
    table = clients(n=200, seed=4)
    for metric in abadie_imbens.METRICS:
        options = {"metric": metric, "bias_adjust": True, "matches": 2}
        a = abadie_imbens.difference(sample_of(table, covariates=("age", "office")), **options)
        b = abadie_imbens.difference(
            sample_of(table.assign(age=1e6 - 1000 * table["age"]), covariates=("age", "office")), **options
        )
        assert a.value[0] == pytest.approx(b.value[0], rel=1e-7)
        assert a.std_error[0] == pytest.approx(b.std_error[0], rel=1e-7)


def test_it_says_how_it_matched_and_has_no_scores():
    e = abadie_imbens.difference(sample_of(clients()), matches=4, bias_adjust=True)
    assert "with replacement to the 4 nearest units" in e.method and "adjusted" in e.method
    assert e.scores is None and e.index["term"].tolist() == ["ATT"]
    assert set(e.references) == {"abadie2006", "abadie2011"}


def test_units_without_weight_play_no_part():
    sample = sample_of(clients(n=200, seed=5))
    out = np.arange(200) % 5 == 0
    a = abadie_imbens.difference(sample.reweight(np.where(out, 0.0, sample.weights), step="left out"))
    b = abadie_imbens.difference(sample.take(np.flatnonzero(~out)))
    assert a.value[0] == pytest.approx(b.value[0]) and a.std_error[0] == pytest.approx(b.std_error[0])


@pytest.mark.parametrize("slack", [0.0, 0.01])
def test_sets_on_one_number_are_those_that_a_search_in_space_finds(slack):
    """On one number they are kept as runs, in several columns one by one."""
    r = np.random.default_rng(6)
    x, d, w = r.normal(size=(400, 1)).round(1), r.random(400) < 0.3, r.uniform(0.5, 2, 400)
    y = x + r.normal(size=(400, 2))
    line = matched_sets.cells(-x, w, "inverse_variance", slack)
    plane = line._replace(points=np.column_stack([line.points, np.zeros(len(line.points))]))
    for estimand in ("ATT", "ATE"):
        options = {"estimand": estimand, "matches": 3, "bias_adjust": True, "variance_matches": 2}
        one, two = (matched_sets.effect(y, d, x, w, where, **options) for where in (line, plane))
        np.testing.assert_allclose(one.value, two.value, rtol=1e-12)
        np.testing.assert_allclose(one.covariance, two.covariance, rtol=1e-12)
        np.testing.assert_allclose(one.uses, two.uses, rtol=1e-12, atol=0)
        assert one.largest_set == two.largest_set


@quiet
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"matches": 0}, "whole number"),
        ({"matches": 10_000}, "10,000 treated units are needed"),
        ({"variance_matches": True}, "whole number"),
        ({"metric": "euclid"}, "choose 'inverse_variance', 'mahalanobis' or 'score'"),
        ({"tolerance": -1.0}, "`tolerance` is -1"),
    ],
)
def test_options_that_do_not_exist_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        abadie_imbens.difference(sample_of(clients()), **options)


@quiet
def test_what_its_variance_does_not_know_is_refused():
    sample = sample_of(clients())
    with pytest.raises(ValueError, match="already matched or weighted"):
        abadie_imbens.difference(propensity.weight(sample))
    with pytest.raises(ValueError, match="already matched or weighted"):
        abadie_imbens.difference(nearest.match(sample))
    with pytest.raises(ValueError, match="the study has clusters"):
        abadie_imbens.difference(sample_of(clients(), cluster="office"))
    with pytest.raises(ValueError, match="no covariates"):
        abadie_imbens.difference(sample_of(clients(), covariates=()))
    uneven = np.linspace(1, 2, len(sample))
    with pytest.raises(ValueError, match="sampling weights"):
        abadie_imbens.difference(replace(sample, weights=uneven, sampling=uneven), metric="score")


def test_many_units_in_few_cells_are_quick():
    """A hundred thousand units of whole years: sets are thousands of units, and nothing of pairs is made."""
    r = np.random.default_rng(0)
    n = 100_000
    table = pd.DataFrame({"id": np.arange(n), "age": r.integers(18, 65, n), "arm": r.integers(0, 2, n)})
    table["office"], table["pay"] = "east", r.normal(size=n) + table["arm"]
    e = abadie_imbens.difference(sample_of(table))
    assert e.value[0] == pytest.approx(1, abs=4 * e.std_error[0])
    assert e.std_error[0] == pytest.approx(means.difference(sample_of(table)).std_error[0], rel=0.05)
