"""Units that adopt at different times, each adoption group with its synthetic comparison, and their redrawn copies.

Redrawn copies are (B, n) unit weights with (B, n) adoption groups: a placebo draw gives comparison clusters the
adoption of the treated, a bootstrap draw takes clusters with replacement, the jackknife leaves each out.

References: arkhangelsky2021, clarke2024.
"""

from __future__ import annotations

from itertools import combinations
from math import comb
from typing import NamedTuple

import numpy as np

from impact.core import synthetic

Array = np.ndarray
NEVER = -1


class Panel(NamedTuple):
    """(n, T) outcomes; (n,) weights with mean one, cluster codes and adoption groups (``NEVER`` for comparison units);
    (K,) first treated column of each group. Rows are in an order that their values decide; ``row`` (n,) is where each
    stood."""

    y: Array
    w: Array
    cluster: Array
    group: Array
    starts: Array
    row: Array


class Cells(NamedTuple):
    """Of B copies and K adoption groups: (B, K, T) effects and observed means, (B, K) the groups' weights."""

    effect: Array
    actual: Array
    size: Array


class Redrawn(NamedTuple):
    """(B, n) weights and adoption groups."""

    w: Array
    group: Array


def arranged(y: Array, w: Array, cluster: Array, start: Array, keys: Array) -> Panel:
    """The panel; ``start`` (n,) is the column of adoption, T for never, and ``keys`` (n, q), the
    outcomes, decide the order.

    Rows of one cluster with the same keys are one row with their weight.
    """
    key = np.nan_to_num(np.column_stack([keys, start, cluster]).astype(float))
    _, at, row = np.unique(key, axis=0, return_index=True, return_inverse=True)
    w = np.bincount(row.ravel(), w)
    _, seen, code = np.unique(cluster[at], return_index=True, return_inverse=True)
    starts = np.unique(start[start < y.shape[1]])
    group = np.where(start < y.shape[1], np.searchsorted(starts, start), NEVER)[at]
    return Panel(y[at], w * (len(w) / w.sum()), np.argsort(np.argsort(seen))[code.ravel()], group, starts, at)


def blocks(panel: Panel, method: str, solver: str) -> list[synthetic.Block]:
    """A block for each adoption group, with the penalties that the data ask for."""
    return [
        synthetic.block(panel.y, int(start), panel.w * of(panel, k), panel.group == k, method, solver)
        for k, start in enumerate(panel.starts)
    ]


def of(panel: Panel, k: int) -> Array:
    """(n,) who takes part in the block of group k: its members and the comparison units."""
    return (panel.group == k) | (panel.group == NEVER)


def estimated(panel: Panel, parts: list[synthetic.Block]) -> tuple[Cells, list[synthetic.Fit]]:
    """The cells of the panel itself, and the fits that they come from."""
    fits = [
        synthetic.fit(part, (panel.w * of(panel, k))[None], (panel.group == k)[None]) for k, part in enumerate(parts)
    ]
    size = np.array([[panel.w[panel.group == k].sum() for k in range(len(parts))]])
    return Cells(np.stack([f.effect for f in fits], axis=1), np.stack([f.actual for f in fits], axis=1), size), fits


def again(panel: Panel, parts: list[synthetic.Block], drawn: Redrawn) -> Cells:
    """The cells of redrawn copies; a group that a copy lacks has no weight and effects of zero."""
    shape = (len(drawn.w), len(parts), panel.y.shape[1])
    cells = Cells(np.zeros(shape), np.zeros(shape), np.zeros(shape[:2]))
    for k, part in enumerate(parts):
        mine = drawn.group == k
        cells.size[:, k] = (drawn.w * mine).sum(axis=1)
        some = cells.size[:, k] > 0
        if some.any():
            w = drawn.w * (mine | (drawn.group == NEVER))
            found = synthetic.fit(part, w[some], mine[some])
            cells.effect[some, k], cells.actual[some, k] = found.effect, found.actual
    return cells


