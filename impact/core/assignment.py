"""Assignments of least total distance: pairs on a line, pairs on a sparse graph, and covers.

Greedy matching takes the best pair now and pays later. These pay least in total.
"""

from __future__ import annotations

from bisect import insort

import numpy as np

Array = np.ndarray


def on_a_line(x: Array, y: Array, *, drop: float = np.inf) -> tuple[Array, Array]:
    """Pair numbers x with different numbers y so that the distances |x - y| sum to the least.

    An x may stay alone at the price ``drop``: then the sum of distances plus ``drop`` for each x
    left alone is least, and no pair is further apart than ``drop``. Without a price every x is
    paired, which needs as many y.

    Going along the line, let k be how many more y were taken than x passed, and f(k) the least
    cost so far. Over a gap every |k| costs the gap; an x shifts f by one, or costs ``drop``; a y
    may be taken or not. f stays convex, and only its slopes left and right of zero move, all at
    once: two stacks and two running numbers hold them. O(n log n) for n numbers, O(n) without a
    price. Where several answers are equally good, the earliest x and y in the arrays go first.

    Returns
    -------
    Positions in x and in y, of equal length: the pairs, which never cross.
    """
    if np.isinf(drop) and len(x) > len(y):
        raise ValueError(f"{len(x)} numbers were to be paired with {len(y)}: leave some out, or set a price for it.")
    place = np.concatenate([np.argsort(x, kind="stable"), len(x) + np.argsort(y, kind="stable")])
    value = np.concatenate([x, y])[place]
    order = np.argsort(value, kind="stable")
    place, value = place[order], value[order]
    demand = place < len(x)
    turns = _turns(np.diff(value, prepend=value[:1]).tolist(), demand.tolist(), float(drop))
    kept = _walk_back(turns, demand.tolist())
    i, j = place[kept & demand], place[kept & ~demand] - len(x)
    near = np.abs(x[i] - y[j]) <= drop  # a pair exactly at the price may be a rounding error beyond it
    return i[near], j[near]


def _turns(gaps: list[float], demand: list[bool], drop: float) -> list[float]:
    """For each point in turn, up to which k the cheapest way is the first: pair the x, leave the y."""
    below: list[float] = []  # positive slopes at k < 0, ascending, as stored: slope = stored - passed
    above: list[float] = []  # slopes at k >= 0, all >= 0, the smallest last, as stored: slope = passed - stored
    dead, passed = 0, 0.0  # slopes at k < 0 only fall; those no longer positive are done with
    turns: list[float] = []
    for gap, asks in zip(gaps, demand, strict=True):
        passed += gap
        while dead < len(below) and below[dead] <= passed:
            dead += 1
        if not asks:  # a slope of zero enters
            turns.append(dead - len(below))
            risen = below.pop() if len(below) > dead else passed
            if risen < np.inf:
                above.append(passed - (risen - passed))
        elif above and passed - above[-1] <= drop:
            below.append(2 * passed - above.pop())
            turns.append(float(len(above)) if drop == np.inf else len(above) - _insert(above, passed - drop))
        elif drop == np.inf:
            below.append(np.inf)
            turns.append(np.inf)
        else:
            at = _insert(below, passed + drop, dead)
            turns.append(at - len(below))
    return turns


def _insert(ascending: list[float], value: float, start: int = 0) -> int:
    from bisect import bisect_left

    at = bisect_left(ascending, value, start)
    insort(ascending, value, start)
    return at


def _walk_back(turns: list[float], demand: list[bool]) -> Array:
    """Which points are in a pair: from the end of the line, where nothing is owed, to its start."""
    kept, k = np.zeros(len(turns), bool), 0
    for n in range(len(turns) - 1, -1, -1):
        if demand[n]:
            if k <= turns[n]:
                kept[n] = True
                k += 1
        elif k > turns[n]:
            kept[n] = True
            k -= 1
    return kept


def on_a_graph(i: Array, j: Array, distance: Array, shape: tuple[int, int], *, drop: float) -> tuple[Array, Array]:
    """Pair rows with different columns of a sparse graph so that distances sum to the least.

    Only the pairs (i, j) given may be made, each at its ``distance``; a row left alone costs
    ``drop``. A price above the number of rows times the largest distance pairs as many as can be.

    Returns
    -------
    Positions of rows and of columns, of equal length.
    """
    if not len(i):
        return np.empty(0, int), np.empty(0, int)
    found = [_solve(i[e], j[e], distance[e], drop) for e in _parts(i, j, shape)]
    return np.concatenate([f[0] for f in found]), np.concatenate([f[1] for f in found])


def _parts(i: Array, j: Array, shape: tuple[int, int], rows: int = 256) -> list[Array]:
    """The edges in parts that share no row and no column, of about so many rows: the solver's time grows with n^2."""
    code = components(i, j, shape)[0]
    many = np.bincount(code[code >= 0])
    part = ((np.cumsum(many) - many) // rows)[code[i]]
    order = np.argsort(part, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(part[order])) + 1)


def _solve(i: Array, j: Array, distance: Array, drop: float) -> tuple[Array, Array]:
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import min_weight_full_bipartite_matching

    rows, i = np.unique(i, return_inverse=True)
    columns, j = np.unique(j, return_inverse=True)
    # Every row has one edge in the answer, so that a constant for all changes nothing; the solver takes no zeros.
    alone = np.arange(len(rows))
    cost = np.concatenate([distance, np.full(len(rows), drop)])
    cost += 1.0 + max(0.0, -float(cost.min()))
    ends = np.concatenate([i, alone]), np.concatenate([j, len(columns) + alone])
    graph = csr_array((cost, ends), shape=(len(rows), len(columns) + len(rows)))
    # Older scipy takes no other indices.
    graph.indices, graph.indptr = graph.indices.astype(np.int32), graph.indptr.astype(np.int32)
    row, column = min_weight_full_bipartite_matching(graph)
    paired = column < len(columns)
    return rows[row[paired]], columns[column[paired]]


