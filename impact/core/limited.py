"""Covers of least total distance in which no row and no column has more than a given number of the others."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from impact.core.assignment import on_a_graph, stars

Array = np.ndarray
Parts = Callable[[], Iterator[tuple[Array, Array, Array]]]

BEST = 40
"""So many pairs of each row and column enter the programme at a time, those that promise most."""
HELD = 4_000_000
"""The most pairs that are held at once, each counted as often as its centre has places: some 400 MB."""
NOTHING = 1e-9
"""A pair that would save less than this share of the largest distance saves nothing."""


def limited(parts: Parts, shape: tuple[int, int], most: tuple[int | None, int | None]) -> tuple[Array, Array]:
    """Connect as many rows and columns as can be, by the pairs of least total distance, within limits.

    A row is connected with at most ``most[0]`` columns and a column with at most ``most[1]`` rows (None: any number).
    With z_e for each pair, and u for each row and column that stays alone at a price P above all distances,

        minimise  sum z_e d_e + P sum u,   1 - u_i <= sum of z_e at i <= most_i,   0 <= z, u <= 1.

    The solution is whole, as the graph has two sides. Of all the pairs that ``parts`` goes through, as (i, j,
    distance), few are ever needed: those enter that would lower the total at the prices of the last solution, until
    none does, which proves that the total is least. Where one side may have one only, and there are not too many
    pairs, it is an assignment to the places of the other side, which is faster.

    Returns
    -------
    Positions of rows and of columns: the pairs chosen, which are stars.
    """
    if 1 in most and None not in most and (found := _held(parts, max(m or 1 for m in most))) is not None:
        return _assigned(*found, shape, (most[0] or 1, most[1] or 1))
    i, j, d = np.empty(0, int), np.empty(0, int), np.empty(0)
    worth, chosen, scale = np.zeros(sum(shape)), np.empty(0, bool), 0.0
    while True:
        if not scale:
            scale = max((float(part[2].max(initial=0.0)) for part in parts()), default=0.0) or 1.0
        i, j, d, new = _joined((i, j, d), _promising(parts, shape, worth * scale, scale, every=not len(i)), shape)
        if not new:
            return stars(i[chosen], j[chosen], shape)
        chosen, worth = _programme(i, j, d / scale, shape, most)


def _held(parts: Parts, places: int) -> tuple[Array, Array, Array] | None:
    """All the pairs, or None where they are too many."""
    found, many = [np.empty((3, 0))], 0
    for part in parts():
        found.append(np.stack(part))
        many += places * len(part[0])
        if many > HELD:
            return None
    i, j, d = np.concatenate(found, axis=1)
    return i.astype(int), j.astype(int), d


def _assigned(i: Array, j: Array, d: Array, shape: tuple[int, int], most: tuple[int, int]) -> tuple[Array, Array]:
    """The same where a row or a column has one partner only: it takes one of the other's places, the first of which
    saves the price of staying alone."""
    rows_are_centres = most[1] == 1
    centre, leaf, places = (i, j, most[0]) if rows_are_centres else (j, i, most[1])
    leaves, centres = shape[::-1] if rows_are_centres else shape
    place, price = np.arange(places), (sum(shape) + 1) * (float(d.max(initial=0.0)) or 1.0)
    slot, cost = places * centre[:, None] + place, d[:, None] - price * (place == 0)
    a, b = on_a_graph(
        np.repeat(leaf, places), slot.ravel(), cost.ravel(), (leaves, places * centres), drop=price
    )  # fmt: skip
    return (b // places, a) if rows_are_centres else (a, b // places)


def _promising(parts: Parts, shape: tuple[int, int], worth: Array, scale: float, *, every: bool) -> Iterator[Array]:
    """Of each part, the pairs of each row and column that cost least at these prices; only those that cost nothing or
    less, unless every row and column is to have some."""
    for i, j, d in parts():
        cost = d - worth[i] - worth[shape[0] + j]
        e = np.arange(len(i)) if every else np.flatnonzero(cost < -NOTHING * scale)
        best = np.zeros(len(i), bool)
        for end in (i, j):
            order = e[np.lexsort((cost[e], end[e]))]
            first = np.searchsorted(end[order], end[order], side="left")
            best[order[np.arange(len(order)) - first < BEST]] = True
        yield np.stack([i[best], j[best], d[best]])


def _joined(
    held: tuple[Array, Array, Array], found: Iterator[Array], shape: tuple[int, int]
) -> tuple[Array, Array, Array, int]:
    """The pairs held and those found, each once, and how many are new."""
    i, j, d = np.concatenate([np.stack(held), *found], axis=1)
    _, first = np.unique(i.astype(int) * shape[1] + j.astype(int), return_index=True)
    return i[first].astype(int), j[first].astype(int), d[first], len(first) - len(held[0])


def _programme(
    i: Array, j: Array, d: Array, shape: tuple[int, int], most: tuple[int | None, int | None]
) -> tuple[Array, Array]:
    """The pairs chosen, and what each row and column would pay for one more: at these prices no other pair pays."""
    from scipy.optimize import linprog
    from scipy.sparse import csr_array, hstack, vstack

    n, pairs = sum(shape), np.arange(len(i))
    ends = np.concatenate([i, shape[0] + j]), np.concatenate([pairs, pairs])
    at = csr_array((np.ones(2 * len(i)), ends), shape=(n, len(i)))
    cap = np.repeat([np.inf if m is None else float(m) for m in most], shape)
    limits = np.flatnonzero(np.isfinite(cap))
    alone = csr_array((np.ones(n), (np.arange(n), np.arange(n))), shape=(n, n))
    rules = vstack([hstack([-at, -alone]), hstack([at[limits], csr_array((len(limits), n))])], format="csr")
    found = linprog(
        np.concatenate([d, np.full(n, float(n))]),
        A_ub=rules,
        b_ub=np.concatenate([np.full(n, -1.0), cap[limits]]),
        bounds=(0.0, 1.0),
        method="highs-ds",
    )
    if found.status != 0:
        raise RuntimeError(
            f"The cover was not found: {found.message}. This is a fault of the package: please report it."
        )
    worth = -np.asarray(found.ineqlin.marginals[:n])
    worth[limits] += found.ineqlin.marginals[n:]
    return found.x[: len(i)] > 0.5, worth
