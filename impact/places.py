"""Where units lie: tables of neighbours and of coordinates, as matrices in the order of a sample's rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from impact import columns as col
from impact import frames
from impact.core import arguments
from impact.sample import Sample
from impact.show.words import counted

Array = np.ndarray

BLOCK = 512  # rows whose distances to all others are held at once


def neighbours(sample: Sample, table: Any, notes: list[str] | None = None) -> Any:
    """Which units lie next to which, as a sparse (n, n) matrix of bool, symmetric and empty on its diagonal.

    Parameters
    ----------
    sample : Sample
    table : dataframe of any kind with two columns
        Each row is a pair of units that are neighbours, in either order, once or twice.
    notes : list, optional
        To which is added how many pairs name units outside the sample, and how many units have no neighbour.

    Raises
    ------
    ValueError
        Not two columns; a unit that is missing; no pair of units of the sample.
    """
    from scipy.sparse import csr_array

    names = frames.names(table)
    if len(names) != 2:
        raise ValueError(
            f"`neighbours` is a table of pairs with two columns, a unit in each, and this one has {len(names)} "
            f"({col.listed(map(str, names[:10]))}): keep the two with the units."
        )
    pairs = frames.select(table, names)
    lost = int(pairs.isna().any(axis=1).sum())
    if lost:
        raise ValueError(f"A unit is missing in {lost} of {len(pairs)} rows of `neighbours`: fill or remove them.")
    units, row = np.unique(_text(sample.unit), return_inverse=True)
    a, b = (_found(units, pairs[name].to_numpy()) for name in names)
    inside = (a >= 0) & (b >= 0) & (a != b)
    if not inside.any():
        raise ValueError(
            f"None of the {len(pairs):,} pairs in `neighbours` is of two different units of the sample "
            f"(`{sample.study.unit}`): write units as in the study's table."
        )
    u = len(units)
    one = np.ones(int(inside.sum()), bool)
    between = csr_array((one, (a[inside], b[inside])), shape=(u, u))
    member = csr_array((np.ones(len(row), bool), (np.arange(len(row)), row)), shape=(len(row), u))
    linked = csr_array(member @ (between + between.T) @ member.T).astype(bool)
    if notes is not None:
        outside = int(((a < 0) | (b < 0)).sum())
        alone = int((np.diff(linked.indptr) == 0).sum())
        if outside:
            notes.append(f"{outside:,} of {len(pairs):,} pairs of neighbours name a unit that is not in the sample.")
        if alone:
            notes.append(f"{alone:,} of {counted(len(row), 'unit')} have no neighbour in the table of neighbours.")
    return linked


def coordinates(sample: Sample, table: Any) -> Array:
    """(n, 2): where each unit lies.

    Parameters
    ----------
    sample : Sample
    table : dataframe of any kind with three columns
        The study's unit and two numbers, on a plane (metres, not degrees): one row a unit; units outside the
        sample are passed over.

    Raises
    ------
    KeyError
        No column with the study's unit.
    ValueError
        Not three columns; units of the sample that are not in the table, or in it twice; a number that is missing.
    """
    names, unit = frames.names(table), sample.study.unit
    if unit in names and len(names) != 3:
        raise ValueError(
            f"`coordinates` is a table with `{unit}` and two numbers, and this one has {len(names)} columns "
            f"({col.listed(map(str, names[:10]))}): keep these three."
        )
    places = frames.select(table, [unit, *(n for n in names if n != unit)])
    keys = _text(places[unit].to_numpy())
    order = np.argsort(keys, kind="stable")
    at = _found(keys[order], sample.unit)
    lost, twice = int((at < 0).sum()), len(keys) - len(np.unique(keys))
    if lost:
        raise ValueError(
            f"{lost:,} of {len(sample):,} units of the sample (`{unit}`) are not in `coordinates`: add them, with "
            "units written as in the study's table."
        )
    if twice:
        raise ValueError(f"{twice} of {len(keys)} rows of `coordinates` repeat a unit (`{unit}`): keep one row each.")
    found = np.column_stack([col.numbers(places[n], n, "coordinate") for n in places.columns if n != unit])
    found = found[order[at]]
    unknown = int((~np.isfinite(found)).any(axis=1).sum())
    if unknown:
        raise ValueError(f"{unknown:,} of {len(sample):,} units have no place in `coordinates`: fill in the numbers.")
    return found


def nearest(sample: Sample, table: Any, k: int) -> Array:
    """(n, k): the positions of the k other units that lie nearest to each unit, the nearest first.

    Among units equally far the one with the smaller first, then second coordinate comes first, then the one
    whose label comes first: the order of rows does not matter.

    Parameters
    ----------
    sample : Sample
    table : as for :func:`coordinates`
    k : int

    Raises
    ------
    ValueError
        As for :func:`coordinates`; there are no k other units.
    """
    place = coordinates(sample, table)
    arguments.number(k, "nearest", least=1, most=len(place) - 1, whole=True)
    order = np.lexsort((_text(sample.unit), place[:, 1], place[:, 0]))
    there = place[order]
    found = np.empty((len(place), k), int)
    for start in range(0, len(place), BLOCK):
        rows = np.arange(start, min(start + BLOCK, len(place)))
        far = _distances(there[rows], there)
        far = np.round(far, 12 - int(np.ceil(np.log10(max(far.max(), 1e-300)))))  # what rounding parts is equally far
        far[np.arange(len(rows)), rows] = np.inf
        reach = np.partition(far, k - 1, axis=1)[:, k - 1]
        for i, row in enumerate(rows):
            near = np.flatnonzero(far[i] <= reach[i])
            found[order[row]] = order[near[np.argsort(far[i, near], kind="stable")[:k]]]
    return found


def within(sample: Sample, table: Any, distance: float) -> Any:
    """Which units lie no farther than ``distance`` from which, as a sparse (n, n) matrix of bool without a diagonal.

    Parameters
    ----------
    sample : Sample
    table : as for :func:`coordinates`
    distance : float
        In the coordinates' own unit.

    Raises
    ------
    ValueError
        As for :func:`coordinates`; a distance that is not above zero.
    """
    from scipy.sparse import csr_array

    arguments.number(distance, "distance", above=0, below=np.inf)
    place = coordinates(sample, table)
    a, b = [], []
    for start in range(0, len(place), BLOCK):
        rows, there = np.nonzero(_distances(place[start : start + BLOCK], place) <= distance * (1 + 1e-12))
        apart = rows + start != there
        a.append(rows[apart] + start)
        b.append(there[apart])
    i, j = np.concatenate(a), np.concatenate(b)
    return csr_array((np.ones(len(i), bool), (i, j)), shape=(len(place),) * 2)


def _distances(some: Array, every: Array) -> Array:
    """(m, n) distances on the plane."""
    gap = some[:, None, :] - every[None, :, :]
    return np.sqrt((gap**2).sum(axis=2))


def _text(units: Array) -> Array:
    """Labels of units as text, in which 91 and 91.0 are the same unit and "091" is another."""
    whole = [isinstance(v, float | np.floating) and float(v).is_integer() for v in units]
    return np.array([str(int(v)) if w else str(v) for v, w in zip(units, whole, strict=True)])


def _found(units: Array, asked: Array) -> Array:
    """The position of each label among sorted labels, or -1."""
    keys = _text(asked)
    at = np.minimum(np.searchsorted(units, keys), len(units) - 1)
    return np.where(units[at] == keys, at, -1)