def left_out(panel: Panel, parts: list[synthetic.Block], fits: list[synthetic.Fit]) -> Cells:
    """Each cluster left out in turn, the weights of the others held but for their sum."""
    keep = np.arange(panel.cluster.max() + 1)[:, None] != panel.cluster
    w = panel.w * keep
    shape = (len(w), len(fits), panel.y.shape[1])
    cells = Cells(np.zeros(shape), np.zeros(shape), np.zeros(shape[:2]))
    for k, (fitted, part) in enumerate(zip(fits, parts, strict=True)):
        ours, unit = w * (panel.group == k), fitted.unit * keep
        cells.size[:, k] = ours.sum(axis=1)
        whole = unit.sum(axis=1, keepdims=True)
        with np.errstate(divide="ignore", invalid="ignore"):
            actual = ours @ panel.y / cells.size[:, k, None]
            gap = actual - unit @ panel.y / whole
        cells.actual[:, k] = actual
        cells.effect[:, k] = gap - gap[:, : part.before] @ fitted.period.T
    return cells


def clusters_of(panel: Panel) -> tuple[Array, Array]:
    """(K,) how many clusters each adoption group has, and the clusters with comparison units."""
    held = [len(np.unique(panel.cluster[panel.group == k])) for k in range(len(panel.starts))]
    return np.array(held), np.unique(panel.cluster[panel.group == NEVER])


def placebos(panel: Panel, draws: int, rng: np.random.Generator) -> Redrawn:
    """Adoption given to as many comparison clusters as adopted; in every way, if there are few ways."""
    held, free = clusters_of(panel)
    many = int(held.sum())
    if len(held) == 1 and comb(len(free), many) <= max(draws, len(free)):
        chosen = np.array([free[list(c)] for c in combinations(range(len(free)), many)])
    else:
        chosen = np.array([rng.permutation(free)[:many] for _ in range(draws)])
    by_cluster = np.full((len(chosen), panel.cluster.max() + 1), NEVER)
    np.put_along_axis(by_cluster, chosen, np.repeat(np.arange(len(held)), held)[None, :], axis=1)
    w = np.broadcast_to(panel.w * (panel.group == NEVER), (len(chosen), len(panel.w)))
    return Redrawn(w, by_cluster[:, panel.cluster])


def bootstrap(panel: Panel, draws: int, rng: np.random.Generator) -> Redrawn:
    """Clusters drawn with replacement, again where an adoption group or all but one comparison cluster are lost."""
    count = int(panel.cluster.max()) + 1
    _, free = clusters_of(panel)
    member = np.array([np.bincount(panel.cluster, panel.group == k, count) > 0 for k in range(len(panel.starts))])
    taken = np.empty((draws, count))
    for b in range(draws):
        while True:
            taken[b] = np.bincount(rng.integers(0, count, count), minlength=count)
            if (member @ taken[b] > 0).all() and (taken[b, free] > 0).sum() > 1:
                break
    return Redrawn(panel.w * taken[:, panel.cluster], np.broadcast_to(panel.group, (draws, len(panel.w))))


def averages(cells: Cells, share: Array, what: str = "effect") -> Array:
    """(B, m) averages of cells by the weight of their groups; ``share`` (m, K, T) says which, and how much of each."""
    pull = np.einsum("mkt,bk->bmkt", share, cells.size)
    values = np.where(cells.size[:, :, None] > 0, getattr(cells, what), 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.einsum("bmkt,bkt->bm", pull, values) / pull.sum(axis=(2, 3))


def jackknife(left: Array, treated: Array) -> tuple[Array, float]:
    """(m, m) covariance of values from (C, m) with each cluster left out, and Welch's degrees of freedom.

    ``treated`` (C,) says which clusters hold treated units: with few of them their part of the variance is itself
    uncertain.
    """
    count = len(left)
    gap = left - left.mean(axis=0)
    covariance = (count - 1) / count * gap.T @ gap
    parts = [(gap[side] ** 2).sum(axis=0) for side in (treated, ~treated)]
    sides = [max(int(side.sum()) - 1, 1) for side in (treated, ~treated)]
    whole = sum(parts)
    with np.errstate(divide="ignore", invalid="ignore"):
        degrees = whole**2 / sum(p**2 / s for p, s in zip(parts, sides, strict=True))
    known = degrees[np.isfinite(degrees)]
    return covariance, float(known.min()) if len(known) else float(sides[0])
