"""Where units lie: who neighbours whom, or coordinates, as tables that go with a sample."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from impact import frames
from impact.core import areas
from impact.did.few_change import Change
from impact.sample import Sample

Array = np.ndarray
Generator = np.random.Generator


@dataclass(frozen=True, eq=False)
class Places:
    """Where the units of a sample lie: pairs of rows that touch, or coordinates, or nothing is known."""

    pairs: Array | None = None
    place: Array | None = None

    @classmethod
    def of(cls, sample: Sample, neighbours: Any, coordinates: Any) -> Places:
        """The tables read, in the order of the sample's rows."""
        if neighbours is not None and coordinates is not None:
            raise ValueError("Both `neighbours` and `coordinates` are given: give the one that says who lies together.")
        if neighbours is not None:
            return cls(pairs=_pairs(sample, neighbours))
        if coordinates is not None:
            return cls(place=by_unit(sample, coordinates, "coordinates", 2))
        return cls()

    @property
    def known(self) -> bool:
        return self.pairs is not None or self.place is not None

    @property
    def words(self) -> str:
        """How an area hangs together."""
        return "of units that touch" if self.pairs is not None else "of nearest units"

    def anywhere(self, change: Change, sizes: Array, draws: int, rng: Generator) -> Array:
        """(draws, n) bool: contiguous areas of these sizes, among the units of the change."""
        if self.pairs is not None:
            return areas.by_contact(self._touching(change.rows), sizes, draws, rng)
        assert self.place is not None
        nearest = areas.nearest_first(self.place[change.rows], int(sizes.sum()))
        return areas.by_distance(nearest, sizes, draws, rng)

    def around(self, rows: Array, size: int, rng: Generator) -> Array:
        """(m, size): positions in ``rows`` of the contiguous areas of this size, one around each unit with room."""
        if self.pairs is not None:
            return areas.around_by_contact(self._touching(rows), size, rng)
        if self.place is not None and size <= len(rows):
            return areas.nearest_first(self.place[rows], size)
        return np.empty((0, size), int)

    def _touching(self, rows: Array) -> Array:
        assert self.pairs is not None
        at = np.full(int(max(self.pairs.max(initial=0), rows.max())) + 1, -1)
        at[rows] = np.arange(len(rows))
        one, other = at[self.pairs]
        inside = (one >= 0) & (other >= 0)
        return areas.contacts(one[inside], other[inside], len(rows))


def by_unit(sample: Sample, table: Any, name: str, width: int) -> Array:
    """(n, width) numbers from a table with the unit's column and so many others, in the order of the sample."""
    columns, row = _read(sample, table, name, width)
    values = np.full((len(sample), width), np.nan)
    known = row >= 0
    try:
        values[row[known]] = np.column_stack([c[known] for c in columns]).astype(float)
    except (TypeError, ValueError):
        raise ValueError(
            f"`{name}` holds something other than numbers: give a table with the unit's column (`{sample.study.unit}`) "
            f"and {width} of numbers."
        ) from None
    if len(np.unique(row[known])) < known.sum():
        twice = int(known.sum() - len(np.unique(row[known])))
        raise ValueError(f"`{name}` repeats {twice} units (`{sample.study.unit}`): give one row a unit.")
    lost = int((~np.isfinite(values).all(axis=1) & (sample.weights > 0)).sum())
    if lost:
        raise ValueError(
            f"`{name}` says nothing, or no finite number, on {lost} of {len(sample)} units (`{sample.study.unit}`): "
            "complete it."
        )
    return values


def _pairs(sample: Sample, table: Any) -> Array:
    """(2, m) rows of the sample that touch; units that the sample does not have are passed over."""
    (other,), row = _read(sample, table, "neighbours", 1)
    pairs = np.array([row, _rows(sample, other)])
    pairs = pairs[:, (pairs >= 0).all(axis=0)]
    alone = len(sample) - len(np.unique(pairs))
    if alone > len(sample) / 2:
        raise ValueError(
            f"`neighbours` names no neighbour for {alone} of {len(sample)} units (`{sample.study.unit}`): see that it "
            "has the units' own labels in both columns."
        )
    return pairs


def _read(sample: Sample, table: Any, name: str, width: int) -> tuple[list[Array], Array]:
    """The table's other columns, and the row of the sample that each of its rows is about, -1 for none."""
    unit = sample.study.unit
    try:
        have = frames.names(table)
    except TypeError:
        have = []
    others = [c for c in have if c != unit][:width]
    if unit not in have or len(others) < width:
        raise ValueError(
            f"`{name}` is not a table with the unit's column (`{unit}`) and {width} more: it is "
            f"{type(table).__name__} with {len(have)} columns; give such a table, or leave it out."
        )
    found = frames.select(table, [unit, *others])
    return [found[c].to_numpy() for c in others], _rows(sample, found[unit].to_numpy())


def _rows(sample: Sample, labels: Array) -> Array:
    at = {label: k for k, label in enumerate(sample.unit.tolist())}
    return np.array([at.get(label, -1) for label in labels.tolist()], dtype=int)
