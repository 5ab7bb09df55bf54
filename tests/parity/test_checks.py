"""Balance against MatchIt 4.7.2, sensitivity analyses against rbounds, EValue and sensemakr.

MatchIt: R 4.2.2, ``summary(m)`` on MatchIt's ``lalonde``, formula treat ~ age + educ +
race + married + nodegree + re74 + re75. Each row: means by arm, standardised difference, variance ratio
(none for columns of zeros and ones), eCDF mean, eCDF max.
"""

from __future__ import annotations

import numpy as np
import pytest

from impact import emulate
from impact.checks.balance import balance, sizes
from impact.matching import nearest
from tests.parity.test_matching import lalonde, study

__all__ = ["lalonde"]  # a fixture

pytestmark = pytest.mark.filterwarnings("ignore::impact.ImpactWarning")
nan = float("nan")

BEFORE = {
    "distance": (0.577435546656, 0.182224764763, 1.79408604968, 0.921144705541, 0.377423218261, 0.644364644365),
    "age": (25.8162162162, 28.0303030303, -0.309445261998, 0.439995463435, 0.0813390663391, 0.157726957727),
    "educ": (10.3459459459, 10.2354312354, 0.0549646613888, 0.495893371429, 0.0347223189329, 0.111371511372),
    "race: black": (0.843243243243, 0.202797202797, 1.76154188981, nan, 0.640446040446, 0.640446040446),
    "race: hispan": (0.0594594594595, 0.142191142191, -0.349842541598, nan, 0.0827316827317, 0.0827316827317),
    "race: white": (0.0972972972973, 0.655011655012, -1.88186760097, nan, 0.557714357714, 0.557714357714),
    "married": (0.189189189189, 0.512820512821, -0.826309272341, nan, 0.323631323631, 0.323631323631),
    "nodegree": (0.708108108108, 0.596736596737, 0.244970232272, nan, 0.111371511372, 0.111371511372),
    "re74": (2095.57368865, 5619.23650639, -0.721083809072, 0.518128480856, 0.224794889041, 0.447035847036),
    "re75": (1532.05531378, 2466.48444312, -0.290262911186, 0.956293045389, 0.134171446531, 0.287645687646),
}  # fmt: skip
AFTER = {
    "nn_caliper_0.2": {
        "distance": (0.525021057014, 0.491993334304, 0.149931579, 1.18383655949, 0.038734188945, 0.238938053097),
        "age": (26.7610619469, 26.4159292035, 0.0482364519379, 0.379101276418, 0.0993362831858, 0.327433628319),
        "educ": (10.5752212389, 10.4690265487, 0.0528160926681, 0.539046412165, 0.029809035864, 0.0884955752212),
        "race: black": (0.743362831858, 0.725663716814, 0.0486812792868, nan, 0.0176991150443, 0.0176991150443),
        "race: hispan": (0.0973451327434, 0.106194690266, -0.0374215970634, nan, 0.00884955752212, 0.00884955752212),
        "race: white": (0.159292035398, 0.16814159292, -0.0298606183497, nan, 0.00884955752212, 0.00884955752212),
        "married": (0.203539823009, 0.256637168142, -0.135570401924, nan, 0.0530973451327, 0.0530973451327),
        "nodegree": (0.690265486726, 0.619469026549, 0.15572227655, nan, 0.070796460177, 0.070796460177),
        "re74": (2531.9595469, 2601.03947115, -0.0141365441257, 1.48082560655, 0.0456567953725, 0.265486725664),
        "re75": (1720.8839579646, 1882.7538619469, -0.0502818545441, 1.40427649715, 0.0507109475987, 0.159292035398),
    },
    "nn_ratio2": {
        "distance": (0.577435546656, 0.208388367897, 1.67531460531, 0.864850457722, 0.320786755342, 0.613513513514),
        "age": (25.8162162162, 26.9081081081, -0.152605024523, 0.47303758141, 0.0712162162162, 0.135135135135),
        "educ": (10.3459459459, 10.2486486486, 0.0483909605797, 0.525800586384, 0.0318634423898, 0.0891891891892),
        "race: black": (0.843243243243, 0.235135135135, 1.67259665658, nan, 0.608108108108, 0.608108108108),
        "race: hispan": (0.0594594594595, 0.164864864865, -0.44572156286, nan, 0.105405405405, 0.105405405405),
        "race: white": (0.0972972972973, 0.6, -1.69624453101, nan, 0.502702702703, 0.502702702703),
        "married": (0.189189189189, 0.435135135135, -0.627959659001, nan, 0.245945945946, 0.245945945946),
        "nodegree": (0.708108108108, 0.62972972973, 0.172399290627, nan, 0.0783783783784, 0.0783783783784),
        "re74": (2095.57368865, 4045.60002227, -0.399054191383, 0.838492924674, 0.15585082289, 0.410810810811),
        "re75": (1532.05531378, 2319.57582541, -0.244628500059, 0.991569251808, 0.114872456726, 0.262162162162),
    },
    "nn_replace": {
        "distance": (0.577435546656, 0.576471488021, 0.0043764093142, 0.992164225905, 0.002990424980, 0.0486486486486),
        "age": (25.8162162162, 24.1027027027, 0.239484122643, 0.556508203799, 0.0766216216216, 0.34054054054),
        "educ": (10.3459459459, 10.3783783784, -0.0161303201932, 0.577313899069, 0.0216216216216, 0.0594594594595),
        "race: black": (0.843243243243, 0.837837837838, 0.0148675258362, nan, 0.0054054054054, 0.0054054054054),
        "race: hispan": (0.0594594594595, 0.0648648648649, -0.0228575160441, nan, 0.0054054054054, 0.0054054054054),
        "race: white": (0.0972972972973, 0.0972972972973, 0, nan, 0, 0),
        "married": (0.189189189189, 0.12972972973, 0.151814423055, nan, 0.0594594594595, 0.0594594594595),
        "nodegree": (0.708108108108, 0.702702702703, 0.0118896062501, nan, 0.0054054054054, 0.0054054054054),
        "re74": (2095.57368865, 2336.46288276, -0.0492956638125, 1.03634024773, 0.0405858372339, 0.216216216216),
        "re75": (1532.05531378, 1503.92895946, 0.00873692528505, 2.12941797032, 0.068023079259, 0.237837837838),
    },
    "nn_atc": {
        "distance": (0.577435546656, 0.0343233123389, 2.36629017829, 243.123772673, 0.620763171549, 0.983783783784),
        "age": (25.8162162162, 31.9135135135, -0.565263134674, 0.485088702844, 0.152702702703, 0.275675675676),
        "educ": (10.3459459459, 9.84864864865, 0.174170146415, 0.423185499991, 0.0477951635846, 0.178378378378),
        "race: black": (0.843243243243, 0, 2.09718857349, nan, 0.843243243243, 0.843243243243),
        "race: hispan": (0.0594594594595, 0.0594594594595, 0, nan, 0, 0),
        "race: white": (0.0972972972973, 0.94054054054, -1.77388779036, nan, 0.843243243243, 0.843243243243),
        "married": (0.189189189189, 0.886486486486, -1.39505326739, nan, 0.697297297297, 0.697297297297),
        "nodegree": (0.708108108108, 0.562162162162, 0.297513237367, nan, 0.145945945946, 0.145945945946),
        "re74": (2095.57368865, 9752.63698962, -1.12790460728, 0.442532338063, 0.443122452061, 0.627027027027),
        "re75": (1532.05531378, 3416.72904076, -0.572501795879, 0.735976978864, 0.234649255998, 0.367567567568),
    },
}  # fmt: skip
ANY = {"scale": "probability", "caliper": None}
DESIGNS = {
    "nn_caliper_0.2": {"scale": "probability"},
    "nn_ratio2": ANY | {"ratio": 2},
    "nn_replace": ANY | {"replace": True},
    "nn_atc": ANY,
}


