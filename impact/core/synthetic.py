"""Comparison paths made of weighted units: synthetic control, synthetic difference in differences, and kin.

A block is a set of units treated from one period on, and the units to compare them with. Every block is
fitted in batches of B sets of unit weights: one for the estimate, one for each placebo or bootstrap draw.

References: abadie2010, arkhangelsky2021, benmichael2021.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from impact.core import simplex

Array = np.ndarray

NEARLY_NONE = 1e-6
"""The penalty, in standard deviations of a change, that makes weights unique where the data do not."""
PRECISION = 1e-5
"""In the same unit: a step of the solver that gains less than its square is the last."""


class Block(NamedTuple):
    """Units by periods: ``y`` (n, T), the first ``before`` of them untreated; ``method`` and ``solver`` in a word.

    ``noise`` is the standard deviation of comparison units' changes from period to period, ``zeta`` the
    penalty on unit weights and ``ridge`` that of the augmentation. They are taken from the data once and hold for
    placebo and bootstrap draws.
    """

    y: Array
    before: int
    method: str
    solver: str
    noise: float = 0.0
    zeta: float = 0.0
    ridge: float = 0.0


class Fit(NamedTuple):
    """Of B sets of unit weights: (B, n) weights on comparison units, (B, before) on periods, (B, T) effects
    (differences between paths, from their weighted level before), and (B, T) the treated units' own mean path."""

    unit: Array
    period: Array
    effect: Array
    actual: Array


def noise(y: Array, w: Array) -> float:
    """The standard deviation of first differences of (n, T) outcomes, weighted by unit, as if of n (T - 1) draws."""
    change, w = np.diff(y, axis=1)[w > 0], w[w > 0]
    if not change.size:
        return 0.0
    mean = w @ change.mean(axis=1) / w.sum()
    spread = w @ ((change - mean) ** 2).mean(axis=1) / w.sum()
    return float(np.sqrt(spread * change.size / max(change.size - 1, 1)))


def block(y: Array, before: int, w: Array, treated: Array, method: str, solver: str) -> Block:
    """A block with what is taken from the data once; ``w`` (n,) are on average one."""
    size = noise(y[:, :before], w * ~treated)
    many = int((treated & (w > 0)).sum()) * (y.shape[1] - before)
    zeta = size * (many**0.25 if method == "synthetic_did" else NEARLY_NONE)
    made = Block(y, before, method, solver, size, zeta)
    if method != "augmented":
        return made
    return made._replace(ridge=chosen_ridge(made, w, treated))


def fit(of: Block, w: Array, treated: Array) -> Fit:
    """Weights and effects for ``w`` (B, n), zero leaving a unit out, and ``treated`` (B, n) bool."""
    ours, theirs = w * treated, w * ~treated
    actual = ours @ of.y / ours.sum(axis=1, keepdims=True)
    unit = unit_weights(of, theirs, actual[:, : of.before])
    period = period_weights(of, theirs)
    gap = actual - unit @ of.y
    level = (gap[:, : of.before] * period).sum(axis=1, keepdims=True)
    return Fit(unit, period, gap - level, actual)


def unit_weights(of: Block, w: Array, target: Array) -> Array:
    """(B, n) weights of comparison units whose path before is near ``target`` (B, before), as the method asks."""
    share = w / w.sum(axis=1, keepdims=True)
    if of.method == "did":
        return share
    early = of.y[:, : of.before]
    if of.method == "synthetic_did":  # a lasting difference in level is left to the periods before
        early, target = early - early.mean(axis=1, keepdims=True), target - target.mean(axis=1, keepdims=True)
    middle = share.mean(axis=0) @ early  # common to all: changes nothing but the size of the numbers
    early, target = early - middle, target - middle
    pull = np.divide(of.before * of.zeta**2, w, out=np.full(w.shape, np.inf), where=w > 0)
    found = _solved(of, simplex.Problems(early @ early.T, target @ early.T, pull, share), of.before)
    return augmented(early, w, target, found, np.array([of.ridge]))[:, 0] if of.method == "augmented" else found


