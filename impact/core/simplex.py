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
    found = np.zeros_like(problems.start)
    for k, start in enumerate(problems.start):
        allowed = np.isfinite(problems.pull[k])
        gram = problems.gram if problems.gram.ndim == 2 else problems.gram[k]
        square = gram[np.ix_(allowed, allowed)] + np.diag(problems.pull[k, allowed])
        cross, even = problems.cross[k, allowed], start[allowed]
        first = _walk(square, cross, even, float(least[k]), ROUNDS[0])
        thin = np.where(first / even <= (first / even).max() / THIN, 0.0, first)
        found[k, allowed] = _walk(square, cross, thin, float(least[k]), ROUNDS[1])
    return found


def _walk(square: Array, cross: Array, start: Array, least: float, steps: int) -> Array:
    """One round for ``x' square x - 2 cross' x``. Half the gradient is carried along, so that a step costs N.

    A step of size s to the corner i turns the gradient into (1 - s) of itself and s times that at the corner.
    """
    x = start / start.sum()
    corners, diagonal = square - cross, np.diagonal(square).tolist()
    slope = square @ x - cross
    reached, aims = float(cross @ x), cross.tolist()
    for step in range(steps):
        corner = int(slope.argmin())
        along, lowest = float(slope @ x), float(slope[corner])
        fall = along - lowest
        bend = diagonal[corner] - 2 * (lowest + aims[corner]) + along + reached
        size = min(max(fall / bend, 0.0), 1.0) if bend > 0 else 0.0
        slope *= 1 - size
        slope += size * corners[corner]
        x *= 1 - size
        x[corner] += size
        reached += size * (aims[corner] - reached)
        if step and size * (2 * fall - size * bend) <= least:
            break
    return x


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
    from scipy.optimize import lsq_linear, nnls

    root, aim = _root(square, cross)
    gaps = root - aim[:, None]
    size = np.abs(gaps).max(initial=0) or 1.0
    rows, target = np.vstack([gaps / size, np.ones(len(cross))]), np.append(np.zeros(len(gaps)), 1.0)
    try:
        x, _ = nnls(rows, target)
    except RuntimeError:  # scipy before 1.15 may go round in circles where there is little to choose from
        x = np.maximum(lsq_linear(rows, target, bounds=(0, np.inf), method="bvls").x, 0)
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
