"""Distances between rows of covariates, as points whose plain Euclidean distance they are."""

from __future__ import annotations

import numpy as np

Array = np.ndarray

METRICS = ("mahalanobis", "robust_mahalanobis", "scaled_euclidean", "euclidean")


def points(metric: str, x: Array, treated: Array, w: Array) -> Array:
    """The rows of ``x`` where their Euclidean distance is the one asked for.

    - "mahalanobis": (x_i - x_j)' S^- (x_i - x_j), with S the covariance within arms, pooled;
    - "robust_mahalanobis": the same on ranks, whose covariance over both arms is stretched so that
      every column has the variance of ranks without ties (rare levels then do not count for more);
    - "scaled_euclidean": each column in its standard deviation within arms;
    - "euclidean": the columns as they are.

    S^- is a generalised inverse, so that factors may come with all their levels. As MatchIt has had it
    since its version 4.4.

    Parameters
    ----------
    x : (n, p) columns. treated : (n,) bool. w : (n,) weights, of which positive ones count in variances.

    Returns
    -------
    (n, q) : rows that are the same in x are the same here, to the last digit.
    """
    used = w > 0
    spread = np.ptp(x[used], axis=0)
    x = x[:, spread > 1.5e-8] if (spread > 1.5e-8).any() else x[:, :1]
    if metric == "euclidean" or not (spread > 1.5e-8).any():
        return np.array(x, float)
    if metric == "scaled_euclidean":
        return x / np.sqrt(_variances(x[used], treated[used], w[used]))
    if metric == "mahalanobis":
        z = x - _mean(x[used], np.ones(used.sum()))
        z = z / z[used].std(axis=0, ddof=1)
        within = _within(z[used], treated[used], w[used])
        return _turned(z, _covariance(within, w[used]) * (used.sum() - 1) / (used.sum() - 2))
    ranks = _ranks(x, used)
    spread = _covariance(ranks[used] - _mean(ranks[used], w[used]), w[used])
    n = used.sum()
    stretch = np.sqrt(n * (n + 1) / 12) / np.sqrt(np.diag(spread))
    return _turned(ranks, spread * np.outer(stretch, stretch))


def _within(x: Array, treated: Array, w: Array) -> Array:
    """The rows less the mean of their arm."""
    out = np.empty_like(x, dtype=float)
    for arm in (treated, ~treated):
        out[arm] = x[arm] - _mean(x[arm], w[arm])
    return out


def _wide(x: Array) -> type:
    """Sums in extended precision where they are short, as R has them: between units that are equally far in truth,
    rounding decides who is nearer."""
    return np.longdouble if x.size < 200_000 else float


def _mean(x: Array, w: Array) -> Array:
    wide: Array = x.astype(_wide(x))
    heavy = w.astype(wide.dtype)
    first = heavy @ wide / heavy.sum()
    return np.asarray(first + heavy @ (wide - first) / heavy.sum(), float)


def _covariance(centred: Array, w: Array) -> Array:
    wide: Array = centred.astype(_wide(centred))
    return np.asarray((wide * (w / w.mean())[:, None]).T @ wide / (len(w) - 1), float)


def _variances(x: Array, treated: Array, w: Array) -> Array:
    """Variances within arms, pooled; of a binary column p(1 - p), without the correction for degrees of freedom."""
    v = np.asarray((w / w.sum()) @ _within(x, treated, w) ** 2)
    binary = ((x == 0) | (x == 1)).all(axis=0)
    return np.where(binary, v, v * len(x) / (len(x) - 2))


def _ranks(x: Array, used: Array) -> Array:
    from scipy.stats import rankdata

    out = np.zeros_like(x, dtype=float)
    out[used] = rankdata(x[used], axis=0)
    return out


def _turned(x: Array, covariance: Array) -> Array:
    """Coordinates in which the covariance is the identity: R x with R'R its generalised inverse, R triangular.

    Column by column and not by a matrix product, whose rounding may differ from one place of a row to another.
    """
    from scipy.linalg.lapack import dpstrf

    whole = np.linalg.cond(covariance) < 1e12
    inverse = np.linalg.inv(covariance) if whole else np.linalg.pinv(covariance, rcond=1e-9)
    root, pivot, rank, _ = dpstrf(inverse, lower=0)
    root = np.triu(root)[:rank, np.argsort(pivot)]
    out = np.zeros((len(x), rank), order="F")
    for k, line in enumerate(root):
        for j in np.flatnonzero(line):
            out[:, k] += line[j] * x[:, j]
    return out