def designed(rows, name):
    return nearest.match(emulate(study(estimand="ATC" if name == "nn_atc" else "ATT"), rows), **DESIGNS[name])


@pytest.mark.parametrize(
    ("name", "when"), [(n, w) for n in DESIGNS for w in ("before", "after") if (n, w) != ("nn_atc", "before")]
)  # what is before is standardised for the ATT
def test_balance_is_matchits(lalonde, name, when):  # noqa: F811
    """To 1e-9, and the score's own row to 5e-8: R's glm stops at 1e-8."""
    table = balance(designed(lalonde, name), detail=True).tidy().set_index("term")
    table = table.rename({"propensity score": "distance"})
    tail = "_before" if when == "before" else ""
    columns = [f"mean_treated{tail}", f"mean_comparison{tail}", when, f"variance_ratio_{when}", f"ecdf_{when}",
               f"ks_{when}"]  # fmt: skip
    figures = BEFORE if when == "before" else AFTER[name]
    assert set(figures) == set(table.index)
    for term, said in figures.items():
        found = table.loc[term, columns].to_numpy(float)
        close = 5e-8 if term == "distance" else 1e-9
        np.testing.assert_allclose(found, said, rtol=close, atol=1e-12)


@pytest.mark.parametrize(
    ("name", "treated", "comparison", "worth"),
    [("nn_caliper_0.2", 113, 113, 113), ("nn_ratio2", 185, 370, 370), ("nn_replace", 185, 82, 46.3125845737)],
)
def test_sizes_are_matchits(lalonde, name, treated, comparison, worth):  # noqa: F811
    """m$nn: Matched and Matched (ESS)."""
    table = sizes(designed(lalonde, name)).tidy()
    assert list(table["total"]) == [185, 429] and list(table["kept"]) == [treated, comparison]
    assert list(table["excluded"]) == [185 - treated, 429 - comparison]
    assert table["effective_size"][1] == pytest.approx(worth, rel=1e-10)


