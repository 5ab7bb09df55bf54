"""Imputation, extended, stacked and triple differences, and two groups before and after, in repeated samples."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from impact import Outcome, Study, emulate
from impact.did import extended, imputation, stacked, triple, two_by_two
from tests.truth.test_did import EFFECT, T, effect, panel, sample_of, shares

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::impact.ImpactWarning")]
REPS = 200


def judged(name, estimates, truth):
    """No bias beyond chance, and intervals that cover, both printed."""
    values = np.array([e.value for e in estimates])
    error = values.std(axis=0, ddof=1)
    bias = values.mean(axis=0) - truth
    covered = np.mean([(e.interval()[0] <= truth) & (truth <= e.interval()[1]) for e in estimates], axis=0)
    print(f"{name}: bias {np.round(bias, 3)}, covered {np.round(covered, 3)}")
    assert (np.abs(bias) < 3.5 * error / np.sqrt(len(values))).all(), (name, bias)
    assert (np.abs(covered - 0.95) < 3 * np.sqrt(0.95 * 0.05 / len(values)) + 0.005).all(), (name, covered)


def by_age(share, ages, groups=tuple(EFFECT)):
    inside = {e: [a for a in groups if 1 <= a + e <= T] for e in ages}
    return np.array(
        [sum(share[a] * effect(a, a + e) for a in who) / sum(share[a] for a in who) for e, who in inside.items()]
    )


def test_staggered_adoption_with_effects_that_differ():
    rng = np.random.default_rng(21)
    share = shares(rng)
    mean = {a: np.mean([effect(a, t) for t in range(int(a), T + 1)]) for a in EFFECT}
    overall = sum(share[a] * mean[a] for a in EFFECT) / sum(share.values())
    ages = [-4, -3, -2, 0, 1, 2, 3]
    asked = {
        "imputation, path": (imputation.event_study, by_age(share, range(-1, 4))),
        "imputation, average": (imputation.att, overall),
        "extended, path": (lambda s: extended.event_study(s, comparison="never"), by_age(share, ages)),
        "extended, average": (extended.att, overall),
        "stacked, path": (lambda s: stacked.event_study(s, pre=2, post=1), by_age(share, [-2, 0, 1])),
        "stacked, average": (lambda s: stacked.att(s, pre=2, post=1), by_age(share, [0, 1]).mean()),
    }  # fmt: skip
    found = {name: [] for name in asked}
    for _ in range(REPS):
        sample = sample_of(panel(rng, 500))
        for name, (f, _) in asked.items():
            found[name].append(f(sample))
    for name, (_, truth) in asked.items():
        judged(name, found[name], truth)


def test_panels_with_a_fifth_of_the_observations_missing():
    rng = np.random.default_rng(22)
    share = shares(rng)
    columns = [f"y_{t}" for t in range(1, T + 1)]
    found = {"imputation": [], "extended": []}
    for _ in range(REPS):
        table = panel(rng, 500)
        table[columns] = table[columns].mask(rng.random((500, T)) < 0.2)
        study = Study(title="t", unit="unit", adoption="g", covariates="x", missing="keep",
                      outcomes=Outcome("y_{}", periods=range(1, T + 1)))  # fmt: skip
        sample = emulate(study, table.dropna(subset=columns, how="all"))
        found["imputation"].append(imputation.event_study(sample, leads=0))
        found["extended"].append(extended.event_study(sample))
    for name, estimates in found.items():
        judged(f"{name} with gaps", estimates, by_age(share, range(4)))


def people(rng, n):
    """Selection on x, a trend that moves with x, and an effect that moves with x."""
    x = rng.normal(size=n)
    d = rng.random(n) < 1 / (1 + np.exp(-(0.6 * x - 0.3)))
    own, te = x + rng.normal(size=n), 1 + 0.5 * x
    y = np.column_stack([own + rng.normal(size=n), own + 0.5 + 0.6 * x + te * d + rng.normal(size=n)])
    return pd.DataFrame({"id": np.arange(n), "d": d.astype(int), "x": x, "y_1": y[:, 0], "y_2": y[:, 1]}), te[d].mean()


@pytest.mark.parametrize("once", [False, True])
def test_two_groups_before_and_after(once):
    rng = np.random.default_rng(23)
    _, truth = people(rng, 2_000_000)
    methods = [m for m in two_by_two.METHODS if m != "two_way"]
    found = {m: [] for m in methods}
    naive = []
    for _ in range(REPS):
        table, _ = people(rng, 800)
        about = {"title": "t", "unit": "id", "treatment": "d", "covariates": "x"}
        if once:
            late = rng.random(len(table)) < 0.5
            table = table.assign(t=1 + late, y=np.where(late, table["y_2"], table["y_1"]))
            sample = emulate(Study(period="t", missing="keep", outcomes=Outcome("y"), **about), table)
        else:
            sample = emulate(Study(outcomes=Outcome("y_{}", periods=(1, 2)), **about), table)
        for m in methods:
            found[m].append(two_by_two.att(sample, method=m))
        naive.append(two_by_two.att(sample, method="two_way").value[0])
    for m, estimates in found.items():
        judged(f"{m}, {'each seen once' if once else 'panel'}", estimates, truth)
    print(f"two_way: bias {np.mean(naive) - truth:.3f}")
    assert np.mean(naive) - truth > 0.2  # columns of covariates do not make trends alike


def youth(rng, n):
    """Local shocks that move with x where the programme is adopted, and affected units that differ in x."""
    g, young = rng.choice([3.0, 4.0, np.nan], n), rng.integers(0, 2, n)
    adopts, t = np.isfinite(g), np.arange(1, 6)
    x = rng.normal(size=n) + 0.6 * young * adopts
    age = t - g[:, None]
    y = rng.normal(size=(n, 1)) + 0.3 * t * young[:, None] + 0.3 * t * (x * adopts)[:, None] + 0.2 * t * x[:, None]
    y += np.where(age >= 0, young[:, None] * (1 + 0.5 * age), 0) + rng.normal(size=(n, 5))
    table = pd.DataFrame({"id": np.arange(n), "g": g, "young": young, "x": x})
    return table.assign(**{f"y_{k}": y[:, k - 1] for k in t})


@pytest.mark.parametrize("comparison", ["never", "not_yet"])
def test_triple_differences(comparison):
    rng = np.random.default_rng(24)
    paths, averages = [], []
    for _ in range(REPS):
        study = Study(title="t", unit="id", adoption="g", covariates=("young", "x"),
                      outcomes=Outcome("y_{}", periods=range(1, 6)))  # fmt: skip
        sample = emulate(study, youth(rng, 900))
        paths.append(triple.event_study(sample, affected="young", comparison=comparison, base="universal"))
        averages.append(triple.att(sample, affected="young", comparison=comparison))
    assert list(paths[0].index["time"]) == [-3, -2, 0, 1, 2]
    judged(f"triple against {comparison}, path", paths, np.array([0, 0, 1, 1.5, 2]))
    judged(f"triple against {comparison}, average", averages, (1.5 + 1.25) / 2)


def autocorrelated(rng, n, T=10):
    e = np.zeros((n, T))
    e[:, 0] = rng.normal(size=n) / 0.6
    for t in range(1, T):
        e[:, t] = 0.8 * e[:, t - 1] + rng.normal(size=n)
    return e


@pytest.mark.parametrize("covariates", [(), ("x",)])
def test_five_treated_of_twenty_with_autocorrelated_errors(covariates):
    """Coverage of 95% intervals between 93 and 97 per cent, where usual ones cover 65 to 89."""
    rng = np.random.default_rng(25)
    asked = {
        "imputation": imputation.att,
        "extended": extended.att,
        "extended, never": lambda s: extended.att(s, comparison="never"),
        "stacked": lambda s: stacked.att(s, method="reg"),
        "two_by_two": lambda s: two_by_two.att(s, method="reg"),
    }
    held = dict.fromkeys(asked, 0)
    reps = 500
    for _ in range(reps):
        y = rng.normal(size=(20, 1)) + autocorrelated(rng, 20)
        table = pd.DataFrame({"id": range(20), "g": [5, 5, 7, 7, 7] + [np.nan] * 15, "x": rng.normal(size=20)})
        table = table.assign(**{f"y_{t}": y[:, t - 1] for t in range(1, 11)})
        study = Study(title="t", unit="id", adoption="g", covariates=covariates,
                      outcomes=Outcome("y_{}", periods=range(1, 11)))  # fmt: skip
        sample = emulate(study, table)
        for name, f in asked.items():
            low, high = f(sample).interval()
            held[name] += bool(low[0] <= 0 <= high[0])
    print({name: count / reps for name, count in held.items()})
    assert all(0.925 <= count / reps <= 0.98 for count in held.values()), held


@pytest.mark.parametrize("sizes", [(5, 5, 10, 10), (15, 4, 40, 40), (40, 40, 4, 40)])
def test_few_units_in_one_of_the_four_groups(sizes):
    rng = np.random.default_rng(26)
    n, reps, held = sum(sizes), 500, 0
    ends = np.cumsum(sizes)
    place = np.arange(n)
    affected = (place < ends[0]) | ((place >= ends[1]) & (place < ends[2]))
    for _ in range(reps):
        y = autocorrelated(rng, n)
        table = pd.DataFrame({"id": place, "g": np.where(place < ends[1], 6, np.nan), "young": affected.astype(int)})
        table = table.assign(**{f"y_{t}": y[:, t - 1] for t in range(1, 11)})
        study = Study(title="t", unit="id", adoption="g", covariates="young",
                      outcomes=Outcome("y_{}", periods=range(1, 11)))  # fmt: skip
        low, high = triple.att(emulate(study, table)).interval()
        held += bool(low[0] <= 0 <= high[0])
    print(f"{sizes}: covered {held / reps}")
    assert 0.92 <= held / reps <= 0.985, held / reps
