"""Curves and restricted means in repeated samples: no bias, and intervals that cover as often as they say.

Coverage is held to three standard errors of a binomial share, and half a point for what large samples leave.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from impact import Durations, Event, Study, emulate
from impact.matching import propensity
from impact.survival import aalen_johansen, kaplan_meier, restricted_mean

pytestmark = pytest.mark.slow

CAUSES = {1: "job", 2: "education", 3: "other"}
HAZARDS = {True: np.array([0.05, 0.015, 0.02]), False: np.array([0.035, 0.02, 0.01])}  # a month, by arm
END = 12


def share(hazard, t):
    """The share that has left by each cause by month t."""
    return hazard / hazard.sum() * (1 - np.exp(-hazard.sum() * t))


def mean_months(hazard, end):
    """Months until leaving before the end, with leaving noticed at the end of its month."""
    return np.exp(-hazard.sum() * np.arange(end)).sum()


def lost_months(hazard, end):
    return sum(share(hazard, t) for t in range(1, end))


def exits(rng, hazard, rows):
    """Whole months to the first exit and its cause; hazards (n, 3)."""
    whole = hazard.sum(axis=1)
    month = np.ceil(rng.exponential(1 / whole, rows))
    cause = 1 + (rng.random(rows)[:, None] * whole[:, None] > hazard.cumsum(axis=1)).sum(axis=1)
    return month, cause


def start(n=400, cluster=None, **about):
    """A sample whose durations each repetition replaces; half of the units in each arm."""
    table = pd.DataFrame({"id": np.arange(n), "arm": np.arange(n) % 2, "months": 1.0, "exit": 1 + np.arange(n) % 3})
    table["x"], table["office"] = np.linspace(-1, 1, n), np.arange(n) // 8
    study = Study(
        title="t", unit="id", treatment="arm", outcomes=Event("months", "exit", CAUSES), cluster=cluster, **about
    )
    return emulate(study, table)


def watched(sample, month, cause, until, entry=None):
    """The sample with these durations, seen until a month; those who leave before their entry are left out."""
    seen = month <= until
    time, status = np.minimum(month, until), np.where(seen, cause, 0)
    if entry is None:
        return replace(sample, outcomes={"months": Durations(time, status)})
    kept = time > entry
    late = replace(sample, outcomes={"months": Durations(time, status, entry)})
    return late.take(np.flatnonzero(kept))


ANSWERS = {
    "survival": (lambda s: kaplan_meier.survival(s, times=[6, END]),
                 [np.exp(-HAZARDS[a].sum() * t) for a in (True, False) for t in (6, END)]),
    "cumulative incidence": (lambda s: aalen_johansen.cumulative_incidence(s, times=END),
                             [f for a in (True, False) for f in share(HAZARDS[a], END)]),
    "risk difference": (lambda s: aalen_johansen.risk_difference(s, times=END),
                        share(HAZARDS[True], END) - share(HAZARDS[False], END)),
    "risk ratio": (lambda s: aalen_johansen.risk_ratio(s, times=END),
                   share(HAZARDS[True], END) / share(HAZARDS[False], END)),
    "months until leaving": (lambda s: restricted_mean.difference(s, horizon=END),
                             [mean_months(HAZARDS[True], END) - mean_months(HAZARDS[False], END)]),
    "months lost": (lambda s: restricted_mean.time_lost(s, horizon=END),
                    lost_months(HAZARDS[True], END) - lost_months(HAZARDS[False], END)),
}  # fmt: skip


def judge(name, draws, truth, *, linear=True):
    """Values within 3.5 Monte Carlo errors of the truth, errors as large as stated, intervals that cover as stated.

    A ratio is skewed: only its intervals are judged.
    """
    values = np.array([e.value for e in draws])
    low, high = (np.array([e.interval()[side] for e in draws]) for side in (0, 1))
    error = values.std(axis=0, ddof=1)
    reps = len(draws)
    if linear:
        stated = np.sqrt(np.mean([e.std_error**2 for e in draws], axis=0))
        assert (np.abs(values.mean(axis=0) - truth) < 3.5 * error / np.sqrt(reps)).all()
        assert (np.abs(stated / error - 1) < 4 / np.sqrt(2 * reps)).all()
    covered = ((low <= truth) & (truth <= high)).mean(axis=0)
    print(f"{name}: bias {np.round(values.mean(axis=0) - truth, 4)}, covered {np.round(covered, 3)}")
    assert (np.abs(covered - 0.95) < 3 * np.sqrt(0.95 * 0.05 / reps) + 0.005).all(), covered


@pytest.mark.parametrize("case", ["censored", "late entries", "sampling weights", "clustered"])
def test_values_and_intervals(case):
    rng = np.random.default_rng(2024)
    reps = 600
    sample = start(cluster="office" if case == "clustered" else None)
    n, d = len(sample), sample.treated
    hazard = np.where(d[:, None], HAZARDS[True], HAZARDS[False])
    draws = {name: [] for name in ANSWERS}
    for _ in range(reps):
        entry, rows = None, sample
        if case == "clustered":  # offices whose clients share their luck: one draw serves pairs of an arm in an office
            month, cause = exits(rng, hazard, n)
            twin = np.arange(n) - (np.arange(n) % 4 >= 2) * 2
            month, cause = month[twin], cause[twin]
        else:
            month, cause = exits(rng, hazard, n)
        until = np.ceil(rng.uniform(6, 30, n))
        until[:4] = 30  # somebody of each arm is seen to the end, for ratios to exist
        if case == "late entries":
            entry = np.where(rng.random(n) < 0.4, rng.integers(0, 4, n), 0).astype(float)
        if case == "sampling weights":  # those who leave fast are seen half as often, and count twice
            fast = month <= 6
            keep = rng.random(n) < np.where(fast, 0.5, 1.0)
            w = np.where(fast, 2.0, 1.0) * keep
            rows = replace(sample, weights=w, sampling=w)
        seen = watched(rows, month, cause, until, entry)
        for name, (estimate, _) in ANSWERS.items():
            draws[name].append(estimate(seen))
    for name, (_, truth) in ANSWERS.items():
        judge(name, draws[name], np.asarray(truth), linear=name != "risk ratio")


def test_estimated_weights():
    """Confounding by x, undone by odds weights; their error is part of the interval, for the treated."""
    rng = np.random.default_rng(7)
    reps, n = 500, 500
    draws, naive, values = [], [], []
    for _ in range(reps):
        x = rng.normal(size=n)
        d = rng.random(n) < 1 / (1 + np.exp(0.3 - 0.8 * x))
        base = np.exp(0.5 * x)[:, None]
        month, cause = exits(rng, base * HAZARDS[False], n)  # no effect on anybody
        until = np.ceil(rng.uniform(6, 30, n))
        table = pd.DataFrame({"id": np.arange(n), "arm": d.astype(int), "x": x, "months": np.minimum(month, until),
                              "exit": np.where(month <= until, cause, 0)})  # fmt: skip
        study = Study(title="t", unit="id", treatment="arm", covariates="x", outcomes=Event("months", "exit", CAUSES))
        sample = emulate(study, table)
        draws.append(aalen_johansen.risk_difference(propensity.weight(sample), times=END))
        naive.append(aalen_johansen.risk_difference(sample, times=END).value)
        values.append(restricted_mean.difference(propensity.weight(sample), horizon=END))
    judge("risk difference", draws, np.zeros(3))
    judge("months until leaving", values, np.zeros(1))
    assert np.mean(naive, axis=0)[0] > 0.05
