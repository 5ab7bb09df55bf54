"""The treated of the National Supported Work experiment against 15,992 people of the CPS: R, and other algorithms.

The data are `causaldata`'s nsw_mixtape and cps_mixtape, in this order; formula treat ~ age + educ + black + hisp +
marr + nodegree + re74 + re75. R 4.2.2 with MatchIt 4.5.1 (Debian's, for what its faults with nearest neighbours do
not touch: on `lalonde` these designs are those of 4.7.2), sandwich 3.0-2 and Matching 4.10-8. Pairs are compared with
the rules written out below, one unit at a time, and least distances with scipy's on the whole table.
"""

from __future__ import annotations

import time
from dataclasses import replace
from itertools import combinations

import numpy as np
import pandas as pd
import pytest

from impact import Outcome, Study, emulate
from impact.core import matched_sets
from impact.matching import (
    abadie_imbens,
    cardinality,
    covariate_balancing,
    entropy,
    exact,
    kernel,
    means,
    nearest,
    optimal,
    propensity,
    regression,
    stable,
    subclass,
)
from tests.parity.test_matching_sets import scaled

pytestmark = pytest.mark.filterwarnings("ignore::impact.ImpactWarning")
COVARIATES = ("age", "educ", "black", "hisp", "marr", "nodegree", "re74", "re75")


@pytest.fixture(scope="module")
def rows():
    from causaldata import cps_mixtape, nsw_mixtape

    nsw, cps = nsw_mixtape.load_pandas().data, cps_mixtape.load_pandas().data
    both = pd.concat([nsw[nsw["treat"] == 1], cps[cps["treat"] == 0]], ignore_index=True)
    return both.astype({"re74": float, "re75": float, "re78": float}).assign(id=range(len(both)))


@pytest.fixture(scope="module")
def samples(rows):
    """By estimand."""
    study = Study(title="NSW", unit="id", treatment="treat", covariates=COVARIATES, outcomes=Outcome("re78"))
    return {e: emulate(study.revise(estimand=e), rows) for e in ("ATT", "ATC", "ATE")}


# ---- strata, against MatchIt ------------------------------------------------------------------

FACTORS = {"covariates": ("black", "marr", "nodegree")}
CUT = {"cutpoints": {"age": 4, "educ": [8.5, 11.5], "re74": "q4", "re75": "q4"}}
# matchit(): estimand, design, options; units, strata, largest weight; lm(re78 ~ treat, weights), vcovHC "HC1",
# vcovCL(~ subclass), and, but for the ATE, lm(re78 ~ treat * (...)) over the group of interest
STRATA = {
    "subclass = 6": (
        "ATT", subclass.stratify, {}, 16177, 6, 99.249649650, 60.668202150, 644.297175257, 1616.628995510,
        1361.458233022),
    "subclass = 6, ATE": (
        "ATE", subclass.stratify, {"few": "move"}, 16177, 6, 30.842863324, -6663.375705420, 2012.765301239,
        3801.919081403, None),
    "subclass = 6, ATC": (
        "ATC", subclass.stratify, {"few": "move"}, 16177, 6, 30.841045523, -7990.608053701, 1845.460274531,
        3145.081470630, -11322.218251102),
    "subclass = 6, min.n = 2, ATE": (
        "ATE", subclass.stratify, {"few": "move", "smallest": 2}, 16177, 6, 15.427149657, -4663.613884438,
        2594.152096341, 4768.856726477, None),
    "subclass = 6, min.n = 2, ATC": (
        "ATC", subclass.stratify, {"few": "move", "smallest": 2}, 16177, 6, 15.420522761, -4745.767253979,
        2592.907966108, 3214.863077696, -2495.263947615),
    "exact": (
        "ATT", exact.match, FACTORS, 16177, 8, 37.224363119, -3255.034877387, 644.099300125, 585.535442299,
        1181.757144803),
    "exact, ATE": (
        "ATE", exact.match, FACTORS, 16177, 8, 29.806000288, -7800.200411095, 1577.634782415, 1353.811612382, None),
    "exact, ATC": (
        "ATC", exact.match, FACTORS, 16177, 8, 30.139236285, -7852.780177467, 1594.532718905, 1343.690351487,
        -2117.476084163),
    "cem": (
        "ATT", exact.match, {}, 387, 45, 20.689655172, 3627.633788593, 859.943772032, 1004.102227790, 3862.604586322),
    "cem, ATE": (
        "ATE", exact.match, {}, 387, 45, 21.131782946, 3239.003934754, 747.174547981, 1038.656608411, None),
    "cem, ATC": (
        "ATC", exact.match, {}, 387, 45, 26.970000000, 3126.301277141, 795.839682783, 1198.612498670, 3253.168122038),
    "cem, cutpoints": (
        "ATT", exact.match, CUT, 3090, 54, 80.359116022, 637.754643857, 734.010585055, 908.295534796, 1111.230012952),
    "cem, cutpoints, ATE": (
        "ATE", exact.match, CUT, 3090, 54, 26.300647249, 1289.364170409, 1188.799160723, 964.194032552, None),
    "cem, cutpoints, ATC": (
        "ATC", exact.match, CUT, 3090, 54, 27.874871090, 1329.907767627, 1237.090844578, 1008.796921110,
        1882.582307250),
    "nearest, ATC": (
        "ATC", nearest.match, {"caliper": None, "scale": "probability", "ties": "matchit"}, 370, 185, 1,
        -16261.598793731, 799.969433633, 793.686421532, -8009.590207653),
}  # fmt: skip