def period_weights(of: Block, w: Array) -> Array:
    """(B, before) weights of the periods before, whose comparison outcomes foretell the mean after."""
    even = np.full((len(w), of.before), 1 / of.before)
    if of.method == "did":
        return even
    if of.method != "synthetic_did":
        return 0 * even
    if of.before == 1:
        return even
    both = np.column_stack([of.y[:, : of.before], of.y[:, of.before :].mean(axis=1)])
    share = w / w.sum(axis=1, keepdims=True)
    both = both - share.mean(axis=0) @ both
    # As many rows as there are units with a weight, each weighted by its share of them.
    count = w.sum(axis=1)
    gram = np.empty((len(w), of.before, of.before))
    cross = np.empty((len(w), of.before))
    for k, s in enumerate(share):
        rows = both[s > 0]
        rows = rows - s[s > 0] @ rows
        all_of = (rows * (count[k] * s[s > 0])[:, None]).T @ rows
        gram[k], cross[k] = all_of[:-1, :-1], all_of[:-1, -1]
    pull = np.broadcast_to((count * (NEARLY_NONE * of.noise) ** 2)[:, None], cross.shape)
    return _solved(of, simplex.Problems(gram, cross, pull, even), count)


def _solved(of: Block, problems: simplex.Problems, rows: int | Array) -> Array:
    if of.solver == "exact" or of.method == "augmented":
        return simplex.best(problems)
    return simplex.walked(problems, np.broadcast_to(rows * (PRECISION * of.noise) ** 2, len(problems.cross)))


def augmented(early: Array, w: Array, target: Array, unit: Array, ridge: Array) -> Array:
    """(B, R, n) weights moved by ridge regressions on the periods before, one for each of (R,) penalties.

    What the weights' own path lacks of the target is foretold by the regression, from all comparison units.
    """
    found = np.empty((len(w), len(ridge), early.shape[0]))
    for k, mine in enumerate(w):
        x = early - mine @ early / mine.sum()
        values, vectors = np.linalg.eigh((x * mine[:, None]).T @ x)
        lacks = vectors.T @ (target[k] - unit[k] @ early) / (np.maximum(values, 0) + ridge[:, None])
        found[k] = unit[k] + mine * (lacks @ (x @ vectors).T)
    return found


def chosen_ridge(of: Block, w: Array, treated: Array, steps: int = 20, ratio: float = 1e-8) -> float:
    """The penalty of the augmentation: leave out each period before, foretell it, and be cautious.

    Of a grid from the largest squared singular value down, the largest penalty whose squared error is within one
    standard error of the least.
    """
    early, theirs = of.y[:, : of.before], w * ~treated
    target = (w * treated) @ early / (w * treated).sum()
    x = (early - theirs @ early / theirs.sum()) * np.sqrt(theirs)[:, None]
    largest = float(np.linalg.norm(x, 2) ** 2) or 1.0
    grid = largest * ratio ** (np.arange(steps + 1) / steps)
    if of.before < 3:
        return float(grid[0])
    errors = np.empty((of.before, len(grid)))
    for out in range(of.before):
        kept = np.delete(np.arange(of.before), out)
        both = np.column_stack([early[:, kept], early[:, out]])
        rest = of._replace(y=both, before=len(kept), method="synthetic_control", solver="exact")
        plain = unit_weights(rest, theirs[None], target[None, kept])
        unit = augmented(early[:, kept], theirs[None], target[None, kept], plain, grid)[0]
        errors[out] = (target[out] - unit @ early[:, out]) ** 2
    mean = errors.mean(axis=0)
    at = mean.argmin()
    return float(grid[mean <= mean[at] + errors[:, at].std(ddof=1) / np.sqrt(of.before)].max())
