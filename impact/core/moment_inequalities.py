"""Intervals for an effect that is known up to linear inequalities: the conditional, least favourable hybrid test.

Estimates b of pre- and post-treatment coefficients are normal with covariance S around delta + (0, tau); delta
satisfies ``A delta <= d``, and the effect is ``theta = l' tau``. Given theta, the other effects are nuisances. The
statistic of theta is

    eta = the least eta such that A (b - (0, tau)) - d <= eta * s   for some tau with l' tau = theta,

with s the standard errors of the rows. By duality it is the largest of finitely many normal variables, one a vertex
of ``{g >= 0, g's = 1, A_post' g in the span of l}``. The vertices do not depend on the data but for their scale, so
they are found once, and everything else is arithmetic on a few numbers for each theta.

References: andrews2023, rambachan2023.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

Array = np.ndarray

SEED = 20230901  # of the directions behind least favourable critical values
MOST = 4000
"""Extreme rays beyond which a restriction is refused: their number can grow with two to the power of the periods."""
_NONE = 1e-9  # what counts as zero among ratios of variances


class Moments(NamedTuple):
    """The m vertices: ``level - slope * theta`` is normal with this (m, m) covariance, and its mean at most zero."""

    level: Array
    slope: Array
    spread: Array


def rays(post: Array, weights: Array) -> Array:
    """(m, rows): the extreme rays of ``{g >= 0 : g' post in the span of the weights}``, by double description.

    ``post`` is (rows, T): the columns of the restrictions that belong to post-treatment periods.
    """
    at = int(np.argmax(np.abs(weights)))
    other = np.delete(np.arange(len(weights)), at)
    nuisance = post[:, other] - np.outer(post[:, at], weights[other] / weights[at])
    found, left = np.eye(len(post)), list(nuisance.T)
    for done in range(2, len(left) + 2):
        sides = found @ np.array(left).T
        sides[np.abs(sides) < _NONE * max(np.abs(nuisance).max(), 1e-300)] = 0.0
        # The next hyperplane is the one that cuts the fewest pairs.
        k = int(((sides > 0).sum(axis=0) * (sides < 0).sum(axis=0)).argmin())
        side = sides[:, k]
        left.pop(k)
        new = _joined(found, side, np.flatnonzero(side > 0), np.flatnonzero(side < 0), done)
        found = np.vstack([found[side == 0], new])
        if len(found) > MOST:
            raise ValueError(
                f"This restriction on {len(weights)} periods has more than {MOST:,} vertices to go through: keep fewer "
                "periods after adoption, by `where`, or drop the sign or the shape."
            )
    return found


def _joined(found: Array, side: Array, up: Array, down: Array, most: int) -> Array:
    """The rays between two on either side of a hyperplane that share a face, each scaled to sum to one."""
    support = found > 1e-11
    i, j = (a.ravel() for a in np.meshgrid(up, down, indexing="ij"))
    small = (support[i] | support[j]).sum(axis=1) <= most
    i, j = i[small], j[small]
    both = support[i] | support[j]
    # Adjacent: no third ray has its support within theirs.
    inside = (support.astype(np.float32) @ (~both).T.astype(np.float32)) == 0
    near = inside.sum(axis=0) == 2
    i, j = i[near], j[near]
    new = found[i] * -side[j][:, None] + found[j] * side[i][:, None]
    return new / np.maximum(new.sum(axis=1, keepdims=True), 1e-300)


def moments(rays: Array, restriction: Array, bound: Array, value: Array, vcov: Array, weights: Array) -> Moments:
    """The vertices of one set ``restriction @ delta <= bound``, for estimates with their covariance."""
    scale = np.sqrt(np.diag(restriction @ vcov @ restriction.T))
    vertex = rays / (rays @ scale)[:, None]
    across = vertex @ restriction
    at = int(np.argmax(np.abs(weights)))
    slope = across[:, len(value) - len(weights) :][:, at] / weights[at]
    return Moments(across @ value - vertex @ bound, slope, across @ vcov @ across.T)


def least_favourable(spread: Array, size: float, draws: int = 4096) -> float:
    """The value that the largest of the normal variables exceeds with probability ``size``, if all means are zero.

    A standard normal vector is a direction times an independent chi: along each direction the probability is exact.
    In two dimensions the directions are a fine grid, in more they are drawn with a fixed seed.
    """
    from scipy import optimize, special

    root, basis = np.linalg.eigh(spread)
    kept = root > 1e-10 * root.max(initial=0.0)
    factor = basis[:, kept] * np.sqrt(root[kept])
    rank = factor.shape[1]
    if rank == 1:
        way = np.array([[1.0], [-1.0]])
    elif rank == 2:
        angle = 2 * np.pi * (np.arange(1024) + 0.5) / 1024
        way = np.column_stack([np.cos(angle), np.sin(angle)])
    else:
        way = np.random.Generator(np.random.PCG64(SEED)).standard_normal((draws // 2, rank))
        way = np.vstack([way, -way]) / np.linalg.norm(np.vstack([way, way]), axis=1, keepdims=True)
    reach = np.maximum((way @ factor.T).max(axis=1), 0.0)
    positive = reach[reach > 1e-12]

    def beyond(value: float) -> float:
        half = (value / positive) ** 2 / 2
        tail = np.exp(-half) if rank == 2 else special.gammaincc(rank / 2, half)
        return float(tail.sum()) / len(reach)

    if len(positive) == 0 or beyond(0.0) <= size:
        return 0.0
    return float(optimize.brentq(lambda c: beyond(c) - size, 0.0, 40 * positive.max(), xtol=1e-10))


def rejected(of: Moments, theta: Array, level: float, first: float) -> Array:
    """(g,) whether each theta is rejected by the hybrid test at ``level``.

    The least favourable stage spends a tenth of the level and rejects beyond ``first``. Otherwise, given which vertex
    is the largest, its value is a normal variable truncated to where it stays so, and not beyond ``first``.
    """
    value = of.level - np.outer(np.atleast_1d(theta), of.slope)
    top = value.argmax(axis=1)
    eta = value[np.arange(len(value)), top]
    variance = np.diag(of.spread)[top]
    certain = variance <= 1e-20
    sd = np.sqrt(np.where(certain, 1.0, variance))
    ratio = of.spread[top] / (sd**2)[:, None]
    rest, gap = value - ratio * eta[:, None], 1 - ratio
    edge = np.divide(rest, gap, out=np.zeros_like(rest), where=np.abs(gap) > _NONE)
    low = np.where(gap > _NONE, edge, -np.inf).max(axis=1)
    high = np.minimum(np.where(gap < -_NONE, edge, np.inf).min(axis=1), first)
    kappa = level / 10
    chance = _tail(eta / sd, np.minimum(low, eta) / sd, np.maximum(high, eta) / sd)
    conditional = chance < (level - kappa) / (1 - kappa)
    return (eta > first) | ((eta > 0) & (conditional | certain))


def _tail(at: Array, low: Array, high: Array) -> Array:
    """The chance that a standard normal variable between ``low`` and ``high`` exceeds ``at``, far in the tail too."""
    from scipy.special import log_ndtr

    def between(a: Array) -> Array:
        upper, lower = log_ndtr(-a), log_ndtr(-high)
        with np.errstate(divide="ignore", invalid="ignore"):
            return upper + np.log1p(-np.exp(np.minimum(lower - upper, 0.0)))

    numerator, denominator = between(at), between(low)
    with np.errstate(invalid="ignore"):
        return np.where(np.isneginf(denominator), 0.0, np.exp(numerator - denominator))


def reach(of: Moments, first: float) -> tuple[float, float]:
    """Between which thetas no vertex exceeds the least favourable value; NaN where one always does."""
    up, down = of.slope > _NONE, of.slope < -_NONE
    start = ((of.level[up] - first) / of.slope[up]).max(initial=-np.inf)
    end = ((of.level[down] - first) / of.slope[down]).min(initial=np.inf)
    if (of.level[~up & ~down] > first).any() or not start < end:
        return np.nan, np.nan
    return float(start), float(end)


def accepted(of: Moments, level: float, first: float, points: int = 256) -> tuple[float, float]:
    """The lowest and the highest theta that the hybrid test does not reject; NaN where it rejects all.

    Beyond the least favourable value there is nothing to find; between, a grid that holds every kink of the statistic
    brackets both ends, and bisection brings them to rounding.
    """
    start, end = reach(of, first)
    if np.isnan(start):
        return np.nan, np.nan
    grid = _grid(of, start, end, points)
    held = ~rejected(of, grid, level, first)
    if not held.any():
        return np.nan, np.nan
    lowest, highest = int(held.argmax()), len(grid) - 1 - int(held[::-1].argmax())
    inner = np.array([grid[lowest], grid[highest]])
    outer = np.array([grid[max(lowest - 1, 0)], grid[min(highest + 1, len(grid) - 1)]])
    for _ in range(36):
        middle = (inner + outer) / 2
        out = rejected(of, middle, level, first)
        inner, outer = np.where(out, inner, middle), np.where(out, middle, outer)
    return (-np.inf if np.isneginf(start) else float(inner[0])), (np.inf if np.isposinf(end) else float(inner[1]))


def _grid(of: Moments, start: float, end: float, points: int) -> Array:
    """Points between the ends, with every theta at which another vertex may become the largest."""
    rise, fall = of.slope[:, None] - of.slope[None, :], of.level[:, None] - of.level[None, :]
    kinks = fall[np.abs(rise) > _NONE] / rise[np.abs(rise) > _NONE]
    finite = kinks[np.isfinite(kinks)]
    if not (np.isfinite(start) and np.isfinite(end)):
        reach = 10 * np.sqrt(np.diag(of.spread)).max() / max(np.abs(of.slope).max(), 1e-300)
        known = [t for t in (start, end) if np.isfinite(t)] or [0.0]
        middle = finite if len(finite) else np.array(known)
        start = start if np.isfinite(start) else min(middle.min(), *known) - reach
        end = end if np.isfinite(end) else max(middle.max(), *known) + reach
    inside = finite[(finite > start) & (finite < end)]
    if len(inside) > points:
        inside = np.quantile(inside, np.linspace(0, 1, points))
    return np.unique(np.concatenate([np.linspace(start, end, points), inside]))
