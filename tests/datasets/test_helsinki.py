"""The simulated Helsinki register: what it holds, that its truth is true, and that a seed means one thing.

The published figures are those of the generator's specification: means over 40 seeds of 750 treated
clients each, so that a probability p stands with a standard error of sqrt(p (1 - p) / 30,000).
"""

from __future__ import annotations

import doctest
import hashlib
import sys
import tomllib
from importlib.resources import files

import numpy as np
import pytest

from impact.datasets import helsinki, lives
from impact.datasets.helsinki import EXITS, MONTHS, RETURN, Helsinki
from impact.study import Study

SEEDS = range(1, 9)
PUBLISHED = {  # cumulative incidence at 12 months with and without the service, effect in points
    "job": (0.136, 0.116, 2.0),
    "education": (0.075, 0.053, 2.2),
    "other lasting solution": (0.075, 0.038, 3.7),
}


@pytest.fixture(scope="module")
def city() -> Helsinki:
    return helsinki(seed=1)


@pytest.fixture(scope="module")
def cities() -> list[Helsinki]:
    return [helsinki(seed, ineligible=0) for seed in SEEDS]


def error(p: float) -> float:
    """Standard error of a published mean, with what was lost when it was rounded to three digits."""
    return float(np.sqrt(p * (1 - p) / 30_000)) + 0.0005 / 3


def mean_truth(cities, outcome, cause, time, column, basis="expected"):
    values = []
    for city in cities:
        truth = city.truth.set_index(["outcome", "cause", "time", "basis"])
        values.append(truth.loc[(outcome, cause, time, basis), column])
    return np.array(values)


@pytest.mark.parametrize("cause", EXITS)
def test_expected_incidence_at_12_months_is_as_published(cities, cause):
    with_service, without_service, effect = PUBLISHED[cause]
    for column, published in (("with_service", with_service), ("without_service", without_service)):
        assert abs(mean_truth(cities, "months", cause, 12, column).mean() - published) < 3 * error(published)
    bound = 3 * np.hypot(error(with_service), error(without_service))
    assert abs(mean_truth(cities, "months", cause, 12, "difference").mean() - effect / 100) < bound


def test_expected_effects_on_months_are_as_published(cities):
    # Published: +0.20 months employed and -0.96 unemployed in 18. Between seeds their realised values
    # have standard deviations of 0.08 and 0.12, so over 40 seeds standard errors of 0.013 and 0.019.
    employed = mean_truth(cities, "months_employed", "", 18, "difference").mean()
    unemployed = mean_truth(cities, "months_unemployed", "", 18, "difference").mean()
    assert abs(employed - 0.20) < 3 * 0.013 + 0.005
    assert abs(unemployed + 0.96) < 3 * 0.019 + 0.005


def test_naive_comparison_is_wrong_in_the_published_direction(cities):
    """Published: a naive difference of +3.4 points; those who volunteer would have done better anyway."""
    naive, others = [], []
    for city in cities:
        found_job = (city.clients["exit"] == 1) & (city.clients["months"] <= 12)
        private = city.clients["provider"] == "private"
        naive.append(found_job[private].mean() - found_job[~private].mean())
        others.append(found_job[~private].mean())
    assert abs(np.mean(naive) - 0.034) < 3 * np.std(naive, ddof=1) * np.sqrt(1 / len(naive) + 1 / 40)
    selection = mean_truth(cities, "months", "job", 12, "without_service") - others
    assert selection.mean() > 5 * np.std(selection, ddof=1) / np.sqrt(len(cities))
    assert 0.008 < selection.mean() < 0.020


def test_realised_effects_scatter_around_the_expected(cities):
    for cause in (*EXITS, "any"):
        realised = mean_truth(cities, "months", cause, 12, "difference", "realised")
        expected = mean_truth(cities, "months", cause, 12, "difference")
        assert 0 < np.std(realised - expected)
        standard_error = np.std(realised - expected, ddof=1) / np.sqrt(len(cities))
        assert abs((realised - expected).mean()) < 4 * standard_error, cause


def test_forward_recursion_is_the_mean_of_lives():
    """One client lived 200,000 times, against the recursion, for exits and for states with returns."""
    rng = np.random.default_rng(20)
    leave = np.broadcast_to(lives.probabilities(rng.normal(-2.5, 0.7, (1, 6, 3))), (200_000, 6, 3))
    back = (0.2, 0.1, 0.0)
    states = lives.lived(leave, back, rng.random((200_000, 12)))
    expected = lives.expected(leave[:1], back)
    for mean, truth in zip(lives.realised(states, 3), expected, strict=True):
        bound = 4.5 * np.sqrt(truth[0] * (1 - truth[0]) / 200_000) + 1e-12
        assert (np.abs(mean.mean(axis=0) - truth[0]) < bound).all()
    np.testing.assert_allclose(expected.present.sum(axis=2), 1)


def test_truth_is_coherent(city):
    truth = city.truth
    assert set(truth["basis"]) == {"realised", "expected"}
    assert (truth.groupby(["outcome", "cause", "basis"]).size() == MONTHS).all()
    np.testing.assert_allclose(truth["difference"], truth["with_service"] - truth["without_service"])
    wide = truth[truth["outcome"] == "months"].pivot(index=["time", "basis"], columns="cause", values="with_service")
    np.testing.assert_allclose(wide["any"], wide[list(EXITS)].sum(axis=1))
    assert (truth[truth["outcome"] == "employed"]["with_service"].between(0, 1)).all()


