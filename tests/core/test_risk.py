"""Curves of time to event: their values, and their scores as derivatives, against a slow reference."""

from __future__ import annotations

import time as clock

import numpy as np
import pytest

from impact.core import risk, risk_sets

TIMES = np.array([0.0, 0.5, 1.0, 2.0, 3.5, 5.0, 7.0, 8.0, 12.0])
CAUSES = 3


def spells(seed, n=60, *, whole=True, entry=False, zero=True):
    """Rows with ties of events and censorings, exits at time zero, zero weights, and maybe later entries."""
    rng = np.random.default_rng(seed)
    length = rng.exponential(4.0, n)
    time = np.floor(length) if whole else np.round(length, 3)
    if not zero:
        time = time + 1
    status = rng.integers(0, CAUSES + 1, n)
    w = rng.gamma(2.0, 1.0, n)
    w[rng.random(n) < 0.15] = 0.0
    if not entry:
        return time, status, w, None
    begin = np.where(rng.random(n) < 0.5, np.floor(rng.uniform(0, 4, n)), 0.0)
    return np.where(begin >= time, np.where(begin > 0, begin + 1 + time, time), time), status, w, begin


CASES = {
    "ties": {"seed": 1},
    "continuous": {"seed": 2, "whole": False},
    "entries": {"seed": 3, "entry": True},
    "entries, continuous": {"seed": 4, "entry": True, "whole": False},
    "few rows": {"seed": 5, "n": 7},
    "nobody at time zero": {"seed": 6, "zero": False},
}

QUANTITIES = {
    "kaplan_meier": lambda t, s, w, e: risk.kaplan_meier(t, s, w, times=TIMES, entry=e),
    "nelson_aalen": lambda t, s, w, e: risk.nelson_aalen(t, s, w, times=TIMES, causes=CAUSES, entry=e),
    "aalen_johansen": lambda t, s, w, e: risk.aalen_johansen(t, s, w, times=TIMES, causes=CAUSES, entry=e),
    "time_lost": lambda t, s, w, e: risk.time_lost(t, s, w, horizon=TIMES, causes=CAUSES, entry=e),
    "restricted_mean": lambda t, s, w, e: risk.restricted_mean(t, s, w, horizon=TIMES, entry=e),
}


