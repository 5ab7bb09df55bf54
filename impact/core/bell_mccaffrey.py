"""Errors of a regression with few clusters: CR2, and Bell and McCaffrey's degrees of freedom.

Residuals are smaller than errors, the more so where a cluster has much leverage. With H the hat matrix
and g a cluster, CR2 multiplies the residuals of g by ``A_g = (I - H_gg)^(-1/2)``, so that the variance
is unbiased if errors are independent with variance 1 / weight (the working model), and approximately
right whatever they are. Under the same working model the variance of a value is a weighted sum of
chi-squares; Satterthwaite's degrees of freedom match its first two moments.

References: bell2002, imbens2016, pustejovsky2018.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from impact.core.fixed_effects import Absorber, codes

Array = np.ndarray

SATURATED = 1e-9
"""A direction in which a cluster explains all but this share of itself has no residual to learn from."""

WORK = 1e8
"""Clusters times columns cubed, beyond which it is not computed: there the usual error is as good."""


@dataclass(frozen=True, eq=False)
class BellMcCaffrey:
    """The small-sample reference of k values, to the protocol of ``core.small_sample``.

    ``sums`` (G, k): contributions of clusters with adjusted residuals; ``size`` (G, k, k) and ``lean``
    (G, k, p): their variance under the working model, and how much of it they owe to the estimated
    parameters; ``variance`` (k, k): that of the values under the working model, in units of the error's.
    """

    sums: Array
    size: Array
    lean: Array
    variance: Array

    @cached_property
    def adjusted(self) -> Array:
        """(G, k) contributions whose cross product is CR2; NaN where a value has no error."""
        return np.where(self.estimable, self.sums, np.nan)

    def covariance(self) -> Array:
        """(k, k) CR2; NaN for a value that rests on a cluster which explains itself, and so has no error."""
        return self.adjusted.T @ self.adjusted

    @cached_property
    def degrees(self) -> Array:
        """(k,) degrees of freedom: ``(tr P)^2 / tr(P P)``; NaN where there is no error."""
        own = np.einsum("gkk->gk", self.size)
        loss = np.einsum("gkp,gkp->gk", self.lean, self.lean)
        inner = np.einsum("gkp,gkq->kpq", self.lean, self.lean, optimize=True)
        squares = (own**2 - 2 * own * loss).sum(axis=0) + (inner**2).sum(axis=(1, 2))
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(self.estimable, self._trace**2 / squares, np.nan)

    @cached_property
    def estimable(self) -> Array:
        """(k,) whether CR2 is unbiased under the working model: no cluster behind the value explains itself."""
        whole = np.diag(self.variance)
        return (whole > 0) & (self._trace > (1 - 1e-6) * whole)

    @cached_property
    def _trace(self) -> Array:
        own = np.einsum("gkk->gk", self.size)
        return np.asarray((own - np.einsum("gkp,gkp->gk", self.lean, self.lean)).sum(axis=0))

    def carry(self, jacobian: Array) -> BellMcCaffrey:
        """The reference of m combinations of the values, each a row of ``jacobian`` (m, k)."""
        j = np.atleast_2d(np.asarray(jacobian, float))
        return BellMcCaffrey(
            self.sums @ j.T,
            np.einsum("mk,gkl,nl->gmn", j, self.size, j, optimize=True),
            np.einsum("mk,gkp->gmp", j, self.lean, optimize=True),
            j @ self.variance @ j.T,
        )


def bell_mccaffrey(
    x: Array, residual: Array, w: Array, effects: Sequence[Array], cluster: Array, count: int
) -> BellMcCaffrey | None:
    """The small-sample error of the k coefficients of ``x`` (N, k), with fixed effects beside them.

    Effects of which every level lies within one cluster are taken out beforehand, which changes nothing
    (Pustejovsky and Tipton); the others join the regression as dummies, whose leverage counts.
    Clusters are coded from 0 to ``count - 1``; one without an observation has a row of zeros. None where this would
    cost more than it is worth (``WORK``).
    """
    coded = [codes(e) for e in effects]
    inside = [_nested(code, levels, cluster) for code, levels in coded]
    rest = [pair for pair, within in zip(coded, inside, strict=True) if not within]
    columns = x.shape[1] + sum(levels for _, levels in rest)
    if len(np.unique(cluster)) * float(columns) ** 3 > WORK:
        return None
    dummies = [code[:, None] == np.arange(levels) for code, levels in rest]
    u = np.hstack([x, *dummies]).astype(float)
    nested = [code for (code, _), within in zip(coded, inside, strict=True) if within]
    if nested:
        u = Absorber(nested, w).residual(u)
    half = np.sqrt(w)[:, None]
    return from_design(half * u, half[:, 0] * residual, cluster, x.shape[1], count)


def from_design(u: Array, residual: Array, cluster: Array, k: int, count: int) -> BellMcCaffrey:
    """The same from a whole design ``u`` (N, p), scaled by the roots of the weights: its first k coefficients."""
    order = np.argsort(cluster, kind="stable")
    starts = np.flatnonzero(np.diff(cluster[order], prepend=-1))
    present = cluster[order][starts]
    scale = np.sqrt((u**2).sum(axis=0))
    scale = np.where(scale > 0, scale, 1.0)
    size, basis = np.linalg.eigh((u / scale).T @ (u / scale))
    real = size > 1e-11 * size.max(initial=0.0)
    root = basis[:, real] / np.sqrt(size[real])  # (p, r): root root' inverts the scaled cross product
    z = (u / scale @ root)[order]
    gram = np.stack([part.T @ part for part in np.split(z, starts[1:])])
    moment = np.add.reduceat(z * residual[order][:, None], starts, axis=0)
    aim = (root / scale[:, None])[:k]  # (k, r): the coefficients are aim @ (z'y)
    share, axes = np.linalg.eigh(gram)
    left = 1 - share
    grow = np.where(left > SATURATED, 1 / np.sqrt(np.where(left > SATURATED, left, 1.0)), 0.0)
    along = np.einsum("kr,grs->gks", aim, axes)
    moved = np.einsum("gks,gs,gs->gk", along, grow, np.einsum("grs,gr->gs", axes, moment), optimize=True)
    sums = np.zeros((count, k))
    sums[present] = moved
    return BellMcCaffrey(
        sums,
        np.einsum("gks,gs,gls->gkl", along, np.maximum(share, 0) * grow**2, along, optimize=True),
        np.einsum("gks,gs,grs->gkr", along, np.maximum(share, 0) * grow, axes, optimize=True),
        aim @ aim.T,
    )


def _nested(code: Array, levels: int, cluster: Array) -> bool:
    """Whether every level of an effect lies within one cluster."""
    one = np.zeros(levels, int)
    one[code] = cluster
    return bool((one[code] == cluster).all())
