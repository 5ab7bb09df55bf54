"""Curves of time to event against R survival 3.5-3.

R's robust standard errors are infinitesimal jackknife sums without a finite-sample factor, the root
of the sum of squared scores; an Estimate multiplies their square by G / (G - 1), G the independent
units. The first half runs everywhere, on figures that R computed for data written down here by
arithmetic; the second reads the data sets that the figures are usually quoted for, where they are.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from impact.core import risk, risk_sets

# In R: i <- 0:39; entry <- i %% 3; time <- entry + 1 + (i*7) %% 11; status <- (i*5 + i%/%4) %% 4;
# w <- 0.5 + (i %% 4)/4
I = np.arange(40)  # noqa: E741
ENTRY = I % 3
TIME = ENTRY + 1 + (I * 7) % 11
STATUS = (I * 5 + I // 4) % 4
W = 0.5 + (I % 4) / 4
AT = [2, 4, 6, 8, 10]
EXACT = {"rtol": 1e-12, "atol": 1e-15}


def robust(scores):
    return np.sqrt((scores**2).sum(axis=0))


def test_kaplan_meier_with_entries_and_weights():
    """summary(survfit(Surv(entry, time, status > 0) ~ 1, id = i, weights = w, robust = TRUE), times)"""
    value, scores = risk.kaplan_meier(TIME, STATUS, W, times=AT, entry=ENTRY)
    surv = [0.854391194680119, 0.726568889964196, 0.566042714031753, 0.470965226909232, 0.297405819214904]
    se = [0.0787761736380317, 0.0865355081262320, 0.0910414330813905, 0.0887953364656837, 0.0838447829834148]
    np.testing.assert_allclose(value, surv, **EXACT)
    np.testing.assert_allclose(robust(scores), se, **EXACT)


def test_kaplan_meier_with_events_at_time_zero():
    """summary(survfit(Surv((i*7) %% 11, status > 0) ~ 1, id = i, weights = w, robust = TRUE), c(0,3,6,9))"""
    value, scores = risk.kaplan_meier((I * 7) % 11, STATUS, W, times=[0, 3, 6, 9])
    surv = [0.9142857142857143, 0.6659931299252374, 0.5176199317544486, 0.2140159333215509]
    se = [0.04812606657569588, 0.08063294288428779, 0.08849360178816991, 0.08372224619170419]
    np.testing.assert_allclose(value, surv, **EXACT)
    np.testing.assert_allclose(robust(scores), se, **EXACT)


def test_nelson_aalen_with_entries_and_weights():
    """The same fit's cumhaz and std.chaz."""
    value, scores = risk.nelson_aalen(TIME, STATUS > 0, W, times=AT, entry=ENTRY)
    hazard = [0.151112130245357, 0.304936652180115, 0.539061221058183, 0.714225694742394, 1.124410879927580]
    se = [0.085189505070477, 0.108594191838168, 0.144124902647364, 0.169492333727684, 0.236456409425157]
    np.testing.assert_allclose(value[0], hazard, **EXACT)
    np.testing.assert_allclose(robust(scores)[0], se, **EXACT)


def test_aalen_johansen_with_entries_and_weights():
    """summary(survfit(Surv(entry, time, factor(status, 0:3)) ~ 1, id = i, weights = w, robust = TRUE), at)"""
    value, scores = risk.aalen_johansen(TIME, STATUS, W, times=AT, entry=ENTRY)
    p = [
        [0.103416647557900, 0.170691544776807, 0.170691544776807, 0.187216640457832, 0.213381375286123],
        [0.000000000000000, 0.0269099588875628, 0.124640771232108, 0.186668066992577, 0.269523060615498],
        [0.0421921577619812, 0.0758296063714347, 0.138624969959332, 0.155150065640358, 0.219689744883475],
    ]
    se = [
        [0.0690622833704184, 0.0770771243571883, 0.0770771243571883, 0.0778719069419515, 0.0803214082483177],
        [0.0000000000000000, 0.0190973720298715, 0.0510367045096599, 0.0651998117599853, 0.0808773636635713],
        [0.0411869685033857, 0.0507694754678777, 0.0644615546393145, 0.0657475470411149, 0.0758830925676454],
    ]
    np.testing.assert_allclose(value, p, **EXACT)
    np.testing.assert_allclose(robust(scores), se, **EXACT)


