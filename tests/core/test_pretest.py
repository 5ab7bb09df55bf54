"""Pre-tests of trends against draws, and against the figures of R's and Stata's pretrends."""

from __future__ import annotations

import numpy as np
import pytest

from impact.core.pretest import Pretest

# He and Wang (2017), figure 2C: the covariance of the event study that comes with pretrends, at -4, -3, -2, 0, ..., 3.
VCOV = np.array([
    [0.0089065712, 0.0044883136, 0.0014587025, 0.0012157689, 0.0020327645, 0.0013225015, 0.0019617728],
    [0.0044883136, 0.0059369169, 0.0027500791, 0.0013505858, 0.0014315459, 0.0012067792, 0.0013847158],
    [0.0014587025, 0.0027500791, 0.0030386248, 0.0009056166, 0.0006791299, 0.0010167636, 0.0007090144],
    [0.0012157689, 0.0013505858, 0.0009056166, 0.0039247409, 0.0025961180, 0.0017326149, 0.0022345525],
    [0.0020327645, 0.0014315459, 0.0006791299, 0.0025961180, 0.0080658970, 0.0058753751, 0.0037414359],
    [0.0013225015, 0.0012067792, 0.0010167636, 0.0017326149, 0.0058753751, 0.0078815790, 0.0036507095],
    [0.0019617728, 0.0013847158, 0.0007090144, 0.0022345525, 0.0037414359, 0.0036507095, 0.0097884266],
])  # fmt: skip
EARLY, LATE = VCOV[:3, :3], VCOV[3:, 3:]
LINE, ON = np.array([-3.0, -2, -1]), np.array([1.0, 2, 3, 4])


def test_pretrends_on_he_and_wang():
    """Stata's pretrends 0.5; R's README prints 0.05205871 and a ratio of 0.56901."""
    test = Pretest(EARLY, each=True)
    slope = test.slope(LINE, 0.5)
    assert slope == pytest.approx(0.0520662478, rel=0.005)
    slope = 0.0520662478
    assert (1 - test.power(slope * LINE)) / (1 - test.power(0 * LINE)) == pytest.approx(0.56901769, abs=0.004)
    np.testing.assert_allclose(test.passed(slope * LINE), [-0.0923171, -0.0555576, -0.0279117], atol=4e-4)
    after = [test.after(slope * LINE, slope * on, VCOV[:3, 3 + j], LATE[j, j], 1.0)[0] for j, on in enumerate(ON)]
    np.testing.assert_allclose(after, [0.0649147, 0.1208691, 0.1694932, 0.2245753], atol=4e-4)
    # A divergence that is no line: 0.024 times the square of the distance.
    assert test.power(0.024 * LINE**2) == pytest.approx(0.66244924, abs=0.004)


@pytest.mark.parametrize("each", [False, True])
def test_those_who_pass_against_draws(each):
    rng, slope = np.random.default_rng(1), 0.06
    centre = slope * np.concatenate([LINE, ON])
    draws = centre + rng.normal(size=(400_000, 7)) @ np.linalg.cholesky(VCOV).T
    test = Pretest(EARLY, each=each)
    early = draws[:, :3]
    if each:
        kept = (np.abs(early) <= 1.959964 * np.sqrt(np.diag(EARLY))).all(axis=1)
    else:
        kept = np.einsum("ij,jk,ik->i", early, np.linalg.inv(EARLY), early) <= 7.814728
    assert 1 - kept.mean() == pytest.approx(test.power(slope * LINE), abs=0.004)
    np.testing.assert_allclose(test.passed(slope * LINE), early[kept].mean(axis=0), atol=1e-3)
    for j in range(4):
        reach = 1.96 * np.sqrt(LATE[j, j])
        mean, held = test.after(slope * LINE, centre[3 + j], VCOV[:3, 3 + j], LATE[j, j], reach)
        assert mean == pytest.approx(draws[kept, 3 + j].mean(), abs=1e-3)
        assert held == pytest.approx((np.abs(draws[kept, 3 + j]) <= reach).mean(), abs=0.005)


def test_one_effect_before_and_none_of_a_divergence():
    for each in (False, True):
        test = Pretest(np.array([[0.04]]), each=each)
        slope = test.slope(np.array([1.0]), 0.8)
        assert slope == pytest.approx(0.2 * (1.959964 + 0.841621), rel=0.01)
        mean, held = test.after(np.zeros(1), 0.0, np.array([0.02]), 0.05, 1.96 * np.sqrt(0.05))
        assert mean == pytest.approx(0, abs=1e-10) and 0.95 < held < 0.98
    joint = Pretest(EARLY)
    assert (joint.passed(np.zeros(3)) == 0).all() and joint.power(np.zeros(3)) == 0.05


def test_few_clusters_need_more():
    slopes = [Pretest(EARLY, df=df).slope(LINE, 0.5) for df in (5, 20, 200, np.inf)]
    assert (np.diff(slopes) < 0).all() and slopes[2] == pytest.approx(slopes[3], rel=0.02)
    assert np.isnan(Pretest(EARLY, df=2).slope(LINE, 0.5))
