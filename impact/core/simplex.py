"""Least squares over weights that are not negative and sum to one: to the optimum, or as far as Frank and Wolfe walk.

    minimise  |A x - b|^2 + sum_i pull_i x_i^2   over   x >= 0, sum_i x_i = 1.

Problems come in batches that share the columns of A: targets b, penalties and the columns allowed differ.

References: arkhangelsky2021; lawson1974; frank1956.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

Array = np.ndarray

ROUNDS = (100, 10_000)
"""Steps before weights are thinned out, and after (R synthdid 0.0.9)."""
THIN = 4
"""Weights of at most a quarter of the largest are set to zero between the rounds."""


_NEVER, _TINY = 1e30, 1e-300  # beyond any slope; below any curvature
_SAFE = 1e-4  # of the largest pivot: beyond it, half of the digits are lost


class Problems(NamedTuple):
    """A batch: ``gram`` A'A (N, N) or (B, N, N), ``cross`` A'b (B, N), ``pull`` (B, N), infinite where not allowed,
    and ``start`` (B, N), weights to walk from, whose size says what an equal share is."""

    gram: Array
    cross: Array
    pull: Array
    start: Array


def walked(problems: Problems, least: Array) -> Array:
    """(B, N) weights after two rounds of Frank-Wolfe with exact steps, thinned out in between.

    A round ends when a step lowers the objective by ``least`` (B,) or less, or after its number of steps, be the
    optimum reached or not: so R synthdid does, whose digits these are.
    """
    allowed = np.isfinite(problems.pull)
    first = _walk(problems, np.where(allowed, problems.start, 0.0), least, ROUNDS[0])
    share = np.divide(first, problems.start, out=np.zeros_like(first), where=problems.start > 0)
    thin = np.where(share <= share.max(axis=1, keepdims=True) / THIN, 0.0, first)
    return _walk(problems, thin, least, ROUNDS[1])


def _walk(problems: Problems, start: Array, least: Array, steps: int) -> Array:
    """One round. Half the gradient is carried along, so that a step costs B N.

    With H the Gram matrix and the penalties, a step of size s to the corner i turns the gradient ``H x - A'b`` into
    (1 - s) of itself and s times ``H e_i - A'b``.
    """
    found = start / start.sum(axis=1, keepdims=True)
    live, x, gram = np.arange(len(found)), found.copy(), problems.gram
    allowed = np.isfinite(problems.pull)
    pull = np.where(allowed, problems.pull, 0.0)
    cross = np.where(allowed, problems.cross, -_NEVER)
    at_x = np.einsum("bij,bj->bi", gram, x) if gram.ndim == 3 else x @ gram
    slope = at_x + pull * x - cross
    reached = np.einsum("bi,bi->b", cross, x)
    diagonal = np.ascontiguousarray(np.diagonal(gram, axis1=-2, axis2=-1))
    each = np.arange(len(x)) * x.shape[1]
    for step in range(steps):
        corner = slope.argmin(axis=1)
        at = each + corner
        lowest, penalty, aim = slope.take(at), pull.take(at), cross.take(at)
        along = np.einsum("bi,bi->b", slope, x)
        fall = along - lowest
        bend = diagonal.take(corner if gram.ndim == 2 else at) + penalty - 2 * (lowest + aim) + along + reached
        size = np.maximum(np.minimum(fall / np.maximum(bend, _TINY), 1.0), 0.0)
        rest = (1 - size)[:, None]
        column = gram.take(corner, axis=0) if gram.ndim == 2 else gram.reshape(-1, x.shape[1]).take(at, axis=0)
        column -= cross
        column *= size[:, None]
        slope *= rest
        slope += column
        slope.ravel()[at] += size * penalty
        x *= rest
        x.ravel()[at] += size
        reached += size * (aim - reached)
        ended = size * (2 * fall - size * bend) <= least
        if step and ended.any():
            found[live[ended]] = x[ended]
            on = ~ended
            if not on.any():
                return found
            live, x, slope, reached, pull, cross, least = (v[on] for v in (live, x, slope, reached, pull, cross, least))
            each = each[: len(x)]
            if gram.ndim == 3:
                gram, diagonal = gram[on], diagonal[on]
    found[live] = x
    return found


def best(problems: Problems) -> Array:
    """(B, N) the weights at the optimum, by an active set (non-negative least squares).

    On the simplex ``|A x - b|^2`` is ``x' (A'A - A'b 1' - 1 b'A + b'b 1 1') x``. The minimum of such a square form
    is, up to its sum, that of the form plus ``(sum_i x_i - 1)^2`` over x >= 0.
    """
    found = np.zeros_like(problems.start)
    for k in range(len(found)):
        allowed = np.isfinite(problems.pull[k])
        gram = problems.gram if problems.gram.ndim == 2 else problems.gram[k]
        square = gram[np.ix_(allowed, allowed)] + np.diag(problems.pull[k, allowed])
        found[k, allowed] = _one(square, problems.cross[k, allowed])
    return found


def _one(square: Array, cross: Array) -> Array:
    """The optimum of ``x' square x - 2 cross' x``: with ``square`` R'R, the point nearest to R'^-1 cross."""
    from scipy.optimize import nnls

    root, aim = _root(square, cross)
    gaps = root - aim[:, None]
    size = np.abs(gaps).max(initial=0) or 1.0
    x, _ = nnls(np.vstack([gaps / size, np.ones(len(cross))]), np.append(np.zeros(len(gaps)), 1.0))
    return np.asarray(x / x.sum())


def _root(square: Array, cross: Array) -> tuple[Array, Array]:
    """R and R'^-1 cross: by Cholesky where the square is safely of full rank, else by its eigenvectors."""
    from scipy.linalg import lapack

    lower, failed = lapack.dpotrf(square, lower=1)
    size = np.abs(np.diagonal(lower))
    if not failed and size.min() > _SAFE * size.max():
        return np.triu(lower.T), lapack.dtrtrs(lower, cross, lower=1)[0]
    values, vectors = np.linalg.eigh(square)
    kept = values > values[-1] * 1e-14
    roots = np.sqrt(values[kept])
    return (vectors[:, kept] * roots).T, (vectors[:, kept].T @ cross) / roots
