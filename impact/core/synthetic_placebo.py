"""Synthetic comparison paths for many placements of treatment at once, for tests that place treatment elsewhere.

For a set of treated units with mean path b before treatment, the others get weights x that are not
negative, sum to one, and solve

    minimise  sum over t of (x'Y_t - b_t)^2 + T zeta^2 |x|^2,

each unit's path being taken from its own mean before. With the penalty of synthetic difference in differences
the weights are unique and many problems are solved together by an accelerated gradient.

References: abadie2010, arkhangelsky2021.
"""

from __future__ import annotations

import numpy as np

Array = np.ndarray

STEPS = 2_000
PRECISION = 1e-6
"""Steps end when no weight moves by more than about this from where it will be."""


def placements(early: Array, late: Array, weights: Array, elsewhere: Array, periods: int) -> tuple[Array, Array]:
    """(draws,) the effect for each set of treated units, and how much of the treated as they were is in it.

    Parameters
    ----------
    early : (n, T) outcomes before
    late : (n,) mean outcome after, over ``periods`` periods
    weights : (n,)
    elsewhere : (draws + 1, n) bool: who is treated; the first row is who was

    Returns
    -------
    value, pull : (draws + 1,)
        The value is linear in an effect on the treated as they were, with slope ``pull``.
    """
    own = early.mean(axis=1)
    path = early - own[:, None]
    change = late - own
    share = elsewhere * weights
    share = share / share.sum(axis=1, keepdims=True)
    treated_units = elsewhere[0].sum()
    found = comparison(path, share, elsewhere, penalty(path, int(treated_units), periods))
    gap = share - found
    return gap @ change, gap @ elsewhere[0].astype(float)


def penalty(path: Array, treated: int, periods: int) -> float:
    """T zeta^2, zeta being the standard deviation of changes times the fourth root of treated unit-periods."""
    if path.shape[1] < 2:
        return 1.0
    noise = float(np.diff(path, axis=1).std())
    return path.shape[1] * noise**2 * float(np.sqrt(treated * periods))


def comparison(path: Array, share: Array, closed: Array, ridge: float) -> Array:
    """(draws, n) weights whose path is near that of ``share``, none on ``closed`` units."""
    path = path - path.mean(axis=0)  # weights sum to one: what is common changes nothing
    target = share @ path
    largest = float(np.linalg.norm(path, 2) ** 2)
    if largest == 0 or ridge == 0:  # paths are all alike, or do not move: nothing tells units apart
        ridge = max(ridge, 1e-12 * largest, 1e-300)
    slope = np.sqrt(ridge / (largest + ridge))
    momentum, step = (1 - slope) / (1 + slope), 1 / (largest + ridge)
    found = ~closed / (~closed).sum(axis=1, keepdims=True)
    ahead = found
    for _ in range(STEPS):
        downhill = (ahead @ path - target) @ path.T + ridge * ahead
        new = _on_simplex(np.where(closed, -np.inf, ahead - step * downhill))
        moved = np.abs(new - found).max()
        ahead, found = new + momentum * (new - found), new
        if moved < PRECISION * slope:
            break
    return found


def _on_simplex(points: Array) -> Array:
    """The nearest weights that are not negative and sum to one, row by row; minus infinity gets none."""
    order = -np.sort(-points, axis=1)
    count = np.arange(1, points.shape[1] + 1)
    with np.errstate(invalid="ignore"):
        level = (np.cumsum(order, axis=1) - 1) / count
        inside = order > level
    last = points.shape[1] - 1 - inside[:, ::-1].argmax(axis=1)
    return np.maximum(points - level[np.arange(len(points)), last][:, None], 0.0)
