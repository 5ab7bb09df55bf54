"""Designs that put units into sets, against R.

Figures: R 4.2.2 with MatchIt 4.7.2, optmatch 0.10.8 and sandwich 3.0-2 on MatchIt's `lalonde` (formula
treat ~ age + educ + race + married + nodegree + re74 + re75), as in test_matching.py. MatchIt scales the
weights of each arm to average one; digests here are of weights scaled so.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest

from impact import emulate
from impact.matching import exact, means, optimal, regression, subclass
from tests.parity.test_matching import lalonde, sets, study

assert lalonde  # the rows, as a fixture
pytestmark = pytest.mark.filterwarnings("ignore::impact.ImpactWarning")


def scaled(sample):
    """The weights as MatchIt scales them: those of each arm average one."""
    w = sample.weights.copy()
    for arm in (sample.treated, ~sample.treated):
        used = arm & (w > 0)
        w[used] *= used.sum() / w[used].sum()
    return w


def weights(sample):
    lines = {str(u): f"{u}={x:.6f}" for u, x in zip(sample.unit, scaled(sample), strict=True) if x > 0}
    return hashlib.md5("\n".join(lines[u] for u in sorted(lines)).encode()).hexdigest()


class Said(NamedTuple):
    """What matchit() and lm(re78 ~ treat, weights) say."""

    design: object
    options: dict
    estimand: str
    sets: str
    weights: str
    value: float
    hc1: float  # sandwich::vcovHC(, "HC1")
    clustered: float  # sandwich::vcovCL(, ~ subclass)
    gcomp: float  # lm(re78 ~ treat * (...), weights), averaged over the group of interest


CUTS = {
    "cutpoints": {"age": 4, "educ": [8.5, 11.5], "re74": "q4", "re75": "q4"},
    "grouping": {"race": [["black"], ["hispan", "white"]]},
}
STRATA = {
    "method = 'subclass', subclass = 6": Said(
        subclass.stratify, {}, "ATT",
        "7c2530c6ac2eb0889b73e444cf24ee33", "e35e3ba00da68fb71b0ee785ffcc8f45",
        1359.48753303059, 828.823014455678, 701.433506063397, 1723.85968346242,
    ),
    "method = 'subclass', subclass = 6, estimand = 'ATE'": Said(
        subclass.stratify, {}, "ATE",
        "bf595cc6f49cfedbfab3c282f058edc9", "9f98a2dc03899affe7e798d54b9b809a",
        -581.481210293959, 1242.26978125483, 2119.10672772848, -466.542834470744,
    ),
    "treat ~ race + married + nodegree, method = 'exact'": Said(
        exact.match, {"covariates": ("race", "married", "nodegree")}, "ATT",
        "75cd114d0a19d810372a51ecbab48aa4", "77c102e25838ea967e8959851b1bcab7",
        1309.89721000308, 810.255200688535, 573.539463676047, 1372.20336439365,
    ),
    "method = 'cem'": Said(
        exact.match, {}, "ATT",
        "96fbd8df6dee69d264ad42726b5ea1be", "de21b4aada471909bee3e1dec762a2a7",
        1070.90732642735, 1390.34841456494, 968.773628320882, 1290.0335399607,
    ),
    "method = 'cem', cutpoints, grouping": Said(
        exact.match, CUTS, "ATT",
        "397a59bad4767d73f0af16d0cb6ae807", "c36bdaa942296a151038171e96be9067",
        770.677242845142, 920.693845887646, 852.547112660755, 599.193766578052,
    ),
    "method = 'cem', estimand = 'ATE'": Said(
        exact.match, {}, "ATE",
        "96fbd8df6dee69d264ad42726b5ea1be", "86ac3f3f7058ee5d8944fa7ed9438476",
        1331.36575935958, 1160.25603605701, 986.282432835255, 1588.30973882448,
    ),
}  # fmt: skip
each = pytest.mark.parametrize("said", list(STRATA.values()), ids=list(STRATA))


def designed(lalonde, said):
    return said.design(emulate(study(estimand=said.estimand), lalonde), **said.options)


@each
def test_strata_weights_and_the_mean_difference(lalonde, said):
    sample = designed(lalonde, said)
    assert sets(sample) == said.sets and weights(sample) == said.weights
    assert means.difference(sample).value[0] == pytest.approx(said.value, rel=1e-11)


@each
def test_errors_that_take_the_weights_as_given(lalonde, said):
    """R's take them so; an Estimate's own knows that the arms' shares of the strata are estimated.

    R multiplies by n/(n-2), and by G/(G-1) (n-1)/(n-2) with clusters; an Estimate by G/(G-1).
    """
    given = replace(designed(lalonde, said), nuisance=None)
    n = (given.weights > 0).sum()
    factor = np.sqrt((n - 1) / (n - 2))
    assert means.difference(given).std_error[0] * factor == pytest.approx(said.hc1, rel=1e-11)
    sets_as_clusters = replace(given, cluster=np.unique(given.strata, return_inverse=True)[1])
    assert means.difference(sets_as_clusters).std_error[0] * factor == pytest.approx(said.clustered, rel=1e-11)


@each
def test_g_computation(lalonde, said):
    """For the ATE, R averages over all rows with arms weighing as many as they are; here both arms weigh the same."""
    sample = designed(lalonde, said)
    if said.estimand == "ATE":
        sample = replace(sample, weights=scaled(sample), nuisance=None)
    assert regression.difference(sample).value[0] == pytest.approx(said.gcomp, rel=1e-10)


def distance(sample):
    """The sum over sets, over their pairs of a treated and a comparison unit, of |score - score|."""
    total = 0.0
    for s in range(sample.strata.max() + 1):
        mine = sample.strata == s
        total += np.abs(sample.score[mine & sample.treated][:, None] - sample.score[mine & ~sample.treated]).sum()
    return total


@pytest.mark.parametrize(
    ("ratio", "theirs", "least"), [(1, 39.693741883341, 39.692798784962), (2, 136.54814612324, 136.547456320224)]
)
def test_optimal_pairs_are_no_further_apart_than_optmatchs(lalonde, ratio, theirs, least):
    """matchit(method = "optimal"), sum of |distance| over pairs: optmatch stops within a tolerance.

    The least is that of scipy's dense linear_sum_assignment.
    """
    from scipy.optimize import linear_sum_assignment

    sample = optimal.match(emulate(study(), lalonde), ratio=ratio, caliper=None, scale="probability")
    d = sample.treated
    table = np.abs(np.repeat(sample.score[d], ratio)[:, None] - sample.score[~d])
    assert table[linear_sum_assignment(table)].sum() == pytest.approx(least, rel=1e-12)
    assert distance(sample) == pytest.approx(least, rel=1e-12)
    assert distance(sample) <= theirs and sample.flow[-1][1:3] == (185, 185 * ratio)


def test_optimal_pairs_by_mahalanobis_distance(lalonde):
    """matchit(method = "optimal", distance = "mahalanobis"): its 185 pairs are 304.043164 apart in all, by our own
    distances; the least is 304.042249. The effect is the same: 814.09."""
    sample = optimal.match(emulate(study(), lalonde), caliper=None, distance="mahalanobis")
    x, d = sample.covariates, sample.treated
    pooled = ((d.sum() - 1) * np.cov(x[d].T) + ((~d).sum() - 1) * np.cov(x[~d].T)) / (len(d) - 2)
    partner = {s: k for k, s in enumerate(sample.strata) if s >= 0 and not d[k]}
    gaps = np.array([x[k] - x[partner[s]] for k, s in enumerate(sample.strata) if d[k]])
    apart = np.sqrt(np.einsum("ik,ik->i", gaps, np.linalg.solve(pooled, gaps.T).T)).sum()
    assert apart == pytest.approx(304.0422491792, rel=1e-9) and apart < 304.0431641641
    assert means.difference(sample).value[0] == pytest.approx(814.091046756761, rel=1e-9)


@pytest.mark.parametrize("estimand", ["ATT", "ATE"])
def test_full_matching_is_the_least_by_linear_programming(lalonde, estimand):
    """matchit(method = "full") finds 105 sets, and does not say how far apart. The least total is
    that of the linear programme that covers every unit, whose solution is whole for two arms."""
    from scipy.optimize import linprog
    from scipy.sparse import csr_array

    sample = optimal.full(emulate(study(estimand=estimand), lalonde), scale="probability")
    x, y = sample.score[sample.treated], sample.score[~sample.treated]
    table = np.abs(x[:, None] - y)
    near = table <= table.min(axis=1)[:, None] + table.min(axis=0)  # no other pair can pay
    i, j = np.nonzero(near)
    edge = np.arange(len(i))
    ends = np.concatenate([i, len(x) + j]), np.concatenate([edge, edge])
    rows = csr_array((-np.ones(2 * len(i)), ends), shape=(614, len(i)))
    least = linprog(table[i, j], A_ub=rows, b_ub=-np.ones(614)).fun
    assert distance(sample) == pytest.approx(least, rel=1e-9) == pytest.approx(2.141616216877, rel=1e-9)
    assert (sample.weights > 0).all()


def test_full_matching_weighs_as_matchit_does(lalonde):
    """get_weights_from_subclass(): for the ATT a comparison unit has the treated over the comparison units of its
    set, scaled to average one; for the ATE each arm has the units of the set over its own, scaled."""
    for estimand in ("ATT", "ATE"):
        sample = optimal.full(emulate(study(estimand=estimand), lalonde), scale="probability")
        d, s = sample.treated, sample.strata
        t, c = np.bincount(s[d])[s], np.bincount(s[~d])[s]
        theirs = np.where(d, 1.0, t / c) if estimand == "ATT" else (t + c) / np.where(d, t, c)
        for arm in (d, ~d):
            theirs[arm] /= theirs[arm].mean()
        assert scaled(sample) == pytest.approx(theirs, rel=1e-12)
