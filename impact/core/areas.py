"""Where a few areas might as well have been: draws of contiguous areas of given sizes.

An area is a set of units that lie together: a seat and the units nearest to it, or units that touch.
These functions draw places for areas of given sizes anywhere among n units, many draws at once.
"""

from __future__ import annotations

import numpy as np

Array = np.ndarray
Generator = np.random.Generator

TRIES = 20
"""How often draws in which an area found no room are made again."""


def nearest_first(place: Array, most: int) -> Array:
    """(n, most): for each unit the units nearest to it, itself among them.

    Parameters
    ----------
    place : (n, d) coordinates
    """
    from scipy.spatial import cKDTree

    return np.asarray(cKDTree(place).query(place, k=np.arange(1, most + 1))[1])


def contacts(one: Array, other: Array, n: int) -> Array:
    """(n, m): the neighbours of each unit, filled up with n, given pairs that touch in either order."""
    pairs = np.unique(np.column_stack([np.r_[one, other], np.r_[other, one]]), axis=0)
    pairs = pairs[pairs[:, 0] != pairs[:, 1]]
    count = np.bincount(pairs[:, 0], minlength=n)
    found = np.full((n, max(int(count.max(initial=0)), 1)), n)
    found[pairs[:, 0], np.arange(len(pairs)) - np.repeat(np.cumsum(count) - count, count)] = pairs[:, 1]
    return found


# ---- areas anywhere -------------------------------------------------------------------------


def by_distance(nearest: Array, sizes: Array, draws: int, rng: Generator) -> Array:
    """Areas made of a seat drawn by lot and the free units nearest to it, smaller areas first.

    Parameters
    ----------
    nearest : (n, sum of sizes) from :func:`nearest_first`
    sizes : (a,) units in each area
    draws : how many times all areas are placed

    Returns
    -------
    (draws, n) bool : who is in an area.
    """
    taken = np.zeros((draws, len(nearest)), bool)
    row = np.arange(draws)[:, None]
    room = 0
    for size in np.sort(sizes):
        room += int(size)  # of so many, at most room - size are taken
        candidates = nearest[_free(taken, rng), :room]
        free = ~taken[row, candidates]
        mine = np.nonzero(free & (np.cumsum(free, axis=1) <= size))
        taken[mine[0], candidates[mine]] = True
    return taken


def by_contact(touching: Array, sizes: Array, draws: int, rng: Generator) -> Array:
    """Areas that grow from a seat drawn by lot, ring by ring, through units that touch, smaller areas first.

    Parameters
    ----------
    touching : (n, m) from :func:`contacts`
    sizes, draws
        As for :func:`by_distance`.

    Returns
    -------
    (draws, n) bool : who is in an area.

    Raises
    ------
    ValueError
        Areas of these sizes find no room among units that touch.
    """
    n = len(touching)
    taken = np.zeros((draws, n), bool)
    left = np.arange(draws)
    for _ in range(TRIES):
        now, whole = np.zeros((len(left), n), bool), np.ones(len(left), bool)
        for size in np.sort(sizes):
            order = _ring_by_ring(touching, _free(now, rng), now, int(size), rng)
            there = np.nonzero(order >= 0)
            now[there[0], order[there]] = True
            whole &= (order >= 0).all(axis=1)
        taken[left] = now
        left = left[~whole]
        if not len(left):
            return taken
    raise ValueError(
        f"Areas of {', '.join(map(str, sorted(sizes.tolist())))} units that touch find no room in {len(left)} of "
        f"{draws} draws after {TRIES} tries: the table of neighbours leaves too few units in touch with each other; "
        "complete it, or give coordinates."
    )


def anywhere(n: int, size: int, draws: int, rng: Generator) -> Array:
    """(draws, n) bool: units drawn by lot without regard to where they lie."""
    taken = np.zeros((draws, n), bool)
    taken[np.arange(draws)[:, None], np.argsort(rng.random((draws, n)), axis=1)[:, :size]] = True
    return taken


def whole_clusters(cluster: Array, count: int, draws: int, rng: Generator) -> Array:
    """(draws, n) bool: the units of so many clusters drawn by lot, clusters coded from 0."""
    return anywhere(int(cluster.max()) + 1, count, draws, rng)[:, cluster]


# ---- areas around each unit -----------------------------------------------------------------


def around_by_contact(touching: Array, size: int, rng: Generator) -> Array:
    """(m, size): the area that grows from each unit ring by ring, of those units that have room for it."""
    n = len(touching)
    order = _ring_by_ring(touching, np.arange(n), np.zeros((n, n), bool), size, rng)
    return order[(order >= 0).all(axis=1)]


def _free(taken: Array, rng: Generator) -> Array:
    """A unit in no area yet, drawn by lot in each draw: (draws,)."""
    lot = rng.random(taken.shape, dtype=np.float32)
    lot[taken] = -1.0
    return lot.argmax(axis=1)


def _ring_by_ring(touching: Array, seat: Array, taken: Array, size: int, rng: Generator) -> Array:
    """(draws, size): from each seat the units fewest steps away, by lot within a ring; -1 where nobody is left."""
    draws, n = taken.shape
    row = np.arange(draws)
    order = np.full((draws, size), -1)
    order[:, 0] = seat
    if size == 1:
        return order
    # What each unit waits for: its steps from the seat, and a lot below one. Those not met yet, and those
    # that are taken, wait for ever; there is a column for the units that fill up short lists of neighbours.
    wait = np.full((draws, n + 1), np.inf, dtype=np.float32)
    closed = np.column_stack([taken, np.ones(draws, bool)])
    closed[row, seat] = True
    steps = np.zeros((draws, n + 1), dtype=np.int32)
    newest = seat
    for step in range(1, size):
        met = touching[newest]
        fresh = ~closed[row[:, None], met]
        ring = np.broadcast_to(steps[row, newest][:, None] + 1, met.shape)
        at = (np.nonzero(fresh)[0], met[fresh])
        wait[at] = ring[fresh] + rng.random(len(at[0]), dtype=np.float32)
        steps[at] = ring[fresh]
        closed[at] = True  # met once is enough: later rings are farther
        newest = wait.argmin(axis=1)
        there = np.isfinite(wait[row, newest])
        order[there, step] = newest[there]
        wait[row, newest] = np.inf
        newest = np.where(there, newest, seat)
    return order
