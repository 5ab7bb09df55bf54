"""Many comparisons at once give what the careful functions give for each, or leave it to them."""

from __future__ import annotations

import numpy as np
import pytest

from impact.core import doubly_robust, staggered
from impact.core.cohorts import Rows

STARTS = np.array([3.0, 4.0, 6.0, np.inf])


def panel(n, p=3, seed=0, gaps=0.0):
    r = np.random.default_rng(seed)
    x = r.normal(size=(n, p)) * 10.0 ** np.arange(p) if p else np.zeros((n, 0))
    pull = np.zeros((n, 4)) + (x[:, :1] * np.array([0.5, 0.2, 0.0, -0.3]) if p else 0.0)
    group = STARTS[(pull + r.gumbel(size=(n, 4))).argmax(axis=1)]
    group[: n // 50] = -np.inf
    y = 1e6 + r.normal(size=(n, 1)) * 100 + np.cumsum(r.normal(size=(n, 7)), axis=1)
    y += x[:, :1] * np.arange(7) * 0.3 if p else 0.0
    y[r.random((n, 7)) < gaps] = np.nan
    return y, x, r.uniform(0.5, 2, n) * (r.random(n) > 0.02), group


def compared(y, x, w, group, g, cutoff, at, base, method, seen=None):
    rows = Rows(y, x, w, group)
    mass = rows.part.w if rows.seen is None else rows.part.w * (rows.seen[at[0]] & rows.seen[base[0]])
    out = np.zeros((len(at), len(y)))
    which = rows.compare(g, cutoff)
    value = staggered.effects(rows, which, at, base, method, mass, rows.weigh(mass, which), out, np.arange(len(at)))
    among = (w > 0) & ((group == g) | (group > cutoff)) & ~np.isnan(y[:, at] + y[:, base]).any(axis=1)
    found = doubly_robust.levels((y[:, at] - y[:, base])[among], group[among] == g, x[among], w[among], "ATT", method)
    scores = np.zeros((len(y), len(at)))
    scores[among] = found.treated_scores - found.comparison_scores
    return value, out.T, found.treated - found.comparison, scores


@pytest.mark.parametrize("method", ["dr", "reg", "ipw"])
@pytest.mark.parametrize("n", [400, 90_000])
@pytest.mark.parametrize(("g", "cutoff"), [(3.0, 3.0), (3.0, 5.0), (4.0, 2.0), (6.0, 7.0)])
def test_it_gives_what_the_careful_functions_give(method, n, g, cutoff):
    at, base = np.array([3, 4, 6, 1]), np.array([1, 1, 1, 0])
    value, scores, want, exact = compared(*panel(n), g, cutoff, at, base, method)
    np.testing.assert_allclose(value, want, rtol=1e-8, atol=1e-9)
    np.testing.assert_allclose(scores, exact, atol=3e-7 * np.abs(exact).max())


@pytest.mark.parametrize("method", ["dr", "reg", "ipw"])
def test_units_that_are_not_seen_have_no_say(method):
    value, scores, want, exact = compared(*panel(600, gaps=0.1), 4.0, 4.0, np.array([4]), np.array([2]), method)
    np.testing.assert_allclose(value, want, rtol=1e-8, atol=1e-9)
    np.testing.assert_allclose(scores, exact, atol=3e-7 * np.abs(exact).max())


def test_without_covariates_the_three_are_one():
    y, x, w, group = panel(300, p=0)
    for method in ("dr", "reg", "ipw"):
        value, scores, want, exact = compared(y, x, w, group, 3.0, 4.0, np.array([5]), np.array([1]), method)
        np.testing.assert_allclose(value, want, rtol=1e-9)
        np.testing.assert_allclose(scores, exact, atol=1e-12)


def ask(x, w=None, method="dr", n=200, g=3.0):
    y, _, _, group = panel(n)
    rows = Rows(y, x, np.ones(n) if w is None else w, group)
    at, base = np.array([4]), np.array([1])
    which = rows.compare(g, 3.0)
    mass = rows.part.w
    return staggered.effects(rows, which, at, base, method, mass, rows.weigh(mass), np.zeros((1, n)), np.array([0]))


def test_what_it_cannot_do_safely_it_leaves():
    n = 200
    _, x, _, group = panel(n)
    assert ask(x) is not None
    alone = np.column_stack([x[:, 0], group == 3.0])  # tells the group apart
    assert ask(alone) is None and ask(alone, method="ipw") is None
    assert ask(alone, method="reg") is None  # and is nothing among the others
    nearly = np.column_stack([x[:, 0], x[:, 0] + 1e-5 * x[:, 1]])
    assert ask(nearly, method="reg") is None
    assert ask(x, w=(group == 3.0) * 1.0) is None  # nobody to compare with
    few = np.where(group == 3.0, 1.0, 0.0)
    few[np.flatnonzero(group > 3.0)[:4]] = 1.0
    assert ask(x, w=few, method="reg") is None


def test_comparisons_are_runs_of_groups():
    y, x, w, group = panel(300)
    rows = Rows(y, x, w, group)
    for g in (3.0, 4.0, 6.0):
        for cutoff in (1.0, 3.0, 4.5, 6.0, 9.0):
            which = rows.compare(g, cutoff)
            others = np.concatenate([rows.order[rows.part.run(run)] for run in which.others])
            want = np.flatnonzero((w > 0) & (group > cutoff) & (group != g))
            np.testing.assert_array_equal(np.sort(others), want)
            np.testing.assert_array_equal(rows.order[rows.part.run(which.mine)], np.flatnonzero((w > 0) & (group == g)))