@pytest.mark.parametrize("name", list(STRATA))
def test_strata_are_matchits(samples, name):
    """R takes weights as given, and multiplies variances by n/(n-2), or G/(G-1) (n-1)/(n-2)."""
    estimand, design, options, units, count, largest, value, hc1, clustered, standardised = STRATA[name]
    sample = design(samples[estimand], **options)
    used = sample.weights > 0
    assert (used.sum(), len(np.unique(sample.strata[used]))) == (units, count)
    assert scaled(sample).max() == pytest.approx(largest, rel=1e-9)
    factor = np.sqrt((used.sum() - 1) / (used.sum() - 2))
    alone = replace(sample, nuisance=None, cluster=np.arange(len(sample)))
    found = means.difference(alone)
    assert (found.value[0], found.std_error[0] * factor) == pytest.approx((value, hc1), rel=1e-9)
    grouped = replace(alone, cluster=np.unique(sample.strata, return_inverse=True)[1])
    assert means.difference(grouped).std_error[0] * factor == pytest.approx(clustered, rel=1e-9)
    if standardised is not None:
        assert regression.difference(sample).value[0] == pytest.approx(standardised, rel=1e-8)


def test_classes_without_treated_units_are_joined(samples):
    """For the ATE half of six classes have no treated unit. MatchIt moves one there from the next class that has two,
    and weighs it 31-fold: -6,663 (2,013), which ``few="move"`` gives. Here such classes join a neighbour."""
    sample = subclass.stratify(samples["ATE"])
    assert sample.strata.max() == 2 and any("joined a neighbour" in note for note in sample.notes)
    assert means.difference(sample).value[0] == pytest.approx(-3563.3449, abs=1e-4)


# ---- greedy pairs, by MatchIt's rules written out ---------------------------------------------


def greedy(score, focal, fits, *, ratio=1, reach=np.inf, order="largest", again=False):
    """The partners of each focal row, those of the pool being looked at one and all each time.

    The nearest free one strictly below is the last row of its score, that at or above the first; of two as far the
    one above. ``fits(i)`` says who may be a partner.
    """
    free, rows = ~focal, np.arange(len(score))
    queue = list(np.flatnonzero(focal))
    if order != "data":
        queue.sort(key=lambda i: score[i] if order == "smallest" else -score[i])
    found = {i: [] for i in queue}

    def look(i):
        open_ = free & fits(i) & (np.abs(score - score[i]) <= reach)
        open_[found[i]] = False
        below, above = rows[open_ & (score < score[i])], rows[open_ & (score >= score[i])]
        down = below[score[below] == score[below].max()][-1] if len(below) else None
        up = above[score[above] == score[above].min()][0] if len(above) else None
        if down is None or (up is not None and score[up] - score[i] <= score[i] - score[down]):
            return up
        return down

    for _ in range(ratio):
        for i in queue:
            if (j := look(i)) is not None:
                found[i].append(j)
                free[j] = again
    return found