def slowly(time, status, w, entry):
    """Every quantity straight from its definition, in a loop over event times; works with complex weights."""
    live = np.real(w) > 0
    begin = np.full(len(time), -np.inf) if entry is None else np.where(entry > 0, entry, -np.inf)
    surviving, hazard = 1.0 + 0 * w[0], np.zeros(CAUSES, w.dtype)
    incidence = np.zeros(CAUSES, w.dtype)
    states = [(-np.inf, surviving, hazard.copy(), incidence.copy())]
    for u in np.unique(time[live & (status > 0)]):
        inside = live & (begin < u) & (time >= u)
        h = (
            np.array([w[inside & (time == u) & (status == k + 1)].sum() for k in range(CAUSES)])
            / w[inside].sum()
        )
        if (inside == (inside & (time == u) & (status > 0))).all():
            h = h / h.sum()
        hazard, incidence = hazard + h, incidence + surviving * h
        surviving = surviving * (1 - h.sum())
        states.append((u, surviving, hazard.copy(), incidence.copy()))

    def at(t):
        return [s for s in states if s[0] <= t][-1]

    def area(t):
        knots = [0.0, *(s[0] for s in states if 0 < s[0] <= t), t]
        return sum((b - a) * at(a)[3] for a, b in zip(knots[:-1], knots[1:], strict=True)) + 0 * incidence

    lost = np.array([area(t) for t in TIMES]).T
    return {
        "kaplan_meier": np.array([at(t)[1] for t in TIMES]),
        "nelson_aalen": np.array([at(t)[2] for t in TIMES]).T,
        "aalen_johansen": np.array([at(t)[3] for t in TIMES]).T,
        "time_lost": lost,
        "restricted_mean": TIMES - lost.sum(axis=0),
    }


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("quantity", QUANTITIES)
def test_values_equal_the_definition(quantity, case):
    time, status, w, entry = spells(**CASES[case])
    value, _ = QUANTITIES[quantity](time, status, w, entry)
    np.testing.assert_allclose(value, slowly(time, status, w, entry)[quantity], rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("quantity", QUANTITIES)
def test_scores_are_derivatives_by_complex_steps(quantity, case):
    """A step of 1e-30 in the imaginary direction has no rounding error: derivatives to machine precision."""
    time, status, w, entry = spells(**CASES[case])
    _, scores = QUANTITIES[quantity](time, status, w, entry)
    for i in range(len(w)):
        if w[i] == 0:
            assert not scores[i].any()
            continue
        nudged = w.astype(complex)
        nudged[i] += 1e-30j
        slope = slowly(time, status, nudged, entry)[quantity].imag / 1e-30
        np.testing.assert_allclose(scores[i], w[i] * slope, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("quantity", QUANTITIES)
def test_scores_are_derivatives_of_the_function_itself(quantity, case):
    """Central differences of fourth order, no reference in between: 1e-8 of the largest score."""
    time, status, w, entry = spells(**CASES[case])
    value, scores = QUANTITIES[quantity](time, status, w, entry)
    step = 2e-3
    for i in np.flatnonzero(w > 0):
        moved = []
        for by in (-2, -1, 1, 2):
            nudged = w.copy()
            nudged[i] *= 1 + by * step
            moved.append(QUANTITIES[quantity](time, status, nudged, entry)[0])
        slope = (moved[0] - 8 * moved[1] + 8 * moved[2] - moved[3]) / (12 * step)
        np.testing.assert_allclose(scores[i], slope, rtol=1e-8, atol=1e-8 * np.abs(scores).max())


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("quantity", QUANTITIES)
def test_invariances(quantity, case):
    time, status, w, entry = spells(**CASES[case])
    estimate = QUANTITIES[quantity]
    value, scores = estimate(time, status, w, entry)
    np.testing.assert_allclose(scores.sum(axis=0), 0, atol=1e-11)
    for scale in (2.0, 1e-9):
        again, scaled = estimate(time, status, scale * w, entry)
        np.testing.assert_allclose(again, value, rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(scaled, scores, rtol=1e-9, atol=1e-13)
    order = np.random.default_rng(0).permutation(len(w))
    again, shuffled = estimate(time[order], status[order], w[order], None if entry is None else entry[order])
    np.testing.assert_allclose(again, value, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(shuffled, scores[order], rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("quantity", QUANTITIES)
def test_weight_two_is_a_row_twice(quantity):
    time, status, w, entry = spells(3, entry=True)
    twice = np.arange(len(w)) % 3 == 0
    rows = np.concatenate([np.arange(len(w)), np.flatnonzero(twice)])
    doubled, scores = QUANTITIES[quantity](time, status, np.where(twice, 2 * w, w), entry)
    repeated, each = QUANTITIES[quantity](time[rows], status[rows], w[rows], entry[rows])
    np.testing.assert_allclose(repeated, doubled, rtol=1e-12, atol=1e-14)
    folded = each[: len(w)].copy()
    folded[twice] += each[len(w) :]
    np.testing.assert_allclose(folded, scores, rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("case", CASES)
def test_survival_and_incidences_add_up(case):
    time, status, w, entry = spells(**CASES[case])
    surviving, s = risk.kaplan_meier(time, status, w, times=TIMES, entry=entry)
    gone, f = risk.aalen_johansen(time, status, w, times=TIMES, entry=entry)
    mean, m = risk.restricted_mean(time, status, w, horizon=TIMES, entry=entry)
    lost, by_cause = risk.time_lost(time, status, w, horizon=TIMES, entry=entry)
    np.testing.assert_allclose(surviving + gone.sum(axis=0), 1, rtol=1e-13)
    np.testing.assert_allclose(s + f.sum(axis=1), 0, atol=1e-13)
    np.testing.assert_allclose(mean + lost.sum(axis=0), TIMES, rtol=1e-13)
    np.testing.assert_allclose(m + by_cause.sum(axis=1), 0, atol=1e-12)


@pytest.mark.parametrize("quantity", ["kaplan_meier", "nelson_aalen", "aalen_johansen"])
def test_asking_at_fewer_times_changes_nothing(quantity):
    time, status, w, entry = spells(4, entry=True, whole=False)
    ask = getattr(risk, quantity)
    all_times, few = np.unique(time), np.unique(time)[[3, 10]]
    value, scores = ask(time, status, w, times=all_times, entry=entry)
    less, fewer = ask(time, status, w, times=few, entry=entry)
    np.testing.assert_array_equal(less, value[..., [3, 10]])
    np.testing.assert_array_equal(fewer, scores[..., [3, 10]])


def test_zero_weights_are_rows_left_out():
    time, status, w, _ = spells(1)
    live = w > 0
    value, scores = risk.aalen_johansen(time, status, w, times=TIMES, causes=CAUSES)
    only, own = risk.aalen_johansen(time[live], status[live], w[live], times=TIMES, causes=CAUSES)
    np.testing.assert_array_equal(value, only)
    np.testing.assert_array_equal(scores[live], own)
    assert not scores[~live].any()


def test_events_come_before_censorings_at_a_tie():
    """Three rows leave at 2, one of them censored: two of the three at risk have an event."""
    time, status, w = np.array([2.0, 2.0, 2.0]), np.array([1, 0, 2]), np.ones(3)
    surviving, _ = risk.kaplan_meier(time, status, w, times=[1.9, 2.0])
    gone, _ = risk.aalen_johansen(time, status, w, times=[2.0])
    np.testing.assert_allclose(surviving, [1, 1 / 3])
    np.testing.assert_allclose(gone[:, 0], [1 / 3, 1 / 3])


def test_an_exit_at_time_zero_counts():
    time, status, w = np.array([0.0, 0.0, 3.0, 4.0]), np.array([1, 0, 1, 0]), np.ones(4)
    for entry in (None, np.zeros(4)):
        value, _ = risk.kaplan_meier(time, status, w, times=[-1.0, 0.0, 3.0], entry=entry)
        np.testing.assert_allclose(value, [1, 3 / 4, 3 / 8])
        mean, _ = risk.restricted_mean(time, status, w, horizon=[4.0], entry=entry)
        np.testing.assert_allclose(mean, 3 * 3 / 4 + 3 / 8)


def test_nobody_is_at_risk_at_their_own_entry():
    time, status, w = np.array([2.0, 5.0, 5.0]), np.array([1, 1, 0]), np.ones(3)
    table = risk_sets.counts(time, status, w, entry=np.array([0.0, 2.0, 1.0]))
    np.testing.assert_array_equal(table.at_risk, [2, 2])
    np.testing.assert_array_equal(table.rows_at_risk, [2, 2])


def test_survival_is_exactly_zero_when_everybody_has_left():
    """Sums of weights that do not add up in floating point must not leave a survivor of 1e-17."""
    rng = np.random.default_rng(8)
    time, w = rng.integers(1, 9, 400).astype(float), rng.gamma(1, 1, 400)
    value, scores = risk.kaplan_meier(time, np.ones(400, int), w, times=[8.0, 20.0])
    assert (value == 0).all() and not scores.any()


def test_without_events_nothing_happens():
    time, w = np.array([1.0, 2.0]), np.ones(2)
    for status, weights in ((np.zeros(2, int), w), (np.ones(2, int), 0 * w)):
        assert (risk.kaplan_meier(time, status, weights, times=[1.0])[0] == 1).all()
        value, scores = risk.aalen_johansen(time, status, weights, times=[1.0], causes=2)
        assert value.shape == (2, 1) and scores.shape == (2, 2, 1) and not value.any() and not scores.any()
        assert risk.restricted_mean(time, status, weights, horizon=[2.0])[0] == 2


def test_the_table_of_events():
    time, status = np.array([1.0, 1.0, 2.0, 3.0, 3.0]), np.array([1, 0, 2, 1, 1])
    table = risk_sets.counts(time, status, np.array([1.0, 2.0, 0.5, 1.0, 0.0]))
    np.testing.assert_array_equal(table.time, [1, 2, 3])
    np.testing.assert_array_equal(table.at_risk, [4.5, 1.5, 1])
    np.testing.assert_array_equal(table.rows_at_risk, [4, 2, 1])
    np.testing.assert_array_equal(table.events, [[1, 0], [0, 0.5], [1, 0]])
    np.testing.assert_array_equal(table.rows_events, [[1, 0], [0, 1], [1, 0]])


def test_number_at_risk_at_any_time():
    time, w = np.array([1.0, 2.0, 2.0, 5.0]), np.array([1.0, 2.0, 0.0, 0.5])
    weight, rows = risk_sets.number_at_risk(time, w, times=[0, 1, 1.5, 2, 5, 6])
    np.testing.assert_allclose(weight, [3.5, 3.5, 2.5, 2.5, 0.5, 0])
    np.testing.assert_array_equal(rows, [3, 3, 2, 2, 1, 0])
    weight, rows = risk_sets.number_at_risk(time, w, times=[0, 1, 1.5, 4], entry=np.array([0, 1.0, 0, 3.0]))
    np.testing.assert_array_equal(rows, [1, 1, 1, 1])
    np.testing.assert_allclose(weight, [1, 1, 2, 0.5])


def test_impossible_rows_are_refused():
    ones = np.ones(2, int)
    with pytest.raises(ValueError, match="1 rows enter at or after the time they leave"):
        risk.kaplan_meier(np.array([1.0, 2.0]), ones, ones, times=[1], entry=np.array([0.0, 2.0]))
    with pytest.raises(ValueError, match="Statuses run from 0"):
        risk.aalen_johansen(np.array([1.0, 2.0]), np.array([1, 4]), ones, times=[1], causes=3)


def test_a_register_takes_seconds():
    """300,000 rows in whole months, three causes and 18 times, with their scores."""
    rng = np.random.default_rng(9)
    n = 300_000
    time, status, w = rng.integers(0, 37, n).astype(float), rng.integers(0, 4, n), rng.gamma(2, 1, n)
    began = clock.process_time()
    risk.aalen_johansen(time, status, w, times=np.arange(1.0, 19.0), causes=3)
    assert clock.process_time() - began < 5
