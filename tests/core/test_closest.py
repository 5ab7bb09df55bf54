"""The nearest points by boxes, against a tree and with ties."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial import cKDTree

from impact.core.closest import BOX, FLAT, closest


@pytest.mark.parametrize("dimensions", [2, FLAT + 1, 12])
@pytest.mark.parametrize("kind", ["normal", "whole", "far", "clumps"])
def test_boxes_find_what_a_tree_finds(kind, dimensions):
    rng = np.random.default_rng(dimensions)
    both = rng.normal(size=(10 * BOX, dimensions))
    if kind == "whole":  # many are equally far
        both = np.unique(np.round(8 * both if dimensions == 2 else both), axis=0)
    if kind == "far":  # from the origin, and on scales of their own
        both = both * 10.0 ** np.arange(dimensions) + 1e4
    if kind == "clumps":  # distances of very different sizes
        both[: 5 * BOX] = both[0] + 1e-5 * both[: 5 * BOX]
    points, at = both[200:], both[:200] + (0.0 if kind == "whole" else 1e-3)
    gap, place = closest(points, at, 4)
    peer = cKDTree(points).query(at, k=4)[0]
    assert np.allclose(gap, peer, rtol=1e-12, atol=1e-12)
    assert np.allclose(np.linalg.norm(points[place] - at[:, None], axis=2), gap, rtol=1e-12, atol=1e-12)
    assert all(len(set(row)) == 4 for row in place.tolist())
