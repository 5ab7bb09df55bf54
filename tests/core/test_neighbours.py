"""Greedy matching against a slow solver that follows its definition word for word, and its limits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from impact.core.neighbours import ORDERS, nearest


def slowly(score, focal, pool, ratio, caliper, replace, groups, order):
    """Each focal row looks at every candidate; ties as the module says."""
    free, mine, pairs = pool.copy(), {int(i): set() for i in np.flatnonzero(focal)}, []

    def look(i):
        c = [j for j in np.flatnonzero(pool if replace else free) if groups[j] == groups[i] and j not in mine[i]]
        below = [(score[i] - score[j], 1, -j, j) for j in c if score[j] < score[i]]
        above = [(score[j] - score[i], 0, j, j) for j in c if score[j] >= score[i]]
        gap, _, _, j = min(below + above, default=(np.inf, 0, 0, None))
        return (gap, j) if gap <= caliper else (np.inf, None)

    def pair(i, j):
        pairs.append((i, j))
        mine[i].add(j)
        free[j] = False

    queue = [int(i) for i in np.flatnonzero(focal)]
    if order in ("largest", "smallest"):
        queue.sort(key=lambda i: -score[i] if order == "largest" else score[i])
    for _ in range(ratio):
        if order == "closest" and not replace:
            # A list in order of gap, as first asked; who asks again goes before its equals.
            asked = sorted(((*look(i), i) for i in queue), key=lambda a: a[0])
            while asked:
                gap, j, i = asked.pop(0)
                if j is None:
                    continue
                if free[j]:
                    pair(i, j)
                    continue
                gap, j = look(i)
                asked.insert(sum(a[0] < gap for a in asked), (gap, j, i))
        else:
            for i in queue:
                _, j = look(i)
                if j is not None:
                    pair(i, j)
        queue = [i for i in queue if mine[i]]
    return sorted(pairs)


@st.composite
def problems(draw):
    n = draw(st.integers(2, 40))
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    # Quarters: many exact ties, and gaps that are exact in binary.
    score = rng.integers(-6, 7, n) / 4 if draw(st.booleans()) else rng.normal(size=n)
    role = rng.integers(0, 3, n)
    return {
        "score": score,
        "focal": role == 0,
        "pool": role == 1,
        "ratio": draw(st.integers(1, 4)),
        "caliper": draw(st.sampled_from([0.0, 0.25, 0.7, np.inf])),
        "replace": draw(st.booleans()),
        "groups": rng.integers(0, draw(st.integers(1, 4)), n),
        "order": draw(st.sampled_from([o for o in ORDERS if o != "random"])),
    }


@settings(max_examples=600, deadline=None, derandomize=True)
@given(problems())
def test_pairs_are_those_of_the_slow_solver(problem):
    fast = nearest(**problem)
    assert fast.shape[1] == 2
    assert sorted(map(tuple, fast.tolist())) == slowly(**problem)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(problems(), st.sampled_from(ORDERS))
def test_every_promise_is_kept(problem, order):
    pairs = nearest(**problem | {"order": order}, rng=1)
    i, j = pairs.T
    assert problem["focal"][i].all() and problem["pool"][j].all()
    assert (np.abs(problem["score"][i] - problem["score"][j]) <= problem["caliper"]).all()
    assert (problem["groups"][i] == problem["groups"][j]).all()
    assert len(np.unique(pairs, axis=0)) == len(pairs)
    assert np.unique(i, return_counts=True)[1].max(initial=0) <= problem["ratio"]
    if not problem["replace"]:
        assert len(np.unique(j)) == len(j)


def test_everyone_gets_a_first_partner_before_anyone_a_second():
    score = np.array([1.0, 1.0, 1.0, 0.9, 0.1])
    focal = np.array([True, True, False, False, False])
    assert nearest(score, focal, ~focal, ratio=2).tolist() == [[0, 2], [1, 3], [0, 4]]


def test_ties_go_to_the_first_row_above_and_the_last_row_below():
    score = np.array([0.0, 1.0, 1.0, 1.0, 0.5, 0.5])
    one = np.arange(6) == 0
    assert nearest(score, one, ~one).tolist() == [[0, 4]]
    score[0] = 2.0
    assert nearest(score, one, ~one).tolist() == [[0, 3]]
    score[0] = 0.75
    assert nearest(score, one, ~one).tolist() == [[0, 1]]


def test_groups_may_be_words():
    score, focal = np.zeros(4), np.array([True, True, False, False])
    assert nearest(score, focal, ~focal, groups=np.array(["b", "a", "a", "b"])).tolist() == [[0, 3], [1, 2]]


def test_a_random_order_is_set_by_its_seed():
    rng = np.random.default_rng(1)
    score, focal = rng.normal(size=200), rng.random(200) < 0.3
    a, b, c = (nearest(score, focal, ~focal, order="random", rng=seed) for seed in (1, 1, 2))
    assert np.array_equal(a, b) and not np.array_equal(a, c)


def test_nobody_to_pair_is_no_pairs():
    score = np.arange(4.0)
    for focal, pool in ((score < 0, score >= 0), (score >= 0, score < 0)):
        for replace in (False, True):
            assert nearest(score, focal, pool, replace=replace).shape == (0, 2)


def test_an_unknown_order_is_refused():
    with pytest.raises(ValueError, match="'farthest'.*largest, smallest, closest, data, random"):
        nearest(np.zeros(2), np.array([True, False]), np.array([False, True]), order="farthest")


def test_it_scales():
    """Half a million rows in seconds: every step is n log n, in time and in memory."""
    rng = np.random.default_rng(2)
    n = 500_000
    score, focal = rng.normal(size=n), rng.random(n) < 0.1
    pairs = nearest(score, focal, ~focal, caliper=0.01, groups=rng.integers(0, 5, n))
    assert len(pairs) > 0.99 * focal.sum()