def neighbours(x: Array, y: Array, reach: float = np.inf) -> tuple[Array, Array]:
    """The pairs that a cover of two sets of numbers could need: all (i, j) that pay, and each number's nearest.

    With m the distance to the nearest number of the other set, a pair pays if |x_i - y_j| < m_i + m_j.
    x - m and x + m grow with x, because m changes no faster than x: for each x those y are neighbours
    on the line, and none that does not pay is looked at. Numbers with no other within ``reach`` have none.
    """
    nearest_x, gap_x = _nearest(x, y)
    nearest_y, gap_y = _nearest(y, x)
    in_x, in_y = np.flatnonzero(gap_x <= reach), np.flatnonzero(gap_y <= reach)
    in_x, in_y = in_x[np.argsort(x[in_x], kind="stable")], in_y[np.argsort(y[in_y], kind="stable")]
    low, high = (y - gap_y)[in_y], (y + gap_y)[in_y]
    first = np.searchsorted(np.maximum.accumulate(high), (x - gap_x)[in_x], side="right")
    last = np.searchsorted(np.minimum.accumulate(low[::-1])[::-1], (x + gap_x)[in_x], side="left")
    count = np.maximum(last - first, 0)
    start = np.repeat(first - (np.cumsum(count) - count), count)
    i, j = np.repeat(in_x, count), in_y[np.arange(count.sum()) + start]
    near = np.abs(x[i] - y[j]) <= reach
    i = np.concatenate([i[near], in_x, nearest_y[in_y]])
    j = np.concatenate([j[near], nearest_x[in_x], in_y])
    return _distinct(i, j)


def _nearest(x: Array, y: Array) -> tuple[Array, Array]:
    """For each x the position of the nearest y, the lower of two equally near, and how far it is."""
    order = np.argsort(y, kind="stable")
    shelf = y[order]
    above = np.searchsorted(shelf, x, side="left")
    below, above = np.maximum(above - 1, 0), np.minimum(above, len(y) - 1)
    up = np.abs(shelf[above] - x) < np.abs(x - shelf[below])
    # of equal numbers the first
    best = np.searchsorted(shelf, shelf[np.where(up, above, below)], side="left")
    return order[best], np.abs(shelf[best] - x)


def cover(i: Array, j: Array, distance: Array, shape: tuple[int, int]) -> tuple[Array, Array]:
    """Connect every row and every column that has an edge, by the edges of least total distance.

    The edges chosen are stars: one row with several columns, or one column with several rows.
    Connecting each to its nearest costs the sum of m_i and m_j. Letting i and j share the edge
    between them saves m_i + m_j - d_ij: the cover of least distance is the matching that saves most.

    Parameters
    ----------
    i, j, distance : the edges. Those with d_ij >= m_i + m_j, unless a nearest, may be left out.
    shape : the number of rows and of columns.

    Returns
    -------
    Positions of rows and of columns: the edges chosen.
    """
    order = np.lexsort((j, i, distance))
    i, j, distance = i[order], j[order], distance[order]
    near_i, near_j = np.full(shape[0], -1), np.full(shape[1], -1)
    rows, first_i = np.unique(i, return_index=True)
    columns, first_j = np.unique(j, return_index=True)
    near_i[rows], near_j[columns] = j[first_i], i[first_j]
    far_i, far_j = np.zeros(shape[0]), np.zeros(shape[1])
    far_i[rows], far_j[columns] = distance[first_i], distance[first_j]
    saved = far_i[i] + far_j[j] - distance
    pays = saved > 0
    a, b = on_a_graph(i[pays], j[pays], -saved[pays], shape, drop=0.0)
    lone_i, lone_j = np.setdiff1d(rows, a), np.setdiff1d(columns, b)
    a, b = np.concatenate([a, lone_i, near_j[lone_j]]), np.concatenate([b, near_i[lone_i], lone_j])
    return stars(*_distinct(a, b), shape)


def _distinct(i: Array, j: Array) -> tuple[Array, Array]:
    """Each pair once, in order of the first and then the second."""
    width = int(j.max(initial=0)) + 1
    key = np.unique(i * width + j)
    return key // width, key % width


def stars(a: Array, b: Array, shape: tuple[int, int]) -> tuple[Array, Array]:
    """Without the edges both of whose ends have another: they cost nothing, or they would not have been chosen."""
    degree_a, degree_b = np.bincount(a, minlength=shape[0]), np.bincount(b, minlength=shape[1])
    kept = np.ones(len(a), bool)
    for e in np.flatnonzero((degree_a[a] > 1) & (degree_b[b] > 1)):
        if degree_a[a[e]] > 1 and degree_b[b[e]] > 1:
            kept[e] = False
            degree_a[a[e]] -= 1
            degree_b[b[e]] -= 1
    return a[kept], b[kept]


def components(a: Array, b: Array, shape: tuple[int, int]) -> tuple[Array, Array]:
    """Which rows and which columns hang together: a code from 0 on for each, and -1 where no edge ends."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    n = sum(shape)
    code = connected_components(coo_array((np.ones(len(a)), (a, shape[0] + b)), shape=(n, n)), directed=False)[1]
    touched = np.zeros(n, bool)
    touched[a] = touched[shape[0] + b] = True
    out = np.full(n, -1)
    out[touched] = np.unique(code[touched], return_inverse=True)[1]
    return out[: shape[0]], out[shape[0] :]