# ---- sensitivity ------------------------------------------------------------------------------

LEAD = (  # Rosenbaum (2002), section 4.3: lead in the blood of 33 exposed children and their matched controls (rbounds)
    [38, 23, 41, 18, 37, 36, 23, 62, 31, 34, 24, 14, 21, 17, 16, 20, 15, 10, 45, 39, 22, 35, 49, 48, 44, 35, 43, 39, 34,
     13, 73, 25, 27],
    [16, 18, 18, 24, 19, 11, 10, 15, 16, 18, 18, 13, 19, 10, 16, 16, 24, 13, 9, 14, 21, 19, 7, 18, 19, 12, 11, 22, 25,
     16, 13, 11, 13],
)  # fmt: skip


def pairs_of(treated, comparison):
    """A sample of matched pairs."""
    import pandas as pd

    from impact import Outcome, Study

    n = len(treated)
    table = pd.DataFrame({"id": range(2 * n), "d": [1] * n + [0] * n, "x": [*range(n)] * 2})
    table["y"] = [*treated, *comparison]
    sample = emulate(Study(title="t", unit="id", treatment="d", covariates="x", outcomes=Outcome("y")), table)
    return sample.reweight(np.ones(2 * n), step="matched in pairs", strata=np.tile(np.arange(n), 2))


def test_bounds_on_the_signed_rank_test_are_rosenbaums():
    """Observational Studies (2002), section 4.3: upper bounds .0018, .0136, .0388, .0468, .0740.

    The formula of rbounds::psens counts the pair without a difference as if it could still tell, and gives .0019,
    .0142, .0403, .0487, .0768.
    """
    from impact.checks.rosenbaum import bounds

    check = bounds(pairs_of(*LEAD), gamma=[1, 2, 3, 4, 4.25, 5], level=0.05)
    table = check.tidy()
    np.testing.assert_allclose(table["p_high"][1:], [0.0018, 0.0136, 0.0388, 0.0468, 0.0740], atol=5e-5)
    assert (table["p_low"] < 1e-4).all() and table["p_high"][0] < 1e-4
    # R's arithmetic on the same formula, to all its digits
    said = [5.062208e-06, 0.001789876, 0.01361531, 0.03878978, 0.04682514, 0.07399068]
    np.testing.assert_allclose(table["p_high"], said, rtol=1e-6)
    assert "4.3" in check.reason  # between 4.25 and 5


