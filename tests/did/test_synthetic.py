"""Synthetic comparisons: weights by hand and at the optimum, published digits on a quoted panel, errors, refusals."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize

from impact import ImpactWarning, Outcome, Study, emulate
from impact.checks import synthetic_fit
from impact.core import simplex
from impact.core import synthetic as core
from impact.did import synthetic

pytestmark = pytest.mark.filterwarnings("ignore:Only:impact.ImpactWarning")

BESIDE = Path(__file__).resolve().parents[3] / "shared" / "reference"
DATA = Path(os.environ.get("IMPACT_REFERENCE", BESIDE)) / "data" / "california_prop99.csv"
SMOKING = pytest.mark.skipif(not DATA.exists(), reason="the reference data are not here")


def areas(n=24, treated=3, periods=14, start=10, seed=0, effect=2.0, late=0):
    """Areas that feel two common shocks; the treated more of them."""
    rng = np.random.default_rng(seed)
    first = np.where(np.arange(n) < treated, start, np.where(np.arange(n) < treated + late, start + 2, np.inf))
    felt = rng.normal(size=(n, 2)) + 0.5 * np.isfinite(first)[:, None]
    t = np.arange(1, periods + 1)
    y = 20 + felt @ rng.normal(size=(2, periods)).cumsum(axis=1) + rng.normal(0, 0.4, (n, periods))
    y = y + effect * (t >= first[:, None])
    table = pd.DataFrame({"area": np.arange(n), "start": np.where(np.isfinite(first), first, np.nan)})
    return table.assign(size=rng.integers(1, 4, n), **{f"rate_{k}": y[:, k - 1] for k in t})


def sample_of(table, **about):
    periods = [int(c.split("_")[1]) for c in table if c.startswith("rate_")]
    rate = Outcome("rate_{}", "unemployment rate", periods=periods, per="quarter")
    return emulate(Study(**{"title": "t", "unit": "area", "adoption": "start", "outcomes": rate, **about}), table)


def matrix(table):
    return table.filter(like="rate_").to_numpy(), table["start"].notna().to_numpy()


@SMOKING
@pytest.mark.parametrize(
    ("method", "published", "error"),
    [("synthetic_did", -15.603828, 8.367), ("synthetic_control", -19.619663, 10.870), ("did", -27.349111, 18.733)],
)
def test_proposition_99_as_published(method, published, error):
    """R synthdid 0.0.9 on Abadie, Diamond and Hainmueller's panel; Table 1 of Arkhangelsky et al. has errors from
    200 placebo draws. Here every placebo counts once, so theirs must be a likely draw."""
    table = pd.read_csv(DATA)
    table["start"] = np.where(table["State"] == "California", 1989, np.nan)
    packs = Outcome("PacksPerCapita", "packs", per="year")
    study = Study(title="t", unit="State", period="Year", adoption="start", outcomes=packs)
    sample = emulate(study, table)
    found = synthetic.att(sample, method=method)
    np.testing.assert_allclose(found.value, published, atol=1e-6)
    assert "38 placebos among 38" in found.method
    y = table.pivot(index="State", columns="Year", values="PacksPerCapita").drop(index="California").to_numpy()
    part = core.block(y, 19, np.ones(38), np.arange(38) == 0, method, "exact")
    gaps = core.fit(part, np.ones((38, 38)), np.eye(38, dtype=bool)).effect[:, 19:].mean(axis=1)
    rng = np.random.default_rng(0)
    drawn = rng.choice(gaps, (4000, 200)).std(axis=1)
    assert np.quantile(drawn, 0.005) < error < np.quantile(drawn, 0.995)
    if method == "synthetic_control":
        best = synthetic.att(sample, method=method, solver="exact")
        np.testing.assert_allclose(best.value, -19.513630, atol=1e-5)  # the optimum
        assert any("−19.51 rather than −19.62" in n for n in found.notes)


def test_weights_at_the_optimum_are_those_of_another_solver():
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(12, 9)), rng.normal(size=12)
    for penalty in (0.0, 0.5, 20.0):
        problem = simplex.Problems(a.T @ a, (b @ a)[None], np.full((1, 9), penalty), np.full((1, 9), 1 / 9))
        x = simplex.best(problem)[0]
        start = np.full(9, 1 / 9)
        other = minimize(
            lambda x, c=penalty: ((a @ x - b) ** 2).sum() + c * (x**2).sum(),
            start, bounds=[(0, 1)] * 9, constraints={"type": "eq", "fun": lambda x: x.sum() - 1},
            options={"ftol": 1e-15, "maxiter": 1000},
        )  # fmt: skip
        np.testing.assert_allclose(x, other.x, atol=2e-6)
        slope = a.T @ (a @ x - b) + penalty * x
        assert np.ptp(slope[x > 1e-9]) < 1e-9 and slope.min() > slope[x > 1e-9].min() - 1e-9
        walked = simplex.walked(problem, np.full(1, 1e-14))[0]
        np.testing.assert_allclose(walked, x, atol=2e-3)


def by_letter(y, treated, before, omega_zeta, intercept, rounds=(100, 10_000)):
    """Frank-Wolfe as R synthdid 0.0.9 writes it, one problem at a time."""
    noise = np.diff(y[~treated, :before], axis=1).std(ddof=1)

    def walk(problem, zeta, centred, x, steps):
        problem = problem - problem.mean(axis=0) if centred else problem
        a, b, values = problem[:, :-1], problem[:, -1], []
        x = np.full(a.shape[1], 1 / a.shape[1]) if x is None else x
        while len(values) < steps and (len(values) < 2 or values[-2] - values[-1] > (1e-5 * noise) ** 2):
            slope = (a @ x - b) @ a + len(a) * zeta**2 * x
            step = -x.copy()
            step[slope.argmin()] += 1
            if step.any():
                bend = ((a @ step) ** 2).sum() + len(a) * zeta**2 * (step**2).sum()
                x = x + min(1, max(0, -(slope @ step) / bend)) * step
            values.append(zeta**2 * (x**2).sum() + ((a @ x - b) ** 2).mean())
        return x

    def both(problem, zeta, centred):
        x = walk(problem, zeta, centred, None, rounds[0])
        x = np.where(x <= x.max() / 4, 0, x)
        return walk(problem, zeta, centred, x / x.sum(), rounds[1])

    early, late = y[:, :before], y[:, before:].mean(axis=1)
    omega = both(np.vstack([early[~treated], early[treated].mean(axis=0)]).T, omega_zeta * noise, intercept)
    lam = both(np.column_stack([early, late])[~treated], 1e-6 * noise, True) if intercept else np.zeros(before)
    gap = y[treated].mean(axis=0) - omega @ y[~treated]
    return gap[before:].mean() - lam @ gap[:before], omega, lam


@pytest.mark.parametrize("treated", [1, 3])
def test_it_is_the_published_algorithm_step_by_step(treated):
    table = areas(treated=treated)
    y, d = matrix(table)
    want, _, _ = by_letter(y, d, 9, (treated * 5) ** 0.25, True)
    np.testing.assert_allclose(synthetic.att(sample_of(table)).value, want, rtol=1e-8)
    want, _, _ = by_letter(y, d, 9, 1e-6, False)
    np.testing.assert_allclose(synthetic.att(sample_of(table), method="synthetic_control").value, want, rtol=1e-6)
    want = y[d, 9:].mean() - y[d, :9].mean() - y[~d, 9:].mean() + y[~d, :9].mean()
    np.testing.assert_allclose(synthetic.att(sample_of(table), method="did").value, want, rtol=1e-12)


QUOTED = {  # Packs of cigarettes per head in 1980 to 1992, rounded (Abadie, Diamond and Hainmueller 2010)
    "California": [120.2, 118.6, 115.4, 110.8, 104.8, 102.8, 99.7, 97.5, 90.1, 82.4, 77.8, 68.7, 67.5],
    "Utah": [74.5, 75.1, 71.7, 68.9, 65.8, 64.9, 62.0, 59.5, 57.6, 56.6, 55.5, 55.0, 53.5],
    "Montana": [124.7, 121.2, 117.8, 114.5, 110.3, 104.8, 103.1, 99.8, 96.3, 92.7, 89.9, 88.3, 85.5],
    "Nevada": [164.9, 166.1, 163.5, 150.2, 141.6, 136.5, 132.9, 129.4, 122.4, 118.4, 113.3, 107.9, 102.8],
    "Connecticut": [116.0, 114.7, 114.3, 108.3, 107.0, 104.6, 102.8, 99.6, 95.2, 89.3, 84.7, 80.0, 78.4],
    "Colorado": [131.0, 130.4, 123.0, 118.4, 113.9, 110.2, 107.9, 102.9, 97.2, 92.6, 88.8, 84.0, 81.2],
}


def test_arithmetic_on_a_small_panel_by_an_independent_search():
    """Five comparison rows: the optimum by a general solver, the effect by hand."""
    y = np.array(list(QUOTED.values()))
    table = pd.DataFrame({"area": list(QUOTED), "start": [1989.0] + [np.nan] * 5})
    table = table.assign(**{f"rate_{1980 + k}": y[:, k] for k in range(13)})
    early = y[:, :9]
    limits = {"bounds": [(0, 1)] * 5, "constraints": {"type": "eq", "fun": lambda x: x.sum() - 1}}
    found = minimize(
        lambda x: ((early[0] - x @ early[1:]) ** 2).sum(), np.full(5, 0.2), options={"ftol": 1e-14}, **limits
    )
    want = y[0, 9:].mean() - found.x @ y[1:, 9:].mean(axis=1)
    sample = sample_of(table)
    best = synthetic.att(sample, method="synthetic_control", solver="exact")
    np.testing.assert_allclose(best.value, want, atol=1e-3)
    noise = np.diff(early[1:], axis=1).std(ddof=1)

    def penalised(x, zeta):
        gap = early[0] - x @ early[1:]
        return ((gap - gap.mean()) ** 2).sum() + 9 * zeta**2 * (x**2).sum()

    omega = minimize(lambda x: penalised(x, 4**0.25 * noise), np.full(5, 0.2), options={"ftol": 1e-14}, **limits).x
    limits["bounds"] = [(0, 1)] * 9
    rows = np.column_stack([early[1:], y[1:, 9:].mean(axis=1)])
    rows = rows - rows.mean(axis=0)
    # The weights on periods are all but undetermined by five units: the same to the digits that a general solver has.
    lam = minimize(
        lambda x: ((rows[:, 9] - rows[:, :9] @ x) ** 2).sum() + 5 * (1e-6 * noise) ** 2 * (x**2).sum(),
        np.full(9, 1 / 9), options={"ftol": 1e-15, "maxiter": 2000}, **limits,
    ).x  # fmt: skip
    gap = y[0] - omega @ y[1:]
    did = synthetic.att(sample, solver="exact")
    np.testing.assert_allclose(did.value, gap[9:].mean() - lam @ gap[:9], atol=0.05)
    np.testing.assert_allclose(synthetic.att(sample).value, did.value, atol=0.05)


def test_augmented_is_synthetic_control_and_a_ridge_regression_on_what_it_misses():
    table = areas(treated=2, seed=4)
    y, d = matrix(table)
    part = core.block(y, 9, np.ones(len(y)), d, "augmented", "exact")
    plain = core.fit(part._replace(method="synthetic_control"), np.ones((1, len(y))), d[None]).unit[0]
    x = y[:, :9] - y[~d, :9].mean(axis=0)
    lacks = x[d].mean(axis=0) - plain @ x
    slope = np.linalg.solve(x[~d].T @ x[~d] + part.ridge * np.eye(9), x[~d].T @ y[~d][:, 9:])
    want = (y[d, 9:].mean(axis=0) - plain @ y[:, 9:] - lacks @ slope).mean()
    np.testing.assert_allclose(synthetic.att(sample_of(table), method="augmented").value, want, rtol=1e-8)
    far = part._replace(ridge=1e12)
    np.testing.assert_allclose(core.fit(far, np.ones((1, len(y))), d[None]).unit[0], plain, atol=1e-6)


def test_staggered_adoption_is_averaged_over_treated_units_and_periods():
    table = areas(treated=3, late=2, periods=16)
    sample = sample_of(table)
    alone = [synthetic.att(sample_of(table[table["start"].isna() | (table["start"] == g)])).value[0] for g in (10, 12)]
    found = synthetic.att(sample)
    np.testing.assert_allclose(found.value, (3 * 7 * alone[0] + 2 * 5 * alone[1]) / (3 * 7 + 2 * 5), rtol=1e-8)
    np.testing.assert_allclose(synthetic.by_group(sample).value, alone, rtol=1e-8)
    by_group = synthetic.att(sample, average="group").value
    np.testing.assert_allclose(by_group, (3 * alone[0] + 2 * alone[1]) / 5, rtol=1e-8)
    path = synthetic.event_study(sample)
    np.testing.assert_allclose(
        synthetic.att(sample, average="event").value, path.where("time >= 0").value.mean(), rtol=1e-8
    )
    assert path.index["time"].tolist() == list(range(-11, 7))
    levels = synthetic.levels(sample)
    gap = levels.where("group == 'observed'").value - levels.where("group == 'synthetic'").value
    np.testing.assert_allclose(gap, path.value, atol=1e-9)
    np.testing.assert_allclose(levels.where("group == 'synthetic'").std_error, path.std_error, rtol=1e-9)


def test_whole_weights_are_rows_and_clusters_are_drawn_together():
    table = areas(treated=3)
    heavy = sample_of(table, weights="size")
    rows = table.loc[np.repeat(np.arange(len(table)), table["size"])].reset_index(drop=True)
    for method in ("synthetic_did", "synthetic_control", "augmented", "did"):
        twice = synthetic.att(
            sample_of(rows.assign(row=range(len(rows))), unit="row", cluster="area"), method=method, solver="exact"
        )
        once = synthetic.att(heavy, method=method, solver="exact")
        np.testing.assert_allclose(twice.value, once.value, rtol=1e-9)
        np.testing.assert_allclose(twice.std_error, once.std_error, rtol=1e-9)


def test_the_jackknife_holds_weights_and_leaves_each_out_as_published():
    table = areas(treated=3)
    y, d = matrix(table)
    _, omega, lam = by_letter(y, d, 9, (3 * 5) ** 0.25, True)
    left = []
    for i in range(len(y)):
        keep = np.arange(len(y)) != i
        o = omega * keep[~d]
        gap = y[d & keep].mean(axis=0) - (o / o.sum()) @ y[~d]
        left.append(gap[9:].mean() - lam @ gap[:9])
    n = len(y)
    want = np.sqrt((n - 1) / n * ((np.array(left) - np.mean(left)) ** 2).sum())
    np.testing.assert_allclose(synthetic.att(sample_of(table), errors="jackknife").std_error, want, rtol=1e-7)


def test_what_is_not_possible_is_refused_in_words():
    one = sample_of(areas(treated=1))
    for errors in ("jackknife", "bootstrap"):
        with pytest.raises(ValueError, match="at least two treated clusters in every adoption group"):
            synthetic.att(one, errors=errors)
    many = sample_of(areas(treated=14))
    with pytest.raises(ValueError, match="comparison clusters more than the 14 treated"):
        synthetic.att(many, errors="placebo")
    assert "jackknife" in synthetic.att(many).method
    with pytest.raises(ValueError, match="2 comparison clusters and 1 treated cluster"):
        synthetic.att(sample_of(areas(n=3, treated=1)))
    with pytest.raises(ValueError, match="never treated"):
        synthetic.att(sample_of(areas(n=8, treated=4, late=3)))
    with pytest.raises(ValueError, match="one period before for the 3 units first treated in 2"):
        synthetic.att(sample_of(areas(start=2)))
    assert np.isfinite(synthetic.att(sample_of(areas(start=2)), method="did").std_error).all()
    with pytest.warns(ImpactWarning), pytest.raises(ValueError, match="not seen in every period"):
        hole = areas()
        hole.loc[3, "rate_2"] = np.nan
        synthetic.att(sample_of(hole, missing="keep"))


def test_outcomes_asked_together_have_a_joint_covariance():
    table = areas(treated=3)
    both = table.assign(**{f"other_{k}": 100 - table[f"rate_{k}"] for k in range(1, 15)})
    other = Outcome("other_{}", "the rest", periods=range(1, 15), per="quarter")
    rate = Outcome("rate_{}", "unemployment rate", periods=range(1, 15), per="quarter")
    sample = emulate(Study(title="t", unit="area", adoption="start", outcomes=(rate, other)), both)
    for errors in ("placebo", "jackknife", "bootstrap"):
        found = synthetic.att(sample, errors=errors, draws=40, solver="exact")
        np.testing.assert_allclose(found.value[1], -found.value[0], rtol=1e-6)
        np.testing.assert_allclose(found.vcov / found.vcov[0, 0], [[1, -1], [-1, 1]], atol=1e-5)


def test_placebos_of_another_size_are_said_to_be_so():
    table = areas(treated=4).assign(region=lambda d: np.where(d["start"].notna(), 0, d["area"]) + d["area"] % 2 * 100)
    found = synthetic.att(sample_of(table, cluster="region"), errors="placebo", draws=20)
    assert any("Treated clusters have 2.0 units on average and comparison clusters 1.0" in n for n in found.notes)


def test_no_name_unless_asked_for():
    table = areas(treated=1).assign(area=[f"Area {k:02d}" for k in range(24)])
    sample = sample_of(table)
    check = synthetic_fit.donors(sample)
    assert "Area" not in check.tidy().to_string() and check.tidy()["weight"].max() < 1
    assert "Area" in synthetic_fit.donors(sample, named=True).tidy().to_string()
    assert "Area" not in repr(synthetic.att(sample))
    weights = synthetic_fit.donors(sample).tidy()["weight"].dropna()
    np.testing.assert_allclose(weights.sum(), 1, atol=1e-5)


def test_checks_see_a_good_fit_a_planted_effect_and_an_early_start():
    good = sample_of(areas(treated=1, n=40, periods=24, start=17, effect=8.0, seed=2))
    assert synthetic_fit.before(good).passed
    ratio = synthetic_fit.ratio(good)
    assert ratio.passed and ratio.tidy()["p_value"][0] == pytest.approx(1 / 40)
    assert synthetic_fit.earlier(good).passed is None
    table = areas(treated=1, n=40, periods=24, start=12, effect=8.0, seed=2).assign(start=lambda d: d["start"] + 5)
    assert synthetic_fit.earlier(sample_of(table), periods=5).passed is False
    few = synthetic_fit.ratio(sample_of(areas(treated=1, n=12)))
    assert few.passed is None and "p is at least 0.083" in few.reason