P = {"scale": "probability", "ties": "matchit"}
ANY = P | {"caliper": None}
WIDE = {"caliper": 0.25, "calipers": {"age": 5, "re75": 3000}}
GREEDY = {
    "largest": (ANY, {}, 185),
    "smallest": (ANY | {"order": "smallest"}, {"order": "smallest"}, 185),
    "data": (ANY | {"order": "data"}, {"order": "data"}, 185),
    "caliper": (P, {"reach": 0.2}, 183),
    "caliper, exact": (P | {"caliper": 0.1, "exact": ("black", "marr")}, {"reach": 0.1}, 170),
    "ratio": (ANY | {"ratio": 2}, {"ratio": 2}, 370),
    "antiexact": (ANY | {"antiexact": "marr"}, {}, 185),
    "calipers on covariates": (P | WIDE, {"reach": 0.25}, 163),
    "with replacement": (ANY | {"replace": True}, {"again": True}, 127),
    "three with replacement": (P | {"replace": True, "ratio": 3}, {"again": True, "ratio": 3, "reach": 0.2}, 294),
}


@pytest.mark.parametrize("name", list(GREEDY))
def test_greedy_pairs_by_another_algorithm(samples, name):
    options, rules, partners = GREEDY[name]
    sample = nearest.match(samples["ATT"], **options)
    score, d = sample.score, sample.treated
    x = {c: sample.covariates[:, sample.covariate_names.index(c)] for c in COVARIATES}

    def fits(i):
        ok = np.ones(len(d), bool)
        for c in options.get("exact", ()):
            ok &= x[c] == x[c][i]
        for c, r in options.get("calipers", {}).items():
            ok &= np.abs(x[c] - x[c][i]) <= r
        return ok & (x["marr"] != x["marr"][i]) if "antiexact" in options else ok

    reach = rules.get("reach", np.inf) * score.std(ddof=1)
    found = greedy(score, d, fits, **rules | {"reach": reach})
    weights = np.where(d, [len(found.get(i, ())) > 0 for i in range(len(d))], 0.0)
    for mine in found.values():
        weights[mine] += 1 / max(len(mine), 1)
    assert sample.weights == pytest.approx(weights, rel=1e-12, abs=1e-12)
    assert (weights[~d] > 0).sum() == partners
    if sample.strata is not None:
        theirs = {frozenset([i, *mine]) for i, mine in found.items() if mine}
        used = np.flatnonzero(sample.strata >= 0)
        ours = pd.Series(used).groupby(sample.strata[used]).agg(frozenset)
        assert set(ours) == theirs


def test_three_by_mahalanobis_with_replacement(samples):
    """Nobody is nearer than the three partners; MatchIt too has 284 of them, ties fall otherwise."""
    sample = nearest.match(samples["ATT"], distance="mahalanobis", ratio=3, replace=True, caliper=None)
    table, d = mahalanobis(sample), sample.treated
    third = np.sort(table, axis=1)[:, 2]
    nearer = (table < third[:, None] - 1e-9).sum(axis=0)
    at = (table <= third[:, None] + 1e-9).sum(axis=0)
    times = 3 * sample.weights[~d]
    assert (nearer <= times + 1e-9).all() and (times <= at + 1e-9).all()
    assert times.sum() == pytest.approx(555) and (times > 0).sum() == 284


# ---- least distances --------------------------------------------------------------------------


def mahalanobis(sample):
    """Distances of the treated to the comparison units, with the covariance within arms."""
    x, d = sample.covariates, sample.treated
    within = sum((a.sum() - 1) * np.cov(x[a].T) for a in (d, ~d)) / (len(d) - 2)
    half = np.linalg.cholesky(np.linalg.inv(within))
    a, b = x[d] @ half, x[~d] @ half
    return np.sqrt(((a[:, None, :] - b) ** 2).sum(axis=2))


