"""Checks of staggered adoption in repeated samples: rejecting what is true one time in twenty, finding what they name.

The verdict is that of a test at five per cent. What it would have found with 80% power is given for one value.
"""

from __future__ import annotations

import numpy as np
import pytest

from impact import Outcome, Study, emulate
from impact.checks.anticipation import anticipation
from impact.checks.composition import composition
from impact.checks.mean_reversion import mean_reversion
from impact.checks.placebo_dates import placebo_dates
from impact.checks.spillover import spillover
from impact.datasets.regions import regions
from impact.did import callaway_santanna
from tests.checks.staggered import panel, sample_of
from tests.checks.test_mean_reversion import WINDOWS, areas
from tests.checks.test_staggered import line

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::impact.ImpactWarning")]

REPS = 400


def of_panel(check, **about):
    def run(seed):
        return check(sample_of(panel(seed, effect=1.0, **about), cluster="group"), estimator=callaway_santanna.att)

    return run


def of_leavers(seed, n=120, share=0.0):
    table, r = panel(seed, n=n, effect=1.0), np.random.default_rng(seed)
    for k in range(2, 9):
        table.loc[r.random(n) < 0.1 + share * (table["start"] <= k), f"y_{k}"] = np.nan
    return composition(sample_of(table, missing="keep"), margin=None)


def of_neighbours(seed, spill=0.0):
    table, pairs, _ = line(121, seed=seed, spill=spill)
    return spillover(sample_of(table), neighbours=pairs)


def of_reversion(seed):
    return mean_reversion(sample_of(areas(seed, select=False)), **WINDOWS)


CASES = {
    "anticipation, 60 areas": of_panel(anticipation),
    "anticipation, 6 of 24 clusters": of_panel(anticipation, n=72, clusters=24, starts=(5.0, np.nan, np.nan, np.nan)),
    "placebo dates, 60 areas": of_panel(placebo_dates),
    "placebo dates, 6 of 24 clusters": of_panel(placebo_dates, n=72, clusters=24, starts=(5.0,) + 3 * (np.nan,)),
    "mean reversion, 30 of 120 areas": of_reversion,
    "neighbours, 40 of 121 areas": of_neighbours,
    "composition, 120 units": of_leavers,
}


@pytest.mark.parametrize("name", CASES)
def test_what_is_true_is_rejected_one_time_in_twenty(name):
    rejected = np.mean([CASES[name](seed).passed is False for seed in range(REPS)])
    print(f"{name}: rejected {rejected}")
    assert abs(rejected - 0.05) < 3 * np.sqrt(0.05 * 0.95 / REPS) + 0.01, rejected


PLANTED = {
    "neighbours": (of_neighbours, "spill"),
    "composition": (of_leavers, "share"),
}


@pytest.mark.parametrize("name", PLANTED)
def test_what_is_named_is_found_in_four_samples_of_five(name):
    run, planted = PLANTED[name]
    named = np.mean([run(seed).table["smallest_detectable"][0] for seed in range(40)])
    found = np.mean([run(seed, **{planted: named}).passed is False for seed in range(1000, 1000 + REPS)])
    print(f"{name}: {named:.3f} named, found {found}")
    assert abs(found - 0.8) < 3 * np.sqrt(0.8 * 0.2 / REPS) + 0.04, found


def test_what_comes_back_by_itself_is_taken_off_an_effect_without_bias():
    """Thirty areas of 120, those that did worst: the effect is found where mean reversion is taken off."""
    rows = [mean_reversion(sample_of(areas(seed, effect=0.5)), **WINDOWS).table for seed in range(REPS)]
    found, left = (np.array([(r["estimate"][k], r["conf_low"][k], r["conf_high"][k]) for r in rows]) for k in (2, 3))
    bias, rest = found[:, 0].mean() - 0.5, left[:, 0].mean() - 0.5
    covered = np.mean((left[:, 1] < 0.5) & (left[:, 2] > 0.5))
    print(f"bias {bias:.3f}, after mean reversion is taken off {rest:.3f}, covered {covered}")
    assert bias < -0.3 and abs(rest) < 0.06
    assert covered > 0.92


REGIONS = {"history": 43, "horizon": 17, "baseline": 24}


def growth(history: np.ndarray) -> np.ndarray:
    """What the regions were chosen for: the change of a year's mean from 2014 to 2016, seen from August 2017."""
    return history[:, -19:-7].mean(axis=1) - history[:, -43:-31].mean(axis=1)


def test_regions_chosen_in_bad_times_would_have_recovered_by_themselves():
    """Without any effect the municipalities of the trial do better, for they were chosen when they did worst."""
    found, left = [], []
    study = Study(title="t", unit="municipality", period="month", adoption="adoption", cluster="area",
                  outcomes=Outcome("log_broad"))  # fmt: skip
    for seed in range(1, 101):
        months = regions(seed, effect=0, activation=0, spillover=0, area_spread=0).months
        check = mean_reversion(emulate(study, months[months["month"] < "2019-01"]), rule=growth, **REGIONS)
        _, _, value, rest = check.table["estimate"]
        found.append(value)
        left.append(rest)
    bias, rest, error = np.mean(found), np.mean(left), np.std(left, ddof=1) / 10
    print(f"bias {bias:.2f} per cent, after mean reversion is taken off {rest:.2f} ({error:.2f})")
    assert bias < -0.5 and abs(rest) < 3 * error
