"""Optimal pairs and full matching: least total distance, promises kept, ties, refusals."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from impact import emulate
from impact.matching import assigned, nearest, optimal
from tests.contracts import walk

pytestmark = pytest.mark.filterwarnings("ignore::impact.ImpactWarning")


def people(**changes):
    return emulate(walk.TRIAL.revise(**changes), walk.people())


def logit(sample):
    return np.log(sample.score) - np.log1p(-sample.score)


def total(sample, x):
    """The distances between the treated and the comparison units of each set, summed."""
    out = 0.0
    for s in np.unique(sample.strata[sample.strata >= 0]):
        mine = sample.strata == s
        out += np.abs(x[mine & sample.treated][:, None] - x[mine & ~sample.treated]).sum()
    return out


@pytest.mark.parametrize("ratio", [1, 2])
@pytest.mark.parametrize("estimand", ["ATT", "ATC"])
def test_the_total_distance_is_the_dense_solvers(ratio, estimand):
    after = optimal.match(people(estimand=estimand), ratio=ratio, caliper=None)
    x, d = logit(after), after.treated
    focal, pool = (x[d], x[~d]) if estimand == "ATT" or len(x[d]) * ratio <= len(x[~d]) else (x[~d], x[d])
    table = np.abs(np.repeat(focal, ratio if estimand == "ATT" else 1)[:, None] - pool)
    assert total(after, x) == pytest.approx(table[linear_sum_assignment(table)].sum(), rel=1e-9)


def test_it_is_never_worse_than_greedy_matching():
    start = people()
    greedy, best = nearest.match(start), optimal.match(start)
    x, reach = logit(best), 0.2 * logit(best).std(ddof=1)
    alone = [(s.weights[s.treated] == 0).sum() for s in (greedy, best)]
    assert total(best, x) + reach * alone[1] <= total(greedy, x) + reach * alone[0] + 1e-12


def test_the_caliper_and_the_exact_groups_hold():
    for design in (optimal.match, optimal.full):
        after = design(people(), caliper=0.1, exact=("school", "woman"))
        x, where = logit(after), np.array([after.columns_of(t) for t in ("woman",)]).ravel()
        where = [*after.columns_of("school"), *where]
        reach = 0.1 * x.std(ddof=1)
        for s in np.unique(after.strata[after.strata >= 0]):
            mine = after.strata == s
            assert (np.ptp(after.characteristics[mine][:, where], axis=0) == 0).all()
            assert np.abs(x[mine & after.treated][:, None] - x[mine & ~after.treated]).max() <= reach


def test_partners_that_do_not_suffice():
    """More treated than comparison units in a group: every comparison unit is used, and a note counts who is not."""
    start = people()
    few = np.flatnonzero(start.treated | (np.arange(len(start)) % 5 == 0))
    scarce = start.take(few)
    treated, comparison = scarce.treated.sum(), (~scarce.treated).sum()
    assert treated > comparison
    after = optimal.match(scarce, caliper=None)
    assert after.flow[-1].treated == after.flow[-1].comparison == comparison
    assert any(f"{treated - comparison} of {treated} treated units" in note for note in after.notes)
    fewer = optimal.match(start, ratio=5, caliper=None)
    assert fewer.flow[-1].comparison == 2 * fewer.flow[-1].treated
    assert any("fewer than the 5 partners" in note for note in fewer.notes)


@pytest.mark.parametrize("estimand", ["ATT", "ATC", "ATE"])
def test_full_matching_leaves_nobody_out_and_makes_stars(estimand):
    start = emulate(walk.TRIAL.revise(estimand=estimand, weights="weight"), walk.people())
    after = optimal.full(start)
    assert (after.weights > 0).all()
    goal = {"ATT": start.treated, "ATC": ~start.treated, "ATE": np.ones(len(start), bool)}[estimand]
    for arm in (after.treated, ~after.treated):
        assert after.weights[arm].sum() == pytest.approx(start.weights[goal].sum())
    for s in np.unique(after.strata):
        mine = after.strata == s
        assert 1 == min((mine & after.treated).sum(), (mine & ~after.treated).sum())
        for arm in (after.treated, ~after.treated):
            share = after.weights[mine & arm] / start.weights[mine & arm]
            assert np.ptp(share) < 1e-12 * share.max()


def test_ties_are_broken_by_label_and_not_by_row():
    """Covariates of few values: nearly everybody ties, and any order of rows gives the same sets."""
    start = people(covariates=("school", "woman"))
    for design in (optimal.match, optimal.full):
        after = design(start, caliper=None)
        for seed in range(5):
            mix = np.random.default_rng(seed).permutation(len(start))
            assert (design(start.take(mix), caliper=None).weights == after.weights[mix]).all()
        words = replace(start, unit=np.array([f"u{u:03d}" for u in start.unit], object))
        assert (design(words, caliper=None).weights == after.weights).all()


def test_mahalanobis_pairs_are_the_dense_solvers_and_keep_the_caliper():
    start = people()
    x, d = start.covariates, start.treated
    pooled = ((d.sum() - 1) * np.cov(x[d].T) + ((~d).sum() - 1) * np.cov(x[~d].T)) / (len(d) - 2)
    gap = x[d][:, None] - x[~d]
    table = np.sqrt(np.einsum("ijk,kl,ijl->ij", gap, np.linalg.inv(pooled), gap))

    def of(sample):
        i = {s: k for k, s in enumerate(sample.strata[d]) if s >= 0}
        return np.array([table[i[s], k] for k, s in enumerate(sample.strata[~d]) if s >= 0])

    assert of(optimal.match(start, distance="mahalanobis", caliper=None)).sum() == pytest.approx(
        table[linear_sum_assignment(table)].sum(), rel=1e-9
    )
    after = optimal.match(start, distance="mahalanobis", caliper=0.1)
    s = logit(after)
    near = np.abs(s[d][:, None] - s[~d]) <= 0.1 * s.std(ddof=1)
    costs = np.where(near, table, 1e6)
    best = costs[linear_sum_assignment(costs)]
    assert len(of(after)) == (best < 1e6).sum()
    assert of(after).sum() == pytest.approx(best[best < 1e6].sum(), rel=1e-9)


def test_a_table_too_large_is_refused_in_words(monkeypatch):
    monkeypatch.setattr(assigned, "MOST", 100)
    with pytest.raises(ValueError, match="45 and 105 units"):
        optimal.match(people(), distance="mahalanobis")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"ratio": 0}, "whole number"),
        ({"ratio": True}, "whole number"),
        ({"caliper": -1}, "positive number"),
        ({"distance": "euclid"}, "choose 'score', 'mahalanobis'"),
        ({"caliper": 1e-12}, "no set holds units of both arms"),
    ],
)
def test_refusals(options, words):
    with pytest.raises(ValueError, match=words):
        optimal.match(people(), **options)


def test_the_ate_is_referred_to_full_matching():
    with pytest.raises(ValueError, match="optimal.full"):
        optimal.match(people(estimand="ATE"))
    with pytest.raises(KeyError, match="nonsense"):
        optimal.full(people(), exact="nonsense")
    with pytest.raises(ValueError, match="`scale` is 'mahalanobis': choose 'logit' or 'probability'"):
        optimal.full(people(), scale="mahalanobis")