def test_restricted_mean_with_weights():
    """survfit(Surv(time, status > 0) ~ 1, id = i, weights = w, robust = TRUE): rmean = 9, and its weighted
    residuals of type "rmst"."""
    value, scores = risk.restricted_mean(TIME, STATUS, W, horizon=[9])
    np.testing.assert_allclose(value, 6.88998158139652, **EXACT)
    np.testing.assert_allclose(robust(scores), 0.4421810237748794, **EXACT)


def test_time_lost_by_cause():
    """survfit(Surv(time, factor(status, 0:3)) ~ 1): rmean = 9, and its residuals of type "sojourn"."""
    value, scores = risk.time_lost(TIME, STATUS, np.ones(40), horizon=[9])
    lost = [0.719314325736590, 0.723264684588265, 0.554018273105011]
    se = [0.327937310648983, 0.244139208886154, 0.259000380841624]
    np.testing.assert_allclose(value[:, 0], lost, **EXACT)
    np.testing.assert_allclose(robust(scores)[:, 0], se, **EXACT)
    mean, own = risk.restricted_mean(TIME, STATUS, np.ones(40), horizon=[9])
    np.testing.assert_allclose([mean[0], robust(own)[0]], [7.003402716570130, 0.407893365767262], **EXACT)


def test_where_greenwood_differs():
    """Without weights and entries the jackknife is Greenwood's formula; with entries it is not, by a few
    per cent here: rows that entered late break the martingale's orthogonality within a unit.
    Greenwood: summary(survfit(Surv(entry, time, status > 0) ~ 1), c(2,4,6,8,10))$std.err"""
    _, scores = risk.kaplan_meier(TIME, STATUS, np.ones(40), times=AT, entry=ENTRY)
    greenwood = [
        0.0809219470603308,
        0.0853243061407647,
        0.0872120019992750,
        0.0870715008686141,
        0.0821525121717383,
    ]
    ratio = robust(scores) / greenwood
    np.testing.assert_allclose(ratio, [0.99893, 0.99468, 1.00679, 0.99107, 0.98524], atol=1e-5)
    table = risk_sets.counts(TIME, STATUS > 0, np.ones(40))
    d, n = table.events[:, 0], table.at_risk
    surviving, scores = risk.kaplan_meier(TIME, STATUS, np.ones(40), times=table.time)
    formula = surviving * np.sqrt(np.cumsum(d / (n * np.maximum(n - d, 1))))
    last = surviving > 0
    np.testing.assert_allclose(robust(scores)[last], formula[last], rtol=1e-12)


# ---- the usual data sets ------------------------------------------------------------------------


def data(name):
    """A data set from the folder of reference figures; skipped where that is not at hand."""
    beside = Path(__file__).resolve().parents[3] / "shared" / "reference"
    file = Path(os.environ.get("IMPACT_REFERENCE", beside)) / "data" / f"{name}.csv"
    if not file.exists():
        pytest.skip(f"the data set {name} is not at hand: set IMPACT_REFERENCE to the reference folder")
    return pd.read_csv(file)


LUNG = {
    1: {
        "surv": [0.847826086956522, 0.644465001541783, 0.336087834639379, 0.0781240912670194],
        "se": [0.0305762308499467, 0.040786425085295, 0.0434235888417982, 0.0276475092813622],
        "at_risk": [117, 89, 35, 7],
        "mean": (241.495085192057, 10.3582264910969),
    },
    2: {
        "surv": [0.933333333333333, 0.842401705587783, 0.526463030185906, 0.187232497905056],
        "se": [0.0262936879248872, 0.0386809589313601, 0.0597368539904425, 0.0620679022695796],
        "at_risk": [84, 71, 30, 6],
        "mean": (297.465409532037, 10.7913239788001),
    },
}


