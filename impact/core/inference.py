"""From scores to errors: covariance by clusters, joint tests, simultaneous bands, the delta method.

Scores are (n, k): what each of n rows adds to the error of k values.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

Array = np.ndarray
SEED = 20190101  # of the draws behind simultaneous bands


def cluster_sums(scores: Array, cluster: Array) -> Array:
    """(G, k): the scores summed within clusters, coded 0 to G - 1."""
    from scipy.sparse import csr_array

    n, groups = len(scores), int(cluster.max(initial=-1)) + 1
    if groups == n:  # everybody is a cluster
        return scores if (cluster == np.arange(n)).all() else scores[np.argsort(cluster)]
    member = csr_array((np.ones(n), (cluster, np.arange(n))), shape=(groups, n))
    return np.asarray(member @ scores)


def covariance(sums: Array) -> Array:
    """(k, k): G / (G - 1) times the sum over clusters of outer products."""
    return len(sums) / (len(sums) - 1) * sums.T @ sums


def hotelling(gap: Array, vcov: Array, df: float) -> dict[str, float]:
    """A joint test that ``gap`` is zero, with an F reference.

    With G = df + 1 clusters and a covariance of rank k, ``W (G - k) / (k (G - 1))`` is compared with
    F(k, G - k), W being the Wald statistic; with infinite df, W with chi-square(k). Where the
    covariance has no rank or an error is not known, or there are no more clusters than values, p is NaN.

    References: hotelling1931.
    """
    from scipy import stats

    if not np.isfinite(vcov).all():
        return {"statistic": np.nan, "df": np.nan, "df_residual": np.nan, "wald": np.nan, "p_value": np.nan}
    size, along = _directions(vcov, gap)
    wald, k = float((along**2 / size).sum()), len(size)
    rest = df + 1 - k
    if k == 0 or rest <= 0:
        f, p = np.nan, np.nan
    elif np.isinf(df):
        f, p = wald / k, stats.chi2.sf(wald, k)
    else:
        f = wald / k * rest / df
        p = stats.f.sf(f, k, rest)
    return {"statistic": float(f), "df": float(k), "df_residual": float(rest), "wald": wald, "p_value": float(p)}


def _directions(vcov: Array, gap: Array) -> tuple[Array, Array]:
    """How large the error is in each direction in which values have one, and the gap along it.

    Judged on the scale of correlations, where rounding is of the order of 1e-16: contrasts of all pairs of arms
    follow from each other, and what is left of a direction that does not exist must not be taken for precision.
    """
    scale = np.sqrt(np.diag(vcov))
    scale = np.where(scale > 0, scale, 1.0)
    size, basis = np.linalg.eigh(vcov / np.outer(scale, scale))
    real = size > 1e-12 * max(size.max(initial=0.0), 1e-300)
    return size[real], basis[:, real].T @ (gap / scale)


def sup_t(vcov: Array, df: float, level: float, draws: int = 100_000) -> float:
    """The quantile of the largest |t| of values with this covariance, by simulation with a fixed seed.

    The multiplier bootstrap with Gaussian multipliers draws from this very normal distribution,
    given the data; with finite df the draws are divided by a common chi, as for Student's t.

    References: montielolea2019.
    """
    se = np.sqrt(np.diag(vcov))
    keep = se > 1e-12 * max(np.nanmax(se, initial=0.0), 1e-300)
    corr = vcov[np.ix_(keep, keep)] / np.outer(se[keep], se[keep])
    root, basis = np.linalg.eigh(corr)
    factor = basis * np.sqrt(np.clip(root, 0, None))
    rng = np.random.Generator(np.random.PCG64(SEED))
    biggest = np.abs(rng.standard_normal((draws, len(root))) @ factor.T).max(axis=1, initial=0.0)
    if np.isfinite(df):
        biggest /= np.sqrt(rng.chisquare(df, draws) / df)
    return float(np.quantile(biggest, level))


def jacobian(function: Callable[[Array], Array], at: Array) -> Array:
    """(m, k): the derivative of m results in k values, by central differences with one Richardson step."""

    def central(h: Array) -> Array:
        up = [np.atleast_1d(function(at + move)) - np.atleast_1d(function(at - move)) for move in np.diag(h)]
        return np.column_stack(up) / (2 * h)

    h = 1e-4 * np.maximum(1e-2, np.abs(at))
    return (4 * central(h / 2) - central(h)) / 3


def coarsest(n: int, groupings: Sequence[tuple[Array, Array]]) -> Array:
    """(n,) codes of the finest clusters that keep together whom any of the groupings puts together.

    A grouping is the (m,) cluster codes of m units, and the (m,) positions of these units among n.
    The clusters are the connected components of the graph that links units to their groups.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    first = n + np.cumsum([0, *(int(c.max()) + 1 for c, _ in groupings)])
    a = np.concatenate([i for _, i in groupings])
    b = np.concatenate([c + f for (c, _), f in zip(groupings, first[:-1], strict=True)])
    graph = coo_array((np.ones(len(a)), (a, b)), shape=(int(first[-1]),) * 2)
    return np.unique(connected_components(graph, directed=False)[1][:n], return_inverse=True)[1]