def test_bounds_on_mcnemars_test_are_rosenbaums():
    """Smoking and lung cancer, 110 and 12 discordant pairs: sums of dbinom, the arithmetic of binarysens(12, 110)."""
    from scipy.stats import binom

    from impact.checks.rosenbaum import bounds

    one, none = [1] * 110 + [0] * 12 + [0] * 30, [0] * 110 + [1] * 12 + [0] * 30
    table = bounds(pairs_of(one, none), gamma=[1, 2, 3, 4, 5, 6]).tidy()
    np.testing.assert_allclose(table["p_high"][2:], [2e-5, 0.00196, 0.02317, 0.09693], atol=5e-6)
    exact = [binom.sf(109, 122, g / (1 + g)) for g in table["gamma"]]
    np.testing.assert_allclose(table["p_high"], exact, rtol=1e-9)
    np.testing.assert_allclose(table["p_low"], [binom.sf(109, 122, 1 / (1 + g)) for g in table["gamma"]], rtol=1e-9)


def test_e_values_are_those_of_the_paper():
    """VanderWeele and Ding (2017): 3.9 (1.8, 8.7) has 7.26 and 3.0; 0.80 (0.71, 0.91) has 1.81 and 1.43."""
    from impact.core.e_value import e_value

    point, limit = e_value([3.9, 0.80], [1.8, 0.71], [8.7, 0.91])
    np.testing.assert_allclose(point, [7.26, 1.81], atol=5e-3)
    np.testing.assert_allclose(limit, [3.0, 1.43], atol=5e-3)
    assert e_value(1.2, 0.9, 1.6)[1] == 1


def test_the_robustness_value_of_darfur():
    """Cinelli and Hazlett (2020): t = 4.18 on 783 degrees of freedom; 13.878% and 7.626% (PySensemakr 0.0.8)."""
    from impact.core.omitted_variable import robustness_value

    assert robustness_value(4.184449984808, 783) == pytest.approx(0.13878, abs=5e-6)
    assert robustness_value(4.184449984808, 783, 0.95) == pytest.approx(0.07626, abs=5e-6)
    assert robustness_value(1.5, 783, 0.95) == 0


def test_the_bounds_of_darfur():
    """PySensemakr 0.0.8 on its own data: confounders one, two and three times as strong as `female`."""
    from importlib.util import find_spec
    from pathlib import Path

    import pandas as pd

    from impact.core import omitted_variable as omitted

    if (found := find_spec("sensemakr")) is None or found.origin is None:
        pytest.skip("the Darfur survey needs `pip install PySensemakr`")
    rows = pd.read_csv(Path(found.origin).parent / "data" / "darfur.csv")
    plain = rows[["age", "farmer_dar", "herder_dar", "pastvoted", "hhsize_darfur"]].to_numpy(float)
    village = pd.get_dummies(rows["village"], drop_first=True).to_numpy(float)
    y, d, w = rows["peacefactor"].to_numpy(float), rows["directlyharmed"].to_numpy(bool), np.ones(len(rows))
    full = omitted.coefficient(y, d, np.column_stack([plain, rows["female"], village]), w)
    fewer = omitted.coefficient(y, d, np.column_stack([plain, village]), w)
    np.testing.assert_allclose((full.value, full.error, full.df), (0.097316, 0.023257, 783), atol=6e-7)
    said = {1: (0.009164, 0.124641, 0.075220, 0.021873), 2: (0.018329, 0.249324, 0.052915, 0.020350),
            3: (0.027493, 0.374050, 0.030396, 0.018670)}  # fmt: skip
    for times, figures in said.items():
        shares = omitted.benchmark(full, fewer, times)
        np.testing.assert_allclose((*shares, *omitted.adjusted(full, *shares)), figures, atol=6e-7)
