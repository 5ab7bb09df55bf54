"""Assignments of least total distance, against dense solvers and linear programming on small problems."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment, linprog

from impact.core.assignment import components, cover, neighbours, on_a_graph, on_a_line


def problems(count):
    """Two sets of numbers, some rounded so that many are equal."""
    r = np.random.default_rng(0)
    for _ in range(count):
        n, m, places = r.integers(1, 9), r.integers(1, 13), r.choice([0, 1, 4])
        yield np.round(r.normal(0, 1, n), places), np.round(r.normal(r.normal(), 1, m), places)


def table(x, y):
    return np.abs(x[:, None] - y)


def different(i):
    return len(np.unique(i)) == len(i)


def test_pairs_on_a_line_have_the_least_total_distance():
    for x, y in problems(500):
        if len(x) > len(y):
            with pytest.raises(ValueError, match="leave some out"):
                on_a_line(x, y)
            continue
        i, j = on_a_line(x, y)
        d = table(x, y)
        assert len(i) == len(x) and different(i) and different(j)
        assert d[i, j].sum() == pytest.approx(d[linear_sum_assignment(d)].sum(), abs=1e-9)


@pytest.mark.parametrize("drop", [0.05, 0.5, 2.0])
def test_an_x_stays_alone_where_that_is_cheaper(drop):
    for x, y in problems(500):
        i, j = on_a_line(x, y, drop=drop)
        d = table(x, y)
        either = np.hstack([np.where(d <= drop, d, 1e3), np.full((len(x), len(x)), drop)])
        least = either[linear_sum_assignment(either)].sum()
        assert different(i) and different(j) and (d[i, j] <= drop).all()
        assert d[i, j].sum() + drop * (len(x) - len(i)) == pytest.approx(least, abs=1e-9)


def test_pairs_on_a_line_never_cross():
    for x, y in problems(200):
        i, j = on_a_line(x, y, drop=1.0)
        order = np.argsort(x[i], kind="stable")
        assert (np.diff(y[j][order]) >= 0).all() or len(i) < 2


def test_a_large_problem_agrees_with_the_dense_solver():
    r = np.random.default_rng(1)
    x, y = r.normal(0.5, 1, 300), r.normal(0, 1, 400)
    i, j = on_a_line(x, y)
    d = table(x, y)
    assert d[i, j].sum() == pytest.approx(d[linear_sum_assignment(d)].sum(), rel=1e-12)


def test_pairs_on_a_sparse_graph():
    for x, y in problems(200):
        d = table(x, y)
        i, j = np.nonzero(d <= 1)
        drop = 20.0
        a, b = on_a_graph(i, j, d[i, j], d.shape, drop=drop)
        either = np.hstack([np.where(d <= 1, d, 1e3), np.full((len(x), len(x)), drop)])
        least = either[linear_sum_assignment(either)].sum()
        assert different(a) and different(b) and (d[a, b] <= 1).all()
        assert d[a, b].sum() + drop * (len(x) - len(a)) == pytest.approx(least, abs=1e-9)


def test_a_sparse_graph_is_solved_in_parts_as_it_is_whole():
    """700 rows make several parts of 256."""
    r = np.random.default_rng(2)
    x, y = np.sort(r.uniform(0, 1000, 700)), r.uniform(0, 1000, 900)
    d = table(x, y)
    i, j = np.nonzero(d <= 1.5)
    a, b = on_a_graph(i, j, d[i, j], d.shape, drop=2e3)
    either = np.hstack([np.where(d <= 1.5, d, 1e9), np.full((700, 700), 2e3)])
    assert d[a, b].sum() + 2e3 * (700 - len(a)) == pytest.approx(either[linear_sum_assignment(either)].sum(), rel=1e-12)


def least_cover(d, reach):
    """Every row and column with an edge no longer than ``reach`` covered, by linear programming."""
    i, j = np.nonzero(d <= reach)
    if not len(i):
        return 0.0
    rows = np.zeros((sum(d.shape), len(i)))
    rows[i, np.arange(len(i))] = rows[d.shape[0] + j, np.arange(len(i))] = 1
    rows = rows[rows.any(axis=1)]
    return linprog(d[i, j], A_ub=-rows, b_ub=-np.ones(len(rows))).fun


@pytest.mark.parametrize("reach", [0.1, 0.5, np.inf])
def test_a_cover_has_the_least_total_distance_and_is_made_of_stars(reach):
    for x, y in problems(150):
        d = table(x, y)
        i, j = neighbours(x, y, reach)
        assert (d[i, j] <= reach).all()
        a, b = cover(i, j, d[i, j], d.shape)
        assert d[a, b].sum() == pytest.approx(least_cover(d, reach), abs=1e-9)
        assert set(a) == set(np.flatnonzero(d.min(axis=1) <= reach))
        assert set(b) == set(np.flatnonzero(d.min(axis=0) <= reach))
        many = np.bincount(a, minlength=len(x))[a], np.bincount(b, minlength=len(y))[b]
        assert not ((many[0] > 1) & (many[1] > 1)).any()
        rows, columns = components(a, b, d.shape)
        assert (rows[a] == columns[b]).all() and ((rows >= 0) == np.isin(np.arange(len(x)), a)).all()
        assert len(np.unique(rows[a])) == max(rows.max(), columns.max()) + 1


def test_on_a_line_few_edges_are_looked_at():
    """Of a million distances the cover needs some eight thousand."""
    r = np.random.default_rng(3)
    x, y = r.normal(0.5, 1, 500), r.normal(0, 1, 2000)
    assert len(neighbours(x, y)[0]) < 4 * 2500
