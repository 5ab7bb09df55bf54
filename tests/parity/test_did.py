"""Group-time effects and their averages against R did 2.5 on mpdta (500 counties, 2003 to 2007).

Standard errors are R's analytic ones (``bstrap = FALSE``), which are the root of the mean square of the
influence function over n: the root of the sum of squared scores here. An Estimate multiplies their square
by G / (G - 1), G the independent units: here 500 / 499.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from impact import Outcome, Study, emulate
from impact.did import callaway_santanna as did

# Figures by (comparison, method, covariates, base period, weighted by exp(lpop)), ordered by group and period.
# fmt: off
# ruff: noqa: E501
CELLS = {
    ('never', 'dr', 'none', 'varying', False): (
        [-0.0105032462, -0.0704231581, -0.1372587389, -0.1008113631, 0.0065201124, -0.0027508188, -0.004594607, -0.0412244715, 0.0305066556, -0.0027258929, -0.0310871194, -0.0260544107],
        [0.0232510364, 0.0309847668, 0.0364356643, 0.0343592258, 0.0233268051, 0.019558561, 0.0177551967, 0.0202291807, 0.0150335603, 0.0163958329, 0.0178775113, 0.0166554353],
    ),
    ('never', 'dr', 'lpop', 'universal', False): (
        [-0.0145296683, -0.0764218817, -0.1404483368, -0.1069038981, 0.0066746707, 0.0062025246, 0.0009605737, -0.0412938656, 0.0062962618, 0.033024058, 0.0284474872, -0.028781361],
        [0.0221291572, 0.0286713142, 0.0353781547, 0.032886493, 0.0302881624, 0.0184957019, 0.0194001954, 0.0197211441, 0.0245366871, 0.0212352693, 0.0181808812, 0.016238953],
    ),
    ('not_yet', 'dr', 'lpop', 'varying', False): (
        [-0.0211830535, -0.0816031859, -0.1381918226, -0.1069038981, -0.0074552361, -0.004563377, 0.0086606999, -0.0412938656, 0.0269326529, -0.0042009805, -0.0284474872, -0.028781361],
        [0.0216482077, 0.0283415411, 0.0342280372, 0.032886493, 0.0218357154, 0.0182913861, 0.016839061, 0.0197211441, 0.013913626, 0.0155483663, 0.0181808812, 0.016238953],
    ),
    ('not_yet', 'ipw', 'lpop', 'universal', False): (
        [-0.0211850794, -0.0816069997, -0.1381952052, -0.1069325571, 0.012288466, 0.0046811999, 0.0087905571, -0.0413082317, 0.0064451051, 0.0330012087, 0.0283403038, -0.0288947666],
        [0.0216452254, 0.0283367828, 0.0342267658, 0.0328891517, 0.0299925699, 0.0182724891, 0.0168532964, 0.0197213982, 0.0245423263, 0.0212490128, 0.0181893091, 0.0162464094],
    ),
    ('not_yet', 'reg', 'lpop', 'varying', False): (
        [-0.0212480022, -0.0818499993, -0.1384690035, -0.1075442747, -0.0080820628, -0.006216859, 0.0093754, -0.0415356365, 0.0267182533, -0.0042545917, -0.0285021064, -0.0287894882],
        [0.0216163493, 0.0281112202, 0.0338809235, 0.0327376926, 0.0217654703, 0.0180304886, 0.0169060291, 0.0197168736, 0.0138959739, 0.0155223232, 0.0181320659, 0.0161678673],
    ),
    ('never', 'ipw', 'lpop', 'varying', False): (
        [-0.0145484311, -0.0764498607, -0.1404646026, -0.1069325571, -0.0008685603, -0.0063972403, 0.0012080452, -0.0413082317, 0.0265561036, -0.0046609049, -0.0283403038, -0.0288947666],
        [0.0221145331, 0.0286488625, 0.0353710018, 0.0328891517, 0.0221528434, 0.0184573285, 0.0194879291, 0.0197213982, 0.0140441585, 0.0156691642, 0.0181893091, 0.0162464094],
    ),
    ('never', 'reg', 'lpop', 'universal', False): (
        [-0.0149112378, -0.076996323, -0.1410801046, -0.1075442747, 0.0090343412, 0.0069682831, 0.000765525, -0.0415356365, 0.00689611, 0.0332619418, 0.0285021064, -0.0287894882],
        [0.0220556931, 0.0283597455, 0.034836287, 0.0327376926, 0.0300860744, 0.0183457856, 0.019195907, 0.0197168736, 0.0244888256, 0.0211607013, 0.0181320659, 0.0161678673],
    ),
    ('never', 'dr', 'lpop', 'varying', True): (
        [-0.0026583779, -0.0263902547, -0.0415661604, -0.0608390924, -0.0095821443, 0.0364688062, 0.0544906002, 0.0087984025, 0.0190229933, -0.0204636925, -0.007652673, -0.0474980146],
        [0.0120187092, 0.019497359, 0.0390365629, 0.0244942643, 0.0264412037, 0.0261945264, 0.0325344146, 0.0352372339, 0.0115849856, 0.0105885281, 0.027109797, 0.0168713743],
    ),
}
OVERALL = {
    ('never', 'dr', 'none', False): ([-0.0399512752, -0.0772398215, -0.0310182822, -0.0417004321], [0.0120340128, 0.0199649891, 0.0124460593, 0.0159718519]),
    ('never', 'dr', 'lpop', False): ([-0.0417517721, -0.0803539498, -0.0328195972, -0.0441773578], [0.0115028382, 0.0189575572, 0.0118981787, 0.0150381751]),
    ('never', 'ipw', 'lpop', False): ([-0.0417770822, -0.0803768866, -0.0328753687, -0.044170101], [0.0114997194, 0.0189542504, 0.0118932002, 0.0150352236]),
    ('never', 'reg', 'lpop', False): ([-0.0419686124, -0.0807817453, -0.0329292402, -0.0445323314], [0.0114448298, 0.0187458547, 0.0118603088, 0.0148850278]),
    ('not_yet', 'dr', 'none', False): ([-0.0397636256, -0.077399314, -0.0304622281, -0.0442670835], [0.0120524248, 0.0195601769, 0.0125751201, 0.0155709044]),
    ('not_yet', 'dr', 'lpop', False): ([-0.0413516293, -0.079992621, -0.0322640388, -0.0456646329], [0.0114278391, 0.0184940021, 0.0119834126, 0.0146982568]),
    ('not_yet', 'ipw', 'lpop', False): ([-0.0413894098, -0.0800160429, -0.0323307179, -0.0456656794], [0.0114192902, 0.0184897004, 0.0119762957, 0.0146961077]),
    ('not_yet', 'reg', 'lpop', False): ([-0.0413747698, -0.0802485482, -0.0322522727, -0.0456773706], [0.0113771614, 0.0183190469, 0.0119332406, 0.0146082808]),
    ('never', 'dr', 'lpop', True): ([-0.0181327109, -0.0302577493, -0.0258578914, -0.009606428], [0.0140499869, 0.0195057945, 0.0127736698, 0.0130692729]),
}
EVENTS = {
    ('never', 'universal'): ([-4, -3, -2, 0, 1, 2, 3], [0.0062962618, 0.0268604586, 0.0232439872, -0.0210603598, -0.0530032043, -0.1404483368, -0.1069038981], [0.0245366871, 0.0180998126, 0.0144851302, 0.0114942117, 0.0163464516, 0.0353781547, 0.032886493]),
    ('not_yet', 'varying'): ([-3, -2, -1, 0, 1, 2, 3], [0.0269326529, -0.0049622099, -0.0228605608, -0.0201444574, -0.0547303057, -0.1381918226, -0.1069038981], [0.013913626, 0.0128046656, 0.0146117727, 0.0116322855, 0.0164000211, 0.0342280372, 0.032886493]),
}
BALANCED = {
    ('never', 'universal'): ([-3, -2, 0, 1], [0.0066746707, 0.0062025246, -0.0042028403, -0.0530032043], [0.0302881624, 0.0184957019, 0.0150879144, 0.0163464516]),
    ('not_yet', 'varying'): ([-2, -1, 0, 1], [-0.0074552361, -0.004563377, -0.0012872179, -0.0547303057], [0.0218357154, 0.0182913861, 0.0135537564, 0.0164000211]),
}
GROUPS = {
    ('never', 'universal'): ([2004, 2006, 2007], [-0.0845759462, -0.0201666459, -0.028781361], [0.0245648746, 0.017469625, 0.016238953]),
    ('not_yet', 'varying'): ([2004, 2006, 2007], [-0.08697049, -0.0163165829, -0.028781361], [0.024062047, 0.0161883287, 0.016238953]),
}
YEARS = {
    ('never', 'universal'): ([2004, 2005, 2006, 2007], [-0.0145296683, -0.0764218817, -0.0461757298, -0.0395821512], [0.0221291572, 0.0286713142, 0.0212107192, 0.012929872]),
    ('not_yet', 'varying'): ([2004, 2005, 2006, 2007], [-0.0211830535, -0.0816031859, -0.040290141, -0.0395821512], [0.0216482077, 0.0283415411, 0.0192634787, 0.012929872]),
}
# Following nobody: each observation a unit of its own (doubly robust, lpop), and 200 of 2,500 rows missing (no covariates).
LEVELS = {
    'repeated cross-sections': (
        [-0.0145296683, -0.0764218817, -0.1404483368, -0.1069038981, -0.0004721461, -0.0062025246, 0.0009605737, -0.0412938656, 0.0267277962, -0.0045765708, -0.0284474872, -0.028781361],
        [0.0897357692, 0.0924330883, 0.0954476312, 0.0890462695, 0.0996127779, 0.0942345372, 0.0935518611, 0.0927697341, 0.0763619364, 0.0764327436, 0.0770510897, 0.0790590994],
        [-0.0417517721, -0.0803539498, -0.0328195972, -0.0441773578],
        [0.0460317505, 0.0513919967, 0.0571275667, 0.049033873],
    ),
    'unbalanced': (
        [-0.2379147727, 0.0581473456, -0.1383291834, -0.1199181157, 0.0900326318, -0.0880980424, -0.1412931561, -0.1212658106, 0.0544583558, -0.0459118049, 0.0131808198, -0.0303255784],
        [0.1923438132, 0.1256391923, 0.1504531987, 0.0723071097, 0.0689580498, 0.0566937326, 0.0988603676, 0.093291324, 0.0588130645, 0.0485347559, 0.0533978038, 0.0744048601],
        [-0.0798464054, -0.0987526686, -0.0597586583, -0.0947061658],
        [0.0463389585, 0.0592352365, 0.0543438521, 0.0701877667],
    ),
}
# fmt: on

WALD = {("never", "dr", "varying"): (6.84182498166, 0.23267), ("not_yet", "dr", "universal"): (6.865542101229, 0.23083)}


def robust(estimate):
    return np.sqrt((estimate.scores**2).sum(axis=0))


def reference(name):
    beside = Path(__file__).resolve().parents[3] / "shared" / "reference"
    file = Path(os.environ.get("IMPACT_REFERENCE", beside)) / name
    if not file.exists():
        pytest.skip("the data set mpdta is not at hand: set IMPACT_REFERENCE to the reference folder")
    return file


def read(name):
    table = pd.read_csv(reference(f"data/{name}.csv")).rename(columns={"first.treat": "first"})
    return table.assign(size=np.exp(table["lpop"]), row=np.arange(len(table)))


@pytest.fixture(scope="module")
def counties():
    return read("mpdta")


def sample_of(counties, covariates, weighted=False, unit="countyreal", missing="error"):
    study = Study(
        title="Minimum wages and teenage employment",
        unit=unit,
        missing=missing,
        period="year",
        adoption="first",
        never=0,
        covariates=() if covariates == "none" else covariates,
        outcomes=Outcome("lemp", "log of teenage employment"),
        weights="size" if weighted else None,
    )
    return emulate(study, counties)


def agree(estimate, value, se):
    np.testing.assert_allclose(estimate.value, value, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(robust(estimate), se, rtol=1e-6)
    np.testing.assert_allclose(estimate.std_error, np.sqrt(500 / 499) * np.array(se), rtol=1e-6)


@pytest.mark.parametrize(("comparison", "method", "covariates", "base", "weighted"), CELLS)
def test_cells(counties, comparison, method, covariates, base, weighted):
    sample = sample_of(counties, covariates, weighted)
    found = did.att_gt(sample, method=method, comparison=comparison, base=base)
    agree(found, *CELLS[comparison, method, covariates, base, weighted])


@pytest.mark.parametrize(("comparison", "method", "covariates", "weighted"), OVERALL)
def test_overall(counties, comparison, method, covariates, weighted):
    sample = sample_of(counties, covariates, weighted)
    values, errors = OVERALL[comparison, method, covariates, weighted]
    for average, value, se in zip(("simple", "event", "group", "period"), values, errors, strict=True):
        agree(did.att(sample, method=method, comparison=comparison, average=average), value, se)


@pytest.mark.parametrize(("comparison", "base"), EVENTS)
def test_aggregations(counties, comparison, base):
    sample = sample_of(counties, "lpop")
    found = did.event_study(sample, comparison=comparison, base=base)
    at, value, se = EVENTS[comparison, base]
    assert list(found.index["time"]) == at
    agree(found, value, se)
    found = did.event_study(sample, comparison=comparison, base=base, balance=1)
    at, value, se = BALANCED[comparison, base]
    assert list(found.index["time"]) == at
    agree(found, value, se)
    for aggregate, label, figures in ((did.by_group, "adoption_group", GROUPS), (did.by_period, "time", YEARS)):
        found = aggregate(sample, comparison=comparison)
        at, value, se = figures[comparison, base]
        assert list(found.index[label]) == at
        agree(found, value, se)


@pytest.mark.parametrize(("comparison", "method", "base"), WALD)
def test_pretest(counties, comparison, method, base):
    """R's W uses the covariance without the factor 500 / 499, and a chi-squared reference."""
    from scipy import stats

    cells = did.att_gt(sample_of(counties, "lpop"), comparison=comparison, method=method, base=base)
    before = cells.where("time < adoption_group").test()
    wald, p = WALD[comparison, method, base]
    np.testing.assert_allclose(before["wald"] * 500 / 499, wald, rtol=1e-6)
    np.testing.assert_allclose(stats.chi2.sf(wald, before["df"]), p, atol=1e-5)