@pytest.mark.parametrize("sex", [1, 2])
def test_lung(sex):
    """Greenwood's standard errors, which unweighted jackknife ones equal."""
    lung = data("lung")
    mine = (lung.sex == sex).to_numpy(float)
    arrays = lung.time.to_numpy(float), lung.status.to_numpy(int), mine
    value, scores = risk.kaplan_meier(*arrays, times=[90, 180, 365, 730])
    np.testing.assert_allclose(value, LUNG[sex]["surv"], rtol=1e-12)
    np.testing.assert_allclose(robust(scores), LUNG[sex]["se"], rtol=1e-12)
    _, rows = risk_sets.number_at_risk(arrays[0], mine, times=[90, 180, 365, 730])
    np.testing.assert_array_equal(rows, LUNG[sex]["at_risk"])
    mean, own = risk.restricted_mean(*arrays, horizon=[365])
    np.testing.assert_allclose([mean[0], robust(own)[0]], LUNG[sex]["mean"], rtol=1e-12)


def test_lung_difference_in_restricted_means():
    """survRM2 1.0-4: 55.97032434 (26.65293638, 85.28771230), normal quantiles."""
    lung = data("lung")
    arrays = lung.time.to_numpy(float), lung.status.to_numpy(int)
    (one, a), (two, b) = (
        risk.restricted_mean(*arrays, (lung.sex == s).to_numpy(float), horizon=[365]) for s in (1, 2)
    )
    gap, reach = (two - one)[0], 1.959963984540054 * robust(b - a)[0]
    np.testing.assert_allclose(
        [gap, gap - reach, gap + reach], [55.9703243399798, 26.6529363773313, 85.2877123026282], rtol=1e-10
    )


def test_whas500_weighted():
    """w_i = 0.5 + (i mod 4)/4: robust standard errors match; weighted Greenwood is 1 to 3 per cent larger."""
    whas = data("whas500")
    w = 0.5 + (np.arange(500) % 4) / 4
    at = [180, 365, 1000, 2000]
    value, scores = risk.kaplan_meier(whas.lenfol.to_numpy(), whas.fstat.to_numpy(int), w, times=at)
    np.testing.assert_allclose(
        value, [0.786857142857143, 0.729142857142857, 0.62608963449758, 0.479092999312388], rtol=1e-12
    )
    np.testing.assert_allclose(
        robust(scores),
        [0.0189924861181013, 0.0207042218641211, 0.0237825361351545, 0.0309847558554022],
        rtol=1e-12,
    )
    greenwood = [0.0195791714163999, 0.0212465016156493, 0.0242226865464148, 0.0313546919814396]
    np.testing.assert_allclose(robust(scores) / greenwood, [0.97004, 0.97448, 0.98183, 0.98820], atol=1e-5)
    np.testing.assert_array_equal(
        risk_sets.number_at_risk(whas.lenfol.to_numpy(), w, times=at)[0], [344.25, 319, 202.5, 42.5]
    )


def test_aids_with_delayed_entry():
    """survfit(Surv(W, T, D) ~ 1): Greenwood 0.0766494, the jackknife 0.05 per cent less."""
    aids = data("aids_cohort")
    arrays = aids["T"].to_numpy(), aids.D.to_numpy(), np.ones(len(aids))
    value, scores = risk.kaplan_meier(*arrays, times=[5, 14], entry=aids.W.to_numpy())
    np.testing.assert_allclose(value, 0.424588459378778, rtol=1e-12)
    np.testing.assert_allclose(robust(scores) / 0.0766494067557717, 0.9994975, atol=1e-7)
    _, rows = risk_sets.number_at_risk(arrays[0], arrays[2], times=[5, 8], entry=aids.W.to_numpy())
    np.testing.assert_array_equal(rows, [10, 0])


