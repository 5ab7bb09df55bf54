"""Partners assigned to all at once, at the least total distance, within what :mod:`impact.matching.options` allows."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from impact.core import candidates
from impact.core.assignment import components, cover, neighbours, on_a_graph, on_a_line
from impact.core.limited import limited
from impact.matching.options import Reach

Array = np.ndarray
Pairs = tuple[Array, Array]

MOST = 20_000_000
"""The most pairs whose distances are held at once: some 500 MB. Distances on the score alone need none."""


def pairs(space: Reach, treated_first: bool, ratio: int) -> Pairs:
    """Rows of the one arm, and the partners that each is given in the other, up to ``ratio`` of them."""
    found = [_paired(space, *sides, ratio) for sides in space.groups_with_both(treated_first)]
    i, j = (np.concatenate([np.empty(0, int), *(part[side] for part in found)]) for side in (0, 1))
    _keep_promises(space, i, j)
    if len(np.unique(j)) < len(j) or np.unique(i, return_counts=True)[1].max(initial=0) > ratio:
        raise _fault("the number of uses")
    return i, j


def sets(space: Reach, most_treated: int | None, most_comparison: int | None) -> Array:
    """(n,) codes of the sets that cover all who have a possible partner, -1 for those who are in none.

    Without limits on the size of sets that is everybody who may have one; within them as many as can be.
    """
    codes, count = np.full(len(space.sample), -1), 0
    for focal, pool in space.groups_with_both(True):
        shape = len(focal), len(pool)
        parts = partial(_allowed, space, focal, pool)
        if most_treated is not None or most_comparison is not None:
            chosen = limited(parts, shape, (most_comparison, most_treated))
        elif space.on_score and space.kept is None:
            x, y = space.value[focal], space.value[pool]
            i, j = neighbours(x, y, space.limit)
            chosen = cover(i, j, np.abs(x[i] - y[j]), shape)
        else:
            chosen = cover(*candidates.paying(parts, shape), shape)
        if len(chosen[0]):
            _keep_promises(space, focal[chosen[0]], pool[chosen[1]])
            sizes = [np.bincount(side).max() for side in chosen]
            if sizes[0] > (most_comparison or sizes[0]) or sizes[1] > (most_treated or sizes[1]):
                raise _fault("the size of sets")
            codes[focal], codes[pool] = (np.where(part >= 0, part + count, -1) for part in components(*chosen, shape))
            count = int(codes.max()) + 1
    return codes


def _paired(space: Reach, focal: Array, pool: Array, ratio: int) -> Pairs:
    """The pairs within one exact group. Where everybody may have everybody, all of the smaller side are paired."""
    if space.free:
        if len(pool) < len(focal):
            j, i = _paired(space, pool, focal, 1)
            return i, j
        ratio = min(ratio, len(pool) // len(focal))
    ratio = min(ratio, len(pool))
    slots = np.repeat(focal, ratio)
    if space.on_score and space.kept is None:
        i, j = on_a_line(space.value[slots], space.value[pool], drop=space.limit)
    elif space.free:
        i, j = _on_a_table(space, slots, pool)
    else:
        i, j = _on_a_graph(space, focal, pool, ratio)
    return slots[i], pool[j]


def _on_a_table(space: Reach, slots: Array, pool: Array) -> Pairs:
    from scipy.optimize import linear_sum_assignment
    from scipy.spatial.distance import cdist

    if len(slots) * len(pool) > MOST:
        raise _too_many(space, len(slots), len(pool))
    i, j = linear_sum_assignment(cdist(space.points[slots], space.points[pool]))
    return np.asarray(i), np.asarray(j)


def _on_a_graph(space: Reach, focal: Array, pool: Array, ratio: int) -> Pairs:
    """On the score a row left alone costs the caliper; else as many are paired as can be."""
    found, many = [], 0
    for part in _allowed(space, focal, pool):
        found.append(part)
        many += ratio * len(part[0])
        if many > MOST:
            raise _too_many(space, len(focal), len(pool))
    i, j, apart = (np.concatenate(part) for part in zip(*found, strict=True))
    i = (ratio * i[:, None] + np.arange(ratio)).ravel()
    j, apart = np.repeat(j, ratio), np.repeat(apart, ratio)
    shape = ratio * len(focal), len(pool)
    all_if_possible = (shape[0] + 1) * max(1.0, float(apart.max(initial=0.0)))
    drop = space.limit if space.on_score and np.isfinite(space.limit) else all_if_possible
    return on_a_graph(i, j, apart, shape, drop=drop)


def _allowed(space: Reach, focal: Array, pool: Array) -> Iterator[tuple[Array, Array, Array]]:
    """The pairs that may be made, with their distances, part by part: positions in ``focal`` and in ``pool``."""
    line, limit = space.line()
    for i, j in candidates.within(line[focal], line[pool], limit):
        holds = space.hold(focal[i], pool[j])
        i, j = i[holds], j[holds]
        yield i, j, space.apart(focal[i], pool[j])


def _keep_promises(space: Reach, i: Array, j: Array) -> None:
    if not (space.hold(i, j).all() and (space.sample.treated[i] != space.sample.treated[j]).all()):
        raise _fault("a caliper or the exact groups")


def _fault(what: str) -> RuntimeError:
    return RuntimeError(
        f"The matched pairs break {what} that was asked for. This is a fault of the package, not of the data: please "
        "report it."
    )


def _too_many(space: Reach, one: int, other: int) -> ValueError:
    return ValueError(
        f"Pairs by {space.by} of {one:,} and {other:,} units were asked for, {space.within}, which leaves more than "
        f"{MOST:,} pairs to choose from: narrow the calipers, match exactly on a covariate that splits them, or use "
        "distance='score' without further conditions, or nearest.match."
    )
