"""The simulated regional trials: what the table holds, that its truth is true, and that a seed means one thing.

The published figures are those of the generator's specification: means over 200 seeds.
"""

from __future__ import annotations

import doctest
import importlib.util
import sys
import tomllib
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from impact import emulate
from impact.datasets import regions
from impact.datasets.regions import AREAS, END, LOGS, MONTHS, START, Regions
from impact.study import Study

SPECIFICATION = Path(__file__).resolve().parents[3] / "shared" / "simulators" / "regions.py"
NULL = {"effect": 0.0, "activation": 0.0, "spillover": 0.0, "area_spread": 0.0, "selected": False}


@pytest.fixture(scope="module")
def trial() -> Regions:
    return regions(seed=1)


def matrix(found: Regions, column: str) -> np.ndarray:
    return found.months[column].to_numpy().reshape(-1, MONTHS)


@pytest.mark.parametrize("seed", [1, 2, 31])
@pytest.mark.parametrize("null", [False, True])
def test_same_seed_same_numbers_as_the_specification(seed, null):
    if not SPECIFICATION.exists():
        pytest.skip("the specification's own program is not here")
    loaded = importlib.util.spec_from_file_location("specification", SPECIFICATION)
    program = importlib.util.module_from_spec(loaded)
    loaded.loader.exec_module(program)
    theirs = program.sim(seed, **({"eff": 0, "eff_act": 0, "spill": 0, "area_sd": 0, "select": False} if null else {}))
    ours = regions(seed, **(NULL if null else {}))
    for name, column, level in (("y", "log_broad", 100), ("open", "log_open", 100), ("cost", "log_cost", 1)):
        np.testing.assert_allclose(matrix(ours, column) / 100, theirs[name] + np.log(level), atol=1e-12)
        effect = 100 * (theirs[name] - theirs[f"{name}0"])[theirs["tr"]][:, theirs["t0"] : theirs["t1"]].mean()
        assert ours.effect(column) == pytest.approx(effect, abs=1e-10)
    places = ours.municipalities
    assert (places["adoption"].notna() == theirs["tr"]).all()
    np.testing.assert_allclose(places[["east", "north"]], theirs["xy"])
    np.testing.assert_array_equal(places["population"], np.rint(theirs["pop"]))
    inside = places["adoption"].notna()
    assert (places["area"][inside] == [f"area {k + 1}" for k in theirs["D"][inside]]).all()
    near = ours.neighbours["neighbour"][ours.neighbours["municipality"].isin(places["municipality"][inside])]
    outside = set(near) - set(places["municipality"][inside])
    assert outside == set(places["municipality"][theirs["nb"]])


@pytest.mark.slow
def test_mean_effects_are_as_published():
    found = np.array([[t.effect(k) for k in LOGS] for t in map(regions, range(1, 201))])
    print(np.round(found.mean(axis=0), 2))
    np.testing.assert_allclose(found.mean(axis=0), [-0.8, -5.4, 0.3], atol=0.06)


def test_the_parts_add_up_and_the_logs_are_logs(trial):
    months = trial.months
    np.testing.assert_allclose(months["open"] + months["services"], months["broad"])
    np.testing.assert_allclose(months["cost"] * 100, 992 * months["open"] + 1392 * months["services"])
    for log, of in LOGS.items():
        np.testing.assert_allclose(months[log], 100 * np.log(months[of]))
    assert not months.drop(columns="adoption").isna().any().any()
    assert months.groupby("municipality").size().eq(MONTHS).all() and len(months) == 295 * MONTHS


def test_areas_are_as_large_as_they_should_be(trial):
    places = trial.municipalities
    inside = places["adoption"].notna()
    assert sorted(places["area"][inside].value_counts()) == sorted(AREAS)
    assert places["area"][~inside].is_unique
    assert set(places["adoption"].dropna().dt.strftime("%Y-%m")) == {"2017-08"}


def test_truth_is_coherent(trial):
    truth = trial.truth
    np.testing.assert_allclose(truth["difference"], truth["with_trial"] - truth["without_trial"])
    inside = trial.municipalities["adoption"].notna().to_numpy()
    for outcome in ("broad", "log_open", "cost"):
        rows = truth[(truth["outcome"] == outcome) & (truth["area"] == "all areas")]
        assert list(rows["time"]) == list(range(END - START))
        np.testing.assert_allclose(rows["with_trial"], matrix(trial, outcome)[inside, START:END].mean(axis=0))
    sizes = np.array(AREAS)
    by_area = [trial.effect("log_broad", area=f"area {k + 1}") for k in range(len(AREAS))]
    assert sizes @ by_area / sizes.sum() == pytest.approx(trial.effect("log_broad"))
    assert trial.effect("log_broad", area="neighbours") == pytest.approx(0.3 * 14.5 / 17)  # a ramp of six months


def test_without_effects_nothing_differs_and_places_are_drawn_by_lot():
    null = regions(3, **NULL)
    assert (null.truth["difference"] == 0).all()
    same = regions(3, **NULL | {"effect": -0.5})
    outside = null.months["adoption"].isna()
    assert null.months[outside].equals(same.months[outside])
    assert same.effect("log_broad") == pytest.approx(-50 * 14.5 / 17)


def test_study_file_fits_the_table(trial):
    declared = tomllib.loads(files("impact.datasets").joinpath("regions.toml").read_text(encoding="utf-8"))
    study = Study.from_mapping({k: v for k, v in declared.items() if k != "data"})
    sample = emulate(study, trial.months)
    assert len(sample) == 295 and np.isfinite(sample.adoption).sum() == 23
    assert sample.outcome("log_broad").shape == (295, MONTHS)
    sizes = np.unique(sample.cluster[np.isfinite(sample.adoption)], return_counts=True)[1]
    assert sorted(sizes) == sorted(AREAS)
    assert {o.name for o in study.outcomes} <= set(trial.truth["outcome"])


def test_it_says_that_it_is_simulated(trial):
    assert "SIMULATED" in trial.describe() and "no municipality in it exists" in trial.describe()
    assert repr(trial) == "Regions(seed=1)"


@pytest.mark.parametrize(
    ("arguments", "words"), [({"area_spread": -0.1}, "-0.1 between areas"), ({"activation": 3}, "activation of 3")]
)
def test_impossible_numbers_are_refused(arguments, words):
    with pytest.raises(ValueError, match=words):
        regions(**arguments)


def test_an_effect_that_is_not_in_the_truth_is_refused(trial):
    with pytest.raises(ValueError, match="no rows for outcome 'jobs'"):
        trial.effect("jobs")


def test_examples_in_docstrings():
    result = doctest.testmod(sys.modules["impact.datasets.regions"])
    assert result.attempted > 0 and result.failed == 0