def total(sample, table):
    """The sum over sets of the distances between their treated and their comparison units."""
    d = sample.treated
    t, c = sample.strata[d], sample.strata[~d]
    return table[(t[:, None] == c) & (t[:, None] >= 0)].sum()


@pytest.mark.parametrize(
    ("options", "least"),
    [
        ({"scale": "probability"}, 0.369438166),
        ({"scale": "probability", "exact": ("black", "marr")}, 0.452494547),
        ({"distance": "mahalanobis"}, 77.881588010),
    ],
)
def test_optimal_pairs_are_as_near_as_can_be(samples, options, least):
    """scipy's linear_sum_assignment on all distances, those between levels put out of reach."""
    from scipy.optimize import linear_sum_assignment

    sample = optimal.match(samples["ATT"], caliper=None, **options)
    d, s = sample.treated, sample.strata
    by_score = "distance" not in options
    table = np.abs(sample.score[d][:, None] - sample.score[~d]) if by_score else mahalanobis(sample)
    x = sample.covariates[:, [sample.covariate_names.index(c) for c in options.get("exact", ())]]
    apart = (x[d][:, None, :] != x[~d]).any(axis=2)
    assert not apart[(s[d][:, None] == s[~d]) & (s[~d] >= 0)].any() and sample.flow[-1][1:3] == (185, 185)
    table = np.where(apart, 1e3, table)
    best = table[linear_sum_assignment(table)].sum()
    assert total(sample, table) == pytest.approx(best, rel=1e-9)
    assert best == pytest.approx(least, rel=1e-8)


def test_full_matching_is_as_near_as_can_be(samples):
    """The linear programme in which every unit is covered, over all pairs that can pay."""
    from scipy.optimize import linprog
    from scipy.sparse import csr_array

    sample = optimal.full(samples["ATT"], scale="probability")
    d = sample.treated
    table = np.abs(sample.score[d][:, None] - sample.score[~d])
    i, j = np.nonzero(table <= table.min(axis=1)[:, None] + table.min(axis=0))
    ends = np.concatenate([i, d.sum() + j]), np.tile(np.arange(len(i)), 2)
    cover = csr_array((-np.ones(2 * len(i)), ends), shape=(len(d), len(i)))
    least = linprog(table[i, j], A_ub=cover, b_ub=-np.ones(len(d)), method="highs-ds").fun
    assert total(sample, table) == pytest.approx(least, rel=1e-8)


# ---- matching with replacement, against R's Matching ------------------------------------------

# Match(Y = re78, Tr = treat, X, M, Weight, Z, BiasAdjust, estimand, Var.calc): est, se
MATCHING = {
    "Weight = 2": ("ATT", {"metric": "mahalanobis"}, 1923.5049184, 943.96246012),
    "M = 1": ("ATT", {}, 2093.48077699, 868.609129272),
    "M = 4": ("ATT", {"matches": 4}, 1677.06905736, 814.981533313),
    "M = 4, BiasAdjust": ("ATT", {"matches": 4, "bias_adjust": True}, 1835.01672366, 817.129618287),
    "M = 4, Var.calc = 4": ("ATT", {"matches": 4, "variance_matches": 4}, 1677.06905736, 732.795221416),
    "estimand = ATC": ("ATC", {}, -9875.42566077, 3872.2060229),
    "estimand = ATE": ("ATE", {}, -9738.549374, 3839.12389362),
}


@pytest.mark.parametrize("case", list(MATCHING))
def test_rs_matching(samples, case):
    estimand, options, value, error = MATCHING[case]
    options = {"tolerance": 1e-5, "variance_matches": None} | options
    e = abadie_imbens.difference(samples[estimand], **options)
    assert (e.value[0], e.std_error[0]) == pytest.approx((value, error), rel=1e-11)


