"""The range of an effect over draws of ties: on the study where it was measured, by hand, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from impact import emulate
from impact.checks.ties import ties
from impact.matching import means, nearest, optimal
from tests.contracts import walk
from tests.parity.test_matching import lalonde, study

assert lalonde  # the rows, as a fixture
pytestmark = pytest.mark.filterwarnings("ignore::impact.ImpactWarning")


def people(**changes):
    return emulate(walk.TRIAL.revise(**changes), walk.people())


def test_the_range_on_lalonde(lalonde):
    """R MatchIt 4.7.2, 1:1 within 0.2 SD of the probability, 2,000 shuffles of the rows: 1,544 to 2,081, and nine in
    ten from 1,594 to 2,031."""
    design = partial(nearest.match, scale="probability")
    check = ties(emulate(study(), lalonde), design=design, estimator=means.difference, repetitions=300)
    table = check.tidy().set_index("term")
    low, high = table.loc["lowest", "estimate"], table.loc["highest", "estimate"]
    assert 1540 < low < 1594 and 2031 < high < 2085
    assert table["range"].to_numpy() == pytest.approx(high - low)
    assert not check.passed and high - low > 0.5 * table["std_error"].mean()
    assert "107 treated units in every matched sample and 11 more in some" in check.notes[0]


def test_its_numbers_are_those_of_the_draws():
    start = people(covariates=("school", "woman"))
    check = ties(start, design=nearest.match, estimator=means.difference, outcome="score", repetitions=7, rng=4)
    draws, values = np.random.default_rng(4), []
    for _ in range(7):
        matched = nearest.match(start, ties="random", rng=draws)
        values.append(means.difference(matched, outcome="score"))
    value, error = np.array([(e.value[0], e.std_error[0]) for e in values]).T
    table = check.tidy()
    assert table["estimate"].tolist() == pytest.approx(np.sort(value)[[0, 3, 6]])
    assert table["spread"][0] == pytest.approx(value.std(ddof=1))
    assert table["share_of_error"][0] == pytest.approx(np.ptp(value) / error.mean())
    assert not check.passed and "State the rule" in check.notes[1]
    assert f"{100 * np.ptp(value) / error.mean():.0f}% of the standard error" in check.reason


def test_without_ties_nothing_moves():
    check = ties(people(), repetitions=5)
    assert check.passed and (check.tidy()["range"] == 0).all() and "0 more in some." in check.notes[0]


def test_the_design_it_has_of_its_own_is_nearest_match():
    """Where nobody ties, the same pairs; for the comparison group's effect, too."""
    for estimand in ("ATT", "ATC"):
        start = people(estimand=estimand)
        own = ties(start, outcome="score", repetitions=2).tidy()["estimate"][0]
        assert own == pytest.approx(means.difference(nearest.match(start), outcome="score").value[0], rel=1e-9)


def test_of_a_share_it_speaks_in_points():
    check = ties(people(covariates=("school", "woman")), outcome="better", repetitions=20)
    assert "a range of" in check.reason and " pp, " in check.reason and check.percent


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"repetitions": 1}, "`repetitions` is 1"),
        ({"tolerance": -1}, "`tolerance` is -1"),
        ({"rng": "dice"}, "`rng` is 'dice'"),
        ({"design": optimal.match}, "does not take `ties` and `rng`"),
        ({"design": "nearest"}, "does not take `ties` and `rng`"),
    ],
)
def test_refusals(options, words):
    with pytest.raises(ValueError, match=words):
        ties(people(), **options)


def test_it_starts_before_any_design():
    with pytest.raises(ValueError, match="starts from the sample before any design"):
        ties(nearest.match(people()))
    with pytest.raises(ValueError, match="the ATE, and pairs are found for one arm only"):
        ties(people(estimand="ATE"))
    with pytest.raises(ValueError, match="no covariates that vary"):
        ties(replace(people(), covariates=np.empty((150, 0)), covariate_names=()))