# ---- every specification of the reference, where it is at hand --------------------------------


def at_level(name, counties):
    """The sample of a case that follows nobody."""
    if name == "unbalanced":
        return sample_of(read("mpdta_unbalanced"), "none", missing="keep")
    return sample_of(counties, "lpop", unit="row", missing="keep")


@pytest.mark.parametrize("name", LEVELS)
def test_following_nobody(counties, name):
    """R's error of the doubly robust levels has a sign wrong, see below: it differs by 0.1 per cent at most."""
    sample = at_level(name, counties)
    value, se, overall, overall_se = LEVELS[name]
    options = {"comparison": "never", "unbalanced": "levels"}
    tolerance = 1e-6 if name == "unbalanced" else 1.1e-3
    found = did.att_gt(sample, **options)
    np.testing.assert_allclose(found.value, value, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(robust(found), se, rtol=tolerance)
    for average, v, s in zip(("simple", "event", "group", "period"), overall, overall_se, strict=True):
        one = did.att(sample, average=average, **options)
        np.testing.assert_allclose(one.value, v, rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose(robust(one), s, rtol=tolerance)


def test_where_our_error_of_levels_differs_from_rs_it_is_the_derivative(counties, monkeypatch):
    """R's ``drdid_rc`` adds the error of the regressions before treatment where the estimate subtracts them.

    With that sign turned, errors are R's to 1e-6; without, they are the derivatives of the estimate, as the test of
    scores in tests/core shows.
    """
    from impact.core import cross_sections

    right = cross_sections._Sum

    class AsInR(right):
        def _turned(self, fit, v, sign, wanted):
            if sign == wanted:
                self.scores += 2 * sign * fit.carry(fit.design.T @ (v / v.sum()))

        def add(self, sign, v, fit=None):
            super().add(sign, v, fit)
            if fit is not None:
                self._turned(fit, v, sign, -1.0)

        def against(self, sign, others, d, chance, fit):
            super().against(sign, others, d, chance, fit)
            if fit is not None:
                v = others * cross_sections.ratios(chance, False, d)[0]
                self._turned(fit, v, sign, 1.0)

    monkeypatch.setattr(cross_sections, "_Sum", AsInR)
    sample = at_level("repeated cross-sections", counties)
    value, se, _, overall_se = LEVELS["repeated cross-sections"]
    found = did.att_gt(sample, comparison="never")
    np.testing.assert_allclose(found.value, value, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(robust(found), se, rtol=1e-6)
    np.testing.assert_allclose(robust(did.att(sample, comparison="never", average="simple")), overall_se[0], rtol=1e-6)


def specifications():
    """Comparison, method, covariates and base of R's 19 specifications; the others are of two-way regressions."""
    for comparison in ("never", "not_yet"):
        for method, covariates in (("dr", "none"), ("dr", "lpop"), ("ipw", "lpop"), ("reg", "lpop")):
            for base in ("varying", "universal"):
                yield comparison, method, covariates, base, ""
    yield "never", "dr", "lpop", "varying", "|weights=exp(lpop)"
    yield "never", "dr", "lpop", "varying", "|repeated_cross_section"
    yield "never", "dr", "none", "varying", "|unbalanced"


@pytest.mark.parametrize(("comparison", "method", "covariates", "base", "more"), list(specifications()))
def test_every_specification_and_aggregation(counties, comparison, method, covariates, base, more):
    """Values to 1e-6 and errors to 1e-4, and the Wald statistic of the effects before adoption."""
    key = f"{comparison.replace('_', '')}treated|{method}|{covariates}|{base}{more}"
    figures = json.loads(reference("did_mpdta.json").read_text())[key]
    named = {"|unbalanced": "unbalanced", "|repeated_cross_section": "repeated cross-sections"}
    weighted = more.startswith("|weights")
    sample = at_level(named[more], counties) if more in named else sample_of(counties, covariates, weighted)
    options = {"method": method, "comparison": comparison, "unbalanced": "levels"}
    cells = did.att_gt(sample, base=base, **options)
    compared = [
        (
            cells,
            ["adoption_group", "time"],
            list(zip(figures["group"], figures["time"], strict=True)),
            figures["att"],
            figures["se"],
        )
    ]
    for name, estimate, label in (
        ("dynamic", did.event_study(sample, base=base, **options), "time"),
        ("dynamic_balance1", did.event_study(sample, base=base, balance=1, **options), "time"),
        ("group.1", did.by_group(sample, **options), "adoption_group"),
        ("calendar", did.by_period(sample, **options), "time"),
    ):
        part = figures[name]
        compared.append((estimate, [label], [(a,) for a in part["at"]], part["est"], part["se"]))
    for average, name in (("simple", "simple"), ("event", "dynamic"), ("group", "group.1"), ("period", "calendar")):
        one = did.att(sample, average=average, **options)
        compared.append((one, [], [()], [figures[name]["overall"]], [figures[name]["overall_se"]]))
    for estimate, labels, at, values, errors in compared:
        mine = list(estimate.index[labels].itertuples(index=False, name=None)) if labels else [()]
        kept = [(a, v, s) for a, v, s in zip(at, values, errors, strict=True) if s is not None]
        assert [a for a, _, _ in kept] == mine
        np.testing.assert_allclose(estimate.value, [v for _, v, _ in kept], rtol=0, atol=1e-6)
        np.testing.assert_allclose(robust(estimate), [s for _, _, s in kept], rtol=0, atol=1e-4)
        exact = 1e-6 if "cross" not in more else 1.1e-3  # of the error itself; see above for the exception
        np.testing.assert_allclose(robust(estimate), [s for _, _, s in kept], rtol=exact)
    before = cells.where("time < adoption_group")
    wald = before.value @ np.linalg.solve(before.scores.T @ before.scores, before.value)
    np.testing.assert_allclose(wald, figures["wald"], rtol=1e-6 if "cross" not in more else 5e-3)
