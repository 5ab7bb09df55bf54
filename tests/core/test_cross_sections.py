"""Differences in differences from repeated cross-sections: by hand, scores as derivatives, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from impact.core.cross_sections import difference

METHODS = ("dr", "reg", "ipw")


def surveys(n=300, seed=0):
    """Trends depend on x, who is treated too; the effect is 1."""
    r = np.random.default_rng(seed)
    x = r.normal(size=(n, 2))
    d, after = r.random(n) < 1 / (1 + np.exp(0.5 - x[:, 0])), r.random(n) < 0.5
    y = x @ [1.0, 0.5] + after * (0.3 + x[:, 0]) + d * 0.7 + d * after + r.normal(size=n)
    return y, d, after, x, r.uniform(0.5, 2, n)


def test_without_covariates_it_is_four_means():
    y, d, after, _, w = surveys()
    mean = {(g, a): np.average(y[(d == g) & (after == a)], weights=w[(d == g) & (after == a)])
            for g in (0, 1) for a in (0, 1)}  # fmt: skip
    for method in METHODS:
        value, _, _ = difference(y, d, after, np.zeros((len(y), 0)), w, method)
        assert value == pytest.approx(mean[1, 1] - mean[1, 0] - mean[0, 1] + mean[0, 0], rel=1e-9)


@pytest.mark.parametrize("method", METHODS)
def test_scores_are_derivatives(method):
    y, d, after, x, w = surveys()
    _, scores, _ = difference(y, d, after, x, w, method)
    assert abs(scores.sum()) < 1e-12
    for i in range(0, 300, 37):
        moved = []
        for by in (-2, -1, 1, 2):
            v = w.copy()
            v[i] *= 1 + by * 1e-3
            moved.append(difference(y, d, after, x, v, method)[0])
        slope = (moved[0] - 8 * moved[1] + 8 * moved[2] - moved[3]) / 12e-3
        assert scores[i] == pytest.approx(slope, abs=1e-8 * np.abs(scores).max() + 1e-10)


@pytest.mark.parametrize("method", METHODS)
def test_it_finds_the_truth(method):
    value, scores, _ = difference(*surveys(20_000, seed=1), method)
    assert abs(value - 1) < 4 * np.sqrt((scores**2).sum())
    y, d, after, x, w = surveys(20_000, seed=1)
    naive, crude, _ = difference(y, d, after, x[:, :0], w, method)
    assert abs(naive - 1) > 4 * np.sqrt((crude**2).sum())


def test_the_level_of_the_outcome_does_not_matter():
    y, d, after, x, w = surveys()
    plain, high = (difference(y + level, d, after, x, w)[0] for level in (0.0, 1e9))
    assert high == pytest.approx(plain, abs=1e-5)


def test_what_is_refused():
    y, d, after, x, w = surveys()
    with pytest.raises(ValueError, match="there are none of the treated observed after"):
        difference(y, d, after, x, w * ~(d & after))
    few = w * ~(~d & ~after)
    few[np.flatnonzero(~d & ~after)[:3]] = 1.0
    with pytest.raises(ValueError, match="Among the comparison units observed before: A regression on 3 columns"):
        difference(y, d, after, x, few)
    with pytest.raises(ValueError, match="the methods are dr, reg, ipw"):
        difference(y, d, after, x, w, "magic")