def test_rossi_nelson_aalen():
    """ctype 1; R's default standard error is Aalen's, sum d / n^2; the jackknife is below it."""
    rossi = data("rossi")
    value, scores = risk.nelson_aalen(rossi.week, rossi.arrest, np.ones(len(rossi)), times=[10, 25, 52])
    np.testing.assert_allclose(
        value[0], [0.0352363261110942, 0.125194307216839, 0.305127533720402], rtol=1e-12
    )
    aalen = [0.00909836934806856, 0.017541811415524, 0.0286874258118663]
    np.testing.assert_allclose(robust(scores)[0] / aalen, [0.99708, 0.99654, 0.99586], atol=1e-5)


CGVHD = {
    "BM": (
        [[0.64, 0.8, 0.83], [0.06, 0.06, 0.06], [0.08, 0.08, 0.08]],
        [
            [0.0678822509939086, 0.0565685424949238, 0.054516052681756],
            [0.0335857112474933, 0.0335857112474933, 0.0335857112474933],
            [0.0383666521865017, 0.0383666521865017, 0.0383666521865017],
        ],
    ),
    "PB": (
        [
            [0.734693877551021, 0.918367346938776, 0.918367346938776],
            [0.0408163265306122, 0.0408163265306122, 0.0408163265306122],
            [0.0204081632653061, 0.0204081632653061, 0.0204081632653061],
        ],
        [
            [0.063070867792373, 0.0391148917346902, 0.0391148917346902],
            [0.0282663548537395, 0.0282663548537395, 0.0282663548537395],
            [0.0201988432369549, 0.0201988432369549, 0.0201988432369549],
        ],
    ),
}


@pytest.mark.parametrize("arm", CGVHD)
def test_cgvhd_aalen_johansen(arm):
    cgvhd = data("cgvhd")
    mine = (cgvhd.tx == arm).to_numpy(float)
    value, scores = risk.aalen_johansen(
        cgvhd.ftime, cgvhd.status.astype(int), mine, times=[0.5, 1, 2], causes=3
    )
    p, se = CGVHD[arm]
    np.testing.assert_allclose(value, p, rtol=1e-12)
    np.testing.assert_allclose(robust(scores), se, rtol=1e-12)


GBSG2 = {
    ("ATE", 0): (
        [0.899884697783614, 0.617422808017093, 0.406434921568956],
        [0.0147026462491184, 0.0251572285717741, 0.0330274104544207],
    ),
    ("ATE", 1): (
        [0.941024673783136, 0.728475572227719, 0.542635465788195],
        [0.0179388288076256, 0.0321615608532371, 0.0454065897883166],
    ),
    ("ATT", 0): (
        [0.905695294804234, 0.611403936931262, 0.374675524653346],
        [0.0162696138087101, 0.0290073304024663, 0.038620189762009],
    ),
    ("ATT", 1): (
        [0.949584212163574, 0.723008192649429, 0.526075146464609],
        [0.014184090797793, 0.0298194852053282, 0.0420070186928031],
    ),
}


@pytest.mark.parametrize(("estimand", "arm"), GBSG2)
def test_gbsg2_with_weights_taken_as_known(estimand, arm):
    """survfit(weights = w, robust = TRUE), weights from glm(tr ~ age + meno + tsize + pnodes, binomial)."""
    import statsmodels.api as sm

    b = data("gbsg2")
    treated = (b.horTh == "yes").to_numpy()
    x = sm.add_constant(np.column_stack([b.age, b.menostat == "Post", b.tsize, b.pnodes]).astype(float))
    p = sm.GLM(treated.astype(float), x, family=sm.families.Binomial()).fit(tol=1e-14).predict()
    w = np.where(treated, 1 / p, 1 / (1 - p)) if estimand == "ATE" else np.where(treated, 1, p / (1 - p))
    mine = w * (treated == bool(arm))
    value, scores = risk.kaplan_meier(b.time.to_numpy(), b.cens.to_numpy(), mine, times=[365, 1000, 2000])
    surv, se = GBSG2[estimand, arm]
    np.testing.assert_allclose(value, surv, rtol=1e-10)
    np.testing.assert_allclose(robust(scores), se, rtol=1e-10)
