"""Matching with replacement against R: R 4.2.2 with Matching 4.10 on MatchIt's `lalonde` (see test_matching.py).

Published tables are in test_published.py.
"""

from __future__ import annotations

import numpy as np
import pytest

from impact import emulate
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
