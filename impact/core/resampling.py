"""Weighted quantiles, and weights redrawn as another sample might have had them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

Array = np.ndarray

ROOM = 20_000_000
"""How many numbers a block of redrawn weights may hold."""


def quantiles(y: Array, w: Array, at: Array) -> Array:
    """The smallest values of y (n,) at which the shares ``at`` (q,) of the weights (B, n) are reached: (B, q)."""
    order = np.argsort(y, kind="stable")
    reached = np.cumsum(w[:, order], axis=1)
    wanted = reached[:, -1:] * at * (1 - 1e-12)  # rounding must not push a share past the value that has it
    place = np.stack([(reached < share[:, None]).sum(axis=1) for share in wanted.T], axis=1)
    return y[order][np.minimum(place, len(y) - 1)]


def redrawn(
    w: Array,
    cluster: Array,
    draws: int,
    rng: np.random.Generator,
    influence: Array | None = None,
    gradient: Array | None = None,
) -> Iterator[Array]:
    """Blocks of redrawn weights, together (draws, n): the Bayesian bootstrap of whole clusters.

    Each cluster's weights are multiplied by one standard exponential number m. Where weights were
    estimated they move with their parameters, to first order:

        w_j m_j + gradient_j' sum_i influence_i (m_i - 1),    not below zero.

    References: rubin1981.
    """
    _, first, code = np.unique(cluster, return_index=True, return_inverse=True)
    code = np.argsort(np.argsort(first))[code.ravel()]  # by where a cluster first stands, not by its number
    groups, block = int(code.max()) + 1, max(1, ROOM // len(w))
    for start in range(0, draws, block):
        m = rng.standard_exponential((min(block, draws - start), groups))[:, code]
        if influence is None or gradient is None:
            yield w * m
        else:
            yield np.maximum(w * m + ((m - 1) @ influence) @ gradient.T, 0.0)
