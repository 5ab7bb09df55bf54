"""Greedy matching in several dimensions against a slow solver that follows its definition word for word."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from impact.core.distance import METRICS, points
from impact.core.neighbours import Conditions
from impact.core.space import equal_rows, nearest


def slowly(place, focal, pool, ratio, replace, groups, order, score, tie, conditions):
    free, mine, pairs = pool.copy(), {int(i): set() for i in np.flatnonzero(focal)}, []

    def look(i):
        found = [
            (np.linalg.norm(place[i] - place[j]), tie[j], j)
            for j in np.flatnonzero(pool if replace else free)
            if groups[j] == groups[i] and j not in mine[i] and conditions.hold(np.array([i]), np.array([j]))[0]
        ]
        least = min(found, default=(np.inf,))[0]
        return least, min(((t, j) for gap, t, j in found if gap <= least + 1e-9), default=(0, None))[1]

    queue = sorted(np.flatnonzero(focal).tolist(), key=lambda i: tie[i])
    if order in ("largest", "smallest"):
        queue.sort(key=lambda i: (-score[i] if order == "largest" else score[i], tie[i]))
    if order == "data":
        queue.sort()
    for turn in range(int(ratio.max())):
        waiting = [i for i in queue if ratio[i] > turn and len(mine[i]) == turn]
        while waiting:
            if order == "closest":
                i = min(waiting, key=lambda i: (round(look(i)[0] / 1e-9) if look(i)[1] is not None else np.inf, tie[i]))
            else:
                i = waiting[0]
            waiting.remove(i)
            _, j = look(i)
            if j is not None:
                pairs.append((i, int(j)))
                mine[i].add(j)
                free[j] = False
    return sorted(pairs)


@st.composite
def problems(draw):
    n = draw(st.integers(2, 36))
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    place = rng.integers(0, 3, (n, 2)) * 1.0 if draw(st.booleans()) else rng.normal(size=(n, 3))
    role = rng.integers(0, 3, n)
    near = rng.integers(0, 5, (n, 1)) * 1.0
    return {
        "points": place, "focal": role == 0, "pool": role == 1, "ratio": rng.integers(1, draw(st.integers(2, 5)), n),
        "replace": draw(st.booleans()), "groups": rng.integers(0, draw(st.integers(1, 3)), n),
        "order": draw(st.sampled_from(["largest", "smallest", "closest", "data"])), "score": rng.normal(size=n),
        "tie": rng.permutation(n) * 1.0,
        "conditions": Conditions(near, np.array([draw(st.sampled_from([1.0, 9.0]))]), rng.integers(0, 9, (n, 1))),
    }  # fmt: skip


@settings(max_examples=300, deadline=None, derandomize=True)
@given(problems())
def test_pairs_are_those_of_the_slow_solver(problem):
    fast = sorted(map(tuple, nearest(**problem).tolist()))
    assert fast == slowly(problem.pop("points"), **problem)


@pytest.mark.parametrize("order", ["closest", "data"])
def test_hundreds_of_equals_and_a_pool_that_runs_out(order):
    place = np.repeat(np.arange(4.0), 100)[:, None]
    focal = np.arange(400) % 2 == 0
    pairs = nearest(place, focal, ~focal, order=order, tie=np.random.default_rng(0).permutation(400) * 1.0)
    assert len(pairs) == 200 == len(np.unique(pairs[:, 1])) and (place[pairs[:, 0]] == place[pairs[:, 1]]).all()
    few = nearest(place, place[:, 0] < 3, place[:, 0] == 3, order=order, tie=np.arange(400.0))
    assert len(few) == 100 == len(np.unique(few[:, 1]))


def test_nobody_to_pair_is_no_pairs():
    place, nobody = np.zeros((4, 2)), np.zeros(4, bool)
    assert nearest(place, nobody, ~nobody).shape == (0, 2) == nearest(place, ~nobody, nobody).shape


def test_equal_rows_share_a_code_and_there_is_one_zero():
    assert len(set(equal_rows(np.array([[0.0, 1], [-0.0, 1], [0, 2]])).tolist())) == 2


@pytest.mark.parametrize("metric", METRICS)
def test_points_have_the_distance_that_was_asked_for(metric):
    """Against the formulas, on full-rank columns."""
    rng = np.random.default_rng(0)
    x, d = rng.normal(size=(60, 3)) @ rng.normal(size=(3, 3)) + 5, rng.random(60) < 0.4
    got = points(metric, x, d, np.ones(60))
    within = np.vstack([x[a] - x[a].mean(axis=0) for a in (d, ~d)])
    s = within.T @ within / 58
    if metric == "robust_mahalanobis":
        x = x.argsort(axis=0).argsort(axis=0) + 1.0
        s = np.cov(x.T)
    inverse = {"euclidean": np.eye(3), "scaled_euclidean": np.diag(1 / np.diag(s))}.get(metric, np.linalg.inv(s))
    for i, j in [(0, 1), (5, 40), (17, 3)]:
        gap = x[i] - x[j]
        assert ((got[i] - got[j]) ** 2).sum() == pytest.approx(gap @ inverse @ gap, rel=1e-10)


def test_all_levels_of_a_factor_are_as_good_as_all_but_one():
    rng = np.random.default_rng(1)
    levels, age, d = np.eye(3)[rng.integers(0, 3, 80)], rng.normal(size=80), rng.random(80) < 0.4
    a = points("mahalanobis", np.column_stack([age, levels]), d, np.ones(80))
    b = points("mahalanobis", np.column_stack([age, levels[:, 1:]]), d, np.ones(80))
    assert np.allclose(np.linalg.norm(a[:9] - a[9:18], axis=1), np.linalg.norm(b[:9] - b[9:18], axis=1), rtol=1e-9)


def test_rows_without_weight_and_columns_that_do_not_vary_count_for_nothing():
    rng = np.random.default_rng(2)
    x, d, w = rng.normal(size=(50, 2)), rng.random(50) < 0.5, np.ones(50)
    w[:5] = 0
    far = x.copy()
    far[:5] += 1e3
    for metric in METRICS:
        whole = points(metric, np.column_stack([far, np.ones(50)]), d, w)[5:]
        assert np.allclose(whole, points(metric, x[5:], d[5:], w[5:]), rtol=1e-9)
