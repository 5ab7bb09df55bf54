"""Three arms against R.

Figures: R 4.2.2 with nnet 7.3-18 on MatchIt's `lalonde`, whose 299 white, 243 black and 72 hispanic people are the
arms, as in cobalt's vignette on several categories. Probabilities: multinom(race ~ age + educ + married + nodegree +
re74 + re75), polished by Newton steps, which moved no coefficient by more than 8e-9. Weights, means and standardised
differences by their formulas (cobalt's: the largest over pairs, standard deviations before weighting, pooled over the
arms for the ATE). Errors: the sandwich of the stacked estimating equations, their derivatives taken numerically; it
has no finite-sample factor, and an Estimate's variance is n/(n-1) times it.
"""

from __future__ import annotations

import numpy as np
import pytest

from impact import emulate
from impact.checks import several as checks
from impact.core.moments import effective_size
from impact.matching import several, several_doubly_robust
from impact.matching.arms import model
from tests.parity.test_matching import lalonde, study

__all__ = ["lalonde"]
pytestmark = pytest.mark.filterwarnings("ignore::impact.ImpactWarning")
FACTOR = np.sqrt(613 / 614)
ARMS = {"treatment": "race", "treated": ("black", "hispan"), "comparison": "white",
        "covariates": ("age", "educ", "married", "nodegree", "re74", "re75")}  # fmt: skip

# effective sizes (white, black, hispan); differences (black and hispan less white, black less hispan), their errors,
# and the covariance of the first two
WEIGHTED = {
    "ATE": (
        {"estimand": "ATE"}, (259.594001467793, 138.377342702903, 54.9864125921812),
        (219.276795075116, -66.5988333012901, 285.875628376406),
        (1412.40528442273, 976.138014308444, 1656.96853406781), 101094.693776227),
    "ATT, black": (
        {"estimand": "ATT"}, (174.540888446878, 243, 43.5727400356575),
        (-348.870368935762, 1144.78717550263, -1493.6575444384),
        (626.626851866123, 1107.49256210929, 1123.92186317413), 178000.316043123),
    "ATT, hispan": (
        {"focal": "hispan"}, (179.9467855571, 124.979534375606, 72),
        (-296.554728192325, 692.990818320996, -989.545546513322),
        (1239.00457209151, 932.160043834073, 1495.1620487101), 84272.5625407205),
    "ATC": (
        {"focal": "white"}, (299, 68.7241530135793, 44.1522221623421),
        (770.080882086868, -1243.65139327901, 2013.73227536588),
        (2326.5291903335, 1105.15759506982, 2553.51633613404), 56832.8522554657),
    "ATO": (
        {"estimand": "ATO"}, (213.260488628194, 179.50103521439, 66.6756626346862),
        (-581.917021178393, 475.662192366372, -1057.57921354476),
        (739.249399228091, 899.069841059059, 1057.22953923736), 118540.977362511),
    "ATM": (
        {"estimand": "ATM"}, (187.712055568444, 154.730562233451, 69.699901049561),
        (-773.310285364008, 531.999736405195, -1305.3100217692),
        (757.52899542433, 941.974148413894, 1038.53188000853), 191308.504697308),
}  # fmt: skip
PAIRS = ["black less white", "hispan less white", "black less hispan"]


def people(rows, **changes):
    return emulate(study(**ARMS, **changes), rows)


def by_pair(estimate):
    """Values and covariance of the pairs in R's order and direction, whichever arm the sample puts first."""
    names = list(estimate.index["term"])
    turned = {f"{b} less {a}": (k, -1) for k, (a, b) in enumerate(n.split(" less ") for n in names)}
    at = {n: (k, 1) for k, n in enumerate(names)} | turned
    turn = np.zeros((3, 3))
    for row, pair in enumerate(PAIRS):
        turn[row, at[pair][0]] = at[pair][1]
    return turn @ estimate.value, turn @ estimate.vcov @ turn.T


def test_probabilities(lalonde):
    fit = model(people(lalonde), "")
    first = [[0.593620447968330, 0.356017182398482, 0.0503623696331883],
             [0.298547954184852, 0.578694702970780, 0.1227573428443686],
             [0.424057302077564, 0.515176800718046, 0.0607658972043896]]  # fmt: skip
    assert np.allclose(fit.probability[:3], first, rtol=1e-11)


@pytest.mark.parametrize("case", WEIGHTED)
def test_weighting(lalonde, case):
    options, sizes, differences, errors, covariance = WEIGHTED[case]
    sample = several.weight(people(lalonde), **options)
    for arm, size in zip(("white", "black", "hispan"), sizes, strict=True):
        assert effective_size(sample.weights[sample.every_arm[arm]]) == pytest.approx(size, rel=1e-9)
    value, vcov = by_pair(several.differences(sample))
    assert np.allclose(value, differences, rtol=1e-9)
    assert np.allclose(np.sqrt(np.diag(vcov)) * FACTOR, errors, rtol=1e-7)
    assert vcov[0, 1] * FACTOR**2 == pytest.approx(covariance, rel=1e-6)


@pytest.mark.parametrize(
    ("estimand", "differences", "errors"),
    [
        ("ATE", (-7.96914476190238, -198.448705645366, 190.479560883464),
         (1142.11247599029, 992.672960678992, 1423.32436435234)),
        ("ATT", (-284.742322002189, 933.967259009133, -1218.70958101132),
         (633.253491140892, 1137.04949077377, 1150.78533593245)),
        ("ATC", (382.59415252415, -1333.76966349969, 1716.36381602384),
         (1809.56837816431, 1115.87991573789, 2078.28912802947)),
    ],
)  # fmt: skip
def test_doubly_robust(lalonde, estimand, differences, errors):
    value, vcov = by_pair(several_doubly_robust.differences(people(lalonde, estimand=estimand)))
    assert np.allclose(value, differences, rtol=1e-8)
    assert np.allclose(np.sqrt(np.diag(vcov)) * FACTOR, errors, rtol=1e-7)


BALANCE = {
    "ATE": (
        (0.30645900046695, 0.586134697588869, 0.728240240349618, 0.473540218485607, 0.619569616080751,
         0.344231766874897),
        (0.0556961869569208, 0.114019029218378, 0.063082823049579, 0.118302872866271, 0.152670726465724,
         0.149067496766882)),
    "ATT": (
        (0.331590250788752, 0.675589838504084, 0.825023833729658, 0.47530465438659, 0.726405261354473,
         0.346209901879545),
        (0.0826125033509379, 0.069020283414863, 0.0782019836396825, 0.128583492397748, 0.127580509743748,
         0.12738311113192)),
    "ATC": (
        (0.267016270790876, 0.598724088556446, 0.691901326342212, 0.439271409510091, 0.530884249587666,
         0.345048179298684),
        (0.137838200965738, 0.163309212800344, 0.0672656285248062, 0.116746590546998, 0.236788128025346,
         0.336818386660629)),
}  # fmt: skip


@pytest.mark.parametrize("estimand", BALANCE)
def test_balance(lalonde, estimand):
    table = checks.balance(several.weight(people(lalonde), estimand=estimand)).table
    assert list(table["term"]) == list(ARMS["covariates"])
    assert np.allclose(table["before"], BALANCE[estimand][0], rtol=1e-9)
    assert np.allclose(table["after"], BALANCE[estimand][1], rtol=1e-7)