@pytest.mark.parametrize(
    ("adjust", "value", "error", "corrected"),
    [(False, 1440.37158843, 819.776286091, 813.918326739), (True, 1449.32041929, 817.291378827, 811.441537047)],
)
def test_rs_matching_on_the_score(samples, adjust, value, error, corrected):
    """X = score: sets of up to 1,500 units, as so many have scores within R's tolerance. Our error knows that the
    score is estimated; taking it as known, R's is found again."""
    sample = samples["ATT"]
    start = time.process_time()
    e = abadie_imbens.difference(sample, metric="score", tolerance=1e-5, variance_matches=None, bias_adjust=adjust)
    assert time.process_time() - start < 5
    assert (e.value[0], e.std_error[0]) == pytest.approx((value, corrected), rel=1e-9)
    p, w = propensity.propensity(sample, "").probability[:, None], sample.weights
    known = matched_sets.effect(
        sample.outcome()[:, None], sample.treated, sample.covariates, w,
        matched_sets.cells(p, w, "inverse_variance", 1e-5),
        estimand="ATT", matches=1, bias_adjust=adjust, variance_matches=None,
    )  # fmt: skip
    assert np.sqrt(known.covariance[0, 0]) == pytest.approx(error, rel=1e-10)


# ---- weights ----------------------------------------------------------------------------------


def test_entropy_balancing_by_hainmueller(rows):
    """Political Analysis 20(1): 1,571 (97 to 3,044), the interval taking weights as given: 52 moments, of ten
    covariates, their products and two squares. Knowing that they are estimated: 132 to 3,010."""
    table = rows.assign(re74=rows["re74"] / 1000, re75=rows["re75"] / 1000)
    table = table.assign(u74=(rows["re74"] == 0).astype(int), u75=(rows["re75"] == 0).astype(int))
    ten = (*COVARIATES, "u74", "u75")
    left = {("black", "hisp"), ("re74", "u74"), ("re75", "u75"), ("educ", "nodegree")}
    pairs = [(a, b) for a, b in (*combinations(ten, 2), ("age", "age"), ("educ", "educ")) if (a, b) not in left]
    table = table.assign(**{f"{a}_{b}": table[a].astype(float) * table[b] for a, b in pairs})
    covariates = (*ten, *(f"{a}_{b}" for a, b in pairs))
    study = Study(title="NSW", unit="id", treatment="treat", covariates=covariates, outcomes=Outcome("re78"))
    sample = entropy.weight(emulate(study, table))
    given = means.difference(replace(sample, nuisance=None))
    assert given.value[0] == pytest.approx(1571, abs=0.5)
    assert np.ravel(given.interval()) == pytest.approx([97, 3044], abs=1.5)
    assert np.ravel(means.difference(sample).interval()) == pytest.approx([131.5, 3010.4], abs=0.1)
    d, x, w = sample.treated, sample.covariates, sample.weights
    assert np.average(x[~d], axis=0, weights=w[~d]) == pytest.approx(x[d].mean(axis=0), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize(
    ("design", "options", "estimand"),
    [
        (kernel.match, {}, "ATT"),
        (stable.weight, {}, "ATT"),
        (covariate_balancing.weight, {}, "ATE"),
        (optimal.match, {}, "ATT"),
        (optimal.full, {}, "ATE"),
        (cardinality.match, {"seconds": 20}, "ATT"),
        (nearest.match, {"distance": "robust_mahalanobis", "caliper": None}, "ATT"),
        (nearest.match, {"distance": "mahalanobis", "on": ("age", "re74"), "caliper": 0.25}, "ATT"),
    ],
)
def test_designs_answer_at_once(samples, design, options, estimand):
    """Within seconds, both sides weighing the same; what they find is held to their contract elsewhere."""
    start = time.process_time()
    sample = design(samples[estimand], **options)
    assert time.process_time() - start < 5
    d, w = sample.treated, sample.weights
    assert 0 <= w.min() and 0 < w[d].sum() == pytest.approx(w[~d].sum())
    assert np.isfinite(means.difference(sample).std_error[0])