def test_register_and_realised_truth_agree(city):
    private = city.clients[city.clients["provider"] == "private"]
    for k, cause in enumerate(EXITS, start=1):
        incidence = ((private["exit"] == k) & (private["months"] <= 12)).mean()
        truth = city.truth.set_index(["outcome", "cause", "time", "basis"])
        assert incidence == pytest.approx(truth.loc[("months", cause, 12, "realised"), "with_service"])
    assert private["employed_12m"].mean() == pytest.approx(truth.loc[("employed", "", 12, "realised"), "with_service"])


def test_register_is_coherent(city):
    clients = city.clients
    assert clients["client"].is_unique and not clients.isna().any().any()
    assert (clients["employed_12m"] == clients["employed_12"]).all()
    states = clients[[f"state_{m}" for m in range(1, MONTHS + 1)]].to_numpy()
    employed = clients[[f"employed_{m}" for m in range(1, MONTHS + 1)]].to_numpy()
    np.testing.assert_array_equal(employed, (states == "job").astype(int))
    out = states != "unemployed"
    first = np.where(out.any(axis=1), out.argmax(axis=1) + 1, MONTHS)
    np.testing.assert_array_equal(clients["months"], first)
    names = np.array(["unemployed", *EXITS], dtype=object)
    np.testing.assert_array_equal(names[clients["exit"]], states[np.arange(len(states)), first - 1])
    other = states == EXITS[2]
    assert (other[:, 1:] >= other[:, :-1]).all(), "another lasting solution is for good"
    assert RETURN[2] == 0


def test_long_states_are_the_wide_ones(city):
    row = city.clients.iloc[41]
    months = city.states[city.states["client"] == row["client"]]
    assert list(months["month"]) == list(range(1, MONTHS + 1))
    assert list(months["state"]) == [row[f"state_{m}"] for m in range(1, MONTHS + 1)]
    assert months["calendar_month"].iloc[0] == row["enrolment_month"]
    assert months["calendar_month"].is_monotonic_increasing
    assert len(city.states) == MONTHS * len(city.clients)


def test_ineligible_clients_are_public_and_change_nothing_else(city):
    alone = helsinki(seed=1, ineligible=0)
    eligible = (city.clients["age"] >= 30) & (city.clients["support_days"] > 300)
    assert (~eligible).sum() == 400 and eligible.sum() == 9_000
    outside = city.clients[~eligible]
    assert (outside["provider"] == "public").all()
    assert outside["age"].min() >= 18 and outside["support_days"].min() >= 1
    assert city.clients[eligible].to_csv(index=False) == alone.clients.to_csv(index=False)
    assert city.truth.equals(alone.truth)


def test_a_person_does_not_depend_on_how_many_others_there_are(city):
    traits = ["client", "age", "woman", "education", "support_days", "months_worked", "enrolment_month"]
    few = helsinki(seed=1, clients=500, treated=40, ineligible=0).clients[traits]
    assert few.equals(city.clients[traits].iloc[:500])


def test_same_seed_same_bytes(city):
    """The figure was computed once; it holds under numpy 1.26 and 2, pandas 2.2 and 3."""
    text = city.clients.to_csv(index=False, lineterminator="\n", date_format="%Y-%m-%d")
    figure = "e3d60867e273"
    assert hashlib.sha256(text.encode()).hexdigest()[:12] == figure
    assert helsinki(seed=2).clients.to_csv() != city.clients.to_csv()


def test_study_file_fits_the_register(city):
    text = files("impact.datasets").joinpath("helsinki.toml").read_text(encoding="utf-8")
    declared = tomllib.loads(text)
    study = Study.from_mapping({k: v for k, v in declared.items() if k not in ("data", "plan")})
    assert set(study.columns) <= set(city.clients.columns)
    assert [outcome.name for outcome in study.outcomes] == ["employed_12m", "employed", "months"]
    assert dict(study.find("months").causes) == dict(enumerate(EXITS, start=1))
    assert study.estimand == "ATT" and study.treated == "private"
    for name in ("employed", "months"):
        assert name in set(city.truth["outcome"])


def test_it_says_that_it_is_simulated(city):
    assert "SIMULATED" in city.describe() and "no person" in city.describe()
    assert repr(city) == "Helsinki(seed=1)"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"clients": 100, "treated": 100}, "100 treated of 100"),
        ({"treated": 0}, "0 treated"),
        ({"ineligible": -1}, "-1 ineligible"),
    ],
)
def test_impossible_numbers_are_refused(arguments, words):
    with pytest.raises(ValueError, match=words):
        helsinki(**arguments)


def test_an_effect_that_is_not_in_the_truth_is_refused(city):
    assert city.effect("months", cause="job") == pytest.approx(0.02, abs=0.005)
    with pytest.raises(ValueError, match="0 rows for outcome 'months', cause 'prison'"):
        city.effect("months", cause="prison")


def test_examples_in_docstrings():
    result = doctest.testmod(sys.modules["impact.datasets.helsinki"])
    assert result.attempted > 0 and result.failed == 0
